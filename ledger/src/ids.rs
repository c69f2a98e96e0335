//! Identifiers: 32-byte public keys and hashes, each with a type of its own, so that no one passes for another.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A text that is not an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an id: 64 hexadecimal digits are")]
pub struct BadId(pub String);

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub [u8; 32]);

        impl $name {
            /// The 32 bytes.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// The first eight hexadecimal digits, as people see it.
            #[must_use]
            pub fn short(&self) -> String {
                data_encoding::HEXLOWER.encode(&self.0[..4])
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.short())
            }
        }

        impl FromStr for $name {
            type Err = BadId;

            fn from_str(text: &str) -> Result<Self, BadId> {
                data_encoding::HEXLOWER_PERMISSIVE
                    .decode(text.as_bytes())
                    .ok()
                    .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
                    .map(Self)
                    .ok_or_else(|| BadId(text.chars().take(80).collect()))
            }
        }
    };
}

id! {
    /// A network: the hash of its genesis event.
    NetworkId
}
id! {
    /// An event: blake3 of all its bytes, signature included.
    EventId
}
id! {
    /// A user: the public half of a person's ed25519 identity key.
    UserId
}
id! {
    /// A device: the public half of its ed25519 key, which is its iroh endpoint id too.
    DeviceId
}
id! {
    /// The public half of an invite's ed25519 key; only who holds the ticket has the other half.
    InviteKey
}
id! {
    /// The public half of an owner's ed25519 recovery key, which the recovery words carry.
    RecoveryKey
}
id! {
    /// A device's X25519 key to which epoch keys are sealed.
    BoxKey
}
id! {
    /// A device's WireGuard public key (X25519) in one network.
    WgKey
}
id! {
    /// An epoch: a hash that commits to its key.
    EpochId
}
id! {
    /// A server: the public half of its ed25519 key, which is its iroh endpoint id too.
    ServerKey
}
id! {
    /// A blake3 hash of something that is not an event.
    Digest
}

impl EpochId {
    /// Stands in the header of an event that has no sealed attributes.
    pub const NONE: Self = Self([0; 32]);
}

impl NetworkId {
    /// Stands in the header of a genesis, whose own hash is the id.
    pub const GENESIS: Self = Self([0; 32]);

    /// The network's IPv6 /64: `fd`, then 56 bits of a hash of its id.
    #[must_use]
    pub fn ula(&self) -> [u8; 8] {
        let hash = blake3::derive_key("mesh ula", &self.0);
        let mut prefix = [0xfd; 8];
        prefix[1..].copy_from_slice(&hash[..7]);
        prefix
    }

    /// The IPv6 address of a device in this network: it follows from both ids, so nobody assigns it.
    #[must_use]
    pub fn address_v6(&self, device: &DeviceId) -> std::net::Ipv6Addr {
        let mut octets = [0; 16];
        octets[..8].copy_from_slice(&self.ula());
        octets[8..].copy_from_slice(&blake3::derive_key("mesh host", &device.0)[..8]);
        octets.into()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_what_it_prints() {
        let id = UserId([0xab; 32]);
        assert_eq!(id.to_string().parse::<UserId>().unwrap(), id);
        assert_eq!(id.short(), "abababab");
        assert!("abab".parse::<UserId>().is_err());
        assert!("zz".repeat(32).parse::<UserId>().is_err());
    }

    #[test]
    fn addresses_of_two_networks_do_not_meet() {
        let device = DeviceId([7; 32]);
        let (a, b) = (NetworkId([1; 32]), NetworkId([2; 32]));
        assert_eq!(a.address_v6(&device).octets()[0], 0xfd);
        assert_ne!(
            a.address_v6(&device).octets()[..8],
            b.address_v6(&device).octets()[..8]
        );
        assert_eq!(
            a.address_v6(&device).octets()[8..],
            b.address_v6(&device).octets()[8..]
        );
    }
}
