//! Interfaces, their addresses and routes.

#[cfg(target_os = "linux")]
mod linux;

use std::io;

use mesh_core::plan::Subnet;

#[cfg(target_os = "linux")]
pub use self::linux::Links;

/// Why an interface is not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The system's interface list cannot be reached.
    #[error(
        "the kernel's network settings cannot be reached; is this process allowed to (CAP_NET_ADMIN)?"
    )]
    Unreachable(#[source] io::Error),
    /// A step failed.
    #[error("{what} failed: {why}")]
    Step {
        /// What was to be done.
        what: Step,
        /// What the system said.
        why: String,
    },
}

/// What was to be done to an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Set its MTU and bring it up.
    Up,
    /// Give it an address.
    Add(Subnet),
    /// Take an address away.
    Remove(Subnet),
    /// Add a route through it.
    Route(Subnet),
    /// Take a route away.
    Unroute(Subnet),
    /// Change what says nothing.
    Stir,
    /// Remove it.
    Delete,
    /// Look at it.
    Look,
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Up => f.write_str("bringing the interface up"),
            Self::Add(subnet) => write!(f, "adding the address {subnet}"),
            Self::Remove(subnet) => write!(f, "removing the address {subnet}"),
            Self::Route(subnet) => write!(f, "adding the route to {subnet}"),
            Self::Unroute(subnet) => write!(f, "removing the route to {subnet}"),
            Self::Stir => f.write_str("stirring the interface"),
            Self::Delete => f.write_str("removing the interface"),
            Self::Look => f.write_str("looking at the interface"),
        }
    }
}
