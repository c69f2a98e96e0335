//! How many bytes the library's acknowledgements take.
//!
//! The library keeps the numbers of received packets for each path as ranges, the 64 highest of them, and writes all of them
//! into each acknowledgement. A range is gone once the other side has confirmed an acknowledgement of it. [`Room`] does the
//! same, but does not know of confirmations. So it holds at least what the library holds. Each acknowledgement that the
//! library writes shows exactly what the library holds, and the room takes that over ([`Room::acknowledged`]).

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

/// The most ranges that the library keeps for a path, `MAX_ACK_BLOCKS` in its `connection/spaces.rs`.
const MAX_RANGES: usize = 64;
/// The most bytes around the ranges: kind, path, delay, count, and three counters of congestion marks.
const AROUND: usize = 1 + 4 + 8 + 2 + 3 * 4;

/// The most bytes of acknowledgements for packets of the handshake. Those of its two parts go into one datagram of 1200
/// bytes, beside at most 600 bytes of the handshake itself.
pub const HANDSHAKE: Limit = Limit {
    path: 150,
    all: 150,
};
/// The most bytes of acknowledgements afterwards. A packet of 1200 bytes has 1159 beside its header and its tag, and a reason
/// to close may follow. One path's may share a datagram with the end of the handshake.
pub const DATA: Limit = Limit {
    path: 330,
    all: 1080,
};
/// A path of which nothing was heard for so long does not exist any more: the library gives a silent path up within half a
/// minute, and forgets it some round trips later.
const FORGOTTEN: Duration = Duration::from_secs(600);

/// The most bytes that acknowledgements may take.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    /// Those of one path.
    pub path: usize,
    /// Those of all paths together.
    pub all: usize,
}

/// The packets received under one family of keys.
#[derive(Debug, Default)]
pub struct Room {
    paths: BTreeMap<u32, Path>,
}

#[derive(Debug)]
struct Path {
    ranges: Ranges,
    cost: usize,
    heard: Instant,
}

impl Room {
    /// Takes a packet that was received. Returns false, and forgets the packet, if the acknowledgements would not fit.
    pub fn take(&mut self, path: u32, packet: u64, limit: Limit, now: Instant) -> bool {
        // QUIC has no higher numbers, RFC 9000 §12.3.
        if packet >= 1 << 62 {
            return false;
        }
        if self.try_take(path, packet, limit, now) {
            return true;
        }
        let before = self.paths.len();
        self.paths
            .retain(|_, path| now.saturating_duration_since(path.heard) < FORGOTTEN);
        self.paths.len() < before && self.try_take(path, packet, limit, now)
    }

    fn try_take(&mut self, id: u32, packet: u64, limit: Limit, now: Instant) -> bool {
        let all = self.cost();
        let Some(path) = self.paths.get_mut(&id) else {
            let ranges = Ranges(vec![packet..=packet]);
            let cost = ranges.cost();
            let fits = cost <= limit.path && all + cost <= limit.all;
            if fits {
                let heard = now;
                self.paths.insert(
                    id,
                    Path {
                        ranges,
                        cost,
                        heard,
                    },
                );
            }
            return fits;
        };
        let fits = |cost: usize| cost <= limit.path && all - path.cost + cost <= limit.all;
        // Most packets come in their order. These need no copy.
        if path.ranges.extend(packet) {
            let cost = path.ranges.cost_of_last_changed(path.cost);
            if cost > path.cost && !fits(cost) {
                path.ranges.shorten();
                return false;
            }
            path.cost = cost;
        } else {
            let mut ranges = path.ranges.clone();
            ranges.insert(packet);
            let cost = ranges.cost();
            if cost > path.cost && !fits(cost) {
                return false;
            }
            path.ranges = ranges;
            path.cost = cost;
        }
        path.heard = now;
        true
    }

    /// Takes over what the library has just acknowledged on a path, from the highest range to the lowest.
    pub fn acknowledged(&mut self, path: u32, ranges: Vec<RangeInclusive<u64>>) {
        if let Some(path) = self.paths.get_mut(&path) {
            path.ranges = Ranges(ranges.into_iter().rev().collect());
            path.cost = path.ranges.cost();
        }
    }

    /// Returns the most bytes that acknowledgements of all paths take now.
    pub fn cost(&self) -> usize {
        self.paths.values().map(|path| path.cost).sum()
    }
}

/// Packet numbers, from the lowest range to the highest. Ranges neither overlap nor touch.
#[derive(Debug, Clone)]
struct Ranges(Vec<RangeInclusive<u64>>);

impl Ranges {
    /// Takes the packet behind the last, and says whether it is that.
    fn extend(&mut self, packet: u64) -> bool {
        let Some(last) = self.0.last_mut() else {
            return false;
        };
        let next = last.end().checked_add(1) == Some(packet);
        if next {
            *last = *last.start()..=packet;
        }
        next
    }

    /// Takes [`Ranges::extend`] back.
    fn shorten(&mut self) {
        if let Some(last) = self.0.last_mut() {
            *last = *last.start()..=last.end() - 1;
        }
    }

