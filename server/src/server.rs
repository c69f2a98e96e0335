//! The whole server: starts its parts, and stops them.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use iroh::Endpoint;
use mesh_ledger::ids::ServerKey;
use mesh_ledger::keys::ServerSecret;
use mesh_ledger::mirror::message::Doors;
use mesh_ledger::mirror::{Permit, ServerAddress};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::warn;

use crate::connections::Connections;
use crate::echo::{self, Echoes};
use crate::files::{self, FilesError};
use crate::hosted::{Networks, Now, Terms};
use crate::mirror;
use crate::quota::Limits;
use crate::relay::{self, Doorman, Places};
use crate::status::{self, NetworkReport, Report};
use crate::store::{Store, StoreError, Summary};

/// Bytes a second that the relay takes from one client, unless the operator chooses otherwise: 32 MiB.
pub const RELAY_RATE: NonZeroU32 = NonZeroU32::new(32 << 20).unwrap();
const SWEEP: Duration = Duration::from_secs(30);
/// How long devices may take to hear that the server stops.
const FAREWELL: Duration = Duration::from_secs(2);
/// The name of the file with the server's text.
const ADDRESS: &str = "address";

/// A port of the server's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// The usual one.
    Usual,
    /// This one.
    Port(u16),
    /// None.
    Off,
}

/// What the operator chose.
pub struct Options {
    /// The server's folder.
    pub data: PathBuf,
    /// Where the mirror listens.
    pub listen: SocketAddr,
    /// The name or address under which devices reach the server; the machine's own if none is given.
    pub host: Option<String>,
    /// The relay's TCP port; usually that of the mirror.
    pub relay: Door,
    /// The UDP port of address discovery; usually the one behind the mirror's.
    pub discovery: Door,
    /// The first UDP port of the echo, which has the one behind it too; usually the second behind the mirror's.
    pub echo: Door,
    /// Whether networks are kept here.
    pub mirror: bool,
    /// Whether everybody may have networks hosted.
    pub open_hosting: bool,
    /// Bytes a second that the relay takes from one client.
    pub relay_rate: NonZeroU32,
    /// How much of everything.
    pub limits: Limits,
    /// The machine's clock.
    pub now: Now,
}

impl Options {
    /// The usual ones.
    #[must_use]
    pub fn new(data: PathBuf, listen: SocketAddr) -> Self {
        Self {
            data,
            listen,
            host: None,
            relay: Door::Usual,
            discovery: Door::Usual,
            echo: Door::Usual,
            mirror: true,
            open_hosting: false,
            relay_rate: RELAY_RATE,
            limits: Limits::default(),
            now: Arc::new(|| {
                let now = SystemTime::now().duration_since(UNIX_EPOCH);
                now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
            }),
        }
    }
}

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The echo's ports.
    #[error(
        "cannot open the UDP ports {0} and {1} of the echo: {2}; stop what uses them, or choose another with --echo-port"
    )]
    Echo(u16, u16, std::io::Error),
    /// Its folder.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// Its database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The mirror's port.
    #[error("cannot open UDP {0}: {1}; stop what uses it, or choose another with --listen")]
    Bind(SocketAddr, String),
    /// The relay's ports.
    #[error(
        "{0}; stop what uses the port, or choose others with --relay-port and --discovery-port"
    )]
    Relay(String),
    /// Another server runs.
    #[error("another mesh-server runs in {0}")]
    Running(PathBuf),
    /// No address to tell.
    #[error("this machine has no address but loopback ones: say how devices reach it with --host")]
    Host,
    /// The host is neither name nor address.
    #[error(
        "{0:?} is no name or address of a host: say how devices reach this machine with --host"
    )]
    BadHost(String),
    /// The status socket.
    #[error("cannot open the status socket: {0}")]
    Status(std::io::Error),
}

