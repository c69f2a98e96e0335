//! P2: the order in which events take effect. It extends the causal order; accepted checkpoints seal it.
//!
//! fixed(e) is the least (lamport, id) of the accepted checkpoints that cover e, or infinity. Events are sorted by
//! (fixed, lamport, id): what a checkpoint covers goes before what it does not, so nobody slips a late event with a low
//! lamport in front of what was sealed.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::authority::{Terms, cast::Cast, past_of_cut, sort_by_rank};
use crate::event::Act;
use crate::graph::{Graph, Idx, Past};
use crate::verdict::Reason;

/// An accepted checkpoint, with what it covers.
pub(crate) struct Seal {
    pub(crate) event: Idx,
    pub(crate) covers: Arc<Past>,
}

/// The accepted checkpoints by (lamport, id), and why the others are void.
#[derive(Default)]
pub(crate) struct Seals {
    pub(crate) list: Vec<Seal>,
    pub(crate) void: BTreeMap<Idx, Reason>,
}

/// What checkpoints cover, if that is what they say: it follows from a checkpoint and its past, so it is found once.
pub(crate) type Covers = BTreeMap<Idx, Option<Arc<Past>>>;

impl Seals {
    pub(crate) fn of(graph: &Graph, cast: &Cast, terms: &Terms<'_>, known: &mut Covers) -> Self {
        let mut checkpoints = cast.checkpoints.clone();
        sort_by_rank(graph, &mut checkpoints);
        let mut seals = Self::default();
        for event in checkpoints {
            let accepted = terms.office_of_author(event).and_then(|_| {
                known
                    .entry(event)
                    .or_insert_with(|| covered(graph, event))
                    .clone()
                    .ok_or(Reason::BadCheckpoint)
            });
            match accepted {
                Ok(covers) => seals.list.push(Seal { event, covers }),
                Err(reason) => {
                    seals.void.insert(event, reason);
                }
            }
        }
        seals
    }
}

fn covered(graph: &Graph, event: Idx) -> Option<Arc<Past>> {
    let body = graph.event(event);
    let Act::Checkpoint(act) = body.act() else {
        return None;
    };
    past_of_cut(graph, event, &act.heads)
        .filter(|covers| covers.total() == act.count)
        .map(Arc::new)
}

/// All events in the order in which they take effect.
pub(crate) fn order(graph: &Graph, seals: &Seals) -> Vec<Idx> {
    let mut fixed = vec![u32::MAX; graph.len()];
    let mut done: Vec<usize> = vec![0; graph.lanes().len()];
    for (number, seal) in seals.list.iter().enumerate() {
        for (lane, count) in seal.covers.prefixes().iter().enumerate() {
            let count = *count as usize;
            for idx in graph.lanes()[lane].iter().take(count).skip(done[lane]) {
                fixed[idx.0 as usize] = number as u32;
            }
            done[lane] = done[lane].max(count);
        }
    }
    // A number for each event and not its id: with a million, the ids alone are as large as all that is kept.
    let mut order: Vec<Idx> = graph.indices().collect();
    order.sort_unstable_by_key(|idx| (fixed[idx.0 as usize], graph.rank(*idx)));
    order
}
