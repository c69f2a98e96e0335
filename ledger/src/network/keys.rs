//! Keys of epochs: those at hand, those to ask for, and handing them on.

use super::*;

impl<S: Store> Ledger<S> {
    /// The epoch keys at hand.
    #[must_use]
    pub fn keys(&self) -> &KeyRing {
        &self.keys
    }

    /// How many boxes of epoch keys were tried since the ledger was opened: each costs a key agreement.
    #[must_use]
    pub fn boxes_tried(&self) -> u64 {
        self.learner.tried()
    }

    /// The key this device seals under: of the newest accepted epoch whose key is here.
    #[must_use]
    pub fn newest_key(&self) -> Option<&EpochKey> {
        self.keys.newest(&self.state().epochs)
    }

    /// The epochs whose keys are not here, to be asked for: accepted ones, then those under which events are sealed that
    /// cannot be opened, as of a rotation that turned out void after others had written under it. At most [`MAX_MISSING`].
    #[must_use]
    pub fn missing_keys(&self) -> Vec<EpochId> {
        let epochs = self.sealed.iter().copied();
        let mut sealed: Vec<Idx> = Vec::new();
        let mut last = None;
        for (epoch, first) in epochs {
            if last.replace(epoch) != Some(epoch) {
                sealed.push(first);
            }
        }
        sealed.sort_unstable();
        let sealed = sealed.into_iter().take(MAX_MISSING);
        let sealed = sealed.map(|idx| self.graph.event(idx).header().epoch);
        let mut missing: Vec<EpochId> = Vec::new();
        for epoch in self.state().epochs.iter().copied().chain(sealed) {
            if missing.len() == MAX_MISSING {
                break;
            }
            if self.keys.get(&epoch).is_none() && !missing.contains(&epoch) {
                missing.push(epoch);
            }
        }
        missing
    }

    /// Seals the newest key to one device's box key. The seed is fresh random bytes.
    #[must_use]
    pub fn hand_key(&self, to: &BoxKey, seed: &[u8; 32]) -> Option<HandedKey> {
        HandedKey::seal(&self.network, self.newest_key()?, to, seed)
    }

    /// Seals the key of one epoch to one device's box key, if it is here. The seed is fresh random bytes.
    #[must_use]
    pub fn hand_key_of(&self, epoch: &EpochId, to: &BoxKey, seed: &[u8; 32]) -> Option<HandedKey> {
        HandedKey::seal(&self.network, self.keys.get(epoch)?, to, seed)
    }

    /// Takes a key that a member handed us, if it is one of [`Self::missing_keys`]. Says whether it is. What it opens is folded.
    ///
    /// # Errors
    /// [`StoreError`] if it could not be stored.
    pub fn add_key(&mut self, handed: &HandedKey) -> Result<bool, StoreError> {
        if !self.missing_keys().contains(&handed.epoch) {
            return Ok(false);
        }
        let Some(key) = handed.open(&self.network, &self.box_secret) else {
            return Ok(false);
        };
        self.store.add_epoch_keys(std::slice::from_ref(&key))?;
        let epoch = key.id();
        self.keys.insert(key);
        let read = |idx| self.graph.event(idx);
        let learnt = self.learner.came(&mut self.keys, epoch, read);
        self.store.add_epoch_keys(&learnt)?;
        self.refold();
        Ok(true)
    }
}
