//! Proofs, and what is none.

use super::*;
use crate::proof_file::{BadProof, CannotProve, Claim, ProofFile, Proven, prove, verify};

/// Alice founded, bob is an admin, carol came by bob's invite; then many renames.
fn network() -> (Peer, Peer, Peer) {
    let (mut alice, mut bob, mut carol) = (Peer::founder(), Peer::new(2), Peer::new(3));
    let (_, ticket) = alice.invite(1, 1);
    bob.join(&ticket, &mut alice).unwrap();
    let beside = |alice: &mut Peer, bob: &mut Peer| {
        // What nothing rests on, and a chain goes around: each signed it without the other.
        sync(alice, bob);
        alice.rename("anna");
        bob.rename("bert");
        sync(alice, bob);
    };
    beside(&mut alice, &mut bob);
    alice.author(
        Act::Grant(Grant {
            user: bob.user.public(),
        }),
        None,
    );
    beside(&mut alice, &mut bob);
    let (_, ticket) = bob.invite(2, 1);
    carol.join(&ticket, &mut bob).unwrap();
    sync(&mut alice, &mut bob);
    for n in 0..10 {
        alice.rename(&format!("a-{n}"));
        bob.rename(&format!("b-{n}"));
        sync(&mut alice, &mut bob);
    }
    sync(&mut bob, &mut carol);
    (alice, bob, carol)
}

fn proof(peer: &mut Peer, claim: Claim, whole: bool) -> Result<ProofFile, CannotProve> {
    let ledger = peer.ledger();
    prove(ledger.graph(), ledger.fold(), claim, None, whole)
}

fn check(file: &ProofFile, network: &NetworkId) -> Result<Proven, BadProof> {
    let file = ProofFile::decode(&file.encode())?;
    verify(&file, network)
}

#[test]
fn a_member_an_admin_and_an_event_are_proven_by_a_chain_and_by_the_whole_past() {
    let (mut alice, bob, carol) = network();
    let id = alice.ledger().network();
    let some = alice.ledger().heads()[0];
    let all = alice.ledger().graph().len();
    for claim in [
        Claim::Member(carol.user.public()),
        Claim::Member(alice.user.public()),
        Claim::Admin(bob.user.public()),
        Claim::Admin(alice.user.public()),
        Claim::Event(some),
    ] {
        let chain = proof(&mut alice, claim, false).unwrap();
        let proven = check(&chain, &id).unwrap();
        // The founder needs the genesis alone, which has no past.
        assert_eq!(proven.whole, proven.events == 1, "{claim:?}");
        assert_eq!(proven.claim, claim);
        assert!(proven.events < all, "{claim:?}: {} of {all}", proven.events);
        let whole = proof(&mut alice, claim, true).unwrap();
        let whole = check(&whole, &id).unwrap();
        assert!(whole.whole);
        assert_eq!(whole.fact.event, proven.fact.event);
        assert!(whole.head.admin);
    }
}

#[test]
fn a_proof_says_who_signed_the_fact_and_who_knew_of_it() {
    let (mut alice, bob, carol) = network();
    let id = alice.ledger().network();
    let claim = Claim::Member(carol.user.public());
    let file = proof(&mut alice, claim, false).unwrap();
    let shortest = check(&file, &id).unwrap();
    assert_eq!(shortest.fact, shortest.head);
    assert_eq!(shortest.fact.user, bob.user.public());
    assert_eq!(shortest.fact.device, bob.id());
    let known = alice.rename("a-knows").id();
    let ledger = alice.ledger();
    let file = prove(ledger.graph(), ledger.fold(), claim, Some(known), false).unwrap();
    let proven = check(&file, &id).unwrap();
    assert_eq!(proven.fact, shortest.fact);
    assert_eq!(proven.head.user, alice.user.public());
    assert!(proven.events > shortest.events);
    // Who did not know of it does not stand for it.
    let genesis = Some(EventId(id.0));
    let ledger = alice.ledger();
    assert_eq!(
        prove(ledger.graph(), ledger.fold(), claim, genesis, false),
        Err(CannotProve::NotKnown(EventId(id.0)))
    );
}

#[test]
fn an_event_that_was_changed_or_on_which_all_rests_and_is_left_out_is_noticed() {
    let (mut alice, _, carol) = network();
    let id = alice.ledger().network();
    let file = proof(&mut alice, Claim::Member(carol.user.public()), false).unwrap();
    let mut needed = 0;
    for at in 0..file.events.len() {
        let mut short = file.clone();
        let out = EventId(*blake3::hash(&short.events.remove(at)).as_bytes());
        match check(&short, &id) {
            // There was another way around it.
            Ok(proven) => assert!(
                (proven.fact.event, proven.head.event) == (file.fact, file.head)
                    && ![file.fact, file.head, EventId(id.0)].contains(&out)
            ),
            Err(_) => needed += 1,
        }
        let mut changed = file.clone();
        let middle = changed.events[at].len() / 2;
        changed.events[at][middle] ^= 1;
        assert!(check(&changed, &id).is_err(), "event {at} changed");
    }
    assert!(needed > file.events.len() / 2, "{needed}");
    // What is there twice, or in another order, or beside the point, harms nothing.
    let mut turned = file.clone();
    turned.events.reverse();
    turned.events.push(file.events[0].clone());
    assert_eq!(check(&turned, &id), check(&file, &id));
}

