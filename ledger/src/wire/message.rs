//! The messages of sync, bounded before they are decoded.

use serde::{Deserialize, Serialize};

use crate::event::MAX_EVENT;
use crate::ids::EventId;

/// Lamports in a segment.
pub const SEGMENT: u32 = 1024;
/// Lamports in a block.
pub const BLOCK: u32 = 32;
/// The most bytes of an encoded message.
pub const MAX_FRAME: usize = 1 << 20;
/// The most segments in one table message.
pub const MAX_TABLE: usize = 16_384;
/// The most ids in one message of a block's ids.
pub const MAX_IDS: usize = 8_192;
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
    /// The blocks of one segment that are not empty, ascending.
    Blocks {
        /// The segment.
        segment: u32,
        /// Number within the segment, and digest.
        blocks: Vec<(u8, [u8; 16])>,
    },
    /// The ids of one block within `first..=last`, ascending. The message whose `last` is the greatest id ends the block.
    Ids {
        /// floor(lamport / 32).
        block: u32,
        /// The range's first id.
        first: EventId,
        /// The range's last id.
        last: EventId,
        /// The ids.
        ids: Vec<EventId>,
    },
    /// Events the other lacks, parents first. Each such message is acknowledged.
    Events(Vec<Vec<u8>>),
    /// Acknowledges one `Events`.
    Received,
    /// Events the sender has just written or received.
    Push(Vec<Vec<u8>>),
    /// Asks for events.
    Fetch(Vec<EventId>),
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
            Self::Blocks { segment, blocks } => {
                *segment <= u32::MAX / SEGMENT
                    && blocks.is_sorted_by(|a, b| a.0 < b.0)
                    && blocks.iter().all(|one| u32::from(one.0) < SEGMENT / BLOCK)
            }
            Self::Ids {
                block,
                first,
                last,
                ids,
            } => {
                *block <= u32::MAX / BLOCK
                    && ids.len() <= MAX_IDS
                    && first <= last
                    && ids.is_sorted_by(|a, b| a < b)
                    && ids.iter().all(|id| (*first..=*last).contains(id))
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
            block: 7,
            first: EventId([0; 32]),
            last: EventId([0xff; 32]),
            ids: vec![EventId([1; 32]), EventId([2; 32])],
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
        refused(Message::Blocks {
            segment: 1,
            blocks: vec![(32, [0; 16])],
        });
        refused(Message::Blocks {
            segment: u32::MAX,
            blocks: vec![],
        });
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
