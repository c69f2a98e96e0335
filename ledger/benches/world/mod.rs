//! The history that is measured: devices that hear of each other after a while, and some whom nobody hears. Every event is
//! signed and most are sealed.
#![allow(dead_code)]

use mesh_ledger::event::act::Admit;
use mesh_ledger::event::attributes::{Joining, Write};
use mesh_ledger::event::{Act, Attributes, Event, Header};
use mesh_ledger::ids::{DeviceId, EpochId, EventId, NetworkId, WgKey};
use mesh_ledger::keys::{BoxSecret, DeviceSecret, EpochKey, UserSecret};
use mesh_ledger::network::{FoundingArgs, Ledger};
use mesh_ledger::recovery::RecoveryWords;
use mesh_ledger::seal;
use mesh_ledger::store::memory::MemoryStore;

/// When it begins, in milliseconds since 1970.
pub(crate) const NOW: u64 = 1_795_000_000_000;

pub(crate) struct World {
    pub(crate) network: NetworkId,
    /// The loud ones, then the quiet.
    pub(crate) devices: Vec<DeviceSecret>,
    /// Whose they are.
    pub(crate) users: Vec<UserSecret>,
    /// The founder's.
    pub(crate) box_secret: BoxSecret,
    pub(crate) key: EpochKey,
    pub(crate) events: Vec<Event>,
}

/// A device's last event and the one it heard of last.
#[derive(Clone, Copy)]
struct Tip {
    own: Option<(u32, u32, EventId)>,
    heard: (u32, EventId),
}

impl World {
    /// A network of `loud` devices that hear each other and write on top of what they heard, and of `quiet` ones that hear
    /// them and that nobody hears, whose share is one event of a hundred.
    pub(crate) fn new(loud: usize, quiet: usize, count: usize) -> Self {
        let seed = |kind: u8, n: usize| {
            let mut seed = [kind; 32];
            seed[..8].copy_from_slice(&(n as u64).to_be_bytes());
            seed
        };
        let users: Vec<_> = (0..loud + quiet)
            .map(|n| UserSecret::from_seed(&seed(1, n)))
            .collect();
        let devices: Vec<_> = (0..loud + quiet)
            .map(|n| DeviceSecret::from_seed(&seed(2, n)))
            .collect();
        let box_secret = BoxSecret::from_seed(&[1; 32]);
        let key = EpochKey::from_bytes([42; 32]);
        let args = FoundingArgs {
            name: "bench".parse().unwrap(),
            subnet: "10.7.0.0/16".parse().unwrap(),
            policy: Default::default(),
            user: &users[0],
            device: &devices[0],
            box_secret: box_secret.clone(),
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
        let mut events: Vec<Event> = ledger.index().events().collect();
        let last = events.last().unwrap().clone();
        let heard = (last.header().lamport, last.id());
        let mut tips = vec![Tip { own: None, heard }; devices.len()];
        tips[0].own = Some((last.header().seq, heard.0, heard.1));
        while events.len() < count {
            let n = events.len();
            let at = if quiet > 0 && n.is_multiple_of(100) {
                loud + n / 100 % quiet
            } else {
                (n * 7 + n / 50) % loud
            };
            let event = next(network, &devices[at], &key, tips[at], n as u64);
            let (seq, lamport) = (event.header().seq, event.header().lamport);
            tips[at].own = Some((seq, lamport, event.id()));
            if at < loud {
                // The nearest hear of it at once, and so on around the ring; the next of the quiet ones before it writes.
                let nearest = (at + 1 + n % 5) % loud;
                let next = (quiet > 0).then(|| loud + (n / 100 + 1) % quiet);
                for hears in std::iter::once(nearest).chain(next) {
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
            users,
            box_secret,
            key,
            events,
        }
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
