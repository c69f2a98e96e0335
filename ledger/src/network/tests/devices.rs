//! Further devices of a user, and removing one by the user key.

use super::*;
use crate::epoch::HandedKey;
use crate::network::devices::{EnterError, Entrant};

#[test]
fn a_further_device_enters_with_what_the_first_hands_over_and_acts_for_its_user() {
    let (mut alice, mut laptop) = (Peer::founder(), further(9));
    let added = enter(&mut laptop, &mut alice).unwrap();
    deliver(&added, &mut alice);
    same(&mut alice, &mut laptop);
    let owner = alice.user.public();
    let (first, second) = (alice.id(), laptop.id());
    let member = &alice.ledger().state().members[&owner];
    assert_eq!(member.devices, [first, second].into());
    // The owner's rank is the user's: an invite by the further device counts.
    let mut bob = Peer::new(2);
    let (_, ticket) = laptop.invite(5, 1);
    bob.join(&ticket, &mut laptop).unwrap();
    sync(&mut alice, &mut laptop);
    same(&mut alice, &mut laptop);
    // Asked again, because the answer was lost: no second event.
    let mut again = further(9);
    assert_eq!(enter(&mut again, &mut alice).unwrap().id(), added.id());
}

#[test]
fn a_device_of_a_user_who_is_no_member_or_without_certificate_does_not_enter() {
    let mut alice = Peer::founder();
    let mut stranger = Peer::new(7);
    let user = stranger.user.clone();
    let refused = enter_as(&mut stranger, &mut alice, &user, &user);
    assert!(matches!(refused, Err(EnterError::NotAMember)));
    assert!(stranger.ledger.is_none());
    let mut thief = further(8);
    let (alices, thiefs) = (alice.user.clone(), Peer::new(7).user);
    let refused = enter_as(&mut thief, &mut alice, &alices, &thiefs);
    assert!(matches!(
        refused,
        Err(EnterError::Author(AuthorError::Refused(_)))
    ));
}

#[test]
fn a_stolen_first_device_falls_from_where_the_second_says_and_what_it_did_before_stands() {
    let (mut alice, mut laptop, mut bob) = (Peer::founder(), further(9), Peer::new(2));
    let (_, ticket) = alice.invite(5, 3);
    bob.join(&ticket, &mut alice).unwrap();
    let added = enter(&mut laptop, &mut alice).unwrap();
    deliver(&added, &mut alice);
    // From here on it is the thief who signs on the first device.
    let theft = alice.author(
        Act::Grant(Grant {
            user: bob.user.public(),
        }),
        None,
    );
    sync(&mut laptop, &mut alice);
    let (bob_user, stolen) = (bob.user.public(), alice.id());
    assert_ne!(rank(&mut laptop, &bob_user), crate::state::Rank::Member);
    let key = alice.user.clone();
    let act = laptop.ledger().removal_by(&key, &stolen, Some(&theft.id()));
    laptop.author(act, None);
    assert_eq!(rank(&mut laptop, &bob_user), crate::state::Rank::Member);
    let state = laptop.ledger().state();
    assert!(!state.devices.contains_key(&stolen));
    assert!(
        state.members.contains_key(&bob_user),
        "admitted before the theft"
    );
    // What it signs without knowing of the removal is void wherever it turns up, and so is what it signs later.
    let invited = alice.try_author(
        Act::Remove(Remove {
            target: Target::User(bob_user),
            cut: None,
            closes: Vec::new(),
            by_user: None,
        }),
        None,
    );
    assert!(invited.is_ok(), "it does not know yet");
    sync(&mut alice, &mut laptop);
    same(&mut alice, &mut laptop);
    assert!(laptop.ledger().state().members.contains_key(&bob_user));
    assert!(matches!(
        alice.try_author(Act::Grant(Grant { user: bob_user }), None),
        Err(AuthorError::Void(_))
    ));
    laptop.invite(6, 1);
}

#[test]
fn a_device_that_signed_nothing_is_removed_too_and_without_since_all_that_is_known_stands() {
    let (mut alice, mut bob, mut laptop) = (Peer::founder(), Peer::new(2), further(9));
    laptop.user = bob.user.clone();
    let (_, ticket) = alice.invite(5, 1);
    bob.join(&ticket, &mut alice).unwrap();
    let added = enter(&mut laptop, &mut bob).unwrap();
    deliver(&added, &mut alice);
    let (key, first) = (bob.user.clone(), bob.id());
    assert_eq!(laptop.ledger().graph().by_author(&first).count(), 0);
    let act = laptop.ledger().removal_by(&key, &first, None);
    let removal = laptop.author(act, None);
    deliver(&removal, &mut alice);
    same(&mut alice, &mut laptop);
    let state = alice.ledger().state();
    assert!(!state.devices.contains_key(&first));
    assert!(state.members.contains_key(&bob.user.public()));
    // By another key than the user's it is nothing.
    let second = laptop.id();
    let forged = alice.ledger().removal_by(&Peer::new(7).user, &second, None);
    assert!(matches!(
        alice.try_author(forged, None),
        Err(AuthorError::Void(_))
    ));
}

/// A machine of the founder's, as yet in no network.
fn further(n: u8) -> Peer {
    Peer {
        user: UserSecret::from_seed(&[1; 32]),
        ..Peer::new(n)
    }
}

fn enter(peer: &mut Peer, first: &mut Peer) -> Result<Event, EnterError> {
    let user = peer.user.clone();
    enter_as(peer, first, &user, &user)
}

fn enter_as(
    peer: &mut Peer,
    first: &mut Peer,
    user: &UserSecret,
    certifier: &UserSecret,
) -> Result<Event, EnterError> {
    let ledger = first.ledger();
    let network = ledger.network();
    let handed: HandedKey = ledger
        .hand_key(&peer.box_secret.public(), &[3; 32])
        .unwrap();
    let args = JoinArgs {
        network,
        events: ledger
            .index()
            .events()
            .map(|e| e.bytes().to_vec())
            .collect(),
        epoch: handed.open(&network, &peer.box_secret).unwrap(),
        device: peer.id(),
        box_secret: peer.box_secret.clone(),
    };
    let entrant = Entrant {
        device: &peer.device,
        user: user.public(),
        certificate: certifier.certify(&peer.id()),
        joining: Joining {
            salt: [peer.n; 16],
            host: format!("host-{}", peer.n).parse().unwrap(),
            address: None,
            wireguard: WgKey([peer.n; 32]),
        },
        now: NOW,
    };
    let (ledger, added) = Ledger::enter(MemoryStore::new(), args, entrant)?;
    peer.ledger = Some(ledger);
    Ok(added)
}

fn deliver(event: &Event, to: &mut Peer) {
    let receipt = to
        .ledger()
        .receive(Source::File, &[event.bytes().to_vec()], NOW)
        .unwrap();
    assert_eq!(receipt.added, [event.id()]);
}

fn rank(peer: &mut Peer, user: &crate::ids::UserId) -> crate::state::Rank {
    peer.ledger().state().members[user].rank
}
