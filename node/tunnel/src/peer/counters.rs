//! The counters of one peer.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::table::Dropped;

/// Written by the packet threads, read by anybody.
pub(crate) struct Counters {
    pub(super) rx_bytes: AtomicU64,
    pub(super) rx_packets: AtomicU64,
    pub(super) tx_bytes: AtomicU64,
    pub(super) tx_packets: AtomicU64,
    pub(super) wire_rx_bytes: AtomicU64,
    pub(super) wire_tx_bytes: AtomicU64,
    /// Whether packets passed since this was last asked.
    active: AtomicBool,
    pub(super) dropped: [AtomicU64; Dropped::COUNT],
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            rx_bytes: AtomicU64::new(0),
            rx_packets: AtomicU64::new(0),
            tx_bytes: AtomicU64::new(0),
            tx_packets: AtomicU64::new(0),
            wire_rx_bytes: AtomicU64::new(0),
            wire_tx_bytes: AtomicU64::new(0),
            active: AtomicBool::new(false),
            dropped: [const { AtomicU64::new(0) }; Dropped::COUNT],
        }
    }
}

impl Counters {
    pub(crate) fn received(&self, packets: usize, bytes: usize) {
        self.rx_packets.fetch_add(packets as u64, Ordering::Relaxed);
        self.rx_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.act();
    }

    /// WireGuard messages that opened, handshakes and keepalives among them.
    pub(crate) fn wire_received(&self, bytes: usize) {
        self.wire_rx_bytes
            .fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// WireGuard messages of whatever kind.
    pub(crate) fn wire_sent(&self, bytes: usize) {
        self.wire_tx_bytes
            .fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Whether packets passed since this was last asked.
    pub(crate) fn was_active(&self) -> bool {
        // Most peers are idle: their flag is only read.
        self.active.load(Ordering::Relaxed) && self.active.swap(false, Ordering::Relaxed)
    }

    pub(crate) fn drop(&self, reason: Dropped, count: usize) {
        if count > 0
            && let Some(counter) = self.dropped.get(reason.place())
        {
            counter.fetch_add(count as u64, Ordering::Relaxed);
        }
    }

    pub(super) fn sent(&self, bytes: usize) {
        self.tx_packets.fetch_add(1, Ordering::Relaxed);
        self.tx_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.act();
    }

    fn act(&self) {
        if !self.active.load(Ordering::Relaxed) {
            self.active.store(true, Ordering::Relaxed);
        }
    }
}
