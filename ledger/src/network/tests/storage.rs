//! What stays over a restart, a damaged row and a write that fails.

use super::*;

#[test]
fn a_ledger_is_the_same_after_opening_again() {
    let (mut alice, mut bob) = (Peer::founder(), Peer::new(2));
    let (_, ticket) = alice.invite(5, 1);
    bob.join(&ticket, &mut alice).unwrap();
    bob.rename("tower");
    let (state, heads) = (bob.ledger().state_hash(), bob.ledger().heads());
    bob.reopen();
    assert_eq!(bob.ledger().state_hash(), state);
    assert_eq!(bob.ledger().heads(), heads);
    assert!(bob.ledger().damaged().is_empty());
    let verification = bob.ledger().verify().unwrap();
    assert_eq!(verification.good, bob.ledger().graph().len());
    assert!(verification.faults.is_empty());
    bob.rename("again");
    sync(&mut bob, &mut alice);
    same(&mut alice, &mut bob);
}

#[test]
fn a_damaged_event_is_named_left_out_with_what_follows_and_mended_by_a_member() {
    let (mut alice, mut bob) = (Peer::founder(), Peer::new(2));
    let (_, ticket) = alice.invite(5, 1);
    bob.join(&ticket, &mut alice).unwrap();
    let first = bob.rename("one");
    let second = bob.rename("two");
    sync(&mut bob, &mut alice);
    let (state, count) = (bob.ledger().state_hash(), bob.ledger().graph().len());
    assert!(bob.ledger().store.damage(&first.id()));
    let verification = bob.unchecked().verify().unwrap();
    assert_eq!(
        verification.faults,
        [
            (first.id(), Fault::Damaged),
            (second.id(), Fault::Orphan(vec![first.id()]))
        ]
    );
    bob.reopen();
    assert_eq!(bob.ledger().damaged(), [first.id()]);
    // Written now, an event would repeat the seq of a damaged one.
    assert!(matches!(
        bob.try_author(Act::Merge, None),
        Err(AuthorError::Damaged(2))
    ));
    assert_eq!(bob.ledger().missing(), [first.id()]);
    assert_eq!(bob.ledger().graph().len(), count - 2);
    sync(&mut bob, &mut alice);
    assert!(bob.ledger().damaged().is_empty());
    assert_eq!(bob.ledger().state_hash(), state);
    bob.reopen();
    assert_eq!(bob.ledger().graph().len(), count);
    assert!(bob.ledger().verify().unwrap().faults.is_empty());
}

#[test]
fn a_row_damaged_under_a_running_ledger_is_mended_from_memory() {
    let mut alice = Peer::founder();
    let event = alice.rename("one");
    let ledger = alice.unchecked();
    assert!(ledger.store.damage(&event.id()));
    let verification = ledger.verify().unwrap();
    assert_eq!(verification.faults, [(event.id(), Fault::Damaged)]);
    assert_eq!(ledger.mend(&verification).unwrap(), [event.id()]);
    assert!(alice.ledger().verify().unwrap().faults.is_empty());
}

#[test]
fn a_row_damaged_under_a_running_ledger_that_is_not_in_memory_is_mended_by_a_member() {
    let (mut alice, mut bob) = (Peer::founder(), Peer::new(2));
    let (_, ticket) = alice.invite(5, 1);
    bob.join(&ticket, &mut alice).unwrap();
    let event = bob.rename("one");
    let ledger = bob.ledger();
    assert!(ledger.store.damage(&event.id()));
    let verification = ledger.verify().unwrap();
    assert_eq!(ledger.mend(&verification).unwrap(), []);
    assert_eq!(ledger.missing(), [event.id()]);
    let batch = [event.bytes().to_vec()];
    let source = Source::Sync(alice.id());
    let receipt = ledger.receive(source, &batch, NOW).unwrap();
    assert_eq!((receipt.known, receipt.mended), (1, vec![event.id()]));
    assert_eq!(ledger.damaged(), []);
    assert!(bob.ledger().verify().unwrap().faults.is_empty());
}

