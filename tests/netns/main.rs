//! The promises, shown with real binaries in namespaces, one test each; and the lab's own tests.
#![allow(
    clippy::unwrap_used,
    reason = "a failed expectation of a test is a panic"
)]
#![allow(
    clippy::print_stdout,
    reason = "seeds and times of a run, to read when it failed"
)]

mod attributes;
mod automerge;
mod bad_input;
mod carry;
mod clean;
mod code;
mod crash;
mod deaf;
mod device;
mod dns;
mod doctor;
mod first_ping;
mod flood;
mod forge;
mod frozen;
mod hidden;
mod history;
mod hostile;
mod join;
mod kick;
mod lab;
mod lan;
mod log;
mod many;
mod mapped;
mod nat;
mod office;
mod relay;
mod roam;
mod rotation;
mod rough;
mod server;
mod share;
mod split;
mod spoof;
mod tongue;
mod two;
mod wg;
mod world;
