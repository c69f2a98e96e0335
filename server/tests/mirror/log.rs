//! The log and the rights, without a server.

use mesh_ledger::event::id_of;
use mesh_ledger::fold;
use mesh_ledger::keys::InviteSecret;
use mesh_ledger::mirror::Chain;
use mesh_ledger::mirror::message::MAX_EVENTS;
use mesh_server::log::Log;
use mesh_server::quota::Limits;
use mesh_server::rights::{Right, invite, right};

use crate::client::{all, merges};
use crate::world::{LATE, World};

fn log_of(world: &World) -> Log {
    let mut log = Log::new(world.network);
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
    assert_eq!(log.proof(&kick), all(&world));
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
    let (count, chain, bytes) = (log.count(), log.chain(), log.bytes());
    world.newcomer(&mut side, &owner, "bob");
    let new = all(&world)[1..].to_vec();
    let taken = log.take(&new, &Limits::default());
    assert_eq!(taken.stored.len(), new.len());
    let turnover = log.turnover(&taken);
    assert_eq!((turnover.came.len(), turnover.went.len()), (1, 0));
    log.undo(&taken);
    assert_eq!(
        (log.count(), log.chain(), log.bytes()),
        (count, chain, bytes)
    );
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
    let restored = Log::restore(world.network, rows()).unwrap();
    assert_eq!(restored.chain(), log.chain());
    assert_eq!(restored.authority(), log.authority());
    let damaged = rows().map(|(id, mut event)| {
        let last = event.len() - 1;
        event[last] ^= 1;
        (id, event)
    });
    assert!(Log::restore(world.network, damaged).is_err());
    let swapped = rows().rev();
    assert!(Log::restore(world.network, swapped).is_err());
}

#[test]
fn parts_join_without_a_gap_and_fit_into_messages() {
    let (mut world, mut side) = World::new("alice");
    let owner = world.owner.clone();
    merges(&mut world, &mut side, &owner, 700);
    let log = log_of(&world);
    let mut from = 0;
    let mut events = Vec::new();
    while from < log.count() {
        let part = log.part(from, true).unwrap();
        assert!(!part.ids.is_empty() && part.ids.len() <= MAX_EVENTS);
        assert_eq!(part.ids.len(), part.events.len());
        from += part.ids.len() as u64;
        events.extend(part.events);
    }
    assert_eq!(events, all(&world));
    assert_eq!(log.part(0, false).unwrap().ids.len(), 701);
    assert!(log.part(log.count(), true).unwrap().ids.is_empty());
    assert!(log.part(log.count() + 1, true).is_none());
    assert!(log.part(u64::MAX, true).is_none());
}
