//! Networks made of real events, and what they make of each device.
#![allow(clippy::unwrap_used)]

use mesh_ledger::event::act::{Admit, Policy, Remove, Target};
use mesh_ledger::event::attributes::{Joining, Offer, Write};
use mesh_ledger::event::{Act, Attributes};
use mesh_ledger::ids::{Digest, UserId, WgKey};
use mesh_ledger::keys::{BoxSecret, DeviceSecret, EpochKey, UserSecret};
use mesh_ledger::network::{FoundingArgs, Ledger};
use mesh_ledger::recovery::RecoveryWords;
use mesh_ledger::store::memory::MemoryStore;

use super::*;
use crate::plan::Refusal;

pub(crate) const NOW: u64 = 1_795_000_000_000;
pub(crate) const HOUR: u64 = 3_600_000;
pub(crate) const ALICE: u8 = 1;
pub(crate) const BOB: u8 = 2;
pub(crate) const CAROL: u8 = 3;

#[test]
fn what_no_offer_allows_is_refused_as_the_network_is_set_and_as_by_default_where_the_value_means_nothing()
 {
    let mut world = World::new();
    let refusal = |world: &World| world.desired(ALICE, NOW).unwrap().plan.rules.refusal;
    assert_eq!(refusal(&world), Refusal::Reject);
    for (value, due) in [
        (Some("drop"), Refusal::Drop),
        (
            Some("burn, as a later release may have it"),
            Refusal::Reject,
        ),
        (Some("drop"), Refusal::Drop),
        (None, Refusal::Reject),
    ] {
        let write = Write::Setting {
            key: "default-refuse".parse().unwrap(),
            value: value.map(|value| value.parse().unwrap()),
        };
        world.write(ALICE, write);
        assert_eq!(refusal(&world), due, "{value:?}");
    }
}

/// A network that Alice founded. Everybody's acts are written into one ledger, each signed by who acts.
pub(crate) struct World {
    ledger: Ledger<MemoryStore>,
}

impl World {
    /// A network of Alice, Bob and Carol.
    pub(crate) fn new() -> Self {
        let mut world = Self::founded("10.7.0.0/24");
        world.admit(BOB);
        world.admit(CAROL);
        world
    }

    fn founded(subnet: &str) -> Self {
        let Joining {
            salt,
            host,
            address,
            wireguard,
        } = joining(ALICE);
        let args = FoundingArgs {
            name: "home".parse().unwrap(),
            subnet: subnet.parse().unwrap(),
            policy: Policy::default(),
            user: &user(ALICE),
            device: &device(ALICE),
            box_secret: BoxSecret::from_seed(&[ALICE; 32]),
            host,
            address,
            wireguard,
            epoch: EpochKey::from_bytes([42; 32]),
            recovery: RecoveryWords::from_entropy([7; 32]),
            nonce: [1; 16],
            salt,
            now: NOW,
        };
        let (ledger, _) = Ledger::found(MemoryStore::new(), args).unwrap();
        Self { ledger }
    }

    fn author(&mut self, who: u8, act: Act, attributes: Option<Attributes>) -> EventId {
        let event = self.ledger.author(&device(who), act, attributes, NOW);
        event.unwrap().id()
    }

    pub(crate) fn admit(&mut self, n: u8) {
        self.admit_saying(n, joining(n).digest());
    }

    /// Admits a device whose attributes count only if `digest` is theirs.
    fn admit_saying(&mut self, n: u8, digest: Digest) {
        let act = Act::Admit(Admit {
            user: user(n).public(),
            device: id(n),
            box_key: BoxSecret::from_seed(&[n; 32]).public(),
            certificate: user(n).certify(&id(n)),
            digest,
            redemption: None,
            at: NOW,
        });
        self.author(ALICE, act, Some(Attributes::Joining(joining(n))));
    }

    pub(crate) fn kick(&mut self, n: u8) {
        let act = Act::Remove(Remove {
            target: Target::User(user(n).public()),
            cut: None,
            closes: Vec::new(),
            by_user: None,
        });
        self.author(ALICE, act, None);
    }

    pub(crate) fn write(&mut self, who: u8, write: Write) -> EventId {
        let attributes = Attributes::Writes(vec![write]);
        self.author(who, Act::Private, Some(attributes))
    }

    /// A device sets one of its offers.
    pub(crate) fn offer(&mut self, who: u8, slot: u32, offer: Option<Offer>) -> EventId {
        let device = id(who);
        let write = Write::Offer {
            device,
            slot,
            offer,
        };
        self.write(who, write)
    }

    pub(crate) fn state(&self) -> &State {
        self.ledger.state()
    }

    /// What `n` must be if it has seen nothing end.
    fn desired(&self, n: u8, now: u64) -> Option<Desired> {
        self.desired_after(n, &BTreeSet::new(), now)
    }

    fn desired_after(&self, n: u8, ended: &BTreeSet<EventId>, now: u64) -> Option<Desired> {
        let interface = InterfaceName::Number(0);
        let alias = "home".parse().unwrap();
        desired(
            self.ledger.state(),
            &id(n),
            interface,
            Some(&alias),
            ended,
            now,
        )
    }

