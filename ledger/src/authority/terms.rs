//! P1: terms of office, most senior first, and the removals that they make.
//!
//! A removal reaches only juniors, and a grant has a larger lamport than its granter's own term, so one pass over the terms
//! by rank decides every act of power: what binds a term was decided before its turn. Nothing here asks whether an
//! admission counts; certificates and acts are enough.

mod acts;
mod own;

use std::collections::{BTreeMap, BTreeSet};

use super::Seniority;
use super::cast::{Cast, D, U, sort_by_rank};
use super::proof::Proof;
use super::removals::{Removal, Removals, Scope};
use super::succession::{self, Ballot, Electors, OwnerTerm};
use crate::event::act::Kind;
use crate::graph::{Graph, Idx};
use crate::ids::{RecoveryKey, UserId};
use crate::verdict::Reason;

/// A term that began.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Began {
    pub(crate) holder: U,
    pub(crate) starts: Vec<Idx>,
    pub(crate) rank: Seniority,
}

impl Began {
    fn before(&self, graph: &Graph, event: Idx) -> bool {
        self.starts
            .iter()
            .any(|start| graph.precedes(*start, event))
    }

    fn knows(&self, graph: &Graph, removal: &Removal) -> bool {
        self.starts
            .iter()
            .any(|start| removal.known_to(graph, *start))
    }
}

/// A removed device's return, by an admin's own admission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Return {
    pub(crate) admission: Idx,
    rank: Seniority,
}

/// What P1 settles.
#[derive(Default)]
pub(crate) struct Settled {
    /// By rank.
    pub(crate) began: BTreeMap<Seniority, Began>,
    by_holder: BTreeMap<U, BTreeSet<Seniority>>,
    pub(crate) removals: Removals,
    pub(crate) returns: BTreeMap<(U, D), Vec<Return>>,
    said: BTreeSet<U>,
    accepted: BTreeSet<Idx>,
    reasons: BTreeMap<Idx, Reason>,
    /// The line of owners.
    pub(crate) line: Vec<OwnerTerm>,
}

impl Settled {
    /// Whether an act of power counts.
    pub(crate) fn accepts(&self, event: Idx) -> bool {
        self.accepted.contains(&event)
    }

    /// The owner, and what ends that term.
    pub(crate) fn owner(&self) -> Option<(UserId, RecoveryKey)> {
        self.line.last().map(|term| (term.holder, term.recovery))
    }
}

/// What P1 settles, and what it is about.
pub(crate) struct Terms<'a> {
    graph: &'a Graph,
    cast: &'a Cast,
    settled: Settled,
}

impl std::ops::Deref for Terms<'_> {
    type Target = Settled;

    fn deref(&self) -> &Settled {
        &self.settled
    }
}

impl<'a> Terms<'a> {
    /// Decides all acts of power. `ballots` are those of an earlier run.
    pub(crate) fn settle(
        graph: &'a Graph,
        cast: &'a Cast,
        ballots: &mut Vec<Ballot>,
        electors: Electors,
    ) -> Self {
        let (line, reasons) = succession::line(graph, cast, ballots, electors);
        let settled = Settled {
            reasons,
            line,
            ..Settled::default()
        };
        let mut terms = Self::of(graph, cast, settled);
        let mut waiting = terms.owners();
        while let Some((rank, term)) = waiting.pop_first() {
            terms.hold(rank, term, &mut waiting);
        }
        for user in cast.users() {
            terms.settle_own(user);
        }
        terms
    }

    /// What was settled about these events before.
    pub(crate) fn of(graph: &'a Graph, cast: &'a Cast, settled: Settled) -> Self {
        Self {
            graph,
            cast,
            settled,
        }
    }

    /// What was settled, to be kept.
    pub(crate) fn into_settled(self) -> Settled {
        self.settled
    }

    /// What became of an act of power.
    pub(crate) fn verdict(&self, event: Idx) -> Result<(), Reason> {
        if self.accepted.contains(&event) {
            return Ok(());
        }
        Err(self
            .reasons
            .get(&event)
            .cloned()
            .unwrap_or_else(|| self.no_office(event)))
    }

