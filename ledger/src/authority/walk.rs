//! P3 on acts: who is a member, event by event in the settled order.
//!
//! An event counts if its author has a valid admission J in its past and lies in the past (or cut) of each accepted removal
//! of the author that J does not know. Removals are known beforehand, from P1; so when a removal's turn comes, whatever it
//! reaches was void already, and the walk is an ordinary replay.

mod admission;
mod closings;
mod roll;
mod roster;
mod view;

pub(crate) use closings::Closings;
pub(crate) use roll::{Entry, Roll, Touched, set};

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::Seniority;
use super::cast::{Cast, D, U};
use super::proof::Proof;
use super::removals::{Removal, Scope};
use super::terms::Terms;
use crate::event::Act;
use crate::event::act::{EpochRotate, Kind};
use crate::graph::{Graph, Idx};
use crate::ids::{BoxKey, EventId};
use crate::order::Seals;
use crate::timeline::Step;
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

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Joined {
    event: Idx,
    by: Option<U>,
    at: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct LivePair {
    user: U,
    event: Idx,
    box_key: BoxKey,
    mutual: bool,
}

/// An invite that counts.
#[derive(PartialEq, Eq)]
pub(crate) struct Issued {
    issuer: U,
    terms: Vec<Seniority>,
}

/// The walk at a point, with all that a step looks at: the roll, and what was settled before the walk.
pub(crate) struct Walk<'a> {
    pub(crate) graph: &'a Graph,
    pub(crate) cast: &'a Cast,
    pub(crate) terms: &'a Terms<'a>,
    pub(crate) seals: &'a Seals,
    pub(crate) closings: &'a Closings,
    pub(crate) roll: &'a mut Roll,
    pub(crate) now: Step<'a>,
    pub(crate) unknown: Unknown<'a>,
}

/// The removals that reach a device as a user's and that its admission does not know: the same for every event that rests on that
/// admission, so they are looked for once.
pub(crate) type Unknown<'a> = RefCell<BTreeMap<(U, D, Idx), Vec<(Scope, &'a Removal)>>>;

impl<'a> Walk<'a> {
    fn id(&self, idx: Idx) -> EventId {
        self.graph.id(idx)
    }

    /// Takes an event's turn. What it changes among members and devices stands in the roll's effects.
    pub(crate) fn step(&mut self, idx: Idx) -> Result<Option<Standing>, Reason> {
        self.now.event = idx;
        self.roll.effects.clear();
        match self.graph.kind(idx) {
            Kind::Private => self.private(idx).map(Some),
            Kind::Merge => self.speakers(idx).map(|_| None),
            _ => self.act(idx).map(|()| None),
        }
    }

    /// For whom the author of a private event speaks.
    fn private(&self, idx: Idx) -> Result<Standing, Reason> {
        let speakers = self.speakers(idx)?;
        let office = speakers
            .iter()
            .copied()
            .find(|user| self.terms.office(*user, idx).is_ok());
        office
            .or(speakers.first().copied())
            .map(|user| Standing {
                user,
                admin: office.is_some(),
            })
            .ok_or(Reason::NotAdmitted)
    }

