//! Frozen vectors of what devices say to each other, as in `ledger/tests/vectors.rs`: each line of `vectors/v1.txt` is a name
//! and the bytes of one encoding. After adding a kind: run the test, and put the line it prints into the file.
#![allow(clippy::unwrap_used)]

use mesh_core::beacon::Beacon;
use mesh_core::explain::Probe;
use mesh_core::link::{Frame, Hello, Refusal, Role};
use mesh_core::path::{Call, Candidate, Kind};
use mesh_core::transfer::{self, Handover};
use mesh_ledger::epoch::HandedKey;
use mesh_ledger::ids::{EpochId, EventId, NetworkId, RecoveryKey};
use mesh_ledger::keys::{BoxSecret, DeviceSecret, EpochKey, ServerSecret, UserSecret};
use mesh_ledger::mirror::{Chain, SignedTip, Tip};
use mesh_ledger::succession;

/// The frame is the ledger's.
#[allow(dead_code, unreachable_pub)]
#[path = "../../../ledger/tests/vectors/frozen.rs"]
mod frozen;
#[path = "vectors/link_code.rs"]
mod link_code;

const FILE: &str = include_str!("vectors/v1.txt");
const NETWORK: NetworkId = NetworkId([0x11; 32]);

#[test]
fn every_encoding_is_the_released_one() {
    frozen::check(FILE, &made());
}

#[test]
fn every_frozen_frame_and_beacon_reads_back() {
    for (name, frame) in frames() {
        let bytes = frame.encode().unwrap();
        assert_eq!(Frame::decode(&bytes[4..]).as_ref(), Ok(&frame), "{name}");
    }
    for (name, message) in handovers() {
        let read = Handover::decode(&message.encode());
        assert_eq!(read.as_ref(), Some(&message), "{name}");
    }
    let sealed = beacon().seal(&NETWORK, &device(), &key()).unwrap();
    assert_eq!(Beacon::open(&sealed, &NETWORK, [&key()]), Ok(beacon()));
}

/// Who adds a variant finds that this does not compile, adds it, and then finds that its vector lacks.
#[test]
fn every_variant_of_a_frame_has_a_vector() {
    let frame = |frame: &Frame| match frame {
        Frame::Hello(_) => "Hello",
        Frame::Welcome(_) => "Welcome",
        Frame::Refused(_) => "Refused",
        Frame::Sync(_) => "Sync",
        Frame::Events(_) => "Events",
        Frame::Stored(_) => "Stored",
        Frame::Beacon(_) => "Beacon",
        Frame::KeyWanted(_) => "KeyWanted",
        Frame::Key(_) => "Key",
        Frame::Redeem(_) => "Redeem",
        Frame::Redeemed(_) => "Redeemed",
        Frame::ResetTunnel => "ResetTunnel",
        Frame::Goodbye => "Goodbye",
        Frame::Asked(..) => "Asked",
        Frame::Said(..) => "Said",
        Frame::OfferKeyWanted(_) => "OfferKeyWanted",
        Frame::OfferKey(_) => "OfferKey",
        Frame::Code(_) => "Code",
        Frame::Handover(_) => "Handover",
        Frame::Call(_) => "Call",
    };
    let probe = |probe: &Probe| match probe {
        Probe::Echo => "Echo",
        Probe::Tcp(_) => "Tcp",
        Probe::Udp(_) => "Udp",
    };
    let role = |role: &Role| match role {
        Role::Member => "Member",
        Role::Joiner(_) => "Joiner",
        Role::Code(_) => "told a code",
    };
    let refusal = |refusal: &Refusal| match refusal {
        Refusal::NotHere => "NotHere",
        Refusal::Unknown => "Unknown",
        Refusal::Removed => "Removed",
        Refusal::Protocol => "Protocol",
    };
    let frames = frames();
    let mut seen: Vec<&str> = frames.iter().map(|(_, one)| frame(one)).collect();
    for (_, one) in &frames {
        match one {
            Frame::Hello(hello) => seen.push(role(&hello.role)),
            Frame::Refused(why) => seen.push(refusal(why)),
            Frame::Asked(_, asked) => seen.push(probe(asked)),
            _ => {}
        }
    }
    for variant in [
        "Hello",
        "Welcome",
        "Refused",
        "Sync",
        "Events",
        "Stored",
        "Beacon",
        "KeyWanted",
        "Key",
        "Redeem",
        "Redeemed",
        "ResetTunnel",
        "Goodbye",
        "Asked",
        "Said",
        "Echo",
        "Tcp",
        "Udp",
        "OfferKeyWanted",
        "OfferKey",
        "Handover",
        "Call",
        "Member",
        "Joiner",
        "Code",
        "told a code",
        "NotHere",
        "Unknown",
        "Removed",
        "Protocol",
    ] {
        assert!(seen.contains(&variant), "{variant} has no frozen vector");
    }
}

