#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

#[test]
fn an_interface_is_told_line_by_line_as_the_protocol_has_it() {
    let key = |byte| StaticSecret::from([byte; 32]);
    let peer = |byte| Peer {
        key: PublicKey::from([byte; 32]),
        preshared_key: None,
        endpoint: None,
        allowed: vec![],
        last_handshake: None,
        rx_bytes: 0,
        tx_bytes: 0,
        keepalive: 0,
    };
    let interface = Interface {
        key: Some(key(0x11)),
        port: Some(51821),
        peers: vec![
            Peer {
                endpoint: Some("[2001:db8::7]:9".parse().unwrap()),
                allowed: ["10.0.0.7", "fd00::7"]
                    .iter()
                    .filter_map(|address| host(address.parse().unwrap()))
                    .collect(),
                last_handshake: Some(Duration::new(1_700_000_000, 5)),
                rx_bytes: 148,
                tx_bytes: 92,
                keepalive: 25,
                preshared_key: Some(Zeroizing::new([0x33; 32])),
                ..peer(0x22)
            },
            peer(0x44),
        ],
    };
    let said = print(&interface);
    let hex = |pair: &str| pair.repeat(32);
    assert_eq!(
        said.lines().collect::<Vec<_>>(),
        [
            &*format!("private_key={}", hex("11")),
            "listen_port=51821",
            &format!("public_key={}", hex("22")),
            &format!("preshared_key={}", hex("33")),
            "endpoint=[2001:db8::7]:9",
            "last_handshake_time_sec=1700000000",
            "last_handshake_time_nsec=5",
            "tx_bytes=92",
            "rx_bytes=148",
            "persistent_keepalive_interval=25",
            "allowed_ip=10.0.0.7/32",
            "allowed_ip=fd00::7/128",
            "protocol_version=1",
            &format!("public_key={}", hex("44")),
            "last_handshake_time_sec=0",
            "last_handshake_time_nsec=0",
            "tx_bytes=0",
            "rx_bytes=0",
            "persistent_keepalive_interval=0",
            "protocol_version=1",
        ]
    );
    assert!(said.ends_with('\n'));
    let nothing = Interface {
        key: None,
        port: None,
        peers: vec![],
    };
    assert_eq!(*print(&nothing), "");
}

#[test]
fn the_longest_answer_has_room_from_the_start_so_that_no_key_is_left_behind_by_growing() {
    let longest = "[1111:2222:3333:4444:5555:6666:7777:8888%4294967295]:65535";
    let subnet = Subnet::new(
        "1111:2222:3333:4444:5555:6666:7777:8888".parse().unwrap(),
        128,
    );
    let peers = (0..200).map(|_| Peer {
        key: PublicKey::from([0xff; 32]),
        preshared_key: Some(Zeroizing::new([0xff; 32])),
        endpoint: Some(longest.parse().unwrap()),
        allowed: vec![subnet.unwrap(); 9],
        last_handshake: Some(Duration::new(u64::MAX, 999_999_999)),
        rx_bytes: u64::MAX,
        tx_bytes: u64::MAX,
        keepalive: u16::MAX,
    });
    let peers: Vec<Peer> = peers.collect();
    let room = AN_INTERFACE + peers.len() * (A_PEER + 9 * AN_ADDRESS);
    let interface = Interface {
        key: Some(StaticSecret::from([0xff; 32])),
        port: Some(u16::MAX),
        peers,
    };
    let said = print(&interface);
    assert!(said.len() <= room && said.capacity() == room, "{room}");
}

#[test]
fn what_wg_asks_for_is_understood() {
    assert!(matches!(parse(b"get=1\n\n"), Ok(Request::Get)));
    let text = format!(
        "set=1\nprivate_key={}\nlisten_port=12912\nfwmark=7\nreplace_peers=true\n\
         public_key={}\npreshared_key={}\nendpoint=[abcd:23::33%2]:51820\nreplace_allowed_ips=true\n\
         allowed_ip=192.168.4.4/24\nallowed_ip=::/0\n\
         public_key={}\nupdate_only=true\npersistent_keepalive_interval=111\nendpoint=182.122.22.19:3233\n\
         public_key={}\nremove=true\nprotocol_version=1\n\n",
        "E8".repeat(32),
        "b8".repeat(32),
        "18".repeat(32),
        "58".repeat(32),
        "66".repeat(32),
    );
    let Ok(Request::Set(change)) = parse(text.as_bytes()) else {
        panic!("it is refused")
    };
    assert_eq!(
        change.key.unwrap().unwrap().as_bytes(),
        &[0xe8; 32],
        "either case"
    );
    assert_eq!(
        (change.port, change.mark, change.replace_peers),
        (Some(12912), Some(7), true)
    );
    let [first, second, third] = &change.peers[..] else {
        panic!("{} peers", change.peers.len())
    };
    assert_eq!(first.key.as_bytes(), &[0xb8; 32]);
    assert_eq!(
        **first.preshared_key.as_ref().unwrap().as_ref().unwrap(),
        [0x18; 32]
    );
    assert_eq!(first.endpoint, "[abcd:23::33%2]:51820".parse().ok());
    assert!(first.replace_allowed && !first.remove && !first.update_only);
    let allowed: Vec<String> = first.allowed.iter().map(ToString::to_string).collect();
    assert_eq!(allowed, ["192.168.4.0/24", "::/0"]);
    assert!(second.update_only && second.preshared_key.is_none());
    assert_eq!(second.keepalive, Some(111));
    assert!(third.remove);
    // Zeros take a key away.
    let none = "0".repeat(64);
    let text = format!("set=1\nprivate_key={none}\npublic_key={none}\npreshared_key={none}\n\n");
    let Ok(Request::Set(change)) = parse(text.as_bytes()) else {
        panic!("it is refused")
    };
    assert!(matches!(change.key, Some(None)));
    assert!(matches!(change.peers[0].preshared_key, Some(None)));
}

