//! What a device and a server say to each other about one network, on one stream of an iroh connection.
//!
//! The device opens a bidirectional stream and says [`Request::Open`]; the server answers [`Response::Welcome`] or
//! [`Response::Refused`]. From then on every request has one answer, in order; [`Response::News`] and [`Response::Letters`]
//! come in between by themselves. A frame is four bytes of length, big-endian, then postcard. iroh has proven the device's
//! key before the first byte.

use serde::{Deserialize, Serialize};

use super::address::Permit;
use super::deputation::Deputation;
use super::echo::Echo;
use super::letter::{Letter, MAX_LETTER};
use super::tip::SignedTip;
use crate::event::MAX_EVENT;
use crate::ids::{DeviceId, EventId, InviteKey, NetworkId, ServerKey};
use crate::keys::{Domain, InviteSecret, Signature};

/// The most bytes of a frame's body.
pub const MAX_FRAME: usize = (1 << 20) + 8192;
/// The most bytes of the body of the first frame on a stream.
pub const MAX_OPEN: usize = 1024;
/// The most events in one message.
pub const MAX_EVENTS: usize = 256;
/// The most ids in one message.
pub const MAX_IDS: usize = 8192;
/// The most letters in one message.
pub const MAX_LETTERS: usize = 64;
/// How far a visitor's clock may be from the server's, in milliseconds.
pub const VISIT_SKEW: u64 = 5 * 60_000;

/// What a device says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// The first on a stream.
    Open {
        /// The network this stream is about.
        network: NetworkId,
        /// In which capacity.
        role: Role,
    },
    /// Asks for the log from a position on: a [`Response::Page`]. Only for live devices.
    Pull {
        /// The first position wanted.
        from: u64,
        /// Whether the events are wanted, or only their ids.
        bodies: bool,
    },
    /// Asks for events by id, at most [`MAX_EVENTS`]: a [`Response::Events`]. Only for live devices.
    Fetch(Vec<EventId>),
    /// Hands over events, parents first, at most [`MAX_EVENTS`]: a [`Response::Pushed`].
    Push(Vec<Vec<u8>>),
    /// A joiner's redemption, sealed for the members: a [`Response::Left`].
    Leave(Vec<u8>),
    /// A member's reply to a letter, sealed for the joiner: a [`Response::Left`]. The letter is done with once the joiner comes
    /// as a member.
    Reply {
        /// Which letter.
        letter: u64,
        /// The reply.
        body: Vec<u8>,
    },
}

/// In which capacity a device comes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// As a member, with the right to have the network hosted if the server does not have it yet.
    Member(Option<Permit>),
    /// As one who holds a ticket.
    Joiner(Visit),
    /// In the name of a device, and then as a member.
    Deputy(Deputation, Option<Permit>),
}

/// The proof that a device holds a ticket of a network, for one server and a few minutes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Visit {
    /// The invite's key.
    pub invite: InviteKey,
    /// When it was signed, in milliseconds since 1970.
    pub time: u64,
    signature: Signature,
}

impl Visit {
    /// Signs with the ticket's key.
    #[must_use]
    pub fn new(
        invite: &InviteSecret,
        network: &NetworkId,
        server: &ServerKey,
        device: &DeviceId,
        time: u64,
    ) -> Self {
        let message = visit_message(network, server, device, time);
        Self {
            invite: invite.public(),
            time,
            signature: invite.sign(Domain::Visit, &message),
        }
    }

    /// Whether the invite's key signed it, for this server and device and about now.
    #[must_use]
    pub fn is_genuine(
        &self,
        network: &NetworkId,
        server: &ServerKey,
        device: &DeviceId,
        now: u64,
    ) -> bool {
        let message = visit_message(network, server, device, self.time);
        now.abs_diff(self.time) <= VISIT_SKEW
            && self
                .invite
                .verifies(Domain::Visit, &message, &self.signature)
    }
}

