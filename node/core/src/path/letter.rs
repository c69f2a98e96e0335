//! A call that travels through other members: sealed, since whoever forwards it is neither of the two.
//!
//! bytes = [`MARK_CALL`] ‖ nonce (24) ‖ XChaCha20-Poly1305(postcard of a growing number and the call) under the sender's half
//! of the [`ProbeKeys`].

use serde::{Deserialize, Serialize};

use super::candidate::{Call, MAX_CANDIDATES};
use super::probe::ProbeKeys;

/// The first byte of a call that is forwarded.
pub const MARK_CALL: u8 = 0xC5;
/// The most bytes of one.
pub const MAX_CALL: usize = 1024;

const NONCE: usize = 24;

/// What is sealed.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Letter {
    /// Greater than in every letter before with the same tag: who forwards it may keep a copy.
    pub(super) count: u64,
    pub(super) call: Call,
}

impl Letter {
    /// `random` gives numbers that were never given before.
    pub(super) fn seal(
        &self,
        keys: &ProbeKeys,
        random: &mut impl FnMut() -> u64,
    ) -> Option<Vec<u8>> {
        let plain = postcard::to_stdvec(self).ok()?;
        let nonce = [random(), random(), random()]
            .map(u64::to_be_bytes)
            .concat();
        let sealed = keys.seal(&nonce.clone().try_into().ok()?, &plain)?;
        let bytes = [&[MARK_CALL][..], &nonce, &sealed].concat();
        (bytes.len() <= MAX_CALL).then_some(bytes)
    }

    /// Reads what the peer has sealed; `None` if it did not.
    pub(super) fn open(bytes: &[u8], keys: &ProbeKeys) -> Option<Self> {
        let sealed = bytes.strip_prefix(&[MARK_CALL])?;
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE>()?;
        if bytes.len() > MAX_CALL {
            return None;
        }
        let plain = keys.open(nonce, sealed)?;
        let (letter, rest) = postcard::take_from_bytes::<Self>(&plain).ok()?;
        (rest.is_empty() && letter.call.candidates.len() <= MAX_CANDIDATES).then_some(letter)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use mesh_ledger::ids::NetworkId;

    use super::*;
    use crate::path::{Candidate, Kind};

    fn keys(n: u8) -> ProbeKeys {
        ProbeKeys::new(&[9; 32], &NetworkId([1; 32]), &[n; 32], &[3 - n; 32])
    }

    fn letter(candidates: usize) -> Letter {
        let candidate = |n| Candidate {
            address: ([0x2001, 0xdb8, 0, 0, 0, 0, 0, n], 51821).into(),
            kind: Kind::Reflexive,
        };
        Letter {
            count: u64::MAX,
            call: Call {
                tag: u64::MAX,
                wanted: true,
                candidates: (0..candidates as u16).map(candidate).collect(),
            },
        }
    }

    #[test]
    fn what_one_side_seals_the_other_opens_and_no_changed_byte_passes() {
        let bytes = letter(MAX_CANDIDATES).seal(&keys(1), &mut || 7).unwrap();
        assert_eq!(
            Letter::open(&bytes, &keys(2)),
            Some(letter(MAX_CANDIDATES)),
            "the longest fits"
        );
        assert_eq!(
            Letter::open(&bytes, &keys(1)),
            None,
            "not back to its author"
        );
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            assert_eq!(Letter::open(&bad, &keys(2)), None);
            assert_eq!(Letter::open(&bytes[..at], &keys(2)), None);
        }
    }

    #[test]
    fn more_addresses_than_a_device_may_have_are_no_call() {
        let plain = postcard::to_stdvec(&letter(MAX_CANDIDATES + 1)).unwrap();
        let sealed = keys(1).seal(&[0; NONCE], &plain).unwrap();
        let bytes = [&[MARK_CALL][..], &[0; NONCE], &sealed].concat();
        assert_eq!(Letter::open(&bytes, &keys(2)), None);
    }
}
