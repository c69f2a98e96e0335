//! The iroh endpoint: how this device reaches others and is reached.
//!
//! It contacts nobody but peers, the servers of this device's networks ([`relays`]) and, for a way in, the router: no public
//! relay, DNS or DHT lookups. Others are found by the addresses in tickets, by those remembered, on the LAN ([`crate::discovery`]), and
//! through the servers' relays, over which iroh arranges a direct path if the routers between let one through.

mod answer;
mod deaf;
mod deputy;
mod failed;
mod pin;
mod relays;
mod servers;
mod tend;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use iroh::address_lookup::AddrFilter;
use iroh::dns::DnsResolver;
use iroh::endpoint::{
    BindOpts, ConnectOptions, Connection, IdleTimeout, NetReportConfig, PortmapperConfig,
    QuicTransportConfig, RelayMode, VarInt, presets,
};
use iroh::{EndpointAddr, EndpointId, RelayMap, RelayUrl, SecretKey, TransportAddr, Watcher};
use mesh_core::callers::Expected;
use mesh_core::peer::PeerId;
use mesh_ledger::alpn::Name;
use mesh_ledger::ids::ServerKey;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tracing::{info, warn};

pub(crate) use deaf::Ear;
pub(crate) use deputy::Deputy;
use failed::Health;
use pin::Pin;
pub(crate) use relays::RelayServer;
use relays::{Names, Relay, Relays};
pub(crate) use servers::Bearer;
use servers::Beside;

use crate::taste::Taste;

/// The UDP port of control links, if it is free.
pub(crate) const DEFAULT_PORT: u16 = 51820;
const IDLE: Duration = Duration::from_secs(12);
const KEEP_ALIVE: Duration = Duration::from_secs(4);
/// The same for one path of a connection, so that another takes over soon. TCP repeats what was lost at ever longer intervals:
/// a flow stands still for up to twice as long as no packet passed. The last path of a connection is not given up by this.
/// A packet that keeps a path alive and is lost is sent again long before the path is given up. These packets are most of
/// what an idle daemon does: each costs both ends some wake-ups.
const PATH_IDLE: Duration = Duration::from_secs(4);
const PATH_KEEP_ALIVE: Duration = Duration::from_secs(2);
const DATAGRAM_BUFFER: usize = 512 << 10;
const DATAGRAM_RECEIVE_BUFFER: usize = 4 << 20;

/// The endpoint could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot open UDP port {port}: {why}")]
pub(crate) struct BindError {
    port: u16,
    why: String,
}

/// What a relay is to this device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RelayStanding {
    /// It can be used.
    Ready,
    /// It is the one at which others reach this device.
    Home,
}

/// See the module. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Endpoint {
    iroh: iroh::Endpoint,
    /// Addresses of mesh interfaces: never a way to reach a peer, or a tunnel would run in itself.
    inner: Arc<ArcSwap<BTreeSet<IpAddr>>>,
    relays: Relays,
    relays_changed: Arc<Notify>,
    relays_used: Arc<ArcSwap<BTreeSet<RelayUrl>>>,
    beside: Beside,
    /// Callers that are answered.
    expected: Arc<ArcSwap<Expected>>,
    health: Health,
}

impl Endpoint {
    /// Opens the sockets: on `port` if one is named, else on the default port or, if it is taken, on any.
    pub(crate) async fn bind(seed: &[u8; 32], taste: &Taste) -> Result<Self, BindError> {
        let inner = Arc::new(ArcSwap::from_pointee(BTreeSet::new()));
        let relays = Relays::default();
        let iroh = match taste.port {
            Some(port) => bind_on(seed, port, taste, &inner, &relays).await?,
            None => match bind_on(seed, DEFAULT_PORT, taste, &inner, &relays).await {
                Ok(iroh) => iroh,
                Err(error) => {
                    warn!("{error}; taking any free port");
                    bind_on(seed, 0, taste, &inner, &relays).await?
                }
            },
        };
        let relays_changed = Arc::new(Notify::new());
        tokio::spawn(tend::tend(
            iroh.clone(),
            relays.clone(),
            relays_changed.clone(),
        ));
        Ok(Self {
            iroh,
            inner,
            relays,
            relays_changed,
            relays_used: Arc::default(),
            beside: Beside::default(),
            expected: Arc::default(),
            health: Health::default(),
        })
    }

    /// The UDP ports of the sockets: what leaves from them must never enter a tunnel.
    pub(crate) fn ports(&self) -> BTreeSet<u16> {
        self.iroh
            .bound_sockets()
            .iter()
            .map(SocketAddr::port)
            .collect()
    }