    fn open(&self, n: u8) -> Vec<Open> {
        self.desired(n, NOW).unwrap().plan.rules.open
    }
}

pub(crate) fn user(n: u8) -> UserSecret {
    UserSecret::from_seed(&[n; 32])
}

fn device(n: u8) -> DeviceSecret {
    DeviceSecret::from_seed(&[n + 100; 32])
}

pub(crate) fn id(n: u8) -> DeviceId {
    device(n).public()
}

fn joining(n: u8) -> Joining {
    Joining {
        salt: [n; 16],
        host: format!("host-{n}").parse().unwrap(),
        address: None,
        wireguard: WgKey([n; 32]),
    }
}

fn tcp(port: u16, audience: OfferedTo) -> Offer {
    Offer {
        what: Service::Port {
            protocol: OfferedProtocol::Tcp,
            first: port,
            last: port,
        },
        name: None,
        audience,
        until: None,
    }
}

pub(crate) fn only(users: &[UserId], devices: &[DeviceId], tags: &[&str]) -> OfferedTo {
    OfferedTo::Only {
        users: users.to_vec(),
        devices: devices.to_vec(),
        tags: tags.iter().map(|tag| tag.parse().unwrap()).collect(),
    }
}

fn opened(port: u16, audience: Audience) -> Open {
    Open {
        protocol: Protocol::Tcp,
        ports: PortRange::one(port),
        audience,
    }
}

fn peers(numbers: &[u8]) -> Audience {
    Audience::Peers(numbers.iter().map(|n| peer_id(&id(*n))).collect())
}

#[test]
fn a_device_gets_its_addresses_its_peers_and_nothing_open() {
    let world = World::new();
    let Desired { plan, peers } = world.desired(BOB, NOW).unwrap();
    let v6 = world.ledger.state().devices[&id(BOB)].v6;
    let shown: Vec<String> = plan.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["10.7.0.2/24".to_owned(), format!("{v6}/64")]);
    assert_eq!(plan.interface, InterfaceName::Number(0));
    assert_eq!(plan.mtu, MTU);
    assert_eq!(plan.routes, []);
    assert_eq!(plan.rules.open, []);
    let resolver = plan.resolver.unwrap();
    assert_eq!(
        resolver.servers,
        ["10.7.0.2".parse().unwrap(), v6.into()] as [IpAddr; 2]
    );
    let search: Vec<&str> = resolver
        .search
        .iter()
        .map(|domain| domain.as_str())
        .collect();
    assert_eq!(search, ["mesh.internal", "home.mesh.internal"]);
    assert_eq!(resolver.routed.len(), 2);
    assert_eq!(resolver.routed[0].as_str(), "0.7.10.in-addr.arpa");
    assert_eq!(
        plan.rules.own,
        BTreeSet::from(["10.7.0.2".parse().unwrap(), v6.into()])
    );
    let found: BTreeSet<PeerId> = peers.iter().map(|peer| peer.id).collect();
    assert_eq!(found, [ALICE, CAROL].map(|n| peer_id(&id(n))).into());
    for peer in peers {
        assert_eq!(plan.rules.peers[&peer.id], peer.addresses);
        let number = if device_id(&peer.id) == id(ALICE) {
            ALICE
        } else {
            CAROL
        };
        assert_eq!(peer.wireguard, [number; 32]);
    }
}

#[test]
fn an_offer_opens_its_ports_on_the_device_that_made_it_alone() {
    let mut world = World::new();
    let mut range = tcp(8000, OfferedTo::Everyone);
    range.what = Service::Port {
        protocol: OfferedProtocol::Udp,
        first: 8000,
        last: 8003,
    };
    world.offer(BOB, 0, Some(range));
    assert_eq!(
        world.open(BOB),
        [Open {
            protocol: Protocol::Udp,
            ports: PortRange::new(8000, 8003).unwrap(),
            audience: Audience::All,
        }]
    );
    assert_eq!(world.open(ALICE), []);
    assert_eq!(world.open(CAROL), []);
    world.offer(BOB, 0, None);
    assert_eq!(world.open(BOB), []);
}

#[test]
fn an_offer_opens_for_its_audience_alone() {
    let mut world = World::new();
    world.offer(
        ALICE,
        0,
        Some(tcp(22, only(&[user(BOB).public()], &[], &[]))),
    );
    world.offer(ALICE, 1, Some(tcp(80, only(&[], &[id(CAROL)], &[]))));
    world.offer(ALICE, 2, Some(tcp(443, only(&[], &[], &["staff"]))));
    assert_eq!(
        world.open(ALICE),
        [
            opened(22, peers(&[BOB])),
            opened(80, peers(&[CAROL])),
            opened(443, peers(&[])),
        ]
    );
    world.write(
        ALICE,
        Write::Tag {
            user: user(CAROL).public(),
            tag: "staff".parse().unwrap(),
            set: true,
        },
    );
    assert_eq!(world.open(ALICE)[2], opened(443, peers(&[CAROL])));
}

