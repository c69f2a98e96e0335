//! A server that lies is named by every member, with what it signed.
//!
//! The liar is made of honest parts: two processes with one key, each with a log of its own, and routes that lead each
//! home to one of them; or one process that was given an old copy of its files.

use mesh_tests::lab::{Home, Nat, Server, eventually};
use serde_json::Value;

use super::{MEET, World, create, direct, server_view, stored};
use crate::world::{LONG, Node, SOON, agree, invite, join, members, text};

#[test]
fn a_server_that_shows_two_members_two_logs_is_named_by_both() {
    let mut scene = Scene::new("two logs");
    scene.double();
    // The same place in the log, and two different events at it.
    let _ = scene.alice.mesh(&["share", "80/tcp", "--to", "all"]).ok();
    let _ = scene.bob.mesh(&["share", "90/tcp", "--to", "all"]).ok();
    stored(&scene.server, &[&scene.alice, &scene.bob], LONG);
    scene.nobody_is_accused();

    scene.let_them_meet();
    agree(&[&scene.alice, &scene.bob], LONG);
    scene.is_named_by_both(&["two different logs"]);
}

#[test]
fn a_server_that_hides_a_kick_is_named_by_both() {
    let mut scene = Scene::new("hidden kick");
    let carol = scene.world.node(&scene.homes[0], "carol");
    join(&carol, &invite(&scene.alice, &[]));
    agree(&[&scene.alice, &scene.bob, &carol], MEET);
    stored(&scene.server, &[&scene.alice, &scene.bob], MEET);
    scene.double();
    let _ = scene.alice.mesh(&["kick", "carol"]).ok();
    stored(&scene.server, &[&scene.alice], LONG);
    // Asked anew after the kick, the server tells bob that nothing has happened.
    scene.bob.stop();
    scene.bob.start();
    stored(&scene.server, &[&scene.bob], LONG);
    assert!(members(&scene.bob).contains("carol"), "it hides the kick");
    scene.nobody_is_accused();

    scene.let_them_meet();
    eventually(LONG, "bob hears of the kick from alice", || {
        !members(&scene.bob).contains("carol")
    });
    scene.is_named_by_both(&["took back", "old copy"]);
}

#[test]
fn a_server_that_serves_an_old_log_is_named_by_both() {
    let mut scene = Scene::new("old log");
    scene.server.stop();
    let old = scene.server.copy("old");
    scene.server.restart();
    for port in ["80/tcp", "81/tcp", "82/tcp"] {
        let _ = scene.alice.mesh(&["share", port, "--to", "all"]).ok();
    }
    agree(&[&scene.alice, &scene.bob], MEET);
    stored(&scene.server, &[&scene.alice, &scene.bob], LONG);
    scene.nobody_is_accused();

    scene.server.stop();
    scene.server.put_back(&old);
    scene.server.restart();
    scene.is_named_by_both(&["took back", "old copy"]);
}

/// Two members in two homes with a direct path between them, and a server.
struct Scene {
    alice: Node,
    bob: Node,
    homes: [Home; 2],
    server: Server,
    /// The one bob is led to.
    double: Option<Server>,
    world: World,
}

impl Scene {
    fn new(test: &str) -> Self {
        let world = World::new(test);
        let server = world.server("server");
        let homes = ["alices", "bobs"].map(|name| world.home(name, Nat::PortRestricted));
        let (alice, bob) = (world.node(&homes[0], "alice"), world.node(&homes[1], "bob"));
        create(&alice, &[&server]);
        join(&bob, &invite(&alice, &[]));
        let _ = bob.mesh(&["ping", "alice", "--count", "3"]).ok();
        direct(&alice, &bob, MEET);
        agree(&[&alice, &bob], SOON);
        stored(&server, &[&alice, &bob], MEET);
        Self {
            alice,
            bob,
            homes,
            server,
            double: None,
            world,
        }
    }

    /// Cuts the members' direct path, and leads bob to a second process, with the key and the files of the server, which
    /// runs on. Who has been with the server before would still hear it, so bob's daemon starts anew.
    fn double(&mut self) {
        let [alices, bobs] = &self.homes;
        alices.lose(bobs.public());
        bobs.lose(alices.public());
        self.bob.stop();
        let files = self.server.copy("files");
        let (host, by) = self.world.internet.machine(&self.world.lab, "double");
        host.claim(self.server.address());
        bobs.lead(self.server.address(), by);
        let double = Server::start_with(host, self.server.address(), &files);
        assert_eq!(double.key(), self.server.key());
        self.double = Some(double);
        self.bob.start();
        stored(&self.server, &[&self.alice, &self.bob], LONG);
    }

    /// Heals the members' direct path.
    fn let_them_meet(&self) {
        let [alices, bobs] = &self.homes;
        alices.find(bobs.public());
        bobs.find(alices.public());
    }

    #[track_caller]
    fn nobody_is_accused(&self) {
        for member in [&self.alice, &self.bob] {
            let told = accusations(member, &self.server);
            assert!(
                told.is_empty(),
                "{} cannot know yet: {told:?}",
                member.name()
            );
        }
    }

    /// Waits until both members name the server, with two of its statements that differ; and people are told, too.
    #[track_caller]
    fn is_named_by_both(&self, words: &[&str]) {
        for member in [&self.alice, &self.bob] {
            let name = member.name();
            eventually(LONG, &format!("{name} names the server"), || {
                !accusations(member, &self.server).is_empty()
            });
            let told = accusations(member, &self.server);
            let lie = |accusation: &Value| {
                let what = text(accusation, "what");
                words.iter().find(|words| what.contains(**words)).copied()
            };
            let proof = told.iter().find_map(|told| Some((told, lie(told)?)));
            let (proof, what) = proof.unwrap_or_else(|| panic!("{name} says of what? {told:?}"));
            let tips = proof["tips"].as_array().unwrap();
            assert_eq!(tips.len(), 2, "both statements: {proof}");
            assert_ne!(tips[0]["chain"], tips[1]["chain"], "{proof}");
            let shown = member.mesh(&["status"]);
            assert!(shown.stdout.contains(what), "{name} tells people: {shown}");
        }
    }
}

/// What a member accuses the server of.
fn accusations(member: &Node, server: &Server) -> Vec<Value> {
    let view = server_view(member, server.address());
    view["accusations"].as_array().cloned().unwrap_or_default()
}
