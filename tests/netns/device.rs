//! A user's further devices: linked by a code, working alone, removing a stolen first one.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::time::Duration;

use mesh_ledger::code::Code;
use mesh_tests::lab::{Binaries, Cut, Output, eventually, stays};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::world::{LONG, Mesh, Node, SOON, agree, create, invite, join, log, members};

/// How long a code that serves may take.
const LINK: Duration = Duration::from_secs(20);

#[test]
fn two_machines_on_a_lan_become_one_users_by_a_code_and_both_are_reached_by_name() {
    let mesh = Mesh::apart("device link", &["alice", "laptop", "bob"]);
    let [alice, laptop, bob] = &mesh.nodes[..] else {
        unreachable!()
    };
    create(alice);
    join(bob, &invite(alice, &[]));
    // As people do it: the first machine shows a code and waits, the second types it.
    let args: [OsString; 4] = [
        "--root".into(),
        alice.dir().into(),
        "device".into(),
        "link".into(),
    ];
    let mut shows = alice
        .host
        .start("device-link", Binaries::find().path("mesh"), &args);
    let mut code = String::new();
    eventually(SOON, "the code is shown", || {
        let shown = shows.log();
        let line = shown.lines().find(|line| line.parse::<Code>().is_ok());
        code = line.unwrap_or_default().to_owned();
        !code.is_empty()
    });
    let linked = laptop
        .mesh(&["device", "link", &code, "--as", "laptop"])
        .ok();
    assert!(linked.stdout.contains("laptop.home"), "{linked}");
    eventually(SOON, "the first machine says so", || {
        shows.ended().is_some()
    });
    assert!(
        shows.log().contains("linked laptop.home"),
        "{}",
        shows.log()
    );

    mesh_of_devices(&[alice, laptop, bob], 3);
    let to_bob = bob.addresses().0;
    laptop.reaches(to_bob, SOON);
    alice.reaches(to_bob, SOON);
    bob.reaches(laptop.addresses().0, SOON);
    bob.reaches(laptop.addresses().1, SOON);
    for name in ["laptop", "alice"] {
        let _ = bob.mesh(&["ping", name, "--count", "3"]).ok();
    }
    // One user with two devices, of which the first is what the bare name means.
    let both: BTreeSet<String> = ["alice", "bob"].map(str::to_owned).into();
    assert_eq!(members(bob), both);
    let shown = laptop.mesh(&["device", "ls"]).ok();
    assert!(
        shown.stdout.contains("this machine") && shown.stdout.contains("what alice means"),
        "{shown}"
    );
    // What is open to the user is open to each of its devices, and the rank is the user's.
    let _ = bob.mesh(&["share", "8080/tcp", "--to", "alice"]).ok();
    eventually(SOON, "the laptop sees the offer", || {
        laptop.mesh(&["offers"]).stdout.contains("8080/tcp")
    });
    let _ = invite(laptop, &[]);
    // Leaving with one device leaves the user in.
    let _ = laptop.mesh(&["leave", "home"]).ok();
    eventually(SOON, "the laptop is gone and alice is not", || {
        devices(bob) == 2 && members(bob) == both
    });
}

#[test]
fn a_wrong_word_burns_a_code_and_says_what_to_do_and_an_interrupted_exchange_burns_nothing() {
    let mut mesh = Mesh::apart("device codes", &["alice", "mallory"]);
    let laptop = mesh.lab.host("laptop");
    let cable = mesh.lan.plug(&laptop, 9);
    let laptop = Node::new(laptop);
    create(&mesh.nodes[0]);
    let [alice, mallory] = &mesh.nodes[..] else {
        unreachable!()
    };
    let code = show(alice, &[]);
    let (number, _) = code.split_once('-').unwrap();
    let guess = format!("{number}-acorn-acorn-acorn");
    let refused = mallory.mesh(&["device", "link", &guess]).exits(6);
    assert!(
        refused.stderr.contains("burns it") && refused.stderr.contains("→"),
        "{refused}"
    );
    let burnt = laptop.mesh(&["device", "link", &code]).exits(6);
    assert!(
        burnt.stderr.contains("burnt") && burnt.stderr.contains("mesh device link"),
        "{burnt}"
    );
    assert!(devices(alice) == 1);

    // Cut off in silence while it is looked for, and healed: the same code serves.
    let code = show(alice, &[]);
    cable.cut(Cut::Silent);
    let unreached = laptop
        .mesh(&["device", "link", &code, "--wait", "4s"])
        .exits(7);
    assert!(unreached.stderr.contains("not reached"), "{unreached}");
    cable.heal();
    // And with the first machine's daemon frozen in the middle of an exchange.
    let daemon = Pid::from_raw(alice.process().pid().cast_signed());
    kill(daemon, Signal::SIGSTOP).unwrap();
    let unreached = laptop
        .mesh(&["device", "link", &code, "--wait", "4s"])
        .exits(7);
    assert!(unreached.stderr.contains("→"), "{unreached}");
    kill(daemon, Signal::SIGCONT).unwrap();
    let _ = laptop
        .mesh(&["device", "link", &code, "--as", "laptop"])
        .ok();
    eventually(LINK, "alice has two devices", || devices(alice) == 2);

    // By address, from where no multicast gets.
    mesh.nodes.push(laptop);
    let [alice, mallory, _] = &mesh.nodes[..] else {
        unreachable!()
    };
    let code = show(alice, &[]);
    let place = format!("{code}@{}", mesh.lan.address(1));
    let entered = mallory
        .mesh(&["device", "link", &place, "--as", "tower"])
        .ok();
    assert!(entered.stdout.contains("tower.home"), "{entered}");
    eventually(LINK, "alice has three devices", || devices(alice) == 3);
    let elsewhere = format!("{code}@{}", mesh.lan.address(77));
    let _ = mallory
        .mesh(&["device", "link", &elsewhere, "--wait", "3s"])
        .exits(7);
}

