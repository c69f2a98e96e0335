//! Offers that their audience alone can read.

use super::*;
use crate::event::attributes::{Audience, Offer, Protocol, Service};
use crate::past::Book;

fn ssh(to: &Peer) -> Offer {
    Offer {
        what: Service::Port {
            protocol: Protocol::Tcp,
            first: 22,
            last: 22,
        },
        name: Some("zanzibar".parse().unwrap()),
        audience: Audience::Only {
            users: vec![to.user.public()],
            devices: Vec::new(),
            tags: vec!["staff".parse().unwrap()],
        },
        until: None,
    }
}

/// Alice, bob and carol, and bob's offer to alice and to whom is tagged `staff`.
fn house() -> (Peer, Peer, Peer, EpochId) {
    let (mut alice, mut bob, mut carol) = (Peer::founder(), Peer::new(2), Peer::new(3));
    let (_, ticket) = alice.invite(5, 2);
    bob.join(&ticket, &mut alice).unwrap();
    carol.join(&ticket, &mut alice).unwrap();
    sync(&mut alice, &mut bob);
    let (device, offer) = (bob.device.clone(), ssh(&alice));
    let key = EpochKey::from_bytes([0x77; 32]);
    bob.ledger()
        .offer_narrowly(&device, 4, &offer, key.clone(), NOW)
        .unwrap();
    sync(&mut bob, &mut alice);
    sync(&mut bob, &mut carol);
    (alice, bob, carol, key.id())
}

fn reads(peer: &mut Peer, of: DeviceId) -> bool {
    peer.ledger().state().offers.contains_key(&(of, 4))
}

#[test]
fn a_narrow_offer_is_read_by_whom_its_device_hands_the_key_and_states_stay_equal() {
    let (mut alice, mut bob, mut carol, key) = house();
    let bobs = bob.id();
    assert!(reads(&mut bob, bobs) && !reads(&mut alice, bobs) && !reads(&mut carol, bobs));
    same(&mut alice, &mut bob);
    same(&mut alice, &mut carol);
    assert_eq!(carol.ledger().state().pending, 0);
    assert_eq!(alice.ledger().missing_offer_keys(&bobs), [key]);

    let hand =
        |bob: &mut Peer, to: DeviceId| bob.ledger().hand_offer_key(&bobs, &key, &to, &[1; 32]);
    let handed = hand(&mut bob, alice.id()).unwrap();
    assert!(
        hand(&mut bob, carol.id()).is_none(),
        "she is not in the audience"
    );
    assert!(
        !carol.ledger().add_offer_key(&handed).unwrap(),
        "the box is for alice"
    );
    assert!(alice.ledger().add_offer_key(&handed).unwrap());
    assert!(
        !alice.ledger().add_offer_key(&handed).unwrap(),
        "it is no news"
    );
    assert!(reads(&mut alice, bobs) && !reads(&mut carol, bobs));
    assert!(alice.ledger().missing_offer_keys(&bobs).is_empty());
    same(&mut alice, &mut carol);
    let alices = alice.id();
    assert!(
        alice
            .ledger()
            .hand_offer_key(&alices, &key, &bobs, &[1; 32])
            .is_none(),
        "only who offers says who reads"
    );

    let tag = Write::Tag {
        user: carol.user.public(),
        tag: "staff".parse().unwrap(),
        set: true,
    };
    alice.author(Act::Private, Some(Attributes::Writes(vec![tag])));
    sync(&mut alice, &mut bob);
    let handed = hand(&mut bob, carol.id()).unwrap();
    assert!(carol.ledger().add_offer_key(&handed).unwrap());
    assert!(reads(&mut carol, bobs));
}

#[test]
fn keys_of_offers_survive_a_restart_and_no_rotation_hands_them_on() {
    let (mut alice, mut bob, mut carol, key) = house();
    let bobs = bob.id();
    bob.reopen();
    assert!(reads(&mut bob, bobs));
    let handed = bob
        .ledger()
        .hand_offer_key(&bobs, &key, &alice.id(), &[1; 32]);
    assert!(alice.ledger().add_offer_key(&handed.unwrap()).unwrap());
    alice.reopen();
    assert!(reads(&mut alice, bobs));
    assert!(alice.ledger().keys().get(&key).is_none());
    assert!(
        bob.ledger()
            .hand_key_of(&key, &carol.box_secret.public(), &[1; 32])
            .is_none(),
        "it is no epoch's key"
    );
    assert!(!reads(&mut carol, bobs));
}

#[test]
fn what_stands_in_a_slot_is_the_last_offer_plain_or_narrow() {
    let (mut alice, mut bob, _, key) = house();
    let bobs = bob.id();
    let handed = bob
        .ledger()
        .hand_offer_key(&bobs, &key, &alice.id(), &[1; 32])
        .unwrap();
    assert!(alice.ledger().add_offer_key(&handed).unwrap());
    let plain = |offer| {
        let write = Write::Offer {
            device: bobs,
            slot: 4,
            offer,
        };
        Attributes::Writes(vec![write])
    };
    let everyone = Offer {
        audience: Audience::Everyone,
        ..ssh(&alice)
    };
    bob.author(Act::Private, Some(plain(Some(everyone.clone()))));
    sync(&mut bob, &mut alice);
    let state = alice.ledger().state();
    assert_eq!(state.offers[&(bobs, 4)].offer, everyone);
    assert!(state.narrow.is_empty());
    let (device, offer) = (bob.device.clone(), ssh(&alice));
    let key = EpochKey::from_bytes([0x78; 32]);
    bob.ledger()
        .offer_narrowly(&device, 4, &offer, key, NOW)
        .unwrap();
    sync(&mut bob, &mut alice);
    assert!(!reads(&mut alice, bobs), "the new key was not handed yet");
    assert!(reads(&mut bob, bobs));
    bob.author(Act::Private, Some(plain(None)));
    sync(&mut bob, &mut alice);
    same(&mut alice, &mut bob);
    assert!(bob.ledger().state().narrow.is_empty() && !reads(&mut bob, bobs));
}

#[test]
fn the_past_and_a_stored_copy_show_a_narrow_offer_to_whom_it_shows_now() {
    let (mut alice, mut bob, _, _) = house();
    let bobs = bob.id();
    let shown = |peer: &mut Peer| {
        let ledger = peer.ledger();
        let heads: Vec<Idx> = ledger.graph().heads().collect();
        let past = ledger.reading().at_events(&heads);
        let (stored, left_out) = Book::read(ledger.store(), &ledger.network()).unwrap();
        assert!(left_out.is_empty());
        [past, stored].map(|book| book.reading().fold.state.offers.contains_key(&(bobs, 4)))
    };
    assert_eq!(shown(&mut bob), [true, true]);
    assert_eq!(shown(&mut alice), [false, false]);
    assert_eq!(alice.ledger().verify().unwrap().faults, []);
}
