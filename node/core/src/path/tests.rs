//! Whole conversations in a small internet with a clock that jumps: hosts, routers that translate addresses as RFC 4787
//! tells their kinds apart, loss, and links that swallow what is long.
#![allow(clippy::unwrap_used)]

mod world;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use mesh_ledger::ids::{NetworkId, ServerKey};

use super::*;
use crate::peer::PeerId;
use world::{MEMBER, Nat, World};

const SECOND: Duration = Duration::from_secs(1);

/// The kinds of places that a device may be in.
const PLACES: [(&str, Option<Nat>); 5] = [
    ("public", None),
    ("full cone", Some(Nat::FULL_CONE)),
    ("address-restricted", Some(Nat::ADDRESS_RESTRICTED)),
    ("port-restricted", Some(Nat::PORT_RESTRICTED)),
    ("symmetric", Some(Nat::SYMMETRIC)),
];

/// A mapping for each target is found only through a filter that lets every port of a known address in.
fn possible(a: &str, b: &str) -> bool {
    let hard = |name| name == "symmetric";
    let strict = |name| name == "port-restricted" || name == "symmetric";
    !((hard(a) && strict(b)) || (hard(b) && strict(a)))
}

#[test]
fn every_pair_of_places_gets_a_path_where_one_can_be_and_within_a_second() {
    for (a, nat_a) in PLACES {
        for (b, nat_b) in PLACES {
            let mut world = World::new(nat_a, nat_b);
            world.link();
            let took = world.until(5 * SECOND, World::both_chosen);
            if possible(a, b) {
                let took = took.unwrap_or_else(|| panic!("{a} and {b} have no path"));
                assert!(took <= SECOND, "{a} and {b} took {took:?}");
            } else {
                assert_eq!(took, None, "{a} and {b} cannot have a path");
            }
        }
    }
}

#[test]
fn two_behind_one_router_meet_inside() {
    let mut world = World::new(Some(Nat::FULL_CONE), Some(Nat::FULL_CONE));
    world.same_lan();
    world.link();
    world.until(2 * SECOND, World::both_chosen).unwrap();
    world.run(SECOND);
    for node in 0..2 {
        let chosen = world.chosen(node).unwrap().place;
        assert_eq!(
            chosen,
            Place::Address(world.inside(1 - node)),
            "not over the router's outside"
        );
    }
}

#[test]
fn a_path_that_dies_is_left_within_four_seconds_and_taken_again_when_it_works() {
    let mut world = World::new(Some(Nat::PORT_RESTRICTED), Some(Nat::PORT_RESTRICTED));
    world.link();
    world.flow(20 * SECOND);
    assert!(world.both_chosen());
    world.loss = 100;
    let left = world.until_flowing(10 * SECOND, |world| {
        world.chosen(0).is_none() && world.chosen(1).is_none()
    });
    assert!(left.unwrap() <= 4 * SECOND, "{left:?}");
    // Long after the burst that looked for another, and whenever it is.
    for after in [7, 20, 55, 200] {
        world.loss = 100;
        world.flow(after * SECOND);
        assert!(!world.both_chosen());
        world.loss = 0;
        let again = world.until_flowing(CHECK_LOST + SECOND, World::both_chosen);
        assert!(again.is_some(), "after {after} s");
    }
}

#[test]
fn a_burst_that_was_lost_is_repeated_soon_at_first() {
    let mut world = World::new(Some(Nat::PORT_RESTRICTED), Some(Nat::PORT_RESTRICTED));
    world.loss = 100;
    world.link();
    world.flow(BURST + SECOND);
    world.loss = 0;
    let took = world
        .until_flowing(60 * SECOND, World::both_chosen)
        .unwrap();
    assert!(took <= BURST, "{took:?}");

    let mut world = World::new(Some(Nat::SYMMETRIC), Some(Nat::SYMMETRIC));
    world.link();
    world.flow(300 * SECOND);
    let sent = world.sent;
    world.flow(300 * SECOND);
    // At most one each half minute, of both.
    let bursts = 300 / (BURST_AGAIN + BURST).as_secs() as usize + 1;
    let each = (world.sent - sent) / bursts / 2;
    assert!(each <= 26 * 3, "{each} questions in a burst");
}

