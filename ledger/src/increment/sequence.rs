//! The order in which events take effect, kept sorted.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::changes::{Rank, rank};
use crate::graph::{Graph, Idx};
use crate::order::Seals;

/// No seal.
const OPEN: Idx = Idx(u32::MAX);

/// The least seal that covers each event, by [`Idx`].
#[derive(Default)]
pub(super) struct Sealed(Vec<Idx>);

/// What comes, goes and is sealed otherwise.
pub(super) struct Motion<'a> {
    /// New events.
    pub(super) fresh: &'a [Idx],
    /// How many of the newest go.
    pub(super) leaving: usize,
    /// A place in front of all that go.
    pub(super) gap: usize,
    /// The least seal that came or went.
    pub(super) least_seal: Option<Rank>,
}

/// The end of the order, sorted anew.
pub(super) struct Tail {
    /// Where it begins.
    pub(super) from: usize,
    /// The events, in order.
    pub(super) events: Vec<Idx>,
    /// Those from the first on, in the order of before, that stand behind others than before of those that were here and
    /// stay.
    pub(super) moved: Vec<Idx>,
}

impl Sealed {
    /// Whether no seal covers an event.
    pub(super) fn is_open(&self, idx: Idx) -> bool {
        self.seal(idx).is_none()
    }

    /// Sorts the end of the order anew.
    pub(super) fn arrange(
        &mut self,
        graph: &Graph,
        order: &[Idx],
        seals: &Seals,
        motion: &Motion<'_>,
    ) -> Tail {
        let Motion {
            fresh,
            leaving,
            gap,
            least_seal,
        } = *motion;
        let stay = self.0.len() - leaving;
        self.0.resize(self.0.len() + fresh.len(), OPEN);
        let mut from = self.first(graph, order, fresh);
        if leaving > 0 {
            from = from.min(gap);
        }
        let stays = |idx: &Idx| (idx.0 as usize) < stay || leaving == 0;
        let Some(least) = least_seal else {
            let mut events: Vec<Idx> = order[from..].iter().copied().filter(stays).collect();
            self.0.truncate(stay + fresh.len());
            self.merge(graph, seals, &mut events, fresh);
            return Tail {
                from,
                events,
                moved: Vec::new(),
            };
        };
        let before = |idx: &Idx| self.seal(*idx).is_some_and(|s| rank(graph, s) < least);
        let behind = order.partition_point(before);
        from = from.min(behind);
        let mut resealed: Vec<Idx> = order[behind..].iter().chain(fresh).copied().collect();
        resealed.retain(stays);
        let before: Vec<Idx> = order[from..].iter().copied().filter(stays).collect();
        let mut events = before.clone();
        events.extend(fresh);
        self.reseal(graph, seals, &resealed, least);
        self.0.truncate(stay + fresh.len());
        self.sort(graph, seals, &mut events);
        let old = events.iter().filter(|idx| (idx.0 as usize) < stay);
        let alike = before.iter().zip(old).take_while(|(was, is)| was == is);
        let moved = before[alike.count()..].to_vec();
        Tail {
            from,
            events,
            moved,
        }
    }

    /// The first place of one of these events in the order; its end, if there is none.
    fn first(&self, graph: &Graph, order: &[Idx], events: &[Idx]) -> usize {
        let least = events.iter().min_by(|a, b| self.compare(graph, **a, **b));
        least.map_or(order.len(), |least| {
            order.partition_point(|idx| self.compare(graph, *idx, *least) == Ordering::Less)
        })
    }

    /// Puts new events among some in order.
    fn merge(&self, graph: &Graph, seals: &Seals, events: &mut Vec<Idx>, fresh: &[Idx]) {
        if fresh.len() > events.len() / 16 {
            events.extend(fresh);
            self.sort(graph, seals, events);
            return;
        }
        let mut fresh = fresh.to_vec();
        self.sort(graph, seals, &mut fresh);
        let mut rest = events.as_slice();
        let mut merged = Vec::with_capacity(events.len() + fresh.len());
        for idx in fresh {
            let at =
                rest.partition_point(|other| self.compare(graph, *other, idx) == Ordering::Less);
            merged.extend_from_slice(&rest[..at]);
            merged.push(idx);
            rest = &rest[at..];
        }
        merged.extend_from_slice(rest);
        *events = merged;
    }

    /// Finds the least seal of each of these events, which are the ends of lanes, among those from `least` on.
    fn reseal(&mut self, graph: &Graph, seals: &Seals, events: &[Idx], least: Rank) {
        let mut done: BTreeMap<u32, usize> = BTreeMap::new();
        for idx in events {
            self.0[idx.0 as usize] = OPEN;
            let (lane, position) = (graph.lane(*idx) as u32, graph.position(*idx));
            let first = done.entry(lane).or_insert(position);
            *first = position.min(*first);
        }
        let from = seals
            .list
            .partition_point(|seal| rank(graph, seal.event) < least);
        for seal in &seals.list[from..] {
            for (lane, done) in &mut done {
                let count = seal.covers.count(*lane) as usize;
                for idx in graph.lanes()[*lane as usize].iter().take(count).skip(*done) {
                    self.0[idx.0 as usize] = seal.event;
                }
                *done = count.max(*done);
            }
        }
    }

    fn sort(&self, graph: &Graph, seals: &Seals, events: &mut [Idx]) {
        let number = |idx: Idx| match self.seal(idx) {
            Some(seal) => {
                let of = rank(graph, seal);
                seals
                    .list
                    .partition_point(|seal| rank(graph, seal.event) < of) as u32
            }
            None => u32::MAX,
        };
        let key = |idx: &Idx| {
            let (lamport, id) = rank(graph, *idx);
            (number(*idx), lamport, id)
        };
        events.sort_by_cached_key(key);
    }

    fn seal(&self, idx: Idx) -> Option<Idx> {
        Some(self.0[idx.0 as usize]).filter(|seal| *seal != OPEN)
    }

    fn compare(&self, graph: &Graph, a: Idx, b: Idx) -> Ordering {
        let sealed = match (self.seal(a), self.seal(b)) {
            (Some(a), Some(b)) if a == b => Ordering::Equal,
            (Some(a), Some(b)) => rank(graph, a).cmp(&rank(graph, b)),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => Ordering::Equal,
        };
        sealed.then_with(|| rank(graph, a).cmp(&rank(graph, b)))
    }
}
