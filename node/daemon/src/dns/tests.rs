#![allow(clippy::unwrap_used)]

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use mesh_core::names::Zone;
use mesh_ledger::event::act::Policy;
use mesh_ledger::ids::WgKey;
use mesh_ledger::keys::{BoxSecret, DeviceSecret, EpochKey, UserSecret};
use mesh_ledger::network::{FoundingArgs, Ledger};
use mesh_ledger::recovery::RecoveryWords;
use mesh_ledger::store::memory::MemoryStore;

use super::*;

/// A network of alice alone, at 10.7.0.1.
fn names() -> (Names, Ipv6Addr) {
    let (ledger, _) = Ledger::found(
        MemoryStore::new(),
        FoundingArgs {
            name: "home".parse().unwrap(),
            subnet: "10.7.0.0/24".parse().unwrap(),
            policy: Policy::default(),
            user: &UserSecret::from_seed(&[1; 32]),
            device: &DeviceSecret::from_seed(&[2; 32]),
            box_secret: BoxSecret::from_seed(&[3; 32]),
            host: "alice".parse().unwrap(),
            address: None,
            wireguard: WgKey([4; 32]),
            epoch: EpochKey::from_bytes([5; 32]),
            recovery: RecoveryWords::from_entropy([6; 32]),
            nonce: [7; 16],
            salt: [8; 16],
            now: 1_795_000_000_000,
        },
    )
    .unwrap();
    let v6 = ledger.state().host("alice").unwrap().v6;
    let zone = Zone::of(ledger.state(), &"home".parse().unwrap());
    ([zone].into_iter().collect(), v6)
}

fn query(name: &str, kind: RecordType) -> Message {
    let mut message = Message::new(0x1234, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message
}

fn ask(names: &Names, message: &Message) -> Message {
    let answer = message::answer(&message.to_vec().unwrap(), names).unwrap();
    assert!(answer.len() <= 512);
    let answer = Message::from_vec(&answer).unwrap();
    assert_eq!(answer.metadata.id, message.metadata.id);
    assert_eq!(answer.metadata.message_type, MessageType::Response);
    answer
}

fn data(answer: &Message) -> Vec<String> {
    answer
        .answers
        .iter()
        .map(|record| record.data.to_string())
        .collect()
}

#[test]
fn a_host_is_answered_by_its_addresses_for_a_short_time() {
    let (names, v6) = names();
    for name in ["alice.home.mesh.internal.", "WWW.Alice.HOME.mesh.internal."] {
        let answer = ask(&names, &query(name, RecordType::A));
        assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
        assert!(answer.metadata.authoritative && answer.metadata.recursion_desired);
        assert_eq!(data(&answer), ["10.7.0.1"]);
        assert_eq!(
            answer.answers[0].name.to_ascii(),
            name,
            "in the case that was asked for"
        );
        assert!(answer.answers[0].ttl <= 30);
        let answer = ask(&names, &query(name, RecordType::AAAA));
        assert_eq!(data(&answer), [v6.to_string()]);
        assert_eq!(data(&ask(&names, &query(name, RecordType::ANY))).len(), 2);
    }
}

#[test]
fn an_address_is_answered_by_its_host() {
    let (names, v6) = names();
    for address in [IpAddr::from([10, 7, 0, 1]), v6.into()] {
        let name = Name::from(address).to_ascii();
        let answer = ask(&names, &query(&name, RecordType::PTR));
        assert_eq!(data(&answer), ["alice.home.mesh.internal."], "{name}");
    }
}

#[test]
fn what_is_not_there_is_told_with_how_long_that_holds() {
    let (names, _) = names();
    let cases = [
        (
            "bob.home.mesh.internal.",
            RecordType::A,
            ResponseCode::NXDomain,
        ),
        (
            "alice.work.mesh.internal.",
            RecordType::A,
            ResponseCode::NXDomain,
        ),
        (
            "9.0.7.10.in-addr.arpa.",
            RecordType::PTR,
            ResponseCode::NXDomain,
        ),
        (
            "alice.home.mesh.internal.",
            RecordType::MX,
            ResponseCode::NoError,
        ),
        ("home.mesh.internal.", RecordType::A, ResponseCode::NoError),
        ("mesh.internal.", RecordType::A, ResponseCode::NoError),
        (
            "1.0.7.10.in-addr.arpa.",
            RecordType::A,
            ResponseCode::NoError,
        ),
    ];
    for (name, kind, code) in cases {
        let answer = ask(&names, &query(name, kind));
        assert_eq!(answer.metadata.response_code, code, "{name}");
        assert_eq!(answer.answers, [], "{name}");
        let soa = &answer.authorities[0];
        assert!(soa.name.zone_of(&Name::from_ascii(name).unwrap()), "{name}");
        let RData::SOA(data) = &soa.data else {
            panic!("{soa}")
        };
        assert!(soa.ttl <= 10 && data.minimum <= 10);
    }
    let soa = ask(&names, &query("mesh.internal.", RecordType::SOA));
    assert_eq!(soa.answers.len(), 1);
}

#[test]
fn what_is_not_ours_is_refused() {
    let (names, _) = names();
    for name in [
        "example.com.",
        "alice.",
        "alice.home.",
        ".",
        "1.0.8.10.in-addr.arpa.",
    ] {
        let answer = ask(&names, &query(name, RecordType::A));
        assert_eq!(
            answer.metadata.response_code,
            ResponseCode::Refused,
            "{name}"
        );
        assert_eq!((answer.answers.len(), answer.authorities.len()), (0, 0));
    }
    let answer = ask(
        &Names::default(),
        &query("alice.home.mesh.internal.", RecordType::A),
    );
    assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain);
}

