//! Control links: the tasks that carry frames and datagrams of one iroh connection.
//!
//! A link's reader hands frames to the node and waits until the node is done with all but a few, so that a peer that talks
//! too fast is held back by QUIC's own flow control; and a device that pushes more of its own events than its allowance is not
//! read for a while ([`Link::pause`]). What the node sends is queued without waiting, up to [`MAX_QUEUED`] bytes for one peer and
//! [`MAX_ALL_QUEUED`] for all; a peer that does not read that much is cut off. A whole ledger is not queued but made as it is written ([`Link::stream`]).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use iroh::TransportAddr;
use iroh::endpoint::{Connection, RecvStream, SendStream, VarInt};
use mesh_core::callers::Caller;
use mesh_core::link::{BadFrame, Frame, Hello, MAX_FRAME, Refusal, Role};
use mesh_core::peer::PeerId;
use mesh_core::slots::Origin;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// The most bytes of memory that are queued for a peer.
const MAX_QUEUED: usize = 96 << 20;
/// The most that are queued for all together; then those are cut off for whom more than [`FAIR`] waits.
const MAX_ALL_QUEUED: usize = 256 << 20;
/// What every peer may let wait, however much others do.
const FAIR: usize = 2 << 20;
/// A ledger that is made as it is written counts so much in the queue: what it keeps of the events is their ids.
const STREAM: usize = 4 << 20;
/// The longest frame of somebody who may be anybody.
const MAX_GREETING: usize = 4096;
/// How many frames of one link wait for the node; its reader waits then.
const MAX_WAITING: usize = 4;
/// How long a link is not read at once, however much its device pushes: shorter than it takes to be thought gone.
const MAX_PAUSE: Duration = Duration::from_secs(20);
/// How long a greeting may take.
const GREETING: Duration = Duration::from_secs(5);
/// How long an introduction may take.
const INTRODUCTION: Duration = Duration::from_secs(15);
/// The most events with which a device tells who it is. A stranger has no more of this device's time.
pub(crate) const MAX_INTRODUCTION: usize = 1024;
/// The most events that a member may tell to prove something.
pub(crate) const MAX_PROOF: usize = 8192;

/// What went wrong on a link.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    /// The connection or stream ended.
    #[error("the connection ended: {0}")]
    Ended(String),
    /// What came is no frame.
    #[error(transparent)]
    Frame(#[from] BadFrame),
    /// The greeting took too long.
    #[error("no greeting in time")]
    Slow,
    /// The other side does not want to.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A name was used by another key than the one it belongs to.
    #[error("dialled by a name that belongs to another device")]
    Posing,
    /// Something else than a greeting came first.
    #[error("the other side sent what it must not")]
    Protocol,
}

/// Both ends of a connection's stream, before it becomes a link.
pub(crate) struct Wire {
    pub(crate) connection: Connection,
    pub(crate) send: SendStream,
    pub(crate) recv: RecvStream,
}

impl Wire {
    /// The device at the other end, as iroh has proven it.
    pub(crate) fn peer(&self) -> PeerId {
        PeerId(*self.connection.remote_id().as_bytes())
    }

    /// Where the device at the other end comes from, for what is bounded by that.
    pub(crate) fn origin(&self) -> Origin {
        let paths = self.connection.paths();
        let path = paths.iter().find(iroh::endpoint::Path::is_selected);
        match path
            .or_else(|| paths.iter().next())
            .map(|path| path.remote_addr().clone())
        {
            Some(TransportAddr::Ip(address)) => address.into(),
            _ => Origin::Device(self.peer()),
        }
    }

    /// Opens the stream of a connection this device dialled, and greets.
    pub(crate) async fn greet(connection: Connection, hello: Hello) -> Result<Greeting, LinkError> {
        let greeting = async {
            let (send, recv) = connection.open_bi().await.map_err(ended)?;
            let mut wire = Self {
                connection,
                send,
                recv,
            };
            wire.write(&Frame::Hello(hello)).await?;
            match wire.read().await? {
                Frame::Welcome(reply) => Ok(Greeting::Welcome(wire, reply)),
                Frame::Refused(Refusal::Unknown) => Ok(Greeting::Unknown(wire)),
                Frame::Refused(Refusal::Removed) => {
                    Ok(Greeting::Removed(wire.take_events(MAX_PROOF).await))
                }
                Frame::Refused(refusal) => Err(refusal.into()),
                _ => Err(LinkError::Protocol),
            }
        };
        tokio::time::timeout(GREETING, greeting)
            .await
            .map_err(|_| LinkError::Slow)?
    }

