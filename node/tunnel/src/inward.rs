//! From sealed messages to packets for the device: the thread that does it for what the links deliver, and what it shares
//! with the threads of the sockets.

use std::net::SocketAddr;

use bytes::Bytes;
use mesh_core::filter::{Reason, Verdict};
use mesh_core::packet;

use crate::carrier::Arena;
use crate::device::HEADROOM;
use crate::peer::{HANDSHAKE, OVERHEAD, Opened, Slot};
use crate::shared::Shared;
use crate::table::{Dropped, Event};

/// How many messages of one peer are opened before it is another's turn.
pub(crate) const BATCH: usize = 128;
/// The longest inner packet that is taken whatever this device's own MTU: a peer may have another.
const LONGEST: usize = 1500;

pub(crate) fn run(shared: &Shared) {
    let mut inward = Inward::new();
    let mut messages: Vec<Bytes> = Vec::with_capacity(BATCH);
    while let Some(slot) = shared.line.pop() {
        if slot.pop(BATCH, &mut messages) {
            shared.line.push(slot.clone());
        }
        inward.open(shared, &slot, None, messages.iter().map(|bytes| &**bytes));
        messages.clear();
    }
}

/// The memory of a thread that opens messages.
pub(crate) struct Inward {
    buffers: Vec<Vec<u8>>,
    arena: Arena,
    events: Vec<Event>,
}

impl Inward {
    pub(crate) fn new() -> Self {
        Self {
            buffers: vec![Vec::new(); BATCH],
            arena: Arena::default(),
            events: Vec::new(),
        }
    }

    /// Opens up to [`BATCH`] messages of one peer, which came from this address if by a socket, and delivers what passes.
    pub(crate) fn open<'m>(
        &mut self,
        shared: &Shared,
        slot: &Slot,
        from: Option<SocketAddr>,
        messages: impl Iterator<Item = &'m [u8]>,
    ) {
        // The largest message there is: a packet of the MTU, padded, and WireGuard's overhead.
        let longest = (shared.mtu.max(LONGEST).next_multiple_of(16) + OVERHEAD).max(HANDSHAKE);
        let mut turn = shared.turn(slot, &mut self.arena, &mut self.events);
        turn.from = from;
        let now = turn.now;
        let (mut used, mut bytes, mut wire) = (0, 0, 0);
        let mut state = slot.lock();
        for message in messages {
            if state.cut {
                break;
            }
            // To `boringtun`, an empty message means something else.
            if message.is_empty() {
                slot.counters.drop(Dropped::Unopened, 1);
                continue;
            }
            if message.len() > longest {
                slot.counters.drop(Dropped::TooLong, 1);
                continue;
            }
            let Some(buffer) = self.buffers.get_mut(used) else {
                break;
            };
            buffer.resize(HEADROOM + longest, 0);
            let Some(room) = buffer.get_mut(HEADROOM..) else {
                break;
            };
            let state = &mut *state;
            let length = match state.open(&mut turn, message, room) {
                Opened::Failed => continue,
                Opened::Nothing => {
                    wire += message.len();
                    continue;
                }
                Opened::Packet(length) => length,
            };
            wire += message.len();
            let Some(inner) = room.get(..length) else {
                continue;
            };
            let Ok(packet) = packet::parse(inner) else {
                slot.counters.drop(Dropped::Filter(Reason::Malformed), 1);
                continue;
            };
            match state.filter.inward(&state.policy, &packet, now) {
                Verdict::Accept => {
                    buffer.truncate(HEADROOM + length);
                    used += 1;
                    bytes += length;
                }
                Verdict::Drop(reason) => slot.counters.drop(Dropped::Filter(reason), 1),
                Verdict::Reject(reason) => {
                    slot.counters.drop(Dropped::Filter(reason), 1);
                    if let Some(mut answer) = state.filter.refuse(inner, &packet, now) {
                        let padded = answer
                            .len()
                            .next_multiple_of(16)
                            .min(shared.mtu.max(answer.len()));
                        answer.resize(padded, 0);
                        state.seal(&mut turn, &answer);
                    }
                }
            }
        }
        let carrier = state.carrier.clone();
        drop(state);
        if wire > 0 {
            slot.counters.wire_received(wire);
        }
        Shared::send(slot, carrier.as_ref(), &mut self.arena);
        if let Some(packets) = self.buffers.get_mut(..used)
            && used > 0
        {
            slot.counters.received(used, bytes);
            if let Err(error) = shared.device.send(packets) {
                tracing::debug!(%error, "packets were lost on their way into the device");
            }
        }
        shared.tell(&mut self.events);
    }
}
