//! When to change the key that events are sealed under, after somebody was removed.
//!
//! One rotation after each removal is enough, and anybody may write it. So the device that removed does it at once, and the
//! others wait their turn, in the order of their admission, in case it cannot: two that did not hear of each other's both
//! count, and do no harm.

use std::collections::BTreeSet;
use std::time::Duration;

use mesh_ledger::ids::DeviceId;

/// How long each device leaves to the one before it.
pub const TURN: Duration = Duration::from_secs(2);

/// How long `me` waits. `authors` wrote the removals that no epoch has answered; `devices` are the live ones, those
/// admitted first in front.
#[must_use]
pub fn wait(authors: &BTreeSet<DeviceId>, devices: &[DeviceId], me: &DeviceId) -> Duration {
    if authors.contains(me) {
        return Duration::ZERO;
    }
    let before = devices.iter().position(|device| device == me);
    let before = before.unwrap_or(devices.len()) + 1;
    TURN.saturating_mul(u32::try_from(before).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_removed_rotates_at_once_and_the_others_one_after_the_other() {
        let [a, b, c] = [1, 2, 3].map(|byte| DeviceId([byte; 32]));
        let authors = BTreeSet::from([b]);
        let devices = [c, b, a];
        assert_eq!(wait(&authors, &devices, &b), Duration::ZERO);
        assert_eq!(wait(&authors, &devices, &c), TURN);
        assert_eq!(wait(&authors, &devices, &a), TURN * 3);
        assert_eq!(wait(&authors, &devices, &DeviceId([9; 32])), TURN * 4);
    }
}
