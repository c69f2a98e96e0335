//! Tickets: an invite as a text of at most 250 characters, `MESH:1:…` in base32, fit for a QR code.
//!
//! The text's bytes are: network id (32), seed (16), flags (1), expiry in seconds since 1970 (4, big-endian), the kinds
//! of two contacts (4 bits each), the contacts (key 32, address 4 or 16, port 2, big-endian), and a checksum (4). The
//! version stands in the clear before them. All keys of the invite follow from the seed.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use data_encoding::BASE32_NOPAD;
use zeroize::Zeroizing;

use crate::ids::NetworkId;
use crate::keys::InviteSecret;

/// The most characters of a ticket.
pub const MAX_TICKET: usize = 250;
/// The most contacts of a ticket.
pub const MAX_CONTACTS: usize = 2;

const VERSION: &str = "1";
const CHECKSUM: usize = 4;
/// Longer texts are not looked at, white space included.
const MAX_READ: usize = 4096;

/// Who can be reached for a redemption.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contact {
    /// A member's device, or a server.
    pub kind: ContactKind,
    /// Its key.
    pub key: [u8; 32],
    /// Where it is, if that is known.
    pub address: Option<SocketAddr>,
}

/// What a contact is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContactKind {
    /// A member's device.
    Device,
    /// A server, which knows members' devices.
    Server,
}

/// Permission to join, on its way.
#[derive(Clone, PartialEq, Eq)]
pub struct Ticket {
    network: NetworkId,
    seed: Zeroizing<[u8; 16]>,
    countersign: bool,
    expires: u64,
    contacts: Vec<Contact>,
}

/// A text that is no ticket.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadTicket {
    /// It does not begin as one.
    #[error("this is no ticket: one begins with MESH:1:")]
    NotATicket,
    /// It is of another release.
    #[error(
        "the ticket is of another release of mesh (format {0:?}; this one reads 1): upgrade mesh, or ask for a new ticket"
    )]
    Version(String),
    /// It was mistyped or cut.
    #[error("the ticket has a typing error: copy it again, whole")]
    Typing,
}

impl Ticket {
    /// A ticket. `expires` is in milliseconds since 1970 and is rounded down to seconds; of the contacts the first two
    /// are taken, and what does not fit into [`MAX_TICKET`] characters loses its address, from the last.
    #[must_use]
    pub fn new(
        network: NetworkId,
        seed: [u8; 16],
        countersign: bool,
        expires: u64,
        contacts: &[Contact],
    ) -> Self {
        let seconds = u32::try_from(expires / 1000).unwrap_or(u32::MAX);
        let mut ticket = Self {
            network,
            seed: Zeroizing::new(seed),
            countersign,
            expires: u64::from(seconds) * 1000,
            contacts: contacts.iter().take(MAX_CONTACTS).copied().collect(),
        };
        for at in (0..ticket.contacts.len()).rev() {
            if ticket.text().len() > MAX_TICKET
                && let Some(contact) = ticket.contacts.get_mut(at)
            {
                contact.address = None;
            }
        }
        ticket
    }

    /// The network it leads to.
    #[must_use]
    pub fn network(&self) -> NetworkId {
        self.network
    }

    /// Whether only an admin's device can admit by it.
    #[must_use]
    pub fn countersign(&self) -> bool {
        self.countersign
    }

    /// When it ends, milliseconds since 1970. The invite in the ledger decides; this is for telling early.
    #[must_use]
    pub fn expires(&self) -> u64 {
        self.expires
    }

    /// Who can be asked.
    #[must_use]
    pub fn contacts(&self) -> &[Contact] {
        &self.contacts
    }

    /// The key that redeems; the ledger has its public half.
    #[must_use]
    pub fn invite_secret(&self) -> InviteSecret {
        let seed = Zeroizing::new(blake3::derive_key("mesh invite key", self.seed.as_ref()));
        InviteSecret::from_seed(&seed)
    }

    /// By what members prove themselves to the joiner: a sealed attribute of the invite.
    #[must_use]
    pub fn contact(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(blake3::derive_key("mesh contact", self.seed.as_ref()))
    }

    /// Under what members can be found.
    #[must_use]
    pub fn topic(&self) -> [u8; 32] {
        topic(&self.contact())
    }

