//! Keys of real handshakes: they agree with those of *ring* alone, and follow a connection over changes of its keys.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use rustls::quic::{
    ClientConnection, Connection, KeyChange, Keys, PacketKey, PacketKeySet, Secrets,
    ServerConnection, Version,
};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

/// The header of a short packet, and those of an Initial packet to `9` from `8` with a token so long.
const SHORT: &[u8] = &[0x40, 1, 2, 3, 4, 5, 6, 7, 8, 0];

fn initial(to: u8, from: u8, token: usize) -> Vec<u8> {
    let mut header = vec![0xc0, 0, 0, 0, 1, 1, to, 1, from];
    header.extend((token as u16 | 0x4000).to_be_bytes());
    header.extend(vec![0; token]);
    header
}

struct End {
    keys: Keys,
    next: Secrets,
}

/// Both ends of a connection after its handshake, the client's first.
fn connect(client: Arc<CryptoProvider>, server: Arc<CryptoProvider>) -> [End; 2] {
    let pair = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["mesh".to_owned()]).unwrap();
    let certificate: CertificateDer<'static> = params.self_signed(&pair).unwrap().der().clone();
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let tls13 = &[&rustls::version::TLS13];
    let config = ServerConfig::builder_with_provider(server)
        .with_protocol_versions(tls13)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate],
            PrivatePkcs8KeyDer::from(pair.serialize_der()).into(),
        )
        .unwrap();
    let server = ServerConnection::new(Arc::new(config), Version::V1, vec![]).unwrap();
    let config = ClientConfig::builder_with_provider(client)
        .with_protocol_versions(tls13)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("mesh").unwrap();
    let client = ClientConnection::new(Arc::new(config), Version::V1, name, vec![]).unwrap();
    let mut ends = [Connection::Client(client), Connection::Server(server)];
    let mut made = [None, None];
    while made.iter().any(Option::is_none) {
        for side in 0..2 {
            loop {
                let mut message = Vec::new();
                let change = ends[side].write_hs(&mut message);
                if let Some(KeyChange::OneRtt { keys, next }) = change {
                    made[side] = Some(End { keys, next });
                } else if change.is_none() && message.is_empty() {
                    break;
                }
                ends[1 - side].read_hs(&message).unwrap();
            }
        }
    }
    made.map(Option::unwrap)
}

fn sealed(key: &dyn PacketKey, path: u32, packet: u64, header: &[u8], frames: &[u8]) -> Vec<u8> {
    let mut bytes = frames.to_vec();
    let tag = key
        .encrypt_in_place_for_path(path, packet, header, &mut bytes)
        .unwrap();
    bytes.extend_from_slice(tag.as_ref());
    bytes
}

fn opens(key: &dyn PacketKey, path: u32, packet: u64, header: &[u8], mut bytes: Vec<u8>) -> bool {
    key.decrypt_in_place_for_path(path, packet, header, &mut bytes)
        .is_ok()
}

/// Sends a PING under these keys, and says whether it opened.
fn ping(from: &dyn PacketKey, to: &dyn PacketKey, path: u32, packet: u64) -> bool {
    opens(
        to,
        path,
        packet,
        SHORT,
        sealed(from, path, packet, SHORT, &[1]),
    )
}

#[test]
fn a_guarded_end_and_one_of_ring_alone_understand_each_other_also_after_changes_of_keys() {
    let plain = || Arc::new(ring::default_provider());
    for providers in [
        (mesh_guard::provider(), plain()),
        (plain(), mesh_guard::provider()),
    ] {
        let [mut client, mut server] = connect(providers.0, providers.1);
        assert!(ping(
            &*client.keys.local.packet,
            &*server.keys.remote.packet,
            0,
            1
        ));
        assert!(ping(
            &*server.keys.local.packet,
            &*client.keys.remote.packet,
            0,
            1
        ));
        for phase in 0..3 {
            let PacketKeySet { local, .. } = client.next.next_packet_keys();
            let PacketKeySet { remote, .. } = server.next.next_packet_keys();
            assert!(ping(&*local, &*remote, 0, 2 + phase), "phase {phase}");
        }
    }
}

