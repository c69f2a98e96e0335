//! What the threads of one tunnel share.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use mesh_core::peer::PeerId;
use x25519_dalek::StaticSecret;

use crate::carrier::{Arena, Carrier};
use crate::device::Device;
use crate::own::Own;
use crate::peer::{Slot, Turn};
use crate::sessions::Sessions;
use crate::table::{Dropped, Event};
use crate::tunnel::Events;

pub(crate) struct Shared {
    pub(crate) own: ArcSwap<Own>,
    pub(crate) mtu: usize,
    pub(crate) device: Arc<dyn Device>,
    pub(crate) snapshot: ArcSwap<Snapshot>,
    pub(crate) sessions: Arc<Sessions>,
    /// Whether what sockets receive may pass. Read for as long as some of it does, so that to change it is to wait for that.
    pub(crate) passing: RwLock<bool>,
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
    /// Looked up for each handshake that a peer begins.
    pub(crate) by_key: HashMap<[u8; 32], usize>,
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
            own: ArcSwap::from_pointee(Own::new(key)),
            mtu: mtu.into(),
            device,
            snapshot: ArcSwap::default(),
            sessions: Arc::default(),
            passing: RwLock::new(true),
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
            from: None,
            limit: None,
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
        match carrier {
            Some(carrier) => {
                slot.counters.wire_sent(arena.bytes());
                let dropped = carrier.send(arena.batch()).min(count);
                slot.counters.drop(Dropped::CarrierFull, dropped);
            }
            None => slot.counters.drop(Dropped::NoCarrier, count),
        }
        arena.clear();
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

    /// Waits for this long or until stopped.
    pub(crate) fn rest(&self, time: Duration) {
        let until = Instant::now() + time;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if self.stopped() || left.is_zero() {
                return;
            }
            std::thread::park_timeout(left);
        }
    }

    /// Waits for this long, or until the thread is unparked.
    pub(crate) fn nap(&self, time: Duration) {
        if !self.stopped() {
            std::thread::park_timeout(time);
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
