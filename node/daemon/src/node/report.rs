//! What this device knows of its networks now, as tools see it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use iroh::TransportAddr;
use mesh_control::state::{NetworkState, State as Watched};
use mesh_control::view::{Check, NetworkStatus, NetworkView, PeerReach, Problem, Rank};
use mesh_core::desired::{device_id, peer_id};
use mesh_core::path::Place;
use mesh_core::peer::PeerId;
use mesh_ledger::ids::DeviceId;
use mesh_os::machine::{Applied, FirewallState};
use mesh_tunnel::PeerStats;

use super::{Net, Node};
use crate::clock::{now_ms, steady};
use crate::subnets::on_link;
use crate::view::state::{Live, Viewer, rank};
use crate::ways::Open;

impl Node {
    /// Runs `look` with a view of the network as it is now.
    pub(crate) fn with_viewer<T>(&self, net: &Net, look: impl FnOnce(&Viewer<'_>) -> T) -> T {
        let now = now_ms();
        let stats: BTreeMap<PeerId, PeerStats> = match net.tunnel.load().as_ref() {
            Some(tunnel) => tunnel
                .stats()
                .into_iter()
                .map(|stats| (stats.id, stats))
                .collect(),
            None => BTreeMap::new(),
        };
        let live = |device: &DeviceId| self.live(net, device, stats.get(&peer_id(device)), now);
        look(&Viewer {
            graph: net.ledger.graph(),
            fold: net.ledger.fold(),
            me: net.my_device(),
            now,
            live: &live,
        })
    }

    fn live(&self, net: &Net, device: &DeviceId, stats: Option<&PeerStats>, now: u64) -> Live {
        let seen = net.settings.seen(&device.to_string());
        let mut live = Live::offline(seen);
        if let Some(stats) = stats {
            live.rx_bytes = stats.rx_bytes;
            live.tx_bytes = stats.tx_bytes;
            live.handshake_ms = stats
                .last_handshake
                .map(|ago| now.saturating_sub(millis(ago)));
        }
        if let Some(linked) = net
            .links
            .get(&peer_id(device))
            .and_then(|link| self.links.get(link))
        {
            live.last_seen_ms = Some(now);
            live.reach = PeerReach::Direct;
            live.path = "direct".to_owned();
            if let Some((address, rtt)) = linked.path() {
                live.rtt_us = u64::try_from(rtt.as_micros()).ok();
                match address {
                    TransportAddr::Ip(address) => {
                        let lan = on_link(address.ip());
                        live.path = if lan { "direct, same LAN" } else { "direct" }.to_owned();
                        live.endpoint = Some(address.to_string());
                    }
                    TransportAddr::Relay(url) => {
                        let host = self.endpoint.relay_host(&url);
                        live.reach = PeerReach::Relay;
                        live.path = format!("relay {}", host.as_deref().unwrap_or("(left)"));
                    }
                    _ => {}
                }
            }
        } else if net.is_up() && net.presence.fresh(device, steady()) {
            live.reach = PeerReach::Direct;
            live.path = "on demand: heard of through others".to_owned();
        }
        // Packets take it whatever the link does.
        if let Some(way) = self.way_past_link(net, &peer_id(device)) {
            live.last_seen_ms = Some(now);
            live.rtt_us = way.rtt_us().or(live.rtt_us);
            match way.choice.place {
                Place::Address(address) => {
                    let lan = on_link(address.ip());
                    live.reach = PeerReach::Direct;
                    live.path = if lan { "direct, same LAN" } else { "direct" }.to_owned();
                    live.endpoint = Some(address.to_string());
                }
                Place::Through(by) => {
                    live.reach = PeerReach::Relay;
                    live.path = format!("through {}", member_name(net, &by));
                    live.endpoint = None;
                }
            }
        }
        live
    }

    /// The way past its link that packets to a peer take, if they do.
    pub(crate) fn way_past_link(&self, net: &Net, peer: &PeerId) -> Option<Arc<Open>> {
        let linked = net.links.get(peer).and_then(|link| self.links.get(link));
        match linked {
            _ if !net.is_up() => None,
            Some(linked) => linked.carrier.way(),
            None => net.ways.get(peer)?.open(),
        }
    }

    /// How packets get to a device, in words.
    pub(crate) fn path_text(&self, net: &Net, device: &DeviceId) -> String {
        self.live(net, device, None, now_ms()).path
    }

    /// A network in short.
    pub(crate) fn network_view(&self, net: &Net) -> NetworkView {
        let (state, me) = (net.state(), net.my_device());
        let own = state.devices.get(&me);
        let online = state.devices.keys().filter(|device| {
            **device == me
                || net.links.contains_key(&peer_id(device))
                || (net.is_up() && net.presence.fresh(device, steady()))
        });
        let ula = net.id.ula();
        let mut subnet6 = [0; 16];
        subnet6[..8].copy_from_slice(&ula);
        NetworkView {
            id: net.id.to_string(),
            short: net.id.short(),
            name: net.name(),
            subnet: state
                .subnet
                .map(|subnet| subnet.to_string())
                .unwrap_or_default(),
            subnet6: format!("{}/64", std::net::Ipv6Addr::from(subnet6)),
            interface: net
                .applied
                .as_ref()
                .map(|applied| applied.interface().to_owned()),
            up: net.is_up(),
            member: own.is_some(),
            host: own
                .map(|device| device.host.to_string())
                .unwrap_or_default(),
            address: own
                .and_then(|device| device.v4)
                .map(|a| a.to_string())
                .unwrap_or_default(),
            address6: own.map(|device| device.v6.to_string()).unwrap_or_default(),
            rank: own
                .and_then(|device| state.members.get(&device.user))
                .map_or(Rank::Member, |member| rank(member.rank)),
            devices: state.devices.len() as u32,
            online: online.count() as u32,
            events: net.ledger.graph().len() as u64,
        }
    }

    /// A network with all that is to be known about it.
    pub(crate) fn network_status(&self, net: &Net) -> NetworkStatus {
        let mine = net.ledger.heads_digest();
        let linked = net.links.values().filter_map(|link| self.links.get(link));
        let compared: Vec<bool> = linked
            .filter_map(|linked| linked.heads)
            .map(|heads| heads == mine)
            .collect();
        NetworkStatus {
            network: self.network_view(net),
            state_hash: net.ledger.state_hash().to_string(),
            pending: net.state().pending as u64,
            peers_compared: compared.len() as u32,
            peers_same: compared.iter().filter(|same| **same).count() as u32,
            checks: checks(net),
            problems: self.problems(net),
            peers: self.with_viewer(net, |viewer| viewer.peers()),
            servers: self.server_views(net),
        }
    }

    fn problems(&self, net: &Net) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut problem = |text: String, hint: Option<&str>| {
            problems.push(Problem {
                text,
                hint: hint.map(str::to_owned),
            })
        };
        if !net.is_member() {
            let by = net.state().removed_devices.get(&net.my_device());
            let by = by
                .map(|event| format!(" (event {})", event.short()))
                .unwrap_or_default();
            problem(
                format!("this device was removed from the network{by}"),
                Some("ask an admin for a direct invite"),
            );
        } else if !net.shut_out.is_empty() {
            problem(
                format!(
                    "{} peers say that this device was removed; no event here proves it",
                    net.shut_out.len()
                ),
                Some("mesh sync now"),
            );
        }
        if net.offer_to_me(now_ms()).is_some() {
            let by = super::calls::name_of(net, &net.state().owner);
            problem(
                format!("{by} offers this network to you"),
                Some("mesh owner accept"),
            );
        }
        for (_, why) in &self.broken {
            problem(
                format!("another network could not be opened: {why}"),
                Some("mesh log verify"),
            );
        }
        if let Some(text) = &net.problem {
            problem(text.clone(), Some("mesh up"));
        }
        let damaged = net.ledger.damaged();
        if let Some(first) = damaged.first() {
            problem(
                format!(
                    "{} stored events are damaged, first {}; peers are asked for them",
                    damaged.len(),
                    first.short()
                ),
                Some("mesh log verify"),
            );
        }
        if let Some(FirewallState::Absent(error)) = net.applied.as_ref().map(Applied::firewall) {
            problem(
                format!("the native firewall does not follow ({error}); the filter in meshd holds"),
                None,
            );
        }
        if let Some(text) = super::names::problem(net) {
            problem(text, Some("mesh dns status"));
        }
        let pending = net.state().pending;
        if pending > 0 {
            problem(
                format!("{pending} events are sealed under a key that is not here yet"),
                Some("mesh sync now"),
            );
        }
        if !net.ledger.graph().forked().is_empty() {
            for device in net.ledger.graph().forked() {
                problem(
                    format!(
                        "device {} wrote two events of one number: it was copied or means ill",
                        device.short()
                    ),
                    Some("mesh log"),
                );
            }
        }
        problems
    }

