//! A server's echo: it tells a device from which address its datagrams come, which only others can know.
//!
//! A question of [`LENGTH`] bytes goes to one of two UDP ports, whose answers together tell whether a router on the way
//! gives each target another port. An answer is as long as its question. Both are authentic: a server answers those alone whom it
//! gave an [`Echo`] when it welcomed them, and nobody else can tell a device a wrong address.
//!
//! | bytes | question | answer |
//! |---|---|---|
//! | 0 | [`QUESTION`] | [`ANSWER`] |
//! | 1–8 | the token, big-endian | the same |
//! | 9–16 | a random number | that of the question |
//! | 17–34 | zero | the address: 16 bytes of IPv6, IPv4 mapped into it, and the port, big-endian; all of it xored with blake3 of bytes 0–16, so that no router mends it |
//! | 35–50 | blake3, keyed, over all of that | the same |

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use serde::{Deserialize, Serialize};

/// The first byte of a question.
pub const QUESTION: u8 = 0xC3;
/// The first byte of an answer.
pub const ANSWER: u8 = 0xC4;
/// Bytes of either.
pub const LENGTH: usize = 51;

const HEAD: usize = 17;
const BODY: usize = 35;

/// What a device needs to ask a server's echo.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Echo {
    /// The two ports, on the server's host.
    pub ports: [u16; 2],
    /// By which the server finds the key.
    pub token: u64,
    /// Known to the server and the device.
    pub key: [u8; 32],
}

impl fmt::Debug for Echo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Echo")
            .field("ports", &self.ports)
            .finish_non_exhaustive()
    }
}

impl Echo {
    /// A server's, for one device: the key follows from the token and the server's secret, so the server keeps no list.
    #[must_use]
    pub fn mint(secret: &[u8; 32], ports: [u16; 2], token: u64) -> Self {
        let key = *blake3::keyed_hash(secret, &token.to_be_bytes()).as_bytes();
        Self { ports, token, key }
    }

    /// A question. `nonce` is a random number.
    #[must_use]
    pub fn ask(&self, nonce: u64) -> [u8; LENGTH] {
        sealed(QUESTION, self.token, nonce, None, &self.key)
    }

    /// Reads the answer to a question with this number.
    #[must_use]
    pub fn heard(&self, datagram: &[u8], nonce: u64) -> Option<SocketAddr> {
        let read = opened(datagram, ANSWER)?;
        let good = read.token == self.token && read.nonce == nonce && read.is_authentic(&self.key);
        good.then_some(read.address)
    }
}

/// The answer to what came from an address, if it is an authentic question to the server with this secret.
#[must_use]
pub fn answer(secret: &[u8; 32], datagram: &[u8], from: SocketAddr) -> Option<[u8; LENGTH]> {
    let question = opened(datagram, QUESTION)?;
    let echo = Echo::mint(secret, [0; 2], question.token);
    question.is_authentic(&echo.key).then(|| {
        sealed(
            ANSWER,
            question.token,
            question.nonce,
            Some(from),
            &echo.key,
        )
    })
}

/// The token and the number of what may be an answer.
#[must_use]
pub fn names(datagram: &[u8]) -> Option<(u64, u64)> {
    opened(datagram, ANSWER).map(|read| (read.token, read.nonce))
}

struct Read<'a> {
    token: u64,
    nonce: u64,
    address: SocketAddr,
    body: &'a [u8],
    code: &'a [u8],
}

impl Read<'_> {
    fn is_authentic(&self, key: &[u8; 32]) -> bool {
        let due = code(key, self.body);
        let told = self.code.iter();
        told.zip(due).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
    }
}

