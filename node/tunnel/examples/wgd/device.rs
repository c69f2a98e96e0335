//! What `wg` sees and changes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use mesh_core::peer::PeerId;
use mesh_core::plan::{Audience, Open, PortRange, Protocol, Ruleset, Subnet};
use mesh_os::tun::Tun;
use mesh_os::uapi::{Answer, Refusal};
use mesh_tunnel::uapi::{Change, Interface, PeerChange, Request, parse, print};
use mesh_tunnel::{Attached, Carrier, Config, Event, Peer, PeerStats, Table, Tunnel, Udp, uapi};
use nix::ifaddrs::getifaddrs;
use tokio::sync::mpsc::UnboundedSender;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

/// What a path of 1,500 bytes carries as a payload over either family.
const DATAGRAM: usize = 1452;
/// What WireGuard's own tools choose for such a path.
const MTU: u16 = 1420;
/// The most addresses of one subnet.
const MOST: u32 = 256;

/// See the module.
pub(crate) struct Device {
    tun: Arc<Tun>,
    events: UnboundedSender<Event>,
    key: Option<StaticSecret>,
    /// Made with the first key.
    tunnel: Option<Tunnel>,
    udp: Option<(Arc<Udp>, Option<Attached>)>,
    peers: BTreeMap<PeerId, Known>,
    /// Each subnet is one peer's.
    allowed: BTreeMap<Subnet, PeerId>,
}

/// A peer.
struct Known {
    preshared: Option<Arc<Zeroizing<[u8; 32]>>>,
    carrier: Option<(SocketAddr, Arc<dyn Carrier>)>,
    keepalive: u16,
    next: Instant,
}

impl Device {
    pub(crate) fn new(tun: Arc<Tun>, events: UnboundedSender<Event>) -> Self {
        Self {
            tun,
            events,
            key: None,
            tunnel: None,
            udp: None,
            peers: BTreeMap::new(),
            allowed: BTreeMap::new(),
        }
    }

    pub(crate) fn answer(&mut self, request: &[u8]) -> Answer {
        match parse(request)? {
            Request::Get => Ok(print(&self.interface())),
            Request::Set(change) => {
                self.change(*change)?;
                Ok(Zeroizing::default())
            }
        }
    }

    /// Packets for a peer go where the last of its own came from.
    pub(crate) fn roam(&mut self, peer: &PeerId, from: SocketAddr) {
        let Some((udp, _)) = &self.udp else { return };
        if let Some(known) = self.peers.get_mut(peer)
            && known.carrier.as_ref().is_none_or(|(at, _)| *at != from)
        {
            let carrier = udp.carrier(from, DATAGRAM);
            known.carrier = Some((from, carrier.clone()));
            if let Some(tunnel) = &self.tunnel {
                tunnel.set_carrier(peer, Some(carrier));
            }
        }
    }

    pub(crate) fn tick(&mut self) {
        let now = Instant::now();
        for (id, known) in &mut self.peers {
            if known.keepalive > 0
                && now >= known.next
                && let Some(tunnel) = &self.tunnel
            {
                known.next = now + Duration::from_secs(known.keepalive.into());
                tunnel.keepalive(id);
            }
        }
    }

    /// Makes the packet path follow.
    pub(crate) fn publish(&self) {
        let Some(tunnel) = &self.tunnel else { return };
        let public = self.key.as_ref().map(PublicKey::from);
        // Nobody is its own peer, and without a key nobody is a peer.
        let peers = self
            .peers
            .iter()
            .filter(|(id, _)| public.is_some_and(|key| key.to_bytes() != id.0));
        let mut addresses: BTreeMap<PeerId, BTreeSet<IpAddr>> = BTreeMap::new();
        let mut owners = BTreeMap::new();
        let mut subnets: Vec<_> = self.allowed.iter().collect();
        // The longest prefix has the last word.
        subnets.sort_by_key(|(subnet, _)| subnet.prefix());
        for (subnet, peer) in subnets {
            owners.extend(hosts(subnet).map(|address| (address, *peer)));
        }
        for (address, peer) in owners {
            addresses.entry(peer).or_default().insert(address);
        }
        let table = Table {
            rules: Ruleset {
                own: self.own(),
                peers: peers
                    .clone()
                    .map(|(id, _)| (*id, addresses.remove(id).unwrap_or_default()))
                    .collect(),
                open: [Protocol::Tcp, Protocol::Udp]
                    .into_iter()
                    .filter_map(|protocol| {
                        Some(Open {
                            protocol,
                            ports: PortRange::new(0, u16::MAX).ok()?,
                            audience: Audience::All,
                        })
                    })
                    .collect(),
                ..Ruleset::default()
            },
            peers: peers
                .map(|(id, known)| {
                    let carrier = known.carrier.as_ref().map(|(_, carrier)| carrier.clone());
                    let peer = Peer {
                        key: PublicKey::from(id.0),
                        carrier,
                        preshared_key: known.preshared.clone(),
                    };
                    (*id, peer)
                })
                .collect(),
        };
        tunnel.publish(&table);
    }

    fn change(&mut self, change: Change) -> Result<(), Refusal> {
        let subnets = change.peers.iter().flat_map(|peer| &peer.allowed);
        let wide = |subnet: &Subnet| host_bits(subnet) > MOST.ilog2();
        if change.mark.is_some_and(|mark| mark != 0) || subnets.into_iter().any(wide) {
            return Err(Refusal::Unsupported);
        }
        // First what can fail.
        match change.port {
            Some(port) if port == 0 || self.port() != Some(port) => self.bind(port)?,
            None if self.udp.is_none() => self.bind(0)?,
            _ => {}
        }
        if let Some(key) = change.key {
            self.set_key(key)?;
        }
        if change.replace_peers {
            self.peers.clear();
            self.allowed.clear();
        }
        for peer in change.peers {
            self.change_peer(peer);
        }
        self.publish();
        self.tick();
        Ok(())
    }

