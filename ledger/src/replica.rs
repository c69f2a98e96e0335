//! The automerge side of the ledger, and the only file that knows automerge.
//!
//! Events are grouped into segments, floor(lamport / 1024). Each event is one canonical change, built from its bytes
//! alone, so every replica of the same events holds the same document, whatever order they came in:
//!
//! | field | value |
//! |---|---|
//! | actor | blake3(event)[..16] |
//! | seq | 1 |
//! | startOp | lamport + 1 (a change's operations count from 1, lamports from 0) |
//! | deps | the changes of those parents that lie in the same segment |
//! | time, message | 0, none |
//! | operation | put(ROOT, hex(id)[..24], bytes) |
//!
//! The newest segment is kept as a live document, unless it is too large for the library; any other is built when it is exported. The store is the truth: the
//! library is called inside `catch_unwind`, and a document that failed is built anew from the events.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use automerge::transaction::{CommitOptions, Transactable};
use automerge::{ActorId, Automerge, Change, ChangeHash, ExpandedChange, ROOT, ReadDoc};

use crate::event::Event;
use crate::ids::EventId;
use crate::wire::{Index, SEGMENT};

/// A segment with more events than this is never made into a document: the library's cost grows faster than they do.
pub const MAX_DOCUMENT: usize = 4000;

/// Why a segment is no document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplicaError {
    /// It has too many events.
    #[error("segment {segment} has {events} events; at most 4,000 fit into an Automerge document")]
    TooLarge {
        /// The segment.
        segment: u32,
        /// How many events it has.
        events: usize,
    },
    /// The library failed.
    #[error("the Automerge library failed on segment {segment}: {what}")]
    Library {
        /// The segment.
        segment: u32,
        /// What it says.
        what: String,
    },
}

/// The live document of the newest segment.
#[derive(Debug, Default)]
pub struct Replica {
    live: Option<Live>,
}

struct Live {
    segment: u32,
    document: Automerge,
    hashes: BTreeMap<EventId, ChangeHash>,
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Live")
            .field("segment", &self.segment)
            .field("events", &self.hashes.len())
            .finish_non_exhaustive()
    }
}

impl Replica {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Brings the document up to the index, to which `added` were just added. A failure of the library, a panic included,
    /// costs a rebuild and then the live document, never an event.
    ///
    /// # Errors
    /// [`ReplicaError`] if there is no live document now.
    pub fn update(&mut self, index: &Index, added: &[Event]) -> Result<(), ReplicaError> {
        let Some(newest) = index.newest_segment() else {
            self.live = None;
            return Ok(());
        };
        let count = index.segment_len(newest);
        if count > MAX_DOCUMENT {
            self.live = None;
            return Err(ReplicaError::TooLarge {
                segment: newest,
                events: count,
            });
        }
        if let Some(live) = self.live.as_mut().filter(|live| live.segment == newest) {
            let mut fresh: Vec<&Event> = added
                .iter()
                .filter(|event| segment_of(event) == newest)
                .collect();
            fresh.sort_by_key(|event| (event.header().lamport, event.id()));
            let known = fresh
                .iter()
                .filter(|event| !live.hashes.contains_key(&event.id()))
                .count();
            if live.hashes.len() + known == count && live.apply(fresh.into_iter()).is_ok() {
                return Ok(());
            }
        }
        self.live = None;
        let events: Vec<Event> = index.segment(newest).collect();
        self.live = Some(Live::build(newest, events.iter())?);
        Ok(())
    }

    /// The heads of the live document, as hashes: equal on replicas whose newest segments hold the same events.
    #[must_use]
    pub fn heads(&self) -> Vec<[u8; 32]> {
        let Some(live) = &self.live else {
            return Vec::new();
        };
        live.document
            .get_heads()
            .iter()
            .map(|hash| hash.0)
            .collect()
    }

    /// Saves one segment as an Automerge document; one that is too large, as several, each of the next [`MAX_DOCUMENT`]
    /// events by (lamport, id), with dependencies within itself.
    ///
    /// # Errors
    /// [`ReplicaError`] if the library fails.
    pub fn export(&self, index: &Index, segment: u32) -> Result<Vec<Vec<u8>>, ReplicaError> {
        let events: Vec<Event> = index.segment(segment).collect();
        // Always built anew, in one order: saved documents of equal segments are then equal to the byte.
        let save = |part: &[Event]| {
            let live = Live::build(segment, part.iter())?;
            guarded(segment, || Ok(live.document.save()))
        };
        events.chunks(MAX_DOCUMENT).map(save).collect()
    }
}

