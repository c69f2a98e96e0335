//! Epochs: the keys under which attributes are sealed, and how they reach those who may read.
//!
//! An epoch's id commits to its key, so a key from anybody is checked by hashing it. A rotation (`epoch.rotate`) carries
//! the new key in a box for each device, and the keys of the epochs it follows sealed under the new one: who is handed
//! the newest key reads all history. Every sealing here has a key of its own whose derivation names the epoch that is
//! sealed, and that epoch's id fixes the plaintext; so the nonce is constant and nothing is ever encrypted twice under
//! one key and nonce to different ends.

mod learner;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use chacha20poly1305::aead::{AeadInPlace, KeyInit};
use chacha20poly1305::{Tag, XChaCha20Poly1305, XNonce};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::event::act::{EpochKeys, EpochRotate, KeyBox, MAX_BOXES, MAX_FOLLOWS, SealedKey};
use crate::event::{Act, Event, MAX_EVENT, MAX_PARENTS};
use crate::graph::Idx;
use crate::ids::{BoxKey, EpochId, NetworkId};
use crate::keys::{BoxSecret, EpochKey};
pub(crate) use learner::Learner;

/// The epoch keys one replica holds.
#[derive(Debug, Clone, Default)]
pub struct KeyRing(BTreeMap<EpochId, Held>);

#[derive(Clone)]
struct Held {
    key: EpochKey,
    /// Made ready to open what is sealed under it, once something was.
    ready: OnceLock<XChaCha20Poly1305>,
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.key.fmt(f)
    }
}

impl KeyRing {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a key. Says whether it is new.
    pub fn insert(&mut self, key: EpochKey) -> bool {
        let ready = OnceLock::new();
        self.0.insert(key.id(), Held { key, ready }).is_none()
    }

    /// The key of an epoch, if it is here.
    #[must_use]
    pub fn get(&self, epoch: &EpochId) -> Option<&EpochKey> {
        self.0.get(epoch).map(|held| &held.key)
    }

    /// The key of an epoch made ready, if it is here. `make` always makes the same of a key.
    pub(crate) fn ready(
        &self,
        epoch: &EpochId,
        make: impl FnOnce(&EpochKey) -> XChaCha20Poly1305,
    ) -> Option<&XChaCha20Poly1305> {
        let held = self.0.get(epoch)?;
        Some(held.ready.get_or_init(|| make(&held.key)))
    }

