//! `mesh log verify`: every stored event anew, as if it came from outside.

use super::Ledger;
use crate::event::{BadEvent, Event};
use crate::gate::{Gate, Passage, Refusal};
use crate::graph::Graph;
use crate::ids::{EventId, NetworkId};
use crate::store::{Row, Store, StoreError};

/// What is wrong with a stored event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The bytes are not those that were stored.
    #[error("its bytes were changed: their hash is another")]
    Damaged,
    /// The bytes are no event, or its signature does not verify.
    #[error(transparent)]
    Bad(BadEvent),
    /// The gate would not let it pass.
    #[error(transparent)]
    Refused(Refusal),
    /// It follows events that are damaged or not here.
    #[error("it follows {} events that are damaged or not here", .0.len())]
    Orphan(Vec<EventId>),
}

/// The result of looking at every stored event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verification {
    /// How many events verify: hash, form, signature, place in the graph, authorship.
    pub good: usize,
    /// The others, in the order they are stored.
    pub faults: Vec<(EventId, Fault)>,
}

/// Reads every event of a store anew and puts it through the gate of an empty ledger of `network`. Takes no key and writes
/// nothing, so it works on a store that does not open as a [`Ledger`].
///
/// # Errors
/// [`StoreError`] if the store cannot be read.
pub fn verify_store(store: &impl Store, network: &NetworkId) -> Result<Verification, StoreError> {
    let mut faults = Vec::new();
    let mut events = Vec::new();
    for row in store.rows()? {
        if !row.intact() {
            faults.push((row.id, Fault::Damaged));
            continue;
        }
        let Row { id, bytes } = row;
        match Event::decode(&bytes) {
            Ok(event) => events.push(event),
            Err(bad) => faults.push((id, Fault::Bad(bad))),
        }
    }
    events.sort_by_key(|event| (event.header().lamport, event.id()));
    let (mut graph, mut gate) = (Graph::new(), Gate::new());
    for event in events {
        match gate.pass(&mut graph, network, &event) {
            Ok(Passage::Added(_) | Passage::Known(_)) => {}
            Ok(Passage::Missing(missing)) => {
                faults.push((event.id(), Fault::Orphan(missing)));
            }
            Err(why) => faults.push((event.id(), Fault::Refused(why))),
        }
    }
    Ok(Verification {
        good: graph.len(),
        faults,
    })
}

impl<S: Store> Ledger<S> {
    /// [`verify_store`] of its own store.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub fn verify(&self) -> Result<Verification, StoreError> {
        verify_store(&self.store, &self.network)
    }

    /// Writes damaged rows anew from what this process still holds in memory. Returns the mended ids; the others are from
    /// now on among [`Self::missing`], to be fetched from members.
    ///
    /// # Errors
    /// [`StoreError`] if they could not be stored.
    pub fn mend(&mut self, verification: &Verification) -> Result<Vec<EventId>, StoreError> {
        let damaged = verification
            .faults
            .iter()
            .filter(|(_, fault)| matches!(fault, Fault::Damaged | Fault::Bad(_)));
        let (mut held, mut lost) = (Vec::new(), Vec::new());
        for (id, _) in damaged {
            match self.event(id) {
                Some(event) => held.push(event.clone()),
                None => lost.push(*id),
            }
        }
        self.store.append(&held)?;
        self.damaged.extend(lost);
        Ok(held.iter().map(Event::id).collect())
    }
}
