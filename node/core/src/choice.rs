//! Whom to be linked with.
//!
//! A device keeps a control link to every peer it has traffic with, and besides to some others, over which beacons and events
//! spread: in a network of up to [`FULL_MESH`] peers to all of them; in a larger one to [`BY_HASH`] that are there, picked by a
//! hash of both ids, so that the links of all devices make one web, of whose threads each holds some.
//!
//! Who is there is known by beacons, which come over links. A device that has none, or too few, **explores**: it dials those
//! it does not know to be there, the ones it heard of last first, and goes on to the next when one does not answer. As long as
//! it has not tried all of them it does so without a pause; after that, or with enough links, now and then, for the network
//! may have come apart into webs that do not know of each other. Of those who were tried, it tries first who was seen on
//! the LAN since, then who was tried longest ago.
//!
//! Traffic is over when no packet has passed for [`QUIET`], and with a peer that is not there, when nobody has sent it anything
//! for [`GIVEN_UP`]: its own dial, or a beacon, tells when it is back. A link that was made for it, or because the choice fell on a peer
//! that it has passed over since, ends when it was not wanted for [`UNWANTED`]. The side that dialled it ends it; if the other
//! still wants it, that one dials, and from then on it is the one to end it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::peer::PeerId;

/// Links besides those that have traffic.
pub const BY_HASH: usize = 6;
/// Up to so many peers, all are linked.
pub const FULL_MESH: usize = 16;
/// How long no packet has passed when there is no traffic any more.
pub const QUIET: Duration = Duration::from_secs(600);
/// How long nobody has sent anything to a peer that is not there when there is no traffic any more.
pub const GIVEN_UP: Duration = Duration::from_secs(60);
/// For how long a link is kept that is not wanted.
pub const UNWANTED: Duration = Duration::from_secs(60);

/// How many more than [`BY_HASH`] are chosen at most, because some of those that are there are not reached.
const SPARE: usize = 6;
/// How many are explored at a time once all have been tried, and how long before each.
const SECOND_ROUND: (usize, Duration) = (2, Duration::from_secs(10));
/// The same with enough links.
const AT_REST: (usize, Duration) = (1, Duration::from_secs(30));

/// What is known of a peer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Known {
    /// There is a link to it.
    pub linked: bool,
    /// A fresh beacon says that it is there.
    pub there: bool,
    /// When it was last heard of, in any way.
    pub heard: Option<Duration>,
}

/// See the module. Times are since any fixed moment, the same in every call.
#[derive(Debug)]
pub struct Choice {
    me: PeerId,
    /// Who was dialled in vain since it was last linked, and when last.
    tried: BTreeMap<PeerId, Duration>,
    /// Who was seen on the LAN since it was last tried.
    sighted: BTreeSet<PeerId>,
}

impl Choice {
    /// Nobody was tried.
    #[must_use]
    pub fn new(me: PeerId) -> Self {
        Self {
            me,
            tried: BTreeMap::new(),
            sighted: BTreeSet::new(),
        }
    }

    /// A dial was in vain.
    pub fn failed(&mut self, peer: PeerId, now: Duration) {
        self.sighted.remove(&peer);
        self.tried.insert(peer, now);
    }

    /// There is a link.
    pub fn linked(&mut self, peer: &PeerId) {
        self.sighted.remove(peer);
        self.tried.remove(peer);
    }

    /// The peer was seen on the LAN, or so somebody says there. True if it had been tried before.
    pub fn sighted(&mut self, peer: &PeerId) -> bool {
        self.tried.contains_key(peer) && self.sighted.insert(*peer)
    }

    /// Everybody may be reachable now: an interface changed.
    pub fn anew(&mut self) {
        self.tried.clear();
        self.sighted.clear();
    }

