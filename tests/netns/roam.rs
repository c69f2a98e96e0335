//! What changes under an established connection: a router that forgets, an address, a cable, a server. The connection lives.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mesh_tests::lab::{Cut, Home, Host, Lab, Nat, Server, eventually};

use crate::world::{LONG, Node, invite, join};

/// Two homes and a server, and a member in each home.
struct World {
    homes: [Home; 2],
    alice: Node,
    bob: Node,
    server: Server,
    _lab: Lab,
}

impl World {
    fn new(test: &str) -> Self {
        let lab = Lab::new(test);
        let internet = lab.internet();
        let (host, address) = internet.machine(&lab, "server");
        let server = Server::start(host, address, &[]);
        let home = |name| internet.home(&lab, name, [192, 168, 1], Nat::PortRestricted);
        let homes = [home("alices"), home("bobs")];
        let (alice, bob) = (
            Node::new(homes[0].machine(&lab, "alice")),
            Node::new(homes[1].machine(&lab, "bob")),
        );
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
            _lab: lab,
        };
        world.both_straight(LONG);
        world
    }

    fn both_straight(&self, limit: Duration) -> Duration {
        eventually(limit, "both have a straight way", || {
            straight(&self.alice, "bob") && straight(&self.bob, "alice")
        })
    }
}

fn straight(host: &Host, peer: &str) -> bool {
    let told = host.mesh_json(&["path", peer]);
    let ways = told["ways"].as_array().cloned().unwrap_or_default();
    ways.iter()
        .any(|way| way["state"] == "in_use" && way["kind"] != "link")
}

/// A TCP connection on which data goes there and back all the time, and each byte is checked.
struct Talk {
    stop: Arc<AtomicBool>,
    rounds: Arc<AtomicU64>,
    thread: Option<JoinHandle<std::io::Result<()>>>,
}

impl Talk {
    fn start(from: &Host, to: SocketAddr) -> Self {
        let stream = from.connect(to, LONG).unwrap();
        stream.set_read_timeout(Some(2 * LONG)).unwrap();
        let (stop, rounds) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let (ends, counts) = (stop.clone(), rounds.clone());
        let thread = Some(thread::spawn(move || talk(stream, &ends, &counts)));
        let talk = Self {
            stop,
            rounds,
            thread,
        };
        talk.goes_on(LONG);
        talk
    }

    /// How long it takes until data that is sent from now on has come back.
    fn goes_on(&self, limit: Duration) -> Duration {
        let seen = self.rounds.load(Ordering::SeqCst);
        eventually(limit, "the connection goes on", || {
            self.rounds.load(Ordering::SeqCst) >= seen + 2
        })
    }

    /// Ends it: all that was sent came back.
    fn finish(mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let result = self.thread.take().unwrap().join().unwrap();
        result.unwrap();
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

fn talk(mut stream: TcpStream, stop: &AtomicBool, rounds: &AtomicU64) -> std::io::Result<()> {
    let mut state = 1u32;
    while !stop.load(Ordering::SeqCst) {
        let sent: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .take(4000)
        .collect();
        stream.write_all(&sent)?;
        let mut back = vec![0; sent.len()];
        stream.read_exact(&mut back)?;
        assert!(sent == back, "what came back is what was sent");
        rounds.fetch_add(1, Ordering::SeqCst);
        // A load that leaves the machine idle.
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

#[test]
fn a_connection_outlives_a_router_that_forgets_a_new_address_a_cut_cable_and_the_server() {
    let mut world = World::new("roam");
    let _echo = world.bob.echo_tcp(8080);
    let talk = Talk::start(&world.alice, (world.bob.addresses().0, 8080).into());

    // The router comes back with other mappings.
    let router = &world.homes[0].router;
    let outside = format!("{}/24", world.homes[0].public());
    router.ip("link set eth1 down");
    router.ip("link set eth1 up");
    let took = talk.goes_on(Duration::from_secs(15));
    println!("after the router of alice forgot everything: {took:?}");
    assert!(router.ip("-4 address show eth1").contains(&outside));

    // Alice gets another address at home.
    let alice = &world.alice;
    let old = alice.ip("-4 -brief address show eth0");
    let old = old.split_whitespace().nth(2).unwrap().to_owned();
    alice.ip(&format!("address del {old} dev eth0"));
    alice.ip("address add 192.168.1.77/24 dev eth0");
    alice.ip("route replace default via 192.168.1.254");
    let took = talk.goes_on(Duration::from_secs(15));
    println!("after alice had another address: {took:?}");

    // The cable of her home is cut for a while, and nobody is told.
    world.homes[0].uplink.cut(Cut::Silent);
    thread::sleep(Duration::from_secs(5));
    world.homes[0].uplink.heal();
    let took = talk.goes_on(Duration::from_secs(20));
    println!("after five seconds without a cable: {took:?}");

    world.both_straight(LONG);
    let before = Instant::now();
    world.server.kill9();
    let took = talk.goes_on(Duration::from_secs(5));
    println!("after the server was gone: {took:?}");
    // Through the time in which all links notice.
    while before.elapsed() < Duration::from_secs(15) {
        talk.goes_on(Duration::from_secs(5));
    }
    talk.finish();
}

#[test]
fn a_connection_moves_from_the_relay_to_a_straight_way_and_back() {
    let world = World::new("relay and back");
    let _echo = world.bob.echo_tcp(8080);
    let talk = Talk::start(&world.alice, (world.bob.addresses().0, 8080).into());
    // What goes straight is swallowed; the server is still reached.
    world.homes[0].lose(world.homes[1].public());
    let took = talk.goes_on(Duration::from_secs(20));
    println!("from the straight way to the relay: {took:?}");
    eventually(Duration::from_secs(15), "alice has left the way", || {
        !straight(&world.alice, "bob")
    });
    talk.goes_on(LONG);
    world.homes[0].find(world.homes[1].public());
    let took = world.both_straight(Duration::from_secs(60));
    println!("straight again after {took:?}");
    talk.goes_on(Duration::from_secs(5));
    talk.finish();
}
