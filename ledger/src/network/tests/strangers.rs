//! Devices that tell why they are members, and those that are none.

use super::*;

fn bytes<'a>(events: impl IntoIterator<Item = &'a Event>) -> Vec<Vec<u8>> {
    let events = events.into_iter();
    events.map(|event| event.bytes().to_vec()).collect()
}

fn all(peer: &mut Peer) -> Vec<Vec<u8>> {
    let events: Vec<Event> = peer.ledger().index().events().collect();
    bytes(&events)
}

#[test]
fn what_a_kicked_key_signs_is_taken_back_and_the_kick_stands() {
    let (mut alice, mut bob) = (Peer::founder(), Peer::new(2));
    let (_, ticket) = alice.invite(5, 1);
    bob.join(&ticket, &mut alice).unwrap();
    sync(&mut alice, &mut bob);
    // On top of what made him a member, and before he hears of the kick.
    let flood: Vec<Event> = (0..300).map(|_| bob.author(Act::Merge, None)).collect();
    alice.author(
        Act::Remove(Remove {
            target: Target::User(bob.user.public()),
            cut: None,
            closes: Vec::new(),
            by_user: None,
        }),
        None,
    );
    let (hash, events) = (alice.ledger().state_hash(), alice.ledger().graph().len());
    // He, or any device that he hands it to.
    for device in [bob.id(), DeviceSecret::from_seed(&[77; 32]).public()] {
        let ledger = alice.ledger();
        let receipt = ledger
            .receive_on_trial(&device, &bytes(&flood), NOW)
            .unwrap();
        assert!(receipt.added.is_empty());
        ledger.forget(Source::Sync(device));
        assert_eq!(alice.ledger().state_hash(), hash);
        assert_eq!(alice.ledger().graph().len(), events);
        assert_eq!(alice.ledger().store().rows().unwrap().len(), events);
    }
    // It goes on as if nothing had come, also after a start.
    let written = alice.rename("tower");
    assert!(alice.ledger().event(&written.id()).is_some());
    alice.reopen();
    assert_eq!(alice.ledger().graph().len(), events + 1);
}

#[test]
fn a_device_that_was_admitted_elsewhere_is_taken_with_what_made_it_one() {
    let (mut alice, mut bob, mut carol) = (Peer::founder(), Peer::new(2), Peer::new(3));
    let (_, ticket) = alice.invite(5, 2);
    bob.join(&ticket, &mut alice).unwrap();
    sync(&mut alice, &mut bob);
    carol.join(&ticket, &mut bob).unwrap();
    let told = all(&mut carol);
    let device = carol.id();
    let ledger = alice.ledger();
    assert!(!ledger.state().devices.contains_key(&device));
    let receipt = ledger.receive_on_trial(&device, &told, NOW).unwrap();
    assert!(!receipt.added.is_empty());
    assert!(alice.ledger().state().devices.contains_key(&device));
    same(&mut alice, &mut carol);
}

#[test]
fn what_others_brought_waits_again_when_a_trial_fails() {
    let (mut alice, mut bob) = (Peer::founder(), Peer::new(2));
    let (_, ticket) = alice.invite(5, 1);
    bob.join(&ticket, &mut alice).unwrap();
    sync(&mut alice, &mut bob);
    let (first, second) = (bob.rename("a"), bob.rename("b"));
    let source = Source::Push(bob.id());
    let parked = alice.ledger().receive(source, &bytes([&second]), NOW);
    assert_eq!(parked.unwrap().parked, 1);
    let stranger = DeviceSecret::from_seed(&[77; 32]).public();
    let ledger = alice.ledger();
    let receipt = ledger
        .receive_on_trial(&stranger, &bytes([&first]), NOW)
        .unwrap();
    assert!(receipt.added.is_empty());
    assert_eq!(receipt.missing, [first.id()]);
    let receipt = ledger.receive(source, &bytes([&first]), NOW).unwrap();
    assert_eq!(receipt.added, [first.id(), second.id()]);
    same(&mut alice, &mut bob);
}
