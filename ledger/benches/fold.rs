//! How long it takes to insert and fold a large network: `cargo bench -p mesh-ledger --bench fold [EVENTS]`.
//!
//! 100 devices write in turn, each on top of a few others' heads; one event in 250 removes somebody, whom the owner then
//! admits again. The bar for 100,000 events: full fold within 0.5 s.
#![allow(clippy::unwrap_used, clippy::print_stdout)]
// A bench is a shell: it measures with the clock.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::time::Instant;

use common::{Part, Person, World};
use mesh_ledger::fold::fold;
use mesh_ledger::verdict::Verdict;

fn main() {
    let events = std::env::args()
        .filter_map(|text| text.parse().ok())
        .next()
        .unwrap_or(100_000);
    let (mut world, mut all) = World::with_subnet("owner", "10.0.0.0/16");
    let owner = world.owner.clone();
    let mut people = vec![owner.clone()];
    for n in 1..100 {
        people.push(world.newcomer(&mut all, &owner, &format!("p{n}")));
    }
    for admin in &people[1..20] {
        world.grant(&mut all, &owner, admin);
    }
    let started = Instant::now();
    let mut sides = vec![all; people.len()];
    let mut turn = 0_usize;
    while world.graph.len() < events {
        turn += 1;
        let who = (turn * 7) % people.len();
        let other = (turn * 31) % people.len();
        let mut side = sides[who].clone();
        side.learn(&world, &sides[other]);
        if turn.is_multiple_of(250) {
            let target = &people[20 + turn % 80];
            let by = people[1 + turn % 19].clone();
            let mut side = sides[1 + turn % 19].clone();
            side.learn(&world, &sides[0]);
            world.kick(&mut side, &by, target);
            world.admit(&mut side, &owner, target, None);
            sides[0] = side.clone();
            sides[20 + turn % 80] = side;
            continue;
        }
        let person: Person = people[who].clone();
        if turn.is_multiple_of(2) {
            world.offer(&mut side, &person, &person, 1 + (turn % 60_000) as u16);
        } else {
            world.merge(&mut side, &person);
        }
        sides[who] = side;
    }
    println!(
        "made {} events in {:?}",
        world.graph.len(),
        started.elapsed()
    );
    let bytes: Vec<_> = world
        .graph
        .indices()
        .map(|idx| world.graph.event(idx).clone())
        .collect();
    let started = Instant::now();
    let part = Part::of(bytes);
    println!("inserted, signatures not checked: {:?}", started.elapsed());
    let started = Instant::now();
    let first = fold(&part.graph, &part.opened);
    println!(
        "first fold, signatures inside acts checked: {:?}",
        started.elapsed()
    );
    let mut times: Vec<_> = (0..5)
        .map(|_| {
            let started = Instant::now();
            let again = fold(&part.graph, &part.opened);
            assert_eq!(again.state.hash(), first.state.hash());
            started.elapsed()
        })
        .collect();
    times.sort();
    println!(
        "fold: {:?} (median of 5, {:?} the slowest)",
        times[2], times[4]
    );
    let void = first
        .verdicts
        .iter()
        .filter(|v| matches!(v, Verdict::Void(_)))
        .count();
    println!("{} members, {void} events void", first.state.members.len());
}
