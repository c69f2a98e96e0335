//! Who holds the network, and what an act would do before it is signed.

use serde::{Deserialize, Serialize};

use super::{AdminGrant, AdminRevoke, Kick, Moment};
use crate::secret::Secret;

/// What an act would do. Nothing is written. Errors: those of the act itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preview {
    /// The act.
    pub act: Proposed,
}

/// An act that somebody thinks of signing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Proposed {
    /// See [`Kick`].
    Kick(Kick),
    /// See [`AdminGrant`].
    AdminGrant(AdminGrant),
    /// See [`AdminRevoke`].
    AdminRevoke(AdminRevoke),
    /// See [`OwnerTransfer`]; its words are not looked at.
    OwnerTransfer(OwnerTransfer),
    /// See [`OwnerRecover`]; its new key is not looked at.
    OwnerRecover(OwnerRecover),
}

/// Makes new recovery words and forgets them at once: whoever asks shows them to the person who is to keep them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveryWords {}

/// Offers the network to a member and waits until one of its devices accepts. The offer ends with this call, with `meshd`,
/// or when the time is over. Errors: `not_permitted` unless this user is the owner, and when the words are not the
/// present ones; `usage` when they are no recovery words at all; `not_found`; `unreachable` when nobody has accepted in
/// time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnerTransfer {
    /// Which network.
    pub network: Option<String>,
    /// Name of the member, or of one of its devices.
    pub name: String,
    /// The present owner's recovery words. They never leave this device.
    pub words: Secret,
    /// How long the offer stands, in seconds, at most a day.
    pub offer_seconds: u32,
    /// See the module.
    pub wait_ms: Option<u64>,
}

/// Accepts an offer of the owner. Errors: `not_found` when there is none; `unreachable` when the owner's device is gone or
/// does not answer in time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnerAccept {
    /// Which network.
    pub network: Option<String>,
    /// The public half (64 hex digits) of the new recovery words, which somebody has written down by now. Absent: only
    /// says who offers, and what would become of it.
    pub recovery: Option<String>,
    /// See the module.
    pub wait_ms: Option<u64>,
}

/// Makes this device's user the owner, by the recovery words. Errors: `not_permitted` when the words are not the present
/// owner's; `usage` when they are no recovery words at all; `not_found` when `since` names no event of the owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnerRecover {
    /// Which network.
    pub network: Option<String>,
    /// The present owner's recovery words. They never leave this device.
    pub words: Secret,
    /// The public half (64 hex digits) of the new recovery words, which somebody has written down by now.
    pub recovery: String,
    /// From where on acts of the owner until now are undone; absent, what this device knows of them stands.
    pub since: Option<Moment>,
    /// See the module.
    pub wait_ms: Option<u64>,
}
