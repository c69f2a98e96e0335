//! `mesh down` leaves nothing behind.

use mesh_tests::lab::{Host, Lab, eventually};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::world::{LONG, Mesh, SOON};

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

#[test]
fn a_daemon_in_the_background_comes_back_when_it_crashes_and_goes_when_it_is_told() {
    let lab = Lab::new("background");
    let alice = lab.host("alice");
    let before = alice.machine_state();
    let _ = alice.mesh(&["create", "home", "--as", "alice"]).ok();
    let (supervisor, daemon) = background(&alice).expect("both run");

    kill(daemon, Signal::SIGKILL).unwrap();
    eventually(LONG, "the supervisor starts it again", || {
        background(&alice).is_some_and(|(same, other)| same == supervisor && other != daemon)
    });
    eventually(SOON, "it answers, and its network is up", || {
        alice.mesh(&["status", "--check"]).code == Some(0)
    });

    kill(supervisor, Signal::SIGTERM).unwrap();
    eventually(LONG, "both are gone", || alice.meshd_pids().is_empty());
    assert_eq!(alice.machine_state(), before, "and left nothing behind");
}

/// The supervisor and the daemon of a host, if both run.
fn background(host: &Host) -> Option<(Pid, Pid)> {
    let pids = host.meshd_pids();
    let named = |word: &str| {
        let has = |pid: &&u32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.split(|byte| *byte == 0)
                .any(|argument| argument == word.as_bytes())
        };
        let pid = pids.iter().find(has)?;
        i32::try_from(*pid).ok().map(Pid::from_raw)
    };
    named("supervise").zip(named("run"))
}
