//! What really crosses a host's interfaces.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use nix::sys::socket::{
    AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, recvfrom, setsockopt, sockopt,
};
use nix::sys::time::TimeVal;

use super::namespace::Namespace;
use super::process::holds;

/// One IP packet on one interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// The interface, such as `eth0` or `mesh0`.
    pub interface: String,
    /// Whether this host sent it.
    pub sent: bool,
    /// The source address of its header.
    pub from: IpAddr,
    /// The destination address of its header.
    pub to: IpAddr,
    /// The protocol of its header: 1 ICMP, 6 TCP, 17 UDP, 58 ICMPv6.
    pub protocol: u8,
    /// The destination port, when it is UDP or TCP with no header between.
    pub port: Option<u16>,
}

/// A running record of a host's packets.
pub struct Capture {
    packets: Arc<Mutex<Vec<Packet>>>,
    bytes: Arc<Mutex<Vec<u8>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Capture {
    pub(super) fn new(namespace: &Namespace) -> Self {
        // Made before this returns, so that no packet after it is missed.
        let socket = namespace.enter(open);
        let packets = Arc::<Mutex<Vec<Packet>>>::default();
        let bytes = Arc::<Mutex<Vec<u8>>>::default();
        let stop = Arc::<AtomicBool>::default();
        let (into, raw, ended) = (packets.clone(), bytes.clone(), stop.clone());
        let thread = namespace.enter_detached(move || record(&socket, &into, &raw, &ended));
        Self {
            packets,
            bytes,
            stop,
            thread: Some(thread),
        }
    }

    /// The packets so far that satisfy `wanted`.
    #[must_use]
    pub fn packets(&self, wanted: impl Fn(&Packet) -> bool) -> Vec<Packet> {
        self.packets
            .lock()
            .unwrap()
            .iter()
            .filter(|packet| wanted(packet))
            .cloned()
            .collect()
    }

    /// Whether these bytes were in a packet so far: its headers or what it carried.
    ///
    /// # Panics
    /// When so much was recorded that not all was kept.
    #[must_use]
    pub fn holds(&self, needle: &[u8]) -> bool {
        let bytes = self.bytes.lock().unwrap();
        assert!(bytes.len() < KEPT, "{} bytes were recorded", bytes.len());
        holds(&bytes, needle)
    }

    /// The packets so far that left through `interface` for anywhere but `peers`, the link itself (multicast,
    /// broadcast `.255`) excepted.
    #[must_use]
    pub fn strays(&self, interface: &str, peers: &[IpAddr]) -> Vec<Packet> {
        self.packets(|packet| {
            packet.sent
                && packet.interface == interface
                && !peers.contains(&packet.to)
                && !stays_on_link(packet.to)
        })
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// How long a stopped capture may still wait for a packet.
const TICK: TimeVal = TimeVal::new(0, 50_000);
const SENT: u8 = 4; // PACKET_OUTGOING of packet(7)
/// How many bytes of packets a capture keeps.
const KEPT: usize = 64 << 20;

fn open() -> OwnedFd {
    // A datagram packet socket has the link header stripped: packets begin with IP on any kind of interface.
    let flags = SockFlag::SOCK_CLOEXEC;
    let socket = nix::sys::socket::socket(
        AddressFamily::Packet,
        SockType::Datagram,
        flags,
        SockProtocol::EthAll,
    );
    let socket = socket.unwrap();
    setsockopt(&socket, sockopt::ReceiveTimeout, &TICK).unwrap();
    setsockopt(&socket, sockopt::RcvBufForce, &(8 << 20)).unwrap();
    socket
}

fn record(
    socket: &OwnedFd,
    packets: &Mutex<Vec<Packet>>,
    bytes: &Mutex<Vec<u8>>,
    stop: &AtomicBool,
) {
    let mut names = BTreeMap::new();
    let mut buffer = vec![0; 1 << 16];
    while !stop.load(Ordering::Relaxed) {
        let Ok((count, Some(from))) = recvfrom::<LinkAddr>(socket.as_raw_fd(), &mut buffer) else {
            continue;
        };
        let index = u32::try_from(from.ifindex()).unwrap_or_default();
        let name: &String = names.entry(index).or_insert_with(|| {
            let name = nix::net::if_::if_indextoname(index);
            name.map_or_else(
                |_| format!("#{index}"),
                |name| name.to_string_lossy().into_owned(),
            )
        });
        if let Some(packet) = parse(name, from.pkttype() == SENT, &buffer[..count]) {
            packets.lock().unwrap().push(packet);
        }
        let mut bytes = bytes.lock().unwrap();
        if bytes.len() < KEPT {
            bytes.extend_from_slice(&buffer[..count]);
        }
    }
}

fn parse(interface: &str, sent: bool, bytes: &[u8]) -> Option<Packet> {
    let (from, to, protocol, rest): (IpAddr, IpAddr, _, _) = match bytes.first()? >> 4 {
        4 => {
            let address = |at: usize| {
                Some(Ipv4Addr::from(
                    <[u8; 4]>::try_from(bytes.get(at..at + 4)?).ok()?,
                ))
            };
            let header = usize::from(bytes[0] & 15) * 4;
            (
                address(12)?.into(),
                address(16)?.into(),
                *bytes.get(9)?,
                bytes.get(header..)?,
            )
        }
        6 => {
            let address = |at: usize| {
                Some(Ipv6Addr::from(
                    <[u8; 16]>::try_from(bytes.get(at..at + 16)?).ok()?,
                ))
            };
            (
                address(8)?.into(),
                address(24)?.into(),
                *bytes.get(6)?,
                bytes.get(40..)?,
            )
        }
        _ => return None,
    };
    let port = matches!(protocol, 6 | 17).then(|| rest.get(2..4)).flatten();
    let port = port.map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]));
    Some(Packet {
        interface: interface.to_owned(),
        sent,
        from,
        to,
        protocol,
        port,
    })
}

fn stays_on_link(to: IpAddr) -> bool {
    match to {
        IpAddr::V4(to) => to.is_multicast() || to.is_broadcast() || to.octets()[3] == 255,
        IpAddr::V6(to) => to.is_multicast() || to.is_unicast_link_local(),
    }
}
