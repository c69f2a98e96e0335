//! The network as it was, what changed, what comes, and why somebody reaches a port.

use std::collections::BTreeSet;

use mesh_tests::lab::{Binaries, Cut, Daemon, Host, eventually};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::rotation::{end_term_since_invite, user};
use crate::world::{LONG, Mesh, Node, SOON, agree, invite, join, log, members};

#[test]
fn the_past_shows_a_kicked_member_and_the_diff_tells_the_kick_with_a_daemon_and_without() {
    let mut mesh = Mesh::new("past", &["alice", "bob", "carol"]);
    let [alice, bob, carol] = &mesh.nodes[..] else {
        unreachable!()
    };
    let _ = carol.mesh(&["share", "22/tcp", "--to", "all"]).ok();
    mesh.agree(SOON);
    let before = log(alice).last().unwrap().id.clone();
    let _ = alice.mesh(&["kick", "carol", "--reason", "moved out"]).ok();
    agree(&[alice, bob], SOON);
    assert!(!members(alice).contains("carol"));
    let kick = log(alice)
        .into_iter()
        .rfind(|entry| entry.kind == "remove")
        .unwrap()
        .id;

    let ask = |host: &Host| {
        let then = host.mesh_json(&["member", "ls", "--at", &before]);
        assert_eq!(names(&then["members"]), set(&["alice", "bob", "carol"]));
        assert_eq!(then["as_of"]["event"]["id"], before.as_str());
        assert!(!then.to_string().contains("online"), "presence is no past");
        assert!(then["offers"].to_string().contains("22/tcp"), "{then}");
        let after = host.mesh_json(&["member", "ls", "--at", &kick]);
        assert_eq!(names(&after["members"]), set(&["alice", "bob"]));
        let said = host.mesh(&["status", "--at", &before]).ok();
        assert!(said.stdout.contains("AS OF"), "{said}");
        assert!(said.stdout.contains("carol"), "{said}");
        let shown = host.mesh_json(&["log", "--at", &before]);
        let shown = shown["entries"].as_array().unwrap().clone();
        assert!(
            shown
                .iter()
                .all(|entry| entry["event"]["id"] != kick.as_str())
        );

        let changed = host.mesh_json(&["log", "diff", &before, &kick]);
        let gone: Vec<&Value> = changed["changes"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|change| change["kind"] == "member")
            .collect();
        assert_eq!(gone.len(), 1, "{changed}");
        assert_eq!(gone[0]["sign"], "removed");
        assert_eq!(gone[0]["name"], "carol");
        assert_eq!(gone[0]["event"]["id"], kick.as_str());
        let offers = changed["changes"].as_array().unwrap().iter();
        let offers = offers.filter(|change| change["kind"] == "offer");
        assert_eq!(offers.count(), 1, "her offer went with her: {changed}");

        let event = host.mesh_json(&["log", "show", &kick[..8]]);
        assert_eq!(event["signature"], true);
        assert_eq!(event["office"]["rank"], "owner");
        assert_eq!(event["entry"]["topics"][0], "kick");
        // By their clocks: long before there was anything, and now.
        let _ = host.mesh(&["member", "ls", "--at", "2020-01-01"]).exits(5);
        let ago = ["member", "ls", "--at", "1s"];
        eventually(SOON, "the network is a second old", || {
            host.mesh(&ago).code == Some(0)
        });
        let now = host.mesh_json(&ago);
        assert!(now["as_of"]["event"].is_null(), "{now}");
        host.mesh_json(&["log"])["entries"].clone()
    };
    let with_daemon = ask(alice);
    eventually(SOON, "alice knows that bob has the kick", || {
        let shown = alice.mesh_json(&["log", "show", &kick]);
        shown["have"].to_string().contains("bob")
    });
    mesh.nodes[0].stop();
    let without = ask(&mesh.nodes[0]);
    assert_eq!(with_daemon, without, "the same words from the stored copy");
}