#[test]
fn a_change_of_keys_gives_no_new_room_and_another_connection_has_its_own() {
    let plain = Arc::new(ring::default_provider());
    let [mut client, mut server] = connect(plain.clone(), mesh_guard::provider());
    let mut packet = 0;
    let mut fill = |local: &dyn PacketKey, remote: &dyn PacketKey| {
        let mut taken = 0;
        for _ in 0..64 {
            for path in 0..3 {
                packet += 1 << 31;
                taken += u32::from(ping(local, remote, path, packet));
            }
        }
        taken
    };
    let first = fill(&*client.keys.local.packet, &*server.keys.remote.packet);
    assert!((60..130).contains(&first), "{first} of 192");
    // The library keeps the keys of the phase before and of the next one.
    let mut kept = vec![];
    for phase in 0..4 {
        let sends = client.next.next_packet_keys();
        let takes = server.next.next_packet_keys();
        let taken = fill(&*sends.local, &*takes.remote);
        assert_eq!(taken, 0, "phase {phase}");
        kept.push(takes);
    }
    let [client, server] = connect(plain, mesh_guard::provider());
    assert!(fill(&*client.keys.local.packet, &*server.keys.remote.packet) >= 60);
}

#[test]
fn what_the_library_acknowledges_makes_room_again() {
    let plain = Arc::new(ring::default_provider());
    let [client, server] = connect(plain, mesh_guard::provider());
    let mut packet = 0;
    while ping(
        &*client.keys.local.packet,
        &*server.keys.remote.packet,
        0,
        packet << 31,
    ) {
        packet += 1;
        assert!(packet < 64);
    }
    // Of path 0, the last packet alone.
    let mut frames = vec![0x3e, 0];
    frames.extend(((packet - 1) << 31 | 3 << 62).to_be_bytes());
    frames.extend([0, 0, 0]);
    sealed(&*server.keys.local.packet, 0, 0, SHORT, &frames);
    assert!(ping(
        &*client.keys.local.packet,
        &*server.keys.remote.packet,
        0,
        packet << 31
    ));
}

#[test]
fn nothing_opens_for_an_attempt_whose_initial_packet_left_with_a_long_token() {
    let suite = |provider: Arc<CryptoProvider>| {
        let mut suites = provider.cipher_suites.clone().into_iter();
        let quic = suites.find_map(|suite| {
            let suite = suite.tls13()?;
            let aes = rustls::CipherSuite::TLS13_AES_128_GCM_SHA256;
            (suite.common.suite == aes).then_some(suite)
        });
        quic.unwrap().quic_suite().unwrap()
    };
    let client = suite(mesh_guard::provider()).keys(b"cid", rustls::Side::Client, Version::V1);
    let server =
        suite(ring::default_provider().into()).keys(b"cid", rustls::Side::Server, Version::V1);
    let answer = |to: u8| {
        let header = initial(to, 9, 0);
        let bytes = sealed(&*server.local.packet, 0, 1, &header, &[1]);
        opens(&*client.remote.packet, 0, 1, &header, bytes)
    };
    sealed(&*client.local.packet, 0, 0, &initial(9, 21, 512), &[6]);
    assert!(answer(21), "a token of 512 bytes leaves room");
    sealed(&*client.local.packet, 0, 0, &initial(9, 22, 513), &[6]);
    assert!(!answer(22));
    assert!(answer(23), "another attempt");
    // One that comes with a long token is not taken either.
    let server = suite(mesh_guard::provider()).keys(b"cid", rustls::Side::Server, Version::V1);
    for (token, taken) in [(512, true), (513, false)] {
        let header = initial(9, 21, token);
        let bytes = sealed(&*client.local.packet, 0, 2, &header, &[1]);
        assert_eq!(opens(&*server.remote.packet, 0, 2, &header, bytes), taken);
    }
}

#[test]
fn books_are_gone_with_their_connections() {
    let before = mesh_guard::lineage::books();
    for _ in 0..10 {
        let _ends = connect(mesh_guard::provider(), mesh_guard::provider());
    }
    // Other tests of this process may hold some.
    assert!(mesh_guard::lineage::books() <= before + 6);
}
