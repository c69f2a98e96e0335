//! The interface's other end: where the packet threads read what this host sends to peers and write what peers send.

#[cfg(target_os = "linux")]
mod linux;

use std::io;

#[cfg(target_os = "linux")]
pub use self::linux::{HEADROOM, Tun};

/// How to make the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Whether the kernel may hand over and take runs of packets in one piece (TSO, GRO). Falls back without it where it
    /// is not to be had.
    pub offload: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { offload: true }
    }
}

/// Why there is no interface.
#[derive(Debug, thiserror::Error)]
pub enum TunError {
    /// The system does not let this process make one.
    #[error(
        "this process may not make a network interface; run meshd as root, or give it CAP_NET_ADMIN"
    )]
    NotPermitted(#[source] io::Error),
    /// The system has no TUN driver.
    #[error("the system has no TUN driver (/dev/net/tun); load the kernel module: modprobe tun")]
    NoDriver(#[source] io::Error),
    /// The name is taken.
    #[error("the interface {name} exists already; remove it or choose another number")]
    Taken {
        /// The name.
        name: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Anything else.
    #[error("the interface {name} could not be made")]
    Failed {
        /// The name, or the pattern `mesh%d` for the first free one.
        name: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}
