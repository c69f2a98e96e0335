//! Joining while the creator is off, through whoever is on.

use mesh_tests::lab::Nat;

use super::{MEET, World, create, stored};
use crate::world::{SOON, agree, invite, join, log, members};

#[test]
fn a_ticket_works_while_its_creator_is_off_and_exactly_one_member_that_is_on_admits() {
    let world = World::new("letters");
    let server = world.server("server");
    let homes = ["alices", "bobs", "carols"].map(|name| world.home(name, Nat::PortRestricted));
    let office = world.home("office", Nat::Symmetric);
    let mut alice = world.node(&homes[0], "alice");
    let (bob, carol) = (world.node(&homes[1], "bob"), world.node(&homes[2], "carol"));
    let dave = world.node(&office, "dave");
    create(&alice, &[&server]);
    for node in [&bob, &carol] {
        join(node, &invite(&alice, &[]));
    }
    agree(&[&alice, &bob, &carol], MEET);
    // It names alice and the server, and neither bob nor carol.
    let ticket = invite(&alice, &[]);
    stored(&server, &[&alice], SOON);
    alice.stop();

    join(&dave, &ticket);
    let nodes = [&bob, &carol, &dave];
    agree(&nodes, MEET);
    for node in nodes {
        assert!(members(node).contains("dave"));
        let admits: Vec<_> = log(node)
            .into_iter()
            .filter(|entry| entry.kind == "admit" && entry.text.contains("dave"))
            .collect();
        assert_eq!(admits.len(), 1, "{admits:#?}");
        assert!(
            ["bob", "carol"].contains(&admits[0].by.as_str()),
            "{admits:#?}"
        );
    }
    let _ = dave.mesh(&["ping", "bob", "--count", "3"]).ok();
    let _ = carol.mesh(&["ping", "dave", "--count", "3"]).ok();

    // With every member off there is nobody to admit; the server cannot.
    alice.start();
    let ticket = invite(&alice, &[]);
    stored(&server, &[&alice], SOON);
    for mut node in [alice, bob, carol, dave] {
        node.stop();
    }
    let erin = homes[0].machine(&world.lab, "erin");
    let _ = erin
        .mesh(&["join", &ticket, "--as", "erin", "--wait", "4s"])
        .exits(7);
}
