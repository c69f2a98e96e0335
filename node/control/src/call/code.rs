//! Invitations by a code that one person says to another.

use serde::{Deserialize, Serialize};

use crate::secret::Secret;

/// Shows a one-time code that hands a ticket to the machine where it is typed. A code that was shown before ends. Errors:
/// `usage` for a malformed ticket; `not_found` when this device is not in its network; `conflict` when nobody can join by it,
/// or so many wrong words were typed for it that its codes have stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InviteCode {
    /// The ticket, as [`Invite`](crate::call::Invite) answers it.
    pub ticket: Secret,
    /// How long the code can be used, in seconds, 30 to 3,600; never longer than the ticket.
    pub for_seconds: u32,
    /// Whether to go on although wrong words were typed.
    pub go_on: bool,
}

/// Waits until the code that [`InviteCode`] showed has let somebody in or has ended otherwise. Errors: `not_found` when none
/// is shown; `conflict` when another replaces it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InviteCodeWait {}

/// Takes the ticket that a code hands over, and joins by it as [`Join`](crate::call::Join) does. Errors: `usage` for a
/// malformed code; `conflict` when its words are wrong (which burns it), it is burnt, used or has expired, or is for something
/// else; `unreachable` when nobody shows it; else those of [`Join`](crate::call::Join).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinCode {
    /// The code, as `7-crossbow-orca-basil`.
    pub code: Secret,
    /// Where it is shown, as `HOST` or `HOST:PORT`; absent, on this LAN.
    pub at: Option<String>,
    /// This device's name in the network; absent, the machine's host name made a DNS label.
    pub host: Option<String>,
    /// How long to try to reach the device that shows it, and then a member, in seconds.
    pub wait_seconds: u32,
}
