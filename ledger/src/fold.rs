//! The fold: from events to the network's state, in three steps.
//!
//! - P1 (`authority/terms.rs`) settles who held which office, and which removals count. It needs no order.
//! - P2 (`order.rs`) settles the order in which events take effect.
//! - P3 (`authority/walk.rs`) replays them in that order, on clear acts alone; with each, `state/build.rs` adds what the
//!   sealed attributes say.
//!
//! Every step is a pure function of the set of events (and, for the state, of what could be opened): neither the order in
//! which they came nor a clock has a say. [`fold()`] starts from nothing; [`Increment`](crate::increment::Increment) keeps
//! what it has and does again only what new events can change, with the same answers.

use std::collections::BTreeSet;

use crate::authority::cast::Cast;
use crate::authority::walk::{Closings, Roll, Unknown, Walk};
use crate::authority::{Authority, Electors, Terms};
use crate::graph::{Graph, Idx};
use crate::ids::UserId;
use crate::order::{Covers, Seals, order};
use crate::seal::Openings;
use crate::state::{Book, Build, State, View};
use crate::timeline::Step;
use crate::verdict::Verdicts;

/// What the events of a network amount to.
#[derive(Debug, Clone)]
pub struct Fold {
    /// Who may do what.
    pub authority: Authority,
    /// The network as members see it.
    pub state: State,
    /// What became of each event, by [`Idx`].
    pub verdicts: Verdicts,
    /// The events in the order in which they take effect.
    pub order: Vec<Idx>,
}

impl Fold {
    /// What nothing, or the genesis alone before anybody counts as admitted, amounts to.
    pub(crate) fn founded(graph: &Graph) -> Self {
        let authority = Authority::founded(graph);
        Self {
            state: State::founded(&authority),
            authority,
            verdicts: Verdicts::default(),
            order: Vec::new(),
        }
    }
}

/// Folds all events of a graph; `opened` says what their sealed parts hold.
#[must_use]
pub fn fold<'a>(graph: &Graph, opened: impl Into<Openings<'a>>) -> Fold {
    folded(graph, Some(opened.into()))
}

/// Who may do what, from clear acts alone: the fold for those who hold no keys and need no state.
#[must_use]
pub fn authority(graph: &Graph) -> Authority {
    folded(graph, None).authority
}

/// The members by a part of the events, for who may speak on rival successions that this part does not hold. Contests within
/// it are decided by all that were ever admitted: else each would ask for folds of parts in turn.
pub(crate) fn members_before(part: &Graph) -> BTreeSet<UserId> {
    let fold = folded_by(part, None, Electors::Admitted);
    fold.authority.members.into_keys().collect()
}

fn folded(graph: &Graph, attributes: Option<Openings<'_>>) -> Fold {
    folded_by(graph, attributes, Electors::Members)
}

fn folded_by(graph: &Graph, attributes: Option<Openings<'_>>, electors: Electors) -> Fold {
    let cast = Cast::of(graph);
    let terms = Terms::settle(graph, &cast, &mut Vec::new(), electors);
    let seals = Seals::of(graph, &cast, &terms, &mut Covers::new());
    let closings = Closings::of(graph, &cast, &terms);
    let (mut roll, mut book) = (Roll::default(), Book::default());
    let mut fold = Fold::founded(graph);
    fold.order = order(graph, &seals);
    let places = places(&fold.order);
    let mut walk = Walk {
        graph,
        cast: &cast,
        terms: &terms,
        seals: &seals,
        closings: &closings,
        roll: &mut roll,
        now: Step::once(&places),
        unknown: Unknown::default(),
    };
    fold.verdicts.resize(graph.len());
    for idx in &fold.order {
        let result = walk.step(*idx).and_then(|standing| match attributes {
            Some(opened) => {
                let mut build = Build {
                    graph,
                    cast: &cast,
                    opened,
                    book: &mut book,
                    now: &mut walk.now,
                };
                build.step(*idx, &walk.roll.effects, standing)
            }
            None => Ok(()),
        });
        let waits = attributes.is_some_and(|opened| opened.is_pending(graph, *idx));
        let result = result.map(|()| waits);
        fold.verdicts.set(idx.0 as usize, result, &|_| None);
    }
    let touched = walk.roll.touched();
    walk.show_terms(&mut fold.authority);
    walk.show(&mut fold.authority, &touched);
    let Some(attributes) = attributes else {
        return fold;
    };
    let entries = book.touched();
    let view = View {
        graph,
        cast: &cast,
        opened: attributes,
        book: &book,
    };
    view.show(&mut fold.state, &fold.authority, &touched, entries, false);
    fold.verdicts.name(&|user| book.called(user).cloned());
    fold.state.pending = fold.verdicts.pending();
    fold
}

/// Where each event stands in an order of all, by [`Idx`].
fn places(order: &[Idx]) -> Vec<u32> {
    let mut places = vec![0; order.len()];
    for (place, idx) in order.iter().enumerate() {
        places[idx.0 as usize] = place as u32;
    }
    places
}