    /// Takes the stream and the greeting of a connection that was dialled as this caller.
    pub(crate) async fn greeted(
        connection: Connection,
        caller: &Caller,
    ) -> Result<(Self, Hello), LinkError> {
        if !caller.may_be(&PeerId(*connection.remote_id().as_bytes())) {
            connection.close(VarInt::from_u32(6), b"");
            return Err(LinkError::Posing);
        }
        let greeting = async {
            let (send, recv) = connection.accept_bi().await.map_err(ended)?;
            let mut wire = Self {
                connection,
                send,
                recv,
            };
            match read(&mut wire.recv, MAX_GREETING).await? {
                Frame::Hello(hello) if caller.may_say(&hello) => Ok((wire, hello)),
                _ => Err(LinkError::Protocol),
            }
        };
        tokio::time::timeout(GREETING, greeting)
            .await
            .map_err(|_| LinkError::Slow)?
    }

    /// Sends a frame and waits until it is on its way.
    pub(crate) async fn write(&mut self, frame: &Frame) -> Result<(), LinkError> {
        write(&mut self.send, frame).await
    }

    /// Sends frames one after the other.
    pub(crate) async fn write_all(&mut self, frames: Frames) -> Result<(), LinkError> {
        write_all(&mut self.send, frames).await
    }

    /// The next frame.
    pub(crate) async fn read(&mut self) -> Result<Frame, LinkError> {
        read(&mut self.recv, MAX_FRAME).await
    }

    /// The next frame, of somebody who may be anybody.
    pub(crate) async fn read_short(&mut self) -> Result<Frame, LinkError> {
        read(&mut self.recv, MAX_GREETING).await
    }

    /// Tells a device that does not know this one who this is: sends the events, then closes.
    pub(crate) async fn introduce(mut self, events: Frames) {
        let sent = async {
            self.write_all(events).await?;
            let _ = self.send.finish();
            let _ = self.send.stopped().await;
            Ok::<_, LinkError>(())
        };
        // It is tried again with the next dial.
        let _ = tokio::time::timeout(INTRODUCTION, sent).await;
        self.connection.close(VarInt::from_u32(0), b"introduced");
    }

    /// Says that the device at the other end is unknown, and takes the events with which it introduces itself, `most` at most.
    pub(crate) async fn be_introduced(mut self, most: usize) -> Vec<Vec<u8>> {
        if self.write(&Frame::Refused(Refusal::Unknown)).await.is_err() {
            return Vec::new();
        }
        let events = self.take_events(most).await;
        self.connection.close(VarInt::from_u32(0), b"heard");
        events
    }

    async fn take_events(&mut self, most: usize) -> Vec<Vec<u8>> {
        let mut events = Vec::new();
        let heard = async {
            while events.len() < most {
                let Frame::Events(more) = self.read().await? else {
                    break;
                };
                events.extend(more);
            }
            events.truncate(most);
            Ok::<_, LinkError>(())
        };
        // What came before it broke off may do.
        let _ = tokio::time::timeout(INTRODUCTION, heard).await;
        events
    }

    /// Says no, with what proves it if there is something, and closes once that has arrived or a moment has passed.
    pub(crate) async fn refuse(mut self, refusal: Refusal, proof: Frames) {
        let told = async {
            self.write(&Frame::Refused(refusal)).await?;
            self.write_all(proof).await?;
            // Ends the stream; a peer that reads it closes the connection then.
            let _ = self.send.finish();
            let _ = self.send.stopped().await;
            Ok::<_, LinkError>(())
        };
        // A peer that does not read it is closed all the same.
        let _ = tokio::time::timeout(GREETING, told).await;
        self.connection.close(VarInt::from_u32(1), b"refused");
    }
}

/// How a greeting was answered.
pub(crate) enum Greeting {
    /// Go on; to a joiner with the reply to its challenge.
    Welcome(Wire, Vec<u8>),
    /// The other side does not know this device as a member yet; it will read the events that say so.
    Unknown(Wire),
    /// The other side says that this device was removed, and sent the events that prove it.
    Removed(Vec<Vec<u8>>),
}

/// A number for each link of this run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LinkId(pub(crate) u64);