    /// Where this device may be reached, as far as it knows.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        let inner = self.inner.load();
        self.iroh
            .addr()
            .ip_addrs()
            .filter(|a| usable(a.ip()) && !inner.contains(&a.ip()))
            .copied()
            .collect()
    }

    /// Tells which addresses are those of mesh interfaces.
    pub(crate) fn set_inner(&self, inner: BTreeSet<IpAddr>) {
        self.inner.store(Arc::new(inner));
    }

    /// Sets the servers whose relays and address discoveries are used. Connections to others are not made any more.
    pub(crate) async fn set_servers(&self, servers: &[RelayServer]) {
        let old = self.relays.get();
        let kept = |server: &RelayServer| {
            let known = old.get(&server.key)?;
            (known.server == *server).then(|| known.clone())
        };
        let wanted = servers.iter().filter_map(|server| {
            let relay = kept(server).or_else(|| Relay::new(server.clone(), 0))?;
            Some((server.key, relay))
        });
        self.set_relays(&old, wanted.collect()).await;
    }

    /// A server has just accepted this device: its relay, which may have denied it or been away, is tried again now, unless it
    /// works or was set just now. iroh would wait up to 16 s, and only forgets that when the relay has another name; but a
    /// connection under the old name that comes about after all stays open beside the new one, for a minute.
    pub(crate) async fn relay_retry(&self, server: &ServerKey) {
        let old = self.relays.get();
        let Some(relay) = old.get(server).filter(|relay| !relay.is_fresh()) else {
            return;
        };
        let home = self.iroh.home_relay_status().get();
        let works = match home.iter().find(|status| *status.url() == relay.url) {
            Some(status) => status.last_error().is_none(),
            None => self.relays_used.load().contains(&relay.url),
        };
        if let Some(renamed) = relay.renamed()
            && !works
        {
            let mut relays = BTreeMap::clone(&old);
            relays.insert(*server, renamed);
            self.set_relays(&old, relays).await;
        }
    }

    /// What the relay of a server is to this device; `None` if it has none, or it is not known.
    pub(crate) fn relay_standing(&self, server: &ServerKey) -> Option<RelayStanding> {
        let url = self.relays.get().get(server)?.url.clone();
        let home = self.iroh.home_relay_status().get();
        let is_home = home
            .iter()
            .any(|status| *status.url() == url && status.last_error().is_none());
        Some(if is_home {
            RelayStanding::Home
        } else {
            RelayStanding::Ready
        })
    }

    /// Tells which relays links run over, and are heard from.
    pub(crate) fn set_relays_used(&self, used: BTreeSet<RelayUrl>) {
        self.relays_used.store(Arc::new(used));
    }

    async fn set_relays(&self, old: &BTreeMap<ServerKey, Relay>, new: BTreeMap<ServerKey, Relay>) {
        // Known before iroh uses them, and no longer known before it is told to leave them.
        self.relays.set(new.clone());
        for (key, relay) in old {
            if new.get(key).is_none_or(|new| new.url != relay.url) {
                self.iroh.remove_relay(&relay.url).await;
            }
        }
        for (key, relay) in &new {
            if old.get(key) != Some(relay) {
                info!(host = relay.server.host, "uses a server's relay");
                self.iroh
                    .insert_relay(relay.url.clone(), relay.config())
                    .await;
                self.relays_changed.notify_one();
            }
        }
    }

    /// The host of the server whose relay that is.
    pub(crate) fn relay_host(&self, url: &RelayUrl) -> Option<String> {
        let relays = self.relays.get();
        let same = |relay: &&Relay| {
            relay.url.host_str() == url.host_str() && relay.url.port() == url.port()
        };
        relays
            .values()
            .find(same)
            .map(|relay| relay.server.host.clone())
    }

    /// Connects to a peer at these addresses, and through the relays of these servers. The peer answers to one of the names.
    pub(crate) async fn connect(
        &self,
        peer: &PeerId,
        addresses: &[SocketAddr],
        servers: &BTreeSet<ServerKey>,
        names: &[Name],
    ) -> Result<Connection, String> {
        let (first, others) = names
            .split_first()
            .ok_or("nothing is shared with that device by which it would answer")?;
        let others = others.iter().map(|name| name.to_vec()).collect();
        let options = ConnectOptions::new().with_additional_alpns(others);
        let id = EndpointId::from_bytes(&peer.0).map_err(|error| error.to_string())?;
        let inner = self.inner.load();
        let addresses = addresses
            .iter()
            .filter(|a| usable(a.ip()) && !inner.contains(&a.ip()))
            .copied()
            .map(TransportAddr::Ip);
        let relays = self.relays.get();
        let relays = relays.iter().filter(|(key, _)| servers.contains(key));
        let relays = relays.map(|(_, relay)| TransportAddr::Relay(relay.url.clone()));
        let address = EndpointAddr::from_parts(id, addresses.chain(relays));
        let failed = |error: &dyn std::fmt::Display| error.to_string();
        let connecting = self.iroh.connect_with_opts(address, first, options).await;
        let connecting = connecting.map_err(|error| failed(&error))?;
        connecting.await.map_err(|error| self.health.told(error))
    }

    /// The interfaces changed.
    pub(crate) async fn network_change(&self) {
        self.iroh.network_change().await;
    }

    /// Whether a socket was closed and not opened again. See [`deaf`].
    pub(crate) fn is_deaf(&self) -> bool {
        deaf::is_deaf(&self.iroh.bound_sockets())
    }

    /// Closes all connections and waits until the peers were told, for a moment.
    pub(crate) async fn close(&self) {
        let mut closing: JoinSet<()> = self
            .beside
            .take()
            .into_iter()
            .map(|own| async move { own.close().await })
            .collect();
        let all = async {
            self.iroh.close().await;
            while closing.join_next().await.is_some() {}
        };
        // A peer that is gone never confirms.
        let _ = tokio::time::timeout(Duration::from_secs(1), all).await;
    }
}

