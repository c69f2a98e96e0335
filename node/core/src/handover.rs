//! What a device and a further one of the same user say to each other when a code has brought them together
//! (`mesh_ledger::code`).
//!
//! The further device dials with [`Role::Code`](crate::link::Role::Code) and a [`Said::Start`]; all that follows is
//! [`Said`] too, in [`Frame::Welcome`](crate::link::Frame::Welcome) the first answer, in
//! [`Frame::Code`](crate::link::Frame::Code) the rest:
//!
//! 1. `Start`: the code's mailbox and the SPAKE2 message; `Answer`: that of the other.
//! 2. `Confirm`, with a sealed [`Request`]; `Confirmed`, with the sealed [`Handover`]: the user's certificate for the
//!    device, the user's key unless it stays behind, and each network's key. The networks' events follow in
//!    [`Frame::Events`](crate::link::Frame::Events).
//! 3. `Entered`, with a sealed [`Entered`]: the `device.add` of each network, which the other device passes on; `Taken`.
//!
//! It may break off anywhere and be begun again with the same code: the further device takes what it lacks.
//!
//! A code that invites somebody begins in the same way. The joiner confirms with `AskTicket` in place of `Confirm`, is
//! answered with `Ticket`, which holds the ticket sealed, and goes on as anybody who has one.

use std::net::SocketAddr;

use mesh_ledger::code::Confirmation;
use mesh_ledger::epoch::HandedKey;
use mesh_ledger::ids::{BoxKey, DeviceId, NetworkId, UserId};
use mesh_ledger::keys::Signature;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// The most networks that one handover brings.
pub const MAX_NETWORKS: usize = 64;
/// The most devices of a network whose addresses it brings.
pub const MAX_CONTACTS: usize = 24;
/// The most addresses of each.
pub const MAX_ADDRESSES: usize = 4;
/// The most bytes of a message, sealed parts included: with all of the above at their limits it is less.
pub const MAX_SAID: usize = 512 << 10;

/// A message of the exchange.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Said {
    /// The first, by who was told a code.
    Start {
        /// The code's number.
        mailbox: u16,
        /// Its SPAKE2 message.
        message: Vec<u8>,
    },
    /// The other's SPAKE2 message.
    Answer(Vec<u8>),
    /// The proof that the joiner knows the words, and a [`Request`] sealed.
    Confirm(Confirmation, Vec<u8>),
    /// The proof that the other knows them too, and a [`Handover`] sealed.
    Confirmed(Confirmation, Vec<u8>),
    /// What the joiner wrote in each network, an [`Entered`] sealed.
    Entered(Vec<u8>),
    /// The other has it.
    Taken,
    /// No.
    Refused(No),
    /// The proof that the joiner knows the words, and asks for the ticket that they stand for.
    AskTicket(Confirmation),
    /// The proof that the other knows them too, and the text of the ticket sealed.
    Ticket(Confirmation, Vec<u8>),
}

/// Why an exchange does not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum No {
    /// No code of that number is shown there.
    #[error("no code of that number is shown there")]
    Code,
    /// Its time is over.
    #[error("the code has expired")]
    Expired,
    /// Somebody typed wrong words before.
    #[error("the code was burnt: other words were typed first")]
    Burnt,
    /// Another device was linked by it.
    #[error("the code was used by another device")]
    Used,
    /// The words were wrong just now.
    #[error("a word of the code is wrong, and a wrong one burns it")]
    Wrong,
    /// The other device could not.
    #[error("the other device could not go on")]
    Failed,
    /// What was sent is no message of this.
    #[error("the other device did not understand")]
    Malformed,
    /// The words are right; what they hand over is not what was asked for.
    #[error("the code links a further machine of its own user: mesh device link")]
    LinksDevice,
    /// The same.
    #[error("the code invites somebody into a network: mesh join")]
    Invites,
}

/// What the further device asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Where keys for it are sealed to.
    pub box_key: BoxKey,
    /// The networks it is in already, at most [`MAX_NETWORKS`].
    pub has: Vec<NetworkId>,
}

/// What it is given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handover {
    /// Whose device it is from now on.
    pub user: UserId,
    /// The user's word for it.
    pub certificate: Signature,
    /// The user's key.
    pub key: UserKey,
    /// The user's networks that it is not in.
    pub networks: Vec<Network>,
}

/// The user's key on its way.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub enum UserKey {
    /// It stays where it is.
    Stays,
    /// The seed.
    Open([u8; 32]),
    /// Under the user's passphrase, as `crate::keyfile` encodes it.
    Locked(Vec<u8>),
}

/// A network on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Its id.
    pub network: NetworkId,
    /// The key of its newest epoch, sealed to the further device.
    pub key: HandedKey,
    /// How many events follow.
    pub events: u64,
    /// Where its devices were reached.
    pub contacts: Vec<Contact>,
}

/// Where a device was reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contact {
    /// The device.
    pub device: DeviceId,
    /// The latest first.
    pub addresses: Vec<SocketAddr>,
}

/// The `device.add` events that the further device wrote, encoded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entered {
    /// One for each network that it entered.
    pub adds: Vec<(NetworkId, Vec<u8>)>,
}

