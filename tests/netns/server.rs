//! A network with servers: homes behind routers meet, and the server learns nothing and cannot lie unseen.

mod blind;
mod death;
mod disk;
mod hosting;
mod letters;
mod lies;
mod reach;
mod tcp;
mod wipe;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use mesh_tests::lab::{Daemon, Home, Host, Internet, Lab, Nat, Server, eventually};
use rusqlite::Connection;
use serde_json::Value;

use crate::world::{Node, find, text};

/// How soon two members must reach each other that meet through a server, and how soon another server takes over.
const MEET: Duration = Duration::from_secs(10);

/// An internet to build on.
struct World {
    internet: Internet,
    lab: Lab,
}

impl World {
    fn new(test: &str) -> Self {
        let lab = Lab::new(test);
        let internet = lab.internet();
        Self { internet, lab }
    }

    /// A machine with an address of its own that runs a server.
    fn server(&self, name: &str) -> Server {
        let (host, address) = self.internet.machine(&self.lab, name);
        Server::start(host, address, &[])
    }

    /// A home with the addresses that most homes have.
    fn home(&self, name: &str, nat: Nat) -> Home {
        self.internet.home(&self.lab, name, [192, 168, 1], nat)
    }

    /// A machine in a home, with a running daemon.
    fn node(&self, home: &Home, name: &str) -> Node {
        Node::new(home.machine(&self.lab, name))
    }
}

/// `mesh create home --as NAME --server TEXT …`.
#[track_caller]
fn create(host: &Host, servers: &[&Server]) {
    let mut args = vec!["create", "home", "--as", host.name()];
    for server in servers {
        args.extend(["--server", server.text()]);
    }
    let _ = host.mesh(&args).ok();
}

/// What `mesh status --json` of this host says of its only network.
#[track_caller]
fn status(host: &Host) -> Value {
    let status = host.mesh_json(&["status"]);
    let networks = find(&status, "networks").unwrap_or_else(|| panic!("no networks in {status}"));
    networks[0].clone()
}

/// What a host says of a peer.
#[track_caller]
fn peer(host: &Host, name: &str) -> Value {
    let status = status(host);
    let peers = status["peers"].as_array().cloned().unwrap_or_default();
    let peer = peers.into_iter().find(|peer| peer["name"] == name);
    peer.unwrap_or(Value::Null)
}

/// `direct`, `relay` or `offline`.
fn path(host: &Host, name: &str) -> String {
    peer(host, name)["reach"]
        .as_str()
        .unwrap_or("unknown")
        .to_owned()
}

/// Waits until the path from each of two members to the other is direct.
#[track_caller]
fn direct(one: &Host, other: &Host, limit: Duration) -> Duration {
    let what = format!(
        "{} and {} reach each other directly",
        one.name(),
        other.name()
    );
    eventually(limit, &what, || {
        path(one, other.name()) == "direct" && path(other, one.name()) == "direct"
    })
}

/// What a host says of a server.
#[track_caller]
fn server_view(host: &Host, address: Ipv4Addr) -> Value {
    let status = status(host);
    let servers = status["servers"].as_array().cloned().unwrap_or_default();
    let place = format!("{address}:");
    let server = servers
        .into_iter()
        .find(|server| text(server, "address").starts_with(&place));
    server.unwrap_or_else(|| panic!("no server {address} in {status}"))
}

/// Whether a host is connected to a server, and the server has confirmed to have stored all that the host knows.
fn has_all(host: &Host, address: Ipv4Addr) -> bool {
    let view = server_view(host, address);
    view["state"] == "connected" && view["lacking"] == 0
}

/// Waits until a server has all that each of these members knows.
#[track_caller]
fn stored(server: &Server, members: &[&Node], limit: Duration) {
    for member in members {
        let what = format!("{} has all of {}", server.host.name(), member.name());
        eventually(limit, &what, || has_all(member, server.address()));
    }
}

/// The events of a member's ledger: bytes by id.
fn ledger(host: &Host) -> BTreeMap<Vec<u8>, Vec<u8>> {
    events(&crate::world::database(host))
}

/// The events in a database, a member's or a server's: bytes by id. A copy is read, so the owner is not disturbed.
fn events(database: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let copies = tempfile::tempdir().unwrap();
    let copy = copies.path().join("copy.db");
    let journal = |path: &Path| {
        let mut name = path.as_os_str().to_owned();
        name.push("-wal");
        std::path::PathBuf::from(name)
    };
    std::fs::copy(database, &copy).unwrap();
    let _ = std::fs::copy(journal(database), journal(&copy));
    let connection = Connection::open(&copy).unwrap();
    let mut rows = connection.prepare("SELECT id, bytes FROM event").unwrap();
    let rows = rows
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    rows.map(Result::unwrap).collect()
}

/// A ping that goes on until it is told to stop.
struct Pinging(Daemon);

impl Pinging {
    /// Ten a second.
    fn start(host: &Host, to: Ipv4Addr) -> Self {
        let args = ["-n", "-i", "0.1", &to.to_string()];
        let ping = host.start("ping", "ping", &args);
        eventually(MEET, "the first answer", || {
            ping.log().contains("icmp_seq=")
        });
        Self(ping)
    }

    /// How many answers there were so far.
    fn answers(&self) -> usize {
        self.0.log().matches("bytes from").count()
    }

    /// How many were sent, and how many answered.
    fn stop(mut self) -> (u32, u32) {
        // On SIGINT, and on no other signal, it sums up.
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.0.pid()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
        let log = || self.0.log();
        let deadline = Duration::from_secs(5);
        let summary = |log: &str| {
            let line = log
                .lines()
                .find(|line| line.contains("packets transmitted"))?;
            let numbers: Vec<u32> = line
                .split(' ')
                .filter_map(|word| word.parse().ok())
                .collect();
            Some((*numbers.first()?, *numbers.get(1)?))
        };
        eventually(deadline, "ping sums up", || summary(&log()).is_some());
        let figures = summary(&log()).unwrap();
        self.0.kill9();
        figures
    }
}
