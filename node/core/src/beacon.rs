//! Beacons: "I am here, this is my head", flooded over the control links.
//!
//! One per device every [`EVERY`] milliseconds. Each device passes on a beacon of a live member once per (device, counter), and keeps
//! the newest of each. It passes them on in company, [`HOLD`] after the first, and to nobody who brought the same meanwhile: of a
//! hundred devices that are on, ten beacons a second come over each of a dozen links, and each alone would wake both ends. One
//! that says that a device has come back goes on at once. They give presence beyond one's own links, compare heads, and let members compare what servers have
//! signed. A beacon is signed by its device and
//! sealed under the newest epoch key that device holds, so that what carries it learns nothing; nothing of it enters the
//! ledger.
//!
//! Bytes: the version, 1; the epoch's first 8 bytes, a 24-byte nonce, XChaCha20-Poly1305 over postcard of the beacon and its
//! signature.
//! The nonce is a keyed hash of the plaintext, which a counter and a signature make unique.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use chacha20poly1305::aead::{Aead, KeyInit};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use mesh_ledger::ids::{DeviceId, NetworkId};
use mesh_ledger::keys::{DeviceSecret, Domain, EpochKey, Signature};
use mesh_ledger::mirror::SignedTip;
use serde::{Deserialize, Serialize};

use crate::mirror::MAX_SERVERS;

/// How often a device sends one, in milliseconds.
pub const EVERY: u64 = 10_000;
/// How long those of others that are to be passed on wait for company.
pub const HOLD: Duration = Duration::from_secs(4);
/// After so long without one, a device that has no link counts as offline. One may be held at each of eight devices on its way.
pub const LIFETIME: Duration = Duration::from_secs(45);
/// The most addresses in one.
pub const MAX_ADDRESSES: usize = 6;
/// The most tips in one: a server's newest each, and a proof of two.
pub const MAX_TIPS: usize = MAX_SERVERS + 2;
/// The most bytes of one.
pub const MAX_BEACON: usize = 1536;

const VERSION: u8 = 1;

/// Why a beacon says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadBeacon {
    /// It was not sealed under a key at hand, or is none that its device signed.
    #[error("it is no beacon that its device signed under a key known here")]
    Closed,
    /// It is no news of that device. Whether the device made it was not looked at.
    #[error("it is no news")]
    Old(DeviceId),
    /// It is of a format that this release does not read.
    #[error("a later release of mesh sent it: upgrade mesh on this machine")]
    Later,
}

/// What a device says of itself now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beacon {
    /// The device.
    pub device: DeviceId,
    /// Grows with each: milliseconds since 1970 when it was made, or 1 more than the one before.
    pub counter: u64,
    /// The digest of its heads.
    pub heads: [u8; 16],
    /// Where it may be reached.
    pub addresses: Vec<SocketAddr>,
    /// The newest tip that each of the network's servers has shown it; behind them two that prove a lie, if it knows of one.
    pub tips: Vec<SignedTip>,
}

impl Beacon {
    /// Signs and seals.
    #[must_use]
    pub fn seal(
        &self,
        network: &NetworkId,
        device: &DeviceSecret,
        key: &EpochKey,
    ) -> Option<Vec<u8>> {
        let plain = postcard::to_stdvec(self).ok()?;
        let signature = device.sign(Domain::Beacon, &signed(network, &plain));
        let mut sealed = plain;
        sealed.extend_from_slice(&signature.to_bytes());
        let nonce = &blake3::keyed_hash(
            &blake3::derive_key("mesh beacon nonce", key.as_bytes()),
            &sealed,
        )
        .as_bytes()[..24]
            .to_vec();
        let ciphertext = cipher(key)
            .encrypt(XNonce::from_slice(nonce), sealed.as_slice())
            .ok()?;
        Some([&[VERSION], &key.id().0[..8], nonce, &ciphertext].concat())
    }

