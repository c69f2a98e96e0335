//! How often an address is dialled that has never answered.
//!
//! Members say where they can be reached, and nobody can check that but by dialling. A dial is a packet of 1,200 bytes that is
//! sent again while nothing answers, so a member who names a stranger's address would have all others send there. So what
//! never answered is dialled a few times, and then rarely:
//!
//! - An address has [`BURST`] dials, and [`PER_HOUR`] more each hour.
//! - An IP address has [`HOST_BURST`], whatever the port, and [`HOST_PER_HOUR`] more each hour.
//! - What one device names, or somebody on the LAN in its name, has [`PEER_BURST`], and [`PEER_PER_HOUR`] more each hour, so that it cannot name ever new ones.
//! - A public address that more than [`MANY`] devices name, and that never answered, is not dialled.
//!
//! An address that answered once is free. After a change of this machine's interfaces each has some dials again: what could
//! not be reached before may be now.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::peer::PeerId;

/// The dials that an address has at first.
pub const BURST: u32 = 6;
/// The dials that it has again each hour.
pub const PER_HOUR: u32 = 4;
/// The dials that an IP address has at first, whatever the port: a router may map another port later.
pub const HOST_BURST: u32 = 16;
/// The dials that it has again each hour.
pub const HOST_PER_HOUR: u32 = 8;
/// The dials that the addresses have at first which one device names.
pub const PEER_BURST: u32 = 32;
/// The dials that these have again each hour.
pub const PEER_PER_HOUR: u32 = 32;
/// So many devices may name one address.
pub const MANY: usize = 3;

/// The dials that each has again after a change of the interfaces.
const MOVED: u32 = 2;
/// Changes of the interfaces count at most this often.
const MOVED_EVERY: Duration = Duration::from_secs(60);
/// The most addresses that are known; the one dialled longest ago is forgotten for another.
const MAX_ADDRESSES: usize = 4096;
/// The most namers that are known.
const MAX_NAMINGS: usize = 4096;

/// Who says that a device is at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Naming {
    /// The device, in what it signs.
    Device(PeerId),
    /// Somebody on the LAN, in the name of the device.
    Lan(PeerId),
}

/// What was dialled. Times are since any fixed moment, the same in every call.
#[derive(Debug, Default)]
pub struct Unanswered {
    hosts: BTreeMap<IpAddr, Bucket>,
    namings: BTreeMap<Naming, Bucket>,
    named: BTreeMap<SocketAddr, Named>,
    answered: BTreeMap<SocketAddr, Duration>,
    moved: Option<Duration>,
}

#[derive(Debug)]
struct Named {
    by: BTreeSet<PeerId>,
    dials: Bucket,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: u32,
    /// Since when the next dial is earned.
    since: Duration,
    last: Duration,
}

impl Bucket {
    fn new(burst: u32, now: Duration) -> Self {
        Self {
            left: burst,
            since: now,
            last: now,
        }
    }

    fn earn(&mut self, burst: u32, per_hour: u32, now: Duration) {
        let step = Duration::from_secs(3600) / per_hour;
        while self.left < burst && now.saturating_sub(self.since) >= step {
            self.left += 1;
            self.since += step;
        }
        if self.left >= burst {
            self.since = now;
        }
        self.last = now;
    }
}

impl Unanswered {
    /// Those of the addresses, so named, that may be dialled now, which counts as done. They come in the order in which they
    /// are worth it.
    #[must_use]
    pub fn allow(
        &mut self,
        naming: &Naming,
        addresses: Vec<SocketAddr>,
        now: Duration,
    ) -> Vec<SocketAddr> {
        let allowed = addresses.into_iter();
        allowed.filter(|at| self.allows(naming, at, now)).collect()
    }

    /// Something proved at that address that it has a key of a device.
    pub fn answered(&mut self, address: SocketAddr, now: Duration) {
        self.named.remove(&address);
        self.hosts.remove(&address.ip());
        forget_oldest(&mut self.answered, MAX_ADDRESSES, &address, |at| *at);
        self.answered.insert(address, now);
    }

