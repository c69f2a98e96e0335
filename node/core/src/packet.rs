//! IP packets, read only as far as a decision about them needs.
//!
//! [`parse`] looks at IPv4 and IPv6 headers (extension headers included, at most [`MAX_EXTENSIONS`] of them) and at the
//! headers of TCP, UDP and ICMP. It copies nothing, allocates nothing, and answers every input with a [`Packet`] or
//! [`Malformed`]. It is strict where laxness has been used to slip past filters: the first fragment must hold the whole
//! transport header, and a later fragment must not reach back into it.

mod parse;
mod refuse;

use std::net::IpAddr;

pub use self::parse::{MAX_EXTENSIONS, parse};
pub use self::refuse::{refuse, unreachable};

/// The protocol number of ICMP for IPv4.
pub const ICMP: u8 = 1;
/// The protocol number of TCP.
pub const TCP: u8 = 6;
/// The protocol number of UDP.
pub const UDP: u8 = 17;
/// The protocol number of ICMP for IPv6.
pub const ICMPV6: u8 = 58;

/// What a decision about a packet needs to know of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Who it says it is from.
    pub source: IpAddr,
    /// Whom it is for.
    pub target: IpAddr,
    /// The number of the protocol above IP; in a later fragment of IPv6, that of whatever header comes first.
    pub protocol: u8,
    /// Present when the packet is one of several that make one datagram.
    pub fragment: Option<Fragment>,
    /// The transport header.
    pub transport: Transport,
    /// Where the transport header begins, in bytes from the start of the packet.
    pub offset: usize,
    /// The length of the packet by its own header; at most that of the bytes it was read from.
    pub length: usize,
}

/// A packet's place in a fragmented datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fragment {
    /// What the fragments of one datagram share.
    pub id: u32,
    /// How many units of 8 bytes come before this one's.
    pub offset: u16,
    /// Whether more follow.
    pub more: bool,
}

/// The transport header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TCP.
    Tcp(Tcp),
    /// UDP.
    Udp {
        /// The sender's port.
        source: u16,
        /// The receiver's port.
        target: u16,
    },
    /// An ICMP echo request or its reply, of either family.
    Echo {
        /// Whether it is the reply.
        reply: bool,
        /// What tells one ping from another.
        id: u16,
    },
    /// An ICMP error, of either family, and what it says about which packet.
    Error {
        /// The packet it complains about, when enough of it is quoted.
        quoted: Option<Quoted>,
    },
    /// Another ICMP message.
    Icmp {
        /// Its type.
        kind: u8,
    },
    /// A fragment after the first: the header came in another packet.
    Continued,
    /// A protocol that is not looked into.
    Other,
}

/// A TCP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tcp {
    /// The sender's port.
    pub source: u16,
    /// The receiver's port.
    pub target: u16,
    /// The flags.
    pub flags: TcpFlags,
    /// The sequence number.
    pub sequence: u32,
    /// The acknowledgement number; meaningless without the ACK flag.
    pub acknowledgement: u32,
    /// The length of the header in bytes, 20 to 60.
    pub header: u8,
}

/// The flags of a TCP header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    /// No more data from the sender.
    pub const FIN: Self = Self(0x01);
    /// Opens a connection.
    pub const SYN: Self = Self(0x02);
    /// Ends a connection at once.
    pub const RST: Self = Self(0x04);
    /// The acknowledgement number counts.
    pub const ACK: Self = Self(0x10);

    /// Whether all of `flags` are set.
    #[must_use]
    pub const fn has(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// Whether this segment asks for a new connection: SYN, and neither ACK nor RST nor FIN.
    #[must_use]
    pub const fn opens(self) -> bool {
        self.0 & (Self::SYN.0 | Self::ACK.0 | Self::RST.0 | Self::FIN.0) == Self::SYN.0
    }
}

/// The part of a packet that an ICMP error quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quoted {
    /// Who sent the quoted packet.
    pub source: IpAddr,
    /// Whom it was for.
    pub target: IpAddr,
    /// What it carried.
    pub transport: QuotedTransport,
}

/// The transport of a quoted packet, of which eight bytes are certain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuotedTransport {
    /// TCP with its two ports, the sender's first.
    Tcp(u16, u16),
    /// UDP with its two ports, the sender's first.
    Udp(u16, u16),
    /// An echo request and its identifier.
    Echo(u16),
    /// Anything else.
    Other,
}

/// Why bytes are not a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The packet ends inside a header or before the length its header gives.
    #[error("the packet is cut short")]
    CutShort,
    /// Neither IPv4 nor IPv6.
    #[error("the packet is neither IPv4 nor IPv6")]
    Version,
    /// A header's length field contradicts the header.
    #[error("a header's length is impossible")]
    HeaderLength,
    /// More extension headers than anybody has use for.
    #[error("the packet has too many extension headers")]
    TooManyExtensions,
    /// A fragment made so that a filter cannot see, or is deceived about, the transport header.
    #[error("the packet is a fragment that hides or rewrites its transport header")]
    DeceptiveFragment,
}
