//! The relay: who is let in, and the certificate.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use iroh::endpoint::{NetReportConfig, PortmapperConfig, RelayMode, presets};
use iroh::tls::CaTlsConfig;
use iroh::{
    Endpoint, EndpointAddr, EndpointId, RelayConfig, RelayMap, SecretKey, TransportAddr, Watcher,
};
use iroh_relay::RelayQuicConfig;
use iroh_relay::client::{Client, ClientBuilder};
use iroh_relay::protos::relay::{ClientToRelayMsg, RelayToClientMsg};
use mesh_ledger::ids::ServerKey;
use mesh_ledger::keys::{DeviceSecret, InviteSecret};
use mesh_ledger::mirror::message::{Standing, Visit};
use mesh_ledger::mirror::{Deputation, Pass, Permit, Refusal, Request, Response, Role};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};

use crate::client::{Device, Host, NOW, PATIENCE, all, bytes, host};
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
    with_pass(server, at, secret, None).await
}

async fn with_pass(
    server: &Host,
    at: &Device,
    secret: &DeviceSecret,
    pass: Option<&Pass>,
) -> Result<Client, String> {
    let port = server.server.doors().relay.unwrap();
    let url: iroh::RelayUrl = format!("https://127.0.0.1:{port}").parse().unwrap();
    let resolver = at.endpoint.dns_resolver().unwrap().clone();
    let mut client = ClientBuilder::new(url, SecretKey::from_bytes(&secret.seed()), resolver)
        .tls_client_config(config(server.place().1));
    if let Some(pass) = pass {
        client = client.auth_token(pass.text());
    }
    client.connect().await.map_err(|error| format!("{error:?}"))
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

/// One who reaches the mirror through the relay alone.
async fn by_tcp(server: &Host, who: &DeviceSecret, pass: &Pass) -> Device {
    let port = server.server.doors().relay.unwrap();
    let key = server.place().1;
    let url: iroh::RelayUrl = format!("https://127.0.0.1:{port}").parse().unwrap();
    let place = RelayConfig::new(url.clone(), None).with_auth_token(pass.text());
    let mut probes = NetReportConfig::minimal();
    probes.https_probes = true;
    let endpoint = Endpoint::builder(presets::Minimal)
        .secret_key(SecretKey::from_bytes(&who.seed()))
        .relay_mode(RelayMode::Custom(place.into()))
        .ca_tls_config(CaTlsConfig::custom_server_cert_verifier(Arc::new(
            move |provider| Ok(Arc::new(Pinned(key, provider))),
        )))
        .clear_address_lookup()
        .portmapper_config(PortmapperConfig::Disabled)
        .net_report_config(probes)
        .clear_ip_transports()
        .bind()
        .await
        .unwrap();
    let id = EndpointId::from_bytes(&key.0).unwrap();
    let address = EndpointAddr::from_parts(id, [TransportAddr::Relay(url)]);
    let name = crate::client::name(&key);
    let connecting = endpoint.connect(address, &name);
    let connected = tokio::time::timeout(PATIENCE, connecting).await;
    Device {
        endpoint,
        connection: connected.unwrap().unwrap(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_joiner_with_a_ticket_reaches_the_mirror_through_the_relay_alone() {
    let server = Host::start().await;
    let (mut world, mut side) = World::new("alice");
    let owner = world.owner.clone();
    let ticket = world.invite(&mut side, &owner, 1);
    let (at_alice, mut alice) = host(&server, &world).await;
    let joiner = Person::new("joiner");
    let (network, key) = (world.network, server.place().1);
    let visit = |invite: &InviteSecret, of: &Person| {
        Visit::new(invite, &network, &key, &of.device_id(), NOW)
    };
    let pass = |invite: &InviteSecret, of: &Person| Pass::Joiner(network, visit(invite, of));
    let good = pass(&ticket.key, &joiner);
    let device = by_tcp(&server, &joiner.device, &good).await;
    let role = Role::Joiner(visit(&ticket.key, &joiner));
    let (mut stream, welcome) = device.welcome(network, role).await;
    let invite = ticket.invite;
    assert_eq!(welcome.standing, Standing::Joiner { invite });
    let left = stream.ask(Request::Leave(b"let me in".to_vec())).await;
    assert!(matches!(left, Response::Left(_)), "{left:?}");
    let Response::Letters(letters) = alice.told().await else {
        panic!("no letter");
    };
    assert_eq!(letters[0].body, b"let me in");

    let stranger = Person::new("stranger");
    let unknown = pass(&InviteSecret::from_seed(&[9; 32]), &stranger);
    for shown in [None, Some(&unknown), Some(&good)] {
        let denied = with_pass(&server, &at_alice, &stranger.device, shown).await;
        let denied = denied.unwrap_err();
        assert!(denied.contains("only devices of networks"), "{denied}");
    }
    let late = Person::new("late");
    let ended = pass(&ticket.key, &late);
    let guest = with_pass(&server, &at_alice, &late.device, Some(&ended)).await;
    drop(guest.unwrap());
    let close = world.close(&mut side, &owner, &ticket);
    alice.push(vec![bytes(&world, close)]).await;
    let denied = with_pass(&server, &at_alice, &late.device, Some(&ended)).await;
    assert!(denied.is_err(), "the invite is closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_who_does_not_become_a_member_is_sent_away() {
    let server = Host::with(|options| options.limits.guest = Duration::from_secs(3)).await;
    let (mut world, mut side) = World::new("alice");
    let owner = world.owner.clone();
    let ticket = world.invite(&mut side, &owner, 2);
    let (at_alice, mut alice) = host(&server, &world).await;
    let (joiner, idler) = (Person::new("joiner"), Person::new("idler"));
    let (network, key) = (world.network, server.place().1);
    let enter = async |guest: &Person| {
        let visit = Visit::new(&ticket.key, &network, &key, &guest.device_id(), NOW);
        let pass = Pass::Joiner(network, visit);
        with_pass(&server, &at_alice, &guest.device, Some(&pass)).await
    };
    let mut member = enter(&joiner).await.unwrap();
    let mut guest = enter(&idler).await.unwrap();
    let admission = world.admit(&mut side, &owner, &joiner, Some(&ticket));
    alice.push(vec![bytes(&world, admission)]).await;
    let ended = async { while let Some(Ok(_)) = guest.next().await {} };
    tokio::time::timeout(PATIENCE, ended).await.unwrap();
    // The member came first: it would have been sent away before.
    member.send(ClientToRelayMsg::Ping([7; 8])).await.unwrap();
    let answered = async {
        while let Some(Ok(message)) = member.next().await {
            if message == RelayToClientMsg::Pong([7; 8]) {
                return true;
            }
        }
        false
    };
    assert!(tokio::time::timeout(PATIENCE, answered).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_speaks_for_a_live_device_reaches_the_mirror_and_is_gone_with_the_device() {
    let server = Host::start().await;
    let (mut world, mut side) = World::new("alice");
    let owner = world.owner.clone();
    let bob = world.newcomer(&mut side, &owner, "bob");
    let (at_alice, mut alice) = host(&server, &world).await;
    let key = server.place().1;
    let deputy = Person::new("deputy").device;
    let word = |of: &Person| Deputation::new(&of.device, &key, &deputy.public(), NOW);

    let device = by_tcp(&server, &deputy, &Pass::Deputy(word(&bob))).await;
    let role = Role::Deputy(word(&bob), None);
    let (mut stream, welcome) = device.welcome(world.network, role).await;
    assert_eq!(welcome.standing, Standing::Live);
    assert!(stream.pull(0, false).await.tip.tip.count > 0);

    // Not for a stranger, not with another's word, not for another key.
    let stranger = Person::new("stranger");
    let thief = Person::new("thief").device;
    for (secret, word) in [(&deputy, word(&stranger)), (&thief, word(&bob))] {
        let pass = Pass::Deputy(word.clone());
        let denied = with_pass(&server, &at_alice, secret, Some(&pass)).await;
        assert!(denied.unwrap_err().contains("only devices of networks"));
    }
    let role = Role::Deputy(word(&bob), None);
    let refused = at_alice.refusal(world.network, role).await;
    assert_eq!(refused, Refusal::Visit);

    let other = Person::new("other deputy").device;
    let pass = Pass::Deputy(Deputation::new(&bob.device, &key, &other.public(), NOW));
    let idle = with_pass(&server, &at_alice, &other, Some(&pass)).await;
    let mut idle = idle.unwrap();
    let kick = world.kick(&mut side, &owner, &bob);
    alice.push(vec![bytes(&world, kick)]).await;
    // Either it is told, or the relay was faster.
    while let Some(told) = stream.hear().await {
        if let Response::Refused(why) = told {
            assert_eq!(why, Refusal::Removed);
            break;
        }
    }
    let ended = async { while let Some(Ok(_)) = idle.next().await {} };
    tokio::time::timeout(PATIENCE, ended).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_the_operators_permit_brings_a_network_through_the_relay_alone() {
    let server = Host::with(|options| options.limits.guest = Duration::from_secs(3)).await;
    let (world, _) = World::new("alice");
    let owner = &world.owner;
    let (key, token) = (server.place().1, server.token().unwrap());
    let at = Device::connect(&owner.device, server.place()).await;
    let speaker = |name| Person::new(name).device;
    let word = |of: &DeviceSecret| Deputation::new(&owner.device, &key, &of.public(), NOW);

    let found = |of: &DeviceSecret, permit: Permit| {
        let word = word(of);
        let proof = permit.proof(&word);
        Pass::Founder(word, proof)
    };

    // Not without the permit, nor with another's word.
    let (founder, idler, thief) = (speaker("founder"), speaker("idler"), speaker("thief"));
    let wrong = Permit([7; 16]);
    for pass in [
        Pass::Deputy(word(&thief)),
        found(&thief, wrong),
        found(&founder, token),
    ] {
        let denied = with_pass(&server, &at, &thief, Some(&pass)).await;
        assert!(denied.unwrap_err().contains("only devices of networks"));
    }

    let of_another = Person::new("another");
    let idle_word = Deputation::new(&of_another.device, &key, &idler.public(), NOW);
    let proof = token.proof(&idle_word);
    let pass = Pass::Founder(idle_word, proof);
    let mut idle = with_pass(&server, &at, &idler, Some(&pass)).await.unwrap();
    let device = by_tcp(&server, &founder, &found(&founder, token)).await;
    let role = Role::Deputy(word(&founder), Some(token));
    let (mut stream, welcome) = device.welcome(world.network, role).await;
    assert_eq!(welcome.standing, Standing::NotHosted { may_open: true });
    let pushed = stream.push(all(&world)).await;
    assert_eq!(pushed.stored.len(), world.graph.len());

    // Who brings none is sent away, and who did, and came first, stays.
    let ended = async { while let Some(Ok(_)) = idle.next().await {} };
    tokio::time::timeout(PATIENCE, ended).await.unwrap();
    let role = Role::Deputy(word(&founder), None);
    let (_, welcome) = device.welcome(world.network, role).await;
    assert_eq!(welcome.standing, Standing::Live);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_has_so_many_connections_to_the_relay() {
    let server = Host::start().await;
    let (mut world, mut side) = World::new("alice");
    let owner = world.owner.clone();
    let bob = world.newcomer(&mut side, &owner, "bob");
    let (alice, _stream) = host(&server, &world).await;
    let mut open = Vec::new();
    let denied = loop {
        match relay(&server, &alice, &bob.device).await {
            Ok(client) => open.push(client),
            Err(denied) => break denied,
        }
    };
    assert!(denied.contains("too many connections"), "{denied}");
    assert_eq!(open.len(), 16);
    relay(&server, &alice, &owner.device).await.unwrap();
}
