//! When to change the key that events are sealed under, after somebody was removed.
//!
//! One rotation after each removal is enough, and anybody may write it. So the device that removed does it at once, and the
//! others wait their turn, in the order of their admission, in case it cannot: two that did not hear of each other's both
//! count, and do no harm.
//!
//! The ledger itself says which removals of users and devices no epoch has answered yet. [`Debts`] adds those that name
//! nobody: what ends a term of office may undo the admissions made in it, and whoever came in by one still holds the key.
//! Both follow from the events alone, so no restart forgets them.

use std::collections::BTreeSet;
use std::time::Duration;

use mesh_ledger::event::Act;
use mesh_ledger::event::act::{KeyBox, Kind, Target};
use mesh_ledger::fold::Fold;
use mesh_ledger::graph::{Graph, Idx};
use mesh_ledger::ids::{BoxKey, DeviceId, EpochId, EventId};
use mesh_ledger::verdict::Verdict;

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

/// Which ends of terms are owed a rotation. Remembers where in a graph that only grows the events are that matter.
#[derive(Debug, Default)]
pub struct Debts {
    read: usize,
    endings: Vec<Idx>,
    admissions: Vec<Admission>,
    rotations: Vec<Idx>,
    /// Events that hand the key of an epoch to more devices.
    further: Vec<Idx>,
}

#[derive(Debug)]
struct Admission {
    event: Idx,
    device: DeviceId,
    box_key: BoxKey,
}

impl Debts {
    /// The counted events that ended terms and that no counted rotation knew, if an admission is void whose device may hold
    /// the key that events are sealed under now: one that no rotation has shut out. An admin's device answers them.
    pub fn owed(&mut self, graph: &Graph, fold: &Fold) -> BTreeSet<EventId> {
        self.read_on(graph);
        let counts = |idx: &Idx| {
            let verdict = fold.verdicts.get(idx.0 as usize);
            verdict.is_some_and(Verdict::counts)
        };
        let rotations: Vec<Idx> = self.rotations.iter().copied().filter(counts).collect();
        let answered = |ending: Idx| rotations.iter().rev().any(|r| graph.precedes(ending, *r));
        let open = self.endings.iter().copied();
        let open: Vec<Idx> = open.filter(|e| counts(e) && !answered(*e)).collect();
        let may_read = |admission: &Admission| {
            let shut_out = |rotation: &Idx| {
                graph.precedes(admission.event, *rotation)
                    && !self.has_box(graph, *rotation, &admission.box_key)
            };
            !counts(&admission.event)
                && !fold.authority.devices.contains_key(&admission.device)
                && !rotations.iter().any(shut_out)
        };
        if open.is_empty() || !self.admissions.iter().any(may_read) {
            return BTreeSet::new();
        }
        open.iter().map(|idx| graph.id(*idx)).collect()
    }

    fn read_on(&mut self, graph: &Graph) {
        for event in graph.indices().skip(self.read) {
            if matches!(graph.kind(event), Kind::Private | Kind::Merge) {
                continue;
            }
            match graph.event(event).act() {
                Act::OwnerSet(_) => self.endings.push(event),
                Act::Remove(act) if matches!(act.target, Target::Term { .. }) => {
                    self.endings.push(event);
                }
                Act::Admit(act) => self.admissions.push(Admission {
                    event,
                    device: act.device,
                    box_key: act.box_key,
                }),
                Act::DeviceAdd(act) => self.admissions.push(Admission {
                    event,
                    device: act.device,
                    box_key: act.box_key,
                }),
                Act::EpochRotate(_) => self.rotations.push(event),
                Act::EpochKeys(_) => self.further.push(event),
                _ => {}
            }
        }
        self.read = graph.len();
    }

    /// Whether the epoch that a rotation began was handed to a device in a box.
    fn has_box(&self, graph: &Graph, rotation: Idx, key: &BoxKey) -> bool {
        let of = |idx: Idx| -> Option<(EpochId, Vec<KeyBox>)> {
            match graph.event(idx).act() {
                Act::EpochRotate(act) => Some((act.epoch, act.boxes.clone())),
                Act::EpochKeys(act) => Some((act.epoch, act.boxes.clone())),
                _ => None,
            }
        };
        let Some((epoch, _)) = of(rotation) else {
            return false;
        };
        let carriers = self.further.iter().copied().chain([rotation]);
        carriers
            .filter_map(of)
            .filter(|(of, _)| *of == epoch)
            .any(|(_, boxes)| boxes.iter().any(|one| key.0.starts_with(&one.to)))
    }
}

#[cfg(test)]
mod tests;
