//! Where this device's own socket may be reached.
//!
//! What a member says it saw may be a lie, by which others would be made to send to somebody else. So it is told on freely
//! only where a second witness, a server, the router or an interface knows the same IP address. Of the rest few are told on,
//! those that stood longest: behind a router, and with one other member at hand, nobody else could know.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mesh_ledger::ids::ServerKey;

use super::candidate::{Candidate, Kind, MAX_CANDIDATES, usable};
use crate::peer::PeerId;

/// How long what somebody saw counts.
const SEEN_LIFETIME: Duration = Duration::from_secs(150);
/// The most that are remembered of what peers saw.
const MAX_BY_PEERS: usize = 8;
/// The most that are told on for which the word of one member alone stands.
const MAX_ALONE: usize = 2;

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
    seen: BTreeMap<Seen, Sighting>,
}

/// What somebody saw.
#[derive(Debug, Clone, Copy)]
struct Sighting {
    address: SocketAddr,
    /// Since when they say so.
    since: Duration,
    /// When they said so last.
    at: Duration,
}

impl Sighting {
    fn counts(&self, now: Duration) -> bool {
        now.saturating_sub(self.at) < SEEN_LIFETIME
    }
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

    /// Somebody saw this device come from an address. True if there is a new candidate.
    pub fn seen(&mut self, by: Seen, address: SocketAddr, now: Duration) -> bool {
        if !usable(&address) {
            return false;
        }
        let before = self.candidates(now);
        let is_peer = |by: &Seen| matches!(by, Seen::Peer(_));
        if is_peer(&by) && !self.seen.contains_key(&by) {
            let peers = self.seen.iter().filter(|(by, _)| is_peer(by));
            let (count, oldest) = (peers.clone().count(), peers.min_by_key(|(_, seen)| seen.at));
            if let Some(oldest) = oldest.map(|(by, _)| *by).filter(|_| count >= MAX_BY_PEERS) {
                self.seen.remove(&oldest);
            }
        }
        let known = self.seen.get(&by);
        let same = known.filter(|known| known.address == address && known.counts(now));
        let since = same.map_or(now, |known| known.since);
        let at = now;
        self.seen.insert(by, Sighting { address, since, at });
        let after = self.candidates(now);
        let is_known = |new: &Candidate| before.iter().any(|old| old.address == new.address);
        !after.iter().all(is_known)
    }

    /// Forgets what was seen too long ago.
    pub fn forget_old(&mut self, now: Duration) {
        self.seen.retain(|_, seen| seen.counts(now));
    }

    /// All of them, those first that should be told if there is no room for more.
    #[must_use]
    pub fn candidates(&self, now: Duration) -> Vec<Candidate> {
        let interfaces = self
            .interfaces
            .iter()
            .map(|address| (*address, Kind::Interface));
        let mapped = self.mapped.iter().map(|address| (*address, Kind::Mapped));
        let seen = self.worth_telling(now);
        let seen = seen.into_iter().map(|address| (address, Kind::Reflexive));
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

    /// What others saw, as far as it may be told on: what servers saw, then what members say and somebody else knows, then
    /// some of the rest.
    fn worth_telling(&self, now: Duration) -> Vec<SocketAddr> {
        let fresh = self.seen.iter().filter(|(_, seen)| seen.counts(now));
        let (servers, peers): (Vec<_>, Vec<_>) =
            fresh.partition(|(by, _)| matches!(by, Seen::Server(..)));
        let own = self.interfaces.iter().chain(&self.mapped);
        let servers = servers.into_iter().map(|(_, seen)| seen.address);
        let mut ips: BTreeSet<IpAddr> = own.map(SocketAddr::ip).collect();
        ips.extend(servers.clone().map(|address| address.ip()));
        let is_known = |(by, seen): &(&Seen, &Sighting)| {
            let ip = seen.address.ip();
            let others = peers.iter().filter(|(other, _)| other != by);
            ips.contains(&ip) || others.clone().any(|(_, other)| other.address.ip() == ip)
        };
        let (known, mut alone): (Vec<_>, Vec<_>) = peers.iter().copied().partition(is_known);
        alone.sort_by_key(|(by, seen)| (seen.since, *by));
        alone.truncate(MAX_ALONE);
        let peers = known.into_iter().chain(alone);
        servers.chain(peers.map(|(_, seen)| seen.address)).collect()
    }

    /// How IPv4 is mapped, by what servers saw.
    #[must_use]
    pub fn mapping(&self, now: Duration) -> Mapping {
        let fresh = self.seen.iter().filter(|(by, seen)| {
            matches!(by, Seen::Server(..)) && seen.address.is_ipv4() && seen.counts(now)
        });
        let seen: Vec<SocketAddr> = fresh.map(|(_, seen)| seen.address).collect();
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
        self.seen.iter().map(|(by, seen)| (by, &seen.address))
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

    fn member(n: u8) -> Seen {
        Seen::Peer(PeerId([n; 32]))
    }

    #[test]
    fn what_one_member_says_alone_is_told_on_in_two_cases_at_most() {
        let mut own = Own::default();
        own.set(vec![at("10.0.0.2:7")], None);
        for n in 0..8 {
            let new = own.seen(member(n), at(&format!("203.0.113.{n}:7")), NOW);
            assert_eq!(new, n < 2, "{n}");
        }
        let told: Vec<SocketAddr> = own.candidates(NOW).iter().map(|c| c.address).collect();
        let first = [at("203.0.113.0:7"), at("203.0.113.1:7"), at("10.0.0.2:7")];
        assert_eq!(told, first);
        // A second member, a server, the router: each makes it worth more than a word.
        assert!(own.seen(member(9), at("203.0.113.7:9"), NOW));
        assert_eq!(own.candidates(NOW).len(), 5, "both ports of the address");
        assert!(own.seen(server(0), at("203.0.113.5:100"), NOW));
        let has = |own: &Own, text| own.candidates(NOW).iter().any(|c| c.address == at(text));
        assert!(has(&own, "203.0.113.5:7"));
        own.set(vec![at("10.0.0.2:7")], Some(at("203.0.113.6:1")));
        assert!(has(&own, "203.0.113.6:7"));
    }

    #[test]
    fn members_that_tell_first_do_not_keep_others_from_telling() {
        let mut own = Own::default();
        for n in 0..8 {
            own.seen(member(n), at(&format!("203.0.113.{n}:7")), NOW);
        }
        let later = NOW + Duration::from_secs(1);
        own.seen(member(20), at("192.0.2.1:7"), later);
        assert!(own.seen(member(21), at("192.0.2.1:8"), later));
        assert!(own.seen.len() <= MAX_BY_PEERS);
        let told = own.candidates(later);
        assert!(told.iter().any(|c| c.address == at("192.0.2.1:7")));
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
