//! Packets of QUIC version 1 on the wire: headers, numbers and their protection, RFC 9000 §17 and RFC 9001 §5.

use ring::rand::{SecureRandom, SystemRandom};
use rustls::Side;
use rustls::quic::{DirectionalKeys, Keys, Version};

/// The bytes of version 1, which iroh speaks.
pub(super) const VERSION: [u8; 4] = [0, 0, 0, 1];
/// All identifiers that this attacker gives himself have this many bytes.
pub(super) const CID: usize = 8;
const TAG: usize = 16;
const SAMPLE: usize = 16;
/// Packet numbers are always written with four bytes.
const NUMBER: usize = 4;

/// The first byte of an Initial packet with a number of four bytes.
const INITIAL: u8 = 0xc3;

/// What is readable in a long header without a key.
#[derive(Debug, Clone)]
pub(super) struct Header {
    pub(super) first: u8,
    pub(super) to: Vec<u8>,
    pub(super) from: Vec<u8>,
}

impl Header {
    /// Reads a header of an Initial or a Handshake packet.
    pub(super) fn read(packet: &[u8]) -> Option<Self> {
        let mut rest = Reader(packet);
        let first = rest.byte()?;
        if first & 0x80 == 0 || rest.take(4)? != VERSION {
            return None;
        }
        let to = rest.short()?.to_vec();
        let from = rest.short()?.to_vec();
        if first & 0x30 == 0 {
            let token = rest.number()?;
            rest.take(usize::try_from(token).ok()?)?;
        }
        let length = usize::try_from(rest.number()?).ok()?;
        rest.take(length)?;
        Some(Self { first, to, from })
    }
}

/// Reads numbers and bytes from the front of a buffer.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    /// Bytes behind one byte that says how many.
    pub(super) fn short(&mut self) -> Option<&'a [u8]> {
        let len = self.byte()?;
        self.take(len.into())
    }

    /// A number of one to eight bytes, RFC 9000 §16.
    pub(super) fn number(&mut self) -> Option<u64> {
        let first = self.byte()?;
        let more = self.take((1 << (first >> 6)) - 1)?;
        let value = u64::from(first & 0x3f);
        Some(
            more.iter()
                .fold(value, |value, b| value << 8 | u64::from(*b)),
        )
    }
}

/// Makes an identifier.
pub(super) fn identifier() -> [u8; CID] {
    let mut id = [0; CID];
    SystemRandom::new().fill(&mut id).unwrap();
    id
}

/// The keys of Initial packets, which follow from an identifier that everybody reads.
pub(super) fn initial(client_to: &[u8], side: Side) -> Keys {
    let suite = rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
    let suite = suite.tls13().unwrap();
    Keys::initial(Version::V1, suite, suite.quic.unwrap(), client_to, side)
}

/// Writes an Initial packet without a token.
pub(super) fn write_initial(
    to: &[u8],
    from: &[u8],
    number: u64,
    frames: &[u8],
    keys: &DirectionalKeys,
) -> Vec<u8> {
    let mut packet = vec![INITIAL];
    packet.extend(VERSION);
    for id in [to, from] {
        packet.push(id.len() as u8);
        packet.extend(id);
    }
    packet.push(0);
    let length = (NUMBER + frames.len() + TAG) as u16;
    packet.extend((length | 0x4000).to_be_bytes());
    seal(packet, number, frames, keys)
}

fn seal(mut packet: Vec<u8>, number: u64, frames: &[u8], keys: &DirectionalKeys) -> Vec<u8> {
    let at = packet.len();
    packet.extend((number as u32).to_be_bytes());
    let mut payload = frames.to_vec();
    let tag = keys
        .packet
        .encrypt_in_place(number, &packet, &mut payload)
        .unwrap();
    packet.extend(payload);
    packet.extend(tag.as_ref());
    let (header, rest) = packet.split_at_mut(at + NUMBER);
    let (first, header) = header.split_at_mut(1);
    keys.header
        .encrypt_in_place(&rest[..SAMPLE], &mut first[0], &mut header[at - 1..])
        .unwrap();
    packet
}
