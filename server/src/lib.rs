//! The mesh server: a mirror of networks' events, a relay for their members, and as little power as possible.
//!
//! Pure modules decide: [`log`] what enters a network's log, [`rights`] who may do what, [`quota`] how much, [`mailbox`] which
//! letters wait, [`clock`] when a tip was signed. The others carry that out: [`store`] keeps it in SQLite, [`hosted`] binds
//! the two, `mirror` and `session` speak with devices over iroh, `relay` carries packets, `status` tells the operator.
//! Nothing here opens a sealed byte.

pub mod clock;
mod connections;
pub mod echo;
mod files;
pub mod hosted;
mod line;
pub mod log;
pub mod mailbox;
mod mirror;
pub mod quota;
mod relay;
pub mod rights;
mod server;
mod session;
pub mod status;
pub mod store;
mod wire;

pub use files::FilesError;
pub use server::{Door, Options, RELAY_RATE, Server, StartError, printed};
