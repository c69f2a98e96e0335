//! Who may do what, from clear acts alone: no key is needed, and every replica can fold it.

pub(crate) mod cast;
mod proof;
mod removals;
mod succession;
mod terms;
pub(crate) mod walk;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::event::act::{InviteKind, Policy};
use crate::event::{Act, Event};
use crate::graph::Graph;
use crate::ids::{
    BoxKey, DeviceId, Digest, EpochId, EventId, InviteKey, NetworkId, RecoveryKey, UserId,
};
use crate::verdict::Reason;

pub(crate) use cast::sort_by_rank;
pub(crate) use proof::{Proof, mutual};
pub(crate) use removals::{Removal, Scope};
pub(crate) use succession::{Ballot, Electors, past_of_cut};
pub(crate) use terms::{Began, Settled, Terms};

/// The seniority of a term of office: the smaller, the more senior.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Seniority {
    /// The n-th owner.
    Owner(u32),
    /// An admin, by lamport and id of the grant.
    Admin(u32, EventId),
}

/// A term of office.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Term {
    /// Who holds it.
    pub holder: UserId,
    /// Its seniority.
    pub rank: Seniority,
    /// What ended it, if something did.
    pub ended: Option<EventId>,
}

/// A member, as far as acts tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Membership {
    /// The admission.
    pub admitted: EventId,
    /// The sponsor; none for who founded the network or took it over.
    pub by: Option<UserId>,
    /// When, milliseconds since 1970 by the sponsor's clock.
    pub at: u64,
}

/// A member's device, as far as acts tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LiveDevice {
    /// Whose it is.
    pub user: UserId,
    /// Where epoch keys for it are sealed to.
    pub box_key: BoxKey,
    /// The event that brought it.
    pub event: EventId,
}

/// An invite that counts, as far as acts tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct IssuedInvite {
    /// The public half of the ticket's key.
    pub key: InviteKey,
    /// Whom it is for.
    pub kind: InviteKind,
    /// Who issued it.
    pub issuer: UserId,
    /// How many users it admits.
    pub max_uses: u32,
    /// How many it admitted.
    pub used: u32,
    /// When it ends, milliseconds since 1970.
    pub expires: u64,
    /// Whether an admin's device must admit.
    pub countersign: bool,
    /// What ended it early, if something did.
    pub closed: Option<EventId>,
}

/// Who may do what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Authority {
    /// The network.
    pub network: NetworkId,
    /// Its policy.
    pub policy: Policy,
    /// The owner.
    pub owner: UserId,
    /// What ends the owner's term.
    pub recovery: RecoveryKey,
    /// All terms that were ever granted with effect, by the event that began them.
    pub terms: BTreeMap<EventId, Term>,
    /// The members.
    pub members: BTreeMap<UserId, Membership>,
    /// The members' devices.
    pub devices: BTreeMap<DeviceId, LiveDevice>,
    /// Users who were members and are not, with the event that removed them.
    pub removed_users: BTreeMap<UserId, EventId>,
    /// Devices that were members' and are not, with the event that removed them.
    pub removed_devices: BTreeMap<DeviceId, EventId>,
    /// Invites that count, closed and used ones included.
    pub invites: BTreeMap<EventId, IssuedInvite>,
    /// Accepted epochs, in order.
    pub epochs: Vec<EpochId>,
    /// Accepted removals that no epoch has answered yet.
    pub unanswered: BTreeSet<EventId>,
}

impl Authority {
    /// What the genesis alone says, before anybody counts as admitted.
    pub(crate) fn founded(graph: &Graph) -> Self {
        let genesis = graph.indices().next().map(|idx| graph.event(idx));
        let (owner, recovery, policy) = match genesis.as_ref().map(Event::act) {
            Some(Act::Genesis(act)) => (act.owner, act.recovery, act.policy),
            _ => (UserId([0; 32]), RecoveryKey([0; 32]), Policy::default()),
        };
        Self {
            network: genesis.as_ref().map_or(NetworkId::GENESIS, Event::network),
            policy,
            owner,
            recovery,
            terms: BTreeMap::new(),
            members: BTreeMap::new(),
            devices: BTreeMap::new(),
            removed_users: BTreeMap::new(),
            removed_devices: BTreeMap::new(),
            invites: BTreeMap::new(),
            epochs: Vec::new(),
            unanswered: BTreeSet::new(),
        }
    }

    /// A hash of all of it, equal on every replica that has the same events.
    #[must_use]
    pub fn hash(&self) -> Digest {
        let bytes = postcard::to_stdvec(self).unwrap_or_default();
        Digest(blake3::derive_key("mesh authority 1", &bytes))
    }

    /// A user's most senior live term, and the event that began it.
    #[must_use]
    pub fn office(&self, user: &UserId) -> Option<(EventId, &Term)> {
        if !self.members.contains_key(user) {
            return None;
        }
        self.terms
            .iter()
            .filter(|(_, term)| term.holder == *user && term.ended.is_none())
            .min_by_key(|(_, term)| term.rank)
            .map(|(start, term)| (*start, term))
    }

    /// Whether a user is the owner or an admin.
    #[must_use]
    pub fn is_admin(&self, user: &UserId) -> bool {
        self.office(user).is_some()
    }

    /// Whether the most senior live term of `a` is senior to that of `b`, if `b` has one.
    #[must_use]
    pub fn is_senior(&self, a: &UserId, b: &UserId) -> bool {
        match (self.office(a), self.office(b)) {
            (Some((_, a)), Some((_, b))) => a.rank < b.rank,
            (Some(_), None) => true,
            _ => false,
        }
    }

    /// Whether an admission of `user` at time `at` by this invite would count, as far as is known here.
    ///
    /// # Errors
    /// The reason why it would not.
    pub fn usable(
        &self,
        invite: &EventId,
        user: &UserId,
        at: u64,
    ) -> Result<&IssuedInvite, Reason> {
        let issued = self
            .invites
            .get(invite)
            .ok_or(Reason::UnknownInvite { invite: *invite })?;
        if let Some(by) = issued.closed {
            return Err(Reason::InviteClosed {
                invite: *invite,
                by,
            });
        }
        if matches!(issued.kind, InviteKind::Direct(named) if named != *user) {
            return Err(Reason::NotInvited { invite: *invite });
        }
        if at > issued.expires {
            return Err(Reason::InviteExpired { invite: *invite });
        }
        if issued.used >= issued.max_uses && !self.members.contains_key(user) {
            return Err(Reason::InviteUsedUp {
                invite: *invite,
                by: None,
            });
        }
        Ok(issued)
    }
}
