//! How much a device, a network and an address may take. What is used up comes back with time.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use mesh_ledger::ids::DeviceId;

const HOUR: u64 = 3_600_000;

/// What the operator grants.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Events that one device may add in an hour.
    pub events_per_hour: u64,
    /// What the events that one device adds in an hour may cost: their bytes, and what is kept beside them.
    pub bytes_per_hour: u64,
    /// Events that one source without rights may have looked at in an hour.
    pub strangers_per_hour: u64,
    /// Events of one network.
    pub network_events: u64,
    /// What one network's events may cost: their bytes, and what is kept beside them.
    pub network_bytes: u64,
    /// Networks.
    pub networks: u64,
    /// Connections in all.
    pub connections: usize,
    /// Connections of one IPv4 address or IPv6 /64.
    pub connections_per_source: usize,
    /// Connections of one IPv6 /48.
    pub connections_per_site: usize,
    /// Connections of one device.
    pub connections_per_device: usize,
    /// Streams of one connection.
    pub streams: u32,
    /// Letters that wait in one network.
    pub letters: usize,
    /// Letters that wait under one invite.
    pub letters_per_invite: usize,
    /// Letters that wait under one invite from one device.
    pub letters_per_joiner: usize,
    /// Replies that wait in one network.
    pub replies: usize,
    /// Replies that wait for one joiner under one invite.
    pub replies_per_joiner: usize,
    /// For how long a letter waits, in milliseconds.
    pub letter_age: u64,
    /// How many events of networks nobody is connected to stay in memory.
    pub idle_events: usize,
    /// How many events memory knows at a time, of all networks; it takes some hundred bytes for each.
    pub held_events: u64,
    /// How long a frame may take to be read by the other side, or to arrive whole.
    pub slow: Duration,
    /// How long the first frame of a stream may take.
    pub opening: Duration,
    /// How long who has but a ticket may be connected to the relay, and how long a session without rights may ask for nothing.
    pub guest: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            events_per_hour: 50_000,
            bytes_per_hour: 64 << 20,
            strangers_per_hour: 4096,
            network_events: 1_000_000,
            network_bytes: 1 << 30,
            networks: 10_000,
            connections: 20_000,
            connections_per_source: 512,
            connections_per_site: 2048,
            connections_per_device: 4,
            streams: 64,
            letters: 256,
            letters_per_invite: 64,
            letters_per_joiner: 2,
            replies: 1024,
            replies_per_joiner: 32,
            letter_age: 24 * HOUR,
            idle_events: 200_000,
            held_events: 4_000_000,
            slow: Duration::from_secs(20),
            opening: Duration::from_secs(10),
            guest: Duration::from_secs(120),
        }
    }
}

/// An allowance per hour. What is taken drains away evenly.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bucket {
    taken: u64,
    at: u64,
}

impl Bucket {
    /// For how many milliseconds nothing more should be taken; `now` grows steadily.
    pub fn wait(&mut self, now: u64, per_hour: u64) -> u64 {
        let per_hour = per_hour.max(1);
        let passed = now.saturating_sub(self.at);
        let drained = u128::from(passed) * u128::from(per_hour) / u128::from(HOUR);
        if let Some(drained) = u64::try_from(drained).ok().filter(|drained| *drained > 0) {
            self.taken = self.taken.saturating_sub(drained);
            self.at = now;
        } else if self.taken == 0 {
            self.at = now;
        }
        let above = self.taken.saturating_sub(per_hour);
        let wait = u128::from(above) * u128::from(HOUR) / u128::from(per_hour);
        u64::try_from(wait).unwrap_or(u64::MAX)
    }

    /// Takes, and returns for how long nothing more should be.
    pub fn take(&mut self, amount: u64, now: u64, per_hour: u64) -> u64 {
        self.wait(now, per_hour);
        self.taken = self.taken.saturating_add(amount);
        self.wait(now, per_hour)
    }

    fn is_empty(&mut self, now: u64, per_hour: u64) -> bool {
        self.wait(now, per_hour);
        self.taken == 0
    }
}

/// To whom a push is charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Payer {
    /// A live device, or one that hosts a network.
    Device(DeviceId),
    /// All who are strangers to what they push to and come from there: keys are free to make.
    Strangers(Source),
    /// All who come from there and bring networks to a server that hosts them for everybody.
    Founders(Source),
    /// All without rights who come by the relay.
    Relayed,
    /// All for whom the list has no room.
    Others,
}

/// What everybody has taken.
#[derive(Debug, Default)]
pub struct Quotas {
    taken: BTreeMap<Payer, (Bucket, Bucket)>,
    /// When the list may be looked through again.
    again: u64,
}

/// So many who have taken something are remembered before the list is looked through.
const MANY: usize = 4096;
/// How long it is not looked through again, in milliseconds.
const PAUSE: u64 = 1000;
/// So many are remembered at most.
const MOST: usize = 16 * MANY;
/// So many times as much as one source may, its whole site may, and all who share a bucket for another reason.
const SHARED: u64 = 8;

impl Quotas {
    /// For how many milliseconds the payer may push nothing more.
    pub fn wait(&mut self, payer: Payer, now: u64, limits: &Limits) -> u64 {
        let payer = self.payer(payer);
        let (events, bytes) = rates(payer, limits);
        self.taken.get_mut(&payer).map_or(0, |taken| {
            taken.0.wait(now, events).max(taken.1.wait(now, bytes))
        })
    }