/// A running server.
pub struct Server {
    networks: Arc<Networks>,
    endpoint: Endpoint,
    relay: Option<Arc<iroh_relay::server::Server>>,
    address: ServerAddress,
    listening: SocketAddr,
    doors: Doors,
    tasks: Vec<JoinHandle<()>>,
    data: PathBuf,
    _lock: std::fs::File,
}

impl Server {
    /// Starts it; it serves when this returns.
    ///
    /// # Errors
    /// [`StartError`] says why not, and what to do.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let data = options.data.clone();
        files::folder(&data)?;
        let lock = lock(&data)?;
        let seed = files::secret::<32>(&data.join("server.key"))?;
        let token = Permit(*files::secret::<16>(&data.join("token"))?);
        let key = ServerSecret::from_seed(&seed);
        let store = Store::open(&data.join("mirror.db"))?;
        let clock = files::Ceiling::open(&data.join("clock"))?;

        let listen = options.listen;
        let host = match &options.host {
            Some(host) => host.trim_matches(['[', ']']).to_owned(),
            None => own_address(listen.ip())
                .ok_or(StartError::Host)?
                .to_string(),
        };
        let ip = both_families(listen.ip());
        let certificate = relay::certificate(&seed, &host).map_err(StartError::Relay)?;
        let endpoint = mirror::bind(&seed, listen, ip, options.limits.streams, &certificate)
            .await
            .map_err(|why| StartError::Bind(listen, why))?;
        let bound = endpoint.bound_sockets();
        let listening = bound
            .iter()
            .find(|socket| socket.is_ipv4() == listen.is_ipv4())
            .or(bound.first())
            .copied()
            .unwrap_or(listen);
        let token_shown = (!options.open_hosting && options.mirror).then_some(token);
        let address = server_address(&host, listening.port(), key.public(), token_shown)
            .ok_or_else(|| StartError::BadHost(host.clone()))?;

        let doorman = Arc::new(Doorman::new(
            !options.mirror && options.open_hosting,
            key.public(),
        ));
        let any_port = listen.port() == 0;
        let port = |door: Door, usual: u16| match door {
            Door::Usual if any_port => Some(0),
            Door::Usual => Some(usual),
            Door::Port(port) => Some(port),
            Door::Off => None,
        };
        let relay_port = port(options.relay, listening.port());
        let discovery_port = port(options.discovery, listening.port().saturating_add(1));
        let places = Places {
            relay: relay_port.map(|port| (ip, port).into()),
            discovery: discovery_port.map(|port| (ip, port).into()),
        };
        let relay = relay::start(&certificate, places, doorman.clone(), options.relay_rate);
        let relay = match relay.await {
            Ok(relay) => relay.map(Arc::new),
            Err(why) => {
                endpoint.close().await;
                return Err(StartError::Relay(why));
            }
        };
        let relays_at = relay.as_ref().and_then(|relay| relay.https_addr());
        if let Some(own) = relays_at.and_then(relay::own_place)
            && options.mirror
        {
            endpoint.insert_relay(own.url.clone(), own).await;
        }
        let doors = Doors {
            relay: relays_at.map(|at| at.port()),
            discovery: relay
                .as_ref()
                .and_then(|relay| Some(relay.quic_addr()?.port())),
        };

        let echo_port = port(options.echo, listening.port().saturating_add(2));
        let echoing = match echo_port.map(|port| echo::bind(ip, port)) {
            Some(Ok(bound)) => Some(bound),
            Some(Err(why)) => {
                endpoint.close().await;
                let first = echo_port.unwrap_or_default();
                return Err(StartError::Echo(first, first.saturating_add(1), why));
            }
            None => None,
        };
        let echoes = match &echoing {
            Some(sockets) => Some(Echoes::new(sockets).map_err(|why| StartError::Echo(0, 0, why))?),
            None => None,
        };

