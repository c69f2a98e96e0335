//! Everybody who occurs, by small numbers, and the acts that P1 looks at. Numbers are local to one fold; nothing may be
//! decided by them.

use std::collections::BTreeMap;

use super::proof::{Proof, mutual};
use crate::event::Act;
use crate::event::act::{Kind, Target};
use crate::graph::{Graph, Idx};
use crate::ids::{DeviceId, EventId, UserId};

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
    /// The first event in which the device said so too, if there is one.
    mutual: Option<Idx>,
}

impl Pair {
    /// Whether the device said so too.
    pub(crate) fn is_mutual(&self) -> bool {
        self.mutual.is_some()
    }
}

/// Everybody who occurs.
#[derive(Default)]
pub(crate) struct Cast {
    users: Vec<UserId>,
    user_numbers: BTreeMap<UserId, U>,
    devices: Vec<DeviceId>,
    device_numbers: BTreeMap<DeviceId, D>,
    /// Whose the events of each lane are.
    lanes: Vec<D>,
    authors: Vec<D>,
    pub(crate) pairs: BTreeMap<(U, D), Pair>,
    users_of: Vec<Vec<U>>,
    devices_of: Vec<Vec<D>>,
    /// Acts that admit a user, by user, whether or not they count.
    admissions: Vec<Vec<Idx>>,
    /// Acts that bring a device, by device, whether or not they count.
    arrivals: Vec<Vec<Idx>>,
    /// Acts of power, by author: grants, removals, admissions without an invite.
    power: Vec<Vec<Idx>>,
    power_of: Vec<Vec<Idx>>,
    /// Of these, removals by which the author itself would go, or its user: a member may write any number of others.
    goings: Vec<Vec<Idx>>,
    /// Invites, by author.
    invites: Vec<Vec<Idx>>,
    /// Admissions by an invite that lies in their past, by invite.
    pub(crate) redemptions: BTreeMap<Idx, Vec<Idx>>,
    /// Removals by user keys, by that user.
    pub(crate) own_keys: BTreeMap<U, Vec<Idx>>,
    pub(crate) grants: Vec<Idx>,
    pub(crate) removals: Vec<Idx>,
    pub(crate) successions: Vec<Idx>,
    pub(crate) checkpoints: Vec<Idx>,
    pub(crate) closings: Vec<Idx>,
    /// Which invite each of those closes: they are looked at whenever P1 runs, and a member may write any number in vain.
    closed: Vec<EventId>,
    pub(crate) rotations: Vec<Idx>,
}

/// What the entry or leave of an event touches.
#[derive(Debug, Default)]
pub(crate) struct Touch {
    /// Terms, removals or certificates: P1 must be run again.
    pub(crate) terms: bool,
    /// What closes invites.
    pub(crate) closings: bool,
    /// What seals the order.
    pub(crate) seals: bool,
    /// Devices of which a user said more, or less, than before.
    pub(crate) pairs: Vec<D>,
}

impl Cast {
    pub(crate) fn of(graph: &Graph) -> Self {
        let (mut cast, mut touch) = (Self::default(), Touch::default());
        for idx in graph.indices() {
            cast.enter(graph, idx, &mut touch);
        }
        cast
    }

    /// How many events there are.
    pub(crate) fn len(&self) -> usize {
        self.authors.len()
    }

    /// Enters the next event of the graph.
    pub(crate) fn enter(&mut self, graph: &Graph, idx: Idx, touch: &mut Touch) {
        if graph.position(idx) == 0 {
            let author = self.add_device(graph.author(idx));
            self.lanes.push(author);
        }
        let author = self.lanes[graph.lane(idx)];
        self.authors.push(author);
        if matches!(graph.kind(idx), Kind::Private | Kind::Merge) {
            return;
        }
        let event = graph.event(idx);
        let act = event.act();
        if let Some((user, device)) = named(act) {
            let (proof, device) = (graph.proof(idx), self.add_device(device));
            if !matches!(proof, Proof::Fails(_)) {
                let user = self.add_user(user);
                let both = proof == Proof::Holds && mutual(act).is_some();
                self.certify(graph, idx, user, device, both, touch);
            }
            touch.terms = true;
        }
        match act {
            Act::Admit(act) => match &act.redemption {
                None => self.add_power(graph, author, idx),
                Some(redemption) => {
                    if let Some(invite) = graph.find(&redemption.invite)
                        && graph.precedes(invite, idx)
                    {
                        self.redemptions.entry(invite).or_default().push(idx);
                    }
                }
            },
            Act::Invite(_) => self.invites[author.0 as usize].push(idx),
            Act::Grant(_) => {
                self.grants.push(idx);
                self.add_power(graph, author, idx);
                touch.terms = true;
            }
            Act::Remove(act) => {
                self.removals.push(idx);
                match graph.proof(idx) {
                    Proof::OwnDevice(user) => {
                        let user = self.add_user(user);
                        self.own_keys.entry(user).or_default().push(idx);
                    }
                    _ => {
                        self.add_power(graph, author, idx);
                        if act.by_user.is_none() && self.is_own(author, &act.target) {
                            self.goings[author.0 as usize].push(idx);
                        }
                    }
                }
                touch.terms = true;
            }
            Act::InviteClose(act) => {
                self.closings.push(idx);
                self.closed.push(act.invite);
                touch.closings = true;
            }
            Act::Checkpoint(_) => {
                self.checkpoints.push(idx);
                touch.seals = true;
            }
            Act::OwnerSet(_) => self.successions.push(idx),
            Act::EpochRotate(_) => self.rotations.push(idx),
            _ => {}
        }
    }

