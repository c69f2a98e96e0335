//! Homes behind routers, and machines with addresses of their own.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU8, Ordering};

use super::host::{ip, nft, set};
use super::{Capture, Host, Lab, Lan, Link, Nat};

/// Everything outside of homes: one segment whose addresses everybody can reach. What is sent to an address that nobody
/// has arrives at its gateway and goes no further, so that captures see it.
pub struct Internet {
    wan: Lan,
    addresses: AtomicU8,
}

/// A segment behind a router. Its machines are unplugged when it is dropped.
pub struct Home {
    /// The segment.
    pub lan: Lan,
    /// The machine between it and the internet: `eth0` inside, `eth1` outside.
    pub router: Host,
    /// Its cable to the internet.
    pub uplink: Link,
    members: AtomicU8,
}

impl Lab {
    /// An internet with nobody on it.
    #[must_use]
    pub fn internet(&self) -> Internet {
        let wan = self.lan("internet", [203, 0, 113]);
        wan.swallow_what_leaves();
        Internet {
            wan,
            addresses: AtomicU8::new(1),
        }
    }
}

impl Internet {
    /// A machine with an address of its own.
    #[must_use]
    pub fn machine(&self, lab: &Lab, name: &str) -> (Host, Ipv4Addr) {
        let host = lab.host(name);
        let address = self.plug(&host).address();
        (host, address)
    }

    /// Plugs in a machine, with the next free address.
    pub fn plug(&self, host: &Host) -> Link {
        self.wan.plug(host, self.next())
    }

    /// A home whose segment is `net.0/24` and whose router translates as `nat`. Homes may well use the same addresses.
    #[must_use]
    pub fn home(&self, lab: &Lab, name: &str, net: [u8; 3], nat: Nat) -> Home {
        let (lan, router) = (lab.lan(name, net), lab.host(&format!("{name}-router")));
        let uplink = lan.route_to(&self.wan, &router, self.next(), nat);
        Home {
            lan,
            router,
            uplink,
            members: AtomicU8::new(self.addresses.load(Ordering::Relaxed) * 10),
        }
    }

    /// A home in the middle of a provider's own network: behind its router stands another.
    #[must_use]
    pub fn home_behind_provider(&self, lab: &Lab, name: &str, net: [u8; 3]) -> (Home, Home) {
        let provider = self.home(
            lab,
            &format!("{name}-provider"),
            [100, 64, 1],
            Nat::PortRestricted,
        );
        let (lan, router) = (lab.lan(name, net), lab.host(&format!("{name}-router")));
        let last = provider.members.fetch_add(1, Ordering::Relaxed);
        let uplink = lan.route_to(&provider.lan, &router, last, Nat::PortRestricted);
        ip(
            router.namespace(),
            &format!("route replace default via {}", provider.lan.address(254)),
        );
        let home = Home {
            lan,
            router,
            uplink,
            members: AtomicU8::new(last),
        };
        (home, provider)
    }

    fn next(&self) -> u8 {
        self.addresses.fetch_add(1, Ordering::Relaxed)
    }
}

impl Home {
    /// A machine in it, with an address that no machine of a home made by the same internet has.
    #[must_use]
    pub fn machine(&self, lab: &Lab, name: &str) -> Host {
        let host = lab.host(name);
        self.plug(&host);
        host
    }

    /// Plugs in a machine, with the next free address.
    pub fn plug(&self, host: &Host) -> Link {
        self.lan
            .plug(host, self.members.fetch_add(1, Ordering::Relaxed))
    }

    /// The address under which the internet sees it.
    #[must_use]
    pub fn public(&self) -> Ipv4Addr {
        self.uplink.address()
    }

    /// Its router swallows, from now on, what is for `address`.
    pub fn lose(&self, address: Ipv4Addr) {
        self.set_route(&format!("blackhole {address}"));
    }

    /// Its router sends, from now on, what is for `address` to `by`, another machine of the internet, which may take
    /// itself for that address: see [`Host::claim`].
    pub fn lead(&self, address: Ipv4Addr, by: Ipv4Addr) {
        self.set_route(&format!("{address} via {by}"));
    }

    /// Undoes [`Self::lose`] and [`Self::lead`].
    pub fn find(&self, address: Ipv4Addr) {
        ip(self.router.namespace(), &format!("route del {address}/32"));
    }

    /// Its router lets no UDP through from now on.
    pub fn block_udp(&self) {
        nft(
            self.router.namespace(),
            "table ip blocked {
                chain no_udp {
                    type filter hook forward priority filter - 1;
                    meta l4proto udp drop
                }
            }",
        );
    }

    /// Records what crosses its router.
    #[must_use]
    pub fn capture(&self) -> Capture {
        self.router.capture()
    }

    fn set_route(&self, route: &str) {
        ip(self.router.namespace(), &format!("route replace {route}"));
    }
}

impl Host {
    /// Takes itself, from now on, for `address` too, and tells nobody: only what is led here arrives.
    pub fn claim(&self, address: Ipv4Addr) {
        // Neither answers who asks the segment for the address, nor asks others in its name.
        for (key, value) in [("arp_ignore", "1"), ("arp_announce", "2")] {
            set(self.namespace(), &format!("net/ipv4/conf/all/{key}"), value);
        }
        self.ip(&format!("address add {address}/32 dev lo"));
    }
}
