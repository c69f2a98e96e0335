//! The names under which a device asks another for a protocol.
//!
//! In the first packet of a connection the dialling device names the protocol that it wants to speak (ALPN, RFC 7301). Here
//! the name is a secret of the two: 16 bytes from a [`Relation`] and the hour. A device answers nothing at all to a first packet
//! without such a name. So a scanner learns nothing, and a stranger gets no further than that packet.
//!
//! | who dials | the relation's secret |
//! |---|---|
//! | a member that is known | the two devices' box keys (X25519) |
//! | a member that the other has not heard of yet | the key of one of the network's last [`EPOCHS`] epochs |
//! | a joiner | the contact secret of its ticket |
//! | a device with a code | the number of the code, while one is shown |
//! | a device that dials a server | the server's key |
//!
//! A clock may be wrong, so a device takes the names of three hours, and a name without an hour, [`When::Any`]. A dialler uses
//! that one only after one with the hour had no answer.
//!
//! # What this does not do
//!
//! It is no authentication: both keys are proven by TLS afterwards, and a name that was used by another key than its own is
//! refused then. The name is readable on the way (QUIC's first packet is encrypted with a public key). An observer can use
//! it for an hour or two to get as far as TLS, where its own key betrays it. The number of a code can be guessed. The key of a
//! server is in its certificate.

use zeroize::Zeroizing;

use crate::ids::{BoxKey, NetworkId, ServerKey};
use crate::keys::{BoxSecret, EpochKey};

/// Of how many of the last epochs the names are taken.
pub const EPOCHS: usize = 3;
/// How many names of one relation are taken at a time.
pub const TAKEN: usize = 4;
const HOUR: u64 = 3_600_000;

/// A protocol's name in the TLS handshake.
pub type Name = [u8; 16];

/// For when a name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// For this hour since 1970.
    Hour(u64),
    /// For any time: for devices whose clocks disagree.
    Any,
}

impl When {
    /// Returns the hour of a moment in milliseconds since 1970.
    #[must_use]
    pub fn at(now: u64) -> Self {
        Self::Hour(now / HOUR)
    }
}

/// What two devices have in common that others do not know.
#[derive(Clone)]
pub struct Relation(Zeroizing<[u8; 32]>);

impl Relation {
    /// Returns that of two members' devices. `None` if the other's box key shares a secret with everybody.
    #[must_use]
    pub fn pair(network: &NetworkId, mine: &BoxSecret, other: &BoxKey) -> Option<Self> {
        let shared = mine.shared(other)?;
        Some(Self::new("mesh alpn pair", &[&network.0, shared.as_ref()]))
    }

    /// Returns that of all who have the key of an epoch.
    #[must_use]
    pub fn epoch(network: &NetworkId, key: &EpochKey) -> Self {
        Self::new("mesh alpn epoch", &[&network.0, key.as_bytes()])
    }

    /// Returns that of members and those who hold a ticket, by its contact secret.
    #[must_use]
    pub fn invite(contact: &[u8; 32]) -> Self {
        Self::new("mesh alpn invite", &[contact])
    }

    /// Returns that of all who know the number of a code.
    #[must_use]
    pub fn code(mailbox: u16) -> Self {
        Self::new("mesh alpn code", &[&mailbox.to_be_bytes()])
    }

    /// Returns that of all who know a server.
    #[must_use]
    pub fn server(server: &ServerKey) -> Self {
        Self::new("mesh alpn server", &[&server.0])
    }

    fn new(domain: &str, parts: &[&[u8]]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(domain);
        for part in parts {
            hasher.update(part);
        }
        Self(Zeroizing::new(*hasher.finalize().as_bytes()))
    }

    /// Returns the relation's name for a time. In a pair, `of` is the key of the device that dials. Else it is the key of the one
    /// that is dialled, so that a name that was seen at one is worth nothing at another.
    #[must_use]
    pub fn name(&self, of: &[u8; 32], when: When) -> Name {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(of);
        match when {
            When::Hour(hour) => hasher.update(&[1]).update(&hour.to_be_bytes()),
            When::Any => hasher.update(&[0]),
        };
        let mut name = Name::default();
        hasher.finalize_xof().fill(&mut name);
        name
    }

    /// Returns the names that are taken at a moment, in milliseconds since 1970.
    #[must_use]
    pub fn taken(&self, of: &[u8; 32], now: u64) -> [Name; TAKEN] {
        let hour = now / HOUR;
        [
            When::Hour(hour),
            When::Hour(hour.saturating_sub(1)),
            When::Hour(hour.saturating_add(1)),
            When::Any,
        ]
        .map(|when| self.name(of, when))
    }
}

impl std::fmt::Debug for Relation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Relation(…)")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const NETWORK: NetworkId = NetworkId([7; 32]);

    fn pair() -> (Relation, Relation) {
        let (a, b) = (
            BoxSecret::from_seed(&[1; 32]),
            BoxSecret::from_seed(&[2; 32]),
        );
        let relation = |mine: &BoxSecret, other: &BoxSecret| {
            Relation::pair(&NETWORK, mine, &other.public()).unwrap()
        };
        (relation(&a, &b), relation(&b, &a))
    }

    #[test]
    fn both_ends_of_a_pair_have_one_name_and_each_direction_its_own() {
        let (a, b) = pair();
        let at = When::at(5 * HOUR);
        assert_eq!(a.name(&[1; 32], at), b.name(&[1; 32], at));
        assert_ne!(a.name(&[1; 32], at), b.name(&[2; 32], at));
    }

    #[test]
    fn a_name_is_taken_an_hour_early_and_late_and_one_without_an_hour_always() {
        let (a, _) = pair();
        let of = [1; 32];
        let takes = |hour: u64, name: Name| a.taken(&of, hour * HOUR + 1).contains(&name);
        let name = a.name(&of, When::Hour(100));
        let taken: Vec<bool> = (98..=102).map(|hour| takes(hour, name)).collect();
        assert_eq!(taken, [false, true, true, true, false]);
        for hour in [0, 100, u64::MAX / HOUR] {
            assert!(takes(hour, a.name(&of, When::Any)));
        }
    }

    #[test]
    fn relations_of_different_kinds_networks_and_keys_share_no_name() {
        let key = [9; 32];
        let a = BoxSecret::from_seed(&[1; 32]);
        let b = BoxSecret::from_seed(&[2; 32]).public();
        let relations = [
            Relation::pair(&NETWORK, &a, &b).unwrap(),
            Relation::pair(&NetworkId([8; 32]), &a, &b).unwrap(),
            Relation::epoch(&NETWORK, &EpochKey::from_bytes(key)),
            Relation::epoch(&NetworkId([8; 32]), &EpochKey::from_bytes(key)),
            Relation::invite(&key),
            Relation::server(&ServerKey(key)),
            Relation::code(9),
            Relation::code(10),
        ];
        let names: std::collections::BTreeSet<Name> = relations
            .iter()
            .map(|relation| relation.name(&key, When::Any))
            .collect();
        assert_eq!(names.len(), relations.len());
    }

    #[test]
    fn a_box_key_that_shares_one_secret_with_everybody_makes_no_relation() {
        let mine = BoxSecret::from_seed(&[1; 32]);
        assert!(Relation::pair(&NETWORK, &mine, &BoxKey([0; 32])).is_none());
    }
}
