//! A network that lets no UDP out: all goes through the server's relay, by TCP.

use std::time::{Duration, Instant};

use mesh_tests::lab::{Nat, eventually};

use super::{MEET, World, create, path, stored};
use crate::flood::count;
use crate::world::{LONG, invite, join};

/// How soon a joiner is in whose network lets no UDP out: 10 s on top of what a joiner has by letter anyway.
const JOINED: Duration = Duration::from_secs(15);

#[test]
fn where_no_udp_gets_out_a_joiner_joins_by_a_ticket_and_reaches_member_and_server() {
    let world = World::new("tcp");
    let server = world.server("server");
    let (home, hotel) = (
        world.home("one", Nat::PortRestricted),
        world.home("two", Nat::PortRestricted),
    );
    hotel.block_udp();
    let mut alice = world.node(&home, "alice");
    create(&alice, &[&server]);
    stored(&server, &[&alice], MEET);
    let ticket = invite(&alice, &[]);
    let mut bob = world.node(&hotel, "bob");
    let begin = Instant::now();
    join(&bob, &ticket);
    let took = begin.elapsed();
    println!("joined by TCP alone after {took:?}");
    assert!(took < JOINED, "{took:?}");
    bob.reaches(alice.addresses().0, LONG);
    alice.reaches(bob.addresses().1, LONG);
    assert_eq!(path(&bob, "alice"), "relay");
    // Another of the same hotel, by the same server.
    let mut carol = world.node(&hotel, "carol");
    join(&carol, &invite(&alice, &[]));
    carol.reaches(bob.addresses().0, LONG);
    // Of bob and carol, each by its own key and one that speaks for it, and of alice.
    let clients = || server.status()["relay_clients"].as_u64();
    eventually(LONG, "both are at the mirror by TCP", || {
        clients() == Some(5)
    });
    hotel.let_udp_through();
    let _ = bob.ip("address add 192.0.2.1/24 dev eth0");
    eventually(LONG, "bob is at the mirror by UDP", || clients() == Some(4));
    hotel.block_udp();
    // With nobody else on, what bob says is kept at the server all the same, and found there.
    alice.stop();
    carol.stop();
    let _ = bob.mesh(&["share", "2222/tcp"]).ok();
    stored(&server, &[&bob], LONG);
    let told = count(&bob);
    bob.stop();
    carol.start();
    eventually(LONG, "carol hears of it from the server", || {
        count(&carol) >= told
    });
}

#[test]
fn where_no_udp_gets_out_a_network_is_created_with_a_server_and_another_is_brought_to_it() {
    let world = World::new("tcp found");
    let server = world.server("server");
    let (home, hotel) = (
        world.home("one", Nat::PortRestricted),
        world.home("two", Nat::PortRestricted),
    );
    hotel.block_udp();
    let alice = world.node(&hotel, "alice");
    let begin = Instant::now();
    create(&alice, &[&server]);
    println!("created by TCP alone after {:?}", begin.elapsed());
    stored(&server, &[&alice], MEET);
    let bob = world.node(&home, "bob");
    join(&bob, &invite(&alice, &[]));
    bob.reaches(alice.addresses().0, LONG);
    assert_eq!(path(&bob, "alice"), "relay");

    // The permit is what counts.
    let carol = world.node(&hotel, "carol");
    let text = server.text();
    let (open, permit) = text.rsplit_once('/').unwrap();
    let other = if permit.starts_with('a') { "b" } else { "a" };
    let wrong = format!("{open}/{other}{}", &permit[1..]);
    let refused = carol.mesh(&["create", "office", "--as", "carol", "--server", &wrong]);
    let refused = refused.exits(7);
    assert!(refused.stderr.contains("is not reached"), "{refused}");
    let created = ["create", "office", "--as", "carol", "--server", text];
    let _ = carol.mesh(&created).ok();
}
