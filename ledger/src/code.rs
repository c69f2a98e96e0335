//! Codes: a number and three words that two people say to each other, and that two devices make a channel of.
//!
//! `7-crossbow-orca-basil` is a **mailbox**, which is public and finds the other device, and three of 1,024 words, which
//! are a secret of 30 bits. SPAKE2 makes a strong key of them, so that whoever listens learns nothing and whoever guesses
//! has one guess for each exchange:
//!
//! 1. The joiner sends its SPAKE2 message; the inviter answers with its own.
//! 2. The joiner confirms: a MAC over its role, both messages and both device keys. The joiner is first, so that who does
//!    not know the words is not told whether a guess was right.
//! 3. The inviter checks it. A wrong one burns the code. To a right one it confirms in turn, and the code serves that
//!    device alone from then on. An exchange that breaks off before burns nothing, as it tells nothing.
//!
//! Messages are sealed in the [`Channel`] that both hold then. Nothing here knows what a code is for: the words
//! transport, and what they carry authorises.

mod words;

use std::str::FromStr;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use rand_core::{CryptoRng, RngCore};
use spake2::{Ed25519Group, Identity, Password, Spake2};
use zeroize::{Zeroize, Zeroizing};

use crate::ids::DeviceId;
use words::WORDS;

/// The greatest mailbox; the least is 1.
pub const MAX_MAILBOX: u16 = 999;
/// How many words a code has.
pub const CODE_WORDS: usize = 3;
/// The bytes of a SPAKE2 message.
pub const MESSAGE: usize = 33;
const NONCE: usize = 24;

/// A code. Its words are a secret: neither `Debug` nor `Display` shows them.
#[derive(Clone, PartialEq, Eq)]
pub struct Code {
    mailbox: u16,
    words: Zeroizing<[u16; CODE_WORDS]>,
}

/// A text that is no code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadCode {
    /// Not a number and three words.
    #[error("a code is a number and three words, as 7-crossbow-orca-basil")]
    Form,
    /// The number is none of a mailbox.
    #[error("a code begins with a number from 1 to {MAX_MAILBOX}")]
    Mailbox,
    /// A word that is not on the list, and one that is and is much like it.
    #[error("word {at} of the code is not on the list{}", .like.map(|like| format!("; perhaps it is {like}")).unwrap_or_default())]
    Word {
        /// Which, from 1.
        at: usize,
        /// The word that was perhaps meant.
        like: Option<&'static str>,
    },
}

impl Code {
    /// The code of 32 random bits.
    #[must_use]
    pub fn new(mailbox: u16, random: [u8; 4]) -> Self {
        let bits = u32::from_be_bytes(random);
        let word = |n: u32| ((bits >> (10 * n)) & 1023) as u16;
        Self {
            mailbox: mailbox.clamp(1, MAX_MAILBOX),
            words: Zeroizing::new([word(0), word(1), word(2)]),
        }
    }

    /// Its number, which is no secret.
    #[must_use]
    pub fn mailbox(&self) -> u16 {
        self.mailbox
    }

    /// The code as it is said: `7-crossbow-orca-basil`.
    #[must_use]
    pub fn text(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("{}-{}", self.mailbox, *self.secret()))
    }

    fn secret(&self) -> Zeroizing<String> {
        // Of a capacity that holds it, so that it does not move and leave a copy behind.
        let mut text = Zeroizing::new(String::with_capacity(64));
        for (n, at) in self.words.iter().enumerate() {
            if n > 0 {
                text.push('-');
            }
            text.push_str(list().nth(usize::from(*at)).unwrap_or_default());
        }
        text
    }
}

impl FromStr for Code {
    type Err = BadCode;

