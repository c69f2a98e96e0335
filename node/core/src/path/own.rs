//! Where this device's own socket may be reached.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mesh_ledger::ids::ServerKey;

use super::candidate::{Candidate, Kind, MAX_CANDIDATES, usable};
use crate::peer::PeerId;

/// How long what somebody saw counts.
const SEEN_LIFETIME: Duration = Duration::from_secs(150);
/// The most that are remembered of what peers saw.
const MAX_BY_PEERS: usize = 8;

/// Who saw where this device's datagrams come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Seen {
    /// A server, at its first or second port.
    Server(ServerKey, u8),
    /// A member.
    Peer(PeerId),
}

/// How a router in front of this device maps its port, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mapping {
    /// Nobody has told yet.
    Unknown,
    /// There is none: this device is seen at its own address.
    None,
    /// Everybody sees the same port, as far as one witness can tell.
    OneWitness,
    /// Everybody sees the same port: peers can find this device.
    Same,
    /// Each sees another: only peers at an address that lets everybody in find this device.
    Changing,
}

/// The candidates of this device.
#[derive(Debug, Default)]
pub struct Own {
    interfaces: Vec<SocketAddr>,
    mapped: Option<SocketAddr>,
    seen: BTreeMap<Seen, (SocketAddr, Duration)>,
}

impl Own {
    /// Sets the addresses of the interfaces with the socket's port, and what a router maps. True if that is news; what was
    /// seen of the old ones is forgotten then.
    pub fn set(&mut self, interfaces: Vec<SocketAddr>, mapped: Option<SocketAddr>) -> bool {
        let mut interfaces: Vec<SocketAddr> = interfaces.into_iter().filter(usable).collect();
        interfaces.sort_unstable();
        interfaces.dedup();
        let moved = interfaces != self.interfaces;
        if moved {
            self.seen.clear();
            self.interfaces = interfaces;
        }
        let news = moved || mapped != self.mapped;
        self.mapped = mapped;
        news
    }

    /// Somebody saw this device come from an address. True if it is a new candidate.
    pub fn seen(&mut self, by: Seen, address: SocketAddr, now: Duration) -> bool {
        if !usable(&address) {
            return false;
        }
        let known = self
            .candidates(now)
            .iter()
            .any(|known| known.address == address);
        let peers = self
            .seen
            .keys()
            .filter(|by| matches!(by, Seen::Peer(_)))
            .count();
        if peers >= MAX_BY_PEERS && matches!(by, Seen::Peer(_)) && !self.seen.contains_key(&by) {
            return false;
        }
        self.seen.insert(by, (address, now));
        !known
    }

    /// Forgets what was seen too long ago.
    pub fn forget_old(&mut self, now: Duration) {
        self.seen
            .retain(|_, (_, at)| now.saturating_sub(*at) < SEEN_LIFETIME);
    }

    /// All of them, those first that should be told if there is no room for more.
    #[must_use]
    pub fn candidates(&self, now: Duration) -> Vec<Candidate> {
        let interfaces = self
            .interfaces
            .iter()
            .map(|address| (*address, Kind::Interface));
        let mapped = self.mapped.iter().map(|address| (*address, Kind::Mapped));
        // What servers saw comes before what members say they saw.
        let seen = self
            .seen
            .values()
            .filter(|(_, at)| now.saturating_sub(*at) < SEEN_LIFETIME)
            .map(|(address, _)| (*address, Kind::Reflexive));
        let mut candidates: Vec<Candidate> = Vec::new();
        for (address, kind) in mapped.chain(seen).chain(interfaces) {
            let known = candidates.iter().any(|known| known.address == address);
            if !known && usable(&address) && candidates.len() < MAX_CANDIDATES {
                // An interface's own address stays one when somebody else sees it too.
                let kind = if self.interfaces.contains(&address) {
                    Kind::Interface
                } else {
                    kind
                };
                candidates.push(Candidate { address, kind });
            }
        }
        candidates
    }

