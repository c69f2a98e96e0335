//! The mesh server.
fn main() {}