/// The events' bytes in a saved document, ascending by key.
///
/// # Errors
/// [`ReplicaError`] if the library cannot read it.
pub fn events_in(document: &[u8]) -> Result<Vec<Vec<u8>>, ReplicaError> {
    guarded(0, || {
        let document = Automerge::load(document).map_err(|error| error.to_string())?;
        let mut events = Vec::new();
        for key in document.keys(ROOT) {
            for (value, _) in document
                .get_all(ROOT, key)
                .map_err(|error| error.to_string())?
            {
                if let Some(bytes) = value.as_bytes() {
                    events.push(bytes.to_vec());
                }
            }
        }
        Ok(events)
    })
}

fn segment_of(event: &Event) -> u32 {
    event.header().lamport / SEGMENT
}

impl Live {
    fn build<'a>(
        segment: u32,
        events: impl Iterator<Item = &'a Event>,
    ) -> Result<Self, ReplicaError> {
        let mut live = Self {
            segment,
            document: Automerge::new(),
            hashes: BTreeMap::new(),
        };
        live.apply(events)?;
        Ok(live)
    }

    /// Applies events of this segment, parents first.
    fn apply<'a>(&mut self, events: impl Iterator<Item = &'a Event>) -> Result<(), ReplicaError> {
        let segment = self.segment;
        let Self {
            document, hashes, ..
        } = self;
        guarded(segment, || {
            let mut changes = Vec::new();
            for event in events {
                if hashes.contains_key(&event.id()) {
                    continue;
                }
                let change = canonical(event, hashes)?;
                hashes.insert(event.id(), change.hash());
                changes.push(change);
            }
            document
                .apply_changes(changes)
                .map_err(|error| error.to_string())
        })
    }
}

/// The one change that stands for an event.
fn canonical(event: &Event, hashes: &BTreeMap<EventId, ChangeHash>) -> Result<Change, String> {
    let id = event.id();
    let key: String = id.to_string().chars().take(24).collect();
    // The library encodes the operation; everything around it is then set to what the event says.
    let mut scratch = Automerge::new().with_actor(ActorId::from(&id.0[..16]));
    let mut transaction = scratch.transaction();
    transaction
        .put(ROOT, key, event.bytes().to_vec())
        .map_err(|error| error.to_string())?;
    transaction.commit_with(CommitOptions::default().with_time(0));
    let change = scratch
        .get_last_local_change()
        .ok_or("an operation made no change")?;
    let mut expanded: ExpandedChange = change.decode();
    expanded.start_op = std::num::NonZeroU64::MIN.saturating_add(event.header().lamport.into());
    expanded.deps = event
        .header()
        .parents
        .iter()
        .filter_map(|parent| hashes.get(parent).copied())
        .collect();
    expanded.deps.sort_unstable();
    Ok(Change::from(expanded))
}

