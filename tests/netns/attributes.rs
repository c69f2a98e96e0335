//! Names, addresses, tags, settings and keys change while the network runs, and every device follows at once.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

use mesh_tests::lab::{Cut, Host, Lab, eventually, holds, stays};
use serde_json::Value;

use crate::world::{
    LONG, Mesh, Node, SOON, agree, create, invite, join, log, members, state_hash, text,
};

#[test]
fn a_renamed_member_and_a_moved_address_are_found_at_once_and_connections_go_on() {
    let mesh = Mesh::new("registers", &["alice", "bob", "carol"]);
    let [alice, bob, carol] = &mesh.nodes[..] else {
        unreachable!()
    };
    let (v4, v6) = bob.addresses();
    let _service = bob.echo_tcp(8080);
    let _ = bob.mesh(&["share", "8080/tcp"]).ok();
    mesh.agree(SOON);
    let mut open = carol.connect((v6, 8080).into(), SOON).unwrap();
    assert!(echoes(&mut open));

    // What is taken is refused before anything is signed, and by whom it is taken is said.
    let before = log(alice).len();
    let taken = alice.mesh(&["member", "rename", "bob", "carol"]).exits(6);
    assert!(taken.stderr.contains("carol"), "{taken}");
    let carols = carol.addresses().0.to_string();
    let taken = alice.mesh(&["member", "set-ip", "bob", &carols]).exits(6);
    assert!(taken.stderr.contains("carol"), "{taken}");
    let _ = alice
        .mesh(&["member", "set-ip", "bob", "192.0.2.1"])
        .exits(2);
    let _ = carol
        .mesh(&["member", "set-ip", "bob", &v4.to_string()])
        .exits(6);
    let other = std::net::Ipv4Addr::from(u32::from(v4) + 77);
    let _ = carol
        .mesh(&["member", "set-ip", "bob", &other.to_string()])
        .exits(4);
    let _ = carol.mesh(&["member", "rename", "bob", "rob"]).exits(4);
    assert_eq!(log(alice).len(), before, "nothing was signed");

    let _ = alice.mesh(&["member", "rename", "bob", "robert"]).ok();
    eventually(SOON, "carol finds robert", || resolves(carol, "robert"));
    assert!(members(carol).contains("robert") && !members(carol).contains("bob"));
    let _ = carol.run("ping", &["-c", "1", "-W", "5", "robert"]).ok();
    assert!(!resolves(carol, "bob"), "the old name is nobody's");
    let _ = carol.mesh(&["member", "rename", "carol", "carla"]).ok();
    eventually(SOON, "a name of one's own is found", || {
        resolves(bob, "carla")
    });

    let _ = alice
        .mesh(&["member", "set-ip", "robert", &other.to_string()])
        .ok();
    carol.reaches(other, SOON);
    assert_eq!(bob.addresses().0, other);
    assert!(bob.ip("-4 addr").contains(&other.to_string()));
    assert!(!bob.ip("-4 addr").contains(&format!("{v4}/")));
    assert!(!carol.ping(v4), "the old address is nobody's");
    assert!(echoes(&mut open), "the connection goes on");
    mesh.agree(SOON);
}

