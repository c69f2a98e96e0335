//! After a removal, events are sealed under a key that the removed one has not.

use std::time::{SystemTime, UNIX_EPOCH};

use mesh_ledger::cut::{Since, cut};
use mesh_ledger::epoch::KeyRing;
use mesh_ledger::event::act::{Remove, Target};
use mesh_ledger::event::attributes::Opened;
use mesh_ledger::event::{Act, Event};
use mesh_ledger::ids::{BoxKey, EpochId, UserId};
use mesh_ledger::keys::{BoxSecret, DeviceSecret};
use mesh_ledger::network::Ledger;
use mesh_ledger::seal;
use mesh_ledger::store::Store;
use mesh_ledger::store::sqlite::SqliteStore;
use mesh_tests::lab::{Cut, Host, Lab, eventually};

use crate::device::{link, mesh_of_devices};
use crate::world::{
    LONG, Mesh, Node, SOON, agree, create, database, invite, join, log, members, text,
};

#[test]
fn what_follows_a_kick_is_sealed_to_those_who_stay_also_if_they_were_off() {
    let mut mesh = Mesh::new("rotation", &["alice", "bob", "carol"]);
    let keys = box_keys(&mesh.nodes[0]);
    assert_eq!(keys.len(), 3, "{keys:?}");
    mesh.nodes[1].stop();
    let [alice, bob, _] = &mut mesh.nodes[..] else {
        unreachable!()
    };
    let _ = alice.mesh(&["kick", "carol"]).ok();
    eventually(SOON, "alice changes the key", || rotation(alice).is_some());
    let (epoch, boxes) = rotation(alice).unwrap();
    let has_box = |key: &BoxKey| boxes.iter().any(|to| *to == key.0[..8]);
    assert_eq!(
        keys.iter().map(has_box).collect::<Vec<_>>(),
        [true, true, false],
        "boxes for alice and bob, none for carol"
    );

    let _ = alice.mesh(&["share", "8080/tcp", "--to", "all"]).ok();
    let last = events(alice).pop().unwrap();
    assert_eq!(last.header().epoch, epoch, "the offer is under the new key");

    // Who was off finds the key in a box of the rotation, and reads on; so does a new member, all that was before too.
    bob.start();
    eventually(LONG, "bob reads the offer", || {
        let offers = bob.mesh_json(&["offers"]);
        offers["offers"][0]["what"]["ports"]["first"] == 8080
    });
    let dave = mesh.lab.host("dave");
    mesh.lan.plug(&dave, 77);
    let dave = crate::world::Node::new(dave);
    join(&dave, &invite(alice, &[]));
    agree(&[alice, bob, &dave], SOON);
    assert!(members(&dave).contains("bob"));
    assert!(log(&dave).iter().any(|entry| entry.text.contains("8080")));

    let rotations = |host: &Host| {
        let all = events(host);
        all.iter()
            .filter(|event| matches!(event.act(), Act::EpochRotate(_)))
            .count()
    };
    assert_eq!(rotations(bob), 1, "one answer to one removal is enough");
}

#[test]
fn after_a_leave_one_of_those_who_stay_changes_the_key() {
    let mesh = Mesh::new("rotation leave", &["alice", "bob", "carol"]);
    let [alice, bob, carol] = &mesh.nodes[..] else {
        unreachable!()
    };
    let keys = box_keys(alice);
    let _ = carol.mesh(&["leave", "home"]).ok();
    eventually(LONG, "the key changes", || {
        rotation(alice).is_some() && rotation(bob).is_some()
    });
    let (epoch, boxes) = rotation(alice).unwrap();
    let has_box = |key: &BoxKey| boxes.iter().any(|to| *to == key.0[..8]);
    assert_eq!(
        keys.iter().map(has_box).collect::<Vec<_>>(),
        [true, true, false],
        "who left gets none"
    );
    let _ = bob.mesh(&["share", "8080/tcp"]).ok();
    agree(&[alice, bob], SOON);
    let last = events(alice).pop().unwrap();
    assert_eq!(last.header().epoch, epoch, "the offer is under the new key");
}

