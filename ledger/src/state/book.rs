//! What attributes said along the walk: everything that a step of the state fold reads and writes, with its history
//! ([`crate::timeline`]).

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use super::addresses::Addresses;
use super::names::Names;
use crate::authority::walk::Roll;
use crate::event::attributes::{Server, Subnet};
use crate::graph::Idx;
use crate::ids::{DeviceId, EventId, UserId, WgKey};
use crate::text::{Label, Note};
use crate::timeline::{Mark, Stale, Step, Table, Timeline};

/// A member's device.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Home {
    pub(super) user: UserId,
    /// The event by which it came, or came back. What was offered before that is over.
    pub(super) since: Idx,
}

/// What a device shows.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) host: Label,
    pub(super) v4: Option<Ipv4Addr>,
}

#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Person {
    pub(super) name: Option<Label>,
    pub(super) tags: BTreeSet<Label>,
}

/// An offer: the event that wrote it holds it. It ends with the stay in which it was made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Offered {
    pub(super) since: Idx,
}

/// Ends with the stay in which it was given.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Approval {
    pub(super) since: Idx,
    pub(super) offer: EventId,
    pub(super) approved: bool,
}

/// A device's slot.
pub(super) type Place = (DeviceId, u32);

/// The numbers of its tables.
mod table {
    use super::{Names, Roll};

    pub(super) const HOMES: u8 = Roll::TABLES;
    pub(super) const SHOWN: u8 = HOMES + 1;
    pub(super) const PEOPLE: u8 = HOMES + 2;
    pub(super) const CALLED: u8 = HOMES + 3;
    pub(super) const OFFERS: u8 = HOMES + 4;
    pub(super) const APPROVALS: u8 = HOMES + 5;
    pub(super) const INVITATIONS: u8 = HOMES + 6;
    pub(super) const SETTINGS: u8 = HOMES + 7;
    pub(super) const SERVERS: u8 = HOMES + 8;
    pub(super) const WIREGUARD: u8 = HOMES + 9;
    pub(super) const NAMED: u8 = HOMES + 10;
    pub(super) const HOSTS: u8 = HOMES + 11;
    pub(super) const NAMES: u8 = HOSTS + Names::TABLES;
    const _: () = assert!(NAMES + Names::TABLES <= 32);
}

/// See the module.
pub(crate) struct Book {
    /// Name and subnet, once the genesis is open. It is the first of all events: when it is walked again, so are all.
    pub(super) founding: Option<(Label, Subnet)>,
    hosts: Names,
    names: Names,
    addresses: Option<Addresses>,
    pub(super) homes: Timeline<DeviceId, Home>,
    /// Nothing while the attributes that brought the device are not open.
    pub(super) shown: Timeline<DeviceId, Shown>,
    /// Of devices that show something, if they have one.
    pub(super) wireguard: Timeline<DeviceId, WgKey>,
    pub(super) people: Timeline<UserId, Person>,
    /// Names last known, of those who are gone too.
    pub(super) called: Timeline<UserId, Label>,
    /// How many names users have set, of those who set some while they were no admins.
    pub(super) named: Timeline<UserId, u32>,
    pub(super) offers: Timeline<Place, Offered>,
    pub(super) approvals: Timeline<Place, Approval>,
    /// Invites that count and are open.
    pub(super) invitations: Timeline<Idx, ()>,
    pub(super) settings: Timeline<Label, Note>,
    pub(super) servers: Timeline<(), Vec<Server>>,
    founded: bool,
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

impl Default for Book {
    fn default() -> Self {
        Self {
            founding: None,
            hosts: Names::new(table::HOSTS),
            names: Names::new(table::NAMES),
            addresses: None,
            homes: Timeline::new(table::HOMES),
            shown: Timeline::new(table::SHOWN),
            wireguard: Timeline::new(table::WIREGUARD),
            people: Timeline::new(table::PEOPLE),
            called: Timeline::new(table::CALLED),
            named: Timeline::hidden(table::NAMED),
            offers: Timeline::new(table::OFFERS),
            approvals: Timeline::new(table::APPROVALS),
            invitations: Timeline::new(table::INVITATIONS),
            settings: Timeline::new(table::SETTINGS),
            servers: Timeline::new(table::SERVERS),
            founded: false,
        }
    }
}

impl Book {
    pub(super) fn found(&mut self, name: Label, subnet: Subnet) {
        self.founding = Some((name, subnet));
        self.addresses = Some(Addresses::new(subnet));
        self.founded = true;
    }

