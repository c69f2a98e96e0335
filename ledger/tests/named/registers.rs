//! Registers: names, addresses, offers and settings.

use crate::common::{Person, World, label, tcp, v4};
use crate::office;
use mesh_ledger::event::attributes::{Audience, Joining, MAX_NAMES, NarrowOffer, Write};
use mesh_ledger::ids::{EpochId, WgKey};
use mesh_ledger::verdict::Reason;

#[test]
fn of_two_claims_of_one_name_and_address_one_gets_the_next_free_and_a_checkpoint_settles_which() {
    let mut o = office();
    let ticket = o.world.invite(&mut o.side, &o.alice, 9);
    let wants = |person: &Person| Joining {
        host: label("laptop"),
        address: Some(v4(77)),
        ..person.joining()
    };
    let (erin, frank) = (Person::new("erin"), Person::new("frank"));
    let mut away = o.side.clone();
    // Two events more on the near side, so that its admission has the larger lamport.
    o.world.merge(&mut o.side, &o.bob);
    o.world.merge(&mut o.side, &o.bob);
    let joining = wants(&erin);
    o.world
        .admit_with(&mut o.side, &o.bob, &erin, Some(&ticket), 0, joining);
    let alone = o.world.part(&o.side).fold().state;
    assert_eq!(alone.devices[&erin.device_id()].v4, Some(v4(77)));

    let mut sealed = o.side.clone();
    let joining = wants(&frank);
    o.world
        .admit_with(&mut away, &o.carol, &frank, Some(&ticket), 0, joining);
    let state = o.world.state();
    let device = |person: &Person| &state.devices[&person.device_id()];
    assert_eq!(device(&frank).host.as_str(), "laptop");
    assert_eq!(device(&erin).host.as_str(), "laptop-2");
    assert_eq!(device(&frank).v4, Some(v4(77)));
    assert_eq!(device(&erin).v4, Some(v4(78)));

    let checkpoint = o.world.checkpoint(&mut sealed, &o.alice, 0);
    assert!(o.world.counts(checkpoint));
    let state = o.world.state();
    let device = |person: &Person| &state.devices[&person.device_id()];
    assert_eq!(device(&erin).host.as_str(), "laptop");
    assert_eq!(device(&frank).host.as_str(), "laptop-2");
    assert_eq!(device(&erin).v4, Some(v4(77)));
    assert_eq!(device(&frank).v4, Some(v4(78)));
}

#[test]
fn a_checkpoint_by_a_member_or_with_a_wrong_count_seals_nothing() {
    let mut o = office();
    let by_member = o.world.checkpoint(&mut o.side.clone(), &o.dave, 0);
    assert!(matches!(o.world.reason(by_member), Reason::NotAdmin { .. }));
}

#[test]
fn what_a_removed_device_offered_does_not_come_back_with_it() {
    let mut o = office();
    let before = o.world.offer(&mut o.side, &o.dave, &o.dave, 22);
    let place = (o.dave.device_id(), 0);
    assert_eq!(o.world.state().offers[&place].event, before);
    o.world.kick(&mut o.side, &o.alice, &o.dave);
    assert!(!o.world.is_member(&o.dave));
    o.world.admit(&mut o.side, &o.alice, &o.dave, None);
    assert!(o.world.is_member(&o.dave));
    assert!(o.world.state().offers.is_empty());
    let after = o.world.offer(&mut o.side, &o.dave, &o.dave, 22);
    assert_eq!(o.world.state().offers[&place].event, after);
}

#[test]
fn an_offer_that_alice_signs_for_bobs_device_has_no_effect() {
    let mut o = office();
    let forged = o.world.offer(&mut o.side, &o.alice, &o.bob, 22);
    assert_eq!(
        o.world.reason(forged).to_string(),
        "only the device itself offers"
    );
    assert!(o.world.state().offers.is_empty());
    let own = o.world.offer(&mut o.side, &o.bob, &o.bob, 22);
    let state = o.world.state();
    assert_eq!(state.offers[&(o.bob.device_id(), 0)].event, own);
    let withdraw = Write::Offer {
        device: o.bob.device_id(),
        slot: 0,
        offer: None,
    };
    let forged = o.world.write(&mut o.side, &o.alice, vec![withdraw.clone()]);
    assert!(!o.world.counts(forged));
    assert_eq!(
        o.world.state().offers.len(),
        1,
        "nor does anybody else withdraw it"
    );
    o.world.write(&mut o.side, &o.bob, vec![withdraw]);
    assert!(o.world.state().offers.is_empty());
    let narrow = Write::Narrow {
        device: o.bob.device_id(),
        slot: 0,
        offer: NarrowOffer {
            key: EpochId([1; 32]),
            sealed: vec![0; 24 + 128 + 16],
        },
    };
    let forged = o.world.write(&mut o.side, &o.alice, vec![narrow.clone()]);
    assert!(!o.world.counts(forged));
    let own = o.world.write(&mut o.side, &o.bob, vec![narrow]);
    let state = o.world.state();
    assert_eq!(state.narrow[&(o.bob.device_id(), 0)].event, own);
}

#[test]
fn a_full_subnet_gives_no_address_and_the_admission_stands() {
    let (mut world, mut side) = World::with_subnet("alice", "10.0.0.0/30");
    let alice = world.owner.clone();
    let bob = world.newcomer(&mut side, &alice, "bob");
    let carol = world.newcomer(&mut side, &alice, "carol");
    let state = world.state();
    assert_eq!(state.devices[&bob.device_id()].v4, Some(v4(2)));
    assert_eq!(state.devices[&carol.device_id()].v4, None);
    world.kick(&mut side, &alice, &bob);
    let dave = world.newcomer(&mut side, &alice, "dave");
    assert_eq!(world.state().devices[&dave.device_id()].v4, Some(v4(2)));
}

