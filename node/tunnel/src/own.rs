//! This device's key in one network, and what checks the handshakes that come for it.

use std::net::IpAddr;
use std::sync::Arc;

use boringtun::noise::handshake::parse_handshake_anon;
use boringtun::noise::rate_limiter::RateLimiter;
use boringtun::noise::{Packet, TunnResult};
use x25519_dalek::{PublicKey, StaticSecret};

/// See the module. A change of the key is a new one of these.
pub(crate) struct Own {
    pub(crate) secret: StaticSecret,
    public: PublicKey,
    /// Checks that the sender knows our key, and never more. The sessions have it for theirs: what reaches them is limited
    /// already.
    pub(crate) unlimited: Arc<RateLimiter>,
    /// Beyond so many handshakes a second, whoever wants another must show that it has its address, by a cookie.
    load: RateLimiter,
}

/// What became of a handshake message.
pub(crate) enum Checked {
    /// It may be looked at.
    Passes,
    /// There are too many: first the sender must repeat this, of [`COOKIE_REPLY`] bytes at the start of the buffer.
    Answer,
    /// It is not for us, or not whole.
    Foreign,
}

impl Own {
    pub(crate) fn new(secret: StaticSecret) -> Self {
        let public = PublicKey::from(&secret);
        Self {
            secret,
            public,
            unlimited: Arc::new(RateLimiter::new(&public, u64::MAX)),
            load: RateLimiter::new(&public, HANDSHAKES),
        }
    }

    /// Whether a message of a handshake is for this key: its sender knows it. Costs a hash.
    pub(crate) fn fits(&self, message: &[u8]) -> bool {
        self.unlimited.verify_packet(None, message, &mut []).is_ok()
    }

    /// Counts a message of a handshake that [`Own::fits`]. `answer` must have room for [`COOKIE_REPLY`] bytes.
    pub(crate) fn count(&self, from: IpAddr, message: &[u8], answer: &mut [u8]) -> Checked {
        match self.load.verify_packet(Some(from), message, answer) {
            Ok(_) => Checked::Passes,
            Err(TunnResult::WriteToNetwork(_)) => Checked::Answer,
            Err(_) => Checked::Foreign,
        }
    }

    /// The static key of the peer that an initiation says it is from. Costs a key agreement, and proves nothing yet.
    pub(crate) fn claimed(&self, initiation: &[u8]) -> Option<[u8; 32]> {
        let Ok(Packet::HandshakeInit(initiation)) =
            boringtun::noise::Tunn::parse_incoming_packet(initiation)
        else {
            return None;
        };
        parse_handshake_anon(&self.secret, &self.public, &initiation)
            .ok()
            .map(|half| half.peer_static_public)
    }

    /// To be called a few times a second.
    pub(crate) fn tick(&self) {
        self.load.reset_count();
    }
}

/// The length of WireGuard's answer under load.
pub(crate) const COOKIE_REPLY: usize = 64;
/// How many handshakes a second are looked at without a proof of address.
const HANDSHAKES: u64 = 100;
