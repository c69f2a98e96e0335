//! The filter that every packet of a peer passes, in the process, whatever the native firewall does or lacks.
//!
//! **Inward**, a packet must come from one of the peer's own addresses and be for one of ours. Then it passes if
//! 1. it is an ICMP echo request, or
//! 2. it belongs to a flow that *this host* opened to this peer, or
//! 3. it is for a port that is, at this moment, offered to this peer, or
//! 4. it is an ICMP error about a packet of 2 or 3, or a later fragment of a datagram whose first fragment passed.
//!
//! All else is refused. **Outward**, a packet must come from one of our addresses and go to one of the peer's; nothing
//! else is asked, but it may open a flow.
//!
//! There is no memory of accepted inbound connections, on purpose: each of their packets is judged by the offer alone,
//! so withdrawing the offer cuts them with their next packet. For the same reason an outbound packet opens a flow only if
//! it cannot be the answer to such a connection: TCP by a SYN without ACK; UDP if its local port is neither offered to
//! the peer nor was lately used by the peer through an offer since withdrawn ("serves").
//!
//! One [`PeerFilter`] belongs to one peer and goes with it. Time is an argument: a monotonic duration since any fixed
//! start. All tables are bounded; when the flow table is full, the flows that have been quiet longest go.

mod flows;

use std::net::IpAddr;
use std::time::Duration;

use self::flows::{Bound, Flow, Flows, Key};
use crate::packet::{Packet, Quoted, QuotedTransport, Transport, refuse};
use crate::plan::{PeerPolicy, Protocol, Refusal};

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    Accept,
    /// It goes no further, and its sender may be told ([`PeerFilter::refuse`]).
    Reject(Reason),
    /// It goes no further, silently.
    Drop(Reason),
}

/// Why a packet goes no further. The order is that of the wire and of [`Reason::ALL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Not an IP packet, or one made to deceive.
    Malformed,
    /// Its source is not an address of the peer it came from.
    ForeignSource,
    /// Its target is not one of our addresses.
    ForeignTarget,
    /// Nothing that this device offers to this peer is at that port.
    NotOffered,
    /// An answer or an error for which there was no question.
    Unasked,
    /// A fragment whose first fragment did not pass, or has not come yet.
    LoneFragment,
    /// A protocol or message that is never let in.
    Protocol,
    /// A bound was reached.
    TooMany,
    /// Outward: its source is not one of our addresses.
    NotOurs,
    /// Outward: no live peer has its target address.
    NoPeer,
    /// It is one of mesh's own datagrams, which would travel in themselves.
    Underlay,
}

impl Reason {
    /// Every reason, each at the place its number says.
    pub const ALL: [Self; 11] = [
        Self::Malformed,
        Self::ForeignSource,
        Self::ForeignTarget,
        Self::NotOffered,
        Self::Unasked,
        Self::LoneFragment,
        Self::Protocol,
        Self::TooMany,
        Self::NotOurs,
        Self::NoPeer,
        Self::Underlay,
    ];

    /// Its word in listings and JSON.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::ForeignSource => "foreign-source",
            Self::ForeignTarget => "foreign-target",
            Self::NotOffered => "not-offered",
            Self::Unasked => "unasked",
            Self::LoneFragment => "lone-fragment",
            Self::Protocol => "protocol",
            Self::TooMany => "too-many",
            Self::NotOurs => "not-ours",
            Self::NoPeer => "no-peer",
            Self::Underlay => "underlay",
        }
    }
}

/// How many flows this host may have open to one peer.
pub const MAX_FLOWS: usize = 16_384;
/// How many UDP ports may be in use by one peer through offers at a time.
pub const MAX_SERVED: usize = 4_096;
/// How many fragmented datagrams of one peer may be on their way at a time.
pub const MAX_FRAGMENTED: usize = 64;

/// What the filter remembers about one peer.
#[derive(Debug)]
pub struct PeerFilter {
    flows: Flows,
    /// Local UDP ports that the peer has used through an offer, and when either side last did.
    served: Bound<u16>,
    /// Datagrams whose first fragment passed.
    fragmented: Bound<(IpAddr, u32)>,
    refusals: Bucket,
}

