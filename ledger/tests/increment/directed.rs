//! Histories that chance does not write: a late act takes back what much was built on, far from the one it names.

use std::collections::BTreeSet;

use mesh_ledger::event::act::Target;
use mesh_ledger::event::attributes::{MAX_NAMES, MAX_WRITES, Opened, Write};
use mesh_ledger::graph::Idx;
use mesh_ledger::ids::EventId;

use crate::Replica;
use crate::common::{Person, Side, World, label, open, words};

/// The events of a world arrive one by one, as they were signed, those of `late` unreadable at first. At the end the last is
/// taken back and comes again, and then all are taken back. `last` is told what counts without the last event, and with it.
fn one_by_one(world: &World, late: &[EventId], last: impl Fn(&dyn Fn(EventId) -> bool, bool)) {
    let mut replica = Replica::new(1);
    let late: BTreeSet<EventId> = late.iter().copied().collect();
    let events: Vec<_> = world
        .graph
        .indices()
        .map(|idx| world.graph.event(idx))
        .collect();
    let arrives = |replica: &mut Replica, n: usize| {
        replica.insert(&events[n]);
        replica.opened[n] = if late.contains(&events[n].id()) {
            Opened::Pending
        } else {
            open(&events[n])
        };
        replica.update(&[]);
    };
    for n in 0..events.len() - 1 {
        arrives(&mut replica, n);
    }
    for id in &late {
        let idx = replica.graph.find(id).unwrap();
        replica.opened[idx.0 as usize] = open(&world.graph.event(idx));
        replica.update(&[idx]);
    }
    let counts = |replica: &Replica, id: EventId| {
        let place: Idx = replica.graph.find(&id).unwrap();
        replica.increment.fold().verdicts[place.0 as usize].counts()
    };
    last(&|id| counts(&replica, id), false);
    for again in [true, false] {
        arrives(&mut replica, events.len() - 1);
        last(&|id| counts(&replica, id), true);
        if again {
            replica.take_back(events.len() - 1);
            last(&|id| counts(&replica, id), false);
        }
    }
    while !replica.graph.is_empty() {
        replica.take_back(replica.graph.len() - 1);
    }
}

#[test]
fn a_term_that_falls_takes_along_what_its_holder_did_and_whom_its_holders_invites_let_in() {
    let (mut world, mut side) = World::new("alice");
    let alice = world.owner.clone();
    let bob = world.newcomer(&mut side, &alice, "bob");
    let carol = world.newcomer(&mut side, &alice, "carol");
    let bobs = world.grant(&mut side, &alice, &bob);
    let (before, mut away) = (side.clone(), side.clone());
    let carols = world.grant(&mut side, &bob, &carol);
    let ticket = world.invite(&mut side, &carol, 2);
    let dave = Person::new("dave");
    let admitted = world.admit(&mut side, &alice, &dave, Some(&ticket));
    let said = world.offer(&mut side, &dave, &dave, 22);
    let closed = world.close(&mut side, &carol, &ticket);
    // In ignorance of all that.
    let revoked = world.revoke(&mut away, &alice, &bob, bobs, Some(&before));
    assert!(world.counts(revoked));
    one_by_one(&world, &[], |counts, late| {
        for id in [carols, ticket.invite, admitted, said, closed] {
            assert_eq!(counts(id), !late, "{id:?}");
        }
        assert!(counts(bobs));
    });
}

#[test]
fn a_grant_to_somebody_who_was_removed_meanwhile_falls_with_all_that_came_of_it() {
    let (mut world, mut side) = World::new("alice");
    let alice = world.owner.clone();
    let bob = world.newcomer(&mut side, &alice, "bob");
    let carol = world.newcomer(&mut side, &alice, "carol");
    let dave = world.newcomer(&mut side, &alice, "dave");
    world.grant(&mut side, &alice, &bob);
    let mut away = side.clone();
    let grant = world.grant(&mut side, &bob, &carol);
    let next = world.grant(&mut side, &carol, &dave);
    let ticket = world.invite(&mut side, &dave, 1);
    let kick = world.kick(&mut away, &alice, &carol);
    assert!(world.counts(kick));
    one_by_one(&world, &[], |counts, late| {
        for id in [grant, next, ticket.invite] {
            assert_eq!(counts(id), !late, "{id:?}");
        }
    });
}

