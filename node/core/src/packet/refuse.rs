//! The answer to a refused packet, made so that the sender fails fast: a TCP reset, or an ICMP unreachable.
//!
//! Pure. Whoever sends the answers limits their rate (see [`crate::filter::PeerFilter::refuse`]).

use std::net::IpAddr;

use super::{ICMP, ICMPV6, Packet, TCP, TcpFlags, Transport};

/// The most of a refused packet that an ICMP answer over IPv4 quotes, so that the answer stays within 576 bytes.
const QUOTE_V4: usize = 576 - 28;
/// The same over IPv6, so that the answer stays within the least MTU.
const QUOTE_V6: usize = 1280 - 48;

/// What to send back to whoever sent `bytes`, which were read as `packet`.
///
/// `None` for what must never be answered: resets, ICMP errors and unknown ICMP, later fragments, and anything to or
/// from an address that is not one host's.
#[must_use]
pub fn refuse(bytes: &[u8], packet: &Packet) -> Option<Vec<u8>> {
    if !is_host(packet.source) || !is_host(packet.target) {
        return None;
    }
    match packet.transport {
        Transport::Tcp(tcp) => {
            if tcp.flags.has(TcpFlags::RST) {
                return None;
            }
            Some(reset(packet, &tcp))
        }
        Transport::Udp { .. } => unreachable_from(bytes, packet, packet.target, Why::Port),
        Transport::Other | Transport::Echo { reply: false, .. } => {
            unreachable_from(bytes, packet, packet.target, Why::Prohibited)
        }
        Transport::Echo { .. }
        | Transport::Error { .. }
        | Transport::Icmp { .. }
        | Transport::Continued => None,
    }
}

/// What to tell this host about its own packet to an address that no live peer has: `from` is one of our addresses.
///
/// `None` as for [`refuse`].
#[must_use]
pub fn unreachable(bytes: &[u8], packet: &Packet, from: IpAddr) -> Option<Vec<u8>> {
    let answerable = match packet.transport {
        Transport::Tcp(tcp) => !tcp.flags.has(TcpFlags::RST),
        Transport::Udp { .. } | Transport::Other => true,
        Transport::Echo { reply, .. } => !reply,
        Transport::Error { .. } | Transport::Icmp { .. } | Transport::Continued => false,
    };
    if !answerable || !is_host(packet.source) || !is_host(packet.target) {
        return None;
    }
    unreachable_from(bytes, packet, from, Why::Host)
}

#[derive(Clone, Copy)]
enum Why {
    Host,
    Port,
    Prohibited,
}

fn is_host(address: IpAddr) -> bool {
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    !address.is_multicast() && !address.is_unspecified() && !broadcast
}

/// A reset as RFC 9293, section 3.10.7.1 has it, with the packet's ends swapped.
fn reset(packet: &Packet, tcp: &super::Tcp) -> Vec<u8> {
    let (sequence, acknowledgement, flags) = if tcp.flags.has(TcpFlags::ACK) {
        (tcp.acknowledgement, 0, TcpFlags::RST)
    } else {
        let data = packet.length
            - packet.offset
            - usize::from(tcp.header).min(packet.length - packet.offset);
        let control =
            u32::from(tcp.flags.has(TcpFlags::SYN)) + u32::from(tcp.flags.has(TcpFlags::FIN));
        let length = u32::try_from(data).unwrap_or(0) + control;
        (
            0,
            tcp.sequence.wrapping_add(length),
            TcpFlags(TcpFlags::RST.0 | TcpFlags::ACK.0),
        )
    };
    let mut segment = Vec::with_capacity(20);
    segment.extend_from_slice(&tcp.target.to_be_bytes());
    segment.extend_from_slice(&tcp.source.to_be_bytes());
    segment.extend_from_slice(&sequence.to_be_bytes());
    segment.extend_from_slice(&acknowledgement.to_be_bytes());
    segment.extend_from_slice(&[5 << 4, flags.0, 0, 0, 0, 0, 0, 0]);
    wrap(packet.target, packet.source, TCP, segment, 16)
}