    /// The peers to be linked with, each with how long to wait before it is dialled first. `needed` are those that there is
    /// traffic with, or that are wanted for another reason.
    #[must_use]
    pub fn wanted(
        &mut self,
        peers: &BTreeMap<PeerId, Known>,
        needed: &BTreeSet<PeerId>,
    ) -> BTreeMap<PeerId, Duration> {
        self.tried.retain(|peer, _| peers.contains_key(peer));
        self.sighted.retain(|peer| peers.contains_key(peer));
        let at_once = |peer: &PeerId| (*peer, Duration::ZERO);
        if peers.len() <= FULL_MESH {
            return peers.keys().map(at_once).collect();
        }
        let needed = needed.iter().filter(|peer| peers.contains_key(peer));
        let mut wanted: BTreeMap<_, _> = needed.map(at_once).collect();

        let (there, away): (Vec<_>, Vec<_>) = peers
            .iter()
            .partition(|(_, known)| known.there || known.linked);
        let mut there: Vec<_> = there
            .into_iter()
            .map(|(peer, known)| (pair_hash(&self.me, peer), peer, known))
            .collect();
        there.sort_unstable_by_key(|(hash, ..)| *hash);
        let mut reached = 0;
        for (_, peer, known) in there.into_iter().take(BY_HASH + SPARE) {
            wanted.insert(*peer, Duration::ZERO);
            reached += usize::from(known.linked || !self.tried.contains_key(peer));
            if reached == BY_HASH {
                break;
            }
        }

        let mut away: Vec<_> = away
            .into_iter()
            .filter(|(peer, _)| !wanted.contains_key(*peer))
            .map(|(peer, known)| {
                let tried = self
                    .tried
                    .get(peer)
                    .filter(|_| !self.sighted.contains(peer));
                (
                    (tried, Reverse(known.heard), pair_hash(&self.me, peer)),
                    *peer,
                )
            })
            .collect();
        let missing = BY_HASH.saturating_sub(reached);
        let all_tried = away.iter().all(|((tried, ..), _)| tried.is_some());
        let (slots, pause) = match (missing, all_tried) {
            (0, _) => AT_REST,
            (_, false) => (missing, Duration::ZERO),
            (_, true) => SECOND_ROUND,
        };
        away.sort_unstable_by_key(|(rank, _)| *rank);
        wanted.extend(away.into_iter().take(slots).map(|(_, peer)| {
            let pause = if self.sighted.contains(&peer) {
                Duration::ZERO
            } else {
                pause
            };
            (peer, pause)
        }));
        wanted
    }
}

/// Who there is traffic with, and since when there is none.
#[derive(Debug, Default)]
pub struct Traffic {
    last: BTreeMap<PeerId, Duration>,
    /// How many packets had passed when that was last looked at.
    passed: BTreeMap<PeerId, u64>,
}

impl Traffic {
    /// There is traffic for a peer. True if it may have been given up.
    pub fn begins(&mut self, peer: PeerId, now: Duration) -> bool {
        let last = self.last.insert(peer, now);
        last.is_none_or(|last| now.saturating_sub(last) >= GIVEN_UP)
    }

    /// Takes how many packets have passed with each peer; with whom none did for [`QUIET`], there is no traffic any more.
    pub fn look(&mut self, passed: BTreeMap<PeerId, u64>, now: Duration) {
        for (peer, packets) in &passed {
            // A count that is smaller is that of a tunnel made anew.
            if self.passed.get(peer).copied().unwrap_or(0) != *packets {
                self.last.insert(*peer, now);
            }
        }
        self.passed = passed;
        self.last
            .retain(|_, last| now.saturating_sub(*last) < QUIET);
    }

    /// Who there is traffic with. `there`: whether a peer is linked, or known to be there.
    #[must_use]
    pub fn peers(&self, there: impl Fn(&PeerId) -> bool, now: Duration) -> BTreeSet<PeerId> {
        let peers = self
            .last
            .iter()
            .filter(|(peer, last)| now.saturating_sub(**last) < GIVEN_UP || there(peer));
        peers.map(|(peer, _)| *peer).collect()
    }

    /// Forgets who is no peer any more.
    pub fn retain(&mut self, peer: impl Fn(&PeerId) -> bool) {
        self.last.retain(|one, _| peer(one));
        self.passed.retain(|one, _| peer(one));
    }
}

