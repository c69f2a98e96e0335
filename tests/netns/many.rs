//! A network of a thousand.

use std::time::{SystemTime, UNIX_EPOCH};

use mesh_ledger::event::act::Admit;
use mesh_ledger::event::attributes::Joining;
use mesh_ledger::event::{Act, Attributes};
use mesh_ledger::ids::WgKey;
use mesh_ledger::keys::{BoxSecret, DeviceSecret, UserSecret};
use mesh_ledger::network::Ledger;
use mesh_ledger::store::sqlite::SqliteStore;
use mesh_tests::lab::eventually;
use serde_json::Value;

use crate::flood::{count, peak, resident};
use crate::rotation::box_secret;
use crate::tongue::device_key;
use crate::world::{LONG, Mesh, Node, SOON, agree, database, invite, join, members};

const MEMBERS: u32 = 1_000;
/// The most memory that a daemon may hold in it, in kilobytes.
const MOST: u64 = 150_000;

#[test]
fn a_daemon_in_a_network_of_a_thousand_members_is_small_and_finds_and_reaches_those_who_are_on() {
    let mut mesh = Mesh::apart("many", &["alice", "bob"]);
    let founding = [
        "create",
        "home",
        "--as",
        "alice",
        "--subnet",
        "10.64.0.0/16",
    ];
    let _ = mesh.nodes[0].mesh(&founding).ok();
    join(&mesh.nodes[1], &invite(&mesh.nodes[0], &[]));
    mesh.all_know(2);
    mesh.nodes[0].stop();
    admit_many(&mesh.nodes[0]);
    mesh.nodes[0].start();
    let [alice, bob] = &mesh.nodes[..] else {
        unreachable!()
    };
    eventually(3 * LONG, "bob has all", || count(bob) > MEMBERS as usize);
    agree(&[alice, bob], LONG);
    alice.reaches(bob.addresses().0, SOON);
    bob.reaches(alice.addresses().0, SOON);
    for node in [alice, bob] {
        assert_eq!(members(node).len(), MEMBERS as usize, "{}", node.name());
        let pid = node.meshd_pids()[0];
        let (held, most) = (resident(pid), peak(pid));
        println!("{} holds {held} kB and held {most} kB", node.name());
        assert!(held < MOST, "{} holds {held} kB", node.name());
    }

    // Both are off for a while, and nobody has traffic for anybody: most likely neither is of those that a hash picks.
    mesh.nodes.iter_mut().for_each(Node::stop);
    mesh.nodes.iter_mut().for_each(Node::start);
    let took = eventually(LONG, "they find each other", || {
        mesh.nodes.iter().all(|node| online(node) == 1)
    });
    println!("two of {MEMBERS} found each other after {took:?}");
}

/// How many others are online.
fn online(node: &Node) -> usize {
    let status = node.mesh_json(&["status"]);
    let peers = status["networks"][0]["peers"].as_array().unwrap();
    let offline = |peer: &&Value| peer["reach"] == "offline";
    peers.len() - peers.iter().filter(offline).count()
}

/// Has a stopped node, whose user founded the network, admit as many as make a thousand, each with a device of its own. Nobody
/// has heard of them, and they are off.
fn admit_many(node: &Node) {
    let device = device_key(node);
    let store = SqliteStore::open(&database(node)).unwrap();
    let mut ledger = Ledger::open(store, box_secret(node)).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let now = u64::try_from(now.as_millis()).unwrap();
    for n in ledger.state().members.len() as u32..MEMBERS {
        let seed = |kind: u8| {
            let mut seed = [kind; 32];
            seed[..4].copy_from_slice(&n.to_be_bytes());
            seed
        };
        let (user, own) = (
            UserSecret::from_seed(&seed(1)),
            DeviceSecret::from_seed(&seed(2)),
        );
        let joining = Joining {
            salt: [3; 16],
            host: format!("host-{n}").parse().unwrap(),
            address: None,
            wireguard: WgKey(seed(4)),
        };
        let admit = Admit {
            user: user.public(),
            device: own.public(),
            box_key: BoxSecret::from_seed(&seed(5)).public(),
            certificate: user.certify(&own.public()),
            digest: joining.digest(),
            redemption: None,
            at: now,
        };
        let attributes = Attributes::Joining(joining);
        ledger
            .author(&device, Act::Admit(admit), Some(attributes), now)
            .unwrap();
    }
}
