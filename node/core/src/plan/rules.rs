//! Who may reach what on this device: one value from which the filter in the process ([`crate::filter`]) and the native
//! firewall are both made, so that they cannot come to differ.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::peer::PeerId;

/// The whole policy of one network on this device. What it does not open is closed.
///
/// Always open, to live peers: ICMP echo, and replies to what this host began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ruleset {
    /// This device's own addresses.
    pub own: BTreeSet<IpAddr>,
    /// The live peers and their addresses. Whoever is not here reaches nothing and is not reached.
    pub peers: BTreeMap<PeerId, BTreeSet<IpAddr>>,
    /// What this device offers.
    pub open: Vec<Open>,
    /// What happens to a packet that nothing allows.
    pub refusal: Refusal,
    /// The UDP ports that mesh itself talks to peers from. Nothing from or to them passes the tunnel, or mesh would find
    /// a way to its peers through itself.
    pub underlay: BTreeSet<u16>,
}

/// Ports that some peers may open connections to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open {
    /// The protocol the ports belong to.
    pub protocol: Protocol,
    /// The ports.
    pub ports: PortRange,
    /// Who may use them.
    pub audience: Audience,
}

/// A protocol with ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// Who may use an offer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Audience {
    /// Every live peer.
    All,
    /// These peers, while they are live.
    Peers(BTreeSet<PeerId>),
}

/// What happens to a packet that nothing allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// The sender is told at once, so that it need not wait.
    #[default]
    Reject,
    /// The packet vanishes.
    Drop,
}

/// A run of ports, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "(u16, u16)", into = "(u16, u16)")]
pub struct PortRange {
    first: u16,
    last: u16,
}

/// A range that ends before it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("ports {first}-{last}: the range ends before it begins; write the smaller port first")]
pub struct PortsReversed {
    first: u16,
    last: u16,
}

impl PortRange {
    /// The ports from `first` to `last`.
    ///
    /// # Errors
    /// When `last` is before `first`.
    pub const fn new(first: u16, last: u16) -> Result<Self, PortsReversed> {
        if last < first {
            return Err(PortsReversed { first, last });
        }
        Ok(Self { first, last })
    }

    /// One port.
    #[must_use]
    pub const fn one(port: u16) -> Self {
        Self {
            first: port,
            last: port,
        }
    }

    /// The lowest port.
    #[must_use]
    pub const fn first(&self) -> u16 {
        self.first
    }

    /// The highest port.
    #[must_use]
    pub const fn last(&self) -> u16 {
        self.last
    }
}

impl TryFrom<(u16, u16)> for PortRange {
    type Error = PortsReversed;

    fn try_from((first, last): (u16, u16)) -> Result<Self, PortsReversed> {
        Self::new(first, last)
    }
}

impl From<PortRange> for (u16, u16) {
    fn from(range: PortRange) -> Self {
        (range.first, range.last)
    }
}

impl Audience {
    /// Whether the peer belongs to it.
    #[must_use]
    pub fn contains(&self, peer: &PeerId) -> bool {
        match self {
            Self::All => true,
            Self::Peers(peers) => peers.contains(peer),
        }
    }
}

impl Ruleset {
    /// The part of the policy that concerns one peer; `None` if it is not live.
    #[must_use]
    pub fn for_peer(&self, peer: &PeerId) -> Option<PeerPolicy> {
        let addresses = self.peers.get(peer)?;
        let ports = |protocol| {
            self.open
                .iter()
                .filter(|open| open.protocol == protocol && open.audience.contains(peer))
                .map(|open| open.ports)
                .collect()
        };
        Some(PeerPolicy {
            own: self.own.iter().copied().collect(),
            peer: addresses.iter().copied().collect(),
            tcp: ports(Protocol::Tcp),
            udp: ports(Protocol::Udp),
            refusal: self.refusal,
            underlay: self.underlay.iter().copied().collect(),
        })
    }
}

