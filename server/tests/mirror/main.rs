//! The mirror with real endpoints on loopback, and the real binary where a process is the point.
#![allow(
    clippy::unwrap_used,
    reason = "a failed expectation of a test is a panic"
)]

mod abuse;
mod client;
mod disk;
mod echo;
mod letters;
mod log;
mod memory;
mod process;
mod relay;
mod serving;
#[path = "../../../ledger/tests/common/mod.rs"]
mod world;
