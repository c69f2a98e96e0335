//! The fold: from events to the network's state, in three steps.
//!
//! - P1 (`authority/terms.rs`) settles who held which office, and which removals count. It needs no order.
//! - P2 (`order.rs`) settles the order in which events take effect.
//! - P3 (`authority/walk.rs`) replays them in that order, on clear acts alone; then `state/build.rs` adds what the sealed
//!   attributes say.
//!
//! Every step is a pure function of the set of events (and, for the state, of what could be opened): neither the order in
//! which they came nor a clock has a say.

use crate::authority::cast::Cast;
use crate::authority::walk::walk;
use crate::authority::{Authority, Terms};
use crate::event::attributes::Opened;
use crate::graph::{Graph, Idx};
use crate::order::{order, seals};
use crate::state::{State, build};
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
    let cast = Cast::of(graph);
    let terms = Terms::settle(graph, &cast);
    let (seals, void_seals) = seals(graph, &cast, &terms);
    let order = order(graph, &seals);
    let walked = walk(graph, &cast, &terms, &seals, &order, void_seals);
    let (state, verdicts) = build(graph, &cast, opened, &walked, &order);
    Fold {
        authority: walked.authority,
        state,
        verdicts,
        order,
    }
}

/// Who may do what, from clear acts alone: the fold for those who hold no keys and need no state.
#[must_use]
pub fn authority(graph: &Graph) -> Authority {
    let cast = Cast::of(graph);
    let terms = Terms::settle(graph, &cast);
    let (seals, void_seals) = seals(graph, &cast, &terms);
    let order = order(graph, &seals);
    walk(graph, &cast, &terms, &seals, &order, void_seals).authority
}
