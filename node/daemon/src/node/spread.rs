//! How far an event got: the reply to a command that signs waits a moment for other devices to confirm it, and for servers
//! to store it.

use std::collections::BTreeSet;
use std::time::Duration;

use mesh_control::error::Error;
use mesh_control::reply::Reply;
use mesh_control::view::Spread;
use mesh_core::desired::device_id;
use mesh_core::peer::PeerId;
use mesh_ledger::ids::{DeviceId, EventId, NetworkId};
use tokio::sync::oneshot;

use super::Node;
use crate::clock::steady;

/// How long a reply waits when the caller does not say.
const DEFAULT_WAIT: Duration = Duration::from_millis(500);
/// The longest that it waits.
const LONGEST_WAIT: Duration = Duration::from_secs(600);
const MAX_NAMES: usize = 100;

/// A reply that waits.
pub(crate) struct Pending {
    network: NetworkId,
    event: EventId,
    have: BTreeSet<DeviceId>,
    /// Whether the caller asked to wait for those that are not linked too.
    patient: bool,
    pub(crate) deadline: Duration,
    finish: Box<dyn FnOnce(Spread) -> Reply + Send>,
    respond: oneshot::Sender<Result<Reply, Error>>,
}

impl Node {
    /// Replies once the others have confirmed `event`, or the time is over.
    pub(crate) fn reply_after_spread(
        &mut self,
        network: NetworkId,
        event: EventId,
        wait_ms: Option<u64>,
        respond: oneshot::Sender<Result<Reply, Error>>,
        finish: impl FnOnce(Spread) -> Reply + Send + 'static,
    ) {
        let wait = wait_ms
            .map_or(DEFAULT_WAIT, Duration::from_millis)
            .min(LONGEST_WAIT);
        self.pending.push(Pending {
            network,
            event,
            have: BTreeSet::new(),
            patient: wait_ms.is_some(),
            deadline: steady() + wait,
            finish: Box::new(finish),
            respond,
        });
        self.settle_spreads(steady());
    }

    /// A device confirmed that it stores these.
    pub(crate) fn confirmed(&mut self, network: NetworkId, peer: PeerId, events: &[EventId]) {
        for pending in self
            .pending
            .iter_mut()
            .filter(|pending| pending.network == network && events.contains(&pending.event))
        {
            pending.have.insert(device_id(&peer));
        }
        self.settle_spreads(steady());
    }

    /// Sends the replies that need not wait any longer.
    pub(crate) fn settle_spreads(&mut self, now: Duration) {
        let mut waiting = Vec::new();
        for pending in std::mem::take(&mut self.pending) {
            let Some(net) = self.nets.get(&pending.network) else {
                let spread = Spread {
                    have: 0,
                    of: 0,
                    missing: Vec::new(),
                    servers: 0,
                };
                let _ = pending.respond.send(Ok((pending.finish)(spread)));
                continue;
            };
            let me = net.my_device();
            let others: Vec<_> = net
                .state()
                .devices
                .values()
                .filter(|device| device.id != me)
                .collect();
            let lacks = |device: &DeviceId| !pending.have.contains(device);
            let awaited = others
                .iter()
                .filter(|device| pending.patient || net.links.contains_key(&PeerId(device.id.0)));
            let unstored = self.mirror_lacks(pending.network, &pending.event);
            let lacked = awaited.clone().any(|device| lacks(&device.id));
            if now < pending.deadline && (lacked || unstored) {
                waiting.push(pending);
                continue;
            }
            let mut missing: Vec<String> = others
                .iter()
                .filter(|device| lacks(&device.id))
                .map(|device| device.host.to_string())
                .collect();
            missing.sort();
            let spread = Spread {
                have: (others.len() - missing.len()) as u32,
                of: others.len() as u32,
                missing: missing.into_iter().take(MAX_NAMES).collect(),
                servers: net.stored_at(&pending.event),
            };
            // The tool may be gone; the event is signed all the same.
            let _ = pending.respond.send(Ok((pending.finish)(spread)));
        }
        self.pending.append(&mut waiting);
    }
}
