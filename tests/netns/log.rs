//! The log is the same everywhere, says who did what, and finds damage.

use mesh_tests::lab::{Cut, Host, eventually};
use rusqlite::Connection;

use crate::world::{LONG, Mesh, SOON, database, log};

#[test]
fn the_log_is_equal_on_each_device_and_attributes_each_act() {
    let mesh = Mesh::new("log", &["alice", "bob", "carol"]);
    let [alice, bob, carol] = &mesh.nodes[..] else {
        unreachable!()
    };
    let _ = bob
        .mesh(&["share", "22/tcp", "--to", "alice", "--name", "ssh"])
        .ok();
    let _ = alice.mesh(&["admin", "grant", "bob"]).ok();
    eventually(SOON, "bob knows that he is an admin", || {
        bob.mesh(&["--quiet", "invite"]).code == Some(0)
    });
    mesh.agree(SOON);
    let _ = bob.mesh(&["kick", "carol", "--reason", "moved out"]).ok();
    eventually(SOON, "alice knows", || log(alice) == log(bob));

    let told = log(alice);
    for (by, kind, word) in [
        ("alice", "genesis", "home"),
        ("alice", "grant", "bob"),
        ("bob", "remove", "moved out"),
        ("bob", "private", "22/tcp"),
    ] {
        let found = told
            .iter()
            .any(|entry| entry.by == by && entry.kind == kind && entry.text.contains(word));
        assert!(found, "no {kind} by {by} that says {word:?} in {told:#?}");
    }
    // What carol has is a part of what the others have, in the same order, whether or not she learned of the kick.
    let known = log(carol);
    let shared: Vec<_> = told
        .iter()
        .filter(|entry| known.iter().any(|own| own.id == entry.id))
        .collect();
    assert!(
        shared
            .iter()
            .map(|entry| &entry.id)
            .eq(known.iter().map(|own| &own.id)),
        "the order on carol"
    );
    for host in [alice, bob] {
        let _ = host.mesh(&["log", "verify"]).ok();
    }
}

#[test]
fn a_flipped_byte_is_found_named_and_restored_from_a_peer() {
    let mut mesh = Mesh::apart("flip", &["alice"]);
    let bob = mesh.lab.host("bob");
    let cable = mesh.lan.plug(&bob, 2);
    mesh.nodes.push(crate::world::Node::new(bob));
    crate::world::create(&mesh.nodes[0]);
    crate::world::join(&mesh.nodes[1], &crate::world::invite(&mesh.nodes[0], &[]));
    let _ = mesh.nodes[0].mesh(&["share", "22/tcp", "--to", "all"]).ok();
    mesh.agree(SOON);
    let offer = log(&mesh.nodes[0])
        .into_iter()
        .rfind(|entry| entry.text.contains("22/tcp"))
        .unwrap()
        .id;

    // Nobody is there to restore it from at first, so that the damage can be seen.
    cable.cut(Cut::Down);
    let bob = &mut mesh.nodes[1];
    bob.stop();
    let whole = flip(bob, &offer);
    bob.start();
    let verified = bob.mesh(&["--json", "log", "verify"]).exits(8);
    let damaged = verified.json()["damaged"].clone();
    assert_eq!(damaged[0]["event"]["id"], offer.as_str(), "{verified}");
    assert_eq!(damaged.as_array().map(Vec::len), Some(1), "{verified}");
    let said = bob.mesh(&["log", "verify"]).exits(8);
    assert!(
        said.stdout.contains(&offer[..8]),
        "a person reads which event it is: {said}"
    );

    cable.heal();
    eventually(LONG, "the event is restored from alice", || {
        bob.mesh(&["log", "verify"]).code == Some(0)
    });
    mesh.agree(SOON);
    let bob = &mut mesh.nodes[1];
    bob.stop();
    assert_eq!(bytes(bob, &offer), whole, "byte for byte");
}

/// Flips a bit in the middle of an event in the stopped daemon's database, and returns what it was.
fn flip(host: &Host, id: &str) -> Vec<u8> {
    let whole = bytes(host, id);
    let mut damaged = whole.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    let store = Connection::open(database(host)).unwrap();
    let changed = store
        .execute(
            "UPDATE event SET bytes = ?1 WHERE lower(hex(id)) = ?2",
            (&damaged, id),
        )
        .unwrap();
    assert_eq!(changed, 1);
    whole
}

fn bytes(host: &Host, id: &str) -> Vec<u8> {
    let store = Connection::open(database(host)).unwrap();
    store
        .query_row(
            "SELECT bytes FROM event WHERE lower(hex(id)) = ?1",
            [id],
            |row| row.get(0),
        )
        .unwrap()
}