    /// The most senior term that a user exercises in an event.
    pub(crate) fn office(&self, user: U, event: Idx) -> Result<&Began, Reason> {
        let mut reason = None;
        for rank in self.by_holder.get(&user).into_iter().flatten() {
            let Some(term) = self.began.get(rank) else {
                continue;
            };
            if !term.before(self.graph, event) {
                continue;
            }
            match self.holds(term, event) {
                Ok(()) => return Ok(term),
                Err(why) => reason = reason.or(Some(why)),
            }
        }
        Err(reason.unwrap_or(Reason::NotAdmin {
            who: self.cast.user_id(user).into(),
        }))
    }

    /// All terms that a user could exercise in an event.
    pub(crate) fn offices(&self, user: U, event: Idx) -> Vec<Seniority> {
        let ranks = self.by_holder.get(&user).into_iter().flatten().copied();
        ranks
            .filter(|rank| {
                self.began.get(rank).is_some_and(|term| {
                    term.before(self.graph, event) && self.holds(term, event).is_ok()
                })
            })
            .collect()
    }

    /// The most senior term exercised in an event by whoever its device speaks for.
    pub(crate) fn office_of_author(&self, event: Idx) -> Result<&Began, Reason> {
        let mut reason = None;
        let mut best: Option<&Began> = None;
        for user in self.cast.users_of(self.cast.author(event)) {
            match self.office(*user, event) {
                Ok(term) if best.is_none_or(|best| term.rank < best.rank) => best = Some(term),
                Ok(_) => {}
                Err(why) => reason = reason.or(Some(why)),
            }
        }
        best.ok_or_else(|| reason.unwrap_or(Reason::NotAdmitted))
    }

    /// What ended a term, least (lamport, id) first.
    pub(crate) fn ended(&self, term: &Began) -> Option<Idx> {
        let mut ends: Vec<Idx> = self.endings(term).map(Removal::event).collect();
        sort_by_rank(self.graph, &mut ends);
        ends.first().copied()
    }

    /// What ended a term before an event that its holder wrote, or while nobody knew of that event.
    pub(crate) fn ended_for(&self, term: &Began, event: Idx) -> Option<Idx> {
        let mut ends: Vec<Idx> = self
            .endings(term)
            .filter(|removal| !removal.covers(self.graph, event))
            .map(Removal::event)
            .collect();
        sort_by_rank(self.graph, &mut ends);
        ends.first().copied()
    }

    fn endings<'b>(&'b self, term: &'b Began) -> impl Iterator<Item = &'b Removal> {
        let of_user = self
            .removals
            .of(Scope::User(term.holder))
            .filter(|removal| removal.binds(term.rank) && !term.knows(self.graph, removal));
        let of_term = term
            .starts
            .iter()
            .flat_map(|start| self.removals.of(Scope::Term(*start)));
        of_user.chain(of_term)
    }

    fn owners(&mut self) -> BTreeMap<Seniority, Began> {
        let mut owners = BTreeMap::new();
        for n in 0..self.settled.line.len() {
            let term = &self.settled.line[n];
            let Some(holder) = self.cast.user(&term.holder) else {
                continue;
            };
            let rank = Seniority::Owner(n as u32);
            owners.insert(
                rank,
                Began {
                    holder,
                    starts: term.starts.clone(),
                    rank,
                },
            );
            self.settled.accepted.extend(&term.starts);
            if let (Some(cut), Some(before)) = (&term.cut, n.checked_sub(1)) {
                for start in self.settled.line[before].starts.clone() {
                    self.settled.removals.add(
                        Scope::Term(start),
                        Removal {
                            carriers: term.starts.clone(),
                            cut: Some(cut.clone()),
                            own: false,
                            rank: None,
                        },
                    );
                }
            }
        }
        owners
    }

    /// Lets one term act.
    fn hold(&mut self, rank: Seniority, term: Began, waiting: &mut BTreeMap<Seniority, Began>) {
        let holder = term.holder;
        self.settled
            .by_holder
            .entry(holder)
            .or_default()
            .insert(rank);
        self.settle_own(holder);
        if let (Seniority::Admin(..), [grant]) = (rank, term.starts.as_slice())
            && let Err(reason) = self.takes_office(holder, *grant, rank)
        {
            self.settled.accepted.remove(grant);
            self.settled.reasons.insert(*grant, reason);
            self.settled
                .by_holder
                .entry(holder)
                .or_default()
                .remove(&rank);
            return;
        }
        let cast = self.cast;
        for act in cast.power_of(holder).iter().copied() {
            if self.settled.accepted.contains(&act) || !term.before(self.graph, act) {
                continue;
            }
            let judged = match self.holds(&term, act) {
                Ok(()) => self.judge(&term, act, waiting),
                Err(reason) => Err(reason),
            };
            match judged {
                Ok(true) => {
                    self.settled.accepted.insert(act);
                    self.settled.reasons.remove(&act);
                }
                Ok(false) => {}
                Err(reason) => {
                    self.settled.reasons.entry(act).or_insert(reason);
                }
            }
        }
        self.settled.began.insert(rank, term);
    }

