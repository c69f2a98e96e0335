//! Narrow offers: what is offered to fewer than everyone, sealed so that the audience alone can read it.
//!
//! Two layers. The outer one is the event's: whoever holds the epoch's key sees the device, the slot, an id and a
//! ciphertext. The inner one is sealed under a key made for this one offer, to which the id commits; the offering device
//! hands it to each device of the audience. What enforces the audience is the offering device's filter, as ever: the
//! sealing decides who reads, not who gets in.
//!
//! sealed = nonce (24) ‖ XChaCha20-Poly1305(length (2, big-endian) ‖ offer ‖ zeros up to a bucket) ‖ tag (16), bound to
//! the network, the device and the slot. The nonce is a keyed hash of all that and the plaintext, as of an event's
//! attributes.
//!
//! The state takes the ciphertext, so that its hash is the same in and out of the audience. An inner part that does not
//! open under the committed key, or is no offer, offers nothing to anybody, and nobody but its audience can tell.

use chacha20poly1305::aead::{AeadInPlace, KeyInit};
use chacha20poly1305::{Tag, XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

use crate::epoch::KeyRing;
use crate::event::attributes::{NarrowOffer, Offer};
use crate::ids::{DeviceId, NetworkId};
use crate::keys::EpochKey;
use crate::state::{StandingOffer, State};

/// What the plaintext, its length in front, is padded to: with what stands around it, each fills a bucket of the event's.
pub const BUCKETS: [usize; 5] = [128, 384, 896, 1920, 2944];

const NONCE: usize = 24;
const TAG: usize = 16;
const LENGTH: usize = 2;

/// An offer that is larger than the largest bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the offer has {0} bytes; one holds at most 2,942: name fewer members, devices and tags")]
pub struct TooLong(pub usize);

/// Seals an offer of one slot of a device under its own key.
///
/// # Errors
/// [`TooLong`].
pub fn seal(
    key: &EpochKey,
    network: &NetworkId,
    device: &DeviceId,
    slot: u32,
    offer: &Offer,
) -> Result<NarrowOffer, TooLong> {
    let plain = Zeroizing::new(postcard::to_stdvec(offer).unwrap_or_default());
    let mut padded = pad(&plain).ok_or(TooLong(plain.len()))?;
    let bound = bound(network, device, slot);
    let nonce = nonce(key, &bound, &padded);
    let tag = cipher(key)
        .encrypt_in_place_detached(XNonce::from_slice(&nonce), &bound, &mut padded)
        // Encryption fails only beyond 256 GB.
        .map_err(|_| TooLong(plain.len()))?;
    Ok(NarrowOffer {
        key: key.id(),
        sealed: [&nonce[..], &padded[..], &tag[..]].concat(),
    })
}

/// Opens what [`seal`] made; `None` if it was not sealed so, or holds no offer in its one encoding.
#[must_use]
pub fn open(
    key: &EpochKey,
    network: &NetworkId,
    device: &DeviceId,
    slot: u32,
    narrow: &NarrowOffer,
) -> Option<Offer> {
    if key.id() != narrow.key || !fits(narrow) {
        return None;
    }
    let (nonce, rest) = narrow.sealed.split_first_chunk::<NONCE>()?;
    let (text, tag) = rest.split_last_chunk::<TAG>()?;
    let mut plain = Zeroizing::new(text.to_vec());
    cipher(key)
        .decrypt_in_place_detached(
            XNonce::from_slice(nonce),
            &bound(network, device, slot),
            &mut plain,
            Tag::from_slice(tag),
        )
        .ok()?;
    let (length, rest) = plain.split_first_chunk::<LENGTH>()?;
    let text = rest.get(..usize::from(u16::from_be_bytes(*length)))?;
    let (offer, behind) = postcard::take_from_bytes::<Offer>(text).ok()?;
    let encoded = Zeroizing::new(postcard::to_stdvec(&offer).ok()?);
    let whole = behind.is_empty() && encoded[..] == *text && pad(text)?[..] == plain[..];
    (whole && offer.bounded()).then_some(offer)
}

/// Shows the narrow offers that these keys open beside those that everybody can read.
pub(crate) fn open_standing(state: &mut State, keys: &KeyRing) {
    state.offers.retain(|_, standing| !standing.narrow);
    let places: Vec<_> = state.narrow.keys().copied().collect();
    for place in places {
        if let Some(opened) = opened(state, keys, place) {
            state.offers.insert(place, opened);
        }
    }
}

/// What these keys open of the narrow offer that stands in a slot.
pub(crate) fn opened(
    state: &State,
    keys: &KeyRing,
    place: (DeviceId, u32),
) -> Option<StandingOffer> {
    let standing = state.narrow.get(&place)?;
    let key = keys.get(&standing.offer.key)?;
    let offer = open(key, &state.network, &place.0, place.1, &standing.offer)?;
    Some(StandingOffer {
        approved: standing.approved || !offer.what.asks_approval(),
        event: standing.event,
        offer,
        narrow: true,
    })
}

/// Whether it has a size that one can have.
pub(crate) fn fits(narrow: &NarrowOffer) -> bool {
    narrow
        .sealed
        .len()
        .checked_sub(NONCE + TAG)
        .is_some_and(|length| BUCKETS.contains(&length))
}

fn pad(plain: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let length = u16::try_from(plain.len()).ok()?;
    let bucket = *BUCKETS
        .iter()
        .find(|bucket| LENGTH + plain.len() <= **bucket)?;
    let mut padded = Zeroizing::new(Vec::with_capacity(bucket));
    padded.extend_from_slice(&length.to_be_bytes());
    padded.extend_from_slice(plain);
    padded.resize(bucket, 0);
    Some(padded)
}

/// Of fixed length, so that nothing can be shifted between it and what follows in the nonce.
fn bound(network: &NetworkId, device: &DeviceId, slot: u32) -> Vec<u8> {
    [&network.0[..], &device.0, &slot.to_be_bytes()].concat()
}

fn nonce(key: &EpochKey, bound: &[u8], padded: &[u8]) -> [u8; NONCE] {
    let nonce_key = Zeroizing::new(blake3::derive_key("mesh offer nonce", key.as_bytes()));
    let mut hasher = blake3::Hasher::new_keyed(&nonce_key);
    hasher.update(bound);
    hasher.update(padded);
    let mut nonce = [0; NONCE];
    nonce.copy_from_slice(&hasher.finalize().as_bytes()[..NONCE]);
    nonce
}

fn cipher(key: &EpochKey) -> XChaCha20Poly1305 {
    let seal_key = Zeroizing::new(blake3::derive_key("mesh offer seal", key.as_bytes()));
    XChaCha20Poly1305::new((&*seal_key).into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::event::attributes::{Audience, MAX_AUDIENCE, Protocol, Service};
    use crate::ids::UserId;

    const NETWORK: NetworkId = NetworkId([1; 32]);
    const DEVICE: DeviceId = DeviceId([2; 32]);

    fn key() -> EpochKey {
        EpochKey::from_bytes([3; 32])
    }

    fn offer(name: &str, users: usize) -> Offer {
        Offer {
            what: Service::Port {
                protocol: Protocol::Tcp,
                first: 22,
                last: 22,
            },
            name: Some(name.parse().unwrap()),
            audience: Audience::Only {
                users: vec![UserId([9; 32]); users],
                devices: Vec::new(),
                tags: Vec::new(),
            },
            until: Some(7),
        }
    }

    #[test]
    fn an_offer_opens_with_its_own_key_in_its_own_place_alone() {
        let narrow = seal(&key(), &NETWORK, &DEVICE, 4, &offer("wiki", 1)).unwrap();
        let opened = open(&key(), &NETWORK, &DEVICE, 4, &narrow);
        assert_eq!(opened, Some(offer("wiki", 1)));
        let other = EpochKey::from_bytes([4; 32]);
        assert_eq!(open(&other, &NETWORK, &DEVICE, 4, &narrow), None);
        assert_eq!(open(&key(), &NETWORK, &DEVICE, 5, &narrow), None);
        let elsewhere = NetworkId([8; 32]);
        assert_eq!(open(&key(), &elsewhere, &DEVICE, 4, &narrow), None);
        let claimed = NarrowOffer {
            key: other.id(),
            ..narrow
        };
        assert_eq!(open(&other, &NETWORK, &DEVICE, 4, &claimed), None);
    }

    #[test]
    fn no_changed_byte_opens() {
        let narrow = seal(&key(), &NETWORK, &DEVICE, 4, &offer("wiki", 1)).unwrap();
        for at in 0..narrow.sealed.len() {
            let mut changed = narrow.clone();
            changed.sealed[at] ^= 1;
            assert_eq!(open(&key(), &NETWORK, &DEVICE, 4, &changed), None, "{at}");
        }
        for length in 0..narrow.sealed.len() {
            let mut cut = narrow.clone();
            cut.sealed.truncate(length);
            assert!(!fits(&cut), "{length}");
        }
    }

    #[test]
    fn the_size_tells_the_bucket_and_no_more() {
        let sealed = |name: &str, users| {
            let narrow = seal(&key(), &NETWORK, &DEVICE, 4, &offer(name, users)).unwrap();
            narrow.sealed.len()
        };
        assert_eq!(sealed("a", 1), sealed(&"a".repeat(60), 1));
        assert_eq!(sealed("a", 1), NONCE + 128 + TAG);
        assert_eq!(sealed("a", MAX_AUDIENCE), NONCE + 1920 + TAG);
    }
}
