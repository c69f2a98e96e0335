//! Sync between members: pure state, messages in and out.
//!
//! 1. Both sides send a **table** of segments (1,024 lamports each) with a digest of the ids in each. What one side has and
//!    the other has nothing of needs no more words.
//! 2. Of a segment that differs, the side with the smaller digest sends digests of **cells**: the events dealt out by a
//!    keyed hash of their ids, about sixteen to a cell, however many lamports they lie on.
//! 3. The other answers with the **short ids** (four bytes of the same keyed hash) of all its events in the cells that
//!    differ. From them the first knows what the other lacks, and says which of them it **wants**.
//! 4. What the other lacks is then sent ascending by (lamport, id), so that parents come first, in a window that the
//!    receiver's acknowledgements move.
//!
//! A table's digest is blake3 over ids in order: sums and xors could be forged. What is compared below it is short, so it
//! is keyed by both sides' digests and the round: nobody can write events beforehand that look like others in it, and what
//! a chance likeness hides shows in the next round. One event that only one side has costs some eighty bytes to find, where
//! ids of fixed blocks cost a thousand. Everything received goes to the gate; nothing here is trusted but for how much it
//! may cost.

mod cells;
mod message;
mod table;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub use crate::index::Index;
pub use message::{
    BadMessage, MAX_BITS, MAX_FETCH, MAX_FRAME, MAX_SHORTS, MAX_TABLE, Message, SEGMENT,
    SegmentDigest, ShortId,
};

use cells::Cells;

use crate::event::Event;
use crate::ids::EventId;

/// The most bytes of events in one message.
pub const CHUNK: usize = 256 << 10;
/// How many messages with events may be on their way unacknowledged.
pub const WINDOW: usize = 8;

/// What a received message leads to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// To be sent to the peer, in this order.
    pub send: Vec<Message>,
    /// For the gate, parents first.
    pub events: Vec<Vec<u8>>,
}

/// The sync with one peer over one connection; the next connection gets a new one, on both sides.
#[derive(Debug, Default)]
pub struct Sync {
    round: u32,
    /// The digests that this side's table told in this round.
    told: BTreeMap<u32, [u8; 16]>,
    /// Whether the end of the peer's table is still to come.
    table_due: bool,
    /// The segments that differ.
    differing: BTreeMap<u32, Comparison>,
    /// What the peer lacks, in order.
    lacking: BTreeSet<(u32, EventId)>,
    queue: VecDeque<EventId>,
    unacknowledged: usize,
}

/// Where the comparison of one segment stands.
#[derive(Debug)]
struct Comparison {
    cells: Cells,
    /// What the peer says next; nothing once all is said.
    due: Option<Due>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    Cells,
    Ids,
    Want,
}

impl Sync {
    /// Before the first message.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins a round: compares everything. To be called when a link is up, and again whenever the peer's heads differ
    /// and no round is under way.
    pub fn start(&mut self, index: &Index) -> Vec<Message> {
        self.begin(self.round.wrapping_add(1), index)
    }