    /// This machine's interfaces changed.
    pub fn moved(&mut self, now: Duration) {
        let lately = |last: Duration| now.saturating_sub(last) < MOVED_EVERY;
        if self.moved.is_some_and(lately) {
            return;
        }
        self.moved = Some(now);
        let named = self.named.values_mut().map(|named| &mut named.dials);
        for dials in self.hosts.values_mut().chain(named) {
            dials.left = dials.left.max(MOVED);
        }
        for naming in self.namings.values_mut() {
            naming.left = naming.left.max(PEER_BURST / 4);
        }
    }

    fn allows(&mut self, naming: &Naming, address: &SocketAddr, now: Duration) -> bool {
        if let Some(at) = self.answered.get_mut(address) {
            *at = now;
            return true;
        }
        let ip = address.ip();
        forget_oldest(&mut self.named, MAX_ADDRESSES, address, |named| {
            named.dials.last
        });
        forget_oldest(&mut self.hosts, MAX_ADDRESSES, &ip, |host| host.last);
        forget_oldest(&mut self.namings, MAX_NAMINGS, naming, |own| own.last);
        let named = self.named.entry(*address).or_insert_with(|| Named {
            by: BTreeSet::new(),
            dials: Bucket::new(BURST, now),
        });
        named.dials.earn(BURST, PER_HOUR, now);
        if let Naming::Device(peer) = naming
            && named.by.len() <= MANY
        {
            named.by.insert(*peer);
        }
        // Homes use the same few private addresses.
        if named.by.len() > MANY && is_public(&ip) {
            return false;
        }
        let host = self.hosts.entry(ip);
        let host = host.or_insert_with(|| Bucket::new(HOST_BURST, now));
        host.earn(HOST_BURST, HOST_PER_HOUR, now);
        let own = self.namings.entry(*naming);
        let own = own.or_insert_with(|| Bucket::new(PEER_BURST, now));
        own.earn(PEER_BURST, PEER_PER_HOUR, now);
        let mut all = [&mut named.dials, host, own];
        let may = all.iter().all(|dials| dials.left > 0);
        if may {
            all.iter_mut().for_each(|dials| dials.left -= 1);
        }
        may
    }
}

fn is_public(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => {
            let shared = v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 0x40;
            !(v4.is_private() || v4.is_link_local() || v4.is_loopback() || shared)
        }
        IpAddr::V6(v6) => !(v6.is_unique_local() || v6.is_unicast_link_local() || v6.is_loopback()),
    }
}