    fn change_peer(&mut self, change: PeerChange) {
        let id = PeerId(change.key.to_bytes());
        if change.remove || (change.update_only && !self.peers.contains_key(&id)) {
            self.peers.remove(&id);
            self.allowed.retain(|_, peer| *peer != id);
            return;
        }
        let known = self.peers.entry(id).or_insert_with(|| Known {
            preshared: None,
            carrier: None,
            keepalive: 0,
            next: Instant::now(),
        });
        if let Some(key) = change.preshared_key {
            known.preshared = key.map(Arc::new);
        }
        if let (Some(endpoint), Some((udp, _))) = (change.endpoint, &self.udp) {
            known.carrier = Some((endpoint, udp.carrier(endpoint, DATAGRAM)));
        }
        if let Some(keepalive) = change.keepalive {
            known.keepalive = keepalive;
            known.next = Instant::now();
        }
        if change.replace_allowed {
            self.allowed.retain(|_, peer| *peer != id);
        }
        let subnets = change.allowed.into_iter().map(|subnet| (subnet, id));
        self.allowed.extend(subnets);
    }

    fn set_key(&mut self, key: Option<StaticSecret>) -> Result<(), Refusal> {
        if let Some(key) = &key {
            match &self.tunnel {
                Some(tunnel) => tunnel.set_key(key.clone()),
                None => {
                    let events = self.events.clone();
                    let config = Config {
                        key: key.clone(),
                        mtu: MTU,
                        device: self.tun.clone(),
                        events: Arc::new(move |event| {
                            // The program may be ending.
                            let _ = events.send(event);
                        }),
                    };
                    self.tunnel = Some(Tunnel::spawn(config).map_err(|_| Refusal::Failed)?);
                }
            }
        }
        self.key = key;
        self.attach();
        Ok(())
    }

    /// Sockets on this port; 0 is any.
    fn bind(&mut self, port: u16) -> Result<(), Refusal> {
        let udp =
            Udp::bind(Some(port), Arc::new(|_, _| {})).map_err(|error| match error.kind() {
                std::io::ErrorKind::AddrInUse => Refusal::PortTaken,
                _ => Refusal::Failed,
            })?;
        for known in self.peers.values_mut() {
            if let Some((at, carrier)) = &mut known.carrier {
                *carrier = udp.carrier(*at, DATAGRAM);
            }
        }
        self.udp = Some((udp, None));
        self.attach();
        Ok(())
    }

    fn attach(&mut self) {
        if let (Some(tunnel), Some((udp, attached))) = (&self.tunnel, &mut self.udp) {
            attached.get_or_insert_with(|| udp.attach(tunnel));
        }
    }

    fn port(&self) -> Option<u16> {
        let (udp, _) = self.udp.as_ref()?;
        udp.ports().first().copied()
    }

    /// The interface's own addresses.
    fn own(&self) -> BTreeSet<IpAddr> {
        let all = getifaddrs().into_iter().flatten();
        all.filter(|interface| interface.interface_name == self.tun.name())
            .filter_map(|interface| {
                let address = interface.address?;
                let v4 = address.as_sockaddr_in().map(|a| IpAddr::from(a.ip()));
                v4.or_else(|| address.as_sockaddr_in6().map(|a| IpAddr::from(a.ip())))
            })
            .collect()
    }

    fn interface(&self) -> Interface {
        let stats = self.tunnel.as_ref().map(Tunnel::stats);
        let stats = stats.into_iter().flatten().map(|one| (one.id, one));
        let mut stats: BTreeMap<PeerId, PeerStats> = stats.collect();
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let peers = self.peers.iter().map(|(id, known)| {
            let stats = stats.remove(id);
            let age = stats.as_ref().and_then(|stats| stats.last_handshake);
            let allowed = self.allowed.iter().filter(|(_, peer)| *peer == id);
            let preshared = known.preshared.as_ref();
            uapi::Peer {
                key: PublicKey::from(id.0),
                preshared_key: preshared.map(|key| Zeroizing::clone(key)),
                endpoint: known.carrier.as_ref().map(|(at, _)| *at),
                allowed: allowed.map(|(subnet, _)| *subnet).collect(),
                last_handshake: age.map(|age| now.saturating_sub(age)),
                rx_bytes: stats.as_ref().map_or(0, |stats| stats.wire_rx_bytes),
                tx_bytes: stats.as_ref().map_or(0, |stats| stats.wire_tx_bytes),
                keepalive: known.keepalive,
            }
        });
        Interface {
            key: self.key.clone(),
            port: self.port(),
            peers: peers.collect(),
        }
    }
}

/// How many bits of a subnet's addresses are free.
fn host_bits(subnet: &Subnet) -> u32 {
    let bits: u32 = if subnet.address().is_ipv4() { 32 } else { 128 };
    bits.saturating_sub(subnet.prefix().into())
}

/// All addresses of a subnet of at most [`MOST`].
fn hosts(subnet: &Subnet) -> impl Iterator<Item = IpAddr> + use<> {
    let network = subnet.network();
    let count = 1u32.checked_shl(host_bits(subnet)).unwrap_or(0).min(MOST);
    (0..count).map(move |n| match network {
        IpAddr::V4(v4) => IpAddr::V4((v4.to_bits() | n).into()),
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() | u128::from(n)).into()),
    })
}