    fn insert(&mut self, packet: u64) {
        let at = self.0.partition_point(|range| *range.end() < packet);
        if self.0.get(at).is_some_and(|range| range.contains(&packet)) {
            return;
        }
        let below = at > 0 && *self.0[at - 1].end() + 1 == packet;
        let above = self
            .0
            .get(at)
            .is_some_and(|range| *range.start() == packet + 1);
        match (below, above) {
            (true, true) => {
                self.0[at - 1] = *self.0[at - 1].start()..=*self.0[at].end();
                self.0.remove(at);
            }
            (true, false) => self.0[at - 1] = *self.0[at - 1].start()..=packet,
            (false, true) => self.0[at] = packet..=*self.0[at].end(),
            (false, false) => self.0.insert(at, packet..=packet),
        }
        if self.0.len() > MAX_RANGES {
            self.0.remove(0);
        }
    }

    /// The most bytes of an acknowledgement of these.
    fn cost(&self) -> usize {
        let mut cost = AROUND + self.0.last().map_or(0, |last| len(*last.end()));
        for range in &self.0 {
            cost += len(range.end() - range.start());
        }
        for two in self.0.windows(2) {
            cost += len(two[1].start() - two[0].end() - 2);
        }
        cost
    }

    /// The same, after [`Ranges::extend`], from the cost before it.
    fn cost_of_last_changed(&self, before: usize) -> usize {
        let Some(last) = self.0.last() else {
            return before;
        };
        let size = last.end() - last.start();
        before + len(*last.end()) - len(last.end() - 1) + len(size) - len(size - 1)
    }
}

/// The bytes of a number, RFC 9000 §16.
fn len(number: u64) -> usize {
    match number {
        0..0x40 => 1,
        0x40..0x4000 => 2,
        0x4000..0x4000_0000 => 4,
        _ => 8,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn take(room: &mut Room, path: u32, packet: u64) -> bool {
        room.take(path, packet, DATA, Instant::now())
    }

    #[test]
    fn packets_in_order_always_fit_on_eight_paths() {
        let mut room = Room::default();
        for packet in 0..100_000 {
            for path in 0..8 {
                assert!(take(&mut room, path, packet));
            }
        }
        assert!(room.cost() < 8 * 40, "{}", room.cost());
    }

    #[test]
    fn a_path_that_loses_every_second_packet_keeps_its_64_ranges_and_goes_on() {
        let mut room = Room::default();
        for packet in 0..10_000 {
            assert!(take(&mut room, 0, packet * 2));
        }
        assert_eq!(room.paths[&0].ranges.0.len(), MAX_RANGES);
    }

    #[test]
    fn wide_gaps_on_three_paths_are_refused_before_they_fill_a_packet() {
        let mut room = Room::default();
        let mut refused = 0;
        for packet in 1..64 {
            for path in 0..3 {
                refused += u32::from(!take(&mut room, path, packet << 31));
            }
        }
        assert!(refused > 80, "{refused}");
        assert!(room.cost() <= DATA.all);
        // What comes in order afterwards is still taken.
        let last = *room.paths[&0].ranges.0.last().unwrap().end();
        assert!(take(&mut room, 0, last + 1));
    }

    #[test]
    fn an_acknowledgement_makes_room() {
        let mut room = Room::default();
        let mut packet = 0;
        while take(&mut room, 0, packet << 31) {
            packet += 1;
        }
        // The other side has confirmed all but the last.
        let last = (packet - 1) << 31;
        room.acknowledged(0, vec![last..=last]);
        assert!(take(&mut room, 0, packet << 31));
    }

    #[test]
    fn a_path_that_is_long_gone_makes_room_when_it_is_needed() {
        let mut room = Room::default();
        let begin = Instant::now();
        let mut path = 0;
        while room.take(path, 1 << 40, DATA, begin) {
            path += 1;
        }
        assert!(!room.take(path, 1 << 40, DATA, begin + FORGOTTEN / 2));
        assert!(room.take(path, 1 << 40, DATA, begin + FORGOTTEN));
    }

    #[test]
    fn a_packet_at_the_end_of_numbers_is_no_panic() {
        let mut room = Room::default();
        for packet in [u64::MAX, u64::MAX - 1, u64::MAX, 0] {
            take(&mut room, 0, packet);
        }
    }

    proptest! {
        /// The ranges are those of a plain set, and the cost is that of the ranges, whatever comes in whatever order.
        #[test]
        fn ranges_are_those_of_a_set(packets in prop::collection::vec(0u64..200, 0..300)) {
            let mut room = Room::default();
            let mut set = BTreeSet::new();
            let none = Limit { path: usize::MAX, all: usize::MAX };
            for packet in packets {
                prop_assert!(room.take(0, packet, none, Instant::now()));
                set.insert(packet);
                let path = &room.paths[&0];
                prop_assert_eq!(path.cost, path.ranges.cost());
                let mut wanted: Vec<RangeInclusive<u64>> = Vec::new();
                for packet in &set {
                    match wanted.last_mut() {
                        Some(last) if *last.end() + 1 == *packet => *last = *last.start()..=*packet,
                        _ => wanted.push(*packet..=*packet),
                    }
                }
                let kept = wanted.len().min(MAX_RANGES);
                // What was cut off below does not come back, so only what is above it must agree.
                let low = *path.ranges.0[0].start();
                let above: Vec<_> = wanted.into_iter().filter(|range| *range.start() >= low).collect();
                prop_assert!(path.ranges.0.len() <= kept.max(1));
                prop_assert_eq!(&path.ranges.0[path.ranges.0.len() - above.len()..], &above[..]);
            }
        }
    }
}