    /// All keys, by epoch id.
    pub fn iter(&self) -> impl Iterator<Item = &EpochKey> {
        self.0.values().map(|held| &held.key)
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The newest of the accepted epochs whose key is here: what a device seals under.
    #[must_use]
    pub fn newest(&self, accepted: &[EpochId]) -> Option<&EpochKey> {
        accepted.iter().rev().find_map(|epoch| self.get(epoch))
    }

    /// Takes what keys these events hold for us: from boxes for `mine`, and former ones sealed under a key that is here, or
    /// that comes with them. Returns the new keys.
    pub fn learn(
        &mut self,
        events: impl Iterator<Item = Event>,
        mine: Option<&BoxSecret>,
    ) -> Vec<EpochKey> {
        let events: Vec<Event> = events.collect();
        let mut learner = Learner::default();
        let (mut learnt, read) = (Vec::new(), |at: Idx| events[at.0 as usize].clone());
        for at in (0..events.len() as u32).map(Idx) {
            learnt.extend(learner.take(self, at, mine, read));
        }
        learnt
    }
}

/// The acts that begin the epoch of `new` and hand its key to all of `to`: one `epoch.rotate`, and as many `epoch.keys`
/// behind it as the boxes need. `former` are the epochs it follows, newest first; more than fit are left to those that
/// they follow themselves. The seeds make the ephemeral keys, one per act, and are used for nothing else.
#[must_use]
pub fn rotate(
    network: &NetworkId,
    new: &EpochKey,
    former: &[EpochKey],
    to: &[BoxKey],
    seeds: impl Iterator<Item = [u8; 32]>,
) -> Vec<Act> {
    let follows: Vec<_> = former
        .iter()
        .take(MAX_FOLLOWS)
        .map(|key| (key.id(), seal_former(new, key)))
        .collect();
    let first = boxes_beside(follows.len()).min(to.len());
    let (with_rotation, rest) = to.split_at(first);
    let groups = std::iter::once(with_rotation).chain(rest.chunks(MAX_BOXES));
    let mut acts: Vec<Act> = Vec::new();
    let mut follows = Some(follows);
    for (group, seed) in groups.zip(seeds) {
        let (ephemeral, boxes) = seal_boxes(network, new, group, &seed);
        acts.push(match follows.take() {
            Some(follows) => Act::EpochRotate(EpochRotate {
                epoch: new.id(),
                follows,
                ephemeral,
                boxes,
            }),
            None => Act::EpochKeys(EpochKeys {
                epoch: new.id(),
                ephemeral,
                boxes,
            }),
        });
    }
    acts
}

/// How many boxes fit into an event beside so many former epochs and the most parents.
fn boxes_beside(follows: usize) -> usize {
    const AROUND: usize = 122 + 64 + 32 * MAX_PARENTS + 1 + 32 + 32 + 2 + 2;
    const FOLLOW: usize = 32 + 48;
    const BOX: usize = 8 + 48;
    ((MAX_EVENT - AROUND - FOLLOW * follows.min(MAX_FOLLOWS)) / BOX).min(MAX_BOXES)
}

/// Seals a key to devices. Returns the ephemeral public key and a box for each; a box key of small order gets one that
/// nobody can open.
#[must_use]
pub fn seal_boxes(
    network: &NetworkId,
    key: &EpochKey,
    to: &[BoxKey],
    ephemeral_seed: &[u8; 32],
) -> (BoxKey, Vec<KeyBox>) {
    let ephemeral = BoxSecret::from_seed(ephemeral_seed);
    let epoch = key.id();
    let boxes = to
        .iter()
        .map(|to| {
            let shared = ephemeral.shared(to).unwrap_or_else(|| {
                Zeroizing::new(blake3::derive_key("mesh key box nobody", ephemeral_seed))
            });
            let wrap = box_wrap(&shared, network, &epoch, &ephemeral.public(), to);
            KeyBox {
                to: prefix_of(to),
                ciphertext: wrap_key(&wrap, key),
            }
        })
        .collect();
    (ephemeral.public(), boxes)
}

/// Opens the box that is for `mine`, if there is one and it holds the key of that epoch.
#[must_use]
pub fn open_box(
    network: &NetworkId,
    epoch: &EpochId,
    ephemeral: &BoxKey,
    boxes: &[KeyBox],
    mine: &BoxSecret,
) -> Option<EpochKey> {
    let public = mine.public();
    let to = prefix_of(&public);
    let mut for_me = boxes.iter().filter(|one| one.to == to).peekable();
    for_me.peek()?;
    let shared = mine.shared(ephemeral)?;
    let wrap = box_wrap(&shared, network, epoch, ephemeral, &public);
    for_me.find_map(|one| unwrap_key(&wrap, epoch, &one.ciphertext))
}

/// Seals a former epoch's key under a newer one.
#[must_use]
pub fn seal_former(new: &EpochKey, former: &EpochKey) -> SealedKey {
    wrap_key(&former_wrap(new, &former.id()), former)
}

/// Opens what [`seal_former`] made.
#[must_use]
pub fn open_former(new: &EpochKey, former: &EpochId, sealed: &SealedKey) -> Option<EpochKey> {
    unwrap_key(&former_wrap(new, former), former, sealed)
}

/// An epoch key on its way to one device, in the answer to a redemption or to a request for a missing key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandedKey {
    /// The epoch.
    pub epoch: EpochId,
    /// The ephemeral X25519 key of the box.
    pub ephemeral: BoxKey,
    /// The box.
    pub sealed: KeyBox,
}

impl HandedKey {
    /// Seals `key` to one device. The seed makes the ephemeral key and is used for nothing else.
    #[must_use]
    pub fn seal(network: &NetworkId, key: &EpochKey, to: &BoxKey, seed: &[u8; 32]) -> Option<Self> {
        let (ephemeral, boxes) = seal_boxes(network, key, &[*to], seed);
        let sealed = boxes.into_iter().next()?;
        Some(Self {
            epoch: key.id(),
            ephemeral,
            sealed,
        })
    }

    /// The bytes to send.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).unwrap_or_default()
    }

    /// Reads received bytes; `None` if they are not exactly a handed key.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > 256 {
            return None;
        }
        let (handed, rest) = postcard::take_from_bytes(bytes).ok()?;
        rest.is_empty().then_some(handed)
    }

    /// The key, if the box is for `mine` and holds what its epoch id commits to.
    #[must_use]
    pub fn open(&self, network: &NetworkId, mine: &BoxSecret) -> Option<EpochKey> {
        let boxes = std::slice::from_ref(&self.sealed);
        open_box(network, &self.epoch, &self.ephemeral, boxes, mine)
    }
}

fn prefix_of(key: &BoxKey) -> [u8; 8] {
    let mut prefix = [0; 8];
    prefix.copy_from_slice(&key.0[..8]);
    prefix
}

fn box_wrap(
    shared: &[u8; 32],
    network: &NetworkId,
    epoch: &EpochId,
    ephemeral: &BoxKey,
    to: &BoxKey,
) -> Zeroizing<[u8; 32]> {
    let mut hasher = blake3::Hasher::new_derive_key("mesh key box 1");
    for part in [shared, &ephemeral.0, &to.0, &network.0, &epoch.0] {
        hasher.update(part);
    }
    Zeroizing::new(*hasher.finalize().as_bytes())
}

fn former_wrap(new: &EpochKey, former: &EpochId) -> Zeroizing<[u8; 32]> {
    let mut hasher = blake3::Hasher::new_derive_key("mesh former epoch 1");
    hasher.update(new.as_bytes());
    hasher.update(&former.0);
    Zeroizing::new(*hasher.finalize().as_bytes())
}

