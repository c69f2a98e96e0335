//! The thread that takes sealed messages from the peers to the device.

use bytes::Bytes;
use mesh_core::filter::{Reason, Verdict};
use mesh_core::packet;

use crate::carrier::Arena;
use crate::device::HEADROOM;
use crate::peer::{HANDSHAKE, OVERHEAD, Opened, Slot};
use crate::shared::Shared;
use crate::table::{Dropped, Event};

/// How many messages of one peer are opened before it is another's turn.
const BATCH: usize = 128;
/// What a buffer may grow to when the device merges packets into one.
const MERGED: usize = 65_535 + 2 * HEADROOM;

pub(crate) fn run(shared: &Shared) {
    // The largest message there is: a packet of the MTU, padded, and WireGuard's overhead.
    let longest = (shared.mtu.next_multiple_of(16) + OVERHEAD).max(HANDSHAKE);
    let mut thread = Inward {
        shared,
        longest,
        messages: Vec::with_capacity(BATCH),
        buffers: (0..BATCH).map(|_| Vec::with_capacity(MERGED)).collect(),
        arena: Arena::default(),
        events: Vec::new(),
    };
    while let Some(slot) = shared.line.pop() {
        if slot.pop(BATCH, &mut thread.messages) {
            shared.line.push(slot.clone());
        }
        thread.batch(&slot);
    }
}

struct Inward<'a> {
    shared: &'a Shared,
    longest: usize,
    messages: Vec<Bytes>,
    buffers: Vec<Vec<u8>>,
    arena: Arena,
    events: Vec<Event>,
}

impl Inward<'_> {
    fn batch(&mut self, slot: &Slot) {
        let shared = self.shared;
        let mut turn = shared.turn(slot, &mut self.arena, &mut self.events);
        let now = turn.now;
        let (mut used, mut bytes) = (0, 0);
        let mut state = slot.lock();
        for message in self.messages.drain(..) {
            if state.cut {
                continue;
            }
            // To `boringtun`, an empty message means something else.
            if message.is_empty() {
                slot.counters.drop(Dropped::Unopened, 1);
                continue;
            }
            if message.len() > self.longest {
                slot.counters.drop(Dropped::TooLong, 1);
                continue;
            }
            let Some(buffer) = self.buffers.get_mut(used) else {
                break;
            };
            buffer.resize(HEADROOM + self.longest, 0);
            let Some(room) = buffer.get_mut(HEADROOM..) else {
                break;
            };
            let state = &mut *state;
            let Opened::Packet(length) = state.open(&mut turn, &message, room) else {
                continue;
            };
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
