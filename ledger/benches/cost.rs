//! What one member's events cost everybody else: `cargo bench -p mesh-ledger --features sqlite --bench cost [-- EVENTS]`,
//! 1,600 events by default.
//!
//! One member writes as many events of a kind that once cost more than others, and a ledger with a SQLite store takes them
//! in one batch. Beside each kind stands a clean history of as many events, and every figure is given as a ratio to it too:
//! taking the batch without the signature checks of its events, opening the ledger, a later write by somebody else, a kick, and
//! a kick since an event in the midst.
#![allow(clippy::print_stdout, clippy::unwrap_used)]
// A bench is a shell: it measures with the clock.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod world;

use std::time::Instant;

use mesh_ledger::cut::{self, Since};
use mesh_ledger::event::act::{DeviceAdd, Remove, Target};
use mesh_ledger::event::attributes::{Joining, Write};
use mesh_ledger::event::{Act, Attributes, Event, Header};
use mesh_ledger::ids::{EpochId, EventId, WgKey};
use mesh_ledger::keys::{BoxSecret, DeviceSecret, Domain};
use mesh_ledger::network::Ledger;
use mesh_ledger::parking::Source;
use mesh_ledger::seal;
use mesh_ledger::store::{Store, sqlite::SqliteStore};
use world::{NOW, World};

/// Milliseconds of each step.
struct Figures {
    take: f64,
    open: f64,
    write: f64,
    kick: f64,
    since: f64,
}

/// A device's last event.
#[derive(Clone, Copy)]
struct Tip {
    seq: u32,
    lamport: u32,
    id: EventId,
}

fn main() {
    let count = std::env::args().skip(1).find_map(|word| word.parse().ok());
    let count: usize = count.unwrap_or(1_600);
    println!("{count} events of one member; milliseconds, and times those of the clean history");
    println!(
        "                         take (no signatures)       open     a write        kick  kick since"
    );
    for (clean, kinds) in [
        ("chain", &["fork", "aside"][..]),
        ("devices", &["mutual"][..]),
    ] {
        let base = measure(clean, count);
        show(clean, &base, &base);
        for kind in kinds {
            show(kind, &measure(kind, count), &base);
        }
    }
}

fn show(kind: &str, found: &Figures, base: &Figures) {
    print!("{kind:>24}");
    for (found, base) in [
        (found.take, base.take),
        (found.open, base.open),
        (found.write, base.write),
        (found.kick, base.kick),
        (found.since, base.since),
    ] {
        print!(" {found:>9.2} ×{:<5.2}", found / base);
    }
    println!();
}

fn measure(kind: &str, count: usize) -> Figures {
    let world = World::new(2, 0, 2);
    let events = history(&world, kind, count);
    let bytes: Vec<Vec<u8>> = events.iter().map(|event| event.bytes().to_vec()).collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.db");
    let mut store = SqliteStore::open(&path).unwrap();
    store.append(&world.events).unwrap();
    store
        .add_epoch_keys(std::slice::from_ref(&world.key))
        .unwrap();
    let mut ledger = Ledger::open(store, world.box_secret.clone()).unwrap();
    let signatures = timed(|| {
        bytes
            .iter()
            .for_each(|one| drop(Event::decode(one).unwrap()))
    });
    let take = timed(|| {
        let receipt = ledger.receive(Source::File, &bytes, NOW).unwrap();
        assert_eq!(
            receipt.added.len(),
            bytes.len(),
            "{:?}",
            receipt.refused.first()
        );
    });
    drop(ledger);
    let opened = || {
        let store = SqliteStore::open(&path).unwrap();
        Ledger::open(store, world.box_secret.clone()).unwrap()
    };
    let mut ledger = None;
    let open = timed(|| ledger = Some(opened()));
    let mut ledger = ledger.unwrap();
    let alice = &world.devices[0];
    let write = timed(|| {
        for _ in 0..20 {
            ledger.author(alice, Act::Merge, None, NOW).unwrap();
        }
    }) / 20.0;
    let user = world.users[1].public();
    let kick = |cut| {
        Act::Remove(Remove {
            target: Target::User(user),
            cut,
            closes: Vec::new(),
            by_user: None,
        })
    };
    let written = ledger.graph().len();
    let kicked = timed(|| drop(ledger.author(alice, kick(None), None, NOW).unwrap()));
    assert!(ledger.graph().len() - written < 20, "too many merges");
    let middle = events[events.len() / 2].id();
    let since = timed(|| {
        let found = cut::cut(ledger.graph(), &user, Some(&Since::Event(middle))).unwrap();
        ledger
            .author(alice, kick(Some(found.heads)), None, NOW)
            .unwrap();
    });
    Figures {
        take: take - signatures,
        open,
        write,
        kick: kicked,
        since,
    }
}

