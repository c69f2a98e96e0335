//! How often each may have something done in an hour: by origin, by device, and all together.
//!
//! A table for those who can come under ever new keys: it is bounded, and the number for all holds whatever they are called.

use std::collections::BTreeMap;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);
/// The most that are told apart. When there are more, who came first is forgotten first; the number for all still holds.
const MOST: usize = 1024;

/// Counts by key. Times are since any fixed moment, the same in every call.
#[derive(Debug)]
pub struct Hourly<K> {
    each: u32,
    all: Count,
    most: u32,
    counts: BTreeMap<K, Count>,
}

#[derive(Debug, Clone, Copy)]
struct Count {
    since: Duration,
    count: u32,
}

impl Count {
    fn new(now: Duration) -> Self {
        Self {
            since: now,
            count: 0,
        }
    }

    fn turn(&mut self, now: Duration) {
        if now.saturating_sub(self.since) >= HOUR {
            *self = Self::new(now);
        }
    }
}

impl<K: Ord + Copy> Hourly<K> {
    /// Each key may `each` times an hour, all together `all` times.
    #[must_use]
    pub fn new(each: u32, all: u32) -> Self {
        Self {
            each,
            all: Count::new(Duration::ZERO),
            most: all,
            counts: BTreeMap::new(),
        }
    }

    /// Whether it may once more, which is counted then.
    #[must_use]
    pub fn grants(&mut self, key: K, now: Duration) -> bool {
        self.all.turn(now);
        if self.all.count >= self.most {
            return false;
        }
        if !self.counts.contains_key(&key) && self.counts.len() >= MOST {
            let oldest = self.counts.iter().min_by_key(|(_, count)| count.since);
            if let Some(oldest) = oldest.map(|(key, _)| *key) {
                self.counts.remove(&oldest);
            }
        }
        let own = self.counts.entry(key).or_insert_with(|| Count::new(now));
        own.turn(now);
        if own.count >= self.each {
            return false;
        }
        own.count += 1;
        self.all.count += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_number_in_an_hour_and_all_have_one_together() {
        let mut hourly = Hourly::new(2, 5);
        let start = Duration::from_secs(10);
        let granted =
            |hourly: &mut Hourly<u32>, key, now| (0..9).filter(|_| hourly.grants(key, now)).count();
        assert_eq!(granted(&mut hourly, 1, start), 2);
        assert_eq!(granted(&mut hourly, 2, start), 2);
        assert_eq!(granted(&mut hourly, 3, start), 1, "all together");
        assert_eq!(granted(&mut hourly, 4, start + HOUR / 2), 0);
        assert_eq!(granted(&mut hourly, 1, start + HOUR), 2);
    }

    #[test]
    fn it_is_bounded_however_many_come() {
        let mut hourly = Hourly::new(1, u32::MAX);
        for key in 0..10_000u64 {
            assert!(hourly.grants(key, Duration::from_secs(key)));
        }
        assert_eq!(hourly.counts.len(), MOST);
        assert!(
            !hourly.grants(9_999, Duration::from_secs(10_000)),
            "the latest are known"
        );
    }
}
