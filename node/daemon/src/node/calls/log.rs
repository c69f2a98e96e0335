//! `mesh log` with `show`, `diff` and `verify`, and the network as it was.

use std::collections::BTreeSet;

use mesh_control::audit::{answer, moment};
use mesh_control::call::{Log, LogDiff, LogShow, Past};
use mesh_control::error::{Code, Error};
use mesh_control::reply::{self, Damage, Reply};
use mesh_core::desired::device_id;
use mesh_ledger::ids::DeviceId;
use tokio::task::block_in_place;
use tracing::warn;

use super::event_ref;
use crate::clock::steady;
use crate::node::{Net, Node};

impl Node {
    pub(super) fn log(&self, call: &Log) -> Result<Reply, Error> {
        let net = self.net(call.network.as_deref())?;
        let reading = net.ledger.reading();
        let told = call.after.as_ref().map_or(u64::MAX, |after| after.turns);
        let turned = net.turns.since(told);
        let mut log = block_in_place(|| answer::log(reading, call, turned))?;
        if call.at.is_none() {
            log.cursor = Some(moment::cursor(reading, net.turns.told()));
        }
        Ok(Reply::Log(log))
    }

    pub(super) fn log_show(&self, call: &LogShow) -> Result<Reply, Error> {
        let net = self.net(call.network.as_deref())?;
        let same = self.same_heads(net);
        block_in_place(|| answer::shown(net.ledger.reading(), call, &same)).map(Reply::LogShown)
    }

    /// The devices that said lately that they hold the same events as this one, and this one.
    fn same_heads(&self, net: &Net) -> BTreeSet<DeviceId> {
        let mine = net.ledger.heads_digest();
        let linked = net.links.iter().filter(|(_, link)| {
            self.links
                .get(link)
                .is_some_and(|linked| linked.heads == Some(mine))
        });
        let beacons = net.state().devices.keys().filter(|device| {
            let beacon = net.presence.of(device);
            net.presence.fresh(device, steady()) && beacon.is_some_and(|b| b.heads == mine)
        });
        linked
            .map(|(peer, _)| device_id(peer))
            .chain(beacons.copied())
            .chain([net.my_device()])
            .collect()
    }

    pub(super) fn log_diff(&self, call: &LogDiff) -> Result<Reply, Error> {
        let net = self.net(call.network.as_deref())?;
        block_in_place(|| answer::differences(net.ledger.reading(), call)).map(Reply::Differences)
    }

    pub(super) fn past(&self, call: &Past) -> Result<Reply, Error> {
        let net = self.net(call.network.as_deref())?;
        block_in_place(|| answer::past(net.ledger.reading(), call)).map(Reply::Past)
    }

    /// Looks at every stored event. What is damaged is then restored: from memory, else from peers.
    pub(super) fn log_verify(&mut self, name: Option<&str>) -> Result<Reply, Error> {
        let id = self.find_network(name)?;
        let Some(net) = self.nets.get_mut(&id) else {
            return Err(Error::new(Code::NotFound, "the network is gone"));
        };
        let verification = tokio::task::block_in_place(|| net.ledger.verify())
            .map_err(|error| Error::new(Code::Verification, error.to_string()))?;
        let damaged: Vec<Damage> = verification
            .faults
            .iter()
            .map(|(id, fault)| Damage {
                event: event_ref(id),
                problem: fault.to_string(),
            })
            .collect();
        // With none damaged the store must amount to what is in force.
        let amounts_to_state = verification.authority == net.ledger.authority_hash()
            && verification
                .state
                .is_none_or(|state| net.state().pending > 0 || state == net.ledger.state_hash());
        if !damaged.is_empty() {
            match net.ledger.mend(&verification) {
                Ok(mended) => {
                    warn!(network = %id, damaged = damaged.len(), mended = mended.len(), "stored events were damaged")
                }
                Err(error) => {
                    warn!(network = %id, "damaged events could not be written anew: {error}")
                }
            }
        }
        let reply = reply::Verified {
            network: net.name(),
            events: (verification.good + damaged.len()) as u64,
            ok: damaged.is_empty() && amounts_to_state,
            damaged,
            checkpoint: verification.checkpoint.as_ref().map(event_ref),
        };
        // Peers that are online send what memory does not have.
        let _ = self.sync_now(Some(&id.to_string()));
        Ok(Reply::Verified(reply))
    }
}
