//! What folds of a large network cost: `cargo bench -p mesh-ledger --bench fold [EVENTS]`, 100,000 events by default.
//!
//! 100 devices write in turn, each on top of a few others' heads, so that they lag far behind each other and most events
//! take their place in front of a thousand others; one event in 250 removes somebody, whom the owner then admits again. Each
//! figure stands beside its bar, which is meant for 100,000 events (a full fold's for any number: 5 µs an event).
#![allow(clippy::unwrap_used, clippy::print_stdout)]
// A bench is a shell: it measures with the clock.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::time::{Duration, Instant};

use common::{Part, Person, Side, World, open};
use mesh_ledger::event::attributes::{Opened, Write};
use mesh_ledger::fold::fold;
use mesh_ledger::graph::{Graph, Idx};
use mesh_ledger::increment::Increment;
use mesh_ledger::verdict::Verdict;

fn main() {
    let events = std::env::args()
        .filter_map(|text| text.parse().ok())
        .next()
        .unwrap_or(100_000);
    let mut history = History::new(events);
    let all: Vec<_> = history.world.graph.indices().collect();
    let all: Vec<_> = all
        .into_iter()
        .map(|idx| history.world.graph.event(idx).clone())
        .collect();

    let resident = kilobytes();
    let started = Instant::now();
    let mut graph = Graph::new();
    for event in &all {
        graph.insert(event.clone()).unwrap();
    }
    println!("insert, signatures not checked: {:?}", started.elapsed());
    let count = all.len();
    let with_graph = kilobytes();
    let Part { opened, .. } = Part::of(all.iter().cloned());
    let started = Instant::now();
    let first = fold(&graph, &opened);
    println!(
        "first fold, signatures inside acts checked: {:?}",
        started.elapsed()
    );
    let mut times: Vec<_> = (0..5)
        .map(|_| {
            let started = Instant::now();
            assert_eq!(fold(&graph, &opened).state.hash(), first.state.hash());
            started.elapsed()
        })
        .collect();
    times.sort();
    println!(
        "fold: {:?} (median of 5, {:?} the slowest; bar {:?})",
        times[2],
        times[4],
        Duration::from_micros(5) * count as u32
    );
    let void = first
        .verdicts
        .iter()
        .filter(|verdict| matches!(verdict, Verdict::Void(_)))
        .count();
    println!(
        "  {} members, {void} events void",
        first.state.members.len()
    );
    drop(first);

    let before = kilobytes();
    let started = Instant::now();
    let mut increment = Increment::new();
    increment.update(&graph, &opened, &[]);
    println!("kept fold, all at once: {:?}", started.elapsed());
    let (of_graph, of_fold) = (
        with_graph.saturating_sub(resident),
        kilobytes().saturating_sub(before),
    );
    println!(
        "  {} MB resident for the graph, of which {} bytes an event (bar 250) for watermarks; {} MB for the kept fold; bar 80 \
         MB for both",
        of_graph / 1024,
        graph.watermark_bytes() / count,
        of_fold / 1024,
    );

    let mut kept = Kept {
        graph,
        opened,
        increment,
    };
    let ordinary = (0..2000).map(|n| {
        history.ordinary(n);
        kept.take(&history.world)
    });
    report("ordinary event", ordinary.collect(), Some(100));
    let renames = (0..500).map(|n| {
        history.rename(n);
        kept.take(&history.world)
    });
    report("new host name", renames.collect(), Some(100));
    let kicks = (0..20).map(|n| {
        let (by, target) = history.kick(n);
        let mut side = history.sides[0].clone();
        for other in history.sides.clone() {
            side.learn(&history.world, &other);
        }
        history.world.kick(&mut side, &by, &target);
        let time = kept.take(&history.world);
        let owner = history.world.owner.clone();
        history.world.admit(&mut side, &owner, &target, None);
        kept.take(&history.world);
        history.sides = vec![side; history.sides.len()];
        time
    });
    report("kick by who saw all", kicks.collect(), Some(5_000));
    let checkpoints = (0..5).map(|n| {
        for more in 0..200 {
            history.ordinary(n * 200 + more);
            kept.take(&history.world);
        }
        let owner = history.world.owner.clone();
        let mut side = history.sides[0].clone();
        let heads: Vec<Idx> = side.0.iter().map(|id| history.world.idx(*id)).collect();
        let count = history.world.graph.past_of(&heads).total();
        history.world.seal(&mut side, &owner, count);
        history.sides[0] = side;
        kept.take(&history.world)
    });
    report("checkpoint", checkpoints.collect(), None);
    let (by, target) = history.kick(7);
    let mut early = history.early.clone();
    history.world.kick(&mut early, &by, &target);
    let time = kept.take(&history.world);
    println!("kick by who saw 5 % of history: {time:?} (bar 60ms)");
    let full = fold(&kept.graph, &kept.opened);
    assert_eq!(full.state.hash(), kept.increment.fold().state.hash());
    assert_eq!(full.order, kept.increment.fold().order);
    let void = full.verdicts.iter().filter(|verdict| !verdict.counts());
    println!("  {} events void", void.count());
}

