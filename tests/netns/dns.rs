//! Names: what any program finds by them, for as long as the network is up.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use mesh_tests::lab::{Host, eventually};

use crate::world::{LONG, Mesh, SOON, both, create, find, invite, join, text};

#[test]
fn programs_find_devices_by_name_and_names_by_address_and_down_puts_everything_back() {
    let mut mesh = Mesh::apart("names", &["alice", "bob"]);
    let before = resolv_conf(&mesh.nodes[0]);
    create(&mesh.nodes[0]);
    join(&mesh.nodes[1], &invite(&mesh.nodes[0], &[]));
    mesh.all_know(2);
    let (to_alice, to_bob) = (mesh.nodes[0].addresses(), mesh.nodes[1].addresses());
    for (from, name, there) in [(0, "bob", to_bob), (1, "alice", to_alice)] {
        let host = &mesh.nodes[from];
        let full = format!("{name}.home.mesh.internal");
        for typed in [
            name,
            &format!("{name}.home"),
            &full,
            &format!("{full}."),
            &format!("www.{name}.home"),
            &full.to_uppercase(),
        ] {
            assert_eq!(
                addresses_of(host, typed),
                both(there),
                "{typed} on {}",
                host.name()
            );
        }
        // By whatever program, and through the tunnel.
        for typed in [name, &format!("{name}.home")] {
            let _ = host.run("ping", &["-c", "1", "-W", "5", typed]).ok();
        }
        for address in both(there) {
            let names = host.run("getent", &["hosts", &address.to_string()]).ok();
            assert!(names.stdout.contains(&full), "{names}");
            let known = host.mesh_json(&["dns", "query", &address.to_string()]);
            assert_eq!(text(&known, "name"), full);
        }
        let known = host.mesh(&["dns", "query", name]).ok();
        assert!(known.stdout.contains(&there.0.to_string()), "{known}");
    }
    let alice = &mesh.nodes[0];
    for nobody in ["nobody", "nobody.home", "bob.work", "example.com", "home"] {
        assert_eq!(
            addresses_of(alice, nobody),
            Vec::<IpAddr>::new(),
            "{nobody}"
        );
    }
    let _ = alice.mesh(&["dns", "query", "nobody"]).exits(5);
    let status = alice.mesh(&["dns", "status"]).ok();
    for part in ["home.mesh.internal", "resolv.conf", &to_alice.0.to_string()] {
        assert!(status.stdout.contains(part), "{part} is not in {status}");
    }
    assert_ne!(resolv_conf(alice), before);

    let _ = alice.mesh(&["down"]).ok();
    assert_eq!(resolv_conf(alice), before, "after down");
    assert_eq!(addresses_of(alice, "bob.home"), Vec::<IpAddr>::new());
    let _ = alice.mesh(&["dns", "query", "bob"]).exits(7);
    let _ = alice.mesh(&["up"]).ok();
    assert_eq!(addresses_of(alice, "bob"), both(to_bob));
    mesh.nodes[0].kill9();
    assert_ne!(
        resolv_conf(&mesh.nodes[0]),
        before,
        "there is something left to take back"
    );
    mesh.nodes[0].start();
    assert_eq!(addresses_of(&mesh.nodes[0], "bob"), both(to_bob));
    let _ = mesh.nodes[0].mesh(&["down"]).ok();
    assert_eq!(
        resolv_conf(&mesh.nodes[0]),
        before,
        "after kill -9, a start, and down"
    );

    // What somebody writes while it is up is still there when it is down.
    let _ = mesh.nodes[0].mesh(&["up"]).ok();
    let by_hand = format!("{}\n# by hand\n", resolv_conf(&mesh.nodes[0]));
    std::fs::write(mesh.nodes[0].resolv_conf(), by_hand).unwrap();
    mesh.nodes[0].stop();
    assert_eq!(
        resolv_conf(&mesh.nodes[0]),
        format!("{before}\n# by hand\n")
    );
}

#[test]
fn the_name_of_a_kicked_member_is_gone_within_seconds() {
    let mesh = Mesh::new("kicked name", &["alice", "bob", "carol"]);
    let [alice, bob, carol] = &mesh.nodes[..] else {
        unreachable!()
    };
    let there = carol.addresses();
    assert_eq!(addresses_of(bob, "carol"), both(there));
    let _ = alice.mesh(&["kick", "carol"]).ok();
    assert_eq!(addresses_of(alice, "carol"), Vec::<IpAddr>::new());
    eventually(SOON, "bob knows no carol", || {
        addresses_of(bob, "carol").is_empty()
    });
    assert_eq!(
        bob.run("getent", &["hosts", &there.0.to_string()]).code,
        Some(2)
    );
    assert_eq!(addresses_of(bob, "alice"), both(alice.addresses()));
}

