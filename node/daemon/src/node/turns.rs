//! Events that counted and are void now, or the reverse: what a reader who follows the log must hear of.

use std::collections::VecDeque;

use mesh_ledger::fold::Fold;
use mesh_ledger::graph::Graph;
use mesh_ledger::ids::EventId;
use mesh_ledger::verdict::Verdict;

/// How many turns are remembered. Who follows asks at each change, so more than this at once is read from the log anew.
const MOST: usize = 16_384;

/// See the module.
pub(crate) struct Turns {
    /// Whether each event counts, by place.
    counts: Vec<bool>,
    /// The latest turns, and which number the first of them has.
    latest: VecDeque<EventId>,
    first: u64,
}

impl Turns {
    /// Of a network that was just opened: what came before is no turn.
    pub(crate) fn new(fold: &Fold) -> Self {
        Self {
            counts: fold.verdicts.iter().map(Verdict::counts).collect(),
            latest: VecDeque::new(),
            first: 0,
        }
    }

    /// Notes what a change of the ledger turned.
    pub(crate) fn note(&mut self, graph: &Graph, fold: &Fold) {
        for (idx, verdict) in graph.indices().zip(fold.verdicts.iter()) {
            let now = verdict.counts();
            match self.counts.get_mut(idx.0 as usize) {
                None => self.counts.push(now),
                Some(before) if *before != now => {
                    *before = now;
                    if self.latest.len() == MOST {
                        self.latest.pop_front();
                        self.first += 1;
                    }
                    self.latest.push_back(graph.id(idx));
                }
                Some(_) => {}
            }
        }
    }

    /// How many there were so far.
    pub(crate) fn told(&self) -> u64 {
        self.first + self.latest.len() as u64
    }

    /// Those behind the first `told`, as far as they are remembered.
    pub(crate) fn since(&self, told: u64) -> impl Iterator<Item = EventId> {
        let skip = usize::try_from(told.saturating_sub(self.first)).unwrap_or(usize::MAX);
        self.latest.iter().skip(skip).copied()
    }
}