/// Prints what each of some events cost, and what it may cost, in microseconds.
fn report(what: &str, mut times: Vec<Duration>, bar: Option<u64>) {
    times.sort();
    let mean = times.iter().sum::<Duration>() / times.len() as u32;
    let bar = bar.map_or(String::new(), |bar| {
        format!("; bar {:?}", Duration::from_micros(bar))
    });
    println!(
        "{what}: {mean:?} (mean of {}; {:?} the median, {:?} the slowest{bar})",
        times.len(),
        times[times.len() / 2],
        times[times.len() - 1]
    );
}

/// How much memory the process holds.
fn kilobytes() -> usize {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.unwrap_or(0)
}

struct Kept {
    graph: Graph,
    opened: Vec<Opened>,
    increment: Increment,
}

impl Kept {
    /// Takes what the world has more, and measures it.
    fn take(&mut self, world: &World) -> Duration {
        let fresh: Vec<_> = world
            .graph
            .indices()
            .skip(self.graph.len())
            .map(|idx| world.graph.event(idx).clone())
            .collect();
        let started = Instant::now();
        for event in fresh {
            self.opened.push(open(&event));
            self.graph.insert(event).unwrap();
        }
        self.increment.update(&self.graph, &self.opened, &[]);
        started.elapsed()
    }
}

struct History {
    world: World,
    people: Vec<Person>,
    sides: Vec<Side>,
    /// What somebody knew who saw 5 % of it.
    early: Side,
}

impl History {
    fn new(events: usize) -> Self {
        let (mut world, mut all) = World::with_subnet("owner", "10.0.0.0/16");
        let owner = world.owner.clone();
        let mut people = vec![owner.clone()];
        for n in 1..100 {
            people.push(world.newcomer(&mut all, &owner, &format!("p{n}")));
        }
        for admin in &people[1..20] {
            world.grant(&mut all, &owner, admin);
        }
        let mut history = Self {
            world,
            sides: vec![all.clone(); people.len()],
            people,
            early: all,
        };
        let started = Instant::now();
        let mut turn = 0_usize;
        while history.world.graph.len() < events {
            turn += 1;
            if turn.is_multiple_of(250) {
                let (by, target) = history.kick(turn);
                let mut side = history.sides[1 + turn % 19].clone();
                side.learn(&history.world, &history.sides[0]);
                history.world.kick(&mut side, &by, &target);
                history.world.admit(&mut side, &owner, &target, None);
                history.sides[0] = side.clone();
                history.sides[20 + turn % 80] = side;
            } else {
                history.ordinary(turn);
            }
            if history.world.graph.len() <= events / 20 {
                history.early = history.sides[8].clone();
            }
        }
        println!("made {events} events in {:?}", started.elapsed());
        history
    }

    fn kick(&self, turn: usize) -> (Person, Person) {
        (
            self.people[1 + turn % 19].clone(),
            self.people[20 + turn % 80].clone(),
        )
    }

    fn rename(&mut self, turn: usize) {
        let (who, person, mut side) = self.turn(turn);
        let write = Write::Host {
            device: person.device_id(),
            host: common::label(&format!("host-{}", turn % 40)),
        };
        self.world.write(&mut side, &person, vec![write]);
        self.sides[who] = side;
    }

    /// Whose turn it is, with what that device has heard by now.
    fn turn(&self, turn: usize) -> (usize, Person, Side) {
        let who = (turn * 7) % self.people.len();
        let other = (turn * 31) % self.people.len();
        let mut side = self.sides[who].clone();
        side.learn(&self.world, &self.sides[other]);
        (who, self.people[who].clone(), side)
    }

    fn ordinary(&mut self, turn: usize) {
        let (who, person, mut side) = self.turn(turn);
        if turn.is_multiple_of(2) {
            let port = 1 + (turn % 60_000) as u16;
            self.world.offer(&mut side, &person, &person, port);
        } else {
            self.world.merge(&mut side, &person);
        }
        self.sides[who] = side;
    }
}
