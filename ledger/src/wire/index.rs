//! The events of a replica by (lamport, id), and digests over ranges of them.

use std::collections::BTreeMap;

use super::message::{BLOCK, MAX_IDS, MAX_TABLE, Message, SEGMENT, SegmentDigest};
use crate::event::Event;
use crate::ids::EventId;

/// What sync compares and sends: all events of a graph.
#[derive(Debug, Clone, Default)]
pub struct Index {
    events: BTreeMap<(u32, EventId), Event>,
    lamports: BTreeMap<EventId, u32>,
    /// Of each segment that is not empty.
    digests: BTreeMap<u32, [u8; 16]>,
}

const FIRST: EventId = EventId([0; 32]);
const LAST: EventId = EventId([0xff; 32]);

/// The block with a number within a segment.
pub(super) fn block_of(segment: u32, at: u8) -> u32 {
    segment
        .saturating_mul(SEGMENT / BLOCK)
        .saturating_add(u32::from(at))
}

impl Index {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds events.
    pub fn extend(&mut self, events: impl IntoIterator<Item = Event>) {
        let mut touched = std::collections::BTreeSet::new();
        for event in events {
            let (lamport, id) = (event.header().lamport, event.id());
            self.lamports.insert(id, lamport);
            self.events.insert((lamport, id), event);
            touched.insert(lamport / SEGMENT);
        }
        for segment in touched {
            let digest = digest(self.in_segment(segment));
            self.digests.insert(segment, digest);
        }
    }

    /// How many events there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// An event.
    #[must_use]
    pub fn get(&self, id: &EventId) -> Option<&Event> {
        self.events.get(&self.place(id)?)
    }

    /// All events, ascending by (lamport, id): parents first.
    pub fn events(&self) -> impl Iterator<Item = &Event> {
        self.events.values()
    }

    /// The events of one segment, ascending.
    pub fn segment(&self, segment: u32) -> impl Iterator<Item = &Event> {
        self.range(segment, SEGMENT).map(|(_, event)| event)
    }

    /// The segments that are not empty, ascending.
    pub fn all_segments(&self) -> impl Iterator<Item = u32> {
        self.digests.keys().copied()
    }

    /// The greatest segment that is not empty.
    #[must_use]
    pub fn newest_segment(&self) -> Option<u32> {
        self.digests.keys().next_back().copied()
    }

    pub(super) fn place(&self, id: &EventId) -> Option<(u32, EventId)> {
        self.lamports.get(id).map(|lamport| (*lamport, *id))
    }

    pub(super) fn segments(&self, first: u32, last: u32) -> impl Iterator<Item = u32> {
        // A range from a peer may be the wrong way round only if it was not decoded.
        let last = last.max(first);
        self.digests
            .range(first..=last)
            .map(|(segment, _)| *segment)
    }

    pub(super) fn segment_digest(&self, segment: u32) -> [u8; 16] {
        self.digests.get(&segment).copied().unwrap_or_default()
    }

    pub(super) fn in_segment(&self, segment: u32) -> impl Iterator<Item = (u32, EventId)> {
        self.range(segment, SEGMENT).map(|(place, _)| *place)
    }

    pub(super) fn in_block(&self, block: u32) -> impl Iterator<Item = (u32, EventId)> {
        self.range(block, BLOCK).map(|(place, _)| *place)
    }

    pub(super) fn block_digests(&self, segment: u32) -> Vec<(u8, [u8; 16])> {
        (0..(SEGMENT / BLOCK) as u8)
            .filter_map(|at| {
                let mut ids = self.in_block(block_of(segment, at)).peekable();
                ids.peek()?;
                Some((at, digest(ids)))
            })
            .collect()
    }

    pub(super) fn table(&self, round: u32) -> Vec<Message> {
        let all: Vec<SegmentDigest> = self
            .digests
            .iter()
            .map(|(segment, digest)| SegmentDigest {
                segment: *segment,
                digest: *digest,
            })
            .collect();
        ranges(
            &all,
            MAX_TABLE,
            0,
            u32::MAX,
            |one| one.segment,
            |n| n.saturating_sub(1),
        )
        .into_iter()
        .map(|(first, last, segments)| Message::Table {
            round,
            first,
            last,
            segments,
        })
        .collect()
    }

    pub(super) fn ids(&self, block: u32) -> Vec<Message> {
        let mut all: Vec<EventId> = self.in_block(block).map(|(_, id)| id).collect();
        all.sort_unstable();
        ranges(&all, MAX_IDS, FIRST, LAST, |id| *id, id_before)
            .into_iter()
            .map(|(first, last, ids)| Message::Ids {
                block,
                first,
                last,
                ids,
            })
            .collect()
    }

    fn range(&self, part: u32, size: u32) -> impl Iterator<Item = (&(u32, EventId), &Event)> {
        let first = part.saturating_mul(size);
        let last = first.saturating_add(size - 1);
        self.events.range((first, FIRST)..=(last, LAST))
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

/// Cuts a list sorted by key into pieces of at most `most`, each with the range of keys it speaks for. Together the
/// ranges cover `first..=last` without a gap, so that what only the other side has lies in one of them too.
fn ranges<T: Clone, K: Copy>(
    items: &[T],
    most: usize,
    first: K,
    last: K,
    key: impl Fn(&T) -> K,
    before: impl Fn(K) -> K,
) -> Vec<(K, K, Vec<T>)> {
    let mut out = Vec::new();
    let mut from = first;
    let mut rest = items;
    while rest.len() > most {
        let (piece, tail) = rest.split_at(most);
        let Some(next) = tail.first().map(&key) else {
            break;
        };
        out.push((from, before(next), piece.to_vec()));
        from = next;
        rest = tail;
    }
    out.push((from, last, rest.to_vec()));
    out
}

/// The id before another; that of zero is zero.
fn id_before(id: EventId) -> EventId {
    let mut bytes = id.0;
    for byte in bytes.iter_mut().rev() {
        let (less, borrow) = byte.overflowing_sub(1);
        *byte = less;
        if !borrow {
            return EventId(bytes);
        }
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_leave_no_gap_and_speak_for_what_they_list() {
        let items: Vec<u32> = (0..10).map(|n| n * 10).collect();
        let pieces = ranges(&items, 3, 0, u32::MAX, |n| *n, |n| n.saturating_sub(1));
        assert_eq!(pieces.len(), 4);
        assert_eq!((pieces[0].0, pieces[3].1), (0, u32::MAX));
        for pair in pieces.windows(2) {
            assert_eq!(pair[0].1 + 1, pair[1].0);
        }
        for (from, to, items) in pieces {
            assert!(items.iter().all(|n| (from..=to).contains(n)));
        }
        assert_eq!(ranges(&[], 3, 0, 9, |n: &u32| *n, |n| n), [(0, 9, vec![])]);
    }

    #[test]
    fn an_id_has_a_predecessor() {
        let mut one = [0; 32];
        one[30] = 1;
        let mut before = [0; 32];
        before[31] = 0xff;
        assert_eq!(id_before(EventId(one)), EventId(before));
        assert_eq!(id_before(FIRST), FIRST);
    }
}
