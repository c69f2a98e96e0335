//! Callers of a network that Alice founded, and by which names she dials.
#![allow(clippy::unwrap_used)]

use mesh_ledger::alpn::When;
use mesh_ledger::epoch;
use mesh_ledger::event::act::{Admit, Policy, Remove, Target};
use mesh_ledger::event::attributes::Joining;
use mesh_ledger::event::{Act, Attributes};
use mesh_ledger::ids::WgKey;
use mesh_ledger::keys::{DeviceSecret, EpochKey, UserSecret};
use mesh_ledger::network::FoundingArgs;
use mesh_ledger::recovery::RecoveryWords;
use mesh_ledger::store::memory::MemoryStore;

use super::*;

const NOW: u64 = 1_795_000_000_000;
const HOURS: u64 = 3_600_000;
const ALICE: u8 = 1;
const BOB: u8 = 2;

/// As what Alice takes a dial of `who`, who knows this ledger.
fn taken(
    world: &World,
    dialler: &Ledger<MemoryStore>,
    who: u8,
    stranger: bool,
    at: u64,
) -> Option<Caller> {
    let mut alice = Callers::default();
    alice.follow(&world.0, &peer(ALICE), &boxes(ALICE), NOW);
    let mut expected = Expected::default();
    expected.add(&alice);
    let mut own = Callers::default();
    own.follow(dialler, &peer(who), &boxes(who), NOW);
    let names = own.names_for(&peer(who), &peer(ALICE), stranger, at);
    expected
        .find(names.iter().map(|name| &name[..]))
        .map(|(_, caller)| caller)
}

#[test]
fn a_member_is_known_by_its_pair_and_a_wrong_clock_needs_a_second_try() {
    let mut world = World::new();
    world.admit(BOB);
    let member = Some(Caller::Member(world.0.network(), peer(BOB)));
    let dial = |stranger, at| taken(&world, &world.0, BOB, stranger, at);
    assert_eq!(dial(false, NOW), member);
    assert_eq!(dial(false, NOW + HOURS), member);
    assert_eq!(dial(false, NOW + 3 * HOURS), None);
    assert_eq!(dial(true, NOW + 3 * HOURS), member);
    assert_eq!(dial(true, 0), member);
}

#[test]
fn a_member_that_was_not_heard_of_is_known_by_the_epoch() {
    let world = World::new();
    let mut ahead = World::new();
    ahead.admit(BOB);
    let unheard = Some(Caller::Unheard(world.0.network()));
    assert_eq!(taken(&world, &ahead.0, BOB, true, NOW), unheard);
    assert_eq!(taken(&world, &ahead.0, BOB, false, NOW), None);
}

#[test]
fn a_kicked_member_is_a_stranger_at_once_and_after_three_epochs_for_good() {
    let mut world = World::new();
    world.admit(BOB);
    let mut old = World::new();
    old.admit(BOB);
    world.kick(BOB);
    let network = world.0.network();
    assert_eq!(taken(&world, &old.0, BOB, false, NOW), None);
    // So that it can be told.
    for _ in 0..2 {
        world.rotate();
        assert_eq!(
            taken(&world, &old.0, BOB, true, NOW),
            Some(Caller::Unheard(network))
        );
    }
    world.rotate();
    assert_eq!(taken(&world, &old.0, BOB, true, NOW), None);
}

#[test]
fn a_caller_is_that_peer_and_says_that_or_nothing() {
    let network = NetworkId([1; 32]);
    let hello = |network, role| Hello { network, role };
    let member = Caller::Member(network, peer(BOB));
    assert!(member.may_be(&peer(BOB)) && !member.may_be(&peer(ALICE)));
    assert!(member.may_say(&hello(network, Role::Member)));
    assert!(!member.may_say(&hello(NetworkId([2; 32]), Role::Member)));
    assert!(!member.may_say(&hello(network, Role::Joiner(vec![]))));
    assert!(!Caller::Joiner(network).may_say(&hello(network, Role::Member)));
    assert!(!Caller::Code.may_say(&hello(network, Role::Member)));
    assert!(Caller::Code.may_say(&hello(NetworkId::GENESIS, Role::Code(vec![]))));
}

