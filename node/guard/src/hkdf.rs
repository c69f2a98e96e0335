//! Key derivation that says which secret came from which.
//!
//! A followed secret is longer than others: its number stands behind its bytes, in eight more. It is cut off before the bytes
//! are used. Only the two application secrets and their successors are followed, since QUIC alone derives from these.

use rustls::crypto::hmac::Tag;
use rustls::crypto::tls13::{Hkdf, HkdfExpander, OkmBlock, OutputLengthError};
use zeroize::Zeroizing;

use crate::lineage::{self, Number};

const NUMBER_LEN: usize = size_of::<Number>();
/// The labels of secrets that are followed, RFC 8446 §7.1.
const FIRST: [&[u8]; 2] = [b"c ap traffic", b"s ap traffic"];
/// The label of the secret that follows a secret, RFC 9001 §6.1.
const SUCCESSOR: &[u8] = b"quic ku";
/// Where the label stands in what rustls expands.
const LABEL: usize = 3;

/// The derivation of another provider, followed.
pub(crate) struct Followed(pub(crate) &'static dyn Hkdf);

impl Hkdf for Followed {
    fn extract_from_zero_ikm(&self, salt: Option<&[u8]>) -> Box<dyn HkdfExpander> {
        first(self.0.extract_from_zero_ikm(salt))
    }

    fn extract_from_secret(&self, salt: Option<&[u8]>, secret: &[u8]) -> Box<dyn HkdfExpander> {
        first(self.0.extract_from_secret(salt, secret))
    }

    fn expander_for_okm(&self, okm: &OkmBlock) -> Box<dyn HkdfExpander> {
        let (inner, number) = match split(okm) {
            Some((secret, number)) => (self.0.expander_for_okm(&secret), Some(number)),
            None => (self.0.expander_for_okm(okm), None),
        };
        Box::new(Expander {
            inner,
            first: false,
            number,
        })
    }

    fn hmac_sign(&self, key: &OkmBlock, message: &[u8]) -> Tag {
        match split(key) {
            Some((secret, _)) => self.0.hmac_sign(&secret, message),
            None => self.0.hmac_sign(key, message),
        }
    }

    fn fips(&self) -> bool {
        self.0.fips()
    }
}

struct Expander {
    inner: Box<dyn HkdfExpander>,
    /// Whether it may be the one of which the application secrets are derived.
    first: bool,
    number: Option<Number>,
}

fn first(inner: Box<dyn HkdfExpander>) -> Box<dyn HkdfExpander> {
    Box::new(Expander {
        inner,
        first: true,
        number: Some(lineage::next()),
    })
}

impl HkdfExpander for Expander {
    fn expand_slice(&self, info: &[&[u8]], output: &mut [u8]) -> Result<(), OutputLengthError> {
        // Of secrets whose books would be other connections' too, no key is made: their keys have books of their own.
        lineage::derived(self.number.filter(|_| !self.first));
        self.inner.expand_slice(info, output)
    }

    fn expand_block(&self, info: &[&[u8]]) -> OkmBlock {
        let block = self.inner.expand_block(info);
        let label = info.get(LABEL).copied().unwrap_or_default();
        let followed = if self.first {
            FIRST.contains(&label)
        } else {
            label == SUCCESSOR
        };
        match self.number {
            Some(number) if followed => join(&block, number),
            _ => block,
        }
    }

    fn hash_len(&self) -> usize {
        self.inner.hash_len()
    }
}

/// Puts a number behind a secret, if there is room.
fn join(secret: &OkmBlock, number: Number) -> OkmBlock {
    let mut bytes = Zeroizing::new([0; OkmBlock::MAX_LEN]);
    let len = secret.as_ref().len();
    let Some(room) = bytes.get_mut(..len + NUMBER_LEN) else {
        return OkmBlock::new(secret.as_ref());
    };
    let (front, back) = room.split_at_mut(len);
    front.copy_from_slice(secret.as_ref());
    back.copy_from_slice(&number.to_be_bytes());
    OkmBlock::new(room)
}

/// Takes the number off a secret that has one. Hashes have a multiple of 16 bytes, and a number adds eight.
fn split(okm: &OkmBlock) -> Option<(OkmBlock, Number)> {
    let bytes = okm.as_ref();
    if bytes.len() % 16 != NUMBER_LEN {
        return None;
    }
    let (secret, number) = bytes.split_last_chunk()?;
    Some((OkmBlock::new(secret), Number::from_be_bytes(*number)))
}