fn visit_message(network: &NetworkId, server: &ServerKey, device: &DeviceId, time: u64) -> Vec<u8> {
    [
        network.0.as_slice(),
        &server.0,
        &device.0,
        &time.to_be_bytes(),
    ]
    .concat()
}

/// What a server says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(clippy::large_enum_variant)] // Made, written and dropped one at a time.
pub enum Response {
    /// Go on.
    Welcome(Welcome),
    /// No; the stream ends.
    Refused(Refusal),
    /// A part of the log.
    Page(Page),
    /// Those of the wanted events that are here.
    Events(Vec<Vec<u8>>),
    /// What became of pushed events.
    Pushed(Pushed),
    /// The letter is stored, with its number.
    Left(u64),
    /// The request cannot be met now; the stream goes on.
    Failed(Failure),
    /// By itself, to live devices: events that were appended since the tip they know.
    News(Page),
    /// By itself: to live devices the redemptions that wait, to a joiner the replies to its own.
    Letters(Vec<Letter>),
}

/// The answer to [`Request::Open`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// What the device may do.
    pub standing: Standing,
    /// How far the log goes, unless the network is not here.
    pub tip: Option<SignedTip>,
    /// The permit with which any member can have this network hosted again; for live devices.
    pub permit: Option<Permit>,
    /// The server's other doors.
    pub doors: Doors,
    /// How to ask its echo, if it has one; for live devices.
    pub echo: Option<Echo>,
}

/// The ports of a server's other parts, on the same host; none where a part is switched off.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doors {
    /// The relay, TCP (TLS).
    pub relay: Option<u16>,
    /// Address discovery, UDP (QUIC).
    pub discovery: Option<u16>,
}

impl Doors {
    /// Those of a server whose mirror has that port, unless its operator chose others.
    #[must_use]
    pub const fn usual(mirror: u16) -> Self {
        Self {
            relay: Some(mirror),
            discovery: mirror.checked_add(1),
        }
    }
}

/// What a device is to a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// A live device of the network: may do everything.
    Live,
    /// No device the server knows of: may push events that say otherwise, and is then asked to open again.
    Unknown,
    /// The network is not here; whoever pushes the genesis, with the right to, opens it.
    NotHosted {
        /// Whether the permit that was shown, or the server's openness, allows that.
        may_open: bool,
    },
    /// The holder of a live invite: may leave redemptions and read the replies.
    Joiner {
        /// The invite's event.
        invite: EventId,
    },
}

/// Events or ids from a position on, without a gap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// The position of the first.
    pub from: u64,
    /// The ids, at most [`MAX_IDS`].
    pub ids: Vec<EventId>,
    /// The events of the first so many ids, if they were wanted.
    pub events: Vec<Vec<u8>>,
    /// The whole log now.
    pub tip: SignedTip,
}

/// What became of pushed events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pushed {
    /// Those that are stored durably now, or were before.
    pub stored: Vec<EventId>,
    /// Parents that are not here: to be pushed first.
    pub missing: Vec<EventId>,
    /// Those that the gate refused for good.
    pub refused: Vec<EventId>,
    /// For how many milliseconds the server would like no further push.
    pub wait: u64,
    /// The whole log now; none if the network is still not here.
    pub tip: Option<SignedTip>,
}

/// Why a server does not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// The device was removed from the network. The events that prove it follow in [`Response::Events`].
    #[error("this device was removed from the network")]
    Removed,
    /// The visit's signature, time or invite does not hold.
    #[error(
        "the server does not know the invite, or it has ended, or the clocks are more than five minutes apart"
    )]
    Visit,
    /// A frame that does not belong here.
    #[error("the other side sent what it must not")]
    Protocol,
    /// Too many streams or connections.
    #[error("the server is busy: try again later")]
    Busy,
    /// The mirror is switched off.
    #[error("this server keeps no networks")]
    Off,
}