    /// Opens with whichever of `keys` it was sealed under.
    ///
    /// # Errors
    /// [`BadBeacon`]. That it is of a later release is what its first byte says, which anybody can write.
    pub fn open<'a>(
        bytes: &[u8],
        network: &NetworkId,
        keys: impl IntoIterator<Item = &'a EpochKey>,
    ) -> Result<Self, BadBeacon> {
        Self::open_news(bytes, network, keys, |_, _| false)
    }

    /// As [`Self::open`], but for one of which `is_old` says by its device and counter that it is no news: most are copies, and
    /// to check a signature costs more than all else.
    ///
    /// # Errors
    /// As [`Self::open`], and [`BadBeacon::Old`].
    pub fn open_news<'a>(
        bytes: &[u8],
        network: &NetworkId,
        keys: impl IntoIterator<Item = &'a EpochKey>,
        is_old: impl FnOnce(&DeviceId, u64) -> bool,
    ) -> Result<Self, BadBeacon> {
        match bytes {
            [VERSION, rest @ ..] if bytes.len() <= MAX_BEACON => {
                let (beacon, plain, signature) =
                    Self::unseal(rest, keys).ok_or(BadBeacon::Closed)?;
                if is_old(&beacon.device, beacon.counter) {
                    return Err(BadBeacon::Old(beacon.device));
                }
                let signed = signed(network, &plain);
                let good = beacon.device.verifies(Domain::Beacon, &signed, &signature);
                good.then_some(beacon).ok_or(BadBeacon::Closed)
            }
            [version, ..] if *version > VERSION => Err(BadBeacon::Later),
            _ => Err(BadBeacon::Closed),
        }
    }

    /// What is in it, its bytes, and the signature that is to be checked.
    fn unseal<'a>(
        bytes: &[u8],
        keys: impl IntoIterator<Item = &'a EpochKey>,
    ) -> Option<(Self, Vec<u8>, Signature)> {
        let (epoch, rest) = bytes.split_first_chunk::<8>()?;
        let (nonce, ciphertext) = rest.split_first_chunk::<24>()?;
        let key = keys.into_iter().find(|key| key.id().0[..8] == epoch[..])?;
        let sealed = cipher(key)
            .decrypt(XNonce::from_slice(nonce), ciphertext)
            .ok()?;
        let (plain, signature) = sealed.split_last_chunk::<64>()?;
        let (beacon, rest) = postcard::take_from_bytes::<Self>(plain).ok()?;
        let signature = Signature::from_bytes(signature);
        let good = rest.is_empty()
            && beacon.addresses.len() <= MAX_ADDRESSES
            && beacon.tips.len() <= MAX_TIPS;
        good.then(|| (beacon, plain.to_vec(), signature))
    }
}

fn cipher(key: &EpochKey) -> XChaCha20Poly1305 {
    let key = zeroize::Zeroizing::new(blake3::derive_key("mesh beacon key", key.as_bytes()));
    XChaCha20Poly1305::new(Key::from_slice(key.as_ref()))
}

fn signed(network: &NetworkId, plain: &[u8]) -> Vec<u8> {
    [network.0.as_slice(), plain].concat()
}

/// The newest beacon of each device, and when it came: time since any fixed moment, the same in every call, so that a wall
/// clock that is set makes nobody appear or vanish.
#[derive(Debug, Default)]
pub struct Presence(BTreeMap<DeviceId, (Beacon, Duration)>);

impl Presence {
    /// Whether a beacon of that device with that counter is no news.
    #[must_use]
    pub fn is_old(&self, device: &DeviceId, counter: u64) -> bool {
        self.of(device)
            .is_some_and(|known| known.counter >= counter)
    }

    /// Takes a beacon of a live member that came `now`, when it was `wall` milliseconds since 1970. Whether it is news, and so
    /// to be passed on.
    pub fn take(&mut self, beacon: Beacon, wall: u64, now: Duration) -> bool {
        // A counter that runs ahead of the clock would silence the device's later ones.
        if beacon.counter > wall.saturating_add(24 * 3_600_000) {
            return false;
        }
        let news = !self.is_old(&beacon.device, beacon.counter);
        if news {
            self.0.insert(beacon.device, (beacon, now));
        }
        news
    }

    /// When a device was last heard of by a beacon.
    #[must_use]
    pub fn heard(&self, device: &DeviceId) -> Option<Duration> {
        self.0.get(device).map(|(_, at)| *at)
    }

    /// Whether a beacon of that device is fresh at `now`.
    #[must_use]
    pub fn fresh(&self, device: &DeviceId, now: Duration) -> bool {
        self.heard(device)
            .is_some_and(|at| now.saturating_sub(at) < LIFETIME)
    }

    /// The newest beacon of a device.
    #[must_use]
    pub fn of(&self, device: &DeviceId) -> Option<&Beacon> {
        self.0.get(device).map(|(beacon, _)| beacon)
    }

