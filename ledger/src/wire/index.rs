//! The events of a replica by (lamport, id), and digests over ranges of them.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use super::message::{MAX_TABLE, Message, SEGMENT, SegmentDigest};
use crate::event::Event;
use crate::ids::EventId;

/// What sync compares and sends: all events of a graph.
#[derive(Debug, Clone, Default)]
pub struct Index {
    events: BTreeMap<(u32, EventId), Event>,
    lamports: BTreeMap<EventId, u32>,
    /// Of each segment that is not empty, once somebody asked since it changed.
    digests: BTreeMap<u32, OnceLock<[u8; 16]>>,
}

const FIRST: EventId = EventId([0; 32]);
const LAST: EventId = EventId([0xff; 32]);

impl Index {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds events.
    pub fn extend(&mut self, events: impl IntoIterator<Item = Event>) {
        for event in events {
            let (lamport, id) = (event.header().lamport, event.id());
            self.lamports.insert(id, lamport);
            self.events.insert((lamport, id), event);
            self.digests.insert(lamport / SEGMENT, OnceLock::new());
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
        self.range(segment).map(|(_, event)| event)
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

    /// The digests of all segments that are not empty.
    pub(super) fn digests(&self) -> impl Iterator<Item = (u32, [u8; 16])> + '_ {
        self.digests
            .keys()
            .map(|segment| (*segment, self.segment_digest(*segment)))
    }

    fn segment_digest(&self, segment: u32) -> [u8; 16] {
        self.digests.get(&segment).map_or([0; 16], |known| {
            *known.get_or_init(|| digest(self.in_segment(segment)))
        })
    }

    pub(super) fn in_segment(&self, segment: u32) -> impl Iterator<Item = (u32, EventId)> {
        self.range(segment).map(|(place, _)| *place)
    }

    pub(super) fn table(&self, round: u32) -> Vec<Message> {
        let all: Vec<SegmentDigest> = self
            .digests()
            .map(|(segment, digest)| SegmentDigest { segment, digest })
            .collect();
        ranges(&all)
            .into_iter()
            .map(|(first, last, segments)| Message::Table {
                round,
                first,
                last,
                segments,
            })
            .collect()
    }

    fn range(&self, segment: u32) -> impl Iterator<Item = (&(u32, EventId), &Event)> {
        let first = segment.saturating_mul(SEGMENT);
        let last = first.saturating_add(SEGMENT - 1);
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

/// Cuts a table into pieces of at most [`MAX_TABLE`] segments, each with the range it speaks for. Together the ranges cover
/// all numbers without a gap, so that what only the other side has lies in one of them too.
fn ranges(all: &[SegmentDigest]) -> Vec<(u32, u32, Vec<SegmentDigest>)> {
    let mut out = Vec::new();
    let mut from = 0;
    let mut rest = all;
    while rest.len() > MAX_TABLE {
        let (piece, tail) = rest.split_at(MAX_TABLE);
        let Some(next) = tail.first().map(|one| one.segment) else {
            break;
        };
        out.push((from, next.saturating_sub(1), piece.to_vec()));
        from = next;
        rest = tail;
    }
    out.push((from, u32::MAX, rest.to_vec()));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_leave_no_gap_and_speak_for_what_they_list() {
        let all: Vec<SegmentDigest> = (0..3 * MAX_TABLE as u32 + 5)
            .map(|n| SegmentDigest {
                segment: n * 10,
                digest: [0; 16],
            })
            .collect();
        let pieces = ranges(&all);
        assert_eq!(pieces.len(), 4);
        assert_eq!((pieces[0].0, pieces[3].1), (0, u32::MAX));
        for pair in pieces.windows(2) {
            assert_eq!(pair[0].1 + 1, pair[1].0);
        }
        for (from, to, segments) in pieces {
            assert!(
                segments
                    .iter()
                    .all(|one| (from..=to).contains(&one.segment))
            );
        }
        assert_eq!(ranges(&[]), [(0, u32::MAX, vec![])]);
    }
}