fn opened(datagram: &[u8], mark: u8) -> Option<Read<'_>> {
    if datagram.len() != LENGTH || datagram.first() != Some(&mark) {
        return None;
    }
    let (body, code) = datagram.split_at_checked(BODY)?;
    let (head, address) = body.split_at_checked(HEAD)?;
    let number = |at: usize| Some(u64::from_be_bytes(head.get(at..at + 8)?.try_into().ok()?));
    let mut plain: [u8; 18] = address.try_into().ok()?;
    if mark == ANSWER {
        mask(head, &mut plain);
    }
    let (ip, port) = plain.split_first_chunk::<16>()?;
    let port = u16::from_be_bytes(port.try_into().ok()?);
    Some(Read {
        token: number(1)?,
        nonce: number(9)?,
        address: SocketAddr::new(Ipv6Addr::from(*ip).to_canonical(), port),
        body,
        code,
    })
}

fn sealed(
    mark: u8,
    token: u64,
    nonce: u64,
    seen: Option<SocketAddr>,
    key: &[u8; 32],
) -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    bytes[0] = mark;
    bytes[1..9].copy_from_slice(&token.to_be_bytes());
    bytes[9..HEAD].copy_from_slice(&nonce.to_be_bytes());
    if let Some(seen) = seen {
        let ip = match seen.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        let mut address = [0; 18];
        address[..16].copy_from_slice(&ip.octets());
        address[16..].copy_from_slice(&seen.port().to_be_bytes());
        mask(&bytes[..HEAD], &mut address);
        bytes[HEAD..BODY].copy_from_slice(&address);
    }
    let code = code(key, &bytes[..BODY]);
    bytes[BODY..].copy_from_slice(&code);
    bytes
}

fn mask(head: &[u8], address: &mut [u8; 18]) {
    let mask = blake3::hash(head);
    for (byte, mask) in address.iter_mut().zip(mask.as_bytes()) {
        *byte ^= mask;
    }
}

fn code(key: &[u8; 32], body: &[u8]) -> [u8; 16] {
    let mut code = [0; 16];
    blake3::Hasher::new_keyed(key)
        .update(body)
        .finalize_xof()
        .fill(&mut code);
    code
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const SECRET: [u8; 32] = [3; 32];

    #[test]
    fn a_device_reads_where_it_was_seen() {
        let echo = Echo::mint(&SECRET, [7445, 7446], 9);
        for from in ["192.0.2.1:7", "[2001:db8::1]:7"] {
            let from = from.parse().unwrap();
            let answer = answer(&SECRET, &echo.ask(5), from).unwrap();
            assert_eq!(names(&answer), Some((9, 5)));
            assert_eq!(echo.heard(&answer, 5), Some(from));
            assert_eq!(
                echo.heard(&answer, 6),
                None,
                "the answer to another question"
            );
        }
    }

    #[test]
    fn who_was_not_welcomed_gets_no_answer_and_nobody_else_can_give_one() {
        let (echo, other) = (
            Echo::mint(&SECRET, [1, 2], 9),
            Echo::mint(&[4; 32], [1, 2], 9),
        );
        let from = "192.0.2.1:7".parse().unwrap();
        assert_eq!(answer(&SECRET, &other.ask(5), from), None);
        let forged = answer(&[4; 32], &other.ask(5), from).unwrap();
        assert_eq!(echo.heard(&forged, 5), None);
    }

    #[test]
    fn no_changed_or_missing_byte_passes() {
        let echo = Echo::mint(&SECRET, [1, 2], 9);
        let from = "192.0.2.1:7".parse().unwrap();
        let question = echo.ask(5);
        let good = answer(&SECRET, &question, from).unwrap();
        for at in 0..LENGTH {
            let (mut asked, mut said) = (question, good);
            asked[at] ^= 1;
            said[at] ^= 1;
            assert_eq!(answer(&SECRET, &asked, from), None);
            assert_eq!(echo.heard(&said, 5), None);
            assert_eq!(answer(&SECRET, &question[..at], from), None);
            assert_eq!(echo.heard(&good[..at], 5), None);
        }
        assert_eq!(echo.heard(&question, 5), None, "a question is no answer");
    }
}
