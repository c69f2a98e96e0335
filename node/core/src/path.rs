//! Which way sealed packets take to a peer: the state machine that finds direct paths and leaves dead ones.
//!
//! # The two ways
//!
//! A peer with a control link is reachable over that link, by whatever path iroh has: straight, or through a server's
//! relay. That way needs nothing from this module and is used from the first packet on. Beside it stands a UDP socket of
//! our own, which is several times as fast. This module finds out at which address of the peer that socket reaches it, says
//! when to use it ([`Action::Chosen`]) and when not to any more. It moves no packet and knows no socket.
//!
//! # The algorithm
//!
//! 1. Each device knows *candidates*, addresses at which its socket may be reached ([`Own`]): those of its interfaces, those
//!    from which servers and peers saw it come, those that a router mapped for it.
//! 2. Two devices that want a path tell each other theirs in a [`Call`] over the control link, with a *tag* under which
//!    each of them finds the other's probes. Nobody but members of the network is told.
//! 3. Both then ask every candidate of the other, all of them every [`BURST_EVERY`], for [`BURST`]. Asking at once from
//!    both ends is what opens the way through two home routers: each question that goes out lets the other's in. While packets
//!    flow and nothing answers, it is done again, soon at first and every [`BURST_AGAIN`] later.
//! 4. A question is answered to where it came from. The answer holds the number that the question was given at random, so
//!    who sends it has read the question: *that address is confirmed*. An address that only sent something is worth a
//!    question, at once if it was a question, and never a path.
//! 5. The best confirmed address is chosen at once: one on the LAN before any other, then the quickest. One in use is left
//!    for a better kind, or for one quicker by a quarter and 5 ms, and not more often than every [`SETTLE`].
//! 6. The chosen address is asked on and on: every [`CHECK_BUSY`] while packets flow, every [`CHECK_IDLE`] while not.
//!    [`MISSES`] questions in a row that are not answered in time, [`TIMEOUT`] at most, and it is dead: the next best takes
//!    over, or the control link, and everything begins again at 2. After the first, the others follow every [`RETRY`], so
//!    that a path in use is left within four seconds.
//! 7. What cuts an address off is over without a word, mostly: a router has started, a cable is plugged in again. So one that
//!    died is asked on by both, every [`CHECK_LOST`] for [`LOST_FOR`], until it answers. Others that do not answer are asked
//!    as the means last ("What an attacker can do"), those first that have waited longest.
//! 8. How long a datagram may be is found in the same way, by questions of that length, downwards from [`LARGEST`]; until one
//!    is answered, [`SMALLEST`] counts. The checks of a path in use have that length, so one that begins to swallow long
//!    ones is found out within three seconds.
//! 9. Without packets for [`REST`], a peer's path is given up and nothing is asked any more: a thousand members cost nothing.
//!    The control link stays, and the first packet, or the peer's call, begins at 2.
//!
//! # Through a member
//!
//! A member may offer to forward between others. To the two it forwards between it is one more place at which the other may
//! be, asked and left as any address is, and worse than each. It does not see what it forwards: packets are WireGuard's,
//! and a call, when the two have no link to tell it over, is sealed with the key of their probes. So two devices that have
//! nothing in common but a member that both reach get a path, and a straight one if there can be one, with no server at all.
//!
//! # What an attacker can do
//!
//! A question is authenticated with a key that only the two devices have, made from their WireGuard keys and the
//! network; so probing outlives the control link. Whatever is not authentic is not answered. An answer is never longer than
//! its question. A copied question is answered once at most. A member that names a victim's address as its own makes us send that address a
//! few hundred short datagrams, then four a second; it cannot answer in the victim's place, and packets go only to who
//! answered. A member that forwards can lose or repeat what it is given, which old calls and probes are proof against.

mod agent;
mod candidate;
mod letter;
mod own;
mod pair;
mod paths;
mod probe;
mod replay;

#[cfg(test)]
mod tests;

use std::time::Duration;

pub use agent::MAX_RELAYS;
pub use candidate::{Call, Candidate, Kind, MAX_CANDIDATES, Place};
pub use letter::{MARK_CALL, MAX_CALL};
pub use own::{Mapping, Own, Seen};
pub use paths::{Action, Choice, PairReport, Paths, Report, Who};
pub use probe::{MARK_ANSWER, MARK_QUESTION, PROBE, ProbeKeys};

/// How often a burst asks each candidate.
pub const BURST_EVERY: Duration = Duration::from_millis(200);
/// How long a burst lasts.
pub const BURST: Duration = Duration::from_secs(5);
/// How long after a burst a new one begins, at most, while packets flow and no address is confirmed: it is [`BURST`] at first,
/// and twice as long each time.
pub const BURST_AGAIN: Duration = Duration::from_secs(30);
/// How often the chosen address is asked while packets flow.
pub const CHECK_BUSY: Duration = Duration::from_secs(1);
/// How often the chosen address is asked while none flow: routers forget a mapping after 30 seconds at the earliest.
pub const CHECK_IDLE: Duration = Duration::from_secs(15);
/// How often other addresses are asked while one is chosen.
pub const CHECK_OTHERS: Duration = Duration::from_secs(15);
/// How often an address is asked that answered before and died.
pub const CHECK_LOST: Duration = Duration::from_secs(3);
/// For so long after its last answer: routers give an address to another some time.
pub const LOST_FOR: Duration = Duration::from_secs(600);
/// How long an answer may take at most; from an address that has answered, four times what it takes there.
pub const TIMEOUT: Duration = Duration::from_secs(1);
/// So many questions in a row without an answer, and an address is dead.
pub const MISSES: u32 = 6;
/// How soon a question is repeated after one that nobody answered.
pub const RETRY: Duration = Duration::from_millis(250);
/// Not more often than this a chosen address is left for one that is merely quicker.
pub const SETTLE: Duration = Duration::from_secs(30);
/// After so long without packets, nothing is asked any more.
pub const REST: Duration = Duration::from_secs(120);
/// The longest datagram that is tried, in bytes of UDP payload: what a link of 1,500 bytes carries by IPv6 as well.
pub const LARGEST: usize = 1452;
/// What every path is taken to carry: the least that IPv6 allows.
pub const SMALLEST: usize = 1232;
