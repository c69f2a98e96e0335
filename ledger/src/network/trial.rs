//! What acts would do, tried on the graph and taken back: for telling somebody before anything is signed for good.

use std::collections::BTreeSet;

use super::{AuthorError, Ledger};
use crate::event::{Act, Attributes};
use crate::fold::Fold;
use crate::graph::{Graph, Idx};
use crate::ids::{DeviceId, EventId, UserId};
use crate::keys::DeviceSecret;
use crate::state::{Rank, State};
use crate::store::Store;
use crate::verdict::{Reason, Verdict};

/// What is otherwise by one fold than by another. Ids ascend; events stand in the order of the later fold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Consequences {
    /// Events that counted and do not any more, and why.
    pub void: Vec<(EventId, Reason)>,
    /// Events that did not count and do now.
    pub revived: Vec<EventId>,
    /// Members who are none any more.
    pub members_gone: Vec<UserId>,
    /// Who is a member now.
    pub members_new: Vec<UserId>,
    /// Devices that lose the network.
    pub devices_gone: Vec<DeviceId>,
    /// Members who stay, and are neither owner nor admin any more.
    pub office_gone: Vec<UserId>,
    /// Who is owner or admin now.
    pub office_new: Vec<UserId>,
    /// Invites that let somebody in and do not any more.
    pub invites_gone: Vec<EventId>,
    /// Invites that let somebody in now.
    pub invites_new: Vec<EventId>,
    /// The new owner, if there is one.
    pub owner: Option<UserId>,
}

impl Consequences {
    /// What became otherwise between two folds of one network, the later one of `graph`. An invite counts as one that lets
    /// somebody in if it is neither closed, used up nor expired at `now`, in milliseconds since 1970.
    #[must_use]
    pub fn between(graph: &Graph, before: &Fold, after: &Fold, now: u64) -> Self {
        let mut found = Self::default();
        for idx in &after.order {
            let id = graph.id(*idx);
            let counted = before.verdicts.get(idx.0 as usize).map(Verdict::counts);
            match (counted, verdict(after, *idx)) {
                (Some(true), Some(Verdict::Void(reason))) => found.void.push((id, reason.clone())),
                (Some(false), Some(verdict)) if verdict.counts() => found.revived.push(id),
                _ => {}
            }
        }
        let (old, new) = (&before.state, &after.state);
        let members = |state: &State| state.members.keys().copied().collect::<BTreeSet<_>>();
        (found.members_gone, found.members_new) = changes(&members(old), &members(new));
        let devices = |state: &State| state.devices.keys().copied().collect::<BTreeSet<_>>();
        (found.devices_gone, _) = changes(&devices(old), &devices(new));
        let office = |state: &State| {
            let held = state.members.values();
            let held = held.filter(|member| member.rank != Rank::Member);
            held.map(|member| member.user).collect::<BTreeSet<_>>()
        };
        (found.office_gone, found.office_new) = changes(&office(old), &office(new));
        found
            .office_gone
            .retain(|user| new.members.contains_key(user));
        let open = |state: &State| {
            let live = state.invites.iter().filter(|(_, invite)| {
                invite.closed.is_none() && invite.expires > now && invite.used < invite.max_uses
            });
            live.map(|(id, _)| *id).collect::<BTreeSet<_>>()
        };
        (found.invites_gone, found.invites_new) = changes(&open(old), &open(new));
        found.owner = (old.owner != new.owner).then_some(new.owner);
        found
    }
}

impl<S: Store> Ledger<S> {
    /// What these acts, written by `device` one after the other, would do. Nothing is written.
    ///
    /// # Errors
    /// [`AuthorError`] of the first that could not be written.
    pub fn try_out(
        &mut self,
        device: &DeviceSecret,
        acts: &[(Act, Option<Attributes>)],
        now: u64,
    ) -> Result<Consequences, AuthorError> {
        self.whole()?;
        self.undamaged()?;
        let before = self.graph.len();
        let (then, mut tried) = (self.fold().clone(), Ok(()));
        for (act, attributes) in acts {
            tried = self.draft(device, act, attributes.as_ref(), now).map(drop);
            if tried.is_err() {
                break;
            }
        }
        let found = tried.map(|()| Consequences::between(&self.graph, &then, self.fold(), now));
        self.truncate(before);
        found
    }
}

fn verdict(fold: &Fold, idx: Idx) -> Option<&Verdict> {
    fold.verdicts.get(idx.0 as usize)
}

/// What is only in the first, and what is only in the second.
fn changes<T: Ord + Copy>(before: &BTreeSet<T>, after: &BTreeSet<T>) -> (Vec<T>, Vec<T>) {
    (
        before.difference(after).copied().collect(),
        after.difference(before).copied().collect(),
    )
}