#[test]
fn bytes_cut_or_changed_anywhere_are_no_proof() {
    let (mut alice, _, carol) = network();
    let bytes = proof(&mut alice, Claim::Member(carol.user.public()), false)
        .unwrap()
        .encode();
    for at in 0..bytes.len() {
        assert!(ProofFile::decode(&bytes[..at]).is_err());
        let mut bad = bytes.clone();
        bad[at] ^= 1;
        assert!(ProofFile::decode(&bad).is_err(), "byte {at}");
    }
    assert_eq!(ProofFile::decode(b"mesh proof 2\n"), Err(BadProof::Version));
}

#[test]
fn a_proof_of_one_network_proves_nothing_in_another() {
    let (mut alice, _, carol) = network();
    let file = proof(&mut alice, Claim::Member(carol.user.public()), false).unwrap();
    assert_eq!(check(&file, &NetworkId([7; 32])), Err(BadProof::Foreign));
}

#[test]
fn a_claim_about_somebody_else_or_something_higher_is_false() {
    let (mut alice, _, carol) = network();
    let id = alice.ledger().network();
    let stranger = Peer::new(9).user.public();
    assert_eq!(
        proof(&mut alice, Claim::Member(stranger), false),
        Err(CannotProve::NotMember)
    );
    assert_eq!(
        proof(&mut alice, Claim::Admin(carol.user.public()), false),
        Err(CannotProve::NotAdmin)
    );
    for whole in [false, true] {
        let mut file = proof(&mut alice, Claim::Member(carol.user.public()), whole).unwrap();
        for claim in [Claim::Member(stranger), Claim::Admin(carol.user.public())] {
            file.claim = claim;
            assert!(matches!(check(&file, &id), Err(BadProof::False(_))));
        }
    }
}

#[test]
fn what_a_member_signs_beyond_its_rights_proves_nothing() {
    let (mut alice, _, mut carol) = network();
    let id = alice.ledger().network();
    let mallory = Peer::new(8);
    // Carol, no admin, grants herself an office, and admits somebody without an invite.
    let carols = carol.id();
    let ledger = carol.ledger();
    let heads = ledger.heads();
    let own = |ledger: &Ledger<MemoryStore>, device: &DeviceId| {
        let last = ledger.graph().by_author(device).last();
        last.map_or(0, |idx| ledger.graph().event(idx).header().seq)
    };
    let seq = 1 + own(ledger, &carols);
    let lamports = heads.iter().map(|head| ledger.event(head).unwrap());
    let lamport = 1 + lamports.map(|event| event.header().lamport).max().unwrap();
    let header = Header {
        network: id,
        author: carol.device.public(),
        seq,
        lamport,
        time: NOW,
        epoch: EpochId::NONE,
        parents: heads.clone(),
    };
    let grant = Act::Grant(Grant {
        user: carol.user.public(),
    });
    let grant = Event::sign(&header, &grant, &[], &carol.device).unwrap();
    let mut events: Vec<Vec<u8>> = carol
        .ledger()
        .index()
        .events()
        .map(|event| event.bytes().to_vec())
        .collect();
    events.push(grant.bytes().to_vec());
    let mut file = ProofFile {
        claim: Claim::Admin(carol.user.public()),
        fact: grant.id(),
        head: grant.id(),
        events,
    };
    assert!(matches!(check(&file, &id), Err(BadProof::False(_))));
    // As a chain: one event that nothing rests on is left out.
    let spare = file
        .events
        .iter()
        .position(|bytes| {
            let event = Event::decode(bytes).unwrap();
            matches!(event.act(), Act::Private) && !heads.contains(&event.id())
        })
        .unwrap();
    file.events.remove(spare);
    let found = check(&file, &id);
    assert!(
        matches!(found, Err(BadProof::Unfounded { .. } | BadProof::Gap(_))),
        "{found:?}"
    );
    // A stranger's event has no place at all.
    let header = Header {
        author: mallory.device.public(),
        seq: 1,
        ..header
    };
    let grant = Act::Grant(Grant {
        user: mallory.user.public(),
    });
    let grant = Event::sign(&header, &grant, &[], &mallory.device).unwrap();
    file.events.push(grant.bytes().to_vec());
    (file.fact, file.head) = (grant.id(), grant.id());
    file.claim = Claim::Admin(mallory.user.public());
    assert!(check(&file, &id).is_err());
}

#[test]
fn who_was_kicked_is_proven_a_member_by_the_past_before_it_and_by_no_whole_past_after_it() {
    let (mut alice, _, carol) = network();
    let id = alice.ledger().network();
    let claim = Claim::Member(carol.user.public());
    let before = proof(&mut alice, claim, true).unwrap();
    let chain = proof(&mut alice, claim, false).unwrap();
    alice.author(
        Act::Remove(Remove {
            target: Target::User(carol.user.public()),
            cut: None,
            closes: Vec::new(),
            by_user: None,
        }),
        None,
    );
    let after = alice.rename("a-last").id();
    assert_eq!(proof(&mut alice, claim, true), Err(CannotProve::NotMember));
    // The old proofs still say what they said: it was so in the past of that head.
    assert!(check(&before, &id).unwrap().whole);
    assert!(!check(&chain, &id).unwrap().whole);
    // By everything up to now it is false, whoever makes the file.
    let lie = ProofFile {
        claim,
        fact: chain.fact,
        head: after,
        events: alice
            .ledger()
            .index()
            .events()
            .map(|event| event.bytes().to_vec())
            .collect(),
    };
    assert!(matches!(check(&lie, &id), Err(BadProof::False(_))));
}
