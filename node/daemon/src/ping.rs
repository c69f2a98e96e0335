//! One ICMP echo, sent like any program's: through the machine's own stack and so through the tunnel.

use std::io::{IoSlice, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, bind, recvmsg,
    sendmsg, setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;

use crate::random;

/// Why there is no round-trip time.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PingError {
    /// No answer came in time.
    #[error("no answer within {0} ms")]
    Silence(u128),
    /// The machine refused to send.
    #[error("cannot send an echo: {0}")]
    Machine(#[from] Errno),
    /// No randomness for the echo's id.
    #[error(transparent)]
    Random(#[from] random::NoRandomness),
}

/// Sends one echo from `own` to `peer` and waits for its answer. Blocks for up to `timeout`.
pub(crate) fn echo(own: IpAddr, peer: IpAddr, timeout: Duration) -> Result<Duration, PingError> {
    let (family, protocol, request, reply) = match peer {
        IpAddr::V4(_) => (AddressFamily::Inet, SockProtocol::Icmp, 8, 0),
        IpAddr::V6(_) => (AddressFamily::Inet6, SockProtocol::IcmpV6, 128, 129),
    };
    let socket = socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
    bind(
        socket.as_raw_fd(),
        &SockaddrStorage::from(SocketAddr::new(own, 0)),
    )?;
    let nonce: [u8; 20] = random::bytes()?;
    let mut message = [0; 24];
    message[0] = request;
    message[4..].copy_from_slice(&nonce);
    if peer.is_ipv4() {
        // The kernel fills in the checksum of ICMPv6, not of ICMP.
        let sum = checksum(&message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    let start = Instant::now();
    let to = SockaddrStorage::from(SocketAddr::new(peer, 0));
    sendmsg(
        socket.as_raw_fd(),
        &[IoSlice::new(&message)],
        &[],
        MsgFlags::empty(),
        Some(&to),
    )?;
    let mut buffer = [0; 2048];
    loop {
        let left = timeout
            .checked_sub(start.elapsed())
            .filter(|left| !left.is_zero());
        let left = left.ok_or(PingError::Silence(timeout.as_millis()))?;
        setsockopt(&socket, sockopt::ReceiveTimeout, &timeval(left))?;
        let length = match receive(socket.as_raw_fd(), &mut buffer) {
            Ok(length) => length,
            Err(Errno::EAGAIN) => return Err(PingError::Silence(timeout.as_millis())),
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(errno.into()),
        };
        let packet = buffer.get(..length).unwrap_or_default();
        // A raw IPv4 socket gives the IP header too; it sees everybody's ICMP, so ours is told by its random bytes.
        let skip = if peer.is_ipv4() {
            packet.first().map_or(0, |b| usize::from(b & 15) * 4)
        } else {
            0
        };
        let Some(icmp) = packet.get(skip..) else {
            continue;
        };
        if icmp.first() == Some(&reply) && icmp.get(4..24) == Some(&nonce[..]) {
            return Ok(start.elapsed());
        }
    }
}

fn receive(socket: i32, buffer: &mut [u8]) -> Result<usize, Errno> {
    recvmsg::<SockaddrStorage>(
        socket,
        &mut [IoSliceMut::new(buffer)],
        None,
        MsgFlags::empty(),
    )
    .map(|m| m.bytes)
}

fn timeval(duration: Duration) -> TimeVal {
    // At least a microsecond: zero would mean for ever.
    let micros = i64::from(duration.subsec_micros()).max(1);
    TimeVal::new(
        i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        micros,
    )
}

/// The ones' complement sum of RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_with_its_checksum_sums_to_nothing() {
        let mut message = [8, 0, 0, 0, 1, 2, 3, 4, 5];
        let sum = checksum(&message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        assert_eq!(checksum(&message), 0);
    }
}
