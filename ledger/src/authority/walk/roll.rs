//! Who is here at a point of the walk: everything that a step of it reads and writes.
//!
//! Every write leaves an entry in a log with what stood there before, so the walk can be taken back to any earlier point:
//! no snapshots. What was written or taken back is remembered too, so that what is shown can be brought up to date key by
//! key.

use std::collections::{BTreeMap, BTreeSet};

use super::{Effect, Issued, Joined, LivePair};
use crate::authority::cast::{D, U};
use crate::graph::Idx;
use crate::ids::EpochId;

/// See the module.
#[derive(Default)]
pub(crate) struct Roll {
    /// Valid admissions, by device: whose, and by which event.
    admissions: Vec<Vec<(U, Idx)>>,
    /// Valid admissions, by user.
    admitted: Vec<Vec<Idx>>,
    /// Void ones, by device.
    refused: Vec<Vec<Idx>>,
    pub(super) members: BTreeMap<U, Joined>,
    pub(super) pairs: BTreeMap<D, Vec<LivePair>>,
    pub(super) gone_users: BTreeMap<U, Idx>,
    pub(super) gone_devices: BTreeMap<D, Idx>,
    pub(super) invites: BTreeMap<Idx, Issued>,
    pub(super) epochs: Vec<EpochId>,
    pub(super) known_epochs: BTreeSet<EpochId>,
    /// Accepted removals of users and devices, each with the epochs that answer it.
    pub(super) due: Vec<(Idx, Vec<Idx>)>,
    /// What the present step changes among members and devices.
    pub(crate) effects: Vec<Effect>,
    log: Vec<Undo>,
    touched: Touched,
}

/// What was written, or taken back.
#[derive(Default)]
pub(crate) struct Touched {
    pub(crate) users: BTreeSet<U>,
    pub(crate) devices: BTreeSet<D>,
    pub(crate) invites: BTreeSet<Idx>,
    pub(crate) epochs: bool,
    pub(crate) due: bool,
}

enum Undo {
    Admission(D),
    Admitted(U),
    Refused(D),
    Member(U, Option<Joined>),
    Pairs(D, Option<Vec<LivePair>>),
    GoneUser(U, Option<Idx>),
    GoneDevice(D, Option<Idx>),
    Issued(Idx),
    Used(Idx, Option<Idx>),
    Epoch,
    Due,
    Answer(usize),
}

impl Roll {
    pub(super) fn admissions(&self, device: D) -> &[(U, Idx)] {
        at(&self.admissions, device.0)
    }

    pub(super) fn admitted(&self, user: U) -> &[Idx] {
        at(&self.admitted, user.0)
    }

    pub(super) fn refused(&self, device: D) -> &[Idx] {
        at(&self.refused, device.0)
    }

    pub(super) fn add_admission(&mut self, device: D, user: U, idx: Idx) {
        push(&mut self.admissions, device.0, (user, idx));
        self.log.push(Undo::Admission(device));
    }

    pub(super) fn add_admitted(&mut self, user: U, idx: Idx) {
        push(&mut self.admitted, user.0, idx);
        self.log.push(Undo::Admitted(user));
    }

    pub(super) fn add_refused(&mut self, device: D, idx: Idx) {
        push(&mut self.refused, device.0, idx);
        self.log.push(Undo::Refused(device));
    }

    pub(super) fn set_member(&mut self, user: U, joined: Option<Joined>) {
        let before = set(&mut self.members, user, joined);
        self.log.push(Undo::Member(user, before));
        self.touched.users.insert(user);
    }

    pub(super) fn set_pairs(&mut self, device: D, pairs: Vec<LivePair>) {
        let pairs = Some(pairs).filter(|pairs| !pairs.is_empty());
        let before = set(&mut self.pairs, device, pairs);
        self.log.push(Undo::Pairs(device, before));
        self.touched.devices.insert(device);
    }

    pub(super) fn set_gone_user(&mut self, user: U, by: Option<Idx>) {
        let before = set(&mut self.gone_users, user, by);
        if before != by {
            self.log.push(Undo::GoneUser(user, before));
            self.touched.users.insert(user);
        }
    }

