//! Acts that are tried and taken back.

use super::*;

fn kick(who: &Peer) -> Act {
    Act::Remove(Remove {
        target: Target::User(who.user.public()),
        cut: None,
        closes: Vec::new(),
        by_user: None,
    })
}

#[test]
fn what_is_tried_tells_what_would_be_and_leaves_no_trace() {
    let (mut alice, mut bob, mut carol) = (Peer::founder(), Peer::new(2), Peer::new(3));
    let (invite, ticket) = alice.invite(5, 3);
    bob.join(&ticket, &mut alice).unwrap();
    let user = bob.user.public();
    alice.author(Act::Grant(Grant { user }), None);
    sync(&mut alice, &mut bob);
    let (bobs, _) = bob.invite(6, 1);
    carol.join(&ticket, &mut bob).unwrap();
    sync(&mut bob, &mut alice);
    let rename = carol.rename("late");
    sync(&mut carol, &mut alice);
    let hash = alice.ledger().state_hash();
    let events = alice.ledger().graph().len();
    let close = Act::InviteClose(InviteClose {
        invite: invite.id(),
    });
    let device = alice.device.clone();
    // Two acts, as one command signs them.
    let acts = [(kick(&bob), None), (close, None)];
    let found = alice.ledger().try_out(&device, &acts, NOW).unwrap();
    assert_eq!(found.members_gone, [bob.user.public()]);
    assert_eq!(found.devices_gone, [bob.id()]);
    assert_eq!((found.void.len(), found.owner), (0, None));
    let mut gone = vec![invite.id(), bobs.id()];
    gone.sort_unstable();
    assert_eq!(found.invites_gone, gone);
    assert!(found.office_gone.is_empty(), "who is gone is no member");
    assert_eq!(alice.ledger().state_hash(), hash);
    assert_eq!(alice.ledger().graph().len(), events);
    assert_eq!(alice.ledger().store().rows().unwrap().len(), events);
    // What bob did not know of is void if he is cut off from before it: with his admission, carol's by his hand.
    let before = crate::event::act::Remove {
        cut: Some(vec![EventId(alice.ledger().network().0)]),
        target: Target::User(bob.user.public()),
        closes: Vec::new(),
        by_user: None,
    };
    let acts = [(Act::Remove(before), None)];
    let found = alice.ledger().try_out(&device, &acts, NOW).unwrap();
    assert!(found.members_gone.contains(&carol.user.public()));
    assert!(found.void.iter().any(|(id, _)| *id == rename.id()));
    // It goes on as if nothing had been tried.
    let written = alice.author(kick(&bob), None);
    assert!(alice.ledger().event(&written.id()).is_some());
}

#[test]
fn what_could_not_be_written_is_an_error_when_it_is_tried() {
    let (mut alice, mut bob) = (Peer::founder(), Peer::new(2));
    let (_, ticket) = alice.invite(5, 1);
    bob.join(&ticket, &mut alice).unwrap();
    let acts = [(kick(&alice), None)];
    let (device, events) = (bob.device.clone(), bob.ledger().graph().len());
    let error = bob.ledger().try_out(&device, &acts, NOW).unwrap_err();
    assert!(matches!(error, AuthorError::Void(_)), "{error}");
    assert_eq!(bob.ledger().graph().len(), events);
}