#[test]
fn a_stolen_first_device_is_removed_by_the_user_key_from_the_second() {
    let mut mesh = Mesh::apart("stolen device", &["laptop", "bob", "carol"]);
    let alice = mesh.lab.host("alice");
    let cable = mesh.lan.plug(&alice, 9);
    let alice = Node::new(alice);
    create(&alice);
    {
        let [laptop, bob, carol] = &mesh.nodes[..] else {
            unreachable!()
        };
        join(bob, &invite(&alice, &[]));
        join(carol, &invite(&alice, &[]));
        let _ = link(&alice, laptop, &[]);
        mesh_of_devices(&[&alice, laptop, bob, carol], 4);
    }
    // By the address that follows from its key: the other is free for the next who comes.
    let stolen = alice.addresses().1;
    // A thief uses it: what is known of that goes too, with --since.
    let ticket = invite(&alice, &["--uses", "5"]);
    let theft = log(&alice).into_iter().next_back().unwrap();
    assert_eq!(theft.kind, "invite");
    let [laptop, bob, carol] = &mesh.nodes[..] else {
        unreachable!()
    };
    agree(&[&alice, laptop, bob, carol], LONG);
    // Cut off, it signs on without knowing.
    cable.cut(Cut::Silent);
    let _ = alice.mesh(&["admin", "grant", "carol"]).ok();
    let backdated = invite(&alice, &["--uses", "9"]);

    let since = &theft.id[..12];
    let removed = laptop
        .mesh(&[
            "device", "remove", "alice", "--since", since, "--reason", "stolen",
        ])
        .ok();
    assert!(removed.stdout.contains("removed alice.home"), "{removed}");
    cable.heal();
    eventually(SOON, "bob and carol cut it off", || {
        !bob.ping(stolen) && !carol.ping(stolen)
    });
    // It hears of it, and its own machine says so.
    eventually(LONG, "the stolen device learns that it was removed", || {
        alice.mesh_json(&["networks"])["networks"][0]["member"] == false
    });
    agree(&[laptop, bob, carol], LONG);

    // Nothing of what it signed since, or without knowing, holds anywhere.
    for host in [laptop, bob, carol] {
        let ranks = host.mesh(&["admin", "ls"]).ok();
        assert!(!ranks.stdout.contains("carol"), "{ranks}");
        assert!(
            ranks.stdout.contains("owner"),
            "alice stays the owner: {ranks}"
        );
    }
    let stranger = mesh.lab.host("stranger");
    mesh.lan.plug(&stranger, 77);
    for ticket in [&ticket, &backdated] {
        let taken = stranger.mesh(&["join", ticket, "--as", "trent", "--wait", "6s"]);
        assert_ne!(
            taken.code,
            Some(0),
            "a thief's ticket let somebody in: {taken}"
        );
    }
    // The second device goes on, with the rank of its user.
    laptop.reaches(bob.addresses().0, SOON);
    let _ = laptop.mesh(&["share", "8080/tcp", "--to", "bob"]).ok();
    let ticket = invite(laptop, &[]);
    mesh.nodes.push(alice);
    let dave = mesh.lab.host("dave");
    mesh.lan.plug(&dave, 78);
    let dave = Node::new(dave);
    join(&dave, &ticket);
    let [laptop, bob, carol, alice] = &mesh.nodes[..] else {
        unreachable!()
    };
    agree(&[laptop, bob, carol, &dave], LONG);
    stays(
        Duration::from_secs(3),
        "the stolen device stays out",
        || !bob.ping(stolen) && devices(bob) == 4,
    );
    let _ = alice;
}

