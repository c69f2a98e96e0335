//! How what is sealed looks: nonce (24) ‖ XChaCha20-Poly1305(length (2, big-endian) ‖ text ‖ zeros up to a bucket) ‖ tag (16).
//!
//! The nonce is a keyed hash of what the text is bound to and of the text: the crate needs no randomness, and a machine
//! restored from a snapshot repeats no nonce for another text.

use chacha20poly1305::aead::{AeadInPlace, KeyInit};
use chacha20poly1305::{Tag, XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

use crate::keys::EpochKey;

pub(crate) const NONCE: usize = 24;
pub(crate) const TAG: usize = 16;
const LENGTH: usize = 2;

/// What is sealed in this form for one purpose.
pub(crate) struct Form {
    /// What the text, its length in front, is padded to; ascending.
    pub(crate) buckets: &'static [usize],
    /// Of what the key that makes nonces is derived.
    pub(crate) nonce: &'static str,
    /// Of what the key that seals is derived.
    pub(crate) seal: &'static str,
}

impl Form {
    /// How long a text becomes; `None` if no bucket holds it.
    pub(crate) fn sealed_length(&self, text: usize) -> Option<usize> {
        let bucket = |bucket: &&usize| text.checked_add(LENGTH).is_some_and(|all| all <= **bucket);
        let bucket = self.buckets.iter().find(bucket)?;
        Some(NONCE + bucket + TAG)
    }

    /// Whether something sealed can have this length.
    pub(crate) fn fits(&self, length: usize) -> bool {
        length
            .checked_sub(NONCE + TAG)
            .is_some_and(|bucket| self.buckets.contains(&bucket))
    }

    /// Seals a text. `bound` must tell its own length, so that nothing can be shifted between it and the text. `None` if no
    /// bucket holds it.
    pub(crate) fn seal(&self, key: &EpochKey, bound: &[u8], text: &[u8]) -> Option<Vec<u8>> {
        let mut padded = self.pad(text)?;
        let nonce = self.nonce(key, bound, &padded);
        let tag = self
            .cipher(key)
            .encrypt_in_place_detached(XNonce::from_slice(&nonce), bound, &mut padded)
            .ok()?;
        Some([&nonce[..], &padded[..], &tag[..]].concat())
    }

    /// Opens what [`Self::seal`] made: one text has one form, the least bucket and zeros behind it.
    pub(crate) fn open(
        &self,
        key: &EpochKey,
        bound: &[u8],
        sealed: &[u8],
    ) -> Option<Zeroizing<Vec<u8>>> {
        self.open_with(&self.cipher(key), bound, sealed)
    }

    /// As [`Self::open`], with the key made ready.
    pub(crate) fn open_with(
        &self,
        cipher: &XChaCha20Poly1305,
        bound: &[u8],
        sealed: &[u8],
    ) -> Option<Zeroizing<Vec<u8>>> {
        if !self.fits(sealed.len()) {
            return None;
        }
        let (nonce, rest) = sealed.split_first_chunk::<NONCE>()?;
        let (text, tag) = rest.split_last_chunk::<TAG>()?;
        let mut plain = Zeroizing::new(text.to_vec());
        cipher
            .decrypt_in_place_detached(
                XNonce::from_slice(nonce),
                bound,
                &mut plain,
                Tag::from_slice(tag),
            )
            .ok()?;
        let (length, rest) = plain.split_first_chunk::<LENGTH>()?;
        let length = usize::from(u16::from_be_bytes(*length));
        let zeros = rest.get(length..)?.iter().all(|byte| *byte == 0);
        if !zeros || self.sealed_length(length) != Some(sealed.len()) {
            return None;
        }
        plain.copy_within(LENGTH..LENGTH + length, 0);
        plain.truncate(length);
        Some(plain)
    }

    fn pad(&self, text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let length = u16::try_from(text.len()).ok()?;
        let bucket = self.sealed_length(text.len())? - NONCE - TAG;
        let mut padded = Zeroizing::new(Vec::with_capacity(bucket));
        padded.extend_from_slice(&length.to_be_bytes());
        padded.extend_from_slice(text);
        padded.resize(bucket, 0);
        Some(padded)
    }

    fn nonce(&self, key: &EpochKey, bound: &[u8], padded: &[u8]) -> [u8; NONCE] {
        let nonce_key = Zeroizing::new(blake3::derive_key(self.nonce, key.as_bytes()));
        let mut hasher = blake3::Hasher::new_keyed(&nonce_key);
        hasher.update(bound);
        hasher.update(padded);
        let mut nonce = [0; NONCE];
        nonce.copy_from_slice(&hasher.finalize().as_bytes()[..NONCE]);
        nonce
    }

    /// Makes a key ready.
    pub(crate) fn cipher(&self, key: &EpochKey) -> XChaCha20Poly1305 {
        let seal_key = Zeroizing::new(blake3::derive_key(self.seal, key.as_bytes()));
        XChaCha20Poly1305::new((&*seal_key).into())
    }
}
