//! The events of a replica: by place, by id, and by (lamport, id). What members compare and send, and what the graph stands on.
//!
//! Of an event as good as nothing stays in memory, forty-odd bytes: its id, its lamport and where it stands. Its body is read
//! back from the store when somebody asks (`index/bodies.rs`).

mod bodies;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use hashbrown::HashTable;

use crate::event::Event;
use crate::ids::EventId;
use crate::store::StoreError;
use crate::wire::SEGMENT;
use bodies::Bodies;
pub use bodies::ReadBack;

/// An event's place: the order of insertion, so in a graph parents have smaller ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Idx(pub u32);

impl Idx {
    pub(crate) fn at(self) -> usize {
        self.0 as usize
    }
}

/// Why the beginning of an id names no event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FindError {
    /// Not hexadecimal digits, or fewer than four.
    #[error("{0:?} is no event id: give at least its first four hexadecimal digits")]
    Form(String),
    /// None begins so.
    #[error("no event begins with {0}")]
    None(String),
    /// Several do.
    #[error("{count} events begin with {prefix}: give more digits")]
    Several {
        /// What was asked for.
        prefix: String,
        /// How many there are.
        count: usize,
    },
}

/// See the module.
#[derive(Default)]
pub struct Index {
    entries: Vec<(EventId, u32)>,
    /// By the first eight bytes of the id, which is a hash.
    by_id: HashTable<Idx>,
    segments: BTreeMap<u32, Segment>,
    bodies: Bodies,
}

#[derive(Default)]
struct Segment {
    /// Ascending by (lamport, id).
    events: Vec<Idx>,
    /// Once somebody asked since they changed.
    digest: OnceLock<[u8; 16]>,
}

impl Index {
    /// An empty one, which keeps what it is given.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty one that reads events back from where they are stored.
    pub(crate) fn stored_in(reader: Option<Arc<dyn ReadBack>>) -> Self {
        Self {
            bodies: Bodies::stored_in(reader),
            ..Self::default()
        }
    }

    /// Where events are read back from.
    pub(crate) fn reader(&self) -> Option<Arc<dyn ReadBack>> {
        self.bodies.reader()
    }

    /// Adds events; one that is here already stays as it is.
    pub fn extend(&mut self, events: impl IntoIterator<Item = Event>) {
        for event in events {
            if self.find(&event.id()).is_none() {
                self.push(event);
            }
        }
    }

    /// Adds an event that is not here.
    pub(crate) fn push(&mut self, event: Event) -> Idx {
        let idx = Idx(self.entries.len() as u32);
        let (id, lamport) = (event.id(), event.header().lamport);
        self.entries.push((id, lamport));
        let entries = &self.entries;
        let hash = |idx: &Idx| first_bytes(&entries[idx.at()].0);
        self.by_id.insert_unique(first_bytes(&id), idx, hash);
        let segment = self.segments.entry(lamport / SEGMENT).or_default();
        let rank = |idx: &Idx| (entries[idx.at()].1, entries[idx.at()].0);
        let at = match segment.events.last() {
            Some(last) if rank(last) > (lamport, id) => segment
                .events
                .partition_point(|other| rank(other) < (lamport, id)),
            _ => segment.events.len(),
        };
        segment.events.insert(at, idx);
        segment.digest = OnceLock::new();
        self.bodies.push(event);
        idx
    }

    /// Takes the last event out again.
    pub(crate) fn pop(&mut self) {
        let Some((id, lamport)) = self.entries.pop() else {
            return;
        };
        let idx = Idx(self.entries.len() as u32);
        if let Ok(entry) = self
            .by_id
            .find_entry(first_bytes(&id), |other| *other == idx)
        {
            entry.remove();
        }
        if let Some(segment) = self.segments.get_mut(&(lamport / SEGMENT)) {
            // Its entry is gone, so it is compared as what it was. A segment may hold all events of a member who forks.
            let entries = &self.entries;
            let rank = |other: &Idx| match entries.get(other.at()) {
                Some((other, at)) => (*at, *other),
                None => (lamport, id),
            };
            let at = segment
                .events
                .partition_point(|other| rank(other) < (lamport, id));
            if segment.events.get(at) == Some(&idx) {
                segment.events.remove(at);
            }
            segment.digest = OnceLock::new();
            if segment.events.is_empty() {
                self.segments.remove(&(lamport / SEGMENT));
            }
        }
        self.bodies.truncate(idx);
    }

    /// All events that are here are stored now: their bodies need not stay, if they can be read back.
    pub(crate) fn stored(&mut self) {
        self.bodies.stored();
    }

    /// Lets go of every body that can be read back.
    #[cfg(test)]
    pub(crate) fn forget_bodies(&mut self) {
        self.bodies.forget();
    }

    /// Why the body of an event that was needed could not be read back, if that ever happened: what was found out since may be
    /// wrong.
    #[must_use]
    pub fn failure(&self) -> Option<&StoreError> {
        self.bodies.failure()
    }

    /// How many bytes of memory it takes, about: without bodies, and those.
    pub(crate) fn bytes(&self) -> (usize, usize) {
        let segments = self.segments.values();
        let segments = segments.map(|one| size_of::<(u32, Segment)>() + 4 * one.events.capacity());
        let entries = size_of::<(EventId, u32)>() * self.entries.len();
        let index = entries + self.by_id.allocation_size() + segments.sum::<usize>();
        (index, self.bodies.bytes())
    }

    /// How many events there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// An event, if it is here and can be read back.
    #[must_use]
    pub fn get(&self, id: &EventId) -> Option<Event> {
        self.event(self.find(id)?)
    }

