//! Servers: add, remove, list, and how they do.

use mesh_control::call::Call;
use mesh_control::fake::{Fake, examples};
use mesh_control::reply::{self, Reply};
use mesh_control::view::{RelayUse, ServerState, ServerView};
use mesh_control::{Code, Error};

use crate::desk::{Desk, server};

fn servers(servers: Vec<ServerView>) -> Result<Reply, Error> {
    Ok(Reply::Servers(reply::Servers {
        network: "home".to_owned(),
        servers,
    }))
}

fn changed(state: ServerState) -> Result<Reply, Error> {
    Ok(Reply::ServerChanged(reply::ServerChanged {
        network: "home".to_owned(),
        server: ServerView {
            state,
            ..examples::server()
        },
        event: examples::event("5e90a7f1"),
        spread: examples::spread(),
    }))
}

fn another(address: &str, key: &str, state: ServerState) -> ServerView {
    ServerView {
        key: examples::id(key),
        short: key.to_owned(),
        address: address.to_owned(),
        since_ms: examples::NOW_MS - 720_000,
        state,
        events: None,
        lacking: 48,
        rtt_us: None,
        relay: RelayUse::None,
        accusations: Vec::new(),
    }
}

fn all_kinds() -> Vec<ServerView> {
    let mut behind = another("[2001:db8::7]:7443", "0badcafe", ServerState::Connected);
    (behind.events, behind.lacking) = (Some(45), 3);
    (behind.rtt_us, behind.relay) = (Some(80_100), RelayUse::Ready);
    vec![
        examples::lying_server(),
        behind,
        another("203.0.113.7:443", "c0113c70", ServerState::Connecting),
        another(
            "bkp.example.org:7443",
            "0ddba115",
            ServerState::Unreachable {
                why: "no answer".to_owned(),
            },
        ),
        another(
            "other.example.org:7443",
            "ca5cade0",
            ServerState::Refused {
                why: "it does not host home, and the permit is not its own".to_owned(),
            },
        ),
    ]
}

#[tokio::test]
async fn server_ls_and_status() {
    let not_found = Error::new(Code::NotFound, "no network hom here");
    let networks = Reply::Networks(reply::Networks {
        networks: vec![examples::network()],
    });
    let fake = Fake::default()
        .on("networks", Ok(networks))
        .on("server_list", servers(vec![examples::server()]))
        .on("server_list", servers(all_kinds()))
        .on("server_list", servers(all_kinds()))
        .on("server_list", servers(vec![]))
        .on("server_list", servers(vec![examples::lying_server()]))
        .on("server_list", servers(vec![examples::server()]))
        .on("server_list", servers(all_kinds()))
        .on("server_list", servers(all_kinds()))
        .on("server_list", servers(vec![]))
        .on("server_list", Err(not_found));
    let mut desk = Desk::new(fake);
    desk.pipe("server ls").await;
    desk.pipe("server ls").await;
    desk.tty(60, "server ls").await;
    desk.tty(80, "server ls").await;
    desk.pipe("server ls --json").await;
    desk.pipe("server").await;
    desk.tty(80, "server status --ascii").await;
    desk.tty(80, "server --color always").await;
    desk.pipe("server status").await;
    desk.pipe("server status -n hom").await;
    desk.compare("server_status");
}

#[tokio::test]
async fn server_add_and_rm() {
    let not_admin = || Err(Error::new(Code::NotPermitted, "only admins can do that"));
    let missing = || {
        let error = Error::new(Code::NotFound, "no server vpm.example.org in home");
        Err(error.hint("mesh server ls"))
    };
    let there = Error::new(Code::Conflict, "home has that server").hint("mesh server ls");
    let fake = Fake::default()
        .on("server_add", changed(ServerState::Connecting))
        .on("server_add", changed(ServerState::Connected))
        .on("server_add", changed(ServerState::Connected))
        .on("server_add", changed(ServerState::Connected))
        .on("server_add", Err(there))
        .on("server_add", not_admin())
        .on("server_remove", changed(ServerState::Connected))
        .on("server_remove", changed(ServerState::Connected))
        .on("server_remove", missing())
        .on("server_list", servers(all_kinds()));
    let mut desk = Desk::new(fake);
    let file = desk.folder.path().join("server");
    std::fs::write(&file, format!("{}\n", server())).unwrap();
    desk.pipe(&format!("server add {}", server())).await;
    desk.input = format!(" {}\n", server());
    desk.tty(100, "server add -").await;
    desk.pipe(&format!("server add @{}", file.display())).await;
    desk.pipe(&format!("server add {} --json", server())).await;
    desk.pipe(&format!("server add {}", server())).await;
    desk.pipe(&format!("server add {} -n home", server())).await;
    desk.pipe("server rm vpn.example.org").await;
    desk.pipe(&format!("server rm {}", server())).await;
    desk.pipe("server rm vpm.example.org").await;
    desk.pipe("server rm elsewhere").await;
    desk.pipe("server add vpn.example.org").await;
    desk.pipe("server add").await;
    desk.compare("server_add_rm");
    let asked = desk.fake.asked();
    let added = asked.iter().filter_map(|call| match call {
        Call::ServerAdd(add) => Some(add.server.reveal()),
        _ => None,
    });
    assert!(added.eq([server().as_str(); 6]));
    let removed = asked.iter().filter_map(|call| match call {
        Call::ServerRemove(remove) => Some(remove.server.as_str()),
        _ => None,
    });
    let removed: Vec<&str> = removed.take(2).collect();
    assert_eq!(removed, ["vpn.example.org", "vpn.example.org:7443"]);
}

#[tokio::test]
async fn servers_in_a_status() {
    let statuses = |servers| {
        let mut status = examples::status();
        status.servers = servers;
        let networks = vec![status];
        Ok(Reply::Statuses(reply::Statuses { networks }))
    };
    let fake = Fake::default()
        .on("status", statuses(vec![examples::lying_server()]))
        .on("status", statuses(all_kinds()))
        .on("status", statuses(vec![examples::server()]))
        .on("status", statuses(vec![]));
    let mut desk = Desk::new(fake);
    desk.tty(80, "status --check").await;
    desk.pipe("status --check").await;
    desk.pipe("status --check --quiet").await;
    desk.pipe("status --check").await;
    desk.compare("status_servers");
}

#[tokio::test]
async fn the_secret_of_a_server_is_not_repeated_into_a_log() {
    let networks = Reply::Networks(reply::Networks {
        networks: vec![examples::network()],
    });
    let unknown = Error::new(Code::NotFound, "no network hom here");
    let fake = Fake::default()
        .on("networks", Ok(networks))
        .on("server_add", Err(unknown));
    let desk = Desk::new(fake);
    let add = format!("server add {} -n hom", server());
    let (_, err, exit) = desk.run(None, &add).await;
    assert!(err.contains("mesh server add SERVER -n home"), "{err}");
    assert_eq!(exit, 5);
    let (_, err, _) = desk.run(Some(200), &add).await;
    assert!(err.contains(&format!("'{}' -n home", server())), "{err}");
}