#[test]
fn a_tag_opens_what_is_offered_to_it_and_nobody_else_can_read_the_offer() {
    const SERVICE: &str = "kirschbaum";
    let mesh = Mesh::new("narrow", &["alice", "bob", "carol"]);
    let [alice, bob, carol] = &mesh.nodes[..] else {
        unreachable!()
    };
    let _service = bob.echo_tcp(8080);
    let to = bob.addresses().0;
    let share = ["share", "8080/tcp", "--to", "tag:ops", "--name", SERVICE];
    let _ = bob.mesh(&share).ok();
    mesh.agree(SOON);
    carol.reaches(to, SOON);
    assert!(carol.connect((to, 8080).into(), SOON).is_err());
    assert_eq!(offered(carol), BTreeSet::new());
    assert!(
        holds(carol.mesh(&["log"]).ok().stdout.as_bytes(), b"audience"),
        "that there is an offer, she knows"
    );
    assert!(
        bob.process().remembers(SERVICE.as_bytes()),
        "the word to look for is the right one"
    );
    for node in [alice, carol] {
        let name = node.name();
        assert!(
            !node.process().remembers(SERVICE.as_bytes()),
            "in the memory of {name}"
        );
        assert!(
            !holds(&disk(node.dir()), SERVICE.as_bytes()),
            "on the disk of {name}"
        );
    }

    // The tag is given later: she is handed the key, and is let in.
    let _ = alice.mesh(&["member", "tag", "add", "carol", "ops"]).ok();
    eventually(SOON, "carol reads the offer", || {
        offered(carol).contains(SERVICE)
    });
    let mut open = carol.connect((to, 8080).into(), SOON).unwrap();
    assert!(echoes(&mut open));
    assert_eq!(offered(alice), BTreeSet::new());
    mesh.agree(SOON);
    let shown = alice.mesh(&["member", "show", "carol"]).ok();
    assert!(shown.stdout.contains("ops"), "{shown}");

    // Whoever comes by an invite with the tag has it from the start.
    let dave = mesh.lab.host("dave");
    mesh.lan.plug(&dave, 77);
    let dave = Node::new(dave);
    join(&dave, &invite(alice, &["--tag", "ops"]));
    eventually(LONG, "dave reads the offer", || {
        offered(&dave).contains(SERVICE)
    });

    // It is taken away: her connection is cut, and the offer is sealed anew under a key that she is not handed.
    let _ = alice.mesh(&["member", "tag", "rm", "carol", "ops"]).ok();
    eventually(SOON, "carol is cut off", || {
        carol.connect((to, 8080).into(), SOON).is_err()
    });
    eventually(LONG, "carol cannot read the new offer", || {
        narrow(bob) == 2 && state_hash(bob) == state_hash(carol) && offered(carol).is_empty()
    });
    eventually(LONG, "dave reads it", || offered(&dave).contains(SERVICE));
    agree(&[alice, bob, carol, &dave], SOON);
}

#[test]
fn no_ping_is_lost_while_a_device_changes_its_wireguard_key() {
    let mesh = Mesh::new("rekey", &["alice", "bob"]);
    let [alice, bob] = &mesh.nodes[..] else {
        unreachable!()
    };
    let to = bob.addresses().0;
    alice.reaches(to, SOON);
    let key = |host: &Host| text(&host.mesh_json(&["id", "show"])["networks"][0], "wireguard");
    let before = key(bob);
    // Longer than a session under keys that are gone may last, so that the end shows there is one under the new.
    let args = ["-i", "0.1", "-c", "260", "-W", "5", &to.to_string()];
    let _pings = alice.host.start("pings", "ping", &args);
    let pings = || std::fs::read_to_string(alice.dir().join("pings.log")).unwrap();
    eventually(SOON, "the first pings are answered", || {
        pings().matches("bytes from").count() > 2
    });
    let rotated = bob.mesh(&["id", "rotate"]).ok();
    assert!(rotated.stdout.contains("1 of 1 have it"), "{rotated}");
    eventually(2 * LONG, "ping is done", || {
        pings().contains("packets transmitted")
    });
    assert!(pings().contains("260 received"), "{}", pings());
    let after = key(bob);
    assert_ne!(before, after);
    mesh.agree(SOON);
    let id = bob.mesh_json(&["id", "show"]);
    assert_eq!(text(&id["networks"][0], "wireguard"), after);
}

#[test]
fn one_of_two_admins_online_seals_the_order_and_a_late_claim_does_not_undo_it() {
    let lab = Lab::new("checkpoint");
    let (left, right) = (
        lab.lan("left", [192, 168, 7]),
        lab.lan("right", [192, 168, 7]),
    );
    let trunk = left.join(&right);
    let node = |name: &str, lan: &mesh_tests::lab::Lan, last: u8| {
        let host = lab.host(name);
        lan.plug(&host, last);
        Node::new(host)
    };
    let (alice, bob) = (node("alice", &left, 1), node("bob", &left, 2));
    let carol = node("carol", &right, 3);
    create(&alice);
    for joiner in [&bob, &carol] {
        join(joiner, &invite(&alice, &[]));
    }
    let _ = alice.mesh(&["admin", "grant", "bob"]).ok();
    agree(&[&alice, &bob, &carol], SOON);

    // On one side of a split carol takes a name; on the other bob takes it later, by the order, and that is sealed.
    trunk.cut(Cut::Down);
    let _ = carol.mesh(&["member", "rename", "carol", "tower"]).ok();
    for port in 1..=6 {
        let port = format!("{port}/tcp");
        let _ = alice.mesh(&["share", &port]).ok();
    }
    let _ = bob.mesh(&["member", "rename", "bob", "tower"]).ok();
    assert_eq!(checkpoints(&alice), 0);
    let set = alice.mesh(&["set", "checkpoint-every", "10"]).ok();
    assert!(set.stdout.contains("checkpoint-every is 10"), "{set}");
    // The link to carol has to be given up first: what she wrote might be on its way.
    eventually(LONG * 2, "the order is sealed", || {
        checkpoints(&alice) == 1 && checkpoints(&bob) == 1
    });
    stays(Duration::from_secs(12), "one is enough", || {
        checkpoints(&alice) == 1 && checkpoints(&bob) == 1
    });
    trunk.heal();
    agree(&[&alice, &bob, &carol], LONG);
    for node in [&alice, &bob, &carol] {
        let all = node.mesh_json(&["member", "ls"]);
        let named = |device: &str| {
            let members = all["members"].as_array().unwrap();
            let has = |member: &&Value| {
                member["devices"][0]["address"].as_str()
                    == Some(&address(if device == "bob" { &bob } else { &carol }))
            };
            members.iter().find(has).map(|member| text(member, "name"))
        };
        assert_eq!(named("bob").as_deref(), Some("tower"), "{}", node.name());
        assert_eq!(
            named("carol").as_deref(),
            Some("tower-2"),
            "{}",
            node.name()
        );
        assert_eq!(checkpoints(node), 1);
    }
}

