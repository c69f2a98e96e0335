//! `/etc/mesh/mesh.toml`: what this machine's user prefers. Nothing in it is about a network.

use serde::Deserialize;

/// The file. Unknown keys are errors.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct Taste {
    /// The UDP port of control links; absent: 51820, or any if that is taken.
    pub(crate) port: Option<u16>,
    /// What is logged, in the syntax of tracing's filters.
    pub(crate) log: Option<String>,
    /// Whether the router is asked to let peers in (UPnP, PCP, NAT-PMP).
    pub(crate) port_mapping: bool,
    /// Where peers may find this machine.
    pub(crate) addresses: Addresses,
}

/// Where peers may find a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Addresses {
    /// At all its addresses.
    #[default]
    All,
    /// At none: they reach it through the servers' relays, and learn nothing of where it is.
    RelayOnly,
}

impl Default for Taste {
    fn default() -> Self {
        Self {
            port: None,
            log: None,
            port_mapping: true,
            addresses: Addresses::All,
        }
    }
}

impl Taste {
    pub(crate) fn is_hidden(&self) -> bool {
        self.addresses == Addresses::RelayOnly
    }

    /// Whether the router is asked to let peers in.
    pub(crate) fn maps_ports(&self) -> bool {
        self.port_mapping && !self.is_hidden()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn an_empty_file_is_the_default_and_an_unknown_key_or_word_an_error() {
        let taste: Taste = toml::from_str("").unwrap();
        assert!(taste.maps_ports() && !taste.is_hidden());
        let taste: Taste = toml::from_str("addresses = \"relay-only\"").unwrap();
        assert!(!taste.maps_ports() && taste.is_hidden());
        let taste: Taste = toml::from_str("port-mapping = false\nport = 7").unwrap();
        assert!(!taste.maps_ports() && taste.port == Some(7));
        for wrong in ["adresses = \"all\"", "addresses = \"none\"", "port = 70000"] {
            toml::from_str::<Taste>(wrong).unwrap_err();
        }
    }
}
