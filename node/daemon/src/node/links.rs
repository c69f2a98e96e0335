//! Links: dialling, being dialled, and which of two connections to keep.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use iroh::TransportAddr;
use mesh_core::desired::{device_id, peer_id};
use mesh_core::dial::{Standing, keeps_new};
use mesh_core::lan::Sighted;
use mesh_core::link::{Frame, Hello, Refusal, Role};
use mesh_core::path::Who;
use mesh_core::peer::PeerId;
use mesh_core::slots::{Limits, Origin, Place};
use mesh_core::unanswered::Naming;
use mesh_ledger::ids::{DeviceId, EpochId, NetworkId, ServerKey};
use mesh_ledger::network::redeem::{Challenge, Reply};
use mesh_ledger::parking::Source;
use mesh_ledger::wire::Sync;
use tracing::{debug, info};

use super::device::last_word;
use super::proof::{introduction, nothing, removal};
use super::{Event, Net, Node};
use crate::carrier::{self, IrohCarrier, PeerCarrier};
use crate::clock::{now_ms, steady};
use crate::forward::Junction;
use crate::link::{Greeting, Link, LinkId, MAX_INTRODUCTION, MAX_PROOF, Wire};
use crate::ways::Ways;

/// How long one attempt may take.
const DIAL: Duration = Duration::from_millis(3500);
/// How long one attempt may take that can go through a relay, which may have to be connected to first.
const DIAL_RELAYED: Duration = Duration::from_secs(5);
/// A relay through which nothing came for so long is taken for dead. Both ends of a link send something every four seconds.
const SILENCE: Duration = Duration::from_millis(5500);
/// How long packets are still taken from a connection in whose place another is kept.
const OVERTAKEN: Duration = Duration::from_millis(500);
/// How long a joiner may stay without being admitted.
const JOINER: Duration = Duration::from_secs(60);
/// How many joiners may be there at once: those who know of an invite, and are not admitted yet.
pub(super) const JOINERS: Limits = Limits { all: 16, each: 4 };
/// The most addresses at which it was seen on the LAN that a device is dialled at.
const MAX_SEEN: usize = 8;
/// The most links of one user's devices in a network.
const MAX_OF_USER: usize = 64;

/// A link, and what is known of it.
pub(crate) struct Linked {
    pub(crate) network: NetworkId,
    pub(crate) peer: PeerId,
    pub(crate) link: Link,
    pub(crate) dialled_here: bool,
    /// Whether the other end is a member; else it is a joiner.
    pub(crate) member: bool,
    pub(crate) since: Duration,
    /// When it was last wanted here.
    pub(crate) wanted: Duration,
    /// How many packets have come, and when that last changed.
    heard: (u64, Duration),
    pub(crate) sync: Sync,
    /// The digest of the other end's heads, when last heard.
    pub(crate) heads: Option<[u8; 16]>,
    pub(crate) carrier: Arc<PeerCarrier>,
    /// The keys of narrow offers that were asked for over it.
    pub(crate) asked: BTreeSet<EpochId>,
    /// Whether a beacon came over it that this release does not read.
    pub(crate) later: bool,
    /// Beacons of other devices that it is to be told of, and most likely was not by others. See [`super::beacons`].
    pub(crate) beacons: BTreeMap<DeviceId, Vec<u8>>,
}

impl Linked {
    /// The path in use, and its round-trip time.
    pub(crate) fn path(&self) -> Option<(TransportAddr, Duration)> {
        let paths = self.link.connection.paths();
        let path = paths
            .iter()
            .find(iroh::endpoint::Path::is_selected)
            .or_else(|| paths.iter().next())?;
        Some((path.remote_addr().clone(), path.rtt()))
    }

    /// The address of the path in use, if it is a direct one.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        match self.path()? {
            (TransportAddr::Ip(address), _) => Some(address),
            _ => None,
        }
    }
}