    /// Takes the last event out again, which the graph still has. Numbers stay: they say nothing.
    pub(crate) fn leave(&mut self, graph: &Graph, idx: Idx, touch: &mut Touch) {
        let Some(author) = self.authors.pop() else {
            return;
        };
        if graph.position(idx) == 0 {
            self.lanes.pop();
        }
        if matches!(graph.kind(idx), Kind::Private | Kind::Merge) {
            return;
        }
        let event = graph.event(idx);
        let act = event.act();
        // An event is the last in every list it stands in, but for those by rank.
        let last = |list: &mut Vec<Idx>| list.pop_if(|last| *last == idx).is_some();
        for list in [&mut self.grants, &mut self.removals, &mut self.successions] {
            touch.terms |= last(list);
        }
        if last(&mut self.closings) {
            self.closed.pop();
            touch.closings = true;
        }
        touch.seals |= last(&mut self.checkpoints);
        last(&mut self.rotations);
        last(&mut self.invites[author.0 as usize]);
        last(&mut self.goings[author.0 as usize]);
        if let Act::Admit(act) = act
            && let Some(redemption) = &act.redemption
            && let Some(invite) = graph.find(&redemption.invite)
            && let Some(list) = self.redemptions.get_mut(&invite)
        {
            last(list);
            if list.is_empty() {
                self.redemptions.remove(&invite);
            }
        }
        if let Proof::OwnDevice(user) = graph.proof(idx)
            && let Some(user) = self.user(&user)
            && let Some(list) = self.own_keys.get_mut(&user)
        {
            last(list);
        }
        if last(&mut self.power[author.0 as usize]) {
            for user in &self.users_of[author.0 as usize] {
                self.power_of[user.0 as usize].retain(|act| *act != idx);
            }
        }
        if let Some((user, device)) = named(act) {
            touch.terms = true;
            if let (Some(user), Some(device)) = (self.user(&user), self.device(&device)) {
                self.decertify(idx, user, device, touch);
            }
        }
    }

    /// Whether it is the device, or whose the device is by certificates so far: those in an event's past were entered before.
    fn is_own(&self, device: D, target: &Target) -> bool {
        match target {
            Target::User(user) => {
                let own = self.users_of(device).iter();
                own.map(|own| self.user_id(*own)).any(|own| own == *user)
            }
            Target::Device(target) => self.device_id(device) == *target,
            Target::Term { .. } => false,
        }
    }

    fn add_power(&mut self, graph: &Graph, author: D, idx: Idx) {
        self.power[author.0 as usize].push(idx);
        let rank = |idx: Idx| graph.rank(idx);
        for user in &self.users_of[author.0 as usize] {
            let acts = &mut self.power_of[user.0 as usize];
            let at = match acts.last() {
                Some(last) if rank(*last) > rank(idx) => {
                    acts.partition_point(|act| rank(*act) < rank(idx))
                }
                _ => acts.len(),
            };
            acts.insert(at, idx);
        }
    }

