//! Sealing the order of events, as an admin's device does now and then.

use std::time::Duration;

use mesh_core::checkpoint::{self, Found, Turn};
use mesh_core::settings;
use mesh_ledger::ids::{DeviceId, NetworkId};
use mesh_ledger::state::Rank;
use tracing::{info, warn};

use super::{Net, Node};
use crate::clock::now_ms;

/// How often it is looked whether one is due when nothing new came.
const LOOK: Duration = Duration::from_secs(60);

/// What a network's next checkpoint waits for.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// How many events there were when it was last looked, and when that was.
    looked: Option<(usize, Duration)>,
    /// Since when one is due, and when it is this device's turn.
    turn: Option<(Duration, Duration)>,
}

impl Net {
    /// Looks whether a checkpoint is due, and takes a place in the line.
    fn plan_checkpoint(&mut self, now: Duration) {
        let events = self.ledger.graph().len();
        let fresh = |(seen, at): (usize, Duration)| seen == events && now < at + LOOK;
        if self.checkpoint.looked.is_some_and(fresh) {
            return;
        }
        self.checkpoint.looked = Some((events, now));
        let wait = checkpoint::wait(&self.admin_devices(), &self.my_device());
        let Some(wait) = wait.filter(|_| self.checkpoint_due()) else {
            self.checkpoint.turn = None;
            return;
        };
        self.checkpoint.turn.get_or_insert((now, now + wait));
    }

    fn checkpoint_due(&self) -> bool {
        let every = settings::checkpoints(self.state());
        checkpoint::due(&self.ledger.unsealed(), every, now_ms())
    }

    /// The devices of the owner and the admins, those of the most senior in front.
    fn admin_devices(&self) -> Vec<DeviceId> {
        let state = self.state();
        let graph = self.ledger.graph();
        let mut admins: Vec<_> = state
            .members
            .values()
            .filter_map(|member| {
                let rank = match member.rank {
                    Rank::Owner => None,
                    Rank::Admin { grant } => {
                        let lamport = graph.lamport(graph.find(&grant)?);
                        Some((lamport, grant))
                    }
                    Rank::Member => return None,
                };
                Some((rank, &member.devices))
            })
            .collect();
        admins.sort_by_key(|(rank, _)| *rank);
        admins
            .into_iter()
            .flat_map(|(_, devices)| devices.iter().copied())
            .collect()
    }
}

impl Node {
    /// Writes a checkpoint if one is due and it is this device's turn.
    pub(crate) async fn checkpoint_due(&mut self, id: NetworkId, now: Duration) {
        let Some(net) = self.nets.get_mut(&id) else {
            return;
        };
        net.plan_checkpoint(now);
        let Some((since, at)) = net.checkpoint.turn.filter(|(_, at)| now >= *at) else {
            return;
        };
        let mine = net.ledger.heads_digest();
        let mut linked = self
            .links
            .values()
            .filter(|linked| linked.network == id && linked.member);
        let found = Found {
            due: net.checkpoint_due(),
            whole: net.ledger.is_whole(),
            alone: net.links.is_empty() && net.state().devices.len() > 1,
            agreed: linked.all(|linked| linked.heads == Some(mine)),
            clock_odd: checkpoint::is_clock_odd(net.clocks.values().copied()),
            waited: now.saturating_sub(since),
        };
        match checkpoint::turn(&found) {
            Turn::Leave => net.checkpoint.turn = None,
            Turn::Wait => {
                net.checkpoint.turn = Some((since, at + checkpoint::round(&net.admin_devices())));
            }
            Turn::Write => {
                net.checkpoint.turn = None;
                let before = net.ledger.graph().len();
                match net.ledger.checkpoint(&self.identity.device, now_ms()) {
                    Ok(event) => info!(network = %id, event = %event.id().short(), "sealed"),
                    Err(error) => warn!(network = %id, "the order was not sealed: {error}"),
                }
                if net.ledger.graph().len() > before {
                    self.changed(id, None).await;
                }
            }
        }
    }
}
