//! Invites: who comes by which.

use crate::common::{LATE, Person, label};
use crate::office;
use mesh_ledger::event::act::{InviteKind, Target};
use mesh_ledger::event::attributes::{Audience, Joining};
use mesh_ledger::event::{Act, Attributes};
use mesh_ledger::verdict::Reason;

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
fn a_seal_with_a_wrong_clock_closes_no_invite_that_it_does_not_know() {
    // The last moment, by an admin that is kicked for it; and the owner's clock, a day ahead.
    for (time, kicked) in [(u64::MAX, true), (90_000_000, false)] {
        let mut o = office();
        let terms = InviteKind::Bearer;
        let before = o
            .world
            .invite_as(&mut o.side, &o.alice, terms, 9, 5_000_000, false, &[]);
        let late = o.side.clone();
        let by = if kicked {
            o.bob.clone()
        } else {
            o.alice.clone()
        };
        let seal = o.world.checkpoint(&mut o.side, &by, time);
        assert!(o.world.counts(seal));
        if kicked {
            o.world.kick(&mut o.side, &o.alice, &by);
        }
        let after = o
            .world
            .invite_as(&mut o.side, &o.alice, terms, 9, 5_000_000, false, &[]);
        let erin = Person::new("erin");
        let entry = o
            .world
            .admit_at(&mut o.side, &o.dave, &erin, Some(&after), 10_000);
        assert!(o.world.counts(entry), "{:?}", o.world.verdict(entry));
        // One that it knows is closed to those that it does not.
        let mut away = late.clone();
        let frank = Person::new("frank");
        let entry = o
            .world
            .admit_at(&mut away, &o.dave, &frank, Some(&before), 10_000);
        let sealed = Reason::InviteSealed {
            invite: before.invite,
            by: seal,
        };
        assert_eq!(o.world.reason(entry), sealed);
    }
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
    let mut not_the_user = good.clone();
    let redemption = not_the_user.redemption.as_mut().unwrap();
    redemption.by_user = redemption.by_device;
    bad.push(not_the_user);
    let mut not_the_device = good.clone();
    let redemption = not_the_device.redemption.as_mut().unwrap();
    redemption.by_device = redemption.by_user;
    bad.push(not_the_device);
    for act in bad {
        let attributes = Some(Attributes::Joining(joining.clone()));
        let act = Act::Admit(act);
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
        Act::Admit(act),
        Some(Attributes::Joining(forged)),
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