    /// Whether a grant makes its user an admin: not if a removal of the user is concurrent with it, nor if one in its past
    /// was not followed by an admission.
    fn takes_office(&self, holder: U, grant: Idx, rank: Seniority) -> Result<(), Reason> {
        let (graph, user) = (self.graph, self.cast.user_id(holder));
        for removal in self.settled.removals.of(Scope::User(holder)) {
            if removal.binds(rank)
                && !removal.known_to(graph, grant)
                && !removal.covers(graph, grant)
            {
                return Err(Reason::TargetRemoved {
                    who: user.into(),
                    by: graph.id(removal.event()),
                });
            }
        }
        if self.is_member(holder, grant) {
            Ok(())
        } else {
            Err(Reason::NotAMember { who: user.into() })
        }
    }

    /// Whether acts in the past of an event say that a user was a member: one admits it, and no removal came since.
    fn is_member(&self, user: U, event: Idx) -> bool {
        let graph = self.graph;
        self.cast.admissions(user).iter().any(|admission| {
            graph.precedes(*admission, event)
                && self.settled.removals.of(Scope::User(user)).all(|removal| {
                    !removal.known_to(graph, event) || removal.known_to(graph, *admission)
                })
        })
    }

    /// Whether a term is exercised in an event whose past knows its start.
    fn holds(&self, term: &Began, event: Idx) -> Result<(), Reason> {
        let graph = self.graph;
        let device = self.cast.author(event);
        let who = self.cast.user_id(term.holder);
        if !self.cast.certified(graph, term.holder, device, event) {
            return Err(Reason::NotAdmitted);
        }
        if self.settled.removals.is_empty() {
            return Ok(());
        }
        for (scope, removal) in self.settled.removals.reaching(term.holder, device) {
            if !removal.binds(term.rank) || removal.covers(graph, event) {
                continue;
            }
            let by = graph.id(removal.event());
            match scope {
                Scope::User(_) if !term.knows(graph, removal) => {
                    return Err(Reason::UserRemoved {
                        who: who.into(),
                        by,
                    });
                }
                Scope::Device(_) | Scope::Pair(..)
                    if !self.returned(term, device, removal, event) =>
                {
                    return Err(Reason::DeviceRemoved {
                        who: who.into(),
                        device: self.cast.device_id(device),
                        by,
                    });
                }
                _ => {}
            }
        }
        for start in &term.starts {
            for removal in self.settled.removals.of(Scope::Term(*start)) {
                if !removal.covers(graph, event) {
                    return Err(Reason::TermEnded {
                        who: who.into(),
                        by: graph.id(removal.event()),
                    });
                }
            }
        }
        Ok(())
    }

    fn returned(&self, term: &Began, device: D, removal: &Removal, event: Idx) -> bool {
        self.settled
            .returns
            .get(&(term.holder, device))
            .into_iter()
            .flatten()
            .any(|back| {
                back.rank <= term.rank
                    && removal.known_to(self.graph, back.admission)
                    && self.graph.precedes(back.admission, event)
            })
    }

    /// Why an act of power that no term covers is void.
    fn no_office(&self, event: Idx) -> Reason {
        if graph_removal(self.graph, event) && self.graph.proof(event) != Proof::Holds {
            return unproven(self.graph, event);
        }
        let author = self.cast.author(event);
        self.cast
            .users_of(author)
            .iter()
            .find(|user| self.cast.certified(self.graph, **user, author, event))
            .map_or(Reason::NotAdmitted, |user| Reason::NotAdmin {
                who: self.cast.user_id(*user).into(),
            })
    }
}

fn graph_removal(graph: &Graph, event: Idx) -> bool {
    graph.kind(event) == Kind::Remove
}

fn unproven(graph: &Graph, event: Idx) -> Reason {
    match graph.proof(event) {
        Proof::Fails(what) | Proof::Certified(what) => Reason::Unproven(what),
        _ => Reason::NeedsUserKey,
    }
}
