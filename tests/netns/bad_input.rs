//! What goes wrong says what failed, why and what to type next, with the right exit code; and nothing is lost.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use mesh_tests::lab::{Binaries, Host, Lab, Output, eventually};

use crate::world::{Mesh, SOON, create, invite, join, log, members};

#[test]
fn a_malformed_ticket_is_a_usage_error() {
    let lab = Lab::new("malformed");
    let host = lab.host("alice");
    for ticket in [
        "MESH:1:",
        "MESH:1:4KQ7RZ",
        "MESH:9:4KQ7RZ",
        "no-such-file",
        "MESH:1:????",
        &format!("MESH:1:{}", "A".repeat(5000)),
    ] {
        explained(
            &host.mesh(&["join", ticket, "--as", "alice", "--wait", "2s"]),
            2,
        );
    }
    explained(&host.mesh_with(&["join", "-", "--as", "alice"], ""), 2);
}

#[test]
fn a_used_an_expired_and_a_revoked_invite_are_refused_with_the_reason() {
    let mesh = Mesh::apart("invites", &["alice", "bob", "carol"]);
    let [alice, bob, carol] = &mesh.nodes[..] else {
        unreachable!()
    };
    create(alice);
    let used = invite(alice, &[]);
    let expired = invite(alice, &["--for", "1s"]);
    let revoked = invite(alice, &[]);
    let newest = alice.mesh_json(&["invite", "ls"])["invites"][0]["event"]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let _ = alice.mesh(&["invite", "revoke", &newest]).ok();
    join(bob, &used);

    let again = explained(
        &carol.mesh(&["join", &used, "--as", "carol", "--wait", "10s"]),
        6,
    );
    assert!(again.contains("used"), "{again}");
    eventually(SOON, "the invite of a second expires", || {
        alice.mesh_json(&["invite", "ls"])["invites"]
            .to_string()
            .contains("\"expired\"")
    });
    let again = explained(
        &carol.mesh(&["join", &expired, "--as", "carol", "--wait", "10s"]),
        6,
    );
    assert!(again.contains("expired"), "{again}");
    let again = explained(
        &carol.mesh(&["join", &revoked, "--as", "carol", "--wait", "10s"]),
        6,
    );
    assert!(
        again.contains("revoked") || again.contains("closed"),
        "{again}"
    );
    assert_eq!(members(alice).len(), 2);
}

#[test]
fn nobody_answering_is_told_as_such() {
    let mut mesh = Mesh::apart("nobody", &["alice", "bob"]);
    create(&mesh.nodes[0]);
    let ticket = invite(&mesh.nodes[0], &[]);
    mesh.nodes[0].stop();
    explained(
        &mesh.nodes[1].mesh(&["join", &ticket, "--as", "bob", "--wait", "3s"]),
        7,
    );
}

#[test]
fn wrong_names_are_not_found_and_the_right_one_is_suggested() {
    let mesh = Mesh::new("names", &["alice", "bob"]);
    let [alice, bob] = &mesh.nodes[..] else {
        unreachable!()
    };
    let error = explained(&alice.mesh(&["kick", "bbo"]), 5);
    assert!(error.contains("bob"), "suggests who was meant: {error}");
    explained(&alice.mesh(&["ping", "nobody", "--count", "1"]), 5);
    explained(&alice.mesh(&["unshare", "22/tcp"]), 5);
    explained(&alice.mesh(&["status", "-n", "hoem"]), 5);
    explained(&alice.mesh(&["share", "22/tcp", "--to", "nobody"]), 5);
    explained(&bob.mesh(&["kick", "alice"]), 4);
    explained(&bob.mesh(&["invite"]), 4);
    explained(&bob.mesh(&["admin", "grant", "bob"]), 4);
    explained(&alice.mesh(&["create", "home", "--as", "alice"]), 6);
    assert_eq!(alice.mesh(&["create", "Not A Label"]).code, Some(2));
    assert_eq!(
        alice
            .mesh(&["create", "other", "--subnet", "300.0.0.0/24"])
            .code,
        Some(2)
    );
    assert_eq!(alice.mesh(&["share", "0/tcp"]).code, Some(2));
    assert_eq!(alice.mesh(&["no-such-verb"]).code, Some(2));
    assert_eq!(members(alice).len(), 2, "nothing of it changed anything");
}