    /// Reads a code in any case, with `-` or blanks between its parts.
    fn from_str(text: &str) -> Result<Self, BadCode> {
        if text.len() > 128 {
            return Err(BadCode::Form);
        }
        let text = Zeroizing::new(text.to_ascii_lowercase());
        let parts: Vec<&str> = text
            .split(|letter: char| letter == '-' || letter.is_whitespace())
            .filter(|part| !part.is_empty())
            .collect();
        let [number, spoken @ ..] = parts.as_slice() else {
            return Err(BadCode::Form);
        };
        if spoken.len() != CODE_WORDS {
            return Err(BadCode::Form);
        }
        let mailbox = number.parse::<u16>().ok();
        let mailbox = mailbox
            .filter(|mailbox| (1..=MAX_MAILBOX).contains(mailbox))
            .ok_or(BadCode::Mailbox)?;
        let mut words = Zeroizing::new([0; CODE_WORDS]);
        for (n, (slot, word)) in words.iter_mut().zip(spoken).enumerate() {
            let place = list().position(|known| known == *word);
            let place = place.ok_or_else(|| BadCode::Word {
                at: n + 1,
                like: list().find(|known| much_like(known, word)),
            })?;
            *slot = place as u16;
        }
        Ok(Self { mailbox, words })
    }
}

impl std::fmt::Debug for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Code({}-..)", self.mailbox)
    }
}

fn list() -> impl Iterator<Item = &'static str> {
    WORDS.split(' ')
}

/// Whether one letter makes one word of the other.
fn much_like(one: &str, other: &str) -> bool {
    let (short, long) = if one.len() <= other.len() {
        (one, other)
    } else {
        (other, one)
    };
    let same = short
        .bytes()
        .zip(long.bytes())
        .take_while(|(a, b)| a == b)
        .count();
    let tail = |word: &str, from: usize| word.as_bytes().get(from..).map(<[u8]>::to_vec);
    match long.len() - short.len() {
        0 => tail(short, same + 1) == tail(long, same + 1),
        1 => tail(short, same) == tail(long, same + 1),
        _ => false,
    }
}

/// Where devices look for the one that waits with a code of this mailbox. Anybody can compute it.
#[must_use]
pub fn topic(mailbox: u16) -> [u8; 32] {
    blake3::derive_key("mesh code topic 1", &mailbox.to_be_bytes())
}

/// The devices at both ends, as the connection between them has proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    /// Who types the code.
    pub joiner: DeviceId,
    /// Who shows it.
    pub inviter: DeviceId,
}

/// What came is no message of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what came is no message of a code's exchange")]
pub struct BadMessage;

/// A proof that one knows the words.
pub type Confirmation = [u8; 32];

/// A joiner that has sent its message.
pub struct Joiner {
    state: Spake2<Ed25519Group>,
    message: Vec<u8>,
    ends: Ends,
}

/// A joiner that has confirmed.
pub struct Confirmed {
    keys: Keys,
}

impl Joiner {
    /// Begins an exchange. Returns the message to send. The seed is fresh random bytes, used for nothing else.
    #[must_use]
    pub fn start(code: &Code, ends: Ends, seed: &[u8; 32]) -> (Self, Vec<u8>) {
        let (joins, invites) = identities(code.mailbox);
        let (state, message) = Spake2::<Ed25519Group>::start_a_with_rng(
            &password(code),
            &joins,
            &invites,
            Seeded::new(seed),
        );
        let joiner = Self {
            state,
            message: message.clone(),
            ends,
        };
        (joiner, message)
    }

    /// Takes the inviter's message and confirms. Whoever answered could now check one guess at the words: an exchange
    /// that fails from here on is not begun again without being told.
    ///
    /// # Errors
    /// [`BadMessage`] if it is none; nothing is told then.
    pub fn confirm(self, answer: &[u8]) -> Result<(Confirmed, Confirmation), BadMessage> {
        let keys = Keys::of(self.state, &self.message, answer, answer, self.ends)?;
        let confirmation = keys.joiner;
        Ok((Confirmed { keys }, confirmation))
    }
}

impl Confirmed {
    /// Seals a message for whoever knows the words, who reads it if the exchange comes to its end.
    #[must_use]
    pub fn seal(&self, number: u32, body: &[u8]) -> Option<Vec<u8>> {
        self.keys.channel.seal(Way::Joiner, number, body)
    }

    /// Checks the inviter's confirmation: `None` if the other end does not know the words.
    #[must_use]
    pub fn finish(self, confirmation: &Confirmation) -> Option<Channel> {
        same(&self.keys.inviter, confirmation).then_some(self.keys.channel)
    }
}

