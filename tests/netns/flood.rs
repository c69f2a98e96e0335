//! A member who writes as much as it can: the others take it, go on serving each other, and stay small and whole.

use mesh_ledger::event::{Act, Event, Header};
use mesh_ledger::ids::{EpochId, EventId};
use mesh_ledger::keys::DeviceSecret;
use mesh_ledger::store::{Store, sqlite::SqliteStore};
use mesh_tests::lab::eventually;

use crate::world::{LONG, Mesh, Node, SOON, agree, database};

/// How many events the member writes: what sixty an hour would take it two weeks for.
const FLOOD: u32 = 20_000;
/// The most memory that a daemon may ever hold, in kilobytes.
const MOST: u64 = 300 * 1024;

#[test]
fn a_member_who_floods_the_ledger_makes_nobody_large_or_deaf() {
    let mut mesh = Mesh::new("flood", &["alice", "bob", "mallory"]);
    mesh.nodes[2].stop();
    write_all(&mesh.nodes[2]);
    mesh.nodes[2].start();

    let [alice, bob, mallory] = &mesh.nodes[..] else {
        unreachable!()
    };
    eventually(LONG, "the flood arrives", || count(alice) > 100);
    // In the midst of it.
    let _ = bob.mesh(&["share", "9090/tcp", "--to", "alice"]).ok();
    eventually(LONG, "alice hears of bob's offer", || {
        let offers = alice.mesh_json(&["offers"])["offers"].clone();
        offers.as_array().is_some_and(|offers| offers.len() == 1)
    });
    alice.reaches(bob.addresses().0, SOON);

    eventually(3 * LONG, "all have all of it", || {
        [alice, bob].iter().all(|node| count(node) > FLOOD as usize)
    });
    agree(&[alice, bob, mallory], LONG);
    for node in [alice, bob] {
        let pids = node.meshd_pids();
        assert_eq!(pids.len(), 1, "{} lives", node.name());
        let held = peak(pids[0]);
        assert!(held < MOST, "{} holds {held} kB", node.name());
        let _ = node.mesh(&["log", "verify"]).ok();
    }
}

/// A chain of empty events on top of all that a stopped node has, in its store.
fn write_all(node: &Node) {
    let mut store = SqliteStore::open(&database(node)).unwrap();
    let seed = std::fs::read(node.dir().join("var/lib/mesh/identity/device.key")).unwrap();
    let device = DeviceSecret::from_seed(seed.as_slice().try_into().unwrap());
    let known: Vec<Event> = store
        .rows()
        .unwrap()
        .iter()
        .map(|row| Event::decode(&row.bytes).unwrap())
        .collect();
    let follows = |id: &EventId| {
        let mut all = known.iter().flat_map(|event| &event.header().parents);
        all.any(|parent| parent == id)
    };
    let own = known
        .iter()
        .filter(|event| event.author() == device.public());
    let last = own.map(|event| event.header().seq).max().unwrap_or(0);
    let mut lamport = known.iter().map(|event| event.header().lamport).max();
    let mut parents: Vec<EventId> = known
        .iter()
        .map(Event::id)
        .filter(|id| !follows(id))
        .collect();
    parents.sort_unstable();
    let network = store.network().unwrap().unwrap();
    let mut flood = Vec::new();
    for seq in last + 1..=last + FLOOD {
        let header = Header {
            network,
            author: device.public(),
            seq,
            lamport: lamport.unwrap() + 1,
            time: 0,
            epoch: EpochId::NONE,
            parents,
        };
        let event = Event::sign(&header, &Act::Merge, &[], &device).unwrap();
        lamport = Some(header.lamport);
        parents = vec![event.id()];
        flood.push(event);
    }
    store.append(&flood).unwrap();
}

/// How many events a running node has stored.
fn count(node: &Node) -> usize {
    let store = SqliteStore::open_to_read(&database(node)).unwrap();
    store.rows().unwrap().len()
}

/// The most memory that a process ever held, in kilobytes.
fn peak(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.unwrap().parse().unwrap()
}
