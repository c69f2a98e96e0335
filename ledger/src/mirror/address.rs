//! How people write a server down: `HOST:PORT#KEY`, and `HOST:PORT#KEY/PERMIT` for those who may have networks hosted.
//!
//! KEY is the server's public key in base32 (52 characters): whoever answers at the address must hold its other half, so
//! no name service or certificate authority is trusted. HOST is a DNS name, an IPv4 address or an IPv6 address in brackets.
//!
//! That is format 1. A later one writes its number and a full stop behind the `#`, where no key has either.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use data_encoding::BASE32_NOPAD;
use serde::{Deserialize, Serialize};

use super::deputation::Deputation;
use crate::event::attributes::Server;
use crate::ids::{NetworkId, ServerKey};
use crate::keys::ServerSecret;
use crate::text::Note;

const FORMAT: u32 = 1;
/// The longest host name.
pub const MAX_HOST: usize = 80;

/// The right to have a network hosted: the operator's token, or a server's word for one network, which members keep in the
/// sealed server list so that any of them can bring the network back.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permit(pub [u8; 16]);

impl Permit {
    /// What shows that whoever has the permit gave this word, and tells nothing of it: a keyed hash of the word's signature,
    /// which is for one server, key and time.
    #[must_use]
    pub fn proof(&self, word: &Deputation) -> [u8; 32] {
        *self.hash(word).as_bytes()
    }

    /// Whether that is the [proof](Self::proof). Takes as long whatever it is.
    #[must_use]
    pub fn is_proven(&self, word: &Deputation, proof: &[u8; 32]) -> bool {
        // Compared in constant time, by blake3.
        self.hash(word) == *proof
    }

    fn hash(&self, word: &Deputation) -> blake3::Hash {
        let key = zeroize::Zeroizing::new(blake3::derive_key("mesh founder's pass 1", &self.0));
        blake3::keyed_hash(&key, &word.signature().to_bytes())
    }

    /// The permit for one network that a server gives and recognises with no memory but its key.
    #[must_use]
    pub fn for_network(server: &ServerSecret, network: &NetworkId) -> Self {
        let key = zeroize::Zeroizing::new(blake3::derive_key(
            "mesh hosting permit 1",
            server.seed().as_ref(),
        ));
        let mut permit = [0; 16];
        permit.copy_from_slice(&blake3::keyed_hash(&key, &network.0).as_bytes()[..16]);
        Self(permit)
    }

    /// Compares in constant time.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        let wide = |permit: &Self| blake3::hash(&permit.0);
        wide(self) == wide(other)
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Permit(…)")
    }
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerAddress {
    /// A DNS name or an address, without brackets.
    pub host: String,
    /// The UDP port of the mirror.
    pub port: u16,
    /// Whom to expect there.
    pub key: ServerKey,
    /// The right to have a network hosted, if it is part of the text.
    pub permit: Option<Permit>,
}

/// A text that names no server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadServer {
    /// It has not the parts.
    #[error("{0:?} names no server: write HOST:PORT#KEY, as `mesh-server run` prints it")]
    Form(String),
    /// The host is neither a DNS name nor an address.
    #[error("{0:?} is neither a DNS name nor an address (an IPv6 address stands in brackets)")]
    Host(String),
    /// It is of a format that this release does not read.
    #[error(
        "the server's address is of a later release (this one reads format 1): upgrade mesh on this machine"
    )]
    Later,
    /// The key was mistyped or cut.
    #[error("the server's key, behind the #, has a typing error: copy it again, whole")]
    Key,
}

impl ServerAddress {
    /// The address as a network's sealed server list keeps it; `None` if it is too long, which a parsed one never is.
    #[must_use]
    pub fn to_server(&self) -> Option<Server> {
        let permit = self
            .permit
            .map_or_else(String::new, |permit| format!("/{}", lower(&permit.0)));
        let address: Note = format!("{}{permit}", self.place()).parse().ok()?;
        Some(Server {
            key: self.key.0,
            address,
        })
    }

    /// What an entry of the server list names; `None` if it is not of that form, as an admin's patched command may write.
    #[must_use]
    pub fn of(server: &Server) -> Option<Self> {
        let text = server.address.to_string();
        let (place, permit) = match text.split_once('/') {
            Some((place, permit)) => (place, Some(read_permit(permit)?)),
            None => (text.as_str(), None),
        };
        let (host, port) = read_place(place).ok()?;
        Some(Self {
            host,
            port,
            key: ServerKey(server.key),
            permit,
        })
    }

    /// `HOST:PORT`, with brackets around an IPv6 address.
    #[must_use]
    pub fn place(&self) -> String {
        place(&self.host, self.port)
    }

    /// The host as an address, if it is one.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// The same without the permit: what may be shown to anybody.
    #[must_use]
    pub fn public(&self) -> Self {
        Self {
            permit: None,
            ..self.clone()
        }
    }
}

/// `host:port`, with brackets around an IPv6 address.
#[must_use]
pub fn place(host: &str, port: u16) -> String {
    if host.parse::<Ipv6Addr>().is_ok() {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.place(), lower(&self.key.0))?;
        match &self.permit {
            Some(permit) => write!(f, "/{}", lower(&permit.0)),
            None => Ok(()),
        }
    }
}