#[test]
fn without_a_daemon_every_verb_says_so_and_how_to_start_it() {
    let lab = Lab::new("no daemon");
    let host = lab.host("alice");
    for verb in [
        &["status"][..],
        &["networks"],
        &["invite"],
        &["log"],
        &["ping", "bob"],
        &["kick", "bob"],
    ] {
        let error = explained(&host.mesh(verb), 3);
        assert!(error.contains("not running"), "{error}");
    }
}

#[test]
fn who_is_not_root_is_told_so() {
    let lab = Lab::new("not root");
    let host = lab.host("alice");
    let _daemon = host.meshd();
    let open = std::fs::Permissions::from_mode(0o755);
    for folder in [lab.dir(), host.dir()] {
        std::fs::set_permissions(folder, open.clone()).unwrap();
    }
    let mesh = Binaries::find().path("mesh");
    let (mesh, root) = (mesh.to_str().unwrap(), host.dir().to_str().unwrap());
    let nobody = [
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        mesh,
        "--root",
        root,
    ];
    explained(
        &host.run("setpriv", &[&nobody[..], &["status"]].concat()),
        4,
    );
    explained(
        &host.run("setpriv", &[&nobody[..], &["create", "home"]].concat()),
        4,
    );
}

#[test]
fn a_port_in_use_does_not_keep_a_machine_from_joining() {
    let lab = Lab::new("port in use");
    let lan = lab.lan("lan", [192, 168, 7]);
    let (alice, bob) = (lab.host("alice"), lab.host("bob"));
    lan.plug(&alice, 1);
    lan.plug(&bob, 2);
    let _taken = alice.udp("0.0.0.0:51820");
    let _taken_too = alice.udp("[::1]:51820");
    let (_one, _two) = (alice.meshd(), bob.meshd());
    create(&alice);
    join(&bob, &invite(&alice, &[]));
    bob.reaches(crate::world::addresses(&alice).0, SOON);
}

#[test]
fn a_state_folder_that_cannot_be_used_is_named_and_left_alone() {
    let lab = Lab::new("state folder");
    let host = lab.host("alice");
    let state = host.dir().join("var/lib/mesh");
    std::fs::create_dir_all(state.parent().unwrap()).unwrap();

    // In the way of the folder.
    std::fs::write(&state, "mine").unwrap();
    let error = failed(&meshd(&host));
    assert!(error.contains("var/lib/mesh"), "{error}");
    assert_ne!(
        host.mesh(&["create", "home", "--as", "alice"]).code,
        Some(0)
    );
    assert_eq!(std::fs::read_to_string(&state).unwrap(), "mine");
    std::fs::remove_file(&state).unwrap();

    // Read-only, as after an error of the disk.
    std::fs::create_dir(&state).unwrap();
    std::fs::set_permissions(&state, std::fs::Permissions::from_mode(0o700)).unwrap();
    let script = format!(
        "mount -t tmpfs -o ro,mode=700 tmpfs {0} && exec {1} run --root {2}",
        state.display(),
        daemon(),
        host.dir().display()
    );
    let error = failed(&host.run("unshare", &["--mount", "sh", "-c", &script]));
    assert!(error.contains("var/lib/mesh"), "{error}");

    // Open to others: keys would be.
    std::fs::set_permissions(&state, std::fs::Permissions::from_mode(0o755)).unwrap();
    let error = failed(&meshd(&host));
    assert!(error.contains("700"), "says what to do: {error}");
}

