//! Tunnels without a network: devices and carriers in memory.

#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, OnceLock, Weak};
use std::time::Duration;

use bytes::Bytes;
use mesh_core::peer::PeerId;
use mesh_core::plan::{Audience, Open, PortRange, Protocol, Ruleset};
use mesh_tunnel::device::HEADROOM;
use mesh_tunnel::{Carrier, Config, Device, Event, Peer, SealedBatch, Table, Tunnel};
use x25519_dalek::{PublicKey, StaticSecret};

/// How long to wait for what must come.
pub const SOON: Duration = Duration::from_secs(10);

/// A host's side of a tunnel, in memory.
#[derive(Default)]
pub struct Memory {
    sent: Mutex<Sent>,
    changed: Condvar,
    delivered: OnceLock<Sender<Vec<u8>>>,
}

/// What the host sends.
#[derive(Default)]
struct Sent {
    packets: VecDeque<Vec<u8>>,
    over: bool,
    /// Whether all is taken, and whoever takes it has come back for more.
    idle: bool,
}

impl Memory {
    pub fn host_sends(&self, packet: Vec<u8>) {
        let mut sent = self.sent.lock().unwrap();
        sent.packets.push_back(packet);
        sent.idle = false;
        self.changed.notify_all();
    }

    /// Waits until everything that the host sent has been handed to carriers.
    pub fn settled(&self) {
        let sent = self.sent.lock().unwrap();
        let busy = |sent: &mut Sent| !sent.idle;
        let (_sent, late) = self.changed.wait_timeout_while(sent, SOON, busy).unwrap();
        assert!(!late.timed_out(), "packets must be taken");
    }
}

impl Device for Memory {
    fn receive(&self, buffers: &mut [Vec<u8>], sizes: &mut [usize]) -> io::Result<usize> {
        let mut sent = self.sent.lock().unwrap();
        while sent.packets.is_empty() && !sent.over {
            sent.idle = true;
            self.changed.notify_all();
            sent = self.changed.wait(sent).unwrap();
        }
        if sent.over {
            return Ok(0);
        }
        let count = sent.packets.len().min(buffers.len());
        let packets = sent.packets.drain(..count);
        for ((buffer, size), packet) in buffers.iter_mut().zip(sizes).zip(packets) {
            buffer[HEADROOM..HEADROOM + packet.len()].copy_from_slice(&packet);
            *size = packet.len();
        }
        Ok(count)
    }

    fn send(&self, buffers: &mut [Vec<u8>]) -> io::Result<()> {
        for buffer in buffers {
            // The test may have ended.
            let _ = self
                .delivered
                .get()
                .unwrap()
                .send(buffer[HEADROOM..].to_vec());
        }
        Ok(())
    }

    fn stop(&self) {
        self.sent.lock().unwrap().over = true;
        self.changed.notify_all();
    }
}

/// Decides what becomes of a batch on the wire.
pub type Mischief = Arc<dyn Fn(Vec<Bytes>) -> Vec<Bytes> + Send + Sync>;

/// The way from one node to another, with a mischief of its own.
pub struct Wire {
    pub from: PeerId,
    pub to: Weak<Tunnel>,
    pub mischief: Mutex<Option<Mischief>>,
    pub longest: usize,
}

impl Carrier for Wire {
    fn send(&self, batch: SealedBatch<'_>) -> usize {
        let messages: Vec<Bytes> = batch.messages().map(Bytes::copy_from_slice).collect();
        let mischief = self.mischief.lock().unwrap().clone();
        let messages =
            mischief.map_or_else(|| messages.clone(), |mischief| mischief(messages.clone()));
        if let Some(to) = self.to.upgrade() {
            to.receive(&self.from, messages);
        }
        0
    }

    fn max_message(&self) -> usize {
        self.longest
    }
}

/// A device with its tunnel.
pub struct Node {
    pub id: PeerId,
    pub address: IpAddr,
    pub key: PublicKey,
    pub memory: Arc<Memory>,
    pub delivered: Receiver<Vec<u8>>,
    pub events: Receiver<Event>,
    pub tunnel: Arc<Tunnel>,
}

impl Node {
    pub fn new(number: u8) -> Self {
        let secret = StaticSecret::from([number; 32]);
        let key = PublicKey::from(&secret);
        let memory = Arc::new(Memory::default());
        let (delivers, delivered) = channel();
        memory.delivered.set(delivers).unwrap();
        let (tells, events) = channel();
        let config = Config {
            key: secret,
            mtu: 1280,
            device: memory.clone(),
            events: Arc::new(move |event| {
                let _ = tells.send(event);
            }),
        };
        let tunnel = Arc::new(Tunnel::spawn(config).unwrap());
        let address = Ipv4Addr::new(10, 0, 0, number).into();
        Self {
            id: PeerId([number; 32]),
            address,
            key,
            memory,
            delivered,
            events,
            tunnel,
        }
    }

