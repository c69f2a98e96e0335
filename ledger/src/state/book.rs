//! What attributes said up to a point of the walk: everything that a step of the state fold reads and writes.
//!
//! As in the roll of acts, every write leaves in a log what stood there before, so the book can be taken back to any
//! earlier point, and what was written or taken back is remembered.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use super::addresses::Addresses;
use super::names::Names;
use crate::authority::walk::set;
use crate::event::attributes::{NarrowOffer, Offer, Server, Subnet};
use crate::graph::Idx;
use crate::ids::{DeviceId, EventId, UserId, WgKey};
use crate::text::{Label, Note};

#[derive(Clone)]
pub(super) struct Host {
    pub(super) user: UserId,
    /// None while the attributes that brought the device are not open.
    pub(super) shown: Option<Shown>,
}

#[derive(Clone)]
pub(super) struct Shown {
    pub(super) host: Label,
    pub(super) v4: Option<Ipv4Addr>,
    pub(super) wireguard: Option<WgKey>,
}

#[derive(Clone, Default)]
pub(super) struct Person {
    pub(super) name: Option<Label>,
    pub(super) tags: BTreeSet<Label>,
}

#[derive(Clone, Copy)]
pub(super) struct Approval {
    pub(super) offer: EventId,
    pub(super) approved: bool,
}

/// A device's slot.
pub(super) type Place = (DeviceId, u32);

/// See the module.
#[derive(Default)]
pub(crate) struct Book {
    /// Name and subnet, once the genesis is open.
    pub(super) founding: Option<(Label, Subnet)>,
    hosts: Names,
    names: Names,
    addresses: Option<Addresses>,
    pub(super) devices: BTreeMap<DeviceId, Host>,
    pub(super) people: BTreeMap<UserId, Person>,
    /// Names last known, of those who are gone too.
    pub(super) called: BTreeMap<UserId, Label>,
    pub(super) offers: BTreeMap<Place, (Offer, EventId)>,
    /// In a slot stands one of either kind, or none.
    pub(super) narrow: BTreeMap<Place, (NarrowOffer, EventId)>,
    pub(super) approvals: BTreeMap<Place, Approval>,
    /// Invites that count and are open.
    pub(super) invitations: BTreeSet<Idx>,
    pub(super) settings: BTreeMap<Label, Note>,
    pub(super) servers: Vec<Server>,
    log: Vec<Undo>,
    touched: Entries,
}

/// What was written, or taken back.
#[derive(Default)]
pub(crate) struct Entries {
    pub(super) people: BTreeSet<UserId>,
    pub(super) called: BTreeSet<UserId>,
    pub(super) devices: BTreeSet<DeviceId>,
    pub(super) offers: BTreeSet<Place>,
    pub(super) invitations: BTreeSet<Idx>,
    /// The founding, settings, or servers.
    pub(super) network: bool,
}

impl Entries {
    /// Users who are called otherwise than before.
    pub(crate) fn called(&self) -> impl Iterator<Item = &UserId> {
        self.called.iter()
    }
}

enum Undo {
    Founding,
    Device(DeviceId, Option<Box<Host>>),
    Person(UserId, Option<Box<Person>>),
    Called(UserId, Option<Label>),
    Offer(Place, Option<Box<(Offer, EventId)>>),
    Narrow(Place, Option<Box<(NarrowOffer, EventId)>>),
    Approval(Place, Option<Box<Approval>>),
    Invitation(Idx),
    Setting(Label, Option<Note>),
    Servers(Vec<Server>),
}

/// A point to go back to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    log: u32,
    hosts: u32,
    names: u32,
    addresses: u32,
}

impl Book {
    pub(super) fn found(&mut self, name: Label, subnet: Subnet) {
        self.founding = Some((name, subnet));
        self.addresses = Some(Addresses::new(subnet));
        self.log.push(Undo::Founding);
        self.touched.network = true;
    }

    pub(super) fn claim_host(&mut self, wanted: &Label) -> Label {
        self.hosts.claim(wanted)
    }

    pub(super) fn release_host(&mut self, host: &Label) {
        self.hosts.release(host);
    }

    pub(super) fn claim_address(&mut self, wanted: Option<Ipv4Addr>) -> Option<Ipv4Addr> {
        self.addresses.as_mut()?.claim(wanted)
    }

    pub(super) fn release_address(&mut self, address: Ipv4Addr) {
        if let Some(addresses) = &mut self.addresses {
            addresses.release(address);
        }
    }

    /// The addresses in use, once the subnet is known.
    pub(super) fn addresses(&self) -> Option<&Addresses> {
        self.addresses.as_ref()
    }