        let (gone, leavers) = mpsc::unbounded_channel();
        let stay = options.limits.guest;
        let terms = Terms {
            key,
            token,
            open: options.open_hosting,
            doors,
            echoes: echoes.clone(),
            limits: options.limits,
            now: options.now,
        };
        let networks = Arc::new(Networks::new(terms, store, clock, gone)?);
        if options.mirror {
            doorman.know(networks.clone());
        }
        let listener = status::listen(&data).map_err(StartError::Status)?;
        files::write(&data.join(ADDRESS), address.to_string().as_bytes())?;

        let connections = Arc::new(Connections::default());
        let public = address.public().to_string();
        let counted = report(
            public,
            networks.clone(),
            connections.clone(),
            doorman.clone(),
        );
        let mut tasks = vec![
            tokio::spawn(mirror::accept(
                endpoint.clone(),
                networks.clone(),
                connections.clone(),
                !options.mirror,
            )),
            tokio::spawn(expel(relay.clone(), networks.clone(), leavers)),
            tokio::spawn(see_off(relay.clone(), doorman.clone(), stay)),
            tokio::spawn(sweep(networks.clone())),
            tokio::spawn(status::serve(listener, Arc::new(counted))),
        ];
        if let (Some(sockets), Some(echoes)) = (echoing, &echoes) {
            let serve = |socket| tokio::spawn(echo::serve(socket, echoes.clone()));
            tasks.extend(sockets.map(serve));
        }
        Ok(Self {
            networks,
            endpoint,
            relay,
            address,
            listening,
            doors,
            tasks,
            data,
            _lock: lock,
        })
    }

    /// The text that devices need, with the token unless everybody may have networks hosted.
    #[must_use]
    pub fn address(&self) -> &ServerAddress {
        &self.address
    }

    /// Where the mirror listens.
    #[must_use]
    pub fn listening(&self) -> SocketAddr {
        self.listening
    }

    /// The ports of the other parts.
    #[must_use]
    pub fn doors(&self) -> Doors {
        self.doors
    }

    /// The networks.
    #[must_use]
    pub fn networks(&self) -> &Arc<Networks> {
        &self.networks
    }

    /// Stops: tells the devices, and leaves the database whole in one file.
    pub async fn stop(self) {
        // Who does not hear it notices by itself.
        let _ = tokio::time::timeout(FAREWELL, self.endpoint.close()).await;
        for task in &self.tasks {
            task.abort();
        }
        for task in self.tasks {
            // It was ended just now.
            let _ = task.await;
        }
        if let Some(relay) = self.relay.and_then(Arc::into_inner)
            && let Ok(Err(error)) = tokio::time::timeout(FAREWELL, relay.shutdown()).await
        {
            warn!("the relay did not stop cleanly: {error}");
        }
        let networks = self.networks;
        let checkpoint = tokio::task::spawn_blocking(move || networks.store().checkpoint());
        if let Ok(Err(error)) = checkpoint.await {
            warn!("the write-ahead log stays beside the database: {error}");
        }
        // It may have been removed already.
        let _ = std::fs::remove_file(self.data.join(status::SOCKET));
    }
}

/// The text that a server of this folder printed last.
///
/// # Errors
/// If none ever ran there.
pub fn printed(data: &Path) -> std::io::Result<String> {
    std::fs::read_to_string(data.join(ADDRESS))
}

fn server_address(
    host: &str,
    port: u16,
    key: ServerKey,
    permit: Option<Permit>,
) -> Option<ServerAddress> {
    let address = ServerAddress {
        host: host.to_owned(),
        port,
        key,
        permit,
    };
    // What devices cannot read is no address.
    address.to_string().parse().ok()
}

fn lock(data: &Path) -> Result<std::fs::File, StartError> {
    let path = data.join("lock");
    let open = || {
        let file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(std::fs::TryLockError::WouldBlock) => Ok(None),
            Err(std::fs::TryLockError::Error(error)) => Err(error),
        }
    };
    open()
        .map_err(|error| FilesError::Io(path.clone(), error))?
        .ok_or_else(|| StartError::Running(data.to_owned()))
}