    fn event(&self, idx: Idx) -> Option<Event> {
        self.bodies.get(idx, &self.id(idx))
    }

    /// The event at a place; nothing if it cannot be read back, which [`Self::failure`] tells from then on.
    pub(crate) fn need(&self, idx: Idx) -> Option<Event> {
        self.bodies.need(idx, &self.id(idx))
    }

    /// The events whose bodies the store did not give back.
    pub(crate) fn lost(&self) -> BTreeSet<EventId> {
        self.bodies.lost()
    }

    /// How many events were read back from the store in all.
    #[must_use]
    pub fn reads(&self) -> u64 {
        self.bodies.reads()
    }

    /// The store has an event's body again.
    pub(crate) fn mended(&mut self, id: &EventId) {
        self.bodies.mended(id);
    }

    /// An event, if its body is in memory.
    pub(crate) fn held(&self, id: &EventId) -> Option<Event> {
        self.bodies.held(self.find(id)?)
    }

    /// The place of an event, if it is here.
    #[must_use]
    pub fn find(&self, id: &EventId) -> Option<Idx> {
        let same = |idx: &Idx| self.id(*idx) == *id;
        self.by_id.find(first_bytes(id), same).copied()
    }

    /// The place of the one event whose id begins with these hexadecimal digits.
    pub(crate) fn named(&self, prefix: &str) -> Result<Idx, FindError> {
        let prefix: String = prefix.chars().take(64).collect();
        let (least, greatest) = ids_from(&prefix).ok_or_else(|| FindError::Form(prefix.clone()))?;
        let prefix = prefix.to_ascii_lowercase();
        let mut found = (0..self.len() as u32)
            .map(Idx)
            .filter(|idx| (least..=greatest).contains(&self.id(*idx)));
        match (found.next(), found.count()) {
            (None, _) => Err(FindError::None(prefix)),
            (Some(idx), 0) => Ok(idx),
            (Some(_), more) => Err(FindError::Several {
                prefix,
                count: more + 1,
            }),
        }
    }

    pub(crate) fn id(&self, idx: Idx) -> EventId {
        self.entries[idx.at()].0
    }

    pub(crate) fn lamport(&self, idx: Idx) -> u32 {
        self.entries[idx.at()].1
    }

    /// All events, ascending by (lamport, id): parents first.
    pub fn events(&self) -> impl Iterator<Item = Event> {
        let segments = self.segments.values();
        let places = segments.flat_map(|segment| segment.events.iter());
        places.filter_map(|idx| self.event(*idx))
    }

    /// Where all events stand in that order.
    pub fn places(&self) -> impl Iterator<Item = (u32, EventId)> {
        let segments = self.segments.values();
        let places = segments.flat_map(|segment| segment.events.iter());
        places.map(|idx| (self.lamport(*idx), self.id(*idx)))
    }

    /// The events behind the first `skip`, ascending by (lamport, id).
    pub fn events_behind(&self, skip: usize) -> impl Iterator<Item = Event> {
        let segments = self.segments.values();
        let places = segments.flat_map(|segment| segment.events.iter());
        places.skip(skip).filter_map(|idx| self.event(*idx))
    }

    /// The events of one segment, ascending.
    pub fn segment(&self, segment: u32) -> impl Iterator<Item = Event> {
        self.of(segment).filter_map(|idx| self.event(idx))
    }

    /// How many events a segment has.
    #[must_use]
    pub fn segment_len(&self, segment: u32) -> usize {
        self.of(segment).count()
    }

    /// The segments that are not empty, ascending.
    pub fn all_segments(&self) -> impl Iterator<Item = u32> {
        self.segments.keys().copied()
    }

    /// The greatest segment that is not empty.
    #[must_use]
    pub fn newest_segment(&self) -> Option<u32> {
        self.segments.keys().next_back().copied()
    }

    /// Where an event stands in the order of sending, if it is here.
    #[must_use]
    pub fn place(&self, id: &EventId) -> Option<(u32, EventId)> {
        self.find(id).map(|idx| (self.lamport(idx), *id))
    }

    /// The digests of all segments that are not empty.
    pub(crate) fn digests(&self) -> impl Iterator<Item = (u32, [u8; 16])> + '_ {
        self.segments.iter().map(|(number, segment)| {
            let digest = || digest(self.in_segment(*number));
            (*number, *segment.digest.get_or_init(digest))
        })
    }

    /// Where the events of one segment stand, ascending.
    pub(crate) fn in_segment(&self, segment: u32) -> impl Iterator<Item = (u32, EventId)> {
        self.of(segment)
            .map(|idx| (self.lamport(idx), self.id(idx)))
    }

    fn of(&self, segment: u32) -> impl Iterator<Item = Idx> {
        let segment = self.segments.get(&segment);
        segment
            .into_iter()
            .flat_map(|one| one.events.iter().copied())
    }
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Index")
            .field("events", &self.len())
            .finish_non_exhaustive()
    }
}

fn digest(places: impl Iterator<Item = (u32, EventId)>) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    for (_, id) in places {
        hasher.update(&id.0);
    }
    let mut digest = [0; 16];
    digest.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    digest
}

fn first_bytes(id: &EventId) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&id.0[..8]);
    u64::from_be_bytes(first)
}

/// The least and the greatest id that begin with these digits: 4 to 64 of them.
fn ids_from(digits: &str) -> Option<(EventId, EventId)> {
    if digits.len() < 4 {
        return None;
    }
    let (least, greatest) = (format!("{digits:0<64}"), format!("{digits:f<64}"));
    Some((least.parse().ok()?, greatest.parse().ok()?))
}
