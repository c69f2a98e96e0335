//! Servers die, members go on.

use std::time::{Duration, Instant};

use mesh_tests::lab::{Home, Nat, Server, eventually, stays};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{MEET, Pinging, World, create, direct, path, peer, server_view, stored};
use crate::world::{LONG, SOON, agree, invite, join, members};

#[test]
fn with_the_server_dead_direct_peers_lose_no_packet_and_a_kick_holds_within_seconds() {
    let world = World::new("server off");
    let mut server = world.server("server");
    let homes = ["alices", "bobs"].map(|name| world.home(name, Nat::PortRestricted));
    let (alice, bob, carol) = (
        world.node(&homes[0], "alice"),
        world.node(&homes[1], "bob"),
        world.node(&homes[1], "carol"),
    );
    create(&alice, &[&server]);
    for node in [&bob, &carol] {
        join(node, &invite(&alice, &[]));
        let _ = node.mesh(&["ping", "alice", "--count", "3"]).ok();
        direct(&alice, node, MEET);
    }
    agree(&[&alice, &bob, &carol], SOON);
    let (to_alice, to_bob, to_carol) =
        (alice.addresses().0, bob.addresses().0, carol.addresses().0);

    let pinging = Pinging::start(&alice, to_bob);
    server.kill9();
    eventually(LONG, "alice notices that the server is gone", || {
        server_view(&alice, server.address())["state"] != "connected"
    });
    let noticed = pinging.answers();
    eventually(LONG, "two more seconds of answers", || {
        pinging.answers() >= noticed + 20
    });
    let (sent, answered) = pinging.stop();
    // The last one may be under way.
    assert!(
        sent - answered <= 1,
        "{} of {sent} were lost",
        sent - answered
    );
    direct(&alice, &bob, SOON);

    carol.reaches(to_alice, SOON);
    carol.reaches(to_bob, SOON);
    let kicked = Instant::now();
    let _ = alice
        .mesh(&["kick", "carol", "--reason", "key stolen"])
        .ok();
    eventually(SOON, "all know", || {
        !members(&alice).contains("carol") && !members(&bob).contains("carol")
    });
    eventually(SOON, "nobody reaches carol, nor she anybody", || {
        !alice.ping(to_carol) && !bob.ping(to_carol) && !carol.ping(to_alice) && !carol.ping(to_bob)
    });
    let took = kicked.elapsed();
    assert!(
        took < Duration::from_secs(9),
        "four pings' limits of a second included: {took:?}"
    );
    bob.reaches(to_alice, SOON);
}

#[test]
fn members_on_a_relay_move_to_the_next_server_within_ten_seconds() {
    let world = World::new("next server");
    let mut servers = ["first", "second"].map(|name| world.server(name));
    let home = world.home("home", Nat::PortRestricted);
    let office = world.home("office", Nat::Symmetric);
    let (alice, bob) = (world.node(&home, "alice"), world.node(&office, "bob"));
    create(&alice, &[&servers[0], &servers[1]]);
    join(&bob, &invite(&alice, &[]));
    let to_alice = alice.addresses().0;
    bob.reaches(to_alice, MEET);
    assert_eq!(path(&bob, "alice"), "relay");

    for _ in 0..2 {
        for server in &servers {
            stored(server, &[&alice, &bob], LONG);
        }
        // The one that carries the packets.
        let used = peer(&bob, "alice")["path"].to_string();
        let carries = |server: &Server| used.contains(&server.address().to_string());
        let which = servers.iter().position(carries);
        let which = which.unwrap_or_else(|| panic!("the path names no server: {used}"));
        servers[which].kill9();
        let took = bob.reaches(to_alice, MEET);
        println!("another server took over in {took:?}");
        alice.reaches(bob.addresses().0, SOON);
        servers[which].restart();
    }
    // What happens now reaches both servers.
    let _ = alice.mesh(&["share", "80/tcp", "--to", "all"]).ok();
    agree(&[&alice, &bob], SOON);
    for server in &servers {
        stored(server, &[&alice, &bob], LONG);
    }
}

#[test]
fn a_server_turns_a_kicked_device_away_from_mirror_and_relay_at_once() {
    let world = World::new("turned away");
    let server = world.server("server");
    let home = world.home("home", Nat::PortRestricted);
    let office = world.home("office", Nat::Symmetric);
    let (alice, carol) = (world.node(&home, "alice"), world.node(&office, "carol"));
    create(&alice, &[&server]);
    join(&carol, &invite(&alice, &[]));
    let to_alice = alice.addresses().0;
    carol.reaches(to_alice, MEET);
    stored(&server, &[&alice, &carol], MEET);
    // One connection each: none is half made when she is frozen.
    eventually(MEET, "both are connected to the relay", || {
        relayed(&server, &office) == 1 && relayed(&server, &home) == 1
    });

    // Frozen, she closes nothing herself: what ends now the server has ended.
    let daemon = Pid::from_raw(i32::try_from(carol.process().pid()).unwrap());
    kill(daemon, Signal::SIGSTOP).unwrap();
    let _ = alice
        .mesh(&["kick", "carol", "--reason", "laptop stolen"])
        .ok();
    let took = eventually(SOON, "the relay closes what was open", || {
        relayed(&server, &office) == 0
    });
    println!("closed {took:?} after the kick");
    assert!(relayed(&server, &home) > 0, "alice's is still open");

    // She comes back, and is told with proof, by nobody but the server.
    kill(daemon, Signal::SIGCONT).unwrap();
    eventually(LONG, "carol learns that she was removed", || {
        carol.mesh_json(&["networks"])["networks"][0]["member"] == false
    });
    let told = carol.mesh(&["status"]);
    assert!(
        told.stdout.contains("removed") || told.stderr.contains("removed"),
        "{told}"
    );
    // She goes on asking, for she may be taken back. Nobody but alice is let in.
    stays(
        Duration::from_secs(3),
        "the relay stays closed to her",
        || server.status()["relay_clients"] == 1,
    );
    assert!(!carol.ping(to_alice));
}

/// How many connections to a server's relay are open that come from a home.
fn relayed(server: &Server, home: &Home) -> usize {
    let args = ["-Htn", "state", "established", "sport", "=", ":7443"];
    let open = server.host.run("ss", &args).ok().stdout;
    // IPv4 as a socket of both families shows it.
    open.matches(&format!("{}]:", home.public())).count()
}
