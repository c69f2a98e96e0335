//! A device that speaks with a server, and a server to speak with.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use iroh::endpoint::{
    Connection, IdleTimeout, NetReportConfig, PortmapperConfig, QuicTransportConfig, RecvStream,
    RelayMode, SendStream, VarInt, presets,
};
use iroh::{Endpoint, EndpointAddr, EndpointId, SecretKey};
use mesh_ledger::alpn::{Relation, When};
use mesh_ledger::event::Event;
use mesh_ledger::ids::{EventId, NetworkId, ServerKey};
use mesh_ledger::keys::DeviceSecret;
use mesh_ledger::mirror::message::{Page, Pushed, Standing, Welcome, body_length};
use mesh_ledger::mirror::{MAX_FRAME, Permit, Refusal, Request, Response, Role};
use mesh_server::quota::Limits;
use mesh_server::{Options, Server};
use tempfile::TempDir;

use crate::world::{Person, Side, World};

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
pub(crate) const NOW: u64 = 1_795_000_000_000;

/// A server in a folder of its own, with a clock that tests turn.
pub(crate) struct Host {
    pub(crate) server: Server,
    pub(crate) clock: Arc<AtomicU64>,
    pub(crate) data: Arc<TempDir>,
}

impl Host {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Options)) -> Self {
        Self::again(Arc::new(TempDir::new().unwrap()), NOW, change).await
    }

    pub(crate) async fn again(
        data: Arc<TempDir>,
        now: u64,
        change: impl FnOnce(&mut Options),
    ) -> Self {
        let clock = Arc::new(AtomicU64::new(now));
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut options = Options::new(data.path().join("data"), listen);
        let time = clock.clone();
        options.now = Arc::new(move || time.load(Ordering::Relaxed));
        options.limits = Limits::default();
        change(&mut options);
        let server = Server::start(options).await.unwrap();
        Self {
            server,
            clock,
            data,
        }
    }

    pub(crate) fn token(&self) -> Option<Permit> {
        self.server.address().permit
    }

    pub(crate) fn place(&self) -> (SocketAddr, ServerKey) {
        (self.server.listening(), self.server.address().key)
    }

    /// Stops the server and starts it again in the same folder at this time.
    pub(crate) async fn restart(self, now: u64) -> Self {
        let data = self.data.clone();
        self.server.stop().await;
        Self::again(data, now, |_| {}).await
    }
}

/// A device's endpoint and its connection to a server.
pub(crate) struct Device {
    pub(crate) endpoint: Endpoint,
    pub(crate) connection: Connection,
}

/// The name by which a device dials a server.
pub(crate) fn name(key: &ServerKey) -> [u8; 16] {
    Relation::server(key).name(&key.0, When::Any)
}

impl Device {
    pub(crate) async fn connect(secret: &DeviceSecret, place: (SocketAddr, ServerKey)) -> Self {
        Self::with_window(secret, place, None).await
    }

    /// With a receive window, so that a device that reads nothing is full soon.
    pub(crate) async fn with_window(
        secret: &DeviceSecret,
        (address, key): (SocketAddr, ServerKey),
        window: Option<u32>,
    ) -> Self {
        // A server that was killed is noticed soon.
        let idle = IdleTimeout::try_from(PATIENCE / 4).unwrap();
        let mut transport = QuicTransportConfig::builder()
            .max_idle_timeout(Some(idle))
            .keep_alive_interval(PATIENCE / 20);
        if let Some(window) = window {
            transport = transport.stream_receive_window(VarInt::from_u32(window));
        }
        let endpoint = Endpoint::builder(presets::Minimal)
            .secret_key(SecretKey::from_bytes(&secret.seed()))
            .relay_mode(RelayMode::Disabled)
            .clear_address_lookup()
            .portmapper_config(PortmapperConfig::Disabled)
            .net_report_config(NetReportConfig::minimal())
            .transport_config(transport.build())
            .clear_ip_transports()
            .bind_addr(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
            .unwrap()
            .bind()
            .await
            .unwrap();
        let id = EndpointId::from_bytes(&key.0).unwrap();
        let address = EndpointAddr::new(id).with_ip_addr(address);
        let connection = endpoint.connect(address, &name(&key)).await.unwrap();
        Self {
            endpoint,
            connection,
        }
    }

    pub(crate) async fn stream(&self) -> Stream {
        let (send, recv) = self.connection.open_bi().await.unwrap();
        Stream {
            send,
            recv,
            aside: VecDeque::new(),
        }
    }

    /// Opens a stream, and what the server says to that.
    pub(crate) async fn open(&self, network: NetworkId, role: Role) -> (Stream, Response) {
        let mut stream = self.stream().await;
        stream.say(&Request::Open { network, role }).await;
        let response = stream.hear().await.unwrap();
        (stream, response)
    }

    pub(crate) async fn welcome(&self, network: NetworkId, role: Role) -> (Stream, Welcome) {
        match self.open(network, role).await {
            (stream, Response::Welcome(welcome)) => (stream, welcome),
            (_, other) => panic!("{other:?}"),
        }
    }

    pub(crate) async fn refusal(&self, network: NetworkId, role: Role) -> Refusal {
        match self.open(network, role).await {
            (_, Response::Refused(refusal)) => refusal,
            (_, other) => panic!("{other:?}"),
        }
    }
}

pub(crate) struct Stream {
    pub(crate) send: SendStream,
    pub(crate) recv: RecvStream,
    aside: VecDeque<Response>,
}

impl Stream {
    pub(crate) async fn say(&mut self, request: &Request) {
        self.send
            .write_all(&request.encode().unwrap())
            .await
            .unwrap();
    }

