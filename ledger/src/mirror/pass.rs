//! What is shown a server's relay, which else lets in live devices alone: that its bearer holds a ticket, or speaks for a live
//! device, or for one that may have a network hosted.
//!
//! It travels as the token of the relay's HTTP request, in base32; a deputy's and a founder's behind a word that is none. It
//! says what its bearer says to the mirror as well, to the same server, and no more.

use data_encoding::BASE32_NOPAD;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::deputation::Deputation;
use super::message::Visit;
use crate::ids::NetworkId;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pass {
    /// A joiner's: the network of its ticket, and the proof that it has it.
    Joiner(NetworkId, Visit),
    /// A device's.
    Deputy(Deputation),
    /// A device's that brings a network: with the [proof](super::Permit::proof) that it has the permit of the server's operator, which
    /// itself is told to the mirror alone.
    Founder(Deputation, [u8; 32]),
}

/// The longest text that is looked at.
const MAX: usize = 320;
/// What a deputy's begins with.
const DEPUTY: &str = "deputy.";
/// What a founder's begins with.
const FOUNDER: &str = "founder.";

impl Pass {
    /// As text.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Joiner(network, visit) => encode(&(network, visit)),
            Self::Deputy(word) => format!("{DEPUTY}{}", encode(word)),
            Self::Founder(word, proof) => format!("{FOUNDER}{}", encode(&(word, proof))),
        }
    }

    /// From text that anybody sent.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        if text.len() > MAX {
            return None;
        }
        if let Some(word) = text.strip_prefix(DEPUTY) {
            return decode(word).map(Self::Deputy);
        }
        if let Some(founder) = text.strip_prefix(FOUNDER) {
            return decode(founder).map(|(word, proof)| Self::Founder(word, proof));
        }
        decode(text).map(|(network, visit)| Self::Joiner(network, visit))
    }
}

fn encode(what: &impl Serialize) -> String {
    // Fixed fields always encode.
    BASE32_NOPAD.encode(&postcard::to_stdvec(what).unwrap_or_default())
}

fn decode<T: DeserializeOwned>(text: &str) -> Option<T> {
    let bytes = BASE32_NOPAD.decode(text.as_bytes()).ok()?;
    let (what, rest) = postcard::take_from_bytes(&bytes).ok()?;
    rest.is_empty().then_some(what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{DeviceId, ServerKey};
    use crate::keys::{DeviceSecret, InviteSecret};
    use crate::mirror::Permit;

    #[test]
    fn a_pass_is_read_as_it_was_written_and_nothing_else_is() {
        let network = NetworkId([7; 32]);
        let (server, device) = (ServerKey([1; 32]), DeviceId([2; 32]));
        let time = 1_795_000_000_000;
        let invite = InviteSecret::from_seed(&[3; 32]);
        let visit = Visit::new(&invite, &network, &server, &device, time);
        let word = Deputation::new(&DeviceSecret::from_seed(&[4; 32]), &server, &device, time);
        let founder = Pass::Founder(word.clone(), Permit([5; 16]).proof(&word));
        for pass in [Pass::Joiner(network, visit), Pass::Deputy(word), founder] {
            let text = pass.text();
            assert!(text.len() <= MAX, "{}", text.len());
            assert_eq!(Pass::read(&text), Some(pass));
            for bad in [
                &text[1..],
                &format!("{text}AA"),
                &"A".repeat(MAX + 1),
                "",
                "☃",
            ] {
                assert_eq!(Pass::read(bad), None);
            }
        }
    }
}
