//! Reading headers. Every access is checked: the bytes come from a peer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{
    Fragment, ICMP, ICMPV6, Malformed, Packet, Quoted, QuotedTransport, TCP, Tcp, TcpFlags,
    Transport, UDP,
};

/// How many IPv6 extension headers are followed before the packet counts as malformed.
pub const MAX_EXTENSIONS: usize = 8;

/// Reads the headers of an IP packet. Bytes after the length that its header gives are ignored.
///
/// # Errors
/// [`Malformed`] when the headers are incomplete, contradict themselves or hide the transport header.
pub fn parse(bytes: &[u8]) -> Result<Packet, Malformed> {
    let network = match bytes.first().ok_or(Malformed::CutShort)? >> 4 {
        4 => ipv4(bytes)?,
        6 => ipv6(bytes)?,
        _ => return Err(Malformed::Version),
    };
    let bytes = bytes.get(..network.length).ok_or(Malformed::CutShort)?;
    let body = bytes.get(network.offset..).ok_or(Malformed::CutShort)?;
    let transport = match network.fragment {
        Some(Fragment { offset, .. }) if offset > 0 => {
            // Eight bytes are the whole of the other headers; TCP's 20 must be beyond a later fragment's reach.
            if network.protocol == TCP && offset < 3 {
                return Err(Malformed::DeceptiveFragment);
            }
            Transport::Continued
        }
        _ => match network.protocol {
            TCP => tcp(body)?,
            UDP => udp(body)?,
            ICMP if network.source.is_ipv4() => icmp(body)?,
            ICMPV6 if network.source.is_ipv6() => icmpv6(body)?,
            _ => Transport::Other,
        },
    };
    Ok(Packet {
        source: network.source,
        target: network.target,
        protocol: network.protocol,
        fragment: network.fragment,
        transport,
        offset: network.offset,
        length: network.length,
    })
}

/// The part below the transport header. `length` may exceed the bytes at hand: quoted packets are cut.
struct Network {
    source: IpAddr,
    target: IpAddr,
    protocol: u8,
    fragment: Option<Fragment>,
    offset: usize,
    length: usize,
}

fn ipv4(bytes: &[u8]) -> Result<Network, Malformed> {
    let header: &[u8; 20] = bytes.first_chunk().ok_or(Malformed::CutShort)?;
    let offset = usize::from(header[0] & 0x0f) * 4;
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if offset < 20 || length < offset {
        return Err(Malformed::HeaderLength);
    }
    let field = u16::from_be_bytes([header[6], header[7]]);
    let (more, place) = (field & 0x2000 != 0, field & 0x1fff);
    Ok(Network {
        source: Ipv4Addr::new(header[12], header[13], header[14], header[15]).into(),
        target: Ipv4Addr::new(header[16], header[17], header[18], header[19]).into(),
        protocol: header[9],
        fragment: (more || place > 0).then(|| Fragment {
            id: u16::from_be_bytes([header[4], header[5]]).into(),
            offset: place,
            more,
        }),
        offset,
        length,
    })
}

