//! A member whose peers do not learn where it is.

use std::net::IpAddr;

use mesh_tests::lab::{Lab, Nat, Server, eventually};

use crate::world::{LONG, Node, invite, join};

#[test]
fn a_member_that_is_reached_through_relays_alone_shows_its_address_to_no_member() {
    let lab = Lab::new("hidden");
    let internet = lab.internet();
    let (host, at) = internet.machine(&lab, "server");
    let server = Server::start(host, at, &[]);
    let home = internet.home(&lab, "bobs", [192, 168, 1], Nat::PortRestricted);
    let (bob, (alice, public)) = (home.machine(&lab, "bob"), internet.machine(&lab, "alice"));
    alice.configure("addresses = \"relay-only\"\n");
    let seen_by_bob = bob.capture();
    let (alice, bob) = (Node::new(alice), Node::new(bob));
    let args = ["create", "home", "--as", "alice", "--server", server.text()];
    let _ = alice.mesh(&args).ok();
    let ticket = invite(&alice, &[]);
    join(&bob, &ticket);
    bob.reaches(alice.addresses().0, LONG);
    alice.reaches(bob.addresses().0, LONG);
    eventually(LONG, "bob sees how alice is reached", || {
        bob.mesh_json(&["status"]).to_string().contains("relay ")
    });
    let told = bob.mesh_json(&["path", "alice"]).to_string();
    assert!(!told.contains(&public.to_string()), "{told}");
    let inspected = bob.mesh(&["invite", "inspect", &ticket]).ok().stdout;
    assert!(!inspected.contains(&public.to_string()), "{inspected}");
    let alices: IpAddr = public.into();
    let met = seen_by_bob.packets(|packet| packet.to == alices || packet.from == alices);
    assert_eq!(met.len(), 0, "{met:?}");
    // And nothing that bob has says where alice is, in memory or on disk.
    assert!(!bob.process().remembers(public.to_string().as_bytes()));
    let refused = alice.mesh(&["netcheck"]);
    assert!(refused.stderr.contains("relays alone"), "{refused}");
}
