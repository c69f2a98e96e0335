//! Letters: what a joiner and the members leave for each other at a server, when they cannot meet.
//!
//! A joiner's redemption and the sponsor's reply are sealed under the invite's contact secret, which the ticket carries and
//! which members read in the ledger; a server has neither. Who answers so has proven that it is a member, and who asks so
//! that it holds the ticket. Direction and joiner are associated data, so no letter passes for another.
//!
//! Bytes: the version, 1; a 24-byte nonce; XChaCha20-Poly1305 over what is said.

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::ids::{DeviceId, InviteKey, NetworkId};

/// The most bytes of a sealed letter.
pub const MAX_LETTER: usize = 2560;
const VERSION: u8 = 1;
const NONCE: usize = 24;

/// A letter as a server hands it on. Who wrote it is proven by the connection it came over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    /// The server's number for it.
    pub id: u64,
    /// The device that left it.
    pub from: DeviceId,
    /// The invite that the joiner proved to hold: how members find the secret it is sealed under.
    pub invite: InviteKey,
    /// Sealed, at most [`MAX_LETTER`] bytes.
    pub body: Vec<u8>,
}

/// Which way a letter goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// A joiner's redemption, to the members.
    Redemption,
    /// A member's reply, to the joiner.
    Reply,
}

/// Why a letter stays closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadLetter {
    /// It was not sealed under that secret, for that joiner, that way; or it was changed.
    #[error("it was not written by who holds the invite's secret, or was changed on its way")]
    Closed,
    /// It is of a format that this release does not read.
    #[error("a later release of mesh wrote it: upgrade mesh on this machine")]
    Later,
}

/// Seals what `joiner` is to read, or has written, under an invite's contact secret.
#[must_use]
pub fn seal(
    contact: &[u8; 32],
    network: &NetworkId,
    joiner: &DeviceId,
    way: Way,
    body: &[u8],
) -> Option<Vec<u8>> {
    let context = context(network, joiner, way);
    // A keyed hash of all that is sealed: equal only for equal letters.
    let key = Zeroizing::new(blake3::derive_key("mesh letter nonce 1", contact));
    let mut hasher = blake3::Hasher::new_keyed(&key);
    hasher.update(&context);
    hasher.update(body);
    let nonce = &hasher.finalize().as_bytes()[..NONCE].to_vec();
    let payload = Payload {
        msg: body,
        aad: &context,
    };
    let sealed = cipher(contact)
        .encrypt(XNonce::from_slice(nonce), payload)
        .ok()?;
    let letter = [&[VERSION], nonce.as_slice(), &sealed].concat();
    (letter.len() <= MAX_LETTER).then_some(letter)
}

/// Opens a letter.
///
/// # Errors
/// [`BadLetter`]. That it is of a later release is what its first byte says, which anybody can write.
pub fn open(
    contact: &[u8; 32],
    network: &NetworkId,
    joiner: &DeviceId,
    way: Way,
    letter: &[u8],
) -> Result<Zeroizing<Vec<u8>>, BadLetter> {
    if letter.len() > MAX_LETTER {
        return Err(BadLetter::Closed);
    }
    let (nonce, sealed) = match letter {
        [VERSION, rest @ ..] => rest.split_first_chunk::<NONCE>().ok_or(BadLetter::Closed)?,
        [version, ..] if *version > VERSION => return Err(BadLetter::Later),
        _ => return Err(BadLetter::Closed),
    };
    let payload = Payload {
        msg: sealed,
        aad: &context(network, joiner, way),
    };
    cipher(contact)
        .decrypt(XNonce::from_slice(nonce), payload)
        .map(Zeroizing::new)
        .map_err(|_| BadLetter::Closed)
}

fn cipher(contact: &[u8; 32]) -> XChaCha20Poly1305 {
    let key = Zeroizing::new(blake3::derive_key("mesh letter 1", contact));
    XChaCha20Poly1305::new(Key::from_slice(key.as_ref()))
}

fn context(network: &NetworkId, joiner: &DeviceId, way: Way) -> Vec<u8> {
    let way = match way {
        Way::Redemption => 1,
        Way::Reply => 2,
    };
    [network.0.as_slice(), &joiner.0, &[way]].concat()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const NETWORK: NetworkId = NetworkId([1; 32]);
    const JOINER: DeviceId = DeviceId([2; 32]);

    #[test]
    fn a_letter_opens_for_its_secret_joiner_network_and_way_alone() {
        let letter = seal(&[9; 32], &NETWORK, &JOINER, Way::Redemption, b"let me in").unwrap();
        let opened = open(&[9; 32], &NETWORK, &JOINER, Way::Redemption, &letter).unwrap();
        assert_eq!(opened.as_slice(), b"let me in");
        assert!(open(&[8; 32], &NETWORK, &JOINER, Way::Redemption, &letter).is_err());
        assert!(open(&[9; 32], &NETWORK, &JOINER, Way::Reply, &letter).is_err());
        let other = DeviceId([3; 32]);
        assert!(open(&[9; 32], &NETWORK, &other, Way::Redemption, &letter).is_err());
        let other = NetworkId([3; 32]);
        assert!(open(&[9; 32], &other, &JOINER, Way::Redemption, &letter).is_err());
    }

    #[test]
    fn no_flipped_or_missing_byte_passes_and_none_is_too_long() {
        let letter = seal(&[9; 32], &NETWORK, &JOINER, Way::Reply, b"welcome").unwrap();
        for at in 0..letter.len() {
            let mut bad = letter.clone();
            bad[at] ^= 1;
            assert!(open(&[9; 32], &NETWORK, &JOINER, Way::Reply, &bad).is_err());
            assert!(open(&[9; 32], &NETWORK, &JOINER, Way::Reply, &letter[..at]).is_err());
        }
        assert!(seal(&[9; 32], &NETWORK, &JOINER, Way::Reply, &[0; MAX_LETTER]).is_none());
    }

    #[test]
    fn a_letter_of_a_later_release_says_that_an_upgrade_reads_it() {
        let mut letter = seal(&[9; 32], &NETWORK, &JOINER, Way::Reply, b"welcome").unwrap();
        let read = |letter: &[u8]| open(&[9; 32], &NETWORK, &JOINER, Way::Reply, letter);
        letter[0] += 1;
        assert_eq!(read(&letter).unwrap_err(), BadLetter::Later);
        assert!(BadLetter::Later.to_string().contains("upgrade mesh"));
        letter[0] = 0;
        assert_eq!(read(&letter).unwrap_err(), BadLetter::Closed);
        assert_eq!(read(&[]).unwrap_err(), BadLetter::Closed);
    }
}