#[test]
fn an_invite_lapses_with_its_issuers_term_for_whom_the_remover_had_not_heard_of() {
    for revoke in [false, true] {
        let (mut world, mut side) = World::new("alice");
        let alice = world.owner.clone();
        let bob = world.newcomer(&mut side, &alice, "bob");
        let carol = world.newcomer(&mut side, &alice, "carol");
        let carols = world.grant(&mut side, &alice, &carol);
        let ticket = world.invite(&mut side, &carol, 1);
        let mut away = side.clone();
        let dave = Person::new("dave");
        let admitted = world.admit(&mut side, &bob, &dave, Some(&ticket));
        let said = world.offer(&mut side, &dave, &dave, 22);
        // In the order, the removal comes behind all that it voids.
        for _ in 0..5 {
            world.merge(&mut away, &alice);
        }
        let removal = if revoke {
            world.revoke(&mut away, &alice, &carol, carols, None)
        } else {
            world.kick(&mut away, &alice, &carol)
        };
        assert!(world.counts(removal));
        one_by_one(&world, &[], |counts, last| {
            assert_eq!((counts(admitted), counts(said)), (!last, !last));
            assert!(counts(ticket.invite));
        });
    }
}

#[test]
fn a_device_that_an_admin_let_return_is_out_again_when_that_admins_term_falls() {
    let (mut world, mut side) = World::new("alice");
    let alice = world.owner.clone();
    let carol = world.newcomer(&mut side, &alice, "carol");
    let bob = world.newcomer(&mut side, &alice, "bob");
    let dave = world.newcomer(&mut side, &alice, "dave");
    let carols = world.grant(&mut side, &alice, &carol);
    world.grant(&mut side, &alice, &bob);
    let tower = Person::with_device("bob", "tower");
    world.add_device(&mut side, &tower);
    let target = Target::Device(tower.device_id());
    let removed = world.remove(&mut side, &alice, target, None, &[]);
    let (before, mut away) = (side.clone(), side.clone());
    let back = world.admit(&mut side, &carol, &tower, None);
    let grant = world.grant(&mut side, &tower, &dave);
    let ticket = world.invite(&mut side, &dave, 1);
    let said = world.offer(&mut side, &tower, &tower, 22);
    let revoked = world.revoke(&mut away, &alice, &carol, carols, Some(&before));
    assert!(world.counts(revoked) && world.counts(removed));
    one_by_one(&world, &[], |counts, late| {
        for id in [back, grant, ticket.invite, said] {
            assert_eq!(counts(id), !late, "{id:?}");
        }
    });
}

#[test]
fn a_device_exercises_no_office_once_the_term_that_let_it_return_is_junior_to_it() {
    let (mut world, mut side) = World::new("alice");
    let alice = world.owner.clone();
    let carol = world.newcomer(&mut side, &alice, "carol");
    let bob = world.newcomer(&mut side, &alice, "bob");
    // Carol is an admin twice, and bob's term lies between.
    let senior = world.grant(&mut side, &alice, &carol);
    world.grant(&mut side, &alice, &bob);
    world.grant(&mut side, &alice, &carol);
    let tower = Person::with_device("bob", "tower");
    world.add_device(&mut side, &tower);
    let target = Target::Device(tower.device_id());
    world.remove(&mut side, &alice, target, None, &[]);
    let (before, mut away) = (side.clone(), side.clone());
    let back = world.admit(&mut side, &carol, &tower, None);
    let ticket = world.invite(&mut side, &tower, 1);
    let said = world.offer(&mut side, &tower, &tower, 22);
    let revoked = world.revoke(&mut away, &alice, &carol, senior, Some(&before));
    assert!(world.counts(revoked));
    one_by_one(&world, &[], |counts, last| {
        // Carol still lets it in; but she speaks for no more than her second term.
        assert!(counts(back) && counts(said));
        assert_eq!(counts(ticket.invite), !last);
    });
}

/// Bob and carol both have the first owner's words. Dave is for bob, erin is for carol, and if bob then wins by his lesser id,
/// frank is for carol too.
fn contest(attempt: u32) -> Option<(World, [EventId; 4])> {
    let (mut world, mut side) = World::new("alice");
    let alice = world.owner.clone();
    let [bob, carol, dave, erin, frank] = ["bob", "carol", "dave", "erin", "frank"]
        .map(|name| world.newcomer(&mut side, &alice, name));
    let (cut, mut away) = (side.clone(), side.clone());
    let first = world.words.clone();
    let bobs = words(&format!("bob's {attempt}"));
    let to_bob = world.hand_over(&mut side, &bob, &bob, &first, &bobs, &cut);
    let grant = world.grant(&mut side, &bob, &dave);
    let ticket = world.invite(&mut side, &dave, 1);
    let to_carol = world.hand_over(&mut away, &carol, &carol, &first, &words("carol's"), &cut);
    world.merge(&mut away, &erin);
    let bob_leads = world.counts(to_bob);
    world.merge(&mut away, &frank);
    bob_leads.then_some((world, [to_bob, grant, ticket.invite, to_carol]))
}

#[test]
fn an_owner_whom_others_outvote_falls_with_all_that_came_of_it() {
    let (world, [to_bob, grant, invite, to_carol]) = (0..64).find_map(contest).unwrap();
    one_by_one(&world, &[], |counts, last| {
        for id in [to_bob, grant, invite] {
            assert_eq!(counts(id), !last, "{id:?}");
        }
        assert_eq!(counts(to_carol), last);
    });
}

