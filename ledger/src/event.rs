//! Events: one signed fact each.
//!
//! An event on the wire and on disk is, in this order:
//!
//! | bytes | field |
//! |---|---|
//! | 1 | version, 1 |
//! | 32 | network id; all zero in a genesis |
//! | 32 | author: a device key |
//! | 4 | seq, big-endian: 1 + that of the author's previous event |
//! | 4 | lamport, big-endian: 1 + the greatest of the parents', below 2³¹ |
//! | 8 | time, big-endian milliseconds since 1970: testimony, which no rule reads |
//! | 32 | epoch id; all zero if nothing is sealed |
//! | 1 | number of parents, at most 16 |
//! | 2 | length of the act |
//! | 2 | length of the sealed attributes |
//! | 32 each | parents, ascending |
//! | … | the act in postcard |
//! | … | the sealed attributes |
//! | 64 | the author's ed25519 signature over all bytes before it, under [`Domain::Event`] |
//!
//! The id is blake3 of all of it. There is one encoding of an event: what decodes to the same values from other bytes is
//! refused. The **act** is what authority needs and is clear; the **attributes** are sealed to an epoch (`seal.rs`).

pub mod act;
pub mod attributes;

use std::sync::Arc;

pub use act::Act;
pub use attributes::Attributes;

use crate::ids::{DeviceId, EpochId, EventId, NetworkId};
use crate::keys::{DeviceSecret, Domain, Signature};

/// The most bytes of an event.
pub const MAX_EVENT: usize = 4096;
/// The most parents of an event.
pub const MAX_PARENTS: usize = 16;
/// Lamport numbers and sequence numbers stay below this.
pub const MAX_LAMPORT: u32 = 1 << 31;

const VERSION: u8 = 1;
const FIXED: usize = 1 + 32 + 32 + 4 + 4 + 8 + 32 + 1 + 2 + 2;
const SIGNATURE: usize = 64;

/// What stands before the act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The network, [`NetworkId::GENESIS`] in a genesis.
    pub network: NetworkId,
    /// The device that signed.
    pub author: DeviceId,
    /// 1 + the author's previous seq.
    pub seq: u32,
    /// 1 + the greatest lamport of the parents; 0 in a genesis.
    pub lamport: u32,
    /// Milliseconds since 1970 by the author's clock.
    pub time: u64,
    /// The epoch of the sealed attributes, or [`EpochId::NONE`].
    pub epoch: EpochId,
    /// The events this one follows, ascending.
    pub parents: Vec<EventId>,
}

/// A decoded event whose form and signature hold. Cheap to clone.
#[derive(Clone)]
pub struct Event(Arc<Inner>);

struct Inner {
    id: EventId,
    header: Header,
    act: Act,
    bytes: Box<[u8]>,
    body: usize,
    sealed: usize,
}

/// Bytes that are no event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadEvent {
    /// Longer than [`MAX_EVENT`], or its parts do not fill it exactly.
    #[error("the event's length is wrong")]
    Length,
    /// Made by a later release.
    #[error("the event has version {0}; this release reads version 1: upgrade mesh")]
    Version(u8),
    /// A field out of its range, parents out of order, or an encoding that is not the one.
    #[error("the event's {0} is malformed")]
    Form(&'static str),
    /// The author did not sign these bytes.
    #[error("the event's signature does not verify")]
    Signature,
}

