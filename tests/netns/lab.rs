//! The lab is what it says: without this no test above it means anything.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use mesh_tests::lab::{Cut, Host, Lab, Lan, Nat, eventually};

#[test]
fn hosts_on_a_lan_reach_each_other_and_nothing_else() {
    let lab = Lab::new("lan");
    let lan = lab.lan("lan", [192, 168, 1]);
    let (a, b) = (lab.host("a"), lab.host("b"));
    lan.plug(&a, 1);
    lan.plug(&b, 2);
    assert!(a.ping(lan.address(2)) && b.ping(lan.address(1)));
    assert!(!a.ping([203, 0, 113, 1]), "the lab leads out of itself");
    assert_eq!(a.run("hostname", NO_ARGS).ok().stdout.trim(), "a");
}

#[test]
fn a_host_has_a_run_folder_and_processes_of_its_own() {
    let lab = Lab::new("private");
    let (a, b) = (lab.host("a"), lab.host("b"));
    let _ = a.run("touch", &["/run/here"]).ok();
    assert!(a.run("ls", &["/run/here"]).code == Some(0));
    assert!(b.run("ls", &["/run/here"]).code != Some(0));
    assert!(!std::path::Path::new("/run/here").exists());
    let processes = a
        .run("sh", &["-c", "ls -d /proc/[0-9]* | wc -l"])
        .ok()
        .stdout;
    assert!(
        processes.trim().parse::<u32>().unwrap() <= 4,
        "sees processes that are not its own: {processes}"
    );
}

#[test]
fn links_are_cut_with_and_without_a_carrier_and_healed() {
    let lab = Lab::new("cut");
    let (left, right) = (lab.lan("left", [10, 9, 0]), lab.lan("right", [10, 9, 0]));
    let (a, b) = (lab.host("a"), lab.host("b"));
    let link = left.plug(&a, 1);
    right.plug(&b, 2);
    let trunk = left.join(&right);
    a.reaches(left.address(2), SHORT);
    for how in [Cut::Down, Cut::Silent] {
        for cable in [&trunk, &link] {
            cable.cut(how);
            assert!(!a.ping(left.address(2)), "{how:?} lets packets through");
            let carrier = a.ip("-brief link show eth0").contains("LOWER_UP");
            let knows = matches!(how, Cut::Down) && std::ptr::eq(cable, &link);
            assert_eq!(carrier, !knows, "carrier after {how:?}");
            cable.heal();
            a.reaches(left.address(2), SHORT);
        }
    }
}

#[test]
fn a_capture_tells_what_leaves_for_elsewhere_from_what_stays_among_peers() {
    let lab = Lab::new("capture");
    let lan = lab.lan("lan", [192, 168, 1]);
    lan.swallow_what_leaves();
    let (a, b) = (lab.host("a"), lab.host("b"));
    lan.plug(&a, 1);
    lan.plug(&b, 2);
    let capture = a.capture();
    let peers = [IpAddr::from(lan.address(2))];
    a.reaches(peers[0], SHORT);
    assert_eq!(capture.strays("eth0", &peers), []);
    a.udp("0.0.0.0:0")
        .send_to(b"out", "203.0.113.7:53")
        .unwrap();
    eventually(SHORT, "the stray packet is recorded", || {
        !capture.strays("eth0", &peers).is_empty()
    });
    let strays = capture.strays("eth0", &peers);
    assert_eq!(strays.len(), 1, "{strays:?}");
    assert_eq!(
        (strays[0].to, strays[0].port, strays[0].protocol),
        ("203.0.113.7".parse().unwrap(), Some(53), 17)
    );
}

#[test]
fn tcp_helpers_connect_echo_and_are_refused() {
    let lab = Lab::new("tcp");
    let lan = lab.lan("lan", [192, 168, 1]);
    let (a, b) = (lab.host("a"), lab.host("b"));
    lan.plug(&a, 1);
    lan.plug(&b, 2);
    let server = b.echo_tcp(8080);
    let to = SocketAddr::from((lan.address(2), 8080));
    let mut stream = a.connect(to, SHORT).unwrap();
    stream.write_all(b"hello").unwrap();
    let mut back = [0; 5];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"hello");
    drop(server);
    assert_eq!(
        stream.read(&mut back).unwrap(),
        0,
        "a stopped server closes its connections"
    );
    assert_eq!(
        a.connect(to, SHORT).unwrap_err().kind(),
        std::io::ErrorKind::ConnectionRefused
    );
}

#[test]
fn a_command_is_ended_at_its_time_limit_and_a_background_child_holds_nobody_up() {
    let lab = Lab::new("limit");
    let a = lab.host("a");
    let slow = a.run_with("sleep", &["60"], "", Duration::from_millis(300));
    assert_eq!(slow.code, None, "{slow}");
    let quick = a.run("sh", &["-c", "sleep 60 & echo done"]);
    assert_eq!(quick.ok().stdout, "done\n");
    assert_eq!(a.run_with("cat", NO_ARGS, "in", SHORT).ok().stdout, "in");
    assert_eq!(
        a.run("sh", &["-c", "echo no >&2; exit 3"]).exits(3).stderr,
        "no\n"
    );
}

