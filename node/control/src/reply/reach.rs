//! How peers are reached, and how they reach this device.

use serde::{Deserialize, Serialize};

use crate::view::{EchoView, NatView, WayView};

/// Answers [`PeerPath`](crate::call::PeerPath).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathTold {
    /// The network's name.
    pub network: String,
    /// The device's name.
    pub name: String,
    /// Its mesh address.
    pub address: String,
    /// The path and why it is this one, such as `direct, same LAN`; `offline` when there is none.
    pub path: String,
    /// Why packets take it, one sentence.
    pub why: String,
    /// Every way that is known, the one in use first.
    pub ways: Vec<WayView>,
}

/// Answers [`NetCheck`](crate::call::NetCheck).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetChecked {
    /// The UDP ports of this device: of the control links, then of packets.
    pub ports: Vec<u16>,
    /// How IPv4 is mapped on the way out.
    pub nat: NatView,
    /// Whether this machine has an IPv6 address that others can use.
    pub ipv6: bool,
    /// Where the router lets peers in, if it was asked to and does.
    #[serde(default)]
    pub mapped: Option<String>,
    /// Where peers are told to try, the likeliest first.
    pub candidates: Vec<String>,
    /// The servers that were asked.
    pub echoes: Vec<EchoView>,
    /// Chains of this machine's own firewall that drop what comes to these ports unasked, as `inet filter input`.
    pub closed_by: Vec<String>,
    /// How far this machine's clock is ahead of what most peers' say, in milliseconds; absent when none was heard.
    pub clock_ahead_ms: Option<i64>,
}
