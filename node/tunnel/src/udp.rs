//! The fast carrier: one UDP socket per family for all networks and peers of the process.
//!
//! **Out**: [`Udp::carrier`] sends runs of messages of one length in one piece (UDP_SEGMENT).
//! **In** (one thread per socket): what the kernel merged (UDP GRO) is cut into datagrams again. WireGuard's are those that
//! begin with a type of 1 to 4 and three zero bytes; all others go to the [`Strays`]. Data, responses and cookies find their
//! peer by the receiver index, which no two sessions of the process share; an initiation goes to the network whose key it
//! was made for (its first MAC tells), and there to the peer whose key is in it. Runs for one peer are opened with one lock
//! and written to the device by this same thread.
//!
//! **Floods.** A datagram for no session and no key of ours costs a hash at most. Whoever knows a key of ours may begin a few
//! handshakes a second from one address ([`gate`]), and all together a hundred; beyond that each must show by a cookie that
//! it has its address, so that one who has keeps being heard. No answer is longer than its question, and whoever does not
//! know our key gets none.
//!
//! A peer is *heard* at an address when a message from there opened ([`crate::Event::Heard`]); where to send to is for the
//! daemon to decide, never for a datagram.

mod carrier;
mod gate;
mod receive;

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Builder, JoinHandle};

use arc_swap::ArcSwap;
use mesh_os::socket::{self, Wait};
use noq_udp::{Transmit, UdpSockRef, UdpSocketState};

use self::carrier::UdpCarrier;
use crate::carrier::Carrier;
use crate::shared::Shared;
use crate::tunnel::Tunnel;

/// The port that is tried first when none is asked for.
pub const PORT: u16 = 51821;

/// What takes datagrams that are not WireGuard's, with the address they came from. Called from the threads of the sockets, so
/// it must not block. The datagrams are from anybody.
pub type Strays = Arc<dyn Fn(SocketAddr, &[u8]) + Send + Sync>;

/// See the module. Its threads end when it is dropped.
pub struct Udp {
    inner: Arc<Inner>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// A tunnel's claim on what arrives. It ends when this is dropped.
pub struct Attached {
    inner: Arc<Inner>,
    shared: Arc<Shared>,
}

/// What the threads and the carriers share.
struct Inner {
    sockets: Vec<Socket>,
    tunnels: ArcSwap<Vec<Arc<Shared>>>,
    /// One change of `tunnels` at a time.
    changing: Mutex<()>,
    strays: Strays,
}

/// The socket of one family.
struct Socket {
    socket: UdpSocket,
    state: UdpSocketState,
    port: u16,
    ipv4: bool,
    wait: Wait,
}

impl Udp {
    /// Opens a socket for each family that the system has, and starts their threads. Without a port it is [`PORT`], or where
    /// that is taken any free one. Datagrams are never fragmented on their way.
    ///
    /// # Errors
    /// When the port is taken, or the system has no sockets or threads left.
    pub fn bind(port: Option<u16>, strays: Strays) -> io::Result<Arc<Self>> {
        let sockets = match port {
            Some(port) => sockets(port)?,
            None => match sockets(PORT) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => sockets(0)?,
                other => other?,
            },
        };
        let inner = Arc::new(Inner {
            sockets,
            tunnels: ArcSwap::default(),
            changing: Mutex::default(),
            strays,
        });
        let udp = Arc::new(Self {
            inner: inner.clone(),
            threads: Mutex::default(),
        });
        for (place, socket) in inner.sockets.iter().enumerate() {
            let name = if socket.ipv4 {
                "mesh-udp4"
            } else {
                "mesh-udp6"
            };
            let inner = inner.clone();
            let thread = Builder::new()
                .name(name.into())
                .spawn(move || receive::run(&inner, place))?;
            udp.threads
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(thread);
        }
        Ok(udp)
    }

    /// The ports of the sockets: one, unless the families could not have the same.
    #[must_use]
    pub fn ports(&self) -> Vec<u16> {
        let mut ports: Vec<u16> = self
            .inner
            .sockets
            .iter()
            .map(|socket| socket.port)
            .collect();
        ports.dedup();
        ports
    }

    /// Sends a datagram that is not WireGuard's, as far as there is room and a way. Never blocks.
    pub fn send(&self, to: SocketAddr, datagram: &[u8]) {
        self.inner.send(to, datagram);
    }

