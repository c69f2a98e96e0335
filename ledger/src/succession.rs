//! Who is to own a network next, put together from the signatures of two people who may sit at two machines: the
//! successor's, by its user key, and the present owner's, by the recovery words.

use crate::event::act::{OwnerSet, succession_message};
use crate::ids::{BoxKey, DeviceId, EventId, NetworkId, RecoveryKey};
use crate::keys::{Domain, RecoverySecret, Signature, UserSecret, certified};

/// What a successor says: everything but the owner's signature, in whose place zeros stand. `recovery` is the public half
/// of the successor's own new words; what the present owner did and that lies in the past of `cut` stands.
#[must_use]
pub fn propose(
    network: &NetworkId,
    successor: &UserSecret,
    device: &DeviceId,
    box_key: BoxKey,
    recovery: RecoveryKey,
    cut: Vec<EventId>,
) -> OwnerSet {
    let none = Signature::from_bytes(&[0; 64]);
    let mut act = OwnerSet {
        successor: successor.public(),
        device: *device,
        box_key,
        certificate: successor.certify(device),
        recovery,
        cut,
        by_recovery: none,
        by_successor: none,
    };
    let message = succession_message(network, &act);
    act.by_successor = successor.sign(Domain::Succession, &message);
    act
}

/// Whether the successor's own signatures hold.
#[must_use]
pub fn is_proposed(network: &NetworkId, act: &OwnerSet) -> bool {
    let message = succession_message(network, act);
    certified(&act.successor, &act.device, &act.certificate)
        && act
            .successor
            .verifies(Domain::Succession, &message, &act.by_successor)
}

/// Adds the owner's signature, by the key of the recovery words.
#[must_use]
pub fn complete(network: &NetworkId, mut act: OwnerSet, words: &RecoverySecret) -> OwnerSet {
    let message = succession_message(network, &act);
    act.by_recovery = words.sign(Domain::Succession, &message);
    act
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::DeviceSecret;

    #[test]
    fn both_signatures_cover_the_whole_of_it() {
        let network = NetworkId([1; 32]);
        let bob = UserSecret::from_seed(&[2; 32]);
        let device = DeviceSecret::from_seed(&[3; 32]).public();
        let words = RecoverySecret::from_seed(&[4; 32]);
        let act = propose(
            &network,
            &bob,
            &device,
            BoxKey([5; 32]),
            RecoverySecret::from_seed(&[6; 32]).public(),
            vec![EventId([7; 32])],
        );
        assert!(is_proposed(&network, &act));
        assert!(!is_proposed(&NetworkId([9; 32]), &act));
        let act = complete(&network, act, &words);
        assert!(is_proposed(&network, &act));
        let message = succession_message(&network, &act);
        let owner = words.public();
        assert!(owner.verifies(Domain::Succession, &message, &act.by_recovery));
        let mut other = act;
        other.cut.clear();
        assert!(!is_proposed(&network, &other));
    }
}
