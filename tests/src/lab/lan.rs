//! Segments, links that can be cut, and routers with the common kinds of NAT.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::Host;
use super::host::{ip, nft, set};
use super::namespace::Namespace;

/// A switch: a bridge in a namespace of its own.
pub struct Lan {
    net: [u8; 3],
    namespace: Arc<Namespace>,
    ports: AtomicUsize,
}

/// One cable. Cut it, heal it.
pub struct Link {
    namespace: Arc<Namespace>,
    port: String,
    address: Ipv4Addr,
}

/// How a link fails.
#[derive(Clone, Copy, Debug)]
pub enum Cut {
    /// The carrier goes: both ends know at once.
    Down,
    /// Packets are lost in silence: no end can tell, but by hearing nothing.
    Silent,
}

/// How a router translates and filters. In words of RFC 4787.
#[derive(Clone, Copy, Debug)]
pub enum Nat {
    /// No translation, no filter.
    None,
    /// Whatever comes for the address outside goes to the one machine inside, and the other way round.
    OneToOne,
    /// UDP: endpoint-independent mapping and filtering.
    FullCone,
    /// UDP: endpoint-independent mapping, address-dependent filtering.
    AddressRestricted,
    /// A home router: endpoint-independent mapping, address and port dependent filtering. The drop of new packets from
    /// outside matters: without it a peer's early packet takes the port, and the mapping moves.
    PortRestricted,
    /// Address and port dependent mapping and filtering.
    Symmetric,
}

impl Nat {
    /// The rules of a router that has the address `outside` on `eth1`.
    fn rules(self, outside: Ipv4Addr) -> Option<String> {
        // Without it an early packet from outside takes the port, and the mapping moves.
        let to_router = "chain to_router {
                type filter hook input priority filter;
                iifname eth1 ct state new drop
            }";
        let only_answers = "chain through_router {
                type filter hook forward priority filter;
                iifname eth1 ct state != { established, related } drop
            }";
        // For UDP, by whatever port a machine inside uses, that port outside is its from then on.
        let cone = |guard: &str| {
            format!(
                "map inside {{
                    typeof udp sport : ip saddr . udp sport
                    flags dynamic
                    size 65535
                }}
                set asked {{
                    typeof ip daddr
                    flags dynamic
                    size 65535
                }}
                chain arrive {{
                    type nat hook prerouting priority dstnat;
                    iifname eth1 meta l4proto udp {guard} dnat ip to udp dport map @inside
                }}
                chain ask {{
                    type filter hook forward priority filter;
                    oifname eth1 meta l4proto udp update @asked {{ ip daddr }}
                }}
                chain translate {{
                    type nat hook postrouting priority srcnat;
                    oifname eth1 meta l4proto udp update @inside {{ udp sport : ip saddr . udp sport }} snat to {outside}
                    oifname eth1 masquerade
                }}
                {to_router}"
            )
        };
        let table = match self {
            Self::None => return None,
            Self::OneToOne => format!(
                "map inside {{
                    typeof ip daddr : ip saddr
                    flags dynamic
                    size 16
                }}
                chain arrive {{
                    type nat hook prerouting priority dstnat;
                    iifname eth1 dnat ip to ip daddr map @inside
                }}
                chain translate {{
                    type nat hook postrouting priority srcnat;
                    oifname eth1 update @inside {{ {outside} : ip saddr }} snat to {outside}
                }}"
            ),
            Self::FullCone => cone(""),
            Self::AddressRestricted => cone("ip saddr @asked"),
            Self::PortRestricted | Self::Symmetric => {
                let how = match self {
                    Self::Symmetric => "masquerade random,fully-random",
                    _ => "masquerade",
                };
                format!(
                    "chain translate {{
                        type nat hook postrouting priority srcnat;
                        oifname eth1 {how}
                    }}
                    {to_router}
                    {only_answers}"
                )
            }
        };
        Some(format!("table ip lab {{\n{table}\n}}"))
    }
}

impl Lan {
    pub(super) fn new(name: &str, net: [u8; 3]) -> Self {
        let namespace = Arc::new(Namespace::new(name, None));
        // No forwarding delay, no snooping: multicast reaches every port from the first packet on.
        ip(
            &namespace,
            "link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
        );
        ip(&namespace, "link set br0 up");
        Self {
            net,
            namespace,
            ports: AtomicUsize::new(0),
        }
    }

