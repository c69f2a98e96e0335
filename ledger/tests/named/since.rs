//! Undoing what somebody did since an event: all of it, and nothing else.

use std::collections::BTreeSet;

use crate::common::{Person, Side, words};
use crate::{Office, office};
use mesh_ledger::cut::{Cut, NoCut, Since, cut};
use mesh_ledger::event::act::{MAX_CUT, Target};
use mesh_ledger::ids::EventId;
use mesh_ledger::verdict::Reason;

impl Office {
    fn cut(&self, target: &Person, since: &Since) -> Result<Cut, NoCut> {
        cut(&self.world.graph, &target.id(), Some(since))
    }

    fn revoke_since(&mut self, target: &Person, grant: EventId, since: &Since) -> EventId {
        let heads = Side(self.cut(target, since).unwrap().heads.into_iter().collect());
        let alice = self.alice.clone();
        self.world
            .revoke(&mut self.side, &alice, target, grant, Some(&heads))
    }

    fn void(&self) -> BTreeSet<EventId> {
        let fold = self.world.fold();
        let graph = &self.world.graph;
        let void = |idx: &mesh_ledger::graph::Idx| !fold.verdicts[idx.0 as usize].counts();
        graph
            .indices()
            .filter(void)
            .map(|idx| graph.event(idx).id())
            .collect()
    }
}

#[test]
fn what_a_stolen_key_did_is_void_and_what_others_wrote_on_top_of_it_stands() {
    let mut o = office();
    let (bob, dave) = (o.bob.clone(), o.dave.clone());
    let by_day = o.world.newcomer(&mut o.side, &bob, "erin");
    let ticket = o.world.invite(&mut o.side, &bob, 9);
    let frank = Person::new("frank");
    o.world.admit(&mut o.side, &dave, &frank, Some(&ticket));
    // The night.
    let mallory = Person::new("mallory");
    let theft = o.world.admit(&mut o.side, &bob, &mallory, None);
    let grant = o.world.grant(&mut o.side, &bob, &mallory);
    let kick = o.world.kick(&mut o.side, &bob, &dave);
    let further = o.world.kick(&mut o.side, &mallory, &by_day);
    let close = o.world.close(&mut o.side, &bob, &ticket);
    // Others go on in the meantime, knowing of it.
    let (carol, alice) = (o.carol.clone(), o.alice.clone());
    let offer = o.world.offer(&mut o.side, &carol, &carol, 22);
    let gina = o.world.newcomer(&mut o.side, &carol, "gina");
    let hers = o.world.grant(&mut o.side, &alice, &gina);
    let revoke = o.revoke_since(&bob, o.bobs, &Since::Event(theft));
    assert!(o.world.counts(revoke));
    assert_eq!(
        o.void(),
        BTreeSet::from([theft, grant, kick, further, close])
    );
    for id in [theft, grant, kick, close] {
        assert!(
            matches!(o.world.reason(id), Reason::TermEnded { by, .. } if by == revoke),
            "{}",
            o.world.reason(id)
        );
    }
    for person in [&by_day, &frank, &dave, &gina, &bob] {
        assert!(o.world.is_member(person), "{}", person.name);
    }
    assert!(!o.world.is_member(&mallory));
    assert!(o.world.counts(offer) && o.world.counts(hers));
}

#[test]
fn a_kick_since_an_event_takes_the_member_with_all_it_did_from_then_on_and_leaves_the_rest() {
    let mut o = office();
    let (bob, alice) = (o.bob.clone(), o.alice.clone());
    let erin = o.world.newcomer(&mut o.side, &bob, "erin");
    let early = o.world.offer(&mut o.side, &bob, &bob, 22);
    let theft = o.world.kick(&mut o.side, &bob, &erin);
    let late = o.world.offer(&mut o.side, &bob, &bob, 23);
    let heads = o.cut(&bob, &Since::Event(theft)).unwrap().heads;
    let heads = Side(heads.into_iter().collect());
    let target = mesh_ledger::event::act::Target::User(bob.id());
    o.world
        .remove(&mut o.side, &alice, target, Some(&heads), &[]);
    assert_eq!(o.void(), BTreeSet::from([theft, late]));
    assert!(o.world.counts(early));
    assert!(o.world.is_member(&erin) && !o.world.is_member(&bob));
}

