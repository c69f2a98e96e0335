//! Ports are closed until their own device offers them, to whom it offers them, and until it withdraws the offer.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use mesh_tests::lab::{Host, eventually};

use crate::world::{Mesh, SOON, both};

#[test]
fn an_offered_port_is_open_to_its_audience_alone_and_unshare_cuts_an_open_connection() {
    let mesh = Mesh::new("share", &["alice", "bob", "carol"]);
    let [alice, bob, carol] = &mesh.nodes[..] else {
        unreachable!()
    };
    let (_offered, _never_offered) = (alice.echo_tcp(8080), alice.echo_tcp(8081));
    let to = both(alice.addresses());
    for host in [bob, carol] {
        for address in to {
            host.reaches(address, SOON);
            refused(host, address, 8080);
        }
    }

    let _ = alice.mesh(&["share", "8080/tcp", "--to", "bob"]).ok();
    for address in to {
        eventually(SOON, "bob connects", || {
            bob.connect((address, 8080).into(), SOON).is_ok()
        });
        refused(carol, address, 8080);
        refused(bob, address, 8081);
        refused(carol, address, 8081);
    }
    // The key to read it comes right behind the offer.
    eventually(SOON, "bob reads the offer", || {
        let offer = &bob.mesh_json(&["offers"])["offers"][0];
        offer["for_me"] == true && offer["what"]["ports"]["first"] == 8080
    });

    let mut open = bob.connect((to[0], 8080).into(), SOON).unwrap();
    assert!(echoes(&mut open), "the connection works before");
    let _ = alice.mesh(&["unshare", "8080/tcp"]).ok();
    assert!(
        !echoes(&mut open),
        "a packet of an open connection came through after unshare"
    );
    refused(bob, to[0], 8080);
}

#[test]
fn udp_is_as_closed_and_as_open_as_tcp() {
    let mesh = Mesh::new("share udp", &["alice", "bob", "carol"]);
    let [alice, bob, carol] = &mesh.nodes[..] else {
        unreachable!()
    };
    let to = alice.addresses().0;
    let service = alice.udp("0.0.0.0:5454");
    service
        .set_read_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    let hears = |host: &Host, word: &str| {
        host.udp("0.0.0.0:0")
            .send_to(word.as_bytes(), (to, 5454))
            .unwrap();
        let mut buffer = [0; 64];
        service
            .recv_from(&mut buffer)
            .is_ok_and(|(count, _)| &buffer[..count] == word.as_bytes())
    };
    bob.reaches(to, SOON);
    carol.reaches(to, SOON);
    assert!(!hears(bob, "before"));
    let _ = alice.mesh(&["share", "5000-6000/udp", "--to", "bob"]).ok();
    eventually(SOON, "bob's datagram arrives", || hears(bob, "after"));
    assert!(!hears(carol, "carol"));
}

/// Asserts that a connection fails at once, as it does where nothing listens.
#[track_caller]
fn refused(host: &Host, address: IpAddr, port: u16) {
    let to = SocketAddr::from((address, port));
    let error = host
        .connect(to, SOON)
        .map(drop)
        .expect_err(&format!("{} connects to {to}", host.name()));
    assert_eq!(
        error.kind(),
        ErrorKind::ConnectionRefused,
        "{} to {to}: callers fail fast",
        host.name()
    );
}

/// Whether what goes out comes back within two seconds.
fn echoes(stream: &mut TcpStream) -> bool {
    stream
        .set_read_timeout(Some(Duration::from_secs(2)))
        .unwrap();
    let mut back = [0; 4];
    stream
        .write_all(b"ping")
        .and_then(|()| stream.read_exact(&mut back))
        .is_ok()
        && &back == b"ping"
}
