//! The cases that the design names, one test each.
#![allow(clippy::unwrap_used)]

mod common;

use common::{LATE, Person, Side, World, by_id, label, tcp, v4, words};
use mesh_ledger::event::act::{InviteKind, Target};
use mesh_ledger::event::attributes::{Audience, Joining, Write};
use mesh_ledger::ids::{EpochId, EventId};
use mesh_ledger::state::Rank;
use mesh_ledger::verdict::{Reason, Verdict};

/// alice founded the network; bob and carol are admins, bob the more senior; dave is a member.
struct Office {
    world: World,
    side: Side,
    alice: Person,
    bob: Person,
    carol: Person,
    dave: Person,
    bobs: EventId,
    carols: EventId,
}

fn office() -> Office {
    let (mut world, mut side) = World::new("alice");
    let alice = world.owner.clone();
    let bob = world.newcomer(&mut side, &alice, "bob");
    let carol = world.newcomer(&mut side, &alice, "carol");
    let dave = world.newcomer(&mut side, &alice, "dave");
    let bobs = world.grant(&mut side, &alice, &bob);
    let carols = world.grant(&mut side, &alice, &carol);
    Office {
        world,
        side,
        alice,
        bob,
        carol,
        dave,
        bobs,
        carols,
    }
}

#[test]
fn a_network_begins_with_its_founder() {
    let (world, _) = World::new("alice");
    let fold = world.fold();
    assert_eq!(fold.verdicts, [Verdict::Counted]);
    let alice = &fold.state.members[&world.owner.id()];
    assert_eq!((alice.name.as_str(), alice.rank), ("alice", Rank::Owner));
    let device = fold.state.host("alice").unwrap();
    assert_eq!(device.v4, Some(v4(1)));
    assert_eq!(device.v6, world.network.address_v6(&device.id));
    assert_eq!(fold.state.epochs, [common::EPOCH]);
    assert_eq!(fold.authority.owner, world.owner.id());
}

#[test]
fn any_member_admits_with_an_invite_and_nobody_but_an_admin_without() {
    let mut o = office();
    let ticket = o.world.invite(&mut o.side, &o.bob, 2);
    let erin = Person::new("erin");
    let admit = o.world.admit(&mut o.side, &o.dave, &erin, Some(&ticket));
    let frank = Person::new("frank");
    let without = o.world.admit(&mut o.side, &o.dave, &frank, None);
    let state = o.world.state();
    let member = &state.members[&erin.id()];
    assert_eq!(member.admitted, admit);
    assert_eq!(member.admitted_by, Some(o.dave.id()));
    assert_eq!(state.invites[&ticket.invite].used, 1);
    assert!(matches!(
        o.world.reason(without),
        Reason::NeedsInvite { .. }
    ));
    let by_admin = o.world.admit(&mut o.side, &o.bob, &frank, None);
    assert!(o.world.counts(by_admin));
    assert!(o.world.is_member(&frank));
}

#[test]
fn a_kicks_b_while_b_grants_c() {
    let mut o = office();
    let mut away = o.side.clone();
    let kick = o.world.kick(&mut o.side, &o.alice, &o.bob);
    let grant = o.world.grant(&mut away, &o.bob, &o.dave);
    assert!(o.world.counts(kick));
    assert!(
        matches!(o.world.reason(grant), Reason::UserRemoved { by, .. } if by == kick),
        "{}",
        o.world.reason(grant)
    );
    assert_eq!(
        o.world.reason(grant).to_string(),
        format!("by bob's device; bob was removed in {}", kick.short())
    );
    assert!(!o.world.is_member(&o.bob));
    assert_eq!(o.world.state().members[&o.dave.id()].rank, Rank::Member);
}

#[test]
fn of_mutual_kicks_the_seniors_counts() {
    let mut o = office();
    let mut away = o.side.clone();
    let by_carol = o.world.kick(&mut o.side, &o.carol, &o.bob);
    let by_bob = o.world.kick(&mut away, &o.bob, &o.carol);
    assert!(o.world.counts(by_bob));
    assert!(!o.world.counts(by_carol));
    assert!(o.world.is_member(&o.bob) && !o.world.is_member(&o.carol));
}

