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
