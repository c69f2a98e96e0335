//! Where a network's events live: the truth, after the gate.

pub mod memory;
#[cfg(feature = "sqlite")]
pub mod sqlite;

use std::sync::Arc;

use crate::event::{Event, id_of};
use crate::ids::{EventId, NetworkId};
pub use crate::index::ReadBack;
use crate::keys::EpochKey;

/// What a store must do. It holds one network's events, and the keys of epochs and narrow offers that this device has.
pub trait Store {
    /// The network whose genesis was appended, if there is one.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    fn network(&self) -> Result<Option<NetworkId>, StoreError>;

    /// Every row, in the order (lamport, id) as the store believes it.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read. A damaged row is no error: [`Row::intact`] tells.
    fn rows(&self) -> Result<Vec<Row>, StoreError>;

    /// Some rows, in the order (lamport, id) as the store believes it: the first, or those behind others. Never more than
    /// [`PAGE`], so that however many there are, not all need be in memory.
    ///
    /// # Errors
    /// As of [`Self::rows`].
    fn page(&self, behind: Option<&Place>) -> Result<Page, StoreError>;

    /// What reads events back by their ids.
    fn reader(&self) -> Arc<dyn ReadBack>;

    /// Adds events, all of them or none. When this returns they survive a kill and a power cut. An event that is there
    /// already is written anew, which mends a damaged row.
    ///
    /// # Errors
    /// [`StoreError`] if they are not all durable; then none is there.
    fn append(&mut self, events: &[Event]) -> Result<(), StoreError>;

    /// Takes away the row under `wrong` and adds the event that was found there under its own id, both or neither.
    ///
    /// # Errors
    /// [`StoreError`] if that is not durable.
    fn refile(&mut self, wrong: &EventId, event: &Event) -> Result<(), StoreError>;

    /// What was found of the signatures inside acts, by event: verdicts that can be found again, and need not be.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    fn proofs(&self) -> Result<Vec<(EventId, Vec<u8>)>, StoreError>;

    /// Adds such verdicts.
    ///
    /// # Errors
    /// [`StoreError`] if they could not be written.
    fn add_proofs(&mut self, proofs: &[(EventId, Vec<u8>)]) -> Result<(), StoreError>;

    /// The epoch keys.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    fn epoch_keys(&self) -> Result<Vec<EpochKey>, StoreError>;

    /// Adds epoch keys, as durably as events.
    ///
    /// # Errors
    /// [`StoreError`] if they are not all durable.
    fn add_epoch_keys(&mut self, keys: &[EpochKey]) -> Result<(), StoreError>;

    /// The keys of narrow offers: this device's own, and those it is in the audience of.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    fn offer_keys(&self) -> Result<Vec<EpochKey>, StoreError>;

    /// Adds a key of a narrow offer, as durably as events.
    ///
    /// # Errors
    /// [`StoreError`] if it is not durable.
    fn add_offer_key(&mut self, key: &EpochKey) -> Result<(), StoreError>;
}

/// The most rows of a page.
pub const PAGE: usize = 4096;

/// Some rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// They.
    pub rows: Vec<Row>,
    /// Behind what the next page begins, if there is one.
    pub next: Option<Place>,
}

/// Where a row stands: its lamport and key, as the store believes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place(pub(crate) i64, pub(crate) Vec<u8>);

/// One stored event, as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The key it is stored under.
    pub id: EventId,
    /// The bytes found there.
    pub bytes: Vec<u8>,
}

impl Row {
    /// Whether the bytes are those that the key names.
    #[must_use]
    pub fn intact(&self) -> bool {
        id_of(&self.bytes) == self.id
    }
}

/// Why a store does not serve. `place` is the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// A later release has written it.
    #[error(
        "{place} was written by a later release of mesh (format {found}; this one reads {reads}): upgrade mesh, or move the file aside to fetch the network from its members again"
    )]
    Newer {
        /// The file.
        place: String,
        /// Its format.
        found: u32,
        /// What this release reads.
        reads: u32,
    },
    /// Its structure is destroyed.
    #[error(
        "{place} is damaged ({what}): stop meshd, move the file aside and join again, or restore the file; members hold every event. Nothing was deleted"
    )]
    Damaged {
        /// The file.
        place: String,
        /// What the database says.
        what: String,
    },
    /// Another process holds it.
    #[error("{place} is locked by another process: is a second meshd running?")]
    Locked {
        /// The file.
        place: String,
    },
    /// There is no room to write.
    #[error("no space left to write {place}: free some, and mesh goes on")]
    Full {
        /// The file.
        place: String,
    },
    /// An event that was stored is not there any more, or damaged.
    #[error(
        "event {} is stored and cannot be read back: restart meshd, which has members send it again", .id.short()
    )]
    Lost {
        /// The event.
        id: EventId,
    },
    /// Anything else.
    #[error("{place}: {what}")]
    Other {
        /// The file.
        place: String,
        /// What the database says.
        what: String,
    },
}
