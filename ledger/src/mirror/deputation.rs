//! A device's word that another key speaks for it with one server.
//!
//! A device whose network lets no UDP out reaches the mirror by the server's relay alone, of which its own key is a client
//! already: of two with one key, a relay serves the last. So it comes with a fresh key, and says whose that is.

use serde::{Deserialize, Serialize};

use super::message::VISIT_SKEW;
use crate::ids::{DeviceId, ServerKey};
use crate::keys::{DeviceSecret, Domain, Signature};

/// See the module. It is good for one server, one key and a few minutes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deputation {
    /// The device.
    pub device: DeviceId,
    /// When it was signed, in milliseconds since 1970.
    pub time: u64,
    signature: Signature,
}

impl Deputation {
    /// Signs that `deputy` speaks for the device.
    #[must_use]
    pub fn new(device: &DeviceSecret, server: &ServerKey, deputy: &DeviceId, time: u64) -> Self {
        Self {
            device: device.public(),
            time,
            signature: device.sign(Domain::Deputation, &message(server, deputy, time)),
        }
    }

    /// The device's.
    pub(super) const fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Whether the device signed it, for this server and key and about now.
    #[must_use]
    pub fn is_genuine(&self, server: &ServerKey, deputy: &DeviceId, now: u64) -> bool {
        now.abs_diff(self.time) <= VISIT_SKEW
            && self.device.verifies(
                Domain::Deputation,
                &message(server, deputy, self.time),
                &self.signature,
            )
    }
}

fn message(server: &ServerKey, deputy: &DeviceId, time: u64) -> Vec<u8> {
    [server.0.as_slice(), &deputy.0, &time.to_be_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deputation_is_for_its_server_and_key_and_time_alone() {
        let device = DeviceSecret::from_seed(&[1; 32]);
        let (server, deputy) = (ServerKey([3; 32]), DeviceId([4; 32]));
        let now = 1_000_000_000;
        let word = Deputation::new(&device, &server, &deputy, now);
        assert!(word.is_genuine(&server, &deputy, now + VISIT_SKEW));
        assert!(!word.is_genuine(&server, &deputy, now + VISIT_SKEW + 1));
        assert!(!word.is_genuine(&server, &deputy, now - VISIT_SKEW - 1));
        assert!(!word.is_genuine(&ServerKey([9; 32]), &deputy, now));
        assert!(!word.is_genuine(&server, &DeviceId([9; 32]), now));
        let of_another = Deputation {
            device: DeviceSecret::from_seed(&[2; 32]).public(),
            ..word
        };
        assert!(!of_another.is_genuine(&server, &deputy, now));
    }
}
