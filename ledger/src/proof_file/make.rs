//! Making a proof: which events it rests on, and the shortest links between them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{BadProof, Claim, MAX_CHAIN, ProofFile, named, verify};
use crate::event::Act;
use crate::event::act::succession_message;
use crate::fold::Fold;
use crate::graph::{Graph, Idx};
use crate::ids::{DeviceId, EventId, UserId};
use crate::keys::Domain;
use crate::verdict::Verdict;

/// Why something cannot be proven.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CannotProve {
    /// It is not so.
    #[error("that user is no member")]
    NotMember,
    /// It is not so.
    #[error("that user holds no office")]
    NotAdmin,
    /// There is no such event.
    #[error("no event {} here", .0.short())]
    NoEvent(EventId),
    /// The head that was asked for does not have it in its past.
    #[error("{} did not know of it", .0.short())]
    NotKnown(EventId),
    /// What it rests on does not count.
    #[error("nothing that counts gave the author of {} the right to sign it", .0.short())]
    Void(EventId),
    /// The chain would be too long to follow.
    #[error("the chain would have more than 16,384 events: prove it by the whole past")]
    TooLong,
    /// By the head's past it is not so.
    #[error("it cannot be proven by the past of that event: {0}")]
    NotSo(BadProof),
}

/// Proves a claim: by a chain, or with `whole` by all of the head's past. The head is the given event; else the fact itself,
/// which makes the shortest chain, or for the whole past the newest event by an admin that knew of the fact.
///
/// # Errors
/// [`CannotProve`] says why there is no proof.
pub fn prove(
    graph: &Graph,
    fold: &Fold,
    claim: Claim,
    head: Option<EventId>,
    whole: bool,
) -> Result<ProofFile, CannotProve> {
    let authority = &fold.authority;
    let fact = match claim {
        Claim::Member(user) => {
            let member = authority.members.get(&user);
            member.ok_or(CannotProve::NotMember)?.admitted
        }
        Claim::Admin(user) => authority.office(&user).ok_or(CannotProve::NotAdmin)?.0,
        Claim::Event(id) => id,
    };
    let at = graph.find(&fact).ok_or(CannotProve::NoEvent(fact))?;
    let head = match head {
        Some(id) => graph.find(&id).ok_or(CannotProve::NoEvent(id))?,
        None if whole => newest_by_an_admin(graph, fold, at).unwrap_or(at),
        None => at,
    };
    if head != at && !graph.precedes(at, head) {
        return Err(CannotProve::NotKnown(graph.id(head)));
    }
    let chosen: BTreeSet<Idx> = if whole {
        let all = graph.indices();
        all.filter(|idx| *idx == head || graph.precedes(*idx, head))
            .collect()
    } else {
        let mut chain = Chain {
            graph,
            fold,
            chosen: BTreeSet::new(),
            founded: BTreeSet::new(),
            open: vec![head, at],
        };
        chain.link(head, at)?;
        chain.found()?;
        chain.chosen
    };
    let file = ProofFile {
        claim,
        fact,
        head: graph.id(head),
        events: chosen
            .iter()
            .map(|idx| graph.event(*idx).bytes().to_vec())
            .collect(),
    };
    // Whoever gets it does the same.
    verify(&file, &authority.network).map_err(CannotProve::NotSo)?;
    Ok(file)
}

fn newest_by_an_admin(graph: &Graph, fold: &Fold, fact: Idx) -> Option<Idx> {
    let by_an_admin = |idx: &Idx| {
        let device = fold.authority.devices.get(&graph.author(*idx));
        device.is_some_and(|device| fold.authority.is_admin(&device.user))
    };
    graph
        .indices()
        .filter(|idx| *idx == fact || graph.precedes(fact, *idx))
        .filter(|idx| {
            fold.verdicts
                .get(idx.0 as usize)
                .is_some_and(Verdict::counts)
        })
        .filter(by_an_admin)
        .max_by_key(|idx| graph.rank(*idx))
}

struct Chain<'a> {
    graph: &'a Graph,
    fold: &'a Fold,
    /// All that goes into the proof.
    chosen: BTreeSet<Idx>,
    /// What it rests on, as far as that was looked into.
    founded: BTreeSet<Idx>,
    open: Vec<Idx>,
}

