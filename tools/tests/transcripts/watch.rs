//! Verbs that go on until something ends them: here, that the device has left the network.

use std::time::Duration;

use mesh_control::call::{Call, Cursor};
use mesh_control::fake::{Fake, examples};
use mesh_control::reply::{self, Reply};
use mesh_control::state::State;
use mesh_control::view::{LogEntry, PeerReach, Verdict};

use crate::desk::Desk;

fn home(events: u64) -> State {
    let mut network = examples::network_state();
    network.status.network.events = events;
    State {
        networks: vec![network],
    }
}

fn grant(verdict: Verdict) -> LogEntry {
    examples::entry(
        7,
        "c04d11be",
        "mallory",
        "grant",
        "makes trent an admin",
        verdict,
    )
}

fn log(entries: Vec<LogEntry>, turned: Vec<LogEntry>) -> Result<Reply, mesh_control::Error> {
    Ok(Reply::Log(reply::Log {
        network: "home".to_owned(),
        entries,
        turned,
        cursor: Some(Cursor::default()),
        ..reply::Log::default()
    }))
}

fn kick() -> LogEntry {
    let text = "kicks mallory: key stolen";
    LogEntry {
        topics: vec!["kick".to_owned()],
        about: Some("mallory".to_owned()),
        ..examples::entry(8, "5e90a7f1", "alice", "remove", text, Verdict::Counted)
    }
}

fn fake() -> Fake {
    let void = Verdict::Void {
        reason: "by mallory, whose term ended in 5e90a7f1".to_owned(),
    };
    let fake = Fake::default()
        .on("log", log(vec![grant(Verdict::Counted)], Vec::new()))
        .on("log", log(vec![kick()], vec![grant(void)]));
    fake.show(home(48));
    fake
}

/// Types a command, and has the network change and then go away while it runs.
async fn while_it_changes(desk: &mut Desk, typed: &str) {
    let fake = desk.fake.clone();
    let changes = async {
        let asked = |count: usize| {
            let fake = fake.clone();
            async move {
                let logs = || {
                    let asked = fake.asked();
                    asked
                        .iter()
                        .filter(|call| matches!(call, Call::Log(_)))
                        .count()
                };
                while logs() < count {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        };
        asked(1).await;
        let mut later = home(49);
        later.networks[0].status.peers[0].reach = PeerReach::Offline;
        fake.show(later.clone());
        asked(2).await;
        fake.show(State::default());
    };
    tokio::join!(desk.pipe(typed), changes);
}

#[tokio::test]
async fn log_follow() {
    let mut desk = Desk::new(fake());
    while_it_changes(&mut desk, "log --follow").await;
    desk.compare("log_follow");
}

#[tokio::test]
async fn log_follow_as_json() {
    let mut desk = Desk::new(fake());
    while_it_changes(&mut desk, "log --follow --json").await;
    desk.compare("log_follow_json");
}

#[tokio::test]
async fn watch() {
    let mut desk = Desk::new(fake());
    while_it_changes(&mut desk, "watch -n home").await;
    desk.pipe("watch --type kik").await;
    desk.compare("watch");
}

#[tokio::test]
async fn watch_runs_a_command_for_each() {
    let mut desk = Desk::new(fake());
    let file = desk.folder.path().join("seen");
    let script = desk.folder.path().join("note");
    let text = "#!/bin/sh\necho \"$MESH_KIND $MESH_NAME $MESH_BY $1\" >> \"$2\"\n";
    std::fs::write(&script, text).unwrap();
    let typed = format!(
        "watch -n home --type kick --exec sh {} x {} ;",
        script.display(),
        file.display()
    );
    while_it_changes(&mut desk, &typed).await;
    assert_eq!(
        std::fs::read_to_string(file).unwrap(),
        "kick mallory alice x\n",
        "once, for the kick alone"
    );
}
