//! When to seal the order of events with a checkpoint.
//!
//! One checkpoint is enough, whoever of the admins writes it. So they take turns by rank: each leaves those before it time
//! to write, and to be heard. Two that did not hear of each other's both count, and do no harm.

use std::time::Duration;

use mesh_ledger::ids::DeviceId;
use mesh_ledger::network::Unsealed;

/// How long each admin's device leaves to the one before it, and the most senior to events that are still on their way.
pub const TURN: Duration = Duration::from_secs(4);
/// After so long, few events are reason enough. Milliseconds.
pub const DAY: u64 = 24 * 60 * 60 * 1000;
/// So long it is waited for peers that hold other events than this device, before what is here is sealed without them.
pub const PATIENCE: Duration = Duration::from_secs(600);

/// How far this machine's clock may be from those of others. Milliseconds.
pub const SKEW: u64 = 120_000;

/// Returns whether this machine's clock disagrees with those of most others: a seal by a wrong one closes invites that are
/// still good. `ahead`: how far this clock is ahead of each peer's, in milliseconds. Without peers there is nothing to compare.
#[must_use]
pub fn is_clock_odd(ahead: impl IntoIterator<Item = i64>) -> bool {
    let mut ahead: Vec<i64> = ahead.into_iter().collect();
    ahead.sort_unstable();
    let middle = ahead.get(ahead.len() / 2);
    middle.is_some_and(|middle| middle.unsigned_abs() > SKEW)
}

/// Whether the order is to be sealed: after `every` events, or daily if there is one.
#[must_use]
pub fn due(unsealed: &Unsealed, every: u64, now: u64) -> bool {
    let late = now.saturating_sub(unsealed.since) >= DAY;
    unsealed.events >= every.max(1) || (unsealed.events > 0 && late)
}

/// How long `me` waits, from when it is due; `None` for who is no admin. `admins` are the admins' devices, those of the
/// most senior in front.
#[must_use]
pub fn wait(admins: &[DeviceId], me: &DeviceId) -> Option<Duration> {
    let before = admins.iter().position(|device| device == me)?;
    Some(TURN.saturating_mul(u32::try_from(before + 1).unwrap_or(u32::MAX)))
}

/// How long somebody waits whose turn came too early: a round, so that no two turns ever fall together.
#[must_use]
pub fn round(admins: &[DeviceId]) -> Duration {
    TURN.saturating_mul(u32::try_from(admins.len().max(1)).unwrap_or(u32::MAX))
}

/// What the turn finds when it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Whether it is due still: another may have written one.
    pub due: bool,
    /// Whether all events that are known of are here and can be read.
    pub whole: bool,
    /// Whether every linked member showed the heads that are here.
    pub agreed: bool,
    /// Whether no other device is linked, though there are others: what they have written is not known then.
    pub alone: bool,
    /// Whether this machine's clock disagrees with the others'.
    pub clock_odd: bool,
    /// Since when it is due.
    pub waited: Duration,
}

/// What to do when one's turn has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Write it.
    Write,
    /// Wait for another turn.
    Wait,
    /// There is no need any more.
    Leave,
}

/// Decides.
#[must_use]
pub fn turn(found: &Found) -> Turn {
    if !found.due {
        Turn::Leave
    } else if !found.whole
        || found.alone
        || found.clock_odd
        || (!found.agreed && found.waited < PATIENCE)
    {
        Turn::Wait
    } else {
        Turn::Write
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const READY: Found = Found {
        due: true,
        whole: true,
        agreed: true,
        alone: false,
        clock_odd: false,
        waited: Duration::from_secs(4),
    };

    #[test]
    fn a_thousand_events_or_a_day_with_one_are_reason_enough() {
        let unsealed = |events| Unsealed {
            events,
            since: 1_000,
        };
        assert!(due(&unsealed(1_000), 1_000, 1_001));
        assert!(!due(&unsealed(999), 1_000, 1_000 + DAY - 1));
        assert!(due(&unsealed(1), 1_000, 1_000 + DAY));
        assert!(
            !due(&unsealed(0), 1_000, 1_000 + 9 * DAY),
            "nothing to seal"
        );
        assert!(!due(&unsealed(0), 0, 1_000), "whatever was set");
        assert!(!due(&unsealed(1), 1_000, 0), "a clock that went back");
    }

    #[test]
    fn admins_wait_one_after_the_other_and_nobody_else_writes() {
        let [a, b, c] = [1, 2, 3].map(|byte| DeviceId([byte; 32]));
        assert_eq!(wait(&[b, a], &b), Some(TURN));
        assert_eq!(wait(&[b, a], &a), Some(TURN * 2));
        assert_eq!(wait(&[b, a], &c), None);
        let turns = |me, rounds| wait(&[b, a], me).unwrap() + round(&[b, a]) * rounds;
        for rounds in 0..9 {
            assert!((0..9).all(|other| turns(&a, rounds) != turns(&b, other)));
        }
    }

    #[test]
    fn a_clock_is_odd_if_it_is_far_from_those_of_most_others() {
        let day = DAY.cast_signed();
        for (ahead, odd) in [
            (vec![], false),
            (vec![5_000], false),
            (vec![day], true),
            (vec![-day], true),
            (vec![i64::MIN], true),
            // One of three others has a wrong clock, whatever it says.
            (vec![i64::MIN, 10, 20], false),
            (vec![10, 20, day], false),
            (vec![day, day + 10, 20], true),
        ] {
            assert_eq!(is_clock_odd(ahead.clone()), odd, "{ahead:?}");
        }
    }

    #[test]
    fn it_is_written_when_all_is_here_and_the_linked_agree_or_it_took_too_long() {
        assert_eq!(turn(&READY), Turn::Write);
        let with = |change: fn(&mut Found)| {
            let mut found = READY;
            change(&mut found);
            turn(&found)
        };
        assert_eq!(with(|found| found.due = false), Turn::Leave);
        assert_eq!(with(|found| found.whole = false), Turn::Wait);
        assert_eq!(with(|found| found.alone = true), Turn::Wait);
        assert_eq!(with(|found| found.clock_odd = true), Turn::Wait);
        assert_eq!(with(|found| found.agreed = false), Turn::Wait);
        let late = Found {
            agreed: false,
            waited: PATIENCE,
            ..READY
        };
        assert_eq!(turn(&late), Turn::Write);
        let unread = Found {
            whole: false,
            ..late
        };
        assert_eq!(turn(&unread), Turn::Wait, "never what cannot be read");
    }
}
