//! WireGuard's cross-platform protocol, by which `wg` asks about an interface and gives orders to one: parsing and printing.
//!
//! The socket is [`mesh_os::uapi`]. An interface of mesh answers `get` in full, its private key included, as the protocol
//! has it: `wg show` derives the public key from it and shows it as `(hidden)`, and nobody may ask but root, who can read the
//! key's file too. It refuses every `set` ([`Refusal::Unsupported`]): who is a peer follows from the network's ledger, and
//! what a tool changed behind its back would be undone with the next event or, worse, not.
//!
//! What is asked for in a [`Change`] is for programs without a ledger: `examples/wgd.rs`.

mod set;

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use data_encoding::HEXLOWER;
use mesh_core::plan::Subnet;
pub use mesh_os::uapi::Refusal;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

pub use self::set::{Change, PeerChange};

/// What is asked for.
pub enum Request {
    /// To be told everything.
    Get,
    /// That something be changed.
    Set(Box<Change>),
}

/// An interface, as [`print`] tells it.
pub struct Interface {
    /// Its key, if it has one.
    pub key: Option<StaticSecret>,
    /// The UDP port that it is reached at, if it is reached by UDP.
    pub port: Option<u16>,
    /// Its peers, in the order in which they are to be told.
    pub peers: Vec<Peer>,
}

/// A peer, as [`print`] tells it.
pub struct Peer {
    /// Its key.
    pub key: PublicKey,
    /// The secret that is mixed into its handshakes, if there is one.
    pub preshared_key: Option<Zeroizing<[u8; 32]>>,
    /// Where packets for it go, if they go there straight.
    pub endpoint: Option<SocketAddr>,
    /// Whose packets it may send, and which are sent to it.
    pub allowed: Vec<Subnet>,
    /// When the last handshake was completed, since 1970; none before the first.
    pub last_handshake: Option<Duration>,
    /// Bytes of WireGuard messages that came from it.
    pub rx_bytes: u64,
    /// Bytes of WireGuard messages that went to it.
    pub tx_bytes: u64,
    /// The seconds between two keepalives; 0 is never.
    pub keepalive: u16,
}

/// Parses a request, which ends with an empty line.
///
/// # Errors
/// [`Refusal::Protocol`] for what is no lines of names and values, [`Refusal::Invalid`] for names that nobody knows and values
/// that cannot be. Nothing of a refused request counts.
pub fn parse(request: &[u8]) -> Result<Request, Refusal> {
    let text = std::str::from_utf8(request).map_err(|_| Refusal::Protocol)?;
    let text = text.strip_suffix("\n\n").ok_or(Refusal::Protocol)?;
    let mut lines = text.split('\n').map(|line| line.split_once('='));
    match lines.next().flatten() {
        Some(("get", "1")) => match lines.next() {
            None => Ok(Request::Get),
            Some(_) => Err(Refusal::Invalid),
        },
        Some(("set", "1")) => Ok(Request::Set(Box::new(Change::parse(lines)?))),
        // Another version.
        Some(("get" | "set", _)) => Err(Refusal::Unsupported),
        _ => Err(Refusal::Protocol),
    }
}

/// The answer to `get`. Its memory is wiped when it is dropped, and none of it was ever elsewhere.
#[must_use]
pub fn print(interface: &Interface) -> Zeroizing<String> {
    let peers = interface.peers.iter();
    let room = peers.map(|peer| A_PEER + peer.allowed.len() * AN_ADDRESS);
    let mut lines = Lines(Zeroizing::new(String::with_capacity(
        AN_INTERFACE + room.sum::<usize>(),
    )));
    if let Some(key) = &interface.key {
        lines.secret("private_key", key.as_bytes());
    }
    if let Some(port) = interface.port {
        lines.line("listen_port", port);
    }
    for peer in &interface.peers {
        lines.secret("public_key", peer.key.as_bytes());
        if let Some(key) = &peer.preshared_key {
            lines.secret("preshared_key", key);
        }
        if let Some(endpoint) = peer.endpoint {
            lines.line("endpoint", endpoint);
        }
        let at = peer.last_handshake.unwrap_or_default();
        lines.line("last_handshake_time_sec", at.as_secs());
        lines.line("last_handshake_time_nsec", at.subsec_nanos());
        lines.line("tx_bytes", peer.tx_bytes);
        lines.line("rx_bytes", peer.rx_bytes);
        lines.line("persistent_keepalive_interval", peer.keepalive);
        for allowed in &peer.allowed {
            lines.line("allowed_ip", allowed);
        }
        lines.line("protocol_version", 1);
    }
    lines.0
}

/// An address alone, as a subnet.
#[must_use]
pub fn host(address: IpAddr) -> Option<Subnet> {
    Subnet::new(address, if address.is_ipv4() { 32 } else { 128 }).ok()
}

struct Lines(Zeroizing<String>);

impl Lines {
    fn line(&mut self, name: &str, value: impl std::fmt::Display) {
        // To write to a text does not fail.
        let _ = writeln!(self.0, "{name}={value}");
    }

    /// Straight into the text: a secret leaves no copy.
    fn secret(&mut self, name: &str, key: &[u8; 32]) {
        self.0.push_str(name);
        self.0.push('=');
        HEXLOWER.encode_append(key, &mut self.0);
        self.0.push('\n');
    }
}

/// What each takes in the answer, at most.
const AN_INTERFACE: usize = 128;
const A_PEER: usize = 512;
const AN_ADDRESS: usize = 64;

#[cfg(test)]
mod tests;
