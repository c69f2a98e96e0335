//! A stolen admin key undone by one command; the network in the hands of its next owner.

use std::time::{Duration, Instant};

use mesh_tests::lab::{Cut, Daemon, Lab, Lan, Link, eventually, stays};

use crate::world::{LONG, Mesh, Node, SOON, agree, create, invite, join, log, members, text};

#[test]
fn a_stolen_admin_keys_night_is_undone_by_one_command() {
    night(Split::No);
}

#[test]
fn a_stolen_admin_keys_night_is_undone_although_half_of_the_network_was_away() {
    night(Split::Yes);
}

enum Split {
    No,
    Yes,
}

fn night(split: Split) {
    let lab = Lab::new("stolen admin key");
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
    let (alice, bob) = (node("alice", &left, 1), node("bob", &left, 2));
    let (mallory, dave) = (node("mallory", &right, 3), node("dave", &right, 4));
    let (trent, erin) = (node("trent", &right, 5), node("erin", &right, 6));
    create(&alice);
    for joiner in [&bob, &mallory, &dave, &erin] {
        join(joiner, &invite(&alice, &[]));
    }
    let _ = alice.mesh(&["admin", "grant", "mallory"]).ok();
    // By day she lets somebody in who is to stay, and alice has an invite out.
    agree(&[&alice, &bob, &mallory, &dave, &erin], SOON);
    let frank = node("frank", &left, 7);
    join(&frank, &invite(&mallory, &[]));
    let promised = invite(&alice, &[]);
    let everybody = [&alice, &bob, &mallory, &dave, &erin, &frank];
    agree(&everybody, SOON);
    let (to_alice, to_bob, to_dave) = (alice.addresses().0, bob.addresses().0, dave.addresses().0);
    bob.reaches(to_dave, LONG);

    // The night: her key admits a stranger, makes an accomplice of him, kicks people and takes the invite back.
    if matches!(split, Split::Yes) {
        trunk.cut(Cut::Silent);
    }
    join(&trent, &invite(&mallory, &[]));
    let _ = mallory.mesh(&["admin", "grant", "trent"]).ok();
    eventually(SOON, "trent knows that he is an admin", || {
        trent.mesh_json(&["networks"])["networks"][0]["rank"] == "admin"
    });
    let _ = mallory.mesh(&["kick", "dave", "--yes"]).ok();
    let listed = mallory.mesh_json(&["invite", "ls"]);
    let open = listed["invites"].as_array().unwrap().iter();
    let open = open.filter(|invite| invite["state"] == "open" && invite["by"] == "alice");
    for invite in open {
        let id = text(&invite["event"], "id");
        let _ = mallory.mesh(&["invite", "revoke", &id]).ok();
    }
    eventually(SOON, "dave learns that he was kicked", || {
        dave.mesh_json(&["networks"])["networks"][0]["member"] == false
    });
    let _ = trent.mesh(&["kick", "erin", "--yes"]).ok();
    let to_trent = trent.addresses().0;
    // The first act of the night is her invite for the stranger.
    let theft = log(&mallory)
        .into_iter()
        .rfind(|entry| entry.by == "mallory" && entry.kind == "invite")
        .unwrap();
    if matches!(split, Split::Yes) {
        // Meanwhile the other half goes on, and knows of nothing.
        let _ = bob.mesh(&["share", "22/tcp", "--to", "all"]).ok();
        stays(Duration::from_secs(2), "dave is a member there", || {
            members(&bob).contains("dave")
        });
        trunk.heal();
    }
    agree(&[&alice, &bob, &mallory, &trent, &frank], LONG);
    assert!(!members(&bob).contains("dave") && !members(&bob).contains("erin"));
    bob.reaches(to_trent, LONG);

    // Shown first: nothing is written.
    let before = log(&alice).len();
    let since = &theft.id[..8];
    let shown = alice.mesh_json(&["admin", "revoke", "mallory", "--since", since, "--dry-run"]);
    assert_eq!(log(&alice).len(), before);
    let consequences = &shown["consequences"];
    assert_eq!(consequences["members_gone"], serde_json::json!(["trent"]));
    assert_eq!(
        consequences["members_back"],
        serde_json::json!(["dave", "erin"])
    );

    let undone = Instant::now();
    let said = alice
        .mesh(&["admin", "revoke", "mallory", "--since", since])
        .ok();
    assert!(said.stdout.contains("acts void"), "{said}");
    eventually(SOON, "the stranger is cut from the tunnels", || {
        !trent.ping(to_alice) && !trent.ping(to_bob) && !bob.ping(to_trent)
    });
    println!("the stranger was cut off {:?} after", undone.elapsed());
    let stay = ["alice", "bob", "dave", "erin", "frank", "mallory"];
    for node in everybody {
        eventually(LONG, &format!("{} knows who is in it", node.name()), || {
            members(node).iter().map(String::as_str).eq(stay)
        });
    }
    // Who was kicked is back without being asked, and they reach each other.
    dave.reaches(to_bob, LONG);
    bob.reaches(to_dave, SOON);
    erin.reaches(to_dave, LONG);
    println!(
        "those who were kicked were back {:?} after",
        undone.elapsed()
    );
    agree(&everybody, LONG);
    let void: Vec<_> = log(&alice)
        .into_iter()
        .filter(|entry| entry.void.is_some())
        .collect();
    for node in everybody {
        assert_eq!(log(node), log(&alice), "the log on {}", node.name());
    }
    // The invite, the admission, the grant, two kicks, the invite's end; and keys that were changed for the void kicks.
    let by_thieves = |entry: &&crate::world::Entry| ["mallory", "trent"].contains(&&*entry.by);
    assert!(void.iter().filter(by_thieves).count() >= 6, "{void:#?}");
    // Another member's device may have let the stranger in, by her invite.
    let fell = |entry: &&crate::world::Entry| {
        by_thieves(entry) || entry.kind.starts_with("epoch.") || entry.text.contains("admits trent")
    };
    assert!(
        void.iter().all(|entry| fell(&entry)),
        "somebody else's act is void: {void:#?}"
    );
    assert_eq!(officers(&alice), ["alice"]);
    // The promise is kept.
    let guest = node("guest", &left, 8);
    join(&guest, &promised);
    guest.reaches(to_dave, SOON);
}

