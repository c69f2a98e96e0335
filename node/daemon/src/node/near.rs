//! With whom to be linked: what the [choice](mesh_core::choice) is told, and the end of links that are not wanted any more.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use iroh::endpoint::VarInt;
use mesh_core::choice::{Known, UNWANTED};
use mesh_core::desired::peer_id;
use mesh_core::forward::{forwarders, kept_near};
use mesh_core::peer::PeerId;

use super::{Net, Node};
use crate::clock::now_ms;
use crate::link::LinkId;

/// How often it is looked with whom there is traffic.
pub(crate) const LOOK: Duration = Duration::from_secs(20);
/// The connection's error code for a link that is not wanted any more.
const NOT_WANTED: VarInt = VarInt::from_u32(5);

impl Net {
    /// Chooses whom to be linked with, and tells the dialler.
    pub(crate) fn want_links(&mut self, now: Duration) -> BTreeSet<PeerId> {
        let devices = self.state().devices.keys();
        let peers: BTreeMap<PeerId, Known> = devices
            .map(|device| (peer_id(device), device))
            .filter(|(peer, _)| *peer != self.me)
            .map(|(peer, device)| {
                let known = Known {
                    linked: self.links.contains_key(&peer),
                    there: self.presence.fresh(device, now),
                    // By another clock, but it is only compared with its like.
                    heard: self
                        .settings
                        .seen(&device.to_string())
                        .map(Duration::from_millis),
                };
                (peer, known)
            })
            .collect();
        self.traffic.retain(|peer| peers.contains_key(peer));
        self.failing.retain(|peer, _| peers.contains_key(peer));
        let there = |peer: &PeerId| {
            peers
                .get(peer)
                .is_some_and(|known| known.linked || known.there)
        };
        let mut needed = self.traffic.peers(there, now);
        // A key that is owed to a device is handed over a link to it.
        needed.extend(self.owed_keys().into_iter().map(|(peer, _)| peer));
        let forwarders = forwarders(self.state(), &self.my_device(), now_ms());
        needed.extend(kept_near(&forwarders, |device| {
            self.presence.fresh(device, now)
        }));
        let wanted = self.choice.wanted(&peers, &needed);
        self.dialler.want(&wanted, now);
        wanted.into_keys().collect()
    }

    /// With whom packets have passed, and how many.
    fn passed(&self) -> BTreeMap<PeerId, u64> {
        let stats = self.tunnel.load().as_ref().map(|tunnel| tunnel.stats());
        let stats = stats.into_iter().flatten();
        stats
            .map(|peer| (peer.id, peer.rx_packets + peer.tx_packets))
            .collect()
    }
}

impl Node {
    /// Ends the links that this side dialled and does not want any more.
    pub(crate) fn end_unwanted_links(&mut self, now: Duration) {
        let mut over: Vec<LinkId> = Vec::new();
        for net in self.nets.values_mut().filter(|net| net.is_up()) {
            let passed = net.passed();
            net.traffic.look(passed, now);
            let wanted = net.want_links(now);
            for (peer, id) in &net.links {
                let Some(linked) = self.links.get_mut(id) else {
                    continue;
                };
                if wanted.contains(peer) {
                    linked.wanted = now;
                } else if linked.dialled_here && now.saturating_sub(linked.wanted) >= UNWANTED {
                    over.push(*id);
                }
            }
        }
        for id in over {
            if let Some(linked) = self.links.get(&id) {
                linked.link.connection.close(NOT_WANTED, b"not wanted");
            }
            self.link_closed(id, "not wanted any more");
        }
    }
}
