//! A world of people with real keys who sign real events. Nothing is mocked but sealing: attributes stand in the clear
//! where their ciphertext would, and each event's are handed to the fold as opened.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

mod deeds;
pub mod history;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use mesh_ledger::authority::Authority;
use mesh_ledger::event::act::{
    Admit, Checkpoint, DeviceAdd, EpochKeys, EpochRotate, Genesis, Grant, Invite, InviteClose,
    InviteKind, OwnerSet, Policy, Redemption, Remove, Target, own_device_message,
    redemption_message, succession_message,
};
use mesh_ledger::event::attributes::{
    Audience, Founding, Invitation, Joining, Offer, Opened, Protocol, Service, Write,
};
use mesh_ledger::event::{Act, Attributes, Event, Header};
use mesh_ledger::fold::{Fold, fold};
use mesh_ledger::graph::{Graph, Idx};
use mesh_ledger::ids::{BoxKey, DeviceId, Digest, EpochId, EventId, NetworkId, UserId, WgKey};
use mesh_ledger::keys::{
    DeviceSecret, Domain, InviteSecret, RecoverySecret, Signature, UserSecret,
};
use mesh_ledger::state::State;
use mesh_ledger::text::Label;
use mesh_ledger::verdict::{Reason, Verdict};

pub const EPOCH: EpochId = EpochId([7; 32]);
pub const LATE: u64 = u64::MAX;

/// One device of a person.
#[derive(Clone)]
pub struct Person {
    pub name: String,
    pub user: UserSecret,
    pub device: DeviceSecret,
}

impl Person {
    pub fn new(name: &str) -> Self {
        Self::with_device(name, name)
    }

    /// A further device of the same user.
    pub fn with_device(user: &str, device: &str) -> Self {
        Self {
            name: device.to_owned(),
            user: UserSecret::from_seed(blake3::hash(format!("user {user}").as_bytes()).as_bytes()),
            device: DeviceSecret::from_seed(
                blake3::hash(format!("device {device}").as_bytes()).as_bytes(),
            ),
        }
    }

    pub fn id(&self) -> UserId {
        self.user.public()
    }

    pub fn device_id(&self) -> DeviceId {
        self.device.public()
    }

    pub fn box_key(&self) -> BoxKey {
        BoxKey(blake3::derive_key("test box", &self.device_id().0))
    }

    pub fn joining(&self) -> Joining {
        Joining {
            salt: [9; 16],
            host: label(&self.name),
            address: None,
            wireguard: WgKey(blake3::derive_key("test wireguard", &self.device_id().0)),
        }
    }
}

pub fn label(text: &str) -> Label {
    text.parse().unwrap()
}

/// What one replica has seen: its heads.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Side(pub BTreeSet<EventId>);

/// An invite somebody holds.
#[derive(Clone)]
pub struct Ticket {
    pub invite: EventId,
    pub key: InviteSecret,
}

pub struct World {
    pub graph: Graph,
    pub opened: Vec<Opened>,
    pub network: NetworkId,
    pub owner: Person,
    pub words: RecoverySecret,
    invites: u32,
}

pub fn words(name: &str) -> RecoverySecret {
    RecoverySecret::from_seed(blake3::hash(format!("words {name}").as_bytes()).as_bytes())
}

impl World {
    /// A network of 10.0.0.0/24 that `owner` founded, and what its founder has seen.
    pub fn new(owner: &str) -> (Self, Side) {
        Self::with_subnet(owner, "10.0.0.0/24")
    }

    pub fn with_subnet(owner: &str, subnet: &str) -> (Self, Side) {
        let owner = Person::new(owner);
        let words = words("first");
        let act = Act::Genesis(Genesis {
            owner: owner.id(),
            device: owner.device_id(),
            box_key: owner.box_key(),
            certificate: owner.user.certify(&owner.device_id()),
            recovery: words.public(),
            policy: Policy::default(),
            nonce: [1; 16],
        });
        let founding = Attributes::Founding(Founding {
            name: label("net"),
            subnet: subnet.parse().unwrap(),
            joining: owner.joining(),
        });
        let mut world = Self {
            graph: Graph::new(),
            opened: Vec::new(),
            network: NetworkId::GENESIS,
            owner: owner.clone(),
            words,
            invites: 0,
        };
        let mut side = Side::default();
        let id = world.sign(&mut side, &owner.device, act, Some(founding), 1000);
        world.network = NetworkId(id.0);
        (world, side)
    }

