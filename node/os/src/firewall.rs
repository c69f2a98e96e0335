//! The native firewall: a second lock beside the filter in the process, made from the same [`Ruleset`].
//!
//! Each interface has a table of its own, replaced in one transaction; no other table is ever touched. Where there is no
//! native firewall to be had, the caller may go on: the filter in the process holds all the same.

#[cfg(target_os = "linux")]
mod linux;

use std::io;

#[cfg(target_os = "linux")]
pub use self::linux::{closed_chains, remove, render, replace};

#[cfg(doc)]
use mesh_core::plan::Ruleset;

/// Why the native firewall is not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum FirewallError {
    /// There is no tool for it.
    #[error(
        "the tool nft is not installed, so only mesh's own filter protects this machine; install the package nftables"
    )]
    Missing,
    /// The tool could not be run.
    #[error("{path} could not be run")]
    Unusable {
        /// The tool.
        path: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The tool refused the rules.
    #[error("nft refused the rules for {interface}: {message}")]
    Refused {
        /// The interface they are for.
        interface: String,
        /// The first line of what it said.
        message: String,
    },
    /// Not an interface of ours.
    #[error("{0:?} is not the name of an interface of mesh (mesh0, mesh1, …)")]
    ForeignInterface(String),
}

/// Whether this is a name that our interfaces have: `mesh` and a number.
#[must_use]
pub fn is_ours(interface: &str) -> bool {
    interface.strip_prefix("mesh").is_some_and(|number| {
        (1..=9).contains(&number.len()) && number.bytes().all(|digit| digit.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_mesh_and_a_number_is_ours() {
        assert!(is_ours("mesh0") && is_ours("mesh17"));
        for foreign in [
            "mesh",
            "eth0",
            "mesh0;",
            "mesh0\n",
            "mesh-1",
            "xmesh0",
            "mesh1234567890",
        ] {
            assert!(!is_ours(foreign), "{foreign:?}");
        }
    }
}