#[test]
fn an_address_that_died_long_ago_is_asked_no_more_often_than_any_other() {
    let mut world = World::new(None, None);
    world.link();
    world.flow(10 * SECOND);
    world.loss = 100;
    world.flow(LOST_FOR);
    let sent = world.sent;
    world.flow(300 * SECOND);
    // A burst each half minute, of both: 26 questions to each of two addresses at most.
    let bursts = 300 / (BURST_AGAIN + BURST).as_secs() as usize + 1;
    assert!(world.sent - sent <= 2 * 2 * 26 * bursts);
}

#[test]
fn where_the_peer_asks_from_it_is_asked_at_once() {
    let (mut ours, mut theirs) = (Paths::default(), Paths::default());
    ours.add(who(2), keys(1), 7);
    theirs.add(who(1), keys(2), 8);
    let (at, mut now) = ("192.0.2.7:9".parse().unwrap(), 1000 * SECOND);
    let call = |tag, wanted| Call {
        tag,
        wanted,
        candidates: vec![Candidate {
            address: at,
            kind: Kind::Interface,
        }],
    };
    let asked = |paths: &mut Paths, now| {
        let sent = paths.poll(now, || 3).into_iter();
        let questions = sent.filter_map(|action| match action {
            Action::Send(to, datagram) if to == at => Some(datagram),
            _ => None,
        });
        questions.collect::<Vec<_>>()
    };
    ours.call(&who(2), call(8, true), now);
    // It does not answer, and the burst is over.
    let end = now + BURST + SECOND;
    while now < end {
        asked(&mut ours, now);
        now += BURST_EVERY;
    }
    assert_eq!(asked(&mut ours, now), Vec::<Vec<u8>>::new());
    theirs.call(&who(1), call(7, true), now);
    let question = asked(&mut theirs, now).remove(0);
    assert!(ours.receive(at, &question, now).is_some());
    assert_eq!(asked(&mut ours, now).len(), 1, "now it may answer");
    assert_eq!(asked(&mut ours, now + SECOND).len(), 0, "once a question");
    // A copy of the question is worth nothing.
    assert!(ours.receive(at, &question, now + SECOND).is_none());
    assert_eq!(asked(&mut ours, now + SECOND).len(), 0);
}

#[test]
fn of_many_addresses_that_do_not_answer_each_gets_its_turn() {
    let mut paths = Paths::default();
    paths.add(who(2), keys(1), 7);
    let (mut now, mut asked) = (1000 * SECOND, BTreeMap::<SocketAddr, u32>::new());
    for _ in 0..60 {
        let candidate = |n| Candidate {
            address: ([203, 0, 113, n], 1000).into(),
            kind: Kind::Reflexive,
        };
        let call = Call {
            tag: 5,
            wanted: true,
            candidates: (1..=16).map(candidate).collect(),
        };
        paths.call(&who(2), call, now);
        let next = now + 2 * SECOND;
        while let Some(due) = paths.next(now).filter(|due| *due < next) {
            now = due.max(now);
            for action in paths.poll(now, || 3) {
                if let Action::Send(to, _) = action {
                    *asked.entry(to).or_default() += 1;
                }
            }
        }
        now = next;
    }
    let (least, most) = (asked.values().min().unwrap(), asked.values().max().unwrap());
    assert!(asked.len() == 16 && most - least <= 1, "{asked:?}");
}

#[test]
fn a_device_that_moves_is_found_at_its_new_address_also_without_the_link() {
    let mut world = World::new(None, None);
    world.link();
    world.flow(5 * SECOND);
    world.unlink();
    world.move_to(0, "198.51.100.77:7");
    let found = world.until_flowing(10 * SECOND, |world| {
        world
            .chosen(1)
            .is_some_and(|choice| choice.place == Place::Address(world.inside(0)))
            && world.chosen(0).is_some()
    });
    assert!(found.unwrap() <= 5 * SECOND, "{found:?}");
    assert_eq!(world.narrowed, 0, "what is looked at anew has not narrowed");
}

#[test]
fn a_router_that_forgets_all_mappings_interrupts_for_seconds_only() {
    let mut world = World::new(Some(Nat::PORT_RESTRICTED), Some(Nat::PORT_RESTRICTED));
    world.link();
    world.flow(10 * SECOND);
    world.reboot(0);
    let again = world.until_flowing(15 * SECOND, |world| world.works(0) && world.works(1));
    assert!(again.is_some());
}

#[test]
fn a_peer_that_began_anew_is_told_of_and_found_again() {
    let mut world = World::new(Some(Nat::PORT_RESTRICTED), Some(Nat::PORT_RESTRICTED));
    world.link();
    world.flow(10 * SECOND);
    assert_eq!(world.restarts, 0);
    world.restart(0);
    assert!(
        world
            .until_flowing(5 * SECOND, |world| world.works(0) && world.works(1))
            .is_some()
    );
    world.flow(10 * SECOND);
    assert_eq!(world.restarts, 1, "the other alone, and once");
}

