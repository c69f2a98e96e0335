//! The gate: what an event from outside must pass before it is stored.
//!
//! 1. Size, form and signature ([`Event::decode`]), and the network.
//! 2. Parents known, else the event is parked (`parking.rs`); lamport and seq follow from them ([`Graph::insert`]).
//! 3. Authorship, judged on acts in the event's past: an admission, a device.add, a succession or the genesis names the
//!    author; or the event is a device.add certified by a user admitted there; or it is an owner.set, which carries its
//!    own proof.
//!
//! Whether what passes *counts* is for the folds. A device whose rate is exceeded is slowed, never refused, and only for
//! what it pushes as its own ([`Rate`]); what comes by sync is never held up, so replicas converge.

use std::collections::BTreeMap;

use crate::event::act::{OwnerSet, succession_message};
use crate::event::{Act, BadEvent, Event};
use crate::graph::{Graph, Idx, Misfit, Past};
use crate::ids::{DeviceId, EventId, NetworkId, RecoveryKey, UserId};
use crate::keys::{Domain, certified};

/// Why an event from outside is refused for good.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Its bytes are no event.
    #[error(transparent)]
    Bad(#[from] BadEvent),
    /// It belongs to another network, or is a second genesis.
    #[error("the event belongs to another network")]
    Foreign,
    /// Its lamport or seq does not follow from its parents.
    #[error("the event does not fit: {0}")]
    Misfit(Misfit),
    /// Nothing in its past made its author a device of this network.
    #[error("nothing in the event's past admits its author, device {}", .0.short())]
    Stranger(DeviceId),
    /// A device.add whose certificate is not by a user admitted in its past.
    #[error("the device.add is not certified by a user admitted in its past")]
    Uncertified,
    /// An owner.set whose signatures do not prove it.
    #[error("the owner.set does not carry the signatures it needs")]
    Unproven,
    /// It follows an event that was refused.
    #[error("the event follows {}, which was refused", .0.short())]
    FollowsRefused(EventId),
}

/// Where an event that is not refused goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Passage {
    /// It is in the graph now, at this place.
    Added(Idx),
    /// It was there before.
    Known(Idx),
    /// It waits for these parents.
    Missing(Vec<EventId>),
}

/// The gate's memory: which acts named whom, and where.
#[derive(Debug, Default)]
pub struct Gate {
    devices: BTreeMap<DeviceId, Vec<Idx>>,
    users: BTreeMap<UserId, Vec<Idx>>,
    recovery: Vec<(Idx, RecoveryKey)>,
    /// In the order of places.
    noted: Vec<(Idx, DeviceId, Option<UserId>)>,
}

impl Gate {
    /// The gate of an empty graph.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Judges bytes from anywhere, and inserts the event if it passes.
    ///
    /// # Errors
    /// [`Refusal`] if it never will.
    pub fn pass_bytes(
        &mut self,
        graph: &mut Graph,
        network: &NetworkId,
        bytes: &[u8],
    ) -> Result<(Event, Passage), Refusal> {
        // The hash is cheaper than the signature, and most of what comes twice is the same.
        if let Some(idx) = graph.find(&crate::event::id_of(bytes)) {
            return Ok((graph.event(idx), Passage::Known(idx)));
        }
        let event = Event::decode(bytes)?;
        let passage = self.pass(graph, network, &event)?;
        Ok((event, passage))
    }

    /// Judges an event whose form and signature hold, and inserts it if it passes.
    ///
    /// # Errors
    /// [`Refusal`] if it never will.
    pub fn pass(
        &mut self,
        graph: &mut Graph,
        network: &NetworkId,
        event: &Event,
    ) -> Result<Passage, Refusal> {
        if event.network() != *network {
            return Err(Refusal::Foreign);
        }
        if let Some(idx) = graph.find(&event.id()) {
            return Ok(Passage::Known(idx));
        }
        let parents = match graph.parents(event) {
            Ok(parents) => parents,
            Err(missing) => return Ok(Passage::Missing(missing)),
        };
        self.authorship(graph, event, &parents)?;
        match graph.insert_behind(event.clone(), parents) {
            Ok(idx) => {
                self.note(idx, event);
                Ok(Passage::Added(idx))
            }
            Err(Misfit::MissingParents(missing)) => Ok(Passage::Missing(missing)),
            Err(Misfit::Foreign) => Err(Refusal::Foreign),
            Err(misfit) => Err(Refusal::Misfit(misfit)),
        }
    }

    /// Whether an act within `past` names the device.
    #[must_use]
    pub fn names_device(&self, graph: &Graph, device: &DeviceId, past: &Past) -> bool {
        self.devices
            .get(device)
            .is_some_and(|places| places.iter().any(|idx| graph.within(*idx, past)))
    }

    /// Forgets what stands at `len` and behind, as [`Graph::truncate`] does.
    pub fn truncate(&mut self, len: usize) {
        let goes = |idx: &Idx| idx.0 as usize >= len;
        while let Some((_, device, user)) = self.noted.pop_if(|(idx, ..)| goes(idx)) {
            forget(&mut self.devices, &device);
            if let Some(user) = user {
                forget(&mut self.users, &user);
            }
        }
        while self.recovery.pop_if(|(idx, _)| goes(idx)).is_some() {}
    }

