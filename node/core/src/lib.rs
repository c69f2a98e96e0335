//! Everything a node decides, as pure functions and small state machines.
//!
//! The ledger (`mesh-ledger`) says what a network is; this crate says what that means for *this* device, and the shells
//! around it carry that out:
//!
//! 1. [`desired`] turns the network's state, this device's id and the moment into one value: the [`plan`] for the machine
//!    (interface, addresses, rules) and the peers that the tunnel may know. It remembers nothing, so whatever an event
//!    takes away is gone from the next value.
//! 2. `mesh-os` makes the machine be what the plan says; `mesh-tunnel` gives every peer a tunnel and a
//!    [`filter`], which judges each packet that [`packet`] could read by the same rules as the native firewall has.
//! 3. [`names`] says what each network's names mean; the daemon answers for them.
//! 4. [`dial`] says whom to be linked with and when to try; [`link`] is what two devices then say to each other;
//!    [`path`] finds the addresses at which packets reach a peer past its link, and chooses among them;
//!    [`beacon`]s carry presence and heads beyond one's own links. [`peer`] is a device's name in all of it.
//!    [`explain`] says why somebody may reach a port, by the filter's own judgement. [`rotation`] says when to change the
//!    key of events after a removal, [`checkpoint`] when to seal their order. [`settings`] are what admins can set for the
//!    whole network.
//! 5. [`slots`], [`hourly`], [`unanswered`] and [`lan`] bound what strangers, and a member that lies, can make a device do.
//! 6. [`handover`] is what a user's first device tells a further one, and [`keyfile`] the user's key under a passphrase.
//!
//! # Invariants, each with tests
//!
//! - *Deny first.* What is not opened is closed: a device that is no live member is in no plan, as peer or in an audience,
//!   and gets none itself. When a state shrinks, the shell takes away tunnels and rules before anything else, for which
//!   two plans can be compared.
//! - *Only a device offers what it has.* A plan opens ports by this device's own offers alone, and only to their audience;
//!   no rank of anybody else opens one.
//! - *What has ended stays ended.* An offer that was seen to end does not open again when the clock goes back.
//! - *One policy, made once.* The filter in the process and the native firewall are made from one
//!   [`Ruleset`](plan::Ruleset), so that they cannot come to differ.
//! - *Withdrawing cuts.* The filter keeps no memory of accepted inbound connections: each packet is judged by the offers
//!   of this moment.
//! - *Time is testimony.* Nothing compares the clocks of two machines but the end that an offer names; pauses and
//!   lifetimes are differences on this machine alone.
//! - *Nothing ephemeral in the ledger.* Beacons and links come and go without an event.
//! - *No bytes make it panic, nor grow without bound.* Packets, frames and beacons are from strangers until they are read
//!   whole; every table is bounded, by a constant or by the number of live devices.
//!
//! # What it refuses to do
//!
//! No sockets, files, threads, clock or ambient randomness: what it needs to know, the moment included, is an argument.
//! No knowledge of any operating system: a plan says what is wanted, never how. Nothing in
//! a plan needs quoting: it holds numbers, our own identifiers and checked domains.

pub mod beacon;
pub mod callers;
pub mod checkpoint;
pub mod choice;
pub mod desired;
pub mod dial;
pub mod explain;
pub mod filter;
pub mod forward;
pub mod handover;
pub mod hourly;
pub mod keyfile;
pub mod lan;
pub mod link;
pub mod mirror;
pub mod names;
pub mod packet;
pub mod path;
pub mod peer;
pub mod plan;
pub mod rotation;
pub mod settings;
pub mod slots;
pub mod transfer;
pub mod unanswered;