#[test]
fn options_are_answered_and_those_of_a_later_version_named_bad() {
    let (names, _) = names();
    let mut message = query("alice.home.mesh.internal.", RecordType::A);
    let mut edns = Edns::new();
    edns.set_max_payload(4096);
    message.set_edns(edns.clone());
    let answer = ask(&names, &message);
    assert_eq!(answer.edns.as_ref().unwrap().version(), 0);
    assert_eq!(data(&answer), ["10.7.0.1"]);
    edns.set_version(1);
    message.set_edns(edns);
    let answer = ask(&names, &message);
    assert_eq!(answer.answers, []);
    assert_eq!(answer.edns.unwrap().rcode_high(), 1);
}

#[test]
fn no_bytes_make_it_panic_or_answer_an_answer() {
    let (names, _) = names();
    let good = query("alice.home.mesh.internal.", RecordType::A)
        .to_vec()
        .unwrap();
    for length in 0..good.len() {
        let answer = message::answer(&good[..length], &names);
        assert_eq!(answer.is_some(), length >= 12, "{length}");
    }
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..20_000 {
        let mut bytes = good.clone();
        for _ in 0..3 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let at = usize::try_from(random >> 32).unwrap() % bytes.len();
            bytes[at] = u8::try_from(random & 0xff).unwrap();
        }
        let answer = message::answer(&bytes, &names);
        assert_eq!(answer.is_none(), bytes[2] & 0x80 != 0);
        assert!(answer.is_none_or(|answer| answer.len() <= 512 && answer[2] & 0x80 != 0));
    }
    let mut many = good.clone();
    many[4..6].copy_from_slice(&[0xff, 0xff]);
    let answer = Message::from_vec(&message::answer(&many, &names).unwrap()).unwrap();
    assert_eq!(answer.metadata.response_code, ResponseCode::FormErr);
}

#[tokio::test]
async fn both_transports_answer_until_the_server_stops() {
    let (names, _) = names();
    let shared = Shared::default();
    shared.store(Arc::new(Served {
        names,
        own: BTreeSet::new(),
    }));
    let local = IpAddr::from(Ipv4Addr::LOCALHOST);
    let server = Server::start(&[local], &shared, 0).await;
    // Any port: UDP and TCP may not find the same one free at the first attempt.
    let server = match server {
        Ok(server) => server,
        Err(_) => Server::start(&[local], &shared, 0).await.unwrap(),
    };
    assert_eq!(server.addresses(), [local]);
    let at = server.at.unwrap();
    let asked = query("alice.home.mesh.internal.", RecordType::A)
        .to_vec()
        .unwrap();

    let udp = UdpSocket::bind((local, 0)).await.unwrap();
    udp.send_to(&asked, at).await.unwrap();
    let mut answer = [0; 512];
    let (length, _) = udp.recv_from(&mut answer).await.unwrap();
    assert_eq!(
        data(&Message::from_vec(&answer[..length]).unwrap()),
        ["10.7.0.1"]
    );

    let mut tcp = TcpStream::connect(at).await.unwrap();
    for _ in 0..2 {
        tcp.write_u16(u16::try_from(asked.len()).unwrap())
            .await
            .unwrap();
        tcp.write_all(&asked).await.unwrap();
        let length = tcp.read_u16().await.unwrap();
        let mut answer = vec![0; usize::from(length)];
        tcp.read_exact(&mut answer).await.unwrap();
        assert_eq!(data(&Message::from_vec(&answer).unwrap()), ["10.7.0.1"]);
    }
    // Longer than any query.
    tcp.write_u16(u16::MAX).await.unwrap();
    assert!(tcp.read_u16().await.is_err(), "it is hung up on");

    let taken = Server::start(&[local], &shared, at.port()).await;
    assert!(matches!(taken, Err(ServeError::Taken(_))));
    server.stop().await;
    Server::start(&[local], &shared, at.port())
        .await
        .unwrap()
        .stop()
        .await;
}

#[tokio::test]
async fn further_connections_wait_and_silent_ones_make_room() {
    let shared = Shared::default();
    let local = IpAddr::from(Ipv4Addr::LOCALHOST);
    let server = Server::start(&[local], &shared, 0).await.unwrap();
    let at: SocketAddr = server.at.unwrap();
    let mut silent = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        silent.push(TcpStream::connect(at).await.unwrap());
    }
    let asked = query("example.com.", RecordType::A).to_vec().unwrap();
    let mut late = TcpStream::connect(at).await.unwrap();
    late.write_u16(u16::try_from(asked.len()).unwrap())
        .await
        .unwrap();
    late.write_all(&asked).await.unwrap();
    let answered = timeout(IDLE / 10, late.read_u16()).await;
    assert!(answered.is_err(), "there is no room yet");
    assert!(timeout(IDLE * 3, late.read_u16()).await.unwrap().is_ok());
    server.stop().await;
}

#[test]
fn only_this_device_may_ask() {
    let served = Served {
        names: Names::default(),
        own: [IpAddr::from([10, 7, 0, 1])].into(),
    };
    for (from, may) in [
        ("10.7.0.1", true),
        ("127.0.0.1", true),
        ("::1", true),
        ("10.7.0.2", false),
        ("192.168.1.9", false),
    ] {
        assert_eq!(served.may_ask(from.parse().unwrap()), may, "{from}");
    }
}
