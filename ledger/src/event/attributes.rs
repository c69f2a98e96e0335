//! Attributes: the sealed part of an event. The order of the variants and fields is the format.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::Act;
use crate::ids::{DeviceId, Digest, EpochId, EventId, UserId, WgKey};
use crate::text::{Label, Note};

/// The most register writes in one event.
pub const MAX_WRITES: usize = 8;
/// The most users, devices and tags an audience names, each.
pub const MAX_AUDIENCE: usize = 32;
/// How many slots for offers a device has, numbered from 0: what stands in them is in every member's memory.
pub const MAX_SLOTS: u32 = 1024;
/// How many host and user names a user who is no admin sets in a network, in all: every name that was ever taken is in every
/// member's memory. An admin sets further ones.
pub const MAX_NAMES: u32 = 1024;
/// The most tags of an invite, and servers of a network.
pub const MAX_LIST: usize = 16;

/// What is sealed in an event; which one, follows from its act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attributes {
    /// Of a genesis.
    Founding(Founding),
    /// Of an invite.
    Invitation(Invitation),
    /// Of an admit or a device.add.
    Joining(Joining),
    /// Of a removal.
    Reason(Reason),
    /// Of a private event.
    Writes(Vec<Write>),
}

/// What a replica knows of one event's attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opened {
    /// The event seals nothing.
    Nothing,
    /// Sealed under an epoch whose key is not here yet: adds nothing to the state for now.
    Pending,
    /// They fail under the key that the epoch id commits to, or do not parse: void for everybody.
    Broken,
    /// Here they are.
    Open(Attributes),
}

/// An IPv4 network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Subnet {
    /// The first address; no bit beyond the prefix is set.
    pub base: Ipv4Addr,
    /// The prefix length, 8 to 30.
    pub prefix: u8,
}

/// The network's own attributes and those of the founder's device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Founding {
    /// The network's name.
    pub name: Label,
    /// Where addresses are taken from.
    pub subnet: Subnet,
    /// The founder's device.
    pub joining: Joining,
}

/// What an invite keeps from servers.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitation {
    /// derive("mesh contact", seed): by it any member proves itself to a joiner.
    pub contact: [u8; 32],
    /// For the inviter's own memory.
    pub note: Option<Note>,
    /// Tags of those who come by it.
    pub tags: Vec<Label>,
}

/// What a new device says of itself, signed by the joiner through [`Joining::digest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joining {
    /// Keeps the digest in the clear act from being guessed.
    pub salt: [u8; 16],
    /// The name it wants. A taken one becomes the next free.
    pub host: Label,
    /// The address it wants, if any. A taken one becomes the next free.
    pub address: Option<Ipv4Addr>,
    /// Its WireGuard key in this network.
    pub wireguard: WgKey,
}

/// Why somebody was removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// In words.
    pub reason: Note,
}

/// A write to one register. Per register the last in order counts, among those whose author may write it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Write {
    /// A device's host name: by a device of its user, or an admin.
    Host {
        /// The device.
        device: DeviceId,
        /// Its name.
        host: Label,
    },
    /// A device's IPv4 address: by an admin.
    Address {
        /// The device.
        device: DeviceId,
        /// Its address.
        address: Ipv4Addr,
    },
    /// A device's WireGuard key: by the device alone.
    WireGuard {
        /// The device.
        device: DeviceId,
        /// Its key.
        key: WgKey,
    },
    /// What a user is called: by a device of the user, or an admin.
    Name {
        /// The user.
        user: UserId,
        /// The name.
        name: Label,
    },
    /// Whether a user has a tag: by an admin.
    Tag {
        /// The user.
        user: UserId,
        /// The tag.
        tag: Label,
        /// Whether it is set.
        set: bool,
    },
    /// A setting of the network: by an admin.
    Setting {
        /// Which.
        key: Label,
        /// Its value; none is the default.
        value: Option<Note>,
    },
    /// The network's servers: by an admin.
    Servers(Vec<Server>),
    /// Whether a device's offer of a route or the exit may be used: by an admin.
    Approval {
        /// The device.
        device: DeviceId,
        /// The slot of its offer.
        slot: u32,
        /// The event that made the offer that was looked at.
        offer: EventId,
        /// Whether it may.
        approved: bool,
    },
    /// An offer, or none any more: by the device alone.
    Offer {
        /// The device.
        device: DeviceId,
        /// Which of its offers, below [`MAX_SLOTS`].
        slot: u32,
        /// What it offers; none withdraws.
        offer: Option<Offer>,
    },
    /// An offer that its audience alone can read: by the device alone. It takes the place of whatever stood in the slot.
    Narrow {
        /// The device.
        device: DeviceId,
        /// Which of its offers, below [`MAX_SLOTS`].
        slot: u32,
        /// The offer, sealed.
        offer: NarrowOffer,
    },
}