    fn certify(
        &mut self,
        graph: &Graph,
        idx: Idx,
        user: U,
        device: D,
        mutual: bool,
        touch: &mut Touch,
    ) {
        let pair = self.pairs.entry((user, device)).or_default();
        let mut changed = false;
        if mutual && pair.mutual.is_none() {
            pair.mutual = Some(idx);
            changed = true;
        }
        if pair.certificates.is_empty() {
            // Numbers follow the order of insertion; whatever is looked through in order must not.
            let named = &mut self.users_of[device.0 as usize];
            let users = &self.users;
            let id = |user: U| users[user.0 as usize];
            let at = named.partition_point(|other| id(*other) < id(user));
            named.insert(at, user);
            self.devices_of[user.0 as usize].push(device);
            let acts = &mut self.power_of[user.0 as usize];
            acts.extend_from_slice(&self.power[device.0 as usize]);
            sort_by_rank(graph, acts);
            changed = true;
        }
        if changed && self.users_of[device.0 as usize].len() > 1 {
            touch.pairs.push(device);
        }
        if !pair
            .certificates
            .iter()
            .any(|earlier| graph.precedes(*earlier, idx))
        {
            pair.certificates.push(idx);
        }
        self.arrivals[device.0 as usize].push(idx);
        if graph.kind(idx) != Kind::DeviceAdd {
            self.admissions[user.0 as usize].push(idx);
        }
    }

    fn decertify(&mut self, idx: Idx, user: U, device: D, touch: &mut Touch) {
        let last = |list: &mut Vec<Idx>| list.pop_if(|last| *last == idx).is_some();
        last(&mut self.arrivals[device.0 as usize]);
        last(&mut self.admissions[user.0 as usize]);
        let Some(pair) = self.pairs.get_mut(&(user, device)) else {
            return;
        };
        let mut changed = pair.mutual.take_if(|first| *first == idx).is_some();
        if last(&mut pair.certificates) && pair.certificates.is_empty() {
            self.pairs.remove(&(user, device));
            self.users_of[device.0 as usize].retain(|other| *other != user);
            self.devices_of[user.0 as usize].retain(|other| *other != device);
            let gone = &self.power[device.0 as usize];
            self.power_of[user.0 as usize].retain(|act| !gone.contains(act));
            changed = true;
        }
        let named = &self.users_of[device.0 as usize];
        if changed && named.iter().any(|other| *other != user) {
            touch.pairs.push(device);
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
        self.power_of.push(Vec::new());
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
        self.arrivals.push(Vec::new());
        self.power.push(Vec::new());
        self.goings.push(Vec::new());
        self.invites.push(Vec::new());
        number
    }

    /// All users who occur, by id.
    pub(crate) fn users(&self) -> impl Iterator<Item = U> + '_ {
        self.user_numbers.values().copied()
    }

    /// The number of a user whom an event names. One who was named only by events that were taken out again has a number
    /// left, and is as unknown as before.
    pub(crate) fn user(&self, user: &UserId) -> Option<U> {
        let number = *self.user_numbers.get(user)?;
        (!self.devices_of(number).is_empty()).then_some(number)
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

    /// The devices that certificates, anywhere, call a user's.
    pub(crate) fn devices_of(&self, user: U) -> &[D] {
        &self.devices_of[user.0 as usize]
    }

    /// Acts that bring a device, for any user.
    pub(crate) fn arrivals(&self, device: D) -> &[Idx] {
        &self.arrivals[device.0 as usize]
    }

    /// The invites that a device wrote.
    pub(crate) fn invites(&self, device: D) -> &[Idx] {
        &self.invites[device.0 as usize]
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

    /// Removals by which a user's devices would go themselves, or the user, by (lamport, id).
    pub(crate) fn goings_of(&self, graph: &Graph, user: U) -> Vec<Idx> {
        let devices = self.devices_of(user).iter();
        let goings = devices.flat_map(|device| &self.goings[device.0 as usize]);
        let mut goings: Vec<Idx> = goings.copied().collect();
        sort_by_rank(graph, &mut goings);
        goings
    }

    /// The closings of invites, and which each closes.
    pub(crate) fn closed(&self) -> impl Iterator<Item = (Idx, EventId)> + '_ {
        let closings = self.closings.iter().copied();
        closings.zip(self.closed.iter().copied())
    }

    /// The acts of power of all of a user's devices, by (lamport, id).
    pub(crate) fn power_of(&self, user: U) -> &[Idx] {
        &self.power_of[user.0 as usize]
    }
}

/// Whose device an act with a certificate brings.
fn named(act: &Act) -> Option<(UserId, DeviceId)> {
    match act {
        Act::Genesis(act) => Some((act.owner, act.device)),
        Act::Admit(act) => Some((act.user, act.device)),
        Act::DeviceAdd(act) => Some((act.user, act.device)),
        Act::OwnerSet(act) => Some((act.successor, act.device)),
        _ => None,
    }
}

/// Sorts by (lamport, id), which extends the causal order.
pub(crate) fn sort_by_rank(graph: &Graph, events: &mut [Idx]) {
    events.sort_unstable_by_key(|idx| graph.rank(*idx));
}
