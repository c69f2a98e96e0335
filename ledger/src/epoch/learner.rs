//! Learning keys from events, each of which is read at most twice and each box of which is tried at most once, whatever comes
//! in which order: any member may write key carriers without end.

use std::collections::{BTreeMap, BTreeSet};

use super::{KeyRing, open_box, open_former, prefix_of};
use crate::event::act::KeyBox;
use crate::event::{Act, Event};
use crate::graph::Idx;
use crate::ids::{DeviceId, EpochId};
use crate::keys::{BoxSecret, EpochKey};

/// The most boxes of one device that are tried in vain. Who makes more of them is not worth a key agreement each; a key
/// that is missing is asked for.
pub(crate) const MOST_FAILED: u32 = 64;

/// What waits for keys.
#[derive(Debug, Default)]
pub(crate) struct Learner {
    /// Rotations that hand down former keys, by the epoch whose key opens them and is not here.
    waiting: BTreeSet<(EpochId, Idx)>,
    /// How many boxes of a device did not open.
    failed: BTreeMap<DeviceId, u32>,
    /// How many boxes were tried in all.
    tried: u64,
    /// The first bytes of the key whose boxes are opened, which is always the same: to find it costs as much as a box.
    mine: Option<[u8; 8]>,
}

impl Learner {
    /// Takes the keys that one event holds, and what these open. `read` reads an event that was taken before.
    pub(crate) fn take(
        &mut self,
        ring: &mut KeyRing,
        idx: Idx,
        mine: Option<&BoxSecret>,
        read: impl Fn(Idx) -> Event,
    ) -> Vec<EpochKey> {
        let event = read(idx);
        let (epoch, ephemeral, boxes) = match event.act() {
            Act::EpochRotate(act) => (act.epoch, act.ephemeral, &act.boxes),
            Act::EpochKeys(act) => (act.epoch, act.ephemeral, &act.boxes),
            _ => return Vec::new(),
        };
        let mut learnt = Vec::new();
        if let Some(mine) = mine
            && ring.get(&epoch).is_none()
            && self.is_for(boxes, mine)
        {
            let failed = self.failed.entry(event.author()).or_default();
            if *failed < MOST_FAILED {
                self.tried += 1;
                match open_box(&event.network(), &epoch, &ephemeral, boxes, mine) {
                    Some(key) => learnt.push(key),
                    None => *failed += 1,
                }
            }
            if *failed == 0 {
                self.failed.remove(&event.author());
            }
        }
        if matches!(event.act(), Act::EpochRotate(act) if !act.follows.is_empty()) {
            self.waiting.insert((epoch, idx));
        }
        for key in &learnt {
            ring.insert(key.clone());
        }
        learnt.extend(self.came(ring, epoch, read));
        learnt
    }

    /// The key of an epoch is here, perhaps: takes those that it opens, and so on.
    pub(crate) fn came(
        &mut self,
        ring: &mut KeyRing,
        epoch: EpochId,
        read: impl Fn(Idx) -> Event,
    ) -> Vec<EpochKey> {
        let (mut came, mut learnt) = (vec![epoch], Vec::new());
        while let Some(epoch) = came.pop() {
            let Some(new) = ring.get(&epoch).cloned() else {
                continue;
            };
            let opens = (epoch, Idx(0))..=(epoch, Idx(u32::MAX));
            let opens: Vec<_> = self.waiting.extract_if(opens, |_| true).collect();
            for (_, idx) in opens {
                let event = read(idx);
                let Act::EpochRotate(act) = event.act() else {
                    continue;
                };
                for (former, sealed) in &act.follows {
                    if ring.get(former).is_some() {
                        continue;
                    }
                    if let Some(key) = open_former(&new, former, sealed) {
                        ring.insert(key.clone());
                        learnt.push(key);
                        came.push(*former);
                    }
                }
            }
        }
        learnt
    }

    /// Forgets what was taken from events at `len` and behind.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.waiting.retain(|(_, idx)| (idx.0 as usize) < len);
    }

    /// Whether one of these boxes may be for `mine`, by the first bytes of its key.
    fn is_for(&mut self, boxes: &[KeyBox], mine: &BoxSecret) -> bool {
        let to = *self.mine.get_or_insert_with(|| prefix_of(&mine.public()));
        boxes.iter().any(|one| one.to == to)
    }

    /// How many boxes were tried: each costs a key agreement.
    pub(crate) fn tried(&self) -> u64 {
        self.tried
    }
}
