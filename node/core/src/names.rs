//! What names mean: the pure value that the daemon's name server answers from.
//!
//! Below `mesh.internal` each network of this device has a domain by the name that this device calls it:
//!
//! - `HOST.NET.mesh.internal` is the device with that host name, and so is everything below it: a host's subtree of names
//!   belongs to it.
//! - `USER.NET.mesh.internal` is the first live device of the member who is called so, where no host has that name.
//! - The reverse domains of the networks' subnets give an address its `HOST.NET.mesh.internal`.
//!
//! All of it follows from the fold, so the name of a device that was removed is gone from the next value. It is bounded by
//! the number of live devices; upper and lower case are the same.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use mesh_ledger::state::State;
use mesh_ledger::text::Label;

use crate::plan::{Domain, Subnet};

/// The domain that all networks' domains are below.
pub const ROOT: &str = "mesh.internal";

/// The domain of a network that this device calls `alias`.
#[must_use]
pub fn domain(alias: &Label) -> Option<Domain> {
    format!("{alias}.{ROOT}").parse().ok()
}

/// The reverse domains of a subnet: as many as it takes to cover it and nothing else, which is 1 where its prefix ends
/// between two labels, and 128 at most.
#[must_use]
pub fn reverse_domains(subnet: &Subnet) -> Vec<Domain> {
    let (step, suffix) = (step(subnet), suffix(&subnet.network()));
    let whole = usize::from(subnet.prefix().div_ceil(step));
    let digits = digits(&subnet.network());
    let own = digits.get(..whole).unwrap_or(&digits);
    let Some((last, before)) = own.split_last() else {
        return suffix.parse().into_iter().collect();
    };
    let free = u32::from(step) * u32::try_from(whole).unwrap_or(0) - u32::from(subnet.prefix());
    (0..1u16 << free)
        .filter_map(|n| {
            let last = u16::from(*last) + n;
            let labels = std::iter::once(last).chain(before.iter().rev().map(|d| u16::from(*d)));
            let labels = labels.map(|digit| match step {
                8 => format!("{digit}."),
                _ => format!("{digit:x}."),
            });
            format!("{}{suffix}", labels.collect::<String>())
                .parse()
                .ok()
        })
        .collect()
}

/// The addresses of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host {
    /// Its IPv4 address, if the subnet had one for it.
    pub v4: Option<Ipv4Addr>,
    /// Its IPv6 address.
    pub v6: Ipv6Addr,
}

/// The names of one network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    alias: Label,
    hosts: BTreeMap<String, Host>,
    addresses: BTreeMap<IpAddr, Label>,
    subnets: Vec<Subnet>,
}

impl Zone {
    /// The names of a network that this device calls `alias`.
    #[must_use]
    pub fn of(state: &State, alias: &Label) -> Self {
        let mut zone = Self {
            alias: alias.clone(),
            hosts: BTreeMap::new(),
            addresses: BTreeMap::new(),
            subnets: Vec::new(),
        };
        let ula = Ipv6Addr::from(u128::from(u64::from_be_bytes(state.network.ula())) << 64);
        zone.subnets.extend(Subnet::new(ula.into(), 64));
        let v4 = state.subnet;
        zone.subnets
            .extend(v4.and_then(|v4| Subnet::new(v4.base.into(), v4.prefix).ok()));
        for device in state.devices.values() {
            let host = Host {
                v4: device.v4,
                v6: device.v6,
            };
            zone.hosts.insert(device.host.to_string(), host);
            zone.addresses.insert(device.v6.into(), device.host.clone());
            zone.addresses
                .extend(device.v4.map(|v4| (v4.into(), device.host.clone())));
        }
        for member in state.members.values() {
            if let Some(device) = state.first_device(&member.user) {
                let host = Host {
                    v4: device.v4,
                    v6: device.v6,
                };
                zone.hosts.entry(member.name.to_string()).or_insert(host);
            }
        }
        zone
    }

    /// What this device calls the network.
    #[must_use]
    pub const fn alias(&self) -> &Label {
        &self.alias
    }

    fn full_name(&self, host: &Label) -> String {
        format!("{host}.{}.{ROOT}", self.alias)
    }
}

/// The names of all networks that are up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    zones: BTreeMap<String, Zone>,
}

impl FromIterator<Zone> for Names {
    fn from_iter<T: IntoIterator<Item = Zone>>(zones: T) -> Self {
        let zones = zones.into_iter();
        Self {
            zones: zones.map(|zone| (zone.alias.to_string(), zone)).collect(),
        }
    }
}

/// What is known of a name in a domain of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The domain that we speak for and the name is in.
    pub domain: String,
    /// What it is.
    pub found: Found,
}

/// What a name is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A device.
    Host(Host),
    /// An address, whose device has this name.
    Address(String),
    /// A domain, with nothing to tell about itself.
    Domain,
    /// Nothing.
    Nothing,
}

