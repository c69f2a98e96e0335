//! Founding, redeeming and joining.

use super::*;

#[test]
fn a_network_is_founded_joined_by_a_ticket_and_one_state_on_both_sides() {
    let (mut alice, mut bob) = (Peer::founder(), Peer::new(2));
    let (_, ticket) = alice.invite(5, 1);
    bob.join(&ticket, &mut alice).unwrap();
    same(&mut alice, &mut bob);
    bob.rename("tower");
    sync(&mut bob, &mut alice);
    same(&mut alice, &mut bob);
    let bobs = bob.id();
    let device = &alice.ledger().state().devices[&bobs];
    assert_eq!(device.host.as_str(), "tower");
    assert!(device.v4.is_some());
    assert_eq!(alice.ledger().state().pending, 0);
}

#[test]
fn any_member_lets_a_joiner_in_and_a_used_ticket_lets_in_nobody_more() {
    let (mut alice, mut bob, mut carol) = (Peer::founder(), Peer::new(2), Peer::new(3));
    let (_, ticket) = alice.invite(5, 2);
    bob.join(&ticket, &mut alice).unwrap();
    carol.join(&ticket, &mut bob).unwrap();
    let mut dave = Peer::new(4);
    assert_eq!(dave.join(&ticket, &mut bob), Err(RedeemError::UsedUp));
    sync(&mut alice, &mut bob);
    same(&mut alice, &mut bob);
    assert_eq!(alice.ledger().state().members.len(), 3);
    // Carol's answer was lost: she asks again, and it costs no use and no event.
    let events = bob.ledger().graph().len();
    carol.ledger = None;
    carol.join(&ticket, &mut bob).unwrap();
    assert_eq!(bob.ledger().graph().len(), events);
}

#[test]
fn a_refused_redemption_says_why_and_writes_nothing() {
    let (mut alice, bob) = (Peer::founder(), Peer::new(2));
    let (invite, ticket) = alice.invite(5, 1);
    let events = alice.ledger().graph().len();
    let device = alice.device.clone();
    let mut redeem = |request: &Request, from: DeviceId, now| {
        alice
            .ledger()
            .redeem(request, &from, &device, &[1; 32], now)
            .unwrap_err()
    };
    let good = bob.request(&ticket, invite.id());
    assert_eq!(
        redeem(&good, DeviceId([1; 32]), NOW),
        RedeemError::OtherDevice
    );
    assert_eq!(
        redeem(&good, bob.id(), NOW + 2 * HOUR),
        RedeemError::Expired
    );
    let other = Ticket::new(ticket.network(), [6; 16], false, NOW, &[]);
    let guessed = bob.request(&other, invite.id());
    assert_eq!(
        redeem(&guessed, bob.id(), NOW),
        RedeemError::Signature(redeem::Proof::Invite)
    );
    let mut changed = good.clone();
    changed.joining.host = "admin".parse().unwrap();
    assert_eq!(
        redeem(&changed, bob.id(), NOW),
        RedeemError::Signature(redeem::Proof::User)
    );
    let mut elsewhere = good;
    elsewhere.network = NetworkId([3; 32]);
    assert_eq!(redeem(&elsewhere, bob.id(), NOW), RedeemError::Foreign);
    let unknown = bob.request(&ticket, EventId([9; 32]));
    assert_eq!(redeem(&unknown, bob.id(), NOW), RedeemError::UnknownInvite);
    assert_eq!(alice.ledger().graph().len(), events);
    alice.author(
        Act::InviteClose(InviteClose {
            invite: invite.id(),
        }),
        None,
    );
    assert_eq!(
        Peer::new(2).join(&ticket, &mut alice),
        Err(RedeemError::Closed)
    );
}

#[test]
fn only_who_holds_the_contact_secret_can_introduce_itself() {
    let (mut alice, bob) = (Peer::founder(), Peer::new(2));
    let (_, ticket) = alice.invite(5, 1);
    let (a, b) = (alice.id(), bob.id());
    let challenge = Challenge::new(&ticket, [3; 32]);
    let mut introduction = alice.ledger().introduce(&challenge, &a, &b).unwrap();
    assert!(introduction.proves(&ticket, &challenge, &a, &b));
    assert!(!introduction.proves(&ticket, &challenge, &b, &b));
    let later = Challenge::new(&ticket, [4; 32]);
    assert!(!introduction.proves(&ticket, &later, &a, &b));
    introduction.proof[0] ^= 1;
    assert!(!introduction.proves(&ticket, &challenge, &a, &b));
    let unknown = Challenge {
        key: InviteKey([1; 32]),
        ..challenge
    };
    assert_eq!(
        alice.ledger().introduce(&unknown, &a, &b),
        Err(RedeemError::UnknownInvite)
    );
}

#[test]
fn a_kicked_user_does_not_come_back_by_its_old_ticket() {
    let (mut alice, mut bob) = (Peer::founder(), Peer::new(2));
    let (_, ticket) = alice.invite(5, 5);
    bob.join(&ticket, &mut alice).unwrap();
    let mut carol = Peer::new(3);
    carol.join(&ticket, &mut alice).unwrap();
    let kick = Act::Remove(Remove {
        target: Target::User(bob.user.public()),
        cut: None,
        closes: Vec::new(),
        by_user: None,
    });
    alice.author(kick, None);
    sync(&mut alice, &mut carol);
    bob.ledger = None;
    assert_eq!(bob.join(&ticket, &mut carol), Err(RedeemError::Barred));
    assert_eq!(bob.join(&ticket, &mut alice), Err(RedeemError::Barred));
}

#[test]
fn a_joiner_takes_no_ledger_that_does_not_hold() {
    let (mut alice, bob) = (Peer::founder(), Peer::new(2));
    let (invite, ticket) = alice.invite(5, 1);
    let request = bob.request(&ticket, invite.id());
    let device = alice.device.clone();
    alice
        .ledger()
        .redeem(&request, &bob.id(), &device, &[1; 32], NOW)
        .unwrap();
    let good: Vec<Vec<u8>> = alice
        .ledger()
        .index()
        .events()
        .map(|event| event.bytes().to_vec())
        .collect();
    let join = |network, events: Vec<Vec<u8>>, device| {
        let args = JoinArgs {
            network,
            events,
            epoch: EpochKey::from_bytes([42; 32]),
            device,
            box_secret: bob.box_secret.clone(),
        };
        Ledger::join(MemoryStore::new(), args)
    };
    let network = ticket.network();
    assert!(join(network, good.clone(), bob.id()).is_ok());
    assert!(matches!(
        join(NetworkId([1; 32]), good.clone(), bob.id()),
        Err(JoinError::OtherNetwork)
    ));
    assert!(matches!(
        join(network, good.clone(), DeviceId([1; 32])),
        Err(JoinError::NotAdmitted)
    ));
    let mut kept = good.clone();
    kept.remove(1);
    assert!(matches!(
        join(network, kept, bob.id()),
        Err(JoinError::Incomplete(_))
    ));
    let mut forged = good;
    *forged[2].last_mut().unwrap() ^= 1;
    assert!(matches!(
        join(network, forged, bob.id()),
        Err(JoinError::Refused { .. })
    ));
}

#[test]
fn a_state_is_printed_without_contact_secrets() {
    let mut alice = Peer::founder();
    let (_, ticket) = alice.invite(5, 1);
    let secret = format!("{:?}", &ticket.contact()[..4]);
    let printed = format!("{:?}", alice.ledger().state());
    assert!(printed.contains("StandingInvite"), "{printed}");
    assert!(!printed.contains(secret.trim_matches(['[', ']'])));
}
