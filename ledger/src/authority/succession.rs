//! The line of owners: genesis, then each `owner.set` that the recovery key of the term before signed.
//!
//! # Rivals
//!
//! Two successions of one term that know nothing of each other are rivals. Neither time nor id may decide between them: a
//! former owner, and each copy of the words, can always write an older one, or try until the id is small. What others have
//! seen decides:
//!
//! 1. The number of users that have seen the one and not the other. *Electors* are those that are members by the common past
//!    of all rivals, but for the former owner and the successors. Void admissions and removed users make no elector.
//! 2. The number of the others, the former owner and the successors, that have seen the one alone. One that signed events on
//!    both sides has seen both.
//! 3. A successor that is a member by the common past, and not the former owner.
//! 4. The smaller id.
//!
//! Daemons of members sign an event as soon as they see a succession, so after seconds the first step decides. An owner that
//! planned to come back, kept its own daemon from that, and has a member for an accomplice, reaches the last step if nobody
//! else was there since the handover.

use std::collections::{BTreeMap, BTreeSet};

use super::cast::{Cast, U, sort_by_rank};
use super::proof::Proof;
use crate::event::Act;
use crate::event::act::{OwnerSet, succession_message};
use crate::graph::{Graph, Idx, Past};
use crate::ids::{EventId, RecoveryKey, UserId};
use crate::keys::Domain;
use crate::store::PAGE;
use crate::verdict::Reason;

/// One owner's term.
#[derive(Debug)]
pub(crate) struct OwnerTerm {
    /// Who.
    pub(crate) holder: UserId,
    /// The genesis, or the successions that say exactly this.
    pub(crate) starts: Vec<Idx>,
    /// What ends it.
    pub(crate) recovery: RecoveryKey,
    /// What of the term before still counts; none for the first.
    pub(crate) cut: Option<Past>,
}

/// Rival successions of one term, and who stands behind each. Rivals stay what they are when events come; only their
/// support grows, so what was counted stays counted.
#[derive(Debug)]
pub(crate) struct Ballot {
    rivals: Vec<Vec<Idx>>,
    holder: UserId,
    electors: BTreeSet<U>,
    /// The former owner and the successors, as far as they are members by the common past.
    concerned: BTreeSet<U>,
    /// How many events were counted.
    counted: usize,
    support: Vec<BTreeSet<U>>,
    /// The same of those concerned.
    own: Vec<BTreeSet<U>>,
}

/// Users that may speak on rivals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Electors {
    /// Those that are members by the common past.
    Members,
    /// Those that some event of the common past admits, whether it counts or not.
    Admitted,
}

/// The most contests of one line for which members are asked for: each takes a fold. An owner makes more only by signing
/// rivals against itself.
const MAX_CONTESTS: usize = 16;

