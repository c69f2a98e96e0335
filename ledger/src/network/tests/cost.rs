//! What a member's events cost others: counts of what is checked, read and written, however many events there are.

use super::*;
use crate::event::act::{DeviceAdd, EpochKeys, own_device_message};
use crate::graph::Graph;
use crate::keys::Domain;

/// Alice's network, in which bob is a member.
fn network() -> (Peer, Peer) {
    let (mut alice, mut bob) = (Peer::founder(), Peer::new(2));
    let (_, ticket) = alice.invite(5, 1);
    bob.join(&ticket, &mut alice).unwrap();
    sync(&mut alice, &mut bob);
    (alice, bob)
}

/// An event that its author need not have the right to write, behind these.
fn raw(graph: &Graph, device: &DeviceSecret, act: &Act, parents: &[EventId], time: u64) -> Event {
    let places: Vec<Idx> = parents.iter().filter_map(|id| graph.find(id)).collect();
    let mut parents = parents.to_vec();
    parents.sort_unstable();
    let header = Header {
        network: graph.event(Idx(0)).network(),
        author: device.public(),
        seq: graph.next_seq(&device.public(), &places),
        lamport: 1 + places.iter().map(|idx| graph.lamport(*idx)).max().unwrap(),
        time,
        epoch: EpochId::NONE,
        parents,
    };
    // What brings a device says how it is called.
    let joining = Attributes::Joining(Joining {
        salt: [3; 16],
        host: "further".parse().unwrap(),
        address: None,
        wireguard: WgKey([4; 32]),
    });
    let key = EpochKey::from_bytes([42; 32]);
    let brings = matches!(act, Act::Admit(_) | Act::DeviceAdd(_));
    let sealed = brings.then_some((&joining, &key));
    seal::sign(header, act, sealed, device).unwrap()
}

/// Has a ledger take an event from somewhere.
fn take(ledger: &mut Ledger<MemoryStore>, event: &Event) -> EventId {
    let receipt = ledger.receive(Source::File, &[event.bytes().to_vec()], NOW);
    assert_eq!(receipt.unwrap().added, [event.id()]);
    event.id()
}

/// Bob's further device adds itself as a device of each of these users so many times, and bob removes it as often with a
/// signature that is nobody's. Returns how many signatures were checked for that.
fn disputes(
    alice: &mut Peer,
    bob: &Peer,
    users: &[UserSecret],
    adds: usize,
    removals: usize,
) -> u64 {
    let further = DeviceSecret::from_seed(&[77; 32]);
    let ledger = alice.ledger();
    let mut last = ledger.heads()[0];
    for user in users {
        for n in 0..adds {
            let act = Act::DeviceAdd(DeviceAdd {
                user: user.public(),
                device: further.public(),
                box_key: BoxKey([9; 32]),
                certificate: user.certify(&further.public()),
            });
            let event = raw(ledger.graph(), &further, &act, &[last], n as u64);
            last = take(ledger, &event);
        }
    }
    let before = ledger.graph().checks();
    for n in 0..removals {
        let cut = vec![last];
        let message = own_device_message(&ledger.network(), &further.public(), Some(&cut));
        let nobody = UserSecret::from_seed(&[78; 32]);
        let act = Act::Remove(Remove {
            target: Target::Device(further.public()),
            cut: Some(cut),
            closes: Vec::new(),
            by_user: Some(nobody.sign(Domain::OwnDevice, &message)),
        });
        let event = raw(ledger.graph(), &bob.device, &act, &[last], n as u64);
        last = take(ledger, &event);
    }
    ledger.graph().checks() - before
}

#[test]
fn a_removal_is_checked_once_for_each_user_whom_the_device_named_however_often() {
    let (mut alice, bob) = network();
    let users = [bob.user.clone()];
    assert_eq!(disputes(&mut alice, &bob, &users, 20, 30), 30);
}

#[test]
fn of_a_device_that_names_very_many_users_a_removal_is_tried_with_sixteen() {
    let (mut alice, bob) = network();
    let network = alice.ledger().network();
    let (_, ticket) = alice.invite(6, 100);
    let further = DeviceSecret::from_seed(&[77; 32]);
    let users: Vec<UserSecret> = (100..120)
        .map(|n| UserSecret::from_seed(&[n; 32]))
        .collect();
    // The gate lets a device add itself for every user that an admission names.
    for user in &users {
        let joining = DeviceSecret::from_seed(&user.public().0);
        let act = Act::Admit(crate::event::act::Admit {
            user: user.public(),
            device: joining.public(),
            box_key: BoxKey([9; 32]),
            certificate: user.certify(&joining.public()),
            digest: Digest([0; 32]),
            redemption: None,
            at: NOW,
        });
        let ledger = alice.ledger();
        let event = raw(ledger.graph(), &bob.device, &act, &ledger.heads(), NOW);
        take(ledger, &event);
    }
    assert_eq!(ticket.network(), network);
    assert_eq!(disputes(&mut alice, &bob, &users, 1, 10), 10 * 16);
    // Who is its user for another device of his finds his word heard all the same.
    let user = users.last().unwrap();
    let own = DeviceSecret::from_seed(&[79; 32]);
    let ledger = alice.ledger();
    let mut last = ledger.heads()[0];
    let act = Act::DeviceAdd(DeviceAdd {
        user: user.public(),
        device: own.public(),
        box_key: BoxKey([9; 32]),
        certificate: user.certify(&own.public()),
    });
    let event = raw(ledger.graph(), &own, &act, &[last], NOW);
    last = take(ledger, &event);
    let cut = vec![last];
    let message = own_device_message(&ledger.network(), &further.public(), Some(&cut));
    let act = Act::Remove(Remove {
        target: Target::Device(further.public()),
        cut: Some(cut),
        closes: Vec::new(),
        by_user: Some(user.sign(Domain::OwnDevice, &message)),
    });
    let event = raw(ledger.graph(), &own, &act, &[last], NOW);
    let id = take(ledger, &event);
    let idx = ledger.graph().find(&id).unwrap();
    let proof = ledger.graph().proof(idx);
    assert_eq!(proof, crate::authority::Proof::OwnDevice(user.public()));
}

