//! P3 on acts: who is a member, event by event in the settled order.
//!
//! An event counts if its author has a valid admission J in its past and lies in the past (or cut) of each accepted removal
//! of the author that J does not know. Removals are known beforehand, from P1; so when a removal's turn comes, whatever it
//! reaches was void already, and the walk is an ordinary replay.

mod admission;
mod finish;
mod roster;

use std::collections::{BTreeMap, BTreeSet};

use super::cast::{Cast, D, U};
use super::proof::Proof;
use super::removals::{Removal, Scope};
use super::terms::Terms;
use super::{Authority, Seniority};
use crate::event::Act;
use crate::event::act::EpochRotate;
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
