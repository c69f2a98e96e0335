//! What takes sealed messages to a peer.

use bytes::Bytes;

use crate::frame;

/// A way to one peer for sealed messages: a link's datagrams, a UDP socket.
///
/// Messages are sealed end to end. A carrier may lose, repeat or reorder them; it should not on purpose.
pub trait Carrier: Send + Sync {
    /// Hands over sealed messages for the peer, and returns how many of them were dropped at once, for want of room or
    /// because the way is gone. Never blocks.
    fn send(&self, batch: SealedBatch) -> usize;

    /// The longest message in bytes that it can take to the peer in whatever way. Longer ones are dropped and counted
    /// by the tunnel, so that a change between two calls does no harm.
    fn max_message(&self) -> usize;
}

/// Sealed messages for one peer, in one piece of memory. In front of each stands one byte, [`frame::WHOLE`], so that a
/// carrier with a framing byte sends the piece as it is.
#[derive(Clone, Debug, Default)]
pub struct SealedBatch {
    arena: Bytes,
    /// Where each framed message ends; it begins where the one before ends.
    ends: Vec<u32>,
}

impl SealedBatch {
    /// How many messages it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The messages, as WireGuard has them. Each shares the batch's memory.
    pub fn messages(&self) -> impl Iterator<Item = Bytes> + '_ {
        self.framed().map(|framed| framed.slice(1..))
    }

    /// The messages with the framing byte in front ([`frame::WHOLE`]); what [`frame::fit`] takes.
    pub fn framed(&self) -> impl Iterator<Item = Bytes> + '_ {
        let mut start = 0;
        self.ends.iter().map(move |&end| {
            let framed = self.arena.slice(start..end as usize);
            start = end as usize;
            framed
        })
    }
}

/// Where messages are sealed into before they become a batch. It keeps its memory from batch to batch.
#[derive(Debug, Default)]
pub(crate) struct Arena {
    bytes: Vec<u8>,
    used: usize,
    ends: Vec<u32>,
}

impl Arena {
    /// Room for one message of up to `size` bytes; [`Arena::commit`] says how many of them count.
    pub(crate) fn room(&mut self, size: usize) -> &mut [u8] {
        let start = self.used + 1;
        let needed = start + size;
        if self.bytes.len() < needed {
            self.bytes.resize(needed.max(MIN_ARENA), 0);
        }
        self.bytes.get_mut(start..needed).unwrap_or_default()
    }

    /// Takes the first `size` bytes of the last [`Arena::room`] as a message.
    pub(crate) fn commit(&mut self, size: usize) {
        if let Some(kind) = self.bytes.get_mut(self.used) {
            *kind = frame::WHOLE;
        }
        self.used += 1 + size;
        self.ends.push(u32::try_from(self.used).unwrap_or(u32::MAX));
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The messages so far as a batch; the arena is empty afterwards.
    pub(crate) fn take(&mut self) -> SealedBatch {
        let arena = Bytes::copy_from_slice(self.bytes.get(..self.used).unwrap_or_default());
        self.used = 0;
        SealedBatch {
            arena,
            ends: std::mem::take(&mut self.ends),
        }
    }
}

const MIN_ARENA: usize = 96 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_gives_back_its_messages_with_and_without_the_framing_byte() {
        let mut arena = Arena::default();
        for round in 0..2u8 {
            for message in [&b"one"[..], b"", b"three"] {
                arena.room(100)[..message.len()].copy_from_slice(message);
                arena.commit(message.len());
            }
            assert_eq!(arena.len(), 3, "round {round}");
            let batch = arena.take();
            assert!(arena.is_empty());
            assert_eq!(batch.len(), 3);
            assert_eq!(
                batch.messages().collect::<Vec<_>>(),
                [&b"one"[..], b"", b"three"]
            );
            assert_eq!(
                batch.framed().collect::<Vec<_>>(),
                [&b"\0one"[..], b"\0", b"\0three"]
            );
        }
    }
}
