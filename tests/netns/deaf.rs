//! A daemon that loses its sockets: when interfaces change they are closed and opened again, and the second can fail.

use mesh_tests::lab::eventually;

use crate::world::{LONG, Mesh, SOON};

/// The port of control links.
const PORT: u16 = 51820;

#[test]
fn a_daemon_that_could_not_open_its_sockets_again_does_so_when_it_can() {
    let mut mesh = Mesh::new("deaf", &["alice", "bob"]);
    let [alice, bob] = &mut mesh.nodes[..] else {
        unreachable!()
    };
    bob.reaches(alice.addresses().0, SOON);
    let held = alice.process().hold_udp(PORT);
    let _ = alice.ip("address add 192.0.2.1/24 dev eth0");
    eventually(SOON, "alice has closed her sockets", || held.are_closed());
    drop(held);

    // Nothing else changes. Who asks her anew is heard.
    bob.kill9();
    bob.start();
    let took = bob.reaches(alice.addresses().0, LONG);
    println!("heard again after {took:?}");
}