/// Why a request cannot be met now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Failure {
    /// The device has not the right.
    #[error("the server does not let this device do that")]
    NotPermitted,
    /// The network may not be opened here.
    #[error(
        "the server hosts networks only for who has its token: use the text that `mesh-server run` printed, whole"
    )]
    NotHosting,
    /// The disk is full or broken.
    #[error("the server cannot write to its disk")]
    Disk,
    /// A quota is used up.
    #[error("the server's quota for this network or device is used up")]
    Quota,
    /// No such position or letter.
    #[error("the server does not have that")]
    NotFound,
}

/// Bytes that are no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadFrame {
    /// Longer than allowed.
    #[error("a frame of {0} bytes is longer than a frame can be")]
    TooLong(usize),
    /// Not postcard of such a message, or out of its bounds, or with bytes behind it.
    #[error("the frame is malformed")]
    Malformed,
}

/// The length of the body that follows these four bytes, if it is at most `limit`.
///
/// # Errors
/// [`BadFrame::TooLong`] before anything is allocated.
pub fn body_length(prefix: [u8; 4], limit: usize) -> Result<usize, BadFrame> {
    let length = u32::from_be_bytes(prefix) as usize;
    if length > limit {
        return Err(BadFrame::TooLong(length));
    }
    Ok(length)
}

macro_rules! framed {
    ($($name:ident)*) => {$(
        impl $name {
            /// Length and body.
            ///
            /// # Errors
            /// [`BadFrame`] if the body would not be accepted.
            pub fn encode(&self) -> Result<Vec<u8>, BadFrame> {
                if !self.bounded() {
                    return Err(BadFrame::Malformed);
                }
                let mut bytes = vec![0; 4];
                bytes = postcard::to_extend(self, bytes).map_err(|_| BadFrame::Malformed)?;
                let length = bytes.len() - 4;
                let prefix = u32::try_from(length)
                    .ok()
                    .filter(|_| length <= MAX_FRAME)
                    .ok_or(BadFrame::TooLong(length))?;
                bytes[..4].copy_from_slice(&prefix.to_be_bytes());
                Ok(bytes)
            }

            /// Decodes a body.
            ///
            /// # Errors
            /// [`BadFrame`] if it is none, or holds more than it may.
            pub fn decode(body: &[u8]) -> Result<Self, BadFrame> {
                if body.len() > MAX_FRAME {
                    return Err(BadFrame::TooLong(body.len()));
                }
                let (message, rest) =
                    postcard::take_from_bytes::<Self>(body).map_err(|_| BadFrame::Malformed)?;
                if rest.is_empty() && message.bounded() {
                    Ok(message)
                } else {
                    Err(BadFrame::Malformed)
                }
            }
        }
    )*};
}

framed! { Request Response }

fn events_bounded(events: &[Vec<u8>]) -> bool {
    events.len() <= MAX_EVENTS
        && events
            .iter()
            .all(|event| !event.is_empty() && event.len() <= MAX_EVENT)
}

impl Request {
    fn bounded(&self) -> bool {
        match self {
            Self::Open { .. } | Self::Pull { .. } => true,
            Self::Fetch(ids) => ids.len() <= MAX_EVENTS,
            Self::Push(events) => events_bounded(events),
            Self::Leave(body) | Self::Reply { body, .. } => body.len() <= MAX_LETTER,
        }
    }
}

