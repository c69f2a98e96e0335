//! Stock `wg show` sees what a running `meshd` does.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::PathBuf;

use mesh_tests::lab::{Host, eventually};

use crate::world::{LONG, Mesh, SOON, addresses};

#[test]
fn stock_wg_shows_the_interface_its_peers_and_what_passes_and_may_change_nothing() {
    let mut mesh = Mesh::new("wg", &["alice", "bob"]);
    for node in &mesh.nodes {
        see_sockets(node);
    }
    let [alice, bob] = &mesh.nodes[..] else {
        unreachable!()
    };
    alice.reaches(addresses(bob).0, SOON);
    eventually(LONG, "packets go straight", || {
        dump(alice)[1][2].starts_with("192.168.7.2:")
    });
    // Both are told the same from their side.
    let (here, there) = (dump(alice), dump(bob));
    for (own, other, peer) in [(&here, &there, bob), (&there, &here, alice)] {
        assert_eq!(own.len(), 2, "the interface and one peer: {own:?}");
        assert_eq!((&*own[0][2], &*own[0][3]), ("51821", "off"));
        assert_eq!(own[1][0], other[0][1], "the peer's public key");
        assert_eq!((&*own[1][1], &*own[1][7]), ("(none)", "off"));
        let (v4, v6) = addresses(peer);
        let mut allowed: Vec<&str> = own[1][3].split(',').collect();
        allowed.sort_unstable();
        assert_eq!(allowed, [format!("{v4}/32"), format!("{v6}/128")]);
        let age = now() - own[1][4].parse::<i64>().unwrap();
        assert!((0..120).contains(&age), "a handshake {age} s ago");
    }
    let passed = |host: &Host| [5, 6].map(|field| dump(host)[1][field].parse::<u64>().unwrap());
    let before = (passed(alice), passed(bob));
    let _ = alice
        .run(
            "ping",
            &["-c", "10", "-i", "0.01", &addresses(bob).0.to_string()],
        )
        .ok();
    let after = (passed(alice), passed(bob));
    // Ten packets of 84 bytes, in 96, and 32 around each.
    for (before, after) in [(before.0, after.0), (before.1, after.1)] {
        assert!(
            after[0] >= before[0] + 1280 && after[1] >= before[1] + 1280,
            "{before:?} {after:?}"
        );
    }

    // For people.
    let said = alice.run("wg", &["show", "mesh0"]).ok().stdout;
    for part in [
        "interface: mesh0\n",
        &format!("  public key: {}\n", here[0][1]),
        "  private key: (hidden)\n",
        "  listening port: 51821\n",
        &format!("peer: {}\n", there[0][1]),
        "  latest handshake: ",
        "  transfer: ",
    ] {
        assert!(said.contains(part), "{part:?} is not in {said}");
    }

    // The ledger decides.
    for order in [
        &["peer", &here[1][0], "remove"][..],
        &["listen-port", "7"],
        &["peer", &here[1][0], "allowed-ips", "0.0.0.0/0"],
    ] {
        let output = alice
            .run("wg", &[&["set", "mesh0"], order].concat())
            .exits(1);
        assert!(
            output.stderr.contains("Operation not supported"),
            "{output}"
        );
    }
    assert_eq!(dump(alice)[1][..4], here[1][..4]);

    // It is for root, and comes and goes with the interface, also after a crash.
    let socket = socket(alice);
    let metadata = std::fs::symlink_metadata(&socket).unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!((metadata.mode() & 0o7777, metadata.uid()), (0o600, 0));
    let folder = std::fs::metadata(socket.parent().unwrap()).unwrap();
    assert_eq!((folder.mode() & 0o7777, folder.uid()), (0o700, 0));
    let _ = alice.mesh(&["down"]).ok();
    assert!(!socket.exists());
    assert_eq!(
        alice.run("wg", &["show", "interfaces"]).ok().stdout.trim(),
        ""
    );
    let _ = alice.mesh(&["up"]).ok();
    assert_eq!(dump(alice)[0][1], here[0][1]);
    mesh.nodes[0].kill9();
    assert!(socket.exists(), "nobody was left to remove it");
    mesh.nodes[0].start();
    eventually(SOON, "it is there again", || {
        let alice = &mesh.nodes[0];
        alice.run("wg", &["show", "interfaces"]).ok().stdout.trim() == "mesh0"
    });
    assert_eq!(dump(&mesh.nodes[0])[0][1], here[0][1]);
    mesh.nodes[0].stop();
    assert!(!socket.exists());
}

#[test]
fn each_network_has_a_socket_of_its_own_and_a_left_one_of_a_network_that_is_gone_goes() {
    let mut mesh = Mesh::new("wg two", &["alice"]);
    let alice = &mesh.nodes[0];
    see_sockets(alice);
    let _ = alice.mesh(&["create", "work", "--as", "alice"]).ok();
    let shown = |host: &Host| {
        let said = host.run("wg", &["show", "interfaces"]).ok().stdout;
        let mut names: Vec<String> = said.split_whitespace().map(str::to_owned).collect();
        names.sort_unstable();
        names
    };
    assert_eq!(shown(alice), ["mesh0", "mesh1"]);
    let keys =
        ["mesh0", "mesh1"].map(|name| alice.run("wg", &["show", name, "public-key"]).ok().stdout);
    assert_ne!(keys[0], keys[1], "each network has a key of its own");
    let _ = alice.mesh(&["down", "work"]).ok();
    assert_eq!(shown(alice), ["mesh0"]);
    let _ = alice.mesh(&["up", "work"]).ok();
    mesh.nodes[0].kill9();
    let other = mesh.nodes[0].dir().join("var/run/wireguard/mesh7.sock");
    drop(std::os::unix::net::UnixListener::bind(&other).unwrap());
    mesh.nodes[0].start();
    eventually(SOON, "both are there again", || {
        shown(&mesh.nodes[0]) == ["mesh0", "mesh1"]
    });
    assert!(!other.exists());
}

/// Lets `wg` on the host find the sockets of a daemon whose files are below a folder.
fn see_sockets(host: &Host) {
    let folder = host.dir().join("var/run/wireguard");
    let folder = folder.to_str().unwrap();
    let _ = host.run("ln", &["-s", folder, "/run/wireguard"]).ok();
}

fn socket(host: &Host) -> PathBuf {
    host.dir().join("var/run/wireguard/mesh0.sock")
}

/// `wg show mesh0 dump`, in fields.
fn dump(host: &Host) -> Vec<Vec<String>> {
    let said = host.run("wg", &["show", "mesh0", "dump"]).ok().stdout;
    let lines = said.lines();
    lines
        .map(|line| line.split('\t').map(str::to_owned).collect())
        .collect()
}

fn now() -> i64 {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    i64::try_from(now.as_secs()).unwrap()
}