#[test]
fn a_kick_since_an_event_takes_the_thief_with_what_was_done_since() {
    let mesh = Mesh::new("kick since", &["alice", "bob", "mallory", "dave"]);
    let [alice, bob, mallory, dave] = &mesh.nodes[..] else {
        unreachable!()
    };
    let _ = alice.mesh(&["admin", "grant", "mallory"]).ok();
    mesh.agree(SOON);
    let to_dave = dave.addresses().0;
    // More tickets than one event has room to close; and one that nobody but bob can use.
    for _ in 0..34 {
        let _ = invite(alice, &[]);
    }
    let identity = bob.mesh_json(&["id", "show"]);
    let _ = invite(alice, &["--to", &text(&identity, "user")]);
    let _ = mallory.mesh(&["kick", "dave", "--keep-invites"]).ok();
    eventually(SOON, "dave is out", || !members(bob).contains("dave"));
    agree(&[alice, bob, mallory], SOON);
    let kick = log(alice)
        .into_iter()
        .find(|entry| entry.text.contains("kicks dave"))
        .unwrap();
    let said = alice
        .mesh(&[
            "kick",
            "mallory",
            "--since",
            &kick.id[..8],
            "--reason",
            "stolen",
        ])
        .ok();
    assert!(said.stdout.contains("kicked mallory"), "{said}");
    assert!(said.stdout.contains("back      dave"), "{said}");
    let listed = alice.mesh_json(&["invite", "ls"]);
    let listed = listed["invites"].as_array().unwrap();
    let open: Vec<_> = listed.iter().filter(|i| i["state"] == "open").collect();
    assert!(
        open.len() == 1 && open[0]["to"].is_string(),
        "every ticket is closed, and no direct invite: {open:?}"
    );
    bob.reaches(to_dave, LONG);
    agree(&[alice, bob, dave], LONG);
    eventually(SOON, "mallory is out", || {
        mallory.mesh_json(&["networks"])["networks"][0]["member"] == false
    });
}

