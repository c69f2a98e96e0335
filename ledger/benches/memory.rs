//! What accepted events keep in memory: `cargo bench -p mesh-ledger --features sqlite --bench memory [-- EVENTS] [KIND…]`,
//! 100,000 events by default.
//!
//! A member writes as much as it can of one kind, each event valid and on top of the one before, and a ledger with a SQLite
//! store takes it in messages of sync's size. Each kind in a process of its own, so that what it holds is what is measured:
//! resident memory above that of the empty ledger for each event, the most that was ever resident, how long the events took,
//! what of it the parts hold by their own account, and the same after opening the store anew. The bar is 300 MB for a million.
#![allow(clippy::unwrap_used, clippy::print_stdout)]
// A bench is a shell: it measures with the clock and starts itself.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod world;

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use mesh_ledger::event::act::{Admit, Grant, Remove, Target};
use mesh_ledger::event::attributes::{Audience, Joining, Offer, Protocol, Service, Write};
use mesh_ledger::event::{Act, Attributes, Header};
use mesh_ledger::ids::{DeviceId, Digest, EpochId, EventId, NetworkId, UserId, WgKey};
use mesh_ledger::keys::{BoxSecret, DeviceSecret, EpochKey, UserSecret};
use mesh_ledger::network::Ledger;
use mesh_ledger::parking::Source;
use mesh_ledger::seal;
use mesh_ledger::store::{Store, sqlite::SqliteStore};
use world::{NOW, World};

const KINDS: [&str; 9] = [
    "merge", "offer", "slots", "rename", "pending", "grant", "remove", "admit", "fork",
];
/// How many events a message of sync holds, about.
const BATCH: usize = 500;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let count = arguments.iter().find_map(|argument| argument.parse().ok());
    let count: u32 = count.unwrap_or(100_000);
    let named = |kind: &&&str| arguments.iter().any(|argument| argument == **kind);
    if arguments.iter().any(|argument| argument == "--open") {
        return reopen(Path::new(arguments.last().unwrap()));
    }
    if arguments.iter().any(|argument| argument == "--here") {
        return KINDS
            .iter()
            .filter(named)
            .for_each(|kind| flood(kind, count));
    }
    let mut kinds: Vec<&&str> = KINDS.iter().filter(named).collect();
    if kinds.is_empty() {
        kinds = KINDS.iter().collect();
    }
    println!("{count} events of one member");
    for kind in kinds {
        let me = std::env::current_exe().unwrap();
        let arguments = [*kind, &count.to_string(), "--here"];
        assert!(Command::new(me).args(arguments).status().unwrap().success());
    }
}

fn flood(kind: &str, count: u32) {
    let world = World::new(2, 0, 2);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.db");
    let mut store = SqliteStore::open(&path).unwrap();
    store.append(&world.events).unwrap();
    store
        .add_epoch_keys(std::slice::from_ref(&world.key))
        .unwrap();
    drop(store);
    let mut ledger = open(&path, &world);
    let mut chain = Chain::new(&world);
    let before = kilobytes("VmRSS:");
    let (mut done, mut taken) = (0, std::time::Duration::ZERO);
    while done < count {
        let batch = (done..count).take(BATCH);
        let batch: Vec<Vec<u8>> = batch.map(|n| chain.next(kind, n)).collect();
        let started = Instant::now();
        let from = Source::Sync(chain.device.public());
        let receipt = ledger.receive(from, &batch, NOW).unwrap();
        taken += started.elapsed();
        assert_eq!(receipt.added.len(), batch.len(), "{:?}", receipt.refused);
        done += batch.len() as u32;
    }
    let each = |kilobytes: usize| kilobytes * 1024 / count as usize;
    let held = kilobytes("VmRSS:").saturating_sub(before);
    println!(
        "{kind}: {} bytes an event, at most {} MB resident; {taken:?}",
        each(held),
        kilobytes("VmHWM:") / 1024,
    );
    let parts = ledger.held();
    let parts = parts
        .iter()
        .map(|(part, bytes)| format!("{part} {}", bytes / count as usize));
    println!("  {}", parts.collect::<Vec<_>>().join(", "));
    drop(ledger);
    // What this process gave back may stay resident.
    let me = std::env::current_exe().unwrap();
    let arguments = [kind, "--open", path.to_str().unwrap()];
    assert!(Command::new(me).args(arguments).status().unwrap().success());
}