#[test]
fn everything_of_a_host_ends_with_it_even_on_panic() {
    let lab = Lab::new("guard");
    let lan = lab.lan("lan", [192, 168, 1]);
    let mut orphan = None;
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let host = lab.host("a");
        lan.plug(&host, 1);
        let daemon = host.start("sleep", "sleep", &["1000"]);
        orphan = Some(daemon.pid());
        // Not stopped by its own guard: the namespace must do it.
        std::mem::forget(daemon);
        std::panic::panic_any("as a failing test does");
    }));
    assert!(outcome.is_err());
    // A child of this process that nobody waits for stays a zombie: ended, and no longer doing anything.
    let stat = format!("/proc/{}/stat", orphan.unwrap());
    eventually(SHORT, "the daemon ends with its host", || {
        let stat = std::fs::read_to_string(&stat).unwrap_or_default();
        stat.split(' ').nth(2).is_none_or(|state| state == "Z")
    });
}

#[test]
fn a_home_router_keeps_one_mapping_and_lets_in_only_who_was_asked() {
    let (mapped, answered) = probe(Nat::PortRestricted);
    assert!(mapped, "the outside port depends on the destination");
    assert!(!answered, "a stranger's packet came in");
}

#[test]
fn a_symmetric_router_maps_each_destination_anew() {
    let (mapped, answered) = probe(Nat::Symmetric);
    assert!(!mapped, "the outside port is the same for two destinations");
    assert!(!answered, "a stranger's packet came in");
}

#[test]
fn a_plain_router_translates_and_filters_nothing() {
    let (mapped, answered) = probe(Nat::None);
    assert!(mapped && answered);
}

#[test]
fn an_internet_has_public_machines_homes_and_routes_that_lie() {
    let lab = Lab::new("internet");
    let internet = lab.internet();
    let ((real, at), (other, by)) = (
        internet.machine(&lab, "real"),
        internet.machine(&lab, "other"),
    );
    let homes =
        ["one", "two"].map(|name| internet.home(&lab, name, [192, 168, 1], Nat::PortRestricted));
    let inside = homes.each_ref().map(|home| {
        let name = format!("inside-{}", home.public());
        home.machine(&lab, &name)
    });
    other.claim(at);
    let (from_one, at_other) = (homes[0].capture(), other.capture());
    for host in &inside {
        host.reaches(at, SHORT);
    }
    assert!(!real.ping(homes[0].public()), "a stranger reaches a home");
    assert!(at_other.packets(|packet| packet.to == at).is_empty());

    homes[1].lead(at, by);
    inside[1].reaches(at, SHORT);
    eventually(SHORT, "what is led there is recorded", || {
        !at_other.packets(|packet| packet.to == at).is_empty()
    });
    homes[1].find(at);
    homes[1].lose(at);
    assert!(!inside[1].ping(at) && inside[0].ping(at));

    // What nobody has leaves the home all the same, where it is seen.
    assert_eq!(from_one.strays("eth1", &[at.into()]), []);
    inside[0]
        .udp("0.0.0.0:0")
        .send_to(b"out and seen", "198.51.100.7:53")
        .unwrap();
    eventually(SHORT, "the stray packet is recorded", || {
        !from_one.strays("eth1", &[at.into()]).is_empty()
    });
    assert!(from_one.holds(b"out and seen") && !from_one.holds(b"never sent"));
}

#[test]
fn homes_with_ipv6_are_reached_by_it_from_where_they_asked_alone() {
    let lab = Lab::new("ipv6");
    let internet = lab.internet();
    let (outside, v4) = internet.machine(&lab, "outside");
    let v6 = internet.add_ipv6(&outside);
    let homes =
        ["one", "two"].map(|name| internet.home(&lab, name, [192, 168, 1], Nat::PortRestricted));
    let [inside, other] = homes.each_ref().map(|home| {
        home.have_ipv6(&internet);
        let host = home.machine(&lab, &format!("inside-{}", home.public()));
        let address = home.add_ipv6(&host);
        (host, address)
    });
    inside.0.reaches(v6, SHORT);
    assert!(!outside.ping(inside.1), "the firewall lets a stranger in");
    assert!(!other.0.ping(inside.1), "the firewall lets a stranger in");
    // Who was asked may answer, by the very ports.
    let sockets = [&inside.0, &other.0].map(|host| host.udp("[::]:4000"));
    for (socket, to) in sockets.iter().zip([other.1, inside.1]) {
        socket.set_read_timeout(Some(SHORT)).unwrap();
        socket.send_to(b"out", (to, 4000)).unwrap();
    }
    // The first was dropped, and opened the way.
    sockets[0].send_to(b"out", (other.1, 4000)).unwrap();
    for socket in &sockets {
        assert_eq!(socket.recv(&mut [0; 8]).unwrap(), 3);
    }

    inside.0.knows("outside.lab", &[v4.into(), v6.into()]);
    let found = inside
        .0
        .run("getent", &["ahosts", "outside.lab"])
        .ok()
        .stdout;
    assert!(found.contains(&v4.to_string()) && found.contains(&v6.to_string()));
    inside.0.drop_ipv4();
    assert!(!inside.0.ping(v4) && inside.0.ping(v6));
}

