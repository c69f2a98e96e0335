//! What it costs two members to become equal, and a joiner to take a whole network: `cargo bench -p mesh-ledger --features
//! sqlite --bench wire [-- EVENTS]`. Figures are printed, never tested: they depend on the machine. The bytes do not.
#![allow(clippy::unwrap_used, clippy::print_stdout)]
// A bench is a shell: it measures with the clock.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod world;

use std::path::Path;
use std::time::{Duration, Instant};

use mesh_ledger::event::Event;
use mesh_ledger::ids::DeviceId;
use mesh_ledger::keys::DeviceSecret;
use mesh_ledger::network::{JoinArgs, Ledger};
use mesh_ledger::parking::Source;
use mesh_ledger::store::Store;
use mesh_ledger::store::sqlite::SqliteStore;
use mesh_ledger::wire::{Index, Message, Sync};
use world::{NOW, World};

/// Devices that hear each other and write on top of what they heard.
const LOUD: usize = 100;
/// Devices that hear the others and that nobody has heard: what they wrote is all over the history, and nothing follows it.
const QUIET: usize = 100;

fn main() {
    let count = std::env::args()
        .skip(1)
        .find_map(|text| text.parse().ok())
        .unwrap_or(100_000);
    let world = World::new(LOUD, QUIET, count);
    let bytes: usize = world.events.iter().map(|event| event.bytes().len()).sum();
    let top = world.events.iter().map(|e| e.header().lamport).max();
    println!(
        "{} events of {} bytes on average, by {} devices, {} lamports",
        world.events.len(),
        bytes / world.events.len(),
        LOUD + QUIET,
        top.unwrap()
    );
    let quiet = world.first_quiet();
    let of_half = |half: usize| {
        let devices: Vec<DeviceId> = world.devices[LOUD..]
            .iter()
            .skip(half)
            .step_by(2)
            .map(DeviceSecret::public)
            .collect();
        move |event: &Event| event.header().lamport > quiet && devices.contains(&event.author())
    };
    let (first, second) = (of_half(0), of_half(1));
    let without = |lacks: &dyn Fn(&Event) -> bool| -> Vec<Event> {
        world
            .events
            .iter()
            .filter(|event| !lacks(event))
            .cloned()
            .collect()
    };
    compare(
        &world,
        "1 % spread, half on each side",
        without(&first),
        without(&second),
    );
    compare(
        &world,
        "1 % spread, all on one side",
        world.events.clone(),
        without(&|event| first(event) || second(event)),
    );
    let cut = world.events.len() / 100 * 99;
    let mut by_age = world.events.clone();
    by_age.sort_by_key(|event| (event.header().lamport, event.id()));
    let recent: Vec<Event> = by_age[..cut].to_vec();
    compare(&world, "the last 1 %", world.events.clone(), recent);
    compare(
        &world,
        "nothing",
        world.events.clone(),
        world.events.clone(),
    );
    join(&world);
}

/// The comparison and transfer alone, then between two ledgers that check, store and fold what comes.
fn compare(world: &World, what: &str, a: Vec<Event>, b: Vec<Event>) {
    let (mut in_a, mut in_b) = (Index::new(), Index::new());
    in_a.extend(a.iter().cloned());
    in_b.extend(b.iter().cloned());
    let missing: usize = a
        .iter()
        .filter(|event| in_b.get(&event.id()).is_none())
        .chain(b.iter().filter(|event| in_a.get(&event.id()).is_none()))
        .map(|event| event.bytes().len())
        .sum();
    let took = converge(&mut in_a, &mut in_b);
    assert_eq!(in_a.len(), in_b.len());
    println!("{what}: {missing} bytes of events");
    println!("  indices alone: {took}{}", took.share(missing));
    let folder = tempfile::tempdir().unwrap();
    let mut a = world.ledger(&folder.path().join("a.db"), &a);
    let mut b = world.ledger(&folder.path().join("b.db"), &b);
    let took = converge(&mut a, &mut b);
    assert_eq!(a.state_hash(), b.state_hash());
    println!("  checked, stored and folded: {took}");
}

