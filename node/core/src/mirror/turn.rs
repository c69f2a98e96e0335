//! Whose turn it is to answer a letter.
//!
//! Every member with a session gets every letter, and one of them is to answer. Each ranks the devices by a hash of the
//! letter and the device; the first answers at once, the next only if nobody has. Who is online is a belief, and members
//! that meet at the server alone believe nobody to be; so a small pause by the rank among all comes on top.

use std::collections::BTreeSet;

use mesh_ledger::ids::DeviceId;

/// The pause for each device online that comes before, in milliseconds.
pub const STEP: u64 = 1_500;
/// The pause for each other device that comes before.
pub const SMALL_STEP: u64 = 300;
/// At most so many of those count.
pub const SMALL_STEPS: usize = 10;

/// How long `me` waits before it answers the letter, in milliseconds: `able` are the devices that may answer, `online`
/// those of them believed to be there.
#[must_use]
pub fn pause(
    letter: u64,
    from: &DeviceId,
    me: &DeviceId,
    able: &BTreeSet<DeviceId>,
    online: &BTreeSet<DeviceId>,
) -> u64 {
    let lot = |device: &DeviceId| {
        let mut hasher = blake3::Hasher::new_derive_key("mesh letter turn 1");
        hasher.update(&letter.to_be_bytes());
        hasher.update(&from.0);
        hasher.update(&device.0);
        *hasher.finalize().as_bytes()
    };
    let mine = lot(me);
    let before: Vec<&DeviceId> = able
        .iter()
        .filter(|device| *device != me && lot(device) < mine)
        .collect();
    let there = before.iter().filter(|device| online.contains(device));
    let there = there.count();
    let others = (before.len() - there).min(SMALL_STEPS);
    STEP * there as u64 + SMALL_STEP * others as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_those_online_exactly_one_answers_at_once_and_each_other_one_step_later() {
        let able: BTreeSet<DeviceId> = (0..5).map(|n| DeviceId([n; 32])).collect();
        let joiner = DeviceId([9; 32]);
        for letter in 0..20 {
            let mut pauses: Vec<u64> = able
                .iter()
                .map(|me| pause(letter, &joiner, me, &able, &able))
                .collect();
            pauses.sort_unstable();
            assert_eq!(pauses, [0, 1_500, 3_000, 4_500, 6_000]);
        }
    }

    #[test]
    fn members_that_know_of_nobody_online_do_not_all_answer_at_once() {
        let able: BTreeSet<DeviceId> = (0..5).map(|n| DeviceId([n; 32])).collect();
        let pauses: BTreeSet<u64> = able
            .iter()
            .map(|me| {
                pause(
                    7,
                    &DeviceId([9; 32]),
                    me,
                    &able,
                    &[*me].into_iter().collect(),
                )
            })
            .collect();
        assert_eq!(
            pauses.into_iter().collect::<Vec<_>>(),
            [0, 300, 600, 900, 1_200]
        );
    }
}
