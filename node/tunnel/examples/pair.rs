//! One end of a tunnel over UDP without a daemon, with its filter and the native firewall in force: to measure the packet
//! path by itself. As root, in two network namespaces that reach each other:
//!
//! ```text
//! pair 1 192.168.7.2      # 10.88.0.1 and fd88::1; port 5201 is open to the peer
//! pair 2 192.168.7.1      # 10.88.0.2 and fd88::2
//! ```
//!
//! The keys are made from the numbers, so this is nothing to keep secrets with. It ends with its standard input, and then
//! says what it counted.

#![allow(clippy::print_stdout, reason = "it is a program")]

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Read;
use std::net::IpAddr;
use std::sync::Arc;

use mesh_core::peer::PeerId;
use mesh_core::plan::{Audience, InterfaceName, Open, Plan, PortRange, Protocol, Ruleset, Subnet};
use mesh_os::machine::{Options, apply};
use mesh_os::tun;
use mesh_tunnel::{Config, Peer, Table, Tunnel, Udp};
use x25519_dalek::{PublicKey, StaticSecret};

/// What a path of 1,500 bytes carries as a payload over either family.
const DATAGRAM: usize = 1452;
/// Another than the daemon's, so that it can stand beside one.
const PORT: u16 = 51831;

fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let (Some(number), Some(endpoint)) = (words.next(), words.next()) else {
        return Err("usage: pair 1|2 ADDRESS-OF-THE-OTHER [MTU]".into());
    };
    let (own, other) = match &*number {
        "1" => (1, 2),
        "2" => (2, 1),
        _ => return Err("the number is 1 or 2".into()),
    };
    let mtu = words.next().map_or(Ok(1420), |word| word.parse::<u16>())?;
    let endpoint: IpAddr = endpoint.parse()?;
    let id = PeerId([other; 32]);
    let rules = Ruleset {
        own: addresses(own)?.into(),
        peers: [(id, addresses(other)?.into())].into(),
        open: [Protocol::Tcp, Protocol::Udp]
            .map(|protocol| Open {
                protocol,
                ports: PortRange::one(5201),
                audience: Audience::All,
            })
            .into(),
        ..Ruleset::default()
    };
    let subnets = addresses(own)?
        .map(|address| Subnet::new(address, if address.is_ipv4() { 24 } else { 64 }));
    let plan = Plan {
        interface: InterfaceName::FirstFree,
        mtu,
        addresses: subnets.into_iter().collect::<Result<_, _>>()?,
        routes: Vec::new(),
        rules: rules.clone(),
        resolver: None,
    };
    let options = Options {
        run: std::env::temp_dir().join(format!("mesh-pair-{number}")),
        tun: tun::Options::default(),
        firewall: true,
        resolver: None,
    };
    std::fs::create_dir_all(&options.run)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let applied = runtime.block_on(apply(&plan, &options))?;
    let tunnel = Arc::new(Tunnel::spawn(Config {
        key: StaticSecret::from([own; 32]),
        mtu,
        device: applied.tun().clone(),
        events: Arc::new(|_| {}),
    })?);
    let udp = Udp::bind(Some(PORT), Arc::new(|_, _| {}))?;
    let attached = udp.attach(&tunnel);
    let carrier = udp.carrier((endpoint, PORT).into(), DATAGRAM);
    let peer = Peer {
        key: PublicKey::from(&StaticSecret::from([other; 32])),
        carrier: Some(carrier),
        preshared_key: None,
    };
    tunnel.publish(&Table {
        rules,
        peers: BTreeMap::from([(id, peer)]),
    });
    println!("{} is up", applied.tun().name());
    std::io::stdin().read_to_end(&mut Vec::new())?;
    for stats in tunnel.stats() {
        println!("{stats:?}");
    }
    drop(attached);
    tunnel.stop();
    runtime.block_on(applied.undo())?;
    Ok(())
}

fn addresses(number: u8) -> Result<[IpAddr; 2], std::net::AddrParseError> {
    Ok([
        [10, 88, 0, number].into(),
        format!("fd88::{number}").parse()?,
    ])
}
