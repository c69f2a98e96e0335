//! Invites, and what each kind of admission asks for.

use super::closings::invite_before;
use super::roll::Uses;
use super::{Issued, Walk, lapsed, proven, proven_certificate};
use crate::authority::cast::{D, Pair, U};
use crate::authority::removals::{Removal, Scope};
use crate::event::Act;
use crate::event::act::{Admit, DeviceAdd, InviteKind};
use crate::graph::Idx;
use crate::ids::EventId;
use crate::verdict::Reason;

impl Walk<'_> {
    pub(super) fn invite(&mut self, idx: Idx) -> Result<(), Reason> {
        let issuer = self.office(&self.speakers(idx)?, idx)?;
        let terms = self.terms.offices(issuer, idx);
        self.roll.issue(&self.now, Issued { issuer, terms });
        Ok(())
    }

    pub(super) fn admit(&mut self, idx: Idx, act: &Admit) -> Result<(), Reason> {
        let speakers = self.speakers(idx)?;
        proven_certificate(self.graph.proof(idx))?;
        let (Some(user), Some(device)) = (self.cast.user(&act.user), self.cast.device(&act.device))
        else {
            return Err(Reason::Unproven("the joiner's certificate"));
        };
        let invite = match &act.redemption {
            None => {
                let sponsor = speakers.first().map(|user| self.cast.user_id(*user));
                self.office(&speakers, idx)
                    .map_err(|reason| match (reason, sponsor) {
                        (Reason::NotAdmin { .. }, Some(who)) => {
                            Reason::NeedsInvite { who: who.into() }
                        }
                        (reason, _) => reason,
                    })?;
                None
            }
            Some(redemption) => Some(self.redeem(idx, act, redemption.invite, &speakers)?),
        };
        self.unbarred(idx, user, device, invite)?;
        if let Some(invite) = invite
            && !self.roll.is_member(&mut self.now, user)
        {
            self.use_invite(idx, invite)?;
        }
        self.join(idx, user, speakers.first().copied(), act.at, invite);
        self.add_device(idx, user, device, act.box_key);
        Ok(())
    }

    /// Checks all of an invite but its uses.
    pub(super) fn redeem(
        &self,
        idx: Idx,
        act: &Admit,
        id: EventId,
        speakers: &[U],
    ) -> Result<Idx, Reason> {
        let invite =
            invite_before(self.graph, id, idx).ok_or(Reason::UnknownInvite { invite: id })?;
        let issued = self
            .roll
            .issued(invite)
            .ok_or(Reason::InviteVoid { invite: id })?;
        let event = self.graph.event(invite);
        let Act::Invite(terms) = event.act() else {
            return Err(Reason::UnknownInvite { invite: id });
        };
        if matches!(terms.kind, InviteKind::Direct(named) if named != act.user) {
            return Err(Reason::NotInvited { invite: id });
        }
        proven(self.graph.proof(idx))?;
        if terms.countersign && self.office(speakers, idx).is_err() {
            return Err(Reason::NeedsCountersign { invite: id });
        }
        let outside = |closing: &&Idx| !self.graph.precedes(idx, **closing);
        if let Some(by) = self
            .closings
            .by_invite
            .get(&invite)
            .into_iter()
            .flatten()
            .find(outside)
        {
            return Err(Reason::InviteClosed {
                invite: id,
                by: self.id(*by),
            });
        }
        if let Some(by) = lapsed(self.terms, issued, Some(idx)) {
            return Err(Reason::InviteLapsed {
                invite: id,
                by: self.id(by),
            });
        }
        if act.at > terms.expires {
            return Err(Reason::InviteExpired { invite: id });
        }
        // A seal closes what it knows of. One by a wrong clock says nothing of invites that were made afterwards.
        if let Some(seal) = self.seals.list.iter().find(|seal| {
            self.graph.time(seal.event) > terms.expires
                && self.graph.precedes(invite, seal.event)
                && !self.graph.precedes(idx, seal.event)
        }) {
            return Err(Reason::InviteSealed {
                invite: id,
                by: self.id(seal.event),
            });
        }
        Ok(invite)
    }

    fn use_invite(&mut self, idx: Idx, invite: Idx) -> Result<(), Reason> {
        let graph = self.graph;
        let event = graph.event(invite);
        let Act::Invite(terms) = event.act() else {
            return Ok(());
        };
        let uses = self.roll.uses.read(&mut self.now, &invite);
        let uses = uses.copied().unwrap_or_default();
        if uses.count >= terms.max_uses {
            return Err(Reason::InviteUsedUp {
                invite: graph.id(invite),
                by: uses.last.map(|last| graph.id(last)),
            });
        }
        let uses = Uses {
            count: uses.count + 1,
            last: Some(idx),
        };
        self.roll.uses.write(&mut self.now, &invite, Some(uses));
        Ok(())
    }

    /// Fails if a removal of the joiner, or of a user whose device this is, stands against an admission.
    pub(super) fn unbarred(
        &self,
        idx: Idx,
        user: U,
        device: D,
        invite: Option<Idx>,
    ) -> Result<(), Reason> {
        let graph = self.graph;
        let direct = invite.filter(|invite| {
            matches!(graph.event(*invite).act(), Act::Invite(act) if matches!(act.kind, InviteKind::Direct(_)))
        });
        let who = || self.cast.user_id(user).into();
        for (_, removal) in self.against(user, device) {
            if removal.covers(graph, idx) {
                continue;
            }
            let by = self.id(removal.event());
            if !removal.known_to(graph, idx) {
                return Err(Reason::TargetRemoved { who: who(), by });
            }
            let back = removal.own
                || invite.is_none()
                || direct.is_some_and(|invite| removal.known_to(graph, invite));
            if !back {
                return Err(Reason::Barred { who: who(), by });
            }
        }
        Ok(())
    }

    /// Removals that reach a device as a user's, or as another user's that it called its own.
    pub(super) fn against(&self, user: U, device: D) -> impl Iterator<Item = (Scope, &Removal)> {
        let others = self
            .cast
            .users_of(device)
            .iter()
            .filter(move |other| **other != user)
            .filter(move |other| {
                self.cast
                    .pairs
                    .get(&(**other, device))
                    .is_some_and(Pair::is_mutual)
            })
            .map(|other| Scope::User(*other))
            .flat_map(|scope| {
                self.terms
                    .removals
                    .of(scope)
                    .map(move |removal| (scope, removal))
            });
        self.terms.removals.reaching(user, device).chain(others)
    }

    pub(super) fn device_add(&mut self, idx: Idx, act: &DeviceAdd) -> Result<(), Reason> {
        proven(self.graph.proof(idx))?;
        let (Some(user), Some(device)) = (self.cast.user(&act.user), self.cast.device(&act.device))
        else {
            return Err(Reason::NotAdmitted);
        };
        let graph = self.graph;
        let who = || self.cast.user_id(user).into();
        let mut reason = None;
        let mut member = false;
        for admission in self.roll.admitted(user).iter().rev() {
            if !graph.precedes(*admission, idx) {
                continue;
            }
            let reaching = self.terms.removals.of(Scope::User(user)).find(|removal| {
                !removal.known_to(graph, *admission) && !removal.covers(graph, idx)
            });
            match reaching {
                None => {
                    member = true;
                    break;
                }
                Some(removal) => {
                    reason = reason.or(Some(Reason::UserRemoved {
                        who: who(),
                        by: self.id(removal.event()),
                    }));
                }
            }
        }
        if !member {
            return Err(reason.unwrap_or(Reason::NotAMember { who: who() }));
        }
        // A removed device never comes back by this; a removed user's might, once the user is back.
        if let Some((_, removal)) = self
            .against(user, device)
            .find(|(scope, removal)| *scope != Scope::User(user) && !removal.covers(graph, idx))
        {
            return Err(Reason::DeviceRemoved {
                who: who(),
                device: act.device,
                by: self.id(removal.event()),
            });
        }
        self.add_device(idx, user, device, act.box_key);
        Ok(())
    }
}
