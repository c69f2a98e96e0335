//! A kick holds at every peer within seconds, against whatever the kicked member does.

use std::time::{Duration, Instant};

use mesh_tests::lab::{Cut, eventually, stays};

use crate::world::{LONG, Mesh, SOON, agree, invite, join, log, members};

#[test]
fn a_kicked_member_is_cut_off_by_every_peer_and_its_old_ticket_is_worthless() {
    let mesh = Mesh::apart("kick", &["alice", "bob", "carol"]);
    let [alice, bob, carol] = &mesh.nodes[..] else {
        unreachable!()
    };
    crate::world::create(alice);
    join(bob, &invite(alice, &[]));
    // Good for more machines than used it.
    let ticket = invite(alice, &["--uses", "5"]);
    join(carol, &ticket);
    mesh.all_know(3);
    let (to_alice, to_bob, to_carol) =
        (alice.addresses().0, bob.addresses().0, carol.addresses().0);
    carol.reaches(to_alice, SOON);
    carol.reaches(to_bob, SOON);
    bob.reaches(to_carol, SOON);

    let kicked = Instant::now();
    let _ = alice
        .mesh(&["kick", "carol", "--reason", "key stolen"])
        .ok();
    eventually(SOON, "carol reaches nobody", || {
        !carol.ping(to_alice) && !carol.ping(to_bob)
    });
    eventually(SOON, "nobody reaches carol", || {
        !alice.ping(to_carol) && !bob.ping(to_carol)
    });
    assert!(
        kicked.elapsed() < Duration::from_secs(8),
        "the pings' own time limits included: {:?}",
        kicked.elapsed()
    );
    eventually(SOON, "all know", || {
        !members(alice).contains("carol") && !members(bob).contains("carol")
    });
    bob.reaches(to_alice, SOON);

    // What it signs from now on, on its own machine, has no effect anywhere else.
    let _ = carol.mesh(&["share", "22/tcp", "--to", "all"]);
    // The ticket with uses left: for the same machine, and for one that was never here.
    let again = carol.mesh(&["join", &ticket, "--as", "carol", "--wait", "10s"]);
    assert_ne!(
        again.code,
        Some(0),
        "a kicked member came back with its old ticket: {again}"
    );
    let stranger = mesh.lab.host("stranger");
    mesh.lan.plug(&stranger, 77);
    let _ = stranger
        .mesh(&["join", &ticket, "--as", "mallory", "--wait", "10s"])
        .exits(6);

    stays(Duration::from_secs(3), "carol stays out", || {
        !members(alice).contains("carol") && !members(bob).contains("carol") && !carol.ping(to_bob)
    });
    agree(&[alice, bob], SOON);
    for host in [alice, bob] {
        let counted = log(host)
            .into_iter()
            .filter(|entry| entry.by == "carol" && entry.void.is_none());
        let offers: Vec<_> = counted
            .filter(|entry| entry.text.contains("22/tcp"))
            .collect();
        assert!(
            offers.is_empty(),
            "an offer of a kicked member counts on {}: {offers:?}",
            host.name()
        );
    }
}

#[test]
fn an_admin_who_is_kicked_while_cut_off_acts_in_vain() {
    let mesh = Mesh::apart("kick of a cut off admin", &["alice", "bob", "dave"]);
    let carol = mesh.lab.host("carol");
    let cable = mesh.lan.plug(&carol, 9);
    let carol = crate::world::Node::new(carol);
    let [alice, bob, dave] = &mesh.nodes[..] else {
        unreachable!()
    };
    crate::world::create(alice);
    for node in [bob, dave, &carol] {
        join(node, &invite(alice, &[]));
    }
    let _ = alice.mesh(&["admin", "grant", "carol"]).ok();
    agree(&[alice, bob, dave, &carol], SOON);
    let to_alice = alice.addresses().0;

    cable.cut(Cut::Silent);
    let _ = alice
        .mesh(&["kick", "carol", "--reason", "laptop stolen"])
        .ok();
    // She does not know, so her own machine lets her.
    let _ = carol.mesh(&["kick", "bob"]).ok();
    let _ = carol.mesh(&["admin", "grant", "dave"]).ok();
    let stolen = invite(&carol, &["--uses", "9"]);
    cable.heal();
    // Until she hears of it her own machine would admit whoever holds that ticket, to no effect anywhere else.
    eventually(LONG, "carol learns that she was kicked", || {
        carol.mesh_json(&["networks"])["networks"][0]["member"] == false
    });

    let stranger = mesh.lab.host("stranger");
    mesh.lan.plug(&stranger, 77);
    let taken = stranger.mesh(&["join", &stolen, "--as", "mallory", "--wait", "10s"]);
    assert_ne!(
        taken.code,
        Some(0),
        "a kicked admin's invite let somebody in: {taken}"
    );
    stays(
        Duration::from_secs(5),
        "nothing of what carol did holds",
        || {
            let known = members(alice);
            known.contains("bob")
                && known.contains("dave")
                && !known.contains("carol")
                && !known.contains("mallory")
        },
    );
    agree(&[alice, bob, dave], SOON);
    assert!(!carol.ping(to_alice));
    bob.reaches(to_alice, SOON);
    let ranks = alice.mesh_json(&["admin", "ls"]).to_string();
    assert!(
        !ranks.contains("dave"),
        "a kicked admin's grant counts: {ranks}"
    );
    assert_ne!(
        dave.mesh(&["kick", "bob"]).code,
        Some(0),
        "dave acts as an admin"
    );
}
