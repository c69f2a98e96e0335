//! What `wg` is told about a network's interface. See [`mesh_tunnel::uapi`].

use std::collections::BTreeMap;
use std::time::Duration;

use mesh_core::peer::PeerId;
use mesh_ledger::ids::NetworkId;
use mesh_os::uapi::{Answer, Refusal, Server};
use mesh_tunnel::PeerStats;
use mesh_tunnel::uapi::{Interface, Peer, Request, host, parse, print};
use tokio::sync::oneshot;
use tracing::warn;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use super::{Event, Net, Node};
use crate::clock::now_ms;

impl Node {
    /// Lets `wg` ask about the interface of a network that is up.
    pub(super) fn serve_wg(&mut self, id: NetworkId) {
        let Some(net) = self.nets.get_mut(&id) else {
            return;
        };
        let Some(applied) = &net.applied else {
            return;
        };
        let events = self.events.clone();
        let answer = move |request| {
            let events = events.clone();
            async move {
                let (respond, answer) = oneshot::channel();
                // A node that is stopping answers nothing more.
                let _ = events.send(Event::Wg(id, request, respond)).await;
                answer.await.unwrap_or(Err(Refusal::Failed))
            }
        };
        match Server::start(&self.dirs.wireguard, applied.interface(), answer) {
            Ok(server) => net.wg = Some(server),
            Err(error) => warn!(network = %id, "`wg show` will not work: {error}"),
        }
    }

    /// Answers `wg`.
    pub(super) fn answer_wg(&self, id: &NetworkId, request: &Zeroizing<Vec<u8>>) -> Answer {
        match parse(request)? {
            Request::Get => {
                let net = self.nets.get(id).ok_or(Refusal::Failed)?;
                Ok(print(&self.interface(net)))
            }
            // The ledger says who is a peer, and nobody else.
            Request::Set(_) => Err(Refusal::Unsupported),
        }
    }

    fn interface(&self, net: &Net) -> Interface {
        let tunnel = net.tunnel.load();
        let stats = tunnel.as_ref().map(|tunnel| tunnel.stats());
        let stats = stats.into_iter().flatten().map(|one| (one.id, one));
        let mut stats: BTreeMap<PeerId, PeerStats> = stats.collect();
        let now = now_ms();
        let peers = net.desired(now).into_iter().flat_map(|d| d.peers);
        let peers = peers.map(|peer| {
            let stats = stats.remove(&peer.id);
            let open = net.ways.get(&peer.id).and_then(|way| way.open());
            let age = stats.as_ref().and_then(|stats| stats.last_handshake);
            Peer {
                key: PublicKey::from(peer.wireguard),
                preshared_key: None,
                // A link's path is QUIC's, and changes without being told.
                endpoint: open.and_then(|open| open.choice.place.address()),
                allowed: peer.addresses.into_iter().filter_map(host).collect(),
                last_handshake: age.map(|age| Duration::from_millis(now).saturating_sub(age)),
                rx_bytes: stats.as_ref().map_or(0, |stats| stats.wire_rx_bytes),
                tx_bytes: stats.as_ref().map_or(0, |stats| stats.wire_tx_bytes),
                // Paths are kept open by their own probes.
                keepalive: 0,
            }
        });
        Interface {
            key: Some(StaticSecret::from(*net.wireguard)),
            port: self
                .ways
                .as_ref()
                .and_then(|ways| ways.ports().first().copied()),
            peers: peers.collect(),
        }
    }
}
