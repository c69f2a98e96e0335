//! A store in memory, for tests and for looking at a ledger without keeping it.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use super::{PAGE, Page, Place, ReadBack, Row, Store, StoreError};
use crate::event::{Act, Event};
use crate::ids::{EventId, NetworkId};
use crate::keys::EpochKey;

/// A store that lasts as long as the value.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    network: Option<NetworkId>,
    events: BTreeMap<(u32, EventId), Vec<u8>>,
    keys: Vec<EpochKey>,
    offer_keys: Vec<EpochKey>,
    failing: bool,
}

impl MemoryStore {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Changes one stored byte, as failing hardware does. Says whether there was such a row.
    pub fn damage(&mut self, id: &EventId) -> bool {
        let row = self.events.iter_mut().find(|((_, key), _)| key == id);
        row.and_then(|(_, bytes)| bytes.last_mut())
            .map(|byte| *byte ^= 1)
            .is_some()
    }

    /// Moves an event to a wrong key, as failing hardware does. Says whether there was such a row.
    pub fn misfile(&mut self, id: &EventId) -> bool {
        let Some(place) = self.events.keys().find(|(_, key)| key == id).copied() else {
            return false;
        };
        let bytes = self.events.remove(&place).unwrap_or_default();
        let mut wrong = id.0;
        wrong[31] ^= 1;
        self.events.insert((place.0, EventId(wrong)), bytes);
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
        Ok(self.events.iter().map(row).collect())
    }

    fn page(&self, behind: Option<&Place>) -> Result<Page, StoreError> {
        let from = match behind {
            Some(Place(lamport, id)) => {
                let id = EventId(id.as_slice().try_into().unwrap_or([0xff; 32]));
                Bound::Excluded((u32::try_from(*lamport).unwrap_or(u32::MAX), id))
            }
            None => Bound::Unbounded,
        };
        let mut rest = self.events.range((from, Bound::Unbounded));
        let rows: Vec<Row> = rest.by_ref().take(PAGE).map(row).collect();
        let last = || {
            let (lamport, id) = self.events.range((from, Bound::Unbounded)).nth(PAGE - 1)?.0;
            Some(Place(i64::from(*lamport), id.0.to_vec()))
        };
        let next = rest.next().and_then(|_| last());
        Ok(Page { rows, next })
    }

    fn reader(&self) -> Option<Arc<dyn ReadBack>> {
        None
    }

    fn append(&mut self, events: &[Event]) -> Result<(), StoreError> {
        self.writable()?;
        for event in events {
            if matches!(event.act(), Act::Genesis(_)) {
                self.network = Some(event.network());
            }
            self.events
                .insert((event.header().lamport, event.id()), event.bytes().to_vec());
        }
        Ok(())
    }

    fn refile(&mut self, wrong: &EventId, event: &Event) -> Result<(), StoreError> {
        self.writable()?;
        self.events.retain(|(_, id), _| id != wrong);
        self.append(std::slice::from_ref(event))
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

fn row(((_, id), bytes): (&(u32, EventId), &Vec<u8>)) -> Row {
    Row {
        id: *id,
        bytes: bytes.clone(),
    }
}