#[test]
fn a_device_that_was_off_for_two_rotations_by_two_people_reads_all_that_was_written() {
    let names = ["alice", "bob", "carol", "dave", "erin"];
    let mut mesh = Mesh::new("two rotations", &names);
    let _ = mesh.nodes[0].mesh(&["admin", "grant", "bob"]).ok();
    mesh.agree(SOON);
    mesh.nodes[2].stop();
    let [alice, bob, carol, dave, _] = &mut mesh.nodes[..] else {
        unreachable!()
    };
    let rotations = |host: &Host| {
        let all = log(host);
        all.iter()
            .filter(|entry| entry.kind == "epoch.rotate")
            .count()
    };
    let _ = alice.mesh(&["kick", "erin"]).ok();
    eventually(SOON, "the key changes", || {
        rotations(alice) == 1 && rotations(bob) == 1
    });
    let _ = alice.mesh(&["share", "1001/tcp"]).ok();
    let _ = bob.mesh(&["kick", "dave"]).ok();
    eventually(SOON, "it changes again", || {
        rotations(alice) == 2 && rotations(bob) == 2
    });
    let _ = bob.mesh(&["share", "1002/tcp"]).ok();
    agree(&[alice, bob], SOON);
    // With one of the two on, and later without either: carol has it by then.
    alice.stop();
    dave.stop();
    carol.start();
    agree(&[bob, carol], LONG);
    bob.stop();
    let read = log(carol);
    for port in ["1001/tcp", "1002/tcp"] {
        assert!(read.iter().any(|entry| entry.text.contains(port)), "{port}");
    }
    let status = carol.mesh_json(&["status"]);
    assert_eq!(
        crate::world::find(&status, "pending"),
        Some(&Value::from(0))
    );
    let names: BTreeSet<String> = ["alice", "bob", "carol"].map(str::to_owned).into();
    assert_eq!(members(carol), names);
}

fn address(host: &Host) -> String {
    crate::world::addresses(host).0.to_string()
}

fn checkpoints(host: &Host) -> usize {
    let all = log(host);
    all.iter()
        .filter(|entry| entry.kind == "checkpoint" && entry.void.is_none())
        .count()
}

/// How many narrow offers were ever signed.
fn narrow(host: &Host) -> usize {
    let all = log(host);
    let offers = all.iter().filter(|entry| {
        entry.text.contains("to its audience alone") || entry.text.contains("tag:ops")
    });
    offers.count()
}

/// The names of the services that others offer to this host.
fn offered(host: &Host) -> BTreeSet<String> {
    let offers = host.mesh_json(&["offers"]);
    let offers = offers["offers"].as_array().unwrap();
    offers
        .iter()
        .filter(|offer| offer["for_me"] == true)
        .map(|offer| text(offer, "name"))
        .collect()
}

/// Whether programs find this name.
fn resolves(host: &Host, name: &str) -> bool {
    host.mesh(&["dns", "query", name]).code == Some(0)
}

fn echoes(open: &mut std::net::TcpStream) -> bool {
    let mut word = [0; 5];
    open.write_all(b"hello").is_ok() && open.read_exact(&mut word).is_ok() && &word == b"hello"
}

/// All that a host has on its disk.
fn disk(folder: &Path) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            all.extend(disk(&entry.path()));
        } else if kind.is_file() {
            all.extend(std::fs::read(entry.path()).unwrap_or_default());
        }
    }
    all
}
