//! What a joiner shows a server's relay, which lets nobody else in but live devices: that it holds a ticket.
//!
//! It travels as the token of the relay's HTTP request, in base32: the network's id and the [`Visit`] that the joiner makes
//! to the mirror as well. It says what that says, to the same server, and no more.

use data_encoding::BASE32_NOPAD;
use serde::{Deserialize, Serialize};

use super::message::Visit;
use crate::ids::NetworkId;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pass {
    /// The network of the ticket.
    pub network: NetworkId,
    /// The proof.
    pub visit: Visit,
}

/// The longest text that is looked at.
const MAX: usize = 320;

impl Pass {
    /// As text.
    #[must_use]
    pub fn text(&self) -> String {
        // Fixed fields always encode.
        BASE32_NOPAD.encode(&postcard::to_stdvec(self).unwrap_or_default())
    }

    /// From text that anybody sent.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        if text.len() > MAX {
            return None;
        }
        let bytes = BASE32_NOPAD.decode(text.as_bytes()).ok()?;
        let (pass, rest) = postcard::take_from_bytes(&bytes).ok()?;
        rest.is_empty().then_some(pass)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::ids::{DeviceId, ServerKey};
    use crate::keys::InviteSecret;

    #[test]
    fn a_pass_is_read_as_it_was_written_and_nothing_else_is() {
        let network = NetworkId([7; 32]);
        let (server, device) = (ServerKey([1; 32]), DeviceId([2; 32]));
        let invite = InviteSecret::from_seed(&[3; 32]);
        let visit = Visit::new(&invite, &network, &server, &device, 1_795_000_000_000);
        let pass = Pass { network, visit };
        let text = pass.text();
        assert!(text.len() <= MAX, "{}", text.len());
        let read = Pass::read(&text).unwrap();
        assert_eq!(read, pass);
        assert!(
            read.visit
                .is_genuine(&network, &server, &device, 1_795_000_000_001)
        );
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