#[test]
fn nobody_removes_a_senior_or_the_owner_and_the_owner_does_not_leave() {
    let mut o = office();
    let up = o.world.kick(&mut o.side, &o.carol, &o.bob);
    assert!(matches!(o.world.reason(up), Reason::Outranked { term, .. } if term == o.bobs));
    let owner = o.world.kick(&mut o.side, &o.bob, &o.alice);
    assert_eq!(o.world.reason(owner), Reason::OwnerStays);
    let leave = o.world.kick(&mut o.side, &o.alice, &o.alice);
    assert_eq!(o.world.reason(leave), Reason::OwnerStays);
    let plain = o.world.kick(&mut o.side, &o.dave, &o.carol);
    assert!(matches!(o.world.reason(plain), Reason::NotAdmin { .. }));
    let self_made = o.world.grant(&mut o.side, &o.carol, &o.carol);
    assert_eq!(o.world.reason(self_made), Reason::OwnGrant);
}

#[test]
fn a_kicked_admins_later_and_backdated_acts_are_void_everywhere() {
    let mut o = office();
    let early = o.side.clone();
    let before = o.world.newcomer(&mut o.side, &o.bob, "erin");
    o.world.kick(&mut o.side, &o.alice, &o.bob);
    let mut late = o.side.clone();
    let mut past = early;
    let mut void = Vec::new();
    for side in [&mut late, &mut past] {
        void.push(o.world.grant(side, &o.bob, &o.dave));
        let ticket = o.world.invite(side, &o.bob, 5);
        void.push(ticket.invite);
        void.push(
            o.world
                .admit(side, &o.bob, &Person::new("mallory"), Some(&ticket)),
        );
        void.push(
            o.world
                .admit(side, &o.dave, &Person::new("mike"), Some(&ticket)),
        );
        void.push(o.world.kick(side, &o.bob, &o.dave));
        void.push(o.world.offer(side, &o.bob, &o.bob, 22));
    }
    let verdicts = by_id(&o.world.graph, &o.world.fold());
    for id in void {
        assert!(!verdicts[&id].counts(), "{id:?}");
    }
    assert!(o.world.is_member(&before), "what bob did before stands");
    assert_eq!(o.world.state().members.len(), 4);
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
fn a_one_time_invite_admits_one_however_the_network_is_split() {
    let mut o = office();
    let ticket = o.world.invite(&mut o.side, &o.alice, 1);
    let mut away = o.side.clone();
    let (erin, frank) = (Person::new("erin"), Person::new("frank"));
    let one = o.world.admit(&mut o.side, &o.bob, &erin, Some(&ticket));
    let two = o.world.admit(&mut away, &o.carol, &frank, Some(&ticket));
    let (won, lost) = if one < two { (one, two) } else { (two, one) };
    assert!(o.world.counts(won));
    assert_eq!(
        o.world.reason(lost),
        Reason::InviteUsedUp {
            invite: ticket.invite,
            by: Some(won)
        }
    );
    assert_ne!(o.world.is_member(&erin), o.world.is_member(&frank));
    assert_eq!(o.world.state().invites[&ticket.invite].used, 1);
}

#[test]
fn the_same_joiner_through_two_sponsors_uses_an_invite_once() {
    let mut o = office();
    let ticket = o.world.invite(&mut o.side, &o.alice, 1);
    let mut away = o.side.clone();
    let erin = Person::new("erin");
    let one = o.world.admit(&mut o.side, &o.bob, &erin, Some(&ticket));
    let two = o.world.admit(&mut away, &o.carol, &erin, Some(&ticket));
    assert!(o.world.counts(one) && o.world.counts(two));
    assert_eq!(o.world.state().invites[&ticket.invite].used, 1);
    let offer = o.world.offer(&mut away, &erin, &erin, 22);
    assert!(o.world.counts(offer), "either admission lets erin speak");
}

#[test]
fn of_two_claims_of_one_name_and_address_one_gets_the_next_free_and_a_checkpoint_settles_which() {
    let mut o = office();
    let ticket = o.world.invite(&mut o.side, &o.alice, 9);
    let wants = |person: &Person| Joining {
        host: label("laptop"),
        address: Some(v4(77)),
        ..person.joining()
    };
    let (erin, frank) = (Person::new("erin"), Person::new("frank"));
    let mut away = o.side.clone();
    // Two events more on the near side, so that its admission has the larger lamport.
    o.world.merge(&mut o.side, &o.bob);
    o.world.merge(&mut o.side, &o.bob);
    let joining = wants(&erin);
    o.world
        .admit_with(&mut o.side, &o.bob, &erin, Some(&ticket), 0, joining);
    let alone = o.world.part(&o.side).fold().state;
    assert_eq!(alone.devices[&erin.device_id()].v4, Some(v4(77)));

    let mut sealed = o.side.clone();
    let joining = wants(&frank);
    o.world
        .admit_with(&mut away, &o.carol, &frank, Some(&ticket), 0, joining);
    let state = o.world.state();
    let device = |person: &Person| &state.devices[&person.device_id()];
    assert_eq!(device(&frank).host.as_str(), "laptop");
    assert_eq!(device(&erin).host.as_str(), "laptop-2");
    assert_eq!(device(&frank).v4, Some(v4(77)));
    assert_eq!(device(&erin).v4, Some(v4(78)));

    let checkpoint = o.world.checkpoint(&mut sealed, &o.alice, 0);
    assert!(o.world.counts(checkpoint));
    let state = o.world.state();
    let device = |person: &Person| &state.devices[&person.device_id()];
    assert_eq!(device(&erin).host.as_str(), "laptop");
    assert_eq!(device(&frank).host.as_str(), "laptop-2");
    assert_eq!(device(&erin).v4, Some(v4(77)));
    assert_eq!(device(&frank).v4, Some(v4(78)));
}

#[test]
fn a_checkpoint_by_a_member_or_with_a_wrong_count_seals_nothing() {
    let mut o = office();
    let by_member = o.world.checkpoint(&mut o.side.clone(), &o.dave, 0);
    assert!(matches!(o.world.reason(by_member), Reason::NotAdmin { .. }));
}

#[test]
fn expiry_is_judged_by_the_admitting_members_clock_and_a_later_checkpoint_closes_the_door() {
    let mut o = office();
    let ticket = o.world.invite_as(
        &mut o.side,
        &o.alice,
        InviteKind::Bearer,
        9,
        5_000,
        false,
        &[],
    );
    let on_time = o.world.admit_at(
        &mut o.side,
        &o.bob,
        &Person::new("erin"),
        Some(&ticket),
        5_000,
    );
    let late = o.world.admit_at(
        &mut o.side,
        &o.bob,
        &Person::new("frank"),
        Some(&ticket),
        5_001,
    );
    assert!(o.world.counts(on_time));
    assert_eq!(
        o.world.reason(late),
        Reason::InviteExpired {
            invite: ticket.invite
        }
    );
    // A sponsor who lies about the time is believed, until an admin's checkpoint does not know of it.
    let mut liar = o.side.clone();
    let lie = o.world.admit_at(
        &mut liar,
        &o.dave,
        &Person::new("mallory"),
        Some(&ticket),
        4_000,
    );
    assert!(o.world.counts(lie));
    let checkpoint = o.world.checkpoint(&mut o.side, &o.alice, 6_000);
    assert_eq!(
        o.world.reason(lie),
        Reason::InviteSealed {
            invite: ticket.invite,
            by: checkpoint
        }
    );
    assert!(o.world.counts(on_time));
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
fn revoking_a_stolen_admin_key_since_the_evening_undoes_its_night() {
    let mut o = office();
    let by_day = o.world.newcomer(&mut o.side, &o.bob, "erin");
    let evening = o.side.clone();
    let by_night = o.world.newcomer(&mut o.side, &o.bob, "mallory");
    let grant = o.world.grant(&mut o.side, &o.bob, &by_night);
    let kick = o.world.kick(&mut o.side, &o.bob, &o.dave);
    let further = o.world.newcomer(&mut o.side, &by_night, "mike");
    assert!(!o.world.is_member(&o.dave) && o.world.is_member(&further));
    o.world
        .revoke(&mut o.side, &o.alice, &o.bob, o.bobs, Some(&evening));
    assert!(matches!(o.world.reason(grant), Reason::TermEnded { .. }));
    assert!(!o.world.counts(kick));
    assert!(o.world.is_member(&o.dave), "the kick is undone");
    assert!(!o.world.is_member(&by_night) && !o.world.is_member(&further));
    assert!(o.world.is_member(&by_day));
    assert_eq!(o.world.state().members[&o.bob.id()].rank, Rank::Member);
}

#[test]
fn without_a_cut_a_revoked_admin_stays_a_member_and_what_he_did_stands() {
    let mut o = office();
    let erin = o.world.newcomer(&mut o.side, &o.bob, "erin");
    let open = o.world.invite(&mut o.side, &o.bob, 9);
    let revoke = o.world.revoke(&mut o.side, &o.alice, &o.bob, o.bobs, None);
    assert!(o.world.is_member(&o.bob) && o.world.is_member(&erin));
    let late = o
        .world
        .admit(&mut o.side, &o.dave, &Person::new("frank"), Some(&open));
    assert_eq!(
        o.world.reason(late),
        Reason::InviteLapsed {
            invite: open.invite,
            by: revoke
        }
    );
    let own = o
        .world
        .revoke(&mut o.side, &o.carol, &o.carol, o.carols, None);
    assert!(o.world.counts(own), "carol resigns");
}

#[test]
fn a_kicked_user_with_a_multi_use_ticket_stays_out() {
    let mut o = office();
    let ticket = o.world.invite(&mut o.side, &o.alice, 9);
    let mallory = Person::new("mallory");
    o.world.admit(&mut o.side, &o.bob, &mallory, Some(&ticket));
    let mut away = o.side.clone();
    let kick = o.world.kick(&mut o.side, &o.alice, &mallory);
    let again = o.world.admit(&mut o.side, &o.dave, &mallory, Some(&ticket));
    assert!(matches!(o.world.reason(again), Reason::Barred { by, .. } if by == kick));
    let elsewhere = o.world.admit(&mut away, &o.dave, &mallory, Some(&ticket));
    assert!(matches!(o.world.reason(elsewhere), Reason::TargetRemoved { by, .. } if by == kick));
    // The same machine under a new user key is not let in either.
    let disguised = Person {
        user: Person::new("nobody").user,
        ..mallory.clone()
    };
    let disguise = o
        .world
        .admit(&mut o.side, &o.dave, &disguised, Some(&ticket));
    assert!(!o.world.counts(disguise));
    assert!(!o.world.is_member(&mallory));
    // An admin's own admission or a later direct invite brings mallory back.
    let mut other = o.side.clone();
    let back = o.world.admit(&mut o.side, &o.bob, &mallory, None);
    assert!(o.world.counts(back));
    let kind = InviteKind::Direct(mallory.id());
    let direct = o
        .world
        .invite_as(&mut other, &o.bob, kind, 1, LATE, false, &[]);
    let back = o.world.admit(&mut other, &o.dave, &mallory, Some(&direct));
    assert!(o.world.counts(back));
    let offer = o.world.offer(&mut other, &mallory, &mallory, 22);
    assert!(o.world.counts(offer));
}

#[test]
fn a_kick_closes_the_invites_it_names_for_whoever_does_not_know_of_it() {
    let mut o = office();
    let ticket = o.world.invite(&mut o.side, &o.alice, 9);
    let mut away = o.side.clone();
    let kick = o.world.remove(
        &mut o.side,
        &o.bob,
        Target::User(o.dave.id()),
        None,
        &[ticket.invite],
    );
    let admit = o
        .world
        .admit(&mut away, &o.carol, &Person::new("erin"), Some(&ticket));
    let closed = Reason::InviteClosed {
        invite: ticket.invite,
        by: kick,
    };
    assert_eq!(o.world.reason(admit), closed);
    assert_eq!(o.world.state().invites[&ticket.invite].closed, Some(kick));
}

#[test]
fn an_invite_is_closed_by_its_issuer_or_a_senior_and_admissions_before_stand() {
    let mut o = office();
    let ticket = o.world.invite(&mut o.side, &o.bob, 9);
    let erin = Person::new("erin");
    let mut away = o.side.clone();
    o.world.admit(&mut o.side, &o.dave, &erin, Some(&ticket));
    let junior = o.world.close(&mut o.side, &o.carol, &ticket);
    assert_eq!(
        o.world.reason(junior),
        Reason::NotIssuer {
            invite: ticket.invite
        }
    );
    let close = o.world.close(&mut o.side, &o.bob, &ticket);
    let unaware = o
        .world
        .admit(&mut away, &o.carol, &Person::new("frank"), Some(&ticket));
    assert!(o.world.counts(close));
    assert!(o.world.is_member(&erin));
    assert!(matches!(o.world.reason(unaware), Reason::InviteClosed { by, .. } if by == close));
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
fn an_offer_that_alice_signs_for_bobs_device_has_no_effect() {
    let mut o = office();
    let forged = o.world.offer(&mut o.side, &o.alice, &o.bob, 22);
    assert_eq!(
        o.world.reason(forged).to_string(),
        "only the device itself offers"
    );
    assert!(o.world.state().offers.is_empty());
    let own = o.world.offer(&mut o.side, &o.bob, &o.bob, 22);
    let state = o.world.state();
    assert_eq!(state.offers[&(o.bob.device_id(), 0)].event, own);
    let withdraw = Write::Offer {
        device: o.bob.device_id(),
        slot: 0,
        offer: None,
    };
    let forged = o.world.write(&mut o.side, &o.alice, vec![withdraw.clone()]);
    assert!(!o.world.counts(forged));
    assert_eq!(
        o.world.state().offers.len(),
        1,
        "nor does anybody else withdraw it"
    );
    o.world.write(&mut o.side, &o.bob, vec![withdraw]);
    assert!(o.world.state().offers.is_empty());
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
    let Some(mesh_ledger::event::Act::Remove(act)) =
        Some(o.world.graph.event(o.world.idx(removal)).act().clone())
    else {
        panic!("a removal");
    };
    let mut replay = before;
    let again = o.world.sign(
        &mut replay,
        &o.dave.device,
        mesh_ledger::event::Act::Remove(act),
        None,
        0,
    );
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
fn the_owner_hands_over_and_his_later_and_backdated_acts_are_void() {
    let mut o = office();
    let early = o.side.clone();
    let seen = o.side.clone();
    let set = o.world.hand_over(
        &mut o.side,
        &o.alice,
        &o.bob,
        &words("first"),
        &words("next"),
        &seen,
    );
    assert!(o.world.counts(set));
    let authority = o.world.authority();
    assert_eq!(authority.owner, o.bob.id());
    assert_eq!(authority.recovery, words("next").public());
    let state = o.world.state();
    assert_eq!(state.members[&o.bob.id()].rank, Rank::Owner);
    assert_eq!(state.members[&o.alice.id()].rank, Rank::Member);
    // The members go on.
    o.world.offer(&mut o.side, &o.dave, &o.dave, 22);
    // alice wants it back: backdated, with the words she still has.
    let mut past = early.clone();
    let back = o.world.hand_over(
        &mut past,
        &o.alice,
        &o.alice,
        &words("first"),
        &words("mine"),
        &early,
    );
    assert_eq!(o.world.reason(back), Reason::RivalSuccession { by: set });
    let grant = o.world.grant(&mut past, &o.alice, &o.dave);
    assert!(matches!(o.world.reason(grant), Reason::TermEnded { by, .. } if by == set));
    // The old words are worth nothing after the handover either.
    let later = o.world.hand_over(
        &mut o.side,
        &o.alice,
        &o.alice,
        &words("first"),
        &words("mine"),
        &early,
    );
    assert!(!o.world.counts(later));
    let kick = o.world.kick(&mut o.side, &o.bob, &o.alice);
    assert!(
        o.world.counts(kick),
        "the new owner is senior to the former"
    );
}

#[test]
fn a_rival_succession_with_a_smaller_lamport_does_not_win_once_others_saw_the_first() {
    let mut o = office();
    let mut away = Side([o.world.network.0].map(EventId).into_iter().collect());
    let seen = o.side.clone();
    let set = o.world.hand_over(
        &mut o.side,
        &o.alice,
        &o.bob,
        &words("first"),
        &words("next"),
        &seen,
    );
    let cut = away.clone();
    let rival = o.world.hand_over(
        &mut away,
        &o.alice,
        &o.alice,
        &words("first"),
        &words("x"),
        &cut,
    );
    // Nobody was admitted in the common past of both, so nobody decides; give them one.
    let _ = rival;
    o.world.offer(&mut o.side, &o.carol, &o.carol, 1);
    o.world.offer(&mut o.side, &o.dave, &o.dave, 1);
    let mut recent = seen.clone();
    let rival = o.world.hand_over(
        &mut recent,
        &o.alice,
        &o.carol,
        &words("first"),
        &words("y"),
        &seen,
    );
    let owner = o.world.authority().owner;
    assert_eq!(o.world.counts(set), owner == o.bob.id());
    assert!(!o.world.counts(rival));
    assert_eq!(
        o.world
            .fold()
            .state
            .members
            .values()
            .filter(|m| m.rank == Rank::Owner)
            .count(),
        1
    );
}

#[test]
fn a_thief_with_the_owners_laptop_but_no_words_is_cut_off_by_the_words() {
    let mut o = office();
    let before = o.side.clone();
    let mallory = Person::new("mallory");
    let theft = o.world.admit(&mut o.side, &o.alice, &mallory, None);
    let kick = o.world.kick(&mut o.side, &o.alice, &o.dave);
    let transfer = o.world.hand_over(
        &mut o.side,
        &mallory,
        &mallory,
        &words("guess"),
        &words("x"),
        &before,
    );
    assert_eq!(o.world.reason(transfer), Reason::WrongRecoveryKey);
    // alice has a new user key on a new laptop, and the words.
    let new = Person::new("alice-again");
    let mut fresh = before.clone();
    let set = o.world.hand_over(
        &mut fresh,
        &new,
        &new,
        &words("first"),
        &words("next"),
        &before,
    );
    assert!(o.world.counts(set));
    assert!(!o.world.counts(theft) && !o.world.counts(kick));
    assert!(o.world.is_member(&o.dave) && !o.world.is_member(&mallory));
    assert_eq!(o.world.authority().owner, new.id());
    let out = o.world.kick(&mut fresh, &new, &o.alice);
    assert!(o.world.counts(out) && !o.world.is_member(&o.alice));
}

#[test]
fn who_finds_the_recovery_words_after_a_handover_finds_nothing() {
    let mut o = office();
    let seen = o.side.clone();
    let set = o.world.hand_over(
        &mut o.side,
        &o.alice,
        &o.alice,
        &words("first"),
        &words("next"),
        &seen,
    );
    o.world.offer(&mut o.side, &o.bob, &o.bob, 22);
    let mallory = Person::new("mallory");
    let mut past = seen.clone();
    let found = o.world.hand_over(
        &mut past,
        &mallory,
        &mallory,
        &words("first"),
        &words("x"),
        &seen,
    );
    assert_eq!(o.world.reason(found), Reason::RivalSuccession { by: set });
    assert_eq!(o.world.authority().owner, o.alice.id());
    assert!(!o.world.is_member(&mallory));
}

#[test]
fn an_unsigned_redemption_and_a_foreign_certificate_admit_nobody() {
    let mut o = office();
    let ticket = o.world.invite(&mut o.side, &o.alice, 9);
    let other = o.world.invite(&mut o.side, &o.alice, 9);
    let erin = Person::new("erin");
    let joining = erin.joining();
    let good = o.world.admit_act(&erin, &joining, Some(&ticket), 0);
    let mut bad = Vec::new();
    let mut wrong_invite = good.clone();
    wrong_invite.redemption.as_mut().unwrap().invite = other.invite;
    bad.push(wrong_invite);
    let mut wrong_box = good.clone();
    wrong_box.box_key = o.bob.box_key();
    bad.push(wrong_box);
    let mut wrong_digest = good.clone();
    wrong_digest.digest.0[0] ^= 1;
    bad.push(wrong_digest);
    let mut wrong_certificate = good.clone();
    wrong_certificate.certificate = o.bob.user.certify(&erin.device_id());
    bad.push(wrong_certificate);
    let mut no_key = good.clone();
    let redemption = no_key.redemption.as_mut().unwrap();
    redemption.by_invite = redemption.by_user;
    bad.push(no_key);
    for act in bad {
        let attributes = Some(mesh_ledger::event::Attributes::Joining(joining.clone()));
        let act = mesh_ledger::event::Act::Admit(act);
        let id = o.world.sign(&mut o.side, &o.bob.device, act, attributes, 0);
        assert!(
            matches!(o.world.reason(id), Reason::Unproven(_)),
            "{}",
            o.world.reason(id)
        );
    }
    assert!(!o.world.is_member(&erin));
}

#[test]
fn attributes_that_the_joiner_did_not_sign_are_void_and_the_admission_stands() {
    let mut o = office();
    let ticket = o.world.invite(&mut o.side, &o.alice, 9);
    let erin = Person::new("erin");
    let act = o.world.admit_act(&erin, &erin.joining(), Some(&ticket), 0);
    let forged = Joining {
        host: label("not-erin"),
        ..erin.joining()
    };
    let id = o.world.sign(
        &mut o.side,
        &o.bob.device,
        mesh_ledger::event::Act::Admit(act),
        Some(mesh_ledger::event::Attributes::Joining(forged)),
        0,
    );
    assert!(o.world.counts(id));
    let state = o.world.state();
    let device = &state.devices[&erin.device_id()];
    assert_eq!(
        device.host.as_str(),
        format!("device-{}", erin.device_id().short())
    );
    assert_eq!(device.wireguard, None);
}

#[test]
fn direct_and_countersigned_invites_serve_those_they_name() {
    let mut o = office();
    let erin = Person::new("erin");
    let kind = InviteKind::Direct(erin.id());
    let direct = o
        .world
        .invite_as(&mut o.side, &o.alice, kind, 1, LATE, false, &[]);
    let thief = o
        .world
        .admit(&mut o.side, &o.dave, &Person::new("frank"), Some(&direct));
    assert_eq!(
        o.world.reason(thief),
        Reason::NotInvited {
            invite: direct.invite
        }
    );
    let admit = o.world.admit(&mut o.side, &o.dave, &erin, Some(&direct));
    assert!(o.world.counts(admit));
    let careful = o.world.invite_as(
        &mut o.side,
        &o.alice,
        InviteKind::Bearer,
        5,
        LATE,
        true,
        &["staff"],
    );
    let gina = Person::new("gina");
    let by_member = o.world.admit(&mut o.side, &o.dave, &gina, Some(&careful));
    assert_eq!(
        o.world.reason(by_member),
        Reason::NeedsCountersign {
            invite: careful.invite
        }
    );
    let by_admin = o.world.admit(&mut o.side, &o.carol, &gina, Some(&careful));
    assert!(o.world.counts(by_admin));
    let state = o.world.state();
    assert!(
        state.members[&gina.id()].tags.contains(&label("staff")),
        "tags come with the invite"
    );
    let staff = Audience::Only {
        users: vec![],
        devices: vec![],
        tags: vec![label("staff")],
    };
    assert!(state.admits(&staff, &gina.device_id()));
    assert!(!state.admits(&staff, &erin.device_id()));
    assert!(state.admits(&Audience::Everyone, &erin.device_id()));
    assert!(!state.admits(&Audience::Everyone, &Person::new("frank").device_id()));
}

#[test]
fn a_full_subnet_gives_no_address_and_the_admission_stands() {
    let (mut world, mut side) = World::with_subnet("alice", "10.0.0.0/30");
    let alice = world.owner.clone();
    let bob = world.newcomer(&mut side, &alice, "bob");
    let carol = world.newcomer(&mut side, &alice, "carol");
    let state = world.state();
    assert_eq!(state.devices[&bob.device_id()].v4, Some(v4(2)));
    assert_eq!(state.devices[&carol.device_id()].v4, None);
    world.kick(&mut side, &alice, &bob);
    let dave = world.newcomer(&mut side, &alice, "dave");
    assert_eq!(world.state().devices[&dave.device_id()].v4, Some(v4(2)));
}

#[test]
fn registers_take_writes_of_those_who_may() {
    let mut o = office();
    let device = o.dave.device_id();
    let host = |host: &str| Write::Host {
        device,
        host: label(host),
    };
    let ok = o.world.write(&mut o.side, &o.dave, vec![host("cave")]);
    let admin = o.world.write(&mut o.side, &o.bob, vec![host("bob")]);
    let stranger = o.world.write(
        &mut o.side,
        &o.carol,
        vec![Write::WireGuard {
            device,
            key: mesh_ledger::ids::WgKey([1; 32]),
        }],
    );
    assert!(o.world.counts(ok) && o.world.counts(admin) && !o.world.counts(stranger));
    assert_eq!(o.world.state().devices[&device].host.as_str(), "bob-2");
    let erin = o.world.newcomer(&mut o.side, &o.bob, "erin");
    let foreign = o.world.write(&mut o.side, &erin, vec![host("mine")]);
    assert_eq!(
        o.world.reason(foreign),
        Reason::OnlyOwn { what: "host name" }
    );
    for write in [
        Write::Tag {
            user: erin.id(),
            tag: label("staff"),
            set: true,
        },
        Write::Setting {
            key: label("dns"),
            value: Some("on".parse().unwrap()),
        },
        Write::Servers(vec![]),
        Write::Address {
            device,
            address: v4(9),
        },
    ] {
        let by_member = o.world.write(&mut o.side, &erin, vec![write.clone()]);
        assert!(matches!(o.world.reason(by_member), Reason::NotAdmin { .. }));
        let by_admin = o.world.write(&mut o.side, &o.bob, vec![write]);
        assert!(o.world.counts(by_admin));
    }
    let outside = Write::Address {
        device,
        address: [192, 168, 0, 1].into(),
    };
    let outside = o.world.write(&mut o.side, &o.bob, vec![outside]);
    assert_eq!(o.world.reason(outside), Reason::OutsideSubnet);
    let name = Write::Name {
        user: erin.id(),
        name: label("bob"),
    };
    o.world.write(&mut o.side, &erin, vec![name]);
    let state = o.world.state();
    assert_eq!(state.devices[&device].v4, Some(v4(9)));
    assert_eq!(state.members[&erin.id()].name.as_str(), "bob-2");
    assert_eq!(state.user("bob-2").unwrap().user, erin.id());
    assert!(state.tags[&label("staff")].contains(&erin.id()));
    assert_eq!(state.settings.len(), 1);
}

#[test]
fn the_writes_of_one_event_stand_or_fall_together() {
    let mut o = office();
    let mine = Write::Host {
        device: o.dave.device_id(),
        host: label("cave"),
    };
    let not_mine = Write::Offer {
        device: o.bob.device_id(),
        slot: 1,
        offer: Some(tcp(22, Audience::Everyone)),
    };
    let both = o.world.write(&mut o.side, &o.dave, vec![mine, not_mine]);
    assert!(!o.world.counts(both));
    assert_eq!(
        o.world.state().devices[&o.dave.device_id()].host.as_str(),
        "dave"
    );
}

#[test]
fn a_member_begins_an_epoch_when_a_removal_asks_for_one_and_only_then() {
    let mut o = office();
    let idle = o.world.rotate(&mut o.side, &o.dave, 20);
    assert_eq!(o.world.reason(idle), Reason::EpochNotDue);
    let kick = o.world.kick(&mut o.side, &o.alice, &o.carol);
    assert!(o.world.authority().unanswered.contains(&kick));
    let mut away = o.side.clone();
    let answer = o.world.rotate(&mut o.side, &o.dave, 21);
    let again = o.world.rotate(&mut o.side, &o.dave, 22);
    let concurrent = o.world.rotate(&mut away, &o.dave, 23);
    assert!(o.world.counts(answer) && !o.world.counts(again) && o.world.counts(concurrent));
    let by_admin = o.world.rotate(&mut o.side, &o.bob, 24);
    assert!(o.world.counts(by_admin));
    let authority = o.world.authority();
    assert!(authority.unanswered.is_empty());
    let live: Vec<u8> = authority.epochs.iter().map(|EpochId(id)| id[0]).collect();
    assert_eq!(live.len(), 4);
    assert!([7, 21, 23, 24].iter().all(|epoch| live.contains(epoch)));
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

#[test]
fn a_malicious_admin_who_calls_anothers_device_his_own_gains_nothing_by_it() {
    let mut o = office();
    // carol certifies dave's device with her own user key, and admits it.
    let claimed = Person {
        user: o.carol.user.clone(),
        ..o.dave.clone()
    };
    o.world.admit(&mut o.side, &o.carol, &claimed, None);
    let state = o.world.state();
    assert_eq!(state.devices[&o.dave.device_id()].user, o.dave.id());
    // Her word about "her" device carries nothing, for the device never agreed.
    let seen = o.side.clone();
    let own = o
        .world
        .remove_own(&mut o.side, &o.carol, &claimed, Some(&seen));
    assert!(matches!(o.world.reason(own), Reason::Unproven(_)));
    // When she is kicked, dave's device stays.
    o.world.kick(&mut o.side, &o.alice, &o.carol);
    let offer = o.world.offer(&mut o.side, &o.dave, &o.dave, 22);
    assert!(o.world.counts(offer));
    assert!(o.world.state().devices.contains_key(&o.dave.device_id()));
}