#[test]
fn without_the_link_a_path_goes_on() {
    let mut world = World::new(Some(Nat::PORT_RESTRICTED), None);
    world.link();
    world.flow(5 * SECOND);
    world.unlink();
    world.flow(300 * SECOND);
    assert!(world.works(0) && world.works(1));
}

#[test]
fn one_in_five_datagrams_lost_makes_fewer_than_three_switches_a_minute() {
    let mut world = World::new(Some(Nat::PORT_RESTRICTED), Some(Nat::FULL_CONE));
    world.loss = 20;
    world.link();
    world.flow(10 * SECOND);
    let before = world.switches;
    world.flow(600 * SECOND);
    let switches = world.switches - before;
    // Both devices, ten minutes.
    assert!(switches < 2 * 3 * 10, "{switches} switches");
    assert!(
        world
            .until_flowing(10 * SECOND, World::both_chosen)
            .is_some()
    );
}

#[test]
fn what_a_path_carries_is_found_out_and_found_out_again_when_it_shrinks() {
    let mut world = World::new(None, None);
    world.link();
    world.flow(5 * SECOND);
    assert_eq!(world.chosen(0).unwrap().max_datagram, LARGEST);
    world.mtu = 1350;
    let shrunk = world.until_flowing(5 * SECOND, |world| {
        world
            .chosen(0)
            .is_some_and(|choice| choice.max_datagram <= 1350)
    });
    // TCP, which waits twice as long after each loss, goes on at its fourth try.
    assert!(shrunk.unwrap() <= Duration::from_millis(2500), "{shrunk:?}");
    world.flow(10 * SECOND);
    assert_eq!(world.narrowed, 2, "each finds it out, once");
    assert_eq!(world.chosen(0).unwrap().max_datagram, 1312);
    world.mtu = 1500;
    let grown = world.until_flowing(90 * SECOND, |world| {
        world
            .chosen(0)
            .is_some_and(|choice| choice.max_datagram == LARGEST)
    });
    assert!(grown.is_some());
}

#[test]
fn a_peer_without_traffic_costs_nothing_and_the_first_packet_finds_the_path_again() {
    let mut world = World::new(Some(Nat::PORT_RESTRICTED), Some(Nat::PORT_RESTRICTED));
    world.link();
    world.flow(5 * SECOND);
    world.run(REST + SECOND);
    assert_eq!((world.chosen(0), world.chosen(1)), (None, None));
    let sent = world.sent;
    world.run(3600 * SECOND);
    assert_eq!(world.sent, sent, "not one datagram in an hour");
    world.traffic(0);
    assert!(world.until(5 * SECOND, World::both_chosen).is_some());
}

#[test]
fn a_path_in_use_is_kept_open_with_few_datagrams() {
    let mut world = World::new(Some(Nat::PORT_RESTRICTED), Some(Nat::PORT_RESTRICTED));
    world.link();
    world.flow(10 * SECOND);
    let sent = world.sent;
    world.flow(60 * SECOND);
    let each = (world.sent - sent) / 2;
    assert!(each <= 150, "{each} datagrams of each device a minute");
}

#[test]
fn a_copied_question_is_answered_once_and_gives_no_path() {
    let mut world = World::new(None, None);
    world.link();
    world.flow(3 * SECOND);
    let chosen = world.chosen(1);
    let question = world.last_question(0);
    let thief = "203.0.113.66:6".parse().unwrap();
    assert_eq!(
        world.nodes[1].paths.receive(thief, &question, world.now),
        None
    );
    world.flow(20 * SECOND);
    assert_eq!(
        world.chosen(1).map(|choice| choice.place),
        chosen.map(|choice| choice.place)
    );
}

#[test]
fn nothing_is_said_to_who_cannot_prove_to_be_the_peer() {
    let mut world = World::new(None, None);
    world.link();
    world.flow(3 * SECOND);
    let mut question = world.last_question(0);
    let at = "203.0.113.66:6".parse().unwrap();
    for place in 0..question.len() {
        question[place] ^= 0x40;
        assert_eq!(world.nodes[1].paths.receive(at, &question, world.now), None);
        question[place] ^= 0x40;
    }
    for length in 0..question.len() {
        assert_eq!(
            world.nodes[1]
                .paths
                .receive(at, &question[..length], world.now),
            None
        );
    }
}

