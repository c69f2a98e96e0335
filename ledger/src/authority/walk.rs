//! P3 on acts: who is a member, event by event in the settled order.
//!
//! An event counts if its author has a valid admission J in its past and lies in the past (or cut) of each accepted removal
//! of the author that J does not know. Removals are known beforehand, from P1; so when a removal's turn comes, whatever it
//! reaches was void already, and the walk is an ordinary replay.

use std::collections::{BTreeMap, BTreeSet};

use super::cast::{Cast, D, U};
use super::proof::{Proof, mutual};
use super::removals::{Removal, Scope};
use super::terms::Terms;
use super::{Authority, IssuedInvite, LiveDevice, Membership, Seniority, Term};
use crate::event::Act;
use crate::event::act::{Admit, DeviceAdd, EpochRotate, InviteKind};
use crate::graph::{Graph, Idx};
use crate::ids::{BoxKey, EpochId, EventId};
use crate::order::Seal;
use crate::verdict::Reason;

/// What an event changes among members and devices.
#[derive(Debug, Clone)]
pub(crate) enum Effect {
    /// A user became a member, by this invite if by one.
    Joined(U, Option<Idx>),
    /// A device became this user's.
    Device(D, U),
    /// A user is no member any more.
    UserGone(U),
    /// A device is no member's any more.
    DeviceGone(D),
}

/// For whom the author of a private event speaks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Standing {
    pub(crate) user: U,
    pub(crate) admin: bool,
}

/// What the walk found.
pub(crate) struct Walked {
    pub(crate) authority: Authority,
    /// Why an act is void, by event.
    pub(crate) void: BTreeMap<Idx, Reason>,
    /// In order.
    pub(crate) effects: Vec<(Idx, Effect)>,
    /// By event; none but for private events that count.
    pub(crate) standings: Vec<Option<Standing>>,
}

struct Joined {
    event: Idx,
    by: Option<U>,
    at: u64,
}

struct LivePair {
    user: U,
    event: Idx,
    box_key: BoxKey,
    mutual: bool,
}

struct Issued {
    issuer: U,
    terms: Vec<Seniority>,
    used: u32,
    last: Option<Idx>,
}

struct Walk<'a> {
    graph: &'a Graph,
    cast: &'a Cast,
    terms: &'a Terms<'a>,
    seals: &'a [Seal],
    /// What ends an invite early, by invite.
    closings: BTreeMap<Idx, Vec<Idx>>,
    void: BTreeMap<Idx, Reason>,
    effects: Vec<(Idx, Effect)>,
    standings: Vec<Option<Standing>>,
    /// Valid admissions, by device: whose, and by which event.
    admissions: Vec<Vec<(U, Idx)>>,
    /// Valid admissions, by user.
    admitted: Vec<Vec<Idx>>,
    /// Void ones, by device.
    refused: Vec<Vec<Idx>>,
    members: BTreeMap<U, Joined>,
    pairs: BTreeMap<D, Vec<LivePair>>,
    live_devices: BTreeMap<U, BTreeSet<D>>,
    gone_users: BTreeMap<U, Idx>,
    gone_devices: BTreeMap<D, Idx>,
    invites: BTreeMap<Idx, Issued>,
    epochs: Vec<EpochId>,
    known_epochs: BTreeSet<EpochId>,
    /// Accepted removals of users and devices, each with the epochs that answer it.
    due: Vec<(Idx, Vec<Idx>)>,
}