    pub(super) fn claim_host(&mut self, step: &mut Step<'_>, wanted: &Label) -> Label {
        self.hosts.claim(step, wanted)
    }

    pub(super) fn release_host(&mut self, step: &mut Step<'_>, host: &Label) {
        self.hosts.release(step, host);
    }

    pub(super) fn claim_address(
        &mut self,
        step: &Step<'_>,
        wanted: Option<Ipv4Addr>,
    ) -> Option<Ipv4Addr> {
        self.addresses.as_mut()?.claim(step, wanted)
    }

    pub(super) fn release_address(&mut self, step: &Step<'_>, address: Ipv4Addr) {
        if let Some(addresses) = &mut self.addresses {
            addresses.release(step, address);
        }
    }

    /// The addresses in use, once the subnet is known.
    pub(super) fn addresses(&self) -> Option<&Addresses> {
        self.addresses.as_ref()
    }

    pub(super) fn claim_name(
        &mut self,
        step: &mut Step<'_>,
        user: UserId,
        wanted: &Label,
    ) -> Label {
        let name = self.names.claim(step, wanted);
        self.called.write(step, &user, Some(name.clone()));
        name
    }

    pub(super) fn release_name(&mut self, step: &mut Step<'_>, name: &Label) {
        self.names.release(step, name);
    }

    /// How many bytes of memory its histories take, about.
    pub(crate) fn bytes(&self) -> usize {
        let names = self.hosts.bytes() + self.names.bytes() + self.called.bytes();
        let names = names + self.named.bytes();
        let devices = self.homes.bytes() + self.shown.bytes() + self.wireguard.bytes();
        let offers = self.offers.bytes() + self.approvals.bytes();
        let rest = self.people.bytes() + self.invitations.bytes() + self.settings.bytes();
        names + devices + offers + rest + self.servers.bytes()
    }

    /// A user's name, last known.
    pub(crate) fn called(&self, user: &UserId) -> Option<&Label> {
        self.called.now(user)
    }

    /// Takes back what an event's step did beside histories. Its histories follow.
    pub(crate) fn withdraw(&mut self, places: &[u32], event: Idx) {
        if let Some(addresses) = &mut self.addresses {
            addresses.retract(places, event);
        }
        if event == GENESIS && self.founding.take().is_some() {
            self.addresses = None;
            self.founded = true;
        }
    }

    /// Brings what steps find in front of a place up to date. Says whose step must be taken again for it, if one must.
    pub(crate) fn catch_up(&mut self, places: &[u32], until: u32) -> Option<Idx> {
        self.addresses.as_mut()?.catch_up(places, until)
    }

    fn table(&mut self, mark: Mark) -> Option<&mut dyn Table> {
        Some(match mark.table() {
            table::HOMES => &mut self.homes,
            table::SHOWN => &mut self.shown,
            table::WIREGUARD => &mut self.wireguard,
            table::PEOPLE => &mut self.people,
            table::CALLED => &mut self.called,
            table::NAMED => &mut self.named,
            table::OFFERS => &mut self.offers,
            table::APPROVALS => &mut self.approvals,
            table::INVITATIONS => &mut self.invitations,
            table::SETTINGS => &mut self.settings,
            table::SERVERS => &mut self.servers,
            number @ ..table::NAMES => return self.hosts.table(number),
            number => return self.names.table(number),
        })
    }

    /// See [`Table::retract`].
    pub(crate) fn retract(&mut self, places: &[u32], event: Idx, mark: Mark, keep: bool) {
        if let Some(table) = self.table(mark) {
            table.retract(places, event, mark, keep);
        }
    }

    /// See [`Table::settle`].
    pub(crate) fn settle(&mut self, event: Idx, mark: Mark, stale: &mut Stale<'_>) {
        if let Some(table) = self.table(mark) {
            table.settle(event, mark.key(), stale);
        }
    }

    /// What was written or taken back since this was asked last.
    pub(crate) fn touched(&mut self) -> Entries {
        let mut devices = self.homes.touched();
        devices.append(&mut self.shown.touched());
        devices.append(&mut self.wireguard.touched());
        let mut offers = self.offers.touched();
        offers.append(&mut self.approvals.touched());
        let settings = !self.settings.touched().is_empty();
        let servers = !self.servers.touched().is_empty();
        Entries {
            people: self.people.touched(),
            called: self.called.touched(),
            devices,
            offers,
            invitations: self.invitations.touched(),
            network: std::mem::take(&mut self.founded) || settings || servers,
        }
    }
}

/// The first event there is.
pub(crate) const GENESIS: Idx = Idx(0);