    pub(super) fn set_gone_device(&mut self, device: D, by: Option<Idx>) {
        let before = set(&mut self.gone_devices, device, by);
        if before != by {
            self.log.push(Undo::GoneDevice(device, before));
            self.touched.devices.insert(device);
        }
    }

    pub(super) fn issue(&mut self, invite: Idx, issued: Issued) {
        self.invites.insert(invite, issued);
        self.log.push(Undo::Issued(invite));
        self.touched.invites.insert(invite);
    }

    pub(super) fn use_invite(&mut self, invite: Idx, by: Idx) {
        if let Some(issued) = self.invites.get_mut(&invite) {
            let before = issued.last.replace(by);
            issued.used += 1;
            self.log.push(Undo::Used(invite, before));
            self.touched.invites.insert(invite);
        }
    }

    pub(super) fn begin_epoch(&mut self, epoch: EpochId) {
        if epoch != EpochId::NONE && self.known_epochs.insert(epoch) {
            self.epochs.push(epoch);
            self.log.push(Undo::Epoch);
            self.touched.epochs = true;
        }
    }

    pub(super) fn ask(&mut self, removal: Idx) {
        self.due.push((removal, Vec::new()));
        self.log.push(Undo::Due);
        self.touched.due = true;
    }

    pub(super) fn answer(&mut self, number: usize, by: Idx) {
        self.due[number].1.push(by);
        self.log.push(Undo::Answer(number));
        self.touched.due = true;
    }

    /// A point to go back to.
    pub(crate) fn mark(&self) -> usize {
        self.log.len()
    }

    /// Goes back to a point.
    pub(crate) fn rewind(&mut self, mark: usize) {
        while self.log.len() > mark {
            let Some(undo) = self.log.pop() else { return };
            match undo {
                Undo::Admission(device) => pop(&mut self.admissions, device.0),
                Undo::Admitted(user) => pop(&mut self.admitted, user.0),
                Undo::Refused(device) => pop(&mut self.refused, device.0),
                Undo::Member(user, before) => {
                    set(&mut self.members, user, before);
                    self.touched.users.insert(user);
                }
                Undo::Pairs(device, before) => {
                    set(&mut self.pairs, device, before);
                    self.touched.devices.insert(device);
                }
                Undo::GoneUser(user, before) => {
                    set(&mut self.gone_users, user, before);
                    self.touched.users.insert(user);
                }
                Undo::GoneDevice(device, before) => {
                    set(&mut self.gone_devices, device, before);
                    self.touched.devices.insert(device);
                }
                Undo::Issued(invite) => {
                    self.invites.remove(&invite);
                    self.touched.invites.insert(invite);
                }
                Undo::Used(invite, before) => {
                    if let Some(issued) = self.invites.get_mut(&invite) {
                        issued.used -= 1;
                        issued.last = before;
                    }
                    self.touched.invites.insert(invite);
                }
                Undo::Epoch => {
                    if let Some(epoch) = self.epochs.pop() {
                        self.known_epochs.remove(&epoch);
                    }
                    self.touched.epochs = true;
                }
                Undo::Due => {
                    self.due.pop();
                    self.touched.due = true;
                }
                Undo::Answer(number) => {
                    self.due[number].1.pop();
                    self.touched.due = true;
                }
            }
        }
    }

    /// What was written or taken back since this was asked last.
    pub(crate) fn touched(&mut self) -> Touched {
        std::mem::take(&mut self.touched)
    }
}

fn at<T>(lists: &[Vec<T>], number: u32) -> &[T] {
    lists
        .get(number as usize)
        .map(Vec::as_slice)
        .unwrap_or_default()
}

fn push<T>(lists: &mut Vec<Vec<T>>, number: u32, value: T) {
    let number = number as usize;
    if lists.len() <= number {
        lists.resize_with(number + 1, Vec::new);
    }
    lists[number].push(value);
}

fn pop<T>(lists: &mut [Vec<T>], number: u32) {
    lists[number as usize].pop();
}

/// Sets or removes a value; says what was there.
pub(crate) fn set<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: Option<V>) -> Option<V> {
    match value {
        Some(value) => map.insert(key, value),
        None => map.remove(&key),
    }
}
