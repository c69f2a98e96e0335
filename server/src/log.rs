//! One network's log: events by position, in the order in which this server took them, behind the gate.
//!
//! A position is the event's place in the graph, so parents always stand before their children. What a push changes is
//! tried first and can be taken back until the disk has it. Then the bodies go: what the fold asks for is read back.
//!
//! What a stranger brings is on trial. An event of it stays if its author is a live device once it is there, or if it lies in the
//! past of the removal of its author. So a kicked key, and a key that was never let in, write nothing here by themselves.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use mesh_ledger::authority::Authority;
use mesh_ledger::event::{Act, Event};
use mesh_ledger::gate::{Gate, Passage};
use mesh_ledger::graph::{Graph, Idx};
use mesh_ledger::ids::{DeviceId, EventId, NetworkId};
use mesh_ledger::increment::Increment;
use mesh_ledger::mirror::Chain;
use mesh_ledger::mirror::message::MAX_IDS;
use mesh_ledger::store::ReadBack;

use crate::quota::Limits;

/// The most events with which a removal is proven.
pub const MAX_PROOF: usize = 8192;
/// The most bytes of events in one message: the ids and the tip have room beside them.
pub const MAX_BODIES: usize = 1_000_000;
/// What an event costs beside its bytes: its row, its two places in the database's indices, and what memory keeps of it.
pub const EVENT_COST: u64 = 384;
/// How often a stranger's push is tried without what does not belong there, before nothing of it is taken.
const TRIALS: usize = 4;

/// A row of the store that is not the event it should be.
#[derive(Debug, thiserror::Error)]
#[error("the event at position {0} is damaged")]
pub struct Damaged(pub u64);

/// See the module.
pub struct Log {
    network: NetworkId,
    graph: Graph,
    gate: Gate,
    increment: Increment,
    authority: Option<Authority>,
    chain: Chain,
    /// What the events cost.
    cost: u64,
}

/// What became of pushed events, not yet stored.
pub struct Taken {
    /// Those that are here now, or were.
    pub stored: Vec<EventId>,
    /// Parents that are not.
    pub missing: Vec<EventId>,
    /// Those the gate refused, and those that a stranger may not bring.
    pub refused: Vec<EventId>,
    /// How many wait for a parent. Their signatures were not looked at.
    pub waiting: usize,
    /// The positions that are new.
    pub added: Range<usize>,
    /// Whether some were left out because the network's quota is used up.
    pub full: bool,
    authority: Option<Authority>,
    chain: Chain,
    cost: u64,
}

/// What a push changed among live devices.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Turnover {
    /// Devices that are live now.
    pub came: Vec<DeviceId>,
    /// Devices that are no longer.
    pub went: Vec<DeviceId>,
}

impl Log {
    /// An empty log, which keeps the bodies of its events unless they can be read back.
    #[must_use]
    pub fn new(network: NetworkId, bodies: Option<Arc<dyn ReadBack>>) -> Self {
        Self {
            network,
            graph: Graph::stored_in(bodies),
            gate: Gate::new(),
            increment: Increment::of_acts(),
            authority: None,
            chain: Chain::empty(&network),
            cost: 0,
        }
    }

    /// Takes the next rows that were stored, by position. [`Self::settle`] comes after the last.
    ///
    /// # Errors
    /// [`Damaged`] if something else stands there than what was stored.
    pub fn restore(
        &mut self,
        rows: impl IntoIterator<Item = (EventId, Vec<u8>)>,
    ) -> Result<(), Damaged> {
        for (id, bytes) in rows {
            let position = self.count();
            // The signature was checked before it was stored, and the id covers all bytes.
            let event = Event::decode_unverified(&bytes)
                .ok()
                .filter(|event| event.id() == id)
                .ok_or(Damaged(position))?;
            match self.gate.pass(&mut self.graph, &self.network, &event) {
                Ok(Passage::Added(_)) => {}
                _ => return Err(Damaged(position)),
            }
            self.chain = self.chain.then(&id);
            self.cost += cost(&bytes);
        }
        self.graph.stored();
        Ok(())
    }

