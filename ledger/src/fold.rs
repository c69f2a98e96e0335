//! The fold: from events to the network's state.

use crate::authority::Authority;
use crate::event::attributes::Opened;
use crate::graph::{Graph, Idx};
use crate::state::State;
use crate::verdict::Verdict;

/// What the events of a network amount to.
#[derive(Debug, Clone)]
pub struct Fold {
    /// Who may do what.
    pub authority: Authority,
    /// The network as members see it.
    pub state: State,
    /// What became of each event, by [`Idx`].
    pub verdicts: Vec<Verdict>,
    /// The events in the order in which they take effect.
    pub order: Vec<Idx>,
}

/// Folds all events of a graph; `opened` says for each of them, by [`Idx`], what its sealed part holds. What `opened`
/// does not cover counts as not open yet.
#[must_use]
pub fn fold(graph: &Graph, opened: &[Opened]) -> Fold {
    let _ = opened;
    let authority = Authority::founded(graph);
    Fold {
        state: State::founded(&authority),
        authority,
        verdicts: Vec::new(),
        order: Vec::new(),
    }
}
