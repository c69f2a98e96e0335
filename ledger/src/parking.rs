//! Events whose parents are not here yet, bounded per source: the oldest goes first. And the ids of events that were refused
//! for good, as many as are worth remembering: what follows one of them waits for nothing, and nobody is asked for it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::event::Event;
use crate::gate::Refusal;
use crate::ids::{DeviceId, EventId};

/// Where bytes came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// Sync with a member's device, which hands on events of anybody.
    Sync(DeviceId),
    /// A member's device pushes what it has just written.
    Push(DeviceId),
    /// A server's mirror, by its key.
    Mirror([u8; 32]),
    /// A file, or the answer to a redemption.
    File,
    /// The own store, which is not bounded.
    Store,
}

/// The parked events of one network.
#[derive(Debug, Default)]
pub struct Parking {
    events: BTreeMap<EventId, Parked>,
    /// Which parked events wait for an id.
    waiting: BTreeMap<EventId, BTreeSet<EventId>>,
    queues: BTreeMap<Source, Queue>,
    serial: u64,
    refused: BTreeMap<EventId, Refusal>,
    /// The ids of those, the oldest first.
    refusals: VecDeque<EventId>,
}

#[derive(Debug)]
struct Parked {
    event: Event,
    source: Source,
    serial: u64,
    missing: BTreeSet<EventId>,
}

#[derive(Debug, Default)]
struct Queue {
    order: BTreeMap<u64, EventId>,
    bytes: usize,
}

impl Parking {
    /// The most parked events of one source.
    pub const MAX_EVENTS: usize = 1024;
    /// The most bytes of parked events of one source.
    pub const MAX_BYTES: usize = 2 << 20;
    /// The most refused events that are remembered.
    pub const MAX_REFUSED: usize = 4096;

    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many events are parked.
    #[must_use]
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// How many parked events came from a source.
    #[must_use]
    pub fn from(&self, source: Source) -> usize {
        self.queues
            .get(&source)
            .map_or(0, |queue| queue.order.len())
    }

    /// Parks an event that lacks these parents. What is parked already stays as it is.
    pub fn park(&mut self, source: Source, event: Event, missing: &[EventId]) {
        let id = event.id();
        if self.events.contains_key(&id) {
            return;
        }
        self.serial += 1;
        for parent in missing {
            self.waiting.entry(*parent).or_default().insert(id);
        }
        let queue = self.queues.entry(source).or_default();
        queue.order.insert(self.serial, id);
        queue.bytes += event.bytes().len();
        self.events.insert(
            id,
            Parked {
                event,
                source,
                serial: self.serial,
                missing: missing.iter().copied().collect(),
            },
        );
        if source != Source::Store {
            self.shrink(source);
        }
    }

    /// The ids to fetch: parents that are neither here nor parked, ascending.
    #[must_use]
    pub fn missing(&self) -> Vec<EventId> {
        let absent = |id: &&EventId| !self.events.contains_key(id);
        self.waiting.keys().filter(absent).copied().collect()
    }

    /// An event has come: hands out those that waited for it alone.
    pub fn arrived(&mut self, id: &EventId) -> Vec<(Source, Event)> {
        let mut ready = Vec::new();
        for child in self.waiting.remove(id).unwrap_or_default() {
            let Some(parked) = self.events.get_mut(&child) else {
                continue;
            };
            parked.missing.remove(id);
            if parked.missing.is_empty()
                && let Some(parked) = self.take(&child)
            {
                ready.push((parked.source, parked.event));
            }
        }
        ready
    }

    /// An event was refused for good: forgets all that follow it, and says which. What is refused is remembered.
    pub fn refuse(&mut self, id: EventId, why: Refusal) -> Vec<(EventId, Refusal)> {
        self.remember(id, why);
        let mut dropped = Vec::new();
        let mut ids = vec![id];
        while let Some(id) = ids.pop() {
            for child in self.waiting.remove(&id).unwrap_or_default() {
                if self.take(&child).is_some() {
                    self.remember(child, Refusal::FollowsRefused(id));
                    dropped.push((child, Refusal::FollowsRefused(id)));
                    ids.push(child);
                }
            }
        }
        dropped
    }

    /// Why an event was refused, if that is remembered.
    #[must_use]
    pub fn refusal(&self, id: &EventId) -> Option<&Refusal> {
        self.refused.get(id)
    }

    fn remember(&mut self, id: EventId, why: Refusal) {
        if self.refused.insert(id, why).is_none() {
            self.refusals.push_back(id);
        }
        if self.refusals.len() > Self::MAX_REFUSED
            && let Some(oldest) = self.refusals.pop_front()
        {
            self.refused.remove(&oldest);
        }
    }

