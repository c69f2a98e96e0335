//! Devices that wrote two events of one seq: what each event knows of their further branches, and which branch is followed.
//!
//! A member may fork its device as often as it likes, and every branch is an event that others may need; so none is refused,
//! and none may cost more than any other event. Two things would cost the number of branches each time:
//!
//! - *The greatest seq of a device in an event's past.* The device's first lane tells it of that lane. Of all others together
//!   a second watermark does, by the device's number among the forked ones.
//! - *The branch that honest devices follow*: from the device's first event on, at each parting the event with the smaller
//!   id. It is kept as a path. An event that leaves the path where somebody smaller goes on never comes back to it, nor does
//!   what follows it; so one comparison an event is enough, and the path is the same in whatever order events came.

use smallvec::SmallVec;

use super::Idx;
use crate::ids::EventId;

/// A forked device.
pub(super) struct Fork {
    /// Its number among the forked ones, by which watermarks know it.
    pub(super) number: u32,
    /// The smaller branch: its events of ascending seq.
    path: Vec<Idx>,
}

impl Fork {
    /// A device whose events so far are a chain.
    pub(super) fn new(number: u32, chain: &[Idx]) -> Self {
        Self {
            number,
            path: chain.to_vec(),
        }
    }

    /// The last event of the smaller branch.
    pub(super) fn tip(&self) -> Option<Idx> {
        self.path.last().copied()
    }

    /// The smaller branch.
    pub(super) fn path(&self) -> &[Idx] {
        &self.path
    }

    /// Takes an event that follows another of the device, or none. Returns what it displaces if it is on the smaller branch.
    pub(super) fn take(
        &mut self,
        idx: Idx,
        follows: Option<Idx>,
        id: impl Fn(Idx) -> EventId,
    ) -> Option<Vec<Idx>> {
        let at = match follows {
            // Places ascend along a branch.
            Some(event) => 1 + self.path.binary_search(&event).ok()?,
            None => 0,
        };
        if self.path.get(at).is_some_and(|next| id(*next) < id(idx)) {
            return None;
        }
        let displaced = self.path.split_off(at);
        self.path.push(idx);
        Some(displaced)
    }

    /// Takes back the event at the end, and puts what it displaced there again.
    pub(super) fn give_back(&mut self, displaced: &[Idx]) {
        self.path.pop();
        self.path.extend_from_slice(displaced);
    }
}

/// What an insertion changed that cannot be told from the graph afterwards, as long as it may be taken back cheaply.
pub(super) struct Undo {
    pub(super) idx: Idx,
    /// Parents that were heads.
    pub(super) heads: SmallVec<[Idx; 2]>,
    /// Events that were both heads and the ends of their devices' smaller branches.
    pub(super) tips: SmallVec<[Idx; 2]>,
    /// What the event displaced from the smaller branch of its device, if it is on it and the device forked.
    pub(super) displaced: Option<Vec<Idx>>,
}
