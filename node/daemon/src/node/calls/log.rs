//! `mesh log` and `mesh log verify`.

use mesh_control::call::Log;
use mesh_control::error::{Code, Error};
use mesh_control::reply::{self, Damage, Reply};
use mesh_ledger::event::attributes::Opened;
use tracing::warn;

use super::event_ref;
use crate::node::Node;
use crate::view::log::entries;

/// The most entries of one reply.
const MOST: usize = 10_000;

impl Node {
    pub(super) fn log(&self, call: &Log) -> Result<Reply, Error> {
        let net = self.net(call.network.as_deref())?;
        let graph = net.ledger.graph();
        let opened: Vec<Opened> = graph
            .indices()
            .map(|idx| net.ledger.opened(idx).clone())
            .collect();
        let mut entries = entries(graph, &opened, net.ledger.fold(), &call.filters);
        let limit = call.limit.map_or(MOST, |limit| (limit as usize).min(MOST));
        let older = entries.len().saturating_sub(limit);
        entries.drain(..older);
        Ok(Reply::Log(reply::Log {
            network: net.name(),
            entries,
            more: older > 0,
        }))
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
            ok: damaged.is_empty(),
            damaged,
        };
        // Peers that are online send what memory does not have.
        let _ = self.sync_now(Some(&id.to_string()));
        Ok(Reply::Verified(reply))
    }
}
