//! Having a network hosted, and members that meet at the server alone.

use mesh_tests::lab::{Nat, Server, eventually};

use super::{MEET, World, create, events, server_view, stored};
use crate::world::{LONG, SOON, agree, invite, join, members, text};

#[test]
fn a_network_is_created_with_its_server_or_not_at_all() {
    let world = World::new("hosting");
    let mut server = world.server("server");
    let home = world.home("alices", Nat::PortRestricted);
    let alice = world.node(&home, "alice");
    let nothing = |what: &str| {
        let status = alice.mesh(&["networks", "--json"]).ok().json();
        let networks = crate::world::find(&status, "networks").unwrap();
        assert_eq!(networks.as_array().unwrap().len(), 0, "{what}: {networks}");
    };
    // The key and no permit, as a member's friend may have seen it.
    let public = server.text().split_once('/').unwrap().0.to_owned();
    let _ = alice
        .mesh(&["create", "home", "--as", "alice", "--server", &public])
        .exits(4);
    nothing("not permitted");
    server.stop();
    let _ = alice
        .mesh(&["create", "home", "--as", "alice", "--server", server.text()])
        .exits(7);
    nothing("not reached");
    server.restart();
    create(&alice, &[&server]);
    stored(&server, &[&alice], MEET);

    // Another one, taken off again.
    let second = world.server("second");
    let _ = alice.mesh(&["server", "add", second.text()]).ok();
    stored(&second, &[&alice], MEET);
    stored(&server, &[&alice], MEET);
    assert_eq!(
        events(&second.database()).len(),
        events(&server.database()).len()
    );
    let address = second.address().to_string();
    let _ = alice.mesh(&["server", "rm", &address]).ok();
    let view = server_view(&alice, server.address());
    assert_eq!(text(&view, "state"), "connected");
}

#[test]
fn members_without_any_link_share_events_letters_and_a_kick_through_the_server() {
    let world = World::new("mirror");
    let (host, address) = world.internet.machine(&world.lab, "server");
    // No relay and no discovery, behind NATs that no punching gets through.
    let options = ["--relay-port", "off", "--discovery-port", "off"];
    let server = Server::start(host, address, &options);
    let homes = ["alices", "bobs", "carols"].map(|name| world.home(name, Nat::Symmetric));
    let mut alice = world.node(&homes[0], "alice");
    let (bob, carol) = (world.node(&homes[1], "bob"), world.node(&homes[2], "carol"));
    create(&alice, &[&server]);
    join(&bob, &invite(&alice, &[]));
    let _ = alice.mesh(&["admin", "grant", "bob"]).ok();
    let ticket = invite(&alice, &[]);
    stored(&server, &[&alice], SOON);
    alice.stop();
    join(&carol, &ticket);
    agree(&[&bob, &carol], MEET);
    alice.start();
    agree(&[&alice, &bob, &carol], LONG);
    let _ = bob.mesh(&["kick", "carol"]).ok();
    eventually(SOON, "alice hears of the kick from the server", || {
        !members(&alice).contains("carol")
    });
    eventually(SOON, "carol is shown the proof", || {
        let status = carol.mesh_json(&["status"]);
        status.to_string().contains("this device was removed")
    });
}