#[test]
fn what_follows_the_removal_of_a_device_opens_with_nothing_that_the_device_has() {
    let mesh = Mesh::apart("rotation device", &["alice", "laptop", "bob"]);
    let [alice, laptop, bob] = &mesh.nodes[..] else {
        unreachable!()
    };
    create(alice);
    join(bob, &invite(alice, &[]));
    let _ = link(alice, laptop, &[]);
    mesh_of_devices(&[alice, laptop, bob], 3);
    let _ = alice.mesh(&["share", "22/tcp", "--to", "all"]).ok();
    agree(&[alice, laptop, bob], SOON);
    let before = events(alice).pop().unwrap();

    let _ = alice.mesh(&["device", "remove", "laptop"]).ok();
    eventually(SOON, "the key changes", || rotation(alice).is_some());
    let _ = alice.mesh(&["share", "8080/tcp", "--to", "all"]).ok();
    agree(&[alice, bob], SOON);
    let all = events(alice);
    let after = all.last().unwrap();
    assert_eq!(after.header().epoch, rotation(alice).unwrap().0);
    // Whoever removed it or is still there reads it; the laptop does not, though somebody carry every event to it.
    for (host, reads) in [(alice, true), (bob, true), (laptop, false)] {
        let ring = all_keys(host, &all);
        let opens = |event: &Event| matches!(seal::open(event, &ring), Opened::Open(_));
        assert!(opens(&before), "{} reads what was before", host.name());
        assert_eq!(opens(after), reads, "{}", host.name());
    }
}

#[test]
fn a_rotation_that_a_crash_prevented_is_made_after_it() {
    let mut mesh = Mesh::new("rotation crash", &["alice", "mallory"]);
    let trent = mesh.lab.host("trent");
    mesh.lan.plug(&trent, 3);
    let mut trent = Node::new(trent);
    let [alice, mallory] = &mut mesh.nodes[..] else {
        unreachable!()
    };
    let _ = alice.mesh(&["admin", "grant", "mallory"]).ok();
    eventually(SOON, "mallory is an admin", || {
        mallory.mesh_json(&["networks"])["networks"][0]["rank"] == "admin"
    });
    join(&trent, &invite(mallory, &[]));
    agree(&[alice, mallory, &trent], SOON);
    let user = user(mallory);
    let boxes_of = |host: &Host| all_rotations(host).last().unwrap().1.len();
    // Nobody else is there to do it.
    trent.stop();
    mallory.stop();

    // Her term ends from her invite on, so trent's admission is void, and no removal names him.
    alice.kill9();
    end_term_since_invite(alice, user);
    assert_eq!(all_rotations(alice).len(), 0);
    alice.start();
    assert_eq!(members(alice).len(), 2, "trent is out");
    eventually(SOON, "the key changes", || all_rotations(alice).len() == 1);
    assert_eq!(boxes_of(alice), 2, "for alice and mallory");

    alice.kill9();
    as_killed(alice, |_| remove(Target::User(user), None));
    alice.start();
    eventually(SOON, "the key changes", || all_rotations(alice).len() == 2);
    assert_eq!(boxes_of(alice), 1, "for alice alone");
    // Once is enough: the next start writes no other.
    alice.kill9();
    alice.start();
    let _ = alice.mesh(&["share", "22/tcp", "--to", "all"]).ok();
    assert_eq!(all_rotations(alice).len(), 2);
}

#[test]
fn a_device_that_a_rotation_did_not_know_asks_a_member_for_the_key() {
    let lab = Lab::new("key wanted");
    let (left, right) = (
        lab.lan("left", [192, 168, 7]),
        lab.lan("right", [192, 168, 7]),
    );
    let trunk = left.join(&right);
    let node = |name: &str, lan: &mesh_tests::lab::Lan, last: u8| {
        let host = lab.host(name);
        lan.plug(&host, last);
        Node::new(host)
    };
    let (alice, mallory) = (node("alice", &left, 1), node("mallory", &left, 2));
    let (bob, carol) = (node("bob", &right, 3), node("carol", &right, 4));
    create(&alice);
    join(&mallory, &invite(&alice, &[]));
    join(&bob, &invite(&alice, &[]));
    let ticket = invite(&alice, &[]);
    agree(&[&alice, &mallory, &bob], LONG);

    // In one half somebody is kicked and the key changes; in the other somebody joins, of whom the first half knows nothing.
    trunk.cut(Cut::Silent);
    join(&carol, &ticket);
    let _ = alice.mesh(&["kick", "mallory", "--keep-invites"]).ok();
    eventually(SOON, "alice changes the key", || rotation(&alice).is_some());
    let _ = alice.mesh(&["share", "8080/tcp", "--to", "all"]).ok();
    let (epoch, boxes) = rotation(&alice).unwrap();
    let carols = box_secret(&carol).public();
    assert!(!boxes.iter().any(|to| *to == carols.0[..8]));
    trunk.heal();
    agree(&[&alice, &bob, &carol], LONG);
    let shared = carol.mesh_json(&["offers"]);
    assert_eq!(
        shared["offers"][0]["what"]["ports"]["first"], 8080,
        "{shared}"
    );
    // From a member and not from an event: none holds a box for her.
    assert_eq!(all_rotations(&carol).len(), 1);
    let mut ring = KeyRing::new();
    ring.learn(events(&carol).into_iter(), Some(&box_secret(&carol)));
    assert!(ring.get(&epoch).is_none());
    let _ = carol.mesh(&["share", "22/tcp", "--to", "all"]).ok();
    let last = events(&carol).pop().unwrap();
    assert_eq!(last.header().epoch, epoch, "she writes under it herself");
}

