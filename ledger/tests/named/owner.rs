//! Handing a network over, and those who try to take it.

use crate::common::{Person, words};
use crate::office;
use mesh_ledger::ids::EventId;
use mesh_ledger::state::Rank;
use mesh_ledger::verdict::Reason;

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
fn a_succession_cuts_off_what_the_owners_device_did_since() {
    let mut o = office();
    let evening = o.side.clone();
    let theft = o.world.grant(&mut o.side, &o.alice, &o.dave);
    let invite = o.world.invite(&mut o.side, &o.alice, 9);
    let next = words("next");
    let set = o.world.hand_over(
        &mut o.side,
        &o.bob,
        &o.alice,
        &words("first"),
        &next,
        &evening,
    );
    for void in [theft, invite.invite] {
        let reason = o.world.reason(void);
        assert!(
            matches!(reason, Reason::TermEnded { by, .. } if by == set),
            "{reason}"
        );
    }
    let grant = o.world.grant(&mut o.side, &o.alice, &o.dave);
    assert!(
        o.world.counts(grant),
        "alice is the owner again, by a new term"
    );
}

#[test]
fn of_rival_successions_the_one_that_others_saw_counts_whatever_the_ids() {
    let mut o = office();
    let seen = o.side.clone();
    let first = words("first");
    let set = o
        .world
        .hand_over(&mut o.side, &o.alice, &o.bob, &first, &words("next"), &seen);
    o.world.offer(&mut o.side, &o.carol, &o.carol, 1);
    o.world.offer(&mut o.side, &o.dave, &o.dave, 1);
    for n in 0..6 {
        let mut away = seen.clone();
        let next = words(&format!("rival {n}"));
        let rival = o
            .world
            .hand_over(&mut away, &o.alice, &o.carol, &first, &next, &seen);
        assert_eq!(o.world.reason(rival), Reason::RivalSuccession { by: set });
    }
    // Once everybody has seen everything, it stays so.
    o.world.merge(&mut o.side, &o.dave);
    assert_eq!(o.world.authority().owner, o.bob.id());
}

#[test]
fn a_former_owner_whose_daemon_saw_the_handover_does_not_come_back_though_nobody_else_did() {
    let mut o = office();
    let seen = o.side.clone();
    let first = words("first");
    let set = o
        .world
        .hand_over(&mut o.side, &o.alice, &o.bob, &first, &words("next"), &seen);
    // As each daemon does that sees a succession.
    o.world.merge(&mut o.side, &o.alice);
    o.world.merge(&mut o.side, &o.bob);
    let kick = o.world.kick(&mut o.side, &o.bob, &o.alice);
    for n in 0..8 {
        let mut away = seen.clone();
        let next = words(&format!("rival {n}"));
        let rival = o
            .world
            .hand_over(&mut away, &o.alice, &o.alice, &first, &next, &seen);
        assert_eq!(o.world.reason(rival), Reason::RivalSuccession { by: set });
    }
    assert!(o.world.counts(kick));
    assert_eq!(o.world.authority().owner, o.bob.id());
}

#[test]
fn users_that_never_were_members_and_kicked_ones_have_no_say_in_who_owns_the_network() {
    let mut o = office();
    // bob, an admin, was kicked before; carol is one. dave, a plain member, plants users whose admissions are void.
    let kicked: Vec<Person> = (0..3)
        .map(|n| {
            let name = format!("former-{n}");
            let person = o.world.newcomer(&mut o.side, &o.alice, &name);
            o.world.kick(&mut o.side, &o.alice, &person);
            person
        })
        .collect();
    let planted: Vec<Person> = (0..5)
        .map(|n| {
            let person = Person::new(&format!("planted-{n}"));
            let entry = o.world.admit(&mut o.side, &o.dave, &person, None);
            assert!(!o.world.counts(entry));
            person
        })
        .collect();
    let seen = o.side.clone();
    let first = words("first");
    let set = o
        .world
        .hand_over(&mut o.side, &o.alice, &o.bob, &first, &words("next"), &seen);
    o.world.offer(&mut o.side, &o.carol, &o.carol, 1);
    let mut away = seen.clone();
    let rival = o
        .world
        .hand_over(&mut away, &o.alice, &o.dave, &first, &words("rival"), &seen);
    for person in kicked.iter().chain(&planted) {
        o.world.merge(&mut away, person);
    }
    assert_eq!(o.world.reason(rival), Reason::RivalSuccession { by: set });
    assert_eq!(o.world.authority().owner, o.bob.id());
}

#[test]
fn of_rival_successions_that_nobody_saw_exactly_one_counts() {
    let mut o = office();
    let seen = o.side.clone();
    let mut sets = Vec::new();
    for (n, to) in [&o.bob, &o.carol, &o.dave].into_iter().enumerate() {
        let next = words(&format!("rival {n}"));
        let mut side = seen.clone();
        sets.push(
            o.world
                .hand_over(&mut side, &o.alice, to, &words("first"), &next, &seen),
        );
    }
    let counted: Vec<&EventId> = sets.iter().filter(|set| o.world.counts(**set)).collect();
    assert_eq!(counted, [sets.iter().min().unwrap()]);
    let state = o.world.state();
    let owners = state
        .members
        .values()
        .filter(|member| member.rank == Rank::Owner);
    assert_eq!(
        owners.map(|member| member.user).collect::<Vec<_>>(),
        [state.owner]
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
fn the_successor_hands_over_in_turn_with_words_of_his_own_alone() {
    let mut o = office();
    let seen = o.side.clone();
    let first = o.world.hand_over(
        &mut o.side,
        &o.alice,
        &o.bob,
        &words("first"),
        &words("bobs"),
        &seen,
    );
    assert!(o.world.counts(first));
    let seen = o.side.clone();
    let second = o.world.hand_over(
        &mut o.side,
        &o.bob,
        &o.carol,
        &words("bobs"),
        &words("carols"),
        &seen,
    );
    assert!(o.world.counts(second));
    assert_eq!(o.world.authority().owner, o.carol.id());
    // Neither the first owner's words nor the second's move it again.
    for (n, old) in ["first", "bobs"].into_iter().enumerate() {
        let seen = o.side.clone();
        let stolen = o.world.hand_over(
            &mut o.side,
            &o.dave,
            &o.dave,
            &words(old),
            &words(&format!("daves {n}")),
            &seen,
        );
        assert!(!o.world.counts(stolen), "{old}");
        assert_eq!(o.world.authority().owner, o.carol.id());
    }
}
