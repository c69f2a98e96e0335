//! Which members reach each other straight, by the routers they are behind.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use mesh_tests::lab::{Home, Host, Internet, Lab, Nat, Server, eventually};
use serde_json::Value;

use crate::world::{LONG, Node, SOON, invite, join};

/// How soon a pair must have a straight way, where there can be one, from when both are members.
const STRAIGHT: Duration = Duration::from_secs(20);

/// A kind of place, and how many machines are in such places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Public,
    Behind(&'static str, u8),
    BehindProvider,
    /// Port-restricted, and IPv6 beside it behind a firewall that lets in what answers.
    DualStack,
    /// The same with IPv6 alone.
    V6Only,
}

impl Place {
    fn word(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Behind(word, _) => word,
            Self::BehindProvider => "CGN",
            Self::DualStack => "dual-stack",
            Self::V6Only => "v6-only",
        }
    }

    /// Whether datagrams can pass at all.
    fn has_udp(self) -> bool {
        self.word() != "UDP blocked"
    }

    /// Whether each peer sees another port of it.
    fn changes(self) -> bool {
        self.word() == "symmetric"
    }

    /// Whether it lets in only what comes from an address and port that it sent to.
    fn strict(self) -> bool {
        ["port-restricted", "CGN", "dual-stack", "symmetric"].contains(&self.word())
    }

    fn has_ipv4(self) -> bool {
        self != Self::V6Only
    }

    fn has_ipv6(self) -> bool {
        [Self::DualStack, Self::V6Only].contains(&self)
    }
}

const PLACES: [Place; 14] = [
    Place::Public,
    Place::Behind("one-to-one", 0),
    Place::Behind("full cone", 1),
    Place::Behind("address-restricted", 2),
    Place::Behind("port-restricted", 3),
    Place::Behind("port-restricted", 3),
    Place::BehindProvider,
    Place::BehindProvider,
    Place::Behind("symmetric", 4),
    Place::Behind("symmetric", 4),
    Place::Behind("UDP blocked", 3),
    Place::DualStack,
    Place::V6Only,
    Place::V6Only,
];

/// What the server is called: it has addresses of both families.
const SERVER: &str = "vpn.lab";

const NATS: [Nat; 5] = [
    Nat::OneToOne,
    Nat::FullCone,
    Nat::AddressRestricted,
    Nat::PortRestricted,
    Nat::Symmetric,
];

fn possible(a: Place, b: Place) -> bool {
    let hard = |one: Place, other: Place| one.changes() && other.strict();
    let v4 = a.has_ipv4() && b.has_ipv4() && !hard(a, b) && !hard(b, a);
    let v6 = a.has_ipv6() && b.has_ipv6();
    a.has_udp() && b.has_udp() && (v4 || v6)
}

#[test]
fn each_kind_of_router_is_what_it_is_called() {
    let lab = Lab::new("nats");
    let internet = lab.internet();
    let (near, address) = internet.machine(&lab, "near");
    let (far, far_address) = internet.machine(&lab, "far");
    let outside = ["0.0.0.0:3000", "0.0.0.0:3001"].map(|own| near.udp(own));
    let other = far.udp("0.0.0.0:3000");
    let targets = [
        SocketAddr::from((address, 3000)),
        SocketAddr::from((address, 3001)),
        SocketAddr::from((far_address, 3000)),
    ];
    for (nat, (name, same, filter)) in NATS.into_iter().zip([
        ("one-to-one", true, "all"),
        ("full-cone", true, "all"),
        ("address-restricted", true, "address"),
        ("port-restricted", true, "port"),
        ("symmetric", false, "port"),
    ]) {
        let home = internet.home(&lab, name, [192, 168, 1], nat);
        let inside = home
            .machine(&lab, &format!("{name}-inside"))
            .udp("0.0.0.0:51821");
        inside.send_to(b"out", targets[0]).unwrap();
        let first = heard(&outside[0], SOON).unwrap();
        assert_eq!(first.ip(), home.public());
        // Who may answer: the one that was asked, another port of its, another machine.
        let due = match filter {
            "all" => [true, true, true],
            "address" => [true, true, false],
            _ => [true, false, false],
        };
        for (from, due) in [&outside[0], &outside[1], &other].into_iter().zip(due) {
            from.send_to(b"in", first).unwrap();
            let limit = if due {
                SOON
            } else {
                Duration::from_millis(300)
            };
            let came = heard(&inside, limit).is_some();
            assert_eq!(came, due, "{name} filters otherwise");
        }
        inside.send_to(b"out", targets[1]).unwrap();
        assert_eq!(
            heard(&outside[1], SOON) == Some(first),
            same,
            "{name} maps otherwise"
        );
        inside.send_to(b"out", targets[2]).unwrap();
        assert_eq!(
            heard(&other, SOON) == Some(first),
            same,
            "{name} maps otherwise"
        );
    }
}