#[test]
fn what_a_peer_asks_for_and_the_store_has_lost_is_asked_of_others_and_mended() {
    let (mut alice, mut bob) = (Peer::founder(), Peer::new(2));
    let (_, ticket) = alice.invite(5, 1);
    bob.join(&ticket, &mut alice).unwrap();
    let event = bob.rename("one");
    let ledger = bob.ledger();
    assert!(ledger.store.damage(&event.id()));
    assert_eq!(ledger.index().get(&event.id()), None);
    // What it amounts to is known, so nothing else is amiss.
    assert_eq!(ledger.whole(), Ok(()));
    assert_eq!(ledger.damaged(), [event.id()]);
    assert_eq!(ledger.missing(), [event.id()]);
    let (source, batch) = (Source::Sync(alice.id()), [event.bytes().to_vec()]);
    let receipt = ledger.receive(source, &batch, NOW).unwrap();
    assert_eq!(receipt.mended, [event.id()]);
    assert_eq!(ledger.missing(), []);
    assert_eq!(ledger.index().get(&event.id()), Some(event));
}

#[test]
fn a_store_that_does_not_give_back_what_it_has_ends_the_ledger_until_it_is_opened_again() {
    let (mut alice, mut bob) = (Peer::founder(), Peer::new(2));
    let (_, ticket) = alice.invite(5, 1);
    bob.join(&ticket, &mut alice).unwrap();
    let event = bob.rename("one");
    sync(&mut bob, &mut alice);
    let count = bob.ledger().graph().len();
    let device = bob.device.clone();
    let ledger = bob.ledger();
    assert!(ledger.store.damage(&event.id()));
    // Whoever has to know what it says hears of an empty one, and there is no panic.
    assert_eq!(
        ledger.event(&event.id()).map(|lost| lost.id()),
        Some(event.id())
    );
    let lost = Err(StoreError::Lost { id: event.id() });
    assert_eq!(ledger.whole(), lost);
    assert_eq!(ledger.receive(Source::File, &[], NOW).map(drop), lost);
    let written = ledger.author(&device, Act::Merge, None, NOW);
    assert!(matches!(
        written,
        Err(AuthorError::Store(StoreError::Lost { .. }))
    ));
    bob.reopen();
    assert_eq!(bob.ledger().damaged(), [event.id()]);
    sync(&mut bob, &mut alice);
    assert_eq!(bob.ledger().graph().len(), count);
    same(&mut alice, &mut bob);
}

#[test]
fn a_store_of_many_pages_opens_to_the_same_ledger() {
    let mut alice = Peer::founder();
    let device = alice.device.clone();
    let many = 2 * crate::store::PAGE as u32 + 7;
    let ledger = alice.unchecked();
    let genesis = ledger.index().events().next().unwrap();
    let mut parent = genesis.id();
    let mut chain = Vec::new();
    for n in 1..=many {
        let header = Header {
            network: ledger.network(),
            author: device.public(),
            seq: 1 + n,
            lamport: n,
            time: NOW,
            epoch: EpochId::NONE,
            parents: vec![parent],
        };
        let event = Event::sign(&header, &Act::Merge, &[], &device).unwrap();
        parent = event.id();
        chain.push(event.bytes().to_vec());
    }
    let receipt = ledger.receive(Source::File, &chain, NOW).unwrap();
    assert_eq!(receipt.added.len(), chain.len());
    let (state, heads) = (alice.ledger().state_hash(), alice.ledger().heads());
    alice.reopen();
    assert_eq!(alice.ledger().graph().len(), 1 + many as usize);
    assert_eq!(
        (alice.ledger().state_hash(), alice.ledger().heads()),
        (state, heads)
    );
    let store = &alice.ledger().store;
    let mut rows = store.page(None).unwrap();
    let mut paged = std::mem::take(&mut rows.rows);
    while let Some(next) = rows.next.take() {
        rows = store.page(Some(&next)).unwrap();
        paged.append(&mut rows.rows);
    }
    assert_eq!(paged, store.rows().unwrap());
}

