//! What reading a long history costs: `cargo bench -p mesh-control [-- EVENTS]`, 100,000 events by default.
//!
//! One device writes an offer a time; each line is one answer of the daemon's, made from the open ledger, with its time.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::time::Instant;

use mesh_control::audit::answer;
use mesh_control::call::{Log, LogDiff, LogFilters, LogShow, Moment};
use mesh_ledger::epoch::KeyRing;
use mesh_ledger::event::act::Policy;
use mesh_ledger::event::attributes::{Audience, Offer, Opened, Protocol, Service, Write};
use mesh_ledger::event::{Act, Attributes, Header};
use mesh_ledger::fold::fold;
use mesh_ledger::graph::Graph;
use mesh_ledger::ids::{EventId, WgKey};
use mesh_ledger::keys::{BoxSecret, DeviceSecret, EpochKey, UserSecret};
use mesh_ledger::network::{FoundingArgs, Ledger};
use mesh_ledger::past::Reading;
use mesh_ledger::recovery::RecoveryWords;
use mesh_ledger::seal;
use mesh_ledger::store::memory::MemoryStore;

const NOW: u64 = 1_795_000_000_000;

fn main() {
    let count = std::env::args()
        .skip(1)
        .find_map(|argument| argument.parse().ok())
        .unwrap_or(100_000);
    let (graph, opened) = history(count);
    let fold = fold(&graph, &opened);
    let reading = Reading {
        graph: &graph,
        opened: (&opened).into(),
        fold: &fold,
        offer_keys: &KeyRing::new(),
    };
    let last = graph.event(graph.indices().next_back().unwrap()).id();
    let middle = graph.event(graph.indices().nth(count / 2).unwrap()).id();
    println!("{} events", graph.len());
    let log = |limit, filters| Log {
        limit,
        filters,
        ..Log::default()
    };
    let none = || std::iter::empty::<EventId>();
    let about = LogFilters {
        about: Some("alice".to_owned()),
        r#type: Some("withdraw".to_owned()),
        ..LogFilters::default()
    };
    timed("mesh log --limit 50", || {
        let log = answer::log(reading, &log(Some(50), LogFilters::default()), none());
        assert_eq!(log.unwrap().entries.len(), 50);
    });
    timed("mesh log (the newest 10,000)", || {
        answer::log(reading, &log(None, LogFilters::default()), none()).unwrap()
    });
    timed("mesh log --about alice --type withdraw --limit 50", || {
        answer::log(reading, &log(Some(50), about), none()).unwrap()
    });
    let show = LogShow {
        network: None,
        event: last.to_string()[..12].to_owned(),
    };
    timed("mesh log show", || {
        answer::shown(reading, &show, &BTreeSet::new()).unwrap()
    });
    let diff = LogDiff {
        network: None,
        from: Moment::Event(middle.to_string()),
        to: None,
    };
    timed("mesh log diff, from the middle to now", || {
        answer::differences(reading, &diff).unwrap()
    });
}

fn timed<T>(what: &str, run: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = run();
    println!("{:>9.1} ms  {what}", start.elapsed().as_secs_f64() * 1e3);
    result
}

/// A network whose founder offers and withdraws.
fn history(count: usize) -> (Graph, Vec<Opened>) {
    let (user, device) = (
        UserSecret::from_seed(&[1; 32]),
        DeviceSecret::from_seed(&[2; 32]),
    );
    let key = EpochKey::from_bytes([5; 32]);
    let args = FoundingArgs {
        name: "bench".parse().unwrap(),
        subnet: "10.73.20.0/24".parse().unwrap(),
        policy: Policy::default(),
        user: &user,
        device: &device,
        box_secret: BoxSecret::from_seed(&[3; 32]),
        host: "alice".parse().unwrap(),
        address: None,
        wireguard: WgKey([4; 32]),
        epoch: key.clone(),
        recovery: RecoveryWords::from_entropy([6; 32]),
        nonce: [7; 16],
        salt: [8; 16],
        now: NOW,
    };
    let (ledger, _) = Ledger::found(MemoryStore::new(), args).unwrap();
    let genesis = ledger.graph().indices().next().unwrap();
    let mut last = ledger.graph().event(genesis);
    let mut opened = vec![ledger.opened(genesis)];
    let mut graph = Graph::new();
    graph.insert(last.clone()).unwrap();
    for n in 0..count as u32 {
        let what = Service::Port {
            protocol: Protocol::Tcp,
            first: 22,
            last: 22,
        };
        let offer = Offer {
            what,
            name: None,
            audience: Audience::Everyone,
            until: None,
        };
        let attributes = Attributes::Writes(vec![Write::Offer {
            device: device.public(),
            slot: n / 2 % 64,
            offer: (n % 2 == 0).then_some(offer),
        }]);
        let header = Header {
            network: ledger.network(),
            author: device.public(),
            seq: n + 2,
            lamport: n + 1,
            time: NOW + u64::from(n),
            epoch: key.id(),
            parents: vec![last.id()],
        };
        last = seal::sign(header, &Act::Private, Some((&attributes, &key)), &device).unwrap();
        graph.insert(last.clone()).unwrap();
        opened.push(Opened::Open(attributes));
    }
    (graph, opened)
}
