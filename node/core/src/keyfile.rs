//! A user key under a passphrase: argon2id makes a key of it, XChaCha20-Poly1305 seals with that.
//!
//! What is kept is the public key, the cost, salt and nonce, and the sealed seed; all but the seed is bound to it as
//! associated data. The cost is written down, so that a later release may ask for more. It is bounded when read: a file
//! from elsewhere cannot make this machine run out of memory.

use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use data_encoding::BASE64URL_NOPAD;
use mesh_ledger::ids::UserId;
use mesh_ledger::keys::UserSecret;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// The fewest characters of a passphrase.
pub const MIN_PASSPHRASE: usize = 8;
/// The most bytes of one.
pub const MAX_PASSPHRASE: usize = 1024;
/// The most bytes of an encoded key file.
pub const MAX_KEY_FILE: usize = 256;
const MAGIC: &[u8] = b"mesh user key ";
const VERSION: u8 = b'1';
const TEXT: &str = "MESH-USER-KEY:";

/// What a guess at a passphrase costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// Memory, in KiB.
    pub memory: u32,
    /// Passes over it.
    pub passes: u32,
}

impl Cost {
    /// 64 MiB and three passes: a fraction of a second on a small machine.
    pub const DEFAULT: Self = Self {
        memory: 64 << 10,
        passes: 3,
    };
    const MOST: Self = Self {
        memory: 1 << 20,
        passes: 32,
    };
}

/// A user key that takes a passphrase to use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Locked {
    user: UserId,
    cost: Cost,
    salt: [u8; 16],
    nonce: [u8; 24],
    sealed: Vec<u8>,
}

/// A passphrase that is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPassphrase {
    /// Too short.
    #[error("a passphrase has at least {MIN_PASSPHRASE} characters")]
    Short,
    /// Too long.
    #[error("a passphrase has at most {MAX_PASSPHRASE} bytes")]
    Long,
    /// The machine could not.
    #[error("the passphrase could not be worked on: {0} KiB of memory are needed")]
    Memory(u32),
}

/// Why a key stays locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unlock {
    /// Another passphrase locked it, or the file was changed.
    #[error("the passphrase is wrong")]
    Wrong,
    /// The machine could not.
    #[error("the passphrase could not be worked on: {0} KiB of memory are needed")]
    Memory(u32),
}

/// Bytes that are no key file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadKeyFile {
    /// Of a later release.
    #[error("it is of a later release: upgrade mesh")]
    Later,
    /// None at all.
    #[error("it is no user key under a passphrase, or damaged")]
    Malformed,
}

impl Locked {
    /// Locks a key. Salt and nonce are fresh random bytes.
    ///
    /// # Errors
    /// [`BadPassphrase`]
    pub fn lock(
        user: &UserSecret,
        passphrase: &str,
        cost: Cost,
        salt: [u8; 16],
        nonce: [u8; 24],
    ) -> Result<Self, BadPassphrase> {
        if passphrase.chars().count() < MIN_PASSPHRASE {
            return Err(BadPassphrase::Short);
        }
        if passphrase.len() > MAX_PASSPHRASE {
            return Err(BadPassphrase::Long);
        }
        let mut locked = Self {
            user: user.public(),
            cost,
            salt,
            nonce,
            sealed: Vec::new(),
        };
        let memory = || BadPassphrase::Memory(cost.memory);
        let cipher = locked.cipher(passphrase).ok_or_else(memory)?;
        let seed = user.seed();
        let payload = Payload {
            msg: seed.as_ref(),
            aad: &locked.context(),
        };
        let sealed = cipher.encrypt(XNonce::from_slice(&nonce), payload);
        locked.sealed = sealed.map_err(|_| memory())?;
        Ok(locked)
    }

    /// Unlocks it. This takes a while by intent.
    ///
    /// # Errors
    /// [`Unlock`]
    pub fn unlock(&self, passphrase: &str) -> Result<UserSecret, Unlock> {
        if passphrase.len() > MAX_PASSPHRASE {
            return Err(Unlock::Wrong);
        }
        let cipher = self.cipher(passphrase);
        let cipher = cipher.ok_or(Unlock::Memory(self.cost.memory))?;
        let payload = Payload {
            msg: self.sealed.as_slice(),
            aad: &self.context(),
        };
        let opened = cipher.decrypt(XNonce::from_slice(&self.nonce), payload);
        let seed = Zeroizing::new(opened.map_err(|_| Unlock::Wrong)?);
        let seed = <&[u8; 32]>::try_from(seed.as_slice()).map_err(|_| Unlock::Wrong)?;
        let user = UserSecret::from_seed(seed);
        if user.public() == self.user {
            Ok(user)
        } else {
            Err(Unlock::Wrong)
        }
    }

    /// Whose key it is.
    #[must_use]
    pub fn user(&self) -> UserId {
        self.user
    }

