//! Ports with their transport, as people type them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A transport an offer can open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Proto {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// ICMP and ICMPv6, which have no ports.
    Icmp,
}

impl fmt::Display for Proto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Icmp => "icmp",
        })
    }
}

/// What a device offers. Its words are `22/tcp` and the like, and `relay`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Offered {
    /// Ports of it.
    Ports(Ports),
    /// To forward between those it is offered to.
    Relay,
}

impl fmt::Display for Offered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ports(ports) => ports.fmt(f),
            Self::Relay => f.write_str("relay"),
        }
    }
}

/// What an offer opens, typed and shown as `22/tcp`, `8000-8010/udp` or `icmp`. Always valid: `first ≤ last`, both ≥ 1,
/// and both 0 for ICMP alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "PortsWire", into = "PortsWire")]
pub struct Ports {
    proto: Proto,
    first: u16,
    last: u16,
}

impl Ports {
    /// One port. Nothing if it is 0 or the transport has no ports.
    pub fn one(proto: Proto, port: u16) -> Option<Self> {
        Self::range(proto, port, port)
    }

    /// Ports from `first` to `last`, both included. Nothing unless 1 ≤ `first` ≤ `last` and the transport has ports.
    pub fn range(proto: Proto, first: u16, last: u16) -> Option<Self> {
        (proto != Proto::Icmp && first >= 1 && first <= last).then_some(Self { proto, first, last })
    }

    /// All of ICMP.
    pub const fn icmp() -> Self {
        Self {
            proto: Proto::Icmp,
            first: 0,
            last: 0,
        }
    }

    /// The transport.
    pub const fn proto(self) -> Proto {
        self.proto
    }

    /// The lowest port, 0 for ICMP.
    pub const fn first(self) -> u16 {
        self.first
    }

    /// The highest port, 0 for ICMP.
    pub const fn last(self) -> u16 {
        self.last
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.proto == Proto::Icmp {
            return f.write_str("icmp");
        }
        if self.first == self.last {
            write!(f, "{}/{}", self.first, self.proto)
        } else {
            write!(f, "{}-{}/{}", self.first, self.last, self.proto)
        }
    }
}

impl FromStr for Ports {
    type Err = BadPorts;

    fn from_str(text: &str) -> Result<Self, BadPorts> {
        let bad = || BadPorts(text.chars().take(40).collect());
        if text == "icmp" {
            return Ok(Self::icmp());
        }
        let (range, proto) = text.split_once('/').ok_or_else(bad)?;
        let proto = match proto {
            "tcp" => Proto::Tcp,
            "udp" => Proto::Udp,
            _ => return Err(bad()),
        };
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let port = |digits: &str| {
            let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            if plain {
                digits.parse::<u16>().ok()
            } else {
                None
            }
        };
        let (first, last) = port(first).zip(port(last)).ok_or_else(bad)?;
        Self::range(proto, first, last).ok_or_else(bad)
    }
}

/// Text or numbers that name no ports.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} names no ports; write 22/tcp, 8000-8010/udp or icmp")]
pub struct BadPorts(String);

/// [`Ports`] on the wire: absent numbers for ICMP.
#[derive(Serialize, Deserialize)]
struct PortsWire {
    proto: Proto,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    first: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last: Option<u16>,
}

impl From<Ports> for PortsWire {
    fn from(ports: Ports) -> Self {
        let has_ports = ports.proto != Proto::Icmp;
        Self {
            proto: ports.proto,
            first: has_ports.then_some(ports.first),
            last: has_ports.then_some(ports.last),
        }
    }
}

impl TryFrom<PortsWire> for Ports {
    type Error = BadPorts;

    fn try_from(wire: PortsWire) -> Result<Self, BadPorts> {
        let ports = match (wire.proto, wire.first, wire.last) {
            (Proto::Icmp, None, None) => Some(Self::icmp()),
            (proto, Some(first), last) => Self::range(proto, first, last.unwrap_or(first)),
            _ => None,
        };
        ports.ok_or_else(|| BadPorts(format!("{:?}-{:?}/{}", wire.first, wire.last, wire.proto)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_read_back_as_they_are_shown() {
        for text in ["22/tcp", "8000-8010/udp", "icmp", "65535/tcp"] {
            assert_eq!(
                text.parse::<Ports>().map(|ports| ports.to_string()),
                Ok(text.to_owned())
            );
        }
    }

    #[test]
    fn ports_that_are_none_are_refused_from_people_and_from_the_wire() {
        for text in [
            "",
            "22",
            "0/tcp",
            "22/sctp",
            "9-8/tcp",
            "65536/tcp",
            "+22/tcp",
            "22-/tcp",
            "22/icmp",
            "1-2-3/tcp",
        ] {
            assert!(text.parse::<Ports>().is_err(), "{text}");
        }
        for json in [
            r#"{"proto":"tcp"}"#,
            r#"{"proto":"icmp","first":1}"#,
            r#"{"proto":"tcp","first":0}"#,
            r#"{"proto":"udp","first":9,"last":8}"#,
        ] {
            assert!(serde_json::from_str::<Ports>(json).is_err(), "{json}");
        }
    }

    #[test]
    fn ports_survive_the_wire() -> Result<(), serde_json::Error> {
        for text in ["22/tcp", "8000-8010/udp", "icmp"] {
            let ports: Ports = text.parse().unwrap_or(Ports::icmp());
            assert_eq!(
                serde_json::from_str::<Ports>(&serde_json::to_string(&ports)?)?,
                ports
            );
        }
        Ok(())
    }
}
