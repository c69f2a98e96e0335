//! The devices that were seen on the LAN, and where.
//!
//! Anybody on the LAN can announce anything under any device's key. So each device keeps the places of several
//! announcements, the newest first, and a place where it answered is not pushed out by others. Strangers are few, and make
//! room for each other, by the address that they name and in all; devices of one's own networks never make room for them.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::peer::PeerId;

/// The most devices that are no members of a network of this device.
pub const MAX_STRANGERS: usize = 256;
/// The most members.
pub const MAX_MEMBERS: usize = 4096;
/// The most strangers at one address.
pub const MAX_AT_ONE: usize = 8;
/// The most places of one device.
pub const MAX_PLACES: usize = 16;
/// The most places of one device where it answered.
const MAX_ANSWERED: usize = 4;

/// The devices. `T` is what each announces beside its places; the newest counts.
#[derive(Debug)]
pub struct Lan<T> {
    members: BTreeMap<PeerId, Sighted<T>>,
    strangers: BTreeMap<PeerId, Sighted<T>>,
}

/// A device that was seen.
#[derive(Debug)]
pub struct Sighted<T> {
    /// What it announces.
    pub says: T,
    places: Vec<Place>,
    at: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    address: SocketAddr,
    answered: bool,
}

impl<T> Sighted<T> {
    /// Where it is: where it answered, then the newest places first.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let (answered, other): (Vec<Place>, _) = self.places.iter().partition(|at| at.answered);
        answered.iter().chain(&other).map(|at| at.address).collect()
    }

    fn is_at(&self, ip: &IpAddr) -> bool {
        self.places.iter().any(|at| at.address.ip() == *ip)
    }
}

impl<T> Default for Lan<T> {
    fn default() -> Self {
        Self {
            members: BTreeMap::new(),
            strangers: BTreeMap::new(),
        }
    }
}

impl<T> Lan<T> {
    /// A device was announced. `is_member`: it is a device of a network of this one.
    pub fn sighted(
        &mut self,
        peer: PeerId,
        addresses: &[SocketAddr],
        says: T,
        is_member: bool,
        now: Duration,
    ) {
        let known = self.members.remove(&peer);
        let known = known.or_else(|| self.strangers.remove(&peer));
        let mut places = known.map(|known| known.places).unwrap_or_default();
        for address in addresses.iter().take(MAX_PLACES).rev() {
            let known = places.iter().position(|at| at.address == *address);
            let answered = known.is_some_and(|n| places.remove(n).answered);
            let address = *address;
            places.insert(0, Place { address, answered });
        }
        while places.len() > MAX_PLACES {
            let last = places.iter().rposition(|at| !at.answered);
            places.remove(last.unwrap_or(MAX_PLACES));
        }
        let sighted = Sighted {
            says,
            places,
            at: now,
        };
        if is_member {
            make_room(&mut self.members, MAX_MEMBERS, |_| true);
            self.members.insert(peer, sighted);
            return;
        }
        for ip in addresses.iter().map(SocketAddr::ip) {
            make_room(&mut self.strangers, MAX_AT_ONE, |other| other.is_at(&ip));
        }
        make_room(&mut self.strangers, MAX_STRANGERS, |_| true);
        self.strangers.insert(peer, sighted);
    }

    /// The device proved at that address that it has its key. That place is kept, if it was announced.
    pub fn answered(&mut self, peer: &PeerId, address: &SocketAddr) {
        let sighted = self.members.get_mut(peer);
        let Some(sighted) = sighted.or_else(|| self.strangers.get_mut(peer)) else {
            return;
        };
        let Some(n) = sighted.places.iter().position(|at| at.address == *address) else {
            return;
        };
        let mut place = sighted.places.remove(n);
        place.answered = true;
        sighted.places.insert(0, place);
        let answered = sighted.places.iter_mut().filter(|at| at.answered);
        answered
            .skip(MAX_ANSWERED)
            .for_each(|place| place.answered = false);
    }

    /// The device, if it was seen.
    #[must_use]
    pub fn get(&self, peer: &PeerId) -> Option<&Sighted<T>> {
        let member = self.members.get(peer);
        member.or_else(|| self.strangers.get(peer))
    }

    /// Whether it was a member when it was seen last.
    #[must_use]
    pub fn is_member(&self, peer: &PeerId) -> bool {
        self.members.contains_key(peer)
    }