impl std::fmt::Debug for UserKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Stays => "Stays",
            Self::Open(_) => "Open(..)",
            Self::Locked(_) => "Locked(..)",
        })
    }
}

macro_rules! message {
    ($($name:ident: $bounded:expr;)*) => {$(
        impl $name {
            /// The bytes to send or seal; empty if they would not be taken.
            #[must_use]
            pub fn encode(&self) -> Zeroizing<Vec<u8>> {
                encode(self)
            }

            /// Reads received bytes; `None` if they are too many, not such a message, or hold more than it may.
            #[must_use]
            pub fn decode(bytes: &[u8]) -> Option<Self> {
                let bounded: fn(&Self) -> bool = $bounded;
                decode(bytes).filter(bounded)
            }
        }
    )*};
}

message! {
    Said: |_| true;
    Request: |request| request.has.len() <= MAX_NETWORKS;
    Handover: |handover| {
        let contact = |contact: &Contact| contact.addresses.len() <= MAX_ADDRESSES;
        handover.networks.len() <= MAX_NETWORKS
            && handover.networks.iter().all(|network| {
                network.contacts.len() <= MAX_CONTACTS && network.contacts.iter().all(contact)
            })
    };
    Entered: |entered| entered.adds.len() <= MAX_NETWORKS;
}

fn encode<T: Serialize>(value: &T) -> Zeroizing<Vec<u8>> {
    // Of a size that holds it: nothing secret is left behind by moving.
    let mut bytes = Zeroizing::new(vec![0; MAX_SAID]);
    let length = postcard::to_slice(value, &mut bytes).map(|used| used.len());
    bytes.truncate(length.unwrap_or(0));
    bytes
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    if bytes.len() > MAX_SAID {
        return None;
    }
    let (value, rest) = postcard::take_from_bytes(bytes).ok()?;
    rest.is_empty().then_some(value)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use mesh_ledger::ids::EpochId;

    use super::*;
    use crate::link::{Frame, MAX_FRAME};

    fn handover(networks: usize, contacts: usize, addresses: usize) -> Handover {
        let contact = |n: usize| Contact {
            device: DeviceId([n as u8; 32]),
            addresses: vec!["[2001:db8::1]:51820".parse().unwrap(); addresses],
        };
        let network = |n: usize| Network {
            network: NetworkId([n as u8; 32]),
            key: handed(),
            events: u64::MAX,
            contacts: (0..contacts).map(contact).collect(),
        };
        Handover {
            user: UserId([1; 32]),
            certificate: Signature::from_bytes(&[2; 64]),
            key: UserKey::Open([0x41; 32]),
            networks: (0..networks).map(network).collect(),
        }
    }

    fn handed() -> HandedKey {
        let user = mesh_ledger::keys::EpochKey::from_bytes([3; 32]);
        let to = mesh_ledger::keys::BoxSecret::from_seed(&[4; 32]).public();
        let handed = HandedKey::seal(&NetworkId([1; 32]), &user, &to, &[5; 32]).unwrap();
        assert_ne!(user.id(), EpochId::NONE);
        handed
    }

    #[test]
    fn messages_read_back_as_written_and_show_no_secret() {
        let handover = handover(2, 3, 2);
        assert_eq!(Handover::decode(&handover.encode()).unwrap(), handover);
        assert!(format!("{handover:?}").contains("Open(..)"));
        let said = Said::Start {
            mailbox: 7,
            message: vec![1; 33],
        };
        assert_eq!(Said::decode(&said.encode()).unwrap(), said);
        for said in [
            Said::AskTicket([1; 32]),
            Said::Ticket([2; 32], vec![3; 300]),
            Said::Refused(No::Invites),
        ] {
            assert_eq!(Said::decode(&said.encode()).unwrap(), said);
        }
        let entered = Entered {
            adds: vec![(NetworkId([1; 32]), vec![2; 300])],
        };
        assert_eq!(Entered::decode(&entered.encode()).unwrap(), entered);
    }

    #[test]
    fn a_handover_at_its_limits_fits_into_a_frame_and_one_above_is_refused() {
        let most = handover(MAX_NETWORKS, MAX_CONTACTS, MAX_ADDRESSES).encode();
        assert!(Handover::decode(&most).is_some());
        let said = Said::Confirmed([0; 32], vec![0; most.len() + 64]).encode();
        assert!(!said.is_empty() && said.len() < MAX_FRAME);
        assert!(Frame::Code(said.to_vec()).encode().is_ok());
        for more in [
            handover(MAX_NETWORKS + 1, 0, 0),
            handover(1, MAX_CONTACTS + 1, 0),
            handover(1, 1, MAX_ADDRESSES + 1),
        ] {
            assert!(Handover::decode(&more.encode()).is_none());
        }
    }

    #[test]
    fn junk_cut_and_trailing_bytes_are_refused() {
        let bytes = handover(1, 1, 1).encode();
        for length in 0..bytes.len() {
            assert!(Handover::decode(&bytes[..length]).is_none());
        }
        assert!(Handover::decode(&[&bytes[..], &[0]].concat()).is_none());
        assert!(Said::decode(&[0xff; 64]).is_none());
        assert!(Said::decode(&vec![0; MAX_SAID + 1]).is_none());
    }
}
