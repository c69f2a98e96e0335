//! Members that forward between others: who offers it to whom, by the ledger.
//!
//! A device that offers a relay forwards sealed packets between any two members that it is offered to, one hop, over its
//! control links with both. Who it is offered to finds it among the offers that it can open.

use std::collections::BTreeSet;

use mesh_ledger::event::attributes::Service;
use mesh_ledger::ids::{DeviceId, EventId};
use mesh_ledger::state::State;

use crate::desired::{device_id, peer_id};
use crate::path::MAX_RELAYS;
use crate::peer::PeerId;

/// Between whom `me` forwards, all pairs of them: nobody, unless it offers that. `ended` are own offers that were seen to end,
/// whatever the clock says now.
#[must_use]
pub fn forwards_between(
    state: &State,
    me: &DeviceId,
    ended: &BTreeSet<EventId>,
    now: u64,
) -> BTreeSet<PeerId> {
    let own = state.offers.range((*me, 0)..=(*me, u32::MAX));
    let audiences: Vec<_> = own
        .map(|(_, standing)| standing)
        .filter(|standing| {
            standing.offer.what == Service::Relay
                && !ended.contains(&standing.event)
                && standing.offer.until.is_none_or(|until| until > now)
        })
        .map(|standing| &standing.offer.audience)
        .collect();
    let others = state.devices.keys().filter(|device| *device != me);
    others
        .filter(|device| {
            audiences
                .iter()
                .any(|audience| state.admits(audience, device))
        })
        .map(peer_id)
        .collect()
}

/// Who offers to forward for `me`.
#[must_use]
pub fn forwarders(state: &State, me: &DeviceId, now: u64) -> BTreeSet<PeerId> {
    let offers = state.offers.iter().filter(|((device, _), standing)| {
        standing.offer.what == Service::Relay
            && device != me
            && state.devices.contains_key(device)
            && standing.offer.until.is_none_or(|until| until > now)
            && state.admits(&standing.offer.audience, me)
    });
    offers.map(|((device, _), _)| peer_id(device)).collect()
}

