//! A member who means ill and pushes as fast as it can: memory stays bounded, others are served meanwhile, and the store is
//! intact. One test in a process of its own, so that the memory it sees is its own.
#![cfg(feature = "sqlite")]
#![allow(clippy::unwrap_used)]
// Test worlds have files.
#![allow(clippy::disallowed_methods)]

use mesh_ledger::event::act::Admit;
use mesh_ledger::event::attributes::Joining;
use mesh_ledger::event::{Act, Attributes, BadEvent, Event, Header, MAX_LAMPORT};
use mesh_ledger::gate::Refusal;
use mesh_ledger::ids::{EpochId, EventId, WgKey};
use mesh_ledger::keys::{BoxSecret, DeviceSecret, EpochKey, UserSecret};
use mesh_ledger::network::{FoundingArgs, Ledger, verify_store};
use mesh_ledger::parking::{Parking, Source};
use mesh_ledger::recovery::RecoveryWords;
use mesh_ledger::store::sqlite::SqliteStore;
use mesh_ledger::wire::{Index, MAX_FRAME, Message, Sync};

const NOW: u64 = 1_795_000_000_000;
/// What all attacks together may add to the process.
const MOST: u64 = 96 << 20;

/// The most memory this process ever held, in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let number = line.unwrap().split_whitespace().nth(1).unwrap();
    1024 * number.parse::<u64>().unwrap()
}

struct World {
    ledger: Ledger<SqliteStore>,
    alice: DeviceSecret,
    mallory: DeviceSecret,
    bob: DeviceSecret,
}

fn world(folder: &std::path::Path) -> World {
    let (user, alice) = (
        UserSecret::from_seed(&[1; 32]),
        DeviceSecret::from_seed(&[2; 32]),
    );
    let args = FoundingArgs {
        name: "net".parse().unwrap(),
        subnet: "10.7.0.0/24".parse().unwrap(),
        policy: Default::default(),
        user: &user,
        device: &alice,
        box_secret: BoxSecret::from_seed(&[3; 32]),
        host: "alice".parse().unwrap(),
        address: None,
        wireguard: WgKey([1; 32]),
        epoch: EpochKey::from_bytes([42; 32]),
        recovery: RecoveryWords::from_entropy([7; 32]),
        nonce: [1; 16],
        salt: [2; 16],
        now: NOW,
    };
    let store = SqliteStore::open(&folder.join("ledger.db")).unwrap();
    let (mut ledger, _) = Ledger::found(store, args).unwrap();
    let mut admit = |n: u8| {
        let (user, device) = (
            UserSecret::from_seed(&[n; 32]),
            DeviceSecret::from_seed(&[n + 1; 32]),
        );
        let joining = Joining {
            salt: [n; 16],
            host: format!("host-{n}").parse().unwrap(),
            address: None,
            wireguard: WgKey([n; 32]),
        };
        let act = Act::Admit(Admit {
            user: user.public(),
            device: device.public(),
            box_key: BoxSecret::from_seed(&[n; 32]).public(),
            certificate: user.certify(&device.public()),
            digest: joining.digest(),
            redemption: None,
            at: NOW,
        });
        let attributes = Some(Attributes::Joining(joining));
        ledger.author(&alice, act, attributes, NOW).unwrap();
        device
    };
    let (mallory, bob) = (admit(10), admit(20));
    World {
        ledger,
        alice,
        mallory,
        bob,
    }
}

impl World {
    /// A merge of one device on the newest head, changed.
    fn merge(&self, device: &DeviceSecret, change: impl Fn(&mut Header)) -> Event {
        let head = self.ledger.heads()[0];
        let graph = self.ledger.graph();
        let mine = graph
            .by_author(&device.public())
            .map(|idx| graph.event(idx).header().seq)
            .max();
        let mut header = Header {
            network: self.ledger.network(),
            author: device.public(),
            seq: 1 + mine.unwrap_or(0),
            lamport: 1 + graph.event(graph.find(&head).unwrap()).header().lamport,
            time: NOW,
            epoch: EpochId::NONE,
            parents: vec![head],
        };
        change(&mut header);
        Event::sign(&header, &Act::Merge, &[], device).unwrap()
    }

    /// Somebody else's honest event gets through now.
    fn serves(&mut self) {
        let event = self.merge(&self.bob, |_| {});
        let source = Source::Sync(self.bob.public());
        let receipt = self
            .ledger
            .receive(source, &[event.bytes().to_vec()], NOW)
            .unwrap();
        assert_eq!(receipt.added, [event.id()]);
        assert_eq!(receipt.wait, 0);
    }
}