fn ipv6(bytes: &[u8]) -> Result<Network, Malformed> {
    let header: &[u8; 40] = bytes.first_chunk().ok_or(Malformed::CutShort)?;
    let payload = usize::from(u16::from_be_bytes([header[4], header[5]]));
    let mut network = Network {
        source: address6(header, 8)?,
        target: address6(header, 24)?,
        protocol: header[6],
        fragment: None,
        offset: 40,
        length: 40 + payload,
    };
    for _ in 0..=MAX_EXTENSIONS {
        if !is_extension(network.protocol) {
            return Ok(network);
        }
        let rest = bytes.get(network.offset..).ok_or(Malformed::CutShort)?;
        let start: &[u8; 8] = rest.first_chunk().ok_or(Malformed::CutShort)?;
        let size = match network.protocol {
            FRAGMENT => 8,
            AUTHENTICATION => (usize::from(start[1]) + 2) * 4,
            _ => (usize::from(start[1]) + 1) * 8,
        };
        let was_fragment = network.protocol == FRAGMENT;
        network.protocol = start[0];
        network.offset += size;
        if network.offset > network.length {
            return Err(Malformed::HeaderLength);
        }
        if was_fragment {
            if network.fragment.is_some() {
                return Err(Malformed::DeceptiveFragment);
            }
            let field = u16::from_be_bytes([start[2], start[3]]);
            let (place, more) = (field >> 3, field & 1 != 0);
            if place > 0 || more {
                let id = u32::from_be_bytes([start[4], start[5], start[6], start[7]]);
                network.fragment = Some(Fragment {
                    id,
                    offset: place,
                    more,
                });
                // Whoever splits a datagram splits it after its extension headers (RFC 7112).
                if is_extension(network.protocol) {
                    return Err(Malformed::DeceptiveFragment);
                }
            }
            if place > 0 {
                // What follows is the middle of the datagram, not a header.
                return Ok(network);
            }
        }
    }
    Err(Malformed::TooManyExtensions)
}

const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;

const fn is_extension(protocol: u8) -> bool {
    const HOP_BY_HOP: u8 = 0;
    const ROUTING: u8 = 43;
    const DESTINATION: u8 = 60;
    matches!(
        protocol,
        HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION
    )
}

fn address6(header: &[u8; 40], at: usize) -> Result<IpAddr, Malformed> {
    let bytes: &[u8; 16] = header
        .get(at..)
        .and_then(<[u8]>::first_chunk)
        .ok_or(Malformed::CutShort)?;
    Ok(Ipv6Addr::from(*bytes).into())
}

fn tcp(body: &[u8]) -> Result<Transport, Malformed> {
    let header: &[u8; 20] = body.first_chunk().ok_or(Malformed::CutShort)?;
    let length = (header[12] >> 4) * 4;
    if length < 20 {
        return Err(Malformed::HeaderLength);
    }
    if usize::from(length) > body.len() {
        return Err(Malformed::CutShort);
    }
    Ok(Transport::Tcp(Tcp {
        source: u16::from_be_bytes([header[0], header[1]]),
        target: u16::from_be_bytes([header[2], header[3]]),
        flags: TcpFlags(header[13]),
        sequence: u32::from_be_bytes([header[4], header[5], header[6], header[7]]),
        acknowledgement: u32::from_be_bytes([header[8], header[9], header[10], header[11]]),
        header: length,
    }))
}

fn udp(body: &[u8]) -> Result<Transport, Malformed> {
    let header: &[u8; 8] = body.first_chunk().ok_or(Malformed::CutShort)?;
    Ok(Transport::Udp {
        source: u16::from_be_bytes([header[0], header[1]]),
        target: u16::from_be_bytes([header[2], header[3]]),
    })
}

fn icmp(body: &[u8]) -> Result<Transport, Malformed> {
    let header: &[u8; 8] = body.first_chunk().ok_or(Malformed::CutShort)?;
    let id = u16::from_be_bytes([header[4], header[5]]);
    Ok(match header[0] {
        8 => Transport::Echo { reply: false, id },
        0 => Transport::Echo { reply: true, id },
        // Unreachable, source quench, time exceeded, parameter problem. Redirects (5) are no errors and never wanted.
        3 | 4 | 11 | 12 => Transport::Error {
            quoted: quoted(body),
        },
        kind => Transport::Icmp { kind },
    })
}

fn icmpv6(body: &[u8]) -> Result<Transport, Malformed> {
    let header: &[u8; 8] = body.first_chunk().ok_or(Malformed::CutShort)?;
    let id = u16::from_be_bytes([header[4], header[5]]);
    Ok(match header[0] {
        128 => Transport::Echo { reply: false, id },
        129 => Transport::Echo { reply: true, id },
        // Every type below 128 is an error (RFC 4443).
        kind if kind < 128 => Transport::Error {
            quoted: quoted(body),
        },
        kind => Transport::Icmp { kind },
    })
}

