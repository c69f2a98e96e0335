//! The log and the rights, without a server.

use std::sync::Arc;

use mesh_ledger::event::id_of;
use mesh_ledger::fold;
use mesh_ledger::keys::InviteSecret;
use mesh_ledger::mirror::Chain;
use mesh_ledger::store::ReadBack;
use mesh_server::log::{Damaged, EVENT_COST, Log};
use mesh_server::quota::Limits;
use mesh_server::rights::{Right, invite, right};
use mesh_server::store::{Bodies, Store};

use crate::client::{all, bytes, merges};
use crate::world::{LATE, Person, World};

fn log_of(world: &World) -> Log {
    let mut log = Log::new(world.network, None);
    let mut taken = log.take(&all(world), &Limits::default());
    log.keep(&mut taken);
    log
}

#[test]
fn who_may_do_what_follows_from_clear_acts_as_the_whole_fold_says_it() {
    let (mut world, mut side) = World::new("alice");
    let owner = world.owner.clone();
    let bob = world.newcomer(&mut side, &owner, "bob");
    let carol = world.newcomer(&mut side, &owner, "carol");
    let kick = world.kick(&mut side, &owner, &carol);
    assert_eq!(fold::authority(&world.graph), world.authority());
    let log = log_of(&world);
    let of = |person: &crate::world::Person| right(log.authority(), &person.device_id());
    assert_eq!(of(&owner), Right::Live);
    assert_eq!(of(&bob), Right::Live);
    assert_eq!(of(&carol), Right::Removed(kick));
    assert_eq!(of(&crate::world::Person::new("dave")), Right::Unknown);
    assert_eq!(right(None, &bob.device_id()), Right::NotHosted);
    let ids: Vec<_> = all(&world).iter().map(|event| id_of(event)).collect();
    assert_eq!(log.proof(&kick), ids);
}

#[test]
fn an_invite_lives_until_it_is_used_up_closed_or_over() {
    let (mut world, mut side) = World::new("alice");
    let owner = world.owner.clone();
    let open = world.invite(&mut side, &owner, 1);
    let closed = world.invite(&mut side, &owner, 1);
    world.close(&mut side, &owner, &closed);
    let used = world.invite(&mut side, &owner, 1);
    let joiner = crate::world::Person::new("joiner");
    world.admit(&mut side, &owner, &joiner, Some(&used));
    let log = log_of(&world);
    let authority = log.authority().unwrap();
    let judged = |key: &InviteSecret, now| invite(authority, &key.public(), now);
    assert_eq!(judged(&open.key, 5), Some((open.invite, true)));
    assert_eq!(judged(&closed.key, 5), Some((closed.invite, false)));
    assert_eq!(judged(&used.key, 5), Some((used.invite, false)));
    assert_eq!(judged(&open.key, LATE), Some((open.invite, true)));
    assert_eq!(judged(&InviteSecret::from_seed(&[77; 32]), 5), None);
}

#[test]
fn what_the_disk_did_not_take_leaves_no_trace() {
    let (mut world, mut side) = World::new("alice");
    let owner = world.owner.clone();
    let mut log = log_of(&world);
    let (count, chain, cost) = (log.count(), log.chain(), log.cost());
    world.newcomer(&mut side, &owner, "bob");
    let new = all(&world)[1..].to_vec();
    let taken = log.take(&new, &Limits::default());
    assert_eq!(taken.stored.len(), new.len());
    let turnover = log.turnover(&taken);
    assert_eq!((turnover.came.len(), turnover.went.len()), (1, 0));
    log.undo(&taken);
    assert_eq!((log.count(), log.chain(), log.cost()), (count, chain, cost));
    assert_eq!(log.authority().unwrap().devices.len(), 1);
    let mut again = log.take(&new, &Limits::default());
    log.keep(&mut again);
    let chain = all(&world)
        .iter()
        .fold(Chain::empty(&world.network), |chain, event| {
            chain.then(&id_of(event))
        });
    assert_eq!(log.chain(), chain);
    assert_eq!(log.authority().unwrap().devices.len(), 2);
}

#[test]
fn a_log_is_restored_as_it_was_and_a_damaged_row_is_noticed() {
    let (mut world, mut side) = World::new("alice");
    let owner = world.owner.clone();
    world.newcomer(&mut side, &owner, "bob");
    let log = log_of(&world);
    let rows = || all(&world).into_iter().map(|event| (id_of(&event), event));
    let restore = |rows: Vec<_>| {
        let mut log = Log::new(world.network, None);
        log.restore(rows)?;
        log.settle();
        Ok::<_, Damaged>(log)
    };
    let restored = restore(rows().collect()).unwrap();
    assert_eq!(restored.chain(), log.chain());
    assert_eq!(restored.authority(), log.authority());
    let size = all(&world).into_iter().map(|event| event.len() as u64);
    let cost = size.sum::<u64>() + EVENT_COST * log.count();
    assert_eq!((restored.cost(), log.cost()), (cost, cost));
    let damaged = rows().map(|(id, mut event)| {
        let last = event.len() - 1;
        event[last] ^= 1;
        (id, event)
    });
    assert!(restore(damaged.collect()).is_err());
    let swapped = rows().rev();
    assert!(restore(swapped.collect()).is_err());
}

