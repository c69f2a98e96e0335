//! Tips: a server's signed word for how far its copy of a network goes.
//!
//! The chain commits to every id and its position. The times of one server's tips grow strictly, so of any two tips of a
//! network one is the later, and [`contradiction`] finds whether an honest server can have signed both.

use serde::{Deserialize, Serialize};

use crate::ids::{EventId, NetworkId, ServerKey};
use crate::keys::{Domain, ServerSecret, Signature};

/// A hash over the ids at the positions before one: of none at first, then blake3(the one before ‖ id).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Chain(pub [u8; 32]);

impl Chain {
    /// The chain of an empty log.
    #[must_use]
    pub fn empty(network: &NetworkId) -> Self {
        Self(blake3::derive_key("mesh mirror chain 1", &network.0))
    }

    /// The chain after one more event.
    #[must_use]
    pub fn then(&self, id: &EventId) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.0);
        hasher.update(&id.0);
        Self(*hasher.finalize().as_bytes())
    }
}

/// What a server says of its copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tip {
    /// The network.
    pub network: NetworkId,
    /// How many events there are.
    pub count: u64,
    /// The chain over all of them.
    pub chain: Chain,
    /// When it was signed, in milliseconds since 1970 by the server's clock; later than all this server signed before.
    pub time: u64,
}

/// A tip, and the server's signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedTip {
    /// What was signed.
    pub tip: Tip,
    /// By whom.
    pub server: ServerKey,
    signature: Signature,
}

impl SignedTip {
    /// Signs.
    #[must_use]
    pub fn sign(tip: Tip, server: &ServerSecret) -> Self {
        let signature = server.sign(Domain::Tip, &tip.message());
        Self {
            tip,
            server: server.public(),
            signature,
        }
    }

    /// Whether the server it names signed it.
    #[must_use]
    pub fn is_genuine(&self) -> bool {
        self.server
            .verifies(Domain::Tip, &self.tip.message(), &self.signature)
    }
}

impl Tip {
    fn message(&self) -> Vec<u8> {
        [
            self.network.0.as_slice(),
            &self.count.to_be_bytes(),
            &self.chain.0,
            &self.time.to_be_bytes(),
        ]
        .concat()
    }
}

/// What two tips of one server prove.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Contradiction {
    /// It showed two logs of the same length.
    #[error("it showed two different logs")]
    Fork,
    /// It went back behind what it had signed.
    #[error("it took back what it had stored")]
    Rollback,
}

/// Whether an honest server can have signed both; the tips are taken to be genuine.
#[must_use]
pub fn contradiction(one: &SignedTip, other: &SignedTip) -> Option<Contradiction> {
    if one.server != other.server || one.tip.network != other.tip.network {
        return None;
    }
    let (early, late) = if one.tip.time <= other.tip.time {
        (&one.tip, &other.tip)
    } else {
        (&other.tip, &one.tip)
    };
    if early.count == late.count {
        (early.chain != late.chain).then_some(Contradiction::Fork)
    } else if late.time == early.time {
        // Two statements of one moment are never honest.
        Some(Contradiction::Fork)
    } else {
        (late.count < early.count).then_some(Contradiction::Rollback)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tip(count: u64, chain: u8, time: u64) -> SignedTip {
        let tip = Tip {
            network: NetworkId([1; 32]),
            count,
            chain: Chain([chain; 32]),
            time,
        };
        SignedTip::sign(tip, &ServerSecret::from_seed(&[2; 32]))
    }

    #[test]
    fn a_tip_is_genuine_only_as_it_was_signed() {
        let good = tip(3, 1, 10);
        assert!(good.is_genuine());
        let mut changed = good.clone();
        changed.tip.count = 4;
        assert!(!changed.is_genuine());
        let mut named = good;
        named.server = ServerKey([9; 32]);
        assert!(!named.is_genuine());
    }

    #[test]
    fn an_honest_log_never_contradicts_itself() {
        let network = NetworkId([1; 32]);
        let mut chain = Chain::empty(&network);
        let mut tips = Vec::new();
        for count in 0..20u64 {
            for again in 0..3 {
                let tip = Tip {
                    network,
                    count,
                    chain,
                    time: count * 10 + again,
                };
                tips.push(SignedTip::sign(tip, &ServerSecret::from_seed(&[2; 32])));
            }
            chain = chain.then(&EventId([u8::try_from(count).unwrap_or(0); 32]));
        }
        for one in &tips {
            for other in &tips {
                assert_eq!(contradiction(one, other), None);
            }
        }
    }

    #[test]
    fn a_fork_and_a_rollback_are_told_apart_whichever_tip_comes_first() {
        let fork = (tip(3, 1, 10), tip(3, 2, 11));
        let rollback = (tip(3, 1, 10), tip(2, 2, 11));
        let growth = (tip(3, 1, 10), tip(4, 2, 11));
        for (pair, expected) in [
            (fork, Some(Contradiction::Fork)),
            (rollback, Some(Contradiction::Rollback)),
            (growth, None),
        ] {
            assert_eq!(contradiction(&pair.0, &pair.1), expected);
            assert_eq!(contradiction(&pair.1, &pair.0), expected);
        }
    }

    #[test]
    fn tips_of_two_servers_or_networks_prove_nothing() {
        let one = tip(3, 1, 10);
        let mut other = tip(2, 2, 11);
        other.server = ServerKey([9; 32]);
        assert_eq!(contradiction(&one, &other), None);
        let mut other = tip(2, 2, 11);
        other.tip.network = NetworkId([9; 32]);
        assert_eq!(contradiction(&one, &other), None);
    }
}
