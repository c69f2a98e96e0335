//! What two devices say to each other about one network, on one iroh connection.
//!
//! The dialling device opens one bidirectional stream and says [`Frame::Hello`]; the other answers [`Frame::Welcome`] or
//! [`Frame::Refused`]; from then on both may send any other frame at any time. A frame is four bytes of length,
//! big-endian, then postcard. WireGuard's own messages do not travel here but as datagrams of the same connection.
//!
//! iroh has proven both device keys before the first byte, so a hello names only the network and in which capacity the
//! device comes: as a **member**, which the other judges by its own fold; or as a **joiner**, whose challenge the other
//! answers by proving that it knows the invite (`mesh_ledger::network::redeem`).

use mesh_ledger::epoch::HandedKey;
use mesh_ledger::ids::{EpochId, EventId, NetworkId};
use serde::{Deserialize, Serialize};

use crate::explain::Probe;
use crate::path::{self, MAX_CANDIDATES};

/// The most bytes of a frame's body.
pub const MAX_FRAME: usize = (1 << 20) + 4096;
/// The most events in one [`Frame::Events`], and the most bytes of them together.
pub const MAX_EVENTS: usize = 256;

/// One message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Frame {
    /// The first of the dialling device.
    Hello(Hello),
    /// The answer: go on. To a joiner with the reply to its challenge, else empty.
    Welcome(Vec<u8>),
    /// The answer, or a later one: no, and the connection ends.
    Refused(Refusal),
    /// A message of the ledger's sync (`mesh_ledger::wire`), encoded by it.
    Sync(Vec<u8>),
    /// New events, parents first.
    Events(Vec<Vec<u8>>),
    /// These events, sent by the other side, are in this device's store.
    Stored(Vec<EventId>),
    /// A beacon (`crate::beacon`), to be passed on.
    Beacon(Vec<u8>),
    /// Asks for the key of an epoch.
    KeyWanted(EpochId),
    /// That key, sealed to the asking device's box key.
    Key(HandedKey),
    /// A joiner's request, encoded by `mesh_ledger::network::redeem`.
    Redeem(Vec<u8>),
    /// The reply to it. If it admits, the ledger follows in [`Frame::Events`].
    Redeemed(Vec<u8>),
    /// The tunnel to this device does not work; forget its sessions.
    ResetTunnel,
    /// The device takes the network down, or stops.
    Goodbye,
    /// Asks what the other device's filter says to this one, for `mesh why`. The number comes back with the answer.
    Asked(u32, Probe),
    /// The answer: it passes, or the filter's reason by its place in [`Reason::ALL`](crate::filter::Reason::ALL).
    Said(u32, Option<u8>),
    /// Asks for the key of a narrow offer of the other side's.
    OfferKeyWanted(EpochId),
    /// That key, sealed to the box key of a device that may read the offer, asked for or not.
    OfferKey(HandedKey),
    /// A message of the exchange that a code began (`crate::handover`).
    Code(Vec<u8>),
    /// A message about who is to own the network (`crate::transfer`), encoded by it.
    Handover(Vec<u8>),
    /// Where this device's packet socket may be reached (`crate::path`).
    Call(path::Call),
}

/// See [`Frame::Hello`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The network this connection is about.
    pub network: NetworkId,
    /// In which capacity.
    pub role: Role,
}

/// In which capacity a device dials.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// As a member. If the other does not know it yet, it may be sent the events that say so, and nothing back.
    Member,
    /// As one who holds a ticket, with the challenge.
    Joiner(Vec<u8>),
    /// As one who was told a code, with its first message (`crate::handover`). The hello names no network.
    Code(Vec<u8>),
}

/// Why a device does not go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// This device is not in that network, or it is down here.
    #[error("that device is not in the network, or has it down")]
    NotHere,
    /// The dialling device is no member as far as this one knows.
    #[error("that device does not know this one as a member yet")]
    Unknown,
    /// The dialling device was removed.
    #[error("this device was removed from the network")]
    Removed,
    /// A frame that does not belong here.
    #[error("the other side sent what it must not")]
    Protocol,
}

/// Bytes that are no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadFrame {
    /// Longer than [`MAX_FRAME`].
    #[error("a frame of {0} bytes is longer than a frame can be")]
    TooLong(usize),
    /// Not postcard of a [`Frame`], or with bytes behind it.
    #[error("the frame is malformed")]
    Malformed,
}