async fn bind_on(
    seed: &[u8; 32],
    port: u16,
    taste: &Taste,
    inner: &Arc<ArcSwap<BTreeSet<IpAddr>>>,
    relays: &Relays,
) -> Result<iroh::Endpoint, BindError> {
    let failed = |why: String| BindError { port, why };
    let optional = BindOpts::default().set_is_required(false);
    // A relay is found by its address discovery, or by HTTPS where UDP does not get through.
    let mut probes = NetReportConfig::minimal();
    probes.https_probes = true;
    let idle = IdleTimeout::try_from(IDLE).map_err(|error| failed(error.to_string()))?;
    let transport = QuicTransportConfig::builder()
        .initial_mtu(1400)
        .max_idle_timeout(Some(idle))
        .keep_alive_interval(KEEP_ALIVE)
        .default_path_max_idle_timeout(PATH_IDLE)
        .default_path_keep_alive_interval(PATH_KEEP_ALIVE)
        .max_concurrent_bidi_streams(VarInt::from_u32(4))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_send_buffer_size(DATAGRAM_BUFFER)
        .datagram_receive_buffer_size(Some(DATAGRAM_RECEIVE_BUFFER))
        .build();
    let builder = iroh::Endpoint::builder(presets::Minimal)
        .crypto_provider(mesh_guard::provider())
        .secret_key(SecretKey::from_bytes(seed))
        .relay_mode(RelayMode::Custom(RelayMap::empty()))
        .ca_tls_config(Pin::config(relays.clone()))
        .dns_resolver(DnsResolver::custom(Names(relays.clone())))
        .clear_address_lookup()
        .portmapper_config(if taste.maps_ports() {
            PortmapperConfig::default()
        } else {
            PortmapperConfig::Disabled
        })
        .net_report_config(probes)
        .transport_config(transport)
        .addr_filter(outer_only(inner))
        .clear_ip_transports();
    // Without sockets of its own it is found, and sends, through relays alone.
    let builder = if taste.is_hidden() {
        builder
    } else {
        builder
            .bind_addr(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))
            .map_err(|error| failed(error.to_string()))?
            .bind_addr_with_opts(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)), optional)
            .map_err(|error| failed(error.to_string()))?
    };
    builder
        .bind()
        .await
        .map_err(|error| failed(error.to_string()))
}

fn outer_only(inner: &Arc<ArcSwap<BTreeSet<IpAddr>>>) -> AddrFilter {
    let inner = inner.clone();
    AddrFilter::new(move |addresses| {
        let inner = inner.load();
        let outer =
            |a: &&TransportAddr| !matches!(a, TransportAddr::Ip(a) if inner.contains(&a.ip()));
        Cow::Owned(addresses.iter().filter(outer).cloned().collect())
    })
}

