//! Networks in files.

use super::*;
use crate::carry::{Carried, Carry, Kind, Since, after, heads};
use crate::mirror::letter::{Way, open, seal};

fn events(peer: &mut Peer) -> Vec<Event> {
    peer.ledger().index().events().collect()
}

fn bytes(events: &[Event]) -> Vec<Vec<u8>> {
    events.iter().map(|event| event.bytes().to_vec()).collect()
}

/// What a peer writes to a stick.
fn exported(peer: &mut Peer) -> Vec<u8> {
    let events = events(peer);
    let network = peer.ledger().network();
    let file = Carry::history(network, bytes(&events), heads(&events));
    file.write().to_vec()
}

fn imported(peer: &mut Peer, file: &[u8]) -> Receipt {
    let found = Carry::read(file).unwrap();
    let events = found.carry.events;
    peer.ledger().receive(Source::File, &events, NOW).unwrap()
}

#[test]
fn two_halves_of_a_split_agree_after_a_stick_went_there_and_back() {
    let (mut alice, mut bob) = (Peer::founder(), Peer::new(2));
    let (_, ticket) = alice.invite(1, 1);
    bob.join(&ticket, &mut alice).unwrap();
    sync(&mut alice, &mut bob);
    for n in 0..5 {
        alice.rename(&format!("a-{n}"));
        bob.rename(&format!("b-{n}"));
    }
    let there = exported(&mut alice);
    assert_eq!(imported(&mut bob, &there).added.len(), 5);
    // Again, and it changes nothing.
    assert_eq!(imported(&mut bob, &there).added.len(), 0);
    let back = exported(&mut bob);
    imported(&mut alice, &back);
    same(&mut alice, &mut bob);
}

#[test]
fn a_delta_holds_what_the_other_lacks_and_no_more() {
    let (mut alice, mut bob) = (Peer::founder(), Peer::new(2));
    let (_, ticket) = alice.invite(1, 1);
    bob.join(&ticket, &mut alice).unwrap();
    let known = alice.ledger().heads();
    for n in 0..5 {
        alice.rename(&format!("a-{n}"));
    }
    let all = events(&mut alice);
    let delta = after(&all, Since::Event(known[0]));
    assert_eq!(delta.len(), 5);
    assert_eq!(after(&all, Since::Time(NOW + 1)), Vec::<&Event>::new());
    assert_eq!(after(&all, Since::Time(0)).len(), all.len());
    let delta: Vec<Vec<u8>> = delta.iter().map(|event| event.bytes().to_vec()).collect();
    let receipt = bob.ledger().receive(Source::File, &delta, NOW).unwrap();
    assert_eq!(receipt.added.len(), 5);
    same(&mut alice, &mut bob);
}

#[test]
fn of_a_damaged_file_the_whole_events_are_merged_and_the_next_file_brings_the_rest() {
    let (mut alice, mut bob) = (Peer::founder(), Peer::new(2));
    let (_, ticket) = alice.invite(1, 1);
    bob.join(&ticket, &mut alice).unwrap();
    for n in 0..20 {
        alice.rename(&format!("a-{n}"));
    }
    let good = exported(&mut alice);
    let mut bad = good.clone();
    let late = bad.len() - 3000;
    bad[late] ^= 1;
    let found = Carry::read(&bad).unwrap();
    assert_eq!(found.missing.len(), 1);
    let receipt = imported(&mut bob, &bad);
    assert!(receipt.parked > 0);
    assert_eq!(receipt.missing, found.missing);
    imported(&mut bob, &good);
    assert_eq!(bob.ledger().parked(), 0);
    same(&mut alice, &mut bob);
}

#[test]
fn a_joiner_that_meets_nobody_is_admitted_by_three_files() {
    let (mut alice, mut bob, mut carol) = (Peer::founder(), Peer::new(2), Peer::new(3));
    let (_, ticket) = alice.invite(1, 1);
    bob.join(&ticket, &mut alice).unwrap();
    // Alice's invite.
    let (_, ticket) = alice.invite(2, 1);
    let all = events(&mut alice);
    let file = Carry {
        kind: Kind::Invite,
        ticket: Some(ticket),
        ..Carry::history(alice.ledger().network(), bytes(&all), heads(&all))
    };
    let file = Carry::read(&file.write()).unwrap().carry;
    // Carol finds the invite in it, and writes her redemption.
    let ticket = file.ticket.clone().unwrap();
    let invite = file.invite_of(&ticket).unwrap();
    let request = carol.request(&ticket, invite);
    let network = ticket.network();
    let letter = Carried {
        joiner: carol.id(),
        invite: ticket.invite_secret().public(),
        body: seal(
            &ticket.contact(),
            &network,
            &carol.id(),
            Way::Redemption,
            &request.encode(),
        )
        .unwrap(),
    };
    let file = Carry {
        kind: Kind::Request,
        letter: Some(letter),
        ..Carry::history(network, file.events.clone(), file.heads)
    };
    let file = Carry::read(&file.write()).unwrap().carry;
    // Bob has not heard of the invite, but the file tells him.
    let receipt = bob
        .ledger()
        .receive(Source::File, &file.events, NOW)
        .unwrap();
    assert_eq!(receipt.added.len(), 1);
    let letter = file.letter.unwrap();
    let opened = bob
        .ledger()
        .open_redemption(&letter.joiner, &letter.invite, &letter.body)
        .unwrap();
    let device = bob.device.clone();
    let answer = bob
        .ledger()
        .redeem(&opened.request, &letter.joiner, &device, &[9; 32], NOW)
        .unwrap();
    let reply = Reply::Admitted(answer).encode();
    let body = seal(
        &opened.contact,
        &network,
        &letter.joiner,
        Way::Reply,
        &reply,
    )
    .unwrap();
    let all = events(&mut bob);
    // Carol opens the answer, and is a member.
    let opened = open(&ticket.contact(), &network, &carol.id(), Way::Reply, &body).unwrap();
    let Some(Reply::Admitted(answer)) = Reply::decode(&opened) else {
        panic!("no admission");
    };
    let args = JoinArgs {
        network,
        events: bytes(&all),
        epoch: answer.key.open(&network, &carol.box_secret).unwrap(),
        device: carol.id(),
        box_secret: carol.box_secret.clone(),
    };
    carol.ledger = Some(Ledger::join(MemoryStore::new(), args).unwrap());
    same(&mut bob, &mut carol);
    let back = exported(&mut carol);
    imported(&mut alice, &back);
    same(&mut alice, &mut carol);
}

#[test]
fn a_letter_under_another_secret_or_of_another_joiner_is_not_read() {
    let (mut alice, carol) = (Peer::founder(), Peer::new(3));
    let (invite, ticket) = alice.invite(2, 1);
    let request = carol.request(&ticket, invite.id()).encode();
    let network = ticket.network();
    let key = ticket.invite_secret().public();
    let sealed =
        |secret: &[u8; 32]| seal(secret, &network, &carol.id(), Way::Redemption, &request).unwrap();
    let other = alice.id();
    let ledger = alice.ledger();
    let right = sealed(&ticket.contact());
    assert!(ledger.open_redemption(&carol.id(), &key, &right).is_ok());
    assert!(ledger.open_redemption(&other, &key, &right).is_err());
    let unknown = InviteKey([1; 32]);
    assert!(
        ledger
            .open_redemption(&carol.id(), &unknown, &right)
            .is_err()
    );
    let wrong = sealed(&[0; 32]);
    assert!(ledger.open_redemption(&carol.id(), &key, &wrong).is_err());
}