    /// What the server says next; `None` when the stream is over.
    pub(crate) async fn hear(&mut self) -> Option<Response> {
        let heard = async {
            let mut prefix = [0; 4];
            self.recv.read_exact(&mut prefix).await.ok()?;
            let mut body = vec![0; body_length(prefix, MAX_FRAME).unwrap()];
            self.recv.read_exact(&mut body).await.ok()?;
            Some(Response::decode(&body).unwrap())
        };
        tokio::time::timeout(PATIENCE, heard).await.unwrap()
    }

    /// The answer to a request; what comes in between is put aside.
    pub(crate) async fn ask(&mut self, request: Request) -> Response {
        self.say(&request).await;
        loop {
            let response = self.hear().await.unwrap();
            if !matches!(response, Response::News(_) | Response::Letters(_)) {
                return response;
            }
            self.aside.push_back(response);
        }
    }

    /// The next that the server says by itself.
    pub(crate) async fn told(&mut self) -> Response {
        match self.aside.pop_front() {
            Some(response) => response,
            None => self.hear().await.unwrap(),
        }
    }

    pub(crate) async fn push(&mut self, events: Vec<Vec<u8>>) -> Pushed {
        match self.ask(Request::Push(events)).await {
            Response::Pushed(pushed) => pushed,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn pull(&mut self, from: u64, bodies: bool) -> Page {
        match self.ask(Request::Pull { from, bodies }).await {
            Response::Page(page) => page,
            other => panic!("{other:?}"),
        }
    }

    /// The whole log.
    pub(crate) async fn whole(&mut self) -> Vec<Vec<u8>> {
        let mut events = Vec::new();
        loop {
            let page = self.pull(events.len() as u64, true).await;
            events.extend(page.events);
            if events.len() as u64 == page.tip.tip.count {
                return events;
            }
        }
    }
}

/// All events of a world, parents first.
pub(crate) fn all(world: &World) -> Vec<Vec<u8>> {
    let bytes = |event: &Event| event.bytes().to_vec();
    world
        .graph
        .indices()
        .map(|idx| bytes(&world.graph.event(idx)))
        .collect()
}

pub(crate) fn bytes(world: &World, id: EventId) -> Vec<u8> {
    world.graph.event(world.idx(id)).bytes().to_vec()
}

/// Events that nobody has seen, one after the other.
pub(crate) fn merges(
    world: &mut World,
    side: &mut Side,
    who: &Person,
    count: usize,
) -> Vec<Vec<u8>> {
    let ids: Vec<EventId> = (0..count).map(|_| world.merge(side, who)).collect();
    ids.into_iter().map(|id| bytes(world, id)).collect()
}

/// Hosts a world at a server, as its owner, who stays connected.
pub(crate) async fn host(host: &Host, world: &World) -> (Device, Stream) {
    let device = Device::connect(&world.owner.device, host.place()).await;
    let role = Role::Member(host.token());
    let (mut stream, welcome) = device.welcome(world.network, role).await;
    assert_eq!(welcome.standing, Standing::NotHosted { may_open: true });
    let pushed = stream.push(all(world)).await;
    assert_eq!(pushed.stored.len(), world.graph.len());
    assert!(pushed.missing.is_empty() && pushed.refused.is_empty());
    let (stream, welcome) = device.welcome(world.network, Role::Member(None)).await;
    assert_eq!(welcome.standing, Standing::Live);
    (device, stream)
}