    pub(super) fn claim_name(&mut self, user: UserId, wanted: &Label) -> Label {
        let name = self.names.claim(wanted);
        let before = set(&mut self.called, user, Some(name.clone()));
        self.log.push(Undo::Called(user, before));
        self.touched.called.insert(user);
        name
    }

    pub(super) fn release_name(&mut self, name: &Label) {
        self.names.release(name);
    }

    pub(super) fn set_device(&mut self, device: DeviceId, host: Option<Host>) -> Option<Host> {
        let before = set(&mut self.devices, device, host);
        let entry = Undo::Device(device, before.clone().map(Box::new));
        self.log.push(entry);
        self.touched.devices.insert(device);
        before
    }

    pub(super) fn set_person(&mut self, user: UserId, person: Option<Person>) -> Option<Person> {
        let before = set(&mut self.people, user, person);
        let entry = Undo::Person(user, before.clone().map(Box::new));
        self.log.push(entry);
        self.touched.people.insert(user);
        before
    }

    pub(super) fn set_offer(&mut self, place: Place, offer: Option<(Offer, EventId)>) {
        let before = set(&mut self.offers, place, offer);
        self.log.push(Undo::Offer(place, before.map(Box::new)));
        self.touched.offers.insert(place);
    }

    pub(super) fn set_narrow(&mut self, place: Place, offer: Option<(NarrowOffer, EventId)>) {
        let before = set(&mut self.narrow, place, offer);
        self.log.push(Undo::Narrow(place, before.map(Box::new)));
        self.touched.offers.insert(place);
    }

    pub(super) fn set_approval(&mut self, place: Place, approval: Option<Approval>) {
        let before = set(&mut self.approvals, place, approval);
        self.log.push(Undo::Approval(place, before.map(Box::new)));
        self.touched.offers.insert(place);
    }

    pub(super) fn add_invitation(&mut self, invite: Idx) {
        self.invitations.insert(invite);
        self.log.push(Undo::Invitation(invite));
        self.touched.invitations.insert(invite);
    }

    pub(super) fn set_setting(&mut self, key: Label, value: Option<Note>) {
        let before = set(&mut self.settings, key.clone(), value);
        self.log.push(Undo::Setting(key, before));
        self.touched.network = true;
    }

    pub(super) fn set_servers(&mut self, servers: Vec<Server>) {
        let before = std::mem::replace(&mut self.servers, servers);
        self.log.push(Undo::Servers(before));
        self.touched.network = true;
    }

    /// A user's name, last known.
    pub(crate) fn called(&self, user: &UserId) -> Option<&Label> {
        self.called.get(user)
    }

    /// A point to go back to.
    pub(crate) fn mark(&self) -> Mark {
        Mark {
            log: self.log.len() as u32,
            hosts: self.hosts.mark(),
            names: self.names.mark(),
            addresses: self.addresses.as_ref().map_or(0, Addresses::mark),
        }
    }

    /// Goes back to a point.
    pub(crate) fn rewind(&mut self, mark: Mark) {
        self.hosts.rewind(mark.hosts);
        self.names.rewind(mark.names);
        if let Some(addresses) = &mut self.addresses {
            addresses.rewind(mark.addresses);
        }
        while self.log.len() > mark.log as usize {
            let Some(undo) = self.log.pop() else { return };
            match undo {
                Undo::Founding => {
                    self.founding = None;
                    self.addresses = None;
                    self.touched.network = true;
                }
                Undo::Device(device, before) => {
                    set(&mut self.devices, device, before.map(|host| *host));
                    self.touched.devices.insert(device);
                }
                Undo::Person(user, before) => {
                    set(&mut self.people, user, before.map(|person| *person));
                    self.touched.people.insert(user);
                }
                Undo::Called(user, before) => {
                    set(&mut self.called, user, before);
                    self.touched.called.insert(user);
                }
                Undo::Offer(place, before) => {
                    set(&mut self.offers, place, before.map(|offer| *offer));
                    self.touched.offers.insert(place);
                }
                Undo::Narrow(place, before) => {
                    set(&mut self.narrow, place, before.map(|offer| *offer));
                    self.touched.offers.insert(place);
                }
                Undo::Approval(place, before) => {
                    set(&mut self.approvals, place, before.map(|approval| *approval));
                    self.touched.offers.insert(place);
                }
                Undo::Invitation(invite) => {
                    self.invitations.remove(&invite);
                    self.touched.invitations.insert(invite);
                }
                Undo::Setting(key, before) => {
                    set(&mut self.settings, key, before);
                    self.touched.network = true;
                }
                Undo::Servers(before) => {
                    self.servers = before;
                    self.touched.network = true;
                }
            }
        }
    }

    /// What was written or taken back since this was asked last.
    pub(crate) fn touched(&mut self) -> Entries {
        std::mem::take(&mut self.touched)
    }
}
