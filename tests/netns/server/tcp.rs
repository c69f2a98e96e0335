//! A network that lets no UDP out: all goes through the server's relay, by TCP.

use std::time::{Duration, Instant};

use mesh_tests::lab::Nat;

use super::{MEET, World, create, path, stored};
use crate::world::{LONG, invite, join};

/// How soon a joiner is in whose network lets no UDP out: 10 s on top of what a joiner has by letter anyway.
const JOINED: Duration = Duration::from_secs(15);

#[test]
fn a_joiner_whose_network_lets_no_udp_out_joins_by_a_ticket_and_reaches_the_member() {
    let world = World::new("tcp");
    let server = world.server("server");
    let (home, hotel) = (
        world.home("one", Nat::PortRestricted),
        world.home("two", Nat::PortRestricted),
    );
    hotel.block_udp();
    let alice = world.node(&home, "alice");
    create(&alice, &[&server]);
    stored(&server, &[&alice], MEET);
    let ticket = invite(&alice, &[]);
    let bob = world.node(&hotel, "bob");
    let begin = Instant::now();
    join(&bob, &ticket);
    let took = begin.elapsed();
    println!("joined by TCP alone after {took:?}");
    assert!(took < JOINED, "{took:?}");
    bob.reaches(alice.addresses().0, LONG);
    alice.reaches(bob.addresses().1, LONG);
    assert_eq!(path(&bob, "alice"), "relay");
    // Another of the same hotel, by the same server.
    let carol = world.node(&hotel, "carol");
    join(&carol, &invite(&alice, &[]));
    carol.reaches(bob.addresses().0, LONG);
}
