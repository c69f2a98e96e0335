//! Events from outside, in whatever order they come.

use super::*;

#[test]
fn a_batch_in_any_order_is_taken_and_what_lacks_parents_waits() {
    let (mut alice, mut bob) = (Peer::founder(), Peer::new(2));
    let (_, ticket) = alice.invite(5, 1);
    bob.join(&ticket, &mut alice).unwrap();
    let written: Vec<Event> = ["a", "b", "c", "d"].map(|host| bob.rename(host)).into();
    let bytes = |events: &[Event]| -> Vec<Vec<u8>> {
        events.iter().map(|event| event.bytes().to_vec()).collect()
    };
    let source = Source::Push(bob.id());
    let ledger = alice.ledger();
    let receipt = ledger.receive(source, &bytes(&written[2..]), NOW).unwrap();
    assert_eq!((receipt.added.len(), receipt.parked), (0, 2));
    assert_eq!(receipt.missing, [written[1].id()]);
    let mut batch = bytes(&written[..2]);
    batch.reverse();
    batch.push(vec![1, 2, 3]);
    batch.push(written[0].bytes().to_vec());
    let receipt = ledger.receive(source, &batch, NOW).unwrap();
    let ids: Vec<EventId> = written.iter().map(Event::id).collect();
    assert_eq!(receipt.added, ids);
    assert_eq!(receipt.refused.len(), 1);
    assert_eq!(receipt.known, 1);
    assert!(receipt.missing.is_empty());
    same(&mut alice, &mut bob);
}

#[test]
fn a_device_that_floods_is_slowed_and_never_refused() {
    let (mut alice, mut bob) = (Peer::founder(), Peer::new(2));
    let (_, ticket) = alice.invite(5, 1);
    bob.join(&ticket, &mut alice).unwrap();
    let flood: Vec<Vec<u8>> = (0..260)
        .map(|_| bob.author(Act::Merge, None).bytes().to_vec())
        .collect();
    let receipt = alice
        .ledger()
        .receive(Source::Push(bob.id()), &flood, NOW)
        .unwrap();
    assert_eq!(receipt.added.len(), 260);
    assert!(receipt.wait > 0);
    let mut carol = Peer::new(3);
    let (_, ticket) = alice.invite(6, 1);
    carol.join(&ticket, &mut alice).unwrap();
}

#[test]
fn what_follows_a_refused_event_is_refused_and_nobody_is_asked_for_it_again() {
    let (mut alice, mut bob) = (Peer::founder(), Peer::new(2));
    let (_, ticket) = alice.invite(5, 1);
    bob.join(&ticket, &mut alice).unwrap();
    let last = bob.rename("tower");
    let device = bob.device.clone();
    let source = Source::Sync(bob.id());
    let ledger = alice.ledger();
    let receive = |ledger: &mut Ledger<MemoryStore>, events: &[&Event]| {
        let bytes: Vec<Vec<u8>> = events.iter().map(|event| event.bytes().to_vec()).collect();
        ledger.receive(source, &bytes, NOW).unwrap()
    };
    assert_eq!(receive(ledger, &[&last]).added.len(), 1);
    let on = |parent: &Event, ahead: u32| {
        let header = Header {
            network: parent.network(),
            author: device.public(),
            seq: parent.header().seq + 1,
            lamport: parent.header().lamport + ahead,
            time: NOW,
            epoch: EpochId::NONE,
            parents: vec![parent.id()],
        };
        Event::sign(&header, &Act::Merge, &[], &device).unwrap()
    };
    // Its lamport runs ahead, as far as it can.
    let bad = on(&last, (1 << 31) - 1 - last.header().lamport);
    let wild = on(&last, 7);
    let child = on(&wild, 1);
    let grandchild = on(&child, 1);
    let receipt = receive(ledger, &[&grandchild, &child]);
    assert_eq!((receipt.parked, receipt.missing), (2, vec![wild.id()]));
    let receipt = receive(ledger, &[&bad, &wild]);
    let refused: Vec<EventId> = receipt.refused.iter().map(|(id, _)| *id).collect();
    assert_eq!(refused, [wild.id(), child.id(), grandchild.id(), bad.id()]);
    assert_eq!((ledger.parked(), ledger.missing()), (0, Vec::new()));
    // Whoever offers them again, in whatever order, is told the same, and asked for nothing.
    for again in [&grandchild, &child, &wild, &bad] {
        let receipt = receive(ledger, &[again]);
        assert_eq!(receipt.refused.len(), 1, "{again:?}");
        assert_eq!((receipt.parked, receipt.missing), (0, Vec::new()));
    }
    let last_of_them = on(&grandchild, 1);
    let receipt = receive(ledger, &[&last_of_them]);
    let why = Refusal::FollowsRefused(grandchild.id());
    assert_eq!(receipt.refused, [(last_of_them.id(), why)]);
    assert_eq!((ledger.parked(), ledger.missing()), (0, Vec::new()));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 24, ..Default::default() })]

    #[test]
    fn any_order_repetition_and_grouping_of_delivery_gives_one_state(
        seed in proptest::prelude::any::<u64>(),
        group in 1usize..9,
    ) {
        let (mut alice, mut bob) = (Peer::founder(), Peer::new(2));
        let mut carol = Peer::new(3);
        let (_, ticket) = alice.invite(5, 2);
        bob.join(&ticket, &mut alice).unwrap();
        carol.join(&ticket, &mut bob).unwrap();
        for round in 0..3 {
            bob.rename(&format!("b{round}"));
            carol.rename(&format!("b{round}"));
            alice.rename("alice");
            if round == 1 {
                sync(&mut bob, &mut carol);
            }
        }
        sync(&mut bob, &mut carol);
        sync(&mut bob, &mut alice);
        let mut late = Peer::new(4);
        let (_, ticket) = alice.invite(6, 1);
        late.join(&ticket, &mut alice).unwrap();
        let all: Vec<Vec<u8>> = late
            .ledger()
            .index()
            .events()
            .map(|event| event.bytes().to_vec())
            .collect();
        // A fixed permutation of the seed, each third event twice.
        let mut order: Vec<(u64, Vec<u8>)> = Vec::new();
        for (n, bytes) in all.iter().enumerate() {
            for copy in 0..=u64::from(n % 3 == 0) {
                let mut hasher = blake3::Hasher::new();
                hasher.update(&seed.to_le_bytes()).update(&copy.to_le_bytes()).update(bytes);
                let hash = hasher.finalize();
                let (head, _) = hash.as_bytes().split_first_chunk::<8>().unwrap();
                order.push((u64::from_le_bytes(*head), bytes.clone()));
            }
        }
        order.sort();
        let mut other = Ledger::empty(
            MemoryStore::new(),
            alice.ledger().network(),
            late.box_secret.clone(),
        );
        other.keys.insert(EpochKey::from_bytes([42; 32]));
        for batch in order.chunks(group) {
            let batch: Vec<Vec<u8>> = batch.iter().map(|(_, bytes)| bytes.clone()).collect();
            other.receive(Source::File, &batch, NOW).unwrap();
            folded(&other);
        }
        proptest::prop_assert_eq!(other.state_hash(), late.ledger().state_hash());
        proptest::prop_assert_eq!(other.heads(), late.ledger().heads());
        proptest::prop_assert_eq!(other.replica_heads(), late.ledger().replica_heads());
        proptest::prop_assert_eq!(other.parked(), 0);
    }
}