    /// Forgets who is no member any more.
    pub fn retain(&mut self, live: impl Fn(&DeviceId) -> bool) {
        self.0.retain(|device, _| live(device));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use mesh_ledger::keys::ServerSecret;
    use mesh_ledger::mirror::{Chain, Tip};

    const CLOSED: Result<Beacon, BadBeacon> = Err(BadBeacon::Closed);

    fn secret() -> DeviceSecret {
        DeviceSecret::from_seed(&[1; 32])
    }

    fn beacon(counter: u64) -> Beacon {
        let address = "[2001:db8:ffff:ffff:ffff:ffff:ffff:ffff]:51820"
            .parse()
            .unwrap();
        let tip = Tip {
            network: NetworkId([1; 32]),
            count: u64::MAX,
            chain: Chain([5; 32]),
            time: u64::MAX,
        };
        let tip = SignedTip::sign(tip, &ServerSecret::from_seed(&[6; 32]));
        Beacon {
            device: secret().public(),
            counter,
            heads: [4; 16],
            addresses: vec![address; MAX_ADDRESSES],
            tips: vec![tip; MAX_TIPS],
        }
    }

    #[test]
    fn a_beacon_opens_with_its_epochs_key_in_its_network_alone() {
        let (network, key) = (NetworkId([1; 32]), EpochKey::from_bytes([2; 32]));
        let bytes = beacon(1).seal(&network, &secret(), &key).unwrap();
        assert!(bytes.len() <= MAX_BEACON);
        let other = EpochKey::from_bytes([3; 32]);
        assert_eq!(
            Beacon::open(&bytes, &network, [&other, &key]),
            Ok(beacon(1))
        );
        assert_eq!(Beacon::open(&bytes, &network, [&other]), CLOSED);
        assert_eq!(Beacon::open(&bytes, &NetworkId([9; 32]), [&key]), CLOSED);
    }

    #[test]
    fn a_member_cannot_speak_for_another_device() {
        let (network, key) = (NetworkId([1; 32]), EpochKey::from_bytes([2; 32]));
        let bytes = beacon(1)
            .seal(&network, &DeviceSecret::from_seed(&[7; 32]), &key)
            .unwrap();
        assert_eq!(Beacon::open(&bytes, &network, [&key]), CLOSED);
    }

    #[test]
    fn what_is_no_news_is_told_from_what_is_and_a_forged_one_is_no_news_either() {
        let (network, key) = (NetworkId([1; 32]), EpochKey::from_bytes([2; 32]));
        let mut presence = Presence::default();
        presence.take(beacon(5), 1_000, Duration::ZERO);
        let open = |counter, by: &DeviceSecret| {
            let bytes = beacon(counter).seal(&network, by, &key).unwrap();
            let is_old = |device: &DeviceId, counter| presence.is_old(device, counter);
            Beacon::open_news(&bytes, &network, [&key], is_old)
        };
        let (mine, thief) = (secret(), DeviceSecret::from_seed(&[7; 32]));
        assert_eq!(open(6, &mine), Ok(beacon(6)));
        assert_eq!(open(6, &thief), CLOSED);
        let old = Err(BadBeacon::Old(mine.public()));
        assert_eq!(open(5, &mine), old);
        assert_eq!(open(4, &thief), old);
    }

    #[test]
    fn no_flipped_or_missing_byte_passes() {
        let (network, key) = (NetworkId([1; 32]), EpochKey::from_bytes([2; 32]));
        let bytes = beacon(1).seal(&network, &secret(), &key).unwrap();
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            assert!(Beacon::open(&bad, &network, [&key]).is_err());
            assert_eq!(Beacon::open(&bytes[..at], &network, [&key]), CLOSED);
        }
    }

    #[test]
    fn a_beacon_of_a_later_release_says_that_an_upgrade_reads_it() {
        let (network, key) = (NetworkId([1; 32]), EpochKey::from_bytes([2; 32]));
        let mut bytes = beacon(1).seal(&network, &secret(), &key).unwrap();
        bytes[0] += 1;
        assert_eq!(
            Beacon::open(&bytes, &network, [&key]),
            Err(BadBeacon::Later)
        );
        assert!(BadBeacon::Later.to_string().contains("upgrade mesh"));
        bytes[0] = 0;
        assert_eq!(Beacon::open(&bytes, &network, [&key]), CLOSED);
    }

    #[test]
    fn a_beacon_is_news_once_and_never_after_a_later_one() {
        let mut presence = Presence::default();
        let at = Duration::from_secs;
        assert!(presence.take(beacon(5), 1_000, at(1)));
        assert!(!presence.take(beacon(5), 1_000, at(1)));
        assert!(!presence.take(beacon(4), 1_000, at(1)));
        // The wall clock was set back meanwhile: the beacon is as fresh as it is.
        assert!(presence.take(beacon(6), 10, at(2)));
        let last = at(2) + LIFETIME - Duration::from_millis(1);
        assert!(presence.fresh(&beacon(0).device, last));
        assert!(!presence.fresh(&beacon(0).device, at(2) + LIFETIME));
        assert!(
            !presence.take(beacon(u64::MAX), 2_000, at(2)),
            "a counter far ahead would silence the device"
        );
    }
}
