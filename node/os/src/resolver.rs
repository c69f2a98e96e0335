//! The system's resolver: pointed at this device's own name server while a network is up, for the network's domains.
//!
//! Where a service of the system keeps name servers per interface, it is told; else the one file that all programs read
//! names ours first. Whatever is changed is noted in the run folder before, so that what a killed process left can be
//! taken back. What somebody else changes meanwhile is theirs, and stays.

#[cfg(target_os = "linux")]
mod linux;

use std::path::PathBuf;

use crate::dirs::DirsError;

#[cfg(target_os = "linux")]
pub(crate) use self::linux::{recover, set, unset};

/// Which resolver is ours to change.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder that `etc` is in: `/`, or the root of a daemon that keeps to a folder.
    pub root: PathBuf,
    /// How to reach the system's services.
    pub bus: Bus,
}

/// A message bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bus {
    /// None: services of the system are not ours to change.
    None,
    /// The system's.
    System,
    /// The one at this address, such as `unix:path=/run/bus`.
    At(String),
}

/// How the system's resolver was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// The service systemd-resolved, for the interface.
    Resolved,
    /// The file that names the name servers for all programs.
    File(PathBuf),
}

impl std::fmt::Display for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Resolved => f.write_str("systemd-resolved"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Whether the system's resolver follows the plan.
#[derive(Debug)]
pub enum ResolverState {
    /// It was not asked to.
    Off,
    /// It does.
    InForce(Way),
    /// It does not: names of the network mean nothing to other programs.
    Failed(ResolverError),
}

/// Why the system's resolver was not changed.
#[derive(Debug, thiserror::Error)]
pub enum ResolverError {
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] DirsError),
    /// The note of what was changed cannot be read.
    #[error("{path} is damaged: {why}; if names of the network stay, remove the lines that name mesh from resolv.conf", path = .path.display())]
    Journal {
        /// The note.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The service refused, or gave no answer.
    #[error("systemd-resolved did not {what}: {why}")]
    Resolved {
        /// What it was asked to do.
        what: &'static str,
        /// What it said.
        why: String,
    },
}