/// An [`Offer`] sealed under a key of its own, which the offering device hands to the audience: see [`crate::narrow`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NarrowOffer {
    /// What the key is committed to, as an epoch's key is.
    pub key: EpochId,
    /// nonce ‖ ciphertext ‖ tag.
    pub sealed: Vec<u8>,
}

/// A server of the network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// The server's key.
    pub key: [u8; 32],
    /// HOST:PORT.
    pub address: Note,
}

/// What a device advertises, and to whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// The thing.
    pub what: Service,
    /// What it is called.
    pub name: Option<Label>,
    /// To whom.
    pub audience: Audience,
    /// Until when, milliseconds since 1970.
    pub until: Option<u64>,
}

/// A transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// A thing to offer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Service {
    /// Ports of this device.
    Port {
        /// TCP or UDP.
        protocol: Protocol,
        /// The first port, at least 1.
        first: u16,
        /// The last port, at least the first.
        last: u16,
    },
    /// A route through this device.
    Route {
        /// The network's first address.
        base: std::net::IpAddr,
        /// The prefix length.
        prefix: u8,
    },
    /// The way to everywhere.
    Exit {
        /// For IPv4.
        v4: bool,
        /// For IPv6.
        v6: bool,
    },
    /// A DNS zone.
    Dns {
        /// Its labels, from the left.
        zone: Vec<Label>,
    },
    /// Forwarding between members.
    Relay,
}

/// To whom something is offered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Audience {
    /// All members.
    Everyone,
    /// Those named, in any of the three ways.
    Only {
        /// Users with all their devices.
        users: Vec<UserId>,
        /// Single devices.
        devices: Vec<DeviceId>,
        /// All users with one of these tags.
        tags: Vec<Label>,
    },
}

impl Subnet {
    /// A subnet, if it is one mesh can use: prefix 8 to 30, no bits behind the prefix.
    #[must_use]
    pub fn new(base: Ipv4Addr, prefix: u8) -> Option<Self> {
        let subnet = Self { base, prefix };
        subnet.is_well_formed().then_some(subnet)
    }

    fn is_well_formed(self) -> bool {
        (8..=30).contains(&self.prefix) && u32::from(self.base) & !self.mask() == 0
    }

    fn mask(self) -> u32 {
        u32::MAX << (32 - u32::from(self.prefix.clamp(1, 32)))
    }

    /// How many addresses hosts can have: neither the first nor the last of the range.
    #[must_use]
    pub fn hosts(self) -> u32 {
        (!self.mask()).saturating_sub(1)
    }

    /// The `n`-th host address, from 0, if there are so many.
    #[must_use]
    pub fn host(self, n: u32) -> Option<Ipv4Addr> {
        (n < self.hosts()).then(|| Ipv4Addr::from(u32::from(self.base) + 1 + n))
    }

    /// Which host address this is, from 0; `None` if it is not one of this subnet.
    #[must_use]
    pub fn index(self, address: Ipv4Addr) -> Option<u32> {
        let address = u32::from(address);
        let n = (address & !self.mask()).checked_sub(1)?;
        (address & self.mask() == u32::from(self.base) && n < self.hosts()).then_some(n)
    }

    /// Whether the two have an address in common.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        let mask = self.mask() & other.mask();
        u32::from(self.base) & mask == u32::from(other.base) & mask
    }
}

impl std::fmt::Display for Subnet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