/// Makes room for a key that is not in the table.
fn forget_oldest<K: Ord + Copy, V>(
    table: &mut BTreeMap<K, V>,
    most: usize,
    key: &K,
    last: impl Fn(&V) -> Duration,
) {
    if table.len() < most || table.contains_key(key) {
        return;
    }
    let oldest = table.iter().min_by_key(|(_, value)| last(value));
    if let Some(oldest) = oldest.map(|(key, _)| *key) {
        table.remove(&oldest);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn by(n: u8) -> Naming {
        Naming::Device(PeerId([n; 32]))
    }

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    /// How often a peer's addresses are dialled if it is tried once a minute.
    fn dials(unanswered: &mut Unanswered, who: u8, addresses: &[&str], minutes: u32) -> usize {
        let addresses: Vec<SocketAddr> = addresses.iter().map(|text| at(text)).collect();
        (0..minutes)
            .map(|n| {
                unanswered
                    .allow(&by(who), addresses.clone(), MINUTE * n)
                    .len()
            })
            .sum()
    }

    #[test]
    fn an_address_that_never_answers_is_dialled_a_few_times_and_then_rarely() {
        let mut unanswered = Unanswered::default();
        let day = dials(&mut unanswered, 1, &["203.0.113.1:53"], 24 * 60);
        assert!(day <= (BURST + 24 * PER_HOUR) as usize, "{day}");
        assert!(
            day >= 24 * (PER_HOUR - 1) as usize,
            "it is tried still: {day}"
        );
    }

    #[test]
    fn other_ports_and_other_devices_do_not_make_it_more() {
        let mut unanswered = Unanswered::default();
        let mut sent = 0;
        for n in 0..200u16 {
            let addresses = (0..6).map(|k| at(&format!("203.0.113.1:{}", 1000 + n * 6 + k)));
            sent += unanswered
                .allow(&by(n as u8), addresses.collect(), MINUTE)
                .len();
        }
        assert_eq!(sent, HOST_BURST as usize);
    }

    #[test]
    fn a_port_that_a_router_maps_later_is_dialled() {
        let mut unanswered = Unanswered::default();
        let _ = dials(&mut unanswered, 1, &["203.0.113.1:4000"], 10);
        let mapped = vec![at("203.0.113.1:51820")];
        assert_eq!(
            unanswered.allow(&by(1), mapped.clone(), MINUTE * 10),
            mapped
        );
    }

    #[test]
    fn one_device_cannot_name_ever_new_addresses() {
        let mut unanswered = Unanswered::default();
        let sent: usize = (0..1000u32)
            .map(|n| {
                let addresses =
                    (0..6).map(|k| (u32::from_be_bytes([11, 0, 0, 0]) + n * 6 + k).into());
                let addresses = addresses.map(|ip: std::net::Ipv4Addr| (ip, 7).into());
                unanswered.allow(&by(1), addresses.collect(), MINUTE).len()
            })
            .sum();
        assert_eq!(sent, PEER_BURST as usize);
        assert!(unanswered.named.len() <= MAX_ADDRESSES && unanswered.hosts.len() <= MAX_ADDRESSES);
    }

    #[test]
    fn a_public_address_that_many_name_is_not_dialled_and_a_private_one_is() {
        let mut unanswered = Unanswered::default();
        let mut public = Vec::new();
        let mut private = Vec::new();
        for n in 1..=6 {
            public.push(
                unanswered
                    .allow(&by(n), vec![at("203.0.113.1:7")], MINUTE)
                    .len(),
            );
            private.push(
                unanswered
                    .allow(&by(n), vec![at("192.168.1.2:7")], MINUTE)
                    .len(),
            );
        }
        assert_eq!(public, [1, 1, 1, 0, 0, 0]);
        assert_eq!(private, [1; 6]);
        let day = MINUTE * 60 * 24;
        assert!(
            unanswered
                .allow(&by(1), vec![at("203.0.113.1:7")], day)
                .is_empty()
        );
    }

    #[test]
    fn an_address_that_answered_is_free() {
        let mut unanswered = Unanswered::default();
        for n in 1..=6 {
            let _ = unanswered.allow(&by(n), vec![at("203.0.113.1:7")], MINUTE);
        }
        unanswered.answered(at("203.0.113.1:7"), MINUTE);
        assert_eq!(dials(&mut unanswered, 9, &["203.0.113.1:7"], 500), 500);
        assert_eq!(dials(&mut unanswered, 9, &["203.0.113.1:8"], 1), 1);
    }

    #[test]
    fn a_liar_on_the_lan_costs_only_what_the_lan_says() {
        let mut unanswered = Unanswered::default();
        for n in 0..200u8 {
            let lan = Naming::Lan(PeerId([n % 8; 32]));
            let places = vec![at(&format!("192.168.{n}.1:7")), at("203.0.113.1:7")];
            let _ = unanswered.allow(&lan, places, MINUTE);
        }
        let real = vec![at("203.0.113.9:7")];
        assert_eq!(unanswered.allow(&by(1), real.clone(), MINUTE), real);
        assert!(
            !unanswered.named[&at("203.0.113.1:7")]
                .by
                .contains(&PeerId([1; 32]))
        );
    }

    #[test]
    fn a_move_gives_each_some_dials_again_but_not_at_each_blink() {
        let mut unanswered = Unanswered::default();
        let _ = dials(&mut unanswered, 1, &["192.168.1.2:7"], 10);
        let now = MINUTE * 10;
        assert!(
            unanswered
                .allow(&by(1), vec![at("192.168.1.2:7")], now)
                .is_empty()
        );
        let mut sent = 0;
        for _ in 0..100 {
            unanswered.moved(now);
            sent += unanswered
                .allow(&by(1), vec![at("192.168.1.2:7")], now)
                .len();
        }
        assert_eq!(sent, MOVED as usize);
    }

    #[test]
    fn a_new_address_of_a_device_is_dialled_though_its_old_ones_are_dead() {
        let mut unanswered = Unanswered::default();
        let dead: Vec<String> = (1..=6).map(|n| format!("10.{n}.0.1:7")).collect();
        let dead: Vec<&str> = dead.iter().map(String::as_str).collect();
        let _ = dials(&mut unanswered, 1, &dead, 120);
        let new = vec![at("203.0.113.9:7")];
        assert_eq!(unanswered.allow(&by(1), new.clone(), MINUTE * 120), new);
    }
}
