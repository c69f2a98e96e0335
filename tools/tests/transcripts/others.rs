//! The log, ping, and the rest; no daemon, and one that does not answer.

use std::sync::Arc;

use mesh_control::call::Call;
use mesh_control::fake::{Fake, examples};
use mesh_control::reply::{self, Reply};
use mesh_control::view::{NetworkIdentity, NetworkView, Verdict};
use mesh_control::{Code, Error};

use crate::desk::Desk;

#[tokio::test]
async fn log() {
    let void = Verdict::Void {
        reason: "by mallory, kicked in 5e90a7f1".to_owned(),
    };
    let entries = vec![
        examples::entry(
            0,
            "c0ffee01",
            "alice",
            "genesis",
            "makes home",
            Verdict::Counted,
        ),
        examples::entry(
            7,
            "c04d11be",
            "mallory",
            "admit",
            "admits trent\u{202e}",
            void,
        ),
        examples::entry(
            8,
            "5e90a7f1",
            "alice",
            "remove",
            "kicks mallory: key stolen",
            Verdict::Counted,
        ),
        examples::entry(
            10,
            "b81c02d4",
            "bob",
            "private",
            "offers 8080/tcp web to alice",
            Verdict::Pending,
        ),
    ];
    let log = |more| {
        Reply::Log(reply::Log {
            network: "home".to_owned(),
            entries: entries.clone(),
            more,
            ..reply::Log::default()
        })
    };
    let empty = reply::Log {
        network: "home".to_owned(),
        ..reply::Log::default()
    };
    let fake = Fake::default()
        .on("log", Ok(log(false)))
        .on("log", Ok(log(true)))
        .on("log", Ok(log(false)))
        .on("log", Ok(Reply::Log(empty)));
    let mut desk = Desk::new(fake);
    desk.pipe("log").await;
    desk.tty(60, "log --limit 4").await;
    desk.pipe("log --json").await;
    desk.pipe("log --by alice --about mallory --type remove --since 5e90")
        .await;
    desk.pipe("log --since whenever").await;
    desk.compare("log");
    let Some(Call::Log(call)) = desk.fake.asked().pop() else {
        panic!("a log call")
    };
    assert_eq!(
        serde_json::to_string(&call.filters).unwrap(),
        r#"{"by":"alice","about":"mallory","type":"remove","since":{"event":"5e90"}}"#
    );
}

#[tokio::test]
async fn log_verify() {
    let damaged = reply::Damage {
        event: examples::event("c04d11be"),
        problem: "its bytes do not hash to its id".to_owned(),
    };
    let whole = reply::Verified {
        network: "home".to_owned(),
        events: 48,
        ok: true,
        damaged: Vec::new(),
        checkpoint: None,
    };
    let broken = reply::Verified {
        network: "home".to_owned(),
        events: 48,
        ok: false,
        damaged: vec![damaged],
        checkpoint: None,
    };
    let work = reply::Verified {
        network: "work".to_owned(),
        ..whole.clone()
    };
    let networks = |names: &[&str]| {
        let network = |name: &&str| NetworkView {
            name: (*name).to_owned(),
            id: examples::id(&format!("c0ffee0{}", name.len())),
            ..examples::network()
        };
        let networks = names.iter().map(network).collect();
        Reply::Networks(reply::Networks { networks })
    };
    let fake = Fake::default()
        .on("log_verify", Ok(Reply::Verified(whole)))
        .on("log_verify", Ok(Reply::Verified(broken.clone())))
        .on("log_verify", Ok(Reply::Verified(broken.clone())))
        .on("log_verify", Ok(Reply::Verified(broken)))
        .on("log_verify", Ok(Reply::Verified(work)))
        .on("networks", Ok(networks(&["home"])))
        .on("networks", Ok(networks(&["home", "work"])));
    let mut desk = Desk::new(fake);
    desk.pipe("log verify").await;
    desk.pipe("log verify -n home").await;
    desk.pipe("log verify -n home --json").await;
    desk.pipe("log verify").await;
    // A store that the daemon could not open, and therefore does not list.
    let lost = desk.folder.path().join("var/lib/mesh/networks");
    let lost = lost.join(examples::id("dead"));
    std::fs::create_dir_all(&lost).unwrap();
    std::fs::write(lost.join("ledger.db"), [0x5a; 5000]).unwrap();
    desk.pipe("log verify").await;
    desk.pipe("log verify -n dead").await;
    desk.compare("log_verify");
}

