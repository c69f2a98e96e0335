//! What it costs two members to become equal, and a joiner to take a whole network: `cargo bench -p mesh-ledger --features
//! sqlite --bench wire [-- EVENTS]`. Figures are printed, never tested: they depend on the machine. The bytes do not.
#![allow(clippy::unwrap_used, clippy::print_stdout)]
// A bench is a shell: it measures with the clock.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

use std::path::Path;
use std::time::{Duration, Instant};

use mesh_ledger::event::act::Admit;
use mesh_ledger::event::attributes::{Joining, Write};
use mesh_ledger::event::{Act, Attributes, Event, Header};
use mesh_ledger::ids::{DeviceId, EpochId, EventId, NetworkId, WgKey};
use mesh_ledger::keys::{BoxSecret, DeviceSecret, EpochKey, UserSecret};
use mesh_ledger::network::{FoundingArgs, JoinArgs, Ledger};
use mesh_ledger::parking::Source;
use mesh_ledger::recovery::RecoveryWords;
use mesh_ledger::seal;
use mesh_ledger::store::Store;
use mesh_ledger::store::memory::MemoryStore;
use mesh_ledger::store::sqlite::SqliteStore;
use mesh_ledger::wire::{Index, Message, Sync};

/// Devices that hear each other and write on top of what they heard.
const LOUD: usize = 100;
/// Devices that hear the others and that nobody has heard: what they wrote is all over the history, and nothing follows it.
const QUIET: usize = 100;
const NOW: u64 = 1_795_000_000_000;

fn main() {
    let count = std::env::args()
        .skip(1)
        .find_map(|text| text.parse().ok())
        .unwrap_or(100_000);
    let world = World::new(count);
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
        box_secret: BoxSecret::from_seed(&[1; 32]),
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

struct World {
    network: NetworkId,
    devices: Vec<DeviceSecret>,
    key: EpochKey,
    events: Vec<Event>,
}

/// A device's last event and the one it heard of last.
#[derive(Clone, Copy)]
struct Tip {
    own: Option<(u32, u32, EventId)>,
    heard: (u32, EventId),
}

impl World {
    fn new(count: usize) -> Self {
        let seed = |kind: u8, n: usize| {
            let mut seed = [kind; 32];
            seed[..8].copy_from_slice(&(n as u64).to_be_bytes());
            seed
        };
        let users: Vec<_> = (0..LOUD + QUIET)
            .map(|n| UserSecret::from_seed(&seed(1, n)))
            .collect();
        let devices: Vec<_> = (0..LOUD + QUIET)
            .map(|n| DeviceSecret::from_seed(&seed(2, n)))
            .collect();
        let key = EpochKey::from_bytes([42; 32]);
        let args = FoundingArgs {
            name: "bench".parse().unwrap(),
            subnet: "10.7.0.0/16".parse().unwrap(),
            policy: Default::default(),
            user: &users[0],
            device: &devices[0],
            box_secret: BoxSecret::from_seed(&[1; 32]),
            host: "host-0".parse().unwrap(),
            address: None,
            wireguard: WgKey([1; 32]),
            epoch: key.clone(),
            recovery: RecoveryWords::from_entropy([7; 32]),
            nonce: [1; 16],
            salt: [2; 16],
            now: NOW,
        };
        let (mut ledger, _) = Ledger::found(MemoryStore::new(), args).unwrap();
        for n in 1..devices.len() {
            let joining = Joining {
                salt: [2; 16],
                host: format!("host-{n}").parse().unwrap(),
                address: None,
                wireguard: WgKey([3; 32]),
            };
            let act = Act::Admit(Admit {
                user: users[n].public(),
                device: devices[n].public(),
                box_key: BoxSecret::from_seed(&seed(3, n)).public(),
                certificate: users[n].certify(&devices[n].public()),
                digest: joining.digest(),
                redemption: None,
                at: NOW,
            });
            let attributes = Some(Attributes::Joining(joining));
            ledger.author(&devices[0], act, attributes, NOW).unwrap();
        }
        let network = ledger.network();
        let mut events: Vec<Event> = ledger.index().events().cloned().collect();
        let last = events.last().unwrap().clone();
        let heard = (last.header().lamport, last.id());
        let mut tips = vec![Tip { own: None, heard }; devices.len()];
        tips[0].own = Some((last.header().seq, heard.0, heard.1));
        while events.len() < count {
            let n = events.len();
            let at = if n.is_multiple_of(100) {
                LOUD + n / 100 % QUIET
            } else {
                (n * 7 + n / 50) % LOUD
            };
            let event = next(network, &devices[at], &key, tips[at], n as u64);
            let (seq, lamport) = (event.header().seq, event.header().lamport);
            tips[at].own = Some((seq, lamport, event.id()));
            if at < LOUD {
                // The nearest hear of it at once, and the next of the quiet ones before it writes.
                for hears in [(at + 1 + n % 5) % LOUD, LOUD + (n / 100 + 1) % QUIET] {
                    if lamport > tips[hears].heard.0 {
                        tips[hears].heard = (lamport, event.id());
                    }
                }
            }
            events.push(event);
        }
        Self {
            network,
            devices,
            key,
            events,
        }
    }

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
        Ledger::open(store, BoxSecret::from_seed(&[1; 32])).unwrap()
    }
}

fn next(network: NetworkId, device: &DeviceSecret, key: &EpochKey, tip: Tip, n: u64) -> Event {
    let author: DeviceId = device.public();
    let mut parents = vec![tip.heard.1];
    parents.extend(tip.own.map(|own| own.2));
    parents.sort_unstable();
    parents.dedup();
    let header = Header {
        network,
        author,
        seq: 1 + tip.own.map_or(0, |own| own.0),
        lamport: 1 + tip.heard.0.max(tip.own.map_or(0, |own| own.1)),
        time: NOW + n,
        epoch: EpochId::NONE,
        parents,
    };
    let host = format!("host-{n}").parse().unwrap();
    let attributes = Attributes::Writes(vec![Write::Host {
        device: author,
        host,
    }]);
    seal::sign(header, &Act::Private, Some((&attributes, key)), device).unwrap()
}
