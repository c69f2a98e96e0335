//! Ancestry: which event lies in the past of which, by watermarks, and what a past holds.

use super::*;

impl Graph {
    /// Whether `a` lies in the strict past of `b`.
    #[must_use]
    pub fn precedes(&self, a: Idx, b: Idx) -> bool {
        // Parents have smaller places.
        a < b && {
            let node = &self.nodes[a.at()];
            self.known(b, node.lane) > node.position
        }
    }

    /// Whether neither lies in the other's past, and they differ.
    #[must_use]
    pub fn concurrent(&self, a: Idx, b: Idx) -> bool {
        a != b && !self.precedes(a, b) && !self.precedes(b, a)
    }

    /// Whether an event is one of some heads, or lies in the past of one.
    #[must_use]
    pub fn precedes_any(&self, idx: Idx, heads: &[Idx]) -> bool {
        heads
            .iter()
            .any(|head| *head == idx || self.precedes(idx, *head))
    }

    /// The strict past of an event.
    #[must_use]
    pub fn strict_past(&self, idx: Idx) -> Past {
        let (node, mut past) = (&self.nodes[idx.at()], Past::default());
        self.marks.spread(node.others, &mut past.0);
        past.raise(node.lane, node.position);
        past
    }

    /// The past of some heads, the heads included.
    #[must_use]
    pub fn past_of(&self, heads: &[Idx]) -> Past {
        let mut past = Past::default();
        for head in heads {
            let node = &self.nodes[head.at()];
            self.marks.spread(node.others, &mut past.0);
            past.raise(node.lane, node.position + 1);
        }
        past
    }

    /// How many events of a lane lie in the strict past of an event.
    pub(crate) fn known(&self, idx: Idx, lane: u32) -> u32 {
        let node = &self.nodes[idx.at()];
        if node.lane == lane {
            node.position
        } else {
            self.marks.count(node.others, lane)
        }
    }

    /// Whether something holds of a lane and how many of its events lie in the strict past of an event, other lanes than its own
    /// that it knows of at all.
    pub(crate) fn knows_any(&self, idx: Idx, holds: impl Fn(u32, u32) -> bool) -> bool {
        self.marks.any(self.nodes[idx.at()].others, &holds)
    }

    /// All devices that wrote something.
    pub(crate) fn authors(&self) -> impl Iterator<Item = &DeviceId> {
        self.lanes_of.keys()
    }

    /// 1 + the greatest seq of a device's events among some heads and their past.
    #[must_use]
    pub fn next_seq(&self, device: &DeviceId, heads: &[Idx]) -> u32 {
        let Some(first) = self.lanes_of(device).first().copied() else {
            return 1;
        };
        let known = heads.iter().map(|head| self.count_with(*head, first));
        let last = known.max().and_then(|count| count.checked_sub(1));
        let last = last.and_then(|last| self.lanes[first as usize].get(last as usize));
        let further = self.forks.get(device).into_iter().flat_map(|fork| {
            heads.iter().map(|head| {
                let own = self.author(*head) == *device;
                let known = self.marks.count(self.nodes[head.at()].forks(), fork.number);
                known.max(if own { self.seq(*head) } else { 0 })
            })
        });
        let last = last.map(|idx| self.seq(*idx)).into_iter();
        1 + last.chain(further).max().unwrap_or(0)
    }

    /// How many events of a lane there are up to and with one event.
    pub(super) fn count_with(&self, idx: Idx, lane: u32) -> u32 {
        self.known(idx, lane) + u32::from(self.nodes[idx.at()].lane == lane)
    }

    /// Whether an event is one of that past.
    #[must_use]
    pub fn within(&self, idx: Idx, past: &Past) -> bool {
        let node = &self.nodes[idx.at()];
        past.count(node.lane) > node.position
    }

    /// What the signatures inside an event's act prove.
    pub(crate) fn proof(&self, idx: Idx) -> Proof {
        let proof = self.proofs.get(&idx);
        proof.map_or(Proof::Holds, |proof| {
            *proof.get_or_init(|| Proof::of(self, idx))
        })
    }

    /// The lane an event stands in: a number that means something in this graph alone.
    pub(crate) fn lane(&self, idx: Idx) -> usize {
        self.nodes[idx.at()].lane as usize
    }

    /// The event's place in its lane.
    pub(crate) fn position(&self, idx: Idx) -> usize {
        self.nodes[idx.at()].position as usize
    }

    /// The events of each lane, a chain of one device's.
    pub(crate) fn lanes(&self) -> &[Vec<Idx>] {
        &self.lanes
    }

    /// A device's events, lane by lane.
    pub fn by_author(&self, device: &DeviceId) -> impl Iterator<Item = Idx> + '_ {
        self.lanes_of(device)
            .iter()
            .flat_map(|lane| self.lanes[*lane as usize].iter().copied())
    }

    /// The lanes of a device's events: one, unless it forked.
    pub(crate) fn lanes_of(&self, device: &DeviceId) -> &[u32] {
        self.lanes_of
            .get(device)
            .map(Vec::as_slice)
            .unwrap_or_default()
    }
}

impl Past {
    /// How many events it holds.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().map(|count| u64::from(*count)).sum()
    }

    /// How many events of each lane it holds: a prefix of each.
    pub(crate) fn prefixes(&self) -> &[u32] {
        &self.0
    }

    pub(crate) fn count(&self, lane: u32) -> u32 {
        self.0.get(lane as usize).copied().unwrap_or(0)
    }

    pub(super) fn raise(&mut self, lane: u32, count: u32) {
        if count == 0 {
            return;
        }
        let lane = lane as usize;
        if self.0.len() <= lane {
            self.0.resize(lane + 1, 0);
        }
        self.0[lane] = self.0[lane].max(count);
    }
}