fn unreachable_from(bytes: &[u8], packet: &Packet, from: IpAddr, why: Why) -> Option<Vec<u8>> {
    let (kind, code, most, protocol) = match (packet.source, why) {
        (IpAddr::V4(_), Why::Host) => (3, 1, QUOTE_V4, ICMP),
        (IpAddr::V4(_), Why::Port) => (3, 3, QUOTE_V4, ICMP),
        (IpAddr::V4(_), Why::Prohibited) => (3, 13, QUOTE_V4, ICMP),
        (IpAddr::V6(_), Why::Host) => (1, 3, QUOTE_V6, ICMPV6),
        (IpAddr::V6(_), Why::Port) => (1, 4, QUOTE_V6, ICMPV6),
        (IpAddr::V6(_), Why::Prohibited) => (1, 1, QUOTE_V6, ICMPV6),
    };
    if from.is_ipv4() != packet.source.is_ipv4() {
        return None;
    }
    let quote = bytes.get(..packet.length.min(most))?;
    let mut message = Vec::with_capacity(8 + quote.len());
    message.extend_from_slice(&[kind, code, 0, 0, 0, 0, 0, 0]);
    message.extend_from_slice(quote);
    Some(wrap(from, packet.source, protocol, message, 2))
}

/// Puts an IP header in front of a transport message whose checksum field stands at `checksum_at`, and fills both
/// checksums.
fn wrap(
    source: IpAddr,
    target: IpAddr,
    protocol: u8,
    mut message: Vec<u8>,
    checksum_at: usize,
) -> Vec<u8> {
    let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
    let mut header = Vec::with_capacity(40 + message.len());
    let mut sum = Checksum::default();
    match (source, target) {
        (IpAddr::V4(source), IpAddr::V4(target)) => {
            let total = length.saturating_add(20).to_be_bytes();
            header.extend_from_slice(&[
                0x45, 0, total[0], total[1], 0, 0, 0x40, 0, 64, protocol, 0, 0,
            ]);
            header.extend_from_slice(&source.octets());
            header.extend_from_slice(&target.octets());
            let mut own = Checksum::default();
            own.add(&header);
            put(&mut header, 10, own.finish());
            if protocol != ICMP {
                sum.add(&source.octets());
                sum.add(&target.octets());
                sum.add(&[0, protocol]);
                sum.add(&length.to_be_bytes());
            }
        }
        (source, target) => {
            let (source, target) = (octets6(source), octets6(target));
            let payload = length.to_be_bytes();
            header.extend_from_slice(&[0x60, 0, 0, 0, payload[0], payload[1], protocol, 64]);
            header.extend_from_slice(&source);
            header.extend_from_slice(&target);
            sum.add(&source);
            sum.add(&target);
            sum.add(&u32::from(length).to_be_bytes());
            sum.add(&[0, 0, 0, protocol]);
        }
    }
    sum.add(&message);
    put(&mut message, checksum_at, sum.finish());
    header.append(&mut message);
    header
}

const fn octets6(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

fn put(bytes: &mut [u8], at: usize, value: u16) {
    if let Some(place) = bytes.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
        *place = value.to_be_bytes();
    }
}

/// The Internet checksum (RFC 1071) over pieces of even length, but for the last.
#[derive(Default)]
struct Checksum(u32);

impl Checksum {
    fn add(&mut self, bytes: &[u8]) {
        let (pairs, rest) = bytes.as_chunks::<2>();
        for pair in pairs {
            self.0 += u32::from(u16::from_be_bytes(*pair));
        }
        if let [last] = rest {
            self.0 += u32::from(*last) << 8;
        }
    }

