//! Who may do what at this server, from clear acts alone. The device's key is proven by the connection.

use mesh_ledger::authority::Authority;
use mesh_ledger::ids::{DeviceId, EventId, InviteKey};

/// What a device is to a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// The network is not here.
    NotHosted,
    /// A live device.
    Live,
    /// One that was removed, by this event.
    Removed(EventId),
    /// Any other.
    Unknown,
}

/// What a device is to a network of which this much is known; none if it is not here.
#[must_use]
pub fn right(authority: Option<&Authority>, device: &DeviceId) -> Right {
    let Some(authority) = authority else {
        return Right::NotHosted;
    };
    if authority.devices.contains_key(device) {
        return Right::Live;
    }
    authority
        .removed_devices
        .get(device)
        .map_or(Right::Unknown, |by| Right::Removed(*by))
}

/// The invite with this key, and whether it still admits somebody.
#[must_use]
pub fn invite(authority: &Authority, key: &InviteKey, now: u64) -> Option<(EventId, bool)> {
    let of_key = authority
        .invites
        .iter()
        .filter(|(_, issued)| issued.key == *key);
    let judged = of_key.map(|(id, issued)| {
        let live =
            issued.closed.is_none() && issued.used < issued.max_uses && now <= issued.expires;
        (*id, live)
    });
    // One key may stand in several invites; one that lives is enough.
    judged.max_by_key(|(_, live)| *live)
}
