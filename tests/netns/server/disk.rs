//! A server's disk fills up, or the server dies in a write: members go on, and what it acknowledged it has.

use std::time::Duration;

use mesh_tests::lab::{Nat, Server, eventually};

use super::{MEET, World, create, events, ledger, server_view, status, stored};
use crate::world::{LONG, Node, SOON, agree, invite, join};

#[test]
fn a_server_with_a_full_disk_serves_on_and_takes_what_it_lacks_when_there_is_room() {
    let world = World::new("full disk");
    let (host, address) = world.internet.machine(&world.lab, "server");
    let data = host.dir().join("mesh-server");
    let data = data.to_str().unwrap();
    let small = format!("mkdir -m 700 {data} && mount -t tmpfs -o size=1m,mode=700 tmpfs {data}");
    let _ = host.run("sh", &["-c", &small]).ok();
    let mut server = Server::start(host, address, &[]);
    let home = world.home("home", Nat::PortRestricted);
    let (alice, mut bob) = (world.node(&home, "alice"), world.node(&home, "bob"));
    create(&alice, &[&server]);
    join(&bob, &invite(&alice, &[]));
    stored(&server, &[&alice, &bob], MEET);

    let fill = format!("cat /dev/zero > {data}/filler; sync; df --output=avail {data} | tail -1");
    let left = server.host.run("sh", &["-c", &fill]).stdout;
    assert_eq!(left.trim(), "0", "kilobytes left");
    // More than fits into what its database has allocated already.
    for port in 1..=30 {
        let port = format!("{port}/tcp");
        let _ = alice.mesh(&["share", &port, "--to", "all"]).ok();
    }
    agree(&[&alice, &bob], SOON);
    eventually(SOON, "alice sees that the server lacks something", || {
        server_view(&alice, address)["lacking"]
            .as_u64()
            .is_some_and(|lacking| lacking > 0)
    });
    assert!(server.process().ended().is_none(), "the server runs on");
    // It still tells who asks what it has.
    bob.stop();
    bob.start();
    eventually(MEET, "bob is told how much there is", || {
        server_view(&bob, address)["events"]
            .as_u64()
            .is_some_and(|count| count >= 3)
    });

    let _ = server.host.run("rm", &[format!("{data}/filler")]).ok();
    stored(&server, &[&alice, &bob], LONG);
    let copy = format!("cp {data}/mirror.db* {}/", server.host.dir().display());
    server.stop();
    let _ = server.host.run("sh", &["-c", &copy]).ok();
    assert_eq!(events(&server.host.dir().join("mirror.db")), ledger(&alice));
}

#[test]
fn nothing_a_server_acknowledged_is_lost_when_it_is_killed_at_any_moment() {
    let world = World::new("server killed");
    let mut server = world.server("server");
    let home = world.home("home", Nat::PortRestricted);
    let alice = world.node(&home, "alice");
    create(&alice, &[&server]);
    stored(&server, &[&alice], MEET);

    for round in 0..ROUNDS {
        let before = ledger(&alice).len();
        let acknowledged = std::thread::scope(|scope| {
            let typing = scope.spawn(|| {
                for port in 0..3 {
                    let port = format!("{}/udp", 1000 + round * 10 + port);
                    let _ = alice.mesh(&["share", &port, "--to", "all"]).ok();
                }
            });
            // Not an event that is awaited: when it is killed is what is varied.
            std::thread::sleep(Duration::from_millis(u64::from(round) * 40));
            let acknowledged = acknowledged(&alice, &server);
            server.kill9();
            typing.join().unwrap();
            acknowledged
        });
        let (kept, all) = (events(&server.database()), ledger(&alice));
        assert!(all.len() > before);
        assert!(
            kept.len() >= acknowledged,
            "round {round}: it acknowledged {acknowledged} events and has {}",
            kept.len()
        );
        assert!(kept.iter().all(|(id, bytes)| all.get(id) == Some(bytes)));
        server.restart();
    }
    stored(&server, &[&alice], LONG);
    assert_eq!(events(&server.database()), ledger(&alice));
}

const ROUNDS: u16 = 6;

/// How many events a member knows that the server has stored.
fn acknowledged(member: &Node, server: &Server) -> usize {
    let status = status(member);
    let all = status["network"]["events"].as_u64().unwrap();
    let servers = status["servers"].as_array().unwrap();
    assert_eq!(servers.len(), 1, "{} alone is listed", server.host.name());
    let lacking = servers[0]["lacking"].as_u64().unwrap();
    usize::try_from(all - lacking).unwrap()
}
