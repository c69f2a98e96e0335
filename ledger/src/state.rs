//! The network as members see it: authority, and what the sealed attributes add.

mod addresses;
mod book;
mod build;
mod names;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};

use serde::Serialize;
use serde::ser::SerializeMap;

use crate::authority::Authority;
use crate::event::act::InviteKind;
use crate::event::attributes::{Audience, NarrowOffer, Offer, Server, Subnet};
use crate::ids::{BoxKey, DeviceId, Digest, EpochId, EventId, InviteKey, NetworkId, UserId, WgKey};
use crate::text::{Label, Note};

pub(crate) use book::{Book, GENESIS};
pub(crate) use build::{Build, View};

/// A member's rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Rank {
    /// The one owner.
    Owner,
    /// An admin.
    Admin {
        /// The grant that began the most senior live term.
        grant: EventId,
    },
    /// Neither.
    Member,
}

/// A member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Member {
    /// The user.
    pub user: UserId,
    /// Its rank.
    pub rank: Rank,
    /// What it is called, unique among members.
    pub name: Label,
    /// Its tags.
    pub tags: BTreeSet<Label>,
    /// Its devices.
    pub devices: BTreeSet<DeviceId>,
    /// The admission.
    pub admitted: EventId,
    /// The sponsor; none for who founded the network or took it over.
    pub admitted_by: Option<UserId>,
    /// When, milliseconds since 1970 by the sponsor's clock.
    pub at: u64,
}

/// A member's device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Device {
    /// The device.
    pub id: DeviceId,
    /// Whose it is.
    pub user: UserId,
    /// Its host name, unique in the network.
    pub host: Label,
    /// Its IPv4 address, unique in the network; none if the subnet was full.
    pub v4: Option<Ipv4Addr>,
    /// Its IPv6 address.
    pub v6: Ipv6Addr,
    /// Its WireGuard key in this network.
    pub wireguard: Option<WgKey>,
    /// Where epoch keys for it are sealed to.
    pub box_key: BoxKey,
    /// The event that brought it.
    pub event: EventId,
    /// That event's lamport: of a user's devices the first has the least.
    #[serde(skip)]
    pub joined: u32,
}

/// An offer that stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StandingOffer {
    /// The offer.
    pub offer: Offer,
    /// The event that made it.
    pub event: EventId,
    /// Whether it may be used: a route or an exit needs an admin's approval of exactly this offer, unless the network's
    /// policy is that none needs one.
    pub approved: bool,
    /// Whether it was sealed to its audience, and opened here.
    #[serde(skip)]
    pub narrow: bool,
}

/// An offer that stands, sealed to its audience.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StandingNarrow {
    /// The sealed offer.
    pub offer: NarrowOffer,
    /// The event that made it.
    pub event: EventId,
    /// Whether it may be used if it is a route or an exit.
    pub approved: bool,
}

/// An invite.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct StandingInvite {
    /// The public half of the ticket's key.
    pub key: InviteKey,
    /// Whom it is for.
    pub kind: InviteKind,
    /// How many users it admits.
    pub max_uses: u32,
    /// How many it admitted.
    pub used: u32,
    /// When it ends, milliseconds since 1970.
    pub expires: u64,
    /// Whether an admin's device must admit.
    pub countersign: bool,
    /// What ended it early, if something did: a closing, a removal, or the fall of its issuer.
    pub closed: Option<EventId>,
    /// By it any member proves itself to a joiner.
    pub contact: [u8; 32],
    /// For the inviter's own memory.
    pub note: Option<Note>,
    /// Tags of those who come by it.
    pub tags: Vec<Label>,
    /// Who issued it.
    pub issuer: UserId,
}

