//! Recovery words: 24 BIP39 English words, shown once when a network is founded or taken over. Who has them can name a
//! successor to the owner; nobody else can, the owner's own device not excepted.

use std::str::FromStr;

use bip39::{Language, Mnemonic};
use zeroize::Zeroizing;

use crate::keys::RecoverySecret;

/// 256 bits of entropy that people can write down.
#[derive(Clone, PartialEq, Eq)]
pub struct RecoveryWords(Zeroizing<[u8; 32]>);

/// A text that holds no recovery words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadWords {
    /// Another number of words.
    #[error("recovery words are 24 words; here are {0}")]
    Count(usize),
    /// A word that is not on the list.
    #[error("word {0} is not one of the recovery words' list: check its spelling")]
    Unknown(usize),
    /// The words do not belong together.
    #[error("these words do not belong together: one of them is wrong, or their order is")]
    Checksum,
}

impl RecoveryWords {
    /// The words of 32 random bytes.
    #[must_use]
    pub fn from_entropy(entropy: [u8; 32]) -> Self {
        Self(Zeroizing::new(entropy))
    }

    /// The words, separated by blanks, to be shown once.
    #[must_use]
    pub fn words(&self) -> Zeroizing<String> {
        let words = Mnemonic::from_entropy_in(Language::English, self.0.as_ref());
        // 32 bytes are a length BIP39 has words for.
        Zeroizing::new(words.map(|words| words.to_string()).unwrap_or_default())
    }

    /// The recovery key.
    #[must_use]
    pub fn secret(&self) -> RecoverySecret {
        let seed = Zeroizing::new(blake3::derive_key("mesh recovery", self.0.as_ref()));
        RecoverySecret::from_seed(&seed)
    }
}

impl FromStr for RecoveryWords {
    type Err = BadWords;

    /// Reads the words, in any case and however they are spaced or numbered.
    fn from_str(text: &str) -> Result<Self, BadWords> {
        let text: Zeroizing<String> =
            Zeroizing::new(text.chars().take(2048).collect::<String>().to_lowercase());
        let words: Vec<&str> = text
            .split(|c: char| !c.is_ascii_alphabetic())
            .filter(|word| !word.is_empty())
            .collect();
        if words.len() != 24 {
            return Err(BadWords::Count(words.len()));
        }
        let joined = Zeroizing::new(words.join(" "));
        let mnemonic = Mnemonic::parse_in_normalized(Language::English, &joined).map_err(
            |error| match error {
                bip39::Error::UnknownWord(at) => BadWords::Unknown(at + 1),
                _ => BadWords::Checksum,
            },
        )?;
        let (bytes, length) = mnemonic.to_entropy_array();
        let bytes = Zeroizing::new(bytes);
        bytes
            .get(..length)
            .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
            .map(Self::from_entropy)
            .ok_or(BadWords::Checksum)
    }
}

impl std::fmt::Debug for RecoveryWords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RecoveryWords(…)")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn words_read_back_however_they_were_written_down() {
        let words = RecoveryWords::from_entropy([0x5a; 32]);
        let text = words.words();
        assert_eq!(text.split(' ').count(), 24);
        assert_eq!(text.parse::<RecoveryWords>().unwrap(), words);
        let numbered: String = text
            .split(' ')
            .enumerate()
            .map(|(n, word)| format!("{}. {}\n", n + 1, word.to_uppercase()))
            .collect();
        assert_eq!(numbered.parse::<RecoveryWords>().unwrap(), words);
    }

    #[test]
    fn a_mistake_is_told_from_a_missing_word() {
        let words = RecoveryWords::from_entropy([0x5a; 32]).words();
        let (first, rest) = words.split_once(' ').unwrap();
        assert_eq!(rest.parse::<RecoveryWords>(), Err(BadWords::Count(23)));
        assert_eq!(
            format!("xyzzy {rest}").parse::<RecoveryWords>(),
            Err(BadWords::Unknown(1))
        );
        assert_eq!(
            format!("{rest} {first}").parse::<RecoveryWords>(),
            Err(BadWords::Checksum)
        );
    }

    #[test]
    fn nothing_of_the_words_is_printed() {
        let words = RecoveryWords::from_entropy([0x5a; 32]);
        assert_eq!(format!("{words:?}"), "RecoveryWords(…)");
    }
}
