//! The network as it was: a part of its events, closed under what they follow, and the fold of that part.
//!
//! *As of an event* is exact: the event and its past, which whoever has the event has too. *As of a time* is testimony:
//! the events whose own clock said so or earlier, and that follow no event whose clock said later.

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::epoch::KeyRing;
use crate::event::Event;
use crate::event::attributes::Opened;
use crate::fold::{Fold, fold};
use crate::gate::{Gate, Passage};
use crate::graph::{Graph, Idx};
use crate::ids::{EventId, NetworkId};
use crate::keys::EpochKey;
use crate::narrow;
use crate::seal::Openings;
use crate::store::{PAGE, Store, StoreError};

/// Events, what their sealed parts hold, and what they amount to: all that reading a network takes.
#[derive(Clone, Copy)]
pub struct Reading<'a> {
    /// The events.
    pub graph: &'a Graph,
    /// What each of them seals.
    pub opened: Openings<'a>,
    /// The fold of them.
    pub fold: &'a Fold,
    /// The keys of narrow offers that are here, which a fold does not know.
    pub offer_keys: &'a KeyRing,
}

impl<'a> Reading<'a> {
    /// What an event's sealed part holds.
    #[must_use]
    pub fn opened(&self, idx: Idx) -> Cow<'a, Opened> {
        self.opened.of(self.graph, idx)
    }

    /// The network as it was at an event: that event and its past.
    #[must_use]
    pub fn at_event(&self, event: Idx) -> Book {
        self.at_events(&[event])
    }

    /// The network as somebody saw it who had these events and their past.
    #[must_use]
    pub fn at_events(&self, heads: &[Idx]) -> Book {
        let past = self.graph.past_of(heads);
        self.part(|idx| self.graph.within(idx, &past))
    }

    /// The network as it was at a time, milliseconds since 1970, by what the authors' clocks said.
    #[must_use]
    pub fn at_time(&self, time: u64) -> Book {
        self.part(|idx| self.graph.time(idx) <= time)
    }

    /// The events for which `keep` holds and that follow none for which it does not.
    fn part(&self, keep: impl Fn(Idx) -> bool) -> Book {
        let (mut graph, mut given) = (self.graph.part(), Vec::new());
        for idx in self.graph.indices().filter(|idx| keep(*idx)) {
            // Parents have smaller places; one that was left out leaves this out too.
            if graph.insert(self.graph.event(idx)).is_ok()
                && let Openings::Given(_) = self.opened
            {
                given.push(self.opened(idx).into_owned());
            }
            if graph.len().is_multiple_of(PAGE) {
                graph.stored();
            }
        }
        graph.stored();
        let opened = match self.opened {
            Openings::Given(_) => Kept::Given(given),
            Openings::Sealed(keys) => Kept::Sealed(keys.clone()),
        };
        Book::folded(graph, opened, self.offer_keys.clone())
    }
}

/// A network apart from any store: its events, opened as far as can be, and folded.
pub struct Book {
    graph: Graph,
    opened: Kept,
    fold: Fold,
    offer_keys: KeyRing,
}

/// See [`Openings`].
enum Kept {
    Given(Vec<Opened>),
    Sealed(KeyRing),
}

impl Kept {
    fn openings(&self) -> Openings<'_> {
        match self {
            Self::Given(opened) => Openings::Given(opened),
            Self::Sealed(keys) => Openings::Sealed(keys),
        }
    }
}

impl Book {
    /// Reads a store and writes nothing. Events that do not pass the gate, and what follows them, are left out; they are
    /// named beside the book.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub fn read(
        store: &impl Store,
        network: &NetworkId,
    ) -> Result<(Self, BTreeSet<EventId>), StoreError> {
        let (mut events, mut left_out) = (Vec::new(), BTreeSet::new());
        for row in store.rows()? {
            // What the store holds has passed the gate with its signature; `verify_store` looks at that again.
            match Event::decode_unverified(&row.bytes) {
                Ok(event) if row.intact() => events.push(event),
                _ => {
                    left_out.insert(row.id);
                }
            }
        }
        events.sort_by_key(|event| (event.header().lamport, event.id()));
        let (mut graph, mut gate) = (Graph::new(), Gate::new());
        for event in events {
            if !matches!(
                gate.pass(&mut graph, network, &event),
                Ok(Passage::Added(_) | Passage::Known(_))
            ) {
                left_out.insert(event.id());
            }
        }
        let keys = (store.epoch_keys()?, store.offer_keys()?);
        Ok((Self::open(graph, keys.0, keys.1), left_out))
    }

    /// Opens what these keys, and those that they give away, open, and folds.
    pub(crate) fn open(graph: Graph, epochs: Vec<EpochKey>, offers: Vec<EpochKey>) -> Self {
        let ring_of = |keys: Vec<EpochKey>| {
            let mut ring = KeyRing::new();
            for key in keys {
                ring.insert(key);
            }
            ring
        };
        let mut ring = ring_of(epochs);
        let carriers = graph
            .indices()
            .filter(|idx| graph.kind(*idx).carries_keys());
        ring.learn(carriers.map(|idx| graph.event(idx)), None);
        Self::folded(graph, Kept::Sealed(ring), ring_of(offers))
    }

    fn folded(graph: Graph, opened: Kept, offer_keys: KeyRing) -> Self {
        let mut fold = fold(&graph, opened.openings());
        narrow::open_standing(&mut fold.state, &offer_keys);
        Self {
            graph,
            opened,
            fold,
            offer_keys,
        }
    }

    /// For reading.
    #[must_use]
    pub fn reading(&self) -> Reading<'_> {
        Reading {
            graph: &self.graph,
            opened: self.opened.openings(),
            fold: &self.fold,
            offer_keys: &self.offer_keys,
        }
    }
}

impl std::fmt::Debug for Book {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Book")
            .field("events", &self.graph.len())
            .finish_non_exhaustive()
    }
}
