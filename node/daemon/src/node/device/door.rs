//! Where a code is shown can be named by address alone: while a code is shown, a TCP socket beside the UDP port of the same
//! number tells whoever connects the device's key, which iroh needs to dial it. Nothing is believed of it: a wrong key
//! leads to a device that does not know the words.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use mesh_core::peer::PeerId;
use mesh_ledger::ids::DeviceId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use tracing::debug;

use crate::endpoint::DEFAULT_PORT;

const GREETING: &[u8; 12] = b"mesh code 1\n";
/// How long one visitor may take.
const VISIT: Duration = Duration::from_secs(2);
/// How many may visit at once.
const MAX_VISITORS: usize = 16;
/// How long to wait for a door to open.
const KNOCK: Duration = Duration::from_secs(4);

/// The listening socket. It closes when dropped.
pub(crate) struct Door(AbortHandle);

impl Drop for Door {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Door {
    /// Opens the door, if the port is free.
    pub(crate) async fn open(port: u16, device: DeviceId) -> Option<Self> {
        let listener = match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).await {
            Ok(listener) => listener,
            Err(_) => TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))
                .await
                .map_err(|error| debug!("codes are taken on the LAN alone: {error}"))
                .ok()?,
        };
        let task = tokio::spawn(async move {
            let room = Arc::new(Semaphore::new(MAX_VISITORS));
            loop {
                let Ok(permit) = room.clone().acquire_owned().await else {
                    return;
                };
                let Ok((mut visitor, _)) = listener.accept().await else {
                    // Too many files are open, say: not at full speed.
                    tokio::time::sleep(VISIT).await;
                    continue;
                };
                tokio::spawn(async move {
                    let _permit = permit;
                    let told = async {
                        visitor.write_all(GREETING).await?;
                        visitor.write_all(&device.0).await?;
                        visitor.shutdown().await
                    };
                    let _ = tokio::time::timeout(VISIT, told).await;
                });
            }
        });
        Some(Self(task.abort_handle()))
    }
}

/// Asks at `HOST`, `HOST:PORT` or an address who is there: its key, and where to dial it.
pub(crate) async fn knock(at: &str) -> Result<(PeerId, SocketAddr), String> {
    let places: Vec<SocketAddr> = lookup(at).await?;
    let mut last = format!("{at} has no address");
    for place in places {
        match tokio::time::timeout(KNOCK, visit(place)).await {
            Ok(Ok(peer)) => return Ok((peer, place)),
            Ok(Err(error)) => last = format!("{place}: {error}"),
            Err(_) => last = format!("{place} does not answer"),
        }
    }
    Err(last)
}

async fn visit(place: SocketAddr) -> std::io::Result<PeerId> {
    let mut stream = TcpStream::connect(place).await?;
    let mut said = [0; GREETING.len() + 32];
    stream.read_exact(&mut said).await?;
    match said.split_first_chunk::<{ GREETING.len() }>() {
        Some((greeting, key)) if greeting == GREETING => {
            let mut peer = PeerId([0; 32]);
            peer.0.copy_from_slice(key);
            Ok(peer)
        }
        _ => Err(std::io::Error::other("something else answers there")),
    }
}

async fn lookup(at: &str) -> Result<Vec<SocketAddr>, String> {
    let bare = at.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse::<std::net::IpAddr>() {
        return Ok(vec![SocketAddr::new(address, DEFAULT_PORT)]);
    }
    let place = if at.parse::<SocketAddr>().is_ok() || at.contains(':') {
        at.to_owned()
    } else {
        format!("{at}:{DEFAULT_PORT}")
    };
    let found = tokio::time::timeout(KNOCK, tokio::net::lookup_host(place)).await;
    match found {
        Ok(Ok(found)) => Ok(found.take(4).collect()),
        Ok(Err(error)) => Err(format!("{at}: {error}")),
        Err(_) => Err(format!("{at} was not found in time")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[tokio::test]
    async fn who_knocks_learns_the_devices_key_and_a_closed_door_says_so() {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let door = Door::open(port, DeviceId([7; 32])).await.unwrap();
        let at = format!("127.0.0.1:{port}");
        let (peer, place) = knock(&at).await.unwrap();
        assert_eq!(peer, PeerId([7; 32]));
        assert_eq!(place.to_string(), at);
        drop(door);
        let closed = async {
            while knock(&at).await.is_ok() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(VISIT, closed).await.unwrap();
    }

    #[tokio::test]
    async fn something_else_that_answers_is_no_device() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let at = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(&[b'x'; 64]).await.unwrap();
        });
        assert!(knock(&at).await.unwrap_err().contains("something else"));
    }
}
