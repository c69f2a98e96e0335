//! Two networks on one device at once.

use std::net::IpAddr;

use mesh_tests::lab::{Lab, Packet, eventually};

use crate::roam::way;
use crate::world::{LONG, Node, SOON, invite, join};

/// Where WireGuard's packets and probes go straight, for all networks.
const PORT: u16 = 51821;

#[test]
fn two_networks_on_one_device_have_straight_ways_by_one_port_and_nothing_passes_between_them() {
    let lab = Lab::new("two");
    let lan = lab.lan("lan", [192, 168, 7]);
    let nodes = ["alice", "bob", "carol"].map(|name| lab.host(name));
    for (host, last) in nodes.iter().zip(1..) {
        lan.plug(host, last);
    }
    let [alice, bob, carol] = nodes.map(Node::new);
    for (net, other) in [("home", &bob), ("work", &carol)] {
        let _ = alice.mesh(&["create", net, "--as", "alice"]).ok();
        join(other, &invite(&alice, &["-n", net]));
    }
    // Alice is in two: her address in each is what the other one of it sees.
    let seen = |by: &Node| -> IpAddr {
        let status = by.mesh_json(&["status"]);
        let peers = &status["networks"][0]["peers"];
        peers[0]["address"].as_str().unwrap().parse().unwrap()
    };
    let (home, work) = (
        (seen(&bob), bob.addresses()),
        (seen(&carol), carol.addresses()),
    );
    assert_ne!(home.0, work.0);
    let capture = [&alice, &bob, &carol].map(|node| node.capture());
    for (node, (to, _)) in [(&bob, home), (&carol, work)] {
        node.reaches(to, SOON);
    }
    eventually(LONG, "both networks have straight ways at once", || {
        let ways = [
            way(&alice, &["bob", "-n", "home"]),
            way(&alice, &["carol", "-n", "work"]),
            way(&bob, &["alice"]),
            way(&carol, &["alice"]),
        ];
        ways.iter()
            .all(|way| way.is_some_and(|way| way.port() == PORT))
    });
    // Pings both ways at the same time.
    let marks = ["686f6d65", "776f726b"];
    std::thread::scope(|scope| {
        for (node, to, mark) in [
            (&alice, IpAddr::from(home.1.0), marks[0]),
            (&alice, work.1.0.into(), marks[1]),
            (&bob, home.0, marks[0]),
            (&carol, work.0, marks[1]),
        ] {
            scope.spawn(move || {
                let to = to.to_string();
                let args = [
                    "-n", "-q", "-c", "10", "-i", "0.1", "-W", "5", "-p", mark, &to,
                ];
                let _ = node.run("ping", &args).ok();
            });
        }
    });
    // Neither neighbour gets further than to alice, though it tries.
    for (node, to) in [(&bob, work.0), (&carol, home.0)] {
        node.ip(&format!("route add {to} dev mesh0"));
        assert!(!node.ping(to), "{} reaches the other network", node.name());
    }

    let [at_alice, at_bob, at_carol] = &capture;
    for last in [2, 3] {
        let (from, port) = (IpAddr::from(lan.address(last)), Some(PORT));
        let straight = at_alice.packets(|packet| {
            !packet.sent && packet.interface == "eth0" && packet.from == from && packet.port == port
        });
        assert!(!straight.is_empty(), "{from} sends to {PORT}");
    }
    let alices = |net: IpAddr| {
        let told = alice.ip("-oneline -4 address show");
        let line = told.lines().find(|line| line.contains(&format!(" {net}/")));
        line.unwrap().split_whitespace().nth(1).unwrap().to_owned()
    };
    for (capture, interface, (mine, (v4, v6))) in [
        (at_alice, alices(home.0), home),
        (at_alice, alices(work.0), work),
        (at_bob, "mesh0".to_owned(), home),
        (at_carol, "mesh0".to_owned(), work),
    ] {
        // What the neighbours themselves try to send is theirs to know.
        let from_here = |packet: &Packet| packet.sent && packet.from != mine;
        let inside = capture.packets(|packet| {
            packet.interface == interface && (packet.to == mine || !from_here(packet))
        });
        let both = |a: IpAddr, b: IpAddr| {
            inside
                .iter()
                .any(|packet| packet.from == a && packet.to == b)
        };
        assert!(
            both(mine, v4.into()) && both(v4.into(), mine),
            "pings are seen in {interface}: {inside:?}"
        );
        // By IPv6 nothing was sent but by the machines themselves, to whom it may concern on the link.
        let strange = |packet: &Packet| {
            let known = |ip: IpAddr| [mine, v4.into(), v6.into()].contains(&ip);
            packet.from.is_ipv4() && !(known(packet.from) && known(packet.to))
        };
        let strange: Vec<_> = inside.into_iter().filter(strange).collect();
        assert_eq!(strange, [], "in {interface}");
    }
}
