//! Nobody speaks for another, and no packet goes to anybody but peers.

use std::net::IpAddr;

use mesh_tests::lab::Lab;

use crate::world::{Node, SOON, create, invite, join};

#[test]
fn a_spoofed_inner_source_is_not_delivered() {
    let mesh = crate::world::Mesh::new("spoof", &["alice", "bob", "carol"]);
    let [alice, bob, carol] = &mesh.nodes[..] else {
        unreachable!()
    };
    let (to_alice, to_carol) = (alice.addresses(), carol.addresses());
    bob.reaches(to_alice.0, SOON);
    bob.reaches(to_alice.1, SOON);
    let capture = alice.capture();

    // A live member's address, one of the subnet that nobody has, and one from elsewhere.
    let [a, b, c, _] = to_alice.0.octets();
    let forged: [IpAddr; 4] = [
        to_carol.0.into(),
        [a, b, c, 200].into(),
        [198, 51, 100, 9].into(),
        to_carol.1.into(),
    ];
    for source in forged {
        let (prefix, flag) = if source.is_ipv4() {
            (32, "")
        } else {
            (128, " nodad")
        };
        bob.ip(&format!("address add {source}/{prefix} dev mesh0{flag}"));
        let target: IpAddr = if source.is_ipv4() {
            to_alice.0.into()
        } else {
            to_alice.1.into()
        };
        let lie = bob.run(
            "ping",
            &[
                "-n",
                "-c",
                "3",
                "-i",
                "0.2",
                "-W",
                "1",
                "-I",
                &source.to_string(),
                &target.to_string(),
            ],
        );
        assert_ne!(
            lie.code,
            Some(0),
            "a packet from {source} was answered: {lie}"
        );
        bob.ip(&format!("address del {source}/{prefix} dev mesh0"));
    }
    // An honest packet after the forged ones: what was sent before it would have arrived before it.
    bob.reaches(to_alice.0, SOON);
    let arrived = |from: IpAddr| {
        capture.packets(|packet| !packet.sent && packet.from == from && packet.interface == "mesh0")
    };
    assert!(
        !arrived(bob.addresses().0.into()).is_empty(),
        "the capture sees what does arrive"
    );
    for source in forged {
        assert_eq!(arrived(source), [], "delivered from {source}");
    }
}

#[test]
fn no_packet_goes_beyond_the_link_to_anybody_but_peers() {
    let lab = Lab::new("strays");
    let lan = lab.lan("lan", [192, 168, 7]);
    lan.swallow_what_leaves();
    let hosts = ["alice", "bob"].map(|name| lab.host(name));
    for (host, last) in hosts.iter().zip(1..) {
        lan.plug(host, last);
    }
    // From before the daemons start.
    let captures = hosts.each_ref().map(|host| host.capture());
    let nodes = hosts.map(Node::new);
    let [alice, bob] = &nodes;
    create(alice);
    join(bob, &invite(alice, &[]));
    bob.reaches(alice.addresses().0, SOON);
    let _ = bob.mesh(&["ping", "alice", "--count", "3"]).ok();
    let _ = alice.mesh(&["down"]).ok();
    let _ = alice.mesh(&["up"]).ok();
    bob.reaches(alice.addresses().0, SOON);

    let peers = [IpAddr::from(lan.address(1)), IpAddr::from(lan.address(2))];
    for capture in &captures {
        assert!(
            !capture
                .packets(|packet| packet.sent && packet.interface == "eth0")
                .is_empty()
        );
        assert_eq!(capture.strays("eth0", &peers), []);
    }
}