#[test]
fn a_member_who_was_kicked_and_came_back_was_never_gone_when_the_kick_falls() {
    let (mut world, mut side) = World::new("alice");
    let alice = world.owner.clone();
    let carol = world.newcomer(&mut side, &alice, "carol");
    let carols = world.grant(&mut side, &alice, &carol);
    let bob = Person::new("bob");
    let ticket = world.invite(&mut side, &alice, 1);
    let came = world.admit(&mut side, &alice, &bob, Some(&ticket));
    let tower = Person::with_device("bob", "tower");
    let added = world.add_device(&mut side, &tower);
    let offered = world.offer(&mut side, &tower, &tower, 22);
    let (before, mut away) = (side.clone(), side.clone());
    let kick = world.kick(&mut side, &carol, &bob);
    let back = world.admit(&mut side, &alice, &bob, None);
    let again = world.add_device(&mut side, &tower);
    let revoked = world.revoke(&mut away, &alice, &carol, carols, Some(&before));
    assert!(world.counts(revoked));
    for late in [
        vec![],
        vec![came],
        vec![came, added],
        vec![back, again],
        vec![came, back],
    ] {
        one_by_one(&world, &late, |counts, last| {
            assert_eq!(counts(kick), !last);
            assert!(counts(offered) && counts(back) && counts(again));
        });
    }
    let state = world.state();
    assert_eq!(state.members[&bob.id()].devices.len(), 2);
    assert!(
        state
            .offers
            .keys()
            .any(|(device, _)| *device == tower.device_id())
    );
}

#[test]
fn a_checkpoint_seals_the_branch_of_a_forked_device_that_it_covers_and_no_other() {
    let (mut world, mut side) = World::new("alice");
    let alice = world.owner.clone();
    let bob = world.newcomer(&mut side, &alice, "bob");
    let mut away = side.clone();
    let rename = |world: &mut World, side: &mut Side, name: &str| {
        let (user, name) = (bob.id(), label(name));
        world.write(side, &bob, vec![Write::Name { user, name }])
    };
    for _ in 0..3 {
        world.merge(&mut side, &alice);
    }
    let left = rename(&mut world, &mut side, "left");
    let right = rename(&mut world, &mut away, "right");
    let further = rename(&mut world, &mut away, "further");
    let header = |id| world.graph.event(world.idx(id)).header().clone();
    assert_eq!(header(left).seq, header(right).seq, "a fork");
    let called = |world: &World| world.state().members[&bob.id()].name.to_string();
    assert_eq!(called(&world), "left", "it has the greatest lamport");

    // Alice has not seen the other branch: whatever its lamports, it comes behind.
    world.checkpoint(&mut side, &alice, 0);
    let order = world.fold().order;
    let place = |id| order.iter().position(|idx| *idx == world.idx(id)).unwrap();
    assert!(place(left) < place(right) && place(right) < place(further));
    assert_eq!(called(&world), "further");
    one_by_one(&world, &[], |counts, _| {
        assert!([left, right, further].into_iter().all(counts));
    });

    // A seal of a part of the other branch, by somebody who knows both, leaves the rest of it open.
    let mut both = Side(BTreeSet::from([right]));
    both.learn(&world, &side);
    let open = world.merge(&mut away, &alice);
    let seal = world.checkpoint(&mut both, &alice, 0);
    assert!(world.counts(seal));
    let order = world.fold().order;
    let place = |id| order.iter().position(|idx| *idx == world.idx(id)).unwrap();
    assert!(place(left) < place(right) && place(right) < place(further));
    assert!(place(right) < place(open));
    one_by_one(&world, &[], |counts, _| assert!(counts(further)));
}

#[test]
fn of_the_last_names_that_a_user_may_set_those_count_that_come_first_in_order_however_late_they_arrive()
 {
    let (mut world, mut side) = World::new("alice");
    let alice = world.owner.clone();
    let bob = world.newcomer(&mut side, &alice, "bob");
    let tower = Person::with_device("bob", "tower");
    world.add_device(&mut side, &tower);
    let mut away = side.clone();
    let names = |from: u32| -> Vec<Write> {
        let name = |n| Write::Host {
            device: bob.device_id(),
            host: label(&format!("den-{n}")),
        };
        (from..from + MAX_WRITES as u32).map(name).collect()
    };
    let all = MAX_NAMES / MAX_WRITES as u32;
    let set: Vec<EventId> = (0..all)
        .map(|n| world.write(&mut side, &bob, names(n * MAX_WRITES as u32)))
        .collect();
    assert!(world.counts(set[all as usize - 1]));
    // In ignorance of all that, and with a smaller lamport.
    let early = world.write(&mut away, &tower, names(0));
    assert!(world.counts(early));
    one_by_one(&world, &set[..2], |counts, last| {
        assert!(counts(set[all as usize - 2]));
        assert_eq!(counts(set[all as usize - 1]), !last);
    });
}
