//! The datagrams by which two devices find out whether an address works.
//!
//! | bytes | question | answer |
//! |---|---|---|
//! | 0 | [`MARK_QUESTION`] | [`MARK_ANSWER`] |
//! | 1–8 | the tag that the receiver has told the sender in its call | the same the other way round |
//! | 9–16 | a number that grows with each question, big-endian | that of the question |
//! | 17–24 | a random number | that of the question |
//! | 25–42 | zero | where the question came from: 16 bytes of IPv6, IPv4 mapped into it, and the port, big-endian |
//! | 43–58 | the code | the code |
//! | 59– | zeros up to the length that is tried | – |
//!
//! The code is the first half of blake3, keyed with the sender's half of [`ProbeKeys`], over all other bytes.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use chacha20poly1305::aead::Aead;
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use mesh_ledger::ids::NetworkId;
use zeroize::Zeroizing;

/// The first byte of a question. WireGuard's messages begin with 1 to 4.
pub const MARK_QUESTION: u8 = 0xC1;
/// The first byte of an answer.
pub const MARK_ANSWER: u8 = 0xC2;
/// Bytes of an answer, and of the shortest question.
pub const PROBE: usize = 59;

const CODE: usize = 43;

/// The keys of two devices in one network with which they prove their probes to each other, one for each direction.
#[derive(Clone)]
pub struct ProbeKeys {
    ours: Zeroizing<[u8; 32]>,
    theirs: Zeroizing<[u8; 32]>,
}

impl ProbeKeys {
    /// `shared` is what X25519 makes of both WireGuard keys, `mine` and `peers` are their public halves.
    #[must_use]
    pub fn new(shared: &[u8; 32], network: &NetworkId, mine: &[u8; 32], peers: &[u8; 32]) -> Self {
        let key = |sender: &[u8; 32]| {
            let mut hasher = blake3::Hasher::new_derive_key("mesh probe");
            hasher.update(shared).update(&network.0).update(sender);
            Zeroizing::new(*hasher.finalize().as_bytes())
        };
        Self {
            ours: key(mine),
            theirs: key(peers),
        }
    }

    /// Seals something other than a probe for the peer. A nonce is used once.
    pub(super) fn seal(&self, nonce: &[u8; 24], plain: &[u8]) -> Option<Vec<u8>> {
        cipher(&self.ours)
            .encrypt(XNonce::from_slice(nonce), plain)
            .ok()
    }

    /// Opens what the peer sealed so.
    pub(super) fn open(&self, nonce: &[u8; 24], sealed: &[u8]) -> Option<Vec<u8>> {
        cipher(&self.theirs)
            .decrypt(XNonce::from_slice(nonce), sealed)
            .ok()
    }
}

fn cipher(half: &[u8; 32]) -> XChaCha20Poly1305 {
    let key = Zeroizing::new(blake3::derive_key("mesh call", half));
    XChaCha20Poly1305::new((&*key).into())
}

impl PartialEq for ProbeKeys {
    fn eq(&self, other: &Self) -> bool {
        blake3::Hash::from(*self.ours) == blake3::Hash::from(*other.ours)
            && blake3::Hash::from(*self.theirs) == blake3::Hash::from(*other.theirs)
    }
}

/// A question or an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Probe {
    pub(super) tag: u64,
    pub(super) count: u64,
    pub(super) nonce: u64,
    /// In an answer: where the question came from.
    pub(super) seen: Option<SocketAddr>,
}

impl Probe {
    /// The tag, if it may be a probe at all.
    pub(super) fn tag(datagram: &[u8]) -> Option<u64> {
        let mark = *datagram.first()?;
        let length = datagram.len();
        let good =
            (mark == MARK_QUESTION && length >= PROBE) || (mark == MARK_ANSWER && length == PROBE);
        good.then(|| number(datagram, 1))?
    }

    /// The datagram, of at least `length` bytes if it is a question.
    pub(super) fn seal(&self, keys: &ProbeKeys, length: usize) -> Vec<u8> {
        let question = self.seen.is_none();
        let mut bytes = vec![0; if question { length.max(PROBE) } else { PROBE }];
        let (mark, address) = match self.seen {
            None => (MARK_QUESTION, [0; 18]),
            Some(seen) => (MARK_ANSWER, written(seen)),
        };
        let head = [
            &[mark][..],
            &self.tag.to_be_bytes(),
            &self.count.to_be_bytes(),
            &self.nonce.to_be_bytes(),
            &address,
        ]
        .concat();
        if let Some(room) = bytes.get_mut(..CODE) {
            room.copy_from_slice(&head);
        }
        let code = code(&keys.ours, &bytes);
        if let Some(room) = bytes.get_mut(CODE..PROBE) {
            room.copy_from_slice(&code);
        }
        bytes
    }