/// One exchange at the inviter's end, whose joiner has not confirmed yet.
pub struct Exchange {
    keys: Keys,
    joiner: DeviceId,
}

/// Why a keeper does not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Its time is over.
    #[error("the code has expired")]
    Expired,
    /// A wrong confirmation came.
    #[error("the code was burnt: somebody typed other words")]
    Burnt,
    /// It serves another device.
    #[error("the code was used by another device")]
    Used,
    /// The joiner confirmed something else: the code is burnt from now on.
    #[error("the words were wrong, and the code is burnt")]
    Wrong,
    /// The message is none.
    #[error(transparent)]
    Bad(#[from] BadMessage),
}

/// What a code has been through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Open,
    Serves(DeviceId),
    Burnt,
}

/// The inviter's end: one code, from when it is shown until it has served, is burnt or expires.
#[derive(Debug)]
pub struct Keeper {
    code: Code,
    expires: u64,
    life: Life,
}

impl Keeper {
    /// Keeps a code until `expires`, in milliseconds since 1970.
    #[must_use]
    pub fn new(code: Code, expires: u64) -> Self {
        Self {
            code,
            expires,
            life: Life::Open,
        }
    }

    /// The code.
    #[must_use]
    pub fn code(&self) -> &Code {
        &self.code
    }

    /// When it ends, in milliseconds since 1970.
    #[must_use]
    pub fn expires(&self) -> u64 {
        self.expires
    }

    /// Whether a wrong confirmation came.
    #[must_use]
    pub fn is_burnt(&self) -> bool {
        self.life == Life::Burnt
    }

    /// The device that proved to know the words, if one did.
    #[must_use]
    pub fn serves(&self) -> Option<DeviceId> {
        match self.life {
            Life::Serves(device) => Some(device),
            Life::Open | Life::Burnt => None,
        }
    }

    /// Why no exchange can begin, if none can.
    ///
    /// # Errors
    /// [`Refusal`]
    pub fn usable(&self, joiner: &DeviceId, now: u64) -> Result<(), Refusal> {
        match self.life {
            _ if now >= self.expires => Err(Refusal::Expired),
            Life::Burnt => Err(Refusal::Burnt),
            Life::Serves(device) if device != *joiner => Err(Refusal::Used),
            Life::Open | Life::Serves(_) => Ok(()),
        }
    }

    /// Answers a joiner's message. Returns the message to send back. The seed is fresh random bytes, used for nothing
    /// else.
    ///
    /// # Errors
    /// [`Refusal`] if no exchange can begin; the code is as it was.
    pub fn answer(
        &self,
        message: &[u8],
        ends: Ends,
        seed: &[u8; 32],
        now: u64,
    ) -> Result<(Exchange, Vec<u8>), Refusal> {
        self.usable(&ends.joiner, now)?;
        let (joins, invites) = identities(self.code.mailbox);
        let (state, answer) = Spake2::<Ed25519Group>::start_b_with_rng(
            &password(&self.code),
            &joins,
            &invites,
            Seeded::new(seed),
        );
        let keys = Keys::of(state, message, &answer, message, ends)?;
        let joiner = ends.joiner;
        Ok((Exchange { keys, joiner }, answer))
    }

    /// Checks a joiner's confirmation. A wrong one burns the code; after a right one it serves that device alone. Returns
    /// the channel, and the confirmation to send back.
    ///
    /// # Errors
    /// [`Refusal`]
    pub fn confirm(
        &mut self,
        exchange: Exchange,
        confirmation: &Confirmation,
        now: u64,
    ) -> Result<(Channel, Confirmation), Refusal> {
        // Many exchanges may have begun: each confirmation is judged by what the others left.
        self.usable(&exchange.joiner, now)?;
        if !same(&exchange.keys.joiner, confirmation) {
            self.life = Life::Burnt;
            return Err(Refusal::Wrong);
        }
        self.life = Life::Serves(exchange.joiner);
        Ok((exchange.keys.channel, exchange.keys.inviter))
    }
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Channel(..)")
    }
}

/// Which way a sealed message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the device that typed the code.
    Joiner,
    /// From the one that showed it.
    Inviter,
}

