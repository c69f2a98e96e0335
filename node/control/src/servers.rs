//! What the daemon tells about the servers of a network.

use serde::{Deserialize, Serialize};

/// A server that stores a network's events and relays for its members, as seen from here. Never its permit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerView {
    /// The server's key.
    pub key: String,
    /// Its first eight digits.
    pub short: String,
    /// `HOST:PORT`, with brackets around an IPv6 address.
    pub address: String,
    /// How this device stands with it.
    pub state: ServerState,
    /// Since when it stands so; 0 if that is not known.
    pub since_ms: u64,
    /// Events that it says it holds; absent until it said so.
    pub events: Option<u64>,
    /// Events held here that it did not confirm to have stored.
    pub lacking: u64,
    /// Time there and back, in microseconds.
    pub rtt_us: Option<u64>,
    /// What its relay is to this device.
    pub relay: RelayUse,
    /// What it is proven to have lied about, the first first.
    pub accusations: Vec<AccusationView>,
}

/// How this device stands with a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServerState {
    /// It stores and hands on what happens.
    Connected,
    /// Not yet.
    Connecting,
    /// Nobody answers there who has its key; it is tried again and again.
    Unreachable {
        /// Such as `no answer`.
        why: String,
    },
    /// It answers and does not serve this network or this device.
    Refused {
        /// Such as `it does not host home, and the permit is not its own`.
        why: String,
    },
}

/// What the relay of a server is to this device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RelayUse {
    /// It has none, or it is not known yet.
    None,
    /// It can be used.
    Ready,
    /// It is the one at which others reach this device.
    Home,
}

/// The proof that a server lied: two statements it signed that no honest server can have signed both, or one that its own
/// log belies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccusationView {
    /// What it did: `it showed two different logs`.
    pub what: String,
    /// When this device found out.
    pub at_ms: u64,
    /// The statements, by the server's clock.
    pub tips: Vec<TipView>,
}

/// What a server signed about its copy of a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TipView {
    /// How many events it said it holds.
    pub events: u64,
    /// The hash over all their ids in its order.
    pub chain: String,
    /// When it said so, by its own clock.
    pub time_ms: u64,
    /// Name of the device that was told; absent for this one.
    pub heard_from: Option<String>,
}