    /// The address that ends in `last`.
    #[must_use]
    pub fn address(&self, last: u8) -> Ipv4Addr {
        let [a, b, c] = self.net;
        Ipv4Addr::new(a, b, c, last)
    }

    /// Plugs a host in, with the address that ends in `last` and its default route through `.254`.
    pub fn plug(&self, host: &Host, last: u8) -> Link {
        let link = self.plug_without_route(host, last);
        ip(
            host.namespace(),
            &format!("route replace default via {}", self.address(GATEWAY)),
        );
        link
    }

    /// Lets the switch itself answer for `.254`: what hosts send to elsewhere arrives somewhere, and goes no further.
    pub fn swallow_what_leaves(&self) {
        ip(
            &self.namespace,
            &format!("address add {}/24 dev br0", self.address(GATEWAY)),
        );
    }

    /// Lets the switch itself be the IPv6 gateway, which is `::fe`, of this prefix.
    pub(super) fn route_ipv6(&self, net: &str) {
        let gateway = net.replace("::/", &format!("::{GATEWAY:x}/"));
        set(&self.namespace, "net/ipv6/conf/all/forwarding", "1");
        ip(
            &self.namespace,
            &format!("address replace {gateway} dev br0 nodad"),
        );
    }

    /// Leads there what is for this prefix.
    pub(super) fn lead_ipv6(&self, net: &str, by: Ipv6Addr) {
        ip(&self.namespace, &format!("route replace {net} via {by}"));
    }

    /// Puts a router between this segment, whose `.254` it becomes, and `outside`, where it has the address that ends
    /// in `last`.
    #[must_use]
    pub fn route_to(&self, outside: &Self, router: &Host, last: u8, nat: Nat) -> Link {
        self.plug_without_route(router, GATEWAY);
        let link = outside.plug(router, last);
        set(router.namespace(), "net/ipv4/ip_forward", "1");
        if let Some(rules) = nat.rules(outside.address(last)) {
            nft(router.namespace(), &rules);
        }
        link
    }

    /// Joins two segments into one; they should carry one subnet.
    #[must_use]
    pub fn join(&self, other: &Self) -> Link {
        let (here, there) = (self.next_port(), other.next_port());
        cable((&self.namespace, &here), (&other.namespace, &there));
        ip(&other.namespace, &format!("link set {there} master br0 up"));
        ip(&self.namespace, &format!("link set {here} master br0 up"));
        Link {
            namespace: self.namespace.clone(),
            port: here,
            address: Ipv4Addr::UNSPECIFIED,
        }
    }

    fn plug_without_route(&self, host: &Host, last: u8) -> Link {
        let (port, interface) = (self.next_port(), host.next_interface());
        cable((&self.namespace, &port), (host.namespace(), &interface));
        ip(&self.namespace, &format!("link set {port} master br0 up"));
        let address = self.address(last);
        ip(
            host.namespace(),
            &format!("address add {address}/24 dev {interface}"),
        );
        ip(host.namespace(), &format!("link set {interface} up"));
        Link {
            namespace: self.namespace.clone(),
            port,
            address,
        }
    }

    fn next_port(&self) -> String {
        format!("port{}", self.ports.fetch_add(1, Ordering::Relaxed))
    }
}

impl Link {
    /// The address of the host it plugs in; unspecified between two segments.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Cuts the link.
    pub fn cut(&self, how: Cut) {
        match how {
            Cut::Down => ip(&self.namespace, &format!("link set {} down", self.port)),
            // A port that belongs to no bridge keeps its carrier, and its packets go nowhere.
            Cut::Silent => ip(&self.namespace, &format!("link set {} nomaster", self.port)),
        };
    }

    /// Heals the link, whichever way it was cut.
    pub fn heal(&self) {
        ip(
            &self.namespace,
            &format!("link set {} master br0 up", self.port),
        );
    }
}

/// A pair of interfaces that are each other's far end.
fn cable((here, here_name): (&Namespace, &str), (there, there_name): (&Namespace, &str)) {
    let pid = there.pid().to_string();
    let args = [
        "link", "add", here_name, "type", "veth", "peer", "name", there_name, "netns", &pid,
    ];
    // From the outer PID namespace, in which the id of the far end has a meaning.
    let output = here
        .enter(|| Command::new("ip").args(args).output())
        .unwrap();
    assert!(
        output.status.success(),
        "ip {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The last byte of the address that leads out of a segment.
pub(super) const GATEWAY: u8 = 254;
