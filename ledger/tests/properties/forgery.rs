//! Bytes that nobody in the network signed: they are refused, and nothing changes.

use mesh_ledger::event::{Act, Event, Header, prefix};
use mesh_ledger::gate::Refusal;
use mesh_ledger::keys::{DeviceSecret, Domain};
use mesh_ledger::network::Ledger;
use mesh_ledger::store::memory::MemoryStore;

use super::common::history::History;
use super::delivery::{SOURCE, bytes, founded};
use super::in_both_kinds;

/// A ledger that has what the gate passes of a history.
fn filled(history: &mut History) -> Ledger<MemoryStore> {
    let mut ledger = founded(history);
    let all = bytes(history.shuffled());
    ledger.receive(SOURCE, &all, 0).unwrap();
    ledger
}

/// Hands over bytes that must leave no trace.
fn refused(ledger: &mut Ledger<MemoryStore>, bytes: Vec<Vec<u8>>) {
    let before = (ledger.heads(), ledger.authority_hash(), ledger.state_hash());
    let count = bytes.len();
    let receipt = ledger.receive(SOURCE, &bytes, 0).unwrap();
    assert_eq!(receipt.added, []);
    assert_eq!((receipt.known, receipt.parked), (0, 0));
    assert_eq!(receipt.refused.len(), count);
    let after = (ledger.heads(), ledger.authority_hash(), ledger.state_hash());
    assert_eq!(before, after);
}

#[test]
fn no_flipped_bit_of_any_event_passes() {
    in_both_kinds(|history| {
        let mut ledger = filled(history);
        let events = bytes(history.shuffled());
        let flipped = (0..48).map(|_| {
            let mut bytes = history.dice.pick(&events).unwrap().clone();
            let bit = history.dice.below(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(Event::decode(&bytes).is_err());
            bytes
        });
        let flipped = flipped.collect();
        refused(&mut ledger, flipped);
    });
}

#[test]
fn no_flipped_bit_of_one_event_of_each_kind_passes() {
    let history = History::new(7, 150, 30);
    let graph = &history.world.graph;
    let mut kinds = std::collections::BTreeSet::new();
    for event in graph.indices().map(|idx| graph.event(idx)) {
        if !kinds.insert(event.act().kind()) {
            continue;
        }
        for bit in 0..event.bytes().len() * 8 {
            let mut bytes = event.bytes().to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(Event::decode(&bytes).is_err(), "{event:?}, bit {bit}");
        }
    }
    assert!(kinds.len() >= 9, "{kinds:?}");
}

#[test]
fn what_another_signs_in_a_members_name_is_refused() {
    in_both_kinds(|history| {
        let mut ledger = filled(history);
        let thief = DeviceSecret::from_seed(&[0x77; 32]);
        let graph = &history.world.graph;
        let forged = graph.indices().map(|idx| {
            let event = graph.event(idx);
            // Another time, so that it is another event; under its author's name, and the thief's signature.
            let header = Header {
                time: event.header().time ^ 1,
                ..event.header().clone()
            };
            let mut bytes = prefix(&header, event.act(), event.sealed().len()).unwrap();
            bytes.extend_from_slice(event.sealed());
            let signature = thief.sign(Domain::Event, &bytes);
            bytes.extend_from_slice(&signature.to_bytes());
            bytes
        });
        refused(&mut ledger, forged.collect());
    });
}

#[test]
fn what_a_stranger_says_under_its_own_name_is_refused() {
    in_both_kinds(|history| {
        let mut ledger = filled(history);
        let stranger = DeviceSecret::from_seed(&[0x78; 32]);
        let said: Vec<Vec<u8>> = ledger
            .graph()
            .indices()
            .map(|idx| ledger.graph().event(idx))
            // An owner.set carries its own proof, whoever brings it.
            .filter(|event| !matches!(event.act(), Act::OwnerSet(_)))
            .map(|event| {
                let header = Header {
                    author: stranger.public(),
                    seq: 1,
                    ..event.header().clone()
                };
                let said = Event::sign(&header, event.act(), event.sealed(), &stranger).unwrap();
                said.bytes().to_vec()
            })
            .collect();
        let receipt = ledger.receive(SOURCE, &said, 0).unwrap();
        assert_eq!(receipt.added, []);
        for (id, why) in &receipt.refused {
            let due = matches!(
                why,
                Refusal::Stranger(_) | Refusal::Uncertified | Refusal::Foreign
            );
            assert!(due, "{}: {why}", id.short());
        }
        assert_eq!(receipt.refused.len(), said.len());
    });
}
