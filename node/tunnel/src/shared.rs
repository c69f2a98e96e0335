//! What the threads of one tunnel share.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use mesh_core::peer::PeerId;
use x25519_dalek::StaticSecret;

use crate::carrier::{Arena, Carrier};
use crate::device::Device;
use crate::peer::{Slot, Turn};
use crate::table::{Dropped, Event};
use crate::tunnel::Events;

pub(crate) struct Shared {
    pub(crate) key: ArcSwap<StaticSecret>,
    pub(crate) mtu: usize,
    pub(crate) device: Arc<dyn Device>,
    pub(crate) snapshot: ArcSwap<Snapshot>,
    pub(crate) line: Line,
    events: Events,
    start: Instant,
}

/// The peers of the current table.
#[derive(Default)]
pub(crate) struct Snapshot {
    pub(crate) slots: Vec<Arc<Slot>>,
    pub(crate) by_id: BTreeMap<PeerId, usize>,
    /// Looked up for each packet; its order never shows.
    pub(crate) by_address: HashMap<IpAddr, usize>,
    /// One of our addresses of each family, in whose name this host is told of dead ends.
    pub(crate) own: Vec<IpAddr>,
}

impl Snapshot {
    pub(crate) fn peer(&self, id: &PeerId) -> Option<&Arc<Slot>> {
        self.slots.get(*self.by_id.get(id)?)
    }
}

impl Shared {
    pub(crate) fn new(
        key: StaticSecret,
        mtu: u16,
        device: Arc<dyn Device>,
        events: Events,
    ) -> Self {
        Self {
            key: ArcSwap::from_pointee(key),
            mtu: mtu.into(),
            device,
            snapshot: ArcSwap::default(),
            line: Line::default(),
            events,
            start: Instant::now(),
        }
    }

    /// A peer's turn.
    pub(crate) fn turn<'a>(
        &'a self,
        slot: &'a Slot,
        arena: &'a mut Arena,
        events: &'a mut Vec<Event>,
    ) -> Turn<'a> {
        Turn {
            slot,
            now: self.now(),
            arena,
            events,
        }
    }

    /// Monotonic time since the tunnel was made.
    pub(crate) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Tells what happened. Called without any lock held.
    pub(crate) fn tell(&self, events: &mut Vec<Event>) {
        for event in events.drain(..) {
            (self.events)(event);
        }
    }

    /// Hands what stands in the arena to the carrier. Called without any lock held.
    pub(crate) fn send(slot: &Slot, carrier: Option<&Arc<dyn Carrier>>, arena: &mut Arena) {
        if arena.is_empty() {
            return;
        }
        let count = arena.len();
        let batch = arena.take();
        match carrier {
            Some(carrier) => slot
                .counters
                .drop(Dropped::CarrierFull, carrier.send(batch).min(count)),
            None => slot.counters.drop(Dropped::NoCarrier, count),
        }
    }
}

/// The peers with messages to open, in the order in which they got them, each at most once.
#[derive(Default)]
pub(crate) struct Line {
    waiting: Mutex<VecDeque<Arc<Slot>>>,
    changed: Condvar,
    stopped: AtomicBool,
}

impl Line {
    pub(crate) fn push(&self, slot: Arc<Slot>) {
        self.waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push_back(slot);
        self.changed.notify_one();
    }

    /// Waits for the next peer; `None` once stopped.
    pub(crate) fn pop(&self) -> Option<Arc<Slot>> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if self.stopped() {
                return None;
            }
            if let Some(slot) = waiting.pop_front() {
                return Some(slot);
            }
            waiting = self
                .changed
                .wait(waiting)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits for this long or until stopped; true if stopped.
    pub(crate) fn rest(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if self.stopped() || left.is_zero() {
                return self.stopped();
            }
            std::thread::park_timeout(left);
        }
    }

    pub(crate) fn stop(&self) {
        let _waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        self.stopped.store(true, Ordering::SeqCst);
        self.changed.notify_all();
    }

    pub(crate) fn stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }
}
