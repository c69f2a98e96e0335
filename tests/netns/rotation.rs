//! After a removal, events are sealed under a key that the removed one has not.

use mesh_ledger::event::{Act, Event};
use mesh_ledger::ids::{BoxKey, EpochId};
use mesh_ledger::store::Store;
use mesh_ledger::store::sqlite::SqliteStore;
use mesh_tests::lab::{Host, eventually};

use crate::world::{LONG, Mesh, SOON, agree, database, invite, join, log, members};

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
        offers["offers"][0]["ports"]["first"] == 8080
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

/// The epoch of the rotation there is, and whom it has boxes for.
fn rotation(host: &Host) -> Option<(EpochId, Vec<[u8; 8]>)> {
    events(host).iter().find_map(|event| match event.act() {
        Act::EpochRotate(act) => Some((act.epoch, act.boxes.iter().map(|one| one.to).collect())),
        _ => None,
    })
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
