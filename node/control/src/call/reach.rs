//! How peers are reached, and how they reach this device.

use serde::{Deserialize, Serialize};

/// The ways to a device, and why packets take the one they do. Errors: `not_found`; `unreachable` when the network is down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerPath {
    /// Which network.
    pub network: Option<String>,
    /// A device's name or mesh address.
    pub to: String,
}

/// How this machine is reached from outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetCheck {}
