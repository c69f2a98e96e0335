//! Two admins act in a split network; it heals to one state everywhere, with the reason for every void act.

use std::time::Duration;

use mesh_tests::lab::{Cut, Lab, Lan, Link, stays};

use crate::world::{Node, SOON, agree, create, invite, join, log, members, void_acts};

const SPLIT: Duration = Duration::from_secs(60);

#[test]
fn a_network_split_by_links_going_down_heals_to_one_state() {
    split(Cut::Down);
}

#[test]
fn a_network_split_by_silent_loss_heals_to_one_state() {
    split(Cut::Silent);
}

fn split(how: Cut) {
    let lab = Lab::new(&format!("split {how:?}"));
    let (left, right) = (
        lab.lan("left", [192, 168, 7]),
        lab.lan("right", [192, 168, 7]),
    );
    let trunk: Link = left.join(&right);
    let node = |name: &str, lan: &Lan, last: u8| {
        let host = lab.host(name);
        lan.plug(&host, last);
        Node::new(host)
    };
    let (a, b) = (node("alice", &left, 1), node("bob", &left, 2));
    let (c, d) = (node("carol", &right, 3), node("dave", &right, 4));
    create(&a);
    for joiner in [&b, &c, &d] {
        join(joiner, &invite(&a, &[]));
    }
    let _ = a.mesh(&["admin", "grant", "carol"]).ok();
    agree(&[&a, &b, &c, &d], SOON);

    trunk.cut(how);
    // The senior admin takes the junior's rank away; the junior, who cannot know, goes on in hers.
    let _ = a.mesh(&["admin", "revoke", "carol"]).ok();
    let _ = a.mesh(&["share", "80/tcp", "--to", "all"]).ok();
    let _ = c.mesh(&["admin", "grant", "dave"]).ok();
    let _ = c
        .mesh(&["kick", "bob", "--reason", "meanwhile, on the other side"])
        .ok();
    let _ = d.mesh(&["share", "443/tcp", "--to", "all"]).ok();
    let _ = invite(&d, &[]);
    let _ = c.mesh(&["share", "22/tcp", "--to", "all"]).ok();
    stays(SPLIT, "the two sides do not hear each other", || {
        let apart = crate::world::state_hash(&a) != crate::world::state_hash(&c);
        apart && members(&a).contains("bob") && !members(&c).contains("bob")
    });
    agree(&[&a, &b], SOON);
    agree(&[&c, &d], SOON);

    trunk.heal();
    let took = agree(&[&a, &b, &c, &d], SOON);
    println!("healed {how:?} in {took:?}");
    let void = void_acts(&a);
    for node in [&b, &c, &d] {
        assert_eq!(void_acts(node), void, "void acts on {}", node.name());
        assert_eq!(log(node), log(&a), "the log on {}", node.name());
    }
    // The grant, the kick and the invite of those who had lost or never had the rank; not the offers.
    assert!(
        void.len() >= 3 && void.iter().all(|(_, reason)| !reason.is_empty()),
        "{void:?}"
    );
    assert!(members(&c).contains("bob"), "a void kick removes nobody");
    let shared: Vec<_> = log(&a)
        .into_iter()
        .filter(|entry| entry.text.contains("/tcp"))
        .collect();
    assert!(
        shared.len() == 3 && shared.iter().all(|entry| entry.void.is_none()),
        "{shared:?}"
    );
    b.reaches(d.addresses().0, SOON);
    c.reaches(a.addresses().0, SOON);
}