    /// How IPv4 is mapped, by what servers saw.
    #[must_use]
    pub fn mapping(&self, now: Duration) -> Mapping {
        let fresh = self.seen.iter().filter(|(by, (address, at))| {
            matches!(by, Seen::Server(..))
                && address.is_ipv4()
                && now.saturating_sub(*at) < SEEN_LIFETIME
        });
        let seen: Vec<SocketAddr> = fresh.map(|(_, (address, _))| *address).collect();
        let Some(first) = seen.first() else {
            return Mapping::Unknown;
        };
        if self.interfaces.contains(first) {
            Mapping::None
        } else if seen.iter().any(|address| address != first) {
            Mapping::Changing
        } else if seen.len() > 1 {
            Mapping::Same
        } else {
            Mapping::OneWitness
        }
    }

    /// Where servers and peers saw this device.
    pub fn sightings(&self) -> impl Iterator<Item = (&Seen, &SocketAddr)> {
        self.seen.iter().map(|(by, (address, _))| (by, address))
    }

    /// The addresses of the interfaces.
    #[must_use]
    pub fn interfaces(&self) -> &[SocketAddr] {
        &self.interfaces
    }

    /// Whether this device has an IPv6 address by which others may reach it.
    #[must_use]
    pub fn has_ipv6(&self) -> bool {
        let wide = |address: &SocketAddr| match address.ip() {
            IpAddr::V6(ip) => !ip.is_unique_local(),
            IpAddr::V4(_) => false,
        };
        self.interfaces.iter().any(wide)
    }

    /// What a router maps to this device.
    #[must_use]
    pub fn mapped(&self) -> Option<SocketAddr> {
        self.mapped
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const NOW: Duration = Duration::from_secs(5);

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn server(port: u8) -> Seen {
        Seen::Server(ServerKey([1; 32]), port)
    }

    #[test]
    fn a_device_seen_at_its_own_address_is_behind_nothing() {
        let mut own = Own::default();
        assert!(own.set(vec![at("192.0.2.1:7")], None));
        assert!(!own.seen(server(0), at("192.0.2.1:7"), NOW));
        assert_eq!(own.mapping(NOW), Mapping::None);
        assert_eq!(own.candidates(NOW)[0].kind, Kind::Interface);
    }

    #[test]
    fn two_witnesses_tell_whether_a_router_keeps_the_port() {
        let mut own = Own::default();
        own.set(vec![at("10.0.0.2:7")], None);
        assert_eq!(own.mapping(NOW), Mapping::Unknown);
        assert!(own.seen(server(0), at("192.0.2.9:1000"), NOW));
        assert_eq!(own.mapping(NOW), Mapping::OneWitness);
        own.seen(server(1), at("192.0.2.9:1000"), NOW);
        assert_eq!(own.mapping(NOW), Mapping::Same);
        own.seen(server(1), at("192.0.2.9:1001"), NOW);
        assert_eq!(own.mapping(NOW), Mapping::Changing);
    }

    #[test]
    fn what_was_seen_before_a_move_or_long_ago_counts_no_more() {
        let mut own = Own::default();
        own.set(vec![at("10.0.0.2:7")], None);
        own.seen(server(0), at("192.0.2.9:1000"), NOW);
        assert_eq!(own.candidates(NOW + SEEN_LIFETIME).len(), 1);
        assert!(!own.set(vec![at("10.0.0.2:7")], None));
        assert_eq!(own.candidates(NOW).len(), 2);
        assert!(own.set(vec![at("10.1.0.2:7")], None));
        assert_eq!(own.candidates(NOW).len(), 1);
    }

    #[test]
    fn there_are_never_more_than_can_be_told_and_none_that_leads_nowhere() {
        let mut own = Own::default();
        let many = (1..200).map(|n| at(&format!("10.0.0.{n}:7"))).collect();
        own.set(many, Some(at("192.0.2.1:9")));
        for n in 0..40 {
            own.seen(
                Seen::Peer(PeerId([n; 32])),
                at(&format!("192.0.2.2:{}", 1000 + u16::from(n))),
                NOW,
            );
        }
        assert!(own.seen.len() <= MAX_BY_PEERS);
        let candidates = own.candidates(NOW);
        assert_eq!(candidates.len(), MAX_CANDIDATES);
        assert_eq!(candidates[0].kind, Kind::Mapped);
        own.set(
            vec![
                at("127.0.0.1:7"),
                at("0.0.0.0:7"),
                at("224.0.0.1:7"),
                at("10.0.0.1:0"),
                at("[fe80::1]:7"),
            ],
            None,
        );
        assert_eq!(own.candidates(NOW), []);
    }
}