    /// The table by which this node knows another.
    pub fn table(&self, other: &Self, carrier: Option<Arc<Wire>>) -> Table {
        let carrier = carrier.map(|wire| wire as Arc<dyn Carrier>);
        Table {
            rules: Ruleset {
                own: [self.address].into(),
                peers: [(other.id, [other.address].into())].into(),
                ..Ruleset::default()
            },
            peers: BTreeMap::from([(
                other.id,
                Peer {
                    key: other.key,
                    carrier,
                    preshared_key: None,
                },
            )]),
        }
    }

    pub fn wire_to(&self, other: &Self) -> Arc<Wire> {
        let to = Arc::downgrade(&other.tunnel);
        Arc::new(Wire {
            from: self.id,
            to,
            mischief: Mutex::default(),
            longest: 4096,
        })
    }

    pub fn sends(&self, packet: Vec<u8>) {
        self.memory.host_sends(packet);
    }

    /// The next packet that this host gets.
    pub fn gets(&self) -> Vec<u8> {
        self.delivered
            .recv_timeout(SOON)
            .expect("a packet must come")
    }

    /// Waits for an event that fits.
    pub fn hears(&self, fits: impl Fn(&Event) -> bool) -> Event {
        loop {
            let event = self.events.recv_timeout(SOON).expect("an event must come");
            if fits(&event) {
                return event;
            }
        }
    }

    pub fn dropped(&self, reason: mesh_tunnel::Dropped) -> u64 {
        self.tunnel
            .stats()
            .iter()
            .filter_map(|stats| stats.dropped.get(&reason))
            .sum()
    }
}

/// Two nodes that know each other and are joined by wires.
pub struct Pair {
    pub a: Node,
    pub b: Node,
    pub a_to_b: Arc<Wire>,
    pub b_to_a: Arc<Wire>,
}

impl Pair {
    pub fn new() -> Self {
        let (a, b) = (Node::new(1), Node::new(2));
        let (a_to_b, b_to_a) = (a.wire_to(&b), b.wire_to(&a));
        let pair = Self {
            a,
            b,
            a_to_b,
            b_to_a,
        };
        pair.a.tunnel.publish(&pair.a_table());
        pair.b.tunnel.publish(&pair.b_table());
        pair
    }

    pub fn a_table(&self) -> Table {
        self.a.table(&self.b, Some(self.a_to_b.clone()))
    }

    pub fn b_table(&self) -> Table {
        self.b.table(&self.a, Some(self.b_to_a.clone()))
    }

    /// A ping from a to b that surely arrives, and nothing else before it.
    pub fn ping(&self, id: u16) {
        let ping = echo(self.a.address, self.b.address, id);
        self.a.sends(ping.clone());
        assert_eq!(self.b.gets(), ping);
    }
}

pub fn open(protocol: Protocol, port: u16) -> Open {
    Open {
        protocol,
        ports: PortRange::one(port),
        audience: Audience::All,
    }
}

pub fn echo(from: IpAddr, to: IpAddr, id: u16) -> Vec<u8> {
    let [high, low] = id.to_be_bytes();
    ip(from, to, 1, &[8, 0, 0, 0, high, low, 0, 1])
}

pub fn udp(from: IpAddr, to: IpAddr, ports: (u16, u16), data: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend_from_slice(&ports.0.to_be_bytes());
    body.extend_from_slice(&ports.1.to_be_bytes());
    body.extend_from_slice(&u16::try_from(8 + data.len()).unwrap().to_be_bytes());
    body.extend_from_slice(&[0, 0]);
    body.extend_from_slice(data);
    ip(from, to, 17, &body)
}

pub fn tcp(from: IpAddr, to: IpAddr, ports: (u16, u16), flags: u8) -> Vec<u8> {
    let mut body = vec![0; 20];
    body[..2].copy_from_slice(&ports.0.to_be_bytes());
    body[2..4].copy_from_slice(&ports.1.to_be_bytes());
    body[12] = 5 << 4;
    body[13] = flags;
    ip(from, to, 6, &body)
}

fn ip(from: IpAddr, to: IpAddr, protocol: u8, body: &[u8]) -> Vec<u8> {
    let (IpAddr::V4(from), IpAddr::V4(to)) = (from, to) else {
        panic!("IPv4 only")
    };
    let mut packet = vec![0; 20];
    packet[0] = 0x45;
    packet[2..4].copy_from_slice(&u16::try_from(20 + body.len()).unwrap().to_be_bytes());
    packet[9] = protocol;
    packet[12..16].copy_from_slice(&from.octets());
    packet[16..20].copy_from_slice(&to.octets());
    packet.extend_from_slice(body);
    packet
}
