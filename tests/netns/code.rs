//! Inviting by a code that one person says to another.

use std::ffi::OsString;
use std::time::Duration;

use mesh_ledger::code::Code;
use mesh_tests::lab::{Binaries, Daemon, eventually};

use crate::world::{LONG, Mesh, Node, SOON, agree, create, members};

/// How long somebody who knows the words takes at most.
const JOIN: Duration = Duration::from_secs(20);

#[test]
fn somebody_joins_by_a_code_and_who_showed_it_is_told() {
    let mesh = Mesh::apart("invite code", &["alice", "bob", "carol"]);
    let [alice, bob, carol] = &mesh.nodes[..] else {
        unreachable!()
    };
    create(alice);
    // As people do it: one says the code, the other types it.
    let mut shows = shows(alice, &["--uses", "2"]);
    let first = nth_code(&shows, 0);
    let joined = bob.mesh(&["join", &first, "--as", "bob"]).ok();
    assert!(joined.stdout.contains("home"), "{joined}");
    // For the second machine there is another code; the first one serves nobody else.
    let second = nth_code(&shows, 1);
    assert_ne!(first, second);
    let used = carol.mesh(&["join", &first, "--as", "carol", "--wait", "4s"]);
    assert_ne!(used.code, Some(0), "{used}");
    let spoken = second.replace('-', " ");
    let _ = carol
        .mesh_with(&["join", "-", "--as", "carol"], &spoken)
        .ok();
    eventually(SOON, "the command ends", || shows.ended().is_some());
    for who in ["bob.home", "carol.home"] {
        assert!(shows.log().contains(who), "{}", shows.log());
    }
    agree(&[alice, bob, carol], LONG);
    bob.reaches(carol.addresses().0, SOON);

    // What a code is for is told to who knows its words, and it is not lost by that.
    let linking = alice.mesh(&["device", "link", "--no-wait"]).ok();
    let laptop = mesh.lab.host("laptop");
    mesh.lan.plug(&laptop, 9);
    let laptop = Node::new(laptop);
    let refused = laptop.mesh(&["join", linking.stdout.trim()]).exits(6);
    assert!(refused.stderr.contains("device link"), "{refused}");
    let inviting = alice.mesh(&["invite", "--code", "--no-wait"]).ok();
    let code = inviting.stdout.trim();
    let refused = laptop.mesh(&["device", "link", code]).exits(6);
    assert!(refused.stderr.contains("mesh join"), "{refused}");
    let _ = laptop.mesh(&["join", code, "--as", "laptop"]).ok();
    assert_eq!(members(&laptop).len(), 4);
}

#[test]
fn a_code_works_from_another_lan_with_an_address_and_a_wrong_word_burns_it() {
    let mesh = Mesh::apart("code elsewhere", &["alice", "bob"]);
    let [alice, bob] = &mesh.nodes[..] else {
        unreachable!()
    };
    create(alice);
    // No announcement on the LAN reaches bob, as from another one.
    let rules = "table inet quiet {\nchain input {\ntype filter hook input priority 0\nudp dport 5353 drop\n}\n}\n";
    let _ = bob.run_with("nft", &["-f", "-"], rules, LONG).ok();
    let at = |code: &str| format!("{code}@{}", mesh.lan.address(1));
    let mut shows = shows(alice, &[]);
    // Five times somebody guesses; each time the code is burnt, for whoever knows it too.
    for guess in 1..=5 {
        let code = nth_code(&shows, guess - 1);
        let refused = bob.mesh(&["join", &at(&wrong(&code)), "--as", "bob", "--wait", "8s"]);
        let refused = refused.exits(6);
        assert!(refused.stderr.contains("wrong"), "guess {guess}: {refused}");
        let burnt = bob.mesh(&["join", &at(&code), "--as", "bob", "--wait", "2s"]);
        assert_ne!(burnt.code, Some(0), "guess {guess}: {burnt}");
    }
    // Then the invite's codes stop, and nobody sits there to say go on.
    eventually(JOIN, "the command ends", || shows.ended().is_some());
    assert!(shows.log().contains("have stopped"), "{}", shows.log());
    assert_eq!(codes(&shows).len(), 5);
    assert_eq!(members(alice).len(), 1);

    let inviting = alice.mesh(&["invite", "--code", "--no-wait"]).ok();
    let _ = bob
        .mesh(&["join", &at(inviting.stdout.trim()), "--as", "bob"])
        .ok();
    agree(&[alice, bob], LONG);
}

/// `mesh invite --code`, which shows codes and waits.
fn shows(host: &Node, options: &[&str]) -> Daemon {
    let mut args: Vec<OsString> = vec!["--root".into(), host.dir().into()];
    args.extend(["invite", "--code"].map(OsString::from));
    args.extend(options.iter().map(OsString::from));
    host.host
        .start("invite-code", Binaries::find().path("mesh"), &args)
}

/// The codes that were shown so far.
fn codes(shows: &Daemon) -> Vec<String> {
    let log = shows.log();
    let codes = log.lines().filter(|line| line.parse::<Code>().is_ok());
    codes.map(str::to_owned).collect()
}

/// Waits for the next code.
fn nth_code(shows: &Daemon, nth: usize) -> String {
    eventually(JOIN, "a code is shown", || codes(shows).len() > nth);
    codes(shows).swap_remove(nth)
}

/// The code with another word.
fn wrong(code: &str) -> String {
    let (rest, last) = code.rsplit_once('-').unwrap();
    let other = if last == "basil" { "orca" } else { "basil" };
    format!("{rest}-{other}")
}