fn made() -> Vec<(String, Vec<u8>)> {
    let mut made: Vec<(String, Vec<u8>)> = frames()
        .into_iter()
        .map(|(name, frame)| (format!("link.{name}"), frame.encode().unwrap()))
        .collect();
    let sealed = beacon().seal(&NETWORK, &device(), &key()).unwrap();
    made.push(("beacon".to_owned(), sealed));
    for (name, message) in handovers() {
        made.push((format!("handover.{name}"), message.encode()));
    }
    made.extend(link_code::made());
    made
}

fn device() -> DeviceSecret {
    DeviceSecret::from_seed(&[2; 32])
}

fn key() -> EpochKey {
    EpochKey::from_bytes([4; 32])
}

fn beacon() -> Beacon {
    let tip = Tip {
        network: NETWORK,
        count: 300,
        chain: Chain([5; 32]),
        time: 1_795_000_000_123,
    };
    Beacon {
        device: device().public(),
        counter: 1_795_000_000_123,
        heads: [4; 16],
        addresses: vec![
            "192.0.2.7:41641".parse().unwrap(),
            "[2001:db8::7]:41641".parse().unwrap(),
        ],
        tips: vec![SignedTip::sign(tip, &ServerSecret::from_seed(&[6; 32]))],
    }
}

fn handovers() -> Vec<(&'static str, Handover)> {
    let refused = Handover::Refused;
    let accepted = succession::propose(
        &NETWORK,
        &UserSecret::from_seed(&[1; 32]),
        &device().public(),
        BoxSecret::from_seed(&[3; 32]).public(),
        RecoveryKey([9; 32]),
        vec![EventId([1; 32]), EventId([2; 32])],
    );
    vec![
        ("accepted", Handover::Accepted(Box::new(accepted))),
        ("offered", Handover::Offered { until: 5 }),
        ("withdrawn", Handover::Withdrawn),
        (
            "refused.not-offered",
            refused(transfer::Refusal::NotOffered),
        ),
        ("refused.behind", refused(transfer::Refusal::Behind)),
        ("refused.unproven", refused(transfer::Refusal::Unproven)),
    ]
}

fn call() -> Call {
    let kinds = [Kind::Interface, Kind::Mapped, Kind::Reflexive, Kind::Heard];
    let addresses = ["192.0.2.1:51821", "[2001:db8::1]:51821"];
    let candidates = kinds.into_iter().zip(addresses.into_iter().cycle());
    Call {
        tag: 300,
        wanted: true,
        candidates: candidates
            .map(|(kind, address)| Candidate {
                address: address.parse().unwrap(),
                kind,
            })
            .collect(),
    }
}

fn frames() -> Vec<(&'static str, Frame)> {
    let hello = |role| {
        Frame::Hello(Hello {
            network: NETWORK,
            role,
        })
    };
    let boxes = BoxSecret::from_seed(&[3; 32]).public();
    let handed = HandedKey::seal(&NETWORK, &key(), &boxes, &[7; 32]).unwrap();
    let offer_key = handed.clone();
    vec![
        ("hello.member", hello(Role::Member)),
        ("hello.joiner", hello(Role::Joiner(vec![1, 2, 3]))),
        ("hello.code", hello(Role::Code(vec![1, 2, 3]))),
        ("welcome", Frame::Welcome(vec![1, 2, 3])),
        ("refused.not-here", Frame::Refused(Refusal::NotHere)),
        ("refused.unknown", Frame::Refused(Refusal::Unknown)),
        ("refused.removed", Frame::Refused(Refusal::Removed)),
        ("refused.protocol", Frame::Refused(Refusal::Protocol)),
        ("sync", Frame::Sync(vec![1, 2, 3])),
        ("events", Frame::Events(vec![vec![1, 2, 3], vec![4]])),
        ("stored", Frame::Stored(vec![EventId([1; 32])])),
        ("beacon", Frame::Beacon(vec![1, 2, 3])),
        ("key-wanted", Frame::KeyWanted(EpochId([1; 32]))),
        ("key", Frame::Key(handed)),
        ("redeem", Frame::Redeem(vec![1, 2, 3])),
        ("redeemed", Frame::Redeemed(vec![1, 2, 3])),
        ("reset-tunnel", Frame::ResetTunnel),
        ("goodbye", Frame::Goodbye),
        ("asked.echo", Frame::Asked(7, Probe::Echo)),
        ("asked.tcp", Frame::Asked(7, Probe::Tcp(22))),
        ("asked.udp", Frame::Asked(7, Probe::Udp(53))),
        ("said.passes", Frame::Said(7, None)),
        ("said.refused", Frame::Said(7, Some(3))),
        ("offer-key-wanted", Frame::OfferKeyWanted(EpochId([1; 32]))),
        ("offer-key", Frame::OfferKey(offer_key)),
        ("code", Frame::Code(vec![1, 2, 3])),
        ("handover", Frame::Handover(vec![1, 2, 3])),
        ("call", Frame::Call(call())),
    ]
}
