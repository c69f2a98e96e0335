//! One network's log: events by position, in the order in which this server took them, behind the gate.
//!
//! A position is the event's place in the graph, so parents always stand before their children. What a push changes is
//! tried first and can be taken back until the disk has it.

use std::collections::BTreeSet;
use std::ops::Range;

use mesh_ledger::authority::Authority;
use mesh_ledger::event::{Act, Event};
use mesh_ledger::gate::{Gate, Passage};
use mesh_ledger::graph::{Graph, Idx};
use mesh_ledger::ids::{DeviceId, EventId, NetworkId};
use mesh_ledger::increment::Increment;
use mesh_ledger::mirror::Chain;
use mesh_ledger::mirror::message::MAX_IDS;

use crate::quota::Limits;

/// The most events with which a removal is proven.
pub const MAX_PROOF: usize = 8192;
/// The most bytes of events in one message: the ids and the tip have room beside them.
const MAX_BODIES: usize = 1_000_000;

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
    bytes: u64,
}

/// What became of pushed events, not yet stored.
pub struct Taken {
    /// Those that are here now, or were.
    pub stored: Vec<EventId>,
    /// Parents that are not.
    pub missing: Vec<EventId>,
    /// Those the gate refused.
    pub refused: Vec<EventId>,
    /// The positions that are new.
    pub added: Range<usize>,
    /// Whether some were left out because the network's quota is used up.
    pub full: bool,
    authority: Option<Authority>,
    chain: Chain,
    bytes: u64,
}

/// What a push changed among live devices.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Turnover {
    /// Devices that are live now.
    pub came: Vec<DeviceId>,
    /// Devices that are no longer.
    pub went: Vec<DeviceId>,
}

/// A part of the log.
pub struct Part {
    /// The ids.
    pub ids: Vec<EventId>,
    /// The events of the first so many.
    pub events: Vec<Vec<u8>>,
}

impl Log {
    /// An empty log.
    #[must_use]
    pub fn new(network: NetworkId) -> Self {
        Self {
            network,
            graph: Graph::new(),
            gate: Gate::new(),
            increment: Increment::of_acts(),
            authority: None,
            chain: Chain::empty(&network),
            bytes: 0,
        }
    }

    /// The log with what was stored, by position.
    ///
    /// # Errors
    /// [`Damaged`] if something else stands there than what was stored.
    pub fn restore(
        network: NetworkId,
        rows: impl IntoIterator<Item = (EventId, Vec<u8>)>,
    ) -> Result<Self, Damaged> {
        let mut log = Self::new(network);
        for (id, bytes) in rows {
            let position = log.count();
            // The signature was checked before it was stored, and the id covers all bytes.
            let event = Event::decode_unverified(&bytes)
                .ok()
                .filter(|event| event.id() == id)
                .ok_or(Damaged(position))?;
            match log.gate.pass(&mut log.graph, &network, &event) {
                Ok(Passage::Added(_)) => {}
                _ => return Err(Damaged(position)),
            }
            log.chain = log.chain.then(&id);
            log.bytes += bytes.len() as u64;
        }
        if !log.graph.is_empty() {
            log.authority = Some(log.folded());
        }
        Ok(log)
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

    /// How many bytes they have.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
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

    /// Tries events, parents first. They stand in the log until [`Self::undo`], or for good with [`Self::keep`].
    pub fn take(&mut self, events: &[Vec<u8>], limits: &Limits) -> Taken {
        let before = self.graph.len();
        let (mut stored, mut refused, mut missing) = (Vec::new(), Vec::new(), BTreeSet::new());
        let mut waiting = BTreeSet::new();
        let (mut chain, mut bytes) = (self.chain, self.bytes);
        let (mut full, mut decides) = (false, false);
        for event in events {
            let id = mesh_ledger::event::id_of(event);
            let length = event.len() as u64;
            let known = self.graph.find(&id).is_some();
            let room =
                self.count() < limits.network_events && bytes + length <= limits.network_bytes;
            if !known && !room {
                full = true;
                continue;
            }
            match self.gate.pass_bytes(&mut self.graph, &self.network, event) {
                Ok((event, Passage::Added(_))) => {
                    chain = chain.then(&id);
                    bytes += length;
                    decides |=
                        !matches!(event.act(), Act::Private | Act::EpochKeys(_) | Act::Merge);
                    stored.push(id);
                }
                Ok((_, Passage::Known(_))) => stored.push(id),
                Ok((_, Passage::Missing(parents))) => {
                    waiting.insert(id);
                    missing.extend(parents);
                }
                Err(_) => refused.push(id),
            }
        }
        // What came with the push but waits itself is not asked for: its own parents are.
        missing.retain(|id| self.graph.find(id).is_none() && !waiting.contains(id));
        Taken {
            stored,
            missing: missing.into_iter().take(MAX_IDS).collect(),
            refused,
            added: before..self.graph.len(),
            full,
            // Attributes, keys and merges change nobody's rights.
            authority: decides.then(|| self.folded()),
            chain,
            bytes,
        }
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
        self.bytes = taken.bytes;
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

    /// The log from a position on, as much as goes into a message; `None` behind its end.
    #[must_use]
    pub fn part(&self, from: u64, bodies: bool) -> Option<Part> {
        let from = usize::try_from(from)
            .ok()
            .filter(|from| *from <= self.graph.len())?;
        let mut part = Part {
            ids: Vec::new(),
            events: Vec::new(),
        };
        let mut size = 0;
        for event in self.events(from..self.graph.len()).take(MAX_IDS) {
            if bodies {
                size += event.bytes().len();
                if size > MAX_BODIES
                    || part.events.len() == mesh_ledger::mirror::message::MAX_EVENTS
                {
                    break;
                }
                part.events.push(event.bytes().to_vec());
            }
            part.ids.push(event.id());
        }
        Some(part)
    }

    /// Those of these events that are here.
    #[must_use]
    pub fn fetch(&self, ids: &[EventId]) -> Vec<Vec<u8>> {
        ids.iter()
            .filter_map(|id| self.graph.find(id))
            .map(|idx| self.graph.event(idx).bytes().to_vec())
            .collect()
    }

    /// The events that prove a removal: itself and its past. Of a longer past the newest, for who was a member until then
    /// has the rest.
    #[must_use]
    pub fn proof(&self, removal: &EventId) -> Vec<Vec<u8>> {
        let Some(by) = self.graph.find(removal) else {
            return Vec::new();
        };
        let past = self.graph.past_of(&[by]);
        let within: Vec<Idx> = self
            .graph
            .indices()
            .filter(|idx| self.graph.within(*idx, &past))
            .collect();
        within[within.len().saturating_sub(MAX_PROOF)..]
            .iter()
            .map(|idx| self.graph.event(*idx).bytes().to_vec())
            .collect()
    }
}
