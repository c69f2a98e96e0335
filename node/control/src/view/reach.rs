//! How peers are reached, and how they reach this device.

use serde::{Deserialize, Serialize};

/// A way to a device, and how it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WayView {
    /// Where it leads: an address and port; for the control link, what it runs over.
    pub to: String,
    /// How it is known: `interface`, `mapped`, `reflexive` or `heard`; `link` for the control link.
    pub kind: String,
    /// How it is.
    pub state: WayState,
    /// Time there and back, in microseconds.
    pub rtt_us: Option<u64>,
    /// The longest datagram that passes, in bytes; absent until it was found out, and for the control link, which cuts what is
    /// longer in two.
    pub max_datagram: Option<u32>,
}

/// How a way is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WayState {
    /// Packets take it.
    InUse,
    /// It works, and another is better.
    Works,
    /// It was asked, and does not answer.
    Silent,
    /// It was not asked yet.
    Untried,
}

impl WayState {
    /// In words.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::InUse => "in use",
            Self::Works => "works",
            Self::Silent => "no answer",
            Self::Untried => "not tried yet",
        }
    }
}

/// How routers in front of a device map its port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NatView {
    /// Nobody outside has told yet where this device is seen.
    Unknown,
    /// There is none: it is seen at its own address.
    None,
    /// One witness alone has told.
    OneWitness,
    /// All see the same address and port.
    Same,
    /// Each sees another port.
    Changing,
}

/// What a server's echo says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EchoView {
    /// The server, `HOST:PORT`.
    pub server: String,
    /// Time there and back over UDP, in microseconds; absent, no datagram comes back.
    pub rtt_us: Option<u64>,
}
