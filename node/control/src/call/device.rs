//! A user's further devices, and the user key.

use serde::{Deserialize, Serialize};

use crate::secret::Secret;

/// Shows a one-time code by which a further device of this user is linked. One that was shown before ends. Needs the user
/// key. Errors: `not_permitted` when the key is not on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceCode {
    /// Whether the user key stays here: the further device can then link and remove none.
    pub keep_key: bool,
    /// How long the code can be used, in seconds, 30 to 3,600.
    pub for_seconds: u32,
}

/// Waits until a device is linked by the code that [`DeviceCode`] showed. Errors: `not_found` when there is none; `conflict`
/// when it is burnt, has expired, or another replaces it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceCodeWait {}

/// Makes this machine a further device of the user who shows the code, enters the user's networks and brings them up.
/// Errors: `usage` for a malformed code; `conflict` when its words are wrong (which burns it), it is burnt, used or has
/// expired, or this machine belongs to another user; `unreachable` when nobody shows it; `verification` when what came does
/// not verify.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceLink {
    /// The code, as `7-crossbow-orca-basil`.
    pub code: Secret,
    /// Where it is shown, as `HOST` or `HOST:PORT`; absent, on this LAN.
    pub at: Option<String>,
    /// This device's name in the networks; absent, the machine's host name made a DNS label.
    pub host: Option<String>,
    /// How long to try, in seconds.
    pub wait_seconds: u32,
}

/// This user's devices, by network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceList {
    /// Which network; absent, all.
    pub network: Option<String>,
}

/// Removes one device, and nothing else of its user. One of this user's own needs the user key, another one's that this
/// user is senior to it. Errors: `not_found`; `not_permitted`; `usage` for this device itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRemove {
    /// Which network.
    pub network: Option<String>,
    /// The device's name, or the start (≥ 4 hex digits) of its key.
    pub name: String,
    /// The start (≥ 4 hex digits) of an event's id: what the device signed when it knew of that event is void; absent,
    /// what is known here stands.
    pub since: Option<String>,
    /// Why, for the log.
    pub reason: Option<String>,
    /// See the module.
    pub wait_ms: Option<u64>,
}

/// Puts the user key under a passphrase, changes that, or takes it off. Needs the user key. Errors: `usage` for a passphrase
/// that is too short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdProtect {
    /// The new passphrase; absent, none from now on.
    pub passphrase: Option<Secret>,
}

/// Writes the user key down under a passphrase, to be kept elsewhere. Needs the user key. Errors: as [`IdProtect`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdExport {
    /// What it is written down under; not what it is under here.
    pub passphrase: Secret,
}

/// Makes this machine's user the one whose key was exported; the key lies here under the passphrase it was exported with.
/// Errors: `usage` when the text is none; `not_permitted` when the passphrase is wrong; `conflict` when this machine is
/// another user's device in a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdImport {
    /// What [`IdExport`] answered.
    pub key: Secret,
    /// The passphrase it is under.
    pub passphrase: Secret,
}