/// Has a host whose daemon was killed end the term of an admin, from that one's last invite on.
pub(crate) fn end_term_since_invite(host: &Host, user: UserId) {
    as_killed(host, |ledger| {
        let of = |kind: &str| {
            let all = ledger.graph().indices();
            let mut all = all.map(|idx| ledger.graph().event(idx));
            all.rfind(|event| event.act().kind() == kind).unwrap().id()
        };
        let since = Since::Event(of("invite"));
        let heads = cut(ledger.graph(), &user, Some(&since)).unwrap().heads;
        let grant = of("grant");
        remove(Target::Term { user, grant }, Some(heads))
    });
}

/// The key of a host's user, as its daemon tells it.
pub(crate) fn user(host: &Host) -> UserId {
    let shown = host.mesh_json(&["id", "show"]);
    text(&shown, "user").parse().unwrap()
}

/// Writes a removal into the store of a daemon that was killed, as it lies there when the kill comes before what follows.
fn as_killed(host: &Host, removal: impl FnOnce(&Ledger<SqliteStore>) -> Act) {
    let store = SqliteStore::open(&database(host)).unwrap();
    let mut ledger = Ledger::open(store, box_secret(host)).unwrap();
    let device = DeviceSecret::from_seed(&key(host, "device.key"));
    let removal = removal(&ledger);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let now = u64::try_from(now.as_millis()).unwrap();
    ledger.author(&device, removal, None, now).unwrap();
}

fn remove(target: Target, cut: Option<Vec<mesh_ledger::ids::EventId>>) -> Act {
    Act::Remove(Remove {
        target,
        cut,
        closes: Vec::new(),
        by_user: None,
    })
}

fn key(host: &Host, name: &str) -> [u8; 32] {
    let path = host.dir().join("var/lib/mesh/identity").join(name);
    std::fs::read(path).unwrap().try_into().unwrap()
}

pub(crate) fn box_secret(host: &Host) -> BoxSecret {
    BoxSecret::from_seed(&key(host, "box.key"))
}

/// The keys that a host has stored, and those that it can take from these events.
fn all_keys(host: &Host, events: &[Event]) -> KeyRing {
    let store = SqliteStore::open_to_read(&database(host)).unwrap();
    let mut ring = KeyRing::new();
    for key in store.epoch_keys().unwrap() {
        ring.insert(key);
    }
    ring.learn(events.iter().cloned(), Some(&box_secret(host)));
    ring
}

/// The epoch of the rotation there is, and whom it has boxes for.
fn rotation(host: &Host) -> Option<(EpochId, Vec<[u8; 8]>)> {
    all_rotations(host).into_iter().next()
}

/// Those of all rotations, the first in front.
fn all_rotations(host: &Host) -> Vec<(EpochId, Vec<[u8; 8]>)> {
    let boxes = |event: &Event| match event.act() {
        Act::EpochRotate(act) => Some((act.epoch, act.boxes.iter().map(|one| one.to).collect())),
        _ => None,
    };
    events(host).iter().filter_map(boxes).collect()
}

/// The box keys of those who were admitted, in that order.
fn box_keys(host: &Host) -> Vec<BoxKey> {
    let key = |event: &Event| match event.act() {
        Act::Genesis(act) => Some(act.box_key),
        Act::Admit(act) => Some(act.box_key),
        _ => None,
    };
    events(host).iter().filter_map(key).collect()
}

/// All events, parents first.
fn events(host: &Host) -> Vec<Event> {
    let store = SqliteStore::open_to_read(&database(host)).unwrap();
    let rows = store.rows().unwrap();
    let mut events: Vec<Event> = rows
        .iter()
        .map(|row| Event::decode(&row.bytes).unwrap())
        .collect();
    events.sort_by_key(|event| event.header().lamport);
    events
}