/// What a link tells the node.
#[derive(Debug)]
pub(crate) enum LinkEvent {
    /// A frame came. The next but few is read when this one is done with and dropped.
    Frame(Frame, OwnedSemaphorePermit),
    /// The link is gone, and why.
    Closed(String),
}

/// Frames that are made as they are written. Making one may block.
pub(crate) type Frames = Box<dyn Iterator<Item = Frame> + Send>;

enum Outgoing {
    Frame(Frame),
    Stream(Frames),
}

/// The node's end of a link. Dropping it closes the connection.
pub(crate) struct Link {
    pub(crate) connection: Connection,
    frames: mpsc::UnboundedSender<Outgoing>,
    queued: Arc<Queued>,
    /// Milliseconds for which the reader is to rest before the next frame.
    rest: Arc<AtomicU64>,
}

/// The bytes of memory that wait to be sent over all links. Cheap to clone; all clones are one.
#[derive(Clone, Default)]
pub(crate) struct Backlog(Arc<AtomicUsize>);

/// What waits to be sent over one link.
struct Queued {
    own: AtomicUsize,
    all: Backlog,
}

impl Queued {
    const fn new(all: Backlog) -> Self {
        Self {
            own: AtomicUsize::new(0),
            all,
        }
    }

    /// So much more waits. Whether that is not too much.
    fn add(&self, cost: usize) -> bool {
        let all = self.all.0.fetch_add(cost, Ordering::Relaxed);
        let own = self.own.fetch_add(cost, Ordering::Relaxed);
        own <= MAX_QUEUED && (own <= FAIR || all <= MAX_ALL_QUEUED)
    }

    fn sub(&self, cost: usize) {
        self.own.fetch_sub(cost, Ordering::Relaxed);
        self.all.0.fetch_sub(cost, Ordering::Relaxed);
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        let left = *self.own.get_mut();
        self.all.0.fetch_sub(left, Ordering::Relaxed);
    }
}

impl Link {
    /// Starts the tasks. Each event is handed to `events` with the link's number; the reader waits for room there.
    pub(crate) fn spawn<E: Send + 'static>(
        id: LinkId,
        wire: Wire,
        backlog: Backlog,
        events: mpsc::Sender<E>,
        wrap: impl Fn(LinkId, LinkEvent) -> E + Send + Sync + 'static,
    ) -> Self {
        let Wire {
            connection,
            mut send,
            mut recv,
        } = wire;
        let (frames, mut outgoing) = mpsc::unbounded_channel::<Outgoing>();
        let queued = Arc::new(Queued::new(backlog));
        let left = queued.clone();
        let rest = Arc::new(AtomicU64::new(0));
        let resting = rest.clone();
        let reading = connection.clone();
        let writing = connection.clone();
        tokio::spawn(async move {
            while let Some(next) = outgoing.recv().await {
                let written = match next {
                    Outgoing::Frame(frame) => {
                        let written = write(&mut send, &frame).await;
                        left.sub(cost(&frame));
                        written
                    }
                    Outgoing::Stream(frames) => {
                        let written = write_all(&mut send, frames).await;
                        left.sub(STREAM);
                        written
                    }
                };
                if written.is_err() {
                    break;
                }
            }
            // All that was queued is written; it arrives before the end of the stream does.
            let _ = send.finish();
            let _ = tokio::time::timeout(Duration::from_millis(500), send.stopped()).await;
            writing.close(VarInt::from_u32(0), b"done");
        });
        tokio::spawn(async move {
            let room = Arc::new(Semaphore::new(MAX_WAITING));
            let why = loop {
                // The semaphore is never closed.
                let Ok(permit) = room.clone().acquire_owned().await else {
                    return;
                };
                let rest = resting.swap(0, Ordering::Relaxed);
                if rest > 0 {
                    tokio::select! {
                        () = tokio::time::sleep(Duration::from_millis(rest)) => {}
                        _ = reading.closed() => {}
                    }
                }
                match read(&mut recv, MAX_FRAME).await {
                    Ok(frame) => {
                        let event = wrap(id, LinkEvent::Frame(frame, permit));
                        if events.send(event).await.is_err() {
                            return;
                        }
                    }
                    Err(error) => break error.to_string(),
                }
            };
            // The node is gone if this fails, and nobody wants to know.
            let _ = events.send(wrap(id, LinkEvent::Closed(why))).await;
        });
        Self {
            connection,
            frames,
            queued,
            rest,
        }
    }

    /// Reads nothing more for so many milliseconds, or as many as a link can rest: back-pressure, never refusal. What the
    /// device wrote comes later, or by sync with others.
    pub(crate) fn pause(&self, wait: u64) {
        self.rest.fetch_max(rest(wait), Ordering::Relaxed);
    }

    /// Queues a frame. Closes the connection of a peer that reads too little.
    pub(crate) fn send(&self, frame: Frame) {
        self.queue(cost(&frame), Outgoing::Frame(frame));
    }

    /// Queues frames that are made one after the other, when the one before is on its way.
    pub(crate) fn stream(&self, frames: Frames) {
        self.queue(STREAM, Outgoing::Stream(frames));
    }

    fn queue(&self, cost: usize, outgoing: Outgoing) {
        if !self.queued.add(cost) || self.frames.send(outgoing).is_err() {
            self.connection.close(VarInt::from_u32(2), b"too slow");
        }
    }

    /// Closes the connection now, whatever is queued.
    pub(crate) fn cut(&self) {
        self.connection.close(VarInt::from_u32(3), b"cut");
    }
}

