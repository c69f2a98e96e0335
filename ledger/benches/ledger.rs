//! What the ledger costs at size: `cargo bench -p mesh-ledger --features sqlite [-- EVENTS]`, 20,000 events by default.
//!
//! One history of 50 devices that hear of each other after a while; every event is signed and most are sealed. Each line
//! is one operation with its time.
#![allow(clippy::print_stdout, clippy::unwrap_used)]
// A bench is a shell: it measures with the clock.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod world;

use std::time::Instant;

use mesh_ledger::event::act::{Remove, Target};
use mesh_ledger::event::attributes::Write;
use mesh_ledger::event::{Act, Attributes, Event};
use mesh_ledger::fold;
use mesh_ledger::network::Ledger;
use mesh_ledger::parking::Source;
use mesh_ledger::store::Store;
use mesh_ledger::store::memory::MemoryStore;
use mesh_ledger::store::sqlite::SqliteStore;
use mesh_ledger::wire::{Index, Message, Sync};
use world::{NOW, World};

const DEVICES: usize = 50;

fn main() {
    let count = std::env::args()
        .skip(1)
        .find_map(|argument| argument.parse().ok())
        .unwrap_or(20_000);
    println!("{count} events by {DEVICES} devices");

    let mut world = timed("write the history (sign and seal)", || {
        World::new(DEVICES, 0, count)
    });
    let bytes: Vec<Vec<u8>> = world
        .events
        .iter()
        .map(|event| event.bytes().to_vec())
        .collect();
    println!(
        "  {:.1} MB",
        bytes.iter().map(Vec::len).sum::<usize>() as f64 / 1e6
    );

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.db");
    let mut store = SqliteStore::open(&path).unwrap();
    store.append(&world.events[..1]).unwrap();
    store.add_epoch_keys(&[world.key.clone()]).unwrap();
    let mut ledger = Ledger::open(store, world.box_secret.clone()).unwrap();
    timed(
        "receive it in one batch (signatures, gate, SQLite, fold)",
        || {
            let receipt = ledger.receive(Source::File, &bytes[1..], NOW).unwrap();
            assert_eq!(receipt.added.len(), bytes.len() - 1);
        },
    );
    drop(ledger);
    let mut ledger = timed("open it (SQLite, hashes, gate, unseal, fold)", || {
        Ledger::open(SqliteStore::open(&path).unwrap(), world.box_secret.clone()).unwrap()
    });
    let opened: Vec<_> = ledger
        .graph()
        .indices()
        .map(|idx| ledger.opened(idx))
        .collect();
    timed("fold it", || fold::fold(ledger.graph(), &opened));
    one_by_one(&world, &bytes);
    timed("write one event", || {
        ledger
            .author(&world.devices[0], Act::Merge, None, NOW)
            .unwrap()
    });
    let kick = Act::Remove(Remove {
        target: Target::Device(world.devices[7].public()),
        cut: None,
        closes: Vec::new(),
        by_user: None,
    });
    timed("kick a device", || {
        ledger.author(&world.devices[0], kick, None, NOW).unwrap()
    });
    timed("verify every stored event", || {
        assert!(ledger.verify().unwrap().faults.is_empty());
    });
    timed("export the newest segment to Automerge", || {
        let newest = ledger.segments().last().unwrap();
        let documents = ledger.export(newest).unwrap();
        println!("  {} bytes", documents.iter().map(Vec::len).sum::<usize>());
    });

    let full = ledger.index();
    timed(
        "sync an empty replica (comparison and transfer alone)",
        || {
            run_sync(full, Index::new());
        },
    );
    let cut = world.events.len() - world.events.len() / 100;
    let mut behind = Index::new();
    behind.extend(world.events.drain(..cut));
    timed("sync a replica that lacks the last 1 %", || {
        run_sync(full, behind);
    });
}

/// What single events cost a ledger of all before them, without the disk.
fn one_by_one(world: &World, bytes: &[Vec<u8>]) {
    let (before, after) = bytes.split_at(bytes.len() - 1000);
    let mut store = MemoryStore::new();
    let early: Vec<Event> = before
        .iter()
        .map(|bytes| Event::decode_unverified(bytes).unwrap())
        .collect();
    store.append(&early).unwrap();
    store
        .add_epoch_keys(std::slice::from_ref(&world.key))
        .unwrap();
    let mut ledger = timed("open it from memory", || {
        Ledger::open(store, world.box_secret.clone()).unwrap()
    });
    let times: Vec<_> = after
        .iter()
        .map(|bytes| {
            let start = Instant::now();
            ledger
                .receive(Source::File, std::slice::from_ref(bytes), NOW)
                .unwrap();
            start.elapsed()
        })
        .collect();
    println!(
        "{:>9.3} ms  receive one event, without a disk",
        mean(&times)
    );
    let times: Vec<_> = (0..1000)
        .map(|n| {
            let start = Instant::now();
            let device = &world.devices[n % world.devices.len()];
            let host = format!("new-{n}").parse().unwrap();
            let device_id = device.public();
            let write = Write::Host {
                device: device_id,
                host,
            };
            ledger
                .author(
                    device,
                    Act::Private,
                    Some(Attributes::Writes(vec![write])),
                    NOW,
                )
                .unwrap();
            start.elapsed()
        })
        .collect();
    println!("{:>9.3} ms  write one event, without a disk", mean(&times));
}

fn mean(times: &[std::time::Duration]) -> f64 {
    let all: std::time::Duration = times.iter().sum();
    all.as_secs_f64() * 1e3 / times.len() as f64
}

fn timed<T>(what: &str, run: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = run();
    println!("{:>9.1} ms  {what}", start.elapsed().as_secs_f64() * 1e3);
    result
}

fn run_sync(full: &Index, mut other: Index) {
    let (mut giver, mut taker) = (Sync::new(), Sync::new());
    let mut to_giver = taker.start(&other);
    let (mut bytes, mut messages) = (0, 0);
    while !to_giver.is_empty() {
        let mut to_taker = Vec::new();
        for message in to_giver.drain(..) {
            to_taker.extend(giver.receive(message, full).send);
        }
        for message in to_taker {
            let encoded = message.encode();
            bytes += encoded.len();
            messages += 1;
            let step = taker.receive(Message::decode(&encoded).unwrap(), &other);
            let events = step.events.iter();
            other.extend(events.map(|bytes| Event::decode_unverified(bytes).unwrap()));
            to_giver.extend(step.send);
        }
    }
    assert_eq!(other.len(), full.len());
    println!("  {bytes} bytes in {messages} messages");
}