impl std::str::FromStr for Subnet {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (base, prefix) = text.split_once('/')?;
            Self::new(base.parse().ok()?, prefix.parse().ok()?)
        };
        parse().ok_or_else(|| {
            format!(
                "{:?} is not a subnet: give one like 10.73.20.0/24, prefix 8 to 30",
                text.chars().take(40).collect::<String>()
            )
        })
    }
}

/// Without the contact secret.
impl std::fmt::Debug for Invitation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            contact: _,
            note,
            tags,
        } = self;
        f.debug_struct("Invitation")
            .field("note", note)
            .field("tags", tags)
            .finish_non_exhaustive()
    }
}

impl Joining {
    /// blake3(salt ‖ attributes): what the clear act holds and the joiner signs.
    #[must_use]
    pub fn digest(&self) -> Digest {
        // The salt is the first field, so the encoding is salt ‖ attributes.
        Digest(*blake3::hash(&postcard::to_stdvec(self).unwrap_or_default()).as_bytes())
    }
}

impl Attributes {
    /// The one encoding.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Founding(value) => postcard::to_stdvec(value),
            Self::Invitation(value) => postcard::to_stdvec(value),
            Self::Joining(value) => postcard::to_stdvec(value),
            Self::Reason(value) => postcard::to_stdvec(value),
            Self::Writes(value) => postcard::to_stdvec(value),
        }
        .unwrap_or_default()
    }

    /// Decodes what stands sealed beside `act`; `None` if it is not that, too long, or not in the one encoding.
    #[must_use]
    pub fn decode(act: &Act, bytes: &[u8]) -> Option<Self> {
        let attributes = match act {
            Act::Genesis(_) => Self::Founding(whole(bytes)?),
            Act::Invite(_) => Self::Invitation(whole(bytes)?),
            Act::Admit(_) | Act::DeviceAdd(_) => Self::Joining(whole(bytes)?),
            Act::Remove(_) => Self::Reason(whole(bytes)?),
            Act::Private => Self::Writes(whole(bytes)?),
            _ => return None,
        };
        (attributes.bounded() && attributes.encode() == bytes).then_some(attributes)
    }

    fn bounded(&self) -> bool {
        match self {
            Self::Founding(founding) => founding.subnet.is_well_formed(),
            Self::Invitation(invitation) => invitation.tags.len() <= MAX_LIST,
            Self::Joining(_) | Self::Reason(_) => true,
            Self::Writes(writes) => {
                !writes.is_empty()
                    && writes.len() <= MAX_WRITES
                    && writes.iter().all(Write::bounded)
            }
        }
    }
}

impl Write {
    fn bounded(&self) -> bool {
        match self {
            Self::Servers(servers) => servers.len() <= MAX_LIST,
            Self::Offer { slot, offer, .. } => {
                *slot < MAX_SLOTS && offer.as_ref().is_none_or(Offer::bounded)
            }
            Self::Narrow { slot, offer, .. } => *slot < MAX_SLOTS && crate::narrow::fits(offer),
            Self::Approval { slot, .. } => *slot < MAX_SLOTS,
            _ => true,
        }
    }
}

impl Service {
    /// Whether it may be used only with an admin's approval, unless the network's policy is that nothing needs one.
    pub(crate) fn asks_approval(&self) -> bool {
        matches!(self, Self::Route { .. } | Self::Exit { .. })
    }
}

impl Offer {
    pub(crate) fn bounded(&self) -> bool {
        let service = match &self.what {
            Service::Port { first, last, .. } => *first >= 1 && first <= last,
            Service::Route {
                base: std::net::IpAddr::V4(base),
                prefix,
            } => masked_v4(*base, *prefix),
            Service::Route {
                base: std::net::IpAddr::V6(base),
                prefix,
            } => masked_v6(*base, *prefix),
            Service::Exit { v4, v6 } => *v4 || *v6,
            Service::Dns { zone } => !zone.is_empty() && zone.len() <= MAX_LIST,
            Service::Relay => true,
        };
        let audience = match &self.audience {
            Audience::Everyone => true,
            Audience::Only {
                users,
                devices,
                tags,
            } => {
                users.len() <= MAX_AUDIENCE
                    && devices.len() <= MAX_AUDIENCE
                    && tags.len() <= MAX_AUDIENCE
            }
        };
        service && audience
    }
}

