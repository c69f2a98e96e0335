//! The ways to peers past their links, as far as the node has to do with them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use mesh_core::forward::{forwarders, forwards_between};
use mesh_core::link::Frame;
use mesh_core::peer::PeerId;
use mesh_ledger::ids::{NetworkId, ServerKey};
use mesh_ledger::mirror::Echo;
use mesh_tunnel::{Carrier, Table};
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use x25519_dalek::StaticSecret;

use super::links::Linked;
use super::{Net, Node};
use crate::carrier::PeerCarrier;
use crate::clock::now_ms;
use crate::forward::Roles;
use crate::link::LinkId;
use crate::ways::{Peer, Told, Way};

impl Net {
    /// Where the way to a peer past its link stands, while there is one.
    pub(crate) fn way(&mut self, peer: &PeerId) -> Arc<Way> {
        self.ways.entry(*peer).or_default().clone()
    }

    /// What carries to a peer: its link and the way past it, or that way alone.
    pub(super) fn carrier(
        &mut self,
        peer: &PeerId,
        links: &BTreeMap<LinkId, Linked>,
    ) -> Option<Arc<dyn Carrier>> {
        let linked = self.links.get(peer).and_then(|link| links.get(link));
        let carrier = linked.map(|linked| linked.carrier.clone());
        let carrier = carrier.or_else(|| self.linkless(peer))?;
        Some(carrier)
    }

    /// What carries to a peer without a link: the way past it, if there is one. The same from call to call, as long as there is.
    pub(crate) fn linkless(&mut self, peer: &PeerId) -> Option<Arc<PeerCarrier>> {
        let way = self.way(peer);
        if way.open().is_none() {
            self.linkless.remove(peer);
            return None;
        }
        let carrier = self.linkless.entry(*peer);
        Some(
            carrier
                .or_insert_with(|| PeerCarrier::new(None, way))
                .clone(),
        )
    }
}

impl Node {
    /// The ports of all sockets to other machines: what leaves from them must never enter a tunnel.
    pub(crate) fn outer_ports(&self) -> BTreeSet<u16> {
        let mut ports = self.endpoint.ports();
        ports.extend(self.ways.iter().flat_map(crate::ways::Ways::ports));
        ports
    }

    /// Tells with whom packets may be exchanged in a network.
    pub(super) fn tell_ways(&mut self, id: NetworkId, table: &Table) {
        let (Some(ways), Some(net)) = (&self.ways, self.nets.get_mut(&id)) else {
            return;
        };
        net.ways.retain(|peer, _| table.peers.contains_key(peer));
        net.linkless
            .retain(|peer, _| table.peers.contains_key(peer));
        let peers = table.peers.iter().map(|(id, peer)| Peer {
            id: *id,
            key: peer.key,
            way: net.ways.entry(*id).or_default().clone(),
        });
        let peers = peers.collect();
        ways.network(
            id,
            StaticSecret::from(*net.wireguard),
            net.tunnel.clone(),
            net.forwarders.clone(),
            peers,
        );
    }

    /// Tells who forwards for whom, and over which links. For when the ledger changed, or an offer ended: between that only
    /// links change ([`Self::tell_forwarder`]).
    pub(super) fn tell_forwarders(&self, id: NetworkId) {
        let Some(net) = self.nets.get(&id) else {
            return;
        };
        let (me, state, now) = (net.my_device(), net.state(), now_ms());
        let mut roles = Roles::default();
        if net.is_up() && net.is_member() {
            roles.between = forwards_between(state, &me, &net.ended(), now).into();
            roles.by = forwarders(state, &me, now).into();
        }
        let links = net.links.iter().filter(|(peer, _)| roles.concern(peer));
        roles.links = links
            .filter_map(|(peer, link)| {
                let link = self.links.get(link)?.carrier.link()?;
                Some((*peer, link.clone()))
            })
            .collect();
        if let Some(ways) = &self.ways {
            ways.relays(id, roles.at_hand());
        }
        net.forwarders.set(roles);
    }

    /// The link with a peer is another, or gone: what is forwarded follows.
    pub(super) fn tell_forwarder(&self, id: NetworkId, peer: &PeerId) {
        let Some(net) = self.nets.get(&id) else {
            return;
        };
        let link = net.links.get(peer).and_then(|link| self.links.get(link));
        let link = link.and_then(|linked| linked.carrier.link().cloned());
        let changed = net.forwarders.set_link(peer, link);
        if let (Some(roles), Some(ways)) = (changed, &self.ways) {
            ways.relays(id, roles.at_hand());
        }
    }

    /// Tells everybody whom it concerns which addresses this machine has, and which of them are mesh's own.
    pub(super) fn tell_addresses(&self) {
        let inner = self.machine_addresses();
        if let Some(ways) = &self.ways {
            ways.machine(outer_addresses(&inner));
        }
        self.endpoint.set_inner(inner);
    }

    /// A server has told how to ask its echo.
    pub(super) fn hear_echo(&self, server: ServerKey, echo: Option<Echo>) {
        let Some(ways) = &self.ways else {
            return;
        };
        let served = self.servers.get(&server);
        match (served, echo) {
            (Some(served), Some(echo)) => ways.echo(server, served.addresses(), echo),
            _ => ways.no_echo(server),
        }
    }

    /// Something about the ways.
    pub(super) fn way_told(&mut self, told: Told) {
        match told {
            Told::Call(who, call) => {
                let net = self.nets.get(&who.network);
                let link = net.and_then(|net| net.links.get(&who.peer));
                if let Some(linked) = link.and_then(|link| self.links.get(link)) {
                    linked.link.send(Frame::Call(call));
                }
            }
            Told::Way(who) => {
                let net = self.nets.get(&who.network);
                // A peer with a link has a carrier in any case.
                if net.is_some_and(|net| !net.links.contains_key(&who.peer)) {
                    self.publish_carrier(who.network, &who.peer);
                }
            }
            Told::Narrowed(who) => {
                let net = self.nets.get(&who.network);
                let link = net.and_then(|net| net.links.get(&who.peer));
                if let Some(linked) = link.and_then(|link| self.links.get(link)) {
                    linked.carrier.narrowed();
                }
            }
        }
    }
}

/// The addresses of this machine's interfaces that are up, but for loopback ones and `inner`.
fn outer_addresses(inner: &BTreeSet<IpAddr>) -> Vec<IpAddr> {
    let up = |flags: InterfaceFlags| {
        flags.contains(InterfaceFlags::IFF_UP) && !flags.contains(InterfaceFlags::IFF_LOOPBACK)
    };
    let interfaces = getifaddrs().into_iter().flatten();
    interfaces
        .filter(|interface| up(interface.flags))
        .filter_map(|interface| {
            let address = interface.address?;
            let v4 = address.as_sockaddr_in().map(|a| IpAddr::from(a.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|a| IpAddr::from(a.ip())))
        })
        .filter(|address| !inner.contains(address))
        .collect()
}