impl Names {
    /// Looks a name up that is split at its dots, the leftmost label first; `None` if it is in no domain of ours.
    #[must_use]
    pub fn find(&self, labels: &[&[u8]]) -> Option<Answer> {
        let is = |label: &[u8], word: &str| label.eq_ignore_ascii_case(word.as_bytes());
        match labels {
            [rest @ .., a, b] if is(a, "mesh") && is(b, "internal") => Some(Answer {
                domain: ROOT.to_owned(),
                found: self.forward(rest),
            }),
            [rest @ .., a, b] if is(a, "in-addr") && is(b, "arpa") => {
                self.reverse(&read_digits(rest, 8)?, 8)
            }
            [rest @ .., a, b] if is(a, "ip6") && is(b, "arpa") => {
                self.reverse(&read_digits(rest, 4)?, 4)
            }
            _ => None,
        }
    }

    /// Looks up who has an address; `None` if it is in no subnet of ours.
    #[must_use]
    pub fn find_address(&self, address: &IpAddr) -> Option<Answer> {
        let step = if address.is_ipv4() { 8 } else { 4 };
        self.reverse(&digits(address), step)
    }

    fn forward(&self, labels: &[&[u8]]) -> Found {
        let lower = |label: &[u8]| String::from_utf8_lossy(label).to_ascii_lowercase();
        let [rest @ .., net] = labels else {
            return Found::Domain;
        };
        let Some(zone) = self.zones.get(&lower(net)) else {
            return Found::Nothing;
        };
        let Some(host) = rest.last() else {
            return Found::Domain;
        };
        match zone.hosts.get(&lower(host)) {
            Some(host) => Found::Host(*host),
            None => Found::Nothing,
        }
    }

    /// `given` are the first digits of an address.
    fn reverse(&self, given: &[u8], step: u8) -> Option<Answer> {
        let low = address(given, step, 0)?;
        let high = address(given, step, u8::MAX)?;
        let contains = |subnet: &Subnet| {
            let length = usize::from(subnet.prefix().div_ceil(step));
            let inside = Subnet::new(low, subnet.prefix()).ok()?;
            let is = subnet.network().is_ipv4() == low.is_ipv4()
                && given.len() >= length
                && inside.network() == subnet.network();
            is.then_some(length)
        };
        let (zone, length) = self.zones.values().find_map(|zone| {
            let length = zone.subnets.iter().find_map(contains)?;
            Some((zone, length))
        })?;
        let labels = given.get(..length)?.iter().rev().map(|digit| match step {
            8 => format!("{digit}."),
            _ => format!("{digit:x}."),
        });
        let domain = format!("{}{}", labels.collect::<String>(), suffix(&low));
        let found = if low == high {
            match zone.addresses.get(&low) {
                Some(host) => Found::Address(zone.full_name(host)),
                None => Found::Nothing,
            }
        } else if given.len() == length || zone.addresses.range(low..=high).next().is_some() {
            Found::Domain
        } else {
            Found::Nothing
        };
        Some(Answer { domain, found })
    }
}

/// How many bits of an address one label of its reverse name holds.
fn step(subnet: &Subnet) -> u8 {
    if subnet.network().is_ipv4() { 8 } else { 4 }
}

fn suffix(address: &IpAddr) -> &'static str {
    match address {
        IpAddr::V4(_) => "in-addr.arpa",
        IpAddr::V6(_) => "ip6.arpa",
    }
}

/// The digits of an address as its reverse name has them, the first first.
fn digits(address: &IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().iter().flat_map(|b| [b >> 4, b & 15]).collect(),
    }
}

/// The address that begins with these digits; the others have all bits of `rest`.
fn address(given: &[u8], step: u8, rest: u8) -> Option<IpAddr> {
    let length = if step == 8 { 4 } else { 32 };
    if given.len() > length {
        return None;
    }
    let mut all = given.to_vec();
    all.resize(length, rest);
    if step == 8 {
        return <[u8; 4]>::try_from(all).ok().map(IpAddr::from);
    }
    let bytes: Vec<u8> = all
        .chunks(2)
        .map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | (digit & 15)))
        .collect();
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}

/// The digits that the labels of a reverse name are, the first digit of the address first.
fn read_digits(labels: &[&[u8]], step: u8) -> Option<Vec<u8>> {
    let digit = |label: &&[u8]| {
        let text = std::str::from_utf8(label).ok()?;
        let plain = !text.starts_with('+') && (text.len() == 1 || !text.starts_with('0'));
        let (base, most) = if step == 8 { (10, 3) } else { (16, 1) };
        (plain && text.len() <= most)
            .then(|| u8::from_str_radix(text, base).ok())
            .flatten()
    };
    labels.iter().rev().map(digit).collect()
}

#[cfg(test)]
mod tests;
