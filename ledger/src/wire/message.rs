//! The messages of sync, bounded before they are decoded.

use serde::{Deserialize, Serialize};

use crate::event::MAX_EVENT;
use crate::ids::EventId;

/// Lamports in a segment.
pub const SEGMENT: u32 = 1024;
/// The most bytes of an encoded message.
pub const MAX_FRAME: usize = 1 << 20;
/// The most segments in one table message.
pub const MAX_TABLE: usize = 16_384;
/// The most cells a segment is cut into, as a power of two.
pub const MAX_BITS: u8 = 16;
/// The most short ids in one message.
pub const MAX_SHORTS: usize = 200_000;
/// The most ids in one request.
pub const MAX_FETCH: usize = 8_192;

/// A segment of the sender's, and what stands in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentDigest {
    /// floor(lamport / 1024).
    pub segment: u32,
    /// Over the ids.
    pub digest: [u8; 16],
}

/// A part of the keyed hash of an id: enough to tell the events of one segment apart.
pub type ShortId = [u8; 4];

/// A message of sync. The order of the variants and fields is the format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// The sender's segments within `first..=last`, ascending; a segment in that range that is not listed is empty. The
    /// message whose `last` is the greatest number ends the table.
    Table {
        /// The round, counted by whoever begins one.
        round: u32,
        /// The range's first segment.
        first: u32,
        /// The range's last segment.
        last: u32,
        /// The segments.
        segments: Vec<SegmentDigest>,
    },
    /// Digests of the 2^`bits` cells of one segment that differs, from the side whose digest of it is smaller.
    Cells {
        /// The round.
        round: u32,
        /// The segment.
        segment: u32,
        /// The logarithm of the number of cells.
        bits: u8,
        /// One for each cell, keyed.
        digests: Vec<[u8; 8]>,
    },
    /// The answer: all ids of the cells that differ, shortened.
    Ids {
        /// The round.
        round: u32,
        /// The segment.
        segment: u32,
        /// As in the cells.
        bits: u8,
        /// The cells this message speaks for, ascending.
        cells: Vec<u16>,
        /// What stands in them.
        ids: Vec<ShortId>,
        /// Whether this is the last about this segment.
        last: bool,
    },
    /// Events the other lacks, parents first. Each such message is acknowledged.
    Events(Vec<Vec<u8>>),
    /// Acknowledges one `Events`.
    Received,
    /// Events the sender has just written or received.
    Push(Vec<Vec<u8>>),
    /// Asks for events.
    Fetch(Vec<EventId>),
    /// The answer to one `Ids`: which of them the sender lacks. What the other lacks of them follows in `Events`.
    Want {
        /// The round.
        round: u32,
        /// The segment.
        segment: u32,
        /// As they were listed.
        ids: Vec<ShortId>,
        /// As in the `Ids`.
        last: bool,
    },
}

/// Bytes that are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadMessage {
    /// Longer than [`MAX_FRAME`].
    #[error("the message is too long")]
    Length,
    /// Not a message, or one with too much in it.
    #[error("the message is malformed")]
    Form,
}

impl Message {
    /// The bytes to send.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).unwrap_or_default()
    }

    /// Reads a message. A count in it cannot make more memory than its bytes, which are bounded, account for.
    ///
    /// # Errors
    /// [`BadMessage`] says what is wrong.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadMessage> {
        if bytes.len() > MAX_FRAME {
            return Err(BadMessage::Length);
        }
        let (message, rest) =
            postcard::take_from_bytes::<Self>(bytes).map_err(|_| BadMessage::Form)?;
        if rest.is_empty() && message.bounded() {
            Ok(message)
        } else {
            Err(BadMessage::Form)
        }
    }

    fn bounded(&self) -> bool {
        match self {
            Self::Table {
                first,
                last,
                segments,
                ..
            } => {
                segments.len() <= MAX_TABLE
                    && first <= last
                    && segments.is_sorted_by(|a, b| a.segment < b.segment)
                    && segments
                        .iter()
                        .all(|one| (*first..=*last).contains(&one.segment))
            }
            Self::Cells {
                segment,
                bits,
                digests,
                ..
            } => *segment <= u32::MAX / SEGMENT && *bits <= MAX_BITS && digests.len() == 1 << *bits,
            Self::Ids {
                segment,
                bits,
                cells,
                ids,
                ..
            } => {
                *segment <= u32::MAX / SEGMENT
                    && *bits <= MAX_BITS
                    && cells.is_sorted_by(|a, b| a < b)
                    && cells.iter().all(|cell| u32::from(*cell) < 1 << *bits)
                    && ids.len() <= MAX_SHORTS
            }
            Self::Want { segment, ids, .. } => {
                *segment <= u32::MAX / SEGMENT && ids.len() <= MAX_SHORTS
            }
            Self::Events(events) | Self::Push(events) => events
                .iter()
                .all(|event| !event.is_empty() && event.len() <= MAX_EVENT),
            Self::Received => true,
            Self::Fetch(ids) => ids.len() <= MAX_FETCH,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_message_reads_back_and_trailing_or_cut_bytes_do_not_pass() {
        let message = Message::Ids {
            round: 1,
            segment: 7,
            bits: 3,
            cells: vec![0, 7],
            ids: vec![[1; 4], [2; 4]],
            last: true,
        };
        let bytes = message.encode();
        assert_eq!(Message::decode(&bytes), Ok(message));
        for length in 0..bytes.len() {
            assert!(Message::decode(&bytes[..length]).is_err());
        }
        let mut longer = bytes;
        longer.push(0);
        assert_eq!(Message::decode(&longer), Err(BadMessage::Form));
    }

    #[test]
    fn what_is_out_of_bounds_is_refused() {
        let refused = |message: Message| {
            assert_eq!(
                Message::decode(&message.encode()),
                Err(BadMessage::Form),
                "{message:?}"
            );
        };
        refused(Message::Events(vec![vec![0; MAX_EVENT + 1]]));
        refused(Message::Push(vec![vec![]]));
        let cells = |segment, bits, count| Message::Cells {
            round: 1,
            segment,
            bits,
            digests: vec![[0; 8]; count],
        };
        refused(cells(1, 3, 7));
        refused(cells(1, 64, 1));
        refused(cells(u32::MAX, 0, 1));
        let ids = |cells: Vec<u16>, count| Message::Ids {
            round: 1,
            segment: 1,
            bits: 3,
            cells,
            ids: vec![[0; 4]; count],
            last: true,
        };
        refused(ids(vec![8], 1));
        refused(ids(vec![2, 2], 1));
        refused(ids(vec![2], MAX_SHORTS + 1));
        refused(Message::Fetch(vec![EventId([1; 32]); MAX_FETCH + 1]));
        refused(Message::Table {
            round: 1,
            first: 3,
            last: 9,
            segments: vec![SegmentDigest {
                segment: 2,
                digest: [0; 16],
            }],
        });
        assert_eq!(
            Message::decode(&vec![0; MAX_FRAME + 1]),
            Err(BadMessage::Length)
        );
        // A count of 2⁶³ in a few bytes.
        assert!(
            Message::decode(&[3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]).is_err()
        );
    }
}
