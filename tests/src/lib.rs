//! What the whole-system tests stand on: the lab of namespaces and the reading of licences.
//!
//! This crate ships nothing. It refuses to reach into the product: the tests see what a user sees, the `mesh` command,
//! the daemon's process and the packets on the wire. The exceptions are attacks: damage to a database, and events forged
//! by a member who holds keys and means ill.
//!
//! Helpers here panic with everything a reader of a failed run needs: in a test that is the right answer to surprise.
#![allow(
    clippy::unwrap_used,
    reason = "a failed expectation of a test is a panic"
)]
#![allow(
    clippy::print_stderr,
    reason = "a failing test explains itself on stderr"
)]

pub mod attack;
pub mod lab;
pub mod licence;