    /// Tells watching tools, if there are any and something changed.
    pub(crate) fn publish_watched(&mut self) {
        if self.watched.receiver_count() == 0 {
            return;
        }
        let mut networks: Vec<NetworkState> = self
            .nets
            .values()
            .map(|net| NetworkState {
                status: self.network_status(net),
                offers: self.with_viewer(net, |viewer| viewer.offers()),
                invites: self.with_viewer(net, |viewer| viewer.invites()),
            })
            .collect();
        networks.sort_by(|a, b| {
            let key = |network: &NetworkState| {
                (
                    network.status.network.name.clone(),
                    network.status.network.id.clone(),
                )
            };
            key(a).cmp(&key(b))
        });
        let state = Watched { networks };
        self.watched.send_if_modified(|old| {
            let changed = **old != state;
            if changed {
                *old = std::sync::Arc::new(state);
            }
            changed
        });
    }

    /// The device that is called so, has that address, or whose key begins so.
    pub(crate) fn find_device(&self, net: &Net, text: &str) -> Option<DeviceId> {
        let state = net.state();
        let name = text
            .strip_suffix(&format!(".{}", net.name()))
            .unwrap_or(text)
            .to_ascii_lowercase();
        let by_name = state.host(&name).map(|device| device.id);
        let address: Option<std::net::IpAddr> = text.parse().ok();
        let by_address = || {
            let has = |device: &&mesh_ledger::state::Device| {
                device.v4.map(std::net::IpAddr::from) == address
                    || std::net::IpAddr::from(device.v6) == address.unwrap_or([0; 4].into())
            };
            state
                .devices
                .values()
                .find(|device| address.is_some() && has(device))
                .map(|device| device.id)
        };
        let by_user = || {
            let member = state.user(&name)?;
            state.first_device(&member.user).map(|device| device.id)
        };
        let by_key = || {
            let mut found = state
                .devices
                .keys()
                .filter(|id| crate::view::names::is_prefix(&name, &id.to_string()));
            found.next().copied().filter(|_| found.next().is_none())
        };
        by_name.or_else(by_address).or_else(by_user).or_else(by_key)
    }

    /// The devices linked now.
    pub(crate) fn linked_devices(
        &self,
        net: &Net,
    ) -> Vec<(DeviceId, Option<std::net::SocketAddr>)> {
        let path = |link| {
            let linked = self.links.get(link)?;
            linked.address()
        };
        net.links
            .iter()
            .map(|(peer, link)| (device_id(peer), path(link)))
            .collect()
    }
}

fn checks(net: &Net) -> Vec<Check> {
    let Some(applied) = &net.applied else {
        return Vec::new();
    };
    let check = |name: &str, ok| Check {
        name: name.to_owned(),
        ok,
    };
    vec![
        check("dns", super::names::is_well(net)),
        check("fw", matches!(applied.firewall(), FirewallState::InForce)),
    ]
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What a member's device is called.
pub(crate) fn member_name(net: &Net, peer: &PeerId) -> String {
    let device = net.state().devices.get(&device_id(peer));
    device.map_or_else(|| format!("{peer:?}"), |device| device.host.to_string())
}
