//! Sync between members: pure state, messages in and out.
//!
//! Both sides compare, in this order: a table of segments (1,024 lamports each) with a digest of the ids in each; for the
//! segments that differ, digests of blocks (32 lamports); for the blocks that differ, the ids. What the other lacks is
//! then sent ascending by (lamport, id), so that parents come first, in a window that the receiver's acknowledgements
//! move. A digest is blake3 over ids in that order: sums and xors could be forged. Everything received goes to the gate;
//! nothing here is trusted but for how much it may cost.

mod index;
mod message;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub use index::Index;
pub use message::{
    BLOCK, BadMessage, MAX_FETCH, MAX_FRAME, MAX_IDS, MAX_TABLE, Message, SEGMENT, SegmentDigest,
};

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

/// The sync with one peer.
#[derive(Debug, Default)]
pub struct Sync {
    round: u32,
    /// Segments whose blocks, and blocks whose ids, were sent in this round.
    sent_blocks: BTreeSet<u32>,
    sent_ids: BTreeSet<u32>,
    /// What the peer still has to answer, and whether its table came.
    table_due: bool,
    blocks_due: BTreeSet<u32>,
    ids_due: BTreeSet<u32>,
    /// What the peer lacks, in order.
    lacking: BTreeSet<(u32, EventId)>,
    queue: VecDeque<EventId>,
    unacknowledged: usize,
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
        !self.table_due
            && self.blocks_due.is_empty()
            && self.ids_due.is_empty()
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
            Message::Blocks { segment, blocks } => {
                self.blocks(segment, &blocks, index, &mut step);
            }
            Message::Ids {
                block,
                first,
                last,
                ids,
            } => self.ids(block, first, last, &ids, index, &mut step),
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
            table_due: true,
            queue: std::mem::take(&mut self.queue),
            unacknowledged: self.unacknowledged,
            ..Self::default()
        };
        index.table(round)
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
        for segment in index.segments(first, last) {
            match theirs.get(&segment) {
                None => self.lacking.extend(index.in_segment(segment)),
                Some(digest) if *digest != index.segment_digest(segment) => {
                    self.blocks_due.insert(segment);
                    self.send_blocks(segment, index, step);
                }
                Some(_) => {}
            }
        }
    }

    fn blocks(&mut self, segment: u32, theirs: &[(u8, [u8; 16])], index: &Index, step: &mut Step) {
        self.send_blocks(segment, index, step);
        self.blocks_due.remove(&segment);
        let theirs: BTreeMap<u8, [u8; 16]> = theirs.iter().copied().collect();
        for (at, digest) in index.block_digests(segment) {
            let block = index::block_of(segment, at);
            match theirs.get(&at) {
                None => self.lacking.extend(index.in_block(block)),
                Some(other) if *other != digest => {
                    self.ids_due.insert(block);
                    self.send_ids(block, index, step);
                }
                Some(_) => {}
            }
        }
    }

    fn ids(
        &mut self,
        block: u32,
        first: EventId,
        last: EventId,
        theirs: &[EventId],
        index: &Index,
        step: &mut Step,
    ) {
        self.send_ids(block, index, step);
        if last == EventId([0xff; 32]) {
            self.ids_due.remove(&block);
        }
        let theirs: BTreeSet<&EventId> = theirs.iter().collect();
        let lacking = index
            .in_block(block)
            .filter(|(_, id)| (first..=last).contains(id) && !theirs.contains(id));
        self.lacking.extend(lacking);
    }

    fn send_blocks(&mut self, segment: u32, index: &Index, step: &mut Step) {
        if self.sent_blocks.len() < MAX_DETAIL && self.sent_blocks.insert(segment) {
            step.send.push(Message::Blocks {
                segment,
                blocks: index.block_digests(segment),
            });
        }
    }

    fn send_ids(&mut self, block: u32, index: &Index, step: &mut Step) {
        if self.sent_ids.len() < MAX_DETAIL && self.sent_ids.insert(block) {
            step.send.extend(index.ids(block));
        }
    }

    /// Sends what the window allows. What the comparison found goes once all of it is known, so that it is ascending.
    fn flush(&mut self, index: &Index, step: &mut Step) {
        if !self.table_due && self.blocks_due.is_empty() && self.ids_due.is_empty() {
            let lacking = std::mem::take(&mut self.lacking);
            self.queue.extend(lacking.into_iter().map(|(_, id)| id));
        }
        while self.unacknowledged < WINDOW {
            let mut bytes = 0;
            let mut chunk = Vec::new();
            while bytes < CHUNK
                && let Some(id) = self.queue.pop_front()
            {
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
/// The most segments, and blocks, whose details one round sends: far above what any network has.
const MAX_DETAIL: usize = 1 << 20;

#[cfg(test)]
#[path = "wire/tests.rs"]
mod tests;