    /// Charges events and their bytes, and returns for how long to push nothing more.
    pub fn charge(
        &mut self,
        payer: Payer,
        (events, bytes): (u64, u64),
        now: u64,
        limits: &Limits,
    ) -> u64 {
        if self.taken.len() >= MANY && now >= self.again {
            self.again = now.saturating_add(PAUSE);
            self.taken.retain(|payer, taken| {
                let (events, bytes) = rates(*payer, limits);
                !(taken.0.is_empty(now, events) && taken.1.is_empty(now, bytes))
            });
        }
        let payer = self.payer(payer);
        let (most_events, most_bytes) = rates(payer, limits);
        let taken = self.taken.entry(payer).or_default();
        taken
            .0
            .take(events, now, most_events)
            .max(taken.1.take(bytes, now, most_bytes))
    }

    /// Who pays in a payer's place: the others together, once there is no room for one more.
    fn payer(&self, payer: Payer) -> Payer {
        if self.taken.len() < MOST || self.taken.contains_key(&payer) {
            payer
        } else {
            Payer::Others
        }
    }
}

fn rates(payer: Payer, limits: &Limits) -> (u64, u64) {
    let (events, source) = match payer {
        Payer::Device(_) => return (limits.events_per_hour, limits.bytes_per_hour),
        Payer::Founders(source) => (limits.events_per_hour, Some(source)),
        Payer::Strangers(source) => (limits.strangers_per_hour, Some(source)),
        Payer::Relayed | Payer::Others => (limits.strangers_per_hour, None),
    };
    let times = match source {
        Some(Source::Near(_)) => 1,
        Some(Source::Site(_)) | None => SHARED,
    };
    let bytes = limits.bytes_per_hour.saturating_mul(times);
    (events.saturating_mul(times), bytes)
}

/// What counts as one source of connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// An IPv4 address or an IPv6 /64.
    Near(IpAddr),
    /// An IPv6 /48, which one customer may have.
    Site(IpAddr),
}

/// The sources that an address belongs to, the narrowest first.
#[must_use]
pub fn sources(address: IpAddr) -> Vec<Source> {
    match address.to_canonical() {
        IpAddr::V4(v4) => vec![Source::Near(v4.into())],
        IpAddr::V6(v6) => {
            let head = |bytes: usize| {
                let mut octets = v6.octets();
                octets[bytes..].fill(0);
                IpAddr::from(octets)
            };
            vec![Source::Near(head(8)), Source::Site(head(6))]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allowance_is_used_up_and_comes_back() {
        let mut bucket = Bucket::default();
        assert_eq!(bucket.take(100, 0, 100), 0);
        assert_eq!(bucket.take(100, 0, 100), HOUR);
        assert_eq!(bucket.wait(HOUR / 2, 100), HOUR / 2);
        assert_eq!(bucket.wait(HOUR, 100), 0);
        assert_eq!(bucket.take(100, 3 * HOUR, 100), 0);
    }

    #[test]
    fn asking_often_does_not_keep_an_allowance_from_coming_back() {
        let mut bucket = Bucket::default();
        bucket.take(200, 0, 100);
        for now in 0..=HOUR / 1000 {
            bucket.wait(now * 1000, 100);
        }
        assert_eq!(bucket.wait(HOUR, 100), 0);
    }

    #[test]
    fn one_device_using_its_quota_up_leaves_others_theirs_and_strangers_share() {
        let limits = Limits {
            events_per_hour: 10,
            strangers_per_hour: 5,
            ..Limits::default()
        };
        let mut quotas = Quotas::default();
        let (one, two) = (
            Payer::Device(DeviceId([1; 32])),
            Payer::Device(DeviceId([2; 32])),
        );
        let strangers = Payer::Strangers(Source::Near([192, 0, 2, 1].into()));
        assert!(quotas.charge(one, (20, 1), 0, &limits) > 0);
        assert_eq!(quotas.wait(two, 0, &limits), 0);
        assert_eq!(quotas.charge(strangers, (5, 1), 0, &limits), 0);
        assert!(quotas.charge(strangers, (1, 1), 0, &limits) > 0);
        assert!(quotas.charge(two, (1, u64::MAX), 0, &limits) > 0);
    }

    #[test]
    fn what_was_used_long_ago_is_forgotten() {
        let limits = Limits::default();
        let mut quotas = Quotas::default();
        for n in 0..2 * MANY {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&n.to_be_bytes());
            let now = n as u64 * HOUR;
            quotas.charge(Payer::Device(DeviceId(id)), (1, 1), now, &limits);
        }
        assert!(quotas.taken.len() <= MANY);
    }

    #[test]
    fn the_list_of_payers_has_an_end_and_who_finds_no_room_pays_with_others() {
        let limits = Limits::default();
        let mut quotas = Quotas::default();
        let payer = |n: usize| {
            let address = std::net::Ipv6Addr::from_bits((n as u128) << 64);
            Payer::Strangers(Source::Near(address.into()))
        };
        for n in 0..MOST + 100 {
            quotas.charge(payer(n), (1, 1), 0, &limits);
        }
        assert!(quotas.taken.len() <= MOST + 1);
        let all = SHARED * limits.strangers_per_hour;
        quotas.charge(payer(MOST + 200), (all, 1), 0, &limits);
        assert!(quotas.wait(payer(MOST + 300), 0, &limits) > 0);
        assert_eq!(quotas.wait(payer(1), 0, &limits), 0);
    }

    #[test]
    fn the_addresses_of_one_subnet_are_one_source_and_those_of_one_site_share() {
        let of = |text: &str| text.parse().map(sources).unwrap_or_default();
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        let (one, two) = (of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_ne!(one[0], two[0]);
        assert_eq!(one[1], two[1]);
        assert_ne!(one[1], of("2001:db8:1::1")[1]);
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_eq!(of("192.0.2.1").len(), 1);
    }
}
