//! The packet path of one network: from the TUN through the filter and WireGuard to a carrier, and back.
//!
//! This crate moves packets and decides nothing: whom to talk to, with which keys, over what, and who may reach which
//! port is in the [`Table`] that the daemon publishes. It has threads of its own and no async; what it must tell, it tells
//! through [`Event`]s and [`PeerStats`].
//!
//! **Outward** (one thread): a batch of packets from the device → parse → the peer that has the target address → lock the
//! peer once → filter → seal into one piece of memory → [`Carrier::send`].
//! **Inward** (one thread): [`Tunnel::receive`] puts sealed messages into the peer's bounded queue → lock the peer once →
//! open → the source must be the peer's own → filter → one batch to the device.
//! **Timer** (one thread): every 250 ms, WireGuard's timers.
//! **Sockets** ([`udp`], two threads for all networks): what comes by UDP is opened and delivered, as inward, by the thread
//! that received it.
//!
//! *Deny first*: [`Tunnel::publish`] cuts who is gone and narrows who remains before anything else; when it returns, no
//! packet that the old table alone allowed will be judged any more.
//!
//! The sessions (`boringtun`'s `Tunn`) are made when traffic or a peer's handshake asks for them, and stay across tables
//! as long as both keys do. When one changes, the session goes on until there is one under the new key, so that no packet is
//! lost by it; it answers no handshake and ends after 20 seconds.

pub mod carrier;
pub mod device;
pub mod frame;
mod inward;
mod outward;
mod own;
mod peer;
mod sessions;
mod shared;
pub mod table;
mod timer;
mod tunnel;
pub mod uapi;
pub mod udp;

pub use self::carrier::{Carrier, SealedBatch};
pub use self::device::Device;
pub use self::table::{Dropped, Event, Peer, PeerStats, Table};
pub use self::tunnel::{Config, Events, Tunnel};
pub use self::udp::{Attached, Strays, Udp};