    /// Whether nothing is under way: no answer due and nothing left to send.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.is_compared()
            && self.lacking.is_empty()
            && self.queue.is_empty()
            && self.unacknowledged == 0
    }

    /// Messages that hand fresh events to the peer at once.
    #[must_use]
    pub fn push(events: &[Event]) -> Vec<Message> {
        let mut messages = Vec::new();
        let mut bytes = 0;
        let mut chunk = Vec::new();
        for event in events {
            bytes += event.bytes().len();
            chunk.push(event.bytes().to_vec());
            if bytes >= CHUNK {
                messages.push(Message::Push(std::mem::take(&mut chunk)));
                bytes = 0;
            }
        }
        if !chunk.is_empty() {
            messages.push(Message::Push(chunk));
        }
        messages
    }

    /// Messages that ask for events by id, as the gate's missing parents.
    #[must_use]
    pub fn fetch(ids: &[EventId]) -> Vec<Message> {
        ids.chunks(MAX_FETCH)
            .map(|ids| Message::Fetch(ids.to_vec()))
            .collect()
    }

    /// Takes a message. Give what comes out in `events` to the gate before the next message is taken, so that the index
    /// knows it.
    pub fn receive(&mut self, message: Message, index: &Index) -> Step {
        let mut step = Step::default();
        match message {
            Message::Table {
                round,
                first,
                last,
                segments,
            } => self.table(round, first, last, &segments, index, &mut step),
            Message::Cells {
                round,
                segment,
                bits,
                digests,
            } if round == self.round => self.cells(segment, bits, &digests, index, &mut step),
            Message::Ids {
                round,
                segment,
                bits,
                cells,
                ids,
                last,
            } if round == self.round => {
                let there = cells::Listed {
                    bits,
                    cells: &cells,
                    ids: &ids,
                };
                self.ids(segment, &there, last, index, &mut step);
            }
            Message::Want {
                round,
                segment,
                ids,
                last,
            } if round == self.round => self.want(segment, &ids, last, index),
            // Of a round that is over.
            Message::Cells { .. } | Message::Ids { .. } | Message::Want { .. } => {}
            Message::Events(events) => {
                step.send.push(Message::Received);
                step.events = events;
            }
            Message::Push(events) => step.events = events,
            Message::Received => self.unacknowledged = self.unacknowledged.saturating_sub(1),
            Message::Fetch(ids) => {
                let mut found: Vec<(u32, EventId)> =
                    ids.iter().filter_map(|id| index.place(id)).collect();
                found.sort_unstable();
                // The queue may hold an event twice at most for each time the peer asks, and a peer that asks without
                // taking gets no more.
                if self.queue.len() < MAX_QUEUE {
                    self.queue.extend(found.into_iter().map(|(_, id)| id));
                }
            }
        }
        self.flush(index, &mut step);
        step
    }

    fn begin(&mut self, round: u32, index: &Index) -> Vec<Message> {
        *self = Self {
            round,
            told: index.digests().collect(),
            table_due: true,
            queue: std::mem::take(&mut self.queue),
            unacknowledged: self.unacknowledged,
            ..Self::default()
        };
        table::table(index, round)
    }

    fn table(
        &mut self,
        round: u32,
        first: u32,
        last: u32,
        segments: &[SegmentDigest],
        index: &Index,
        step: &mut Step,
    ) {
        if round != self.round {
            // Rounds wrap; the nearer way round is forward. An old round's table is stale.
            if round.wrapping_sub(self.round) > u32::MAX / 2 {
                return;
            }
            step.send.extend(self.begin(round, index));
        }
        if last == u32::MAX {
            self.table_due = false;
        }
        let theirs: BTreeMap<u32, [u8; 16]> = segments
            .iter()
            .map(|one| (one.segment, one.digest))
            .collect();
        // Both sides go by what they told, whatever has come since: so they agree on who says what next.
        let told: Vec<(u32, [u8; 16])> = self
            .told
            .range(first..=last.max(first))
            .map(|(segment, digest)| (*segment, *digest))
            .collect();
        for (segment, mine) in told {
            match theirs.get(&segment) {
                None => self.lacking.extend(index.in_segment(segment)),
                Some(theirs) if *theirs != mine => {
                    if self.differing.contains_key(&segment) {
                        continue;
                    }
                    let cells = Cells::new(self.round, segment, &mine, theirs);
                    let due = if mine < *theirs {
                        let (bits, digests) = cells.digests(index);
                        step.send.push(Message::Cells {
                            round: self.round,
                            segment,
                            bits,
                            digests,
                        });
                        Due::Ids
                    } else {
                        Due::Cells
                    };
                    let due = Some(due);
                    self.differing.insert(segment, Comparison { cells, due });
                }
                Some(_) => {}
            }
        }
    }

    /// The comparison of a segment, if that is what the peer is to say next.
    fn awaiting(&mut self, segment: u32, due: Due) -> Option<&mut Comparison> {
        self.differing
            .get_mut(&segment)
            .filter(|one| one.due == Some(due))
    }

    fn cells(
        &mut self,
        segment: u32,
        bits: u8,
        theirs: &[[u8; 8]],
        index: &Index,
        step: &mut Step,
    ) {
        let round = self.round;
        if let Some(one) = self.awaiting(segment, Due::Cells) {
            one.due = Some(Due::Want);
            step.send.extend(one.cells.ids(round, bits, theirs, index));
        }
    }

    fn ids(
        &mut self,
        segment: u32,
        theirs: &cells::Listed<'_>,
        last: bool,
        index: &Index,
        step: &mut Step,
    ) {
        let round = self.round;
        if let Some(one) = self.awaiting(segment, Due::Ids) {
            if last {
                one.due = None;
            }
            let (lacking, ids) = one.cells.compare(theirs, index);
            self.lacking.extend(lacking);
            step.send.push(Message::Want {
                round,
                segment,
                ids,
                last,
            });
        }
    }

    fn want(&mut self, segment: u32, wanted: &[ShortId], last: bool, index: &Index) {
        if let Some(one) = self.awaiting(segment, Due::Want) {
            if last {
                one.due = None;
            }
            let lacking = one.cells.named(wanted, index);
            self.lacking.extend(lacking);
        }
    }

    fn is_compared(&self) -> bool {
        !self.table_due && self.differing.values().all(|one| one.due.is_none())
    }

    /// Sends what the window allows. What the comparison found goes once all of it is known, so that it is ascending.
    fn flush(&mut self, index: &Index, step: &mut Step) {
        if !self.lacking.is_empty() && self.is_compared() {
            let lacking = std::mem::take(&mut self.lacking);
            self.queue.extend(lacking.into_iter().map(|(_, id)| id));
        }
        while self.unacknowledged < WINDOW {
            let mut bytes = 0;
            let mut chunk = Vec::new();
            while bytes < CHUNK
                && let Some(id) = self.queue.pop_front()
            {
                // One that cannot be read back is not sent; the ledger tells why.
                if let Some(event) = index.get(&id) {
                    bytes += event.bytes().len();
                    chunk.push(event.bytes().to_vec());
                }
            }
            if chunk.is_empty() {
                return;
            }
            self.unacknowledged += 1;
            step.send.push(Message::Events(chunk));
        }
    }
}

/// The most ids that wait to be sent because the peer asked for them one by one.
const MAX_QUEUE: usize = 1 << 20;
#[cfg(test)]
#[path = "wire/tests.rs"]
mod tests;