#[test]
fn a_time_stands_for_the_first_event_whose_own_clock_says_that_or_later() {
    let mut o = office();
    let (bob, dave) = (o.bob.clone(), o.dave.clone());
    let at = |o: &mut Office, name: &str, at: u64| {
        let joiner = Person::new(name);
        o.world.admit_at(&mut o.side, &bob, &joiner, None, at)
    };
    let early = at(&mut o, "erin", 1_000);
    let late = at(&mut o, "frank", 2_000);
    // The thief sets the clock back; what follows what is undone is undone.
    let back = at(&mut o, "gina", 500);
    assert_eq!(
        o.cut(&bob, &Since::Time(2_000)),
        o.cut(&bob, &Since::Event(late))
    );
    assert_eq!(
        o.cut(&bob, &Since::Time(1_001)),
        o.cut(&bob, &Since::Event(late))
    );
    assert_eq!(o.cut(&bob, &Since::Time(2_001)), Err(NoCut::NoneSoLate));
    assert_eq!(o.cut(&dave, &Since::Time(0)), Err(NoCut::NoneSoLate));
    o.revoke_since(&bob.clone(), o.bobs, &Since::Time(1_500));
    assert_eq!(o.void(), BTreeSet::from([late, back]));
    assert!(o.world.counts(early));
}

#[test]
fn only_an_event_of_the_members_own_can_be_the_first_that_is_undone() {
    let o = office();
    let nowhere = EventId([9; 32]);
    assert_eq!(
        o.cut(&o.bob, &Since::Event(nowhere)),
        Err(NoCut::Unknown(nowhere))
    );
    assert_eq!(
        o.cut(&o.bob, &Since::Event(o.bobs)),
        Err(NoCut::NotTheirs(o.bobs)),
        "alice's grant"
    );
    let genesis = EventId(o.world.network.0);
    assert_eq!(o.cut(&o.alice, &Since::Event(genesis)), Err(NoCut::Genesis));
}

#[test]
fn a_thief_who_forks_the_device_has_no_branch_that_is_left() {
    let mut o = office();
    let (bob, dave, carol) = (o.bob.clone(), o.dave.clone(), o.carol.clone());
    let mut other = o.side.clone();
    let theft = o.world.grant(&mut o.side, &bob, &dave);
    let branch = o.world.kick(&mut other, &bob, &carol);
    o.side.learn(&o.world, &other);
    o.revoke_since(&bob, o.bobs, &Since::Event(theft));
    assert_eq!(o.void(), BTreeSet::from([theft, branch]));
}

#[test]
fn acts_of_the_members_other_device_stand_if_they_do_not_build_on_the_undone_ones() {
    let mut o = office();
    let alice = o.alice.clone();
    let phone = Person::with_device("bob", "bob-phone");
    o.world.add_device(&mut o.side, &phone);
    let bob = o.bob.clone();
    let mut away = o.side.clone();
    let theft = o
        .world
        .admit(&mut o.side, &bob, &Person::new("mallory"), None);
    let honest = o.world.admit(&mut away, &phone, &Person::new("erin"), None);
    o.side.learn(&o.world, &away);
    let after = o
        .world
        .admit(&mut o.side, &phone, &Person::new("mike"), None);
    let own = o.world.offer(&mut o.side, &alice, &alice, 22);
    o.revoke_since(&bob, o.bobs, &Since::Event(theft));
    assert_eq!(o.void(), BTreeSet::from([theft, after]));
    assert!(o.world.counts(honest) && o.world.counts(own));
}

