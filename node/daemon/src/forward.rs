//! Forwarding between members: what this device forwards for others, and what others forward to it.
//!
//! A datagram of a link may be for somebody else ([`mesh_tunnel::frame::Forwarding`]). It is passed on over the link with that
//! one if this device offers a relay to both ends, as it lies there; what is inside is sealed end to end. Nothing is kept of
//! it, nobody is dialled for it, and no answer says why something was not passed on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use mesh_core::path::Who;
use mesh_core::peer::PeerId;
use mesh_ledger::ids::NetworkId;
use mesh_tunnel::frame::{self, Forwarding, Reassembler};
use mesh_tunnel::{Carrier, SealedBatch, Tunnel};
use tokio::sync::mpsc;

use crate::carrier::IrohCarrier;
use crate::clock::steady;

/// How many bytes a second one member may have forwarded, and how many at once: more than a home's line carries.
const RATE: u64 = 25_000_000;
const BURST: u64 = 4_000_000;
/// From how many peers halves may wait that one member forwards.
const MAX_SENDERS: usize = 64;

/// Who forwards for whom in one network. The node sets it, the links read it.
#[derive(Default)]
pub(crate) struct Forwarders {
    roles: ArcSwap<Roles>,
    forwarded: AtomicU64,
}

/// See [`Forwarders`].
#[derive(Default)]
pub(crate) struct Roles {
    /// Between these this device forwards. The ledger says who.
    pub(crate) between: Arc<BTreeSet<PeerId>>,
    /// These forward to this device. The ledger says who.
    pub(crate) by: Arc<BTreeSet<PeerId>>,
    /// The links of both kinds.
    pub(crate) links: BTreeMap<PeerId, Arc<IrohCarrier>>,
}

impl Roles {
    /// Whether a link with this peer is one of [`Self::links`].
    pub(crate) fn concern(&self, peer: &PeerId) -> bool {
        self.between.contains(peer) || self.by.contains(peer)
    }

    /// Those that forward to this device and are linked.
    pub(crate) fn at_hand(&self) -> Vec<PeerId> {
        let linked = self.by.iter().filter(|peer| self.links.contains_key(peer));
        linked.copied().collect()
    }
}

impl Forwarders {
    pub(crate) fn set(&self, roles: Roles) {
        self.roles.store(Arc::new(roles));
    }

    /// Sets the link with one peer, or that there is none. The roles, if that changed them.
    pub(crate) fn set_link(
        &self,
        peer: &PeerId,
        link: Option<Arc<IrohCarrier>>,
    ) -> Option<Arc<Roles>> {
        let roles = self.roles.load();
        if !roles.concern(peer) {
            return None;
        }
        let mut links = roles.links.clone();
        match link {
            Some(link) => links.insert(*peer, link),
            None => links.remove(peer),
        };
        let roles = Arc::new(Roles {
            between: roles.between.clone(),
            by: roles.by.clone(),
            links,
        });
        self.roles.store(roles.clone());
        Some(roles)
    }

    /// How many bytes were forwarded for others since the daemon started.
    pub(crate) fn forwarded(&self) -> u64 {
        self.forwarded.load(Ordering::Relaxed)
    }

    /// Has a member forward a datagram to a peer. False if it is not linked, or has no room.
    pub(crate) fn send(&self, by: &PeerId, to: PeerId, datagram: Vec<u8>) -> bool {
        let roles = self.roles.load();
        let link = roles.links.get(by);
        link.is_some_and(|link| link.datagram(Forwarding::To(to, datagram.into()).write()))
    }

    fn forward(&self, from: PeerId, to: &PeerId, inner: Bytes) {
        let roles = self.roles.load();
        if from == *to || !roles.between.contains(&from) || !roles.between.contains(to) {
            return;
        }
        let length = inner.len() as u64;
        if let Some(link) = roles.links.get(to)
            && link.datagram(Forwarding::From(from, inner).write())
        {
            self.forwarded.fetch_add(length, Ordering::Relaxed);
        }
    }
}

/// The way to a peer through a member that forwards.
pub(crate) struct Through {
    pub(crate) forwarders: Arc<Forwarders>,
    pub(crate) by: PeerId,
    pub(crate) to: PeerId,
}

