//! Calls that carry a network in files: events out and in, and a join without a link.

use serde::{Deserialize, Serialize};

use crate::bytes::Bytes;
use crate::reply;
use crate::secret::Secret;

/// Events of a network, as their authors signed them, in the order in which this daemon came to have them. One answer holds
/// what fits; the next begins at [`reply::Events::next`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Events {
    /// Which network.
    pub network: Option<String>,
    /// How many to leave out from the beginning.
    pub from: u64,
}

/// Hands the daemon events for a later call, a piece at a time. It keeps them in memory for some minutes after the last piece.
/// Errors: `usage` when that upload is unknown; `failed` when it is larger than the daemon keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upload {
    /// What the first piece was answered with; absent in the first.
    pub upload: Option<u64>,
    /// Events.
    pub events: Vec<Bytes>,
}

/// Merges uploaded events into a network, after checking each as if it came from a stranger. Errors: `not_found` when this
/// device is not in that network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncImport {
    /// The id of the network they belong to.
    pub network: String,
    /// Which upload.
    pub upload: u64,
}

/// Signs a redemption of a ticket, to be carried to any member. Remembers the ticket until the answer comes. Errors as
/// [`Join`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinRequest {
    /// The ticket's text.
    pub ticket: Secret,
    /// The id of the invite event that the ticket belongs to.
    pub invite: String,
    /// This device's name in the network; absent, the machine's host name made a DNS label.
    pub host: Option<String>,
}

/// Opens a member's answer to a [`JoinRequest`], and joins with it. Errors: `not_found` when this device asked for nothing;
/// `conflict` when the member refused; `verification` when what came does not prove what the ticket promised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinAnswer {
    /// The network's id.
    pub network: String,
    /// The sealed answer.
    pub letter: reply::Letter,
    /// The network's events, sent with [`Upload`].
    pub upload: u64,
}

/// Admits whoever wrote a redemption, as a sponsor does over a link. Errors: `not_found` when this device is not in that
/// network or knows no such invite; `conflict` when it is used, expired or closed; `not_permitted`, `verification`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InviteAccept {
    /// The network's id.
    pub network: String,
    /// The sealed redemption.
    pub letter: reply::Letter,
    /// See the module.
    pub wait_ms: Option<u64>,
}
