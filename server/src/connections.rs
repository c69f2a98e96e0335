//! Who is connected: counted by source and by device. When all places are taken, the oldest connection of a device that is live in no
//! network gives its place to the next that comes.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use iroh::endpoint::{Connection, VarInt};
use mesh_ledger::ids::DeviceId;

use crate::hosted::Networks;
use crate::line::{Line, Others};
use crate::quota::{Source, sources};

/// The connection's error code for one over a limit.
const BUSY: VarInt = VarInt::from_u32(1);
/// For how long nobody is looked for who could go, if nobody was found.
const FUTILE: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Default)]
pub(crate) struct Connections {
    inner: Mutex<Counts>,
    others: Arc<Others>,
}

#[derive(Default)]
struct Counts {
    all: usize,
    by_source: BTreeMap<Source, usize>,
    by_device: BTreeMap<DeviceId, Vec<Connection>>,
    /// Those that are up, the oldest first.
    by_age: BTreeMap<u64, (DeviceId, Connection)>,
    next: u64,
    /// When nobody was found who could go.
    futile: Option<Instant>,
}

impl Connections {
    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.lock().all
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    /// Ends the oldest connection of a device without rights, if there is one.
    fn evict(&mut self, is_live: impl Fn(&DeviceId) -> bool) -> bool {
        if self.futile.is_some_and(|since| since.elapsed() < FUTILE) {
            return false;
        }
        let mut ages = self.by_age.iter();
        let oldest = ages.find(|(_, (device, _))| !is_live(device));
        let Some(age) = oldest.map(|(age, _)| *age) else {
            self.futile = Some(Instant::now());
            return false;
        };
        if let Some((_, connection)) = self.by_age.remove(&age) {
            connection.close(BUSY, b"others are waiting");
        }
        true
    }
}

/// A place among the connections, given back when it is dropped.
pub(crate) struct Place {
    connections: Arc<Connections>,
    address: Option<IpAddr>,
    connection: Option<(u64, Connection)>,
}

impl Place {
    /// Takes a place for who comes from this address, or from the relay.
    pub(crate) fn take(
        connections: &Arc<Connections>,
        address: Option<IpAddr>,
        networks: &Networks,
    ) -> Option<Self> {
        let limits = &networks.terms().limits;
        let mut counts = connections.lock();
        let sources = address.map(sources).unwrap_or_default();
        let full = |source: &Source| {
            let most = match source {
                Source::Near(_) => limits.connections_per_source,
                Source::Site(_) => limits.connections_per_site,
            };
            counts
                .by_source
                .get(source)
                .is_some_and(|count| *count >= most)
        };
        if sources.iter().any(full) {
            return None;
        }
        if counts.all >= limits.connections && !counts.evict(|device| networks.is_live(device)) {
            return None;
        }
        counts.all += 1;
        for source in sources {
            *counts.by_source.entry(source).or_default() += 1;
        }
        Some(Self {
            connections: connections.clone(),
            address,
            connection: None,
        })
    }

    /// The connection is up. Of too many of one device the oldest goes: it is most likely dead.
    pub(crate) fn settle(&mut self, connection: &Connection, device: DeviceId, most: usize) {
        let mut counts = self.connections.lock();
        let age = counts.next;
        counts.next += 1;
        counts.by_age.insert(age, (device, connection.clone()));
        let own = counts.by_device.entry(device).or_default();
        own.push(connection.clone());
        if own.len() > most {
            own.remove(0).close(BUSY, b"too many connections");
        }
        drop(counts);
        self.connection = Some((age, connection.clone()));
    }

    /// The line to the device that has this place.
    pub(crate) fn line(&self, device: DeviceId) -> Line {
        Line::new(device, self.address, self.connections.others.clone())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.connections.lock();
        counts.all -= 1;
        for source in self.address.map(sources).unwrap_or_default() {
            if let Some(count) = counts.by_source.get_mut(&source) {
                *count -= 1;
                if *count == 0 {
                    counts.by_source.remove(&source);
                }
            }
        }
        if let Some((age, connection)) = &self.connection {
            counts.by_age.remove(age);
            let device = DeviceId(*connection.remote_id().as_bytes());
            let id = connection.stable_id();
            if let Some(own) = counts.by_device.get_mut(&device) {
                own.retain(|other| other.stable_id() != id);
                if own.is_empty() {
                    counts.by_device.remove(&device);
                }
            }
        }
    }
}