/// Any IPv6 address stands for any IPv4 address too, where the machine has IPv6.
fn both_families(ip: IpAddr) -> IpAddr {
    let any = IpAddr::from([0u16; 8]);
    let is_any = ip == IpAddr::from([0, 0, 0, 0]);
    if is_any && std::net::UdpSocket::bind((any, 0)).is_ok() {
        any
    } else {
        ip
    }
}

/// The address to tell others: the one listened on, or the most widely reachable of the machine's.
fn own_address(listen: IpAddr) -> Option<IpAddr> {
    if !listen.is_unspecified() {
        return Some(listen);
    }
    let interfaces = nix::ifaddrs::getifaddrs().ok()?;
    let addresses = interfaces.filter_map(|interface| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|a| IpAddr::from(a.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|a| IpAddr::from(a.ip())))
    });
    addresses
        .filter_map(|a| Some((reach(a)?, a)))
        .min()
        .map(|(_, a)| a)
}

/// How far an address is reachable, the smaller the farther.
fn reach(address: IpAddr) -> Option<u8> {
    match address {
        IpAddr::V4(a) if a.is_loopback() || a.is_link_local() || a.is_unspecified() => None,
        IpAddr::V4(a) if a.is_private() => Some(2),
        IpAddr::V4(_) => Some(0),
        IpAddr::V6(a) if a.is_loopback() || a.is_unicast_link_local() || a.is_unspecified() => None,
        IpAddr::V6(a) if a.is_unique_local() => Some(3),
        IpAddr::V6(_) => Some(1),
    }
}

async fn expel(
    relay: Option<Arc<iroh_relay::server::Server>>,
    networks: Arc<Networks>,
    mut leavers: mpsc::UnboundedReceiver<mesh_ledger::ids::DeviceId>,
) {
    let mut expelling = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            device = leavers.recv() => {
                let Some(device) = device else { return };
                if let Some(relay) = relay.clone() {
                    let networks = networks.clone();
                    expelling.spawn(async move { relay::expel(&relay, &networks, device).await });
                }
            }
            Some(_) = expelling.join_next() => {}
        }
    }
}

async fn see_off(
    relay: Option<Arc<iroh_relay::server::Server>>,
    doorman: Arc<Doorman>,
    stay: Duration,
) {
    if let Some(relay) = relay {
        relay::see_off(&relay, &doorman, stay).await;
    }
}

async fn sweep(networks: Arc<Networks>) {
    let mut ticks = tokio::time::interval(SWEEP);
    loop {
        ticks.tick().await;
        let networks = networks.clone();
        // It does what it can and says what it cannot.
        let _ = tokio::task::spawn_blocking(move || networks.sweep()).await;
    }
}

/// Counts everything.
fn report(
    address: String,
    networks: Arc<Networks>,
    connections: Arc<Connections>,
    doorman: Arc<Doorman>,
) -> impl Fn() -> Report {
    let begin = Instant::now();
    move || {
        let sessions = networks.sessions();
        let terms = networks.terms();
        let summaries = networks.store().networks().unwrap_or_default();
        let of = |summary: Summary| NetworkReport {
            network: summary.network.short(),
            events: summary.events,
            bytes: summary.bytes,
            sessions: sessions.get(&summary.network).copied().unwrap_or(0),
        };
        Report {
            address: address.clone(),
            relay_port: terms.doors.relay,
            discovery_port: terms.doors.discovery,
            echo_ports: terms.echoes.as_ref().map(Echoes::ports),
            open_hosting: terms.open,
            uptime: begin.elapsed().as_secs(),
            connections: connections.count(),
            relay_clients: doorman.clients(),
            letters: networks.store().letter_count().unwrap_or_default(),
            networks: summaries.into_iter().map(of).collect(),
        }
    }
}
