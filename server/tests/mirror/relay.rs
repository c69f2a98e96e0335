//! The relay: who is let in, and the certificate.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;

use futures_util::StreamExt;
use iroh::endpoint::{RelayMode, presets};
use iroh::tls::CaTlsConfig;
use iroh::{Endpoint, RelayConfig, RelayMap, SecretKey, Watcher};
use iroh_relay::RelayQuicConfig;
use iroh_relay::client::{Client, ClientBuilder};
use iroh_relay::protos::relay::RelayToClientMsg;
use mesh_ledger::ids::ServerKey;
use mesh_ledger::keys::DeviceSecret;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};

use crate::client::{Device, Host, PATIENCE, bytes, host};
use crate::world::{Person, World};

/// Accepts the certificate that a server's own key signed.
#[derive(Debug)]
struct Pinned(ServerKey, Arc<CryptoProvider>);

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        // The SubjectPublicKeyInfo of an ed25519 key, as RFC 8410 writes it.
        let mut info = vec![
            0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
        ];
        info.extend_from_slice(&self.0.0);
        let found = certificate.windows(info.len()).any(|part| part == info);
        if found {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(rustls::Error::General("another key".to_owned()))
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("only TLS 1.3".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.1.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

fn config(key: ServerKey) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Pinned(key, provider)))
        .with_no_client_auth()
}

async fn relay(server: &Host, at: &Device, secret: &DeviceSecret) -> Result<Client, String> {
    let port = server.server.doors().relay.unwrap();
    let url: iroh::RelayUrl = format!("https://127.0.0.1:{port}").parse().unwrap();
    let resolver = at.endpoint.dns_resolver().unwrap().clone();
    ClientBuilder::new(url, SecretKey::from_bytes(&secret.seed()), resolver)
        .tls_client_config(config(server.place().1))
        .connect()
        .await
        .map_err(|error| format!("{error:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_relay_admits_a_live_device_refuses_a_stranger_and_throws_the_removed_out() {
    let server = Host::start().await;
    let (mut world, mut side) = World::new("alice");
    let owner = world.owner.clone();
    let bob = world.newcomer(&mut side, &owner, "bob");
    let early = Device::connect(&owner.device, server.place()).await;
    assert!(relay(&server, &early, &owner.device).await.is_err());
    let (alice, mut stream) = host(&server, &world).await;
    let stranger = Person::new("stranger");
    let denied = relay(&server, &alice, &stranger.device).await.unwrap_err();
    assert!(denied.contains("only devices of networks"), "{denied}");

    let _owner = relay(&server, &alice, &owner.device).await.unwrap();
    let mut at_bob = relay(&server, &alice, &bob.device).await.unwrap();
    let kick = world.kick(&mut side, &owner, &bob);
    stream.push(vec![bytes(&world, kick)]).await;
    let ended = async {
        while let Some(Ok(message)) = at_bob.next().await {
            assert!(!matches!(message, RelayToClientMsg::Datagrams { .. }));
        }
    };
    tokio::time::timeout(PATIENCE, ended).await.unwrap();
    assert!(relay(&server, &alice, &bob.device).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_told_over_tls_under_the_servers_own_key_and_no_other() {
    let server = Host::start().await;
    let port = server.server.doors().relay.unwrap();
    let key = server.place().1;
    let ask = move |key: ServerKey| {
        let name = ServerName::from(std::net::IpAddr::from(Ipv4Addr::LOCALHOST));
        let mut tls = rustls::ClientConnection::new(Arc::new(config(key)), name).unwrap();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut tcp = TcpStream::connect(address).unwrap();
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut stream = rustls::Stream::new(&mut tls, &mut tcp);
        let request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request)?;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer)?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = tokio::task::spawn_blocking(move || ask(key)).await.unwrap();
    assert_eq!(&answer.unwrap(), b"HTTP/1.1 200");
    let other = tokio::task::spawn_blocking(move || ask(ServerKey([1; 32])));
    assert!(other.await.unwrap().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn address_discovery_tells_a_device_where_it_is_seen() {
    let server = Host::start().await;
    let (world, _) = World::new("alice");
    host(&server, &world).await;
    let (doors, key) = (server.server.doors(), server.place().1);
    let port = doors.relay.unwrap();
    let url: iroh::RelayUrl = format!("https://127.0.0.1:{port}").parse().unwrap();
    let quic = RelayQuicConfig::new(doors.discovery.unwrap());
    let map = RelayMap::empty();
    map.insert(
        url.clone(),
        Arc::new(RelayConfig::new(url.clone(), Some(quic))),
    );
    let pinned = CaTlsConfig::custom_server_cert_verifier(Arc::new(move |provider| {
        Ok(Arc::new(Pinned(key, provider)) as Arc<dyn ServerCertVerifier>)
    }));
    let endpoint = Endpoint::builder(presets::Minimal)
        .secret_key(SecretKey::from_bytes(&world.owner.device.seed()))
        .relay_mode(RelayMode::Custom(map))
        .ca_tls_config(pinned)
        .bind()
        .await
        .unwrap();
    // Its own addresses are those of interfaces; the loopback one is how the server sees it.
    let sockets = endpoint.bound_sockets();
    let seen = |address: &SocketAddr| {
        address.ip().is_loopback() && sockets.iter().any(|s| s.port() == address.port())
    };
    let mut addresses = endpoint.watch_addr();
    let told = async {
        while !addresses.get().ip_addrs().any(seen) {
            addresses.updated().await.unwrap();
        }
    };
    tokio::time::timeout(PATIENCE, told).await.unwrap();
    endpoint.close().await;
}
