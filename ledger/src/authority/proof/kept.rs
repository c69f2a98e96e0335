//! Verdicts on signatures, as they are kept beside the events: a ledger that opens need not check all of them again.
//!
//! A kept verdict is believed as a stored event is: whoever can write to the store could write anything there. What does not
//! look as it was written, or was found by other rules, is found out anew.

use super::Proof;
use crate::ids::{EventId, UserId};

/// The rules by which verdicts are found. Whoever changes what [`Proof::of`] finds of an act raises this number, or ledgers go
/// on believing what they found before.
const RULES: u8 = 1;

/// What may not hold. A place in this list is kept; so new ones come last.
const WHAT: [&str; 12] = [
    "the founder's device",
    "the founder's certificate",
    "the device's own signature",
    "the device's certificate",
    "the joiner's certificate",
    "the successor's certificate",
    "the successor's signature",
    "the user's signature",
    "the redemption",
    "the joiner's signature",
    "the joining device's signature",
    "the invite's signature",
];

impl Proof {
    /// The verdict on an event as it is kept; none if there is no form for it.
    pub(crate) fn encode(self, id: &EventId) -> Option<Vec<u8>> {
        let place = |what| Some(WHAT.iter().position(|other| *other == what)? as u8);
        let mut bytes = match self {
            Self::Holds => vec![RULES, 0],
            Self::Certified(what) => vec![RULES, 1, place(what)?],
            Self::Fails(what) => vec![RULES, 2, place(what)?],
            Self::OwnDevice(user) => {
                let mut bytes = vec![RULES, 3];
                bytes.extend(user.0);
                bytes
            }
        };
        bytes.extend(check(id, &bytes));
        Some(bytes)
    }

    /// What [`Self::encode`] made; none if it is damaged or of other rules.
    pub(crate) fn decode(id: &EventId, bytes: &[u8]) -> Option<Self> {
        let (said, sum) = bytes.split_at_checked(bytes.len().checked_sub(8)?)?;
        if sum != check(id, said) {
            return None;
        }
        let what = |place: u8| WHAT.get(usize::from(place)).copied();
        match said {
            [RULES, 0] => Some(Self::Holds),
            [RULES, 1, place] => Some(Self::Certified(what(*place)?)),
            [RULES, 2, place] => Some(Self::Fails(what(*place)?)),
            [RULES, 3, user @ ..] => Some(Self::OwnDevice(UserId(user.try_into().ok()?))),
            _ => None,
        }
    }
}

fn check(id: &EventId, said: &[u8]) -> [u8; 8] {
    let mut hasher = blake3::Hasher::new_derive_key("mesh kept proof 1");
    hasher.update(&id.0);
    hasher.update(said);
    let mut sum = [0; 8];
    sum.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_verdict_is_read_back_and_a_damaged_or_misplaced_one_is_not() {
        let (id, other) = (EventId([1; 32]), EventId([2; 32]));
        let mut all = vec![Proof::Holds, Proof::OwnDevice(UserId([7; 32]))];
        all.extend(WHAT.map(Proof::Certified));
        all.extend(WHAT.map(Proof::Fails));
        for proof in all {
            let bytes = proof.encode(&id).expect("every verdict has a form");
            assert_eq!(Proof::decode(&id, &bytes), Some(proof));
            assert_eq!(Proof::decode(&other, &bytes), None);
            for at in 0..bytes.len() {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1;
                assert_eq!(Proof::decode(&id, &damaged), None);
                assert_eq!(Proof::decode(&id, &bytes[..at]), None);
            }
        }
        assert_eq!(Proof::Fails("something new").encode(&id), None);
    }
}
