//! Connections to servers: a task for each server that dials it, and one for each stream on it.
//!
//! The tasks carry frames; what they mean is decided by `mesh_core::mirror` where the ledger is, in the node.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use iroh::endpoint::{Connection, RecvStream, SendStream, VarInt};
use mesh_core::mirror::Backoff;
use mesh_ledger::ids::ServerKey;
use mesh_ledger::mirror::Permit;
use mesh_ledger::mirror::message::{BadFrame, MAX_FRAME, Request, Response, body_length};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinHandle;

use crate::clock::steady_ms;
use crate::endpoint::{Bearer, Deputy, Endpoint};

/// How long a dial may take, the name's lookup included.
pub(crate) const DIAL: Duration = Duration::from_secs(5);
/// The start that UDP has before TCP where somebody waits.
pub(crate) const HEAD_START: Duration = Duration::from_millis(1200);
/// How often it is tried by UDP while it is reached by TCP.
const STRAIGHT_AGAIN: Duration = Duration::from_secs(300);
/// How long a new stream may take.
const OPEN: Duration = Duration::from_secs(5);
/// The most addresses of one server.
const MAX_ADDRESSES: usize = 8;
/// How many answers of one stream wait for the node; its reader waits then.
const MAX_WAITING: usize = 2;
/// A connection that lasted so long was well: the next dial is at once.
const WELL: Duration = Duration::from_secs(20);

/// Where a server is: host and port.
pub(crate) type Place = (String, u16);

/// A connection to a server.
#[derive(Clone)]
pub(crate) struct Line {
    pub(crate) connection: Connection,
    /// What speaks on it for this device; none if the device does itself.
    pub(crate) deputy: Option<Arc<Deputy>>,
}

/// What a server's tasks tell the node.
#[allow(clippy::large_enum_variant)] // Made, moved once and taken apart.
pub(crate) enum MirrorEvent {
    /// The server answers; it was found at these addresses.
    Connected(Line, Vec<SocketAddr>),
    /// The connection ended, or none came about.
    Lost(String),
    /// The server said something on a stream. The next but few is read when this one is done with and dropped.
    Said(u64, Response, OwnedSemaphorePermit),
    /// A stream ended.
    Ended(u64, String),
}

/// A server that the node wants to be connected with. Dropping it ends that.
pub(crate) struct Mirror {
    places: watch::Sender<BTreeSet<Place>>,
    retry: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Mirror {
    /// Starts to dial. With a permit the device may bring the server a network.
    pub(crate) fn spawn<E: Send + 'static>(
        key: ServerKey,
        places: BTreeSet<Place>,
        permit: Option<Permit>,
        endpoint: Endpoint,
        events: mpsc::Sender<E>,
        wrap: impl Fn(MirrorEvent) -> E + Send + Sync + 'static,
    ) -> Self {
        let (places, wanted) = watch::channel(places);
        let retry = Arc::new(Notify::new());
        let dial = Dial {
            endpoint,
            key,
            permit,
        };
        let task = tokio::spawn(dial.keep(wanted, retry.clone(), events, wrap));
        Self {
            places,
            retry,
            task,
        }
    }

    /// The server is to be found at these places.
    pub(crate) fn set_places(&self, places: BTreeSet<Place>) {
        self.places.send_if_modified(|old| {
            let changed = *old != places;
            *old = places;
            changed
        });
    }

