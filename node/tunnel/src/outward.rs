//! The thread that takes packets from the device to the peers.

use mesh_core::filter::{Bucket, Verdict};
use mesh_core::packet::{self, Packet};

use crate::carrier::Arena;
use crate::device::HEADROOM;
use crate::shared::{Shared, Snapshot};
use crate::table::{Dropped, Event};

/// More than the device splits from its largest packet, so that several small ones share a batch.
const BATCH: usize = 256;
/// WireGuard pads to this, and at most to the MTU.
const PADDING: usize = 16;

pub(crate) fn run(shared: &Shared) {
    let mut thread = Outward {
        shared,
        buffers: (0..BATCH)
            .map(|_| vec![0; HEADROOM + shared.mtu.next_multiple_of(PADDING)])
            .collect(),
        sizes: vec![0; BATCH],
        packets: Vec::with_capacity(BATCH),
        arena: Arena::default(),
        events: Vec::new(),
        dead_ends: Bucket::new(50, 50),
    };
    loop {
        match shared
            .device
            .receive(&mut thread.buffers, &mut thread.sizes)
        {
            Ok(0) => return,
            Ok(count) => thread.batch(count.min(BATCH)),
            Err(error) => {
                if !shared.line.stopped() {
                    shared.tell(&mut vec![Event::DeviceFailed(error.to_string())]);
                }
                return;
            }
        }
    }
}

struct Outward<'a> {
    shared: &'a Shared,
    buffers: Vec<Vec<u8>>,
    sizes: Vec<usize>,
    /// For each buffer, the peer it is for and its headers, until it is dealt with.
    packets: Vec<Option<(usize, Packet)>>,
    arena: Arena,
    events: Vec<Event>,
    dead_ends: Bucket,
}

impl Outward<'_> {
    fn batch(&mut self, count: usize) {
        let snapshot = self.shared.snapshot.load();
        self.sort(&snapshot, count);
        for first in 0..count {
            if let Some(Some((peer, _))) = self.packets.get(first) {
                self.peer(&snapshot, *peer, first);
            }
        }
        self.shared.tell(&mut self.events);
    }

    /// Finds out for whom each packet is.
    fn sort(&mut self, snapshot: &Snapshot, count: usize) {
        self.packets.clear();
        let mut dead_ends = Vec::new();
        for (buffer, size) in self.buffers.iter().zip(&self.sizes).take(count) {
            let bytes = buffer.get(HEADROOM..HEADROOM + size).unwrap_or_default();
            let found = packet::parse(bytes).ok().and_then(|packet| {
                if let Some(peer) = snapshot.by_address.get(&packet.target) {
                    return Some((*peer, packet));
                }
                // So that programs on this host fail at once instead of waiting.
                let from = snapshot
                    .own
                    .iter()
                    .find(|own| own.is_ipv4() == packet.source.is_ipv4())?;
                if packet.source == *from && self.dead_ends.take(self.shared.now()) {
                    let answer = packet::unreachable(bytes, &packet, *from)?;
                    let mut buffer = vec![0; HEADROOM];
                    buffer.extend_from_slice(&answer);
                    dead_ends.push(buffer);
                }
                None
            });
            self.packets.push(found);
        }
        if !dead_ends.is_empty()
            && let Err(error) = self.shared.device.send(&mut dead_ends)
        {
            tracing::debug!(%error, "a notice of an unreachable address was lost");
        }
    }

    /// Seals all packets for one peer, of which `first` is the first.
    fn peer(&mut self, snapshot: &Snapshot, peer: usize, first: usize) {
        let Some(slot) = snapshot.slots.get(peer) else {
            return;
        };
        let mut turn = self.shared.turn(slot, &mut self.arena, &mut self.events);
        let now = turn.now;
        let mut state = slot.lock();
        let batch = self
            .packets
            .iter_mut()
            .zip(&mut self.buffers)
            .zip(&self.sizes)
            .skip(first);
        for ((place, buffer), size) in batch {
            let Some((_, packet)) = place.take_if(|(other, _)| *other == peer) else {
                continue;
            };
            if state.cut {
                continue;
            }
            let state = &mut *state;
            match state.filter.outward(&state.policy, &packet, now) {
                Verdict::Accept => {}
                Verdict::Drop(reason) | Verdict::Reject(reason) => {
                    slot.counters.drop(Dropped::Filter(reason), 1);
                    continue;
                }
            }
            let padded = size
                .next_multiple_of(PADDING)
                .min(self.shared.mtu.max(*size));
            let Some(bytes) = buffer.get_mut(HEADROOM..HEADROOM + padded) else {
                slot.counters.drop(Dropped::TooLong, 1);
                continue;
            };
            if let Some(padding) = bytes.get_mut(*size..) {
                padding.fill(0);
            }
            state.seal(&mut turn, bytes);
        }
        if !state.cut && state.wishes(now) {
            turn.events.push(Event::WantsLink(slot.id));
        }
        let carrier = state.carrier.clone();
        drop(state);
        Shared::send(slot, carrier.as_ref(), &mut self.arena);
    }
}