/// Walks all events in order.
pub(crate) fn walk<'a>(
    graph: &'a Graph,
    cast: &'a Cast,
    terms: &'a Terms<'a>,
    seals: &'a [Seal],
    order: &[Idx],
    void_seals: Vec<(Idx, Reason)>,
) -> Walked {
    let mut walk = Walk {
        graph,
        cast,
        terms,
        seals,
        closings: BTreeMap::new(),
        void: void_seals.into_iter().collect(),
        effects: Vec::new(),
        standings: vec![None; graph.len()],
        admissions: vec![Vec::new(); cast.device_count() as usize],
        admitted: vec![Vec::new(); cast.user_count() as usize],
        refused: vec![Vec::new(); cast.device_count() as usize],
        members: BTreeMap::new(),
        pairs: BTreeMap::new(),
        live_devices: BTreeMap::new(),
        gone_users: BTreeMap::new(),
        gone_devices: BTreeMap::new(),
        invites: BTreeMap::new(),
        epochs: Vec::new(),
        known_epochs: BTreeSet::new(),
        due: Vec::new(),
    };
    walk.close_invites(order);
    for idx in order {
        if let Err(reason) = walk.step(*idx) {
            walk.void.insert(*idx, reason);
        }
    }
    walk.finish()
}

impl Walk<'_> {
    fn id(&self, idx: Idx) -> EventId {
        self.graph.event(idx).id()
    }

    /// Finds what closes invites. A closing beats admissions that it does not know, so it must be known before them.
    fn close_invites(&mut self, order: &[Idx]) {
        for idx in self.cast.closings.iter().copied() {
            let Act::InviteClose(act) = self.graph.event(idx).act() else {
                continue;
            };
            match self.closes(idx, act.invite) {
                Ok(invite) => self.closings.entry(invite).or_default().push(idx),
                Err(reason) => {
                    self.void.insert(idx, reason);
                }
            }
        }
        for idx in order.iter().copied() {
            let Act::Remove(act) = self.graph.event(idx).act() else {
                continue;
            };
            if act.closes.is_empty() {
                continue;
            }
            let by_admin = self
                .terms
                .removals
                .by(idx)
                .any(|(_, removal)| removal.rank.is_some());
            for id in &act.closes {
                let Some(invite) = self.invite_before(*id, idx) else {
                    continue;
                };
                // Who removes somebody may close what the removed could use, whoever issued it; who leaves, only his own.
                let closes = if by_admin {
                    true
                } else {
                    self.terms.removals.by(idx).next().is_some() && self.closes(idx, *id).is_ok()
                };
                if closes {
                    self.closings.entry(invite).or_default().push(idx);
                }
            }
        }
        for closings in self.closings.values_mut() {
            super::sort_by_rank(self.graph, closings);
        }
    }

    fn invite_before(&self, id: EventId, event: Idx) -> Option<Idx> {
        let invite = self.graph.find(&id)?;
        (self.graph.precedes(invite, event)
            && matches!(self.graph.event(invite).act(), Act::Invite(_)))
        .then_some(invite)
    }

    fn closes(&self, idx: Idx, id: EventId) -> Result<Idx, Reason> {
        let invite = self
            .invite_before(id, idx)
            .ok_or(Reason::UnknownInvite { invite: id })?;
        let closer = self.terms.office_of_author(idx)?;
        let issuer = self
            .terms
            .office_of_author(invite)
            .map_err(|_| Reason::InviteVoid { invite: id })?;
        if closer.holder == issuer.holder || closer.rank < issuer.rank {
            Ok(invite)
        } else {
            Err(Reason::NotIssuer { invite: id })
        }
    }

    fn step(&mut self, idx: Idx) -> Result<(), Reason> {
        if let Some(reason) = self.void.get(&idx) {
            return Err(reason.clone());
        }
        let event = self.graph.event(idx);
        match event.act() {
            Act::Genesis(act) => {
                proven(self.graph.proof(idx))?;
                self.begin_epoch(event.header().epoch);
                if let (Some(user), Some(device)) =
                    (self.cast.user(&act.owner), self.cast.device(&act.device))
                {
                    self.join(idx, user, None, event.header().time, None);
                    self.add_device(idx, user, device, act.box_key);
                }
                Ok(())
            }
            Act::OwnerSet(act) => {
                self.terms.verdict(idx)?;
                if let (Some(user), Some(device)) = (
                    self.cast.user(&act.successor),
                    self.cast.device(&act.device),
                ) {
                    self.join(idx, user, None, event.header().time, None);
                    self.add_device(idx, user, device, act.box_key);
                }
                Ok(())
            }
            Act::Grant(_) => self.terms.verdict(idx),
            Act::Remove(_) => {
                self.terms.verdict(idx)?;
                self.remove(idx);
                Ok(())
            }
            // Judged before the walk.
            Act::InviteClose(_) | Act::Checkpoint(_) => Ok(()),
            Act::Invite(_) => self.invite(idx),
            Act::Admit(act) => {
                let admitted = self.admit(idx, act);
                if admitted.is_err() {
                    self.refuse(idx, act.device);
                }
                admitted
            }
            Act::DeviceAdd(act) => {
                let added = self.device_add(idx, act);
                if added.is_err() {
                    self.refuse(idx, act.device);
                }
                added
            }
            Act::Private => {
                let speakers = self.speakers(idx)?;
                let office = speakers
                    .iter()
                    .copied()
                    .find(|user| self.terms.office(*user, idx).is_ok());
                self.standings[idx.0 as usize] =
                    office.or(speakers.first().copied()).map(|user| Standing {
                        user,
                        admin: office.is_some(),
                    });
                Ok(())
            }
            Act::EpochRotate(act) => self.rotate(idx, act),
            Act::EpochKeys(act) => {
                self.speakers(idx)?;
                if self.known_epochs.contains(&act.epoch) {
                    Ok(())
                } else {
                    Err(Reason::UnknownEpoch { epoch: act.epoch })
                }
            }
            Act::Merge => self.speakers(idx).map(|_| ()),
        }
    }

    fn refuse(&mut self, idx: Idx, device: crate::ids::DeviceId) {
        if let Some(device) = self.cast.device(&device) {
            self.refused[device.0 as usize].push(idx);
        }
    }

    /// The users for whom the author of an event speaks in it; an error if there is none.
    fn speakers(&self, idx: Idx) -> Result<Vec<U>, Reason> {
        let device = self.cast.author(idx);
        let mut speakers = Vec::new();
        let mut reason = None;
        for (user, admission) in self.admissions[device.0 as usize].iter().rev() {
            if speakers.contains(user) || !self.graph.precedes(*admission, idx) {
                continue;
            }
            match self.reached(*user, device, *admission, idx) {
                None => speakers.push(*user),
                Some(why) => reason = reason.or(Some(why)),
            }
        }
        if !speakers.is_empty() {
            return Ok(speakers);
        }
        Err(reason.unwrap_or_else(|| {
            self.refused[device.0 as usize]
                .iter()
                .rev()
                .find(|refused| self.graph.precedes(**refused, idx))
                .map_or(Reason::NotAdmitted, |refused| Reason::AdmissionVoid {
                    admission: self.id(*refused),
                })
        }))
    }

    /// The removal that an admission does not know and an event lies outside of, if there is one.
    fn reached(&self, user: U, device: D, admission: Idx, event: Idx) -> Option<Reason> {
        self.terms
            .removals
            .reaching(user, device)
            .find(|(_, removal)| {
                !removal.known_to(self.graph, admission) && !removal.covers(self.graph, event)
            })
            .map(|(scope, removal)| self.removed(scope, user, device, removal))
    }

    fn removed(&self, scope: Scope, user: U, device: D, removal: &Removal) -> Reason {
        let (who, by) = (self.cast.user_id(user).into(), self.id(removal.event()));
        match scope {
            Scope::User(_) | Scope::Term(_) => Reason::UserRemoved { who, by },
            Scope::Device(_) | Scope::Pair(..) => Reason::DeviceRemoved {
                who,
                device: self.cast.device_id(device),
                by,
            },
        }
    }

    /// Whether one of the speakers is an admin in an event.
    fn office(&self, speakers: &[U], idx: Idx) -> Result<U, Reason> {
        let mut reason = None;
        for user in speakers {
            match self.terms.office(*user, idx) {
                Ok(_) => return Ok(*user),
                Err(why) => reason = reason.or(Some(why)),
            }
        }
        Err(reason.unwrap_or(Reason::NotAdmitted))
    }

    fn invite(&mut self, idx: Idx) -> Result<(), Reason> {
        let issuer = self.office(&self.speakers(idx)?, idx)?;
        self.invites.insert(
            idx,
            Issued {
                issuer,
                terms: self.terms.offices(issuer, idx),
                used: 0,
                last: None,
            },
        );
        Ok(())
    }

    fn admit(&mut self, idx: Idx, act: &Admit) -> Result<(), Reason> {
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
            && !self.members.contains_key(&user)
        {
            self.use_invite(idx, invite)?;
        }
        self.join(idx, user, speakers.first().copied(), act.at, invite);
        self.add_device(idx, user, device, act.box_key);
        Ok(())
    }

    /// Checks all of an invite but its uses.
    fn redeem(&self, idx: Idx, act: &Admit, id: EventId, speakers: &[U]) -> Result<Idx, Reason> {
        let invite = self
            .invite_before(id, idx)
            .ok_or(Reason::UnknownInvite { invite: id })?;
        let issued = self
            .invites
            .get(&invite)
            .ok_or(Reason::InviteVoid { invite: id })?;
        let Act::Invite(terms) = self.graph.event(invite).act() else {
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
        if let Some(by) = self.lapsed(issued, Some(idx)) {
            return Err(Reason::InviteLapsed {
                invite: id,
                by: self.id(by),
            });
        }
        if act.at > terms.expires {
            return Err(Reason::InviteExpired { invite: id });
        }
        if let Some(seal) = self.seals.iter().find(|seal| {
            self.graph.event(seal.event).header().time > terms.expires
                && !self.graph.precedes(idx, seal.event)
        }) {
            return Err(Reason::InviteSealed {
                invite: id,
                by: self.id(seal.event),
            });
        }
        Ok(invite)
    }

    /// What made an invite lapse: every term it was issued under has ended; for an admission, without knowing of it.
    fn lapsed(&self, issued: &Issued, admission: Option<Idx>) -> Option<Idx> {
        let mut first = None;
        for rank in &issued.terms {
            let term = self.terms.began.get(rank)?;
            let ended = match admission {
                Some(admission) => self.terms.ended_for(term, admission),
                None => self.terms.ended(term),
            }?;
            first = first.or(Some(ended));
        }
        first
    }

    fn use_invite(&mut self, idx: Idx, invite: Idx) -> Result<(), Reason> {
        let graph = self.graph;
        let (Act::Invite(terms), Some(issued)) =
            (graph.event(invite).act(), self.invites.get_mut(&invite))
        else {
            return Ok(());
        };
        if issued.used >= terms.max_uses {
            return Err(Reason::InviteUsedUp {
                invite: graph.event(invite).id(),
                by: issued.last.map(|last| graph.event(last).id()),
            });
        }
        issued.used += 1;
        issued.last = Some(idx);
        Ok(())
    }

    /// Fails if a removal of the joiner, or of a user whose device this is, stands against an admission.
    fn unbarred(&self, idx: Idx, user: U, device: D, invite: Option<Idx>) -> Result<(), Reason> {
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
    fn against(&self, user: U, device: D) -> impl Iterator<Item = (Scope, &Removal)> {
        let others = self
            .cast
            .users_of(device)
            .iter()
            .filter(move |other| **other != user)
            .filter(move |other| {
                self.cast
                    .pairs
                    .get(&(**other, device))
                    .is_some_and(|pair| pair.mutual)
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

    fn device_add(&mut self, idx: Idx, act: &DeviceAdd) -> Result<(), Reason> {
        proven(self.graph.proof(idx))?;
        let (Some(user), Some(device)) = (self.cast.user(&act.user), self.cast.device(&act.device))
        else {
            return Err(Reason::NotAdmitted);
        };
        let graph = self.graph;
        let who = || self.cast.user_id(user).into();
        let mut reason = None;
        let mut member = false;
        for admission in self.admitted[user.0 as usize].iter().rev() {
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
        self.admitted[user.0 as usize].push(idx);
        self.add_device(idx, user, device, act.box_key);
        Ok(())
    }

    fn join(&mut self, idx: Idx, user: U, by: Option<U>, at: u64, invite: Option<Idx>) {
        self.admitted[user.0 as usize].push(idx);
        if let std::collections::btree_map::Entry::Vacant(vacant) = self.members.entry(user) {
            vacant.insert(Joined { event: idx, by, at });
            self.gone_users.remove(&user);
            self.effects.push((idx, Effect::Joined(user, invite)));
        }
    }

    fn add_device(&mut self, idx: Idx, user: U, device: D, box_key: BoxKey) {
        let graph = self.graph;
        self.admissions[device.0 as usize].push((user, idx));
        if self.reached(user, device, idx, idx).is_some() {
            return;
        }
        let mutual = graph.proof(idx) == Proof::Holds && mutual(graph.event(idx).act()).is_some();
        let pairs = self.pairs.entry(device).or_default();
        let before = primary(pairs).map(|pair| pair.user);
        match pairs.iter_mut().find(|pair| pair.user == user) {
            Some(pair) => pair.mutual |= mutual,
            None => pairs.push(LivePair {
                user,
                event: idx,
                box_key,
                mutual,
            }),
        }
        self.live_devices.entry(user).or_default().insert(device);
        self.gone_devices.remove(&device);
        self.rehome(idx, device, before);
    }

    fn rehome(&mut self, idx: Idx, device: D, before: Option<U>) {
        let after = self
            .pairs
            .get(&device)
            .and_then(|pairs| primary(pairs))
            .map(|pair| pair.user);
        match after {
            _ if before == after => {}
            Some(user) => self.effects.push((idx, Effect::Device(device, user))),
            None => {
                self.gone_devices.insert(device, idx);
                self.effects.push((idx, Effect::DeviceGone(device)));
            }
        }
    }

    fn remove(&mut self, idx: Idx) {
        let terms = self.terms;
        let mut of_members = false;
        for (scope, removal) in terms.removals.by(idx) {
            match scope {
                Scope::User(user) => {
                    of_members = true;
                    let devices = self.live_devices.get(&user).cloned().unwrap_or_default();
                    for device in devices {
                        self.remove_device(idx, device, Some(user), removal);
                    }
                    if self
                        .members
                        .get(&user)
                        .is_some_and(|joined| !removal.known_to(self.graph, joined.event))
                    {
                        self.members.remove(&user);
                        self.gone_users.insert(user, idx);
                        self.effects.push((idx, Effect::UserGone(user)));
                    }
                }
                Scope::Device(device) => {
                    of_members = true;
                    self.remove_device(idx, device, None, removal);
                }
                Scope::Pair(user, device) => {
                    of_members = true;
                    self.remove_device(idx, device, Some(user), removal);
                }
                Scope::Term(_) => {}
            }
        }
        if of_members {
            self.due.push((idx, Vec::new()));
        }
    }

    fn remove_device(&mut self, idx: Idx, device: D, of: Option<U>, removal: &Removal) {
        let graph = self.graph;
        let Some(pairs) = self.pairs.get_mut(&device) else {
            return;
        };
        let before = primary(pairs).map(|pair| pair.user);
        let live_devices = &mut self.live_devices;
        pairs.retain(|pair| {
            let stays =
                of.is_some_and(|user| user != pair.user) || removal.known_to(graph, pair.event);
            if !stays && let Some(devices) = live_devices.get_mut(&pair.user) {
                devices.remove(&device);
            }
            stays
        });
        if pairs.is_empty() {
            self.pairs.remove(&device);
        }
        self.rehome(idx, device, before);
    }

    fn begin_epoch(&mut self, epoch: EpochId) {
        if epoch != EpochId::NONE && self.known_epochs.insert(epoch) {
            self.epochs.push(epoch);
        }
    }

    fn rotate(&mut self, idx: Idx, act: &EpochRotate) -> Result<(), Reason> {
        let speakers = self.speakers(idx)?;
        let graph = self.graph;
        let known = |event: &Idx| graph.precedes(*event, idx);
        let asked = || {
            self.due
                .iter()
                .any(|(removal, answers)| known(removal) && !answers.iter().any(known))
        };
        if self.office(&speakers, idx).is_err() && !asked() {
            return Err(Reason::EpochNotDue);
        }
        for (removal, answers) in &mut self.due {
            if known(removal) && !answers.iter().any(known) {
                answers.push(idx);
            }
        }
        self.begin_epoch(act.epoch);
        Ok(())
    }

    fn finish(self) -> Walked {
        let (graph, cast) = (self.graph, self.cast);
        let id = |idx: Idx| graph.event(idx).id();
        let mut authority = Authority::founded(graph);
        if let Some(last) = self.terms.line.last() {
            authority.owner = last.holder;
            authority.recovery = last.recovery;
        }
        for (rank, term) in &self.terms.began {
            for start in &term.starts {
                authority.terms.insert(
                    id(*start),
                    Term {
                        holder: cast.user_id(term.holder),
                        rank: *rank,
                        ended: self.terms.ended(term).map(id),
                    },
                );
            }
        }
        for (user, joined) in &self.members {
            authority.members.insert(
                cast.user_id(*user),
                Membership {
                    admitted: id(joined.event),
                    by: joined.by.map(|by| cast.user_id(by)),
                    at: joined.at,
                },
            );
        }
        for (device, pairs) in &self.pairs {
            if let Some(pair) = primary(pairs) {
                authority.devices.insert(
                    cast.device_id(*device),
                    LiveDevice {
                        user: cast.user_id(pair.user),
                        box_key: pair.box_key,
                        event: id(pair.event),
                    },
                );
            }
        }
        for (user, by) in &self.gone_users {
            authority.removed_users.insert(cast.user_id(*user), id(*by));
        }
        for (device, by) in &self.gone_devices {
            authority
                .removed_devices
                .insert(cast.device_id(*device), id(*by));
        }
        for (idx, issued) in &self.invites {
            let Act::Invite(act) = graph.event(*idx).act() else {
                continue;
            };
            let closed = self
                .closings
                .get(idx)
                .and_then(|closings| closings.first().copied())
                .or_else(|| self.lapsed(issued, None));
            authority.invites.insert(
                id(*idx),
                IssuedInvite {
                    key: act.key,
                    kind: act.kind,
                    issuer: cast.user_id(issued.issuer),
                    max_uses: act.max_uses,
                    used: issued.used,
                    expires: act.expires,
                    countersign: act.countersign,
                    closed: closed.map(id),
                },
            );
        }
        authority.unanswered = self
            .due
            .iter()
            .filter(|(_, answers)| answers.is_empty())
            .map(|(removal, _)| id(*removal))
            .collect();
        authority.epochs = self.epochs;
        Walked {
            authority,
            void: self.void,
            effects: self.effects,
            standings: self.standings,
        }
    }
}

/// Of several users who call a device theirs, the one with whom it agreed, or else the first.
fn primary(pairs: &[LivePair]) -> Option<&LivePair> {
    pairs
        .iter()
        .find(|pair| pair.mutual)
        .or_else(|| pairs.first())
}

fn proven(proof: Proof) -> Result<(), Reason> {
    match proof {
        Proof::Fails(what) | Proof::Certified(what) => Err(Reason::Unproven(what)),
        _ => Ok(()),
    }
}

fn proven_certificate(proof: Proof) -> Result<(), Reason> {
    match proof {
        Proof::Fails(what) => Err(Reason::Unproven(what)),
        _ => Ok(()),
    }
}