fn quoted(body: &[u8]) -> Option<Quoted> {
    let bytes = body.get(8..)?;
    let network = match bytes.first()? >> 4 {
        4 => ipv4(bytes).ok()?,
        6 => ipv6(bytes).ok()?,
        _ => return None,
    };
    let header: Option<&[u8; 8]> = bytes.get(network.offset..).and_then(<[u8]>::first_chunk);
    let first = network.fragment.is_none_or(|fragment| fragment.offset == 0);
    let transport = match header {
        Some(header) if first => {
            let (a, b) = (
                u16::from_be_bytes([header[0], header[1]]),
                u16::from_be_bytes([header[2], header[3]]),
            );
            match (network.protocol, header[0]) {
                (TCP, _) => QuotedTransport::Tcp(a, b),
                (UDP, _) => QuotedTransport::Udp(a, b),
                (ICMP, 8) | (ICMPV6, 128) => {
                    QuotedTransport::Echo(u16::from_be_bytes([header[4], header[5]]))
                }
                _ => QuotedTransport::Other,
            }
        }
        _ => QuotedTransport::Other,
    };
    Some(Quoted {
        source: network.source,
        target: network.target,
        transport,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;
    use crate::packet::refuse;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn no_bytes_make_the_parser_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..160), version in 0u8..4) {
            if let Some(first) = bytes.first_mut() {
                *first = match version { 0 => 0x45, 1 => 0x60, 2 => 0x46, _ => *first };
            }
            if let Ok(packet) = parse(&bytes) {
                prop_assert!(packet.length <= bytes.len());
                prop_assert!(packet.offset <= packet.length);
                let _ = refuse(&bytes, &packet);
            }
        }

        #[test]
        fn extension_headers_in_any_order_do_not_hide_the_ports(
            kinds in prop::collection::vec(prop::sample::select(vec![0u8, 43, 60]), 0..=MAX_EXTENSIONS),
        ) {
            let mut bytes = vec![0x60, 0, 0, 0, 0, 0, 0, 64];
            bytes.extend_from_slice(&[1; 32]);
            let mut chain = kinds.clone();
            chain.push(UDP);
            bytes[6] = chain[0];
            for next in &chain[1..] {
                bytes.extend_from_slice(&[*next, 0, 1, 4, 0, 0, 0, 0]);
            }
            bytes.extend_from_slice(&[0, 53, 0, 99, 0, 8, 0, 0]);
            let payload = u16::try_from(bytes.len() - 40).unwrap();
            bytes[4..6].copy_from_slice(&payload.to_be_bytes());
            let packet = parse(&bytes).unwrap();
            prop_assert_eq!(packet.transport, Transport::Udp { source: 53, target: 99 });
        }
    }

    #[test]
    fn a_packet_shorter_than_it_says_is_malformed() {
        let mut bytes = vec![0u8; 28];
        bytes[0] = 0x45;
        bytes[3] = 29;
        assert_eq!(parse(&bytes), Err(Malformed::CutShort));
    }

    #[test]
    fn a_first_fragment_without_its_whole_transport_header_is_malformed() {
        let mut bytes = vec![0u8; 28];
        bytes[0] = 0x45;
        bytes[3] = 28;
        bytes[6] = 0x20;
        bytes[9] = TCP;
        assert_eq!(parse(&bytes), Err(Malformed::CutShort));
    }

    #[test]
    fn a_later_fragment_that_reaches_into_the_tcp_header_is_malformed() {
        let mut bytes = vec![0u8; 36];
        bytes[0] = 0x45;
        bytes[3] = 36;
        bytes[9] = TCP;
        for offset in 1..=3 {
            bytes[7] = offset;
            assert_eq!(parse(&bytes).is_err(), offset < 3);
        }
    }
}