#[test]
fn a_good_event_under_a_damaged_key_is_filed_anew() {
    let mut alice = Peer::founder();
    let event = alice.rename("one");
    assert!(alice.ledger().store.misfile(&event.id()));
    assert_eq!(alice.unchecked().verify().unwrap().faults.len(), 1);
    alice.reopen();
    assert!(alice.ledger().event(&event.id()).is_some());
    assert!(alice.ledger().damaged().is_empty());
    assert!(alice.ledger().verify().unwrap().faults.is_empty());
}

#[test]
fn a_write_that_fails_leaves_the_ledger_as_it_was() {
    let (mut alice, mut bob) = (Peer::founder(), Peer::new(2));
    let (_, ticket) = alice.invite(5, 1);
    bob.join(&ticket, &mut alice).unwrap();
    let event = bob.rename("tower");
    let (heads, state) = (alice.ledger().heads(), alice.ledger().state_hash());
    alice.ledger().store.fail(true);
    let batch = [event.bytes().to_vec()];
    let source = Source::Sync(bob.id());
    assert!(alice.ledger().receive(source, &batch, NOW).is_err());
    assert!(matches!(
        alice.try_author(Act::Merge, None),
        Err(AuthorError::Store(_))
    ));
    assert_eq!(alice.ledger().heads(), heads);
    assert_eq!(alice.ledger().state_hash(), state);
    alice.ledger().store.fail(false);
    let receipt = alice.ledger().receive(source, &batch, NOW).unwrap();
    assert_eq!(receipt.added, [event.id()]);
    same(&mut alice, &mut bob);
}

#[cfg(feature = "sqlite")]
#[test]
fn a_ledger_can_be_owned_by_another_thread() {
    fn sendable<T: Send>() {}
    sendable::<Ledger<crate::store::sqlite::SqliteStore>>();
}

#[cfg(feature = "sqlite")]
#[test]
fn a_network_in_a_file_is_there_after_opening_again() {
    use crate::store::sqlite::SqliteStore;

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.db");
    let mut alice = Peer::founder();
    alice.invite(5, 1);
    alice.rename("tower");
    let args = JoinArgs {
        network: alice.ledger().network(),
        events: alice
            .ledger()
            .index()
            .events()
            .map(|event| event.bytes().to_vec())
            .collect(),
        epoch: EpochKey::from_bytes([42; 32]),
        device: alice.id(),
        box_secret: alice.box_secret.clone(),
    };
    let mut stored = Ledger::join(SqliteStore::open(&path).unwrap(), args).unwrap();
    stored.author(&alice.device, Act::Merge, None, NOW).unwrap();
    let (heads, state) = (stored.heads(), stored.state_hash());
    drop(stored);
    let store = SqliteStore::open(&path).unwrap();
    let stored = Ledger::open(store, alice.box_secret.clone()).unwrap();
    assert_eq!(stored.heads(), heads);
    assert_eq!(stored.state_hash(), state);
    assert!(stored.verify().unwrap().faults.is_empty());
}

#[test]
fn a_checkpoint_that_states_what_its_events_do_not_amount_to_is_named() {
    let mut alice = Peer::founder();
    let honest = alice.ledger().verify().unwrap();
    assert_eq!(honest.faults, []);
    assert_eq!(honest.authority, alice.ledger().authority_hash());
    assert_eq!(honest.state, Some(alice.ledger().state_hash()));
    for lie in [false, true] {
        let ledger = alice.ledger();
        let state = if lie {
            Digest([9; 32])
        } else {
            ledger.state_hash()
        };
        let act = Act::Checkpoint(crate::event::act::Checkpoint {
            heads: ledger.heads(),
            authority: ledger.authority_hash(),
            state,
            count: ledger.graph().len() as u64,
        });
        let checkpoint = alice.author(act, None).id();
        let found = alice.ledger().verify().unwrap();
        assert_eq!(found.checkpoint, Some(checkpoint));
        let faults = if lie {
            vec![(checkpoint, Fault::Misstated("state"))]
        } else {
            Vec::new()
        };
        assert_eq!(found.faults, faults);
    }
}
