//! The thread of a socket: from what the kernel has to the peers it is for.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use noq_udp::{RecvMeta, UdpSockRef};

use super::gate::Gate;
use super::{Inner, Socket, canonical};
use crate::inward::{BATCH, Inward};
use crate::own::{COOKIE_REPLY, Checked};
use crate::peer::{COOKIE, DATA, INITIATION, RESPONSE, Slot};
use crate::shared::Shared;

/// How many merged datagrams are taken from the kernel at once, and how long each may be.
const READ: usize = 8;
const LONGEST: usize = 65_535;

pub(super) fn run(inner: &Inner, place: usize) {
    let Some(socket) = inner.sockets.get(place) else {
        return;
    };
    let mut memory = vec![0; READ * LONGEST];
    let mut metas = [RecvMeta::default(); READ];
    let mut receiver = Receiver {
        inner,
        socket,
        inward: Inward::new(),
        gate: Gate::new(),
        start: Instant::now(),
    };
    loop {
        match socket.wait.readable(&socket.socket) {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                tracing::error!(%error, "a socket of the packet path is lost");
                return;
            }
        }
        let mut slices: Vec<IoSliceMut<'_>> =
            memory.chunks_mut(LONGEST).map(IoSliceMut::new).collect();
        let count =
            match socket
                .state
                .recv(UdpSockRef::from(&socket.socket), &mut slices, &mut metas)
            {
                Ok(count) => count,
                // Others are about single datagrams, such as an earlier one that was refused.
                Err(error) => {
                    if error.kind() != io::ErrorKind::WouldBlock {
                        tracing::trace!(%error, "nothing could be received");
                    }
                    continue;
                }
            };
        for (bytes, meta) in slices.iter().zip(&metas).take(count) {
            if let Some(bytes) = bytes.get(..meta.len) {
                receiver.merged(canonical(meta.addr), bytes, meta.stride);
            }
        }
    }
}

struct Receiver<'a> {
    inner: &'a Inner,
    socket: &'a Socket,
    inward: Inward,
    gate: Gate,
    start: Instant,
}

impl Receiver<'_> {
    /// Datagrams of `stride` bytes each but the last, all from one address.
    fn merged(&mut self, from: SocketAddr, mut bytes: &[u8], stride: usize) {
        let stride = stride.max(1);
        while let Some(first) = bytes.chunks(stride).next() {
            let kind = kind(first);
            // What is for the same session is opened together.
            let alike = match (kind, first.get(..HEADER)) {
                (Some(DATA), Some(head)) => bytes
                    .chunks(stride)
                    .take(BATCH)
                    .take_while(|other| other.get(..HEADER) == Some(head))
                    .count(),
                _ => 1,
            };
            let (run, rest) = bytes
                .split_at_checked(alike * stride)
                .unwrap_or((bytes, &[]));
            bytes = rest;
            match kind {
                None => (self.inner.strays)(from, first),
                Some(INITIATION) => self.initiation(from, first),
                Some(RESPONSE) => self.response(from, first),
                Some(COOKIE) => self.cookie(from, first),
                Some(_) => self.data(from, run, stride),
            }
        }
    }

    fn data(&mut self, from: SocketAddr, run: &[u8], stride: usize) {
        let tunnels = self.inner.tunnels.load();
        if let Some((shared, slot)) = addressee(&tunnels, receiver(run, 4)) {
            self.open(shared, &slot, from, run.chunks(stride));
        }
    }

    fn cookie(&mut self, from: SocketAddr, message: &[u8]) {
        let tunnels = self.inner.tunnels.load();
        if let Some((shared, slot)) = addressee(&tunnels, receiver(message, 4)) {
            self.open(shared, &slot, from, std::iter::once(message));
        }
    }

    fn response(&mut self, from: SocketAddr, message: &[u8]) {
        let tunnels = self.inner.tunnels.load();
        if let Some((shared, slot)) = addressee(&tunnels, receiver(message, 8))
            && shared.own.load().fits(message)
            && self.granted(shared, from, message)
        {
            self.open(shared, &slot, from, std::iter::once(message));
        }
    }

    fn initiation(&mut self, from: SocketAddr, message: &[u8]) {
        let tunnels = self.inner.tunnels.load();
        let mut fitting = tunnels
            .iter()
            .filter(|shared| shared.own.load().fits(message));
        // No two networks have the same key.
        let Some(shared) = fitting.next() else {
            return;
        };
        if !self.granted(shared, from, message) {
            return;
        }
        let Some(key) = shared.own.load().claimed(message) else {
            return;
        };
        let snapshot = shared.snapshot.load();
        if let Some(slot) = snapshot
            .by_key
            .get(&key)
            .and_then(|place| snapshot.slots.get(*place))
        {
            self.open(shared, slot, from, std::iter::once(message));
        }
    }

    /// Whether a message of a handshake may be looked at. If not for the number of them all, its sender is told how to go on.
    fn granted(&mut self, shared: &Shared, from: SocketAddr, message: &[u8]) -> bool {
        if !self.gate.lets(from.ip(), self.start.elapsed()) {
            return false;
        }
        let mut answer = [0; COOKIE_REPLY];
        match shared.own.load().count(from.ip(), message, &mut answer) {
            Checked::Passes => true,
            Checked::Answer => {
                // A way that is full loses it, as it may lose anything.
                let _ = self.socket.send(from, &answer, None);
                false
            }
            Checked::Foreign => false,
        }
    }

    fn open<'m>(
        &mut self,
        shared: &Shared,
        slot: &Slot,
        from: SocketAddr,
        messages: impl Iterator<Item = &'m [u8]>,
    ) {
        let passing = shared
            .passing
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        if *passing {
            self.inward.open(shared, slot, Some(from), messages);
        }
    }
}

/// Type and receiver index of a message of data.
const HEADER: usize = 8;

/// The type of a message of WireGuard's; `None` if it is something else.
fn kind(datagram: &[u8]) -> Option<u8> {
    match *datagram.first_chunk::<4>()? {
        [kind @ INITIATION..=DATA, 0, 0, 0] => Some(kind),
        _ => None,
    }
}

/// The number of the session that a message is for, by the index at this place of it.
fn receiver(message: &[u8], place: usize) -> Option<u32> {
    let index = message.get(place..)?.first_chunk::<4>()?;
    Some(u32::from_le_bytes(*index) >> 8)
}

/// The peer whose session has this number, and its network.
fn addressee(tunnels: &[Arc<Shared>], number: Option<u32>) -> Option<(&Arc<Shared>, Arc<Slot>)> {
    let number = number?;
    tunnels
        .iter()
        .find_map(|shared| Some((shared, shared.sessions.find(number)?)))
}
