//! Events of our own, and reading them again.

use super::*;

#[test]
fn what_the_fold_would_find_void_is_not_written() {
    let (mut alice, mut bob) = (Peer::founder(), Peer::new(2));
    let (_, ticket) = alice.invite(5, 1);
    bob.join(&ticket, &mut alice).unwrap();
    let (events, state) = (bob.ledger().graph().len(), bob.ledger().state_hash());
    let (user, alices) = (bob.user.public(), alice.user.public());
    let error = bob
        .try_author(Act::Grant(Grant { user }), None)
        .unwrap_err();
    assert!(matches!(error, AuthorError::Void(_)), "{error}");
    let remove = Act::Remove(Remove {
        target: Target::User(alices),
        cut: None,
        closes: Vec::new(),
        by_user: None,
    });
    let error = bob.try_author(remove, None).unwrap_err();
    assert!(
        matches!(
            error,
            AuthorError::Void(Reason::NotAdmin { .. } | Reason::OwnerStays)
        ),
        "{error}"
    );
    let mut stranger = Peer::new(9);
    stranger.ledger = bob.ledger.take();
    assert!(matches!(
        stranger.try_author(Act::Merge, None),
        Err(AuthorError::Refused(Refusal::Stranger(_)))
    ));
    bob.ledger = stranger.ledger.take();
    assert_eq!(bob.ledger().graph().len(), events);
    assert_eq!(bob.ledger().state_hash(), state);
    assert_eq!(bob.ledger().store().rows().unwrap().len(), events);
    // The ledger goes on as if nothing had been tried.
    bob.rename("still");
    sync(&mut bob, &mut alice);
    same(&mut alice, &mut bob);
}

#[test]
fn of_a_forked_device_only_the_smaller_branch_is_followed() {
    let (mut alice, mut bob) = (Peer::founder(), Peer::new(2));
    let (_, ticket) = alice.invite(5, 1);
    bob.join(&ticket, &mut alice).unwrap();
    // Bob's machine runs twice from one backup.
    let mut twin = Peer::new(2);
    let store = bob.ledger().store().clone();
    twin.ledger = Some(Ledger::open(store, twin.box_secret.clone()).unwrap());
    let one = bob.rename("one");
    let two = twin.rename("two");
    let (one_tip, two_tip) = (bob.rename("one-b"), twin.rename("two-b"));
    sync(&mut bob, &mut alice);
    sync(&mut twin, &mut alice);
    assert!(alice.ledger().graph().forked().contains(&bob.id()));
    let (smaller, larger) = if one.id() < two.id() {
        (one_tip, two_tip)
    } else {
        (two_tip, one_tip)
    };
    let parents = alice.rename("alice").header().parents.clone();
    assert!(parents.contains(&smaller.id()));
    assert!(!parents.contains(&larger.id()));
    sync(&mut alice, &mut bob);
    let next = bob.rename("healed");
    assert!(next.header().parents.contains(&smaller.id()));
    assert!(!next.header().parents.contains(&larger.id()));
    sync(&mut bob, &mut alice);
    same(&mut alice, &mut bob);
}

#[test]
fn a_power_event_covers_every_head_of_a_wide_network() {
    let mut alice = Peer::founder();
    let (_, ticket) = alice.invite(5, 30);
    let mut peers: Vec<Peer> = (10..30).map(Peer::new).collect();
    for peer in &mut peers {
        peer.join(&ticket, &mut alice).unwrap();
    }
    for peer in &mut peers {
        peer.rename("wide");
    }
    for peer in &mut peers {
        sync(peer, &mut alice);
    }
    assert_eq!(alice.ledger().heads().len(), 20);
    let user = peers[0].user.public();
    let grant = alice.author(Act::Grant(Grant { user }), None);
    assert_eq!(alice.ledger().heads(), [grant.id()]);
    for peer in &mut peers {
        sync(&mut alice, peer);
    }
    same(&mut alice, &mut peers[7]);
}

#[test]
fn a_kick_rotates_the_key_and_the_kicked_read_nothing_later() {
    let mut alice = Peer::founder();
    let (mut bob, mut carol) = (Peer::new(2), Peer::new(3));
    let (_, ticket) = alice.invite(5, 2);
    bob.join(&ticket, &mut alice).unwrap();
    carol.join(&ticket, &mut alice).unwrap();
    sync(&mut alice, &mut bob);
    let kick = Act::Remove(Remove {
        target: Target::User(carol.user.public()),
        cut: None,
        closes: Vec::new(),
        by_user: None,
    });
    alice.author(kick, None);
    let new = EpochKey::from_bytes([43; 32]);
    let ledger = alice.ledger();
    let to: Vec<BoxKey> = ledger
        .state()
        .devices
        .values()
        .map(|device| device.box_key)
        .collect();
    let former: Vec<EpochKey> = ledger.newest_key().cloned().into_iter().collect();
    let acts = crate::epoch::rotate(
        &ledger.network(),
        &new,
        &former,
        &to,
        std::iter::repeat([99; 32]),
    );
    for act in acts {
        alice.author(act, None);
    }
    alice.ledger().keys.insert(new.clone());
    alice.rename("secret");
    sync(&mut alice, &mut bob);
    assert_eq!(bob.ledger().newest_key(), Some(&new));
    same(&mut alice, &mut bob);
    sync(&mut alice, &mut carol);
    assert_eq!(carol.ledger().state().pending, 1);
    assert_eq!(carol.ledger().missing_keys(), [new.id()]);
    let carols = carol.id();
    assert!(!alice.ledger().state().devices.contains_key(&carols));
    // A key handed over opens what waited.
    let handed = alice
        .ledger()
        .hand_key(&carol.box_secret.public(), &[5; 32])
        .unwrap();
    assert!(carol.ledger().add_key(&handed).unwrap());
    assert_eq!(carol.ledger().state().pending, 0);
}

#[test]
fn an_event_is_found_by_the_beginning_of_its_id() {
    let mut alice = Peer::founder();
    let genesis = alice.ledger().graph().event(Idx(0)).id();
    let text = genesis.to_string();
    assert_eq!(alice.ledger().find(&text[..8]).unwrap().id(), genesis);
    assert!(matches!(alice.ledger().find("ab"), Err(FindError::Form(_))));
    assert!(matches!(
        alice.ledger().find("zzzz"),
        Err(FindError::Form(_))
    ));
    let other = if text.starts_with("0000") {
        "1111"
    } else {
        "0000"
    };
    assert!(matches!(
        alice.ledger().find(other),
        Err(FindError::None(_))
    ));
}