impl Node {
    /// Dials the peers that are due.
    pub(crate) fn dial_due(&mut self, id: NetworkId, now: Duration) {
        let Some(net) = self.nets.get_mut(&id) else {
            return;
        };
        for peer in net.dialler.due(now) {
            self.dial(id, peer);
        }
    }

    /// Dials one peer.
    pub(crate) fn dial(&mut self, id: NetworkId, peer: PeerId) {
        let Some(net) = self.nets.get(&id) else {
            return;
        };
        // Where it was reached before, and where it or somebody in its name says that it is.
        let mut addresses = net
            .settings
            .addresses(&device_id(&peer).to_string())
            .to_vec();
        let seen = self.lan.get(&peer).map(Sighted::addresses);
        let seen: Vec<SocketAddr> = seen.into_iter().flatten().take(MAX_SEEN).collect();
        for (naming, mut said) in [
            (Naming::Device(peer), net.addresses(&peer)),
            (Naming::Lan(peer), seen),
        ] {
            said.retain(|address| !addresses.contains(address));
            addresses.extend(self.unanswered.allow(&naming, said, steady()));
        }
        let names = net.names_for(&peer);
        let servers: BTreeSet<ServerKey> = net.relay_servers().map(|server| server.key).collect();
        let (endpoint, events) = (self.endpoint.clone(), self.events.clone());
        let dial = tokio::spawn(async move {
            let limit = if servers.is_empty() {
                DIAL
            } else {
                DIAL_RELAYED
            };
            let dialled = async {
                let connection = endpoint
                    .connect(&peer, &addresses, &servers, &names)
                    .await?;
                let hello = Hello {
                    network: id,
                    role: Role::Member,
                };
                Wire::greet(connection, hello)
                    .await
                    .map_err(|error| error.to_string())
            };
            let result = match tokio::time::timeout(limit, dialled).await {
                Ok(result) => result,
                Err(_) => Err("no answer".to_owned()),
            };
            // The node is gone if this fails.
            let _ = events.send(Event::Dialled(id, peer, result)).await;
        });
        self.dials.insert((id, peer), dial.abort_handle());
    }

    /// A peer was heard of just now: dials it at once if it is wanted and not linked, even if a dial is under way for long.
    pub(crate) fn alive(&mut self, id: NetworkId, peer: &PeerId) {
        let Some(net) = self.nets.get_mut(&id) else {
            return;
        };
        if net.dialler.alive(peer, steady())
            && let Some(stale) = self.dials.remove(&(id, *peer))
        {
            stale.abort();
        }
    }

    /// A dial ended.
    pub(crate) async fn dialled(
        &mut self,
        id: NetworkId,
        peer: PeerId,
        result: Result<Greeting, String>,
    ) {
        let now = steady();
        self.dials.remove(&(id, peer));
        let Some(net) = self.nets.get_mut(&id) else {
            return;
        };
        match result {
            Ok(Greeting::Welcome(wire, _)) => {
                net.shut_out.remove(&peer);
                net.unanswered.remove(&peer);
                self.link_up(id, wire, true).await;
            }
            Ok(Greeting::Unknown(wire)) => {
                debug!(?peer, "does not know this device yet");
                tokio::spawn(wire.introduce(introduction(net, &peer)));
                net.dialler.failed(&peer, Some(now), now);
            }
            Ok(Greeting::Removed(events)) => {
                // Only the events count; a peer that sends none that prove it is named in the status.
                net.shut_out.insert(peer);
                net.dialler.failed(&peer, None, now);
                net.choice.failed(peer, now);
                self.introduced(id, peer, &events).await;
            }
            Err(why) => {
                debug!(?peer, "not reached: {why}");
                net.unanswered.insert(peer);
                let heard = net.heard_lately(&peer, now_ms(), now);
                net.dialler.failed(&peer, heard, now);
                net.choice.failed(peer, now);
                net.want_links(now);
            }
        }
    }

