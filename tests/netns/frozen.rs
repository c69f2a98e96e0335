//! A peer whose machine stands still, and goes on.

use std::time::Duration;

use mesh_tests::lab::eventually;

use crate::world::{LONG, Mesh, Node};

/// The promises are 90 and 10 seconds; the rest is for a machine that is busy with other tests.
const OFFLINE: Duration = Duration::from_secs(150);
const BACK: Duration = Duration::from_secs(40);

#[test]
fn a_frozen_peer_is_shown_offline_and_back_when_it_goes_on() {
    let mesh = Mesh::new("frozen", &["alice", "bob"]);
    let [alice, bob] = &mesh.nodes[..] else {
        unreachable!()
    };
    let (at, _) = bob.addresses();
    alice.reaches(at, LONG);
    eventually(LONG, "bob is shown online", || online(alice));
    bob.process().freeze();
    let took = eventually(OFFLINE, "bob is shown offline", || !online(alice));
    println!("frozen, and offline after {took:?}");
    assert!(!alice.ping(at), "bob stands still");
    bob.process().thaw();
    let took = eventually(BACK, "bob is back", || online(alice));
    println!("going on, and back after {took:?}");
    alice.reaches(at, LONG);
}

/// Whether `mesh status` shows its only peer as reached.
fn online(node: &Node) -> bool {
    let status = node.mesh_json(&["status"]);
    let reach = &status["networks"][0]["peers"][0]["reach"];
    reach.as_str().unwrap() != "offline"
}
