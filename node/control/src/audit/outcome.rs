//! What becomes otherwise by acts, in words.

use std::collections::{BTreeMap, BTreeSet};

use mesh_ledger::ids::{EventId, UserId};
use mesh_ledger::network::Consequences;
use mesh_ledger::past::Reading;

use super::names::Names;
use super::{event_ref, page};
use crate::view::{Consequences as View, LogEntry, VoidAct};

/// So many void events are told one by one.
const MOST: usize = 100;

/// Puts names and sentences to what became otherwise, or would.
pub fn consequences(reading: Reading<'_>, found: &Consequences) -> View {
    let names = Names::of(reading);
    let called = |users: &[UserId]| {
        let mut called: Vec<String> = users.iter().map(|user| names.user(user)).collect();
        called.sort();
        called
    };
    let short = |ids: &[EventId]| ids.iter().map(EventId::short).collect();
    let listed = || found.void.iter().take(MOST);
    let ids: BTreeSet<EventId> = listed().map(|(id, _)| *id).collect();
    let graph = reading.graph;
    let told = page(reading, &names, |idx| ids.contains(&graph.id(idx)), MOST);
    let told = told.entries.into_iter();
    let mut told: BTreeMap<String, LogEntry> =
        told.map(|entry| (entry.event.id.clone(), entry)).collect();
    let void = listed().map(|(id, reason)| {
        let entry = told.remove(&id.to_string());
        let (by, text) = entry
            .map(|entry| (entry.by, entry.text))
            .unwrap_or_default();
        VoidAct {
            event: event_ref(id),
            by,
            text,
            reason: reason.to_string(),
        }
    });
    View {
        acts_voided: count(found.void.len()),
        void: void.collect(),
        acts_revived: count(found.revived.len()),
        members_gone: called(&found.members_gone),
        members_back: called(&found.members_new),
        office_gone: called(&found.office_gone),
        office_back: called(&found.office_new),
        invites_gone: short(&found.invites_gone),
        invites_back: short(&found.invites_new),
        owner: found.owner.map(|owner| names.user(&owner)),
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
