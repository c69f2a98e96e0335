//! A host at an address that is dialled. It knows no key, and answers with a token that fills the packets to come.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rustls::Side;

use super::wire::{self, Header, VERSION};

/// The key and the nonce of every Retry packet in the world, RFC 9001 §5.8.
const KEY: [u8; 16] = 0xbe0c_690b_9f66_575a_1d76_6b54_e368_c84e_u128.to_be_bytes();
const NONCE: [u8; 12] = [
    0x46, 0x15, 0x99, 0xd3, 0x5d, 0x63, 0x2b, 0xf2, 0x23, 0x98, 0x25, 0xbb,
];
/// The first packet comes at once, unless the machine is busy.
const FIRST: Duration = Duration::from_secs(10);
const PING: u8 = 1;

/// A socket at which somebody will dial.
#[derive(Debug)]
pub struct Responder(UdpSocket);

impl Responder {
    /// Opens the socket, on loopback.
    pub fn bind() -> io::Result<Self> {
        UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map(Self)
    }

    /// Returns the address to dial.
    pub fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    /// Answers one attempt to connect with a token of so many bytes, then with one PING in each of the given packet numbers.
    /// Returns whether an Initial packet with that token came.
    pub fn answer(&self, token: usize, numbers: &[u64], stay: Duration) -> bool {
        let (first, from) = self.initial(|_| true, FIRST).expect("nobody dialled");
        let own = wire::identifier();
        self.0
            .send_to(&retry(&first, &own, &vec![7; token]), from)
            .unwrap();
        let Some((again, from)) = self.initial(|header| header.to == own, stay) else {
            return false;
        };
        let keys = wire::initial(&own, Side::Server);
        for number in numbers {
            let mut frames = vec![0; 1150];
            frames[0] = PING;
            let packet = wire::write_initial(&again.from, &own, *number, &frames, &keys.local);
            self.0.send_to(&packet, from).unwrap();
        }
        true
    }

    /// Waits for an Initial packet.
    fn initial(
        &self,
        wanted: impl Fn(&Header) -> bool,
        within: Duration,
    ) -> Option<(Header, SocketAddr)> {
        let end = Instant::now() + within;
        let mut buffer = [0; 2048];
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            self.0.set_read_timeout(Some(left)).unwrap();
            let Ok((len, from)) = self.0.recv_from(&mut buffer) else {
                continue;
            };
            let header = Header::read(&buffer[..len]).filter(|header| header.first & 0x30 == 0);
            if let Some(header) = header.filter(&wanted) {
                return Some((header, from));
            }
        }
    }
}

/// Writes a Retry packet, RFC 9000 §17.2.5.
fn retry(first: &Header, own: &[u8], token: &[u8]) -> Vec<u8> {
    let mut packet = vec![0xf0];
    packet.extend(VERSION);
    for id in [&first.from, own] {
        packet.push(id.len() as u8);
        packet.extend(id);
    }
    packet.extend(token);
    let mut covered = vec![first.to.len() as u8];
    covered.extend(&first.to);
    covered.extend(&packet);
    let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &KEY).unwrap());
    let nonce = Nonce::assume_unique_for_key(NONCE);
    let tag = key
        .seal_in_place_separate_tag(nonce, Aad::from(covered), &mut [])
        .unwrap();
    packet.extend(tag.as_ref());
    packet
}