/// What both ends share: whatever one seals, the other alone opens.
pub struct Channel(Zeroizing<[u8; 32]>);

impl Channel {
    /// Seals the `number`-th message that goes this way.
    #[must_use]
    pub fn seal(&self, way: Way, number: u32, body: &[u8]) -> Option<Vec<u8>> {
        let context = context(way, number);
        // A keyed hash of all that is sealed: equal only for equal messages.
        let key = Zeroizing::new(blake3::derive_key("mesh code nonce 1", self.0.as_ref()));
        let mut hasher = blake3::Hasher::new_keyed(&key);
        hasher.update(&context).update(body);
        let nonce = &hasher.finalize().as_bytes()[..NONCE].to_vec();
        let payload = Payload {
            msg: body,
            aad: &context,
        };
        let sealed = self.cipher().encrypt(XNonce::from_slice(nonce), payload);
        Some([nonce.as_slice(), &sealed.ok()?].concat())
    }

    /// Opens it; `None` if the other end did not seal just this.
    #[must_use]
    pub fn open(&self, way: Way, number: u32, bytes: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE>()?;
        let payload = Payload {
            msg: sealed,
            aad: &context(way, number),
        };
        let opened = self.cipher().decrypt(XNonce::from_slice(nonce), payload);
        opened.ok().map(Zeroizing::new)
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(Key::from_slice(self.0.as_ref()))
    }
}

fn context(way: Way, number: u32) -> [u8; 5] {
    let way = match way {
        Way::Joiner => 1,
        Way::Inviter => 2,
    };
    let [a, b, c, d] = number.to_be_bytes();
    [way, a, b, c, d]
}

/// What both ends derive.
struct Keys {
    joiner: Confirmation,
    inviter: Confirmation,
    channel: Channel,
}

impl Keys {
    /// `joins` and `invites` are the messages of both; `theirs` is the one that came.
    fn of(
        state: Spake2<Ed25519Group>,
        joins: &[u8],
        invites: &[u8],
        theirs: &[u8],
        ends: Ends,
    ) -> Result<Self, BadMessage> {
        if joins.len() != MESSAGE || invites.len() != MESSAGE {
            return Err(BadMessage);
        }
        let shared = Zeroizing::new(state.finish(theirs).map_err(|_| BadMessage)?);
        let key = Zeroizing::new(blake3::derive_key("mesh code confirmation 1", &shared));
        let confirmation = |role: &[u8]| {
            let mut hasher = blake3::Hasher::new_keyed(&key);
            for part in [
                role,
                joins,
                invites,
                ends.joiner.0.as_slice(),
                ends.inviter.0.as_slice(),
            ] {
                hasher.update(part);
            }
            *hasher.finalize().as_bytes()
        };
        let channel = blake3::derive_key("mesh code channel 1", &shared);
        Ok(Self {
            joiner: confirmation(b"joiner "),
            inviter: confirmation(b"inviter"),
            channel: Channel(Zeroizing::new(channel)),
        })
    }
}

fn same(one: &Confirmation, other: &Confirmation) -> bool {
    // blake3's own hash type compares in constant time.
    blake3::Hash::from(*one) == blake3::Hash::from(*other)
}

fn password(code: &Code) -> Password {
    Password::new(code.secret().as_bytes())
}

fn identities(mailbox: u16) -> (Identity, Identity) {
    let of = |role| Identity::new(format!("mesh-code-1 {role} {mailbox}").as_bytes());
    (of("join"), of("invite"))
}

/// Bytes that follow from a seed, for a crate that has no randomness of its own.
struct Seeded(blake3::OutputReader);

impl Seeded {
    fn new(seed: &[u8; 32]) -> Self {
        let mut key = blake3::derive_key("mesh code scalar 1", seed);
        let reader = blake3::Hasher::new_keyed(&key).finalize_xof();
        key.zeroize();
        Self(reader)
    }
}

impl CryptoRng for Seeded {}

impl RngCore for Seeded {
    fn next_u32(&mut self) -> u32 {
        rand_core::impls::next_u32_via_fill(self)
    }

    fn next_u64(&mut self) -> u64 {
        rand_core::impls::next_u64_via_fill(self)
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        self.0.fill(bytes);
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