impl Default for PeerFilter {
    fn default() -> Self {
        Self::new()
    }
}

impl PeerFilter {
    /// A filter that has seen nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            flows: Flows::new(MAX_FLOWS),
            served: Bound::new(MAX_SERVED, SERVED_QUIET),
            fragmented: Bound::new(MAX_FRAGMENTED, FRAGMENTS_WITHIN),
            refusals: Bucket::new(REFUSALS_PER_SECOND, REFUSALS_AT_ONCE),
        }
    }

    /// Judges a packet that this host sends to the peer, and notes the flow that it may open.
    pub fn outward(&mut self, policy: &PeerPolicy, packet: &Packet, now: Duration) -> Verdict {
        if !policy.own.contains(&packet.source) {
            return Verdict::Drop(Reason::NotOurs);
        }
        if !policy.peer.contains(&packet.target) {
            return Verdict::Drop(Reason::NoPeer);
        }
        let key = |flow| Key::new(flow, packet.source, packet.target);
        match packet.transport {
            Transport::Tcp(tcp) => {
                self.flows.outward_tcp(
                    key(Flow::Tcp {
                        local: tcp.source,
                        remote: tcp.target,
                    }),
                    tcp.flags,
                    now,
                );
            }
            Transport::Udp { source, .. } if policy.underlay.contains(&source) => {
                return Verdict::Drop(Reason::Underlay);
            }
            Transport::Udp { source, target } => {
                let key = key(Flow::Udp {
                    local: source,
                    remote: target,
                });
                if !self.flows.touch(&key, now)
                    && !policy.udp.contains(source)
                    && !self.served.touch(&source, now)
                {
                    self.flows.open(key, now);
                }
            }
            Transport::Echo { reply: false, id } => self.flows.open(key(Flow::Echo { id }), now),
            _ => {}
        }
        Verdict::Accept
    }

    /// Judges a packet that came from the peer.
    pub fn inward(&mut self, policy: &PeerPolicy, packet: &Packet, now: Duration) -> Verdict {
        if !policy.peer.contains(&packet.source) {
            return Verdict::Drop(Reason::ForeignSource);
        }
        if !policy.own.contains(&packet.target) {
            return Verdict::Drop(Reason::ForeignTarget);
        }
        if matches!(packet.transport, Transport::Udp { target, .. } if policy.underlay.contains(&target))
        {
            return Verdict::Drop(Reason::Underlay);
        }
        let verdict = self.admit(policy, packet, now);
        if verdict == Verdict::Accept
            && let Some(fragment) = packet.fragment
            && fragment.offset == 0
            && !self.fragmented.note((packet.source, fragment.id), now)
        {
            return Verdict::Drop(Reason::TooMany);
        }
        match (verdict, policy.refusal) {
            (Verdict::Reject(reason), Refusal::Drop) => Verdict::Drop(reason),
            (verdict, _) => verdict,
        }
    }

    /// The answer to a packet that [`PeerFilter::inward`] rejected, unless there must be none or there were too many.
    pub fn refuse(&mut self, bytes: &[u8], packet: &Packet, now: Duration) -> Option<Vec<u8>> {
        if self.refusals.take(now) {
            refuse(bytes, packet)
        } else {
            None
        }
    }

    /// How many flows of this host are open.
    #[must_use]
    pub fn flows(&self) -> usize {
        self.flows.len()
    }

    fn admit(&mut self, policy: &PeerPolicy, packet: &Packet, now: Duration) -> Verdict {
        let key = |flow| Key::new(flow, packet.target, packet.source);
        match packet.transport {
            Transport::Tcp(tcp) => {
                let key = key(Flow::Tcp {
                    local: tcp.target,
                    remote: tcp.source,
                });
                if self.flows.inward_tcp(&key, tcp.flags, now) || policy.tcp.contains(tcp.target) {
                    Verdict::Accept
                } else {
                    Verdict::Reject(Reason::NotOffered)
                }
            }
            Transport::Udp { source, target } => {
                if self.flows.touch(
                    &key(Flow::Udp {
                        local: target,
                        remote: source,
                    }),
                    now,
                ) {
                    Verdict::Accept
                } else if !policy.udp.contains(target) {
                    Verdict::Reject(Reason::NotOffered)
                } else if self.served.note(target, now) {
                    Verdict::Accept
                } else {
                    Verdict::Drop(Reason::TooMany)
                }
            }
            Transport::Echo { reply: false, .. } => Verdict::Accept,
            Transport::Echo { reply: true, id } => {
                if self.flows.touch(&key(Flow::Echo { id }), now) {
                    Verdict::Accept
                } else {
                    Verdict::Drop(Reason::Unasked)
                }
            }
            Transport::Error {
                quoted: Some(quoted),
            } if self.concerns_us(policy, &quoted, now) => Verdict::Accept,
            Transport::Error { .. } => Verdict::Drop(Reason::Unasked),
            Transport::Icmp { .. } => Verdict::Drop(Reason::Protocol),
            Transport::Continued => {
                let known = packet
                    .fragment
                    .is_some_and(|f| self.fragmented.holds(&(packet.source, f.id), now));
                if known {
                    Verdict::Accept
                } else {
                    Verdict::Drop(Reason::LoneFragment)
                }
            }
            Transport::Other => Verdict::Reject(Reason::Protocol),
        }
    }

    /// Whether an ICMP error is about a packet that we may have sent: in a flow of ours, or from an offered port.
    fn concerns_us(&self, policy: &PeerPolicy, quoted: &Quoted, now: Duration) -> bool {
        if !policy.own.contains(&quoted.source) || !policy.peer.contains(&quoted.target) {
            return false;
        }
        let (flow, offered) = match quoted.transport {
            QuotedTransport::Tcp(local, remote) => {
                (Flow::Tcp { local, remote }, Some((Protocol::Tcp, local)))
            }
            QuotedTransport::Udp(local, remote) => {
                (Flow::Udp { local, remote }, Some((Protocol::Udp, local)))
            }
            QuotedTransport::Echo(id) => (Flow::Echo { id }, None),
            QuotedTransport::Other => return false,
        };
        let offered = offered.is_some_and(|(protocol, port)| match protocol {
            Protocol::Tcp => policy.tcp.contains(port),
            Protocol::Udp => policy.udp.contains(port),
        });
        offered
            || self
                .flows
                .holds(&Key::new(flow, quoted.source, quoted.target), now)
    }
}

