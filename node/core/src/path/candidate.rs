//! Addresses at which a device may be reached, and how two devices tell each other theirs.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::peer::PeerId;

/// The most candidates of one device.
pub const MAX_CANDIDATES: usize = 16;

/// What a device sends over the control link to those with whom it wants a path of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// What the other is to put into its probes.
    pub tag: u64,
    /// Whether this device begins to ask now, and wants the other to do so and to tell its candidates.
    pub wanted: bool,
    /// Where this device may be reached, at most [`MAX_CANDIDATES`].
    pub candidates: Vec<Candidate>,
}

/// An address at which a device's socket may be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Candidate {
    /// The address and port.
    pub address: SocketAddr,
    /// How it came to be known.
    pub kind: Kind,
}

/// Where a peer is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// At an address, by this device's socket.
    Address(SocketAddr),
    /// Through a member that forwards between the two, by the control links of both to it.
    Through(PeerId),
}

impl Place {
    /// The address, if it is one.
    #[must_use]
    pub const fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Address(address) => Some(*address),
            Self::Through(_) => None,
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Through(member) => write!(f, "through {member}"),
        }
    }
}

/// How an address came to be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    /// It is on an interface of the device.
    Interface,
    /// A router maps it to the device.
    Mapped,
    /// A server or a peer saw the device come from it.
    Reflexive,
    /// The peer's probes, or its packets, came from it.
    Heard,
}

impl Kind {
    /// Its word in listings and JSON.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Interface => "interface",
            Self::Mapped => "mapped",
            Self::Reflexive => "reflexive",
            Self::Heard => "heard",
        }
    }
}

/// What kind of path an address makes. The order is that of preference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    /// Within one LAN.
    Lan,
    /// Over the internet.
    Wide,
    /// Through a member.
    Member,
}

impl Class {
    pub(super) fn of(place: &Place, kind: Option<Kind>) -> Self {
        let Place::Address(address) = place else {
            return Self::Member;
        };
        match (kind, address.ip()) {
            (Some(Kind::Interface), IpAddr::V4(ip)) if ip.is_private() || ip.is_link_local() => {
                Self::Lan
            }
            (Some(Kind::Interface), IpAddr::V6(ip)) if ip.is_unique_local() => Self::Lan,
            _ => Self::Wide,
        }
    }
}

/// Whether a datagram can go there at all, as far as the address itself says.
pub(super) fn usable(address: &SocketAddr) -> bool {
    let ip = match address.ip() {
        IpAddr::V4(ip) => {
            !ip.is_broadcast() && !ip.is_multicast() && ip.octets()[0] != 0 && ip.octets()[0] < 240
        }
        // Without its scope, a link-local address leads nowhere.
        IpAddr::V6(ip) => {
            !ip.is_multicast() && !ip.is_unicast_link_local() && ip.to_ipv4_mapped().is_none()
        }
    };
    ip && !address.ip().is_unspecified() && !address.ip().is_loopback() && address.port() != 0
}
