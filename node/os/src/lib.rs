//! The platform seam. The core says what it wants of the machine as a value ([`mesh_core::plan::Plan`]); this crate makes
//! it so, and undoes it. It decides nothing about networks, and nothing outside it knows which platform it runs on.
//!
//! Each module is a contract, with one file per platform beside it. [`machine`] puts them together, and keeps a journal so
//! that what a killed process left behind can be removed.

pub mod dirs;
pub mod firewall;
pub mod link;
pub mod machine;
pub mod process;
pub mod resolver;
pub mod socket;
pub mod tun;
pub mod uapi;
pub mod watch;