/// The network as members see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct State {
    /// Its name, once the genesis is open.
    pub name: Option<Label>,
    /// Its id.
    pub network: NetworkId,
    /// Where addresses are taken from, once the genesis is open.
    pub subnet: Option<Subnet>,
    /// The owner.
    pub owner: UserId,
    /// The members.
    pub members: BTreeMap<UserId, Member>,
    /// Their devices.
    pub devices: BTreeMap<DeviceId, Device>,
    /// Users who were members and are not, with the event that removed them.
    pub removed_users: BTreeMap<UserId, EventId>,
    /// Devices that were members' and are not, with the event that removed them.
    pub removed_devices: BTreeMap<DeviceId, EventId>,
    /// What devices offer, by device and slot. The hash leaves those out that were opened here: it takes them as sealed.
    #[serde(serialize_with = "for_all_to_read")]
    pub offers: BTreeMap<(DeviceId, u32), StandingOffer>,
    /// Invites, closed and used ones included.
    pub invites: BTreeMap<EventId, StandingInvite>,
    /// The network's servers.
    pub servers: Vec<Server>,
    /// Settings that are not at their default.
    pub settings: BTreeMap<Label, Note>,
    /// Who has which tag.
    pub tags: BTreeMap<Label, BTreeSet<UserId>>,
    /// Accepted epochs, in order.
    pub epochs: Vec<EpochId>,
    /// Offers sealed to their audience, by device and slot. Those opened here stand in `offers` too.
    pub narrow: BTreeMap<(DeviceId, u32), StandingNarrow>,
    /// How many events' attributes wait for a key.
    #[serde(skip)]
    pub pending: usize,
}

fn for_all_to_read<S: serde::Serializer>(
    offers: &BTreeMap<(DeviceId, u32), StandingOffer>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let plain = || offers.iter().filter(|(_, standing)| !standing.narrow);
    let mut map = serializer.serialize_map(Some(plain().count()))?;
    for (place, standing) in plain() {
        map.serialize_entry(place, standing)?;
    }
    map.end()
}

/// Without the contact secret.
impl std::fmt::Debug for StandingInvite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            key,
            kind,
            max_uses,
            used,
            expires,
            countersign,
            closed,
            contact: _,
            note,
            tags,
            issuer,
        } = self;
        f.debug_struct("StandingInvite")
            .field("key", key)
            .field("kind", kind)
            .field("max_uses", max_uses)
            .field("used", used)
            .field("expires", expires)
            .field("countersign", countersign)
            .field("closed", closed)
            .field("note", note)
            .field("tags", tags)
            .field("issuer", issuer)
            .finish_non_exhaustive()
    }
}

impl State {
    /// What a network is before any attribute is open.
    pub(crate) fn founded(authority: &Authority) -> Self {
        Self {
            name: None,
            network: authority.network,
            subnet: None,
            owner: authority.owner,
            members: BTreeMap::new(),
            devices: BTreeMap::new(),
            removed_users: authority.removed_users.clone(),
            removed_devices: authority.removed_devices.clone(),
            offers: BTreeMap::new(),
            invites: BTreeMap::new(),
            servers: Vec::new(),
            settings: BTreeMap::new(),
            tags: BTreeMap::new(),
            epochs: authority.epochs.clone(),
            narrow: BTreeMap::new(),
            pending: 0,
        }
    }

    /// A hash of all of it, to compare between replicas that have the same events and none pending.
    #[must_use]
    pub fn hash(&self) -> Digest {
        let bytes = postcard::to_stdvec(self).unwrap_or_default();
        Digest(blake3::derive_key("mesh state 1", &bytes))
    }

    /// The device with a host name.
    #[must_use]
    pub fn host(&self, name: &str) -> Option<&Device> {
        self.devices
            .values()
            .find(|device| device.host.as_str() == name)
    }

    /// The member with a name.
    #[must_use]
    pub fn user(&self, name: &str) -> Option<&Member> {
        self.members
            .values()
            .find(|member| member.name.as_str() == name)
    }

    /// What a user's bare name means: the device that came first of those it has.
    #[must_use]
    pub fn first_device(&self, user: &UserId) -> Option<&Device> {
        let devices = self.members.get(user)?.devices.iter();
        devices
            .filter_map(|id| self.devices.get(id))
            .min_by_key(|device| (device.joined, device.event))
    }

    /// The member whose device this is.
    #[must_use]
    pub fn member_of(&self, device: &DeviceId) -> Option<&Member> {
        self.members.get(&self.devices.get(device)?.user)
    }

    /// Whether a member's device belongs to an audience. A device that is no member's belongs to none.
    #[must_use]
    pub fn admits(&self, audience: &Audience, device: &DeviceId) -> bool {
        let Some(member) = self.member_of(device) else {
            return false;
        };
        match audience {
            Audience::Everyone => true,
            Audience::Only {
                users,
                devices,
                tags,
            } => {
                users.contains(&member.user)
                    || devices.contains(device)
                    || tags.iter().any(|tag| member.tags.contains(tag))
            }
        }
    }
}