impl Event {
    /// Decodes bytes from anywhere: bounds first, then form, then the signature.
    ///
    /// # Errors
    /// [`BadEvent`] says what is wrong with them.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadEvent> {
        let event = Self::decode_unverified(bytes)?;
        let (signed, signature) = bytes.split_at(bytes.len() - SIGNATURE);
        let signature: &[u8; SIGNATURE] = signature.try_into().map_err(|_| BadEvent::Length)?;
        if event
            .header()
            .author
            .verifies(Domain::Event, signed, &Signature::from_bytes(signature))
        {
            Ok(event)
        } else {
            Err(BadEvent::Signature)
        }
    }

    /// Decodes bytes whose hash is already known to be that of an event that was verified before, as those in the store.
    ///
    /// # Errors
    /// [`BadEvent`] says what is wrong with them.
    pub fn decode_unverified(bytes: &[u8]) -> Result<Self, BadEvent> {
        if bytes.len() < FIXED + SIGNATURE || bytes.len() > MAX_EVENT {
            return Err(BadEvent::Length);
        }
        let mut reader = Reader(bytes);
        let [version] = reader.take::<1>()?;
        if version != VERSION {
            return Err(BadEvent::Version(version));
        }
        let network = NetworkId(reader.take()?);
        let author = DeviceId(reader.take()?);
        let seq = u32::from_be_bytes(reader.take()?);
        let lamport = u32::from_be_bytes(reader.take()?);
        let time = u64::from_be_bytes(reader.take()?);
        let epoch = EpochId(reader.take()?);
        let [count] = reader.take::<1>()?;
        let act_length = usize::from(u16::from_be_bytes(reader.take()?));
        let sealed_length = usize::from(u16::from_be_bytes(reader.take()?));
        if seq == 0 || seq >= MAX_LAMPORT || lamport >= MAX_LAMPORT {
            return Err(BadEvent::Form("seq or lamport"));
        }
        let count = usize::from(count);
        if count > MAX_PARENTS {
            return Err(BadEvent::Form("number of parents"));
        }
        let body = FIXED + count * 32;
        let sealed = body + act_length;
        if bytes.len() != sealed + sealed_length + SIGNATURE {
            return Err(BadEvent::Length);
        }
        let mut parents = Vec::with_capacity(count);
        for _ in 0..count {
            parents.push(EventId(reader.take()?));
        }
        if !parents.is_sorted_by(|a, b| a < b) {
            return Err(BadEvent::Form("order of parents"));
        }
        if (epoch == EpochId::NONE) != (sealed_length == 0) {
            return Err(BadEvent::Form("epoch"));
        }
        let act = Act::decode(&bytes[body..sealed]).ok_or(BadEvent::Form("act"))?;
        let genesis = matches!(act, Act::Genesis(_));
        if genesis != (network == NetworkId::GENESIS)
            || genesis != parents.is_empty()
            || genesis != (lamport == 0)
            || (genesis && seq != 1)
        {
            return Err(BadEvent::Form("genesis"));
        }
        if act.has_attributes() == Some(sealed_length == 0) {
            return Err(BadEvent::Form("presence of sealed attributes"));
        }
        let header = Header {
            network,
            author,
            seq,
            lamport,
            time,
            epoch,
            parents,
        };
        Ok(Self(Arc::new(Inner {
            id: id_of(bytes),
            header,
            act,
            bytes: bytes.into(),
            body,
            sealed,
        })))
    }

    /// Signs an event. `sealed` is what `seal.rs` made for exactly this header and act.
    ///
    /// # Errors
    /// [`BadEvent`] if the parts break a rule of the format: too large, parents out of order, and so on.
    pub fn sign(
        header: &Header,
        act: &Act,
        sealed: &[u8],
        device: &DeviceSecret,
    ) -> Result<Self, BadEvent> {
        if header.author != device.public() {
            return Err(BadEvent::Form("author"));
        }
        let mut bytes = prefix(header, act, sealed.len())?;
        bytes.extend_from_slice(sealed);
        let signature = device.sign(Domain::Event, &bytes);
        bytes.extend_from_slice(&signature.to_bytes());
        Self::decode_unverified(&bytes)
    }

    /// blake3 of all its bytes.
    #[must_use]
    pub fn id(&self) -> EventId {
        self.0.id
    }

    /// What stands before the act.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.0.header
    }

    /// The device that signed it.
    #[must_use]
    pub fn author(&self) -> DeviceId {
        self.0.header.author
    }

    /// The network it belongs to: for a genesis, the one it founds.
    #[must_use]
    pub fn network(&self) -> NetworkId {
        match self.0.act {
            Act::Genesis(_) => NetworkId(self.0.id.0),
            _ => self.0.header.network,
        }
    }

    /// The clear part.
    #[must_use]
    pub fn act(&self) -> &Act {
        &self.0.act
    }

    /// The sealed part, empty if there is none.
    #[must_use]
    pub fn sealed(&self) -> &[u8] {
        let end = self.0.bytes.len() - SIGNATURE;
        &self.0.bytes[self.0.sealed..end]
    }

    /// Header and act as encoded: what the sealed part is bound to (with its own length in it).
    #[must_use]
    pub fn associated_data(&self) -> &[u8] {
        &self.0.bytes[..self.0.sealed]
    }

    /// The act as encoded.
    #[must_use]
    pub fn act_bytes(&self) -> &[u8] {
        &self.0.bytes[self.0.body..self.0.sealed]
    }

    /// All bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0.bytes
    }

    /// How many bytes of memory it takes, about.
    pub(crate) fn size(&self) -> usize {
        size_of::<Inner>() + 2 * self.0.bytes.len()
    }

    /// What stands for an event whose body is lost: it says nothing.
    pub(crate) fn lost(id: EventId, header: Header) -> Self {
        Self(Arc::new(Inner {
            id,
            header,
            act: Act::Merge,
            bytes: [0; SIGNATURE].into(),
            body: 0,
            sealed: 0,
        }))
    }
}

impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for Event {}

impl std::fmt::Debug for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Event({} {} by {:?})",
            self.id().short(),
            self.act().kind(),
            self.author()
        )
    }
}

/// The id of an event with these bytes.
#[must_use]
pub fn id_of(bytes: &[u8]) -> EventId {
    EventId(*blake3::hash(bytes).as_bytes())
}

/// The encoding up to the sealed attributes, which are bound to it.
///
/// # Errors
/// [`BadEvent::Form`] if a count or length does not fit the format.
pub fn prefix(header: &Header, act: &Act, sealed_length: usize) -> Result<Vec<u8>, BadEvent> {
    let act = act.encode();
    let count =
        u8::try_from(header.parents.len()).map_err(|_| BadEvent::Form("number of parents"))?;
    let act_length = u16::try_from(act.len()).map_err(|_| BadEvent::Length)?;
    let sealed_length = u16::try_from(sealed_length).map_err(|_| BadEvent::Length)?;
    let mut bytes = Vec::with_capacity(MAX_EVENT);
    bytes.push(VERSION);
    bytes.extend_from_slice(&header.network.0);
    bytes.extend_from_slice(&header.author.0);
    bytes.extend_from_slice(&header.seq.to_be_bytes());
    bytes.extend_from_slice(&header.lamport.to_be_bytes());
    bytes.extend_from_slice(&header.time.to_be_bytes());
    bytes.extend_from_slice(&header.epoch.0);
    bytes.push(count);
    bytes.extend_from_slice(&act_length.to_be_bytes());
    bytes.extend_from_slice(&sealed_length.to_be_bytes());
    for parent in &header.parents {
        bytes.extend_from_slice(&parent.0);
    }
    bytes.extend_from_slice(&act);
    Ok(bytes)
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], BadEvent> {
        let (head, tail) = self.0.split_first_chunk::<N>().ok_or(BadEvent::Length)?;
        self.0 = tail;
        Ok(*head)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn device() -> DeviceSecret {
        DeviceSecret::from_seed(&[5; 32])
    }

    fn header() -> Header {
        Header {
            network: NetworkId([1; 32]),
            author: device().public(),
            seq: 2,
            lamport: 7,
            time: 1_800_000_000_000,
            epoch: EpochId::NONE,
            parents: vec![EventId([1; 32]), EventId([2; 32])],
        }
    }

    #[test]
    fn an_event_reads_back_as_signed() {
        let event = Event::sign(&header(), &Act::Merge, &[], &device()).unwrap();
        let read = Event::decode(event.bytes()).unwrap();
        assert_eq!(read.id(), event.id());
        assert_eq!(read.header(), &header());
        assert_eq!(read.act(), &Act::Merge);
    }

    #[test]
    fn no_flipped_bit_and_no_cut_or_added_byte_passes() {
        let event = Event::sign(&header(), &Act::Merge, &[], &device()).unwrap();
        let bytes = event.bytes().to_vec();
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Event::decode(&bad).is_err(), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(Event::decode(&bytes[..length]).is_err());
        }
        let mut longer = bytes;
        longer.push(0);
        assert!(Event::decode(&longer).is_err());
        assert!(Event::decode(&vec![1; MAX_EVENT + 1]).is_err());
    }

    #[test]
    fn parents_out_of_order_or_twice_are_refused() {
        for parents in [
            vec![EventId([2; 32]), EventId([1; 32])],
            vec![EventId([1; 32]); 2],
        ] {
            let header = Header {
                parents,
                ..header()
            };
            assert_eq!(
                Event::sign(&header, &Act::Merge, &[], &device()),
                Err(BadEvent::Form("order of parents"))
            );
        }
    }
}
