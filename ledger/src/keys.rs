//! Secret keys, and signatures under a domain: what is signed for one purpose is worth nothing for another.
//!
//! A signature covers blake3-derive(domain, message), never a bare message. Seeds come from the caller: the crate has no
//! randomness of its own.

use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::{Zeroize, Zeroizing};

use crate::ids::{BoxKey, DeviceId, EpochId, InviteKey, RecoveryKey, ServerKey, UserId};

/// What a signature is for. The text is the derivation context, so it is part of every format and never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Domain {
    /// A device signs an event.
    Event,
    /// A user certifies a device as its own, in any network.
    Certificate,
    /// A joiner's user, device and invite sign a redemption.
    Redemption,
    /// A recovery key names a successor.
    Succession,
    /// A user key removes a device of its own.
    OwnDevice,
    /// A device says that it is here.
    Beacon,
    /// A server says how long its copy of a network is.
    Tip,
    /// The holder of a ticket shows itself to a server.
    Visit,
    /// A device has another key speak for it with a server.
    Deputation,
}

impl Domain {
    fn context(self) -> &'static str {
        match self {
            Self::Event => "mesh event 1",
            Self::Certificate => "mesh certificate 1",
            Self::Redemption => "mesh redemption 1",
            Self::Succession => "mesh succession 1",
            Self::OwnDevice => "mesh own device 1",
            Self::Beacon => "mesh beacon 1",
            Self::Tip => "mesh tip 1",
            Self::Visit => "mesh visit 1",
            Self::Deputation => "mesh deputation 1",
        }
    }

    fn digest(self, message: &[u8]) -> [u8; 32] {
        blake3::derive_key(self.context(), message)
    }
}

/// An ed25519 signature (R, then S).
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature([u8; 32], [u8; 32]);

impl Signature {
    /// Takes R ‖ S.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 64]) -> Self {
        let (mut r, mut s) = ([0; 32], [0; 32]);
        r.copy_from_slice(&bytes[..32]);
        s.copy_from_slice(&bytes[32..]);
        Self(r, s)
    }

    /// R ‖ S.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 64] {
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(&self.0);
        bytes[32..].copy_from_slice(&self.1);
        bytes
    }
}

impl std::fmt::Debug for Signature {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Signature({}…)",
            data_encoding::HEXLOWER.encode(&self.0[..4])
        )
    }
}

fn verify(key: &[u8; 32], domain: Domain, message: &[u8], signature: &Signature) -> bool {
    // Strict: refuses keys and nonces of small order, which would let one signature fit many messages.
    VerifyingKey::from_bytes(key).is_ok_and(|key| {
        let signature = ed25519_dalek::Signature::from_bytes(&signature.to_bytes());
        key.verify_strict(&domain.digest(message), &signature)
            .is_ok()
    })
}

macro_rules! signing_key {
    ($(#[$doc:meta])* $secret:ident, $public:ident) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $secret(SigningKey);

        impl $secret {
            /// The key of a 32-byte seed.
            #[must_use]
            pub fn from_seed(seed: &[u8; 32]) -> Self {
                Self(SigningKey::from_bytes(seed))
            }

            /// The seed, for storing it.
            #[must_use]
            pub fn seed(&self) -> Zeroizing<[u8; 32]> {
                Zeroizing::new(self.0.to_bytes())
            }

            /// The public half.
            #[must_use]
            pub fn public(&self) -> $public {
                $public(self.0.verifying_key().to_bytes())
            }

            /// Signs `message` for one purpose.
            #[must_use]
            pub fn sign(&self, domain: Domain, message: &[u8]) -> Signature {
                Signature::from_bytes(&self.0.sign(&domain.digest(message)).to_bytes())
            }
        }

        impl std::fmt::Debug for $secret {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!(stringify!($secret), "({:?})"), self.public())
            }
        }

        impl $public {
            /// Whether this key made `signature` over `message` for that purpose.
            #[must_use]
            pub fn verifies(&self, domain: Domain, message: &[u8], signature: &Signature) -> bool {
                verify(&self.0, domain, message, signature)
            }
        }
    };
}

signing_key! {
    /// A user's identity key.
    UserSecret, UserId
}
signing_key! {
    /// A device's key.
    DeviceSecret, DeviceId
}
signing_key! {
    /// The key a ticket carries.
    InviteSecret, InviteKey
}
signing_key! {
    /// The key the recovery words carry.
    RecoverySecret, RecoveryKey
}
signing_key! {
    /// A server's key.
    ServerSecret, ServerKey
}