impl Chain<'_> {
    /// Takes what gave each author the right to sign, until nothing is open.
    fn found(&mut self) -> Result<(), CannotProve> {
        while let Some(idx) = self.open.pop() {
            if !self.founded.insert(idx) {
                continue;
            }
            self.chosen.insert(idx);
            for reason in self.reasons(idx)? {
                self.link(idx, reason)?;
                self.open.push(reason);
            }
        }
        Ok(())
    }

    /// What, in the past of an event, let its author sign it.
    fn reasons(&self, idx: Idx) -> Result<Vec<Idx>, CannotProve> {
        let event = self.graph.event(idx);
        let void = || CannotProve::Void(event.id());
        let author = event.author();
        let mut reasons = Vec::new();
        match event.act() {
            Act::Genesis(_) => return Ok(reasons),
            Act::DeviceAdd(act) => {
                reasons.push(self.admission(idx, &act.user).ok_or_else(void)?);
                return Ok(reasons);
            }
            Act::OwnerSet(act) => {
                let message = succession_message(&event.network(), act);
                let installed = |other: &Idx| {
                    let key = match self.graph.event(*other).act() {
                        Act::Genesis(former) => former.recovery,
                        Act::OwnerSet(former) => former.recovery,
                        _ => return false,
                    };
                    key.verifies(Domain::Succession, &message, &act.by_recovery)
                };
                reasons.push(self.latest(idx, installed).ok_or_else(void)?);
                if act.device == author {
                    return Ok(reasons);
                }
            }
            _ => {}
        }
        let naming = self.naming(idx, &author).ok_or_else(void)?;
        reasons.push(naming);
        let holder = named(self.graph.event(naming).act()).map(|(user, _)| user);
        let mut in_office = matches!(event.act(), Act::Invite(_) | Act::Grant(_));
        if let Act::Admit(act) = event.act() {
            match &act.redemption {
                Some(redemption) => {
                    let invite = self.graph.find(&redemption.invite).ok_or_else(void)?;
                    if let Act::Invite(act) = self.graph.event(invite).act() {
                        in_office |= act.countersign;
                    }
                    reasons.push(invite);
                }
                None => in_office = true,
            }
        }
        if let Act::Grant(act) = event.act() {
            reasons.push(self.admission(idx, &act.user).ok_or_else(void)?);
        }
        if in_office {
            let term = holder.and_then(|holder| self.term(idx, &holder));
            reasons.push(term.ok_or_else(void)?);
        }
        Ok(reasons)
    }

    /// The latest event that counts, in the past of another, for which something is true.
    fn latest(&self, before: Idx, is: impl Fn(&Idx) -> bool) -> Option<Idx> {
        let counts = |idx: &Idx| {
            let verdict = self.fold.verdicts.get(idx.0 as usize);
            verdict.is_some_and(Verdict::counts)
        };
        self.graph
            .indices()
            .filter(|idx| self.graph.kind(*idx).certifies())
            .filter(|idx| self.graph.precedes(*idx, before))
            .filter(counts)
            .filter(is)
            .max_by_key(|idx| self.graph.lamport(*idx))
    }

    fn naming(&self, before: Idx, device: &DeviceId) -> Option<Idx> {
        self.latest(before, |idx| {
            named(self.graph.event(*idx).act()).is_some_and(|(_, named)| named == *device)
        })
    }

    fn admission(&self, before: Idx, user: &UserId) -> Option<Idx> {
        self.latest(before, |idx| match self.graph.event(*idx).act() {
            Act::DeviceAdd(_) => false,
            act => named(act).is_some_and(|(named, _)| named == *user),
        })
    }

    fn term(&self, before: Idx, holder: &UserId) -> Option<Idx> {
        let terms = self.fold.authority.terms.iter();
        terms
            .filter(|(_, term)| term.holder == *holder)
            .filter_map(|(start, term)| Some((term.rank, self.graph.find(start)?)))
            .filter(|(_, start)| self.graph.precedes(*start, before))
            .min()
            .map(|(_, start)| start)
    }

    /// Takes the way from an event to one in its past that adds the fewest events.
    fn link(&mut self, from: Idx, to: Idx) -> Result<(), CannotProve> {
        let mut added: BTreeMap<Idx, usize> = BTreeMap::from([(from, 0)]);
        let mut came: BTreeMap<Idx, Idx> = BTreeMap::new();
        let mut open = VecDeque::from([(from, 0)]);
        while let Some((idx, so_far)) = open.pop_front() {
            if idx == to {
                break;
            }
            let event = self.graph.event(idx);
            let parents = event.header().parents.iter();
            for parent in parents.filter_map(|id| self.graph.find(id)) {
                let leads = parent == to || self.graph.precedes(to, parent);
                let there = self.chosen.contains(&parent);
                let adds = so_far + usize::from(!there);
                if leads && added.get(&parent).is_none_or(|least| adds < *least) {
                    added.insert(parent, adds);
                    came.insert(parent, idx);
                    if there {
                        open.push_front((parent, adds));
                    } else {
                        open.push_back((parent, adds));
                    }
                }
            }
        }
        let mut at = to;
        self.chosen.insert(at);
        while at != from {
            let known = || CannotProve::NotKnown(self.graph.id(to));
            at = *came.get(&at).ok_or_else(known)?;
            self.chosen.insert(at);
        }
        if self.chosen.len() > MAX_CHAIN {
            return Err(CannotProve::TooLong);
        }
        Ok(())
    }
}
