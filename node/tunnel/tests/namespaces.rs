//! Two hosts in network namespaces with real interfaces, real sockets and the native firewall in force. The wire between
//! them is in memory: nothing but the tunnel joins them.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

#[path = "../../os/tests/lab/mod.rs"]
mod lab;
#[path = "namespaces/stock.rs"]
mod stock;
#[path = "namespaces/wg.rs"]
mod wg;
mod world;

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;

use lab::{Namespace, run, runtime};
use mesh_core::peer::PeerId;
use mesh_core::plan::{InterfaceName, MTU, Plan, Protocol, Ruleset, Subnet};
use mesh_os::machine::{Applied, FirewallState, Options, apply};
use mesh_os::tun;
use mesh_tunnel::{Carrier, Config, Peer, Table, Tunnel};
use tokio::runtime::Runtime;
use world::{SOON, Wire, open};
use x25519_dalek::{PublicKey, StaticSecret};

#[test]
fn two_hosts_reach_each_other_through_their_tunnels() {
    let Some(mut pair) = Pair::new(true) else {
        return;
    };
    pair.a.namespace.enter();
    for target in [pair.b.v4, pair.b.v6] {
        let said = run(&format!("ping -c 3 -i 0.05 -W 5 {target}"));
        assert!(said.contains(" 0% packet loss"), "{said}");
    }

    // A closed port refuses at once, and an unanswered datagram too.
    for target in [pair.b.v4, pair.b.v6] {
        let refused = TcpStream::connect_timeout(&(target, 9000).into(), SOON);
        assert_eq!(
            refused.unwrap_err().kind(),
            ErrorKind::ConnectionRefused,
            "{target}"
        );
    }

    // A listener is closed until it is offered, and closed again in mid-connection when the offer is withdrawn.
    pair.b.namespace.enter();
    let listener = TcpListener::bind((pair.b.v4, 9000)).unwrap();
    pair.a.namespace.enter();
    let target: SocketAddr = (pair.b.v4, 9000).into();
    let refused = TcpStream::connect_timeout(&target, SOON);
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    pair.b.offer(9000);
    let mut client = TcpStream::connect_timeout(&target, SOON).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    client.write_all(b"hello").unwrap();
    server.read_exact(&mut [0; 5]).unwrap();
    pair.b.withdraw();
    client.set_read_timeout(Some(SOON)).unwrap();
    client.write_all(b"still there?").unwrap();
    assert_eq!(
        client.read(&mut [0; 1]).unwrap_err().kind(),
        ErrorKind::ConnectionReset
    );
    pair.end();
}

#[test]
fn bulk_data_arrives_unchanged_with_and_without_packet_runs() {
    const LENGTH: usize = 24 << 20;
    for offload in [true, false] {
        let Some(mut pair) = Pair::new(offload) else {
            return;
        };
        assert_eq!(pair.a.applied.as_ref().unwrap().tun().offload(), offload);
        pair.b.offer(9000);
        for family in [0, 1] {
            pair.b.namespace.enter();
            let target = SocketAddr::new([pair.b.v4, pair.b.v6][family], 9000);
            let listener = TcpListener::bind(target).unwrap();
            pair.a.namespace.enter();
            let mut client = TcpStream::connect_timeout(&target, SOON).unwrap();
            let (mut server, _) = listener.accept().unwrap();
            let sent = pattern(LENGTH);
            let sender = std::thread::spawn(move || {
                client.write_all(&pattern(LENGTH)).unwrap();
            });
            let mut got = Vec::with_capacity(LENGTH);
            server.read_to_end(&mut got).unwrap();
            sender.join().unwrap();
            assert!(got == sent, "offload {offload}, {target}");
        }
        pair.end();
    }
}

#[test]
fn a_datagram_in_fragments_arrives() {
    let Some(mut pair) = Pair::new(true) else {
        return;
    };
    pair.b.offer(9000);
    for (from, to) in [(pair.a.v4, pair.b.v4), (pair.a.v6, pair.b.v6)] {
        pair.b.namespace.enter();
        let server = UdpSocket::bind((to, 9000)).unwrap();
        server.set_read_timeout(Some(SOON)).unwrap();
        pair.a.namespace.enter();
        let client = UdpSocket::bind((from, 0)).unwrap();
        client.send_to(&pattern(5000), (to, 9000)).unwrap();
        let mut got = vec![0; 6000];
        let (length, _) = server.recv_from(&mut got).unwrap();
        assert!(got[..length] == pattern(5000));
    }
    pair.end();
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n * 31 + n / 977) as u8).collect()
}

