//! Where the bodies of events are: in memory as long as no store has them, and then in the store. What the fold reads again and
//! again, the acts that say something, stays beside that, as far as there is room; of the rest, what was read last.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::Idx;
use crate::event::{Act, Event};
use crate::ids::EventId;
use crate::store::StoreError;

/// The most bytes of acts that stay.
const MOST_ACTS: usize = 24 << 20;
/// The most bytes of what was read last.
const MOST_RECENT: usize = 4 << 20;

/// Reads stored events back.
pub trait ReadBack: Send + Sync {
    /// The bytes stored under an id.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    fn read_back(&self, id: &EventId) -> Result<Option<Vec<u8>>, StoreError>;
}

/// See the module.
#[derive(Default)]
pub(super) struct Bodies {
    reader: Option<Arc<dyn ReadBack>>,
    /// How many events are stored and can be read back: the first ones.
    stored: usize,
    /// The others.
    held: VecDeque<Event>,
    /// Stored ones that say something.
    acts: BTreeMap<Idx, Event>,
    acts_size: usize,
    recent: RefCell<Recent>,
    /// What the store has lost.
    lost: RefCell<BTreeSet<EventId>>,
    failure: OnceCell<StoreError>,
    /// How many events were read back in all.
    reads: Cell<u64>,
}

#[derive(Default)]
struct Recent {
    events: BTreeMap<Idx, Event>,
    /// The oldest first.
    queue: VecDeque<Idx>,
    size: usize,
}

impl Bodies {
    pub(super) fn stored_in(reader: Option<Arc<dyn ReadBack>>) -> Self {
        Self {
            reader,
            ..Self::default()
        }
    }

    pub(super) fn reader(&self) -> Option<Arc<dyn ReadBack>> {
        self.reader.clone()
    }

    pub(super) fn push(&mut self, event: Event) {
        self.held.push_back(event);
    }

    /// Forgets the events from a place on.
    pub(super) fn truncate(&mut self, from: Idx) {
        let from = from.at();
        self.held.truncate(from.saturating_sub(self.stored));
        if from < self.stored {
            self.stored = from;
            let gone = self.acts.split_off(&Idx(from as u32));
            self.acts_size -= gone.values().map(Event::size).sum::<usize>();
            *self.recent.get_mut() = Recent::default();
        }
    }

    pub(super) fn stored(&mut self) {
        if self.reader.is_none() {
            return;
        }
        let recent = self.recent.get_mut();
        for event in self.held.drain(..) {
            let idx = Idx(self.stored as u32);
            self.stored += 1;
            let says = !matches!(event.act(), Act::Private | Act::Merge);
            if says && self.acts_size + event.size() <= MOST_ACTS {
                self.acts_size += event.size();
                self.acts.insert(idx, event);
            } else {
                recent.keep(idx, event);
            }
        }
        // A large batch leaves a small one's room.
        self.held.shrink_to(1024);
    }

    #[cfg(test)]
    pub(super) fn forget(&mut self) {
        self.acts.clear();
        self.acts_size = 0;
        *self.recent.get_mut() = Recent::default();
    }

    pub(super) fn failure(&self) -> Option<&StoreError> {
        self.failure.get()
    }

    /// How many bytes of memory they take, about.
    pub(super) fn bytes(&self) -> usize {
        let held = self.held.iter().map(Event::size).sum::<usize>();
        held + self.acts_size + self.recent.borrow().size
    }

    /// An event whose body is in memory.
    pub(super) fn held(&self, idx: Idx) -> Option<Event> {
        match idx.at().checked_sub(self.stored) {
            Some(at) => self.held.get(at).cloned(),
            None => {
                let recent = || self.recent.borrow().events.get(&idx).cloned();
                self.acts.get(&idx).cloned().or_else(recent)
            }
        }
    }

    /// An event, for somebody who can do without it: it is among the lost ones from then on.
    pub(super) fn get(&self, idx: Idx, id: &EventId) -> Option<Event> {
        self.found(idx, id).ok()
    }

    /// An event for somebody who cannot.
    pub(super) fn need(&self, idx: Idx, id: &EventId) -> Option<Event> {
        let found = self.found(idx, id);
        found
            .map_err(|error| {
                // The first is what matters.
                let _ = self.failure.set(error);
            })
            .ok()
    }

    pub(super) fn reads(&self) -> u64 {
        self.reads.get()
    }

    pub(super) fn lost(&self) -> BTreeSet<EventId> {
        self.lost.borrow().clone()
    }

    /// The store has an event again.
    pub(super) fn mended(&mut self, id: &EventId) {
        self.lost.get_mut().remove(id);
    }

    fn found(&self, idx: Idx, id: &EventId) -> Result<Event, StoreError> {
        if let Some(event) = self.held(idx) {
            return Ok(event);
        }
        self.reads.set(self.reads.get() + 1);
        let read = self.read(id);
        match &read {
            Ok(event) => self.recent.borrow_mut().keep(idx, event.clone()),
            Err(StoreError::Lost { id }) => drop(self.lost.borrow_mut().insert(*id)),
            Err(_) => {}
        }
        read
    }

    fn read(&self, id: &EventId) -> Result<Event, StoreError> {
        let lost = || StoreError::Lost { id: *id };
        let reader = self.reader.as_ref().ok_or_else(lost)?;
        let bytes = reader.read_back(id)?.ok_or_else(lost)?;
        // The id is a hash of the bytes, which decoding finds.
        Event::decode_unverified(&bytes)
            .ok()
            .filter(|event| event.id() == *id)
            .ok_or_else(lost)
    }
}

impl Recent {
    fn keep(&mut self, idx: Idx, event: Event) {
        self.size += event.size();
        if let Some(before) = self.events.insert(idx, event) {
            self.size -= before.size();
        } else {
            self.queue.push_back(idx);
        }
        while self.size > MOST_RECENT
            && let Some(oldest) = self.queue.pop_front()
        {
            let gone = self.events.remove(&oldest);
            self.size -= gone.as_ref().map_or(0, Event::size);
        }
    }
}