    /// Somebody connected and said hello.
    pub(crate) async fn incoming(&mut self, wire: Wire, hello: Hello) {
        let peer = wire.peer();
        if let Role::Code(start) = &hello.role {
            return self.code_started(wire, start);
        }
        let device = device_id(&peer);
        let Some(net) = self.nets.get_mut(&hello.network).filter(|net| {
            // A member that holds this removed device for one again may tell it why.
            let tells = hello.role == Role::Member && net.state().devices.contains_key(&device);
            net.is_up() || (tells && net.awaits_return())
        }) else {
            self.turn_away(wire, Refusal::NotHere);
            return;
        };
        match hello.role {
            Role::Member if !net.is_up() => self.hear_introduction(hello.network, wire, MAX_PROOF),
            Role::Member if has_links_enough(net, &device) => {
                self.turn_away(wire, Refusal::NotHere);
            }
            Role::Member if net.state().devices.contains_key(&device) => {
                self.welcome(hello.network, wire, Vec::new(), true).await;
            }
            Role::Member if net.state().removed_devices.contains_key(&device) => {
                // Once it has been told, it knows; and it takes time to tell.
                if self.told_farewell.grants(peer, steady()) {
                    let proof = removal(&net.ledger, &device);
                    let farewell = wire.refuse(Refusal::Removed, proof);
                    self.farewells.receive(Origin::Device(peer), farewell);
                } else {
                    self.turn_away(wire, Refusal::Removed);
                }
            }
            Role::Member => self.hear_introduction(hello.network, wire, MAX_INTRODUCTION),
            Role::Code(_) => {}
            Role::Joiner(challenge) => {
                let Some(challenge) = Challenge::decode(&challenge) else {
                    self.turn_away(wire, Refusal::Protocol);
                    return;
                };
                match net.ledger.introduce(&challenge, &net.my_device(), &device) {
                    Ok(introduction) => {
                        let reply = Reply::Introduced(introduction).encode();
                        self.welcome(hello.network, wire, reply, false).await;
                    }
                    // Who knows of no invite is told so, and that is all.
                    Err(error) => {
                        let reply = Reply::Refused(error).encode();
                        let from = wire.origin();
                        let said = last_word(wire, Frame::Welcome(reply));
                        self.partings.receive(from, said);
                    }
                }
            }
        }
    }

    /// Says no, and waits a moment until that is heard.
    fn turn_away(&self, wire: Wire, refusal: Refusal) {
        let from = wire.origin();
        self.partings.receive(from, wire.refuse(refusal, nothing()));
    }

    /// Gives a joiner's link a place: the oldest that came to nothing makes room.
    fn seat_joiner(&mut self, link: LinkId, from: Origin, now: Duration) {
        let links = &self.links;
        let waits = |link: &LinkId| links.get(link).is_some_and(|linked| !linked.member);
        self.joiners.retain(waits);
        if let Place::Instead(old) = self.joiners.take(link, from, now) {
            if let Some(linked) = self.links.get(&old) {
                debug!(peer = ?linked.peer, "a joiner makes room for another");
                linked.link.cut();
            }
            self.link_closed(old, "another joiner has its place");
        }
    }

    /// Has a device tell the events that make it a member, or this one.
    fn hear_introduction(&mut self, network: NetworkId, wire: Wire, most: usize) {
        let from = wire.origin();
        if !self.introduced.grants(from, steady()) {
            self.turn_away(wire, Refusal::NotHere);
            return;
        }
        let (events, peer) = (self.events.clone(), wire.peer());
        self.introductions.receive(from, async move {
            let told = wire.be_introduced(most).await;
            let _ = events.send(Event::Introduced(network, peer, told)).await;
        });
    }

