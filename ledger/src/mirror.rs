//! A server's copy of a network: what devices and servers say to each other, and what a server can be held to.
//!
//! A mirror is a log: events by position, in the order in which the server took them. It checks them at the gate and judges
//! who may come by the clear acts alone; it opens nothing. So it can withhold, and nothing else, and a [`tip`] catches it:
//! a signed statement of how many events there are and of the [`Chain`] over their ids. Members show each other the tips they
//! were given, in their beacons.
//!
//! [`message`] is the conversation, [`echo`] tells a device where it is seen, [`letter`] what joiners and members leave for
//! each other, [`pass`] by what a joiner uses the relay, [`address`] how people write a server down.

pub mod address;
pub mod deputation;
pub mod echo;
pub mod letter;
pub mod message;
pub mod pass;
pub mod tip;

pub use address::{Permit, ServerAddress};
pub use deputation::Deputation;
pub use echo::Echo;
pub use message::{BadFrame, MAX_FRAME, Refusal, Request, Response, Role};
pub use pass::Pass;
pub use tip::{Chain, SignedTip, Tip};

/// The UDP port of a server's mirror and the TCP port of its relay, unless the operator chooses others.
pub const DEFAULT_PORT: u16 = 7443;