#[test]
fn only_an_admins_device_admits_by_an_invite_that_asks_for_one() {
    let mesh = Mesh::new("require online", &["alice", "bob"]);
    let mut nodes = mesh.nodes;
    let ticket = invite(&nodes[0], &["--require-online"]);
    nodes[0].stop();
    let carol = mesh.lab.host("carol");
    mesh.lan.plug(&carol, 9);
    let carol = Node::new(carol);
    let said = carol
        .mesh(&["join", &ticket, "--as", "carol", "--wait", "4s"])
        .exits(7);
    assert!(said.stderr.contains("admin"), "{said}");
    nodes[0].start();
    join(&carol, &ticket);
    assert!(members(&carol).contains("carol"));
    let inspected = carol.mesh_with(&["--json", "invite", "inspect", "-"], &ticket);
    assert_eq!(inspected.ok().json()["countersign"], true);
}

#[test]
fn ownership_is_recovered_with_the_words_when_the_owners_disk_is_gone() {
    let mut mesh = Mesh::apart("recovery", &["alice", "bob", "carol", "thief"]);
    let created = mesh.nodes[0].mesh_json(&["create", "home", "--as", "alice"]);
    let words = text(&created, "recovery_words");
    for n in [1, 2] {
        let ticket = invite(&mesh.nodes[0], &[]);
        join(&mesh.nodes[n], &ticket);
    }
    let running = [0, 1, 2].map(|n| &mesh.nodes[n]);
    agree(&running, LONG);
    // The thief has the owner's disk as it was; the owner has no disk at all.
    mesh.nodes[0].stop();
    mesh.nodes[3].stop();
    let (owners, stolen) = (
        mesh.nodes[0].dir().to_owned(),
        mesh.nodes[3].dir().to_owned(),
    );
    for folder in ["var/lib/mesh", "etc/mesh"] {
        let _ = std::fs::remove_dir_all(stolen.join(folder));
        if owners.join(folder).exists() {
            copy(&owners.join(folder), &stolen.join(folder));
            std::fs::remove_dir_all(owners.join(folder)).unwrap();
        }
    }
    let (bob, carol) = (&mesh.nodes[1], &mesh.nodes[2]);

    let other = bob.mesh_with(
        &["owner", "recover", "-"],
        &[&"abandon "; 23].map(|word| word.to_string()).concat(),
    );
    let _ = other.exits(2);
    let mistaken = format!("{}art", "abandon ".repeat(23));
    let _ = bob
        .mesh_with(&["owner", "recover", "-"], &mistaken)
        .exits(4);
    let said = bob
        .mesh_with(&["--json", "owner", "recover", "-"], &words)
        .ok();
    let said = said.json_lines();
    let new = text(&said[0], "recovery_words");
    assert_eq!(new.split(' ').count(), 24);
    assert_ne!(new, words);
    assert_eq!(text(&said[1], "owner"), "bob");
    eventually(SOON, "all know the new owner", || {
        [bob, carol].iter().all(|node| owner(node) == "bob")
    });
    agree(&[bob, carol], SOON);
    // The old words are worth nothing, to whoever finds them.
    for node in [bob, carol] {
        let _ = node.mesh_with(&["owner", "recover", "-"], &words).exits(4);
    }
    // The new owner rules.
    let _ = bob.mesh(&["admin", "grant", "carol"]).ok();
    let _ = bob.mesh(&["admin", "revoke", "carol"]).ok();
    agree(&[bob, carol], SOON);

    // The thief's machine thinks that it owns the network, and does what an owner does before it hears.
    let thief = &mut mesh.nodes[3];
    thief.ip("link set eth0 down");
    thief.start();
    let thief = &mesh.nodes[3];
    let _ = thief.mesh(&["admin", "grant", "carol"]).ok();
    let _ = thief.mesh(&["kick", "bob", "--yes"]).ok();
    let loot = invite(thief, &["--uses", "9"]);
    let _ = thief
        .mesh_with(&["owner", "recover", "-"], &mistaken)
        .exits(4);
    thief.ip("link set eth0 up");
    thief.ip("route replace default via 192.168.7.254");
    eventually(LONG, "the thief's machine hears of the new owner", || {
        owner(thief) == "bob"
    });
    let (bob, carol) = (&mesh.nodes[1], &mesh.nodes[2]);
    agree(&[bob, carol, thief], LONG);
    assert!(members(carol).contains("bob"));
    assert_eq!(officers(carol), ["bob"]);
    let stranger = mesh.lab.host("stranger");
    mesh.lan.plug(&stranger, 77);
    let taken = stranger.mesh(&["join", &loot, "--as", "mallory", "--wait", "5s"]);
    assert_ne!(taken.code, Some(0), "{taken}");
    for args in [&["kick", "carol"][..], &["admin", "grant", "carol"]] {
        let _ = thief.mesh(args).exits(4);
    }
    // What is left of the old owner is a member, until somebody sees to that.
    let _ = bob
        .mesh(&["kick", "alice", "--reason", "laptop stolen"])
        .ok();
    let to_bob = bob.addresses().0;
    eventually(SOON, "the thief reaches nobody", || !thief.ping(to_bob));
    agree(&[bob, carol], SOON);

    // And the new words do, on a fresh machine that somebody let in.
    let fresh = mesh.lab.host("alice-again");
    mesh.lan.plug(&fresh, 9);
    let fresh = Node::new(fresh);
    join(&fresh, &invite(bob, &[]));
    let _ = fresh.mesh_with(&["owner", "recover", "-"], &new).ok();
    eventually(SOON, "alice owns it again", || {
        owner(carol) == "alice-again"
    });
    let _ = fresh.mesh(&["admin", "grant", "bob"]).ok();
    agree(&[bob, carol, &fresh], SOON);
}

