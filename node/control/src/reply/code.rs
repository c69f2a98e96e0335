//! Invitations by code.

use serde::{Deserialize, Serialize};

use crate::secret::Secret;

/// Answers [`InviteCode`](crate::call::InviteCode).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InviteCode {
    /// The network's name.
    pub network: String,
    /// What is typed on the other machine.
    pub code: Secret,
    /// When it ends.
    pub expires_ms: u64,
    /// Where this device can be reached from other networks than this LAN, as far as it knows: `192.168.1.5:51820`. Empty if
    /// it takes codes on the LAN alone.
    pub addresses: Vec<String>,
}

/// Answers [`InviteCodeWait`](crate::call::InviteCodeWait).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeEnded {
    /// The network's name.
    pub network: String,
    /// How.
    pub outcome: CodeOutcome,
}

/// How a code ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CodeOutcome {
    /// Somebody joined by it.
    Joined {
        /// What the device is called.
        name: String,
        /// Its key.
        device: String,
        /// The first eight digits of that.
        short: String,
    },
    /// Other words were typed first.
    Burnt {
        /// How often that happened to this invite's codes.
        wrong: u32,
        /// Whether no further code is shown for it until its inviter says so.
        stopped: bool,
    },
    /// Its time was over before anybody had joined by it.
    Expired {
        /// Whether a device had taken the ticket.
        taken: bool,
    },
}