fn join(world: &World) {
    let folder = tempfile::tempdir().unwrap();
    let args = JoinArgs {
        network: world.network,
        events: world
            .events
            .iter()
            .map(|event| event.bytes().to_vec())
            .collect(),
        epoch: world.key.clone(),
        device: world.devices[1].public(),
        box_secret: world.box_secret.clone(),
    };
    let store = SqliteStore::open(&folder.path().join("joiner.db")).unwrap();
    let start = Instant::now();
    let ledger = Ledger::join(store, args).unwrap();
    println!(
        "a joiner takes all, signatures checked, into SQLite: {:?}",
        start.elapsed()
    );
    assert_eq!(ledger.graph().len(), world.events.len());
}

/// One side of a sync.
trait Replica {
    fn index(&self) -> &Index;
    fn take(&mut self, events: Vec<Vec<u8>>);
}

impl Replica for Index {
    fn index(&self) -> &Index {
        self
    }

    fn take(&mut self, events: Vec<Vec<u8>>) {
        let events = events
            .iter()
            .map(|bytes| Event::decode_unverified(bytes).unwrap());
        self.extend(events);
    }
}

impl<S: Store> Replica for Ledger<S> {
    fn index(&self) -> &Index {
        self.index()
    }

    fn take(&mut self, events: Vec<Vec<u8>>) {
        let source = Source::Sync(DeviceId([1; 32]));
        let receipt = self.receive(source, &events, NOW).unwrap();
        assert_eq!(receipt.added.len(), events.len());
    }
}

struct Took {
    time: Duration,
    messages: usize,
    turns: usize,
    bytes: usize,
}

impl Took {
    fn share(&self, missing: usize) -> String {
        match missing {
            0 => String::new(),
            missing => format!(", {:.2} × those", self.bytes as f64 / missing as f64),
        }
    }
}

impl std::fmt::Display for Took {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            time,
            messages,
            turns,
            bytes,
        } = self;
        write!(
            f,
            "{time:.1?}, {bytes} bytes in {messages} messages and {turns} turns"
        )
    }
}

/// Both begin, as when a link comes up.
fn converge(a: &mut impl Replica, b: &mut impl Replica) -> Took {
    let start = Instant::now();
    let (mut sync_a, mut sync_b) = (Sync::new(), Sync::new());
    let encode = |messages: Vec<Message>| messages.iter().map(Message::encode).collect::<Vec<_>>();
    let (mut to_b, mut to_a) = (
        encode(sync_a.start(a.index())),
        encode(sync_b.start(b.index())),
    );
    let (mut bytes, mut messages, mut turns) = (0, 0, 0);
    while !(to_a.is_empty() && to_b.is_empty()) {
        turns += 1;
        messages += to_a.len() + to_b.len();
        bytes += to_a.iter().chain(&to_b).map(Vec::len).sum::<usize>();
        let from_b = read(&mut sync_b, b, &to_b);
        let from_a = read(&mut sync_a, a, &to_a);
        (to_a, to_b) = (from_b, from_a);
    }
    assert!(sync_a.is_idle() && sync_b.is_idle());
    let time = start.elapsed();
    Took {
        time,
        messages,
        turns,
        bytes,
    }
}

fn read(sync: &mut Sync, replica: &mut impl Replica, inbox: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut answers = Vec::new();
    for bytes in inbox {
        let step = sync.receive(Message::decode(bytes).unwrap(), replica.index());
        if !step.events.is_empty() {
            replica.take(step.events);
        }
        answers.extend(step.send.iter().map(Message::encode));
    }
    answers
}

impl World {
    /// The lamport before which the quiet devices wrote nothing.
    fn first_quiet(&self) -> u32 {
        (LOUD + QUIET) as u32
    }

    fn ledger(&self, path: &Path, events: &[Event]) -> Ledger<SqliteStore> {
        let mut store = SqliteStore::open(path).unwrap();
        store.append(events).unwrap();
        store
            .add_epoch_keys(std::slice::from_ref(&self.key))
            .unwrap();
        Ledger::open(store, self.box_secret.clone()).unwrap()
    }
}
