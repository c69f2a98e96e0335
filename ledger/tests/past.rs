//! The network as it was, and what tells two states of it apart.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::sync::LazyLock;

use common::history::History;
use common::{Part, World, by_id};
use mesh_ledger::diff::{Change, diff};
use mesh_ledger::epoch::KeyRing;
use mesh_ledger::event::Event;
use mesh_ledger::fold::Fold;
use mesh_ledger::graph::Idx;
use mesh_ledger::ids::EventId;
use mesh_ledger::past::Reading;
use mesh_ledger::verdict::Verdict;

fn reading<'a>(world: &'a World, fold: &'a Fold) -> Reading<'a> {
    static NONE: LazyLock<KeyRing> = LazyLock::new(KeyRing::new);
    Reading {
        offer_keys: &NONE,
        graph: &world.graph,
        opened: (&world.opened).into(),
        fold,
    }
}

#[test]
fn who_was_kicked_is_a_member_before_and_the_difference_is_the_kick() {
    let (mut world, mut side) = World::new("alice");
    let alice = world.owner.clone();
    let bob = world.newcomer(&mut side, &alice, "bob");
    let offer = world.offer(&mut side, &bob, &bob, 22);
    let kick = world.kick(&mut side, &alice, &bob);
    let fold = world.fold();
    let now = reading(&world, &fold);
    assert!(!fold.state.members.contains_key(&bob.id()));

    let book = now.at_event(world.idx(offer));
    let then = &book.reading().fold.state;
    assert!(then.members.contains_key(&bob.id()));
    assert_eq!(then.offers.len(), 1);
    assert_eq!(
        diff(then, &fold.state),
        [
            Change::Gone(bob.id(), Some(kick)),
            Change::Withdrawn(bob.device_id(), 0)
        ]
    );
    assert_eq!(
        diff(&fold.state, then).first(),
        Some(&Change::Joined(bob.id(), then.members[&bob.id()].admitted)),
        "the way back"
    );
    assert_eq!(diff(then, then), []);
}

#[test]
fn an_act_that_is_void_now_counted_when_nobody_had_spoken_against_it() {
    let (mut world, mut side) = World::new("alice");
    let alice = world.owner.clone();
    let bob = world.newcomer(&mut side, &alice, "bob");
    let carol = world.newcomer(&mut side, &alice, "carol");
    let _ = world.grant(&mut side, &alice, &bob);
    let mut away = side.clone();
    let _ = world.kick(&mut side, &alice, &bob);
    let grant = world.grant(&mut away, &bob, &carol);
    let fold = world.fold();
    assert!(!world.counts(grant));
    let book = reading(&world, &fold).at_event(world.idx(grant));
    let then = book.reading();
    let idx = then.graph.find(&grant).unwrap();
    assert_eq!(then.fold.verdicts[idx.0 as usize], Verdict::Counted);
}

#[test]
fn as_of_a_time_nothing_is_there_whose_past_was_signed_later() {
    let (mut world, mut side) = World::new("alice");
    let alice = world.owner.clone();
    for name in ["bob", "carol", "dave"] {
        world.newcomer(&mut side, &alice, name);
    }
    let fold = world.fold();
    let now = reading(&world, &fold);
    let time = |idx: Idx| world.graph.event(idx).header().time;
    let times: BTreeSet<u64> = world.graph.indices().map(time).collect();
    for at in times {
        let book = now.at_time(at);
        let part = book.reading().graph;
        for idx in world.graph.indices() {
            let event = world.graph.event(idx);
            let past = world
                .graph
                .indices()
                .filter(|other| *other == idx || world.graph.precedes(*other, idx));
            let all_by_then = past.into_iter().all(|other| time(other) <= at);
            assert_eq!(part.find(&event.id()).is_some(), all_by_then);
        }
    }
    assert!(now.at_time(0).reading().graph.len() <= 1);
}

#[test]
fn the_past_of_an_event_is_what_somebody_knew_who_had_it_and_no_more() {
    for seed in 1..40 {
        let history = History::new(seed, 60, if seed % 2 == 0 { 5 } else { 50 });
        let world = &history.world;
        let fold = world.fold();
        let now = reading(world, &fold);
        for idx in world.graph.indices().step_by(7) {
            let past = world.graph.past_of(&[idx]);
            let events: Vec<Event> = world
                .graph
                .indices()
                .filter(|other| world.graph.within(*other, &past))
                .map(|other| world.graph.event(other).clone())
                .collect();
            let theirs = Part::of(events);
            let book = now.at_event(idx);
            let ours = book.reading();
            assert_eq!(
                by_id(ours.graph, ours.fold),
                theirs.verdicts(),
                "seed {seed}, event {}",
                world.graph.event(idx).id().short()
            );
            assert_eq!(ours.fold.state, theirs.fold().state, "seed {seed}");
        }
    }
}

#[test]
fn the_start_of_an_id_names_one_event_or_says_how_many() {
    let (mut world, mut side) = World::new("alice");
    let alice = world.owner.clone();
    for _ in 0..200 {
        world.merge(&mut side, &alice);
    }
    let ids: BTreeSet<EventId> = world
        .graph
        .indices()
        .map(|idx| world.graph.event(idx).id())
        .collect();
    for id in &ids {
        let text = id.to_string();
        for prefix in [&text[..4], &text[..8], &text] {
            let same = ids.iter().filter(|id| id.to_string().starts_with(prefix));
            match (world.graph.named(prefix), same.count()) {
                (Ok(idx), 1) => assert_eq!(world.graph.event(idx).id(), *id),
                (Err(error), more) if more > 1 => {
                    assert!(error.to_string().starts_with(&more.to_string()));
                }
                (found, count) => panic!("{prefix}: {found:?}, and there are {count}"),
            }
        }
        assert!(world.graph.named(&text.to_uppercase()).is_ok());
    }
    for wrong in ["", "abc", "xyzw", "é0000", &"0".repeat(64)] {
        assert!(world.graph.named(wrong).is_err(), "{wrong}");
    }
}
