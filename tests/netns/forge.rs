//! A member who holds keys and means ill: events no daemon would write have no effect anywhere.

use std::collections::BTreeSet;

use mesh_ledger::event::attributes::{Audience, Offer, Protocol, Service, Write};
use mesh_ledger::event::{Act, Attributes, Event, Header};
use mesh_ledger::ids::{DeviceId, EpochId, EventId, NetworkId};
use mesh_ledger::keys::DeviceSecret;
use mesh_ledger::seal;
use mesh_ledger::store::{Store, sqlite::SqliteStore};
use mesh_tests::lab::{Host, eventually};

use crate::tongue::device_key;
use crate::world::{LONG, Mesh, SOON, agree, database, log, members, text};

#[test]
fn an_offer_that_alice_signs_for_bobs_device_opens_nothing() {
    let mut mesh = Mesh::new("offer for another", &["alice", "bob", "carol"]);
    let bobs = device(&mesh.nodes[1]);
    let _service = mesh.nodes[1].echo_tcp(9090);
    mesh.nodes[0].stop();
    let mut store = open(&mesh.nodes[0]);
    let heads = heads(&events(&store));
    let forged = Forgery::new(&mesh.nodes[0], Act::Private)
        .writes(vec![open_port(bobs, 9090)])
        .after(heads)
        .put_into(&mut store);
    drop(store);
    mesh.nodes[0].start();

    let [alice, bob, carol] = &mesh.nodes[..] else {
        unreachable!()
    };
    for host in [alice, bob, carol] {
        eventually(LONG, "the forged event arrives and is void", || {
            is_void(host, &forged)
        });
    }
    let to_bob = bob.addresses().0;
    for host in [alice, carol] {
        host.reaches(to_bob, SOON);
        assert!(
            host.connect((to_bob, 9090).into(), SOON).is_err(),
            "a port was opened by another's signature"
        );
        assert_eq!(
            host.mesh_json(&["offers"])["offers"]
                .as_array()
                .map(Vec::len),
            Some(0)
        );
    }
    mesh.agree(SOON);
}

#[test]
fn what_a_kicked_key_signs_later_or_backdates_is_void_everywhere() {
    let mut mesh = Mesh::new("backdated", &["alice", "bob", "carol"]);
    let carols = device(&mesh.nodes[2]);
    mesh.nodes[2].stop();
    let before_the_kick = heads(&events(&open(&mesh.nodes[2])));
    let _ = mesh.nodes[0]
        .mesh(&["kick", "carol", "--reason", "key stolen"])
        .ok();
    eventually(SOON, "bob knows", || {
        !members(&mesh.nodes[1]).contains("carol")
    });

    // An accomplice takes them in, for no peer would take them from carol: one event made in ignorance of the kick, and
    // claiming an hour before it; and one on top of everything.
    mesh.nodes[1].stop();
    let mut store = open(&mesh.nodes[1]);
    let backdated = Forgery::new(&mesh.nodes[2], Act::Private)
        .writes(vec![open_port(carols, 22)])
        .after(before_the_kick)
        .hours_ago(1)
        .put_into(&mut store);
    let everything = heads(&events(&store));
    let later = Forgery::new(&mesh.nodes[2], Act::Private)
        .writes(vec![open_port(carols, 23)])
        .after(everything)
        .put_into(&mut store);
    drop(store);
    mesh.nodes[1].start();

    let [alice, bob, _] = &mesh.nodes[..] else {
        unreachable!()
    };
    for host in [alice, bob] {
        eventually(LONG, "the forged events arrive and are void", || {
            is_void(host, &backdated) && is_void(host, &later)
        });
        assert!(!members(host).contains("carol"));
        let offers = host.mesh_json(&["offers"])["offers"].clone();
        assert_eq!(offers.as_array().map(Vec::len), Some(0), "{offers}");
    }
    agree(&[alice, bob], SOON);
    for host in [alice, bob] {
        let _ = host.mesh(&["log", "verify"]).ok();
    }
}

/// An event in the making, signed with a host's own keys.
struct Forgery {
    device: DeviceSecret,
    act: Act,
    attributes: Option<Attributes>,
    parents: BTreeSet<EventId>,
    hours_ago: u64,
}

impl Forgery {
    fn new(host: &Host, act: Act) -> Self {
        Self {
            device: device_key(host),
            act,
            attributes: None,
            parents: BTreeSet::new(),
            hours_ago: 0,
        }
    }

    fn writes(mut self, writes: Vec<Write>) -> Self {
        self.attributes = Some(Attributes::Writes(writes));
        self
    }

    fn after(mut self, parents: BTreeSet<EventId>) -> Self {
        self.parents = parents;
        self
    }

    fn hours_ago(mut self, hours: u64) -> Self {
        self.hours_ago = hours;
        self
    }

    /// Signs it, well-formed in every way, and puts it into a stopped daemon's store, past its gate.
    fn put_into(self, store: &mut SqliteStore) -> String {
        let known = events(store);
        let author = self.device.public();
        let own = known
            .iter()
            .filter(|event| event.author() == author)
            .max_by_key(|event| event.header().seq);
        let lamport = known
            .iter()
            .filter(|event| self.parents.contains(&event.id()))
            .map(|event| event.header().lamport);
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_millis();
        let header = Header {
            network: network(store),
            author,
            seq: 1 + own.map_or(0, |event| event.header().seq),
            lamport: 1 + lamport.max().unwrap(),
            time: u64::try_from(now).unwrap() - self.hours_ago * 3_600_000,
            epoch: EpochId::NONE,
            parents: self.parents.into_iter().collect(),
        };
        let key = store.epoch_keys().unwrap().pop().unwrap();
        let attributes = self
            .attributes
            .as_ref()
            .map(|attributes| (attributes, &key));
        let event = seal::sign(header, &self.act, attributes, &self.device).unwrap();
        store.append(std::slice::from_ref(&event)).unwrap();
        event.id().to_string()
    }
}

fn open_port(device: DeviceId, port: u16) -> Write {
    let what = Service::Port {
        protocol: Protocol::Tcp,
        first: port,
        last: port,
    };
    let offer = Offer {
        what,
        name: None,
        audience: Audience::Everyone,
        until: None,
    };
    Write::Offer {
        device,
        slot: 900,
        offer: Some(offer),
    }
}

fn device(host: &Host) -> DeviceId {
    text(&host.mesh_json(&["id", "show"]), "device")
        .parse()
        .unwrap()
}

fn open(host: &Host) -> SqliteStore {
    SqliteStore::open(&database(host)).unwrap()
}

fn network(store: &SqliteStore) -> NetworkId {
    store.network().unwrap().unwrap()
}

fn events(store: &SqliteStore) -> Vec<Event> {
    store
        .rows()
        .unwrap()
        .iter()
        .map(|row| Event::decode(&row.bytes).unwrap())
        .collect()
}

/// The events that no other follows.
fn heads(events: &[Event]) -> BTreeSet<EventId> {
    let followed: BTreeSet<_> = events
        .iter()
        .flat_map(|event| event.header().parents.clone())
        .collect();
    events
        .iter()
        .map(Event::id)
        .filter(|id| !followed.contains(id))
        .collect()
}

fn is_void(host: &Host, id: &str) -> bool {
    let entry = log(host).into_iter().find(|entry| entry.id == id);
    entry.is_some_and(|entry| entry.void.is_some_and(|reason| !reason.is_empty()))
}