#[test]
fn who_left_the_network_is_answered_no_more() {
    let mut world = World::new(None, None);
    world.link();
    world.flow(3 * SECOND);
    world.nodes[1].paths.retain(&NetworkId([1; 32]), |_| false);
    assert!(
        world.nodes[1]
            .paths
            .report(&world.nodes[1].other, world.now)
            .is_none()
    );
    world.flow(8 * SECOND);
    assert_eq!(world.chosen(0), None);
}

#[test]
fn the_addresses_that_a_peer_names_are_bounded_and_leave_out_what_is_no_address() {
    let mut world = World::new(None, None);
    let call = Call {
        tag: 1,
        wanted: true,
        candidates: (0..200u8)
            .map(|n| Candidate {
                address: ([203, 0, 113, n], 7).into(),
                kind: Kind::Interface,
            })
            .chain([Candidate {
                address: ([127, 0, 0, 1], 7).into(),
                kind: Kind::Interface,
            }])
            .collect(),
    };
    let (other, now) = (world.nodes[0].other, world.now);
    for _ in 0..50 {
        world.nodes[0].paths.call(&other, call.clone(), now);
    }
    let report = world.nodes[0].paths.report(&other, now).unwrap();
    assert!(report.pairs.len() <= MAX_CANDIDATES);
    world.run(60 * SECOND);
    // Twenty-five rounds of sixteen.
    assert!(
        world.sent <= 26 * 16,
        "{} datagrams to strangers",
        world.sent
    );
}

#[test]
fn two_without_link_or_straight_path_talk_through_a_member_that_forwards() {
    let mut world = World::new(Some(Nat::SYMMETRIC), Some(Nat::SYMMETRIC));
    world.relay(true);
    world.traffic(0);
    let took = world.until(5 * SECOND, World::both_chosen).unwrap();
    assert!(took <= SECOND, "{took:?}");
    for node in 0..2 {
        let chosen = world.chosen(node).unwrap().place;
        assert_eq!(chosen, Place::Through(MEMBER));
    }
    world.flow(60 * SECOND);
    assert!(world.both_chosen() && world.switches == 2);
    world.relay(false);
    let left = world.until_flowing(SECOND, |world| {
        world.chosen(0).is_none() && world.chosen(1).is_none()
    });
    assert!(left.is_some(), "what is not offered any more is not used");
}

#[test]
fn with_a_member_between_them_two_find_their_straight_path_without_link_or_server() {
    for (a, nat_a) in PLACES {
        for (b, nat_b) in PLACES {
            let mut world = World::new(nat_a, nat_b);
            world.relay(true);
            world.loss = 5;
            world.traffic(0);
            let straight = |world: &mut World| {
                let at = |node| Some(world.chosen(node)?.place.address().is_some());
                at(0).zip(at(1))
            };
            if possible(a, b) {
                let took = world.until(5 * SECOND, |it| straight(it) == Some((true, true)));
                assert!(took.is_some(), "{a} and {b} have no straight path");
            } else {
                world.run(5 * SECOND);
                assert_eq!(straight(&mut world), Some((false, false)), "{a} and {b}");
            }
        }
    }
}

#[test]
fn who_learns_late_at_which_address_it_is_seen_tells_those_that_it_does_not_reach_straight() {
    let mut world = World::unseen(Some(Nat::PORT_RESTRICTED), Some(Nat::PORT_RESTRICTED));
    world.relay(true);
    world.flow(20 * SECOND);
    assert!(world.both_chosen(), "through the member");
    world.sighted_by_a_member(0);
    world.flow(SECOND);
    world.sighted_by_a_member(1);
    let straight = |world: &mut World| {
        let is = |node| {
            world
                .chosen(node)
                .is_some_and(|it| it.place.address().is_some())
        };
        is(0) && is(1)
    };
    let took = world.until_flowing(10 * SECOND, straight);
    assert!(took.is_some_and(|took| took <= 2 * SECOND), "{took:?}");
}

#[test]
fn a_member_that_stops_forwarding_is_left_within_four_seconds() {
    let mut world = World::new(Some(Nat::SYMMETRIC), Some(Nat::SYMMETRIC));
    world.relay(true);
    world.link();
    world.flow(20 * SECOND);
    assert!(world.both_chosen());
    world.forwards = false;
    let left = world.until_flowing(10 * SECOND, |world| {
        world.chosen(0).is_none() && world.chosen(1).is_none()
    });
    assert!(left.unwrap() <= 4 * SECOND, "{left:?}");
}