    /// Something changed: a dial that waits is due at once.
    pub(crate) fn retry(&self) {
        self.retry.notify_waiters();
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a server's task dials with.
struct Dial {
    endpoint: Endpoint,
    key: ServerKey,
    permit: Option<Permit>,
}

impl Dial {
    async fn keep<E: Send + 'static>(
        self,
        mut places: watch::Receiver<BTreeSet<Place>>,
        retry: Arc<Notify>,
        events: mpsc::Sender<E>,
        wrap: impl Fn(MirrorEvent) -> E + Send + Sync + 'static,
    ) {
        let mut backoff = Backoff::default();
        let mut better = None;
        loop {
            let wanted = places.borrow_and_update().clone();
            let bearer = Bearer::Device(self.permit);
            let connected = match better.take() {
                Some(connected) => Ok(connected),
                None => connect_anyhow(&self.endpoint, &self.key, &wanted, bearer, DIAL).await,
            };
            let why = match connected {
                Ok((line, addresses)) => {
                    let connection = line.connection.clone();
                    let by_tcp = line.deputy.is_some();
                    let since = tokio::time::Instant::now();
                    let connected = MirrorEvent::Connected(line, addresses);
                    if events.send(wrap(connected)).await.is_err() {
                        return;
                    }
                    let why = tokio::select! {
                        error = connection.closed() => error.to_string(),
                        changed = places.changed() => {
                            connection.close(VarInt::from_u32(0), b"moved");
                            if changed.is_err() {
                                return;
                            }
                            "its address changed".to_owned()
                        }
                        straight = self.straight_again(&wanted, &retry), if by_tcp => {
                            connection.close(VarInt::from_u32(0), b"by UDP");
                            better = Some(straight);
                            "it answers by UDP".to_owned()
                        }
                    };
                    if since.elapsed() > WELL {
                        backoff.at_once();
                    }
                    why
                }
                Err(why) => why,
            };
            if events.send(wrap(MirrorEvent::Lost(why))).await.is_err() {
                return;
            }
            if better.is_some() {
                continue;
            }
            backoff.failed(steady_ms());
            let pause = Duration::from_millis(backoff.due().saturating_sub(steady_ms()));
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = retry.notified() => backoff.at_once(),
                changed = places.changed() => match changed {
                    Ok(()) => backoff.at_once(),
                    Err(_) => return,
                },
            }
        }
    }

    /// Waits until the mirror answers by UDP, while it is reached by TCP.
    async fn straight_again(
        &self,
        places: &BTreeSet<Place>,
        retry: &Notify,
    ) -> (Line, Vec<SocketAddr>) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(STRAIGHT_AGAIN) => {}
                () = retry.notified() => {}
            }
            if let Ok(connected) = connect(&self.endpoint, &self.key, places).await {
                return connected;
            }
        }
    }
}

/// Dials a server once; by TCP, if its mirror does not answer within `head_start`.
pub(crate) async fn connect_anyhow(
    endpoint: &Endpoint,
    key: &ServerKey,
    places: &BTreeSet<Place>,
    bearer: Bearer<'_>,
    head_start: Duration,
) -> Result<(Line, Vec<SocketAddr>), String> {
    let straight = connect(endpoint, key, places);
    let by_tcp = async {
        tokio::time::sleep(head_start).await;
        connect_by_tcp(endpoint, key, places, bearer).await
    };
    tokio::pin!(straight, by_tcp);
    tokio::select! {
        biased;
        connected = &mut straight => match connected {
            Ok(connected) => Ok(connected),
            // Why the mirror did not answer is what there is to mend.
            Err(why) => by_tcp.await.map_err(|_| why),
        },
        connected = &mut by_tcp => match connected {
            Ok(connected) => Ok(connected),
            Err(_) => straight.await,
        },
    }
}

async fn connect_by_tcp(
    endpoint: &Endpoint,
    key: &ServerKey,
    places: &BTreeSet<Place>,
    bearer: Bearer<'_>,
) -> Result<(Line, Vec<SocketAddr>), String> {
    let mut last = "it has no address".to_owned();
    for place in places.iter().take(MAX_ADDRESSES) {
        let connecting = endpoint.connect_server_by_tcp(key, place, bearer);
        match tokio::time::timeout(DIAL, connecting).await {
            Ok(Ok((connection, deputy))) => {
                let line = Line {
                    connection,
                    deputy: deputy.map(Arc::new),
                };
                let addresses = tokio::net::lookup_host((place.0.as_str(), place.1)).await;
                let addresses = addresses.map(Iterator::collect).unwrap_or_default();
                return Ok((line, addresses));
            }
            Ok(Err(why)) => last = why,
            Err(_) => last = "no answer by TCP either".to_owned(),
        }
    }
    Err(last)
}

