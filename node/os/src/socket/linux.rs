//! UDP sockets on Linux.

use std::io::{self, PipeReader, PipeWriter, Write};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, SockaddrStorage, sockopt};

/// A socket bound to an address, for its family alone, with buffers of `buffers` bytes each way, or of as many as the
/// system grants: without `CAP_NET_ADMIN` that is what `net.core.rmem_max` and `wmem_max` say.
///
/// # Errors
/// When the address is taken or not to be had, or the system has no such family.
pub fn bind(address: SocketAddr, buffers: usize) -> io::Result<UdpSocket> {
    let family = if address.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    };
    let fd = socket::socket(family, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    if address.is_ipv6() {
        socket::setsockopt(&fd, sockopt::Ipv6V6Only, &true)?;
    }
    // Without the right to it they stay smaller, which costs packets under load and nothing else.
    let _ = socket::setsockopt(&fd, sockopt::RcvBufForce, &buffers)
        .or_else(|_| socket::setsockopt(&fd, sockopt::RcvBuf, &buffers));
    let _ = socket::setsockopt(&fd, sockopt::SndBufForce, &buffers)
        .or_else(|_| socket::setsockopt(&fd, sockopt::SndBuf, &buffers));
    socket::bind(fd.as_raw_fd(), &SockaddrStorage::from(address))?;
    Ok(fd.into())
}

/// Waits for datagrams until it is told to end.
#[derive(Debug)]
pub struct Wait {
    ended: PipeReader,
    end: PipeWriter,
}

impl Wait {
    /// One that has not ended.
    ///
    /// # Errors
    /// When the process has no more file descriptors.
    pub fn new() -> io::Result<Self> {
        let (ended, end) = io::pipe()?;
        Ok(Self { ended, end })
    }

    /// Waits until the socket has something to read. False after [`Wait::end`], and then always.
    ///
    /// # Errors
    /// When the socket is unusable.
    pub fn readable(&self, socket: &UdpSocket) -> io::Result<bool> {
        let mut both = [
            PollFd::new(socket.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.ended.as_fd(), PollFlags::POLLIN),
        ];
        loop {
            match poll(&mut both, PollTimeout::NONE) {
                Ok(_) => break,
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(both[1].any() != Some(true))
    }

    /// Ends all waits, now and later.
    ///
    /// # Errors
    /// When the system does not let the waiting thread be woken.
    pub fn end(&self) -> io::Result<()> {
        (&self.end).write_all(&[0])
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    #[test]
    fn both_families_have_the_same_port_side_by_side() {
        let v4 = bind((Ipv4Addr::LOCALHOST, 0).into(), 1 << 20).unwrap();
        let port = v4.local_addr().unwrap().port();
        match bind((Ipv6Addr::UNSPECIFIED, port).into(), 1 << 20) {
            Ok(v6) => assert_eq!(v6.local_addr().unwrap().port(), port),
            // A machine may have no IPv6 at all; the port cannot be what is in the way.
            Err(error) => assert_ne!(error.kind(), io::ErrorKind::AddrInUse),
        }
    }

    #[test]
    fn a_wait_ends_with_a_datagram_or_when_it_is_told_to() {
        let socket = bind((Ipv4Addr::LOCALHOST, 0).into(), 1 << 20).unwrap();
        let wait = Wait::new().unwrap();
        socket.send_to(b"x", socket.local_addr().unwrap()).unwrap();
        assert!(wait.readable(&socket).unwrap());
        std::thread::scope(|scope| {
            socket.recv(&mut [0; 8]).unwrap();
            let waiting = scope.spawn(|| wait.readable(&socket).unwrap());
            wait.end().unwrap();
            assert!(!waiting.join().unwrap());
        });
        assert!(!wait.readable(&socket).unwrap(), "it stays ended");
    }
}
