//! A new key for later events, after somebody was removed: what a kicked member keeps opens nothing that comes after.

use std::collections::BTreeSet;
use std::time::Duration;

use mesh_core::rotation;
use mesh_ledger::epoch;
use mesh_ledger::ids::{BoxKey, DeviceId, EventId, NetworkId};
use mesh_ledger::keys::EpochKey;
use mesh_ledger::state::Rank;
use tracing::{info, warn};

use super::{Net, Node};
use crate::clock::steady;
use crate::random;

/// How long to wait after an attempt that failed.
const AGAIN: Duration = Duration::from_secs(30);

impl Net {
    /// Sets or clears the moment at which this device writes a rotation.
    pub(crate) fn plan_rotation(&mut self, now: Duration) {
        let unanswered = self.unanswered();
        if unanswered.is_empty() || !self.is_member() {
            self.rotate_at = None;
            return;
        }
        if self.rotate_at.is_some() {
            return;
        }
        let graph = self.ledger.graph();
        let author = |event| graph.find(event).map(|idx| graph.author(idx));
        let authors: BTreeSet<DeviceId> = unanswered.iter().filter_map(author).collect();
        let mut devices: Vec<(Option<u32>, DeviceId)> = self
            .ledger
            .authority()
            .devices
            .iter()
            .map(|(id, device)| {
                let admitted = graph.find(&device.event);
                (admitted.map(|idx| graph.lamport(idx)), *id)
            })
            .collect();
        devices.sort_unstable();
        let devices: Vec<DeviceId> = devices.into_iter().map(|(_, id)| id).collect();
        self.rotate_at = Some(now + rotation::wait(&authors, &devices, &self.my_device()));
    }

    /// The removals that a rotation by this device would answer.
    fn unanswered(&mut self) -> BTreeSet<EventId> {
        let mut unanswered = self.ledger.authority().unanswered.clone();
        let me = self.state().member_of(&self.my_device());
        // Another member's rotation would be void for those.
        if me.is_some_and(|me| me.rank != Rank::Member) {
            let (graph, fold) = (self.ledger.graph(), self.ledger.fold());
            unanswered.extend(self.debts.owed(graph, fold));
        }
        unanswered
    }
}

impl Node {
    /// Writes a rotation if its moment has come.
    pub(crate) async fn rotate_due(&mut self, id: NetworkId, now: Duration) {
        let Some(net) = self.nets.get_mut(&id) else {
            return;
        };
        if net.rotate_at.is_none_or(|at| now < at) {
            return;
        }
        net.rotate_at = None;
        if net.unanswered().is_empty() {
            return;
        }
        let before = net.ledger.graph().len();
        match self.rotate(id) {
            Ok(()) => info!(network = %id, "later events are sealed under a new key"),
            Err(why) => {
                warn!(network = %id, "the key was not changed: {why}");
                if let Some(net) = self.nets.get_mut(&id) {
                    net.rotate_at = Some(steady() + AGAIN);
                }
            }
        }
        let grown = self.nets.get(&id);
        if grown.is_some_and(|net| net.ledger.graph().len() > before) {
            self.changed(id, None).await;
        }
    }

    fn rotate(&mut self, id: NetworkId) -> Result<(), String> {
        let Some(net) = self.nets.get(&id) else {
            return Ok(());
        };
        let new = random::seed().map_err(|error| error.to_string())?;
        let new = EpochKey::from_bytes(*new);
        let state = net.state();
        let keys = net.ledger.keys();
        let accepted = state
            .epochs
            .iter()
            .rev()
            .filter_map(|epoch| keys.get(epoch));
        // Events may be sealed under keys of rotations that turned out void.
        let others = keys.iter().filter(|key| !state.epochs.contains(&key.id()));
        let former: Vec<EpochKey> = accepted.chain(others).cloned().collect();
        // By the clear acts: who cannot be read about yet reads on all the same.
        let to: Vec<BoxKey> = net
            .ledger
            .authority()
            .devices
            .values()
            .map(|device| device.box_key)
            .collect();
        // One ephemeral key for each event that carries boxes; each has room for one box at least.
        let mut seeds = Vec::new();
        for _ in &to {
            seeds.push(random::seed().map_err(|error| error.to_string())?);
        }
        let seeds = seeds.iter().map(|seed| **seed);
        for act in epoch::rotate(&id, &new, &former, &to, seeds) {
            self.author(id, act, None)
                .map_err(|error| error.message.clone())?;
        }
        Ok(())
    }
}
