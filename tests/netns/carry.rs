//! Networks carried in files, between machines that no cable joins; and proofs for those outside.

use std::path::{Path, PathBuf};

use mesh_tests::lab::{Host, Lab, Output};

use crate::world::{
    LONG, Mesh, Node, SOON, addresses, agree, create, invite, join, log, members, state_hash,
};

/// A file in a host's folder.
fn file(host: &Host, name: &str) -> PathBuf {
    host.dir().join(name)
}

/// Carries a file from one machine to another, as a person does.
fn carry(from: &Host, to: &Host, name: &str) {
    std::fs::copy(file(from, name), file(to, name)).unwrap();
}

/// `mesh` with a file of this host as its last word.
fn with_file(host: &Host, words: &[&str], name: &str) -> Output {
    let path = file(host, name);
    host.mesh(&[words, &[path.to_str().unwrap()]].concat())
}

fn network_id(host: &Host) -> String {
    host.mesh_json(&["networks"])["networks"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// The heads as the log tells them: the events that no other follows.
fn ids(host: &Host) -> Vec<String> {
    let mut ids: Vec<_> = log(host).into_iter().map(|entry| entry.id).collect();
    ids.sort();
    ids
}

#[test]
fn a_machine_without_any_link_joins_by_three_files_and_meets_the_others_by_a_cable_later() {
    let lab = Lab::new("sneakernet");
    let (alice, bob) = (Node::new(lab.host("alice")), Node::new(lab.host("bob")));
    create(&alice);
    let _ = with_file(&alice, &["invite", "--out"], "invite").ok();
    carry(&alice, &bob, "invite");

    // Nobody is reached, and it says what to do instead.
    let path = file(&bob, "invite");
    let path = path.to_str().unwrap();
    let failed = bob.mesh(&["join", path, "--as", "bob", "--wait", "1s"]);
    assert_eq!(failed.code, Some(7), "{failed}");
    assert!(failed.stderr.contains("--request"), "{failed}");
    let _ = with_file(&bob, &["join", path, "--as", "bob", "--request"], "request").ok();
    carry(&bob, &alice, "request");

    let request = file(&alice, "request");
    let accept = ["invite", "accept", request.to_str().unwrap(), "--out"];
    let accepted = with_file(&alice, &accept, "answer").ok();
    assert!(accepted.stdout.contains("bob"), "{accepted}");
    // Where it is not meant for, and before it is back, it lets nobody in.
    let stranger = Node::new(lab.host("mallory"));
    carry(&alice, &stranger, "answer");
    let refused = with_file(&stranger, &["join"], "answer");
    assert_eq!(refused.code, Some(5), "{refused}");
    // The daemon that asked may have ended meanwhile.
    let mut bob = bob;
    bob.stop();
    bob.start();
    carry(&alice, &bob, "answer");
    let _ = with_file(&bob, &["join"], "answer").ok();

    assert_eq!(members(&bob), members(&alice));
    assert_eq!(state_hash(&bob), state_hash(&alice));
    let _ = bob.mesh(&["log", "verify"]).ok();
    assert!(
        !bob.dir()
            .join(format!("var/lib/mesh/networks/{}/ticket", network_id(&bob)))
            .exists(),
        "a ticket that served is not kept"
    );
    // A used ticket lets nobody else in, whichever way it is carried.
    carry(&alice, &stranger, "invite");
    let path = file(&stranger, "invite");
    let join = [
        "join",
        path.to_str().unwrap(),
        "--as",
        "mallory",
        "--request",
    ];
    let _ = with_file(&stranger, &join, "request").ok();
    std::fs::rename(file(&stranger, "request"), file(&alice, "another")).unwrap();
    let another = file(&alice, "another");
    let accept = ["invite", "accept", another.to_str().unwrap(), "--out"];
    let refused = with_file(&alice, &accept, "nothing");
    assert_eq!(refused.code, Some(6), "{refused}");

    let lan = lab.lan("lan", [192, 168, 7]);
    lan.plug(&alice, 1);
    lan.plug(&bob, 2);
    let _ = alice.mesh(&["share", "80/tcp", "--to", "bob"]).ok();
    alice.reaches(addresses(&bob).0, LONG);
    agree(&[&alice, &bob], SOON);
}

#[test]
fn a_split_network_agrees_by_files_alone_and_a_damaged_one_is_named() {
    let mesh = Mesh::apart("carried events", &["alice"]);
    let (lab, alice) = (&mesh.lab, &mesh.nodes[0]);
    let host = lab.host("bob");
    let cable = mesh.lan.plug(&host, 2);
    let bob = Node::new(host);
    create(alice);
    join(&bob, &invite(alice, &[]));
    agree(&[alice, &bob], SOON);

    cable.cut(mesh_tests::lab::Cut::Down);
    let before = alice.mesh_json(&["log"])["entries"]
        .as_array()
        .unwrap()
        .len();
    for port in 1..=9 {
        let _ = alice.mesh(&["share", &format!("{port}/tcp")]).ok();
        let _ = bob.mesh(&["share", &format!("{}/udp", port + 20)]).ok();
    }
    assert_ne!(ids(alice), ids(&bob));

    let exported = with_file(alice, &["sync", "export"], "whole").ok();
    assert!(exported.stdout.contains("events written"), "{exported}");
    carry(alice, &bob, "whole");
    let whole = std::fs::read(file(&bob, "whole")).unwrap();

    // One byte of the last event but some, and the end.
    let mut bad = whole.clone();
    let at = bad.len() - 1500;
    bad[at] ^= 1;
    bad.truncate(bad.len() - 10);
    std::fs::write(file(&bob, "bad"), bad).unwrap();
    let checked = with_file(&bob, &["log", "verify"], "bad");
    assert_eq!(checked.code, Some(8), "{checked}");
    let merged = with_file(&bob, &["sync", "import"], "bad");
    assert_eq!(merged.code, Some(8), "{merged}");
    let missing: Vec<String> = ids(alice)
        .into_iter()
        .filter(|id| !ids(&bob).contains(id))
        .collect();
    assert!(
        !missing.is_empty() && missing.len() < 9,
        "what is whole was taken: {merged}"
    );
    assert!(
        missing.iter().any(|id| merged.stdout.contains(&id[..8])),
        "the damaged event is named: {merged}"
    );

    // The whole file, twice; and back, only what is new.
    for _ in 0..2 {
        let _ = with_file(&bob, &["sync", "import"], "whole").ok();
    }
    let known = log(alice)[before - 1].id.clone();
    let delta = ["sync", "export", "--since", &known[..]];
    let _ = with_file(&bob, &delta, "delta").ok();
    carry(&bob, alice, "delta");
    let _ = with_file(alice, &["sync", "import"], "delta").ok();
    assert_eq!(ids(alice), ids(&bob));
    assert_eq!(state_hash(alice), state_hash(&bob));

    // The file is read without a daemon, and without a key.
    let outside = lab.host("carol");
    carry(&bob, &outside, "whole");
    let _ = with_file(&outside, &["log", "verify"], "whole").ok();
    let shown = with_file(&outside, &["log"], "whole").ok();
    assert!(shown.stdout.contains("creates the network"), "{shown}");
    for name in ["alice", "bob", "home"] {
        assert!(!shown.stdout.contains(name), "sealed: {shown}");
        let bytes = whole
            .windows(name.len())
            .any(|bytes| bytes == name.as_bytes());
        assert!(!bytes, "{name} stands in the file in the clear");
    }
}

#[test]
fn a_third_machine_checks_a_proof_with_nothing_but_the_networks_id() {
    let mesh = Mesh::new("proofs", &["alice", "bob"]);
    let [alice, bob] = &mesh.nodes[..] else {
        unreachable!()
    };
    // Beside the point, so a chain leaves it out.
    for port in ["80/tcp", "81/tcp"] {
        let _ = bob.mesh(&["share", port]).ok();
    }
    mesh.agree(SOON);
    let _ = alice.mesh(&["admin", "grant", "bob"]).ok();
    mesh.agree(SOON);
    let outside = mesh.lab.host("carol");
    let id = network_id(alice);
    let verify = |name: &str, id: &str| {
        carry(bob, &outside, name);
        let path: &Path = &file(&outside, name);
        outside.mesh(&[
            "verify-proof",
            path.to_str().unwrap(),
            "--network",
            id,
            "--json",
        ])
    };
    for (words, name, claim, whole) in [
        (
            &["prove", "member", "bob", "--out"][..],
            "member",
            "member",
            true,
        ),
        (&["prove", "admin", "bob", "--out"], "admin", "admin", false),
        (
            &["prove", "admin", "bob", "--all", "--out"],
            "all",
            "admin",
            true,
        ),
        (
            &["prove", "member", "alice", "--out"],
            "founder",
            "member",
            true,
        ),
    ] {
        let _ = with_file(bob, words, name).ok();
        let proven = verify(name, &id).ok();
        let proven: serde_json::Value = serde_json::from_str(&proven.stdout).unwrap();
        assert_eq!(proven["claim"], claim, "{name}");
        assert_eq!(proven["whole"], whole, "{name}");
        assert_eq!(proven["network"], id);
    }
    let foreign = "7".repeat(64);
    assert_eq!(verify("admin", &foreign).code, Some(8));
    let mut bytes = std::fs::read(file(bob, "admin")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(file(bob, "forged"), bytes).unwrap();
    assert_eq!(verify("forged", &id).code, Some(8));

    // Who is no admin any more has an old proof, and no new one by everything that alice knows.
    let _ = alice.mesh(&["admin", "revoke", "bob"]).ok();
    mesh.agree(SOON);
    let none = with_file(alice, &["prove", "admin", "bob", "--all", "--out"], "none");
    assert_eq!(none.code, Some(5), "{none}");
    let old = verify("admin", &id).ok();
    assert!(old.stdout.contains("\"whole\":false"), "{old}");
}

#[test]
fn an_invite_in_a_file_names_members_that_no_lan_discovery_finds_while_its_maker_is_off() {
    let mut mesh = Mesh::new("invite file", &["alice", "bob"]);
    let carol = mesh.lab.host("carol");
    mesh.lan.plug(&carol, 9);
    // What announces members on the LAN does not reach her.
    let rules = "table inet quiet {\nchain input {\ntype filter hook input priority 0\nudp dport 5353 drop\n}\n}\n";
    let _ = carol.run_with("nft", &["-f", "-"], rules, LONG).ok();
    let carol = Node::new(carol);
    let [alice, _] = &mut mesh.nodes[..] else {
        unreachable!()
    };
    let _ = alice.mesh(&["share", "22/tcp", "--to", "all"]).ok();
    let _ = with_file(alice, &["invite", "--out"], "invite").ok();
    carry(alice, &carol, "invite");
    let named = with_file(&carol, &["invite", "inspect"], "invite").ok();
    mesh.agree(SOON);
    mesh.nodes[0].stop();

    let joined = carol.mesh(&[
        "join",
        file(&carol, "invite").to_str().unwrap(),
        "--as",
        "carol",
    ]);
    let joined = joined.ok();
    assert!(
        joined.stdout.contains("bob"),
        "bob let her in: {joined}; {named}"
    );
    let bob = &mesh.nodes[1];
    agree(&[bob, &carol], SOON);
    carol.reaches(addresses(bob).0, SOON);
    // Once: the next who comes with a copy of the file is told so.
    let dave = mesh.lab.host("dave");
    mesh.lan.plug(&dave, 10);
    let dave = Node::new(dave);
    carry(&carol, &dave, "invite");
    let path = file(&dave, "invite");
    let refused = dave.mesh(&["join", path.to_str().unwrap(), "--as", "dave"]);
    assert_eq!(refused.code, Some(6), "{refused}");
    mesh.nodes[0].start();
    agree(&[&mesh.nodes[0], &mesh.nodes[1], &carol], LONG);
}