#[test]
fn a_network_is_handed_over_between_two_live_machines() {
    let mesh = Mesh::apart("handover", &["alice", "bob", "carol"]);
    let [alice, bob, carol] = &mesh.nodes[..] else {
        unreachable!()
    };
    let created = alice.mesh_json(&["create", "home", "--as", "alice"]);
    let words = text(&created, "recovery_words");
    for joiner in [bob, carol] {
        join(joiner, &invite(alice, &[]));
    }
    mesh.all_know(3);
    // Nobody but the owner offers, nobody accepts what is not offered, and wrong words offer nothing.
    let _ = bob
        .mesh_with(&["owner", "transfer", "carol", "-"], &words)
        .exits(4);
    let _ = bob.mesh(&["owner", "accept"]).exits(5);
    let mistaken = format!("{}art", "abandon ".repeat(23));
    let _ = alice
        .mesh_with(&["owner", "transfer", "bob", "-"], &mistaken)
        .exits(4);
    // An offer that is not accepted ends, and changes nothing.
    let _ = alice
        .mesh_with(&["owner", "transfer", "bob", "-", "--for", "1s"], &words)
        .exits(7);
    assert_eq!(owner(bob), "alice");
    assert!(bob.mesh(&["owner", "accept"]).exits(5).stdout.is_empty());

    let file = alice.dir().join("words");
    std::fs::write(&file, &words).unwrap();
    let line = format!(
        "exec {} --root {} owner transfer bob - --for 1m < {}",
        mesh_tests::lab::Binaries::find().path("mesh").display(),
        alice.dir().display(),
        file.display()
    );
    let mut offer: Daemon = alice.host.start("offer", "sh", &["-c", &line]);
    eventually(SOON, "bob is told of the offer", || {
        bob.mesh(&["owner", "accept", "--dry-run"]).code == Some(0)
    });
    let status = bob.mesh(&["status"]);
    assert!(
        status.stdout.contains("alice offers this network to you"),
        "{status}"
    );
    let _ = carol.mesh(&["owner", "accept"]).exits(5);
    let _ = alice.mesh(&["share", "22/tcp", "--to", "all"]).ok();
    let said = bob.mesh(&["--json", "owner", "accept"]).ok().json_lines();
    let new = text(&said[0], "recovery_words");
    assert_eq!(text(&said[1], "owner"), "bob");
    eventually(SOON, "the offering command ends well", || {
        offer.ended().is_some()
    });
    assert!(
        offer
            .log()
            .contains("bob owns home now, not alice any more"),
        "{}",
        offer.log()
    );
    assert!(!offer.log().contains(&new), "the new words are bob's alone");
    mesh.agree(SOON);
    for node in &mesh.nodes {
        assert_eq!(owner(node), "bob", "on {}", node.name());
    }
    // Nothing that alice did is void, her last offer included; she is a member like others.
    assert!(
        log(alice).iter().all(|entry| entry.void.is_none()),
        "{:?}",
        log(alice)
    );
    let _ = alice.mesh(&["kick", "carol"]).exits(4);
    let _ = alice.mesh_with(&["owner", "recover", "-"], &words).exits(4);
    let _ = bob.mesh(&["admin", "grant", "carol"]).ok();
    let _ = bob.mesh_with(&["owner", "recover", "-"], &new).ok();
    mesh.agree(SOON);
}

