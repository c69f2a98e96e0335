//! Members and devices: coming, going and coming back.

use crate::common::{Person, World, v4};
use crate::office;
use mesh_ledger::event::Act;
use mesh_ledger::event::act::Target;
use mesh_ledger::state::Rank;
use mesh_ledger::verdict::{Reason, Verdict};

#[test]
fn a_network_begins_with_its_founder() {
    let (world, _) = World::new("alice");
    let fold = world.fold();
    assert_eq!(fold.verdicts, [Verdict::Counted][..]);
    let alice = &fold.state.members[&world.owner.id()];
    assert_eq!((alice.name.as_str(), alice.rank), ("alice", Rank::Owner));
    let device = fold.state.host("alice").unwrap();
    assert_eq!(device.v4, Some(v4(1)));
    assert_eq!(device.v6, world.network.address_v6(&device.id));
    assert_eq!(fold.state.epochs, [crate::common::EPOCH]);
    assert_eq!(fold.authority.owner, world.owner.id());
}

#[test]
fn both_branches_of_a_fork_are_judged_by_the_same_rules() {
    let mut o = office();
    let ticket = o.world.invite(&mut o.side, &o.alice, 9);
    let mut other = o.side.clone();
    let one = o
        .world
        .admit(&mut o.side, &o.bob, &Person::new("erin"), Some(&ticket));
    let two = o
        .world
        .admit(&mut other, &o.bob, &Person::new("frank"), Some(&ticket));
    assert!(o.world.graph.forked().contains(&o.bob.device_id()));
    assert!(o.world.counts(one) && o.world.counts(two));
    o.world.kick(&mut o.side, &o.alice, &o.bob);
    assert!(o.world.counts(one), "the kick knows this branch");
    assert!(!o.world.counts(two), "and not that one");
}

#[test]
fn a_week_long_split_heals_to_what_both_sides_did() {
    let mut o = office();
    let mut away = o.side.clone();
    let mut near = o.side.clone();
    for day in 0..7 {
        for (side, admin, name) in [(&mut near, &o.bob, "near"), (&mut away, &o.carol, "away")] {
            let joiner = o.world.newcomer(side, admin, &format!("{name}-{day}"));
            o.world.offer(side, &joiner, &joiner, 80);
        }
    }
    o.world.kick(&mut away, &o.carol, &o.dave);
    let (left, right) = (near.clone(), away.clone());
    near.learn(&o.world, &right);
    away.learn(&o.world, &left);
    let one = o.world.part(&near).fold();
    let other = o.world.part(&away).fold();
    assert_eq!(one.state.hash(), other.state.hash());
    assert_eq!(one.authority.hash(), other.authority.hash());
    assert_eq!(one.state.members.len(), 3 + 14);
    assert_eq!(one.state.offers.len(), 14);
    assert!(one.verdicts.iter().all(Verdict::counts));
}

#[test]
fn whom_a_kicked_member_let_in_before_stays() {
    let (mut world, mut side) = World::new("zero");
    let zero = world.owner.clone();
    let ticket = world.invite(&mut side, &zero, 9);
    let (one, two) = (Person::new("one"), Person::new("two"));
    world.admit(&mut side, &zero, &one, Some(&ticket));
    world.admit(&mut side, &one, &two, Some(&ticket));
    world.kick(&mut side, &zero, &one);
    assert!(!world.is_member(&one));
    assert!(world.is_member(&two));
    let offer = world.offer(&mut side, &two, &two, 22);
    assert!(world.counts(offer));
}

#[test]
fn a_stolen_first_device_that_certifies_another_falls_with_the_user() {
    let mut o = office();
    let mut away = o.side.clone();
    let second = Person::with_device("bob", "bob-second");
    let third = Person::with_device("bob", "bob-third");
    let known = o.world.add_device(&mut o.side, &second);
    assert!(o.world.counts(known));
    let kick = o.world.kick(&mut o.side, &o.alice, &o.bob);
    let concurrent = o.world.add_device(&mut away, &third);
    let later = o
        .world
        .add_device(&mut o.side, &Person::with_device("bob", "bob-fourth"));
    for void in [concurrent, later] {
        assert!(matches!(o.world.reason(void), Reason::UserRemoved { by, .. } if by == kick));
    }
    let grant = o.world.grant(&mut away, &third, &o.dave);
    let offer = o.world.offer(&mut o.side, &second, &second, 22);
    assert!(!o.world.counts(grant) && !o.world.counts(offer));
    let state = o.world.state();
    assert!(
        state
            .devices
            .values()
            .all(|device| device.user != o.bob.id())
    );
    assert_eq!(state.removed_devices[&second.device_id()], kick);
    assert_eq!(state.removed_users[&o.bob.id()], kick);
}