#[test]
fn what_was_checked_once_is_not_checked_when_the_ledger_opens() {
    let (mut alice, bob) = network();
    let users = [bob.user.clone()];
    disputes(&mut alice, &bob, &users, 60, 70);
    let hash = alice.ledger().authority_hash();
    let verdicts = alice.ledger().fold().verdicts.clone();
    // The first opening keeps what is left over, if that is much; no later one has more to check than is left.
    alice.reopen();
    alice.reopen();
    assert!(alice.ledger().graph().checks() < MOST_UNKEPT as u64);
    assert!(alice.ledger().graph().unkept_proofs(MOST_UNKEPT).is_empty());
    assert_eq!(alice.ledger().authority_hash(), hash);
    assert_eq!(alice.ledger().fold().verdicts, verdicts);
}

/// So many events of bob's of one seq, in the order of their ids.
fn forks(alice: &mut Peer, bob: &Peer, count: u64) -> Vec<Event> {
    let ledger = alice.ledger();
    let parents = ledger.heads();
    // They say something, so a checkpoint would be due for them.
    let act = Act::InviteClose(InviteClose {
        invite: EventId([9; 32]),
    });
    let fork = |n| raw(ledger.graph(), &bob.device, &act, &parents, n);
    let mut forks: Vec<Event> = (0..count).map(fork).collect();
    forks.sort_by_key(Event::id);
    forks
}

#[test]
fn of_very_many_forks_one_is_followed_and_the_others_are_nobody_s_parents_whatever_the_order() {
    let (mut alice, bob) = network();
    let forks = forks(&mut alice, &bob, 300);
    let last = forks.last().unwrap();
    // The largest goes on, which does not make it the one to follow.
    take(alice.ledger(), last);
    let longer = raw(
        alice.ledger().graph(),
        &bob.device,
        &Act::Merge,
        &[last.id()],
        0,
    );
    take(alice.ledger(), &longer);
    let mut other = Peer::founder();
    other.ledger =
        Some(Ledger::open(alice.ledger().store().clone(), alice.box_secret.clone()).unwrap());
    for fork in &forks[..299] {
        take(alice.ledger.as_mut().unwrap(), fork);
    }
    for fork in forks[..299].iter().rev() {
        take(other.ledger.as_mut().unwrap(), fork);
    }
    for peer in [&mut alice, &mut other] {
        assert_eq!(peer.ledger().graph().heads().count(), 300);
        assert_eq!(peer.ledger().graph().tips().count(), 1);
        let first = peer.rename("first");
        assert_eq!(
            first
                .header()
                .parents
                .iter()
                .find(|id| forks.iter().any(|fork| fork.id() == **id)),
            Some(&forks[0].id())
        );
        let second = peer.rename("second");
        assert_eq!(second.header().parents, [first.id()]);
        let events = peer.ledger().graph().len();
        peer.author(
            Act::Remove(Remove {
                target: Target::User(bob.user.public()),
                cut: None,
                closes: Vec::new(),
                by_user: None,
            }),
            None,
        );
        assert_eq!(peer.ledger().graph().len(), events + 1, "no merges");
    }
    // A checkpoint covers what is followed, and none waits for the rest.
    let device = alice.device.clone();
    alice.ledger().checkpoint(&device, NOW).unwrap();
    assert_eq!(alice.ledger().unsealed().events, 0);
    // What was stored first opens first: the answer is the same.
    let tips: Vec<EventId> = alice.ledger().heads();
    alice.reopen();
    assert_eq!(alice.ledger().heads(), tips);
    assert_eq!(alice.ledger().graph().tips().count(), 1);
}