fn pair_hash(a: &PeerId, b: &PeerId) -> [u8; 32] {
    let (low, high) = if a < b { (a, b) } else { (b, a) };
    let mut hasher = blake3::Hasher::new_derive_key("mesh link choice 1");
    hasher.update(&low.0);
    hasher.update(&high.0);
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn peer(n: u16) -> PeerId {
        let mut id = [0; 32];
        id[..2].copy_from_slice(&n.to_be_bytes());
        PeerId(id)
    }

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn away(numbers: std::ops::RangeInclusive<u16>) -> BTreeMap<PeerId, Known> {
        numbers.map(|n| (peer(n), Known::default())).collect()
    }

    /// Some devices of a large network, of which the others are off. Everybody's dials take a second.
    struct World {
        all: u16,
        on: BTreeMap<u16, Choice>,
        heard: BTreeMap<u16, Duration>,
        dialling: BTreeMap<(u16, PeerId), Duration>,
        links: BTreeSet<(u16, u16)>,
        dials: usize,
    }

    impl World {
        fn new(all: u16, on: impl IntoIterator<Item = u16>) -> Self {
            let on = on.into_iter().map(|n| (n, Choice::new(peer(n))));
            Self {
                all,
                on: on.collect(),
                heard: BTreeMap::new(),
                dialling: BTreeMap::new(),
                links: BTreeSet::new(),
                dials: 0,
            }
        }

        /// Whom a device hears beacons of.
        fn web(&self, of: u16) -> BTreeSet<u16> {
            let (mut web, mut next) = (BTreeSet::from([of]), vec![of]);
            while let Some(one) = next.pop() {
                let far = self.links.iter().filter_map(|(a, b)| match one {
                    n if n == *a => Some(*b),
                    n if n == *b => Some(*a),
                    _ => None,
                });
                next.extend(far.filter(|far| web.insert(*far)));
            }
            web
        }

        fn second(&mut self, now: u64) {
            let ids: Vec<u16> = self.on.keys().copied().collect();
            for n in ids {
                let web = self.web(n);
                let known = |other: u16| Known {
                    linked: self.links.contains(&(n, other)) || self.links.contains(&(other, n)),
                    there: web.contains(&other),
                    heard: self.heard.get(&other).copied(),
                };
                let others = (0..self.all).filter(|other| *other != n);
                let peers: BTreeMap<PeerId, Known> =
                    others.map(|other| (peer(other), known(other))).collect();
                let choice = self.on.get_mut(&n).unwrap();
                let wanted = choice.wanted(&peers, &BTreeSet::new());
                self.dialling
                    .retain(|(from, to), _| *from != n || wanted.contains_key(to));
                for (to, pause) in wanted.iter().filter(|(to, _)| !peers[*to].linked) {
                    let due = seconds(now + 1) + *pause;
                    self.dialling.entry((n, *to)).or_insert(due);
                }
            }
            let (due, later): (BTreeMap<_, _>, BTreeMap<_, _>) = std::mem::take(&mut self.dialling)
                .into_iter()
                .partition(|(_, due)| *due <= seconds(now + 1));
            self.dialling = later;
            for (from, to) in due.into_keys() {
                self.dials += 1;
                let number = u16::from_be_bytes([to.0[0], to.0[1]]);
                if self.on.contains_key(&number) {
                    self.links.insert((from, number));
                    self.on.get_mut(&from).unwrap().linked(&to);
                    self.on.get_mut(&number).unwrap().linked(&peer(from));
                } else {
                    self.on.get_mut(&from).unwrap().failed(to, seconds(now + 1));
                }
            }
        }

        /// After how many seconds all that are on know of each other.
        fn one_web(&mut self, from: u64, within: u64) -> Option<u64> {
            let first = *self.on.keys().next()?;
            (from..from + within).find(|now| {
                self.second(*now);
                self.web(first).len() == self.on.len()
            })
        }
    }

    #[test]
    fn few_peers_are_all_wanted_and_of_many_those_needed_and_six_that_are_there() {
        let few = away(1..=16);
        let mut choice = Choice::new(peer(0));
        let all: Vec<_> = few.keys().map(|peer| (*peer, Duration::ZERO)).collect();
        assert_eq!(
            choice.wanted(&few, &BTreeSet::new()),
            all.into_iter().collect()
        );

        let mut many = away(1..=100);
        for n in 1..=50 {
            many.get_mut(&peer(n)).unwrap().there = true;
        }
        let rest = choice.wanted(&many, &BTreeSet::new());
        let there = |wanted: &BTreeMap<PeerId, Duration>| {
            wanted.keys().filter(|peer| many[*peer].there).count()
        };
        assert_eq!(
            (there(&rest), rest.len()),
            (BY_HASH, BY_HASH + 1),
            "and one of the others"
        );
        let quiet = *many.keys().find(|peer| !rest.contains_key(*peer)).unwrap();
        let busy = choice.wanted(&many, &[quiet, peer(200)].into());
        assert_eq!(busy.get(&quiet), Some(&Duration::ZERO));
        assert!(
            !busy.contains_key(&peer(200)),
            "who is no peer is not wanted for its traffic"
        );
    }

    #[test]
    fn who_is_there_and_not_reached_leaves_its_place_to_another() {
        let mut peers = away(1..=40);
        peers.values_mut().for_each(|known| known.there = true);
        let mut choice = Choice::new(peer(0));
        let first = choice.wanted(&peers, &BTreeSet::new());
        assert_eq!(first.len(), BY_HASH);
        for unreached in first.keys().take(2) {
            choice.failed(*unreached, seconds(1));
        }
        let more = choice.wanted(&peers, &BTreeSet::new());
        assert_eq!(more.len(), BY_HASH + 2);
        assert!(first.keys().all(|peer| more.contains_key(peer)));
        peers
            .keys()
            .for_each(|peer| choice.failed(*peer, seconds(2)));
        assert_eq!(
            choice.wanted(&peers, &BTreeSet::new()).len(),
            BY_HASH + SPARE
        );
    }

    #[test]
    fn twenty_of_four_hundred_that_are_on_find_each_other() {
        let mut world = World::new(400, (0..400).step_by(20));
        let took = world.one_web(1, 400).unwrap();
        assert!(took < 120, "{took}");
        // With enough links each asks but one in half a minute.
        let (dials, on) = (world.dials, world.on.len());
        for now in 401..461 {
            world.second(now);
        }
        let asked = world.dials - dials;
        assert!(
            asked <= on * 15,
            "{asked} dials of {on} devices in a minute"
        );
    }

    #[test]
    fn those_heard_of_last_are_found_first() {
        let mut world = World::new(400, (0..400).step_by(20));
        for n in (0..400).step_by(20).chain(1..60) {
            world.heard.insert(n, seconds(1));
        }
        let took = world.one_web(1, 60).unwrap();
        assert!(took < 20, "{took}");
    }

    #[test]
    fn two_webs_that_do_not_know_of_each_other_become_one() {
        let mut world = World::new(60, 0..30);
        for from in 0..30_u16 {
            for to in (0..30).filter(|to| *to != from && (from < 15) == (*to < 15)) {
                world.links.insert((from, to));
            }
        }
        assert_eq!(world.web(0).len(), 15);
        assert!(world.one_web(1, 200).is_some());
    }

    #[test]
    fn who_is_alone_tries_everybody_then_rests_and_tries_at_once_whom_it_sees() {
        let mut world = World::new(100, [0]);
        for now in 0..17 {
            world.second(now);
        }
        let first = world.dials;
        assert!((99..99 + BY_HASH).contains(&first), "{first}");
        for now in 17..117 {
            world.second(now);
        }
        let second = world.dials - first;
        assert!((10..=22).contains(&second), "{second} dials in 100 s");
        let choice = world.on.get_mut(&0).unwrap();
        assert!(choice.sighted(&peer(50)));
        assert!(!choice.sighted(&peer(50)), "once");
        let wanted = choice.wanted(&away(1..=99), &BTreeSet::new());
        assert_eq!(wanted.get(&peer(50)), Some(&Duration::ZERO));
        choice.failed(peer(50), seconds(200));
        let wanted = choice.wanted(&away(1..=99), &BTreeSet::new());
        assert!(!wanted.contains_key(&peer(50)));
    }

    #[test]
    fn traffic_is_over_when_no_packet_has_passed_for_ten_minutes() {
        let mut traffic = Traffic::default();
        assert!(traffic.begins(peer(1), seconds(1)));
        assert!(!traffic.begins(peer(1), seconds(2)));
        let passed = |packets| BTreeMap::from([(peer(1), packets), (peer(2), 0)]);
        traffic.look(passed(5), seconds(300));
        traffic.look(passed(5), seconds(899));
        let with = |traffic: &Traffic, now| traffic.peers(|_| true, seconds(now));
        let one = || BTreeSet::from([peer(1)]);
        assert_eq!(with(&traffic, 899), one(), "never with who sent nothing");
        traffic.look(passed(5), seconds(900));
        assert_eq!(with(&traffic, 900), BTreeSet::new());
        traffic.look(passed(5), seconds(960));
        assert_eq!(with(&traffic, 960), BTreeSet::new(), "over it stays");
        traffic.look(passed(6), seconds(1000));
        assert_eq!(with(&traffic, 1000), one());
        traffic.look(passed(2), seconds(1500));
        traffic.look(passed(2), seconds(1900));
        assert_eq!(with(&traffic, 1900), one(), "a count that began anew");
        // Who is gone is dialled for a minute after the last packet for it.
        let with_gone = |traffic: &Traffic, now| traffic.peers(|_| false, seconds(now));
        assert_eq!(with_gone(&traffic, 1559), one());
        assert_eq!(with_gone(&traffic, 1560), BTreeSet::new());
        assert!(traffic.begins(peer(1), seconds(1560)), "and again then");
        assert_eq!(with_gone(&traffic, 1560), one());
    }
}
