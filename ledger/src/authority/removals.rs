//! Accepted removals, and what they reach.

use std::collections::BTreeMap;

use super::Seniority;
use super::cast::{D, U};
use crate::graph::{Graph, Idx, Past};

/// What a removal reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scope {
    /// A user with all devices.
    User(U),
    /// A device, whosever it is.
    Device(D),
    /// A device as this user's: all that a user can say of its own.
    Pair(U, D),
    /// The term that this event began.
    Term(Idx),
}

/// An accepted removal.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Removal {
    /// The event, and others that carry the same signed word of a user key.
    pub(crate) carriers: Vec<Idx>,
    /// With a cut: what counts instead of the removal's own past.
    pub(crate) cut: Option<Past>,
    /// Whether the target went by itself, which bars nobody from coming back.
    pub(crate) own: bool,
    /// The term it was an act of; none for what a user decides about itself.
    pub(crate) rank: Option<Seniority>,
}

impl Removal {
    /// The event, for sentences.
    pub(crate) fn event(&self) -> Idx {
        self.carriers[0]
    }

    /// Whether what its target wrote there was before it: "e in past(R)".
    pub(crate) fn covers(&self, graph: &Graph, event: Idx) -> bool {
        match &self.cut {
            Some(cut) => graph.within(event, cut),
            None => graph.precedes(event, self.event()),
        }
    }

    /// How many events of a lane it covers, the first ones.
    pub(crate) fn covered(&self, graph: &Graph, lane: u32) -> u32 {
        match &self.cut {
            Some(cut) => cut.count(lane),
            None => graph.known(self.event(), lane),
        }
    }

    /// Whether an event knows of it: "R in past(x)".
    pub(crate) fn known_to(&self, graph: &Graph, event: Idx) -> bool {
        self.carriers
            .iter()
            .any(|carrier| graph.precedes(*carrier, event))
    }

    /// Whether it binds acts of a term of this rank in P1: those of seniors do, and one's own word.
    pub(crate) fn binds(&self, rank: Seniority) -> bool {
        self.rank.is_none_or(|by| by < rank)
    }
}

/// All accepted removals.
#[derive(Default)]
pub(crate) struct Removals {
    all: Vec<Removal>,
    by_scope: BTreeMap<Scope, Vec<usize>>,
    by_event: BTreeMap<Idx, Vec<(Scope, usize)>>,
}

impl Removals {
    pub(crate) fn add(&mut self, scope: Scope, removal: Removal) {
        let number = self.all.len();
        for carrier in &removal.carriers {
            self.by_event
                .entry(*carrier)
                .or_default()
                .push((scope, number));
        }
        self.by_scope.entry(scope).or_default().push(number);
        self.all.push(removal);
    }

    /// Those with exactly this scope.
    pub(crate) fn of(&self, scope: Scope) -> impl Iterator<Item = &Removal> {
        self.by_scope
            .get(&scope)
            .map(Vec::as_slice)
            .unwrap_or_default()
            .iter()
            .map(|number| &self.all[*number])
    }

    /// All scopes that any has.
    pub(crate) fn scopes(&self) -> impl Iterator<Item = Scope> + '_ {
        self.by_scope.keys().copied()
    }

    /// Those that reach a device when it acts for a user.
    pub(crate) fn reaching(&self, user: U, device: D) -> impl Iterator<Item = (Scope, &Removal)> {
        [
            Scope::User(user),
            Scope::Device(device),
            Scope::Pair(user, device),
        ]
        .into_iter()
        .flat_map(|scope| self.of(scope).map(move |removal| (scope, removal)))
    }

    /// What an event removes.
    pub(crate) fn by(&self, event: Idx) -> impl Iterator<Item = (Scope, &Removal)> {
        self.by_event
            .get(&event)
            .map(Vec::as_slice)
            .unwrap_or_default()
            .iter()
            .map(|(scope, number)| (*scope, &self.all[*number]))
    }

    /// Whether there is none at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
}