    /// All that were seen.
    pub fn iter(&self) -> impl Iterator<Item = (&PeerId, &Sighted<T>)> {
        self.members.iter().chain(&self.strangers)
    }
}

/// Forgets the device that was seen longest ago of those that fit, if there are so many.
fn make_room<T>(
    table: &mut BTreeMap<PeerId, Sighted<T>>,
    most: usize,
    fits: impl Fn(&Sighted<T>) -> bool,
) {
    let fitting = table.iter().filter(|(_, sighted)| fits(sighted));
    if fitting.clone().count() < most {
        return;
    }
    let oldest = fitting.min_by_key(|(_, sighted)| sighted.at);
    if let Some(oldest) = oldest.map(|(peer, _)| *peer) {
        table.remove(&oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u32) -> PeerId {
        let mut id = [0; 32];
        id[..4].copy_from_slice(&n.to_be_bytes());
        PeerId(id)
    }

    fn place(host: u32, port: u16) -> SocketAddr {
        (std::net::Ipv4Addr::from(0x0a00_0000 + host), port).into()
    }

    fn at(n: u32) -> Duration {
        Duration::from_millis(n.into())
    }

    #[test]
    fn a_new_device_is_seen_however_many_strangers_were_before_and_members_stay() {
        let mut lan = Lan::default();
        lan.sighted(peer(0), &[place(1, 1)], (), true, at(0));
        for n in 1..10_000 {
            lan.sighted(peer(n), &[place(n, 1)], (), false, at(n));
            assert!(lan.get(&peer(n)).is_some());
        }
        assert_eq!(lan.strangers.len(), MAX_STRANGERS);
        assert!(lan.get(&peer(0)).is_some());
        assert!(lan.get(&peer(1)).is_none(), "the oldest made room");
    }

    #[test]
    fn one_address_holds_few_strangers() {
        let mut lan = Lan::default();
        lan.sighted(peer(0), &[place(2, 1)], (), false, at(0));
        for n in 1..1000 {
            lan.sighted(peer(n), &[place(1, n as u16)], (), false, at(n));
        }
        assert_eq!(lan.iter().count(), 1 + MAX_AT_ONE);
        assert!(lan.get(&peer(0)).is_some());
    }

    #[test]
    fn a_liar_does_not_take_a_devices_places_away() {
        let mut lan = Lan::default();
        let (home, lab) = (place(1, 51820), place(2, 51820));
        lan.sighted(peer(1), &[home, lab], (), true, at(0));
        lan.answered(&peer(1), &lab);
        for n in 0..100u32 {
            let lies: Vec<SocketAddr> = (0..16).map(|k| place(1000 + n * 16 + k, 1)).collect();
            lan.sighted(peer(1), &lies, (), true, at(1 + 2 * n));
            let places = |lan: &Lan<()>| {
                lan.get(&peer(1))
                    .map(Sighted::addresses)
                    .unwrap_or_default()
            };
            assert_eq!(places(&lan)[0], lab, "where it answered comes first");
            assert!(places(&lan).len() <= MAX_PLACES);
            // The device goes on to announce itself.
            lan.sighted(peer(1), &[home, lab], (), true, at(2 + 2 * n));
            assert_eq!(places(&lan)[..2], [lab, home]);
        }
    }

    #[test]
    fn several_announcements_are_kept_the_newest_first() {
        let mut lan = Lan::default();
        lan.sighted(peer(1), &[place(1, 1)], 1, true, at(0));
        lan.sighted(peer(1), &[place(2, 1)], 2, true, at(1));
        let seen = lan.get(&peer(1));
        let expected = vec![place(2, 1), place(1, 1)];
        assert_eq!(seen.map(Sighted::addresses), Some(expected));
        assert_eq!(seen.map(|seen| seen.says), Some(2));
    }

    #[test]
    fn who_becomes_a_member_is_no_stranger_any_more() {
        let mut lan = Lan::default();
        lan.sighted(peer(1), &[place(1, 1)], (), false, at(0));
        lan.sighted(peer(1), &[place(1, 1)], (), true, at(1));
        assert_eq!((lan.members.len(), lan.strangers.len()), (1, 0));
        assert!(lan.is_member(&peer(1)));
    }
}
