//! A router that lets in who asks for it (UPnP, PCP, NAT-PMP).

use mesh_tests::lab::{Host, Lab, Nat, eventually};

use crate::world::{LONG, Node, create, invite, join};

/// A way that packets take to a peer, and how its address is known.
fn kind_in_use(host: &Host, peer: &str) -> Option<String> {
    let told = host.mesh_json(&["path", peer]);
    let ways = told["ways"].as_array()?;
    let way = ways.iter().find(|way| way["state"] == "in_use")?;
    Some(way["kind"].as_str()?.to_owned())
}

#[test]
fn two_homes_make_a_network_with_no_server_when_one_router_lets_peers_in() {
    let lab = Lab::new("mapped");
    // The router's daemon will not serve an address that is reserved for examples.
    let internet = lab.internet_at([44, 128, 1]);
    let homes =
        ["alices", "bobs"].map(|name| internet.home(&lab, name, [192, 168, 1], Nat::Symmetric));
    let _router = homes[0].map_ports();
    let [alice, bob] = [(&homes[0], "alice"), (&homes[1], "bob")]
        .map(|(home, name)| Node::new(home.machine(&lab, name)));
    create(&alice);
    let outside = homes[0].public().to_string();
    let took = eventually(LONG, "the router lets peers in", || {
        let told = alice.mesh_json(&["netcheck"]);
        let mapped = told["mapped"].as_str().unwrap_or_default();
        mapped.starts_with(&format!("{outside}:"))
    });
    println!("mapped {took:?} after the first look");
    // The ticket names the address outside: bob has no other way to alice.
    join(&bob, &invite(&alice, &[]));
    bob.reaches(alice.addresses().0, LONG);
    let took = eventually(LONG, "both have a straight way", || {
        alice.ping(bob.addresses().0)
            && kind_in_use(&bob, "alice").is_some_and(|kind| kind == "mapped")
            && kind_in_use(&alice, "bob").is_some_and(|kind| kind != "link")
    });
    println!("straight {took:?} after the first packet");
}

#[test]
fn a_router_is_not_asked_when_the_machine_is_told_so() {
    let lab = Lab::new("unmapped");
    let internet = lab.internet_at([44, 128, 1]);
    let home = internet.home(&lab, "alices", [192, 168, 1], Nat::PortRestricted);
    let router = home.map_ports();
    let asked = home.router.capture();
    let host = home.machine(&lab, "alice");
    host.configure("port-mapping = false\n");
    let alice = Node::new(host);
    create(&alice);
    let told = alice.mesh_json(&["netcheck"]);
    assert!(told["mapped"].is_null(), "{told}");
    // A look of the daemon at its network has passed by then.
    alice.ip("address add 192.168.1.77/24 dev eth0");
    eventually(LONG, "the new address is known", || {
        alice
            .mesh_json(&["netcheck"])
            .to_string()
            .contains("192.168.1.77")
    });
    let to_router =
        asked.packets(|packet| !packet.sent && matches!(packet.port, Some(5351 | 1900)));
    assert_eq!(to_router.len(), 0, "{to_router:?}");
    drop(router);
}
