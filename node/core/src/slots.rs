//! Places for those who have proven nothing yet: so many in all, so many for each origin.
//!
//! Whoever comes first must not keep others out by doing nothing. So a place is never waited for: when there is none, the
//! oldest that has proven nothing is given up for the new one, first one of the same origin. What is proven keeps its place.
//! An honest visitor is done within a second or so; to push it out in that time takes a flood from many origins.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use crate::peer::PeerId;

/// Where somebody comes from, as far as it costs something to come from elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// An IPv4 address, or the first 64 bits of an IPv6 address, which one host has whole.
    Address(IpAddr),
    /// A device that comes through a relay, which knows its key.
    Device(PeerId),
}

impl From<SocketAddr> for Origin {
    fn from(address: SocketAddr) -> Self {
        Self::Address(match address.ip().to_canonical() {
            IpAddr::V4(v4) => v4.into(),
            IpAddr::V6(v6) => Ipv6Addr::from(u128::from(v6) >> 64 << 64).into(),
        })
    }
}

/// How many places there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// In all.
    pub all: usize,
    /// For one origin.
    pub each: usize,
}

/// What became of a wish for a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place<K> {
    /// There was room.
    Free,
    /// It is had in the place of this one, which is to be ended.
    Instead(K),
    /// All who could make room have proven something.
    None,
}

/// The places, by whatever key tells their holders apart. Times are since any fixed moment, the same in every call.
#[derive(Debug)]
pub struct Slots<K> {
    limits: Limits,
    held: BTreeMap<K, Held>,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    origin: Origin,
    since: Duration,
    proven: bool,
}

impl<K: Ord + Copy> Slots<K> {
    /// Nobody has a place yet.
    #[must_use]
    pub const fn new(limits: Limits) -> Self {
        Self {
            limits,
            held: BTreeMap::new(),
        }
    }

    /// Asks for a place for `key`, which has none.
    #[must_use]
    pub fn take(&mut self, key: K, origin: Origin, now: Duration) -> Place<K> {
        let same = |held: &Held| held.origin == origin;
        let of_origin = self.held.values().filter(|held| same(held)).count();
        let place = if of_origin >= self.limits.each {
            self.oldest(same)
        } else if self.held.len() >= self.limits.all {
            self.oldest(|_| true)
        } else {
            Place::Free
        };
        match &place {
            Place::None => return place,
            Place::Instead(old) => drop(self.held.remove(old)),
            Place::Free => {}
        }
        let proven = false;
        let since = now;
        self.held.insert(
            key,
            Held {
                origin,
                since,
                proven,
            },
        );
        place
    }

    /// The holder has proven that it may be here. It keeps its place until it gives it back.
    pub fn prove(&mut self, key: &K) {
        if let Some(held) = self.held.get_mut(key) {
            held.proven = true;
        }
    }

    /// The holder is gone. Whether it had a place.
    pub fn free(&mut self, key: &K) -> bool {
        self.held.remove(key).is_some()
    }

    /// Whether it has a place.
    #[must_use]
    pub fn holds(&self, key: &K) -> bool {
        self.held.contains_key(key)
    }

    /// Gives the places of all others back.
    pub fn retain(&mut self, stays: impl Fn(&K) -> bool) {
        self.held.retain(|key, _| stays(key));
    }

    /// How many places are taken.
    #[must_use]
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether none is taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    fn oldest(&self, fits: impl Fn(&Held) -> bool) -> Place<K> {
        let unproven = self.held.iter();
        let unproven = unproven.filter(|(_, held)| !held.proven && fits(held));
        let oldest = unproven.min_by_key(|(key, held)| (held.since, **key));
        oldest.map_or(Place::None, |(key, _)| Place::Instead(*key))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const LIMITS: Limits = Limits { all: 4, each: 2 };

    fn from(text: &str) -> Origin {
        text.parse::<SocketAddr>().unwrap().into()
    }

    fn at(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn the_oldest_of_the_same_origin_makes_room_and_others_keep_theirs() {
        let mut slots = Slots::new(LIMITS);
        assert_eq!(slots.take(1, from("192.0.2.1:1"), at(1)), Place::Free);
        for n in 2..100 {
            let place = slots.take(n, from("192.0.2.2:1"), at(n));
            let expected = if n < 4 {
                Place::Free
            } else {
                Place::Instead(n - 2)
            };
            assert_eq!(place, expected, "{n}");
        }
        assert_eq!(slots.len(), 3);
        assert!(slots.free(&1), "the other origin was left alone");
    }

    #[test]
    fn when_all_are_taken_the_oldest_unproven_one_makes_room() {
        let mut slots = Slots::new(LIMITS);
        for n in 1..=4 {
            let origin = from(&format!("192.0.2.{n}:1"));
            assert_eq!(slots.take(n, origin, at(n)), Place::Free);
        }
        slots.prove(&1);
        assert_eq!(slots.take(5, from("192.0.2.5:1"), at(5)), Place::Instead(2));
        for n in [3, 4, 5] {
            slots.prove(&n);
        }
        assert_eq!(slots.take(6, from("192.0.2.6:1"), at(6)), Place::None);
        assert!(slots.free(&1) && !slots.free(&1));
        assert_eq!(slots.take(6, from("192.0.2.6:1"), at(6)), Place::Free);
        assert_eq!(slots.len(), LIMITS.all);
        slots.retain(|n| *n == 5);
        assert!(slots.holds(&5) && slots.len() == 1);
    }

    #[test]
    fn an_origin_whose_places_are_all_proven_gets_no_more_while_others_do() {
        let mut slots = Slots::new(LIMITS);
        for n in [1, 2] {
            assert_eq!(slots.take(n, from("192.0.2.1:1"), at(n)), Place::Free);
            slots.prove(&n);
        }
        assert_eq!(slots.take(3, from("192.0.2.1:9"), at(3)), Place::None);
        assert_eq!(slots.take(3, from("192.0.2.2:9"), at(3)), Place::Free);
    }

    #[test]
    fn a_host_is_one_origin_whatever_its_port_and_the_end_of_its_ipv6_address() {
        assert_eq!(from("192.0.2.1:1"), from("192.0.2.1:2"));
        assert_eq!(from("[::ffff:192.0.2.1]:1"), from("192.0.2.1:2"));
        assert_ne!(from("192.0.2.1:1"), from("192.0.2.2:1"));
        assert_eq!(from("[2001:db8::1]:1"), from("[2001:db8::ffff:0:0:2]:9"));
        assert_ne!(from("[2001:db8::1]:1"), from("[2001:db8:0:1::1]:1"));
        assert_ne!(
            Origin::Device(PeerId([1; 32])),
            Origin::Device(PeerId([2; 32]))
        );
    }
}
