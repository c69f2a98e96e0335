//! What closes invites. A closing beats admissions that it does not know, so it is found before the walk.

use std::collections::BTreeMap;

use crate::authority::cast::Cast;
use crate::authority::terms::Terms;
use crate::event::Act;
use crate::event::act::Kind;
use crate::graph::{Graph, Idx};
use crate::ids::EventId;
use crate::verdict::Reason;

/// What ends invites early, by invite, and why other closings are void.
#[derive(Default)]
pub(crate) struct Closings {
    pub(crate) by_invite: BTreeMap<Idx, Vec<Idx>>,
    pub(crate) void: BTreeMap<Idx, Reason>,
}

impl Closings {
    pub(crate) fn of(graph: &Graph, cast: &Cast, terms: &Terms<'_>) -> Self {
        let mut all = Self::default();
        for (idx, invite) in cast.closed() {
            match closes(graph, terms, idx, invite) {
                Ok(invite) => all.by_invite.entry(invite).or_default().push(idx),
                Err(reason) => {
                    all.void.insert(idx, reason);
                }
            }
        }
        for idx in cast.removals.iter().copied() {
            // Before it is read: a member may write any number that do not count.
            let counts = terms.removals.by(idx).next().is_some();
            if !counts {
                continue;
            }
            let event = graph.event(idx);
            let Act::Remove(act) = event.act() else {
                continue;
            };
            if act.closes.is_empty() {
                continue;
            }
            let by_admin = terms
                .removals
                .by(idx)
                .any(|(_, removal)| removal.rank.is_some());
            for id in &act.closes {
                let Some(invite) = invite_before(graph, *id, idx) else {
                    continue;
                };
                // Who removes somebody may close what the removed could use, whoever issued it; who leaves, only his own.
                if by_admin || closes(graph, terms, idx, *id).is_ok() {
                    all.by_invite.entry(invite).or_default().push(idx);
                }
            }
        }
        for closings in all.by_invite.values_mut() {
            crate::authority::sort_by_rank(graph, closings);
        }
        all
    }

    /// What ends an invite, by (lamport, id).
    pub(crate) fn of_invite(&self, invite: Idx) -> &[Idx] {
        self.by_invite
            .get(&invite)
            .map(Vec::as_slice)
            .unwrap_or_default()
    }
}

/// The invite with an id, if it lies in the past of an event.
pub(super) fn invite_before(graph: &Graph, id: EventId, event: Idx) -> Option<Idx> {
    let invite = graph.find(&id)?;
    (graph.precedes(invite, event) && graph.kind(invite) == Kind::Invite).then_some(invite)
}

fn closes(graph: &Graph, terms: &Terms<'_>, idx: Idx, id: EventId) -> Result<Idx, Reason> {
    let invite = invite_before(graph, id, idx).ok_or(Reason::UnknownInvite { invite: id })?;
    let closer = terms.office_of_author(idx)?;
    let issuer = terms
        .office_of_author(invite)
        .map_err(|_| Reason::InviteVoid { invite: id })?;
    if closer.holder == issuer.holder || closer.rank < issuer.rank {
        Ok(invite)
    } else {
        Err(Reason::NotIssuer { invite: id })
    }
}