#[test]
fn who_follows_the_log_reads_what_comes_what_turns_void_and_of_a_restart() {
    let mesh = Mesh::apart("follow", &["alice", "bob"]);
    let carol = mesh.lab.host("carol");
    let cable = mesh.lan.plug(&carol, 9);
    let mut carol = Node::new(carol);
    let [alice, bob] = &mesh.nodes[..] else {
        unreachable!()
    };
    crate::world::create(alice);
    for node in [bob, &carol] {
        join(node, &invite(alice, &[]));
    }
    let _ = alice.mesh(&["admin", "grant", "carol"]).ok();
    agree(&[alice, bob, &carol], SOON);

    let mut following = start(&carol, "follow", &["log", "--follow"]);
    eventually(SOON, "what is there is shown", || {
        following.log().contains("makes carol an admin")
    });
    cable.cut(Cut::Silent);
    let _ = alice
        .mesh(&["kick", "carol", "--reason", "laptop stolen"])
        .ok();
    let _ = carol.mesh(&["admin", "grant", "bob"]).ok();
    eventually(SOON, "what comes is shown", || {
        following.log().contains("makes bob an admin")
    });
    assert!(!following.log().contains("turned void"));
    cable.heal();
    eventually(LONG, "what turned void is shown, with the reason", || {
        following.log().lines().any(|line| {
            line.contains("turned void")
                && line.contains("makes bob an admin")
                && line.contains('✗')
        })
    });

    carol.stop();
    eventually(SOON, "the end of the daemon is told", || {
        following.log().contains("meshd has stopped")
    });
    carol.start();
    eventually(LONG, "and its return", || {
        following.log().contains("meshd is back")
    });
    interrupt(&mut following);
    let told = following.log();
    assert_eq!(
        told.matches("makes bob an admin").count(),
        2,
        "once when it came, once when it turned: {told}"
    );
}

#[test]
fn why_explains_what_is_allowed_refused_offline_and_who_was_kicked() {
    let mut mesh = Mesh::new("why", &["alice", "bob", "carol"]);
    let [alice, bob, carol] = &mesh.nodes[..] else {
        unreachable!()
    };
    let offer = bob
        .mesh_json(&["share", "22/tcp", "--to", "alice", "--name", "ssh"])["offer"]["event"]
        ["short"]
        .as_str()
        .unwrap()
        .to_owned();
    mesh.agree(SOON);
    let said = alice.mesh(&["why", "bob:22"]).ok();
    for word in [
        "allowed",
        "alice",
        &offer,
        "out ✓ here",
        "in ✓ says bob",
        "direct",
    ] {
        assert!(said.stdout.contains(word), "no {word:?} in {said}");
    }
    let refused = carol.mesh(&["why", "bob:22"]).exits(1);
    assert!(
        refused
            .stdout
            .contains("refused: no offer you can read covers it"),
        "{refused}"
    );
    assert!(
        refused.stdout.contains("in ✗ not-offered says bob"),
        "{refused}"
    );
    let remedy = &carol.mesh(&["--json", "why", "bob:22"]).exits(1).json()["remedy"];
    assert_eq!(remedy["ask"], "bob");
    assert_eq!(remedy["command"], "mesh share 22/tcp --to carol");
    let nothing = alice.mesh(&["why", "bob:23"]).exits(1);
    assert!(
        nothing.stdout.contains("no offer you can read covers it"),
        "{nothing}"
    );
    let _ = alice.mesh(&["why", "bob:22/udp"]).exits(1);
    let others = alice.mesh(&["why", "bob:22", "--from", "carol"]).exits(1);
    assert!(others.stdout.contains("by the ledger"), "{others}");
    // To this device, by the rules that are in force here.
    let mine = bob.mesh(&["why", "bob:22", "--from", "alice"]).ok();
    assert!(mine.stdout.contains("in ✓ here"), "{mine}");
    let pinged = alice.mesh(&["why", "bob"]).ok();
    assert!(
        pinged.stdout.contains("22/tcp ssh"),
        "what it offers: {pinged}"
    );
    let nobody = alice.mesh(&["why", "bbo:22"]).exits(5);
    assert!(
        nobody.stderr.contains("why bob:22"),
        "what was meant: {nobody}"
    );

    let _ = alice.mesh(&["kick", "carol"]).ok();
    let kick = log(alice)
        .into_iter()
        .rfind(|entry| entry.kind == "remove")
        .unwrap()
        .id;
    let kicked = alice.mesh(&["why", "carol:22"]).exits(1);
    assert!(
        kicked
            .stdout
            .contains(&format!("carol was removed in {}", &kick[..8])),
        "{kicked}"
    );

    mesh.nodes[1].stop();
    let alice = &mesh.nodes[0];
    eventually(LONG, "bob cannot be asked", || {
        alice.mesh_json(&["why", "bob:22"])["in"]["said"] == "offline"
    });
    let offline = alice.mesh(&["why", "bob:22"]).ok();
    assert!(
        offline
            .stdout
            .contains("in ✓ by the ledger; bob is not linked to this device"),
        "{offline}"
    );
}

