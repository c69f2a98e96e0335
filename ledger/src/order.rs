//! P2: the order in which events take effect. It extends the causal order; accepted checkpoints seal it.
//!
//! fixed(e) is the least (lamport, id) of the accepted checkpoints that cover e, or infinity. Events are sorted by
//! (fixed, lamport, id): what a checkpoint covers goes before what it does not, so nobody slips a late event with a low
//! lamport in front of what was sealed.

use crate::authority::{Terms, cast::Cast, sort_by_rank};
use crate::event::Act;
use crate::event::act::Checkpoint;
use crate::graph::{Graph, Idx, Past};
use crate::verdict::Reason;

/// An accepted checkpoint, with what it covers.
pub(crate) struct Seal {
    pub(crate) event: Idx,
    covers: Past,
}

/// The accepted checkpoints by (lamport, id), and why the others are void.
pub(crate) fn seals(
    graph: &Graph,
    cast: &Cast,
    terms: &Terms<'_>,
) -> (Vec<Seal>, Vec<(Idx, Reason)>) {
    let mut checkpoints = cast.checkpoints.clone();
    sort_by_rank(graph, &mut checkpoints);
    let (mut seals, mut void) = (Vec::new(), Vec::new());
    for event in checkpoints {
        let Act::Checkpoint(act) = graph.event(event).act() else {
            continue;
        };
        let accepted = terms.office_of_author(event).and_then(|_| {
            covered(graph, event, act)
                .filter(|covers| covers.total() == act.count)
                .ok_or(Reason::BadCheckpoint)
        });
        match accepted {
            Ok(covers) => seals.push(Seal { event, covers }),
            Err(reason) => void.push((event, reason)),
        }
    }
    (seals, void)
}

fn covered(graph: &Graph, event: Idx, act: &Checkpoint) -> Option<Past> {
    crate::authority::past_of_cut(graph, event, &act.heads)
}

/// All events in the order in which they take effect.
pub(crate) fn order(graph: &Graph, seals: &[Seal]) -> Vec<Idx> {
    let mut fixed = vec![u32::MAX; graph.len()];
    let mut done: Vec<usize> = vec![0; graph.lanes().len()];
    for (number, seal) in seals.iter().enumerate() {
        for (lane, count) in seal.covers.prefixes().iter().enumerate() {
            let count = *count as usize;
            for idx in graph.lanes()[lane].iter().take(count).skip(done[lane]) {
                fixed[idx.0 as usize] = number as u32;
            }
            done[lane] = done[lane].max(count);
        }
    }
    let mut keys: Vec<(u32, u32, [u8; 32], Idx)> = graph
        .indices()
        .map(|idx| {
            let event = graph.event(idx);
            (
                fixed[idx.0 as usize],
                event.header().lamport,
                event.id().0,
                idx,
            )
        })
        .collect();
    keys.sort_unstable();
    keys.into_iter().map(|(.., idx)| idx).collect()
}
