//! Create, invite, join, ping; and joining while the creator is off.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use mesh_tests::lab::Lab;

use crate::world::{LONG, Mesh, SOON, addresses, both, invite, join, members};

#[test]
fn two_hosts_on_a_lan_ping_each_other_after_three_commands() {
    let lab = Lab::new("three commands");
    let lan = lab.lan("lan", [192, 168, 7]);
    let (alice, bob) = (lab.host("alice"), lab.host("bob"));
    lan.plug(&alice, 1);
    lan.plug(&bob, 2);

    // Each starts the daemon of its machine by itself.
    let created = alice.mesh(&["create", "home", "--as", "alice"]).ok();
    assert_eq!(
        recovery_words(&created.stdout),
        24,
        "the recovery words are shown once: {created}"
    );
    let ticket = invite(&alice, &[]);
    assert!(
        ticket.len() <= 250,
        "a ticket of {} characters",
        ticket.len()
    );
    let joining = Instant::now();
    join(&bob, &ticket);

    let (to_alice, to_bob) = (addresses(&alice), addresses(&bob));
    bob.reaches(to_alice.0, SOON);
    println!("from join to the first ping: {:?}", joining.elapsed());
    for (host, there) in [(&alice, to_bob), (&bob, to_alice)] {
        for address in both(there) {
            host.reaches(address, SOON);
        }
    }
    // A datagram may be lost, as anywhere: one of three comes back.
    let pong = alice.mesh(&["ping", "bob", "--count", "3"]).ok();
    assert!(
        pong.stdout.contains(&to_bob.0.to_string()),
        "says the address that answered: {pong}"
    );
    let _ = bob.mesh(&["ping", "alice", "--count", "3"]).ok();

    for host in [&alice, &bob] {
        let state = host.dir().join("var/lib/mesh");
        assert_eq!(mode(&state), 0o700, "{}", state.display());
        for file in walk(&state) {
            assert_eq!(
                mode(&file) & 0o077,
                0,
                "{} is open to others",
                file.display()
            );
        }
    }
}

#[test]
fn a_third_member_joins_through_the_second_while_the_creator_is_off() {
    let mut mesh = Mesh::apart("join without the creator", &["alice", "bob", "carol"]);
    crate::world::create(&mesh.nodes[0]);
    let ticket = invite(&mesh.nodes[0], &[]);
    join(&mesh.nodes[1], &ticket);
    let second = invite(&mesh.nodes[0], &[]);
    mesh.agree_of(&[0, 1]);
    mesh.nodes[0].stop();

    join(&mesh.nodes[2], &second);
    let everybody: BTreeSet<_> = ["alice", "bob", "carol"].map(str::to_owned).into();
    assert_eq!(members(&mesh.nodes[2]), everybody);
    let to_bob = mesh.nodes[1].addresses();
    mesh.nodes[2].reaches(to_bob.0, SOON);

    mesh.nodes[0].start();
    mesh.all_know(3);
    assert_eq!(members(&mesh.nodes[0]), everybody);
    let to_carol = mesh.nodes[2].addresses();
    mesh.nodes[0].reaches(to_carol.0, LONG);
}

#[test]
fn a_joiner_finds_on_the_lan_a_member_that_its_ticket_does_not_name() {
    let mut mesh = Mesh::apart("join by the lan", &["alice", "bob", "carol"]);
    crate::world::create(&mesh.nodes[0]);
    // Made when alice was alone, so it names her and nobody else.
    let ticket = invite(&mesh.nodes[0], &["--uses", "2"]);
    join(&mesh.nodes[1], &ticket);
    mesh.nodes[0].stop();

    join(&mesh.nodes[2], &ticket);
    let admitted = crate::world::log(&mesh.nodes[2]);
    assert!(
        admitted
            .iter()
            .any(|entry| entry.by == "bob" && entry.kind == "admit"),
        "{admitted:#?}"
    );
    let to_bob = mesh.nodes[1].addresses();
    mesh.nodes[2].reaches(to_bob.0, SOON);
}

#[test]
fn a_member_knows_its_network_when_it_restarts_with_every_other_host_off() {
    let mut mesh = Mesh::new("alone", &["alice", "bob", "carol"]);
    let before = (
        members(&mesh.nodes[1]),
        crate::world::log(&mesh.nodes[1]),
        mesh.nodes[1].addresses(),
    );
    for node in &mut mesh.nodes {
        node.stop();
    }
    mesh.nodes[1].start();
    let bob = &mesh.nodes[1];
    assert_eq!(
        (members(bob), crate::world::log(bob), bob.addresses()),
        before
    );
    assert!(bob.ping(bob.addresses().0), "its interface is up again");
}

#[test]
fn a_host_is_in_two_networks_at_once() {
    let mesh = Mesh::apart("two networks", &["alice", "bob"]);
    let [alice, bob] = &mesh.nodes[..] else {
        unreachable!()
    };
    let _ = alice
        .mesh(&[
            "create",
            "home",
            "--as",
            "alice",
            "--subnet",
            "10.71.0.0/24",
        ])
        .ok();
    let _ = bob
        .mesh(&["create", "work", "--as", "bob", "--subnet", "10.72.0.0/24"])
        .ok();
    join(bob, &invite(alice, &["-n", "home"]));
    join(alice, &invite(bob, &["-n", "work"]));
    for (host, name, prefix) in [(alice, "bob", "10.71.0."), (alice, "bob", "10.72.0.")] {
        let net = if prefix == "10.71.0." { "home" } else { "work" };
        let pong = host.mesh(&["ping", name, "--count", "1", "-n", net]).ok();
        assert!(pong.stdout.contains(prefix), "{pong}");
    }
    let interfaces = bob.ip("-brief address show");
    assert!(
        interfaces.contains("mesh0") && interfaces.contains("mesh1"),
        "{interfaces}"
    );
}

impl Mesh {
    fn agree_of(&self, which: &[usize]) {
        let nodes: Vec<_> = which.iter().map(|index| &self.nodes[*index]).collect();
        crate::world::agree(&nodes, Duration::from_secs(30));
    }
}

/// How many words stand behind `recovery words`.
fn recovery_words(output: &str) -> usize {
    let text = output
        .split_once("recovery words")
        .map_or("", |(_, rest)| rest);
    let words = text.split_once(':').map_or("", |(_, rest)| rest);
    words
        .split_whitespace()
        .filter(|word| word.bytes().all(|byte| byte.is_ascii_lowercase()))
        .count()
}

fn mode(path: &std::path::Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder)
        .unwrap()
        .flatten()
        .map(|entry| entry.path());
    entries
        .flat_map(|path| {
            if path.is_dir() {
                walk(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}