    /// Signs an event on top of what a side has seen; the side has then seen it.
    pub fn sign(
        &mut self,
        side: &mut Side,
        device: &DeviceSecret,
        act: Act,
        attributes: Option<Attributes>,
        time: u64,
    ) -> EventId {
        while side.0.len() > 16 {
            let (some, rest): (Vec<EventId>, Vec<EventId>) = {
                let all: Vec<EventId> = side.0.iter().copied().collect();
                (all[..16].to_vec(), all[16..].to_vec())
            };
            let mut part = Side(some.into_iter().collect());
            self.sign(&mut part, device, Act::Merge, None, time);
            side.0 = rest.into_iter().chain(part.0).collect();
        }
        let parents: Vec<Idx> = side
            .0
            .iter()
            .map(|id| self.graph.find(id).unwrap())
            .collect();
        let seq = self.graph.next_seq(&device.public(), &parents);
        let lamport = parents
            .iter()
            .map(|idx| self.graph.event(*idx).header().lamport + 1)
            .max()
            .unwrap_or(0);
        let sealed = attributes
            .as_ref()
            .map(Attributes::encode)
            .unwrap_or_default();
        let header = Header {
            network: self.network,
            author: device.public(),
            seq,
            lamport,
            time,
            epoch: if sealed.is_empty() {
                EpochId::NONE
            } else {
                EPOCH
            },
            parents: side.0.iter().copied().collect(),
        };
        let event = Event::sign(&header, &act, &sealed, device).unwrap();
        let id = event.id();
        self.add(event);
        side.0 = BTreeSet::from([id]);
        id
    }

    fn add(&mut self, event: Event) {
        let opened = open(&event);
        let before = self.graph.len();
        self.graph.insert(event).unwrap();
        if self.graph.len() > before {
            self.opened.push(opened);
        }
    }

    pub fn fold(&self) -> Fold {
        fold(&self.graph, &self.opened)
    }

    pub fn idx(&self, id: EventId) -> Idx {
        self.graph.find(&id).unwrap()
    }

    /// The verdict on an event.
    pub fn verdict(&self, id: EventId) -> Verdict {
        self.fold().verdicts[self.idx(id).0 as usize].clone()
    }

    /// Why an event is void.
    pub fn reason(&self, id: EventId) -> Reason {
        match self.verdict(id) {
            Verdict::Void(reason) => reason,
            other => panic!("{id:?} is {other:?}"),
        }
    }

    pub fn counts(&self, id: EventId) -> bool {
        self.verdict(id) == Verdict::Counted
    }

    pub fn state(&self) -> State {
        self.fold().state
    }

    pub fn authority(&self) -> Authority {
        self.fold().authority
    }

    pub fn is_member(&self, person: &Person) -> bool {
        self.state().members.contains_key(&person.id())
    }

    /// The world as one side sees it.
    pub fn part(&self, side: &Side) -> Part {
        let heads: Vec<Idx> = side.0.iter().map(|id| self.idx(*id)).collect();
        let past = self.graph.past_of(&heads);
        Part::of(
            self.graph
                .indices()
                .filter(|idx| self.graph.within(*idx, &past))
                .map(|idx| self.graph.event(idx).clone()),
        )
    }
}

impl Side {
    /// This side learns what another knows.
    pub fn learn(&mut self, world: &World, other: &Self) {
        let all: Vec<EventId> = self.0.union(&other.0).copied().collect();
        let heads = |id: &EventId| {
            !all.iter()
                .any(|later| world.graph.precedes(world.idx(*id), world.idx(*later)))
        };
        self.0 = all.iter().copied().filter(heads).collect();
    }
}

/// Some events of a world, in an order of their own.
pub struct Part {
    pub graph: Graph,
    pub opened: Vec<Opened>,
}

impl Part {
    pub fn of(events: impl IntoIterator<Item = Event>) -> Self {
        let mut part = Self {
            graph: Graph::new(),
            opened: Vec::new(),
        };
        part.add(events);
        part
    }

    /// More events, their parents before them.
    pub fn add(&mut self, events: impl IntoIterator<Item = Event>) {
        for event in events {
            self.opened.push(open(&event));
            self.graph.insert(event).unwrap();
        }
    }

    pub fn fold(&self) -> Fold {
        fold(&self.graph, &self.opened)
    }

    /// The verdicts by event.
    pub fn verdicts(&self) -> BTreeMap<EventId, Verdict> {
        by_id(&self.graph, &self.fold())
    }
}

pub fn by_id(graph: &Graph, fold: &Fold) -> BTreeMap<EventId, Verdict> {
    graph
        .indices()
        .map(|idx| (graph.event(idx).id(), fold.verdicts[idx.0 as usize].clone()))
        .collect()
}

pub fn open(event: &Event) -> Opened {
    if event.sealed().is_empty() {
        Opened::Nothing
    } else {
        Attributes::decode(event.act(), event.sealed()).map_or(Opened::Broken, Opened::Open)
    }
}

pub fn tcp(port: u16, audience: Audience) -> Offer {
    Offer {
        what: Service::Port {
            protocol: Protocol::Tcp,
            first: port,
            last: port,
        },
        name: None,
        audience,
        until: None,
    }
}

pub fn v4(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, n)
}