#[test]
fn what_is_no_request_is_refused_by_its_kind() {
    let key = "ab".repeat(32);
    let peer = |line: &str| format!("set=1\npublic_key={key}\n{line}\n\n");
    for (text, refusal) in [
        ("", Refusal::Protocol),
        ("\n", Refusal::Protocol),
        ("\n\n", Refusal::Protocol),
        ("get=1", Refusal::Protocol),
        ("get=1\n", Refusal::Protocol),
        ("hello\n\n", Refusal::Protocol),
        ("GET / HTTP/1.1\n\n", Refusal::Protocol),
        ("get=2\n\n", Refusal::Unsupported),
        ("set=\n\n", Refusal::Unsupported),
        ("get=1\nprivate_key=\n\n", Refusal::Invalid),
        ("set=1\nno value\n\n", Refusal::Protocol),
        ("set=1\nshoe_size=44\n\n", Refusal::Invalid),
        ("set=1\nprivate_key=\n\n", Refusal::Invalid),
        ("set=1\nprivate_key=xy\n\n", Refusal::Invalid),
        ("set=1\nlisten_port=65536\n\n", Refusal::Invalid),
        ("set=1\nlisten_port=+7\n\n", Refusal::Invalid),
        ("set=1\nlisten_port=\n\n", Refusal::Invalid),
        ("set=1\nfwmark=-1\n\n", Refusal::Invalid),
        ("set=1\nreplace_peers=false\n\n", Refusal::Invalid),
        // What belongs to a peer, before there is one.
        ("set=1\nallowed_ip=10.0.0.0/8\n\n", Refusal::Invalid),
        ("set=1\nprotocol_version=1\n\n", Refusal::Invalid),
        (
            &format!("set=1\npublic_key={}\n\n", "g".repeat(64)),
            Refusal::Invalid,
        ),
        (&format!("set=1\npublic_key={key}0\n\n"), Refusal::Invalid),
        // What belongs to the interface, after the first peer.
        (&peer("listen_port=7"), Refusal::Invalid),
        (&peer("allowed_ip=10.0.0.0"), Refusal::Invalid),
        (&peer("allowed_ip=10.0.0.0/33"), Refusal::Invalid),
        (&peer("allowed_ip=10.0.0.0/-1"), Refusal::Invalid),
        (&peer("allowed_ip=fd00::/129"), Refusal::Invalid),
        (&peer("endpoint=example.org:7"), Refusal::Invalid),
        (&peer("endpoint=10.0.0.1"), Refusal::Invalid),
        (&peer("persistent_keepalive_interval=off"), Refusal::Invalid),
        (&peer("protocol_version=2"), Refusal::Invalid),
    ] {
        assert_eq!(parse(text.as_bytes()).err(), Some(refusal), "{text:?}");
    }
    assert_eq!(
        parse(b"set=1\n\xff=\xfe\n\n").err(),
        Some(Refusal::Protocol)
    );
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = parse(&bytes);
        let _ = parse(&[b"set=1\n", &bytes[..], b"\n\n"].concat());
    }

    #[test]
    fn no_values_make_it_panic(names in prop::collection::vec((0..NAMES.len(), "[ -~]{0,70}"), 0..12)) {
        let mut text = String::from("set=1\n");
        for (name, value) in names {
            text.push_str(&format!("{}={value}\n", NAMES[name]));
        }
        let _ = parse((text + "\n").as_bytes());
    }
}

const NAMES: &[&str] = &[
    "private_key",
    "listen_port",
    "fwmark",
    "replace_peers",
    "public_key",
    "remove",
    "update_only",
    "preshared_key",
    "endpoint",
    "persistent_keepalive_interval",
    "replace_allowed_ips",
    "allowed_ip",
    "protocol_version",
];
