//! Who a server is, is said by the key in the network's list of servers, and by nobody else: no certificate authority is
//! asked, no name service and no clock.
//!
//! A server's certificate is one it made itself; what counts is the ed25519 key in it, and that the server proves in the
//! TLS 1.3 handshake that it holds the other half.

use std::sync::Arc;

use iroh::tls::CaTlsConfig;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, PeerMisbehaved, SignatureScheme};

use super::relays::Relays;

/// What precedes the 32 bytes of the key in the SubjectPublicKeyInfo of an ed25519 certificate (RFC 8410).
const ED25519_SPKI: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// See the module.
#[derive(Debug)]
pub(super) struct Pin {
    relays: Relays,
    provider: Arc<CryptoProvider>,
}

impl Pin {
    /// What iroh takes to judge relays and address discoveries by.
    pub(super) fn config(relays: Relays) -> CaTlsConfig {
        CaTlsConfig::custom_server_cert_verifier(Arc::new(move |provider| {
            Ok(Arc::new(Self {
                relays: relays.clone(),
                provider,
            }))
        }))
    }
}

impl ServerCertVerifier for Pin {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let parsed = ParsedCertificate::try_from(certificate)?;
        let spki = parsed.subject_public_key_info();
        let key = spki.as_ref().strip_prefix(&ED25519_SPKI);
        let keys = self.relays.keys_at(&name.to_str().to_ascii_lowercase());
        if key.is_some_and(|key| keys.iter().any(|known| known.0 == *key)) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            certificate,
            signed,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeMap;
    use std::time::Duration;

    use mesh_ledger::ids::ServerKey;
    use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PublicKeyData};

    use super::super::relays::{Relay, RelayServer};
    use super::*;

    const HOST: &str = "relay.example.org";

    /// A certificate whose time is over, and its key.
    fn certificate(
        algorithm: &'static rcgen::SignatureAlgorithm,
    ) -> (CertificateDer<'static>, KeyPair) {
        let pair = KeyPair::generate_for(algorithm).unwrap();
        let mut params = CertificateParams::new(vec!["elsewhere.example".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(1999, 1, 1);
        params.not_after = rcgen::date_time_ymd(2000, 1, 1);
        (params.self_signed(&pair).unwrap().der().clone(), pair)
    }

    fn key(pair: &KeyPair) -> ServerKey {
        ServerKey(pair.der_bytes().try_into().unwrap())
    }

    fn pin(host: &str, key: ServerKey) -> (Pin, Relays) {
        let relays = Relays::default();
        let server = RelayServer {
            key,
            host: host.to_owned(),
            relay: Some(7443),
            discovery: None,
        };
        relays.set([(key, Relay::new(server, 0).unwrap())].into());
        let pin = Pin {
            relays: relays.clone(),
            provider: Arc::new(rustls::crypto::ring::default_provider()),
        };
        (pin, relays)
    }

    fn judge(pin: &Pin, certificate: &CertificateDer<'_>, host: &str) -> bool {
        let name = ServerName::try_from(host).unwrap();
        let now = UnixTime::since_unix_epoch(Duration::from_secs(1_800_000_000));
        pin.verify_server_cert(certificate, &[], &name, &[], now)
            .is_ok()
    }

    #[test]
    fn the_key_of_a_known_server_is_believed_at_its_host_alone_whatever_the_certificate_says() {
        let (certificate, pair) = certificate(&PKCS_ED25519);
        let (pin, relays) = pin(HOST, key(&pair));
        assert!(
            judge(&pin, &certificate, HOST),
            "for another name, and expired"
        );
        assert!(judge(&pin, &certificate, "Relay.Example.ORG"));
        assert!(!judge(&pin, &certificate, "other.example.org"));
        relays.set(BTreeMap::new());
        assert!(
            !judge(&pin, &certificate, HOST),
            "a server that left the list"
        );
    }

    #[test]
    fn an_address_is_a_host_like_any_other() {
        let (certificate, pair) = certificate(&PKCS_ED25519);
        for host in ["203.0.113.7", "2001:db8::7"] {
            let (pin, relays) = pin(host, key(&pair));
            let url = relays.get().values().next().unwrap().url.clone();
            assert!(judge(&pin, &certificate, url.host_str().unwrap()));
            assert!(!judge(&pin, &certificate, HOST));
        }
    }

    #[test]
    fn another_key_or_kind_of_key_is_not_believed() {
        let (pin, _) = pin(HOST, key(&certificate(&PKCS_ED25519).1));
        let (other, _) = certificate(&PKCS_ED25519);
        assert!(!judge(&pin, &other, HOST));
        // What a public authority would sign, for the right name.
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let authority = CertificateParams::new(vec![HOST.to_owned()]).unwrap();
        let issuer = rcgen::Issuer::new(authority, certificate(&PKCS_ECDSA_P256_SHA256).1);
        let params = CertificateParams::new(vec![HOST.to_owned()]).unwrap();
        let signed = params.signed_by(&pair, &issuer).unwrap();
        assert!(!judge(&pin, signed.der(), HOST));
        assert!(!judge(
            &pin,
            &CertificateDer::from(vec![0x30, 0x82, 0, 1]),
            HOST
        ));
    }

    /// Whether a handshake between this verifier and a server with that certificate and key succeeds.
    fn handshake(
        pin: Pin,
        certificate: CertificateDer<'static>,
        pair: &KeyPair,
        version: &'static rustls::SupportedProtocolVersion,
    ) -> bool {
        #[derive(Debug)]
        struct Always(Arc<rustls::sign::CertifiedKey>);
        impl rustls::server::ResolvesServerCert for Always {
            fn resolve(
                &self,
                _: rustls::server::ClientHello<'_>,
            ) -> Option<Arc<rustls::sign::CertifiedKey>> {
                Some(self.0.clone())
            }
        }
        let provider = pin.provider.clone();
        let secret = rustls::pki_types::PrivatePkcs8KeyDer::from(pair.serialize_der());
        let signs = provider
            .key_provider
            .load_private_key(secret.into())
            .unwrap();
        let presented = Always(Arc::new(rustls::sign::CertifiedKey::new(
            vec![certificate],
            signs,
        )));
        let server = rustls::ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(presented));
        let client = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(pin))
            .with_no_client_auth();
        let name = ServerName::try_from(HOST).unwrap();
        let mut client = rustls::ClientConnection::new(Arc::new(client), name).unwrap();
        let mut server = rustls::ServerConnection::new(Arc::new(server)).unwrap();
        let mut wire = Vec::new();
        for _ in 0..8 {
            while client.wants_write() {
                client.write_tls(&mut wire).unwrap();
            }
            server.read_tls(&mut wire.as_slice()).unwrap();
            wire.clear();
            if server.process_new_packets().is_err() {
                return false;
            }
            while server.wants_write() {
                server.write_tls(&mut wire).unwrap();
            }
            client.read_tls(&mut wire.as_slice()).unwrap();
            wire.clear();
            if client.process_new_packets().is_err() {
                return false;
            }
        }
        !client.is_handshaking() && !server.is_handshaking()
    }

    #[test]
    fn a_server_must_hold_the_key_it_shows_and_speak_tls_1_3() {
        use rustls::version::{TLS12, TLS13};
        let (certificate, pair) = certificate(&PKCS_ED25519);
        let pinned = || pin(HOST, key(&pair)).0;
        assert!(handshake(pinned(), certificate.clone(), &pair, &TLS13));
        let other = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        assert!(!handshake(pinned(), certificate.clone(), &other, &TLS13));
        assert!(!handshake(pinned(), certificate, &pair, &TLS12));
    }
}
