//! Homes behind routers, and machines with addresses of their own.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use super::host::{ip, nft, set};
use super::lan::GATEWAY;
use super::{Capture, Daemon, Host, Lab, Lan, Link, Nat, eventually};

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
        self.internet_at([203, 0, 113])
    }

    /// One with addresses of the caller's choice: programs that know those reserved for examples take them for private.
    #[must_use]
    pub fn internet_at(&self, net: [u8; 3]) -> Internet {
        let wan = self.lan("internet", net);
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

    /// Gives a machine of it, on its first interface, an IPv6 address of its own too.
    pub fn add_ipv6(&self, host: &Host) -> Ipv6Addr {
        self.wan.route_ipv6(&net6(0));
        add_ipv6(host, 0, self.next())
    }

    fn next(&self) -> u8 {
        self.addresses.fetch_add(1, Ordering::Relaxed)
    }
}

impl Home {
    /// Gives the home an IPv6 prefix of its own. Its router translates nothing there, and lets in only what answers.
    pub fn have_ipv6(&self, internet: &Internet) {
        let last = self.uplink.address().octets()[3];
        let (outside, inside) = (address6(0, last), net6(last));
        internet.wan.route_ipv6(&net6(0));
        internet.wan.lead_ipv6(&inside, outside);
        let router = self.router.namespace();
        ip(router, &format!("address add {outside}/64 dev eth1"));
        ip(router, &format!("route add default via {}", gateway6(0)));
        let own = gateway6(last);
        ip(router, &format!("address add {own}/64 dev eth0"));
        set(router, "net/ipv6/conf/all/forwarding", "1");
        nft(
            router,
            "table ip6 lab {
                chain through_router {
                    type filter hook forward priority filter;
                    iifname eth1 ct state != { established, related } drop
                }
            }",
        );
    }

    /// Gives a machine in it, on its first interface, an IPv6 address too. See [`Self::have_ipv6`].
    pub fn add_ipv6(&self, host: &Host) -> Ipv6Addr {
        let home = self.uplink.address().octets()[3];
        add_ipv6(host, home, self.members.fetch_add(1, Ordering::Relaxed))
    }

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

    /// It lets UDP through again.
    pub fn let_udp_through(&self) {
        nft(self.router.namespace(), "delete table ip blocked");
    }

    /// Its router loses, from now on, so many of a hundred packets each way, at random. What is sent in runs is lost in
    /// runs: see [`Host::sends_one_by_one`].
    pub fn lose_some(&self, percent: u8) {
        self.spoil(&format!("numgen random mod 100 < {percent} drop"));
    }

    /// Its router swallows, from now on, packets longer than `bytes`, and tells nobody. As routers before such lines do, it
    /// has new TCP connections use shorter segments: else no program of the home could use TCP. What is sent in runs is
    /// long: see [`Host::sends_one_by_one`].
    pub fn swallow_longer_than(&self, bytes: u16) {
        let segment = bytes.saturating_sub(60);
        self.spoil(&format!(
            "tcp flags syn tcp option maxseg size set {segment}
             meta length > {bytes} drop"
        ));
    }

    fn spoil(&self, rule: &str) {
        nft(
            self.router.namespace(),
            &format!(
                "table inet spoiled {{
                    chain through_router {{
                        type filter hook forward priority filter - 2;
                        {rule}
                    }}
                }}"
            ),
        );
    }

    /// Its router lets in, from now on, who asks for it from inside, in the ways that home routers do: UPnP, PCP, NAT-PMP.
    ///
    /// # Panics
    /// When the router does not translate, or no such daemon (`miniupnpd`) is installed.
    #[must_use]
    pub fn map_ports(&self) -> Daemon {
        let router = &self.router;
        // The tables that the daemon fills, and what a home router says beside: what was agreed on passes.
        nft(
            router.namespace(),
            "insert rule ip lab through_router ct status dnat accept
            table inet mapped {
                chain arrive {
                    type nat hook prerouting priority dstnat;
                    jump agreed
                }
                chain leave {
                    type nat hook postrouting priority srcnat - 1;
                    jump agreed_back
                }
                chain through { type filter hook forward priority filter; jump passes; }
                chain agreed { }
                chain agreed_back { }
                chain passes { }
            }",
        );
        let (folder, inside) = (router.dir(), self.lan.address(254));
        let settings = format!(
            "ext_ifname=eth1
            listening_ip=eth0
            enable_natpmp=yes
            enable_upnp=yes
            secure_mode=yes
            system_uptime=yes
            uuid=7b2f6a3c-91f0-4a6e-9a53-08c8a6d5a0b1
            lease_file={folder}/leases
            upnp_table_name=mapped
            upnp_nat_table_name=mapped
            upnp_forward_chain=passes
            upnp_nat_chain=agreed
            upnp_nat_postrouting_chain=agreed_back
            allow 1024-65535 {inside}/24 1024-65535
            deny 0-65535 0.0.0.0/0 0-65535
            ",
            folder = folder.display(),
        );
        let file = folder.join("miniupnpd.conf");
        let lines: Vec<&str> = settings.lines().map(str::trim).collect();
        std::fs::write(&file, lines.join("\n")).unwrap();
        // SSDP is multicast, which has to lead somewhere.
        router.ip("route add 239.0.0.0/8 dev eth0");
        let (file, pid) = (file.display().to_string(), folder.join("miniupnpd.pid"));
        let pid = pid.display().to_string();
        let mut daemon = router.start("miniupnpd", "miniupnpd", &["-d", "-f", &file, "-P", &pid]);
        eventually(Duration::from_secs(10), "the router listens", || {
            assert!(daemon.ended().is_none(), "{}", daemon.log());
            daemon.log().contains("Listening for NAT-PMP/PCP")
        });
        daemon
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
    /// Puts each packet on its cable by itself from now on, as a real wire has it. Otherwise runs of packets of one flow cross
    /// the lab as one.
    pub fn sends_one_by_one(&self) {
        self.ip("link set eth0 gso_max_segs 1");
    }

    /// Takes itself, from now on, for `address` too, and tells nobody: only what is led here arrives.
    pub fn claim(&self, address: Ipv4Addr) {
        // Neither answers who asks the segment for the address, nor asks others in its name.
        for (key, value) in [("arp_ignore", "1"), ("arp_announce", "2")] {
            set(self.namespace(), &format!("net/ipv4/conf/all/{key}"), value);
        }
        self.ip(&format!("address add {address}/32 dev lo"));
    }
}

/// Of the documentation's prefix, the part that belongs to the home whose router's address ends in `home`; 0 is what is
/// between homes.
fn net6(home: u8) -> String {
    format!("{}/64", address6(home, 0))
}

fn address6(home: u8, last: u8) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, home.into(), 0, 0, 0, last.into())
}

fn gateway6(home: u8) -> Ipv6Addr {
    address6(home, GATEWAY)
}

fn add_ipv6(host: &Host, home: u8, last: u8) -> Ipv6Addr {
    let address = address6(home, last);
    host.ip(&format!("address add {address}/64 dev eth0"));
    host.ip(&format!("route replace default via {}", gateway6(home)));
    address
}
