//! Narrow offers: what is offered to fewer than everyone, sealed so that the audience alone can read it.
//!
//! Two layers. The outer one is the event's: whoever holds the epoch's key sees the device, the slot, an id and a
//! ciphertext. The inner one is sealed under a key made for this one offer, to which the id commits; the offering device
//! hands it to each device of the audience. What enforces the audience is the offering device's filter, as ever: the
//! sealing decides who reads, not who gets in.
//!
//! sealed = nonce (24) ‖ XChaCha20-Poly1305(length (2, big-endian) ‖ offer ‖ zeros up to a bucket) ‖ tag (16), bound to
//! the network, the device and the slot. The nonce is a keyed hash of all that and the plaintext (`padded.rs`).
//!
//! The state takes the ciphertext, so that its hash is the same in and out of the audience. An inner part that does not
//! open under the committed key, or is no offer, offers nothing to anybody, and nobody but its audience can tell.

use zeroize::Zeroizing;

use crate::epoch::KeyRing;
use crate::event::attributes::{NarrowOffer, Offer};
use crate::ids::{DeviceId, NetworkId};
use crate::keys::EpochKey;
use crate::padded::Form;
use crate::state::{StandingOffer, State};

/// What the plaintext, its length in front, is padded to: with what stands around it, each fills a bucket of the event's.
pub const BUCKETS: [usize; 5] = [128, 384, 896, 1920, 2944];

const FORM: Form = Form {
    buckets: &BUCKETS,
    nonce: "mesh offer nonce",
    seal: "mesh offer seal",
};

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
    let bound = bound(network, device, slot);
    let sealed = FORM.seal(key, &bound, &plain);
    Ok(NarrowOffer {
        key: key.id(),
        sealed: sealed.ok_or(TooLong(plain.len()))?,
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
    if key.id() != narrow.key {
        return None;
    }
    let text = FORM.open(key, &bound(network, device, slot), &narrow.sealed)?;
    let (offer, behind) = postcard::take_from_bytes::<Offer>(&text).ok()?;
    let encoded = Zeroizing::new(postcard::to_stdvec(&offer).ok()?);
    (behind.is_empty() && encoded == text && offer.bounded()).then_some(offer)
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
    FORM.fits(narrow.sealed.len())
}

/// Of fixed length, so that nothing can be shifted between it and what follows in the nonce.
fn bound(network: &NetworkId, device: &DeviceId, slot: u32) -> Vec<u8> {
    [&network.0[..], &device.0, &slot.to_be_bytes()].concat()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::event::attributes::{Audience, MAX_AUDIENCE, Protocol, Service};
    use crate::ids::UserId;
    use crate::padded::{NONCE, TAG};

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
