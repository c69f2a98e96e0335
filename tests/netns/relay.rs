//! Members that forward between others.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::thread;
use std::time::Duration;

use mesh_tests::lab::{Home, Host, Lab, Nat, Server, eventually};
use serde_json::Value;

use crate::world::{LONG, Node, SOON, create, find, invite, join};

/// How soon a member that offers to forward must be used, or left.
const MOVES: Duration = Duration::from_secs(15);

/// Erin, whom everybody reaches, and members at home. Erin is the owner.
struct World {
    erin: Node,
    homes: Vec<Node>,
    _server: Option<Server>,
    _homes: Vec<Home>,
    _lab: Lab,
}

impl World {
    fn new(lab: Lab, names: &[&str], nat: Nat, server: bool) -> Self {
        let internet = lab.internet();
        let erin = Node::new(internet.machine(&lab, "erin").0);
        let server = server.then(|| {
            let (host, address) = internet.machine(&lab, "server");
            Server::start(host, address, &[])
        });
        match &server {
            None => create(&erin),
            Some(server) => {
                let args = ["create", "home", "--as", "erin", "--server", server.text()];
                let _ = erin.mesh(&args).ok();
            }
        }
        let homes = names.iter().map(|name| {
            let home = internet.home(&lab, &format!("{name}s"), [192, 168, 1], nat);
            let node = Node::new(home.machine(&lab, name));
            join(&node, &invite(&erin, &[]));
            node.reaches(erin.addresses().0, LONG);
            (node, home)
        });
        let (homes, _homes) = homes.unzip();
        Self {
            erin,
            homes,
            _server: server,
            _homes,
            _lab: lab,
        }
    }
}

/// The kind of way that packets to a peer take, and where it leads; `link` as well if it is none.
fn way(host: &Host, peer: &str) -> Option<(String, String)> {
    let told = host.mesh_json(&["path", peer]);
    let ways = told["ways"].as_array()?;
    let way = ways.iter().find(|way| way["state"] == "in_use")?;
    let field = |key: &str| way[key].as_str().map(str::to_owned);
    Some((field("kind")?, field("to")?))
}

fn through_erin(host: &Host, peer: &str) -> bool {
    way(host, peer) == Some(("member".to_owned(), "through erin".to_owned()))
}

/// Sends bytes there and back over TCP, and checks them.
fn exchange(from: &Host, to: IpAddr, bytes: usize) {
    let sent: Vec<u8> = (0..bytes).map(|n| ((n * 31) >> 3) as u8).collect();
    let mut stream = from.connect(SocketAddr::new(to, 8080), LONG).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    let mut reader = stream.try_clone().unwrap();
    let back = thread::spawn(move || {
        let mut back = vec![0; bytes];
        reader.read_exact(&mut back).map(|()| back)
    });
    stream.write_all(&sent).unwrap();
    assert!(back.join().unwrap().unwrap() == sent, "all bytes came back");
}

#[test]
fn two_who_have_no_way_to_each_other_talk_through_a_member_that_offers_it_with_no_server() {
    let lab = Lab::new("member relay");
    let world = World::new(lab, &["alice", "bob", "carol"], Nat::Symmetric, false);
    let [alice, bob, carol] = &world.homes[..] else {
        unreachable!()
    };
    let erin = &world.erin;
    let _ = bob.mesh(&["share", "8080/tcp"]).ok();
    let _echo = bob.echo_tcp(8080);
    let to = bob.addresses().0;
    eventually(LONG, "alice knows bob", || {
        alice.mesh_json(&["status"]).to_string().contains("\"bob\"")
    });
    assert!(!alice.ping(to), "nothing joins the two");

    let _ = erin.mesh(&["relay", "offer", "--to", "alice,bob"]).ok();
    let took = alice.reaches(to, MOVES);
    println!("through the member {took:?} after the offer was typed");
    exchange(alice, to.into(), 1 << 20);
    eventually(SOON, "both go through erin", || {
        through_erin(alice, "bob") && through_erin(bob, "alice")
    });
    assert!(!carol.ping(to), "carol was not offered it");
    let listed = alice.mesh_json(&["relay", "ls"]);
    assert_eq!(listed["offers"][0]["for_me"], true, "{listed}");
    let own = erin.mesh_json(&["relay", "ls"]);
    let forwarded = find(&own, "forwarded").and_then(Value::as_u64).unwrap();
    assert!(forwarded > 2 << 20, "{own}");

    let _ = erin.mesh(&["relay", "withdraw"]).ok();
    eventually(MOVES, "nobody forwards any more", || {
        way(alice, "bob").is_none() && !alice.ping(to)
    });
}

#[test]
fn a_member_between_two_homes_is_enough_for_a_straight_way_with_no_server() {
    let lab = Lab::new("member signals");
    let world = World::new(lab, &["alice", "bob"], Nat::PortRestricted, false);
    let [alice, bob] = &world.homes[..] else {
        unreachable!()
    };
    let _ = world.erin.mesh(&["relay", "offer"]).ok();
    alice.reaches(bob.addresses().0, MOVES);
    let straight = |host: &Host, peer: &str| {
        way(host, peer).is_some_and(|(kind, _)| kind != "member" && kind != "link")
    };
    let took = eventually(LONG, "both have a straight way", || {
        alice.ping(bob.addresses().0) && straight(alice, "bob") && straight(bob, "alice")
    });
    println!("straight {took:?} after the first packet");
}

#[test]
fn a_member_that_forwards_comes_before_a_server_and_the_server_takes_over_when_it_is_gone() {
    let lab = Lab::new("member first");
    let mut world = World::new(lab, &["alice", "bob"], Nat::Symmetric, true);
    let to = world.homes[1].addresses().0;
    let _ = world.homes[1].mesh(&["share", "8080/tcp"]).ok();
    let _echo = world.homes[1].echo_tcp(8080);
    world.homes[0].reaches(to, LONG);
    assert!(!through_erin(&world.homes[0], "bob"));
    let _ = world.erin.mesh(&["relay", "offer"]).ok();
    eventually(LONG, "both go through erin", || {
        world.homes[0].ping(to)
            && through_erin(&world.homes[0], "bob")
            && through_erin(&world.homes[1], "alice")
    });
    let mut open = world.homes[0].connect((to, 8080).into(), LONG).unwrap();
    open.set_read_timeout(Some(LONG)).unwrap();
    let mut talk = |word: &[u8]| {
        open.write_all(word).unwrap();
        let mut back = vec![0; word.len()];
        open.read_exact(&mut back).unwrap();
        assert_eq!(back, word);
    };
    talk(b"before");
    world.erin.kill9();
    talk(b"when the member is gone");
    eventually(MOVES, "alice has left erin", || {
        !through_erin(&world.homes[0], "bob")
    });
    talk(b"through the server");
}