#[test]
fn a_corrupted_database_is_named_kept_and_does_not_take_other_networks_down() {
    let mut mesh = Mesh::apart("corrupted", &["alice"]);
    let alice = &mut mesh.nodes[0];
    let _ = alice
        .mesh(&[
            "create",
            "home",
            "--as",
            "alice",
            "--subnet",
            "10.71.0.0/24",
        ])
        .ok();
    let _ = alice
        .mesh(&[
            "create",
            "work",
            "--as",
            "alice",
            "--subnet",
            "10.72.0.0/24",
        ])
        .ok();
    let networks = alice.mesh_json(&["networks"]);
    let home = networks["networks"]
        .as_array()
        .unwrap()
        .iter()
        .find(|network| network["name"] == "home")
        .unwrap();
    let folder = alice
        .dir()
        .join("var/lib/mesh/networks")
        .join(home["id"].as_str().unwrap());
    let before = alice.mesh_json(&["log", "-n", "work"]);
    alice.stop();
    for file in ["ledger.db-wal", "ledger.db-shm"] {
        let _ = std::fs::remove_file(folder.join(file));
    }
    let garbage = vec![0x5a; 20_000];
    std::fs::write(folder.join("ledger.db"), &garbage).unwrap();

    alice.start();
    assert_eq!(
        alice.mesh_json(&["log", "-n", "work"]),
        before,
        "the other network works"
    );
    let said = alice.mesh(&["status", "-n", "home"]);
    let said = format!("{}{}", said.stdout, said.stderr);
    assert!(
        said.contains("ledger.db") || said.contains("damaged"),
        "status names the damage: {said}"
    );
    assert_eq!(
        std::fs::read(folder.join("ledger.db")).unwrap(),
        garbage,
        "the file is left for a rescue"
    );
}

#[test]
fn what_failed_changed_nothing() {
    let mesh = Mesh::new("nothing lost", &["alice", "bob"]);
    let [alice, bob] = &mesh.nodes[..] else {
        unreachable!()
    };
    let before = log(alice);
    for wrong in [
        &["kick", "nobody"][..],
        &["admin", "revoke", "bob"],
        &["unshare", "1/tcp"],
        &["invite", "revoke", "ffff"],
    ] {
        assert_ne!(alice.mesh(wrong).code, Some(0), "{wrong:?}");
        assert_ne!(bob.mesh(wrong).code, Some(0), "{wrong:?}");
    }
    assert_eq!(log(alice), before);
}

/// Checks the exit code and that the error has its three parts; returns what it says.
#[track_caller]
fn explained(output: &Output, code: i32) -> String {
    assert_eq!(output.code, Some(code), "exit code of {output}");
    let error = output
        .stderr
        .lines()
        .find_map(|line| line.strip_prefix("error: "));
    assert!(
        error.is_some_and(|text| text.len() > 10),
        "says what failed and why: {output}"
    );
    assert!(
        output
            .stderr
            .lines()
            .last()
            .is_some_and(|line| line.starts_with("→ ")),
        "ends with what to type: {output}"
    );
    assert!(!output.stderr.contains("panicked"), "{output}");
    output.stderr.clone()
}

/// Checks that a daemon did not start, and returns what it said.
#[track_caller]
fn failed(output: &Output) -> String {
    assert!(
        output.code.is_some_and(|code| (1..=10).contains(&code)),
        "{output}"
    );
    assert!(!output.stderr.contains("panicked"), "{output}");
    format!("{}{}", output.stdout, output.stderr)
}

/// Runs a daemon that is expected to end by itself.
fn meshd(host: &Host) -> Output {
    let root = host.dir().to_str().unwrap();
    host.run_with(
        daemon(),
        &["run", "--root", root],
        "",
        Duration::from_secs(10),
    )
}

fn daemon() -> String {
    Binaries::find().path("meshd").to_str().unwrap().to_owned()
}