/// Looks the places up and dials them all by UDP, once.
async fn connect(
    endpoint: &Endpoint,
    key: &ServerKey,
    places: &BTreeSet<Place>,
) -> Result<(Line, Vec<SocketAddr>), String> {
    let dialled = async {
        let mut addresses: Vec<SocketAddr> = Vec::new();
        let mut unknown = None;
        for (host, port) in places {
            match tokio::net::lookup_host((host.as_str(), *port)).await {
                Ok(found) => addresses.extend(found),
                Err(error) => unknown = Some(format!("{host} is not found: {error}")),
            }
        }
        addresses.truncate(MAX_ADDRESSES);
        if addresses.is_empty() {
            return Err(unknown.unwrap_or_else(|| "it has no address".to_owned()));
        }
        let line = Line {
            connection: endpoint.connect_server(key, &addresses).await?,
            deputy: None,
        };
        Ok((line, addresses))
    };
    match tokio::time::timeout(DIAL, dialled).await {
        Ok(result) => result,
        Err(_) => Err("no answer".to_owned()),
    }
}

/// A stream before or without tasks of its own.
pub(crate) struct Talk {
    send: SendStream,
    recv: RecvStream,
}

impl Talk {
    /// Opens a stream.
    pub(crate) async fn open(connection: &Connection) -> Result<Self, String> {
        match tokio::time::timeout(OPEN, connection.open_bi()).await {
            Ok(Ok((send, recv))) => Ok(Self { send, recv }),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("the server opens no stream".to_owned()),
        }
    }

    /// Says something.
    pub(crate) async fn say(&mut self, request: &Request) -> Result<(), String> {
        say(&mut self.send, request).await
    }

    /// What the server says next.
    pub(crate) async fn hear(&mut self) -> Result<Response, String> {
        hear(&mut self.recv).await
    }
}

async fn say(send: &mut SendStream, request: &Request) -> Result<(), String> {
    let bytes = request.encode().map_err(|error| error.to_string())?;
    send.write_all(&bytes)
        .await
        .map_err(|error| error.to_string())
}

async fn hear(recv: &mut RecvStream) -> Result<Response, String> {
    let mut prefix = [0; 4];
    recv.read_exact(&mut prefix)
        .await
        .map_err(|error| error.to_string())?;
    let bad = |error: BadFrame| error.to_string();
    let length = body_length(prefix, MAX_FRAME).map_err(bad)?;
    let mut body = vec![0; length];
    recv.read_exact(&mut body)
        .await
        .map_err(|error| error.to_string())?;
    Response::decode(&body).map_err(bad)
}

/// The node's end of a stream about one network. Dropping it ends the stream.
pub(crate) struct Stream {
    requests: mpsc::UnboundedSender<Request>,
    task: JoinHandle<()>,
}

impl Stream {
    /// Opens a stream in a task of its own. Each event is handed to `events` with the stream's number.
    pub(crate) fn spawn<E: Send + 'static>(
        number: u64,
        Line { connection, deputy }: Line,
        events: mpsc::Sender<E>,
        wrap: impl Fn(MirrorEvent) -> E + Send + Sync + 'static,
    ) -> Self {
        // Not bounded here: a session asks one thing at a time.
        let (requests, mut outgoing) = mpsc::unbounded_channel::<Request>();
        let task = tokio::spawn(async move {
            let carried = async {
                let Talk { mut send, mut recv } = Talk::open(&connection).await?;
                let writing = async {
                    while let Some(request) = outgoing.recv().await {
                        let request = match &deputy {
                            Some(deputy) => deputy.says(request),
                            None => request,
                        };
                        say(&mut send, &request).await?;
                    }
                    Ok::<(), String>(())
                };
                let reading = async {
                    let room = Arc::new(Semaphore::new(MAX_WAITING));
                    loop {
                        let Ok(permit) = room.clone().acquire_owned().await else {
                            return Ok(());
                        };
                        let response = hear(&mut recv).await?;
                        let said = MirrorEvent::Said(number, response, permit);
                        if events.send(wrap(said)).await.is_err() {
                            return Ok(());
                        }
                    }
                };
                // A server that says no ends the stream; what it said is read first.
                tokio::try_join!(
                    async {
                        // Only reading finds out why.
                        let _ = writing.await;
                        Ok(())
                    },
                    reading
                )
                .map(|_: ((), ())| ())
            };
            let why = carried.await.err().unwrap_or_default();
            let _ = events.send(wrap(MirrorEvent::Ended(number, why))).await;
        });
        Self { requests, task }
    }

    /// Queues a request.
    pub(crate) fn say(&self, request: Request) {
        // A stream that has ended says so itself.
        let _ = self.requests.send(request);
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.task.abort();
    }
}
