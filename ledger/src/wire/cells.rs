//! The events of one segment dealt out into cells, and their short ids: both by one keyed hash of the id.

use std::collections::BTreeSet;

use super::Index;
use super::message::{MAX_BITS, MAX_SHORTS, Message, ShortId};
use crate::ids::EventId;

/// The most events that a cell should hold.
const FULL: usize = 16;
/// After so many short ids a message is large enough.
const MANY: usize = 100_000;

/// The comparison of one segment in one round with one peer.
#[derive(Debug)]
pub(super) struct Cells {
    segment: u32,
    key: [u8; 32],
}

/// Cells whose ids the peer has listed.
pub(super) struct Listed<'a> {
    pub(super) bits: u8,
    pub(super) cells: &'a [u16],
    pub(super) ids: &'a [ShortId],
}

struct Place {
    at: (u32, EventId),
    /// The cell if there were 2^16.
    fine: u16,
    short: ShortId,
}

impl Place {
    fn cell(&self, bits: u8) -> usize {
        usize::from(self.fine) >> (MAX_BITS - bits.min(MAX_BITS))
    }
}

impl Cells {
    /// The same on both sides, whose digests of the segment these are.
    pub(super) fn new(round: u32, segment: u32, one: &[u8; 16], other: &[u8; 16]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("mesh sync cells 1");
        hasher.update(&round.to_be_bytes());
        hasher.update(&segment.to_be_bytes());
        hasher.update(one.min(other));
        hasher.update(one.max(other));
        Self {
            segment,
            key: *hasher.finalize().as_bytes(),
        }
    }

    /// Digests of this side's cells, as many as its events fill, and the logarithm of their number.
    pub(super) fn digests(&self, index: &Index) -> (u8, Vec<[u8; 8]>) {
        let places = self.places(index);
        let bits = (0..MAX_BITS)
            .find(|bits| places.len() >> bits <= FULL)
            .unwrap_or(MAX_BITS);
        (bits, self.digest_each(bits, &places))
    }

    /// The ids of the cells whose digests differ from the peer's, in as many messages as it takes, but at least one.
    pub(super) fn ids(
        &self,
        round: u32,
        bits: u8,
        theirs: &[[u8; 8]],
        index: &Index,
    ) -> Vec<Message> {
        let places = self.places(index);
        let mine = self.digest_each(bits, &places);
        let mut by_cell: Vec<Vec<ShortId>> = vec![Vec::new(); mine.len()];
        for place in &places {
            by_cell[place.cell(bits)].push(place.short);
        }
        let mut messages = Vec::new();
        let (mut cells, mut ids) = (Vec::new(), Vec::new());
        let mut message = |cells: &mut Vec<u16>, ids: &mut Vec<ShortId>, last| {
            messages.push(Message::Ids {
                round,
                segment: self.segment,
                bits,
                cells: std::mem::take(cells),
                ids: std::mem::take(ids),
                last,
            });
        };
        for (cell, shorts) in by_cell.into_iter().enumerate() {
            if theirs.get(cell) == mine.get(cell) {
                continue;
            }
            if ids.len() + shorts.len() > MANY && !ids.is_empty() {
                message(&mut cells, &mut ids, false);
            }
            cells.push(cell as u16);
            // By a keyed hash, so many never share one of 65,536 cells.
            ids.extend(shorts.into_iter().take(MAX_SHORTS));
        }
        message(&mut cells, &mut ids, true);
        messages
    }

    /// What stands in the listed cells here and not there, and what there and not here.
    pub(super) fn compare(
        &self,
        theirs: &Listed<'_>,
        index: &Index,
    ) -> (Vec<(u32, EventId)>, Vec<ShortId>) {
        let mut listed = vec![false; 1 << theirs.bits.min(MAX_BITS)];
        for cell in theirs.cells {
            if let Some(one) = listed.get_mut(usize::from(*cell)) {
                *one = true;
            }
        }
        let there: BTreeSet<ShortId> = theirs.ids.iter().copied().collect();
        let mut wanted = there.clone();
        let mut lacking = Vec::new();
        for place in self.places(index) {
            if listed[place.cell(theirs.bits)] {
                wanted.remove(&place.short);
                if !there.contains(&place.short) {
                    lacking.push(place.at);
                }
            }
        }
        (lacking, wanted.into_iter().collect())
    }

    /// The events with these short ids.
    pub(super) fn named(&self, wanted: &[ShortId], index: &Index) -> Vec<(u32, EventId)> {
        let wanted: BTreeSet<&ShortId> = wanted.iter().collect();
        self.places(index)
            .iter()
            .filter(|place| wanted.contains(&place.short))
            .map(|place| place.at)
            .collect()
    }

    /// This side's events of the segment, those of a cell together, however many cells there are.
    fn places(&self, index: &Index) -> Vec<Place> {
        let mut places: Vec<Place> = index
            .in_segment(self.segment)
            .map(|at| {
                let hash = blake3::keyed_hash(&self.key, &at.1.0);
                let [a, b, c, d, e, f, ..] = *hash.as_bytes();
                Place {
                    at,
                    fine: u16::from_be_bytes([a, b]),
                    short: [c, d, e, f],
                }
            })
            .collect();
        places.sort_unstable_by_key(|place| (place.fine, place.at));
        places
    }

    fn digest_each(&self, bits: u8, places: &[Place]) -> Vec<[u8; 8]> {
        let mut digests = vec![[0; 8]; 1 << bits.min(MAX_BITS)];
        for cell in places.chunk_by(|a, b| a.cell(bits) == b.cell(bits)) {
            let mut hasher = blake3::Hasher::new_keyed(&self.key);
            for place in cell {
                hasher.update(&place.at.1.0);
            }
            if let Some(digest) = cell
                .first()
                .and_then(|first| digests.get_mut(first.cell(bits)))
            {
                digest.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
            }
        }
        digests
    }
}
