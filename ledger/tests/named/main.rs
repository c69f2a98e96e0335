//! The cases that the design names, one test each.
#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;
mod invites;
mod members;
mod office;
mod owner;
mod registers;
mod since;

use common::{Person, Side, World};
use mesh_ledger::ids::EventId;

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
