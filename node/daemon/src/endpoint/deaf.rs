//! Whether iroh's sockets are still open.
//!
//! When the interfaces change, iroh closes each of its sockets and opens it again on the same port. If that fails the socket
//! stays closed, and nobody opens it again before the next change (iroh 1.4, netwatch 0.19). It does fail when a program that
//! the daemon is starting at that very moment still holds the old one, which is when it puts up its own interface. The
//! device would hear nobody and go on saying that all is well. So it is looked up whether the system has the sockets, and
//! if it has not, the daemon makes such a change, of its own interface: iroh takes nobody's word that there was one.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

/// How long after a change of an interface sockets may be lost by it.
const ALERT: Duration = Duration::from_secs(10);
/// How often it is looked else: the system's list is long to read.
const NOW_AND_THEN: Duration = Duration::from_secs(60);

/// When to look whether the sockets are open.
#[derive(Debug, Default)]
pub(crate) struct Ear {
    alert_until: Duration,
    next: Duration,
}

impl Ear {
    /// An interface changed.
    pub(crate) fn changed(&mut self, now: Duration) {
        self.alert_until = now + ALERT;
    }

    /// Whether it is to be looked now.
    pub(crate) fn is_due(&mut self, now: Duration) -> bool {
        let due = now < self.alert_until || now >= self.next;
        if due {
            self.next = now + NOW_AND_THEN;
        }
        due
    }
}

/// Whether the system lacks one of these UDP sockets. False where it does not tell.
pub(super) fn is_deaf(bound: &[SocketAddr]) -> bool {
    bound.iter().any(|address| {
        let table = if address.is_ipv4() { "udp" } else { "udp6" };
        let table = std::fs::read_to_string(Path::new("/proc/self/net").join(table));
        table.is_ok_and(|table| !lists(&table, address.port()))
    })
}

/// Whether a table of proc(5) has a socket with that local port, which stands behind the colon of the second field in hex.
fn lists(table: &str, port: u16) -> bool {
    let mut sockets = table.lines().skip(1);
    sockets.any(|socket| {
        let local = socket.split_whitespace().nth(1);
        let hex = local
            .and_then(|local| local.rsplit_once(':'))
            .map(|of| of.1);
        hex.is_some_and(|hex| u16::from_str_radix(hex, 16) == Ok(port))
    })
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr, UdpSocket};

    use super::*;

    #[test]
    fn it_is_looked_for_a_while_after_a_change_and_else_now_and_then() {
        let mut ear = Ear::default();
        let mut looked = |changed: bool, seconds: u64| {
            let now = Duration::from_secs(seconds);
            if changed {
                ear.changed(now);
            }
            ear.is_due(now)
        };
        assert!(looked(false, 0) && !looked(false, 2));
        assert!(looked(true, 4) && looked(false, 6) && looked(false, 13));
        assert!(!looked(false, 14) && !looked(false, 72) && looked(false, 73));
    }

    #[test]
    fn a_socket_is_missed_from_when_it_is_closed() {
        let addresses = [
            SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            SocketAddr::from((Ipv6Addr::LOCALHOST, 0)),
        ];
        let mut seen = 0;
        // A machine may have no IPv6.
        for socket in addresses.iter().flat_map(UdpSocket::bind) {
            let bound = [socket.local_addr().unwrap()];
            assert!(!is_deaf(&bound));
            drop(socket);
            assert!(is_deaf(&bound));
            seen += 1;
        }
        assert!(seen > 0);
    }
}