#[test]
fn a_user_key_removes_a_stolen_device_and_nobody_can_say_it_again_elsewhere() {
    let mut o = office();
    let second = Person::with_device("bob", "bob-second");
    o.world.add_device(&mut o.side, &second);
    let start = o.side.clone();
    let erin = o.world.newcomer(&mut o.side, &o.bob, "erin");
    let before = o.side.clone();
    let theft = o.world.grant(&mut o.side, &o.bob, &o.dave);
    let uncut = o.world.remove_own(&mut o.side, &second, &o.bob, None);
    assert_eq!(o.world.reason(uncut), Reason::NeedsUserKey);
    let removal = o
        .world
        .remove_own(&mut o.side, &second, &o.bob, Some(&before));
    assert!(o.world.counts(removal));
    assert!(matches!(o.world.reason(theft), Reason::DeviceRemoved { by, .. } if by == removal));
    assert!(o.world.is_member(&erin));
    let state = o.world.state();
    assert!(
        state.members.contains_key(&o.bob.id()),
        "bob has another device"
    );
    assert!(!state.devices.contains_key(&o.bob.device_id()));
    assert!(o.world.authority().is_admin(&o.bob.id()));
    let grant = o.world.grant(&mut o.side, &second, &o.dave);
    assert!(o.world.counts(grant));
    // A device that was removed never comes back by device.add; an admin may let it back in.
    let back = o.world.add_device(&mut o.side, &o.bob);
    assert!(matches!(o.world.reason(back), Reason::DeviceRemoved { .. }));
    let readmitted = o.world.admit(&mut o.side, &o.alice, &o.bob, None);
    assert!(o.world.counts(readmitted));
    // Somebody carries bob's signature again, from an early place, where it would undo more.
    let Some(Act::Remove(act)) = Some(o.world.graph.event(o.world.idx(removal)).act().clone())
    else {
        panic!("a removal");
    };
    let mut replay = before;
    let again = o
        .world
        .sign(&mut replay, &o.dave.device, Act::Remove(act), None, 0);
    let _ = again;
    let _ = start;
    assert!(o.world.is_member(&erin));
    let state = o.world.state();
    assert!(
        state.devices.contains_key(&o.bob.device_id()),
        "still readmitted"
    );
}

#[test]
fn a_removed_device_cannot_make_its_user_leave() {
    let mut o = office();
    let second = Person::with_device("bob", "bob-second");
    o.world.add_device(&mut o.side, &second);
    let mut thief = o.side.clone();
    let remove = Target::Device(second.device_id());
    let removal = o.world.remove(&mut o.side, &o.alice, remove, None, &[]);
    assert!(o.world.counts(removal));
    let leave = o.world.kick(&mut thief, &second, &o.bob);
    let other = o.world.remove(
        &mut thief,
        &second,
        Target::Device(o.bob.device_id()),
        None,
        &[],
    );
    assert!(!o.world.counts(leave) && !o.world.counts(other));
    assert!(o.world.is_member(&o.bob));
}

#[test]
fn who_leaves_comes_back_with_any_invite() {
    let mut o = office();
    let ticket = o.world.invite(&mut o.side, &o.alice, 9);
    o.world.offer(&mut o.side, &o.dave, &o.dave, 22);
    let leave = o.world.kick(&mut o.side, &o.dave, &o.dave);
    assert!(o.world.counts(leave));
    assert!(!o.world.is_member(&o.dave));
    assert!(o.world.state().offers.is_empty());
    let back = o.world.admit(&mut o.side, &o.bob, &o.dave, Some(&ticket));
    assert!(o.world.counts(back));
    let state = o.world.state();
    assert_eq!(state.members[&o.dave.id()].name.as_str(), "dave");
    assert!(
        state.offers.is_empty(),
        "old offers do not come back by themselves"
    );
    let offer = o.world.offer(&mut o.side, &o.dave, &o.dave, 22);
    assert!(o.world.counts(offer));
}

#[test]
fn without_keys_authority_is_the_same_and_the_state_says_how_much_waits() {
    let mut o = office();
    o.world.offer(&mut o.side, &o.dave, &o.dave, 22);
    let open = o.world.fold();
    let closed = mesh_ledger::fold::fold(&o.world.graph, &[]);
    assert_eq!(open.authority.hash(), closed.authority.hash());
    assert_eq!(open.state.pending, 0);
    // Genesis, three invites, three admissions, one offer.
    assert_eq!(closed.state.pending, 8);
    assert!(closed.state.members.is_empty() && closed.state.name.is_none());
    assert!(closed.verdicts.iter().all(Verdict::counts));
}

#[test]
fn who_was_never_admitted_says_nothing() {
    let mut o = office();
    let stranger = Person::new("stranger");
    let offer = o.world.offer(&mut o.side, &stranger, &stranger, 22);
    let grant = o.world.grant(&mut o.side, &stranger, &stranger);
    assert_eq!(o.world.reason(offer), Reason::NotAdmitted);
    assert_eq!(o.world.reason(grant), Reason::NotAdmitted);
    let ticket = o.world.invite(&mut o.side, &o.alice, 0);
    let admit = o.world.admit(&mut o.side, &o.bob, &stranger, Some(&ticket));
    let offer = o.world.offer(&mut o.side, &stranger, &stranger, 22);
    assert_eq!(
        o.world.reason(offer),
        Reason::AdmissionVoid { admission: admit }
    );
}