impl Carrier for Through {
    fn send(&self, batch: SealedBatch<'_>) -> usize {
        match self.forwarders.roles.load().links.get(&self.by) {
            Some(link) => link.forward(self.to, batch),
            None => batch.len(),
        }
    }

    fn max_message(&self) -> usize {
        frame::max_message(frame::MAX_INNER)
    }
}

/// What a member forwarded to this device that is no packet: who forwarded it, and what.
pub(crate) struct Stray {
    pub(crate) by: PeerId,
    pub(crate) from: Who,
    pub(crate) datagram: Bytes,
}

/// The end of one link for what is forwarded.
pub(crate) struct Junction {
    network: NetworkId,
    peer: PeerId,
    forwarders: Arc<Forwarders>,
    strays: Option<mpsc::Sender<Stray>>,
    waiting: BTreeMap<PeerId, Reassembler>,
    /// Messages for the tunnel that were forwarded by the peer, until [`Self::deliver`].
    arrived: BTreeMap<PeerId, Vec<Bytes>>,
    allowance: Allowance,
}

impl Junction {
    pub(crate) fn new(
        network: NetworkId,
        peer: PeerId,
        forwarders: Arc<Forwarders>,
        strays: Option<mpsc::Sender<Stray>>,
    ) -> Self {
        Self {
            network,
            peer,
            forwarders,
            strays,
            waiting: BTreeMap::new(),
            arrived: BTreeMap::new(),
            allowance: Allowance::full(steady()),
        }
    }

    /// Takes what came over the link. Messages wait for [`Self::deliver`].
    pub(crate) fn take(&mut self, datagram: Forwarding) {
        match datagram {
            Forwarding::To(to, inner) => {
                if self.allowance.take(inner.len() as u64, steady()) {
                    self.forwarders.forward(self.peer, &to, inner);
                }
            }
            Forwarding::From(from, inner) => {
                if self.forwarders.roles.load().by.contains(&self.peer) {
                    self.arrived(from, inner);
                }
            }
        }
    }

    /// Hands the tunnel the messages that came since, those of one peer together, in their order.
    pub(crate) fn deliver(&mut self, tunnel: &Tunnel) {
        for (from, messages) in std::mem::take(&mut self.arrived) {
            tunnel.receive(&from, messages);
        }
    }

    fn arrived(&mut self, from: PeerId, inner: Bytes) {
        let framed = inner.first().is_some_and(|kind| *kind <= frame::SECOND);
        if !framed {
            let from = Who {
                network: self.network,
                peer: from,
            };
            let stray = Stray {
                by: self.peer,
                from,
                datagram: inner,
            };
            if let Some(strays) = &self.strays {
                // What finds no room is said again.
                let _ = strays.try_send(stray);
            }
            return;
        }
        if self.waiting.len() >= MAX_SENDERS && !self.waiting.contains_key(&from) {
            self.waiting.clear();
        }
        if let Some(message) = self.waiting.entry(from).or_default().accept(&inner) {
            self.arrived.entry(from).or_default().push(message);
        }
    }
}

/// How much one member may still have forwarded.
struct Allowance {
    left: u64,
    at: Duration,
}

impl Allowance {
    const fn full(now: Duration) -> Self {
        Self {
            left: BURST,
            at: now,
        }
    }

    fn take(&mut self, bytes: u64, now: Duration) -> bool {
        let passed = now.saturating_sub(self.at).as_micros();
        let more = u64::try_from(passed * u128::from(RATE) / 1_000_000).unwrap_or(u64::MAX);
        if more > 0 {
            self.left = self.left.saturating_add(more).min(BURST);
            self.at = now;
        }
        let enough = bytes <= self.left;
        if enough {
            self.left -= bytes;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_has_so_much_forwarded_a_second_and_no_more() {
        let start = Duration::from_secs(7);
        let mut allowance = Allowance::full(start);
        let (mut sent, mut now) = (0, start);
        while now < start + Duration::from_secs(10) {
            sent += u64::from(allowance.take(1_000, now)) * 1_000;
            now += Duration::from_micros(10);
        }
        assert!(sent <= BURST + 10 * RATE, "{sent}");
        assert!(sent >= 10 * RATE, "{sent}");
    }
}