    /// A way to the peer at this address, for messages of up to `max_datagram` bytes: the largest UDP payload that is known to
    /// pass.
    #[must_use]
    pub fn carrier(&self, to: SocketAddr, max_datagram: usize) -> Arc<dyn Carrier> {
        Arc::new(UdpCarrier::new(
            self.inner.clone(),
            canonical(to),
            max_datagram,
        ))
    }

    /// Lets a tunnel have what arrives for its peers, for as long as the guard lives. The guard keeps the tunnel's device, so
    /// drop it with the tunnel.
    #[must_use]
    pub fn attach(&self, tunnel: &Tunnel) -> Attached {
        let shared = tunnel.shared.clone();
        self.inner.change(|tunnels| tunnels.push(shared.clone()));
        Attached {
            inner: self.inner.clone(),
            shared,
        }
    }
}

impl Drop for Udp {
    fn drop(&mut self) {
        for socket in &self.inner.sockets {
            if let Err(error) = socket.wait.end() {
                tracing::error!(%error, "the thread of a socket could not be woken");
                return;
            }
        }
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for handle in threads {
            // It may be one of them that dropped the last reference.
            if handle.thread().id() != thread::current().id() && handle.join().is_err() {
                tracing::error!("the thread of a socket ended with a panic");
            }
        }
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.inner
            .change(|tunnels| tunnels.retain(|other| !Arc::ptr_eq(other, &self.shared)));
    }
}

impl fmt::Debug for Udp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Udp")
            .field("ports", &self.ports())
            .finish_non_exhaustive()
    }
}

impl Inner {
    fn change(&self, change: impl FnOnce(&mut Vec<Arc<Shared>>)) {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut tunnels = Vec::clone(&self.tunnels.load());
        change(&mut tunnels);
        self.tunnels.store(Arc::new(tunnels));
    }

    /// The socket that reaches an address.
    fn socket(&self, to: SocketAddr) -> Option<&Socket> {
        self.sockets
            .iter()
            .find(|socket| socket.ipv4 == to.is_ipv4())
    }

    fn send(&self, to: SocketAddr, datagram: &[u8]) {
        let to = canonical(to);
        if let Some(socket) = self.socket(to)
            && let Err(error) = socket.send(to, datagram, None)
        {
            tracing::trace!(%error, %to, "a datagram could not be sent");
        }
    }
}

impl Socket {
    fn bind(address: IpAddr, port: u16) -> io::Result<Self> {
        let socket = socket::bind((address, port).into(), BUFFERS)?;
        Ok(Self {
            state: UdpSocketState::new(UdpSockRef::from(&socket))?,
            port: socket.local_addr()?.port(),
            ipv4: address.is_ipv4(),
            wait: Wait::new()?,
            socket,
        })
    }

    fn send(
        &self,
        destination: SocketAddr,
        contents: &[u8],
        segment_size: Option<usize>,
    ) -> io::Result<()> {
        let transmit = Transmit {
            destination,
            ecn: None,
            contents,
            segment_size,
            src_ip: None,
        };
        self.state
            .try_send(UdpSockRef::from(&self.socket), &transmit)
    }
}

/// A socket for each family that the system has, on one port if that can be.
fn sockets(port: u16) -> io::Result<Vec<Socket>> {
    let v4 = Socket::bind(Ipv4Addr::UNSPECIFIED.into(), port);
    let same = v4.as_ref().map_or(port, |socket| socket.port);
    let v6 = match Socket::bind(Ipv6Addr::UNSPECIFIED.into(), same) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && port == 0 => {
            Socket::bind(Ipv6Addr::UNSPECIFIED.into(), 0)
        }
        other => other,
    };
    match (v4, v6) {
        (Ok(v4), Ok(v6)) => Ok(vec![v4, v6]),
        // One family alone is enough, but a taken port is somebody's mistake or a second daemon.
        (Ok(one), Err(error)) | (Err(error), Ok(one)) => {
            if error.kind() == io::ErrorKind::AddrInUse {
                return Err(error);
            }
            tracing::debug!(%error, "one address family is not to be had");
            Ok(vec![one])
        }
        (Err(error), Err(_)) => Err(error),
    }
}

/// An IPv4 address that is written as an IPv6 one is IPv4.
fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        v4 @ IpAddr::V4(_) => SocketAddr::new(v4, address.port()),
        IpAddr::V6(_) => address,
    }
}

/// What each socket may hold each way: 7 MB take 20 ms of 2.8 Gbit/s while the thread has no processor.
const BUFFERS: usize = 7 << 20;
