//! The keys of packets: they open what leaves room, and look at what leaves.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use rustls::Error;
use rustls::crypto::cipher::{AeadKey, Iv};
use rustls::quic::{Algorithm, HeaderProtectionKey, PacketKey, Tag};

use crate::frames::{self, Kind};
use crate::lineage::{self, Book};
use crate::{REFUSED, room};

/// The longest token of an Initial packet. Our own have fewer than 100 bytes, and nobody of ours sends a Retry packet.
const MAX_TOKEN: u64 = 512;
/// How many attempts to connect with a long token are remembered. One lasts seconds.
const MAX_CLOSED: usize = 1024;

/// The identifiers by which answers come to attempts that sent a long token.
static CLOSED: Mutex<VecDeque<Vec<u8>>> = Mutex::new(VecDeque::new());

/// The keys of another provider, guarded.
pub(crate) struct Guarded(pub(crate) &'static dyn Algorithm);

impl Algorithm for Guarded {
    fn packet_key(&self, key: AeadKey, iv: Iv) -> Box<dyn PacketKey> {
        Box::new(Key {
            inner: self.0.packet_key(key, iv),
            book: lineage::book(),
        })
    }

    fn header_protection_key(&self, key: AeadKey) -> Box<dyn HeaderProtectionKey> {
        self.0.header_protection_key(key)
    }

    fn aead_key_len(&self) -> usize {
        self.0.aead_key_len()
    }

    fn fips(&self) -> bool {
        self.0.fips()
    }
}

struct Key {
    inner: Box<dyn PacketKey>,
    book: Arc<Book>,
}

impl Key {
    /// Whether a packet that opened may reach the library.
    fn admits(&self, path: u32, packet: u64, header: &[u8]) -> Result<(), Error> {
        let kind = frames::kind(header);
        let limit = match kind {
            Kind::Short => room::DATA,
            Kind::Initial | Kind::Long => room::HANDSHAKE,
        };
        let wanted = kind != Kind::Initial
            || frames::initial(header)
                .is_some_and(|initial| initial.token <= MAX_TOKEN && !is_closed(initial.to));
        if wanted && self.book.room().take(path, packet, limit, Instant::now()) {
            return Ok(());
        }
        REFUSED.fetch_add(1, Ordering::Relaxed);
        Err(Error::DecryptError)
    }

    /// Looks at a packet that leaves.
    fn sees(&self, header: &[u8], frames: &[u8]) {
        match frames::kind(header) {
            Kind::Short => {
                for (path, ranges) in frames::acks(frames) {
                    self.book.room().acknowledged(path, ranges);
                }
            }
            Kind::Initial => {
                if let Some(initial) = frames::initial(header)
                    && initial.token > MAX_TOKEN
                {
                    close(initial.from);
                }
            }
            Kind::Long => {}
        }
    }
}

impl PacketKey for Key {
    fn encrypt_in_place(
        &self,
        packet_number: u64,
        header: &[u8],
        payload: &mut [u8],
    ) -> Result<Tag, Error> {
        self.sees(header, payload);
        self.inner.encrypt_in_place(packet_number, header, payload)
    }

    fn encrypt_in_place_for_path(
        &self,
        path_id: u32,
        packet_number: u64,
        header: &[u8],
        payload: &mut [u8],
    ) -> Result<Tag, Error> {
        self.sees(header, payload);
        self.inner
            .encrypt_in_place_for_path(path_id, packet_number, header, payload)
    }

    fn decrypt_in_place<'a>(
        &self,
        packet_number: u64,
        header: &[u8],
        payload: &'a mut [u8],
    ) -> Result<&'a [u8], Error> {
        let plain = self
            .inner
            .decrypt_in_place(packet_number, header, payload)?;
        self.admits(0, packet_number, header)?;
        Ok(plain)
    }

    fn decrypt_in_place_for_path<'a>(
        &self,
        path_id: u32,
        packet_number: u64,
        header: &[u8],
        payload: &'a mut [u8],
    ) -> Result<&'a [u8], Error> {
        let plain =
            self.inner
                .decrypt_in_place_for_path(path_id, packet_number, header, payload)?;
        self.admits(path_id, packet_number, header)?;
        Ok(plain)
    }

    fn tag_len(&self) -> usize {
        self.inner.tag_len()
    }

    fn confidentiality_limit(&self) -> u64 {
        self.inner.confidentiality_limit()
    }

    fn integrity_limit(&self) -> u64 {
        self.inner.integrity_limit()
    }
}

fn is_closed(to: &[u8]) -> bool {
    let closed = CLOSED.lock().unwrap_or_else(PoisonError::into_inner);
    closed.iter().any(|closed| closed == to)
}

fn close(from: &[u8]) {
    let mut closed = CLOSED.lock().unwrap_or_else(PoisonError::into_inner);
    if closed.iter().any(|closed| closed == from) {
        return;
    }
    if closed.len() >= MAX_CLOSED {
        closed.pop_front();
    }
    closed.push_back(from.to_vec());
}
