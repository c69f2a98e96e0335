//! A user's further devices: entering a network with one, and what a removal of one leaves standing.

use super::{AuthorError, JoinArgs, JoinError, Ledger};
use crate::event::act::{DeviceAdd, MAX_CUT, Remove, Target, own_device_message};
use crate::event::attributes::Joining;
use crate::event::{Act, Attributes, Event, id_of};
use crate::gate::Passage;
use crate::graph::Idx;
use crate::ids::{DeviceId, EventId, UserId};
use crate::keys::{DeviceSecret, Domain, EpochKey, Signature, UserSecret};
use crate::store::{Store, StoreError};

/// A further device of a member.
#[derive(Debug)]
pub struct Entrant<'a> {
    /// Its key.
    pub device: &'a DeviceSecret,
    /// Whose it is.
    pub user: UserId,
    /// The user's word for it.
    pub certificate: Signature,
    /// Host name, address, WireGuard key.
    pub joining: Joining,
    /// Milliseconds since 1970.
    pub now: u64,
}

/// Why a further device does not enter a network.
#[derive(Debug, thiserror::Error)]
pub enum EnterError {
    /// What was handed over does not verify.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// The user is no member.
    #[error("by the ledger that was handed over, the user is no member of the network")]
    NotAMember,
    /// The `device.add` would not count, or could not be stored.
    #[error(transparent)]
    Author(#[from] AuthorError),
}

impl<S: Store> Ledger<S> {
    /// Enters a network with a further device of a member: checks what another device handed over as [`Self::join`] does,
    /// and writes the `device.add`, which is returned. A device that is in the network already writes none.
    ///
    /// # Errors
    /// [`EnterError`]. Nothing is stored then, unless it is [`EnterError::Author`].
    pub fn enter(
        store: S,
        args: JoinArgs,
        entrant: Entrant<'_>,
    ) -> Result<(Self, Event), EnterError> {
        let (box_key, device) = (args.box_secret.public(), args.device);
        let (mut ledger, events) = Self::gathered(store, args)?;
        if !ledger.state().members.contains_key(&entrant.user) {
            return Err(EnterError::NotAMember);
        }
        ledger.keep(&events).map_err(JoinError::from)?;
        let known = ledger.state().devices.get(&device);
        if let Some(known) = known.and_then(|known| ledger.event(&known.event)) {
            return Ok((ledger, known));
        }
        let act = Act::DeviceAdd(DeviceAdd {
            user: entrant.user,
            device,
            box_key,
            certificate: entrant.certificate,
        });
        let attributes = Attributes::Joining(entrant.joining);
        let added = ledger.author(entrant.device, act, Some(attributes), entrant.now)?;
        Ok((ledger, added))
    }

    /// The act by which a user removes a device of its own, from whichever device. What the device signed until now stands, or,
    /// with `since`, what it signed before it knew of that event.
    #[must_use]
    pub fn removal_by(&self, user: &UserSecret, device: &DeviceId, since: Option<&EventId>) -> Act {
        let cut = self.cut_before(device, since);
        let message = own_device_message(&self.network, device, Some(&cut));
        Act::Remove(Remove {
            target: Target::Device(*device),
            by_user: Some(user.sign(Domain::OwnDevice, &message)),
            cut: Some(cut),
            closes: Vec::new(),
        })
    }

    /// The act by which a senior removes a device of somebody else. What the device signed and its author knows stands, or, with
    /// `since`, what it signed before it knew of that event.
    #[must_use]
    pub fn removal_of(&self, device: &DeviceId, since: Option<&EventId>) -> Act {
        Act::Remove(Remove {
            target: Target::Device(*device),
            cut: since.map(|since| self.cut_before(device, Some(since))),
            closes: Vec::new(),
            by_user: None,
        })
    }

    /// The heads of what a device signed before it knew of an event, ascending; without one, until now. If that is nothing, the
    /// event that brought the device.
    fn cut_before(&self, device: &DeviceId, since: Option<&EventId>) -> Vec<EventId> {
        let graph = &self.graph;
        let since = since.and_then(|since| graph.find(since));
        let before =
            |idx: &Idx| since.is_none_or(|since| *idx != since && !graph.precedes(since, *idx));
        // What is kept is a past, so of each lane it is a prefix; and of a past the last events are few, but for forks.
        let lanes = graph.lanes_of(device).iter();
        let lanes = lanes.map(|lane| graph.lanes()[*lane as usize].as_slice());
        let ends = lanes.filter_map(|lane| lane[..lane.partition_point(&before)].last());
        let mut heads: Vec<Idx> = ends.copied().collect();
        if heads.len() <= MAX_CUT {
            let all = heads.clone();
            heads.retain(|idx| !all.iter().any(|other| graph.precedes(*idx, *other)));
        }
        // Of a device that forked more often than a cut has room for, the least is left standing that can be.
        heads.sort_by_key(|idx| graph.rank(*idx));
        heads.truncate(MAX_CUT);
        let mut heads: Vec<EventId> = heads.into_iter().map(|idx| graph.id(idx)).collect();
        if heads.is_empty() {
            let known = self.state().devices.get(device);
            heads.extend(known.map(|known| known.event));
        }
        heads.sort_unstable();
        heads
    }

    /// Checks what a member sent and folds it: the genesis is the network's id, every signature holds, nothing is missing.
    /// Nothing is stored yet.
    pub(super) fn gathered(store: S, args: JoinArgs) -> Result<(Self, Vec<Event>), JoinError> {
        if let Some(network) = store.network()? {
            return Err(JoinError::Occupied(network));
        }
        let mut ledger = Self::empty(store, args.network, args.box_secret);
        let mut events = Vec::with_capacity(args.events.len());
        for bytes in &args.events {
            let event = Event::decode(bytes).map_err(|error| JoinError::Refused {
                id: id_of(bytes),
                why: error.into(),
            })?;
            events.push(event);
        }
        events.sort_by_key(|event| (event.header().lamport, event.id()));
        if !events
            .iter()
            .any(|event| matches!(event.act(), Act::Genesis(_)) && event.network() == args.network)
        {
            return Err(JoinError::OtherNetwork);
        }
        let mut missing = std::collections::BTreeSet::new();
        for event in &events {
            match ledger.gate.pass(&mut ledger.graph, &ledger.network, event) {
                Ok(Passage::Added(_) | Passage::Known(_)) => {}
                Ok(Passage::Missing(parents)) => missing.extend(parents),
                Err(why) => {
                    return Err(JoinError::Refused {
                        id: event.id(),
                        why,
                    });
                }
            }
        }
        if !missing.is_empty() {
            return Err(JoinError::Incomplete(missing.into_iter().collect()));
        }
        ledger.keys.insert(args.epoch);
        ledger.learn();
        ledger.refold();
        Ok((ledger, events))
    }

    /// Stores what was gathered, the keys first, and shows it.
    pub(super) fn keep(&mut self, events: &[Event]) -> Result<(), StoreError> {
        let keys: Vec<EpochKey> = self.keys.iter().cloned().collect();
        self.store.add_epoch_keys(&keys)?;
        self.store.append(events)?;
        self.graph.stored();
        self.keep_proofs();
        Ok(())
    }
}