/// The policy towards one peer, ready to be looked up for each packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerPolicy {
    /// This device's own addresses.
    pub own: Box<[IpAddr]>,
    /// The peer's addresses.
    pub peer: Box<[IpAddr]>,
    /// The TCP ports that this peer may connect to.
    pub tcp: Ports,
    /// The UDP ports that this peer may send to.
    pub udp: Ports,
    /// What happens to what nothing allows.
    pub refusal: Refusal,
    /// The UDP ports of mesh itself, which never pass the tunnel.
    pub underlay: Box<[u16]>,
}

/// A set of ports: ranges in order that neither overlap nor touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ports(Box<[PortRange]>);

impl Ports {
    /// Whether the port is in the set.
    #[must_use]
    pub fn contains(&self, port: u16) -> bool {
        let after = self.0.partition_point(|range| range.first <= port);
        after
            .checked_sub(1)
            .and_then(|at| self.0.get(at))
            .is_some_and(|range| port <= range.last)
    }

    /// The ranges, in order, disjoint.
    #[must_use]
    pub fn ranges(&self) -> &[PortRange] {
        &self.0
    }
}

impl FromIterator<PortRange> for Ports {
    fn from_iter<I: IntoIterator<Item = PortRange>>(ranges: I) -> Self {
        let mut sorted: Vec<PortRange> = ranges.into_iter().collect();
        sorted.sort_unstable();
        let mut merged: Vec<PortRange> = Vec::with_capacity(sorted.len());
        for range in sorted {
            match merged.last_mut() {
                Some(last) if range.first <= last.last.saturating_add(1) => {
                    last.last = last.last.max(range.last)
                }
                _ => merged.push(range),
            }
        }
        Self(merged.into_boxed_slice())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_set_of_ports_holds_what_its_ranges_hold(
            ranges in prop::collection::vec((any::<u16>(), 0u16..300), 0..12),
            probes in prop::collection::vec(any::<u16>(), 32),
        ) {
            let ranges: Vec<PortRange> = ranges
                .into_iter()
                .map(|(first, more)| PortRange::new(first, first.saturating_add(more)).unwrap())
                .collect();
            let ports: Ports = ranges.iter().copied().collect();
            let edges = ranges.iter().flat_map(|r| {
                [r.first.saturating_sub(1), r.first, r.last, r.last.saturating_add(1)]
            });
            for port in probes.into_iter().chain(edges) {
                let naive = ranges.iter().any(|r| (r.first..=r.last).contains(&port));
                prop_assert_eq!(ports.contains(port), naive);
            }
            for pair in ports.ranges().windows(2) {
                prop_assert!(u32::from(pair[0].last) + 1 < u32::from(pair[1].first));
            }
        }
    }

    #[test]
    fn a_peer_that_is_not_live_has_no_policy_even_if_an_offer_names_it() {
        let peer = PeerId([1; 32]);
        let rules = Ruleset {
            open: vec![Open {
                protocol: Protocol::Tcp,
                ports: PortRange::one(22),
                audience: Audience::Peers([peer].into()),
            }],
            ..Ruleset::default()
        };
        assert!(rules.for_peer(&peer).is_none());
    }

    #[test]
    fn an_offer_opens_its_ports_to_its_audience_alone() {
        let (alice, bob) = (PeerId([1; 32]), PeerId([2; 32]));
        let rules = Ruleset {
            peers: [(alice, BTreeSet::new()), (bob, BTreeSet::new())].into(),
            open: vec![Open {
                protocol: Protocol::Tcp,
                ports: PortRange::one(22),
                audience: Audience::Peers([alice].into()),
            }],
            ..Ruleset::default()
        };
        assert!(rules.for_peer(&alice).unwrap().tcp.contains(22));
        assert!(!rules.for_peer(&alice).unwrap().udp.contains(22));
        assert!(!rules.for_peer(&bob).unwrap().tcp.contains(22));
    }
}