    async fn welcome(&mut self, id: NetworkId, mut wire: Wire, reply: Vec<u8>, member: bool) {
        // A few bytes into an empty stream: this does not wait for the other side.
        let written =
            tokio::time::timeout(Duration::from_secs(1), wire.write(&Frame::Welcome(reply))).await;
        if !matches!(written, Ok(Ok(()))) {
            return;
        }
        if member {
            self.link_up(id, wire, false).await;
        } else {
            let from = wire.origin();
            let link = self.add_link(id, wire, false, false);
            self.seat_joiner(link, from, steady());
        }
    }

    /// A connection to a member is ready: keeps it, unless there is a better one.
    pub(crate) async fn link_up(&mut self, id: NetworkId, wire: Wire, dialled_here: bool) {
        let peer = wire.peer();
        let forwarded = self.ways.as_ref().map(Ways::forwarded);
        let kept = |net: &&mut Net| net.is_up() || net.awaits_return();
        let Some(net) = self.nets.get_mut(&id).filter(kept) else {
            return;
        };
        if let Some(old) = net.links.get(&peer).and_then(|link| self.links.get(link)) {
            let alive = old.link.connection.close_reason().is_none();
            let standing = Standing {
                dialled_here: old.dialled_here,
                age: steady().saturating_sub(old.since),
            };
            if alive && !keeps_new(&self.me, &peer, standing, dialled_here) {
                net.dialler.linked(peer);
                let junction = Junction::new(id, peer, net.forwarders.clone(), forwarded);
                let late =
                    carrier::receive(wire.connection.clone(), peer, net.tunnel.clone(), junction);
                tokio::spawn(async move {
                    // The other side may have sent packets this way before it knew of the one that is kept.
                    let _ = tokio::time::timeout(OVERTAKEN, late).await;
                    wire.connection
                        .close(iroh::endpoint::VarInt::from_u32(4), b"another is kept");
                });
                return;
            }
        }
        let link = self.add_link(id, wire, dialled_here, true);
        self.member_link(id, peer, link);
    }

    /// Makes a link the one to its peer, and begins to compare ledgers.
    pub(crate) fn member_link(&mut self, id: NetworkId, peer: PeerId, link: LinkId) {
        let Some(net) = self.nets.get_mut(&id) else {
            return;
        };
        if let Some(old) = net.links.insert(peer, link).filter(|old| *old != link) {
            // It ends by itself, so that packets under way on it still arrive.
            self.links.remove(&old);
        }
        net.dialler.linked(peer);
        net.choice.linked(&peer);
        net.settings.heard(device_id(&peer).to_string(), now_ms());
        let missing = net.ledger.missing();
        if let Some(linked) = self.links.get_mut(&link) {
            linked.member = true;
            if let Some(address) = linked.address() {
                self.unanswered.answered(address, steady());
                self.lan.answered(&peer, &address);
                net.settings.reached(device_id(&peer).to_string(), address);
            }
            // The side that dialled begins; the other answers.
            if linked.dialled_here {
                for message in linked.sync.start(net.ledger.index()) {
                    linked.link.send(Frame::Sync(message.encode()));
                }
            }
            for message in Sync::fetch(&missing) {
                linked.link.send(Frame::Sync(message.encode()));
            }
            for epoch in net.ledger.missing_keys() {
                linked.link.send(Frame::KeyWanted(epoch));
            }
        }
        info!(network = %net.name(), ?peer, "linked");
        net.next_beacon = net.next_beacon.min(steady() + Duration::from_millis(200));
        self.publish_carrier(id, &peer);
        if let Some(ways) = &self.ways {
            ways.linked(Who { network: id, peer });
        }
        self.exchange_offer_keys(id);
        self.offer_to(id, &peer);
    }

