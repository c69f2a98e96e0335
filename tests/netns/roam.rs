//! What changes under an established connection: a router that forgets, an address, a cable, a server. A download that began
//! before goes on, and is whole in the end.

use std::net::{IpAddr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use mesh_tests::lab::{Cut, Download, Home, Host, Internet, Lab, Link, Nat, Server, eventually};

use crate::world::{LONG, Node, invite, join};

/// Two homes and a server, and a member in each home.
pub(crate) struct World {
    pub(crate) homes: [Home; 2],
    pub(crate) alice: Node,
    pub(crate) bob: Node,
    server: Server,
    /// Alice's own cable.
    cable: Link,
    _lab: Lab,
}

/// What the server is called, where that matters.
const SERVER: &str = "vpn.lab";

impl World {
    pub(crate) fn new(test: &str) -> Self {
        Self::with(test, |_, _, _| ())
    }

    /// The same, but alice has IPv6 alone, and the others have both.
    fn with_ipv6(test: &str) -> Self {
        Self::with(test, |internet, homes, [server, alice, bob]| {
            let v4 = server.ip("-4 -brief address show eth0");
            let v4 = v4.split_whitespace().nth(2).unwrap();
            let v4: IpAddr = v4.split('/').next().unwrap().parse().unwrap();
            let addresses = [v4, internet.add_ipv6(server).into()];
            for (home, host) in homes.iter().zip([alice, bob]) {
                home.have_ipv6(internet);
                home.add_ipv6(host);
                host.knows(SERVER, &addresses);
            }
            alice.drop_ipv4();
        })
    }

    /// With a change before the programs start, to the server, alice and bob among others.
    pub(crate) fn with(test: &str, change: impl FnOnce(&Internet, &[Home; 2], [&Host; 3])) -> Self {
        let lab = Lab::new(test);
        let internet = lab.internet();
        let (host, address) = internet.machine(&lab, "server");
        let home = |name| internet.home(&lab, name, [192, 168, 1], Nat::PortRestricted);
        let homes = [home("alices"), home("bobs")];
        let (alice, bob) = (lab.host("alice"), homes[1].machine(&lab, "bob"));
        let cable = homes[0].plug(&alice);
        alice.knows(SERVER, &[address.into()]);
        bob.knows(SERVER, &[address.into()]);
        change(&internet, &homes, [&host, &alice, &bob]);
        let server = Server::start_named(host, address, SERVER);
        let (alice, bob) = (Node::new(alice), Node::new(bob));
        let args = ["create", "home", "--as", "alice", "--server", server.text()];
        let _ = alice.mesh(&args).ok();
        join(&bob, &invite(&alice, &[]));
        let _ = bob.mesh(&["share", "8080/tcp"]).ok();
        alice.reaches(bob.addresses().0, LONG);
        let world = Self {
            homes,
            alice,
            bob,
            server,
            cable,
            _lab: lab,
        };
        world.both_straight(LONG);
        world
    }

    pub(crate) fn both_straight(&self, limit: Duration) -> Duration {
        let mut late = Some(Instant::now() + limit.saturating_sub(Duration::from_secs(1)));
        eventually(limit, "both have a straight way", || {
            let both = straight(&self.alice, "bob") && straight(&self.bob, "alice");
            // What is in the way is said while it still is.
            if !both && late.take_if(|at| Instant::now() > *at).is_some() {
                println!("{}", self.alice.mesh(&["path", "bob"]).stdout);
                println!("{}", self.bob.mesh(&["path", "alice"]).stdout);
                println!("{}", self.alice.mesh(&["netcheck"]).stdout);
            }
            both
        })
    }

    /// Where alice downloads from bob.
    pub(crate) fn file(&self) -> SocketAddr {
        (self.bob.addresses().0, 8080).into()
    }

    fn download(&self) -> Download {
        Download::endless(&self.alice, &self.bob, self.file(), LONG)
    }

    /// After a change that the download goes on after, and that leaves a straight way possible.
    fn goes_on(&self, download: &Download, limit: Duration, change: &str) {
        let took = download.goes_on(limit);
        let straight = self.both_straight(STRAIGHT_AGAIN);
        println!("after {change}: {took:?}, and straight {straight:?} later");
        download.brings(PART, 2 * LONG);
    }
}

/// Whether packets take a way past the link.
pub(crate) fn straight(host: &Host, peer: &str) -> bool {
    way(host, &[peer]).is_some()
}

/// The address that packets go to, past the link. Who is meant stands in words behind `mesh path`.
pub(crate) fn way(host: &Host, words: &[&str]) -> Option<SocketAddr> {
    let told = host.mesh_json(&[&["path"], words].concat());
    let ways = told["ways"].as_array().cloned().unwrap_or_default();
    let mut used = ways
        .iter()
        .filter(|way| way["state"] == "in_use" && way["kind"] != "link");
    used.next()?["to"].as_str()?.parse().ok()
}

/// The first of its addresses, as `ip` names it: `192.168.1.7/24`.
fn address(host: &Host, family: &str) -> String {
    let told = host.ip(&format!(
        "{family} -brief address show dev eth0 scope global"
    ));
    told.split_whitespace().nth(2).unwrap().to_owned()
}

/// How soon the download goes on after a change, as network.md has it: after the router of a home began anew,
const NAT_REBOOT: Duration = Duration::from_secs(15);
/// after a machine has another address, or its cable is back,
const ROAM: Duration = Duration::from_secs(10);
/// and after the way that it takes is swallowed, which is left by then as well.
const FALL_BACK: Duration = Duration::from_secs(10);
/// A server that is gone is missed by nobody who has a straight way.
const SERVER_GONE: Duration = Duration::from_secs(5);
/// How soon there is a straight way again, when there can be one again and nobody is told.
const STRAIGHT_AGAIN: Duration = Duration::from_secs(10);
/// What is to arrive between two changes, in bytes.
const PART: u64 = 2_000_000;

fn finish(download: Download) {
    download.brings(PART, 2 * LONG);
    println!("{:?}", download.finish(LONG));
}

#[test]
fn a_download_outlives_a_router_that_forgets_a_new_address_cut_cables_and_the_server() {
    let mut world = World::new("roam");
    let download = world.download();
    download.brings(PART, 2 * LONG);

    // The router comes back with other mappings.
    let router = &world.homes[0].router;
    let outside = format!("{}/24", world.homes[0].public());
    router.ip("link set eth1 down");
    router.ip("link set eth1 up");
    world.goes_on(
        &download,
        NAT_REBOOT,
        "the router of alice forgot everything",
    );
    assert!(router.ip("-4 address show eth1").contains(&outside));

    // Alice gets another address at home.
    let alice = &world.alice;
    let old = address(alice, "-4");
    alice.ip(&format!("address del {old} dev eth0"));
    alice.ip("address add 192.168.1.77/24 dev eth0");
    alice.ip("route replace default via 192.168.1.254");
    world.goes_on(&download, ROAM, "alice had another address");

    // Her cable is pulled, and put back.
    world.cable.cut(Cut::Down);
    thread::sleep(Duration::from_secs(3));
    world.cable.heal();
    world.goes_on(&download, ROAM, "three seconds without a carrier");

    // The cable of her home is cut for a while, and nobody is told.
    world.homes[0].uplink.cut(Cut::Silent);
    thread::sleep(Duration::from_secs(5));
    world.homes[0].uplink.heal();
    world.goes_on(
        &download,
        ROAM,
        "five seconds without a way out of the house",
    );

    let before = Instant::now();
    world.server.kill9();
    let took = download.goes_on(SERVER_GONE);
    println!("after the server was gone: {took:?}");
    // Through the time in which all links notice.
    while before.elapsed() < Duration::from_secs(15) {
        download.goes_on(SERVER_GONE);
    }
    finish(download);
}

#[test]
fn a_download_moves_from_a_straight_way_to_the_relay_and_back_and_there_again() {
    let world = World::new("relay and back");
    let download = world.download();
    download.brings(PART, 2 * LONG);
    let lose = || {
        // What goes straight is swallowed; the server is still reached.
        let before = Instant::now();
        world.homes[0].lose(world.homes[1].public());
        let took = download.goes_on(FALL_BACK);
        println!("from the straight way to the relay: {took:?}");
        let left = FALL_BACK.saturating_sub(before.elapsed());
        eventually(left, "alice has left the way", || {
            !straight(&world.alice, "bob")
        });
        download.brings(PART, 2 * LONG);
    };
    lose();
    world.homes[0].find(world.homes[1].public());
    let took = world.both_straight(STRAIGHT_AGAIN);
    println!("straight again after {took:?}");
    download.brings(PART, 2 * LONG);
    lose();
    finish(download);
}

#[test]
fn a_download_by_ipv6_outlives_a_new_address() {
    let world = World::with_ipv6("roam by ipv6");
    let to = way(&world.bob, &["alice"]).unwrap();
    assert!(to.is_ipv6(), "bob reaches alice at {to}");
    let download = world.download();
    download.brings(PART, 2 * LONG);
    let alice = &world.alice;
    let old = address(alice, "-6");
    alice.ip(&format!("address del {old} dev eth0"));
    world.homes[0].add_ipv6(alice);
    world.goes_on(&download, ROAM, "alice had another IPv6 address");
    let new = address(alice, "-6");
    eventually(STRAIGHT_AGAIN, "bob reaches alice at the new one", || {
        let to = way(&world.bob, &["alice"]).map(|to| to.ip().to_string());
        to.as_deref() == new.split('/').next()
    });
    finish(download);
}
