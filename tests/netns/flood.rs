//! A member who writes as much as it can: the others take it, go on serving each other, and stay small and whole.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use mesh_core::link::Frame;
use mesh_ledger::event::Event;
use mesh_ledger::store::{Store, sqlite::SqliteStore};
use mesh_ledger::wire::{Message, SEGMENT, SegmentDigest, WINDOW};
use mesh_tests::lab::eventually;

use crate::tongue::{Chain, Tongue, speak};
use crate::world::{LONG, Mesh, Node, SOON, agree, database};

/// How many events the member writes: what sixty an hour would take it two weeks for.
const FLOOD: u32 = 20_000;
/// The most memory that a daemon may ever hold, in kilobytes.
pub(crate) const MOST: u64 = 300 * 1024;
/// How many of a million events are taken before what each of them takes of a daemon's memory is told, and how many more:
/// so many, or what the variable `MESH_FLOOD` says.
const FIRST: usize = 5000;
const MORE: usize = 10_000;
/// The most of that, in bytes: less than a quarter of what an event took when its body stayed in memory.
const EACH: u64 = 500;

#[test]
fn a_member_who_floods_the_ledger_makes_nobody_large_or_deaf() {
    let mut mesh = Mesh::new("flood", &["alice", "bob", "mallory"]);
    mesh.nodes[2].stop();
    write_all(&mesh.nodes[2]);
    mesh.nodes[2].start();

    let [alice, bob, mallory] = &mesh.nodes[..] else {
        unreachable!()
    };
    let watched = [alice, bob].map(Watch::over);
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
    for (node, watch) in [alice, bob].into_iter().zip(watched) {
        assert_eq!(node.meshd_pids(), [watch.pid], "{} lives", node.name());
        let _ = node.mesh(&["log", "verify"]).ok();
        let held = watch.most();
        assert!(held < MOST, "{} held {held} kB", node.name());
    }
}

/// A chain of empty events on top of all that a stopped node has, in its store.
fn write_all(node: &Node) {
    let mut chain = Chain::of(node);
    let flood: Vec<Event> = (0..FLOOD).map(|_| chain.grow()).collect();
    let mut store = SqliteStore::open(&database(node)).unwrap();
    store.append(&flood).unwrap();
}

#[test]
fn a_member_who_offers_a_million_events_is_heard_at_the_pace_of_who_hears() {
    let mut mesh = Mesh::new("million", &["alice", "bob", "mallory"]);
    mesh.nodes[2].stop();
    let mut chain = Chain::of(&mesh.nodes[2]);
    let [alice, bob, mallory] = &mesh.nodes[..] else {
        unreachable!()
    };
    let before = count(alice);
    let watched = [alice, bob].map(Watch::over);
    let mut held = Vec::new();
    let done = AtomicBool::new(false);
    let offered = std::thread::scope(|scope| {
        let offer = scope.spawn(|| {
            let at = SocketAddr::from(([192, 168, 7, 1], 51820));
            speak(mallory, &mut chain, alice, at, async |tongue, chain| {
                offer_a_million(tongue, chain, &done).await
            })
        });
        eventually(LONG, "the offer begins to arrive", || count(alice) > before);
        // In the midst of it.
        let _ = bob.mesh(&["share", "9090/tcp", "--to", "alice"]).ok();
        eventually(LONG, "alice hears of bob's offer", || {
            let offers = alice.mesh_json(&["offers"])["offers"].clone();
            offers.as_array().is_some_and(|offers| offers.len() == 1)
        });
        alice.reaches(bob.addresses().0, SOON);
        for enough in [FIRST, FIRST + more()] {
            // Slower than any machine that runs this.
            let limit = 3 * LONG + Duration::from_millis(10 * enough as u64);
            eventually(limit, "bob has thousands of it, by way of alice", || {
                count(bob) > before + enough
            });
            held.push([alice, bob].map(|node| (count(node), resident(node.meshd_pids()[0]))));
        }
        done.store(true, Ordering::Relaxed);
        offer.join().unwrap()
    });
    agree(
        &[alice, bob],
        3 * LONG + Duration::from_millis(more() as u64),
    );
    let taken = count(alice) - before;
    println!("of a million, {offered} were sent and {taken} taken");
    // The daemons themselves write a few: bob's offer, and checkpoints.
    assert!(taken < offered + 100, "{taken} of {offered}");
    for (at, (node, watch)) in [alice, bob].into_iter().zip(watched).enumerate() {
        let ((first, little), (last, much)) = (held[0][at], held[1][at]);
        let each = much.saturating_sub(little) * 1024 / (last - first) as u64;
        println!("{}: {each} bytes an event", node.name());
        assert!(each < EACH, "{}: {each} bytes an event", node.name());
        assert_eq!(node.meshd_pids(), [watch.pid], "{} lives", node.name());
        let _ = node.mesh(&["log", "verify"]).ok();
        let held = watch.most();
        assert!(held < MOST, "{} held {held} kB", node.name());
    }
}

