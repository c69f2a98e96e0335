//! The packet path over real UDP sockets on loopback, and what strangers can do to it.

#![allow(clippy::unwrap_used)]

mod world;

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use boringtun::noise::{Tunn, TunnResult};
use mesh_core::peer::PeerId;
use mesh_core::plan::Protocol;
use mesh_tunnel::{Attached, Dropped, Event, Table, Udp};
use world::{Node, SOON, echo, open, udp};
use x25519_dalek::{PublicKey, StaticSecret};

const LOCALHOST: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// What fits any path.
const DATAGRAM: usize = 1452;

#[test]
fn packets_pass_both_ways_and_each_side_hears_where_the_other_is() {
    let (a, b) = pair();
    let ping = echo(a.node.address, b.node.address, 1);
    a.node.sends(ping.clone());
    assert_eq!(b.node.gets(), ping);
    let back = echo(b.node.address, a.node.address, 2);
    b.node.sends(back.clone());
    assert_eq!(a.node.gets(), back);
    let at = |event: Event| match event {
        Event::Heard(_, address) => address,
        other => panic!("{other:?}"),
    };
    let heard = |event: &Event| matches!(event, Event::Heard(..));
    assert_eq!(at(a.node.hears(heard)), b.address());
    assert_eq!(at(b.node.hears(heard)), a.address());
}

#[test]
fn a_device_that_claims_the_key_of_another_gets_no_tunnel_and_the_others_goes_on() {
    let (a, b) = pair();
    let ping = |id| {
        let ping = echo(a.node.address, b.node.address, id);
        a.node.sends(ping.clone());
        assert_eq!(b.node.gets(), ping, "{id}");
    };
    for (number, claimer) in [(1, PeerId([9; 32])), (2, PeerId([0; 32]))] {
        let mut table = b.table(&a);
        let peer = table.peers[&a.node.id].clone();
        table.peers.insert(claimer, peer);
        let address = [10, 0, 0, 99].into();
        table.rules.peers.insert(claimer, [address].into());
        b.node.tunnel.publish(&table);
        // A handshake from nothing is told by its key alone whose it is.
        a.node.tunnel.reset(&b.node.id);
        ping(number);
        let stats = b.node.tunnel.stats();
        let peers: Vec<PeerId> = stats.iter().map(|stats| stats.id).collect();
        assert_eq!(peers, [a.node.id]);
    }
    // With a key of its own it takes part.
    let mut table = b.table(&a);
    let mut peer = table.peers[&a.node.id].clone();
    peer.key = PublicKey::from(&StaticSecret::from([9; 32]));
    table.peers.insert(PeerId([9; 32]), peer);
    let address = [10, 0, 0, 99].into();
    table.rules.peers.insert(PeerId([9; 32]), [address].into());
    b.node.tunnel.publish(&table);
    assert_eq!(b.node.tunnel.stats().len(), 2);
    ping(3);
}

#[test]
fn packets_of_all_sizes_in_one_batch_arrive_once_each_and_as_they_were() {
    let (a, b) = pair();
    let mut table = b.table(&a);
    table.rules.open.push(open(Protocol::Udp, 53));
    b.node.tunnel.publish(&table);
    let packet = |number: usize| {
        let data: Vec<u8> = (0..number * 37 % 1252)
            .map(|n| (n + number) as u8)
            .collect();
        udp(a.node.address, b.node.address, (4000, 53), &data)
    };
    // What waits for the handshake is bounded, so that comes first.
    a.node.sends(packet(0));
    assert_eq!(b.node.gets(), packet(0));
    for number in 1..1000 {
        a.node.sends(packet(number));
    }
    for number in 1..1000 {
        assert!(b.node.gets() == packet(number), "packet {number}");
    }
}

#[test]
fn what_is_not_wireguards_goes_to_the_strays_and_is_never_answered() {
    let (a, b) = pair();
    let stranger = UdpSocket::bind((LOCALHOST, 0)).unwrap();
    a.udp.send(b.address(), b"\xc1 a probe");
    assert_eq!(
        b.strays.recv_timeout(SOON).unwrap(),
        (a.address(), b"\xc1 a probe".to_vec())
    );
    let mut garbage: Vec<Vec<u8>> = vec![vec![], vec![4], vec![4, 0, 0, 0], vec![0; 9000]];
    for kind in 1..=4 {
        for length in [32, 64, 92, 148, 1452, 9000] {
            let mut message = vec![0x5a; length];
            message[..4].copy_from_slice(&[kind, 0, 0, 0]);
            garbage.push(message.clone());
            // The number of a session that is there, as numbers are given out in order.
            message[4..12].fill(0);
            garbage.push(message);
        }
    }
    for message in &garbage {
        stranger.send_to(message, b.address()).unwrap();
    }
    let ping = echo(a.node.address, b.node.address, 1);
    a.node.sends(ping.clone());
    assert_eq!(b.node.gets(), ping);
    stranger.set_nonblocking(true).unwrap();
    assert_eq!(
        stranger.recv(&mut [0; 2000]).unwrap_err().kind(),
        ErrorKind::WouldBlock
    );
}

