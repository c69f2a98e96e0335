//! What the tests share: machines on a LAN that are a mesh, and short words for what a user types and reads.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Deref;
use std::path::PathBuf;
use std::time::Duration;

use mesh_tests::lab::{Daemon, Host, Lab, Lan, eventually};
use serde_json::Value;

/// How soon one machine's act must be known to the others on a LAN.
pub(crate) const SOON: Duration = Duration::from_secs(5);
/// For what has no bound of its own: long enough that only a hang exceeds it.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// A machine with a daemon that the test started.
pub(crate) struct Node {
    daemon: Option<Daemon>,
    pub(crate) host: Host,
}

/// Machines on one LAN that are members of one network, `home`. The first is its owner.
pub(crate) struct Mesh {
    pub(crate) nodes: Vec<Node>,
    pub(crate) lan: Lan,
    pub(crate) lab: Lab,
}

impl Mesh {
    /// Makes the machines `names`, the network, and everybody a member of it.
    pub(crate) fn new(test: &str, names: &[&str]) -> Self {
        let mesh = Self::apart(test, names);
        create(&mesh.nodes[0]);
        for node in &mesh.nodes[1..] {
            let ticket = invite(&mesh.nodes[0], &[]);
            join(node, &ticket);
        }
        mesh.all_know(names.len());
        mesh
    }

    /// Makes the machines, with running daemons and no network.
    pub(crate) fn apart(test: &str, names: &[&str]) -> Self {
        let lab = Lab::new(test);
        let lan = lab.lan("lan", [192, 168, 7]);
        let nodes = names.iter().zip(1..).map(|(name, last)| {
            let host = lab.host(name);
            lan.plug(&host, last);
            Node::new(host)
        });
        let nodes = nodes.collect();
        Self { nodes, lan, lab }
    }

    /// Waits until every running node shows `count` members and holds the same state.
    pub(crate) fn all_know(&self, count: usize) {
        let running: Vec<_> = self
            .nodes
            .iter()
            .filter(|node| node.daemon.is_some())
            .collect();
        eventually(LONG, &format!("all show {count} members"), || {
            running.iter().all(|node| members(node).len() == count)
        });
        self.agree(LONG);
    }

    /// Waits until every running node holds the same state.
    pub(crate) fn agree(&self, limit: Duration) -> Duration {
        let running: Vec<_> = self
            .nodes
            .iter()
            .filter(|node| node.daemon.is_some())
            .collect();
        agree(&running, limit)
    }
}

/// Waits until `nodes` hold the same state.
#[track_caller]
pub(crate) fn agree(nodes: &[&Node], limit: Duration) -> Duration {
    let names: Vec<_> = nodes.iter().map(|node| node.name()).collect();
    eventually(limit, &format!("{names:?} hold the same state"), || {
        nodes
            .iter()
            .map(|node| state_hash(node))
            .collect::<BTreeSet<_>>()
            .len()
            == 1
    })
}

impl Node {
    /// A machine with a running daemon.
    pub(crate) fn new(host: Host) -> Self {
        Self {
            daemon: Some(host.meshd()),
            host,
        }
    }

    /// Starts the daemon again.
    pub(crate) fn start(&mut self) {
        assert!(self.daemon.is_none(), "the daemon of {} runs", self.name());
        self.daemon = Some(self.host.meshd());
    }

    /// Stops the daemon as a service manager does.
    pub(crate) fn stop(&mut self) {
        let status = self.daemon.take().expect("the daemon runs").stop();
        assert!(
            status.success(),
            "meshd on {} ended with {status}",
            self.name()
        );
    }

    /// Kills the daemon.
    pub(crate) fn kill9(&mut self) {
        self.daemon.take().expect("the daemon runs").kill9();
    }

    /// Its running daemon.
    pub(crate) fn process(&self) -> &Daemon {
        self.daemon.as_ref().expect("the daemon runs")
    }

    /// Its IPv4 and IPv6 address in the network.
    pub(crate) fn addresses(&self) -> (Ipv4Addr, Ipv6Addr) {
        addresses(self)
    }
}