fn masked_v4(base: Ipv4Addr, prefix: u8) -> bool {
    prefix <= 32 && u32::from(base).checked_shl(u32::from(prefix)).unwrap_or(0) == 0
}

fn masked_v6(base: std::net::Ipv6Addr, prefix: u8) -> bool {
    prefix <= 128 && u128::from(base).checked_shl(u32::from(prefix)).unwrap_or(0) == 0
}

fn whole<T: for<'a> Deserialize<'a>>(bytes: &[u8]) -> Option<T> {
    let (value, rest) = postcard::take_from_bytes(bytes).ok()?;
    rest.is_empty().then_some(value)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_subnet_counts_its_hosts_and_finds_them() {
        let subnet: Subnet = "10.73.20.0/24".parse().unwrap();
        assert_eq!(subnet.hosts(), 254);
        assert_eq!(subnet.host(0), Some(Ipv4Addr::new(10, 73, 20, 1)));
        assert_eq!(subnet.host(254), None);
        assert_eq!(subnet.index(Ipv4Addr::new(10, 73, 20, 254)), Some(253));
        assert_eq!(subnet.index(Ipv4Addr::new(10, 73, 20, 255)), None);
        assert_eq!(subnet.index(Ipv4Addr::new(10, 73, 20, 0)), None);
        assert_eq!(subnet.index(Ipv4Addr::new(10, 73, 21, 1)), None);
    }

    #[test]
    fn a_device_has_no_slot_beyond_the_last() {
        let device = DeviceId([1; 32]);
        for (slot, held) in [(0, true), (MAX_SLOTS - 1, true), (MAX_SLOTS, false)] {
            let offer = None;
            let approval = Write::Approval {
                device,
                slot,
                offer: EventId([2; 32]),
                approved: true,
            };
            let offer = Write::Offer {
                device,
                slot,
                offer,
            };
            for write in [offer, approval] {
                let bytes = Attributes::Writes(vec![write]).encode();
                assert_eq!(Attributes::decode(&Act::Private, &bytes).is_some(), held);
            }
        }
    }

    #[test]
    fn an_invitation_is_printed_without_its_contact_secret() {
        let invitation = Invitation {
            contact: [0xa7; 32],
            note: Some("for bob".parse().unwrap()),
            tags: Vec::new(),
        };
        let printed = format!("{:?}", Opened::Open(Attributes::Invitation(invitation)));
        assert!(printed.contains("for bob"), "{printed}");
        assert!(!printed.contains("167"), "{printed}");
    }

    #[test]
    fn subnets_that_cannot_serve_are_refused() {
        for bad in [
            "10.0.0.1/24",
            "10.0.0.0/31",
            "10.0.0.0/7",
            "10.0.0.0",
            "x/24",
            "",
        ] {
            assert!(bad.parse::<Subnet>().is_err(), "{bad}");
        }
    }

    #[test]
    fn subnets_overlap_if_one_holds_the_other() {
        let subnet = |text: &str| text.parse::<Subnet>().unwrap();
        assert!(subnet("10.0.0.0/8").overlaps(subnet("10.9.9.0/24")));
        assert!(subnet("10.9.9.0/24").overlaps(subnet("10.0.0.0/8")));
        assert!(!subnet("10.9.8.0/24").overlaps(subnet("10.9.9.0/24")));
    }

    #[test]
    fn a_route_has_no_bits_behind_its_prefix() {
        assert!(masked_v4(Ipv4Addr::new(192, 168, 1, 0), 24));
        assert!(!masked_v4(Ipv4Addr::new(192, 168, 1, 1), 24));
        assert!(masked_v4(Ipv4Addr::UNSPECIFIED, 0));
        assert!(masked_v4(Ipv4Addr::new(1, 2, 3, 4), 32));
        assert!(masked_v6("fd00::".parse().unwrap(), 8));
        assert!(!masked_v6("fd00::1".parse().unwrap(), 127));
    }
}
