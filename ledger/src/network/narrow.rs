//! Narrow offers of one network: writing them, opening those whose keys are here, and handing keys to who may read.

use super::{AuthorError, Ledger};
use crate::epoch::HandedKey;
use crate::event::attributes::{Offer, Write};
use crate::event::{Act, Attributes, Event};
use crate::ids::{DeviceId, EpochId};
use crate::keys::{DeviceSecret, EpochKey};
use crate::narrow;
use crate::store::{Store, StoreError};

/// The most keys of one device's narrow offers that are asked for: more than it can have at a time.
pub const MAX_OFFER_KEYS: usize = 1024;

impl<S: Store> Ledger<S> {
    /// Offers something to an audience that alone can read it, in place of what the slot held. The key is 32 fresh random
    /// bytes, used for this offer alone; it is stored before the event is, as this device has to read its own offers.
    ///
    /// # Errors
    /// [`AuthorError`]; nothing is offered then.
    pub fn offer_narrowly(
        &mut self,
        device: &DeviceSecret,
        slot: u32,
        offer: &Offer,
        key: EpochKey,
        now: u64,
    ) -> Result<Event, AuthorError> {
        let author = device.public();
        let offer = narrow::seal(&key, &self.network, &author, slot, offer)?;
        self.store.add_offer_key(&key)?;
        self.offer_keys.insert(key);
        let write = Write::Narrow {
            device: author,
            slot,
            offer,
        };
        let attributes = Attributes::Writes(vec![write]);
        self.author(device, Act::Private, Some(attributes), now)
    }

    /// Standing narrow offers of a device whose keys are not here. Whether this device is in their audience only the
    /// offering device knows. At most [`MAX_OFFER_KEYS`].
    #[must_use]
    pub fn missing_offer_keys(&self, of: &DeviceId) -> Vec<EpochId> {
        let offers = self.state().narrow.range((*of, 0)..=(*of, u32::MAX));
        offers
            .map(|(_, standing)| standing.offer.key)
            .filter(|key| self.offer_keys.get(key).is_none())
            .take(MAX_OFFER_KEYS)
            .collect()
    }

    /// Seals the key of one of `mine`'s standing narrow offers to a device, if that one is in its audience by this fold.
    /// The seed is fresh random bytes.
    #[must_use]
    pub fn hand_offer_key(
        &self,
        mine: &DeviceId,
        key: &EpochId,
        to: &DeviceId,
        seed: &[u8; 32],
    ) -> Option<HandedKey> {
        let state = self.state();
        let offers = state.narrow.range((*mine, 0)..=(*mine, u32::MAX));
        let mut places = offers.filter(|(_, standing)| standing.offer.key == *key);
        let reads = |place| {
            let standing = state.offers.get(place);
            standing.is_some_and(|standing| state.admits(&standing.offer.audience, to))
        };
        if !places.any(|(place, _)| reads(place)) {
            return None;
        }
        let to = state.devices.get(to)?.box_key;
        HandedKey::seal(&self.network, self.offer_keys.get(key)?, &to, seed)
    }

    /// Takes the key of a narrow offer that stands and cannot be read yet. Says whether it is one; it is read then.
    ///
    /// # Errors
    /// [`StoreError`] if it could not be stored.
    pub fn add_offer_key(&mut self, handed: &HandedKey) -> Result<bool, StoreError> {
        let stands = |standing: &crate::state::StandingNarrow| standing.offer.key == handed.epoch;
        if self.offer_keys.get(&handed.epoch).is_some() || !self.state().narrow.values().any(stands)
        {
            return Ok(false);
        }
        let Some(key) = handed.open(&self.network, &self.box_secret) else {
            return Ok(false);
        };
        self.store.add_offer_key(&key)?;
        self.offer_keys.insert(key);
        let places: Vec<_> = self.state().narrow.keys().copied().collect();
        for place in places {
            self.open_offer(place);
        }
        Ok(true)
    }

    /// Shows the narrow offers that can be read here beside those that everybody can, where something changed.
    pub(super) fn open_offers(&mut self) {
        for place in self.increment.narrow() {
            self.open_offer(place);
        }
    }

    fn open_offer(&mut self, place: (DeviceId, u32)) {
        if let Some(opened) = narrow::opened(self.state(), &self.offer_keys, place) {
            self.increment.show_narrow(place, opened);
        }
    }
}