#[test]
fn an_audience_that_names_nobody_live_opens_for_nobody() {
    let mut world = World::new();
    let stranger = only(&[user(9).public()], &[id(9)], &["nobody"]);
    world.offer(ALICE, 0, Some(tcp(22, stranger)));
    assert_eq!(world.open(ALICE), [opened(22, peers(&[]))]);
}

#[test]
fn an_offer_of_something_else_than_ports_opens_none() {
    let mut world = World::new();
    let exit = Offer {
        what: Service::Exit { v4: true, v6: true },
        ..tcp(1, OfferedTo::Everyone)
    };
    world.offer(BOB, 0, Some(exit));
    world.offer(
        BOB,
        1,
        Some(Offer {
            what: Service::Relay,
            ..tcp(1, OfferedTo::Everyone)
        }),
    );
    assert_eq!(world.ledger.state().offers.len(), 2);
    assert_eq!(world.open(BOB), []);
}

#[test]
fn an_offer_is_open_until_its_end_and_closed_from_then_on() {
    let mut world = World::new();
    let until = NOW + HOUR;
    let offer = Offer {
        until: Some(until),
        ..tcp(22, OfferedTo::Everyone)
    };
    let event = world.offer(ALICE, 4, Some(offer));
    let open = |now| world.desired(ALICE, now).unwrap().plan.rules.open;
    assert_eq!(open(until - 1), [opened(22, Audience::All)]);
    assert_eq!(open(until), []);
    assert_eq!(open(until + HOUR), []);
    let ended = |n, now| ended_offers(world.ledger.state(), &id(n), now);
    assert_eq!(ended(ALICE, until - 1), []);
    assert_eq!(ended(ALICE, until), [(4, event)]);
    assert_eq!(ended(BOB, until), []);
}

#[test]
fn an_offer_that_was_seen_to_end_stays_closed_though_the_clock_goes_back() {
    let mut world = World::new();
    let offer = Offer {
        until: Some(NOW + HOUR),
        ..tcp(22, OfferedTo::Everyone)
    };
    let event = world.offer(ALICE, 0, Some(offer.clone()));
    let ended: BTreeSet<EventId> = ended_offers(world.ledger.state(), &id(ALICE), NOW + 2 * HOUR)
        .into_iter()
        .map(|(_, event)| event)
        .collect();
    assert_eq!(ended, BTreeSet::from([event]));
    let open = |world: &World| {
        let desired = world.desired_after(ALICE, &ended, NOW).unwrap();
        desired.plan.rules.open
    };
    assert_eq!(open(&world), []);
    // The same offer made again is another one.
    world.offer(ALICE, 0, Some(offer));
    assert_eq!(open(&world), [opened(22, Audience::All)]);
}

#[test]
fn a_removed_device_is_in_nobodys_plan_and_gets_none_itself() {
    let mut world = World::new();
    let named = only(&[user(CAROL).public()], &[id(CAROL)], &[]);
    world.offer(ALICE, 0, Some(tcp(22, named)));
    world.offer(ALICE, 1, Some(tcp(80, OfferedTo::Everyone)));
    let carol = peer_id(&id(CAROL));
    assert_eq!(world.open(ALICE)[0], opened(22, peers(&[CAROL])));
    world.kick(CAROL);
    assert_eq!(world.desired(CAROL, NOW), None);
    for n in [ALICE, BOB] {
        let Desired { plan, peers } = world.desired(n, NOW).unwrap();
        assert!(peers.iter().all(|peer| peer.id != carol));
        assert!(!plan.rules.peers.contains_key(&carol));
    }
    assert_eq!(world.open(ALICE)[0], opened(22, peers(&[])));
}

#[test]
fn a_stranger_gets_no_plan() {
    assert_eq!(World::new().desired(9, NOW), None);
}

#[test]
fn a_device_for_which_no_address_was_free_has_its_ipv6_address_alone() {
    let mut world = World::founded("10.7.0.0/30");
    world.admit(BOB);
    world.admit(CAROL);
    let v6 = world.ledger.state().devices[&id(CAROL)].v6;
    let own = world.desired(CAROL, NOW).unwrap();
    assert_eq!(own.plan.addresses, [Subnet::new(v6.into(), 64).unwrap()]);
    assert_eq!(own.peers.len(), 2);
    let bobs = world.desired(BOB, NOW).unwrap();
    assert_eq!(
        bobs.plan.rules.peers[&peer_id(&id(CAROL))],
        BTreeSet::from([v6.into()])
    );
}

#[test]
fn a_device_whose_wireguard_key_is_not_known_is_nobodys_peer() {
    let mut world = World::founded("10.7.0.0/24");
    // What it is said to say is not what it signed, so it is void.
    world.admit_saying(BOB, Digest([0; 32]));
    assert!(world.ledger.state().devices.contains_key(&id(BOB)));
    let Desired { plan, peers } = world.desired(ALICE, NOW).unwrap();
    assert_eq!(peers, []);
    assert!(plan.rules.peers.is_empty());
}