/// With which of them to be linked all the time, so that they are there when needed: the same few for everybody, since two
/// need one in common; those first that are known to be online.
#[must_use]
pub fn kept_near(
    forwarders: &BTreeSet<PeerId>,
    online: impl Fn(&DeviceId) -> bool,
) -> BTreeSet<PeerId> {
    let (near, far): (Vec<_>, Vec<_>) =
        forwarders.iter().partition(|peer| online(&device_id(peer)));
    near.into_iter()
        .chain(far)
        .take(MAX_RELAYS)
        .copied()
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use mesh_ledger::event::attributes::{Audience, Offer, Write};

    use super::*;
    use crate::desired::tests::{ALICE, BOB, CAROL, HOUR, NOW, World, id, only, user};

    const DAVE: u8 = 4;
    const NOTHING_ENDED: &BTreeSet<EventId> = &BTreeSet::new();

    #[test]
    fn a_device_forwards_between_those_it_offers_that_to_and_never_for_itself() {
        let mut world = world();
        world.offer(BOB, 1, Some(relay(Audience::Everyone)));
        assert_eq!(between(&world, BOB), peers(&[ALICE, CAROL, DAVE]));
        assert_eq!(by(&world, ALICE), peers(&[BOB]));
        assert_eq!(by(&world, BOB), peers(&[]), "who offers it needs it not");
        assert_eq!(
            between(&world, ALICE),
            peers(&[]),
            "who does not offer it does it for nobody"
        );
    }

    #[test]
    fn users_devices_and_tags_of_its_audience_are_forwarded_for_and_nobody_else() {
        let mut world = world();
        for (audience, who) in [
            (only(&[user(ALICE).public()], &[], &[]), &[ALICE][..]),
            (only(&[], &[id(CAROL)], &[]), &[CAROL]),
            (only(&[], &[], &["staff"]), &[]),
            (
                only(&[user(ALICE).public()], &[id(CAROL)], &["staff"]),
                &[ALICE, CAROL],
            ),
        ] {
            world.offer(BOB, 1, Some(relay(audience.clone())));
            assert_eq!(between(&world, BOB), peers(who), "{audience:?}");
            for other in [ALICE, CAROL, DAVE] {
                let offered = by(&world, other) == peers(&[BOB]);
                assert_eq!(offered, who.contains(&other), "{other} by {audience:?}");
            }
        }
        for (set, who) in [(true, &[ALICE, CAROL, DAVE][..]), (false, &[ALICE, CAROL])] {
            let tag = Write::Tag {
                user: user(DAVE).public(),
                tag: "staff".parse().unwrap(),
                set,
            };
            world.write(ALICE, tag);
            assert_eq!(between(&world, BOB), peers(who));
        }
    }

    #[test]
    fn two_offers_serve_both_audiences_and_another_service_serves_none() {
        let mut world = world();
        world.offer(BOB, 1, Some(relay(only(&[], &[id(ALICE)], &[]))));
        world.offer(BOB, 2, Some(relay(only(&[], &[id(DAVE)], &[]))));
        let exit = Offer {
            what: Service::Exit { v4: true, v6: true },
            ..relay(Audience::Everyone)
        };
        world.offer(BOB, 3, Some(exit.clone()));
        world.offer(CAROL, 1, Some(exit));
        assert_eq!(between(&world, BOB), peers(&[ALICE, DAVE]));
        assert_eq!(by(&world, BOB), peers(&[]));
        assert_eq!(by(&world, CAROL), peers(&[]));
    }

    #[test]
    fn an_offer_serves_until_its_end_and_not_from_then_on() {
        let mut world = world();
        let offer = Offer {
            until: Some(NOW + HOUR),
            ..relay(Audience::Everyone)
        };
        world.offer(BOB, 1, Some(offer));
        for (now, serves) in [
            (NOW, true),
            (NOW + HOUR - 1, true),
            (NOW + HOUR, false),
            (u64::MAX, false),
        ] {
            let state = world.state();
            let between = forwards_between(state, &id(BOB), NOTHING_ENDED, now);
            let by = forwarders(state, &id(ALICE), now);
            assert_eq!(!between.is_empty(), serves, "{now}");
            assert_eq!(!by.is_empty(), serves, "{now}");
        }
    }

    #[test]
    fn an_own_offer_that_was_seen_to_end_serves_no_more_though_the_clock_goes_back() {
        let mut world = world();
        let offer = Offer {
            until: Some(NOW + HOUR),
            ..relay(Audience::Everyone)
        };
        let ended = [world.offer(BOB, 1, Some(offer.clone()))].into();
        let between = |world: &World| forwards_between(world.state(), &id(BOB), &ended, NOW);
        assert_eq!(between(&world), peers(&[]));
        world.offer(BOB, 1, Some(offer));
        assert_eq!(
            between(&world),
            peers(&[ALICE, CAROL, DAVE]),
            "offered anew it does"
        );
    }

    #[test]
    fn what_is_withdrawn_or_offered_by_who_was_kicked_serves_nobody() {
        let mut world = world();
        world.offer(BOB, 1, Some(relay(Audience::Everyone)));
        world.offer(CAROL, 1, Some(relay(Audience::Everyone)));
        assert_eq!(by(&world, DAVE), peers(&[BOB, CAROL]));
        world.offer(BOB, 1, None);
        assert_eq!(by(&world, DAVE), peers(&[CAROL]));
        assert_eq!(between(&world, BOB), peers(&[]));
        world.kick(CAROL);
        assert_eq!(by(&world, DAVE), peers(&[]));
        world.offer(BOB, 1, Some(relay(Audience::Everyone)));
        assert_eq!(
            between(&world, BOB),
            peers(&[ALICE, DAVE]),
            "nor is who was kicked forwarded for"
        );
    }

    #[test]
    fn those_online_are_kept_near_first_and_never_more_than_are_of_use() {
        let few = peers(&[9, 8]);
        assert_eq!(kept_near(&few, |_| false), few);
        assert_eq!(kept_near(&peers(&[]), |_| true), peers(&[]));
        let numbers: Vec<u8> = (1..=3 * MAX_RELAYS as u8).collect();
        let many = peers(&numbers);
        for online in [&[][..], &[2], &[5, 7, 11], &numbers] {
            let on = peers(online);
            let is_on = |device: &DeviceId| on.contains(&peer_id(device));
            let near = kept_near(&many, is_on);
            assert_eq!(near.len(), MAX_RELAYS);
            assert!(near.is_subset(&many));
            let at_hand = near.intersection(&on).count();
            assert_eq!(at_hand, online.len().min(MAX_RELAYS), "{online:?}");
        }
    }

    #[test]
    fn all_who_see_the_same_devices_online_keep_the_same_near() {
        let mut world = world();
        let others: Vec<u8> = (10..20).collect();
        for n in &others {
            world.admit(*n);
            world.offer(*n, 1, Some(relay(Audience::Everyone)));
        }
        let on = peers(&[13, 17]);
        let near = |n: u8| {
            let forwarders = forwarders(world.state(), &id(n), NOW);
            kept_near(&forwarders, |device| on.contains(&peer_id(device)))
        };
        assert!(near(ALICE).is_superset(&on));
        for n in [BOB, CAROL, DAVE] {
            assert_eq!(near(n), near(ALICE));
        }
    }

    /// A network of four.
    fn world() -> World {
        let mut world = World::new();
        world.admit(DAVE);
        world
    }

    fn relay(audience: Audience) -> Offer {
        Offer {
            what: Service::Relay,
            name: None,
            audience,
            until: None,
        }
    }

    fn between(world: &World, n: u8) -> BTreeSet<PeerId> {
        forwards_between(world.state(), &id(n), NOTHING_ENDED, NOW)
    }

    fn by(world: &World, n: u8) -> BTreeSet<PeerId> {
        forwarders(world.state(), &id(n), NOW)
    }

    fn peers(numbers: &[u8]) -> BTreeSet<PeerId> {
        numbers.iter().map(|n| peer_id(&id(*n))).collect()
    }
}