#[test]
fn two_networks_share_the_sockets_and_each_gets_its_own() {
    let (a, b) = pair();
    let (c, d) = (Node::new(3), Node::new(4));
    let _attached = (a.udp.attach(&c.tunnel), b.udp.attach(&d.tunnel));
    let publish = |node: &Node, other: &Node, udp: &Arc<Udp>, to| {
        let mut table = node.table(other, None);
        table.peers.get_mut(&other.id).unwrap().carrier = Some(udp.carrier(to, DATAGRAM));
        node.tunnel.publish(&table);
    };
    publish(&c, &d, &a.udp, b.address());
    publish(&d, &c, &b.udp, a.address());
    for id in 0..20 {
        for (from, to) in [(&a.node, &b.node), (&c, &d), (&d, &c), (&b.node, &a.node)] {
            let ping = echo(from.address, to.address, id);
            from.sends(ping.clone());
            assert_eq!(to.gets(), ping);
        }
    }
}

#[test]
fn a_tunnel_that_is_detached_or_stopped_gets_nothing_more() {
    let (a, mut b) = pair();
    let ping = |id| {
        let ping = echo(a.node.address, b.node.address, id);
        a.node.sends(ping.clone());
        ping
    };
    let first = ping(1);
    assert_eq!(b.node.gets(), first);
    drop(b.attached.take());
    ping(2);
    after_what_was_sent(&a, &b);
    assert!(b.node.delivered.try_recv().is_err());
    b.attached = Some(b.udp.attach(&b.node.tunnel));
    let third = ping(3);
    assert_eq!(b.node.gets(), third);
    b.node.tunnel.stop();
    ping(4);
    after_what_was_sent(&a, &b);
    assert!(b.node.delivered.try_recv().is_err());
}

#[test]
fn a_message_longer_than_the_path_takes_is_dropped_and_counted() {
    let (a, b) = pair();
    let carrier = a.udp.carrier(b.address(), 500);
    a.node.tunnel.set_carrier(&b.node.id, Some(carrier));
    let ping = echo(a.node.address, b.node.address, 1);
    a.node.sends(ping.clone());
    assert_eq!(b.node.gets(), ping);
    a.node
        .sends(udp(a.node.address, b.node.address, (1, 2), &[0; 600]));
    a.node.sends(ping.clone());
    assert_eq!(b.node.gets(), ping);
    assert_eq!(a.node.dropped(Dropped::TooLong), 1);
}

/// The bytes of memory that wait in the kernel for the socket at an address of this machine.
fn waiting(at: SocketAddr) -> usize {
    let table = std::fs::read_to_string("/proc/net/udp").unwrap();
    let port = format!(":{:04X}", at.port());
    let lines = table.lines().map(|line| line.split_whitespace());
    let mut queues = lines.filter_map(|mut words| {
        words.nth(1).filter(|local| local.ends_with(&port))?;
        let (_, received) = words.nth(2)?.split_once(':')?;
        usize::from_str_radix(received, 16).ok()
    });
    queues.next().unwrap_or(0)
}

#[test]
fn a_flood_of_handshakes_from_one_address_stops_nobody_elses() {
    let (a, b) = pair();
    let flooder = UdpSocket::bind("127.0.0.2:0").unwrap();
    let initiation = initiation(&b.node);
    let mut answers = 0;
    std::thread::scope(|scope| {
        let (over, end) = channel::<()>();
        let (tells, in_flood) = channel();
        let (flooder, initiation, target) = (&flooder, &initiation, b.address());
        let flood = scope.spawn(move || {
            while end.try_recv() != Err(std::sync::mpsc::TryRecvError::Disconnected) {
                // As fast as it is read. What the kernel drops for want of room reaches nobody, and is no promise of ours.
                if waiting(target) > 32 << 10 {
                    std::thread::yield_now();
                    continue;
                }
                for _ in 0..50 {
                    flooder.send_to(initiation, target).unwrap();
                }
                let _ = tells.send(());
            }
        });
        for _ in 0..50 {
            in_flood.recv().unwrap();
        }
        for id in 0..3 {
            a.node.tunnel.reset(&b.node.id);
            let ping = echo(a.node.address, b.node.address, id);
            a.node.sends(ping.clone());
            assert_eq!(b.node.gets(), ping);
        }
        drop(over);
        flood.join().unwrap();
        flooder.set_nonblocking(true).unwrap();
        while flooder.recv(&mut [0; 200]).is_ok() {
            answers += 1;
        }
    });
    assert_eq!(answers, 0, "nobody knows it, so it gets no answer");
}

