//! How an owner hands a network over: what its device and the successor's say to each other, on the link between them.
//!
//! The owner's device offers, and holds the key of the recovery words for as long as the offer stands. The successor's
//! device answers with everything that its side signs, the public half of its own new recovery words among it; the owner's
//! device adds the last signature and writes the event. The words of neither travel.

use mesh_ledger::event::act::{MAX_CUT, OwnerSet};
use serde::{Deserialize, Serialize};

/// The most bytes of a message.
pub const MAX_MESSAGE: usize = 2048;

/// One message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Handover {
    /// The owner's device: the network is offered to the user of the device that this goes to.
    Offered {
        /// Until when, milliseconds since 1970 by the owner's clock.
        until: u64,
    },
    /// The owner's device: it is not any more.
    Withdrawn,
    /// The successor's device: all of the succession but the owner's signature.
    Accepted(Box<OwnerSet>),
    /// The owner's device: that will not do.
    Refused(Refusal),
}

/// Why an acceptance will not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// Nothing is offered to that user, or not any more.
    #[error("the offer is over")]
    NotOffered,
    /// One of the two does not know yet what the other wrote; it is worth another try.
    #[error("the two devices do not hold the same events yet")]
    Behind,
    /// A signature does not hold, or the act is another than was offered.
    #[error("the owner's device does not take the acceptance")]
    Unproven,
}

impl Handover {
    /// The bytes on a link.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        // Encoding into memory cannot fail: no type here has a serializer that does.
        postcard::to_stdvec(self).unwrap_or_default()
    }

    /// Reads a message; nothing if it is none.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > MAX_MESSAGE {
            return None;
        }
        let (message, rest) = postcard::take_from_bytes(bytes).ok()?;
        let bounded = match &message {
            Self::Accepted(act) => act.cut.len() <= MAX_CUT && act.cut.is_sorted_by(|a, b| a < b),
            _ => true,
        };
        (rest.is_empty() && bounded).then_some(message)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use mesh_ledger::ids::{BoxKey, EventId, NetworkId, RecoveryKey};
    use mesh_ledger::keys::{DeviceSecret, UserSecret};
    use mesh_ledger::succession::propose;

    use super::*;

    fn accepted(cut: Vec<EventId>) -> Handover {
        Handover::Accepted(Box::new(propose(
            &NetworkId([1; 32]),
            &UserSecret::from_seed(&[2; 32]),
            &DeviceSecret::from_seed(&[3; 32]).public(),
            BoxKey([4; 32]),
            RecoveryKey([5; 32]),
            cut,
        )))
    }

    #[test]
    fn messages_read_back_as_written_and_nothing_else_does() {
        let heads = (0..MAX_CUT).map(|n| EventId([n as u8; 32])).collect();
        for message in [
            Handover::Offered { until: u64::MAX },
            Handover::Withdrawn,
            Handover::Refused(Refusal::Behind),
            accepted(heads),
        ] {
            let bytes = message.encode();
            assert!(bytes.len() <= MAX_MESSAGE);
            assert_eq!(Handover::decode(&bytes).unwrap(), message);
            assert_eq!(Handover::decode(&[bytes.clone(), vec![0]].concat()), None);
            for length in 0..bytes.len() {
                assert_eq!(Handover::decode(&bytes[..length]), None);
            }
        }
        let many = (0..=MAX_CUT).map(|n| EventId([n as u8; 32])).collect();
        assert_eq!(Handover::decode(&accepted(many).encode()), None);
        let twice = vec![EventId([1; 32]); 2];
        assert_eq!(Handover::decode(&accepted(twice).encode()), None);
        assert_eq!(Handover::decode(&[0xff; MAX_MESSAGE + 1]), None);
    }
}
