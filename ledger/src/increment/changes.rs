//! Which events read something that is settled otherwise than before. See the rules in `increment.rs`.

use std::collections::BTreeSet;

use crate::authority::cast::{Cast, D};
use crate::authority::walk::{Closings, Entry};
use crate::authority::{Began, Removal, Scope, Settled};
use crate::event::Act;
use crate::graph::{Graph, Idx};
use crate::ids::EventId;
use crate::order::Seals;

/// A place among seals: lamport and id.
pub(super) type Rank = (u32, EventId);

/// Events whose steps may come out otherwise.
pub(super) struct Changes<'a> {
    graph: &'a Graph,
    cast: &'a Cast,
    /// Events from here on are walked anew anyway.
    stay: usize,
    events: Vec<Idx>,
}

impl<'a> Changes<'a> {
    /// None yet. The first `stay` events were there before and are there now.
    pub(super) fn new(graph: &'a Graph, cast: &'a Cast, stay: usize) -> Self {
        Self {
            graph,
            cast,
            stay,
            events: Vec::new(),
        }
    }

    pub(super) fn into_events(self) -> Vec<Idx> {
        self.events
    }

    /// Events of which is known already that they change.
    pub(super) fn events(&mut self, events: &[Idx]) {
        for idx in events {
            self.event(*idx);
        }
    }

    /// Devices about which users said more, or less.
    pub(super) fn pairs(&mut self, devices: &[D]) {
        for device in devices {
            for arrival in self.cast.arrivals(*device) {
                self.event(*arrival);
            }
        }
    }

    /// Says whether anything is settled otherwise.
    pub(super) fn terms(&mut self, before: &Settled, after: &Settled) -> bool {
        let mut changed = before.owner() != after.owner();
        let scopes = before.removals.scopes().chain(after.removals.scopes());
        for scope in scopes.collect::<BTreeSet<_>>() {
            let was: Vec<&Removal> = before.removals.of(scope).collect();
            let is: Vec<&Removal> = after.removals.of(scope).collect();
            for removal in differing(&was, &is) {
                self.removal(scope, removal);
                changed = true;
            }
        }
        let ranks = before.began.keys().chain(after.began.keys());
        for rank in ranks.copied().collect::<BTreeSet<_>>() {
            let (was, is) = (before.began.get(&rank), after.began.get(&rank));
            if was != is {
                for term in was.into_iter().chain(is) {
                    self.term(term);
                }
                changed = true;
            }
        }
        let returns = before.returns.keys().chain(after.returns.keys());
        for key in returns.copied().collect::<BTreeSet<_>>() {
            let of = |settled: &Settled| settled.returns.get(&key).cloned().unwrap_or_default();
            for back in differing(&of(before), &of(after)) {
                self.behind(back.admission, key.1);
            }
        }
        for idx in self.cast.successions.iter().chain(&self.cast.removals) {
            if before.accepts(*idx) != after.accepts(*idx) {
                self.event(*idx);
            }
        }
        changed
    }

    /// Returns the invites that are closed otherwise.
    pub(super) fn closings(&mut self, before: &Closings, after: &Closings) -> BTreeSet<Idx> {
        let mut changed = BTreeSet::new();
        let invites = before.by_invite.keys().chain(after.by_invite.keys());
        for invite in invites.copied().collect::<BTreeSet<_>>() {
            let (was, is) = (before.of_invite(invite), after.of_invite(invite));
            for closing in differing(was, is) {
                self.redemptions(invite, |graph, admission| {
                    !graph.precedes(admission, *closing)
                });
                changed.insert(invite);
            }
        }
        changed
    }

    /// Returns the least seal that came or went.
    pub(super) fn seals(&mut self, before: &Seals, after: &Seals) -> Option<Rank> {
        let events =
            |seals: &Seals| -> BTreeSet<Idx> { seals.list.iter().map(|seal| seal.event).collect() };
        let changed = &events(before) ^ &events(after);
        for seal in &changed {
            let time = self.graph.time(*seal);
            for invite in self.cast.redemptions.keys() {
                if let Act::Invite(act) = self.graph.event(*invite).act()
                    && time > act.expires
                {
                    self.redemptions(*invite, |graph, admission| {
                        !graph.precedes(admission, *seal)
                    });
                }
            }
        }
        changed.iter().map(|seal| rank(self.graph, *seal)).min()
    }

