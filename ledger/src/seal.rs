//! Sealing attributes to an epoch.
//!
//! sealed = nonce (24) ‖ XChaCha20-Poly1305(length (2, big-endian) ‖ attributes ‖ zeros up to a bucket) ‖ tag (16), with
//! the event's header and act as associated data, and the nonce a keyed hash of header, act and plaintext (`padded.rs`).

use std::borrow::Cow;

use crate::epoch::KeyRing;
use crate::event::attributes::Opened;
use crate::event::{Act, Attributes, BadEvent, Event, Header, prefix};
use crate::graph::{Graph, Idx};
use crate::ids::EpochId;
use crate::keys::{DeviceSecret, EpochKey};
use crate::padded::Form;

/// What the plaintext, its length in front, is padded to.
pub const BUCKETS: [usize; 6] = [128, 256, 512, 1024, 2048, 3072];

const FORM: Form = Form {
    buckets: &BUCKETS,
    nonce: "mesh nonce",
    seal: "mesh seal",
};

/// Attributes that cannot be sealed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Larger than the largest bucket.
    #[error("the attributes have {0} bytes; an event holds at most 3,070: say less in one event")]
    TooLong(usize),
    /// The header names another epoch than the key's.
    #[error("the header names another epoch than the key's")]
    Epoch,
    /// The event around them breaks a rule of the format.
    #[error(transparent)]
    Event(#[from] BadEvent),
}

/// Seals attributes for exactly this header and act. The header must name the key's epoch.
///
/// # Errors
/// [`SealError`] if they do not fit, or not this header.
pub fn seal(
    key: &EpochKey,
    header: &Header,
    act: &Act,
    attributes: &Attributes,
) -> Result<Vec<u8>, SealError> {
    if header.epoch != key.id() {
        return Err(SealError::Epoch);
    }
    let plain = attributes.encode();
    let long = || SealError::TooLong(plain.len());
    let length = FORM.sealed_length(plain.len()).ok_or_else(long)?;
    // It states its own length in its fields.
    let bound = prefix(header, act, length)?;
    FORM.seal(key, &bound, &plain).ok_or_else(long)
}

/// Seals, if there is something to seal, and signs: the whole of making an event. The header's epoch is set here.
///
/// # Errors
/// [`SealError`] if the event would break a rule of the format.
pub fn sign(
    mut header: Header,
    act: &Act,
    attributes: Option<(&Attributes, &EpochKey)>,
    device: &DeviceSecret,
) -> Result<Event, SealError> {
    let sealed = match attributes {
        Some((attributes, key)) => {
            header.epoch = key.id();
            seal(key, &header, act, attributes)?
        }
        None => {
            header.epoch = EpochId::NONE;
            Vec::new()
        }
    };
    Ok(Event::sign(&header, act, &sealed, device)?)
}

/// Opens an event's attributes with the keys at hand. Of an admission it checks too that they are the ones the joiner
/// signed.
#[must_use]
pub fn open(event: &Event, keys: &KeyRing) -> Opened {
    let sealed = event.sealed();
    if sealed.is_empty() {
        return Opened::Nothing;
    }
    let Some(cipher) = keys.ready(&event.header().epoch, |key| FORM.cipher(key)) else {
        return Opened::Pending;
    };
    let Some(attributes) = FORM
        .open_with(cipher, event.associated_data(), sealed)
        .and_then(|plain| Attributes::decode(event.act(), &plain))
    else {
        return Opened::Broken;
    };
    if let (Act::Admit(admit), Attributes::Joining(joining)) = (event.act(), &attributes)
        && joining.digest() != admit.digest
    {
        return Opened::Broken;
    }
    Opened::Open(attributes)
}

/// Where a fold finds what events seal.
#[derive(Debug, Clone, Copy)]
pub enum Openings<'a> {
    /// It is given, by [`Idx`]. What it does not cover counts as not open yet.
    Given(&'a [Opened]),
    /// The events themselves hold it, and these keys open them.
    Sealed(&'a KeyRing),
}

impl<'a> Openings<'a> {
    /// What an event's sealed part holds.
    #[must_use]
    pub fn of(self, graph: &Graph, idx: Idx) -> Cow<'a, Opened> {
        if !graph.is_sealed(idx) {
            return Cow::Owned(Opened::Nothing);
        }
        match self {
            Self::Given(opened) => {
                let opened = opened.get(idx.0 as usize);
                opened.map_or(Cow::Owned(Opened::Pending), Cow::Borrowed)
            }
            Self::Sealed(keys) => Cow::Owned(open(&graph.event(idx), keys)),
        }
    }

    /// Whether an event's sealed part waits for a key.
    #[must_use]
    pub fn is_pending(self, graph: &Graph, idx: Idx) -> bool {
        graph.is_sealed(idx)
            && match self {
                Self::Given(_) => *self.of(graph, idx) == Opened::Pending,
                Self::Sealed(keys) => keys.get(&graph.event(idx).header().epoch).is_none(),
            }
    }
}

