//! `mesh down` leaves nothing behind.

use crate::world::{Mesh, SOON};

#[test]
fn down_leaves_no_interface_address_route_or_rule_behind_even_after_a_crash() {
    let mut mesh = Mesh::apart("clean", &["alice", "bob"]);
    let before: Vec<_> = mesh.nodes.iter().map(|node| node.machine_state()).collect();
    crate::world::create(&mesh.nodes[0]);
    crate::world::join(&mesh.nodes[1], &crate::world::invite(&mesh.nodes[0], &[]));
    let (to_alice, to_bob) = (mesh.nodes[0].addresses().0, mesh.nodes[1].addresses().0);
    mesh.nodes[0].reaches(to_bob, SOON);
    assert_ne!(
        mesh.nodes[0].machine_state(),
        before[0],
        "while it is up there is something to see"
    );

    let _ = mesh.nodes[0].mesh(&["down"]).ok();
    assert_eq!(mesh.nodes[0].machine_state(), before[0], "after down");
    assert!(!mesh.nodes[1].ping(to_alice));

    let _ = mesh.nodes[0].mesh(&["up"]).ok();
    mesh.nodes[1].reaches(to_alice, SOON);
    mesh.nodes[0].kill9();
    mesh.nodes[0].start();
    mesh.nodes[1].reaches(to_alice, SOON);
    let _ = mesh.nodes[0].mesh(&["down"]).ok();
    assert_eq!(
        mesh.nodes[0].machine_state(),
        before[0],
        "after kill -9, a start, and down"
    );

    // Off stays off over a restart, and stopping leaves as little.
    mesh.nodes[0].stop();
    mesh.nodes[0].start();
    assert_eq!(
        mesh.nodes[0].machine_state(),
        before[0],
        "down is remembered"
    );
    mesh.nodes[1].stop();
    assert_eq!(
        mesh.nodes[1].machine_state(),
        before[1],
        "after the daemon was stopped"
    );
}
