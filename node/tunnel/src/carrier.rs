//! What takes sealed messages to a peer.

use std::borrow::Cow;
use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};

use crate::frame;

/// A way to one peer for sealed messages: a link's datagrams, a UDP socket.
///
/// Messages are sealed end to end. A carrier may lose, repeat or reorder them; it should not on purpose.
pub trait Carrier: Send + Sync {
    /// Sends sealed messages to the peer, and returns how many of them were dropped at once, for want of room or because
    /// the way is gone. Never blocks. What it wants to keep for later it must copy: [`SealedBatch::framed`].
    fn send(&self, batch: SealedBatch<'_>) -> usize;

    /// The longest message in bytes that it can take to the peer in whatever way. Longer ones are dropped and counted
    /// by the tunnel, so that a change between two calls does no harm.
    fn max_message(&self) -> usize;
}

/// Sealed messages for one peer, one behind the other in one piece of memory: those of equal length go to the kernel as they
/// lie there.
#[derive(Clone, Debug)]
pub struct SealedBatch<'a> {
    bytes: &'a [u8],
    /// Where each message stands.
    spans: Cow<'a, [Span]>,
}

/// Where a message begins, and how long it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    start: u32,
    length: u32,
}

/// Messages of one length, but for the last, which may be shorter: what UDP segmentation offload takes in one piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run<'a> {
    /// The messages, one behind the other.
    pub bytes: &'a [u8],
    /// The length of each but the last.
    pub length: usize,
    /// How many they are.
    pub count: usize,
}

/// Copies of messages with a framing byte in front of each.
#[derive(Clone, Debug)]
pub struct Framed {
    arena: Bytes,
    /// Where each framed message ends; it begins where the one before ends.
    ends: Vec<u32>,
}

impl<'a> SealedBatch<'a> {
    /// How many messages it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The messages, as WireGuard has them.
    pub fn messages(&self) -> impl Iterator<Item = &'a [u8]> + '_ {
        let bytes = self.bytes;
        self.spans
            .iter()
            .map(move |span| bytes.get(span.range()).unwrap_or_default())
    }

    /// Those of at most `longest` bytes, and the others, each in the order in which they were sealed. Copies no message.
    #[must_use]
    pub fn split(self, longest: usize) -> (Self, Self) {
        let fits = |span: &Span| span.length as usize <= longest;
        let bytes = self.bytes;
        let (short, long) = if self.spans.iter().all(fits) {
            (self.spans, Cow::default())
        } else {
            let (short, long): (Vec<_>, Vec<_>) = self.spans.iter().copied().partition(fits);
            (short.into(), long.into())
        };
        let batch = |spans| Self { bytes, spans };
        (batch(short), batch(long))
    }

    /// The messages in runs of at most `most` of one length and `room` bytes, in their order.
    pub fn runs(&self, most: usize, room: usize) -> impl Iterator<Item = Run<'a>> + '_ {
        let bytes = self.bytes;
        let mut rest = &*self.spans;
        std::iter::from_fn(move || {
            let first = *rest.first()?;
            let (mut end, mut count) = (first.range().end, 1);
            while let Some(next) = rest.get(count)
                && count < most
                && next.start as usize == end
                && next.length <= first.length
                && next.range().end - first.start as usize <= room
            {
                end = next.range().end;
                count += 1;
                if next.length < first.length {
                    break;
                }
            }
            rest = rest.get(count..).unwrap_or_default();
            Some(Run {
                bytes: bytes.get(first.start as usize..end).unwrap_or_default(),
                length: first.length as usize,
                count,
            })
        })
    }

    /// Copies of the messages with the framing byte in front ([`frame::WHOLE`]); what [`frame::fit`] takes.
    #[must_use]
    pub fn framed(&self) -> Framed {
        let total: usize = self.spans.iter().map(|span| 1 + span.length as usize).sum();
        let mut arena = BytesMut::with_capacity(total);
        let ends = self
            .messages()
            .map(|message| {
                arena.put_u8(frame::WHOLE);
                arena.put_slice(message);
                offset(arena.len())
            })
            .collect();
        Framed {
            arena: arena.freeze(),
            ends,
        }
    }
}

impl Framed {
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

    /// The framed messages. All share one piece of memory.
    pub fn messages(&self) -> impl Iterator<Item = Bytes> + '_ {
        let mut start = 0;
        self.ends.iter().map(move |&end| {
            let framed = self.arena.slice(start..end as usize);
            start = end as usize;
            framed
        })
    }
}

