//! A key that speaks for this device with one server, where it reaches the mirror by the server's relay alone.

use iroh::SecretKey;
use mesh_ledger::ids::{DeviceId, ServerKey};
use mesh_ledger::keys::DeviceSecret;
use mesh_ledger::mirror::{Deputation, Request, Role};
use zeroize::Zeroizing;

use crate::clock::now_ms;

/// See the module.
pub(crate) struct Deputy {
    device: DeviceSecret,
    server: ServerKey,
    key: DeviceId,
}

impl Deputy {
    /// For the device with this secret.
    pub(super) fn new(device: &SecretKey, server: ServerKey, key: &SecretKey) -> Self {
        Self {
            device: DeviceSecret::from_seed(&Zeroizing::new(device.to_bytes())),
            server,
            key: DeviceId(*key.public().as_bytes()),
        }
    }

    /// The device's word, as of now.
    pub(super) fn word(&self) -> Deputation {
        Deputation::new(&self.device, &self.server, &self.key, now_ms())
    }

    /// What the device would say, as said by this key.
    pub(crate) fn says(&self, request: Request) -> Request {
        match request {
            Request::Open {
                network,
                role: Role::Member(permit),
            } => Request::Open {
                network,
                role: Role::Deputy(self.word(), permit),
            },
            other => other,
        }
    }
}
