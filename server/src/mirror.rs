//! The mirror's door: connections over iroh, counted by source and by device (`connections`), and a task for each stream.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use iroh::endpoint::{
    BindOpts, Connection, IdleTimeout, Incoming, IncomingAddr, NetReportConfig, PortmapperConfig,
    QuicTransportConfig, RelayMode, VarInt, presets,
};
use iroh::{Endpoint, RelayMap, SecretKey};
use mesh_ledger::alpn::{Name, Relation};
use mesh_ledger::ids::{DeviceId, ServerKey};
use tokio::sync::Semaphore;
use tracing::debug;

use crate::connections::{Connections, Place};
use crate::hosted::Networks;
use crate::{relay, session};

const IDLE: Duration = Duration::from_secs(20);
/// The same for one path of a connection; iroh allows no more.
const PATH_IDLE: Duration = Duration::from_secs(15);
const KEEP_ALIVE: Duration = Duration::from_secs(5);
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How many handshakes go on at a time; from half of it on, an address must prove itself first.
const HANDSHAKES: usize = 1024;
/// What one connection may have in flight each way.
const WINDOW: u32 = 4 << 20;

/// Opens the endpoint: on this address, and on the IPv6 one of the same port if it is any IPv4 address. The server's relay
/// will listen on `relay`.
pub(crate) async fn bind(
    seed: &[u8; 32],
    listen: SocketAddr,
    relay: IpAddr,
    streams: u32,
    certificate: &relay::Certificate,
) -> Result<Endpoint, String> {
    let idle = IdleTimeout::try_from(IDLE).map_err(|error| error.to_string())?;
    let transport = QuicTransportConfig::builder()
        .max_idle_timeout(Some(idle))
        .keep_alive_interval(KEEP_ALIVE)
        .default_path_max_idle_timeout(PATH_IDLE)
        .default_path_keep_alive_interval(KEEP_ALIVE)
        .max_concurrent_bidi_streams(VarInt::from_u32(streams))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .receive_window(VarInt::from_u32(WINDOW))
        .send_window(u64::from(WINDOW))
        .datagram_receive_buffer_size(None)
        .build();
    // That its own relay is there, it finds out by HTTPS.
    let mut probes = NetReportConfig::minimal();
    probes.https_probes = true;
    let builder = Endpoint::builder(presets::Minimal)
        .crypto_provider(mesh_guard::provider())
        .secret_key(SecretKey::from_bytes(seed))
        .relay_mode(RelayMode::Custom(RelayMap::empty()))
        .ca_tls_config(certificate.trust())
        .dns_resolver(relay::own_name(relay))
        .clear_address_lookup()
        .portmapper_config(PortmapperConfig::Disabled)
        .net_report_config(probes)
        .transport_config(transport)
        .clear_ip_transports()
        .bind_addr(listen)
        .map_err(|error| error.to_string())?;
    let builder = if listen.ip() == IpAddr::from([0, 0, 0, 0]) && listen.port() != 0 {
        let both = SocketAddr::from(([0u16; 8], listen.port()));
        builder
            .bind_addr_with_opts(both, BindOpts::default().set_is_required(false))
            .map_err(|error| error.to_string())?
    } else {
        builder
    };
    builder.bind().await.map_err(|error| error.to_string())
}

/// Returns the name by which a caller knows this server, if it does. Others get no answer: see [`mesh_ledger::alpn`].
fn recognise(endpoint: &Endpoint, incoming: &Incoming, now: u64) -> Option<Name> {
    let key = ServerKey(*endpoint.id().as_bytes());
    let taken = Relation::server(&key).taken(&key.0, now);
    let mut offered = incoming.decrypt()?.alpns()?;
    // A device offers two; a hostile one as many as it likes.
    let offered = offered.by_ref().take(8).filter_map(Result::ok);
    let mut offered = offered.filter_map(|name| Name::try_from(&name[..]).ok());
    offered.find(|name| taken.contains(name))
}

/// Accepts connections until the endpoint is closed. With `off`, every stream is told that there is no mirror.
pub(crate) async fn accept(
    endpoint: Endpoint,
    networks: Arc<Networks>,
    connections: Arc<Connections>,
    off: bool,
) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
    while let Some(incoming) = endpoint.accept().await {
        let Some(name) = recognise(&endpoint, &incoming, (networks.terms().now)()) else {
            incoming.ignore();
            continue;
        };
        let Ok(permit) = handshakes.clone().try_acquire_owned() else {
            incoming.ignore();
            continue;
        };
        let is_full = connections.count() >= networks.terms().limits.connections;
        let is_many = handshakes.available_permits() < HANDSHAKES / 2;
        // Nobody gives a place up for an address that may be made up.
        if (is_many || is_full) && !incoming.remote_addr_validated() {
            // It comes again with what proves that it reads what is sent to its address.
            let _ = incoming.retry();
            continue;
        }
        let from = match incoming.remote_addr() {
            IncomingAddr::Ip(address) => Some(address.ip()),
            _ => None,
        };
        let Some(place) = Place::take(&connections, from, &networks) else {
            incoming.refuse();
            continue;
        };
        let (endpoint, networks) = (endpoint.clone(), networks.clone());
        tokio::spawn(async move {
            let connected = connect(&endpoint, incoming, name);
            let connected = tokio::time::timeout(HANDSHAKE, connected).await;
            drop(permit);
            if let Ok(Some(connection)) = connected {
                serve(connection, place, networks, off).await;
            }
        });
    }
}

async fn connect(endpoint: &Endpoint, incoming: Incoming, name: Name) -> Option<Connection> {
    let config = endpoint.create_server_config_builder(vec![name.to_vec()]);
    let accepting = incoming.accept_with(Arc::new(config.build())).ok()?;
    match accepting.await {
        Ok(connection) => Some(connection),
        Err(error) => {
            debug!("a handshake failed: {error}");
            None
        }
    }
}

async fn serve(connection: Connection, mut place: Place, networks: Arc<Networks>, off: bool) {
    let device = DeviceId(*connection.remote_id().as_bytes());
    let most = networks.terms().limits.connections_per_device;
    place.settle(&connection, device, most);
    let line = Arc::new(place.line(device));
    // QUIC itself holds a device to its number of streams.
    let mut streams = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            stream = connection.accept_bi() => {
                let Ok((send, recv)) = stream else { break };
                streams.spawn(session::serve(networks.clone(), line.clone(), send, recv, off));
            }
            Some(_) = streams.join_next() => {}
        }
    }
}
