//! A stock WireGuard as the peer: what this packet path seals is WireGuard, to the last byte.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use data_encoding::BASE64;
use mesh_core::peer::PeerId;
use mesh_core::plan::MTU;
use mesh_tunnel::{Peer, Udp};
use x25519_dalek::{PublicKey, StaticSecret};

use super::lab::{Namespace, attempt, run};
use super::{Host, SOON, pattern};

#[test]
fn a_stock_wireguard_shakes_hands_and_moves_data_both_ways_whoever_begins() {
    let Some(mut ours) = Host::new(1, true) else {
        return;
    };
    if Command::new("wireguard-go")
        .arg("--version")
        .output()
        .is_err()
    {
        eprintln!(
            "SKIPPED: there is no wireguard-go; `apt-get install wireguard-go wireguard-tools` installs it"
        );
        return;
    }
    let stock = Stock::new(&ours);
    ours.namespace.enter();
    let udp = Udp::bind(Some(0), Arc::new(|_, _| {})).unwrap();
    let attached = udp.attach(&ours.tunnel);
    let peer = Peer {
        key: PublicKey::from(&StaticSecret::from([STOCK; 32])),
        carrier: Some(udp.carrier("192.168.7.2:51900".parse().unwrap(), 1452)),
        preshared_key: None,
    };
    let id = PeerId([STOCK; 32]);
    ours.table.peers.insert(id, peer);
    ours.table
        .rules
        .peers
        .insert(id, ["10.77.0.2".parse().unwrap()].into());
    ours.offer(9000);
    stock.knows(&ours, udp.ports()[0]);

    // It begins; then this side forgets the session and begins anew.
    stock.namespace.enter();
    let said = run("ping -c 3 -i 0.05 -W 5 10.77.0.1");
    assert!(said.contains(" 0% packet loss"), "{said}");
    ours.namespace.enter();
    ours.tunnel.reset(&id);
    let said = run("ping -c 3 -i 0.05 -W 5 10.77.0.2");
    assert!(said.contains(" 0% packet loss"), "{said}");

    for (from, to, target) in [
        (&ours.namespace, &stock.namespace, "10.77.0.2:9000"),
        (&stock.namespace, &ours.namespace, "10.77.0.1:9000"),
    ] {
        const LENGTH: usize = 8 << 20;
        let target: SocketAddr = target.parse().unwrap();
        to.enter();
        let listener = TcpListener::bind(target).unwrap();
        from.enter();
        let mut client = TcpStream::connect_timeout(&target, SOON).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        let sender = std::thread::spawn(move || client.write_all(&pattern(LENGTH)).unwrap());
        let mut got = Vec::with_capacity(LENGTH);
        server.read_to_end(&mut got).unwrap();
        sender.join().unwrap();
        assert!(got == pattern(LENGTH), "to {target}");
    }
    drop(attached);
    drop(stock);
    ours.end();
}

/// Its number among the hosts, from which its key is made too.
const STOCK: u8 = 2;

/// A host of its own with `wireguard-go`, which ends with it.
struct Stock {
    namespace: Namespace,
    interface: String,
    process: Child,
    folder: tempfile::TempDir,
}

impl Stock {
    /// On a cable with our host: 192.168.7.1 and .2.
    fn new(ours: &Host) -> Self {
        let namespace = Namespace::new().unwrap();
        // Its control socket has the interface's name, in a folder that all of the machine shares.
        let interface = format!("wg-{}", std::process::id());
        namespace.enter();
        run("ip link add cable type veth peer name other");
        run(&format!(
            "ip link set other netns {}",
            ours.namespace.path()
        ));
        ours.namespace.enter();
        run("ip address add 192.168.7.1/24 dev other");
        run("ip link set other up");
        namespace.enter();
        run("ip address add 192.168.7.2/24 dev cable");
        run("ip link set cable up");
        let process = Command::new("wireguard-go")
            .args(["--foreground", &interface])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stock = Self {
            namespace,
            interface,
            process,
            folder: tempfile::tempdir().unwrap(),
        };
        let begun = std::time::Instant::now();
        while !attempt(&format!("wg show {}", stock.interface)).0 {
            assert!(begun.elapsed() < SOON, "wireguard-go must start");
            std::thread::yield_now();
        }
        stock
    }

    fn knows(&self, ours: &Host, port: u16) {
        let before = Namespace::current();
        self.namespace.enter();
        let key = self.folder.path().join("key");
        std::fs::write(&key, BASE64.encode(&[STOCK; 32])).unwrap();
        let interface = &self.interface;
        run(&format!(
            "wg set {interface} listen-port 51900 private-key {} peer {} endpoint 192.168.7.1:{port} allowed-ips {}/32",
            key.display(),
            BASE64.encode(ours.key.as_bytes()),
            ours.v4,
        ));
        run(&format!("ip address add 10.77.0.2/24 dev {interface}"));
        run(&format!("ip link set {interface} mtu {MTU} up"));
        before.enter();
    }
}

impl Drop for Stock {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
