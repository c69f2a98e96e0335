//! Events from outside: gate, store, graph, one fold.

use super::{Ledger, carries_keys};
use crate::event::{Event, id_of};
use crate::gate::{Passage, Rate, Refusal};
use crate::ids::{DeviceId, EventId};
use crate::parking::Source;
use crate::store::{Store, StoreError};

/// What became of a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Receipt {
    /// Events that are new in the ledger, in the order of insertion: durable and folded.
    pub added: Vec<EventId>,
    /// How many of the batch were here already.
    pub known: usize,
    /// How many of the batch wait for their parents.
    pub parked: usize,
    /// The ids to fetch so that what waits can go on.
    pub missing: Vec<EventId>,
    /// Events that are refused for good.
    pub refused: Vec<(EventId, Refusal)>,
    /// Damaged rows of the store that this batch mended.
    pub mended: Vec<EventId>,
    /// For how many milliseconds to read nothing more from the device that pushed this.
    pub wait: u64,
}

impl<S: Store> Ledger<S> {
    /// Takes events from outside, in any order. When it returns, what was added is durable and folded.
    ///
    /// # Errors
    /// [`StoreError`] if they could not be stored; the ledger is then as it was.
    pub fn receive(
        &mut self,
        source: Source,
        batch: &[Vec<u8>],
        now: u64,
    ) -> Result<Receipt, StoreError> {
        self.take(source, batch, now, None)
    }

    /// Takes what a device tells to show that it is a live member's, on trial: all of it, if the device is one then. Else the
    /// ledger is as it was, and of `added` in the receipt is nothing. For devices that need not be members: whoever is named by
    /// some admission, also one that is void or was taken back long ago, passes the gate.
    ///
    /// # Errors
    /// As [`Self::receive`].
    pub fn receive_on_trial(
        &mut self,
        device: &DeviceId,
        batch: &[Vec<u8>],
        now: u64,
    ) -> Result<Receipt, StoreError> {
        self.take(Source::Sync(*device), batch, now, Some(device))
    }

    fn take(
        &mut self,
        source: Source,
        batch: &[Vec<u8>],
        now: u64,
        on_trial: Option<&DeviceId>,
    ) -> Result<Receipt, StoreError> {
        self.whole()?;
        let mut receipt = Receipt::default();
        let (mut ready, mut mends) = (Vec::new(), Vec::new());
        let lost = self.graph.index().lost();
        for bytes in batch {
            let id = id_of(bytes);
            if self.graph.find(&id).is_some() {
                receipt.known += 1;
                // A row that was damaged since it was read: these are its bytes, by their hash.
                if self.damaged.contains(&id) || lost.contains(&id) {
                    mends.extend(Event::decode_unverified(bytes));
                }
                continue;
            }
            if let Some(why) = self.parking.refusal(&id) {
                receipt.refused.push((id, why.clone()));
                continue;
            }
            match Event::decode(bytes) {
                Ok(event) => ready.push((source, event)),
                Err(bad) => self.refuse(id, bad.into(), &mut receipt),
            }
        }
        if let Source::Push(device) = source {
            let own = ready
                .iter()
                .filter(|(_, event)| event.author() == device)
                .count() as u64;
            let rate = self.rates.entry(device).or_insert_with(Rate::full);
            receipt.wait = rate.take(own, now);
        }
        if !mends.is_empty() {
            self.store.append(&mends)?;
            for event in &mends {
                self.damaged.remove(&event.id());
                self.graph.mended(&event.id());
            }
            receipt.mended = mends.iter().map(Event::id).collect();
        }
        // Parents have smaller lamports, so the least of what is ready is taken from the end.
        let key =
            |(_, event): &(Source, Event)| std::cmp::Reverse((event.header().lamport, event.id()));
        ready.sort_by_key(key);
        let before = self.graph.len();
        let mut added = Vec::new();
        while let Some((source, event)) = ready.pop() {
            let id = event.id();
            match self.gate.pass(&mut self.graph, &self.network, &event) {
                Ok(Passage::Added(_)) => {
                    added.push((source, event));
                    ready.extend(self.parking.arrived(&id));
                }
                Ok(Passage::Known(_)) => receipt.known += 1,
                Ok(Passage::Missing(missing)) => {
                    let never = |id: &&EventId| self.parking.refusal(id).is_some();
                    if let Some(parent) = missing.iter().find(never).copied() {
                        self.refuse(id, Refusal::FollowsRefused(parent), &mut receipt);
                    } else {
                        receipt.parked += 1;
                        self.parking.park(source, event, &missing);
                    }
                }
                Err(why) => self.refuse(id, why, &mut receipt),
            }
        }
        receipt.missing = self.missing();
        if added.is_empty() {
            return Ok(receipt);
        }
        if let Some(device) = on_trial {
            self.refold();
            if !self.authority().devices.contains_key(device) {
                self.truncate(before);
                // What others brought goes back to waiting.
                let others = added.into_iter().filter(|(from, _)| *from != source);
                self.park_again(others.collect());
                receipt.missing = self.missing();
                return Ok(receipt);
            }
        }
        // What waited in the store is there already.
        let fresh: Vec<Event> = added
            .iter()
            .filter(|(source, _)| *source != Source::Store)
            .map(|(_, event)| event.clone())
            .collect();
        if let Err(error) = self.store.append(&fresh) {
            self.truncate(before);
            // Stored events that waited go back to waiting.
            let stored = added.into_iter();
            let stored = stored.filter(|(source, _)| *source == Source::Store);
            self.park_again(stored.collect());
            return Err(error);
        }
        for (_, event) in &added {
            if self.damaged.remove(&event.id()) {
                receipt.mended.push(event.id());
            }
        }
        receipt.missing = self.missing();
        receipt.added = added.iter().map(|(_, event)| event.id()).collect();
        if added.iter().any(|(_, event)| carries_keys(event.act())) {
            let learnt = self.learn();
            // A key that is not stored is learnt again from the same events, so a failure costs nothing here.
            let _ = self.store.add_epoch_keys(&learnt);
        }
        self.refold();
        self.graph.stored();
        self.whole()?;
        self.keep_proofs();
        Ok(receipt)
    }

    /// Has events wait that are not in the graph any more.
    fn park_again(&mut self, events: Vec<(Source, Event)>) {
        for (source, event) in events {
            let absent = |id: &&EventId| self.graph.find(id).is_none();
            let parents = event.header().parents.iter();
            let missing: Vec<EventId> = parents.filter(absent).copied().collect();
            self.parking.park(source, event, &missing);
        }
    }

    /// What follows a refused event waits no longer, and is refused too.
    fn refuse(&mut self, id: EventId, why: Refusal, receipt: &mut Receipt) {
        receipt.refused.push((id, why.clone()));
        receipt.refused.extend(self.parking.refuse(id, why));
    }
}