    fn act(&mut self, idx: Idx) -> Result<(), Reason> {
        let event = self.graph.event(idx);
        match event.act() {
            Act::Genesis(act) => {
                proven(self.graph.proof(idx))?;
                self.roll.begin_epoch(&mut self.now, event.header().epoch);
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
            Act::InviteClose(_) => self.closings.void.get(&idx).cloned().map_or(Ok(()), Err),
            Act::Checkpoint(_) => self.seals.void.get(&idx).cloned().map_or(Ok(()), Err),
            Act::Invite(_) => self.invite(idx),
            Act::Admit(act) => {
                let admitted = self.admit(idx, act);
                if admitted.is_err() {
                    self.refuse(act.device);
                }
                admitted
            }
            Act::DeviceAdd(act) => {
                let added = self.device_add(idx, act);
                if added.is_err() {
                    self.refuse(act.device);
                }
                added
            }
            Act::Private => self.private(idx).map(|_| ()),
            Act::EpochRotate(act) => self.rotate(idx, act),
            Act::EpochKeys(act) => {
                self.speakers(idx)?;
                let known = self.roll.epochs.read(&mut self.now, &act.epoch);
                known.map_or(Err(Reason::UnknownEpoch { epoch: act.epoch }), |()| Ok(()))
            }
            Act::Merge => self.speakers(idx).map(|_| ()),
        }
    }

    fn refuse(&mut self, device: crate::ids::DeviceId) {
        if let Some(device) = self.cast.device(&device) {
            self.roll.refuse(&self.now, device);
        }
    }

    /// The users for whom the author of an event speaks in it; an error if there is none.
    fn speakers(&self, idx: Idx) -> Result<Vec<U>, Reason> {
        let device = self.cast.author(idx);
        let mut speakers = Vec::new();
        let mut reason = None;
        // A device may be admitted any number of times. One admission is enough; and what does not know of a removal follows
        // nothing that does.
        let mut reached: Vec<(U, Idx)> = Vec::new();
        let called = self.cast.users_of(device).len();
        for (user, admission) in self.roll.admissions(device).iter().rev() {
            if speakers.len() == called {
                break;
            }
            let last = reached.iter().find(|(other, _)| other == user);
            if last.is_some_and(|(_, later)| self.graph.precedes(*admission, *later))
                || speakers.contains(user)
                || !self.graph.precedes(*admission, idx)
            {
                continue;
            }
            match self.reached(*user, device, *admission, idx) {
                None => speakers.push(*user),
                Some(why) => {
                    reason = reason.or(Some(why));
                    if last.is_none() {
                        reached.push((*user, *admission));
                    }
                }
            }
        }
        if !speakers.is_empty() {
            return Ok(speakers);
        }
        Err(reason.unwrap_or_else(|| {
            self.roll
                .refused(device)
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
        let mut unknown = self.unknown.borrow_mut();
        let unknown = unknown.entry((user, device, admission)).or_insert_with(|| {
            let (graph, terms): (&'a Graph, &'a Terms<'a>) = (self.graph, self.terms);
            let reaching = terms.removals.reaching(user, device);
            reaching
                .filter(|(_, removal)| !removal.known_to(graph, admission))
                .collect()
        });
        unknown
            .iter()
            .find(|(_, removal)| !removal.covers(self.graph, event))
            .map(|(scope, removal)| self.removed(*scope, user, device, removal))
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

    fn rotate(&mut self, idx: Idx, act: &EpochRotate) -> Result<(), Reason> {
        let speakers = self.speakers(idx)?;
        let graph = self.graph;
        let known = |event: &Idx| graph.precedes(*event, idx);
        let answered = |removal: &Idx| {
            let answers = self.roll.answers.get(removal);
            answers.is_some_and(|answers| answers.iter().any(known))
        };
        let due = self.roll.due.iter().copied();
        let open: Vec<Idx> = due
            .filter(|removal| known(removal) && !answered(removal))
            .collect();
        if self.office(&speakers, idx).is_err() && open.is_empty() {
            return Err(Reason::EpochNotDue);
        }
        self.roll.answer(&self.now, open);
        self.roll.begin_epoch(&mut self.now, act.epoch);
        Ok(())
    }
}

/// What made an invite lapse: every term it was issued under has ended; for an admission, without knowing of it.
fn lapsed(terms: &Terms<'_>, issued: &Issued, admission: Option<Idx>) -> Option<Idx> {
    let mut first = None;
    for rank in &issued.terms {
        let term = terms.began.get(rank)?;
        let ended = match admission {
            Some(admission) => terms.ended_for(term, admission),
            None => terms.ended(term),
        }?;
        first = first.or(Some(ended));
    }
    first
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
