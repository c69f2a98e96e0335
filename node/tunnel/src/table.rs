//! What the packet threads are told, and what they tell.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mesh_core::filter::Reason;
use mesh_core::peer::PeerId;
use mesh_core::plan::Ruleset;
use x25519_dalek::PublicKey;
use zeroize::Zeroizing;

use crate::carrier::Carrier;

/// Everything the packet path of one network follows. Immutable: a change is a new table.
///
/// The addresses of this device and of its peers stand in the rules, once. A peer takes part if it is both in `peers` and
/// in the rules.
#[derive(Clone, Default)]
pub struct Table {
    /// The policy, with our addresses and the peers'.
    pub rules: Ruleset,
    /// The peers' keys and carriers.
    pub peers: BTreeMap<PeerId, Peer>,
}

/// A peer, as far as sealing and sending goes.
#[derive(Clone)]
pub struct Peer {
    /// Its WireGuard key in this network.
    pub key: PublicKey,
    /// The way to it; `None` while there is none.
    pub carrier: Option<Arc<dyn Carrier>>,
    /// A secret that both sides mix into their handshakes, if they have one.
    pub preshared_key: Option<Arc<Zeroizing<[u8; 32]>>>,
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table")
            .field("rules", &self.rules)
            .field("peers", &self.peers)
            .finish()
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer")
            .field("carrier", &self.carrier.is_some())
            .finish_non_exhaustive()
    }
}

/// What the packet threads tell the rest of the daemon. The callback that takes it must not block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// There is traffic for a peer without a carrier. At most once a second per peer; the first few packets wait for up
    /// to ten seconds.
    WantsLink(PeerId),
    /// A handshake with the peer is complete: packets flow.
    HandshakeDone(PeerId),
    /// The peer has a carrier and has not answered handshakes for this long. Repeated while it lasts.
    HandshakeFailing(PeerId, Duration),
    /// The device is gone or broken: nothing will flow any more.
    DeviceFailed(String),
    /// A message that could only be this peer's came by a UDP socket from this address. At most once a second per peer.
    /// The way to the peer stays what it was: whoever copied the message may have sent it from there.
    Heard(PeerId, SocketAddr),
}

/// Counters of one peer since it first was in the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerStats {
    /// The peer.
    pub id: PeerId,
    /// Inner bytes received and passed on.
    pub rx_bytes: u64,
    /// Inner packets received and passed on.
    pub rx_packets: u64,
    /// Inner bytes sealed and handed to the carrier.
    pub tx_bytes: u64,
    /// Inner packets sealed and handed to the carrier.
    pub tx_packets: u64,
    /// Bytes of WireGuard messages that came from the peer and opened, as `wg` counts them: with what WireGuard adds to each
    /// packet, handshakes, keepalives, and packets that the filter then dropped.
    pub wire_rx_bytes: u64,
    /// Bytes of WireGuard messages handed to the carrier, likewise.
    pub wire_tx_bytes: u64,
    /// How long ago the last handshake was completed; `None` before the first.
    pub last_handshake: Option<Duration>,
    /// Packets that went no further, by reason; only reasons that occurred.
    pub dropped: BTreeMap<Dropped, u64>,
}

/// Why a packet or message went no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dropped {
    /// The filter let it not pass.
    Filter(Reason),
    /// It could not be opened: forged, damaged, repeated, too old, or for a key that is gone.
    Unopened,
    /// It is longer than fits.
    TooLong,
    /// It came faster than it could be opened.
    Backlog,
    /// There was no carrier, for longer or for more than can wait.
    NoCarrier,
    /// The carrier had no room.
    CarrierFull,
}

impl Dropped {
    pub(crate) const COUNT: usize = Reason::ALL.len() + 5;

    /// A place of its own for each, below [`Dropped::COUNT`].
    pub(crate) const fn place(self) -> usize {
        let after = Reason::ALL.len();
        match self {
            Self::Filter(reason) => reason as usize,
            Self::Unopened => after,
            Self::TooLong => after + 1,
            Self::Backlog => after + 2,
            Self::NoCarrier => after + 3,
            Self::CarrierFull => after + 4,
        }
    }

    pub(crate) fn all() -> impl Iterator<Item = Self> {
        let rest = [
            Self::Unopened,
            Self::TooLong,
            Self::Backlog,
            Self::NoCarrier,
            Self::CarrierFull,
        ];
        Reason::ALL.into_iter().map(Self::Filter).chain(rest)
    }

    /// Its word in listings and JSON.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Filter(reason) => reason.word(),
            Self::Unopened => "unopened",
            Self::TooLong => "too-long",
            Self::Backlog => "backlog",
            Self::NoCarrier => "no-carrier",
            Self::CarrierFull => "carrier-full",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_to_drop_has_a_place_of_its_own() {
        assert_eq!(
            Dropped::all().map(Dropped::place).collect::<Vec<_>>(),
            (0..Dropped::COUNT).collect::<Vec<_>>()
        );
    }
}