fn rest(wait: u64) -> u64 {
    wait.min(MAX_PAUSE.as_millis() as u64)
}

/// The bytes of memory that a queued frame takes: its place in the queue, and each allocation with what that costs beside.
fn cost(frame: &Frame) -> usize {
    let place = ALLOCATION + size_of::<Outgoing>();
    place
        + match frame {
            Frame::Welcome(bytes)
            | Frame::Sync(bytes)
            | Frame::Beacon(bytes)
            | Frame::Redeem(bytes)
            | Frame::Redeemed(bytes)
            | Frame::Code(bytes)
            | Frame::Handover(bytes) => bytes.capacity() + ALLOCATION,
            Frame::Events(events) => {
                let bodies = events.iter().map(|event| event.capacity() + ALLOCATION);
                allocated(events) + bodies.sum::<usize>()
            }
            Frame::Stored(ids) => allocated(ids),
            Frame::Call(call) => allocated(&call.candidates),
            Frame::Hello(Hello { role, .. }) => match role {
                Role::Member => 0,
                Role::Joiner(bytes) | Role::Code(bytes) => bytes.capacity() + ALLOCATION,
            },
            Frame::Refused(_)
            | Frame::KeyWanted(_)
            | Frame::Key(_)
            | Frame::ResetTunnel
            | Frame::Goodbye
            | Frame::Asked(..)
            | Frame::Said(..)
            | Frame::OfferKeyWanted(_)
            | Frame::OfferKey(_) => 0,
        }
}

fn allocated<T>(list: &Vec<T>) -> usize {
    list.capacity() * size_of::<T>() + ALLOCATION
}

/// What an allocation costs beside its bytes.
const ALLOCATION: usize = 16;

async fn write(send: &mut SendStream, frame: &Frame) -> Result<(), LinkError> {
    let bytes = frame.encode()?;
    send.write_all(&bytes).await.map_err(ended)
}

async fn write_all(send: &mut SendStream, mut frames: Frames) -> Result<(), LinkError> {
    while let Some(frame) = tokio::task::block_in_place(|| frames.next()) {
        write(send, &frame).await?;
    }
    Ok(())
}

async fn read(recv: &mut RecvStream, limit: usize) -> Result<Frame, LinkError> {
    let mut prefix = [0; 4];
    recv.read_exact(&mut prefix).await.map_err(ended)?;
    let length = Frame::body_length(prefix)?;
    if length > limit {
        return Err(BadFrame::TooLong(length).into());
    }
    let mut body = vec![0; length];
    recv.read_exact(&mut body).await.map_err(ended)?;
    Ok(Frame::decode(&body)?)
}

