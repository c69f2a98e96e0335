//! Homes meet through a server, directly where their routers allow it, and speak to nobody else.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use mesh_tests::lab::{Nat, stays};

use super::{MEET, World, create, direct, path};
use crate::world::{SOON, invite, join};

#[test]
fn homes_behind_port_restricted_routers_meet_and_go_direct_and_a_symmetric_one_stays_on_the_relay()
{
    let world = World::new("homes");
    let server = world.server("server");
    let homes = ["alices", "bobs"].map(|name| world.home(name, Nat::PortRestricted));
    let office = world
        .internet
        .home(&world.lab, "office", [10, 20, 30], Nat::Symmetric);
    // From before the first daemon.
    let captures: Vec<_> = homes
        .iter()
        .chain([&office])
        .map(|home| home.capture())
        .collect();
    let at_server = server.host.capture();
    let (alice, bob) = (world.node(&homes[0], "alice"), world.node(&homes[1], "bob"));

    create(&alice, &[&server]);
    let ticket = invite(&alice, &[]);
    join(&bob, &ticket);
    let joined = Instant::now();
    // Of two, in case one is lost while the path changes.
    let _ = bob.mesh(&["ping", "alice", "--count", "2"]).ok();
    let first = joined.elapsed();
    assert!(first <= MEET, "first ping {first:?} after join");
    let _ = alice.mesh(&["ping", "bob", "--count", "3"]).ok();
    alice.reaches(bob.addresses().0, SOON);
    let went = direct(&alice, &bob, MEET);
    println!("first ping {first:?} after join, direct {went:?} after that");

    let carol = world.node(&office, "carol");
    join(&carol, &invite(&alice, &[]));
    for (one, other) in [
        (&carol, &alice),
        (&alice, &carol),
        (&carol, &bob),
        (&bob, &carol),
    ] {
        let _ = one.mesh(&["ping", other.name(), "--count", "2"]).ok();
    }
    stays(Duration::from_secs(3), "carol is reached by relay", || {
        path(&carol, "alice") == "relay" && path(&alice, "carol") == "relay"
    });
    assert!(carol.ping(alice.addresses().1), "IPv6 inside works as well");
    direct(&alice, &bob, SOON);

    // On the way out of each home: the server, the other homes, and machines at home that a peer tries to reach by the
    // address they have there, which leads to nobody outside. No name service, no public relay, nobody else.
    let server: IpAddr = server.address().into();
    let peers = homes
        .iter()
        .chain([&office])
        .map(|home| IpAddr::from(home.public()));
    let hosts = [&alice, &bob, &carol];
    let inner = hosts.map(at_home);
    let allowed: Vec<IpAddr> = peers.chain([server]).chain(inner).collect();
    let strays = |capture: &mesh_tests::lab::Capture, interface| -> std::collections::BTreeSet<_> {
        let strays = capture.strays(interface, &allowed).into_iter();
        strays
            .map(|packet| (packet.to, packet.protocol, packet.port))
            .collect()
    };
    for capture in &captures {
        let sent = capture.packets(|packet| packet.sent && packet.interface == "eth1");
        assert!(sent.iter().any(|packet| packet.to == server));
        assert_eq!(strays(capture, "eth1"), [].into());
    }
    assert!(!at_server.packets(|packet| packet.sent).is_empty());
    assert_eq!(strays(&at_server, "eth0"), [].into());
}

/// The address a machine has at home.
fn at_home(host: &crate::world::Node) -> IpAddr {
    let shown = host.ip("-4 -brief address show eth0");
    let address = shown.split_whitespace().nth(2).unwrap();
    address.split('/').next().unwrap().parse().unwrap()
}