    /// The ticket as people pass it on.
    #[must_use]
    pub fn text(&self) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(192));
        bytes.extend_from_slice(&self.network.0);
        bytes.extend_from_slice(self.seed.as_ref());
        bytes.push(u8::from(self.countersign));
        let seconds = u32::try_from(self.expires / 1000).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&seconds.to_be_bytes());
        let kind = |at: usize| self.contacts.get(at).map_or(0, Contact::code);
        bytes.push(kind(0) << 4 | kind(1));
        for contact in &self.contacts {
            contact.put(&mut bytes);
        }
        let checksum = checksum(&bytes);
        bytes.extend_from_slice(&checksum);
        Zeroizing::new(format!("MESH:{VERSION}:{}", BASE32_NOPAD.encode(&bytes)))
    }
}

/// The topic of an invite's contact secret, under which its members announce themselves.
#[must_use]
pub fn topic(contact: &[u8; 32]) -> [u8; 32] {
    blake3::derive_key("mesh topic", contact)
}

impl FromStr for Ticket {
    type Err = BadTicket;

    /// Reads a ticket in any case, with white space anywhere.
    fn from_str(text: &str) -> Result<Self, BadTicket> {
        if text.len() > MAX_READ {
            return Err(BadTicket::NotATicket);
        }
        let text: Zeroizing<String> = Zeroizing::new(
            text.chars()
                .filter(|c| !c.is_whitespace())
                .map(|c| c.to_ascii_uppercase())
                .collect(),
        );
        let rest = text.strip_prefix("MESH:").ok_or(BadTicket::NotATicket)?;
        let (version, body) = rest.split_once(':').ok_or(BadTicket::NotATicket)?;
        if version != VERSION {
            let shown = version.chars().filter(char::is_ascii_alphanumeric);
            return Err(BadTicket::Version(shown.take(8).collect()));
        }
        if text.len() > MAX_TICKET {
            return Err(BadTicket::Typing);
        }
        let bytes = Zeroizing::new(
            BASE32_NOPAD
                .decode(body.as_bytes())
                .map_err(|_| BadTicket::Typing)?,
        );
        let (bytes, sum) = bytes
            .split_last_chunk::<CHECKSUM>()
            .ok_or(BadTicket::Typing)?;
        if checksum(bytes) != *sum {
            return Err(BadTicket::Typing);
        }
        // What has a good checksum and does not parse was made by a release with other fields.
        Self::read(bytes).ok_or_else(|| BadTicket::Version("1+".to_owned()))
    }
}

impl Ticket {
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let network = NetworkId(take(&mut rest)?);
        let seed = Zeroizing::new(take::<16>(&mut rest)?);
        let [flags] = take(&mut rest)?;
        let seconds = u32::from_be_bytes(take(&mut rest)?);
        let [kinds] = take(&mut rest)?;
        if flags > 1 || (kinds >> 4 == 0 && kinds != 0) {
            return None;
        }
        let mut contacts = Vec::new();
        for code in [kinds >> 4, kinds & 15] {
            if code != 0 {
                contacts.push(Contact::read(code, &mut rest)?);
            }
        }
        rest.is_empty().then_some(Self {
            network,
            seed,
            countersign: flags & 1 == 1,
            expires: u64::from(seconds) * 1000,
            contacts,
        })
    }
}

