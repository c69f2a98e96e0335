//! Members show that they have seen a succession.

use super::*;
use crate::keys::RecoverySecret;
use crate::succession::{complete, propose};

#[test]
fn each_member_but_the_new_owner_is_to_show_once_that_it_has_seen_a_succession() {
    let (mut alice, mut bob, mut carol) = (Peer::founder(), Peer::new(2), Peer::new(3));
    let (_, ticket) = alice.invite(5, 2);
    bob.join(&ticket, &mut alice).unwrap();
    carol.join(&ticket, &mut alice).unwrap();
    sync(&mut alice, &mut bob);
    for peer in [&mut alice, &mut bob, &mut carol] {
        let device = peer.id();
        assert!(
            !peer.ledger().is_witness_wanted(&device),
            "nobody was replaced"
        );
    }
    let (network, heads) = (bob.ledger().network(), bob.ledger().heads());
    let act = propose(
        &network,
        &bob.user,
        &bob.id(),
        bob.box_secret.public(),
        RecoverySecret::from_seed(&[9; 32]).public(),
        heads,
    );
    let words = RecoveryWords::from_entropy([7; 32]).secret();
    bob.author(Act::OwnerSet(complete(&network, act, &words)), None);
    sync(&mut bob, &mut alice);
    sync(&mut bob, &mut carol);
    let device = bob.id();
    assert!(!bob.ledger().is_witness_wanted(&device));
    // The former owner too: it is what keeps it from coming back unseen.
    for peer in [&mut alice, &mut carol] {
        let device = peer.id();
        assert!(peer.ledger().is_witness_wanted(&device));
        peer.author(Act::Merge, None);
        assert!(!peer.ledger().is_witness_wanted(&device));
    }
    let stranger = Peer::new(8).id();
    assert!(!alice.ledger().is_witness_wanted(&stranger));
}