#[test]
fn two_networks_of_one_name_are_told_apart_and_leave_one_by_one() {
    let mesh = Mesh::apart("two names", &["alice", "bob"]);
    let [alice, bob] = &mesh.nodes[..] else {
        unreachable!()
    };
    let before = resolv_conf(alice);
    let made = |host: &Host, subnet: &str| {
        let line = ["create", "home", "--as", host.name(), "--subnet", subnet];
        let _ = host.mesh(&line).ok();
        text(&host.mesh_json(&["networks"])["networks"][0], "id")
    };
    let (first, second) = (made(alice, "10.71.0.0/24"), made(bob, "10.72.0.0/24"));
    join(alice, &invite(bob, &[]));
    let v4 = |name: &str| addresses_of(alice, name).first().copied();
    let in_second = |last| Some(IpAddr::from(Ipv4Addr::new(10, 72, 0, last)));
    assert_eq!(v4("alice.home"), Some(IpAddr::from([10, 71, 0, 1])));
    assert_eq!(v4("bob.home-2"), in_second(1));
    assert_eq!(v4("alice.home-2"), in_second(2));
    assert_eq!(v4("bob"), in_second(1), "the only one of that name");
    assert_eq!(v4("bob.home"), None);

    let _ = alice.mesh(&["down", &first]).ok();
    assert_eq!(
        v4("bob.home-2"),
        in_second(1),
        "its number stays, and its names are answered"
    );
    assert_eq!(v4("alice.home"), None);
    let _ = alice.mesh(&["up", &first]).ok();
    let _ = alice.mesh(&["down", &second]).ok();
    assert_eq!(v4("alice.home"), Some(IpAddr::from([10, 71, 0, 1])));
    assert_eq!(v4("bob"), None);
    let _ = alice.mesh(&["down"]).ok();
    assert_eq!(resolv_conf(alice), before);
}

#[test]
fn a_taken_port_is_a_named_problem_until_it_is_free() {
    let mesh = Mesh::apart("port 53", &["alice"]);
    let alice = &mesh.nodes[0];
    let before = resolv_conf(alice);
    let other = alice.udp("[::]:53");
    create(alice);
    let problem = || {
        let status = alice.mesh_json(&["status"]);
        find(&status, "problems").is_some_and(|all| all.to_string().contains("port 53"))
    };
    assert!(problem(), "{}", alice.mesh(&["status"]));
    assert!(alice.ping(alice.addresses().0), "it is up all the same");
    assert_eq!(
        resolv_conf(alice),
        before,
        "nobody is sent to a server that is not there"
    );
    assert_eq!(addresses_of(alice, "alice"), Vec::<IpAddr>::new());
    drop(other);
    eventually(LONG, "names are answered", || !problem());
    assert_eq!(addresses_of(alice, "alice"), both(alice.addresses()));
}

#[test]
fn nobody_but_this_device_is_answered_whatever_it_shares() {
    let mesh = Mesh::new("own names", &["alice", "bob"]);
    let [alice, bob] = &mesh.nodes[..] else {
        unreachable!()
    };
    let stranger = mesh.lab.host("stranger");
    mesh.lan.plug(&stranger, 9);
    let at = alice.addresses().0;
    let _ = alice.mesh(&["share", "53/udp"]).ok();
    bob.reaches(at, SOON);
    eventually(SOON, "bob sees the offer", || {
        bob.mesh(&["offers"]).stdout.contains("53/udp")
    });
    // Any machine on the LAN can send to any address that another one has.
    stranger.ip(&format!("route add {at}/32 via {}", mesh.lan.address(1)));
    assert!(stranger.ping(at), "packets of the stranger arrive");
    assert!(is_answered(alice, at), "this question has an answer");
    assert!(!is_answered(bob, at));
    assert!(!is_answered(&stranger, at));
    assert!(is_answered(alice, at), "and the server lives");
}

fn resolv_conf(host: &Host) -> String {
    std::fs::read_to_string(host.resolv_conf()).unwrap()
}

/// What glibc finds by a name, IPv4 first.
fn addresses_of(host: &Host, name: &str) -> Vec<IpAddr> {
    let find = |database: &str| {
        let found = host.run("getent", &[database, name]);
        let first = found.stdout.split_whitespace().next().map(str::to_owned);
        let address = first.and_then(|address| address.parse::<IpAddr>().ok());
        // An IPv4 address alone is shown as a mapped one, too.
        address.map(|address| address.to_canonical())
    };
    let (v4, v6) = (find("ahostsv4"), find("ahostsv6"));
    v4.into_iter().chain(v6.filter(IpAddr::is_ipv6)).collect()
}

/// Whether the name server there answers a question for `alice.home.mesh.internal` from this host.
fn is_answered(from: &Host, server: Ipv4Addr) -> bool {
    let mut question = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in ["alice", "home", "mesh", "internal"] {
        question.push(u8::try_from(label.len()).unwrap());
        question.extend(label.as_bytes());
    }
    question.extend([0, 0, 1, 0, 1]);
    let socket = from.udp("0.0.0.0:0");
    socket
        .set_read_timeout(Some(Duration::from_secs(1)))
        .unwrap();
    socket.send_to(&question, (server, 53)).unwrap();
    let mut answer = [0; 512];
    socket.recv(&mut answer).is_ok()
}