#[tokio::test]
async fn ping() {
    let pong = Reply::Pong(reply::Pong {
        name: "bob".to_owned(),
        address: "10.73.20.2".to_owned(),
        rtt_us: 640,
        path: "direct, same LAN".to_owned(),
    });
    let lost = || Error::new(Code::Unreachable, "no answer within 5 s");
    let members = reply::Members {
        network: "home".to_owned(),
        members: examples::members(),
    };
    let fake = Fake::default()
        .on("ping", Ok(pong.clone()))
        .on("ping", Err(lost()))
        .on("ping", Ok(pong))
        .on("ping", Err(lost()))
        .on(
            "ping",
            Err(Error::new(Code::NotFound, "no device bbo in home")),
        )
        .on("members", Ok(Reply::Members(members)))
        .on(
            "networks",
            Ok(Reply::Networks(reply::Networks {
                networks: vec![examples::network()],
            })),
        );
    let mut desk = Desk::new(fake);
    tokio::time::pause();
    desk.pipe("ping bob -c 2").await;
    desk.pipe("ping bob -c 1 --json").await;
    desk.pipe("ping bob -c 1").await;
    desk.pipe("ping bbo").await;
    desk.compare("ping");
}

#[tokio::test]
async fn id_sync_version_and_completions() {
    let identity = Reply::Identity(reply::Identity {
        user: examples::id("e000f3e2"),
        device: examples::id("d000f3d2"),
        user_key: mesh_control::view::UserKeyPlace::Here,
        networks: vec![NetworkIdentity {
            network: "home".to_owned(),
            id: examples::id("c0ffee01"),
            host: "alice".to_owned(),
            address: "10.73.20.1".to_owned(),
            address6: "fd12:3456:789a::1".to_owned(),
            wireguard: "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=".to_owned(),
        }],
    });
    let synced = Reply::Synced(reply::Synced {
        network: "home".to_owned(),
        peers: 2,
        same: 2,
        received: 1,
        sent: 0,
    });
    let fake = Fake::default()
        .on("id_show", Ok(identity))
        .on("sync_now", Ok(synced));
    let mut desk = Desk::new(fake);
    desk.pipe("id show").await;
    desk.pipe("id show --json").await;
    desk.pipe("sync now").await;
    desk.pipe("version").await;
    desk.pipe("version --json").await;
    desk.compare("id_sync_version");
    let script = desk.run(None, "completions bash").await;
    assert!(
        script.0.contains("unshare") && script.2 == 0,
        "{}",
        script.1
    );
}

#[tokio::test]
async fn only_the_machines_own_daemon_is_a_service() {
    let mut desk = Desk::without_daemon();
    desk.pipe("service install").await;
    desk.pipe("service remove mesh-server").await;
    desk.pipe("service").await;
    desk.compare("service");
}

#[tokio::test]
async fn without_a_daemon_a_verb_says_what_to_type() {
    let mut desk = Desk::without_daemon();
    for typed in [
        "status",
        "down",
        "invite",
        "log verify",
        "ping bob",
        "status --json",
    ] {
        desk.pipe(typed).await;
    }
    desk.pipe("version").await;
    desk.pipe("frobnicate").await;
    desk.compare("no_daemon");
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_unreachable() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("run/mesh")).unwrap();
    let listener =
        tokio::net::UnixListener::bind(folder.path().join("run/mesh/meshd.sock")).unwrap();
    let silent = Arc::new(Silent);
    let serving = tokio::spawn(mesh_control::server::serve(
        listener,
        silent,
        std::future::pending(),
    ));
    let mut desk = Desk::at(folder);
    desk.pipe("networks --timeout 1s").await;
    desk.compare("timeout");
    serving.abort();
}

struct Silent;

impl mesh_control::server::Service for Silent {
    fn version(&self) -> String {
        "silent".to_owned()
    }

    async fn call(
        &self,
        _: mesh_control::server::PeerCredentials,
        _: Call,
    ) -> Result<Reply, Error> {
        std::future::pending().await
    }

    async fn watch(
        &self,
        _: mesh_control::server::PeerCredentials,
        _: mesh_control::state::Watch,
    ) -> Result<tokio::sync::watch::Receiver<Arc<mesh_control::state::State>>, Error> {
        Err(Error::new(Code::Failed, "silent"))
    }
}
