//! What people carry: files of a network, proofs, and codes that they say to each other.

use mesh_ledger::carry::{Carried, Carry, Kind};
use mesh_ledger::code::{Code, Ends, Joiner, Keeper, Way as To, topic};
use mesh_ledger::event::Act;
use mesh_ledger::ids::{DeviceId, EventId, UserId};
use mesh_ledger::mirror::letter::{self, Way};
use mesh_ledger::proof_file::{Claim, ProofFile};

use super::{acts, device, event, founding, network, ticket};

pub(super) fn carries() -> Vec<(&'static str, Carry)> {
    let genesis = event(&acts()[0].1, Some(&founding()));
    let merge = event(&Act::Merge, None);
    let events = vec![genesis.bytes().to_vec(), merge.bytes().to_vec()];
    let history = Carry::history(network(), events, vec![merge.id()]);
    let letter = |way| {
        let joiner = device().public();
        let contact = ticket().contact();
        let body = letter::seal(&contact, &network(), &joiner, way, b"let me in").unwrap();
        Some(Carried {
            joiner,
            invite: ticket().invite_secret().public(),
            body,
        })
    };
    vec![
        ("history", history.clone()),
        (
            "history.partial",
            Carry {
                partial: true,
                ..history.clone()
            },
        ),
        (
            "invite",
            Carry {
                kind: Kind::Invite,
                ticket: Some(ticket()),
                contacts: ticket().contacts().to_vec(),
                ..history.clone()
            },
        ),
        (
            "request",
            Carry {
                kind: Kind::Request,
                letter: letter(Way::Redemption),
                events: Vec::new(),
                heads: Vec::new(),
                ..history.clone()
            },
        ),
        (
            "answer",
            Carry {
                kind: Kind::Answer,
                letter: letter(Way::Reply),
                ..history
            },
        ),
    ]
}

pub(super) fn proofs() -> Vec<(&'static str, ProofFile)> {
    let merge = event(&Act::Merge, None);
    let proof = |claim| ProofFile {
        claim,
        fact: EventId([4; 32]),
        head: merge.id(),
        events: vec![merge.bytes().to_vec()],
    };
    vec![
        ("member", proof(Claim::Member(UserId([3; 32])))),
        ("admin", proof(Claim::Admin(UserId([3; 32])))),
        ("event", proof(Claim::Event(EventId([4; 32])))),
    ]
}

pub(super) fn made() -> Vec<(String, Vec<u8>)> {
    let mut made = Vec::new();
    for (name, carry) in carries() {
        made.push((format!("file.{name}"), carry.write().to_vec()));
    }
    for (name, proof) in proofs() {
        made.push((format!("proof.{name}"), proof.encode()));
    }
    made.extend(exchange().map(|(name, bytes)| (format!("code.{name}"), bytes)));
    made
}

/// A code as it is said, and all that two devices make of it.
fn exchange() -> [(&'static str, Vec<u8>); 8] {
    let code = Code::new(7, [1, 2, 3, 4]);
    let ends = Ends {
        joiner: DeviceId([1; 32]),
        inviter: DeviceId([2; 32]),
    };
    let mut keeper = Keeper::new(code.clone(), 1_000);
    let (joiner, message) = Joiner::start(&code, ends, &[3; 32]);
    let (exchange, answer) = keeper.answer(&message, ends, &[4; 32], 0).unwrap();
    let (confirmed, confirmation) = joiner.confirm(&answer).unwrap();
    let asked = confirmed.seal(0, b"let me in").unwrap();
    let (channel, back) = keeper.confirm(exchange, &confirmation, 0).unwrap();
    assert!(confirmed.finish(&back).is_some());
    let opened = channel.open(To::Joiner, 0, &asked).unwrap();
    assert_eq!(opened.as_slice(), b"let me in");
    let told = channel.seal(To::Inviter, 1, b"welcome").unwrap();
    [
        ("text", code.text().as_bytes().to_vec()),
        ("topic", topic(code.mailbox()).to_vec()),
        ("message", message),
        ("answer", answer),
        ("confirmation.joiner", confirmation.to_vec()),
        ("confirmation.inviter", back.to_vec()),
        ("sealed.joiner", asked),
        ("sealed.inviter", told),
    ]
}

#[test]
fn every_frozen_file_and_proof_reads_back() {
    for (name, carry) in carries() {
        let found = Carry::read(&carry.write()).unwrap();
        assert!(found.is_whole(), "{name}: {found:?}");
        assert_eq!(found.carry, carry, "{name}");
    }
    for (name, proof) in proofs() {
        assert_eq!(ProofFile::decode(&proof.encode()), Ok(proof), "{name}");
    }
}
