//! Datagram framing: one type byte in front, so that a message longer than a datagram may be travels as two.
//!
//! | byte 0 | then | meaning |
//! |---|---|---|
//! | 0 | the message | whole |
//! | 1 | id (2 bytes, big endian), the first half | first half |
//! | 2 | id, the rest | second half |
//! | 3 | the id of a peer (32 bytes), another datagram | to be forwarded to that peer |
//! | 4 | the same | forwarded from that peer |
//! | 5 | anything | nothing: whether so long a datagram arrives is the question |
//!
//! Other types are for later versions and are ignored. Halves pair by id. The [`Reassembler`] holds at most
//! [`MAX_WAITING`] halves, oldest out first, so a peer that sends only halves costs a bounded amount.

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};
use mesh_core::peer::PeerId;

/// The type byte of a whole message.
pub const WHOLE: u8 = 0;
/// The type byte of a first half.
pub const FIRST: u8 = 1;
/// The type byte of a second half.
pub const SECOND: u8 = 2;

/// The type byte of what is to be forwarded.
pub const FORWARD: u8 = 3;
/// The type byte of what was forwarded.
pub const FORWARDED: u8 = 4;
/// The type byte of what means nothing.
pub const FILLER: u8 = 5;

/// The longest datagram inside one that is forwarded: it fits into every link from its beginning, so that nobody on the way
/// has to cut it.
pub const MAX_INNER: usize = 1_100;
const FORWARD_HEADER: usize = 33;

/// What a half has in front of its share of the message: type and id.
const HALF_HEADER: usize = 3;
/// How many halves may wait for their other half.
pub const MAX_WAITING: usize = 64;
/// The longest datagram that is looked at.
pub const MAX_DATAGRAM: usize = 65_535;

/// The longest message (without framing) that fits into at most two datagrams of `limit` bytes.
#[must_use]
pub const fn max_message(limit: usize) -> usize {
    limit.saturating_sub(HALF_HEADER) * 2
}

/// One or two datagrams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frames {
    /// The message fits.
    One(Bytes),
    /// It travels in two.
    Two(Bytes, Bytes),
}

impl IntoIterator for Frames {
    type Item = Bytes;
    type IntoIter = std::iter::Flatten<std::array::IntoIter<Option<Bytes>, 2>>;

    fn into_iter(self) -> Self::IntoIter {
        match self {
            Self::One(one) => [Some(one), None],
            Self::Two(first, second) => [Some(first), Some(second)],
        }
        .into_iter()
        .flatten()
    }
}

/// The datagrams of at most `limit` bytes that carry a framed message ([`crate::SealedBatch::framed`]); `None` if two are
/// not enough. `id` must differ from that of the last [`MAX_WAITING`] messages to the same peer: count.
#[must_use]
pub fn fit(framed: &Bytes, limit: usize, id: u16) -> Option<Frames> {
    if framed.len() <= limit {
        return Some(Frames::One(framed.clone()));
    }
    let message = framed.get(1..)?;
    if message.len() > max_message(limit) {
        return None;
    }
    let (first, second) = message.split_at(message.len().div_ceil(2));
    let half = |kind, share: &[u8]| {
        let mut bytes = BytesMut::with_capacity(HALF_HEADER + share.len());
        bytes.put_u8(kind);
        bytes.put_u16(id);
        bytes.put_slice(share);
        bytes.freeze()
    };
    Some(Frames::Two(half(FIRST, first), half(SECOND, second)))
}

/// A datagram that is not only between the two ends of the link it comes over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Forwarding {
    /// The other end wants it forwarded to this peer.
    To(PeerId, Bytes),
    /// The other end has forwarded it from this peer.
    From(PeerId, Bytes),
}

impl Forwarding {
    /// What a datagram says, if it is one of those.
    #[must_use]
    pub fn read(datagram: &Bytes) -> Option<Self> {
        let (kind, rest) = datagram.split_first()?;
        let (peer, inner) = rest.split_first_chunk::<32>()?;
        if inner.is_empty() || inner.len() > MAX_INNER {
            return None;
        }
        let (peer, inner) = (PeerId(*peer), datagram.slice(FORWARD_HEADER..));
        match *kind {
            FORWARD => Some(Self::To(peer, inner)),
            FORWARDED => Some(Self::From(peer, inner)),
            _ => None,
        }
    }

    /// The datagram.
    #[must_use]
    pub fn write(&self) -> Bytes {
        let (kind, peer, inner) = match self {
            Self::To(peer, inner) => (FORWARD, peer, inner),
            Self::From(peer, inner) => (FORWARDED, peer, inner),
        };
        let mut bytes = BytesMut::with_capacity(FORWARD_HEADER + inner.len());
        bytes.put_u8(kind);
        bytes.put_slice(&peer.0);
        bytes.put_slice(inner);
        bytes.freeze()
    }
}

