//! The fold that is kept up to date is the fold from nothing: in every history, after every batch, in whatever order events
//! and keys arrive, and after trials that were taken back. `MESH_CASES` sets how many histories of each kind are tried,
//! `MESH_SEED` where to start; a failure names its seed.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod common;
#[path = "increment/directed.rs"]
mod directed;

use common::history::{Dice, History};
use common::open;
use mesh_ledger::event::Event;
use mesh_ledger::event::attributes::Opened;
use mesh_ledger::fold::{authority, fold};
use mesh_ledger::graph::{Graph, Idx};
use mesh_ledger::increment::Increment;

// How much to try is the caller's choice, as for any test runner.
#[allow(clippy::disallowed_methods)]
fn number(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

/// What a run went through.
#[derive(Default)]
struct Tally {
    histories: u64,
    events: usize,
    void: usize,
    batches: usize,
    trials: usize,
    late: usize,
}

fn histories(kind: &str, steps: usize, hostile: usize, check: impl Fn(&mut History, &mut Tally)) {
    let (cases, first) = (number("MESH_CASES", 60), number("MESH_SEED", 1));
    let mut tally = Tally::default();
    for seed in first..first + cases {
        let tried = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut history = History::new(seed, steps, hostile);
            check(&mut history, &mut tally);
        }));
        if let Err(panic) = tried {
            eprintln!("failed: {kind} history, MESH_SEED={seed} MESH_CASES=1");
            std::panic::resume_unwind(panic);
        }
        tally.histories += 1;
    }
    eprintln!(
        "{kind}: {} histories, {} events, {} % void, {} batches, {} trials taken back, {} attributes that became readable late",
        tally.histories,
        tally.events,
        tally.void * 100 / tally.events.max(1),
        tally.batches,
        tally.trials,
        tally.late
    );
}

/// A replica that hears of a history bit by bit.
struct Replica {
    graph: Graph,
    opened: Vec<Opened>,
    increment: Increment,
    acts: Increment,
    dice: Dice,
    /// The share, in percent, of attributes that cannot be read at first.
    unread: usize,
}

impl Replica {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let unread = [0, 0, 30, 80][dice.below(4)];
        Self {
            graph: Graph::new(),
            opened: Vec::new(),
            increment: Increment::new(),
            acts: Increment::of_acts(),
            dice,
            unread,
        }
    }

    fn insert(&mut self, event: &Event) {
        let known = self.graph.len();
        let idx = self.graph.insert(event.clone()).unwrap();
        if (idx.0 as usize) < known {
            return;
        }
        let late = !event.sealed().is_empty() && self.dice.percent(self.unread);
        self.opened
            .push(if late { Opened::Pending } else { open(event) });
    }

    fn update(&mut self, readable: &[Idx]) {
        self.increment.update(&self.graph, &self.opened, readable);
        self.acts.update(&self.graph, &[], &[]);
        self.compare();
    }

    fn take_back(&mut self, len: usize) {
        self.increment.retract(&self.graph, &self.opened, len);
        self.acts.retract(&self.graph, &[], len);
        self.graph.truncate(len);
        self.opened.truncate(len);
        self.compare();
    }

    /// Some attributes become readable, or all.
    fn read(&mut self, share: usize) -> Vec<Idx> {
        let mut readable = Vec::new();
        for idx in self.graph.indices() {
            if self.opened[idx.0 as usize] == Opened::Pending && self.dice.percent(share) {
                self.opened[idx.0 as usize] = open(&self.graph.event(idx));
                readable.push(idx);
            }
        }
        readable
    }

    fn compare(&self) {
        let (full, mine) = (fold(&self.graph, &self.opened), self.increment.fold());
        let ids = |order: &[Idx]| -> Vec<_> {
            order
                .iter()
                .map(|idx| self.graph.event(*idx).id().short())
                .collect()
        };
        assert_eq!(ids(&mine.order), ids(&full.order), "order");
        for idx in self.graph.indices() {
            let n = idx.0 as usize;
            let event = self.graph.event(idx);
            assert_eq!(mine.verdicts[n], full.verdicts[n], "verdict on {event:?}");
        }
        assert_eq!(mine.verdicts.len(), full.verdicts.len());
        assert_eq!(mine.authority, full.authority);
        assert_eq!(mine.state, full.state);
        assert_eq!(mine.authority.hash(), full.authority.hash());
        assert_eq!(mine.state.hash(), full.state.hash());
        assert_eq!(self.acts.authority(), &authority(&self.graph));
    }
}

/// The events of a history arrive in a random causal order, in batches of all sizes, some twice; attributes become readable
/// late; now and then a batch is tried and taken back.
fn arrive(history: &mut History, tally: &mut Tally) {
    let mut events = history.shuffled();
    let seed =
        history.world.graph.len() as u64 * 7919 + u64::from(events[events.len() - 1].id().0[0]);
    let mut replica = Replica::new(seed);
    let most = [1, 4, 12, 60][replica.dice.below(4)];
    let mut at = 0;
    while at < events.len() {
        let end = (at + 1 + replica.dice.below(most)).min(events.len());
        let trial = replica.dice.percent(25);
        if trial {
            let before = replica.graph.len();
            for event in &events[at..end] {
                replica.insert(event);
            }
            replica.update(&[]);
            replica.take_back(before);
            tally.trials += 1;
            if replica.dice.percent(50) {
                // Something else comes first.
                let tried: Vec<_> = events.drain(at..end).collect();
                let after: Vec<_> = events.drain(at..).collect();
                let (mut front, mut held) = (Vec::new(), tried);
                for event in after {
                    let waits = event
                        .header()
                        .parents
                        .iter()
                        .any(|parent| held.iter().any(|held| held.id() == *parent));
                    if waits {
                        held.push(event)
                    } else {
                        front.push(event)
                    }
                }
                events.extend(front);
                events.extend(held);
            }
            continue;
        }
        for event in &events[at..end] {
            replica.insert(event);
        }
        if replica.dice.percent(10) && at > 0 {
            let known = replica.dice.below(at);
            replica.insert(&events[known]);
        }
        let share = [0, 0, 20, 100][replica.dice.below(4)];
        let known: Vec<Idx> = replica.read(share);
        tally.late += known.len();
        replica.update(&known);
        tally.batches += 1;
        at = end;
    }
    let rest = replica.read(100);
    tally.late += rest.len();
    replica.update(&rest);
    assert_eq!(replica.increment.fold().state.pending, 0);
    let verdicts = &replica.increment.fold().verdicts;
    tally.events += verdicts.len();
    tally.void += verdicts.iter().filter(|verdict| !verdict.counts()).count();
}

#[test]
fn in_sensible_histories_the_kept_fold_is_the_full_fold_after_every_batch_and_trial() {
    histories("sensible", 125, 5, arrive);
}

#[test]
fn in_hostile_histories_the_kept_fold_is_the_full_fold_after_every_batch_and_trial() {
    histories("hostile", 125, 60, arrive);
}

#[test]
fn a_history_taken_back_event_by_event_leaves_what_was_there() {
    histories("taken back", 60, 20, |history, tally| {
        let events = history.shuffled();
        let mut replica = Replica::new(events.len() as u64);
        for event in &events {
            replica.insert(event);
        }
        replica.update(&[]);
        while !replica.graph.is_empty() {
            let down = 1 + replica.dice.below(9);
            replica.take_back(replica.graph.len().saturating_sub(down));
            tally.trials += 1;
        }
        for event in &events {
            replica.insert(event);
        }
        replica.update(&[]);
        tally.events += events.len();
    });
}
