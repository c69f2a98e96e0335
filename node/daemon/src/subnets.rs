//! The IPv4 subnets this machine is in.

use std::collections::BTreeSet;
use std::net::IpAddr;

use mesh_ledger::event::attributes::Subnet;
use nix::ifaddrs::getifaddrs;

/// The IPv4 subnets of this machine's interfaces.
pub(crate) fn machine_subnets() -> BTreeSet<(String, Subnet)> {
    let addresses = getifaddrs().into_iter().flatten();
    addresses
        .filter_map(|interface| {
            let ip = |storage: nix::sys::socket::SockaddrStorage| {
                storage.as_sockaddr_in().map(|a| u32::from(a.ip()))
            };
            let (address, mask) = (ip(interface.address?)?, ip(interface.netmask?)?);
            // Host routes and the largest ranges are no subnets that mesh knows.
            let prefix = (mask.leading_ones() as u8).clamp(8, 30);
            let base = address & (u32::MAX << (32 - u32::from(prefix)));
            if IpAddr::from(address.to_be_bytes()).is_loopback() {
                return None;
            }
            Some((interface.interface_name, Subnet::new(base.into(), prefix)?))
        })
        .collect()
}

/// Whether an address is on a link of this machine: no router lies between.
pub(crate) fn on_link(address: IpAddr) -> bool {
    let IpAddr::V4(address) = address else {
        return false;
    };
    machine_subnets()
        .iter()
        .any(|(_, subnet)| subnet.index(address).is_some())
}
