//! Everything a node decides. This crate has no sockets, files, threads, clock or ambient randomness: what it needs to
//! know, the moment included, is an argument, and what it decides is a value that the shells carry out.

pub mod beacon;
pub mod desired;
pub mod dial;
pub mod filter;
pub mod link;
pub mod packet;
pub mod peer;
pub mod plan;
