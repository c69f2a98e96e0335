//! `mesh log verify`: every stored event anew, as if it came from outside, and what all of them amount to.

use super::Ledger;
use crate::event::act::Kind;
use crate::event::{Act, BadEvent, Event};
use crate::fold::Fold;
use crate::gate::{Gate, Passage, Refusal};
use crate::graph::{Graph, Idx};
use crate::ids::{Digest, EventId, NetworkId};
use crate::keys::EpochKey;
use crate::past::{Book, Reading};
use crate::store::{Row, Store, StoreError};
use crate::verdict::Verdict;

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
    /// A checkpoint that counts, and states another hash than the events it covers amount to.
    #[error("it states another hash of the {0} than the events it covers amount to")]
    Misstated(&'static str),
}

/// The result of looking at every stored event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verification {
    /// How many events verify: hash, form, signature, place in the graph, authorship.
    pub good: usize,
    /// The others, in the order they are stored, then a checkpoint that misstates.
    pub faults: Vec<(EventId, Fault)>,
    /// The hash of what the good ones' clear acts amount to, every certificate and signature inside of them checked anew.
    pub authority: Digest,
    /// The hash of the state, unless something of it waits for a key.
    pub state: Option<Digest>,
    /// The newest checkpoint that counts, whose hashes were compared.
    pub checkpoint: Option<EventId>,
}

/// Reads every event of a store anew and puts it through the gate of an empty ledger of `network`, and folds what passed.
/// Writes nothing, so it works on a store that does not open as a [`Ledger`]. Events' sealed parts are opened with the keys
/// in the store, as far as they go.
///
/// # Errors
/// [`StoreError`] if the store cannot be read.
pub fn verify_store(store: &impl Store, network: &NetworkId) -> Result<Verification, StoreError> {
    let (epoch_keys, offer_keys) = (store.epoch_keys()?, store.offer_keys()?);
    Ok(verify_rows(store.rows()?, network, epoch_keys, offer_keys))
}

/// As [`verify_store`], of events from anywhere, each with the id it should have.
#[must_use]
pub fn verify_rows(
    rows: Vec<Row>,
    network: &NetworkId,
    epoch_keys: Vec<EpochKey>,
    offer_keys: Vec<EpochKey>,
) -> Verification {
    let mut faults = Vec::new();
    let mut events = Vec::new();
    for row in rows {
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
    let book = Book::open(graph, epoch_keys, offer_keys);
    let (checkpoint, fault) = checkpoint(book.reading());
    faults.extend(checkpoint.zip(fault));
    let Reading { graph, fold, .. } = book.reading();
    Verification {
        good: graph.len(),
        faults,
        authority: fold.authority.hash(),
        state: (fold.state.pending == 0).then(|| fold.state.hash()),
        checkpoint,
    }
}

/// The newest checkpoint that counts, and whether what it states is otherwise.
fn checkpoint(all: Reading<'_>) -> (Option<EventId>, Option<Fault>) {
    let counts = |idx: &Idx| {
        let verdict = all.fold.verdicts.get(idx.0 as usize);
        verdict.is_some_and(Verdict::counts)
    };
    let newest = all
        .graph
        .indices()
        .filter(counts)
        .filter(|idx| all.graph.kind(*idx) == Kind::Checkpoint)
        .max_by_key(|idx| all.graph.rank(*idx))
        .map(|idx| all.graph.event(idx));
    let Some(Act::Checkpoint(act)) = newest.as_ref().map(Event::act) else {
        return (None, None);
    };
    let heads: Vec<Idx> = act
        .heads
        .iter()
        .filter_map(|head| all.graph.find(head))
        .collect();
    let book = all.at_events(&heads);
    let Fold {
        authority, state, ..
    } = book.reading().fold;
    let misstated = if authority.hash() != act.authority {
        Some(Fault::Misstated("authority"))
    } else if state.pending == 0 && state.hash() != act.state {
        Some(Fault::Misstated("state"))
    } else {
        None
    };
    (newest.map(|event| event.id()), misstated)
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
            match self.index().held(id) {
                Some(event) => held.push(event),
                None => lost.push(*id),
            }
        }
        self.store.append(&held)?;
        self.damaged.extend(lost);
        Ok(held.iter().map(Event::id).collect())
    }
}