#[test]
fn a_copy_of_an_old_call_makes_nobody_think_that_the_peer_began_anew() {
    let mut world = World::new(Some(Nat::SYMMETRIC), Some(Nat::SYMMETRIC));
    world.relay(true);
    world.flow(5 * SECOND);
    let old = world.forwarded.clone();
    world.restart(0);
    world.relay(true);
    world.flow(5 * SECOND);
    assert_eq!(world.restarts, 1);
    let (who, now) = (world.nodes[1].other, world.now);
    for (to, datagram) in old.iter().filter(|(to, _)| *to == 1) {
        let paths = &mut world.nodes[*to].paths;
        paths.receive_through(MEMBER, &who, datagram, now);
    }
    world.flow(5 * SECOND);
    assert_eq!(world.restarts, 1);
    assert!(world.both_chosen());
    let stranger = PeerId([8; 32]);
    let (_, last) = world.forwarded.last().unwrap().clone();
    let taken = world.nodes[1]
        .paths
        .receive_through(stranger, &who, &last, now);
    assert!(taken.is_none(), "only from members that offered it");
}

#[test]
fn who_names_ever_new_addresses_that_do_not_answer_has_few_of_them_asked() {
    let mut paths = Paths::default();
    paths.add(who(2), keys(1), 7);
    let (mut now, mut asked) = (1000 * SECOND, 0);
    let minutes = 10;
    for round in 0..minutes * 30u16 {
        let victim = |n| Candidate {
            address: ([203, 0, 113, n], 1000 + round).into(),
            kind: Kind::Reflexive,
        };
        let call = Call {
            tag: 5,
            wanted: true,
            candidates: (1..=16).map(victim).collect(),
        };
        paths.call(&who(2), call, now);
        let next = now + 2 * SECOND;
        while let Some(due) = paths.next(now).filter(|due| *due < next) {
            now = due.max(now);
            let sends = paths.poll(now, || 3).into_iter();
            asked += sends.filter(|it| matches!(it, Action::Send(..))).count();
        }
        now = next;
    }
    let (at_once, minute) = (24 * 26, 4 * 60);
    assert!(
        asked > at_once,
        "{asked}: a peer that means it is asked still"
    );
    assert!(asked <= at_once + usize::from(minutes) * minute, "{asked}");
}

#[test]
fn the_key_before_a_new_one_is_worth_nothing_once_the_peer_has_the_new_one() {
    let (mut ours, mut theirs) = (Paths::default(), Paths::default());
    ours.add(who(2), keys(1), 7);
    theirs.add(who(1), keys(2), 8);
    let (at, now) = ("192.0.2.7:9".parse().unwrap(), 1000 * SECOND);
    let call = |tag| Call {
        tag,
        wanted: true,
        candidates: vec![Candidate {
            address: at,
            kind: Kind::Interface,
        }],
    };
    let ask = |theirs: &mut Paths, now| {
        theirs.call(&who(1), call(7), now);
        let sent = theirs.poll(now, || 3).into_iter();
        let mut questions = sent.filter_map(|action| match action {
            Action::Send(_, datagram) => Some(datagram),
            _ => None,
        });
        questions.next().unwrap()
    };
    ours.call(&who(2), call(8), now);
    let new = |n: u8| ProbeKeys::new(&[8; 32], &NetworkId([1; 32]), &[n; 32], &[3 - n; 32]);
    ours.add(who(2), new(1), 9);
    let old = ask(&mut theirs, now);
    assert!(ours.receive(at, &old, now).is_some(), "it may not know yet");
    let later = ask(&mut theirs, now + SECOND);
    theirs.add(who(1), new(2), 9);
    let fresh = ask(&mut theirs, now + 2 * SECOND);
    assert!(ours.receive(at, &fresh, now).is_some());
    assert!(ours.receive(at, &later, now).is_none());
}

/// What device 1 or 2 proves its probes with to the other.
fn keys(n: u8) -> ProbeKeys {
    ProbeKeys::new(&[9; 32], &NetworkId([1; 32]), &[n; 32], &[3 - n; 32])
}

fn who(peer: u8) -> Who {
    Who {
        network: NetworkId([1; 32]),
        peer: PeerId([peer; 32]),
    }
}

fn server(port: u8) -> Seen {
    Seen::Server(ServerKey([9; 32]), port)
}