#[test]
fn registers_take_writes_of_those_who_may() {
    let mut o = office();
    let device = o.dave.device_id();
    let host = |host: &str| Write::Host {
        device,
        host: label(host),
    };
    let ok = o.world.write(&mut o.side, &o.dave, vec![host("cave")]);
    let admin = o.world.write(&mut o.side, &o.bob, vec![host("bob")]);
    let stranger = o.world.write(
        &mut o.side,
        &o.carol,
        vec![Write::WireGuard {
            device,
            key: WgKey([1; 32]),
        }],
    );
    assert!(o.world.counts(ok) && o.world.counts(admin) && !o.world.counts(stranger));
    assert_eq!(o.world.state().devices[&device].host.as_str(), "bob-2");
    let erin = o.world.newcomer(&mut o.side, &o.bob, "erin");
    let foreign = o.world.write(&mut o.side, &erin, vec![host("mine")]);
    assert_eq!(
        o.world.reason(foreign),
        Reason::OnlyOwn { what: "host name" }
    );
    for write in [
        Write::Tag {
            user: erin.id(),
            tag: label("staff"),
            set: true,
        },
        Write::Setting {
            key: label("dns"),
            value: Some("on".parse().unwrap()),
        },
        Write::Servers(vec![]),
        Write::Address {
            device,
            address: v4(9),
        },
    ] {
        let by_member = o.world.write(&mut o.side, &erin, vec![write.clone()]);
        assert!(matches!(o.world.reason(by_member), Reason::NotAdmin { .. }));
        let by_admin = o.world.write(&mut o.side, &o.bob, vec![write]);
        assert!(o.world.counts(by_admin));
    }
    let outside = Write::Address {
        device,
        address: [192, 168, 0, 1].into(),
    };
    let outside = o.world.write(&mut o.side, &o.bob, vec![outside]);
    assert_eq!(o.world.reason(outside), Reason::OutsideSubnet);
    let name = Write::Name {
        user: erin.id(),
        name: label("bob"),
    };
    o.world.write(&mut o.side, &erin, vec![name]);
    let state = o.world.state();
    assert_eq!(state.devices[&device].v4, Some(v4(9)));
    assert_eq!(state.members[&erin.id()].name.as_str(), "bob-2");
    assert_eq!(state.user("bob-2").unwrap().user, erin.id());
    assert!(state.tags[&label("staff")].contains(&erin.id()));
    assert_eq!(state.settings.len(), 1);
}

#[test]
fn the_writes_of_one_event_stand_or_fall_together() {
    let mut o = office();
    let mine = Write::Host {
        device: o.dave.device_id(),
        host: label("cave"),
    };
    let not_mine = Write::Offer {
        device: o.bob.device_id(),
        slot: 1,
        offer: Some(tcp(22, Audience::Everyone)),
    };
    let both = o.world.write(&mut o.side, &o.dave, vec![mine, not_mine]);
    assert!(!o.world.counts(both));
    assert_eq!(
        o.world.state().devices[&o.dave.device_id()].host.as_str(),
        "dave"
    );
}

#[test]
fn a_user_sets_a_thousand_names_in_all_and_an_admin_further_ones() {
    let mut o = office();
    let second = Person::with_device("dave", "tower");
    o.world.add_device(&mut o.side, &second);
    let name = |n: u32| Write::Name {
        user: o.dave.id(),
        name: label(&format!("dave-the-{n}")),
    };
    let host = |device: &Person, host: &str| Write::Host {
        device: device.device_id(),
        host: label(host),
    };
    for n in 0..MAX_NAMES / 8 - 1 {
        let by = [&o.dave, &second][n as usize % 2];
        let writes = (0..8).map(|m| name(8 * n + m)).collect();
        let set = o.world.write(&mut o.side, by, writes);
        assert!(n % 16 > 0 || o.world.counts(set));
    }
    let writes = (0..7).map(name).collect();
    let seven = o.world.write(&mut o.side, &o.dave, writes);
    let two = vec![host(&second, "one"), host(&second, "two")];
    let two = o.world.write(&mut o.side, &second, two);
    let last = o
        .world
        .write(&mut o.side, &o.dave, vec![host(&o.dave, "cave")]);
    let more = o
        .world
        .write(&mut o.side, &second, vec![host(&second, "more")]);
    assert!(o.world.counts(seven) && o.world.counts(last));
    for over in [two, more] {
        assert_eq!(o.world.reason(over), Reason::NamesUsedUp);
    }
    let shared = o.world.offer(&mut o.side, &o.dave, &o.dave, 22);
    assert!(o.world.counts(shared), "it may do all else");
    let by_admin = o
        .world
        .write(&mut o.side, &o.bob, vec![host(&second, "tower-of-dave")]);
    assert!(o.world.counts(by_admin));
    o.world.kick(&mut o.side, &o.alice, &o.dave);
    o.world.admit(&mut o.side, &o.alice, &o.dave, None);
    let again = o
        .world
        .write(&mut o.side, &o.dave, vec![host(&o.dave, "again")]);
    assert_eq!(
        o.world.reason(again),
        Reason::NamesUsedUp,
        "coming back gives no new ones"
    );
}