    fn add_link(&mut self, id: NetworkId, wire: Wire, dialled_here: bool, member: bool) -> LinkId {
        self.next_link += 1;
        let link_id = LinkId(self.next_link);
        let peer = wire.peer();
        let connection = wire.connection.clone();
        let mut way = Arc::default();
        if let Some(net) = self.nets.get_mut(&id) {
            let forwarded = self.ways.as_ref().map(Ways::forwarded);
            tokio::spawn(carrier::receive(
                connection.clone(),
                peer,
                net.tunnel.clone(),
                Junction::new(id, peer, net.forwarders.clone(), forwarded),
            ));
            way = net.way(&peer);
        }
        let (backlog, events) = (self.backlog.clone(), self.events.clone());
        let link = Link::spawn(link_id, wire, backlog, events, Event::Link);
        let linked = Linked {
            network: id,
            peer,
            link,
            dialled_here,
            member,
            since: steady(),
            wanted: steady(),
            heard: (0, steady()),
            sync: Sync::new(),
            heads: None,
            carrier: PeerCarrier::new(Some(IrohCarrier::spawn(connection)), way),
            asked: BTreeSet::new(),
            later: false,
            beacons: BTreeMap::new(),
        };
        self.links.insert(link_id, linked);
        link_id
    }

    /// A link is gone.
    pub(crate) fn link_closed(&mut self, link: LinkId, why: &str) {
        let Some(linked) = self.links.remove(&link) else {
            return;
        };
        let Some(net) = self.nets.get_mut(&linked.network) else {
            return;
        };
        let device = device_id(&linked.peer);
        net.ledger.forget(Source::Sync(device));
        net.ledger.forget(Source::Push(device));
        if net.links.get(&linked.peer) != Some(&link) {
            return;
        }
        info!(network = %net.name(), peer = ?linked.peer, "link lost: {why}");
        net.links.remove(&linked.peer);
        net.settings.heard(device.to_string(), now_ms());
        net.dialler.lost(&linked.peer, steady());
        if net.is_up() {
            net.want_links(steady());
        }
        let id = linked.network;
        if let Some(ways) = &self.ways {
            ways.unlinked(Who {
                network: id,
                peer: linked.peer,
            });
        }
        self.publish_carrier(id, &linked.peer);
        self.not_offered_by(id, &linked.peer);
    }

    /// Gives up links over a relay that is silent, so that they are dialled again over another: iroh would wait for it for half
    /// a minute, as it may come back.
    pub(crate) fn leave_silent_relays(&mut self, now: Duration) {
        let (mut silent, mut used) = (Vec::new(), BTreeSet::new());
        for (id, linked) in &mut self.links {
            let received = linked.link.connection.stats().udp_rx.datagrams;
            if received != linked.heard.0 {
                linked.heard = (received, now);
            }
            let path = linked.path();
            let straight = matches!(path, Some((TransportAddr::Ip(_), _)));
            linked.carrier.set_straight(straight);
            if let Some((TransportAddr::Relay(url), _)) = path {
                if now.saturating_sub(linked.heard.1) >= SILENCE {
                    silent.push(*id);
                } else {
                    used.insert(url);
                }
            }
        }
        self.endpoint.set_relays_used(used);
        for link in silent {
            if let Some(linked) = self.links.get(&link) {
                linked.link.cut();
            }
            self.link_closed(link, "its relay is silent");
        }
    }

    /// Ends the links of joiners that take too long.
    pub(crate) fn drop_idle_joiners(&mut self, now: Duration) {
        self.links
            .retain(|_, linked| linked.member || now.saturating_sub(linked.since) < JOINER);
    }
}

/// Whether a user's devices have as many links as one user may, and this device has none.
fn has_links_enough(net: &Net, device: &DeviceId) -> bool {
    let devices = &net.state().devices;
    let user = |device: &DeviceId| devices.get(device).map(|device| device.user);
    let Some(own) = user(device) else {
        return false;
    };
    let mine = |peer: &&PeerId| user(&device_id(peer)) == Some(own);
    !net.links.contains_key(&peer_id(device))
        && net.links.keys().filter(mine).count() >= MAX_OF_USER
}
