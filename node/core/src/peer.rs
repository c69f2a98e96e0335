//! The name of a device as the packet path knows it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A device: the bytes of its ed25519 public key, which is also its endpoint id.
///
/// The order is that of the bytes. It is a name, not a proof: whoever makes one from outside data has checked the key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PeerId(pub [u8; 32]);

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, ..] = self.0;
        write!(f, "PeerId({a:02x}{b:02x}{c:02x}{d:02x}{e:02x}…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_written_as_its_sixty_four_hex_digits() {
        assert_eq!(PeerId([0xab; 32]).to_string(), "ab".repeat(32));
    }
}