    const fn finish(self) -> u16 {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !(sum as u16)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::packet::{Quoted, QuotedTransport, parse};

    #[test]
    fn a_refused_syn_is_answered_with_a_reset_that_acknowledges_it() {
        for (a, b) in ends() {
            let syn = segment(a, b, TcpFlags::SYN, 1000, 0);
            let answer = refuse(&syn, &parse(&syn).unwrap()).unwrap();
            let packet = parse(&answer).unwrap();
            assert_eq!((packet.source, packet.target), (b, a));
            let Transport::Tcp(tcp) = packet.transport else {
                panic!("a reset is TCP")
            };
            assert_eq!((tcp.source, tcp.target), (22, 4000));
            assert_eq!((tcp.sequence, tcp.acknowledgement), (0, 1001));
            assert_eq!(tcp.flags, TcpFlags(TcpFlags::RST.0 | TcpFlags::ACK.0));
            assert_sums(&answer);
        }
    }

    #[test]
    fn a_refused_segment_inside_a_connection_is_answered_with_a_reset_at_its_acknowledgement() {
        let (a, b) = ends()[0];
        let data = segment(a, b, TcpFlags::ACK, 1000, 77);
        let answer = parse(&refuse(&data, &parse(&data).unwrap()).unwrap()).unwrap();
        let Transport::Tcp(tcp) = answer.transport else {
            panic!("a reset is TCP")
        };
        assert_eq!((tcp.sequence, tcp.flags), (77, TcpFlags::RST));
    }

    #[test]
    fn a_refused_datagram_is_answered_with_port_unreachable_that_quotes_it() {
        for (a, b) in ends() {
            let datagram = wrap(a, b, crate::packet::UDP, vec![0, 99, 0, 53, 0, 8, 0, 0], 6);
            let answer = refuse(&datagram, &parse(&datagram).unwrap()).unwrap();
            assert_sums(&answer);
            let quoted = Quoted {
                source: a,
                target: b,
                transport: QuotedTransport::Udp(99, 53),
            };
            assert_eq!(
                parse(&answer).unwrap().transport,
                Transport::Error {
                    quoted: Some(quoted)
                }
            );
        }
    }

    #[test]
    fn resets_errors_and_multicast_are_never_answered() {
        let (a, b) = ends()[0];
        let reset = segment(a, b, TcpFlags::RST, 1, 1);
        assert_eq!(refuse(&reset, &parse(&reset).unwrap()), None);
        let datagram = wrap(a, b, crate::packet::UDP, vec![0, 99, 0, 53, 0, 8, 0, 0], 6);
        let error = refuse(&datagram, &parse(&datagram).unwrap()).unwrap();
        assert_eq!(refuse(&error, &parse(&error).unwrap()), None);
        let group = wrap(
            a,
            "224.0.0.1".parse().unwrap(),
            crate::packet::UDP,
            vec![0, 9, 0, 5, 0, 8, 0, 0],
            6,
        );
        assert_eq!(refuse(&group, &parse(&group).unwrap()), None);
        assert_eq!(unreachable(&group, &parse(&group).unwrap(), a), None);
    }

    fn ends() -> [(IpAddr, IpAddr); 2] {
        [
            ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap()),
            ("fd00::1".parse().unwrap(), "fd00::2".parse().unwrap()),
        ]
    }

    fn segment(
        a: IpAddr,
        b: IpAddr,
        flags: TcpFlags,
        sequence: u32,
        acknowledgement: u32,
    ) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&4000u16.to_be_bytes());
        bytes.extend_from_slice(&22u16.to_be_bytes());
        bytes.extend_from_slice(&sequence.to_be_bytes());
        bytes.extend_from_slice(&acknowledgement.to_be_bytes());
        bytes.extend_from_slice(&[5 << 4, flags.0, 0, 0, 0, 0, 0, 0]);
        wrap(a, b, TCP, bytes, 16)
    }

    /// Both checksums hold: a sum over a message with its checksum in place is zero.
    fn assert_sums(bytes: &[u8]) {
        let packet = parse(bytes).unwrap();
        let body = &bytes[packet.offset..];
        let mut sum = Checksum::default();
        if let (IpAddr::V4(source), IpAddr::V4(target)) = (packet.source, packet.target) {
            let mut header = Checksum::default();
            header.add(&bytes[..packet.offset]);
            assert_eq!(header.finish(), 0);
            if packet.protocol != ICMP {
                sum.add(&source.octets());
                sum.add(&target.octets());
                sum.add(&[0, packet.protocol]);
                sum.add(&u16::try_from(body.len()).unwrap().to_be_bytes());
            }
        } else {
            sum.add(&octets6(packet.source));
            sum.add(&octets6(packet.target));
            sum.add(&u32::try_from(body.len()).unwrap().to_be_bytes());
            sum.add(&[0, 0, 0, packet.protocol]);
        }
        sum.add(body);
        assert_eq!(sum.finish(), 0);
    }
}
