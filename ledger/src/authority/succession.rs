//! The line of owners: genesis, then each `owner.set` that the recovery key of the term before signed.

use std::collections::{BTreeMap, BTreeSet};

use super::cast::{Cast, U, sort_by_rank};
use super::proof::Proof;
use crate::event::Act;
use crate::event::act::{OwnerSet, succession_message};
use crate::graph::{Graph, Idx, Past};
use crate::ids::{EventId, RecoveryKey, UserId};
use crate::keys::Domain;
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
    /// How many events were counted.
    counted: usize,
    support: Vec<BTreeSet<U>>,
}

/// The line of owners, at least one if there is a genesis, and the reasons of the successions that do not count. `ballots`
/// are those of an earlier count, and then those of this one.
pub(crate) fn line(
    graph: &Graph,
    cast: &Cast,
    ballots: &mut Vec<Ballot>,
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
        let Some(won) = choose(graph, cast, term, &signed, &mut earlier, ballots) else {
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
/// it. Between rivals neither time nor id may decide first, for who lost the office can always write an older one; what
/// others have seen does.
fn choose(
    graph: &Graph,
    cast: &Cast,
    term: &OwnerTerm,
    signed: &[Idx],
    earlier: &mut Vec<Ballot>,
    ballots: &mut Vec<Ballot>,
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
        None => Ballot::new(graph, cast, term, groups.clone()),
    };
    ballot.count(graph, cast);
    let support: Vec<usize> = ballot.support.iter().map(BTreeSet::len).collect();
    ballots.push(ballot);
    let best = (0..groups.len()).min_by_key(|n| {
        let id = graph.id(groups[*n][0]);
        (std::cmp::Reverse(support[*n]), id)
    })?;
    Some(groups.swap_remove(best))
}

impl Ballot {
    fn new(graph: &Graph, cast: &Cast, term: &OwnerTerm, rivals: Vec<Vec<Idx>>) -> Self {
        let concerned: BTreeSet<UserId> = rivals
            .iter()
            .filter_map(|group| succession(graph, group[0]).map(|act| act.successor))
            .chain([term.holder])
            .collect();
        let electors = cast
            .users()
            .filter(|user| !concerned.contains(&cast.user_id(*user)))
            .filter(|user| {
                cast.admissions(*user).iter().any(|admission| {
                    rivals
                        .iter()
                        .all(|group| group.iter().any(|idx| graph.precedes(*admission, *idx)))
                })
            })
            .collect();
        Self {
            support: vec![BTreeSet::new(); rivals.len()],
            rivals,
            holder: term.holder,
            electors,
            counted: 0,
        }
    }

    /// Whether it counted events at this place or behind it.
    pub(crate) fn reaches(&self, len: usize) -> bool {
        self.counted > len
    }

    /// For each of the rivals, who has seen it and none of the others: users admitted in the common past of all, but for
    /// those whom it concerns.
    fn count(&mut self, graph: &Graph, cast: &Cast) {
        for idx in graph.indices().take(cast.len()).skip(self.counted) {
            let mut known = (0..self.rivals.len()).filter(|n| {
                self.rivals[*n]
                    .iter()
                    .any(|rival| graph.precedes(*rival, idx) || *rival == idx)
            });
            if let (Some(only), None) = (known.next(), known.next()) {
                let device = cast.author(idx);
                self.support[only].extend(
                    cast.users_of(device)
                        .iter()
                        .filter(|user| self.electors.contains(user))
                        .filter(|user| cast.certified(graph, **user, device, idx)),
                );
            }
        }
        self.counted = cast.len();
    }
}