/// Calls the library; a panic of its becomes an error.
fn guarded<T>(segment: u32, call: impl FnOnce() -> Result<T, String>) -> Result<T, ReplicaError> {
    // What the call was changing is thrown away by every caller if this fails.
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(|what| ReplicaError::Library { segment, what }),
        Err(_) => Err(ReplicaError::Library {
            segment,
            what: "it panicked".to_owned(),
        }),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::event::{Act, Header};
    use crate::ids::{EpochId, NetworkId};
    use crate::keys::DeviceSecret;

    fn device(n: u8) -> DeviceSecret {
        DeviceSecret::from_seed(&[n; 32])
    }

    fn event(author: u8, lamport: u32, parents: &[EventId]) -> Event {
        let mut parents = parents.to_vec();
        parents.sort_unstable();
        let header = Header {
            network: NetworkId([9; 32]),
            author: device(author).public(),
            seq: 2,
            lamport,
            time: 0,
            epoch: EpochId::NONE,
            parents,
        };
        Event::sign(&header, &Act::Merge, &[], &device(author)).unwrap()
    }

    /// Two chains that meet now and then, across the border of segments 0 and 1.
    fn history(count: u32) -> Vec<Event> {
        let mut events = vec![event(0, 960, &[EventId([1; 32])])];
        let mut tips = [events[0].clone(), events[0].clone()];
        for n in 1..=count {
            let both = [tips[0].id(), tips[1].id()];
            for (at, author) in [(0, 1), (1, 2)] {
                let parents: &[EventId] = if n % 5 == 0 && both[0] != both[1] {
                    &both
                } else {
                    &[tips[at].id()]
                };
                tips[at] = event(author, 960 + n, parents);
                events.push(tips[at].clone());
            }
        }
        events
    }

    fn index(events: &[Event]) -> Index {
        let mut index = Index::new();
        index.extend(events.iter().cloned());
        index
    }

    #[test]
    fn replicas_that_heard_events_in_different_orders_hold_one_document() {
        let events = history(120);
        let mut one = Replica::new();
        one.update(&index(&events), &events).unwrap();
        // The other takes them one by one, the second chain as late as it can.
        let mut order: Vec<&Event> = events
            .iter()
            .filter(|e| e.author() != device(2).public())
            .collect();
        order.extend(events.iter().filter(|e| e.author() == device(2).public()));
        let (mut other, mut seen) = (Replica::new(), Index::new());
        let mut waiting: Vec<Event> = order.into_iter().cloned().collect();
        while !waiting.is_empty() {
            let known = |id: &EventId| *id == EventId([1; 32]) || seen.get(id).is_some();
            let at = waiting
                .iter()
                .position(|event| event.header().parents.iter().all(known))
                .unwrap();
            let next = waiting.remove(at);
            seen.extend([next.clone()]);
            other.update(&seen, &[next]).unwrap();
        }
        assert!(!one.heads().is_empty());
        assert_eq!(one.heads(), other.heads());
        for segment in [0, 1] {
            assert_eq!(
                one.export(&index(&events), segment).unwrap(),
                other.export(&seen, segment).unwrap()
            );
        }
    }

    #[test]
    fn an_exported_document_gives_back_exactly_the_events() {
        let events = history(120);
        let index = index(&events);
        let mut found = Vec::new();
        for segment in [0, 1] {
            let documents = Replica::new().export(&index, segment).unwrap();
            assert_eq!(documents.len(), 1);
            found.extend(events_in(&documents[0]).unwrap());
        }
        let mut due: Vec<_> = events.iter().map(|event| event.bytes().to_vec()).collect();
        due.sort();
        found.sort();
        assert_eq!(found, due);
    }

    #[test]
    fn a_segment_too_large_for_one_document_is_exported_as_several() {
        let root = event(0, 7, &[EventId([1; 32])]);
        let mut events = vec![root.clone()];
        for seed in 1..=40u8 {
            let mut tip = root.clone();
            for n in 1..=105 {
                tip = event(seed, 7 + n, &[tip.id()]);
                events.push(tip.clone());
            }
        }
        let index = index(&events);
        let mut live = Replica::new();
        assert!(matches!(
            live.update(&index, &events),
            Err(ReplicaError::TooLarge { events: 4201, .. })
        ));
        let documents = live.export(&index, 0).unwrap();
        assert_eq!(documents.len(), 2);
        let found: usize = documents
            .iter()
            .map(|document| events_in(document).unwrap().len())
            .sum();
        assert_eq!(found, 4201);
    }

    #[test]
    fn the_live_document_follows_the_newest_segment() {
        let events = history(120);
        let (mut replica, mut seen) = (Replica::new(), Index::new());
        for batch in events.chunks(7) {
            seen.extend(batch.iter().cloned());
            replica.update(&seen, batch).unwrap();
        }
        let live = replica.live.as_ref().unwrap();
        assert_eq!(live.segment, 1);
        assert_eq!(live.hashes.len(), seen.segment(1).count());
        let mut fresh = Replica::new();
        fresh.update(&seen, &[]).unwrap();
        assert_eq!(replica.heads(), fresh.heads());
    }

    #[test]
    fn a_failed_document_is_built_anew_from_the_events() {
        let events = history(30);
        let mut replica = Replica::new();
        replica
            .update(&index(&events[..40]), &events[..40])
            .unwrap();
        // What a panic in the library leaves behind: hashes of changes the document does not have.
        replica.live.as_mut().unwrap().document = Automerge::new();
        replica.live.as_mut().unwrap().hashes.clear();
        replica.update(&index(&events), &events[40..]).unwrap();
        let mut fresh = Replica::new();
        fresh.update(&index(&events), &[]).unwrap();
        assert_eq!(replica.heads(), fresh.heads());
    }

    #[test]
    fn a_panic_of_the_library_is_an_error() {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let result = guarded(3, || -> Result<(), String> { panic!("bad change") });
        std::panic::set_hook(hook);
        assert!(matches!(
            result,
            Err(ReplicaError::Library { segment: 3, .. })
        ));
    }

    #[test]
    fn bytes_that_are_no_document_are_an_error() {
        assert!(events_in(&[1, 2, 3]).is_err());
    }

    #[test]
    fn an_event_is_the_same_change_wherever_it_is_built() {
        let one = event(1, 5, &[EventId([1; 32])]);
        let change = canonical(&one, &BTreeMap::new()).unwrap();
        assert_eq!(change.start_op().get(), 6);
        assert_eq!(change.seq(), 1);
        assert_eq!(change.timestamp(), 0);
        assert_eq!(change.actor_id().to_bytes(), &one.id().0[..16]);
        assert_eq!(
            change.hash(),
            canonical(&one, &BTreeMap::new()).unwrap().hash()
        );
    }
}