    /// The bytes of the file.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let body = postcard::to_stdvec(self).unwrap_or_default();
        [MAGIC, &[VERSION], &body].concat()
    }

    /// Reads the bytes of a file.
    ///
    /// # Errors
    /// [`BadKeyFile`]
    pub fn decode(bytes: &[u8]) -> Result<Self, BadKeyFile> {
        let body = bytes
            .strip_prefix(MAGIC)
            .filter(|_| bytes.len() <= MAX_KEY_FILE)
            .ok_or(BadKeyFile::Malformed)?;
        let body = match body {
            [VERSION, body @ ..] => body,
            [version, ..] if version.is_ascii_digit() => return Err(BadKeyFile::Later),
            _ => return Err(BadKeyFile::Malformed),
        };
        let (locked, rest) =
            postcard::take_from_bytes::<Self>(body).map_err(|_| BadKeyFile::Malformed)?;
        let Cost { memory, passes } = locked.cost;
        let bounded = memory <= Cost::MOST.memory && passes <= Cost::MOST.passes;
        if rest.is_empty() && bounded {
            Ok(locked)
        } else {
            Err(BadKeyFile::Malformed)
        }
    }

    /// One line of text, for a file or a note.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{TEXT}{}", BASE64URL_NOPAD.encode(&self.encode()))
    }

    /// Reads that line.
    ///
    /// # Errors
    /// [`BadKeyFile`]
    pub fn from_text(text: &str) -> Result<Self, BadKeyFile> {
        let body = text
            .trim()
            .strip_prefix(TEXT)
            .filter(|body| body.len() <= 2 * MAX_KEY_FILE)
            .ok_or(BadKeyFile::Malformed)?;
        let bytes = BASE64URL_NOPAD.decode(body.as_bytes());
        Self::decode(&bytes.map_err(|_| BadKeyFile::Malformed)?)
    }

    fn cipher(&self, passphrase: &str) -> Option<XChaCha20Poly1305> {
        let params = Params::new(self.cost.memory, self.cost.passes, 1, Some(32)).ok()?;
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let mut key = Zeroizing::new([0; 32]);
        argon
            .hash_password_into(passphrase.as_bytes(), &self.salt, key.as_mut())
            .ok()?;
        Some(XChaCha20Poly1305::new(Key::from_slice(key.as_ref())))
    }

    fn context(&self) -> Vec<u8> {
        let Self {
            user, cost, salt, ..
        } = self;
        [
            MAGIC,
            &[VERSION],
            &user.0,
            &cost.memory.to_be_bytes(),
            &cost.passes.to_be_bytes(),
            salt,
        ]
        .concat()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// Tests need not cost a guesser much.
    const CHEAP: Cost = Cost {
        memory: 64,
        passes: 1,
    };

    fn locked() -> Locked {
        let user = UserSecret::from_seed(&[0x41; 32]);
        Locked::lock(&user, "correct horse", CHEAP, [1; 16], [2; 24]).unwrap()
    }

    #[test]
    fn a_locked_key_opens_with_its_passphrase_alone() {
        let locked = Locked::decode(&locked().encode()).unwrap();
        assert_eq!(locked.user(), UserSecret::from_seed(&[0x41; 32]).public());
        assert_eq!(
            locked.unlock("correct horse").unwrap().public(),
            locked.user()
        );
        for wrong in ["", "correct hors", "correct horse ", &"x".repeat(2000)] {
            assert_eq!(locked.unlock(wrong).unwrap_err(), Unlock::Wrong);
        }
    }

    #[test]
    fn no_changed_or_missing_byte_passes() {
        let bytes = locked().encode();
        assert!(bytes.len() <= MAX_KEY_FILE);
        assert!(!bytes.windows(4).any(|four| four == [0x41; 4]));
        // What says how costly it is comes first and is bounded; everything behind it is bound to the key.
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            if let Ok(bad) = Locked::decode(&bad) {
                assert!(bad.unlock("correct horse").is_err(), "byte {at}");
            }
            assert!(Locked::decode(&bytes[..at]).is_err());
        }
        assert_eq!(
            Locked::decode(&[&bytes[..], &[0]].concat()),
            Err(BadKeyFile::Malformed)
        );
    }

    #[test]
    fn a_key_file_of_a_later_release_or_of_endless_cost_is_refused() {
        let mut later = locked().encode();
        later[MAGIC.len()] = b'2';
        assert_eq!(Locked::decode(&later), Err(BadKeyFile::Later));
        let dear = Locked {
            cost: Cost {
                memory: u32::MAX,
                passes: 1,
            },
            ..locked()
        };
        assert_eq!(Locked::decode(&dear.encode()), Err(BadKeyFile::Malformed));
    }

    #[test]
    fn a_key_file_reads_back_from_its_line_of_text_and_from_no_other() {
        let text = locked().text();
        assert!(text.len() < 300 && text.lines().count() == 1);
        assert_eq!(Locked::from_text(&format!(" {text}\n")), Ok(locked()));
        for bad in [
            "",
            "MESH-USER-KEY:",
            "MESH:1:4KQ7RZ",
            &text[..text.len() - 3],
        ] {
            assert_eq!(Locked::from_text(bad), Err(BadKeyFile::Malformed));
        }
        let endless = format!("{text}{}", "A".repeat(4096));
        assert_eq!(Locked::from_text(&endless), Err(BadKeyFile::Malformed));
    }

    #[test]
    fn a_short_passphrase_is_refused() {
        let user = UserSecret::from_seed(&[1; 32]);
        let lock = |text: &str| Locked::lock(&user, text, CHEAP, [1; 16], [2; 24]);
        assert_eq!(lock("seven77").unwrap_err(), BadPassphrase::Short);
        assert_eq!(lock(&"x".repeat(2000)).unwrap_err(), BadPassphrase::Long);
        assert!(lock("ächzend!").is_ok());
    }

    #[test]
    fn the_default_cost_locks_and_unlocks() {
        let user = UserSecret::from_seed(&[1; 32]);
        let locked = Locked::lock(&user, "correct horse", Cost::DEFAULT, [1; 16], [2; 24]).unwrap();
        assert!(
            Locked::decode(&locked.encode())
                .unwrap()
                .unlock("correct horse")
                .is_ok()
        );
    }
}