#[test]
fn a_flood_of_handshakes_from_many_addresses_is_answered_by_cookies_and_a_peer_still_gets_through()
{
    let (a, b) = pair();
    let initiation = initiation(&b.node);
    let flooders: Vec<UdpSocket> = (0..50)
        .map(|n| UdpSocket::bind((Ipv4Addr::new(127, 0, 1, n), 0)).unwrap())
        .collect();
    std::thread::scope(|scope| {
        let (over, end) = channel::<()>();
        let (sources, initiation, target) = (&flooders, &initiation, b.address());
        let flood = scope.spawn(move || {
            while end.recv_timeout(Duration::from_millis(5))
                != Err(std::sync::mpsc::RecvTimeoutError::Disconnected)
            {
                for flooder in sources {
                    flooder.send_to(initiation, target).unwrap();
                }
            }
        });
        // The first of them shows that the limit is reached.
        let mut answer = [0; 200];
        flooders[0].set_read_timeout(Some(SOON)).unwrap();
        let length = flooders[0].recv(&mut answer).unwrap();
        assert_eq!((length, answer[0]), (64, 3), "a cookie");
        for id in 0..2 {
            a.node.tunnel.reset(&b.node.id);
            let ping = echo(a.node.address, b.node.address, id);
            a.node.sends(ping.clone());
            assert_eq!(b.node.gets(), ping);
        }
        drop(over);
        flood.join().unwrap();
    });
}

#[test]
fn sockets_that_are_dropped_give_their_port_back() {
    let udp = Udp::bind(Some(0), Arc::new(|_, _| {})).unwrap();
    let ports = udp.ports();
    let again = || Udp::bind(Some(ports[0]), Arc::new(|_, _| {}));
    assert_eq!(again().unwrap_err().kind(), ErrorKind::AddrInUse);
    drop(udp);
    assert_eq!(again().unwrap().ports(), ports);
}

/// A node with sockets of its own, which its tunnel is attached to.
struct End {
    node: Node,
    udp: Arc<Udp>,
    strays: Receiver<(SocketAddr, Vec<u8>)>,
    attached: Option<Attached>,
}

impl End {
    fn new(number: u8) -> Self {
        let (strays, got) = channel();
        let udp = Udp::bind(
            Some(0),
            Arc::new(move |from, datagram: &[u8]| {
                let _ = strays.send((from, datagram.to_vec()));
            }),
        )
        .unwrap();
        let node = Node::new(number);
        let attached = Some(udp.attach(&node.tunnel));
        Self {
            node,
            udp,
            strays: got,
            attached,
        }
    }

    fn address(&self) -> SocketAddr {
        (LOCALHOST, self.udp.ports()[0]).into()
    }

    fn table(&self, other: &Self) -> Table {
        let mut table = self.node.table(&other.node, None);
        let carrier = self.udp.carrier(other.address(), DATAGRAM);
        table.peers.get_mut(&other.node.id).unwrap().carrier = Some(carrier);
        table
    }
}

fn pair() -> (End, End) {
    let (a, b) = (End::new(1), End::new(2));
    a.node.tunnel.publish(&a.table(&b));
    b.node.tunnel.publish(&b.table(&a));
    (a, b)
}

/// Waits until b has dealt with what a has sent.
fn after_what_was_sent(a: &End, b: &End) {
    a.node.memory.settled();
    // A socket keeps the order.
    a.udp.send(b.address(), b"\xc1");
    b.strays.recv_timeout(SOON).unwrap();
}

/// What anybody can make who knows the node's public key: the beginning of a handshake by a stranger.
fn initiation(with: &Node) -> Vec<u8> {
    let mut tunn = Tunn::new(StaticSecret::from([77; 32]), with.key, None, None, 1, None);
    match tunn.format_handshake_initiation(&mut [0; 200], false) {
        TunnResult::WriteToNetwork(message) => message.to_vec(),
        other => panic!("{other:?}"),
    }
}