impl Contact {
    /// Its bytes in a file: what it is, its key, its address.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![self.code()];
        self.put(&mut bytes);
        bytes
    }

    /// Reads so many contacts at most; `None` if that is not all that the bytes are.
    pub(crate) fn decode_all(mut bytes: &[u8], most: usize) -> Option<Vec<Self>> {
        let mut contacts = Vec::new();
        while !bytes.is_empty() {
            let [code] = take(&mut bytes)?;
            contacts.push(Self::read(code, &mut bytes)?);
        }
        (contacts.len() <= most).then_some(contacts)
    }

    fn code(&self) -> u8 {
        let address = match self.address {
            None => 0,
            Some(SocketAddr::V4(_)) => 1,
            Some(SocketAddr::V6(_)) => 2,
        };
        match self.kind {
            ContactKind::Device => 1 + address,
            ContactKind::Server => 4 + address,
        }
    }

    fn put(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.key);
        if let Some(address) = self.address {
            match address.ip() {
                IpAddr::V4(ip) => bytes.extend_from_slice(&ip.octets()),
                IpAddr::V6(ip) => bytes.extend_from_slice(&ip.octets()),
            }
            bytes.extend_from_slice(&address.port().to_be_bytes());
        }
    }

    fn read(code: u8, rest: &mut &[u8]) -> Option<Self> {
        let (kind, address) = match code {
            1..=3 => (ContactKind::Device, code - 1),
            4..=6 => (ContactKind::Server, code - 4),
            _ => return None,
        };
        let key = take(rest)?;
        let ip: Option<IpAddr> = match address {
            0 => None,
            1 => Some(take::<4>(rest)?.into()),
            _ => Some(take::<16>(rest)?.into()),
        };
        let address = match ip {
            Some(ip) => Some(SocketAddr::new(ip, u16::from_be_bytes(take(rest)?))),
            None => None,
        };
        Some(Self { kind, key, address })
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket")
            .field("network", &self.network)
            .field("expires", &self.expires)
            .field("contacts", &self.contacts)
            .finish_non_exhaustive()
    }
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM] {
    let hash = blake3::derive_key("mesh ticket 1", bytes);
    let mut sum = [0; CHECKSUM];
    sum.copy_from_slice(&hash[..CHECKSUM]);
    sum
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn ticket(addresses: &[&str]) -> Ticket {
        let contacts: Vec<_> = addresses
            .iter()
            .map(|address| Contact {
                kind: ContactKind::Device,
                key: [3; 32],
                address: Some(address.parse().unwrap()),
            })
            .collect();
        Ticket::new(
            NetworkId([1; 32]),
            [2; 16],
            false,
            1_800_000_000_999,
            &contacts,
        )
    }

    #[test]
    fn a_ticket_reads_back_in_any_case_and_with_white_space() {
        for addresses in [
            &[][..],
            &["192.0.2.1:7777"],
            &["192.0.2.1:7777", "[2001:db8::1]:443"],
        ] {
            let ticket = ticket(addresses);
            let text = ticket.text();
            assert!(text.len() <= MAX_TICKET, "{}", text.len());
            assert_eq!(text.parse::<Ticket>().unwrap(), ticket);
            let wrapped: String = text
                .to_lowercase()
                .chars()
                .enumerate()
                .flat_map(|(n, c)| [(n % 20 == 0).then_some('\n'), Some(c)])
                .flatten()
                .collect();
            assert_eq!(wrapped.parse::<Ticket>().unwrap(), ticket);
        }
    }

    #[test]
    fn a_ticket_is_never_longer_than_a_qr_code_holds() {
        let ticket = ticket(&["[2001:db8::1]:443", "[2001:db8::2]:443"]);
        assert!(ticket.text().len() <= MAX_TICKET);
        assert!(ticket.contacts()[0].address.is_some());
        assert!(ticket.contacts()[1].address.is_none());
        assert_eq!(ticket.text().parse::<Ticket>().unwrap(), ticket);
    }

    #[test]
    fn a_typing_error_is_told_from_another_releases_ticket() {
        let text = ticket(&["192.0.2.1:7777"]).text();
        for at in 7..text.len() {
            let mut typed = text.to_string();
            let other = if &typed[at..=at] == "A" { "B" } else { "A" };
            typed.replace_range(at..=at, other);
            assert_eq!(typed.parse::<Ticket>(), Err(BadTicket::Typing), "{at}");
        }
        assert_eq!(
            text[..text.len() - 1].parse::<Ticket>(),
            Err(BadTicket::Typing)
        );
        assert_eq!(
            text.replace(":1:", ":2:").parse::<Ticket>(),
            Err(BadTicket::Version("2".to_owned()))
        );
        assert_eq!("hello".parse::<Ticket>(), Err(BadTicket::NotATicket));
        assert_eq!(
            "MESH:1:".repeat(2000).parse::<Ticket>(),
            Err(BadTicket::NotATicket)
        );
    }

    #[test]
    fn each_secret_of_a_ticket_is_another_and_none_is_printed() {
        let ticket = ticket(&[]);
        assert_ne!(*ticket.contact(), *ticket.invite_secret().seed());
        assert_ne!(*ticket.contact(), ticket.topic());
        assert_eq!(ticket.topic(), topic(&ticket.contact()));
        assert!(!format!("{ticket:?}").contains("2, 2, 2"));
    }
}
