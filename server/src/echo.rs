//! The echo's sockets: they tell devices that were welcomed from which address their datagrams come.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;

use mesh_ledger::mirror::Echo;
use mesh_ledger::mirror::echo::{LENGTH, answer};
use zeroize::Zeroizing;

/// What the sockets and the welcomes share. The secret is of this run: who was welcomed before is welcomed again.
#[derive(Clone)]
pub struct Echoes {
    secret: Arc<Zeroizing<[u8; 32]>>,
    ports: [u16; 2],
}

impl Echoes {
    pub(crate) fn new(sockets: &[UdpSocket; 2]) -> io::Result<Self> {
        let mut secret = Zeroizing::new([0; 32]);
        getrandom::fill(secret.as_mut()).map_err(io::Error::other)?;
        let [first, second] = sockets;
        Ok(Self {
            secret: Arc::new(secret),
            ports: [first.local_addr()?.port(), second.local_addr()?.port()],
        })
    }

    /// What a device needs to ask; none while the machine has no randomness.
    pub(crate) fn mint(&self) -> Option<Echo> {
        let mut token = [0; 8];
        getrandom::fill(&mut token).ok()?;
        Some(Echo::mint(
            &self.secret,
            self.ports,
            u64::from_be_bytes(token),
        ))
    }

    pub(crate) fn ports(&self) -> [u16; 2] {
        self.ports
    }
}

/// Opens both sockets, on `port` and the one behind it, or on any two.
pub(crate) fn bind(ip: IpAddr, port: u16) -> io::Result<[UdpSocket; 2]> {
    let second = if port == 0 { 0 } else { port.saturating_add(1) };
    let open = |port| {
        let socket = UdpSocket::bind(SocketAddr::new(ip, port))?;
        socket.set_nonblocking(true)?;
        Ok::<_, io::Error>(socket)
    };
    Ok([open(port)?, open(second)?])
}

/// Answers until the server stops.
pub(crate) async fn serve(socket: UdpSocket, echoes: Echoes) {
    let Ok(socket) = tokio::net::UdpSocket::from_std(socket) else {
        return;
    };
    // What is longer is no question; one byte more tells.
    let mut datagram = [0; LENGTH + 1];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut datagram).await else {
            // An error that an earlier answer met on its way.
            tokio::task::yield_now().await;
            continue;
        };
        let from = SocketAddr::new(from.ip().to_canonical(), from.port());
        let question = datagram.get(..length).unwrap_or_default();
        if let Some(answer) = answer(&echoes.secret, question, from) {
            let to = match (from.ip(), socket.local_addr()) {
                (IpAddr::V4(ip), Ok(own)) if own.is_ipv6() => {
                    SocketAddr::new(ip.to_ipv6_mapped().into(), from.port())
                }
                _ => from,
            };
            // As any datagram, it may be lost.
            let _ = socket.try_send_to(&answer, to);
        }
    }
}