    /// Whether an act among these or in their past names the device. The last is the likeliest.
    fn named(&self, graph: &Graph, device: &DeviceId, parents: &[Idx]) -> bool {
        self.devices.get(device).is_some_and(|places| {
            let mut places = places.iter().rev();
            places.any(|idx| graph.precedes_any(*idx, parents))
        })
    }

    fn authorship(&self, graph: &Graph, event: &Event, parents: &[Idx]) -> Result<(), Refusal> {
        let author = event.author();
        match event.act() {
            Act::Genesis(act) => {
                let own = act.device == author && certified(&act.owner, &author, &act.certificate);
                if own {
                    Ok(())
                } else {
                    Err(Refusal::Uncertified)
                }
            }
            Act::DeviceAdd(act) => {
                let admitted = self.users.get(&act.user).is_some_and(|places| {
                    places.iter().any(|idx| graph.precedes_any(*idx, parents))
                });
                if admitted
                    && act.device == author
                    && certified(&act.user, &act.device, &act.certificate)
                {
                    Ok(())
                } else {
                    Err(Refusal::Uncertified)
                }
            }
            Act::OwnerSet(act) => {
                if self.proven(graph, &event.network(), act, parents) {
                    Ok(())
                } else {
                    Err(Refusal::Unproven)
                }
            }
            _ if self.named(graph, &author, parents) => Ok(()),
            _ => Err(Refusal::Stranger(author)),
        }
    }

    /// Whether an owner.set is signed by some term's recovery key known in its past, and by the successor. Whether that
    /// term is the present one, the fold says.
    fn proven(&self, graph: &Graph, network: &NetworkId, act: &OwnerSet, parents: &[Idx]) -> bool {
        let message = succession_message(network, act);
        certified(&act.successor, &act.device, &act.certificate)
            && act
                .successor
                .verifies(Domain::Succession, &message, &act.by_successor)
            && self.recovery.iter().any(|(idx, key)| {
                graph.precedes_any(*idx, parents)
                    && key.verifies(Domain::Succession, &message, &act.by_recovery)
            })
    }

    fn note(&mut self, idx: Idx, event: &Event) {
        let (user, device) = match event.act() {
            Act::Genesis(act) => {
                self.recovery.push((idx, act.recovery));
                (Some(act.owner), act.device)
            }
            Act::Admit(act) => (Some(act.user), act.device),
            Act::DeviceAdd(act) => (None, act.device),
            Act::OwnerSet(act) => {
                self.recovery.push((idx, act.recovery));
                (Some(act.successor), act.device)
            }
            _ => return,
        };
        self.noted.push((idx, device, user));
        self.devices.entry(device).or_default().push(idx);
        if let Some(user) = user {
            self.users.entry(user).or_default().push(idx);
        }
    }
}

/// Takes away the last place.
fn forget<K: Ord>(places: &mut BTreeMap<K, Vec<Idx>>, key: &K) {
    if let Some(of) = places.get_mut(key) {
        of.pop();
        if of.is_empty() {
            places.remove(key);
        }
    }
}

/// Back-pressure on what one device pushes as its own: 256 at once, then 60 an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// When the allowance will be full again, milliseconds since 1970.
    full_at: u64,
}

impl Rate {
    /// How many events may come at once.
    pub const BURST: u64 = 256;
    /// Milliseconds that one further event costs.
    pub const PERIOD: u64 = 60_000;

    /// A full allowance.
    #[must_use]
    pub fn full() -> Self {
        Self { full_at: 0 }
    }

    /// Counts `events` that came now. Returns for how many milliseconds to read nothing more from that device.
    pub fn take(&mut self, events: u64, now: u64) -> u64 {
        let most = Self::BURST * Self::PERIOD;
        // A clock that jumped back must not lock a device out for longer than one allowance lasts.
        let from = self.full_at.clamp(now, now.saturating_add(2 * most));
        self.full_at = from.saturating_add(events.saturating_mul(Self::PERIOD));
        self.full_at.saturating_sub(now).saturating_sub(most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_one_a_minute() {
        let mut rate = Rate::full();
        let now = 1_000_000_000;
        assert_eq!(rate.take(256, now), 0);
        assert_eq!(rate.take(1, now), 60_000);
        assert_eq!(rate.take(0, now + 60_000), 0);
        assert_eq!(rate.take(1, now + 120_000), 0);
        assert_eq!(rate.take(1, now + 120_000), 60_000);
        assert_eq!(rate.take(256, now + 100 * 3_600_000), 0);
    }

    #[test]
    fn a_clock_that_jumps_back_locks_nobody_out() {
        let mut rate = Rate::full();
        rate.take(256, 1_000_000_000_000);
        assert!(rate.take(1, 1_000) <= 2 * Rate::BURST * Rate::PERIOD);
    }
}