/// A limit of rate: so many at once, and so many a second in the long run.
#[derive(Debug)]
pub struct Bucket {
    per_second: u32,
    most: u32,
    tokens: u32,
    since: Duration,
}

impl Bucket {
    /// A full bucket that grants `most` at once.
    #[must_use]
    pub const fn new(per_second: u32, most: u32) -> Self {
        Self {
            per_second,
            most,
            tokens: most,
            since: Duration::ZERO,
        }
    }

    /// Whether one more is granted now.
    pub fn take(&mut self, now: Duration) -> bool {
        let each = Duration::from_secs(1) / self.per_second.max(1);
        let earned = now.saturating_sub(self.since).as_nanos() / each.as_nanos();
        if earned > 0 {
            let room = u128::from(self.most - self.tokens);
            self.since = if earned >= room {
                now
            } else {
                self.since + each * u32::try_from(earned).unwrap_or(0)
            };
            self.tokens += u32::try_from(earned.min(room)).unwrap_or(0);
        }
        let granted = self.tokens > 0;
        self.tokens = self.tokens.saturating_sub(1);
        granted
    }
}

/// A local UDP port serves the peer until both sides have been quiet for this long.
const SERVED_QUIET: Duration = Duration::from_secs(180);
/// The fragments of a datagram come within this time of the first.
const FRAGMENTS_WITHIN: Duration = Duration::from_secs(30);
const REFUSALS_PER_SECOND: u32 = 50;
const REFUSALS_AT_ONCE: u32 = 50;

#[cfg(test)]
mod tests;