impl Deref for Node {
    type Target = Host;

    fn deref(&self) -> &Host {
        &self.host
    }
}

/// `mesh create home --as NAME`.
pub(crate) fn create(host: &Host) {
    let _ = host.mesh(&["create", "home", "--as", host.name()]).ok();
}

/// `mesh invite`, and the ticket it prints.
pub(crate) fn invite(host: &Host, options: &[&str]) -> String {
    let output = host.mesh(&[&["invite"], options].concat()).ok();
    let ticket = output.stdout.trim();
    assert!(
        ticket.starts_with("MESH:1:") && ticket.lines().count() == 1,
        "standard output is the ticket: {output}"
    );
    ticket.to_owned()
}

/// `mesh join TICKET --as NAME`.
pub(crate) fn join(host: &Host, ticket: &str) {
    let _ = host.mesh(&["join", ticket, "--as", host.name()]).ok();
}

/// The host's own IPv4 and IPv6 address in its network.
pub(crate) fn addresses(host: &Host) -> (Ipv4Addr, Ipv6Addr) {
    let networks = host.mesh_json(&["networks"]);
    let network = &networks["networks"][0];
    (
        text(network, "address").parse().unwrap(),
        text(network, "address6").parse().unwrap(),
    )
}

/// The names of the members, as this host sees them.
pub(crate) fn members(host: &Host) -> BTreeSet<String> {
    let listed = host.mesh_json(&["member", "ls"]);
    listed["members"]
        .as_array()
        .unwrap()
        .iter()
        .map(|member| text(member, "name"))
        .collect()
}

/// The hash of the state of its network.
pub(crate) fn state_hash(host: &Host) -> String {
    let status = host.mesh_json(&["status"]);
    find(&status, "state_hash")
        .and_then(Value::as_str)
        .expect("`mesh status --json` shows state_hash")
        .to_owned()
}

/// An event as the log shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) id: String,
    pub(crate) by: String,
    pub(crate) kind: String,
    pub(crate) text: String,
    /// Why it does not count, if it does not.
    pub(crate) void: Option<String>,
}

/// `mesh log --json`, in the network's order.
pub(crate) fn log(host: &Host) -> Vec<Entry> {
    let log = host.mesh_json(&["log"]);
    let entries = log["entries"].as_array().unwrap().iter();
    entries
        .map(|entry| Entry {
            id: text(&entry["event"], "id"),
            by: text(entry, "by"),
            kind: text(entry, "kind"),
            text: text(entry, "text"),
            void: entry["verdict"]["void"]["reason"]
                .as_str()
                .map(str::to_owned),
        })
        .collect()
}

/// The ids of the events that do not count, and why.
pub(crate) fn void_acts(host: &Host) -> Vec<(String, String)> {
    log(host)
        .into_iter()
        .filter_map(|entry| Some((entry.id, entry.void?)))
        .collect()
}

/// The database of the only network of a host.
pub(crate) fn database(host: &Host) -> PathBuf {
    let folder = host.dir().join("var/lib/mesh/networks");
    let mut networks = std::fs::read_dir(&folder).unwrap().flatten();
    let network = networks
        .next()
        .unwrap_or_else(|| panic!("no network in {}", folder.display()));
    network.path().join("ledger.db")
}

/// A field that must be text.
#[track_caller]
pub(crate) fn text(value: &Value, key: &str) -> String {
    value[key]
        .as_str()
        .unwrap_or_else(|| panic!("no text {key:?} in {value}"))
        .to_owned()
}

/// The first value of this key, at any depth.
pub(crate) fn find<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    match value {
        Value::Object(fields) => fields
            .get(key)
            .or_else(|| fields.values().find_map(|field| find(field, key))),
        Value::Array(items) => items.iter().find_map(|item| find(item, key)),
        _ => None,
    }
}

/// Both addresses as one type.
pub(crate) fn both((v4, v6): (Ipv4Addr, Ipv6Addr)) -> [IpAddr; 2] {
    [v4.into(), v6.into()]
}