/// Whether a packet to that address can reach another machine.
pub(crate) fn usable(address: IpAddr) -> bool {
    let link_local = matches!(address, IpAddr::V6(a) if a.is_unicast_link_local());
    !(address.is_unspecified() || address.is_loopback() || address.is_multicast() || link_local)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::atomic::{AtomicBool, Ordering};

    use mesh_ledger::alpn::{Relation, When};

    use super::*;

    /// The number of a code that both ends know.
    const CODE: u16 = 7;

    fn names(peer: &PeerId) -> [Name; 1] {
        [Relation::code(CODE).name(&peer.0, When::Any)]
    }

    fn expecting(peer: &PeerId) -> Expected {
        let mut expected = Expected::default();
        expected.add_code(CODE, peer, 0);
        expected
    }

    /// Any port, and no router is asked.
    fn any() -> Taste {
        Taste {
            port: Some(0),
            port_mapping: false,
            ..Taste::default()
        }
    }

    #[tokio::test]
    async fn two_endpoints_connect_at_an_address_that_is_told() {
        let any = any();
        let (a, b) = tokio::join!(
            Endpoint::bind(&[1; 32], &any),
            Endpoint::bind(&[2; 32], &any)
        );
        let (a, b) = (a.unwrap(), b.unwrap());
        let peer = PeerId(*b.iroh.id().as_bytes());
        b.set_expected(expecting(&peer));
        let address = on_loopback(&b);
        let accept = tokio::spawn(async move {
            let knock = b.accept().await.unwrap();
            b.answer(knock).await.unwrap().remote_id()
        });
        let [name] = names(&peer);
        let connection = a.iroh.connect(address, &name).await.unwrap();
        assert_eq!(accept.await.unwrap(), a.iroh.id());
        drop(connection);
    }

    fn on_loopback(endpoint: &Endpoint) -> EndpointAddr {
        // The two families have ports of their own when any free one is taken.
        let sockets = endpoint.iroh.bound_sockets();
        let port = sockets.iter().find(|a| a.is_ipv4()).unwrap().port();
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        EndpointAddr::new(endpoint.iroh.id()).with_ip_addr(loopback)
    }

    #[tokio::test]
    async fn a_caller_without_an_expected_name_gets_no_answer_and_the_next_one_does() {
        let any = any();
        let (a, b) = tokio::join!(
            Endpoint::bind(&[1; 32], &any),
            Endpoint::bind(&[2; 32], &any)
        );
        let (a, b) = (a.unwrap(), b.unwrap());
        let (peer, address) = (PeerId(*b.iroh.id().as_bytes()), on_loopback(&b));
        b.set_expected(expecting(&peer));
        let accept = tokio::spawn(async move {
            let knock = b.accept().await.unwrap();
            b.answer(knock).await.unwrap().remote_id()
        });
        let elsewhere = Relation::code(CODE).name(&[9; 32], When::Any);
        let other = Relation::code(CODE + 1).name(&peer.0, When::Any);
        for name in [&b"mesh/1"[..], &elsewhere, &other] {
            let dialled = a.iroh.connect(address.clone(), name);
            let answer = tokio::time::timeout(Duration::from_millis(400), dialled).await;
            assert!(
                answer.is_err(),
                "{name:?} got an answer: {:?}",
                answer.map(|a| a.err())
            );
        }
        let [name] = names(&peer);
        let connection = a.iroh.connect(address, &name).await.unwrap();
        assert_eq!(accept.await.unwrap(), a.iroh.id());
        drop(connection);
    }

    /// A relay with address discovery on loopback, that lets in whom `open` says.
    struct Server {
        _running: iroh_relay::server::Server,
        told: RelayServer,
    }

    #[derive(Debug)]
    struct Door(Arc<AtomicBool>);

    impl iroh_relay::server::AccessControl for Door {
        async fn on_connect(
            &self,
            _: &iroh_relay::server::ClientRequest,
        ) -> iroh_relay::server::Access {
            if self.0.load(Ordering::Relaxed) {
                iroh_relay::server::Access::Allow
            } else {
                iroh_relay::server::Access::Deny { reason: None }
            }
        }
    }

    async fn server(open: Arc<AtomicBool>) -> Server {
        use iroh_relay::server::{CertConfig, QuicConfig, RelayConfig, ServerConfig, TlsConfig};
        use rcgen::PublicKeyData;
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let params = rcgen::CertificateParams::new(vec!["mesh".to_owned()]).unwrap();
        let certificate = params.self_signed(&pair).unwrap().der().clone();
        let secret = rustls::pki_types::PrivatePkcs8KeyDer::from(pair.serialize_der());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], secret.into())
            .unwrap();
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut relay = RelayConfig::new(any);
        let server_config = tls.clone();
        relay.tls = Some(TlsConfig::new(any, CertConfig::Manual { server_config }));
        relay.access = Arc::new(Door(open));
        let mut quic = QuicConfig::new(any);
        quic.server_config = Some(tls);
        let mut config = ServerConfig::default();
        config.relay = Some(relay);
        config.quic = Some(quic);
        let running = iroh_relay::server::Server::spawn(config).await.unwrap();
        let told = RelayServer {
            key: ServerKey(pair.der_bytes().try_into().unwrap()),
            host: Ipv4Addr::LOCALHOST.to_string(),
            relay: running.https_addr().map(|a| a.port()),
            discovery: running.quic_addr().map(|a| a.port()),
        };
        Server {
            _running: running,
            told,
        }
    }

    /// Two endpoints; the second says who connected to it.
    async fn pair() -> (Endpoint, Endpoint, PeerId) {
        let seed = |n| [n; 32];
        let (a, b) = (seed(3), seed(4));
        let any = any();
        let (a, b) = tokio::join!(Endpoint::bind(&a, &any), Endpoint::bind(&b, &any));
        let (a, b) = (a.unwrap(), b.unwrap());
        let peer = PeerId(*b.iroh.id().as_bytes());
        b.set_expected(expecting(&peer));
        let accepting = b.clone();
        tokio::spawn(async move {
            while let Some(knock) = accepting.accept().await {
                let accepting = accepting.clone();
                tokio::spawn(async move { accepting.answer(knock).await.unwrap().closed().await });
            }
        });
        (a, b, peer)
    }

    /// Dials until it works, as the dialler does.
    async fn reach(a: &Endpoint, peer: &PeerId, server: &ServerKey) -> Connection {
        let servers = [*server].into();
        let dialled = async {
            loop {
                let names = names(peer);
                let dial = a.connect(peer, &[], &servers, &names);
                match tokio::time::timeout(Duration::from_secs(2), dial).await {
                    Ok(Ok(connection)) => return connection,
                    Ok(Err(_)) | Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(10), dialled)
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn two_endpoints_meet_through_the_relay_of_a_server_and_not_of_one_with_another_key() {
        let server = server(Arc::new(AtomicBool::new(true))).await;
        let (a, b, peer) = pair().await;
        let mut posing = server.told.clone();
        posing.key = ServerKey([1; 32]);
        for endpoint in [&a, &b] {
            endpoint.set_servers(std::slice::from_ref(&posing)).await;
        }
        let servers = [posing.key].into();
        let names = names(&peer);
        let none = a.connect(&peer, &[], &servers, &names);
        assert!(
            !matches!(
                tokio::time::timeout(Duration::from_secs(3), none).await,
                Ok(Ok(_))
            ),
            "a relay with another key was believed"
        );
        for endpoint in [&a, &b] {
            endpoint
                .set_servers(std::slice::from_ref(&server.told))
                .await;
        }
        let connection = reach(&a, &peer, &server.told.key).await;
        let paths = connection.paths();
        let relay = paths.iter().find_map(|path| match path.remote_addr() {
            TransportAddr::Relay(url) => a.relay_host(url),
            _ => None,
        });
        assert_eq!(relay.as_deref(), Some("127.0.0.1"));
        assert!(
            connection.max_datagram_size().is_some_and(|max| max > 1000),
            "{:?}",
            connection.max_datagram_size()
        );
    }

    #[tokio::test]
    async fn a_relay_that_is_just_being_connected_to_is_left_alone() {
        let server = server(Arc::new(AtomicBool::new(true))).await;
        let (a, _b, _) = pair().await;
        a.set_servers(std::slice::from_ref(&server.told)).await;
        let before = a.relays.get();
        a.relay_retry(&server.told.key).await;
        assert_eq!(before, a.relays.get());
    }

    #[tokio::test]
    async fn a_relay_that_denied_this_device_is_used_soon_after_it_has_learnt_of_it() {
        let open = Arc::new(AtomicBool::new(false));
        let server = server(open.clone()).await;
        let (a, b, peer) = pair().await;
        for endpoint in [&a, &b] {
            endpoint
                .set_servers(std::slice::from_ref(&server.told))
                .await;
        }
        let denied = |endpoint: &Endpoint| {
            let status = endpoint.iroh.home_relay_status().get();
            status.iter().any(|status| status.last_error().is_some())
        };
        // So often that iroh waits for seconds until the next time.
        tokio::time::timeout(Duration::from_secs(20), async {
            tokio::time::sleep(Duration::from_secs(6)).await;
            while !(denied(&a) && denied(&b)) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await
        .unwrap();
        open.store(true, Ordering::Relaxed);
        a.relay_retry(&server.told.key).await;
        b.relay_retry(&server.told.key).await;
        let reached = reach(&a, &peer, &server.told.key);
        tokio::time::timeout(Duration::from_secs(5), reached)
            .await
            .unwrap();
    }
}