fn wrap_key(wrap: &[u8; 32], key: &EpochKey) -> SealedKey {
    let mut bytes = *key.as_bytes();
    let tag = XChaCha20Poly1305::new(wrap.into())
        .encrypt_in_place_detached(&XNonce::default(), b"", &mut bytes)
        .map(Into::into)
        // Encryption fails only beyond 256 GB.
        .unwrap_or([0; 16]);
    SealedKey(bytes, tag)
}

fn unwrap_key(wrap: &[u8; 32], epoch: &EpochId, sealed: &SealedKey) -> Option<EpochKey> {
    let mut bytes = Zeroizing::new(sealed.0);
    XChaCha20Poly1305::new(wrap.into())
        .decrypt_in_place_detached(
            &XNonce::default(),
            b"",
            bytes.as_mut_slice(),
            Tag::from_slice(&sealed.1),
        )
        .ok()?;
    let key = EpochKey::from_bytes(*bytes);
    (key.id() == *epoch).then_some(key)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::event::Header;
    use crate::ids::EventId;
    use crate::keys::DeviceSecret;

    const NETWORK: NetworkId = NetworkId([9; 32]);

    fn key(n: u8) -> EpochKey {
        EpochKey::from_bytes([n; 32])
    }

    fn event(act: &Act) -> Event {
        let device = DeviceSecret::from_seed(&[1; 32]);
        let header = Header {
            network: NETWORK,
            author: device.public(),
            seq: 2,
            lamport: 1,
            time: 0,
            epoch: EpochId::NONE,
            parents: (0..16).map(|n| EventId([n; 32])).collect(),
        };
        Event::sign(&header, act, &[], &device).unwrap()
    }

    fn seeds() -> impl Iterator<Item = [u8; 32]> {
        (100..).map(|n| [n; 32])
    }

    #[test]
    fn a_box_opens_for_its_device_in_its_network_alone() {
        let mine = BoxSecret::from_seed(&[1; 32]);
        let other = BoxSecret::from_seed(&[2; 32]);
        let (ephemeral, boxes) = seal_boxes(
            &NETWORK,
            &key(5),
            &[mine.public(), other.public()],
            &[3; 32],
        );
        let open = |network: NetworkId, epoch: EpochId, secret: &BoxSecret| {
            open_box(&network, &epoch, &ephemeral, &boxes, secret)
        };
        assert_eq!(open(NETWORK, key(5).id(), &mine), Some(key(5)));
        assert_eq!(open(NETWORK, key(5).id(), &other), Some(key(5)));
        assert_eq!(open(NETWORK, key(6).id(), &mine), None);
        assert_eq!(open(NetworkId([8; 32]), key(5).id(), &mine), None);
        let stranger = BoxSecret::from_seed(&[4; 32]);
        assert_eq!(open(NETWORK, key(5).id(), &stranger), None);
    }

    #[test]
    fn a_rotator_that_lies_about_the_key_delivers_nothing() {
        let mine = BoxSecret::from_seed(&[1; 32]);
        let (ephemeral, mut boxes) = seal_boxes(&NETWORK, &key(5), &[mine.public()], &[3; 32]);
        boxes[0].ciphertext.0[7] ^= 1;
        assert_eq!(
            open_box(&NETWORK, &key(5).id(), &ephemeral, &boxes, &mine),
            None
        );
    }

    #[test]
    fn the_newest_key_reads_all_history() {
        let mine = BoxSecret::from_seed(&[1; 32]);
        let mut events = Vec::new();
        for n in 1..6 {
            for act in rotate(
                &NETWORK,
                &key(n + 1),
                &[key(n)],
                &[BoxSecret::from_seed(&[77; 32]).public()],
                seeds(),
            ) {
                events.push(event(&act));
            }
        }
        let handed = HandedKey::seal(&NETWORK, &key(6), &mine.public(), &[4; 32]).unwrap();
        let handed = HandedKey::decode(&handed.encode()).unwrap();
        let mut ring = KeyRing::new();
        ring.insert(handed.open(&NETWORK, &mine).unwrap());
        let learnt = ring.learn(events.iter().cloned(), Some(&mine));
        assert_eq!(learnt.len(), 5);
        assert!((1..=6).all(|n| ring.get(&key(n).id()) == Some(&key(n))));
        assert_eq!(
            ring.newest(&[key(1).id(), key(6).id(), EpochId([1; 32])]),
            Some(&key(6))
        );
    }

    #[test]
    fn a_rotation_for_many_devices_reaches_each_of_them_in_events_that_fit() {
        let secrets: Vec<_> = (0..130u8).map(|n| BoxSecret::from_seed(&[n; 32])).collect();
        let to: Vec<_> = secrets.iter().map(BoxSecret::public).collect();
        let former: Vec<_> = (50..70).map(key).collect();
        let acts = rotate(&NETWORK, &key(9), &former, &to, seeds());
        assert!(matches!(acts[0], Act::EpochRotate(_)));
        let events: Vec<_> = acts.iter().map(event).collect();
        for secret in &secrets {
            let mut ring = KeyRing::new();
            ring.learn(events.iter().cloned(), Some(secret));
            assert_eq!(ring.get(&key(9).id()), Some(&key(9)));
            assert_eq!(ring.get(&key(50).id()), Some(&key(50)));
        }
    }
}
