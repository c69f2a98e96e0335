//! What two devices of a user say to each other over a code, and a user key under a passphrase.

use mesh_core::handover::{Contact, Entered, Handover, Network, No, Request, Said, UserKey};
use mesh_core::keyfile::{Cost, Locked};
use mesh_ledger::epoch::HandedKey;
use mesh_ledger::keys::{BoxSecret, UserSecret};

use super::{NETWORK, device, key};

/// Every message that goes in the open.
fn said() -> Vec<(&'static str, Said)> {
    let mut all = vec![
        (
            "start",
            Said::Start {
                mailbox: 7,
                message: vec![1, 2, 3],
            },
        ),
        ("answer", Said::Answer(vec![1, 2, 3])),
        ("confirm", Said::Confirm([4; 32], vec![1, 2, 3])),
        ("confirmed", Said::Confirmed([4; 32], vec![1, 2, 3])),
        ("entered", Said::Entered(vec![1, 2, 3])),
        ("taken", Said::Taken),
        ("ask-ticket", Said::AskTicket([4; 32])),
        ("ticket", Said::Ticket([4; 32], vec![1, 2, 3])),
    ];
    let refused = [
        ("refused.code", No::Code),
        ("refused.expired", No::Expired),
        ("refused.burnt", No::Burnt),
        ("refused.used", No::Used),
        ("refused.wrong", No::Wrong),
        ("refused.failed", No::Failed),
        ("refused.malformed", No::Malformed),
        ("refused.links-device", No::LinksDevice),
        ("refused.invites", No::Invites),
    ];
    all.extend(refused.map(|(name, no)| (name, Said::Refused(no))));
    all
}

fn request() -> Request {
    Request {
        box_key: BoxSecret::from_seed(&[3; 32]).public(),
        has: vec![NETWORK],
    }
}

/// With the user's key in each way that it goes.
fn handovers() -> Vec<(&'static str, Handover)> {
    let user = UserSecret::from_seed(&[1; 32]);
    let boxes = BoxSecret::from_seed(&[3; 32]).public();
    let network = Network {
        network: NETWORK,
        key: HandedKey::seal(&NETWORK, &key(), &boxes, &[7; 32]).unwrap(),
        events: 300,
        contacts: vec![Contact {
            device: device().public(),
            addresses: vec![
                "192.0.2.7:51820".parse().unwrap(),
                "[2001:db8::7]:51820".parse().unwrap(),
            ],
        }],
    };
    let handover = |key| Handover {
        user: user.public(),
        certificate: user.certify(&device().public()),
        key,
        networks: vec![network.clone()],
    };
    vec![
        ("stays", handover(UserKey::Stays)),
        ("open", handover(UserKey::Open([0x41; 32]))),
        ("locked", handover(UserKey::Locked(locked().encode()))),
    ]
}

fn entered() -> Entered {
    Entered {
        adds: vec![(NETWORK, vec![1, 2, 3])],
    }
}

fn locked() -> Locked {
    // What a guess costs is of no matter here.
    let cost = Cost {
        memory: 64,
        passes: 1,
    };
    let user = UserSecret::from_seed(&[1; 32]);
    Locked::lock(&user, "correct horse", cost, [1; 16], [2; 24]).unwrap()
}

pub(crate) fn made() -> Vec<(String, Vec<u8>)> {
    let mut made = Vec::new();
    for (name, said) in said() {
        made.push((format!("code.{name}"), said.encode().to_vec()));
    }
    made.push(("code.request".to_owned(), request().encode().to_vec()));
    for (name, handover) in handovers() {
        let bytes = handover.encode().to_vec();
        made.push((format!("code.handover.{name}"), bytes));
    }
    made.push(("code.adds".to_owned(), entered().encode().to_vec()));
    made.push(("key-file.bytes".to_owned(), locked().encode()));
    made.push(("key-file.text".to_owned(), locked().text().into_bytes()));
    made
}

#[test]
fn every_frozen_message_of_a_codes_exchange_and_a_key_file_reads_back() {
    for (name, said) in said() {
        assert_eq!(Said::decode(&said.encode()), Some(said), "{name}");
    }
    for (name, handover) in handovers() {
        let read = Handover::decode(&handover.encode());
        assert_eq!(read, Some(handover), "{name}");
    }
    assert_eq!(Request::decode(&request().encode()), Some(request()));
    assert_eq!(Entered::decode(&entered().encode()), Some(entered()));
    assert_eq!(Locked::decode(&locked().encode()), Ok(locked()));
    assert_eq!(Locked::from_text(&locked().text()), Ok(locked()));
    let opened = locked().unlock("correct horse").unwrap();
    assert_eq!(opened.public(), locked().user());
}

/// Who adds a variant finds that this does not compile, adds it, and then finds that its vector lacks.
#[test]
fn every_variant_of_a_codes_exchange_has_a_vector() {
    let name = |said: &Said| match said {
        Said::Start { .. } => "Start",
        Said::Answer(_) => "Answer",
        Said::Confirm(..) => "Confirm",
        Said::Confirmed(..) => "Confirmed",
        Said::Entered(_) => "Entered",
        Said::Taken => "Taken",
        Said::Refused(no) => match no {
            No::Code => "Code",
            No::Expired => "Expired",
            No::Burnt => "Burnt",
            No::Used => "Used",
            No::Wrong => "Wrong",
            No::Failed => "Failed",
            No::Malformed => "Malformed",
            No::LinksDevice => "LinksDevice",
            No::Invites => "Invites",
        },
        Said::AskTicket(_) => "AskTicket",
        Said::Ticket(..) => "Ticket",
    };
    let key = |key: &UserKey| match key {
        UserKey::Stays => "Stays",
        UserKey::Open(_) => "Open",
        UserKey::Locked(_) => "Locked",
    };
    let mut seen: Vec<&str> = said().iter().map(|(_, said)| name(said)).collect();
    seen.extend(handovers().iter().map(|(_, handover)| key(&handover.key)));
    for variant in [
        "Start",
        "Answer",
        "Confirm",
        "Confirmed",
        "Entered",
        "Taken",
        "Code",
        "Expired",
        "Burnt",
        "Used",
        "Wrong",
        "Failed",
        "Malformed",
        "LinksDevice",
        "Invites",
        "AskTicket",
        "Ticket",
        "Stays",
        "Open",
        "Locked",
    ] {
        assert!(seen.contains(&variant), "{variant} has no frozen vector");
    }
}