#[test]
fn a_codes_number_is_a_name_only_while_it_is_shown_and_only_here() {
    let name = Relation::code(7).name(&peer(ALICE).0, When::at(NOW));
    let mut expected = Expected::default();
    assert_eq!(expected.find([&name[..]].into_iter()), None);
    expected.add_code(7, &peer(ALICE), NOW);
    assert_eq!(
        expected.find([&b"h2"[..], &name].into_iter()),
        Some((name, Caller::Code))
    );
    let elsewhere = Relation::code(7).name(&peer(BOB).0, When::at(NOW));
    assert_eq!(expected.find([&elsewhere[..]].into_iter()), None);
}

#[test]
fn names_are_made_anew_only_when_they_change() {
    let mut world = World::new();
    let mut callers = Callers::default();
    let mut follows =
        |world: &World, now| callers.follow(&world.0, &peer(ALICE), &boxes(ALICE), now);
    assert!(follows(&world, NOW));
    assert!(!follows(&world, NOW + 1));
    assert!(follows(&world, NOW + HOURS));
    world.admit(BOB);
    assert!(follows(&world, NOW + HOURS));
    world.kick(BOB);
    assert!(follows(&world, NOW + HOURS));
    assert!(!follows(&world, NOW + HOURS));
}

struct World(Ledger<MemoryStore>, u8);

impl World {
    fn new() -> Self {
        let args = FoundingArgs {
            name: "home".parse().unwrap(),
            subnet: "10.7.0.0/24".parse().unwrap(),
            policy: Policy::default(),
            user: &user(ALICE),
            device: &device(ALICE),
            box_secret: boxes(ALICE),
            host: "alice".parse().unwrap(),
            address: None,
            wireguard: WgKey([1; 32]),
            epoch: EpochKey::from_bytes([42; 32]),
            recovery: RecoveryWords::from_entropy([7; 32]),
            nonce: [1; 16],
            salt: [2; 16],
            now: NOW,
        };
        Self(Ledger::found(MemoryStore::new(), args).unwrap().0, 42)
    }

    fn author(&mut self, act: Act, attributes: Option<Attributes>) {
        self.0.author(&device(ALICE), act, attributes, NOW).unwrap();
    }

    fn admit(&mut self, n: u8) {
        let joining = Joining {
            salt: [n; 16],
            host: format!("host-{n}").parse().unwrap(),
            address: None,
            wireguard: WgKey([n; 32]),
        };
        let act = Act::Admit(Admit {
            user: user(n).public(),
            device: device(n).public(),
            box_key: boxes(n).public(),
            certificate: user(n).certify(&device(n).public()),
            digest: joining.digest(),
            redemption: None,
            at: NOW,
        });
        self.author(act, Some(Attributes::Joining(joining)));
    }

    fn kick(&mut self, n: u8) {
        let act = Act::Remove(Remove {
            target: Target::User(user(n).public()),
            cut: None,
            closes: Vec::new(),
            by_user: None,
        });
        self.author(act, None);
    }

    fn rotate(&mut self) {
        self.1 += 1;
        let new = EpochKey::from_bytes([self.1; 32]);
        let former = EpochKey::from_bytes([self.1 - 1; 32]);
        let to = [boxes(ALICE).public()];
        let seeds = (0..).map(|n: u8| [n; 32]);
        for act in epoch::rotate(&self.0.network(), &new, &[former], &to, seeds) {
            self.author(act, None);
        }
    }
}

fn user(n: u8) -> UserSecret {
    UserSecret::from_seed(&[n; 32])
}

fn device(n: u8) -> DeviceSecret {
    DeviceSecret::from_seed(&[n + 100; 32])
}

fn boxes(n: u8) -> BoxSecret {
    BoxSecret::from_seed(&[n; 32])
}

fn peer(n: u8) -> PeerId {
    peer_id(&device(n).public())
}
