//! What carries sealed messages to a peer: the way past its link, and the link.
//!
//! The iroh carrier takes sealed WireGuard messages as datagrams of a control connection.
//!
//! The packet threads must never wait, and a full QUIC buffer must not throw away what it has. So each connection has a
//! queue of its own, bounded in messages: what finds no room is dropped at its tail, as a network card does it, and the
//! inner TCP slows down. A task empties the queue as fast as the connection's congestion control lets it.

mod narrow;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use iroh::endpoint::Connection;
use mesh_core::peer::PeerId;
use mesh_tunnel::carrier::Framed;
use mesh_tunnel::frame::{self, Forwarding, Reassembler};
use mesh_tunnel::{Carrier, SealedBatch};
use tokio::sync::mpsc;

use crate::forward::Junction;
use crate::node::SharedTunnel;
use crate::ways::{Open, Way};
use narrow::Narrow;

/// The most messages that wait for one peer.
const QUEUE: usize = 1024;
/// What a datagram costs in the connection's buffer beside its bytes, at most.
const OVERHEAD: usize = 16;
/// The most datagrams read at once.
const READ: usize = 64;

/// See the module.
pub(crate) struct IrohCarrier {
    connection: Connection,
    queue: mpsc::UnboundedSender<Item>,
    waiting: Arc<AtomicUsize>,
}

enum Item {
    /// Messages for the peer.
    Messages(Framed),
    /// The same, which are too long for the way that others take.
    TooLong(Framed, Arc<Way>),
    /// The way that others take carries less than it did.
    Narrowed(Arc<Way>),
    /// Messages that it is to forward.
    Forward(PeerId, Framed),
    /// A datagram as it is.
    Datagram(Bytes),
}

impl IrohCarrier {
    /// Starts the task that sends. It ends with the carrier or the connection.
    pub(crate) fn spawn(connection: Connection) -> Arc<Self> {
        let (queue, items) = mpsc::unbounded_channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        tokio::spawn(empty(connection.clone(), items, waiting.clone()));
        Arc::new(Self {
            connection,
            queue,
            waiting,
        })
    }

    /// Has the peer forward messages to another. Returns how many were dropped at once.
    pub(crate) fn forward(&self, to: PeerId, batch: SealedBatch<'_>) -> usize {
        self.put(batch.len(), || Item::Forward(to, batch.framed()))
    }

    /// As [`Carrier::send`], for messages that are too long for the way past the link.
    fn send_too_long(&self, batch: SealedBatch<'_>, way: &Arc<Way>) -> usize {
        self.put(batch.len(), || Item::TooLong(batch.framed(), way.clone()))
    }

    /// The way past the link carries less than it did, as the link may.
    fn narrowed(&self, way: &Arc<Way>) {
        self.put(1, || Item::Narrowed(way.clone()));
    }

    /// Sends a datagram as it is. False if there is no room.
    pub(crate) fn datagram(&self, datagram: Bytes) -> bool {
        self.put(1, || Item::Datagram(datagram)) == 0
    }

    fn put(&self, messages: usize, item: impl FnOnce() -> Item) -> usize {
        if self.waiting.fetch_add(messages, Ordering::Relaxed) + messages > QUEUE
            || self.queue.send(item()).is_err()
        {
            self.waiting.fetch_sub(messages, Ordering::Relaxed);
            return messages;
        }
        0
    }
}

impl Carrier for IrohCarrier {
    fn send(&self, batch: SealedBatch<'_>) -> usize {
        self.put(batch.len(), || Item::Messages(batch.framed()))
    }

    fn max_message(&self) -> usize {
        self.connection
            .max_datagram_size()
            .map_or(0, frame::max_message)
    }
}

/// All ways to one peer: the one past the link for what it can carry, and the link for everything else.
pub(crate) struct PeerCarrier {
    link: Option<Arc<IrohCarrier>>,
    /// Whether the link goes straight to the peer; else a server's relay carries it.
    straight: AtomicBool,
    way: Arc<Way>,
}

impl PeerCarrier {
    pub(crate) fn new(link: Option<Arc<IrohCarrier>>, way: Arc<Way>) -> Arc<Self> {
        Arc::new(Self {
            link,
            straight: AtomicBool::new(false),
            way,
        })
    }

    /// The link alone.
    pub(crate) fn link(&self) -> Option<&Arc<IrohCarrier>> {
        self.link.as_ref()
    }