#[test]
fn a_member_who_floods_costs_bounded_memory_and_nobody_else_anything() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = world(folder.path());
    let mallory = Source::Sync(world.mallory.public());
    let begun = peak();

    // Numbers that jump.
    for (seq, lamport) in [(9, 0), (MAX_LAMPORT - 1, 0), (0, 7), (0, MAX_LAMPORT - 1)] {
        let event = world.merge(&world.mallory, |header| {
            if seq > 0 {
                header.seq = seq;
            }
            if lamport > 0 {
                header.lamport = lamport;
            }
        });
        let refused = world
            .ledger
            .receive(mallory, &[event.bytes().to_vec()], NOW)
            .unwrap()
            .refused;
        assert!(
            matches!(refused[..], [(_, Refusal::Misfit(_))]),
            "{refused:?}"
        );
    }
    let mut beyond = world.merge(&world.mallory, |_| {}).bytes().to_vec();
    beyond[69..73].copy_from_slice(&MAX_LAMPORT.to_be_bytes());
    assert_eq!(
        Event::decode(&beyond),
        Err(BadEvent::Form("seq or lamport"))
    );
    world.serves();

    // As much as it can sign whose parents nobody has, each as large as an event can be: some eighty megabytes.
    let network = world.ledger.network();
    let mut count = 0u32;
    let mut unknown = || {
        count += 1;
        let mut parent = [0xee; 32];
        parent[..4].copy_from_slice(&count.to_be_bytes());
        let header = Header {
            network,
            author: world.mallory.public(),
            seq: 2,
            lamport: 9,
            time: NOW,
            epoch: EpochId([5; 32]),
            parents: vec![EventId(parent)],
        };
        let sealed = vec![count as u8; 3800];
        let event = Event::sign(&header, &Act::Private, &sealed, &world.mallory).unwrap();
        event.bytes().to_vec()
    };
    for round in 0..80 {
        let batch: Vec<Vec<u8>> = (0..256).map(|_| unknown()).collect();
        let receipt = world.ledger.receive(mallory, &batch, NOW).unwrap();
        assert_eq!(receipt.added, []);
        assert!(world.ledger.parked() <= Parking::MAX_EVENTS);
        assert!(receipt.missing.len() <= Parking::MAX_EVENTS);
        if round % 20 == 0 {
            let event = world.ledger.author(&world.alice, Act::Merge, None, NOW);
            assert!(event.is_ok());
        }
    }
    world.serves();
    world.ledger.forget(mallory);
    assert_eq!(world.ledger.parked(), 0);

    // More than its share of good ones, pushed: they count, and it has to wait.
    let mut pushed = 0;
    let push = Source::Push(world.mallory.public());
    let mut wait = 0;
    while wait == 0 {
        let event = world.merge(&world.mallory, |_| {});
        let batch = [event.bytes().to_vec()];
        let receipt = world.ledger.receive(push, &batch, NOW).unwrap();
        assert_eq!(receipt.added, [event.id()]);
        (pushed, wait) = (pushed + 1, receipt.wait);
    }
    assert_eq!((pushed, wait), (257, 60_000));
    world.serves();

    sessions(world.ledger.index());
    let grown = peak() - begun;
    assert!(grown < MOST, "{} MB more", grown >> 20);

    // What is on the disk is whole, from the first event on.
    let events = world.ledger.graph().len();
    drop(world);
    let store = SqliteStore::open_to_read(&folder.path().join("ledger.db")).unwrap();
    let verified = verify_store(&store, &network).unwrap();
    assert!(verified.faults.is_empty(), "{:?}", verified.faults);
    assert_eq!(verified.good, events);
}

/// A peer that compares, asks and never takes: what a session remembers of it and answers at once is bounded.
fn sessions(index: &Index) {
    let mut sync = Sync::new();
    let mut sent = 0;
    let all: Vec<EventId> = index.events().map(|event| event.id()).collect();
    for round in 1..300 {
        let table = Message::Table {
            round,
            first: 0,
            last: u32::MAX,
            segments: Vec::new(),
        };
        let fetch = Message::Fetch(all.iter().cycle().take(8192).copied().collect());
        for message in [table, fetch] {
            let bytes = message.encode();
            assert!(bytes.len() <= MAX_FRAME);
            let step = sync.receive(Message::decode(&bytes).unwrap(), index);
            sent += step
                .send
                .iter()
                .filter(|message| matches!(message, Message::Events(_)))
                .count();
        }
    }
    assert_eq!(sent, mesh_ledger::wire::WINDOW, "nothing was acknowledged");
}
