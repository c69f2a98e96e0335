//! An attacker who writes QUIC packets by hand, and the process that is attacked.
//!
//! A decent library does not send what an attacker sends: a token of any length, packet numbers with wide gaps, no
//! acknowledgement at all. So nothing here uses iroh or its QUIC library. The keys come from rustls, the socket from std.
//!
//! All of it stays on loopback, and every count and every wait has a bound.

pub mod retry;
pub mod victim;
mod wire;
