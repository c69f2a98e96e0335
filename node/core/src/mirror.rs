//! A device's side of a mirror: what it says to the server, and what it holds the server to.
//!
//! [`session`] talks on one stream about one network and keeps both logs the same. [`witness`] checks everything that a
//! server signs against what it signed before, to this device and to others, and keeps an [`Accusation`] when no honest
//! server can have said both. [`Backoff`] says when to try again.

pub mod session;
pub mod turn;
pub mod witness;

pub use session::{Effect, End, Session};
pub use witness::{Accusation, Heard, Kept, Lie, Witness};

/// The most servers of a network.
pub const MAX_SERVERS: usize = 4;

/// When to try again what failed: at first soon, then ever later. Times are milliseconds of a clock that never goes back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backoff {
    pause: u64,
    next: u64,
}

impl Backoff {
    /// The first pause.
    pub const FIRST: u64 = 250;
    /// The longest pause.
    pub const LONGEST: u64 = 20_000;

    /// It failed: the next try is later than the last one was.
    pub fn failed(&mut self, now: u64) {
        self.pause = (self.pause * 2).clamp(Self::FIRST, Self::LONGEST);
        self.next = now.saturating_add(self.pause);
    }

    /// Something changed: the next try is due at once.
    pub fn at_once(&mut self) {
        *self = Self::default();
    }

    /// When the next try is due.
    #[must_use]
    pub fn due(&self) -> u64 {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_a_change_ends_them() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.due(), 0);
        let mut now = 1_000;
        for pause in [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 20_000, 20_000] {
            backoff.failed(now);
            assert_eq!(backoff.due(), now + pause);
            now = backoff.due();
        }
        backoff.at_once();
        assert_eq!(backoff.due(), 0);
        backoff.failed(now);
        assert_eq!(backoff.due(), now + 250);
    }
}
