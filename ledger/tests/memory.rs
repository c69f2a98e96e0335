//! What an accepted event takes of a member's memory, whoever wrote it.
//!
//! There is one test in this file, so that the process is its own: other tests' memory would be measured too. The bench of the
//! same name has the figures for a million, and for each kind of event.
#![allow(clippy::unwrap_used)]
// The test looks at its own process, and has a file of its own.
#![allow(clippy::disallowed_methods)]

use mesh_ledger::event::attributes::{Audience, Offer, Protocol, Service, Write};
use mesh_ledger::event::{Act, Attributes, Header};
use mesh_ledger::ids::{EpochId, WgKey};
use mesh_ledger::keys::{BoxSecret, DeviceSecret, EpochKey, UserSecret};
use mesh_ledger::network::{FoundingArgs, Ledger};
use mesh_ledger::parking::Source;
use mesh_ledger::recovery::RecoveryWords;
use mesh_ledger::seal;
use mesh_ledger::store::sqlite::SqliteStore;

const NOW: u64 = 1_795_000_000_000;
/// Until then what is bounded by itself has filled: the last bodies read, the database's pages.
const FIRST: u32 = 12_000;
const ALL: u32 = 42_000;
/// The most bytes of an event: a million leave room below 300 MB.
const MOST: usize = 250;

#[test]
fn an_event_that_was_taken_leaves_less_than_250_bytes_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&folder.path().join("net.db")).unwrap();
    let device = DeviceSecret::from_seed(&[2; 32]);
    let key = EpochKey::from_bytes([42; 32]);
    let args = FoundingArgs {
        name: "home".parse().unwrap(),
        subnet: "10.7.0.0/24".parse().unwrap(),
        policy: Default::default(),
        user: &UserSecret::from_seed(&[1; 32]),
        device: &device,
        box_secret: BoxSecret::from_seed(&[3; 32]),
        host: "alice".parse().unwrap(),
        address: None,
        wireguard: WgKey([1; 32]),
        epoch: key.clone(),
        recovery: RecoveryWords::from_entropy([7; 32]),
        nonce: [1; 16],
        salt: [2; 16],
        now: NOW,
    };
    let (mut ledger, _) = Ledger::found(store, args).unwrap();
    let (network, mut last) = (ledger.network(), ledger.heads()[0]);
    let (mut before, mut batch) = (0, Vec::new());
    for n in 1..=ALL {
        // Every other one says something.
        let offer = Attributes::Writes(vec![Write::Offer {
            device: device.public(),
            slot: n % 16,
            offer: Some(Offer {
                what: Service::Port {
                    protocol: Protocol::Tcp,
                    first: 1 + n as u16,
                    last: 1 + n as u16,
                },
                name: None,
                audience: Audience::Everyone,
                until: None,
            }),
        }]);
        let (act, sealed) = match n % 2 {
            0 => (Act::Private, Some((&offer, &key))),
            _ => (Act::Merge, None),
        };
        let header = Header {
            network,
            author: device.public(),
            seq: 1 + n,
            lamport: n,
            time: NOW,
            epoch: EpochId::NONE,
            parents: vec![last],
        };
        let event = seal::sign(header, &act, sealed, &device).unwrap();
        last = event.id();
        batch.push(event.bytes().to_vec());
        if batch.len() == 500 {
            let taken = ledger.receive(Source::File, &batch, NOW).unwrap();
            assert_eq!(taken.added.len(), batch.len());
            batch.clear();
        }
        if n == FIRST {
            before = resident();
        }
    }
    assert_eq!(ledger.graph().len(), 1 + ALL as usize);
    let each = resident().saturating_sub(before) / (ALL - FIRST) as usize;
    assert!(each < MOST, "{each} bytes an event");
}

/// How many bytes the process holds.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next());
    kilobytes.unwrap().parse::<usize>().unwrap() * 1024
}
