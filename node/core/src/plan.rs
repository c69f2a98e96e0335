//! What mesh wants of the machine for one network, as a value.
//!
//! The core computes a [`Plan`]; `mesh-os` makes it so, and undoes it. A plan can be shown before it is carried out, and
//! two plans can be compared: whatever is equal is left alone. It holds numbers and our own identifiers, so nothing in it
//! needs quoting on its way to a firewall or a shell; the one name that somebody else chose, the network's in the
//! resolver's [`Domain`]s, is of letters, digits and `-` by its type.

mod resolver;
mod rules;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

pub use self::resolver::{BadDomain, Domain, Resolver};
pub use self::rules::{Audience, Open, PeerPolicy, PortRange, Ports, Protocol, Refusal, Ruleset};

/// The inner MTU that every path carries: the least that IPv6 allows.
pub const MTU: u16 = 1280;

/// What one network needs of the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// What to call the interface.
    pub interface: InterfaceName,
    /// The interface's MTU in bytes.
    pub mtu: u16,
    /// This device's addresses. The subnets they name are reached through the interface without a further route.
    pub addresses: Vec<Subnet>,
    /// Further subnets to reach through the interface.
    pub routes: Vec<Subnet>,
    /// Who may reach what on this device.
    pub rules: Ruleset,
    /// Where to ask for the network's names, if this device answers for them.
    pub resolver: Option<Resolver>,
}

/// The name of an interface: ours are `mesh0`, `mesh1`, … and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum InterfaceName {
    /// The first free of `mesh0`, `mesh1`, ….
    FirstFree,
    /// `mesh` and this number, or failure if it is taken.
    Number(u16),
}

/// An address and how many of its leading bits name the subnet it stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "(IpAddr, u8)", into = "(IpAddr, u8)")]
pub struct Subnet {
    address: IpAddr,
    prefix: u8,
}

/// A prefix longer than the address it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{address}/{prefix}: the prefix is longer than the address; use at most /{}", bits(.address))]
pub struct PrefixTooLong {
    address: IpAddr,
    prefix: u8,
}

impl Subnet {
    /// `address/prefix`; the address may have host bits, as that of an interface has.
    ///
    /// # Errors
    /// When the prefix is longer than the address.
    pub fn new(address: IpAddr, prefix: u8) -> Result<Self, PrefixTooLong> {
        if prefix > bits(&address) {
            return Err(PrefixTooLong { address, prefix });
        }
        Ok(Self { address, prefix })
    }

    /// The address, host bits included.
    #[must_use]
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// The address with its host bits cleared.
    #[must_use]
    pub fn network(&self) -> IpAddr {
        match self.address {
            IpAddr::V4(v4) => {
                let mask = u32::MAX
                    .checked_shl(32 - u32::from(self.prefix))
                    .unwrap_or(0);
                IpAddr::V4((v4.to_bits() & mask).into())
            }
            IpAddr::V6(v6) => {
                let mask = u128::MAX
                    .checked_shl(128 - u32::from(self.prefix))
                    .unwrap_or(0);
                IpAddr::V6((v6.to_bits() & mask).into())
            }
        }
    }

    /// The length of the prefix in bits.
    #[must_use]
    pub const fn prefix(&self) -> u8 {
        self.prefix
    }
}

impl TryFrom<(IpAddr, u8)> for Subnet {
    type Error = PrefixTooLong;

    fn try_from((address, prefix): (IpAddr, u8)) -> Result<Self, PrefixTooLong> {
        Self::new(address, prefix)
    }
}

impl From<Subnet> for (IpAddr, u8) {
    fn from(subnet: Subnet) -> Self {
        (subnet.address, subnet.prefix)
    }
}

impl std::fmt::Display for Subnet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

const fn bits(address: &IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_subnet_never_has_a_prefix_longer_than_its_address() {
        let v4: IpAddr = "10.0.0.1".parse().unwrap();
        let v6: IpAddr = "fd00::1".parse().unwrap();
        assert!(Subnet::new(v4, 32).is_ok());
        assert!(Subnet::new(v4, 33).is_err());
        assert!(Subnet::new(v6, 128).is_ok());
        assert!(Subnet::new(v6, 129).is_err());
        let bytes = postcard::to_stdvec(&(v4, 33u8)).unwrap();
        assert!(postcard::from_bytes::<Subnet>(&bytes).is_err());
    }

    #[test]
    fn a_network_is_the_address_without_its_host_bits() {
        for (address, prefix, network) in [
            ("10.7.9.3", 24, "10.7.9.0"),
            ("10.7.9.3", 0, "0.0.0.0"),
            ("10.7.9.3", 32, "10.7.9.3"),
            ("fd00::7", 64, "fd00::"),
        ] {
            let subnet = Subnet::new(address.parse().unwrap(), prefix).unwrap();
            assert_eq!(subnet.network(), network.parse::<IpAddr>().unwrap());
        }
    }

    #[test]
    fn a_plan_survives_encoding() {
        let plan = Plan {
            interface: InterfaceName::FirstFree,
            mtu: MTU,
            addresses: vec![Subnet::new("10.7.0.3".parse().unwrap(), 24).unwrap()],
            routes: vec![],
            rules: Ruleset::default(),
            resolver: None,
        };
        let bytes = postcard::to_stdvec(&plan).unwrap();
        assert_eq!(postcard::from_bytes::<Plan>(&bytes).unwrap(), plan);
    }
}
