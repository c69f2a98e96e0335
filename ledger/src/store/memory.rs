//! A store in memory, for tests and for looking at a ledger without keeping it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, DerefMut};
use std::sync::{Arc, PoisonError};

use super::{PAGE, Page, Place, ReadBack, Row, Store, StoreError};
use crate::event::{Act, Event};
use crate::ids::{EventId, NetworkId};
use crate::keys::EpochKey;

/// A store that lasts as long as the value.
#[derive(Debug, Default)]
pub struct MemoryStore {
    network: Option<NetworkId>,
    order: BTreeSet<(u32, EventId)>,
    bytes: Bytes,
    proofs: BTreeMap<EventId, Vec<u8>>,
    keys: Vec<EpochKey>,
    offer_keys: Vec<EpochKey>,
    failing: bool,
}

/// The events by id, which whoever reads them back has too.
#[derive(Debug, Clone, Default)]
#[expect(
    clippy::disallowed_types,
    reason = "a store may go to another thread, and what reads back from it goes along"
)]
struct Bytes(Arc<std::sync::Mutex<BTreeMap<EventId, Vec<u8>>>>);

impl Bytes {
    /// Nothing that is done with them leaves them half changed.
    fn get(&self) -> impl DerefMut<Target = BTreeMap<EventId, Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn row(&self, id: &EventId) -> Row {
        Row {
            id: *id,
            bytes: self.get().get(id).cloned().unwrap_or_default(),
        }
    }
}

/// A store of its own.
impl Clone for MemoryStore {
    fn clone(&self) -> Self {
        Self {
            network: self.network,
            order: self.order.clone(),
            bytes: Bytes(Arc::new(self.bytes.get().clone().into())),
            proofs: self.proofs.clone(),
            keys: self.keys.clone(),
            offer_keys: self.offer_keys.clone(),
            failing: self.failing,
        }
    }
}

impl ReadBack for Bytes {
    fn read_back(&self, id: &EventId) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.get().get(id).cloned())
    }
}

impl MemoryStore {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Changes one stored byte, as failing hardware does. Says whether there was such a row.
    pub fn damage(&mut self, id: &EventId) -> bool {
        let mut bytes = self.bytes.get();
        let row = bytes.get_mut(id);
        row.and_then(|bytes| bytes.last_mut())
            .map(|byte| *byte ^= 1)
            .is_some()
    }

    /// Moves an event to a wrong key, as failing hardware does. Says whether there was such a row.
    pub fn misfile(&mut self, id: &EventId) -> bool {
        let Some(place) = self.order.iter().find(|(_, key)| key == id).copied() else {
            return false;
        };
        self.order.remove(&place);
        let bytes = self.bytes.get().remove(id).unwrap_or_default();
        let mut wrong = id.0;
        wrong[31] ^= 1;
        self.order.insert((place.0, EventId(wrong)));
        self.bytes.get().insert(EventId(wrong), bytes);
        true
    }

    /// Makes every write fail from now on, or none any more.
    pub fn fail(&mut self, failing: bool) {
        self.failing = failing;
    }

    fn writable(&self) -> Result<(), StoreError> {
        if self.failing {
            return Err(StoreError::Full {
                place: "memory".to_owned(),
            });
        }
        Ok(())
    }
}

impl Store for MemoryStore {
    fn network(&self) -> Result<Option<NetworkId>, StoreError> {
        Ok(self.network)
    }

    fn rows(&self) -> Result<Vec<Row>, StoreError> {
        Ok(self
            .order
            .iter()
            .map(|(_, id)| self.bytes.row(id))
            .collect())
    }

    fn page(&self, behind: Option<&Place>) -> Result<Page, StoreError> {
        let from = behind.map_or(Bound::Unbounded, |Place(lamport, id)| {
            let id = EventId(id.as_slice().try_into().unwrap_or([0xff; 32]));
            Bound::Excluded((u32::try_from(*lamport).unwrap_or(u32::MAX), id))
        });
        let places = self.order.range((from, Bound::Unbounded)).take(PAGE);
        let places: Vec<(u32, EventId)> = places.copied().collect();
        let next = places.last().filter(|_| places.len() == PAGE);
        Ok(Page {
            next: next.map(|(lamport, id)| Place(i64::from(*lamport), id.0.to_vec())),
            rows: places.iter().map(|(_, id)| self.bytes.row(id)).collect(),
        })
    }

    fn reader(&self) -> Arc<dyn ReadBack> {
        Arc::new(self.bytes.clone())
    }

    fn append(&mut self, events: &[Event]) -> Result<(), StoreError> {
        self.writable()?;
        for event in events {
            if matches!(event.act(), Act::Genesis(_)) {
                self.network = Some(event.network());
            }
            let (lamport, id) = (event.header().lamport, event.id());
            self.order.insert((lamport, id));
            self.bytes.get().insert(id, event.bytes().to_vec());
        }
        Ok(())
    }

    fn refile(&mut self, wrong: &EventId, event: &Event) -> Result<(), StoreError> {
        self.writable()?;
        self.order.retain(|(_, id)| id != wrong);
        self.bytes.get().remove(wrong);
        self.append(std::slice::from_ref(event))
    }

    fn proofs(&self) -> Result<Vec<(EventId, Vec<u8>)>, StoreError> {
        let proofs = self.proofs.iter();
        Ok(proofs.map(|(id, proof)| (*id, proof.clone())).collect())
    }

    fn add_proofs(&mut self, proofs: &[(EventId, Vec<u8>)]) -> Result<(), StoreError> {
        self.writable()?;
        self.proofs.extend(proofs.iter().cloned());
        Ok(())
    }

    fn epoch_keys(&self) -> Result<Vec<EpochKey>, StoreError> {
        Ok(self.keys.clone())
    }

    fn add_epoch_keys(&mut self, keys: &[EpochKey]) -> Result<(), StoreError> {
        self.writable()?;
        for key in keys {
            if !self.keys.contains(key) {
                self.keys.push(key.clone());
            }
        }
        Ok(())
    }

    fn offer_keys(&self) -> Result<Vec<EpochKey>, StoreError> {
        Ok(self.offer_keys.clone())
    }

    fn add_offer_key(&mut self, key: &EpochKey) -> Result<(), StoreError> {
        self.writable()?;
        if !self.offer_keys.contains(key) {
            self.offer_keys.push(key.clone());
        }
        Ok(())
    }
}