impl UserSecret {
    /// Certifies `device` as this user's. Free of the network: one certificate serves everywhere.
    #[must_use]
    pub fn certify(&self, device: &DeviceId) -> Signature {
        self.sign(
            Domain::Certificate,
            &certificate_message(&self.public(), device),
        )
    }
}

/// Whether `certificate` is `user`'s word that `device` is its own.
#[must_use]
pub fn certified(user: &UserId, device: &DeviceId, certificate: &Signature) -> bool {
    user.verifies(
        Domain::Certificate,
        &certificate_message(user, device),
        certificate,
    )
}

fn certificate_message(user: &UserId, device: &DeviceId) -> [u8; 64] {
    let mut message = [0; 64];
    message[..32].copy_from_slice(&user.0);
    message[32..].copy_from_slice(&device.0);
    message
}

/// The X25519 secret to which others seal epoch keys.
#[derive(Clone)]
pub struct BoxSecret(StaticSecret);

impl BoxSecret {
    /// The key of a 32-byte seed.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(StaticSecret::from(*seed))
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> BoxKey {
        BoxKey(PublicKey::from(&self.0).to_bytes())
    }

    /// The secret shared with `other`; `None` if that key is of small order and would share one with everybody.
    #[must_use]
    pub fn shared(&self, other: &BoxKey) -> Option<Zeroizing<[u8; 32]>> {
        let shared = self.0.diffie_hellman(&PublicKey::from(other.0));
        shared
            .was_contributory()
            .then(|| Zeroizing::new(*shared.as_bytes()))
    }
}

impl std::fmt::Debug for BoxSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BoxSecret({:?})", self.public())
    }
}

/// The key that seals the attributes of one epoch's events.
#[derive(Clone, PartialEq, Eq)]
pub struct EpochKey(Zeroizing<[u8; 32]>);

impl EpochKey {
    /// Takes the 32 bytes.
    #[must_use]
    pub fn from_bytes(mut bytes: [u8; 32]) -> Self {
        let key = Self(Zeroizing::new(bytes));
        bytes.zeroize();
        key
    }

    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The epoch's id, which commits to the key.
    #[must_use]
    pub fn id(&self) -> EpochId {
        EpochId(blake3::derive_key("mesh epoch id", self.0.as_ref()))
    }
}

impl std::fmt::Debug for EpochKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EpochKey({:?})", self.id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_serves_one_purpose_and_one_message() {
        let user = UserSecret::from_seed(&[1; 32]);
        let signature = user.sign(Domain::Redemption, b"hello");
        assert!(
            user.public()
                .verifies(Domain::Redemption, b"hello", &signature)
        );
        assert!(
            !user
                .public()
                .verifies(Domain::Succession, b"hello", &signature)
        );
        assert!(
            !user
                .public()
                .verifies(Domain::Redemption, b"hellp", &signature)
        );
        assert!(!UserId([0; 32]).verifies(Domain::Redemption, b"hello", &signature));
    }

    #[test]
    fn a_certificate_binds_one_device_to_one_user() {
        let user = UserSecret::from_seed(&[1; 32]);
        let device = DeviceSecret::from_seed(&[2; 32]).public();
        let certificate = user.certify(&device);
        assert!(certified(&user.public(), &device, &certificate));
        assert!(!certified(
            &UserSecret::from_seed(&[3; 32]).public(),
            &device,
            &certificate
        ));
        assert!(!certified(&user.public(), &DeviceId([9; 32]), &certificate));
    }

    #[test]
    fn nothing_secret_is_printed() {
        let shown = format!(
            "{:?} {:?}",
            UserSecret::from_seed(&[0x41; 32]),
            EpochKey::from_bytes([0x41; 32])
        );
        assert!(!shown.contains("41414141"), "{shown}");
    }

    #[test]
    fn two_boxes_share_a_secret_and_a_key_of_small_order_shares_none() {
        let (a, b) = (
            BoxSecret::from_seed(&[1; 32]),
            BoxSecret::from_seed(&[2; 32]),
        );
        assert_eq!(a.shared(&b.public()), b.shared(&a.public()));
        assert!(a.shared(&BoxKey([0; 32])).is_none());
    }
}
