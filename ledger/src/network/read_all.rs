//! The whole ledger, for somebody who has nothing of it.

use super::Ledger;
use crate::event::id_of;
use crate::ids::EventId;
use crate::store::Store;

impl<S: Store> Ledger<S> {
    /// The bytes of all events that are here now, parents first. Each is read back when it is asked for, so however large the
    /// ledger and slow the taker, of what is not taken yet the ids alone are in memory. It ends early if the store does not
    /// give one back as it was.
    pub fn read_all(&self) -> impl Iterator<Item = Vec<u8>> + Send + use<S> {
        let reader = self.store.reader();
        let ids: Vec<EventId> = self.index().places().map(|(_, id)| id).collect();
        ids.into_iter().map_while(move |id| {
            let bytes = reader.read_back(&id).ok().flatten();
            bytes.filter(|bytes| id_of(bytes) == id)
        })
    }
}