#[test]
fn a_log_whose_bodies_are_on_the_disk_judges_as_one_that_holds_them() {
    let (mut world, mut side) = World::new("alice");
    let owner = world.owner.clone();
    let bob = world.newcomer(&mut side, &owner, "bob");
    merges(&mut world, &mut side, &bob, 700);
    world.kick(&mut side, &owner, &bob);
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(&folder.path().join("mirror.db")).unwrap());
    let network = world.network;
    let bodies = || Some(Arc::new(Bodies::new(store.clone(), network)) as Arc<dyn ReadBack>);
    let mut log = Log::new(network, bodies());
    for events in all(&world).chunks(100) {
        let mut taken = log.take(events, &Limits::default());
        let turnover = log.turnover(&taken);
        let from = taken.added.start as u64;
        let added = log.events(taken.added.clone());
        store.append(&network, from, added, &turnover).unwrap();
        log.keep(&mut taken);
    }
    assert_eq!(log.authority(), log_of(&world).authority());
    let mut again = Log::new(network, bodies());
    let mut read = Vec::new();
    loop {
        let page = store.page(&network, again.count(), 64, 10_000).unwrap();
        if page.is_empty() {
            break;
        }
        assert!(page.len() <= 64);
        read.extend(page.iter().map(|(_, bytes)| bytes.clone()));
        again.restore(page).unwrap();
    }
    again.settle();
    assert_eq!(read, all(&world));
    assert_eq!(again.authority(), log.authority());
    assert_eq!((again.chain(), again.cost()), (log.chain(), log.cost()));
    assert!(!again.is_broken());
    let ids: Vec<_> = read.iter().map(|event| id_of(event)).collect();
    assert_eq!(again.ids(0).unwrap(), ids);
    assert!(again.ids(again.count()).unwrap().is_empty());
    assert!(again.ids(again.count() + 1).is_none());
    assert!(again.ids(u64::MAX).is_none());
}

#[test]
fn a_kicked_key_and_one_that_was_never_let_in_write_nothing_by_a_stranger() {
    let (mut world, mut side) = World::new("alice");
    let owner = world.owner.clone();
    let bob = world.newcomer(&mut side, &owner, "bob");
    let base = all(&world);
    let mut at_bob = side.clone();
    // Bob names a key without an invite, as nobody but an admin may.
    let carol = Person::new("carol");
    world.admit(&mut at_bob, &bob, &carol, None);
    let planted: Vec<_> = at_bob.0.iter().map(|id| bytes(&world, *id)).collect();
    let kick = world.kick(&mut side, &owner, &bob);
    let limits = Limits::default();
    let mut log = Log::new(world.network, None);
    let mut taken = log.take(&[base.clone(), vec![bytes(&world, kick)]].concat(), &limits);
    log.keep(&mut taken);
    let count = log.count();
    assert_eq!(count, base.len() as u64 + 1);
    let mut at_carol = at_bob.clone();
    // Beside the kick, and with the kick in their past.
    let by_bob = merges(&mut world, &mut at_bob, &bob, 8192);
    let after = merges(&mut world, &mut side, &bob, 64);
    let by_carol = merges(&mut world, &mut at_carol, &carol, 2000);
    let beside = by_bob
        .chunks(255)
        .map(|push| [planted.clone(), push.to_vec()].concat());
    for push in beside.chain([after]) {
        let push = &push;
        let taken = log.take_from_stranger(push, &limits);
        assert!(taken.added.is_empty() && taken.stored.is_empty());
    }
    for push in by_carol.chunks(255) {
        let push = [planted.clone(), push.to_vec()].concat();
        let taken = log.take_from_stranger(&push, &limits);
        assert!(taken.added.is_empty() && taken.stored.is_empty());
    }
    assert_eq!(log.count(), count);
}

#[test]
fn who_was_let_in_meanwhile_brings_its_admission_and_what_members_wrote_until_then() {
    let (mut world, mut side) = World::new("alice");
    let owner = world.owner.clone();
    let bob = world.newcomer(&mut side, &owner, "bob");
    let mut log = log_of(&world);
    // Bob writes, is kicked by somebody who knows it, and writes on beside that. Carol is let in then.
    merges(&mut world, &mut side, &bob, 300);
    let mut beside = side.clone();
    world.kick(&mut side, &owner, &bob);
    let late = world.merge(&mut beside, &bob);
    let carol = world.newcomer(&mut side, &owner, "carol");
    let limits = Limits::default();
    for push in all(&world).chunks(256) {
        let mut taken = log.take_from_stranger(push, &limits);
        log.keep(&mut taken);
    }
    assert_eq!(right(log.authority(), &carol.device_id()), Right::Live);
    assert_eq!(log.count(), world.graph.len() as u64 - 1);
    assert!(!log.has(&late));
}
