//! A server's copy can be lost, and come back from any member.

use mesh_tests::lab::{Nat, eventually};

use super::{MEET, World, create, events, ledger, stored};
use crate::world::{LONG, SOON, agree, invite, join};

#[test]
fn after_the_server_is_wiped_and_the_creator_destroyed_the_copy_comes_back_event_for_event() {
    let world = World::new("wipe");
    let mut server = world.server("server");
    let homes = ["alices", "bobs"].map(|name| world.home(name, Nat::PortRestricted));
    let (mut alice, bob) = (world.node(&homes[0], "alice"), world.node(&homes[1], "bob"));
    create(&alice, &[&server]);
    join(&bob, &invite(&alice, &[]));
    let _ = bob.mesh(&["share", "80/tcp", "--to", "all"]).ok();
    let _ = alice.mesh(&["admin", "grant", "bob"]).ok();
    agree(&[&alice, &bob], MEET);
    stored(&server, &[&alice, &bob], MEET);
    let before = events(&server.database());
    assert_eq!(before, ledger(&bob), "it is a copy at all");
    assert!(before.len() >= 5);

    alice.kill9();
    std::fs::remove_dir_all(alice.dir()).unwrap();
    server.stop();
    server.wipe();
    assert!(!server.disk().is_empty() && !server.database().exists());
    // Without the operator's token, which the creator alone had typed.
    server.restart();
    stored(&server, &[&bob], LONG);
    eventually(SOON, "the copy is what it was", || {
        events(&server.database()) == before
    });
    assert_eq!(ledger(&bob), before);

    // And it serves: somebody new joins through it.
    let carol = world.node(&homes[0], "carol");
    join(&carol, &invite(&bob, &[]));
    let _ = carol.mesh(&["ping", "bob", "--count", "3"]).ok();
}