impl Response {
    fn bounded(&self) -> bool {
        match self {
            Self::Welcome(_) | Self::Refused(_) | Self::Left(_) | Self::Failed(_) => true,
            Self::Page(page) | Self::News(page) => {
                page.ids.len() <= MAX_IDS
                    && events_bounded(&page.events)
                    && page.events.len() <= page.ids.len()
            }
            Self::Events(events) => events_bounded(events),
            Self::Pushed(pushed) => {
                pushed.stored.len() <= MAX_EVENTS
                    && pushed.missing.len() <= MAX_IDS
                    && pushed.refused.len() <= MAX_EVENTS
            }
            Self::Letters(letters) => {
                letters.len() <= MAX_LETTERS
                    && letters.iter().all(|letter| letter.body.len() <= MAX_LETTER)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::keys::ServerSecret;
    use crate::mirror::{Chain, Tip};

    fn tip() -> SignedTip {
        let tip = Tip {
            network: NetworkId([1; 32]),
            count: 2,
            chain: Chain([2; 32]),
            time: 3,
        };
        SignedTip::sign(tip, &ServerSecret::from_seed(&[4; 32]))
    }

    fn page(ids: usize, events: usize) -> Response {
        Response::Page(Page {
            from: 0,
            ids: vec![EventId([1; 32]); ids],
            events: vec![vec![7; MAX_EVENT]; events],
            tip: tip(),
        })
    }

    #[test]
    fn messages_read_back_as_written_and_cut_or_longer_ones_do_not() {
        let messages = [page(2, 1), Response::Failed(Failure::Disk)];
        for message in messages {
            let bytes = message.encode().unwrap();
            let prefix = bytes[..4].try_into().unwrap();
            assert_eq!(body_length(prefix, MAX_FRAME), Ok(bytes.len() - 4));
            assert_eq!(Response::decode(&bytes[4..]).unwrap(), message);
            for length in 4..bytes.len() {
                assert!(Response::decode(&bytes[4..length]).is_err());
            }
            assert!(Response::decode(&[&bytes[4..], &[0]].concat()).is_err());
        }
        let open = Request::Open {
            network: NetworkId([1; 32]),
            role: Role::Member(Some(Permit([5; 16]))),
        };
        let bytes = open.encode().unwrap();
        assert!(bytes.len() - 4 <= MAX_OPEN);
        assert_eq!(Request::decode(&bytes[4..]).unwrap(), open);
    }

    #[test]
    fn the_largest_messages_fit_and_larger_ones_are_refused() {
        assert!(page(MAX_IDS, 128).encode().is_ok());
        assert!(page(MAX_IDS + 1, 0).encode().is_err());
        assert!(page(1, 2).encode().is_err());
        let push = |count, size| Request::Push(vec![vec![0; size]; count]).encode();
        assert!(push(MAX_EVENTS, MAX_EVENT).is_ok());
        assert!(push(MAX_EVENTS + 1, 1).is_err());
        assert!(push(1, MAX_EVENT + 1).is_err());
        assert!(push(1, 0).is_err());
        assert!(Request::Leave(vec![0; MAX_LETTER + 1]).encode().is_err());
        assert_eq!(
            body_length([0xff; 4], MAX_FRAME),
            Err(BadFrame::TooLong(0xffff_ffff))
        );
        // A count of 2⁶³ in a few bytes.
        assert!(
            Request::decode(&[2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]).is_err()
        );
    }

    #[test]
    fn a_visit_holds_for_one_server_device_network_and_a_few_minutes() {
        let invite = InviteSecret::from_seed(&[1; 32]);
        let (network, server, device) = (NetworkId([2; 32]), ServerKey([3; 32]), DeviceId([4; 32]));
        let now = 1_000_000_000;
        let visit = Visit::new(&invite, &network, &server, &device, now);
        assert!(visit.is_genuine(&network, &server, &device, now + VISIT_SKEW));
        assert!(!visit.is_genuine(&network, &server, &device, now + VISIT_SKEW + 1));
        assert!(!visit.is_genuine(&network, &server, &device, now - VISIT_SKEW - 1));
        assert!(!visit.is_genuine(&NetworkId([9; 32]), &server, &device, now));
        assert!(!visit.is_genuine(&network, &ServerKey([9; 32]), &device, now));
        assert!(!visit.is_genuine(&network, &server, &DeviceId([9; 32]), now));
    }
}