/// The line of owners, at least one if there is a genesis, and the reasons of the successions that do not count. `ballots`
/// are those of an earlier count, and then those of this one.
pub(crate) fn line(
    graph: &Graph,
    cast: &Cast,
    ballots: &mut Vec<Ballot>,
    electors: Electors,
) -> (Vec<OwnerTerm>, BTreeMap<Idx, Reason>) {
    let mut earlier = std::mem::take(ballots);
    let mut reasons = BTreeMap::new();
    let mut line = Vec::new();
    let mut pending = cast.successions.clone();
    sort_by_rank(graph, &mut pending);
    let mut cuts = BTreeMap::new();
    pending.retain(|idx| match well_formed(graph, *idx) {
        Ok(cut) => {
            cuts.insert(*idx, cut);
            true
        }
        Err(reason) => {
            reasons.insert(*idx, reason);
            false
        }
    });
    let Some(genesis) = graph.indices().next() else {
        return (line, reasons);
    };
    let first = graph.event(genesis);
    let Act::Genesis(act) = first.act() else {
        return (line, reasons);
    };
    line.push(OwnerTerm {
        holder: act.owner,
        starts: vec![genesis],
        recovery: act.recovery,
        cut: None,
    });
    while let Some(term) = line.last() {
        let signed: Vec<Idx> = pending
            .iter()
            .copied()
            .filter(|idx| term.starts.iter().any(|start| graph.precedes(*start, *idx)))
            .filter(|idx| {
                succession(graph, *idx).is_some_and(|act| {
                    let message = succession_message(&graph.event(*idx).network(), &act);
                    term.recovery
                        .verifies(Domain::Succession, &message, &act.by_recovery)
                })
            })
            .collect();
        let Some(won) = choose(
            graph,
            cast,
            term,
            &signed,
            (&mut earlier, ballots),
            electors,
        ) else {
            break;
        };
        let Some(act) = won.first().and_then(|idx| succession(graph, *idx)) else {
            break;
        };
        let by = graph.id(won[0]);
        for loser in signed.iter().filter(|idx| !won.contains(idx)) {
            reasons.insert(*loser, Reason::RivalSuccession { by });
        }
        pending.retain(|idx| !signed.contains(idx));
        line.push(OwnerTerm {
            holder: act.successor,
            cut: cuts.get(&won[0]).cloned(),
            recovery: act.recovery,
            starts: won,
        });
    }
    for idx in pending {
        reasons.insert(idx, Reason::WrongRecoveryKey);
    }
    (line, reasons)
}

fn succession(graph: &Graph, idx: Idx) -> Option<OwnerSet> {
    match graph.event(idx).act() {
        Act::OwnerSet(act) => Some(act.clone()),
        _ => None,
    }
}

fn well_formed(graph: &Graph, idx: Idx) -> Result<Past, Reason> {
    match graph.proof(idx) {
        Proof::Fails(what) | Proof::Certified(what) => return Err(Reason::Unproven(what)),
        _ => {}
    }
    let cut = succession(graph, idx).map(|act| act.cut);
    past_of_cut(graph, idx, &cut.unwrap_or_default()).ok_or(Reason::CutOutside)
}

/// The past of some heads, if all lie in the past of an event.
pub(crate) fn past_of_cut(graph: &Graph, event: Idx, heads: &[EventId]) -> Option<Past> {
    let heads: Vec<Idx> = heads
        .iter()
        .map(|id| graph.find(id).filter(|head| graph.precedes(*head, event)))
        .collect::<Option<_>>()?;
    Some(graph.past_of(&heads))
}

/// Of the successions that the right key signed, those that count: all that say the same. One in the past of another beats
/// it. Rivals are decided as the module says.
fn choose(
    graph: &Graph,
    cast: &Cast,
    term: &OwnerTerm,
    signed: &[Idx],
    (earlier, ballots): (&mut Vec<Ballot>, &mut Vec<Ballot>),
    electors: Electors,
) -> Option<Vec<Idx>> {
    let mut groups: Vec<Vec<Idx>> = Vec::new();
    for idx in signed {
        let act = succession(graph, *idx);
        match groups
            .iter_mut()
            .find(|group| succession(graph, group[0]) == act)
        {
            Some(group) => group.push(*idx),
            None => groups.push(vec![*idx]),
        }
    }
    let knows = |group: &[Idx], event: Idx| group.iter().any(|idx| graph.precedes(*idx, event));
    let first: Vec<bool> = groups
        .iter()
        .map(|group| {
            let beaten = |other: &Vec<Idx>| {
                other != group
                    && group.iter().all(|idx| knows(other, *idx))
                    && !other.iter().all(|idx| knows(group, *idx))
            };
            !groups.iter().any(beaten)
        })
        .collect();
    let mut first = first.into_iter();
    groups.retain(|_| first.next().unwrap_or(false));
    if groups.len() < 2 {
        return groups.pop();
    }
    let same = |ballot: &Ballot| ballot.rivals == groups && ballot.holder == term.holder;
    let mut ballot = match earlier.iter().position(same) {
        Some(at) => earlier.swap_remove(at),
        None if ballots.len() < MAX_CONTESTS => {
            Ballot::new(graph, cast, term, groups.clone(), electors)
        }
        None => Ballot::new(graph, cast, term, groups.clone(), Electors::Admitted),
    };
    ballot.count(graph, cast);
    let best = (0..groups.len()).min_by_key(|n| {
        let first = groups[*n][0];
        let successor = succession(graph, first).map(|act| act.successor);
        let back = successor.is_none_or(|user| !ballot.may_succeed(cast, &user));
        (
            std::cmp::Reverse(ballot.standing(*n)),
            back,
            graph.id(first),
        )
    })?;
    ballots.push(ballot);
    Some(groups.swap_remove(best))
}