impl Span {
    fn range(self) -> Range<usize> {
        self.start as usize..self.start as usize + self.length as usize
    }
}

/// Where messages are sealed into before they become a batch. It keeps its memory from batch to batch.
#[derive(Debug, Default)]
pub(crate) struct Arena {
    bytes: Vec<u8>,
    used: usize,
    spans: Vec<Span>,
}

impl Arena {
    /// Room for one message of up to `size` bytes; [`Arena::commit`] says how many of them count.
    pub(crate) fn room(&mut self, size: usize) -> &mut [u8] {
        let needed = self.used + size;
        if self.bytes.len() < needed {
            self.bytes.resize(needed.max(MIN_ARENA), 0);
        }
        self.bytes.get_mut(self.used..needed).unwrap_or_default()
    }

    /// Takes the first `size` bytes of the last [`Arena::room`] as a message.
    pub(crate) fn commit(&mut self, size: usize) {
        self.spans.push(Span {
            start: offset(self.used),
            length: offset(size),
        });
        self.used += size;
    }

    pub(crate) fn len(&self) -> usize {
        self.spans.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The bytes of all messages.
    pub(crate) fn bytes(&self) -> usize {
        self.used
    }

    /// The messages so far.
    pub(crate) fn batch(&self) -> SealedBatch<'_> {
        SealedBatch {
            bytes: self.bytes.get(..self.used).unwrap_or_default(),
            spans: Cow::Borrowed(&self.spans),
        }
    }

    /// Forgets the messages.
    pub(crate) fn clear(&mut self) {
        self.used = 0;
        self.spans.clear();
    }
}

/// A batch is far below 4 GiB; what were not would be cut off at its end.
fn offset(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}

const MIN_ARENA: usize = 96 * 1024;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn arena(messages: &[&[u8]]) -> Arena {
        let mut arena = Arena::default();
        add(&mut arena, messages);
        arena
    }

    fn add(arena: &mut Arena, messages: &[&[u8]]) {
        for message in messages {
            arena.room(100)[..message.len()].copy_from_slice(message);
            arena.commit(message.len());
        }
    }

    #[test]
    fn a_batch_gives_back_its_messages_with_and_without_the_framing_byte() {
        let mut arena = Arena::default();
        for round in 0..2u8 {
            add(&mut arena, &[b"one", b"", b"three"]);
            assert_eq!(arena.len(), 3, "round {round}");
            let batch = arena.batch();
            assert_eq!(batch.len(), 3);
            assert_eq!(
                batch.messages().collect::<Vec<_>>(),
                [&b"one"[..], b"", b"three"]
            );
            assert_eq!(
                batch.framed().messages().collect::<Vec<_>>(),
                [&b"\0one"[..], b"\0", b"\0three"]
            );
            arena.clear();
            assert!(arena.is_empty());
        }
    }

    #[test]
    fn a_run_is_of_one_length_and_ends_with_the_first_that_is_shorter() {
        let arena = arena(&[b"aaa", b"bbb", b"c", b"d", b"eeee", b"ff", b"ggg"]);
        let batch = arena.batch();
        let runs = |most, room| {
            batch
                .runs(most, room)
                .map(|run| {
                    (
                        std::str::from_utf8(run.bytes).unwrap(),
                        run.length,
                        run.count,
                    )
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(
            runs(64, 1000),
            [
                ("aaabbbc", 3, 3),
                ("d", 1, 1),
                ("eeeeff", 4, 2),
                ("ggg", 3, 1)
            ]
        );
        assert_eq!(runs(2, 1000)[..2], [("aaabbb", 3, 2), ("cd", 1, 2)]);
        assert_eq!(runs(64, 4)[..2], [("aaa", 3, 1), ("bbbc", 3, 2)]);
    }

    #[test]
    fn a_batch_is_split_by_length_and_keeps_the_order_of_both_halves() {
        let arena = arena(&[b"aaa", b"bbbbbb", b"c", b"dddd"]);
        let (short, long) = arena.batch().split(3);
        assert_eq!(short.messages().collect::<Vec<_>>(), [&b"aaa"[..], b"c"]);
        assert_eq!(
            long.messages().collect::<Vec<_>>(),
            [&b"bbbbbb"[..], b"dddd"]
        );
        // What does not lie side by side is no run.
        assert_eq!(short.runs(64, 1000).count(), 2);
        let (all, none) = arena.batch().split(6);
        assert_eq!((all.len(), none.len()), (4, 0));
    }
}