/// As many events by the second device's user.
fn history(world: &World, kind: &str, count: usize) -> Vec<Event> {
    let (bob, user) = (&world.devices[1], &world.users[1]);
    let last = world.events.last().unwrap();
    let admitted = Tip {
        seq: 0,
        lamport: last.header().lamport,
        id: last.id(),
    };
    let mut events = Vec::new();
    let first = rename(world, bob, &[admitted], admitted.seq, 0);
    let first = put(&mut events, first);
    let mut tip = first;
    let further = |n: usize| {
        let mut seed = [9; 32];
        seed[..8].copy_from_slice(&(n as u64).to_be_bytes());
        DeviceSecret::from_seed(&seed)
    };
    match kind {
        "chain" => {
            while events.len() < count {
                let event = rename(world, bob, &[tip], tip.seq, events.len());
                tip = put(&mut events, event);
            }
        }
        "fork" => {
            while events.len() < count {
                let event = rename(world, bob, &[first], first.seq, events.len());
                put(&mut events, event);
            }
        }
        // Forks that name their device's last event through another device's.
        "aside" => {
            let other = further(0);
            let event = add(world, &other, &[first], 0, 0);
            let mut beside = put(&mut events, event);
            while events.len() < count {
                let event = rename(world, bob, &[beside], first.seq, events.len());
                put(&mut events, event);
                let event = rename(world, &other, &[beside], beside.seq, events.len());
                beside = put(&mut events, event);
            }
        }
        // Half of them bring a device, the others remove one each.
        "devices" | "mutual" => {
            let mut cut = vec![first.id];
            let mut seq = 0;
            for n in 0..count / 2 {
                let same = kind == "mutual";
                let device = further(if same { 0 } else { n });
                let event = add(world, &device, &[tip], seq, n);
                tip = put(&mut events, event);
                seq = if same { tip.seq } else { 0 };
            }
            cut.push(tip.id);
            let mut seq = first.seq;
            for n in 0..count / 2 {
                let device = further(if kind == "mutual" { 0 } else { n }).public();
                let cut = vec![tip.id];
                let message = mesh_ledger::event::act::own_device_message(
                    &world.network,
                    &device,
                    Some(&cut),
                );
                let signer = if kind == "mutual" {
                    &world.users[0]
                } else {
                    user
                };
                let act = Act::Remove(Remove {
                    target: Target::Device(device),
                    cut: Some(cut),
                    closes: Vec::new(),
                    by_user: Some(signer.sign(Domain::OwnDevice, &message)),
                });
                let header = header(world, bob, &[tip], seq, n);
                let event = seal::sign(header, &act, None, bob).unwrap();
                tip = put(&mut events, event);
                seq = tip.seq;
            }
        }
        _ => unreachable!(),
    }
    events
}

fn put(events: &mut Vec<Event>, event: Event) -> Tip {
    let tip = Tip {
        seq: event.header().seq,
        lamport: event.header().lamport,
        id: event.id(),
    };
    events.push(event);
    tip
}

fn header(world: &World, device: &DeviceSecret, parents: &[Tip], seq: u32, n: usize) -> Header {
    let mut ids: Vec<EventId> = parents.iter().map(|tip| tip.id).collect();
    ids.sort_unstable();
    Header {
        network: world.network,
        author: device.public(),
        seq: 1 + seq,
        lamport: 1 + parents.iter().map(|tip| tip.lamport).max().unwrap(),
        time: NOW + n as u64,
        epoch: EpochId::NONE,
        parents: ids,
    }
}

fn rename(world: &World, device: &DeviceSecret, parents: &[Tip], seq: u32, n: usize) -> Event {
    let write = Write::Host {
        device: device.public(),
        host: format!("host-{}", n % 7).parse().unwrap(),
    };
    let header = header(world, device, parents, seq, n);
    let attributes = Attributes::Writes(vec![write]);
    seal::sign(
        header,
        &Act::Private,
        Some((&attributes, &world.key)),
        device,
    )
    .unwrap()
}

fn add(world: &World, device: &DeviceSecret, parents: &[Tip], seq: u32, n: usize) -> Event {
    let user = &world.users[1];
    let joining = Joining {
        salt: [2; 16],
        host: format!("further-{n}").parse().unwrap(),
        address: None,
        wireguard: WgKey([3; 32]),
    };
    let act = Act::DeviceAdd(DeviceAdd {
        user: user.public(),
        device: device.public(),
        box_key: BoxSecret::from_seed(&[8; 32]).public(),
        certificate: user.certify(&device.public()),
    });
    let header = header(world, device, parents, seq, n);
    let attributes = Attributes::Joining(joining);
    seal::sign(header, &act, Some((&attributes, &world.key)), device).unwrap()
}

fn timed(run: impl FnOnce()) -> f64 {
    let start = Instant::now();
    run();
    start.elapsed().as_secs_f64() * 1e3
}
