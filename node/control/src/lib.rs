//! How the tools talk to the daemon.
//!
//! One JSON value per line over a unix socket. The tool says `hello`, the daemon `welcome`; then the tool sends `call`s
//! and the daemon answers each with one `reply` (in any order, matched by `id`), or the tool sends `watch` and gets the
//! full `state` once and `update`s from then on. A call line is at most [`MAX_CALL`] bytes, a line of the daemon at most
//! [`MAX_REPLY`]; both are enforced before anything is decoded.
//!
//! * [`call`] names everything a tool can ask for, with its parameters; [`reply`] and [`view`] what it gets back.
//! * [`error`] is the one error a person ever sees, and the one place that maps errors to exit codes.
//! * [`server`] serves a [`server::Service`], be it the daemon or the [`fake`] one of the tests.
//! * [`client`] is the tool's end.
//!
//! * [`audit`] puts a ledger into these words, for the daemon and for tools that read a stored network without one.
//!
//! This crate refuses to decide anything: what a ledger amounts to is for the ledger to say, and of the machine it knows
//! nothing. Ids and keys are lower-case hex
//! here, addresses are text, times are milliseconds since 1970 (UTC), and free text is exactly what somebody typed:
//! whoever prints it strips control characters first.

pub mod audit;
mod bytes;
pub mod call;
pub mod client;
mod codec;
pub mod error;
pub mod fake;
pub mod frame;
pub mod history;
pub mod near;
mod ports;
pub mod reply;
mod secret;
pub mod server;
mod servers;
pub mod state;
pub mod utc;
pub mod view;

pub use bytes::Bytes;
pub use call::{Call, Verb};
pub use codec::{MAX_CALL, MAX_REPLY};
pub use error::{Code, Error};
pub use frame::PROTOCOL;
pub use reply::Reply;
pub use secret::Secret;