impl FromStr for ServerAddress {
    type Err = BadServer;

    fn from_str(text: &str) -> Result<Self, BadServer> {
        let text = text.trim();
        let shown = || BadServer::Form(text.chars().take(80).collect());
        if text.len() > 256 {
            return Err(shown());
        }
        let (place, rest) = text.split_once('#').ok_or_else(shown)?;
        if let Some((format, _)) = rest.split_once('.')
            && format.parse::<u32>().is_ok_and(|format| format > FORMAT)
        {
            return Err(BadServer::Later);
        }
        let (key, permit) = match rest.split_once('/') {
            Some((key, permit)) => (key, Some(read_permit(permit).ok_or(BadServer::Key)?)),
            None => (rest, None),
        };
        let key = read_base32(key).ok_or(BadServer::Key)?;
        let (host, port) = read_place(place)?;
        Ok(Self {
            host,
            port,
            key: ServerKey(key),
            permit,
        })
    }
}

fn read_place(text: &str) -> Result<(String, u16), BadServer> {
    let shown = || BadServer::Form(text.chars().take(80).collect());
    let (host, port) = text.rsplit_once(':').ok_or_else(shown)?;
    let port: u16 = port.parse().map_err(|_| shown())?;
    if port == 0 {
        return Err(shown());
    }
    let inner = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let host = match inner {
        Some(inner) => inner
            .parse::<Ipv6Addr>()
            .map(|address| address.to_string())
            .map_err(|_| BadServer::Host(host.to_owned()))?,
        None if is_name(host) => host.to_ascii_lowercase(),
        None => return Err(BadServer::Host(host.chars().take(80).collect())),
    };
    Ok((host, port))
}

/// A DNS name or an IPv4 address.
fn is_name(host: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    (1..=MAX_HOST).contains(&host.len()) && host.split('.').all(label)
}

fn read_permit(text: &str) -> Option<Permit> {
    read_base32(text).map(Permit)
}

fn read_base32<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() > 64 {
        return None;
    }
    let bytes = BASE32_NOPAD
        .decode(text.to_ascii_uppercase().as_bytes())
        .ok()?;
    bytes.try_into().ok()
}

fn lower(bytes: &[u8]) -> String {
    BASE32_NOPAD.encode(bytes).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn example(host: &str, permit: Option<Permit>) -> ServerAddress {
        ServerAddress {
            host: host.to_owned(),
            port: 7443,
            key: ServerSecret::from_seed(&[1; 32]).public(),
            permit,
        }
    }

    #[test]
    fn a_server_reads_back_as_written_and_as_listed() {
        for host in ["mesh.example.org", "192.0.2.7", "2001:db8::7"] {
            for permit in [None, Some(Permit([7; 16]))] {
                let server = example(host, permit);
                let text = server.to_string();
                assert_eq!(text.parse::<ServerAddress>().unwrap(), server, "{text}");
                let upper = text.to_ascii_uppercase();
                assert_eq!(upper.parse::<ServerAddress>().unwrap(), server, "{upper}");
                assert_eq!(
                    ServerAddress::of(&server.to_server().unwrap()).unwrap(),
                    server
                );
            }
        }
        let longest = format!("{}.example", "a".repeat(63));
        assert!(
            example(&longest, Some(Permit([7; 16])))
                .to_server()
                .is_some()
        );
    }

    #[test]
    fn what_names_no_server_is_refused_with_what_to_write() {
        let key = example("a", None).to_string();
        let key = key.split_once('#').unwrap().1;
        for text in [
            "",
            "host",
            "host:7443",
            &format!("host#{key}"),
            &format!("host:0#{key}"),
            &format!("host:70000#{key}"),
            &format!("2001:db8::7:7443#{key}"),
            &format!("ho st:7443#{key}"),
            &format!("-:7443#{key}"),
            &format!("host:7443#{}", &key[1..]),
            &format!("host:7443#{key}/short"),
            &"a".repeat(1000),
        ] {
            assert!(text.parse::<ServerAddress>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_address_of_a_later_release_says_that_an_upgrade_reads_it() {
        let text = example("a", None).to_string();
        let (place, key) = text.split_once('#').unwrap();
        for later in [format!("{place}#2.{key}"), format!("?#17.{key}/x#y")] {
            let refused = later.parse::<ServerAddress>().unwrap_err();
            assert_eq!(refused, BadServer::Later);
            assert!(refused.to_string().contains("upgrade mesh"));
        }
        for never in [format!("{place}#1.{key}"), format!("{place}#.{key}")] {
            assert_eq!(never.parse::<ServerAddress>(), Err(BadServer::Key));
        }
    }

    #[test]
    fn a_permit_is_for_one_network_of_one_server() {
        let server = ServerSecret::from_seed(&[1; 32]);
        let permit = Permit::for_network(&server, &NetworkId([1; 32]));
        assert!(permit.matches(&Permit::for_network(&server, &NetworkId([1; 32]))));
        assert!(!permit.matches(&Permit::for_network(&server, &NetworkId([2; 32]))));
        let other = ServerSecret::from_seed(&[2; 32]);
        assert!(!permit.matches(&Permit::for_network(&other, &NetworkId([1; 32]))));
        assert!(!format!("{permit:?}").contains(&lower(&permit.0)));
    }
}