    /// A peer is gone: what it alone brought goes with it.
    pub fn forget(&mut self, source: Source) {
        let queue = self.queues.remove(&source).unwrap_or_default();
        for id in queue.order.into_values() {
            self.take(&id);
        }
    }

    fn shrink(&mut self, source: Source) {
        while let Some(queue) = self.queues.get(&source) {
            if queue.order.len() <= Self::MAX_EVENTS && queue.bytes <= Self::MAX_BYTES {
                return;
            }
            let Some(oldest) = queue.order.values().next().copied() else {
                return;
            };
            self.take(&oldest);
        }
    }

    fn take(&mut self, id: &EventId) -> Option<Parked> {
        let parked = self.events.remove(id)?;
        for parent in &parked.missing {
            if let Some(children) = self.waiting.get_mut(parent) {
                children.remove(id);
                if children.is_empty() {
                    self.waiting.remove(parent);
                }
            }
        }
        if let Some(queue) = self.queues.get_mut(&parked.source) {
            queue.order.remove(&parked.serial);
            queue.bytes -= parked.event.bytes().len();
            if queue.order.is_empty() {
                self.queues.remove(&parked.source);
            }
        }
        Some(parked)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::event::{Act, Header};
    use crate::ids::{EpochId, NetworkId};
    use crate::keys::DeviceSecret;

    const PEER: Source = Source::Sync(DeviceId([1; 32]));

    fn event(lamport: u32, parents: &[EventId]) -> Event {
        let device = DeviceSecret::from_seed(&[1; 32]);
        let mut parents = parents.to_vec();
        parents.sort();
        let header = Header {
            network: NetworkId([9; 32]),
            author: device.public(),
            seq: 2,
            lamport,
            time: 0,
            epoch: EpochId::NONE,
            parents,
        };
        Event::sign(&header, &Act::Merge, &[], &device).unwrap()
    }

    #[test]
    fn an_event_waits_for_all_its_parents_and_then_comes_out() {
        let (a, b) = (event(1, &[EventId([0; 32])]), event(2, &[EventId([0; 32])]));
        let child = event(3, &[a.id(), b.id()]);
        let mut parking = Parking::new();
        parking.park(PEER, child.clone(), &[a.id(), b.id()]);
        assert_eq!(parking.missing().len(), 2);
        assert!(parking.arrived(&a.id()).is_empty());
        assert_eq!(parking.arrived(&b.id()), [(PEER, child)]);
        assert!(parking.is_empty() && parking.missing().is_empty());
        assert!(parking.queues.is_empty());
    }

    #[test]
    fn only_what_is_nowhere_is_fetched() {
        let a = event(1, &[EventId([7; 32])]);
        let b = event(2, &[a.id()]);
        let mut parking = Parking::new();
        parking.park(PEER, b, &[a.id()]);
        parking.park(PEER, a, &[EventId([7; 32])]);
        assert_eq!(parking.missing(), [EventId([7; 32])]);
        let dropped = parking.refuse(EventId([7; 32]), Refusal::Foreign);
        assert_eq!(dropped.len(), 2);
        assert!(parking.is_empty() && parking.missing().is_empty());
    }

    #[test]
    fn as_many_refusals_are_remembered_as_are_worth_it() {
        let mut parking = Parking::new();
        let id = |n: usize| EventId(*blake3::hash(&n.to_be_bytes()).as_bytes());
        for n in 0..=Parking::MAX_REFUSED {
            assert!(parking.refuse(id(n), Refusal::Foreign).is_empty());
        }
        // Twice is once.
        parking.refuse(id(Parking::MAX_REFUSED), Refusal::Unproven);
        assert_eq!(parking.refused.len(), Parking::MAX_REFUSED);
        assert_eq!(parking.refusals.len(), Parking::MAX_REFUSED);
        assert_eq!(parking.refusal(&id(0)), None);
        assert_eq!(parking.refusal(&id(1)), Some(&Refusal::Foreign));
    }

    #[test]
    fn one_source_cannot_fill_the_memory_or_push_out_anothers() {
        let mut parking = Parking::new();
        let other = Source::Mirror([3; 32]);
        let kept = event(5000, &[EventId([8; 32])]);
        parking.park(other, kept.clone(), &[EventId([8; 32])]);
        for n in 1..2000 {
            parking.park(PEER, event(n, &[EventId([7; 32])]), &[EventId([7; 32])]);
        }
        assert_eq!(parking.len(), Parking::MAX_EVENTS + 1);
        assert_eq!(parking.arrived(&EventId([8; 32])), [(other, kept)]);
        parking.forget(PEER);
        assert!(parking.is_empty() && parking.missing().is_empty());
    }
}
