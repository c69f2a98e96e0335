//! Where this machine is to ask for names.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What one network needs of the system's resolver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolver {
    /// The addresses where this device answers for names; each of them answers for all.
    pub servers: Vec<IpAddr>,
    /// Domains to ask the servers about, and to try behind a short name, in this order.
    pub search: Vec<Domain>,
    /// Domains to ask the servers about, where the platform can tell domains apart: those of addresses.
    pub routed: Vec<Domain>,
}

/// A domain in lower case, without the dot at its end: safe to write into any resolver's configuration.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Domain(String);

/// A text that is no domain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a domain has labels of 1 to 63 letters a to z, digits, - and _, and 253 characters in all"
)]
pub struct BadDomain;

impl Domain {
    /// The longest domain.
    pub const MAX: usize = 253;

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Domain {
    type Err = BadDomain;

    fn from_str(text: &str) -> Result<Self, BadDomain> {
        let plain = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_'
        };
        let label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(plain);
        if text.len() > Self::MAX || !text.split('.').all(label) {
            return Err(BadDomain);
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for Domain {
    type Error = BadDomain;

    fn try_from(text: String) -> Result<Self, BadDomain> {
        text.parse()
    }
}

impl From<Domain> for String {
    fn from(domain: Domain) -> Self {
        domain.0
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_domain_can_be_written_into_a_file_of_lines_and_words() {
        for good in [
            "internal",
            "home.mesh.internal",
            "20.73.10.in-addr.arpa",
            "_x.a",
        ] {
            assert_eq!(good.parse::<Domain>().unwrap().to_string(), good);
        }
        let long = "a".repeat(64);
        for bad in [
            "", ".", "a.", ".a", "a..b", "A", "a b", "a\nb", "a#", "ö", &long,
        ] {
            assert!(bad.parse::<Domain>().is_err(), "{bad:?}");
        }
        assert!(vec!["a"; 127].join(".").parse::<Domain>().is_ok());
        assert!(vec!["a"; 128].join(".").parse::<Domain>().is_err());
        let bytes = postcard::to_stdvec("a b").unwrap();
        assert!(postcard::from_bytes::<Domain>(&bytes).is_err());
    }
}
