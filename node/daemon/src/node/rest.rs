//! Links that were wanted once, and end when nothing needs them any more.

use std::time::Duration;

use mesh_core::dial::REST;
use mesh_core::link::Frame;
use mesh_core::peer::PeerId;
use mesh_ledger::ids::NetworkId;

use super::{Net, Node};
use crate::link::LinkId;

/// How often it is looked whether packets flowed.
const LOOK: Duration = Duration::from_secs(60);

impl Net {
    /// Notes with whom packets were exchanged since this was last called, and forgets traffic that was long ago.
    fn note_traffic(&mut self, now: Duration) {
        let stats = self.tunnel.load().as_ref().map(|tunnel| tunnel.stats());
        for stats in stats.into_iter().flatten() {
            let packets = stats.rx_packets + stats.tx_packets;
            let flowed = self.flowed.entry(stats.id).or_insert((packets, now));
            if flowed.0 != packets {
                *flowed = (packets, now);
            }
        }
        let ledger = &self.ledger;
        self.flowed.retain(|peer, _| {
            let device = mesh_core::desired::device_id(peer);
            ledger.state().devices.contains_key(&device)
        });
        let flowed = &self.flowed;
        self.traffic
            .retain(|peer, wished| !rests(flowed.get(peer).map(|at| at.1), *wished, now));
    }
}

impl Node {
    /// Ends the links that this device dialled, does not want any more, and that carried nothing for long. The other side ends
    /// those that it dialled.
    pub(super) fn rest_links(&mut self, id: NetworkId, now: Duration) {
        let Some(net) = self.nets.get_mut(&id).filter(|net| now >= net.look) else {
            return;
        };
        net.look = now + LOOK;
        net.note_traffic(now);
        net.want_links(now);
        let resting = |peer: &PeerId| -> Option<LinkId> {
            let link = net.links.get(peer)?;
            let linked = self.links.get(link)?;
            let flowed = net.flowed.get(peer).map(|at| at.1);
            (linked.dialled_here && rests(flowed, linked.since, now)).then_some(*link)
        };
        let resting: Vec<LinkId> = net.dialler.unwanted().filter_map(resting).collect();
        for link in resting {
            if let Some(linked) = self.links.get(&link) {
                linked.link.send(Frame::Goodbye);
            }
            self.link_closed(link, "nothing needs it any more");
        }
    }
}

/// Whether the last of two moments is long ago.
fn rests(flowed: Option<Duration>, since: Duration, now: Duration) -> bool {
    now.saturating_sub(flowed.unwrap_or(since).max(since)) >= REST
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_rests_when_neither_it_nor_a_packet_is_young() {
        let at = Duration::from_secs;
        let now = at(5_000);
        let (young, old) = (now - REST + at(1), now - REST);
        assert!(rests(Some(old), old, now));
        assert!(rests(None, old, now));
        assert!(!rests(Some(young), old, now));
        assert!(!rests(Some(old), young, now));
        assert!(!rests(None, young, now));
    }
}