struct Host {
    namespace: Namespace,
    v4: IpAddr,
    v6: IpAddr,
    key: PublicKey,
    id: PeerId,
    table: Table,
    applied: Option<Applied>,
    tunnel: Arc<Tunnel>,
    runtime: Runtime,
    _run: tempfile::TempDir,
}

struct Pair {
    a: Host,
    b: Host,
}

impl Host {
    fn new(number: u8, offload: bool) -> Option<Self> {
        let namespace = Namespace::new()?;
        namespace.enter();
        let folder = tempfile::tempdir().unwrap();
        let secret = StaticSecret::from([number; 32]);
        let key = PublicKey::from(&secret);
        let v4: IpAddr = [10, 77, 0, number].into();
        let v6: IpAddr = format!("fd77::{number}").parse().unwrap();
        let rules = Ruleset {
            own: [v4, v6].into(),
            ..Ruleset::default()
        };
        let plan = Plan {
            interface: InterfaceName::FirstFree,
            mtu: MTU,
            addresses: vec![Subnet::new(v4, 24).unwrap(), Subnet::new(v6, 64).unwrap()],
            routes: vec![],
            rules: rules.clone(),
            resolver: None,
        };
        let options = Options {
            run: folder.path().to_owned(),
            tun: tun::Options { offload },
            firewall: true,
            resolver: None,
        };
        let runtime = runtime();
        let applied = runtime.block_on(apply(&plan, &options)).unwrap();
        assert!(
            matches!(applied.firewall(), FirewallState::InForce),
            "{:?}",
            applied.firewall()
        );
        let config = Config {
            key: secret,
            mtu: MTU,
            device: applied.tun().clone(),
            events: Arc::new(|_| {}),
        };
        Some(Self {
            namespace,
            v4,
            v6,
            key,
            id: PeerId([number; 32]),
            table: Table {
                rules,
                peers: BTreeMap::new(),
            },
            applied: Some(applied),
            tunnel: Arc::new(Tunnel::spawn(config).unwrap()),
            runtime,
            _run: folder,
        })
    }

    fn knows(&mut self, other: &Self) {
        let wire = Wire {
            from: self.id,
            to: Arc::downgrade(&other.tunnel),
            mischief: None.into(),
            longest: 4096,
        };
        let carrier: Arc<dyn Carrier> = Arc::new(wire);
        self.table.peers.insert(
            other.id,
            Peer {
                key: other.key,
                carrier: Some(carrier),
                preshared_key: None,
            },
        );
        self.table
            .rules
            .peers
            .insert(other.id, [other.v4, other.v6].into());
        self.publish();
    }

    fn offer(&mut self, port: u16) {
        self.table.rules.open = vec![open(Protocol::Tcp, port), open(Protocol::Udp, port)];
        self.publish();
    }

    fn withdraw(&mut self) {
        self.table.rules.open.clear();
        self.publish();
    }

    /// To the process first, then to the kernel.
    fn publish(&mut self) {
        self.tunnel.publish(&self.table);
        let applied = self.applied.as_mut().unwrap();
        let plan = Plan {
            rules: self.table.rules.clone(),
            ..applied.plan().clone()
        };
        self.namespace_for(|host| {
            host.runtime
                .block_on(host.applied.as_mut().unwrap().update(&plan))
                .unwrap();
        });
        let applied = self.applied.as_ref().unwrap();
        assert!(
            matches!(applied.firewall(), FirewallState::InForce),
            "{:?}",
            applied.firewall()
        );
    }

    /// Does something in this host's namespace, and returns to where this thread was.
    fn namespace_for(&mut self, what: impl FnOnce(&mut Self)) {
        let before = Namespace::current();
        self.namespace.enter();
        what(self);
        before.enter();
    }

    fn end(mut self) {
        self.tunnel.stop();
        self.namespace.enter();
        self.runtime
            .block_on(self.applied.take().unwrap().undo())
            .unwrap();
        assert_eq!(run("nft list tables"), "");
        assert!(!run("ip link").contains("mesh"));
    }
}

impl Pair {
    fn new(offload: bool) -> Option<Self> {
        let mut pair = Self {
            a: Host::new(1, offload)?,
            b: Host::new(2, offload)?,
        };
        pair.a.knows(&pair.b);
        pair.b.knows(&pair.a);
        Some(pair)
    }

    fn end(self) {
        self.a.end();
        self.b.end();
    }
}