#[test]
fn a_watch_runs_a_command_for_each_that_joins_and_nothing_else() {
    let mesh = Mesh::apart("watch", &["alice", "bob"]);
    let [alice, bob] = &mesh.nodes[..] else {
        unreachable!()
    };
    crate::world::create(alice);
    let file = alice.dir().join("joined");
    let script = r#"echo "$MESH_KIND $MESH_NAME $MESH_NETWORK by $MESH_BY ${#MESH_EVENT}" >> "$1""#;
    let path = file.to_str().unwrap();
    let args = [
        "watch", "--type", "admit", "--exec", "sh", "-c", script, "sh", path,
    ];
    let mut watching = start(alice, "watch", &args);
    eventually(SOON, "it watches", || watching.log().contains("watching"));
    let ticket = invite(alice, &[]);
    join(bob, &ticket);
    let read = || std::fs::read_to_string(&file).unwrap_or_default();
    eventually(SOON, "the command ran", || !read().is_empty());
    interrupt(&mut watching);
    assert_eq!(
        read(),
        "admit bob home by alice 64\n",
        "once, and not for the invite: {}",
        watching.log()
    );
    assert!(watching.log().contains("sh: done"), "{}", watching.log());
}

#[test]
fn a_watch_tells_what_turned_while_the_daemon_was_away() {
    let mesh = Mesh::new("watch restart", &["alice", "mallory"]);
    let [mut alice, mallory]: [Node; 2] = mesh.nodes.try_into().ok().unwrap();
    let _ = alice.mesh(&["admin", "grant", "mallory"]).ok();
    eventually(SOON, "mallory is an admin", || {
        mallory.mesh_json(&["networks"])["networks"][0]["rank"] == "admin"
    });
    let _ = invite(&mallory, &[]);
    agree(&[&alice, &mallory], SOON);
    let mut watching = start(&alice, "watch", &["watch"]);
    eventually(SOON, "it watches", || watching.log().contains("watching"));
    let mallory = user(&mallory);
    alice.kill9();
    end_term_since_invite(&alice, mallory);
    alice.start();
    let told = |watching: &Daemon, start: &str| {
        let log = watching.log();
        log.lines().filter(|line| line.starts_with(start)).count()
    };
    eventually(LONG, "the invite that turned void is told", || {
        told(&watching, "home  void") == 1
    });
    assert_eq!(
        told(&watching, "home  revoke"),
        1,
        "and why: {}",
        watching.log()
    );
    interrupt(&mut watching);
    assert_eq!(told(&watching, "home  void"), 1, "{}", watching.log());
}

#[test]
fn why_names_a_sponsor_who_was_removed_since_and_goes_on_to_the_founder() {
    let mut mesh = Mesh::new("why lineage", &["alice", "bob"]);
    let ticket = invite(&mesh.nodes[0], &[]);
    mesh.agree(SOON);
    // Nobody but bob is there to let dave in.
    mesh.nodes[0].stop();
    let dave = mesh.lab.host("dave");
    mesh.lan.plug(&dave, 9);
    let dave = Node::new(dave);
    join(&dave, &ticket);
    mesh.nodes[0].start();
    let alice = &mesh.nodes[0];
    agree(&[alice, &mesh.nodes[1], &dave], LONG);
    let before = alice.mesh(&["why", "dave:22"]).exits(1);
    let line = |said: &str| {
        let line = said.lines().find(|line| line.starts_with("member"));
        line.unwrap().to_owned()
    };
    let _ = alice.mesh(&["kick", "bob"]).ok();
    let after = alice.mesh(&["why", "dave:22"]).exits(1);
    let kick = log(alice).into_iter().rfind(|entry| entry.kind == "remove");
    let kick = kick.unwrap().id;
    let bob = line(&before.stdout);
    let bob = bob.split(", ").nth(1).unwrap();
    assert!(bob.starts_with("bob "), "{before}");
    let due = line(&before.stdout).replace(bob, &format!("{bob} (removed {})", &kick[..8]));
    assert_eq!(line(&after.stdout), due);
}

/// Starts a `mesh` that runs until it is interrupted.
fn start(host: &Host, name: &str, args: &[&str]) -> Daemon {
    let root = host.dir();
    let root = root.to_str().unwrap();
    let args: Vec<&str> = ["--root", root]
        .into_iter()
        .chain(args.iter().copied())
        .collect();
    host.start(name, Binaries::find().path("mesh"), &args)
}

/// Ctrl-C, which ends it well.
#[track_caller]
fn interrupt(process: &mut Daemon) {
    let pid = Pid::from_raw(i32::try_from(process.pid()).unwrap());
    kill(pid, Signal::SIGINT).unwrap();
    let mut status = None;
    eventually(SOON, "an interrupted command ends", || {
        status = process.ended();
        status.is_some()
    });
    assert!(status.unwrap().success(), "{status:?}: {}", process.log());
}

fn names(members: &Value) -> BTreeSet<String> {
    let members = members.as_array().unwrap().iter();
    members
        .map(|member| member["name"].as_str().unwrap().to_owned())
        .collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}