fn ended(error: impl std::fmt::Display) -> LinkError {
    LinkError::Ended(error.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::net::{Ipv4Addr, SocketAddr};

    use super::*;
    use iroh::endpoint::{PortmapperConfig, RelayMode, presets};
    use iroh::{Endpoint, EndpointAddr};

    const NAME: &[u8] = b"any";

    /// Both ends of a link over loopback, and what must be kept as long as they are.
    async fn pair() -> (Wire, Wire, [Endpoint; 2]) {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let bind = || {
            Endpoint::builder(presets::Minimal)
                .alpns(vec![NAME.to_vec()])
                .relay_mode(RelayMode::Disabled)
                .clear_address_lookup()
                .portmapper_config(PortmapperConfig::Disabled)
                .clear_ip_transports()
                .bind_addr(any)
                .unwrap()
                .bind()
        };
        let (near, far) = (bind().await.unwrap(), bind().await.unwrap());
        let place = far.bound_sockets()[0];
        let address = EndpointAddr::new(far.id()).with_ip_addr(place);
        let accepted = async { far.accept().await.unwrap().await.unwrap() };
        let (dialled, accepted) = tokio::join!(near.connect(address, NAME), accepted);
        let hello = Hello {
            network: mesh_ledger::ids::NetworkId([1; 32]),
            role: mesh_core::link::Role::Joiner(Vec::new()),
        };
        let caller = Caller::Joiner(hello.network);
        let welcome = async {
            let (mut wire, _) = Wire::greeted(accepted, &caller).await.unwrap();
            wire.write(&Frame::Welcome(Vec::new())).await.unwrap();
            wire
        };
        match tokio::join!(Wire::greet(dialled.unwrap(), hello), welcome) {
            (Ok(Greeting::Welcome(wire, _)), other) => (wire, other, [near, far]),
            _ => panic!("not welcome"),
        }
    }

    /// A megabyte.
    fn large() -> Frame {
        Frame::Events(vec![vec![7; 4096]; 256])
    }

    /// More of them than may be queued.
    const MANY: usize = (MAX_QUEUED >> 20) + 16;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_ledger_of_any_length_is_made_as_it_is_read_and_what_is_sent_afterwards_comes_behind_it()
     {
        let (near, mut far, _sockets) = pair().await;
        let (events, _kept) = mpsc::channel(1);
        let link = Link::spawn(LinkId(1), near, Backlog::default(), events, |_, event| {
            event
        });
        let made = Arc::new(AtomicUsize::new(0));
        let count = made.clone();
        link.stream(Box::new((0..MANY).map(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
            large()
        })));
        link.send(Frame::Goodbye);
        for read in 0..MANY {
            // QUIC has some under way.
            assert!(made.load(Ordering::Relaxed) <= read + 32);
            assert_eq!(far.read().await.unwrap(), large());
        }
        assert_eq!(far.read().await.unwrap(), Frame::Goodbye);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_peer_that_does_not_read_what_is_sent_to_it_is_cut_off() {
        let (near, far, _sockets) = pair().await;
        let (events, _kept) = mpsc::channel(1);
        let link = Link::spawn(LinkId(1), near, Backlog::default(), events, |_, event| {
            event
        });
        for _ in 0..MANY + 32 {
            link.send(large());
        }
        let why = far.connection.closed().await;
        assert!(why.to_string().contains("too slow"), "{why}");
    }

    #[test]
    fn a_queued_frame_counts_the_memory_that_it_takes() {
        let plain = Frame::ResetTunnel;
        assert!(cost(&plain) >= size_of::<Frame>(), "{}", cost(&plain));
        let mut few = Vec::with_capacity(100_000);
        few.push(1);
        assert!(cost(&Frame::Beacon(few)) >= 100_000);
        let empty = Frame::Events(vec![Vec::new(); 256]);
        assert!(
            cost(&empty) >= 256 * size_of::<Vec<u8>>(),
            "{}",
            cost(&empty)
        );
    }

    #[test]
    fn all_links_have_one_limit_together_and_each_its_fair_part() {
        let backlog = Backlog::default();
        let links: Vec<Queued> = (0..4).map(|_| Queued::new(backlog.clone())).collect();
        let mut cut = 0;
        for link in &links {
            for _ in 0..80 {
                cut += usize::from(!link.add(1 << 20));
            }
        }
        assert!(cut > 0, "320 MiB do not wait");
        let new = Queued::new(backlog.clone());
        assert!(new.add(1 << 20), "who reads is served");
        assert!(new.add(2 << 20) && !new.add(1));
        drop((links, new));
        assert_eq!(
            backlog.0.load(Ordering::Relaxed),
            0,
            "what is dropped waits no more"
        );
    }

    #[test]
    fn a_device_that_floods_rests_and_is_never_thought_gone_for_it() {
        assert_eq!(rest(0), 0);
        assert_eq!(rest(60_000), 20_000);
        assert!(Duration::from_millis(rest(u64::MAX)) < mesh_core::beacon::LIFETIME);
    }
}
