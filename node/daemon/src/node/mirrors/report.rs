//! What tools are told about servers.

use iroh::endpoint::Connection;
use mesh_control::view::{AccusationView, RelayUse, ServerState, ServerView, TipView};
use mesh_core::mirror::Accusation;
use std::net::SocketAddr;

use mesh_ledger::ids::{DeviceId, EventId, NetworkId, ServerKey};

use crate::endpoint::RelayStanding;
use crate::node::{Net, Node};

impl Net {
    /// Whether nothing is known that a server did wrong.
    pub(crate) fn trusts(&self, key: &ServerKey) -> bool {
        let watched = self.mirrors.get(key);
        watched.is_none_or(|watched| watched.witness.accusations().is_empty())
    }
}

impl Net {
    /// How many of its servers have stored an event.
    pub(crate) fn stored_at(&self, event: &EventId) -> u32 {
        let listed = self.servers();
        let keep = self
            .mirrors
            .iter()
            .filter(|(key, watched)| listed.contains_key(key) && watched.witness.has(event));
        u32::try_from(keep.count()).unwrap_or(u32::MAX)
    }
}

impl Node {
    /// The servers of a network, in the order of its list.
    pub(crate) fn server_views(&self, net: &Net) -> Vec<ServerView> {
        let listed = net.state().servers.iter();
        let mut keys: Vec<ServerKey> = listed.map(|server| ServerKey(server.key)).collect();
        keys.extend(
            net.offered
                .keys()
                .filter(|key| !keys.contains(key))
                .copied()
                .collect::<Vec<_>>(),
        );
        keys.iter()
            .filter_map(|key| self.server_view(net, key))
            .collect()
    }

    /// One server.
    pub(crate) fn server_view(&self, net: &Net, key: &ServerKey) -> Option<ServerView> {
        let server = net.servers().remove(key)?;
        let (watched, served) = (net.mirrors.get(key), self.servers.get(key));
        let spoken = served.and_then(|served| served.streams.get(&net.id));
        let live = spoken.filter(|spoken| spoken.session.is_live());
        let refused = watched.and_then(|watched| watched.refused.clone());
        let trouble = live.and_then(|spoken| spoken.session.trouble());
        let unreachable = served.and_then(|served| served.unreachable.clone());
        let state = match (live, refused, unreachable) {
            (Some(_), _, _) => match trouble {
                Some(why) => ServerState::Refused {
                    why: why.to_string(),
                },
                None => ServerState::Connected,
            },
            (None, Some(why), _) => ServerState::Refused { why },
            (None, None, Some(why)) => ServerState::Unreachable { why },
            (None, None, None) => ServerState::Connecting,
        };
        let events = watched
            .and_then(|watched| watched.witness.newest())
            .map(|tip| tip.tip.count);
        let held = net.ledger.graph().len() as u64;
        let lacking = match live {
            Some(spoken) => spoken.session.unstored(),
            None => held.saturating_sub(events.unwrap_or(0)),
        };
        let line = served.and_then(|served| served.line.as_ref());
        let rtt = line.and_then(|line| {
            let paths = line.connection.paths();
            let path = paths.iter().find(iroh::endpoint::Path::is_selected)?;
            u64::try_from(path.rtt().as_micros()).ok()
        });
        let accusations = watched.map_or(&[][..], |watched| watched.witness.accusations());
        Some(ServerView {
            key: key.to_string(),
            short: key.short(),
            address: server.place(),
            state,
            since_ms: served.map_or(0, |served| served.since_ms),
            events,
            lacking,
            rtt_us: rtt,
            relay: match self.endpoint.relay_standing(key) {
                None => RelayUse::None,
                Some(RelayStanding::Ready) => RelayUse::Ready,
                Some(RelayStanding::Home) => RelayUse::Home,
            },
            accusations: accusations
                .iter()
                .map(|accusation| accusation_view(net, accusation))
                .collect(),
        })
    }

    /// The connection with a server on which this device speaks for itself, while there is one.
    pub(crate) fn server_connection(&self, key: &ServerKey) -> Option<Connection> {
        let line = self.servers.get(key)?.line.as_ref()?;
        line.deputy.is_none().then(|| line.connection.clone())
    }

    /// A server of a network that serves it now, with the addresses its name leads to, one of each family, IPv4 first; one
    /// that IPv4 reaches, if there is any.
    pub(crate) fn reached_server(&self, id: NetworkId) -> Option<(ServerKey, Vec<SocketAddr>)> {
        let live = self.servers.iter().filter(|(_, served)| {
            let spoken = served.streams.get(&id);
            spoken.is_some_and(|spoken| spoken.session.is_live())
        });
        let of = |served: &super::Served, v4: bool| {
            let family = served.resolved.iter().filter(|a| a.is_ipv4() == v4);
            family.min().copied()
        };
        let reached = live.map(|(key, served)| (*key, [of(served, true), of(served, false)]));
        let (key, addresses) = reached.min_by_key(|(_, addresses)| addresses[0].is_none())?;
        let addresses: Vec<SocketAddr> = addresses.into_iter().flatten().collect();
        (!addresses.is_empty()).then_some((key, addresses))
    }
}

/// Who was told the tip at place `n`: the last one is the other member's, if there is one.
fn teller(net: &Net, accusation: &Accusation, n: usize) -> Option<String> {
    let device = accusation
        .heard_from
        .filter(|_| n + 1 == accusation.tips.len())?;
    Some(name(net, &device))
}

fn name(net: &Net, device: &DeviceId) -> String {
    net.state()
        .devices
        .get(device)
        .map_or_else(|| device.short(), |device| device.host.to_string())
}

fn accusation_view(net: &Net, accusation: &Accusation) -> AccusationView {
    let tips = accusation.tips.iter().enumerate();
    AccusationView {
        what: accusation.what.to_string(),
        at_ms: accusation.at,
        tips: tips
            .map(|(n, tip)| TipView {
                events: tip.tip.count,
                chain: data_encoding::HEXLOWER.encode(&tip.tip.chain.0),
                time_ms: tip.tip.time,
                heard_from: teller(net, accusation, n),
            })
            .collect(),
    }
}