/// Claims to have a million events more than anybody, and sends them as fast as they are acknowledged. Says how many it sent.
async fn offer_a_million(tongue: &mut Tongue, chain: &mut Chain, done: &AtomicBool) -> usize {
    const MILLION: u32 = 1_000_000;
    let (first, last) = (
        chain.lamport() / SEGMENT,
        (chain.lamport() + MILLION) / SEGMENT,
    );
    let segments = (first..=last).map(|segment| SegmentDigest {
        segment,
        digest: [7; 16],
    });
    let table = Message::Table {
        round: 1,
        first: 0,
        last: u32::MAX,
        segments: segments.collect(),
    };
    tongue.sync(&table).await;
    let (mut sent, mut unacknowledged) = (0, 0);
    while sent < MILLION as usize && !done.load(Ordering::Relaxed) {
        while unacknowledged < WINDOW {
            let chunk: Vec<Vec<u8>> = (0..500).map(|_| chain.grow().bytes().to_vec()).collect();
            sent += chunk.len();
            tongue.sync(&Message::Events(chunk)).await;
            unacknowledged += 1;
        }
        match tongue.hear().await {
            Some(Frame::Sync(bytes)) if Message::decode(&bytes) == Ok(Message::Received) => {
                unacknowledged -= 1;
            }
            Some(_) => {}
            None => panic!("the link ended after {sent}"),
        }
    }
    sent
}

/// How many events a running node has.
pub(crate) fn count(node: &Node) -> usize {
    let events = &node.mesh_json(&["status"])["networks"][0]["network"]["events"];
    usize::try_from(events.as_u64().unwrap()).unwrap()
}

/// How many events are taken behind the first.
fn more() -> usize {
    let more = std::env::var("MESH_FLOOD").ok();
    more.map_or(MORE, |more| more.parse().unwrap())
}

/// The most memory that a process ever held, as far as the kernel noted, in kilobytes.
pub(crate) fn peak(pid: u32) -> u64 {
    kilobytes(pid, "VmHWM:").unwrap()
}

/// The memory that a process holds, in kilobytes.
pub(crate) fn resident(pid: u32) -> u64 {
    kilobytes(pid, "VmRSS:").unwrap()
}

fn kilobytes(pid: u32, what: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(what))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Looks at a daemon's memory all the time: the kernel notes the most only where memory is given back, and forgets it with the
/// process.
struct Watch {
    pid: u32,
    over: Arc<AtomicBool>,
    most: JoinHandle<u64>,
}

impl Watch {
    fn over(node: &Node) -> Self {
        let pid = node.meshd_pids()[0];
        let over = Arc::new(AtomicBool::new(false));
        let until = over.clone();
        let most = std::thread::spawn(move || {
            let mut most = 0;
            while !until.load(Ordering::Relaxed) {
                let seen = ["VmRSS:", "VmHWM:"].map(|what| kilobytes(pid, what));
                most = seen.into_iter().flatten().fold(most, u64::max);
                std::thread::sleep(Duration::from_millis(20));
            }
            most
        });
        Self { pid, over, most }
    }

    /// The most that it ever held until now, in kilobytes.
    fn most(self) -> u64 {
        self.over.store(true, Ordering::Relaxed);
        self.most.join().unwrap()
    }
}
