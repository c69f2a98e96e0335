//! The promises, shown with real binaries in namespaces: one test each, and the lab's own.
#![allow(
    clippy::unwrap_used,
    reason = "a failed expectation of a test is a panic"
)]

mod lab;
