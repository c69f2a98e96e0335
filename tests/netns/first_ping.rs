//! How soon a machine that joins is reached: the time is printed, and bounded as a hang is.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use mesh_tests::lab::{Host, Lab, Nat, Server};

use crate::world::{LONG, Mesh, Node, create, invite, join};

#[test]
fn who_joins_on_a_lan_pings_at_once() {
    let mesh = Mesh::apart("first ping", &["alice", "bob"]);
    create(&mesh.nodes[0]);
    let took = first_ping(&mesh.nodes[1], &mesh.nodes[0]);
    println!("on a LAN, from join to the first ping: {took:?}");
}

#[test]
fn who_joins_from_behind_a_home_router_pings_a_machine_behind_another_at_once() {
    let lab = Lab::new("first ping through routers");
    let internet = lab.internet();
    let (host, address) = internet.machine(&lab, "server");
    let server = Server::start(host, address, &[]);
    let home = |name| internet.home(&lab, name, [192, 168, 1], Nat::PortRestricted);
    let homes = [home("alices"), home("bobs")];
    let alice = Node::new(homes[0].machine(&lab, "alice"));
    let bob = Node::new(homes[1].machine(&lab, "bob"));
    let args = ["create", "home", "--as", "alice", "--server", server.text()];
    let _ = alice.mesh(&args).ok();
    let took = first_ping(&bob, &alice);
    println!("through two home routers, from join to the first ping: {took:?}");
}

/// From when the join is typed to when a ping comes back.
fn first_ping(joiner: &Host, inviter: &Host) -> Duration {
    let (to, _) = crate::world::addresses(inviter);
    let ticket = invite(inviter, &[]);
    let begun = Instant::now();
    join(joiner, &ticket);
    ping_until_answered(joiner, to);
    begun.elapsed()
}

/// Pings every 50 ms until a ping is answered.
fn ping_until_answered(from: &Host, to: Ipv4Addr) {
    let limit = LONG.as_secs().to_string();
    let to = to.to_string();
    let args = ["-n", "-q", "-c", "1", "-i", "0.05", "-w", &limit, &to];
    let _ = from.run("ping", &args).ok();
}
