//! Terms of office: who outranks whom, and what falls with a term.

use crate::common::{Person, by_id};
use crate::office;
use mesh_ledger::ids::EpochId;
use mesh_ledger::state::Rank;
use mesh_ledger::verdict::Reason;

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
fn nobody_becomes_an_admin_while_a_senior_kicks_him() {
    let mut o = office();
    let mut away = o.side.clone();
    let kick = o.world.kick(&mut o.side, &o.alice, &o.dave);
    let grant = o.world.grant(&mut away, &o.bob, &o.dave);
    let act = o.world.kick(&mut away, &o.dave, &o.carol);
    assert!(matches!(o.world.reason(grant), Reason::TargetRemoved { by, .. } if by == kick));
    assert!(!o.world.counts(act));
    let late = o.world.grant(&mut o.side, &o.bob, &o.dave);
    assert!(matches!(o.world.reason(late), Reason::NotAMember { .. }));
    o.world.admit(&mut o.side, &o.bob, &o.dave, None);
    let again = o.world.grant(&mut o.side, &o.bob, &o.dave);
    assert!(o.world.counts(again));
    let state = o.world.state();
    let by = |who: &mesh_ledger::ids::UserId| state.members[who].admitted_by;
    assert_eq!(by(&o.dave.id()), Some(o.bob.id()));
    assert_eq!(by(&o.bob.id()), Some(o.alice.id()));
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