#[test]
fn with_user_keys_under_passphrases_a_network_changes_hands_as_the_owner_types_his() {
    let mesh = Mesh::apart("handover passphrase", &["alice", "bob"]);
    let [alice, bob] = &mesh.nodes[..] else {
        unreachable!()
    };
    let created = alice.mesh_json(&["create", "home", "--as", "alice"]);
    let words = text(&created, "recovery_words");
    join(bob, &invite(alice, &[]));
    mesh.all_know(2);
    let _ = bob
        .mesh_with(&["id", "protect", "-"], "correct horse\n")
        .ok();
    let file = alice.dir().join("words");
    std::fs::write(&file, &words).unwrap();
    // The owner's part takes the words alone, which nobody without them has; the successor's takes his key.
    let line = format!(
        "exec {} --root {} owner transfer bob - --for 1m < {}",
        mesh_tests::lab::Binaries::find().path("mesh").display(),
        alice.dir().display(),
        file.display()
    );
    let mut offer: Daemon = alice.host.start("offer", "sh", &["-c", &line]);
    eventually(SOON, "bob is told of the offer", || {
        bob.mesh(&["owner", "accept", "--dry-run"]).code == Some(0)
    });
    let refused = bob.mesh(&["owner", "accept"]).exits(4);
    assert!(refused.stderr.contains("passphrase"), "{refused}");
    let given = ["--json", "owner", "accept", "--passphrase", "-"];
    let _ = bob.mesh_with(&given, "battery staple\n").exits(4);
    assert_eq!(owner(alice), "alice");
    let said = bob.mesh_with(&given, "correct horse\n").ok().json_lines();
    let new = text(&said[0], "recovery_words");
    assert_eq!(text(&said[1], "owner"), "bob");
    eventually(SOON, "the offering command ends well", || {
        offer.ended().is_some()
    });
    mesh.agree(SOON);

    // Alice takes it back by the new words; her own key is under a passphrase now.
    let _ = alice
        .mesh_with(&["id", "protect", "-"], "tr0ub4dor and 3\n")
        .ok();
    let refused = alice.mesh_with(&["owner", "recover", "-"], &new).exits(4);
    assert!(refused.stderr.contains("passphrase"), "{refused}");
    let secret = alice.dir().join("passphrase");
    std::fs::write(&secret, "tr0ub4dor and 3\n").unwrap();
    let from = format!("@{}", secret.display());
    let recover = ["owner", "recover", "-", "--passphrase", &from];
    let _ = alice.mesh_with(&recover, &words).exits(4);
    let _ = alice.mesh_with(&recover, &new).ok();
    mesh.agree(SOON);
    for node in &mesh.nodes {
        assert_eq!(owner(node), "alice", "on {}", node.name());
    }
}

/// The names of the owner and the admins, as a host sees them, the most senior first.
fn officers(host: &mesh_tests::lab::Host) -> Vec<String> {
    let admins = host.mesh_json(&["admin", "ls"]);
    let admins = admins["members"].as_array().unwrap().iter();
    admins.map(|admin| text(admin, "name")).collect()
}

/// The name of the owner, as a host sees it.
fn owner(host: &mesh_tests::lab::Host) -> String {
    officers(host).remove(0)
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    let parent = to.parent().unwrap();
    std::fs::create_dir_all(parent).unwrap();
    let status = std::process::Command::new("cp")
        .args(["-a".as_ref(), from.as_os_str(), to.as_os_str()])
        .status()
        .unwrap();
    assert!(status.success());
}