/// Puts the halves of one peer's messages together.
#[derive(Debug, Default)]
pub struct Reassembler {
    /// Kind, id and share of halves that wait, oldest first.
    waiting: VecDeque<(u8, u16, Bytes)>,
}

impl Reassembler {
    /// One with nothing waiting.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a datagram, and gives back the message that it is or completes. Copies only what came in two.
    pub fn accept(&mut self, datagram: &Bytes) -> Option<Bytes> {
        if datagram.len() > MAX_DATAGRAM {
            return None;
        }
        match *datagram.first()? {
            WHOLE => Some(datagram.slice(1..)),
            kind @ (FIRST | SECOND) => {
                let id = u16::from_be_bytes([*datagram.get(1)?, *datagram.get(2)?]);
                self.half(kind, id, datagram.slice(HALF_HEADER..))
            }
            _ => None,
        }
    }

    fn half(&mut self, kind: u8, id: u16, share: Bytes) -> Option<Bytes> {
        let Some(at) = self
            .waiting
            .iter()
            .position(|(_, waiting, _)| *waiting == id)
        else {
            self.wait(kind, id, share);
            return None;
        };
        let (other_kind, _, other) = self.waiting.remove(at)?;
        if other_kind == kind {
            // The id came round again: the older half lost its partner long ago.
            self.wait(kind, id, share);
            return None;
        }
        let (first, second) = if kind == FIRST {
            (share, other)
        } else {
            (other, share)
        };
        let mut message = BytesMut::with_capacity(first.len() + second.len());
        message.put_slice(&first);
        message.put_slice(&second);
        Some(message.freeze())
    }

    fn wait(&mut self, kind: u8, id: u16, share: Bytes) {
        if self.waiting.len() >= MAX_WAITING {
            self.waiting.pop_front();
        }
        // A copy, lest a few bytes keep a whole receive buffer alive.
        self.waiting
            .push_back((kind, id, Bytes::copy_from_slice(&share)));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_split_and_shuffled_comes_back_whole(
            messages in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..300), any::<u8>()), 1..40),
            limit in 20usize..400,
        ) {
            let mut datagrams = Vec::new();
            let mut expected = Vec::new();
            for (id, (message, place)) in messages.iter().enumerate() {
                let framed: Bytes = [&[WHOLE][..], message].concat().into();
                match fit(&framed, limit, u16::try_from(id).unwrap()) {
                    None => prop_assert!(message.len() > max_message(limit)),
                    Some(frames) => {
                        expected.push(Bytes::from(message.clone()));
                        for datagram in frames {
                            prop_assert!(datagram.len() <= limit);
                            datagrams.push((*place, datagram));
                        }
                    }
                }
            }
            datagrams.sort_by_key(|(place, _)| *place);
            let mut reassembler = Reassembler::new();
            let mut got: Vec<Bytes> = datagrams.iter().filter_map(|(_, d)| reassembler.accept(d)).collect();
            got.sort();
            expected.sort();
            prop_assert_eq!(got, expected);
        }

        #[test]
        fn no_datagram_makes_the_reassembler_panic_or_grow(
            datagrams in prop::collection::vec((0u8..4, prop::collection::vec(any::<u8>(), 0..8)), 0..300),
        ) {
            let mut reassembler = Reassembler::new();
            for (kind, rest) in datagrams {
                reassembler.accept(&[&[kind][..], &rest].concat().into());
                prop_assert!(reassembler.waiting.len() <= MAX_WAITING);
            }
        }
    }

    #[test]
    fn what_is_forwarded_is_read_as_it_was_written_and_nothing_longer() {
        let inner = Bytes::from(vec![7; MAX_INNER]);
        for said in [
            Forwarding::To(PeerId([3; 32]), inner.clone()),
            Forwarding::From(PeerId([4; 32]), inner),
        ] {
            let datagram = said.write();
            assert_eq!(Forwarding::read(&datagram), Some(said));
            for length in 0..=FORWARD_HEADER {
                assert_eq!(Forwarding::read(&datagram.slice(..length)), None);
            }
            let longer: Bytes = [&datagram[..], &[7]].concat().into();
            assert_eq!(Forwarding::read(&longer), None);
            assert_eq!(Reassembler::new().accept(&datagram), None);
        }
        assert_eq!(Forwarding::read(&Bytes::from_static(&[WHOLE; 90])), None);
    }

    #[test]
    fn filler_and_an_unknown_type_are_ignored() {
        for kind in [FILLER, 9] {
            let datagram = Bytes::from(vec![kind; 1200]);
            assert_eq!(Reassembler::new().accept(&datagram), None);
            assert_eq!(Forwarding::read(&datagram), None);
        }
        assert_eq!(Reassembler::new().accept(&Bytes::new()), None);
    }
}
