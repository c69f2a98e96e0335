//! The times of tips: strictly growing, across restarts and jumps of the machine's clock.
//!
//! A ceiling is kept on the disk, and no tip is signed above it. After a restart time goes on from there, so no two tips of
//! one server ever contradict each other by their times alone.

/// How far ahead of the present the ceiling is written, in milliseconds.
pub const AHEAD: u64 = 5_000;

/// The clock of one server.
#[derive(Debug)]
pub struct TipClock {
    last: u64,
    ceiling: u64,
}

impl TipClock {
    /// The clock of a server that may have signed tips up to `ceiling`.
    #[must_use]
    pub fn new(ceiling: u64) -> Self {
        Self {
            last: ceiling,
            ceiling,
        }
    }

    /// The ceiling that must be on the disk before a tip can be signed at `now`, if the present one is too low.
    #[must_use]
    pub fn needs(&self, now: u64) -> Option<u64> {
        let time = self.due(now);
        (time > self.ceiling).then(|| time.saturating_add(AHEAD))
    }

    /// The new ceiling is on the disk.
    pub fn raise(&mut self, ceiling: u64) {
        self.ceiling = self.ceiling.max(ceiling);
    }

    /// The time of the next tip; `None` if the ceiling could not be raised and is reached.
    pub fn tick(&mut self, now: u64) -> Option<u64> {
        let due = self.due(now);
        // With a ceiling that could not be raised, time crawls below it.
        let time = if due <= self.ceiling {
            due
        } else {
            self.last.checked_add(1).filter(|t| *t <= self.ceiling)?
        };
        self.last = time;
        Some(time)
    }

    fn due(&self, now: u64) -> u64 {
        now.max(self.last.saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn tick(clock: &mut TipClock, now: u64) -> u64 {
        if let Some(ceiling) = clock.needs(now) {
            clock.raise(ceiling);
        }
        clock.tick(now).unwrap()
    }

    #[test]
    fn times_grow_strictly_whatever_the_clock_does() {
        let mut clock = TipClock::new(0);
        let mut last = 0;
        for now in [1000, 1000, 999, 5, 1_000_000, 3, 2_000_000, 0] {
            let time = tick(&mut clock, now);
            assert!(time > last && time <= clock.ceiling, "{time} after {last}");
            last = time;
        }
    }

    #[test]
    fn a_restart_goes_on_above_everything_signed_before() {
        let mut clock = TipClock::new(0);
        let before = tick(&mut clock, 50_000);
        let mut clock = TipClock::new(clock.ceiling);
        assert!(tick(&mut clock, 10) > before);
    }

    #[test]
    fn without_a_new_ceiling_time_crawls_below_the_old_one_and_then_stops() {
        let mut clock = TipClock::new(0);
        clock.raise(102);
        assert_eq!(clock.tick(100), Some(100));
        assert_eq!(clock.tick(500), Some(101));
        assert_eq!(clock.tick(500), Some(102));
        assert_eq!(clock.tick(500), None);
        assert!(clock.needs(500).is_some());
    }
}