#[test]
fn forks_that_name_their_device_s_last_event_through_another_s_have_the_right_seq() {
    let (mut alice, bob) = network();
    let further = DeviceSecret::from_seed(&[77; 32]);
    let ledger = alice.ledger();
    let first = raw(ledger.graph(), &bob.device, &Act::Merge, &ledger.heads(), 0);
    let first = take(ledger, &first);
    let act = Act::DeviceAdd(DeviceAdd {
        user: bob.user.public(),
        device: further.public(),
        box_key: BoxKey([9; 32]),
        certificate: bob.user.certify(&further.public()),
    });
    let mut beside = raw(ledger.graph(), &further, &act, &[first], 0);
    take(ledger, &beside);
    let mut ends = Vec::new();
    for n in 1..20 {
        let fork = raw(ledger.graph(), &bob.device, &Act::Merge, &[beside.id()], n);
        // The further device hears of every second one.
        let heard = [beside.id(), fork.id()];
        take(ledger, &fork);
        let heard = if n % 2 == 0 { &heard[..] } else { &heard[..1] };
        beside = raw(ledger.graph(), &further, &Act::Merge, heard, n);
        take(ledger, &beside);
        ends.push((fork, beside.clone()));
    }
    // By hand: the greatest seq of bob's among an event and all behind it.
    let graph = ledger.graph();
    for (fork, beside) in &ends {
        for event in [fork, beside] {
            let idx = graph.find(&event.id()).unwrap();
            let known = graph
                .indices()
                .filter(|other| *other == idx || graph.precedes(*other, idx));
            let known = known.filter(|other| graph.author(*other) == bob.id());
            let greatest = known.map(|other| graph.seq(other)).max().unwrap();
            assert_eq!(graph.next_seq(&bob.id(), &[idx]), 1 + greatest);
        }
    }
}

#[test]
fn what_is_taken_back_leaves_heads_and_branches_as_they_were() {
    let (mut alice, bob) = network();
    let bobs = forks(&mut alice, &bob, 12);
    let mut graph = Graph::new();
    let events: Vec<Event> = alice.ledger().index().events().collect();
    for event in events {
        graph.insert(event).unwrap();
    }
    let look = |graph: &Graph| {
        let heads: Vec<Idx> = graph.heads().collect();
        let tips: Vec<Idx> = graph.tips().collect();
        (heads, tips, graph.tip_of(&bob.id()), graph.forked().clone())
    };
    // Each way of taking back: as it was noted, and found anew.
    for noted in [true, false] {
        let mut seen = vec![(graph.len(), look(&graph))];
        let mut branch = Vec::new();
        for (n, fork) in (0..).zip([7, 3, 9, 3, 1, 11, 5, 0, 2]) {
            let fork = &bobs[fork];
            if graph.find(&fork.id()).is_some() {
                continue;
            }
            graph.insert(fork.clone()).unwrap();
            seen.push((graph.len(), look(&graph)));
            let next = raw(&graph, &bob.device, &Act::Merge, &[fork.id()], n);
            branch.push(next.id());
            graph.insert(next).unwrap();
            seen.push((graph.len(), look(&graph)));
            // Somebody cites a branch that is not the smaller one.
            let cites = raw(
                &graph,
                &alice.device,
                &Act::Merge,
                &branch[branch.len() - 1..],
                n,
            );
            graph.insert(cites).unwrap();
            seen.push((graph.len(), look(&graph)));
        }
        if !noted {
            graph.stored();
        }
        while let Some((len, then)) = seen.pop() {
            graph.truncate(len);
            assert_eq!(look(&graph), then, "{len} {noted}");
        }
    }
}

#[test]
fn a_box_is_tried_once_and_those_of_a_device_whose_boxes_never_open_not_without_end() {
    let (mut alice, bob) = network();
    let mine = alice.box_secret.public();
    let ledger = alice.ledger();
    let mut last = ledger.heads()[0];
    for n in 0..100_u8 {
        let other = EpochKey::from_bytes([200; 32]);
        let (ephemeral, boxes) =
            crate::epoch::seal_boxes(&ledger.network(), &other, &[mine], &[n; 32]);
        let act = Act::EpochKeys(EpochKeys {
            epoch: EpochId([n; 32]),
            ephemeral,
            boxes,
        });
        let event = raw(ledger.graph(), &bob.device, &act, &[last], 0);
        last = take(ledger, &event);
        assert_eq!(ledger.boxes_tried(), u64::from(n + 1).min(64));
    }
}

#[test]
fn closings_that_are_void_are_not_read_again_at_each_act_of_power() {
    let (mut alice, bob) = network();
    let (_, ticket) = alice.invite(9, 1);
    let invite = alice.ledger().heads()[0];
    let ledger = alice.ledger();
    let mut last = invite;
    for n in 0..200 {
        let act = Act::InviteClose(InviteClose { invite });
        let event = raw(ledger.graph(), &bob.device, &act, &[last], n);
        last = take(ledger, &event);
    }
    assert_eq!(ticket.network(), ledger.network());
    ledger.graph.forget_bodies();
    let before = ledger.index().reads();
    let user = bob.user.public();
    let device = alice.device.clone();
    let ledger = alice.ledger.as_mut().unwrap();
    ledger
        .author(&device, Act::Grant(Grant { user }), None, NOW)
        .unwrap();
    let read = ledger.index().reads() - before;
    assert!(read < 20, "{read}");
}
