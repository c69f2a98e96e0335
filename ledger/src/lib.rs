//! Who is in a network, and what they may do.
//!
//! Truth is a DAG of small signed events, append-only, and a deterministic fold that gives the network's state. This
//! crate refuses to do any I/O of its own but the SQLite store (feature `sqlite`): it opens no socket, reads no clock and
//! has no randomness. Time, seeds and bytes are arguments.
//!
//! Invariants, each with tests:
//! - *The store is the truth, after the gate.* Bytes count only once the gate passed them and the store has them.
//! - *Time is testimony.* No fold reads a clock; order comes from causal parents, never from wall clocks.
//! - *Durable, then visible, then announced.* An acknowledged event survives a kill in the next instruction.
//! - *Only a device offers what it has;* only an admin admits, grants, kicks and assigns; nobody else, a server least.
//! - *Nothing ephemeral in the ledger:* presence, endpoints and counters are messages between devices.

pub mod authority;
pub mod epoch;
pub mod event;
pub mod fold;
pub mod gate;
pub mod graph;
pub mod ids;
pub mod keys;
pub mod network;
mod order;
pub mod parking;
pub mod recovery;
pub mod replica;
pub mod seal;
pub mod state;
pub mod store;
pub mod text;
pub mod ticket;
pub mod verdict;
pub mod wire;
