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
/// in the store, as far as they go. Not all of the store is in memory at a time.
///
/// # Errors
/// [`StoreError`] if the store cannot be read.
pub fn verify_store(store: &impl Store, network: &NetworkId) -> Result<Verification, StoreError> {
    let (epoch_keys, offer_keys) = (store.epoch_keys()?, store.offer_keys()?);
    let mut verifier = Verifier::new(*network, Graph::stored_in(Some(store.reader())));
    let mut behind = None;
    loop {
        let page = store.page(behind.as_ref())?;
        verifier.take(page.rows);
        behind = page.next;
        if behind.is_none() {
            break;
        }
    }
    let (book, verification) = verifier.finish(epoch_keys, offer_keys);
    match book.reading().graph.failure() {
        Some(error) => Err(error.clone()),
        None => Ok(verification),
    }
}

/// As [`verify_store`], of events from anywhere, each with the id it should have.
#[must_use]
pub fn verify_rows(
    rows: Vec<Row>,
    network: &NetworkId,
    epoch_keys: Vec<EpochKey>,
    offer_keys: Vec<EpochKey>,
) -> Verification {
    let mut verifier = Verifier::new(*network, Graph::new());
    verifier.take(rows);
    verifier.finish(epoch_keys, offer_keys).1
}

struct Verifier {
    network: NetworkId,
    graph: Graph,
    gate: Gate,
    faults: Vec<(EventId, Fault)>,
    /// Events that came before something they follow, as with a damaged index.
    early: Vec<Event>,
}

impl Verifier {
    fn new(network: NetworkId, graph: Graph) -> Self {
        Self {
            network,
            graph,
            gate: Gate::new(),
            faults: Vec::new(),
            early: Vec::new(),
        }
    }

    fn take(&mut self, rows: Vec<Row>) {
        let mut events = Vec::with_capacity(rows.len());
        for row in rows {
            if !row.intact() {
                self.faults.push((row.id, Fault::Damaged));
                continue;
            }
            match Event::decode(&row.bytes) {
                Ok(event) => events.push(event),
                Err(bad) => self.faults.push((row.id, Fault::Bad(bad))),
            }
        }
        events.sort_by_key(|event| (event.header().lamport, event.id()));
        for event in events {
            if self.pass(&event).is_some() {
                self.early.push(event);
            }
        }
        self.graph.stored();
    }

    /// Puts an event through the gate. Returns what it follows and is not here.
    fn pass(&mut self, event: &Event) -> Option<Vec<EventId>> {
        match self.gate.pass(&mut self.graph, &self.network, event) {
            Ok(Passage::Added(_) | Passage::Known(_)) => None,
            Ok(Passage::Missing(missing)) => Some(missing),
            Err(why) => {
                self.faults.push((event.id(), Fault::Refused(why)));
                None
            }
        }
    }

    fn finish(
        mut self,
        epoch_keys: Vec<EpochKey>,
        offer_keys: Vec<EpochKey>,
    ) -> (Book, Verification) {
        let mut early = std::mem::take(&mut self.early);
        early.sort_by_key(|event| (event.header().lamport, event.id()));
        for event in early {
            if let Some(missing) = self.pass(&event) {
                self.faults.push((event.id(), Fault::Orphan(missing)));
            }
        }
        self.graph.stored();
        let Self {
            graph, mut faults, ..
        } = self;
        let book = Book::open(graph, epoch_keys, offer_keys);
        let (checkpoint, fault) = checkpoint(book.reading());
        faults.extend(checkpoint.zip(fault));
        let Reading { graph, fold, .. } = book.reading();
        let verification = Verification {
            good: graph.len(),
            faults,
            authority: fold.authority.hash(),
            state: (fold.state.pending == 0).then(|| fold.state.hash()),
            checkpoint,
        };
        (book, verification)
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
