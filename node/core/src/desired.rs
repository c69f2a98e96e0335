//! From the network's state to what this device must be: its plan for the machine, and its peers.
//!
//! Everything follows from the fold, from which device this is, and from the moment (for offers that end). Nothing is
//! remembered, so what the fold takes away is gone from here at once.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use mesh_ledger::event::attributes::{Audience as OfferedTo, Protocol as OfferedProtocol, Service};
use mesh_ledger::ids::{DeviceId, EventId};
use mesh_ledger::state::{Device, State};
use mesh_ledger::text::Label;

use crate::peer::PeerId;
use crate::plan::{
    Audience, InterfaceName, MTU, Open, Plan, PortRange, Protocol, Resolver, Ruleset, Subnet,
};
use crate::{names, settings};

/// Another device, as the tunnel must know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The device.
    pub id: PeerId,
    /// Its WireGuard key in this network.
    pub wireguard: [u8; 32],
    /// Its addresses.
    pub addresses: BTreeSet<IpAddr>,
}

/// What this device must be in one network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    /// What to do to the machine.
    pub plan: Plan,
    /// Who can be reached, by id.
    pub peers: Vec<Peer>,
}

/// The device as the packet path names it.
#[must_use]
pub fn peer_id(device: &DeviceId) -> PeerId {
    PeerId(device.0)
}

/// The packet path's name as the ledger's.
#[must_use]
pub fn device_id(peer: &PeerId) -> DeviceId {
    DeviceId(peer.0)
}

/// What `me` must be; `None` if it is no live device of the network, or the network's attributes are not open yet.
/// `alias` is what this device calls the network in names; without one, there are none. `ended` are own offers that were
/// seen to end, whatever the clock says now.
#[must_use]
pub fn desired(
    state: &State,
    me: &DeviceId,
    interface: InterfaceName,
    alias: Option<&Label>,
    ended: &BTreeSet<EventId>,
    now: u64,
) -> Option<Desired> {
    let own = state.devices.get(me)?;
    let subnet = state.subnet?;
    let mut addresses = vec![Subnet::new(own.v6.into(), 64).ok()?];
    if let Some(v4) = own.v4 {
        addresses.insert(0, Subnet::new(v4.into(), subnet.prefix).ok()?);
    }
    let peers: Vec<Peer> = state
        .devices
        .values()
        .filter(|device| device.id != *me)
        .filter_map(peer)
        .collect();
    let live: BTreeMap<PeerId, BTreeSet<IpAddr>> = peers
        .iter()
        .map(|peer| (peer.id, peer.addresses.clone()))
        .collect();
    let open = state
        .offers
        .range((*me, 0)..=(*me, u32::MAX))
        .filter(|(_, standing)| {
            !ended.contains(&standing.event) && standing.offer.until.is_none_or(|until| until > now)
        })
        .filter_map(|(_, standing)| match standing.offer.what {
            Service::Port {
                protocol,
                first,
                last,
            } => Some(Open {
                protocol: match protocol {
                    OfferedProtocol::Tcp => Protocol::Tcp,
                    OfferedProtocol::Udp => Protocol::Udp,
                },
                ports: PortRange::new(first, last).ok()?,
                audience: audience(state, &standing.offer.audience, &live),
            }),
            _ => None,
        })
        .collect();
    let rules = Ruleset {
        own: own_addresses(own),
        peers: live,
        open,
        refusal: settings::refuses(state),
        ..Ruleset::default()
    };
    let resolver = alias.and_then(|alias| resolver(alias, &addresses));
    Some(Desired {
        plan: Plan {
            interface,
            mtu: MTU,
            addresses,
            routes: Vec::new(),
            rules,
            resolver,
        },
        peers,
    })
}

/// This device answers for its networks' names itself, on its own addresses. HOST.NET is tried before a name below NET: a
/// host that is called as the network is would else be asked for the names of all others, since its subtree is its own.
fn resolver(alias: &Label, addresses: &[Subnet]) -> Option<Resolver> {
    Some(Resolver {
        servers: addresses.iter().map(Subnet::address).collect(),
        search: vec![names::ROOT.parse().ok()?, names::domain(alias)?],
        routed: addresses.iter().flat_map(names::reverse_domains).collect(),
    })
}

/// The own offers that have ended by `now` and stand in the state still.
#[must_use]
pub fn ended_offers(state: &State, me: &DeviceId, now: u64) -> Vec<(u32, EventId)> {
    let own = state.offers.range((*me, 0)..=(*me, u32::MAX));
    own.filter(|(_, standing)| standing.offer.until.is_some_and(|until| until <= now))
        .map(|((_, slot), standing)| (*slot, standing.event))
        .collect()
}

fn peer(device: &Device) -> Option<Peer> {
    Some(Peer {
        id: peer_id(&device.id),
        wireguard: device.wireguard?.0,
        addresses: own_addresses(device),
    })
}

fn own_addresses(device: &Device) -> BTreeSet<IpAddr> {
    device
        .v4
        .map(IpAddr::from)
        .into_iter()
        .chain([device.v6.into()])
        .collect()
}

fn audience(
    state: &State,
    audience: &OfferedTo,
    live: &BTreeMap<PeerId, BTreeSet<IpAddr>>,
) -> Audience {
    match audience {
        OfferedTo::Everyone => Audience::All,
        OfferedTo::Only { .. } => Audience::Peers(
            live.keys()
                .filter(|peer| state.admits(audience, &device_id(peer)))
                .copied()
                .collect(),
        ),
    }
}

#[cfg(test)]
pub(crate) mod tests;
