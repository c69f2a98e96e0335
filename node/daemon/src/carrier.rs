//! What carries sealed messages to a peer: the way past its link, and the link.
//!
//! The iroh carrier takes sealed WireGuard messages as datagrams of a control connection.
//!
//! The packet threads must never wait, and a full QUIC buffer must not throw away what it has. So each connection has a
//! queue of its own, bounded in messages: what finds no room is dropped at its tail, as a network card does it, and the
//! inner TCP slows down. A task empties the queue as fast as the connection's congestion control lets it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use iroh::endpoint::Connection;
use mesh_core::peer::PeerId;
use mesh_tunnel::carrier::Framed;
use mesh_tunnel::frame::{self, Reassembler};
use mesh_tunnel::{Carrier, SealedBatch};
use tokio::sync::mpsc;

use crate::node::SharedTunnel;
use crate::ways::Way;

/// The most messages that wait for one peer.
const QUEUE: usize = 1024;
/// What a datagram costs in the connection's buffer beside its bytes, at most.
const OVERHEAD: usize = 16;
/// The most datagrams read at once.
const READ: usize = 64;

/// See the module.
pub(crate) struct IrohCarrier {
    connection: Connection,
    queue: mpsc::UnboundedSender<Framed>,
    waiting: Arc<AtomicUsize>,
}

impl IrohCarrier {
    /// Starts the task that sends. It ends with the carrier or the connection.
    pub(crate) fn spawn(connection: Connection) -> Arc<Self> {
        let (queue, batches) = mpsc::unbounded_channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        tokio::spawn(empty(connection.clone(), batches, waiting.clone()));
        Arc::new(Self {
            connection,
            queue,
            waiting,
        })
    }
}

impl Carrier for IrohCarrier {
    fn send(&self, batch: SealedBatch<'_>) -> usize {
        let messages = batch.len();
        if self.waiting.fetch_add(messages, Ordering::Relaxed) + messages > QUEUE
            || self.queue.send(batch.framed()).is_err()
        {
            self.waiting.fetch_sub(messages, Ordering::Relaxed);
            return messages;
        }
        0
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
    way: Arc<Way>,
}

impl PeerCarrier {
    pub(crate) fn new(link: Option<Arc<IrohCarrier>>, way: Arc<Way>) -> Arc<Self> {
        Arc::new(Self { link, way })
    }
}

impl Carrier for PeerCarrier {
    fn send(&self, batch: SealedBatch<'_>) -> usize {
        let link = |batch: SealedBatch<'_>| match &self.link {
            _ if batch.is_empty() => 0,
            Some(link) => link.send(batch),
            None => batch.len(),
        };
        match self.way.open() {
            Some(open) => {
                let (short, long) = batch.split(open.carrier.max_message());
                let lost = if short.is_empty() {
                    0
                } else {
                    open.carrier.send(short)
                };
                lost + link(long)
            }
            None => link(batch),
        }
    }

    fn max_message(&self) -> usize {
        let link = self.link.as_ref().map_or(0, |link| link.max_message());
        let way = self.way.open().map_or(0, |open| open.carrier.max_message());
        link.max(way)
    }
}

async fn empty(
    connection: Connection,
    mut batches: mpsc::UnboundedReceiver<Framed>,
    waiting: Arc<AtomicUsize>,
) {
    let mut id: u16 = 0;
    let mut datagrams: Vec<Bytes> = Vec::new();
    while let Some(batch) = batches.recv().await {
        let Some(limit) = connection.max_datagram_size() else {
            return;
        };
        for framed in batch.messages() {
            id = id.wrapping_add(1);
            datagrams.extend(frame::fit(&framed, limit, id).into_iter().flatten());
        }
        waiting.fetch_sub(batch.len(), Ordering::Relaxed);
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

/// Hands the datagrams of a connection to the tunnel of its network until the connection ends.
pub(crate) async fn receive(connection: Connection, peer: PeerId, tunnel: SharedTunnel) {
    let mut reassembler = Reassembler::new();
    let mut datagrams = vec![Bytes::new(); READ];
    while let Ok(count) = connection.read_many_datagrams(&mut datagrams).await {
        let messages: Vec<Bytes> = datagrams
            .iter_mut()
            .take(count)
            .filter_map(|datagram| reassembler.accept(&std::mem::take(datagram)))
            .collect();
        if let Some(tunnel) = tunnel.load().as_ref()
            && !messages.is_empty()
        {
            tunnel.receive(&peer, messages);
        }
    }
}