    /// The way past the link carries less than it did: before a long message is lost on the link, that looks as well.
    pub(crate) fn narrowed(&self) {
        if let Some(link) = &self.link {
            link.narrowed(&self.way);
        }
    }

    /// Tells whether the link goes straight to the peer at the moment.
    pub(crate) fn set_straight(&self, straight: bool) {
        self.straight.store(straight, Ordering::Relaxed);
    }

    /// The way past the link that packets take: through a member only where the link would go through a server.
    pub(crate) fn way(&self) -> Option<Arc<Open>> {
        let straight = self.link.is_some() && self.straight.load(Ordering::Relaxed);
        let open = self.way.open()?;
        (!straight || open.choice.place.address().is_some()).then_some(open)
    }
}

impl Carrier for PeerCarrier {
    fn send(&self, batch: SealedBatch<'_>) -> usize {
        match (self.way(), &self.link) {
            (Some(open), link) => {
                let (short, long) = batch.split(open.carrier.max_message());
                let lost = if short.is_empty() {
                    0
                } else {
                    open.carrier.send(short)
                };
                let lost_long = match link {
                    _ if long.is_empty() => 0,
                    Some(link) => link.send_too_long(long, &self.way),
                    None => long.len(),
                };
                lost + lost_long
            }
            (None, Some(link)) if !batch.is_empty() => link.send(batch),
            (None, _) => batch.len(),
        }
    }

    fn max_message(&self) -> usize {
        let link = self.link.as_ref().map_or(0, |link| link.max_message());
        let way = self.way().map_or(0, |open| open.carrier.max_message());
        link.max(way)
    }
}

async fn empty(
    connection: Connection,
    mut items: mpsc::UnboundedReceiver<Item>,
    waiting: Arc<AtomicUsize>,
) {
    let (mut id, mut narrow) = (0_u16, Narrow::default());
    let mut datagrams: Vec<Bytes> = Vec::new();
    while let Some(item) = items.recv().await {
        let Some(limit) = connection.max_datagram_size() else {
            return;
        };
        if let Item::TooLong(_, way) | Item::Narrowed(way) = &item {
            narrow.suspect(&connection, way);
        }
        let messages = match item {
            Item::Messages(batch) | Item::TooLong(batch, _) => {
                for framed in batch.messages() {
                    id = id.wrapping_add(1);
                    datagrams.extend(frame::fit(&framed, limit, id).into_iter().flatten());
                }
                batch.len()
            }
            Item::Forward(to, batch) => {
                for framed in batch.messages() {
                    id = id.wrapping_add(1);
                    let inner = frame::fit(&framed, frame::MAX_INNER, id);
                    let inner = inner.into_iter().flatten();
                    datagrams.extend(inner.map(|inner| Forwarding::To(to, inner).write()));
                }
                batch.len()
            }
            Item::Datagram(datagram) => {
                datagrams.push(datagram);
                1
            }
            Item::Narrowed(_) => 1,
        };
        waiting.fetch_sub(messages, Ordering::Relaxed);
        let total: usize = datagrams
            .iter()
            .map(|datagram| datagram.len() + OVERHEAD)
            .sum();
        if connection.datagram_send_buffer_space() >= total
            && connection.send_many_datagrams(&datagrams).is_ok()
        {
            datagrams.clear();
            continue;
        }
        for datagram in datagrams.drain(..) {
            // A datagram that has become too long for the path is lost, as on any network; a lost connection ends this.
            if connection.send_datagram_wait(datagram).await.is_err()
                && connection.close_reason().is_some()
            {
                return;
            }
        }
    }
}

/// Hands the datagrams of a connection to the tunnel of its network until the connection ends, and passes on what is for others.
pub(crate) async fn receive(
    connection: Connection,
    peer: PeerId,
    tunnel: SharedTunnel,
    mut junction: Junction,
) {
    let mut reassembler = Reassembler::new();
    let mut datagrams = vec![Bytes::new(); READ];
    while let Ok(count) = connection.read_many_datagrams(&mut datagrams).await {
        let mut messages: Vec<Bytes> = Vec::new();
        for datagram in datagrams.iter_mut().take(count) {
            let datagram = std::mem::take(datagram);
            match Forwarding::read(&datagram) {
                Some(forwarding) => junction.take(forwarding),
                None => messages.extend(reassembler.accept(&datagram)),
            }
        }
        if let Some(tunnel) = tunnel.load().as_ref() {
            if !messages.is_empty() {
                tunnel.receive(&peer, messages);
            }
            junction.deliver(tunnel);
        }
    }
}