/// Where the next datagram comes from; none, if there is none within `limit`.
fn heard(socket: &UdpSocket, limit: Duration) -> Option<SocketAddr> {
    socket.set_read_timeout(Some(limit)).unwrap();
    socket.recv_from(&mut [0; 64]).ok().map(|(_, from)| from)
}

#[test]
fn every_pair_of_places_is_connected_and_straight_where_a_way_can_be() {
    let lab = Lab::new("matrix");
    let internet = lab.internet();
    let (host, address) = internet.machine(&lab, "server");
    let addresses = [IpAddr::from(address), internet.add_ipv6(&host).into()];
    host.knows(SERVER, &addresses);
    let server = Server::start_named(host, address, SERVER);
    let mut homes = Vec::new();
    let mut nodes: Vec<Node> = Vec::new();
    for (n, place) in PLACES.into_iter().enumerate() {
        let host = machine(&lab, &internet, place, n, &mut homes);
        host.knows(SERVER, &addresses);
        // Before it joins.
        if !place.has_udp() {
            homes.last().unwrap().block_udp();
        }
        let node = Node::new(host);
        if let Some(first) = nodes.first() {
            join(&node, &invite(first, &[]));
        } else {
            let args = [
                "create",
                "home",
                "--as",
                node.name(),
                "--server",
                server.text(),
            ];
            let _ = node.mesh(&args).ok();
        }
        nodes.push(node);
    }
    let pairs = (0..nodes.len()).flat_map(|a| (a + 1..PLACES.len()).map(move |b| (a, b)));
    let pairs: Vec<(usize, usize)> = pairs.collect();
    for (a, b) in &pairs {
        nodes[*a].reaches(nodes[*b].addresses().0, LONG);
    }
    let mut table = String::new();
    for (a, b) in pairs {
        let (one, other) = (PLACES[a], PLACES[b]);
        let straight =
            || is_straight(&nodes[a], nodes[b].name()) && is_straight(&nodes[b], nodes[a].name());
        let took = if possible(one, other) {
            let what = format!("{} and {} have a straight way", one.word(), other.word());
            format!(
                "straight, {:?} after the first look",
                eventually(STRAIGHT, &what, straight)
            )
        } else {
            // It had as long as the others.
            assert!(
                !straight(),
                "{} and {} cannot be straight",
                one.word(),
                other.word()
            );
            "through the server".to_owned()
        };
        table += &format!("{:20}{:20}{took}\n", one.word(), other.word());
        nodes[a].reaches(nodes[b].addresses().0, LONG);
        nodes[b].reaches(nodes[a].addresses().0, LONG);
    }
    println!("{table}");
}

fn machine(lab: &Lab, internet: &Internet, place: Place, n: usize, homes: &mut Vec<Home>) -> Host {
    let name = format!("node{n}");
    let net = [192, 168, 1];
    let home = match place {
        Place::Public => return internet.machine(lab, &name).0,
        Place::Behind(_, nat) => {
            internet.home(lab, &format!("home{n}"), net, NATS[usize::from(nat)])
        }
        Place::BehindProvider => {
            let (home, provider) = internet.home_behind_provider(lab, &format!("home{n}"), net);
            homes.push(provider);
            home
        }
        Place::DualStack | Place::V6Only => {
            let home = internet.home(lab, &format!("home{n}"), net, Nat::PortRestricted);
            home.have_ipv6(internet);
            home
        }
    };
    let host = home.machine(lab, &name);
    if place.has_ipv6() {
        home.add_ipv6(&host);
    }
    if !place.has_ipv4() {
        host.drop_ipv4();
    }
    homes.push(home);
    host
}

/// Whether packets of a host to a peer take a way past the link.
fn is_straight(host: &Host, peer: &str) -> bool {
    let told = host.mesh_json(&["path", peer]);
    let ways = told["ways"].as_array().cloned().unwrap_or_default();
    let in_use = |way: &Value| way["state"] == "in_use" && way["kind"] != "link";
    ways.iter().any(in_use)
}