    /// Reads what the peer has sealed; `None` if it did not.
    pub(super) fn open(datagram: &[u8], keys: &ProbeKeys) -> Option<Self> {
        let tag = Self::tag(datagram)?;
        let told: [u8; 16] = datagram.get(CODE..PROBE)?.try_into().ok()?;
        // Compared in constant time.
        let due = code(&keys.theirs, datagram);
        let alike = told
            .iter()
            .zip(due)
            .fold(0, |differs, (a, b)| differs | (a ^ b))
            == 0;
        if !alike {
            return None;
        }
        let seen = match datagram.first() {
            Some(&MARK_ANSWER) => Some(read(datagram.get(25..CODE)?)?),
            _ => None,
        };
        Some(Self {
            tag,
            count: number(datagram, 9)?,
            nonce: number(datagram, 17)?,
            seen,
        })
    }
}

fn code(key: &[u8; 32], datagram: &[u8]) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new_keyed(key);
    hasher.update(datagram.get(..CODE).unwrap_or_default());
    hasher.update(datagram.get(PROBE..).unwrap_or_default());
    let mut code = [0; 16];
    hasher.finalize_xof().fill(&mut code);
    code
}

fn number(datagram: &[u8], at: usize) -> Option<u64> {
    let bytes = datagram.get(at..at + 8)?.try_into().ok()?;
    Some(u64::from_be_bytes(bytes))
}

fn written(address: SocketAddr) -> [u8; 18] {
    let ip = match address.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    let mut bytes = [0; 18];
    bytes[..16].copy_from_slice(&ip.octets());
    bytes[16..].copy_from_slice(&address.port().to_be_bytes());
    bytes
}

fn read(bytes: &[u8]) -> Option<SocketAddr> {
    let (ip, port) = bytes.split_first_chunk::<16>()?;
    let port = u16::from_be_bytes(port.try_into().ok()?);
    Some(SocketAddr::new(Ipv6Addr::from(*ip).to_canonical(), port))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn both() -> (ProbeKeys, ProbeKeys) {
        let (network, a, b) = (NetworkId([1; 32]), [2; 32], [3; 32]);
        (
            ProbeKeys::new(&[9; 32], &network, &a, &b),
            ProbeKeys::new(&[9; 32], &network, &b, &a),
        )
    }

    fn probe(seen: Option<SocketAddr>) -> Probe {
        Probe {
            tag: 7,
            count: 8,
            nonce: 9,
            seen,
        }
    }

    #[test]
    fn what_one_side_seals_the_other_opens_and_nobody_else() {
        let (ours, theirs) = both();
        let stranger = ProbeKeys::new(&[8; 32], &NetworkId([1; 32]), &[3; 32], &[2; 32]);
        let seen = [
            "192.0.2.1:9".parse().unwrap(),
            "[2001:db8::1]:7".parse().unwrap(),
        ];
        for probe in [probe(None), probe(Some(seen[0])), probe(Some(seen[1]))] {
            let bytes = probe.seal(&ours, 0);
            assert_eq!(
                bytes.len(),
                PROBE,
                "an answer is never longer than its question"
            );
            assert_eq!(Probe::open(&bytes, &theirs), Some(probe));
            assert_eq!(
                Probe::open(&bytes, &ours),
                None,
                "nothing can be sent back to its author"
            );
            assert_eq!(Probe::open(&bytes, &stranger), None);
        }
    }

    #[test]
    fn a_long_question_is_as_long_as_asked_and_an_answer_never() {
        let (ours, theirs) = both();
        let long = probe(None).seal(&ours, 1452);
        assert_eq!(long.len(), 1452);
        assert_eq!(Probe::open(&long, &theirs), Some(probe(None)));
        let answer = probe(Some("192.0.2.1:9".parse().unwrap())).seal(&ours, 1452);
        assert_eq!(answer.len(), PROBE);
    }

    #[test]
    fn no_changed_or_missing_byte_passes() {
        let (ours, theirs) = both();
        let bytes = probe(None).seal(&ours, 80);
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            assert_eq!(Probe::open(&bad, &theirs), None);
            assert_eq!(Probe::open(&bytes[..at], &theirs), None);
        }
    }
}