#[test]
fn the_second_device_works_while_the_first_is_off() {
    let mut mesh = Mesh::apart("device alone", &["alice", "laptop", "bob"]);
    create(&mesh.nodes[0]);
    join(&mesh.nodes[2], &invite(&mesh.nodes[0], &[]));
    let _ = link(&mesh.nodes[0], &mesh.nodes[1], &[]);
    mesh_of_devices(&mesh.nodes.iter().collect::<Vec<_>>(), 3);
    mesh.nodes[0].stop();
    let [_, laptop, bob] = &mesh.nodes[..] else {
        unreachable!()
    };
    let to_bob = bob.addresses().1;
    laptop.reaches(to_bob, SOON);
    let _ = laptop.mesh(&["kick", "bob"]).ok();
    eventually(SOON, "bob is cut off", || !laptop.ping(to_bob));
    let carol = mesh.lab.host("carol");
    mesh.lan.plug(&carol, 79);
    let carol = Node::new(carol);
    join(&carol, &invite(laptop, &[]));
    carol.reaches(laptop.addresses().0, SOON);
    mesh.nodes[0].start();
    let [alice, laptop, _] = &mesh.nodes[..] else {
        unreachable!()
    };
    agree(&[alice, laptop, &carol], LONG);
}

#[test]
fn with_the_user_key_under_a_passphrase_a_thief_can_neither_link_nor_remove() {
    let mesh = Mesh::apart("device passphrase", &["alice", "laptop", "bob", "mallory"]);
    let [alice, laptop, bob, mallory] = &mesh.nodes[..] else {
        unreachable!()
    };
    create(alice);
    join(bob, &invite(alice, &[]));
    let protected = alice
        .mesh_with(&["id", "protect", "-"], "correct horse\n")
        .ok();
    assert!(
        protected.stdout.contains("under a passphrase"),
        "{protected}"
    );
    let keys = alice.dir().join("var/lib/mesh/identity");
    assert!(!keys.join("user.key").exists() && keys.join("user.locked").exists());

    let code = ["device", "link", "--no-wait"];
    let refused = alice.mesh(&code).exits(4);
    assert!(refused.stderr.contains("passphrase"), "{refused}");
    let given = ["device", "link", "--no-wait", "--passphrase", "-"];
    let _ = alice.mesh_with(&given, "battery staple\n").exits(4);
    let shown = alice.mesh_with(&given, "correct horse\n").ok();
    let _ = laptop
        .mesh(&["device", "link", shown.stdout.trim(), "--as", "laptop"])
        .ok();
    mesh_of_devices(&[alice, laptop, bob], 3);
    // It came over under the same passphrase.
    let keys = laptop.dir().join("var/lib/mesh/identity");
    assert!(!keys.join("user.key").exists() && keys.join("user.locked").exists());

    // The first is stolen: without the passphrase it links nothing, removes nothing, joins nothing.
    let _ = alice.mesh(&code).exits(4);
    let _ = alice.mesh(&["device", "remove", "laptop"]).exits(4);
    let _ = mallory.mesh(&["create", "lair", "--as", "mallory"]).ok();
    let theirs = invite(mallory, &[]);
    let _ = alice.mesh(&["join", &theirs, "--as", "alice"]).exits(4);
    // Everyday acts go on without it.
    let _ = alice.mesh(&["share", "22/tcp", "--to", "bob"]).ok();
    assert_eq!(devices(bob), 3);
    // From the second, with the passphrase, the first is removed.
    let remove = ["device", "remove", "alice", "--passphrase", "-"];
    let _ = laptop.mesh(&["device", "remove", "alice"]).exits(4);
    let _ = laptop.mesh_with(&remove, "correct horse\n").ok();
    eventually(SOON, "the stolen device is out", || devices(bob) == 2);
    // And the passphrase is taken off again.
    let off = ["id", "protect", "--off", "--passphrase", "-"];
    let _ = laptop.mesh_with(&off, "battery staple\n").exits(4);
    let open = laptop.mesh_with(&off, "correct horse\n").ok();
    assert!(open.stdout.contains("without a passphrase"), "{open}");
    let _ = laptop.mesh(&code).ok();
}

/// Shows a code on one machine and types it on the other.
pub(crate) fn link(first: &Node, second: &Node, options: &[&str]) -> Output {
    let code = show(first, options);
    second
        .mesh(&["device", "link", &code, "--as", second.name()])
        .ok()
}

/// `mesh device link --no-wait`, and the code it prints.
fn show(host: &Node, options: &[&str]) -> String {
    let shown = host
        .mesh(&[&["device", "link", "--no-wait"], options].concat())
        .ok();
    let code = shown.stdout.trim();
    assert!(
        code.split('-').count() == 4 && code.lines().count() == 1,
        "standard output is the code: {shown}"
    );
    code.to_owned()
}

/// How many devices the network has, as this host sees it.
fn devices(host: &Node) -> u64 {
    host.mesh_json(&["networks"])["networks"][0]["devices"]
        .as_u64()
        .unwrap()
}

/// Waits until all show so many devices and hold the same state.
pub(crate) fn mesh_of_devices(nodes: &[&Node], count: u64) {
    eventually(LONG, &format!("all show {count} devices"), || {
        nodes.iter().all(|node| devices(node) == count)
    });
    agree(nodes, LONG);
}
