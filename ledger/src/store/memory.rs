//! A store in memory, for tests and for looking at a ledger without keeping it.

use std::collections::BTreeMap;

use super::{Row, Store, StoreError};
use crate::event::{Act, Event};
use crate::ids::{EventId, NetworkId};
use crate::keys::EpochKey;

/// A store that lasts as long as the value.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    network: Option<NetworkId>,
    events: BTreeMap<(u32, EventId), Vec<u8>>,
    keys: Vec<EpochKey>,
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
}

impl Store for MemoryStore {
    fn network(&self) -> Result<Option<NetworkId>, StoreError> {
        Ok(self.network)
    }

    fn rows(&self) -> Result<Vec<Row>, StoreError> {
        let row = |((_, id), bytes): (&(u32, EventId), &Vec<u8>)| Row {
            id: *id,
            bytes: bytes.clone(),
        };
        Ok(self.events.iter().map(row).collect())
    }

    fn append(&mut self, events: &[Event]) -> Result<(), StoreError> {
        for event in events {
            if matches!(event.act(), Act::Genesis(_)) {
                self.network = Some(event.network());
            }
            self.events
                .insert((event.header().lamport, event.id()), event.bytes().to_vec());
        }
        Ok(())
    }

    fn epoch_keys(&self) -> Result<Vec<EpochKey>, StoreError> {
        Ok(self.keys.clone())
    }

    fn add_epoch_keys(&mut self, keys: &[EpochKey]) -> Result<(), StoreError> {
        for key in keys {
            if !self.keys.contains(key) {
                self.keys.push(key.clone());
            }
        }
        Ok(())
    }
}
