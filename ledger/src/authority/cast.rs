//! Everybody who occurs, by small numbers, and the acts that P1 looks at. Numbers are local to one fold; nothing may be
//! decided by them.

use std::collections::BTreeMap;

use super::proof::{Proof, mutual};
use crate::event::Act;
use crate::graph::{Graph, Idx};
use crate::ids::{DeviceId, UserId};

/// A user's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct U(pub(crate) u32);

/// A device's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct D(pub(crate) u32);

/// A user's word that a device is its own.
#[derive(Debug, Default)]
pub(crate) struct Pair {
    /// The events that carry it; of two in a row, the first is enough.
    pub(crate) certificates: Vec<Idx>,
    /// Whether the device said so too.
    pub(crate) mutual: bool,
}

/// Everybody who occurs.
#[derive(Default)]
pub(crate) struct Cast {
    users: Vec<UserId>,
    user_numbers: BTreeMap<UserId, U>,
    devices: Vec<DeviceId>,
    device_numbers: BTreeMap<DeviceId, D>,
    authors: Vec<D>,
    pub(crate) pairs: BTreeMap<(U, D), Pair>,
    users_of: Vec<Vec<U>>,
    devices_of: Vec<Vec<D>>,
    /// Acts that admit a user, by user, whether or not they count.
    admissions: Vec<Vec<Idx>>,
    /// Acts of power, by author: grants, removals, admissions without an invite.
    power: Vec<Vec<Idx>>,
    power_of: Vec<Vec<Idx>>,
    /// Removals by user keys, by that user.
    pub(crate) own_keys: BTreeMap<U, Vec<Idx>>,
    pub(crate) successions: Vec<Idx>,
    pub(crate) checkpoints: Vec<Idx>,
    pub(crate) closings: Vec<Idx>,
}

impl Cast {
    pub(crate) fn of(graph: &Graph) -> Self {
        let mut cast = Self::default();
        let lanes: Vec<D> = graph
            .lanes()
            .iter()
            .filter_map(|lane| lane.first())
            .map(|first| cast.add_device(graph.event(*first).author()))
            .collect();
        cast.authors = Vec::with_capacity(graph.len());
        for idx in graph.indices() {
            let author = lanes[graph.lane(idx)];
            cast.authors.push(author);
            cast.enter(graph, idx, author);
        }
        // Numbers follow the order of insertion; whatever is looked through in order must not.
        let users = &cast.users;
        for named in &mut cast.users_of {
            named.sort_unstable_by_key(|user| users[user.0 as usize]);
        }
        for number in 0..cast.user_count() {
            let mut acts: Vec<Idx> = cast.devices_of[number as usize]
                .iter()
                .flat_map(|device| cast.power[device.0 as usize].iter().copied())
                .collect();
            sort_by_rank(graph, &mut acts);
            cast.power_of.push(acts);
        }
        cast
    }

    fn enter(&mut self, graph: &Graph, idx: Idx, author: D) {
        let act = graph.event(idx).act();
        let named = match act {
            Act::Genesis(act) => Some((act.owner, act.device)),
            Act::Admit(act) => Some((act.user, act.device)),
            Act::DeviceAdd(act) => Some((act.user, act.device)),
            Act::OwnerSet(act) => Some((act.successor, act.device)),
            _ => None,
        };
        if let Some((user, device)) = named {
            let proof = graph.proof(idx);
            if !matches!(proof, Proof::Fails(_)) {
                let (user, device) = (self.add_user(user), self.add_device(device));
                let both = proof == Proof::Holds && mutual(act).is_some();
                self.certify(graph, idx, user, device, both);
            }
        }
        match act {
            Act::Admit(act) if act.redemption.is_none() => self.power[author.0 as usize].push(idx),
            Act::Grant(_) => self.power[author.0 as usize].push(idx),
            Act::Remove(_) => match graph.proof(idx) {
                Proof::OwnDevice(user) => {
                    let user = self.add_user(user);
                    self.own_keys.entry(user).or_default().push(idx);
                }
                _ => self.power[author.0 as usize].push(idx),
            },
            Act::InviteClose(_) => self.closings.push(idx),
            Act::Checkpoint(_) => self.checkpoints.push(idx),
            Act::OwnerSet(_) => self.successions.push(idx),
            _ => {}
        }
    }

    fn certify(&mut self, graph: &Graph, idx: Idx, user: U, device: D, mutual: bool) {
        let pair = self.pairs.entry((user, device)).or_default();
        pair.mutual |= mutual;
        if pair.certificates.is_empty() {
            self.users_of[device.0 as usize].push(user);
            self.devices_of[user.0 as usize].push(device);
        }
        if !pair
            .certificates
            .iter()
            .any(|earlier| graph.precedes(*earlier, idx))
        {
            pair.certificates.push(idx);
        }
        if !matches!(graph.event(idx).act(), Act::DeviceAdd(_)) {
            self.admissions[user.0 as usize].push(idx);
        }
    }

    fn add_user(&mut self, user: UserId) -> U {
        if let Some(number) = self.user_numbers.get(&user) {
            return *number;
        }
        let number = U(self.users.len() as u32);
        self.user_numbers.insert(user, number);
        self.users.push(user);
        self.devices_of.push(Vec::new());
        self.admissions.push(Vec::new());
        number
    }

    fn add_device(&mut self, device: DeviceId) -> D {
        if let Some(number) = self.device_numbers.get(&device) {
            return *number;
        }
        let number = D(self.devices.len() as u32);
        self.device_numbers.insert(device, number);
        self.devices.push(device);
        self.users_of.push(Vec::new());
        self.power.push(Vec::new());
        number
    }

    /// How many users occur.
    pub(crate) fn user_count(&self) -> u32 {
        self.users.len() as u32
    }

    /// How many devices occur.
    pub(crate) fn device_count(&self) -> u32 {
        self.devices.len() as u32
    }

    pub(crate) fn user(&self, user: &UserId) -> Option<U> {
        self.user_numbers.get(user).copied()
    }

    pub(crate) fn device(&self, device: &DeviceId) -> Option<D> {
        self.device_numbers.get(device).copied()
    }

    pub(crate) fn user_id(&self, user: U) -> UserId {
        self.users[user.0 as usize]
    }

    pub(crate) fn device_id(&self, device: D) -> DeviceId {
        self.devices[device.0 as usize]
    }

    /// The device that wrote an event.
    pub(crate) fn author(&self, idx: Idx) -> D {
        self.authors[idx.0 as usize]
    }

    /// Whose a device is called by certificates, anywhere.
    pub(crate) fn users_of(&self, device: D) -> &[U] {
        &self.users_of[device.0 as usize]
    }

    /// Acts that admit a user, in the order of insertion.
    pub(crate) fn admissions(&self, user: U) -> &[Idx] {
        &self.admissions[user.0 as usize]
    }

    /// Whether a user's certificate for a device lies in the past of an event.
    pub(crate) fn certified(&self, graph: &Graph, user: U, device: D, event: Idx) -> bool {
        self.pairs.get(&(user, device)).is_some_and(|pair| {
            pair.certificates
                .iter()
                .any(|certificate| graph.precedes(*certificate, event))
        })
    }

    /// The acts of power of all of a user's devices, by (lamport, id).
    pub(crate) fn power_of(&self, user: U) -> &[Idx] {
        &self.power_of[user.0 as usize]
    }
}

/// Sorts by (lamport, id), which extends the causal order.
pub(crate) fn sort_by_rank(graph: &Graph, events: &mut [Idx]) {
    events.sort_unstable_by_key(|idx| {
        let event = graph.event(*idx);
        (event.header().lamport, event.id())
    });
}