#[test]
fn of_many_heads_those_are_taken_that_hold_what_the_member_did() {
    let mut o = office();
    let (bob, alice) = (o.bob.clone(), o.alice.clone());
    let mut people = Vec::new();
    for n in 0..2 * MAX_CUT {
        people.push(o.world.newcomer(&mut o.side, &alice, &format!("p{n}")));
    }
    let ticket = o.world.invite(&mut o.side, &bob, 99);
    // Everybody writes without hearing of the others; some admit by bob's ticket.
    let before = o.side.clone();
    let mut joined = Vec::new();
    for (n, person) in people.iter().enumerate() {
        let mut side = before.clone();
        if n % 4 == 0 {
            let joiner = Person::new(&format!("j{n}"));
            o.world.admit(&mut side, person, &joiner, Some(&ticket));
            joined.push(joiner);
        } else {
            o.world.offer(&mut side, person, person, 22);
        }
        o.side.learn(&o.world, &side);
    }
    let mut away = before.clone();
    let theft = o.world.grant(&mut away, &bob, &people[1].clone());
    o.side.learn(&o.world, &away);
    let found = o.cut(&bob, &Since::Event(theft)).unwrap();
    assert_eq!((found.heads.len(), found.left_out), (MAX_CUT, 0));
    assert!(found.heads.is_sorted());
    o.revoke_since(&bob, o.bobs, &Since::Event(theft));
    assert_eq!(o.void(), BTreeSet::from([theft]));
    for joiner in &joined {
        assert!(o.world.is_member(joiner), "{}", joiner.name);
    }
}

#[test]
fn what_no_head_has_room_for_is_counted() {
    let mut o = office();
    let (bob, alice) = (o.bob.clone(), o.alice.clone());
    let mut people = Vec::new();
    for n in 0..MAX_CUT + 3 {
        people.push(o.world.newcomer(&mut o.side, &alice, &format!("p{n}")));
    }
    let ticket = o.world.invite(&mut o.side, &bob, 99);
    let before = o.side.clone();
    for person in &people {
        let mut side = before.clone();
        let joiner = Person::new(&format!("by {}", person.name));
        let joiner = Person {
            name: format!("j-{}", person.name),
            ..joiner
        };
        o.world.admit(&mut side, person, &joiner, Some(&ticket));
        o.side.learn(&o.world, &side);
    }
    let found = cut(&o.world.graph, &bob.id(), None).unwrap();
    assert_eq!((found.heads.len(), found.left_out), (MAX_CUT, 3));
}

#[test]
fn a_cut_that_names_what_its_author_had_not_heard_of_voids_the_act() {
    let mut o = office();
    let (alice, bob, carol) = (o.alice.clone(), o.bob.clone(), o.carol.clone());
    let mut away = o.side.clone();
    let unheard = o.world.offer(&mut away, &bob, &bob, 22);
    let cut = Side(BTreeSet::from([unheard]));
    let target = Target::User(bob.id());
    let (kick, revoke, handed) = (
        o.world.remove(&mut o.side, &alice, target, Some(&cut), &[]),
        o.world
            .revoke(&mut o.side, &alice, &bob, o.bobs, Some(&cut)),
        o.world.hand_over(
            &mut o.side,
            &alice,
            &carol,
            &words("first"),
            &words("next"),
            &cut,
        ),
    );
    for act in [kick, revoke, handed] {
        assert_eq!(o.world.reason(act), Reason::CutOutside);
    }
    assert!(o.world.is_member(&bob));
    assert_eq!(o.world.authority().owner, alice.id());
    // Whoever has heard of it may say so.
    o.side.learn(&o.world, &away);
    let revoke = o
        .world
        .revoke(&mut o.side, &alice, &bob, o.bobs, Some(&cut));
    assert!(o.world.counts(revoke) && o.world.counts(unheard));
}
