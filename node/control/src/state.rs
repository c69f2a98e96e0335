//! What a watching tool sees: the full [`State`] once, then [`Update`]s.
//!
//! The daemon publishes whole states; the server tells each watcher what changed since the state it was told last. So a
//! slow watcher misses states in between and never the last one, and costs no memory.

use serde::{Deserialize, Serialize};

use crate::view::{InviteView, NetworkStatus, OfferView, PeerView};

/// Asks to be told of changes until the connection ends.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    /// Which network; absent, all.
    pub network: Option<String>,
}

/// Everything a watcher can see.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// By name; ids are unique.
    pub networks: Vec<NetworkState>,
}

/// What a watcher can see of a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkState {
    /// How it is doing, with its peers.
    pub status: NetworkStatus,
    /// The offers in force.
    pub offers: Vec<OfferView>,
    /// Its invites, without their tickets.
    pub invites: Vec<InviteView>,
}

/// One change. Networks are named by id, devices by key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(clippy::large_enum_variant)] // Made and written one after the other.
pub enum Update {
    /// A network that is new, or whose status changed; `status.peers` is empty and to be left as it was.
    Status(NetworkStatus),
    /// A network is gone.
    NetworkGone {
        /// Its id.
        network: String,
    },
    /// A peer is new or changed.
    Peer {
        /// The network's id.
        network: String,
        /// The peer.
        peer: PeerView,
    },
    /// A peer is gone.
    PeerGone {
        /// The network's id.
        network: String,
        /// The device's key.
        device: String,
    },
    /// The offers of a network changed; these are all.
    Offers {
        /// The network's id.
        network: String,
        /// All that are in force.
        offers: Vec<OfferView>,
    },
    /// The invites of a network changed; these are all.
    Invites {
        /// The network's id.
        network: String,
        /// All there are.
        invites: Vec<InviteView>,
    },
}
