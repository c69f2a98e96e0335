//! A device that was removed, and may be taken back: the kick may have been void, or be made so by a senior who finds out.
//!
//! Its network is down, and it goes on asking, now and then, one member after the other; and it lets members tell it who
//! dial it because they hold it for one again. Only events count: as soon as they say that it is a member, the network
//! comes up. `mesh down` and `mesh leave` end it.

use std::time::Duration;

use mesh_core::desired::peer_id;
use mesh_core::peer::PeerId;
use mesh_ledger::ids::NetworkId;
use tracing::{info, warn};

use super::{Net, Node};
use crate::clock::steady;

/// Before the first question.
const FIRST: Duration = Duration::from_secs(2);
/// The longest pause between two.
const LONGEST: Duration = Duration::from_secs(120);

/// Whom to ask next, and when.
pub(crate) struct Outside {
    pub(crate) at: Duration,
    pause: Duration,
    turn: usize,
}

impl Net {
    /// Whether this device was removed from the network, and would have it up.
    pub(crate) fn awaits_return(&self) -> bool {
        !self.is_up() && !self.is_member() && self.settings.up()
    }

    /// The member to ask now, if it is time to.
    fn ask_now(&mut self, now: Duration) -> Option<PeerId> {
        let outside = self.outside.get_or_insert(Outside {
            at: now + FIRST,
            pause: FIRST,
            turn: 0,
        });
        if now < outside.at {
            return None;
        }
        let members: Vec<PeerId> = self.ledger.state().devices.keys().map(peer_id).collect();
        let asked = members.get(outside.turn % members.len().max(1)).copied();
        outside.turn += 1;
        outside.pause = (outside.pause * 2).min(LONGEST);
        outside.at = now + outside.pause;
        asked
    }
}

impl Node {
    /// Asks where it is time to, and brings up what this device is in again.
    pub(crate) async fn outside_on_time(&mut self, now: Duration) {
        let (mut ask, mut back): (Vec<(NetworkId, PeerId)>, Vec<NetworkId>) =
            (Vec::new(), Vec::new());
        for net in self.nets.values_mut() {
            if net.awaits_return() {
                ask.extend(net.ask_now(now).map(|peer| (net.id, peer)));
            } else if net.outside.take().is_some()
                && net.is_member()
                && !net.is_up()
                && net.settings.up()
            {
                back.push(net.id);
            }
        }
        for (id, peer) in ask {
            self.dial(id, peer);
        }
        for id in back {
            info!(network = %id, "this device is a member again");
            if let Err(error) = self.bring_up(id).await {
                warn!(network = %id, "{error}");
            }
        }
    }

    /// When the next member is asked.
    pub(crate) fn outside_due(&self) -> Option<Duration> {
        let outside = self.nets.values().filter(|net| net.awaits_return());
        outside
            .map(|net| {
                net.outside
                    .as_ref()
                    .map_or_else(steady, |outside| outside.at)
            })
            .min()
    }
}