/// Opens a store that is there.
fn reopen(path: &Path) {
    let started = Instant::now();
    let ledger = open(path, &World::new(2, 0, 2));
    println!(
        "  opened anew in {:?}: {} events, at most {} MB resident",
        started.elapsed(),
        ledger.graph().len(),
        kilobytes("VmHWM:") / 1024
    );
}

fn open(path: &Path, world: &World) -> Ledger<SqliteStore> {
    Ledger::open(SqliteStore::open(path).unwrap(), world.box_secret.clone()).unwrap()
}

/// What the member writes.
struct Chain {
    network: NetworkId,
    device: DeviceSecret,
    key: EpochKey,
    last: (EventId, u32),
    seq: u32,
}

impl Chain {
    fn new(world: &World) -> Self {
        let last = world.events.last().unwrap();
        let last = (last.id(), last.header().lamport);
        Self {
            network: world.network,
            device: world.devices[1].clone(),
            key: world.key.clone(),
            last,
            seq: 0,
        }
    }

    fn next(&mut self, kind: &str, n: u32) -> Vec<u8> {
        let device: DeviceId = self.device.public();
        let writes = |write| (Act::Private, Some(Attributes::Writes(vec![write])));
        let somebody = UserId(*blake3::hash(&n.to_be_bytes()).as_bytes());
        let port = 1 + (n % 60_000) as u16;
        let offer = |slot| {
            let offer = Some(Offer {
                what: Service::Port {
                    protocol: Protocol::Tcp,
                    first: port,
                    last: port,
                },
                name: None,
                audience: Audience::Everyone,
                until: None,
            });
            writes(Write::Offer {
                device,
                slot,
                offer,
            })
        };
        let (act, attributes) = match kind {
            "offer" => offer(n % 16),
            "slots" => offer(n),
            "rename" | "pending" => {
                let host = format!("host-{n}").parse().unwrap();
                writes(Write::Host { device, host })
            }
            "grant" => (Act::Grant(Grant { user: somebody }), None),
            "remove" => {
                let remove = Remove {
                    target: Target::User(somebody),
                    cut: None,
                    closes: Vec::new(),
                    by_user: None,
                };
                (Act::Remove(remove), None)
            }
            "admit" => {
                let joining = Joining {
                    salt: [0; 16],
                    host: "stranger".parse().unwrap(),
                    address: None,
                    wireguard: WgKey([1; 32]),
                };
                let admit = stranger(n, joining.digest());
                (Act::Admit(admit), Some(Attributes::Joining(joining)))
            }
            _ => (Act::Merge, None),
        };
        if kind == "pending" {
            self.key = EpochKey::from_bytes(*blake3::hash(&n.to_be_bytes()).as_bytes());
        }
        let header = Header {
            network: self.network,
            author: device,
            seq: 1 + self.seq,
            lamport: 1 + self.last.1,
            time: NOW + u64::from(n),
            epoch: EpochId::NONE,
            parents: vec![self.last.0],
        };
        let sealed = attributes
            .as_ref()
            .map(|attributes| (attributes, &self.key));
        let event = seal::sign(header, &act, sealed, &self.device).unwrap();
        if kind != "fork" {
            self.last = (event.id(), event.header().lamport);
            self.seq += 1;
        }
        event.bytes().to_vec()
    }
}

/// An admission of somebody whom nobody invited.
fn stranger(n: u32, digest: Digest) -> Admit {
    let seed = |kind: &str| *blake3::hash(format!("{kind} {n}").as_bytes()).as_bytes();
    let user = UserSecret::from_seed(&seed("user"));
    let device = DeviceSecret::from_seed(&seed("device")).public();
    Admit {
        user: user.public(),
        device,
        box_key: BoxSecret::from_seed(&seed("box")).public(),
        certificate: user.certify(&device),
        digest,
        redemption: None,
        at: NOW,
    }
}

/// What the process holds, or ever held.
fn kilobytes(what: &str) -> usize {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(what));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.unwrap_or(0)
}
