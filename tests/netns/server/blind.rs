//! What a server learns: keys, times and sizes, and no word of what the network is about.

use std::net::Ipv6Addr;

use mesh_tests::lab::{Host, Nat, Packet, holds};

use super::{MEET, World, direct, stored};
use crate::world::{agree, both, join};

const NETWORK: &str = "zweigstelle";
const HOSTS: [&str; 3] = ["nachtigall", "rotkehlchen", "goldammer"];
const OFFER: &str = "weinkeller";
const NOTE: &str = "gartenschlauch";
const REASON: &str = "kuckucksuhr";
const SUBNET: &str = "10.213.77.0/24";

#[test]
fn a_servers_disk_memory_and_wire_hold_nothing_of_what_members_call_and_number_things() {
    let world = World::new("blind");
    let mut server = world.server("server");
    let wire = server.host.capture();
    let home = world.home("one", Nat::PortRestricted);
    let office = world.home("two", Nat::Symmetric);
    let nodes = [
        world.node(&home, HOSTS[0]),
        world.node(&home, HOSTS[1]),
        world.node(&office, HOSTS[2]),
    ];
    let [alice, bob, carol] = &nodes;

    let create = ["create", NETWORK, "--as", HOSTS[0], "--subnet", SUBNET];
    let _ = alice
        .mesh(&[&create[..], &["--server", server.text()]].concat())
        .ok();
    for node in [bob, carol] {
        let ticket = alice.mesh(&["invite", "--note", NOTE]).ok().stdout;
        join(node, ticket.trim());
    }
    let share = ["share", "7443/tcp", "--to", HOSTS[1], "--name", OFFER];
    let _ = alice.mesh(&share).ok();
    let _ = alice.mesh(&["admin", "grant", HOSTS[1]]).ok();
    agree(&[alice, bob, carol], MEET);
    let addresses: Vec<_> = nodes.iter().map(|node| node.addresses()).collect();
    // Packets too: through the relay, with these addresses inside.
    let _ = carol.mesh(&["ping", HOSTS[0], "--count", "5"]).ok();
    carol.reaches(alice.addresses().1, MEET);
    direct(alice, bob, MEET);
    let before = knows(alice);
    let _ = alice.mesh(&["kick", HOSTS[2], "--reason", REASON]).ok();
    agree(&[alice, bob], MEET);
    stored(&server, &[alice, bob], MEET);

    let words = [NETWORK, HOSTS[0], HOSTS[1], HOSTS[2], OFFER, NOTE, REASON];
    let mut needles: Vec<(String, Vec<u8>)> =
        words.map(|word| (word.to_owned(), word.into())).into();
    for (v4, v6) in &addresses {
        for text in [v4.to_string(), v6.to_string()] {
            needles.push((text.clone(), text.into()));
        }
        needles.push((format!("{v6} in binary"), v6.octets().into()));
    }
    let net6 = net(addresses[0].1);
    needles.push(("the subnet".to_owned(), "10.213.77.".into()));
    needles.push(("the IPv6 subnet in binary".to_owned(), net6));
    // Too short to be looked for where much is random.
    let mut on_disk = needles.clone();
    on_disk.push(("the subnet in binary".to_owned(), vec![10, 213, 77]));
    for (v4, _) in &addresses {
        on_disk.push((format!("{v4} in binary"), v4.octets().into()));
    }

    // They are what to look for: a member knows each of them.
    let known = before + &knows(alice);
    for word in words {
        assert!(
            known.contains(word),
            "{word} is nowhere in what alice says: {known}"
        );
    }
    for (what, needle) in &needles {
        let remembered = nodes.iter().any(|node| node.process().remembers(needle));
        assert!(
            remembered || holds(known.as_bytes(), needle),
            "no member knows {what}, so the test looks for the wrong thing"
        );
    }

    let disk = server.disk();
    assert!(disk.len() > 4096, "there is something on its disk");
    for (what, needle) in &on_disk {
        assert!(!holds(&disk, needle), "{what} is on the server's disk");
    }
    assert!(wire.packets(|_| true).len() > 100);
    let inside = |packet: &Packet| addresses.iter().any(|own| both(*own).contains(&packet.to));
    assert_eq!(
        wire.packets(inside).len(),
        0,
        "the server knows mesh addresses, for it sends packets there"
    );
    for (what, needle) in &needles {
        assert!(!wire.holds(needle), "{what} is on the server's wire");
        assert!(
            !server.process().remembers(needle),
            "{what} is in its memory"
        );
    }
    // What it stored it would have found: the ids and keys are in the clear.
    let id = hex(&alice.mesh_json(&["networks"])["networks"][0]["id"]);
    assert!(holds(&disk, &id) && server.process().remembers(&id));
}

/// All that a member tells when asked.
fn knows(host: &Host) -> String {
    let asked = [
        &["status"][..],
        &["networks"],
        &["member", "ls"],
        &["offers"],
        &["invite", "ls"],
        &["log"],
    ];
    asked.map(|verb| host.mesh_json(verb).to_string()).concat()
}

/// The first 8 bytes.
fn net(address: Ipv6Addr) -> Vec<u8> {
    address.octets()[..8].to_vec()
}

fn hex(value: &serde_json::Value) -> Vec<u8> {
    let text = value.as_str().unwrap();
    let pairs = (0..text.len()).step_by(2).map(|at| &text[at..at + 2]);
    pairs
        .map(|pair| u8::from_str_radix(pair, 16).unwrap())
        .collect()
}
