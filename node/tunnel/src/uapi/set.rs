//! What is to be changed.

use std::net::SocketAddr;

use data_encoding::HEXLOWER_PERMISSIVE;
use mesh_core::plan::Subnet;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use super::Refusal;

/// Changes of an interface; what is `None` stays.
#[derive(Default)]
pub struct Change {
    /// Its key; `Some(None)` takes it away.
    pub key: Option<Option<StaticSecret>>,
    /// The UDP port; 0 is any.
    pub port: Option<u16>,
    /// The mark of the packets it sends; 0 is none.
    pub mark: Option<u32>,
    /// Whether all peers go first.
    pub replace_peers: bool,
    /// Changes of peers, one after the other.
    pub peers: Vec<PeerChange>,
}

/// Changes of a peer; what is `None` stays.
pub struct PeerChange {
    /// Which.
    pub key: PublicKey,
    /// Whether it goes.
    pub remove: bool,
    /// Whether it is left alone if it is not there.
    pub update_only: bool,
    /// The secret that is mixed into handshakes; `Some(None)` takes it away.
    pub preshared_key: Option<Option<Zeroizing<[u8; 32]>>>,
    /// Where packets for it go.
    pub endpoint: Option<SocketAddr>,
    /// The seconds between two keepalives; 0 is never.
    pub keepalive: Option<u16>,
    /// Whether its subnets all go first.
    pub replace_allowed: bool,
    /// Subnets that become its own, whoever else's they were.
    pub allowed: Vec<Subnet>,
}

impl Change {
    pub(super) fn parse<'a>(
        lines: impl Iterator<Item = Option<(&'a str, &'a str)>>,
    ) -> Result<Self, Refusal> {
        let mut change = Self::default();
        for line in lines {
            let (name, value) = line.ok_or(Refusal::Protocol)?;
            match (name, change.peers.last_mut()) {
                ("public_key", _) => change.peers.push(PeerChange::new(&*bytes(value)?)),
                (_, Some(peer)) => peer.take(name, value)?,
                ("private_key", None) => {
                    let key = secret(value)?;
                    change.key = Some(key.map(|key| StaticSecret::from(*key)));
                }
                ("listen_port", None) => change.port = Some(number(value)?),
                ("fwmark", None) => change.mark = Some(number(value)?),
                ("replace_peers", None) => change.replace_peers = yes(value)?,
                _ => return Err(Refusal::Invalid),
            }
        }
        Ok(change)
    }
}

impl PeerChange {
    fn new(key: &[u8; 32]) -> Self {
        Self {
            key: PublicKey::from(*key),
            remove: false,
            update_only: false,
            preshared_key: None,
            endpoint: None,
            keepalive: None,
            replace_allowed: false,
            allowed: Vec::new(),
        }
    }

    fn take(&mut self, name: &str, value: &str) -> Result<(), Refusal> {
        match name {
            "remove" => self.remove = yes(value)?,
            "update_only" => self.update_only = yes(value)?,
            "preshared_key" => self.preshared_key = Some(secret(value)?),
            "endpoint" => self.endpoint = Some(value.parse().map_err(|_| Refusal::Invalid)?),
            "persistent_keepalive_interval" => self.keepalive = Some(number(value)?),
            "replace_allowed_ips" => self.replace_allowed = yes(value)?,
            "allowed_ip" => self.allowed.push(subnet(value)?),
            "protocol_version" if value == "1" => {}
            _ => return Err(Refusal::Invalid),
        }
        Ok(())
    }
}

/// A key; all zeros are none.
fn secret(value: &str) -> Result<Option<Zeroizing<[u8; 32]>>, Refusal> {
    let key = bytes(value)?;
    Ok((*key != [0; 32]).then_some(key))
}

fn bytes(value: &str) -> Result<Zeroizing<[u8; 32]>, Refusal> {
    let mut bytes = Zeroizing::new([0; 32]);
    if value.len() != 2 * bytes.len() {
        return Err(Refusal::Invalid);
    }
    HEXLOWER_PERMISSIVE
        .decode_mut(value.as_bytes(), &mut *bytes)
        .map_err(|_| Refusal::Invalid)?;
    Ok(bytes)
}

fn number<T: std::str::FromStr>(value: &str) -> Result<T, Refusal> {
    // What Rust parses beyond digits is a sign.
    let digits = value.bytes().all(|byte| byte.is_ascii_digit());
    let parsed = value.parse().ok().filter(|_| digits);
    parsed.ok_or(Refusal::Invalid)
}

/// Only ever `true`.
fn yes(value: &str) -> Result<bool, Refusal> {
    (value == "true").then_some(true).ok_or(Refusal::Invalid)
}

/// With its host bits cleared.
fn subnet(value: &str) -> Result<Subnet, Refusal> {
    let (address, prefix) = value.split_once('/').ok_or(Refusal::Invalid)?;
    let address = address.parse().map_err(|_| Refusal::Invalid)?;
    let subnet = Subnet::new(address, number(prefix)?).map_err(|_| Refusal::Invalid)?;
    Subnet::new(subnet.network(), subnet.prefix()).map_err(|_| Refusal::Invalid)
}