impl Frame {
    /// Length and body.
    ///
    /// # Errors
    /// [`BadFrame::TooLong`] if the body would not be accepted.
    pub fn encode(&self) -> Result<Vec<u8>, BadFrame> {
        let body = postcard::to_stdvec(self).map_err(|_| BadFrame::Malformed)?;
        let length = check_length(body.len())?;
        let mut bytes = Vec::with_capacity(4 + body.len());
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(&body);
        Ok(bytes)
    }

    /// The length of the body that follows these four bytes.
    ///
    /// # Errors
    /// [`BadFrame::TooLong`] before anything is allocated.
    pub fn body_length(prefix: [u8; 4]) -> Result<usize, BadFrame> {
        let length = u32::from_be_bytes(prefix) as usize;
        check_length(length).map(|_| length)
    }

    /// Decodes a body.
    ///
    /// # Errors
    /// [`BadFrame`] if it is none, or holds more than a frame may.
    pub fn decode(body: &[u8]) -> Result<Self, BadFrame> {
        check_length(body.len())?;
        let (frame, rest) = postcard::take_from_bytes(body).map_err(|_| BadFrame::Malformed)?;
        let counts = match &frame {
            Self::Events(events) => events.len() <= MAX_EVENTS,
            Self::Stored(ids) => ids.len() <= MAX_EVENTS,
            Self::Call(call) => call.candidates.len() <= MAX_CANDIDATES,
            _ => true,
        };
        if rest.is_empty() && counts {
            Ok(frame)
        } else {
            Err(BadFrame::Malformed)
        }
    }
}

fn check_length(length: usize) -> Result<u32, BadFrame> {
    if length > MAX_FRAME {
        return Err(BadFrame::TooLong(length));
    }
    u32::try_from(length).map_err(|_| BadFrame::TooLong(length))
}

/// Splits events into frames that are small enough, in order.
pub fn event_frames(events: impl IntoIterator<Item = Vec<u8>>) -> impl Iterator<Item = Frame> {
    let mut events = events.into_iter();
    std::iter::from_fn(move || {
        let batch: Vec<Vec<u8>> = events.by_ref().take(MAX_EVENTS).collect();
        (!batch.is_empty()).then_some(Frame::Events(batch))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn frames_read_back_as_written() {
        let frames = [
            Frame::Hello(Hello {
                network: NetworkId([1; 32]),
                role: Role::Joiner(vec![2; 40]),
            }),
            Frame::Welcome(vec![3; 32]),
            Frame::Refused(Refusal::Removed),
            Frame::Events(vec![vec![1, 2], vec![]]),
            Frame::Goodbye,
            Frame::Asked(7, Probe::Tcp(22)),
            Frame::Said(7, Some(3)),
        ];
        for frame in frames {
            let bytes = frame.encode().unwrap();
            let length = Frame::body_length(bytes[..4].try_into().unwrap()).unwrap();
            assert_eq!(length, bytes.len() - 4);
            assert_eq!(Frame::decode(&bytes[4..]).unwrap(), frame);
        }
    }

    #[test]
    fn a_frame_of_events_at_the_limits_fits() {
        let frames = event_frames(std::iter::repeat_n(vec![7; 4096], MAX_EVENTS + 1));
        let frames: Vec<Frame> = frames.collect();
        assert_eq!(frames.len(), 2);
        assert!(frames.iter().all(|frame| frame.encode().is_ok()));
    }

    #[test]
    fn what_is_too_long_is_refused_by_its_length_alone() {
        assert!(matches!(
            Frame::body_length([0xff; 4]),
            Err(BadFrame::TooLong(_))
        ));
        assert!(Frame::Sync(vec![0; MAX_FRAME + 1]).encode().is_err());
    }

    #[test]
    fn junk_cut_frames_and_trailing_bytes_are_refused() {
        let body = Frame::Stored(vec![EventId([1; 32])]).encode().unwrap()[4..].to_vec();
        for length in 0..body.len() {
            assert!(Frame::decode(&body[..length]).is_err());
        }
        assert!(Frame::decode(&[body, vec![0]].concat()).is_err());
        assert!(Frame::decode(&[0xff; 64]).is_err());
        let many = Frame::Stored(vec![EventId([1; 32]); MAX_EVENTS + 1])
            .encode()
            .unwrap();
        assert!(Frame::decode(&many[4..]).is_err());
    }
}