impl Ballot {
    fn new(
        graph: &Graph,
        cast: &Cast,
        term: &OwnerTerm,
        rivals: Vec<Vec<Idx>>,
        electors: Electors,
    ) -> Self {
        let parties: BTreeSet<UserId> = rivals
            .iter()
            .filter_map(|group| succession(graph, group[0]).map(|act| act.successor))
            .chain([term.holder])
            .collect();
        let common = |event: Idx| {
            let mut groups = rivals.iter();
            groups.all(|group| group.iter().any(|idx| graph.precedes(event, *idx)))
        };
        let entitled: BTreeSet<U> = match electors {
            Electors::Members => {
                let members = crate::fold::members_before(&part(graph, common));
                members.iter().filter_map(|id| cast.user(id)).collect()
            }
            Electors::Admitted => cast
                .users()
                .filter(|user| cast.admissions(*user).iter().any(|event| common(*event)))
                .collect(),
        };
        let (concerned, electors) = entitled
            .into_iter()
            .partition(|user| parties.contains(&cast.user_id(*user)));
        Self {
            support: vec![BTreeSet::new(); rivals.len()],
            own: vec![BTreeSet::new(); rivals.len()],
            rivals,
            holder: term.holder,
            electors,
            concerned,
            counted: 0,
        }
    }

    /// How many stand behind a rival: electors, then those concerned that have seen it alone.
    fn standing(&self, n: usize) -> (usize, usize) {
        let alone = |user: &&U| self.own.iter().filter(|own| own.contains(user)).count() == 1;
        (
            self.support[n].len(),
            self.own[n].iter().filter(alone).count(),
        )
    }

    /// Whether a successor is a member by the common past, and not the former owner.
    fn may_succeed(&self, cast: &Cast, user: &UserId) -> bool {
        let known = cast.user(user);
        *user != self.holder && known.is_some_and(|user| self.concerned.contains(&user))
    }

    /// Whether it counted events at this place or behind it.
    pub(crate) fn reaches(&self, len: usize) -> bool {
        self.counted > len
    }

    /// For each of the rivals, the users that have seen it and none of the others.
    fn count(&mut self, graph: &Graph, cast: &Cast) {
        for idx in graph.indices().take(cast.len()).skip(self.counted) {
            let mut known = (0..self.rivals.len()).filter(|n| {
                self.rivals[*n]
                    .iter()
                    .any(|rival| graph.precedes(*rival, idx) || *rival == idx)
            });
            if let (Some(only), None) = (known.next(), known.next()) {
                let device = cast.author(idx);
                let users = cast.users_of(device).iter().copied();
                for user in users.filter(|user| cast.certified(graph, *user, device, idx)) {
                    if self.electors.contains(&user) {
                        self.support[only].insert(user);
                    } else if self.concerned.contains(&user) {
                        self.own[only].insert(user);
                    }
                }
            }
        }
        self.counted = cast.len();
    }
}

/// The events for which `keep` holds, which holds for the past of each of them.
fn part(graph: &Graph, keep: impl Fn(Idx) -> bool) -> Graph {
    let mut part = graph.part();
    for idx in graph.indices().filter(|idx| keep(*idx)) {
        // Parents have smaller places, so none lacks one.
        let _ = part.insert(graph.event(idx));
        if part.len().is_multiple_of(PAGE) {
            part.stored();
        }
    }
    part.stored();
    part
}