impl<'a> From<&'a [Opened]> for Openings<'a> {
    fn from(opened: &'a [Opened]) -> Self {
        Self::Given(opened)
    }
}

impl<'a, const N: usize> From<&'a [Opened; N]> for Openings<'a> {
    fn from(opened: &'a [Opened; N]) -> Self {
        Self::Given(opened)
    }
}

impl<'a> From<&'a Vec<Opened>> for Openings<'a> {
    fn from(opened: &'a Vec<Opened>) -> Self {
        Self::Given(opened)
    }
}

impl<'a> From<&'a KeyRing> for Openings<'a> {
    fn from(keys: &'a KeyRing) -> Self {
        Self::Sealed(keys)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::event::attributes::Write;
    use crate::ids::{EventId, NetworkId};
    use crate::padded::{NONCE, TAG};

    fn device() -> DeviceSecret {
        DeviceSecret::from_seed(&[5; 32])
    }

    fn header(lamport: u32) -> Header {
        Header {
            network: NetworkId([1; 32]),
            author: device().public(),
            seq: 2,
            lamport,
            time: 1,
            epoch: EpochId::NONE,
            parents: vec![EventId([1; 32])],
        }
    }

    fn key() -> EpochKey {
        EpochKey::from_bytes([6; 32])
    }

    fn ring() -> KeyRing {
        let mut ring = KeyRing::new();
        ring.insert(key());
        ring
    }

    fn named(host: &str) -> Attributes {
        Attributes::Writes(vec![Write::Host {
            device: device().public(),
            host: host.parse().unwrap(),
        }])
    }

    #[test]
    fn what_is_sealed_opens_with_the_epochs_key_and_waits_without() {
        let event = sign(
            header(7),
            &Act::Private,
            Some((&named("bob"), &key())),
            &device(),
        )
        .unwrap();
        assert!(Event::decode(event.bytes()).is_ok());
        assert_eq!(open(&event, &ring()), Opened::Open(named("bob")));
        assert_eq!(open(&event, &KeyRing::new()), Opened::Pending);
        let merge = sign(header(7), &Act::Merge, None, &device()).unwrap();
        assert_eq!(open(&merge, &ring()), Opened::Nothing);
    }

    #[test]
    fn sealed_bytes_moved_to_another_event_or_changed_are_broken() {
        let event = sign(
            header(7),
            &Act::Private,
            Some((&named("bob"), &key())),
            &device(),
        )
        .unwrap();
        let mut moved = header(8);
        moved.epoch = key().id();
        let moved = Event::sign(&moved, &Act::Private, event.sealed(), &device()).unwrap();
        assert_eq!(open(&moved, &ring()), Opened::Broken);
        for at in 0..event.sealed().len() {
            let mut sealed = event.sealed().to_vec();
            sealed[at] ^= 1;
            let changed = Event::sign(event.header(), &Act::Private, &sealed, &device()).unwrap();
            assert_eq!(open(&changed, &ring()), Opened::Broken, "byte {at}");
        }
    }

    #[test]
    fn the_size_tells_the_bucket_and_no_more() {
        let length = |host: &str| {
            sign(
                header(7),
                &Act::Private,
                Some((&named(host), &key())),
                &device(),
            )
            .unwrap()
            .sealed()
            .len()
        };
        assert_eq!(length("b"), NONCE + 128 + TAG);
        assert_eq!(length(&"b".repeat(60)), length("b"));
    }

    #[test]
    fn no_two_events_share_a_nonce() {
        let nonce_of = |lamport, host: &str| {
            let event = sign(
                header(lamport),
                &Act::Private,
                Some((&named(host), &key())),
                &device(),
            );
            event.unwrap().sealed()[..NONCE].to_vec()
        };
        assert_eq!(nonce_of(7, "bob"), nonce_of(7, "bob"));
        assert_ne!(nonce_of(7, "bob"), nonce_of(7, "bos"));
        assert_ne!(nonce_of(7, "bob"), nonce_of(8, "bob"));
    }

    #[test]
    fn what_does_not_fit_an_event_is_refused() {
        let writes = vec![
            Write::Setting {
                key: "k".repeat(63).parse().unwrap(),
                value: Some("\u{4e2d}".repeat(120).parse().unwrap())
            };
            8
        ];
        assert!(matches!(
            seal(
                &key(),
                &Header {
                    epoch: key().id(),
                    ..header(7)
                },
                &Act::Private,
                &Attributes::Writes(writes)
            ),
            Err(SealError::TooLong(_))
        ));
        assert_eq!(
            seal(&key(), &header(7), &Act::Private, &named("bob")),
            Err(SealError::Epoch)
        );
    }
}
