//! One event whole.

use std::collections::{BTreeMap, BTreeSet};

use mesh_ledger::authority::Seniority;
use mesh_ledger::event::act::Kind;
use mesh_ledger::event::attributes::Opened;
use mesh_ledger::event::{Act, Event};
use mesh_ledger::graph::Idx;
use mesh_ledger::ids::{DeviceId, EventId};
use mesh_ledger::past::Reading;
use mesh_ledger::verdict::Verdict;

use super::event_ref;
use super::log::Scribe;
use super::names::Names;
use crate::history::{LogShown, Office, Sealed};
use crate::view::{EventRef, LogEntry, Rank};

/// All about an event. `same` are the devices that said that they hold the same events as this one.
pub fn show(
    reading: Reading<'_>,
    network: String,
    idx: Idx,
    same: &BTreeSet<DeviceId>,
) -> LogShown {
    let names = Names::of(reading);
    let event = reading.graph.event(idx);
    let because: Vec<Idx> = because(reading, &names, idx);
    let wanted: BTreeSet<Idx> = because.iter().copied().chain([idx]).collect();
    let mut entries = told(reading, &names, &wanted);
    let devices = &reading.fold.state.devices;
    let have = devices
        .keys()
        .filter(|device| same.contains(device) || wrote_after(reading, device, idx))
        .map(|device| names.device(device));
    let mut have: Vec<String> = have.collect();
    have.sort();
    let sealed = match *reading.opened(idx) {
        Opened::Nothing => Sealed::Nothing,
        Opened::Pending => Sealed::Pending,
        Opened::Broken => Sealed::Broken,
        Opened::Open(_) => Sealed::Open,
    };
    LogShown {
        network,
        office: office(reading, &names, idx).map(|start| office_view(reading, &start)),
        signature: Event::decode(event.bytes()).is_ok_and(|again| again.id() == event.id()),
        bytes: u32::try_from(event.bytes().len()).unwrap_or(u32::MAX),
        sealed,
        epoch: (sealed != Sealed::Nothing).then(|| event.header().epoch.to_string()),
        checkpoint: checkpoint(reading, idx),
        have,
        of: u32::try_from(devices.len()).unwrap_or(u32::MAX),
        because: because
            .iter()
            .filter_map(|cause| entries.get(cause).cloned())
            .collect(),
        entry: entries.remove(&idx).unwrap_or_else(|| {
            // Every event has its place in the order.
            Scribe::new(reading, &names).entry(idx, 0)
        }),
    }
}

/// The entries of these events, each told at its place.
fn told(reading: Reading<'_>, names: &Names, wanted: &BTreeSet<Idx>) -> BTreeMap<Idx, LogEntry> {
    let mut scribe = Scribe::new(reading, names);
    let mut entries = BTreeMap::new();
    for (at, idx) in reading.fold.order.iter().enumerate() {
        if wanted.contains(idx) {
            entries.insert(*idx, scribe.entry(*idx, at));
            if entries.len() == wanted.len() {
                break;
            }
        }
        scribe.remember(*idx);
    }
    entries
}

/// Whether the device wrote the event, or one that has it in its past.
fn wrote_after(reading: Reading<'_>, device: &DeviceId, idx: Idx) -> bool {
    let graph = reading.graph;
    // A lane is a chain, so the last of it has seen what any of it has; a device that forked has several.
    graph
        .by_author(device)
        .any(|own| own == idx || graph.precedes(idx, own))
}

/// The event that began the most senior term the author held when it wrote, as far as it could know.
fn office(reading: Reading<'_>, names: &Names, idx: Idx) -> Option<EventId> {
    let graph = reading.graph;
    let user = names.user_of(&graph.author(idx))?;
    let terms = reading.fold.authority.terms.iter();
    terms
        .filter(|(_, term)| term.holder == user)
        .filter(|(start, term)| {
            let known = |event: &EventId| {
                graph
                    .find(event)
                    .is_some_and(|event| event == idx || graph.precedes(event, idx))
            };
            known(start) && !term.ended.as_ref().is_some_and(known)
        })
        .min_by_key(|(_, term)| term.rank)
        .map(|(start, _)| *start)
}

fn office_view(reading: Reading<'_>, start: &EventId) -> Office {
    let term = reading.fold.authority.terms.get(start);
    Office {
        rank: match term.map(|term| term.rank) {
            Some(Seniority::Owner(_)) => Rank::Owner,
            _ => Rank::Admin,
        },
        from: event_ref(start),
        to: term.and_then(|term| term.ended).map(|end| event_ref(&end)),
    }
}

/// The first checkpoint that counts and covers the event.
fn checkpoint(reading: Reading<'_>, idx: Idx) -> Option<EventRef> {
    let graph = reading.graph;
    let covers = |heads: &[EventId]| {
        let heads: Vec<Idx> = heads.iter().filter_map(|head| graph.find(head)).collect();
        graph.within(idx, &graph.past_of(&heads))
    };
    graph
        .indices()
        .filter(|at| graph.kind(*at) == Kind::Checkpoint)
        .filter(|at| {
            let counts = reading
                .fold
                .verdicts
                .get(at.0 as usize)
                .is_some_and(Verdict::counts);
            counts && matches!(graph.event(*at).act(), Act::Checkpoint(act) if covers(&act.heads))
        })
        .map(|at| (graph.lamport(at), graph.id(at)))
        .min()
        .map(|(_, id)| event_ref(&id))
}

/// What made an event void, then what gave that its force: reasons as long as they lead to other void events, then the
/// offices behind the act that decided, back to the founder's.
fn because(reading: Reading<'_>, names: &Names, idx: Idx) -> Vec<Idx> {
    let graph = reading.graph;
    let mut chain: Vec<Idx> = Vec::new();
    let mut at = idx;
    loop {
        let decided = match reading.fold.verdicts.get(at.0 as usize) {
            Some(Verdict::Void(reason)) => reason.decided_by(),
            // What counts by an office of its author's.
            Some(_) if at != idx => office(reading, names, at),
            _ => None,
        };
        let Some(next) = decided.and_then(|event| graph.find(&event)) else {
            return chain;
        };
        if next == idx || chain.contains(&next) {
            return chain;
        }
        chain.push(next);
        at = next;
    }
}
