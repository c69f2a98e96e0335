//! Sending to a peer's address.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use super::{Inner, Socket};
use crate::carrier::{Carrier, Run, SealedBatch};

/// See the module.
pub(super) struct UdpCarrier {
    inner: Arc<Inner>,
    to: SocketAddr,
    longest: usize,
}

impl UdpCarrier {
    pub(super) fn new(inner: Arc<Inner>, to: SocketAddr, longest: usize) -> Self {
        Self { inner, to, longest }
    }
}

impl Carrier for UdpCarrier {
    fn send(&self, batch: SealedBatch<'_>) -> usize {
        let Some(socket) = self.inner.socket(self.to) else {
            return batch.len();
        };
        let most = socket.state.max_gso_segments().get();
        batch
            .runs(most, MAX_RUN)
            .map(|run| send(socket, self.to, run))
            .sum()
    }

    fn max_message(&self) -> usize {
        self.longest
    }
}

/// Sends a run, and returns how many of its messages were dropped.
fn send(socket: &Socket, to: SocketAddr, run: Run<'_>) -> usize {
    if run.count == 1 {
        return usize::from(socket.send(to, run.bytes, None).is_err());
    }
    match socket.send(to, run.bytes, Some(run.length)) {
        Ok(()) => 0,
        // No room, and there will be none for its parts.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => run.count,
        // This way takes no runs.
        Err(_) => run
            .bytes
            .chunks(run.length)
            .filter(|message| socket.send(to, message, None).is_err())
            .count(),
    }
}

/// What one send may hold: the largest payload of a UDP datagram over IPv4.
const MAX_RUN: usize = 65_507;