    fn removal(&mut self, scope: Scope, removal: &Removal) {
        for carrier in &removal.carriers {
            self.event(*carrier);
        }
        let cast = self.cast;
        let one;
        let devices = match scope {
            Scope::User(user) => cast.devices_of(user),
            Scope::Term(start) => {
                let holder = match self.graph.event(start).act() {
                    Act::Genesis(act) => Some(act.owner),
                    Act::OwnerSet(act) => Some(act.successor),
                    Act::Grant(act) => Some(act.user),
                    _ => None,
                };
                let holder = holder.and_then(|holder| cast.user(&holder));
                holder.map_or(&[][..], |holder| cast.devices_of(holder))
            }
            Scope::Device(device) | Scope::Pair(_, device) => {
                one = [device];
                &one[..]
            }
        };
        for device in devices {
            for lane in self.graph.lanes_of(&cast.device_id(*device)) {
                let covered = removal.covered(self.graph, *lane);
                self.lane(*lane, covered as usize);
            }
            for arrival in cast.arrivals(*device) {
                if !removal.covers(self.graph, *arrival) {
                    self.event(*arrival);
                }
            }
            for invite in cast.invites(*device) {
                self.redemptions(*invite, |graph, admission| {
                    !removal.covers(graph, admission)
                });
            }
        }
    }

    fn term(&mut self, term: &Began) {
        let cast = self.cast;
        for start in &term.starts {
            self.event(*start);
            for device in cast.devices_of(term.holder) {
                self.behind(*start, *device);
                for invite in cast.invites(*device) {
                    self.redemptions(*invite, |_, _| true);
                }
            }
        }
    }

    /// Events of a device that have an event in their past.
    fn behind(&mut self, event: Idx, device: D) {
        let (graph, cast) = (self.graph, self.cast);
        for idx in behind(graph, cast, event, device) {
            self.event(idx);
        }
    }

    fn redemptions(&mut self, invite: Idx, read: impl Fn(&Graph, Idx) -> bool) {
        let cast = self.cast;
        for admission in cast.redemptions.get(&invite).into_iter().flatten() {
            if read(self.graph, *admission) {
                self.event(*admission);
            }
        }
    }

    /// The events of a lane from one on.
    fn lane(&mut self, lane: u32, from: usize) {
        let lane = &self.graph.lanes()[lane as usize];
        self.events(lane.get(from..).unwrap_or_default());
    }

    fn event(&mut self, idx: Idx) {
        if (idx.0 as usize) < self.stay {
            self.events.push(idx);
        }
    }
}

/// Who reads what an event is to those that have it in their past.
pub(super) fn readers(
    graph: &Graph,
    cast: &Cast,
    event: Idx,
    entry: &Entry,
    mut read: impl FnMut(Idx),
) {
    match entry {
        Entry::Admission(user, device) => {
            behind(graph, cast, event, *device).for_each(&mut read);
            let of = cast.devices_of(*user).iter();
            let arrivals = of.flat_map(|device| cast.arrivals(*device)).copied();
            arrivals
                .filter(|arrival| graph.precedes(event, *arrival))
                .for_each(read);
        }
        Entry::Refused(device) => behind(graph, cast, event, *device).for_each(read),
        Entry::Issued(_) => {
            let redemptions = cast.redemptions.get(&event).into_iter().flatten();
            redemptions.copied().for_each(read);
        }
        Entry::Due | Entry::Answers(_) => {
            let rotations = cast.rotations.iter().copied();
            rotations
                .filter(|rotation| graph.precedes(event, *rotation))
                .for_each(read);
        }
    }
}

/// Events of a device that have an event in their past.
fn behind(graph: &Graph, cast: &Cast, event: Idx, device: D) -> impl Iterator<Item = Idx> {
    let lanes = graph.lanes_of(&cast.device_id(device)).iter();
    lanes.flat_map(move |lane| {
        let chain = &graph.lanes()[*lane as usize];
        let first = chain.partition_point(|idx| !graph.precedes(event, *idx));
        chain[first..].iter().copied()
    })
}

pub(super) fn rank(graph: &Graph, idx: Idx) -> Rank {
    graph.rank(idx)
}

/// What lies between what two lists begin with and what they end with alike.
fn differing<'a, T: PartialEq>(was: &'a [T], is: &'a [T]) -> impl Iterator<Item = &'a T> {
    let alike = |(a, b): &(&T, &T)| a == b;
    let front = was.iter().zip(is).take_while(alike).count();
    let (was, is) = (&was[front..], &is[front..]);
    let back = was.iter().rev().zip(is.iter().rev());
    let back = back.take_while(alike).count();
    was[..was.len() - back].iter().chain(&is[..is.len() - back])
}