    /// All that was stored is here: finds who may do what.
    pub fn settle(&mut self) {
        if !self.graph.is_empty() {
            self.authority = Some(self.folded());
        }
    }

    /// Whether an event could not be read back. What was found out since may be wrong.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.graph.failure().is_some()
    }

    /// The network.
    #[must_use]
    pub fn network(&self) -> NetworkId {
        self.network
    }

    /// How many events there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.graph.len() as u64
    }

    /// What they cost: their bytes and [`EVENT_COST`] each.
    #[must_use]
    pub fn cost(&self) -> u64 {
        self.cost
    }

    /// The chain over all ids.
    #[must_use]
    pub fn chain(&self) -> Chain {
        self.chain
    }

    /// Who may do what; none while the log is empty.
    #[must_use]
    pub fn authority(&self) -> Option<&Authority> {
        self.authority.as_ref()
    }

    /// Tries a member's events, parents first. They stand in the log until [`Self::undo`], or for good with [`Self::keep`].
    pub fn take(&mut self, events: &[Vec<u8>], limits: &Limits) -> Taken {
        self.attempt(events, &BTreeSet::new(), limits)
    }

    /// Tries events that a stranger brings: see the module.
    pub fn take_from_stranger(&mut self, events: &[Vec<u8>], limits: &Limits) -> Taken {
        let mut unwelcome = BTreeSet::new();
        for _ in 0..TRIALS {
            let taken = self.attempt(events, &unwelcome, limits);
            let before = unwelcome.len();
            let after = taken.authority.as_ref().or(self.authority.as_ref());
            let places = self.graph.indices().skip(taken.added.start);
            let bad = places.filter(|idx| !self.is_welcome(*idx, after));
            unwelcome.extend(bad.map(|idx| self.graph.id(idx)));
            if unwelcome.len() == before {
                return taken;
            }
            self.undo(&taken);
        }
        // Each time another author turned out to be none.
        let unknown = |id: &EventId| self.graph.find(id).is_none();
        let ids = events.iter().map(|event| mesh_ledger::event::id_of(event));
        let all = ids.filter(unknown).collect();
        self.attempt(events, &all, limits)
    }

    /// Whether an event's author is a live device, or was removed by somebody who knew the event.
    fn is_welcome(&self, idx: Idx, authority: Option<&Authority>) -> bool {
        let author = self.graph.author(idx);
        authority.is_some_and(|authority| {
            let removal = || {
                let by = authority.removed_devices.get(&author)?;
                self.graph.find(by)
            };
            authority.devices.contains_key(&author)
                || removal().is_some_and(|by| self.graph.precedes_any(idx, &[by]))
        })
    }

    /// Tries events without the unwelcome ones and those that follow them.
    fn attempt(
        &mut self,
        events: &[Vec<u8>],
        unwelcome: &BTreeSet<EventId>,
        limits: &Limits,
    ) -> Taken {
        let before = self.graph.len();
        let (mut stored, mut refused) = (Vec::new(), BTreeSet::new());
        let (mut waiting, mut missing) = (BTreeSet::new(), BTreeSet::new());
        let (mut chain, mut total) = (self.chain, self.cost);
        let (mut full, mut decides) = (false, false);
        for bytes in events {
            let id = mesh_ledger::event::id_of(bytes);
            if self.graph.find(&id).is_some() {
                stored.push(id);
                continue;
            }
            let due = cost(bytes);
            if self.count() >= limits.network_events || total + due > limits.network_bytes {
                full = true;
                continue;
            }
            // What cannot be taken costs no check of a signature.
            let absent = match Event::decode_unverified(bytes) {
                Ok(event) if event.network() == self.network && !unwelcome.contains(&id) => {
                    self.absent(&event)
                }
                _ => {
                    refused.insert(id);
                    continue;
                }
            };
            if absent.iter().any(|parent| refused.contains(parent)) {
                refused.insert(id);
                continue;
            }
            if !absent.is_empty() {
                waiting.insert(id);
                missing.extend(absent);
                continue;
            }
            match self.gate.pass_bytes(&mut self.graph, &self.network, bytes) {
                Ok((event, Passage::Added(_))) => {
                    chain = chain.then(&id);
                    total += due;
                    decides |=
                        !matches!(event.act(), Act::Private | Act::EpochKeys(_) | Act::Merge);
                    stored.push(id);
                }
                Ok((_, Passage::Known(_))) => stored.push(id),
                Ok((_, Passage::Missing(parents))) => {
                    waiting.insert(id);
                    missing.extend(parents);
                }
                Err(_) => drop(refused.insert(id)),
            }
        }
        // What came with the push but waits itself is not asked for: its own parents are.
        missing.retain(|id| self.graph.find(id).is_none() && !waiting.contains(id));
        Taken {
            stored,
            missing: missing.into_iter().take(MAX_IDS).collect(),
            refused: refused.into_iter().collect(),
            waiting: waiting.len(),
            added: before..self.graph.len(),
            full,
            // Attributes, keys and merges change nobody's rights.
            authority: decides.then(|| self.folded()),
            chain,
            cost: total,
        }
    }

    /// The parents of an event that are not here.
    fn absent(&self, event: &Event) -> Vec<EventId> {
        let parents = event.header().parents.iter();
        let absent = parents.filter(|id| self.graph.find(id).is_none());
        absent.copied().collect()
    }

    fn folded(&mut self) -> Authority {
        self.increment.update(&self.graph, &[], &[]);
        self.increment.authority().clone()
    }

    /// Who would come and go with what was taken.
    #[must_use]
    pub fn turnover(&self, taken: &Taken) -> Turnover {
        let Some(after) = &taken.authority else {
            return Turnover::default();
        };
        let was = |device: &DeviceId| {
            self.authority
                .as_ref()
                .is_some_and(|before| before.devices.contains_key(device))
        };
        let before = self.authority.iter().flat_map(|a| a.devices.keys());
        Turnover {
            came: after.devices.keys().filter(|d| !was(d)).copied().collect(),
            went: before
                .filter(|device| !after.devices.contains_key(device))
                .copied()
                .collect(),
        }
    }

    /// The disk has what was taken.
    pub fn keep(&mut self, taken: &mut Taken) {
        self.chain = taken.chain;
        self.cost = taken.cost;
        self.graph.stored();
        if let Some(authority) = taken.authority.take() {
            self.authority = Some(authority);
        }
    }

    /// The disk has not what was taken: the log is as it was.
    pub fn undo(&mut self, taken: &Taken) {
        let before = taken.added.start;
        self.increment.retract(&self.graph, &[], before);
        self.graph.truncate(before);
        self.gate.truncate(before);
    }

    /// The events at these positions.
    pub fn events(&self, positions: Range<usize>) -> impl Iterator<Item = Event> {
        let end = positions.end.min(self.graph.len());
        self.graph
            .indices()
            .take(end)
            .skip(positions.start)
            .map(|idx| self.graph.event(idx))
    }

    /// The ids from a position on, as many as go into a message; `None` behind the log's end.
    #[must_use]
    pub fn ids(&self, from: u64) -> Option<Vec<EventId>> {
        let from = usize::try_from(from)
            .ok()
            .filter(|from| *from <= self.graph.len())?;
        let places = self.graph.indices().skip(from).take(MAX_IDS);
        Some(places.map(|idx| self.graph.id(idx)).collect())
    }

    /// Whether an event is here.
    #[must_use]
    pub fn has(&self, id: &EventId) -> bool {
        self.graph.find(id).is_some()
    }

    /// The events that prove a removal: itself and its past. Of a longer past the newest, for who was a member until then
    /// has the rest.
    #[must_use]
    pub fn proof(&self, removal: &EventId) -> Vec<EventId> {
        let Some(by) = self.graph.find(removal) else {
            return Vec::new();
        };
        let past = self.graph.past_of(&[by]);
        let places = (0..=by.0).rev().map(Idx);
        let within = places.filter(|idx| self.graph.within(*idx, &past));
        let mut newest: Vec<EventId> = within
            .take(MAX_PROOF)
            .map(|idx| self.graph.id(idx))
            .collect();
        newest.reverse();
        newest
    }
}

/// What an event costs: its bytes, and what is kept beside them.
fn cost(bytes: &[u8]) -> u64 {
    bytes.len() as u64 + EVENT_COST
}
