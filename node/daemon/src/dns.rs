//! The name server of this device: it answers its own programs for the names of its networks, and nobody else.
//!
//! It listens on this device's mesh addresses, so that it can be reached while a network is up and never before. Whoever
//! asks from another address gets no answer: port 53 may be shared with peers for some other purpose, and a neighbour on
//! the LAN can send to any address that this machine has. What is not a name of ours is refused, so that the system asks
//! its next name server.

mod message;

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use mesh_core::names::Names;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

pub(crate) use message::labels;

/// What every server of this device answers from; replaced as a whole.
pub(crate) type Shared = Arc<ArcSwap<Served>>;

/// See [`Shared`].
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Served {
    /// The names of all networks that are up.
    pub(crate) names: Names,
    /// Who may ask: this device's own mesh addresses.
    pub(crate) own: BTreeSet<IpAddr>,
}

/// Names cannot be answered for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    /// Another program has the port.
    #[error(
        "port {PORT} of {0} is taken by another name server, so names of the network are not answered"
    )]
    Taken(IpAddr),
    /// The system said no.
    #[error(
        "names of the network are not answered: port {PORT} of {address} cannot be used: {why}"
    )]
    Io {
        /// The address.
        address: IpAddr,
        /// What it said.
        why: io::Error,
    },
}

/// Where resolvers expect a name server, and most cannot be told otherwise.
pub(crate) const PORT: u16 = 53;
/// The longest query: one question with every option that is in use fits several times.
const MAX_QUERY: usize = 1232;
/// The most TCP connections at once, for each address; further ones wait.
const MAX_CONNECTIONS: usize = 32;
/// How long a TCP connection may be silent, or take over a message.
const IDLE: Duration = Duration::from_secs(5);
/// How long a TCP connection lasts, so that those who wait get their turn.
const LIFETIME: Duration = Duration::from_secs(60);
/// After an error of a socket, so that one that stays costs nothing.
const PAUSE: Duration = Duration::from_millis(100);

/// The server on the addresses of one network.
pub(crate) struct Server {
    addresses: Vec<IpAddr>,
    #[cfg(test)]
    at: Option<std::net::SocketAddr>,
    tasks: JoinSet<()>,
}

impl Server {
    /// Answers at those of `addresses` where the port is free.
    ///
    /// # Errors
    /// When it is free at none of them; tells why of the first.
    pub(crate) async fn start(
        addresses: &[IpAddr],
        shared: &Shared,
        port: u16,
    ) -> Result<Self, ServeError> {
        let mut server = Self {
            addresses: Vec::new(),
            #[cfg(test)]
            at: None,
            tasks: JoinSet::new(),
        };
        let mut failed = None;
        for address in addresses {
            match bind(*address, port).await {
                Ok((udp, tcp)) => {
                    server.addresses.push(*address);
                    #[cfg(test)]
                    {
                        server.at = tcp.local_addr().ok();
                    }
                    server.tasks.spawn(serve_udp(udp, shared.clone()));
                    server.tasks.spawn(serve_tcp(tcp, shared.clone()));
                }
                Err(why) if why.kind() == io::ErrorKind::AddrInUse => {
                    failed = failed.or(Some(ServeError::Taken(*address)));
                }
                Err(why) => {
                    let address = *address;
                    failed = failed.or(Some(ServeError::Io { address, why }));
                }
            }
        }
        match failed {
            Some(error) if server.addresses.is_empty() => Err(error),
            _ => Ok(server),
        }
    }

    /// Where it answers.
    pub(crate) fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    /// Closes its sockets; they are closed when this returns.
    pub(crate) async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

impl Served {
    fn may_ask(&self, from: IpAddr) -> bool {
        from.is_loopback() || self.own.contains(&from)
    }
}

async fn bind(address: IpAddr, port: u16) -> io::Result<(UdpSocket, TcpListener)> {
    let tcp = TcpListener::bind((address, port)).await?;
    // The same one, where the port is any.
    let udp = UdpSocket::bind((address, tcp.local_addr()?.port())).await?;
    Ok((udp, tcp))
}

async fn serve_udp(socket: UdpSocket, shared: Shared) {
    let mut query = vec![0; MAX_QUERY + 1];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut query).await else {
            sleep(PAUSE).await;
            continue;
        };
        let served = shared.load();
        let query = query.get(..length).filter(|query| query.len() <= MAX_QUERY);
        let answer = query
            .filter(|_| served.may_ask(from.ip()))
            .and_then(|query| message::answer(query, &served.names));
        if let Some(answer) = answer {
            // Who asked may be gone.
            let _ = socket.send_to(&answer, from).await;
        }
    }
}

async fn serve_tcp(listener: TcpListener, shared: Shared) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    // Gone with this task, and every connection with it.
    let mut connections = JoinSet::new();
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else {
            return;
        };
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, from)) if shared.load().may_ask(from.ip()) => {
                let shared = shared.clone();
                connections.spawn(async move {
                    let _ = timeout(LIFETIME, converse(stream, &shared)).await;
                    drop(permit);
                });
            }
            Ok(_) => {}
            Err(_) => sleep(PAUSE).await,
        }
    }
}

/// Answers one query after the other, until there is none for a while or one that makes no sense.
async fn converse(mut stream: TcpStream, shared: &Shared) -> Option<()> {
    let mut query = [0; MAX_QUERY];
    loop {
        let length = timeout(IDLE, stream.read_u16()).await.ok()?.ok()?;
        let query = query.get_mut(..usize::from(length))?;
        timeout(IDLE, stream.read_exact(query)).await.ok()?.ok()?;
        let answer = message::answer(query, &shared.load().names)?;
        let mut framed = u16::try_from(answer.len()).ok()?.to_be_bytes().to_vec();
        framed.extend(answer);
        timeout(IDLE, stream.write_all(&framed)).await.ok()?.ok()?;
    }
}

#[cfg(test)]
mod tests;