#[test]
fn a_line_loses_what_it_is_to_lose_and_swallows_what_is_too_long_for_it() {
    let lab = Lab::new("line");
    let internet = lab.internet();
    let (outside, at) = internet.machine(&lab, "outside");
    let [lossy, narrow] =
        ["lossy", "narrow"].map(|name| internet.home(&lab, name, [192, 168, 1], Nat::None));
    let heard = outside.udp("0.0.0.0:4000");
    heard
        .set_read_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    let inside = lossy.machine(&lab, "inside");
    lossy.lose_some(20);
    let socket = inside.udp("0.0.0.0:0");
    for _ in 0..200 {
        socket.send_to(b"out", (at, 4000)).unwrap();
    }
    let came = std::iter::from_fn(|| heard.recv(&mut [0; 8]).ok()).count();
    assert!((120..190).contains(&came), "{came} of 200 came");

    let inside = narrow.machine(&lab, "other");
    narrow.swallow_longer_than(1300);
    let socket = inside.udp("0.0.0.0:0");
    // With the headers of UDP and IPv4.
    for length in [1273, 1272] {
        socket.send_to(&vec![0; length], (at, 4000)).unwrap();
    }
    assert_eq!(heard.recv(&mut [0; 1500]).unwrap(), 1272, "it tells nobody");
    assert!(heard.recv(&mut [0; 1500]).is_err());
}

#[test]
fn what_a_process_remembers_is_found() {
    let lab = Lab::new("memory");
    let host = lab.host("a");
    // Known to the shell alone: it is put together from two halves.
    let script = "word=never-forgotten-$((40 + 2)); echo ready; sleep 1000; echo $word";
    let process = host.start("shell", "sh", &["-c", script]);
    eventually(SHORT, "the shell is ready", || {
        process.log().contains("ready")
    });
    assert!(process.remembers(b"never-forgotten-42"));
    assert!(!process.remembers(b"never-forgotten-43"));
}

/// Whether one inside socket shows one outside port to two servers, and whether a server that was not asked can reach
/// that port.
fn probe(nat: Nat) -> (bool, bool) {
    let lab = Lab::new("nat");
    let (home, internet) = (
        lab.lan("home", [192, 168, 1]),
        lab.lan("internet", [203, 0, 113]),
    );
    let hosts: Vec<Host> = ["inside", "router", "one", "two", "three"]
        .iter()
        .map(|name| lab.host(name))
        .collect();
    let [inside, router, one, two, three] = &hosts[..] else {
        unreachable!()
    };
    home.plug(inside, 1);
    let _link = home.route_to(&internet, router, 1, nat);
    for (server, last) in [(one, 11), (two, 12), (three, 13)] {
        internet.plug(server, last);
        // The way back to the inside, for the router that does not translate.
        server.ip("route add 192.168.1.0/24 via 203.0.113.1");
    }
    let socket = inside.udp("0.0.0.0:4000");
    socket
        .set_read_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    let seen: Vec<SocketAddr> = [(one, 11), (two, 12)]
        .map(|(server, last)| seen_by(server, &internet, last, &socket))
        .into();
    three
        .udp("0.0.0.0:3478")
        .send_to(b"stranger", seen[0])
        .unwrap();
    let answered = socket.recv_from(&mut [0; 64]).is_ok();
    (seen[0] == seen[1], answered)
}

/// Sends from `socket` to a server, checks that the answer comes back, and returns the address the server saw.
fn seen_by(server: &Host, net: &Lan, last: u8, socket: &UdpSocket) -> SocketAddr {
    let listening = server.udp("0.0.0.0:3478");
    listening.set_read_timeout(Some(SHORT)).unwrap();
    socket
        .send_to(b"who am I", (net.address(last), 3478))
        .unwrap();
    let (_, from) = listening.recv_from(&mut [0; 64]).unwrap();
    listening.send_to(b"you", from).unwrap();
    socket
        .recv_from(&mut [0; 64])
        .expect("an answer passes the router");
    from
}

const SHORT: Duration = Duration::from_secs(5);
const NO_ARGS: &[&str] = &[];
