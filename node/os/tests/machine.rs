//! Plans on a real kernel, in network namespaces.

#![allow(clippy::unwrap_used)]

mod lab;

use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::path::Path;
use std::time::Duration;

use lab::{Namespace, attempt, run, runtime};
use mesh_core::packet::{TcpFlags, Transport, parse};
use mesh_core::peer::PeerId;
use mesh_core::plan::{
    Audience, InterfaceName, Open, Plan, PortRange, Protocol, Refusal, Ruleset, Subnet,
};
use mesh_os::machine::{Applied, FirewallState, Options, apply, recover};
use mesh_os::tun::{self, HEADROOM, Tun};
use mesh_os::watch::{Change, Watch};

const BOB: PeerId = PeerId([2; 32]);
const CAROL: PeerId = PeerId([3; 32]);
const OURS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const BOBS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
const CAROLS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 3);

#[test]
fn a_plan_is_carried_out_changed_and_undone_without_trace() {
    let Some(namespace) = Namespace::new() else {
        return;
    };
    namespace.enter();
    let folder = tempfile::tempdir().unwrap();
    run("nft add table inet other");
    let before = state();
    runtime().block_on(async {
        let mut applied = apply(&plan(), &options(folder.path())).await.unwrap();
        assert_in_force(&applied);
        assert_eq!(applied.interface(), "mesh0");
        let shown = run("ip address show mesh0");
        for part in ["10.77.0.1/24", "fd77::1/64", "mtu 1280", "UP"] {
            assert!(shown.contains(part), "{part} is not in {shown}");
        }
        assert!(run("ip route").contains("10.88.0.0/16 dev mesh0"));
        let rules = run("nft list table inet mesh_mesh0");
        assert!(rules.contains("tcp dport 22"), "{rules}");

        let mut changed = plan();
        changed.addresses[0] = Subnet::new(Ipv4Addr::new(10, 77, 0, 9).into(), 24).unwrap();
        changed.routes.clear();
        changed.rules.open.clear();
        changed.mtu = 1300;
        applied.update(&changed).await.unwrap();
        assert_in_force(&applied);
        let shown = run("ip address show mesh0");
        assert!(
            shown.contains("10.77.0.9/24") && !shown.contains("10.77.0.1/24"),
            "{shown}"
        );
        assert!(shown.contains("mtu 1300"), "{shown}");
        assert!(!run("ip route").contains("10.88"));
        assert!(!run("nft list table inet mesh_mesh0").contains("dport"));

        let second = apply(&plan(), &options(folder.path())).await.unwrap();
        assert_eq!(second.interface(), "mesh1");
        second.undo().await.unwrap();
        applied.undo().await.unwrap();
        assert!(recover(&options(folder.path())).await.unwrap().is_empty());
    });
    assert_eq!(state(), before);
}

#[test]
fn what_a_killed_process_left_is_removed_at_the_next_start() {
    let Some(namespace) = Namespace::new() else {
        return;
    };
    namespace.enter();
    let folder = tempfile::tempdir().unwrap();
    run("nft add table inet other");
    let before = state();
    runtime().block_on(async {
        let applied = apply(&plan(), &options(folder.path())).await.unwrap();
        // As when the process dies: the interface goes, nobody undoes anything.
        drop(applied);
        gone("mesh0");
        assert_ne!(state(), before, "the rules are still there");
        assert_eq!(recover(&options(folder.path())).await.unwrap(), ["mesh0"]);
        assert_eq!(state(), before);
        assert!(recover(&options(folder.path())).await.unwrap().is_empty());
    });
}

/// Waits until an interface is gone: a program that another test starts at this moment may hold its file for a blink.
fn gone(interface: &str) {
    let begun = std::time::Instant::now();
    while attempt(&format!("ip link show {interface}")).0 {
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "{interface} stays"
        );
    }
}

#[test]
fn recovery_leaves_the_rules_of_an_interface_that_is_somebody_elses_by_now() {
    let Some(namespace) = Namespace::new() else {
        return;
    };
    namespace.enter();
    let (dead, living) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    runtime().block_on(async {
        drop(apply(&plan(), &options(dead.path())).await.unwrap());
        gone("mesh0");
        let applied = apply(&plan(), &options(living.path())).await.unwrap();
        assert_eq!(applied.interface(), "mesh0");
        assert!(recover(&options(dead.path())).await.unwrap().is_empty());
        run("nft list table inet mesh_mesh0");
        applied.undo().await.unwrap();
    });
}

#[test]
fn a_taken_name_is_said_to_be_taken() {
    let Some(namespace) = Namespace::new() else {
        return;
    };
    namespace.enter();
    let _first = Tun::create(InterfaceName::Number(5), tun::Options::default()).unwrap();
    let second = Tun::create(InterfaceName::Number(5), tun::Options::default());
    assert!(
        matches!(second, Err(tun::TunError::Taken { .. })),
        "{second:?}"
    );
}

#[test]
fn stopping_wakes_a_thread_that_waits_for_packets() {
    let Some(namespace) = Namespace::new() else {
        return;
    };
    namespace.enter();
    for offload in [true, false] {
        let tun = Tun::create(InterfaceName::FirstFree, tun::Options { offload }).unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| tun.receive(&mut [vec![0; 2048]], &mut [0]).unwrap());
            tun.stop();
            assert_eq!(waiting.join().unwrap(), 0);
        });
    }
}

#[test]
fn an_interface_that_somebody_removes_is_reported_to_its_reader() {
    let Some(namespace) = Namespace::new() else {
        return;
    };
    namespace.enter();
    let tun = Tun::create(InterfaceName::FirstFree, tun::Options::default()).unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| tun.receive(&mut [vec![0; 2048]], &mut [0]));
        run("ip link delete mesh0");
        assert!(waiting.join().unwrap().is_err());
    });
}

#[test]
fn without_the_firewalls_tool_a_plan_is_carried_out_and_says_so() {
    let Some(namespace) = Namespace::new() else {
        return;
    };
    namespace.enter();
    // A mount namespace of this thread in which every nft is an empty, unusable file.
    lab::hide_nft();
    let folder = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let applied = apply(&plan(), &options(folder.path())).await.unwrap();
        assert!(
            matches!(applied.firewall(), FirewallState::Absent(_)),
            "{:?}",
            applied.firewall()
        );
        assert!(run("ip address show mesh0").contains("10.77.0.1/24"));
    });
}

#[test]
fn changes_of_addresses_are_told() {
    let Some(namespace) = Namespace::new() else {
        return;
    };
    namespace.enter();
    runtime().block_on(async {
        let mut watch = Watch::open().unwrap();
        let lo = 1;
        run("ip address add 10.1.2.3/32 dev lo");
        let soon = Duration::from_secs(10);
        let told = async { while watch.next().await.unwrap() != Change::Address(lo) {} };
        tokio::time::timeout(soon, told).await.unwrap();
    });
}

#[test]
fn the_native_firewall_alone_judges_as_the_rules_say() {
    let Some(namespace) = Namespace::new() else {
        return;
    };
    namespace.enter();
    let folder = tempfile::tempdir().unwrap();
    let runtime = runtime();
    let mut applied = runtime
        .block_on(apply(&plan(), &options(folder.path())))
        .unwrap();
    assert_in_force(&applied);
    let _listeners = [22, 23].map(|port| TcpListener::bind((OURS, port)).unwrap());
    let tun = applied.tun().clone();
    let syn = |from, port| answer(&tun, &segment(from, port, TcpFlags::SYN, 1000, 0));
    let accepted = Some(TcpFlags(TcpFlags::SYN.0 | TcpFlags::ACK.0));

    assert_eq!(syn(BOBS, 22).map(|a| a.0), accepted, "offered to bob");
    let refused = Some(TcpFlags(TcpFlags::RST.0 | TcpFlags::ACK.0));
    assert_eq!(
        syn(BOBS, 23).map(|a| a.0),
        refused,
        "a listener that is not offered"
    );
    assert_eq!(
        syn(CAROLS, 22).map(|a| a.0),
        refused,
        "offered to bob, not to carol"
    );
    assert_eq!(
        syn(Ipv4Addr::new(10, 77, 0, 99), 22),
        None,
        "nobody's address"
    );

    // An open connection is cut with its next packet once the offer is withdrawn.
    let (_, sequence) = answer(&tun, &segment(BOBS, 22, TcpFlags::SYN, 1000, 0)).unwrap();
    let mut closed = plan();
    closed.rules.open.clear();
    let established = segment(BOBS, 22, TcpFlags::ACK, 1001, sequence.wrapping_add(1));
    tun.send(&mut [[&[0; HEADROOM][..], &established].concat()])
        .unwrap();
    runtime.block_on(applied.update(&closed)).unwrap();
    assert_eq!(answer(&tun, &established).map(|a| a.0), Some(TcpFlags::RST));
    runtime.block_on(applied.undo()).unwrap();
}

#[test]
fn every_kind_of_ruleset_is_understood_by_nft() {
    let Some(namespace) = Namespace::new() else {
        return;
    };
    namespace.enter();
    let (v4, v6): (IpAddr, IpAddr) = (OURS.into(), "fd77::1".parse().unwrap());
    let audiences = [
        Audience::All,
        Audience::Peers([].into()),
        Audience::Peers([BOB, CAROL].into()),
    ];
    runtime().block_on(async {
        for own in [vec![], vec![v4], vec![v6], vec![v4, v6]] {
            for refusal in [Refusal::Reject, Refusal::Drop] {
                let mut rules = Ruleset {
                    refusal,
                    ..plan().rules
                };
                rules.own = own.iter().copied().collect();
                for peers in [true, false] {
                    if !peers {
                        rules.peers.clear();
                    }
                    rules.open = audiences
                        .iter()
                        .flat_map(|audience| {
                            [(Protocol::Tcp, 1, 65_535), (Protocol::Udp, 53, 53)].map(
                                |(protocol, first, last)| {
                                    let ports = PortRange::new(first, last).unwrap();
                                    Open {
                                        protocol,
                                        ports,
                                        audience: audience.clone(),
                                    }
                                },
                            )
                        })
                        .collect();
                    mesh_os::firewall::replace("mesh7", &rules).await.unwrap();
                }
            }
        }
        mesh_os::firewall::remove("mesh7").await.unwrap();
        mesh_os::firewall::remove("mesh7").await.unwrap();
        assert!(
            mesh_os::firewall::replace("eth0", &plan().rules)
                .await
                .is_err()
        );
    });
    assert_eq!(run("nft list tables"), "");
}

fn plan() -> Plan {
    Plan {
        interface: InterfaceName::FirstFree,
        mtu: 1280,
        addresses: vec![
            Subnet::new(OURS.into(), 24).unwrap(),
            Subnet::new("fd77::1".parse().unwrap(), 64).unwrap(),
        ],
        routes: vec![Subnet::new(Ipv4Addr::new(10, 88, 0, 0).into(), 16).unwrap()],
        rules: Ruleset {
            own: [OURS.into(), "fd77::1".parse().unwrap()].into(),
            peers: [
                (BOB, [BOBS.into(), "fd77::2".parse().unwrap()].into()),
                (CAROL, [CAROLS.into()].into()),
            ]
            .into(),
            open: vec![Open {
                protocol: Protocol::Tcp,
                ports: PortRange::one(22),
                audience: Audience::Peers([BOB].into()),
            }],
            refusal: Refusal::Reject,
            underlay: [].into(),
        },
        resolver: None,
    }
}

fn options(run: &Path) -> Options {
    Options {
        run: run.to_owned(),
        tun: tun::Options::default(),
        firewall: true,
        resolver: None,
    }
}

fn assert_in_force(applied: &Applied) {
    assert!(
        matches!(applied.firewall(), FirewallState::InForce),
        "{:?}",
        applied.firewall()
    );
}

/// All that a plan may change.
fn state() -> String {
    let (_, routes6) = attempt("ip -6 route");
    [
        run("nft list ruleset"),
        run("ip -o address"),
        run("ip route"),
        routes6,
    ]
    .concat()
}

/// The flags and sequence number of the kernel's answer to a segment that arrives from the mesh. To be sure that there
/// is none, a ping goes after it.
fn answer(tun: &Tun, segment: &[u8]) -> Option<(TcpFlags, u32)> {
    let mut ping = vec![8, 0, 0, 0, 0, 1, 0, 1];
    let sum = checksum(&[&ping]);
    ping[2..4].copy_from_slice(&sum.to_be_bytes());
    let ping = ip(BOBS, 1, &ping);
    for packet in [segment, &ping] {
        tun.send(&mut [[&[0; HEADROOM][..], packet].concat()])
            .unwrap();
    }
    let (mut buffers, mut sizes) = (vec![vec![0; 2048]; 8], vec![0; 8]);
    let mut found = None;
    loop {
        let count = tun.receive(&mut buffers, &mut sizes).unwrap();
        for (buffer, size) in buffers.iter().zip(&sizes).take(count) {
            let Ok(packet) = parse(&buffer[HEADROOM..HEADROOM + size]) else {
                continue;
            };
            match packet.transport {
                Transport::Tcp(tcp) => found = Some((tcp.flags, tcp.sequence)),
                Transport::Echo { reply: true, .. } => return found,
                _ => {}
            }
        }
    }
}

fn segment(
    from: Ipv4Addr,
    port: u16,
    flags: TcpFlags,
    sequence: u32,
    acknowledgement: u32,
) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend_from_slice(&4000u16.to_be_bytes());
    body.extend_from_slice(&port.to_be_bytes());
    body.extend_from_slice(&sequence.to_be_bytes());
    body.extend_from_slice(&acknowledgement.to_be_bytes());
    body.extend_from_slice(&[5 << 4, flags.0, 0xff, 0xff, 0, 0, 0, 0]);
    let sum = checksum(&[&from.octets(), &OURS.octets(), &[0, 6, 0, 20], &body]);
    body[16..18].copy_from_slice(&sum.to_be_bytes());
    ip(from, 6, &body)
}

fn ip(from: Ipv4Addr, protocol: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(20 + body.len()).unwrap().to_be_bytes();
    let mut header = vec![
        0x45, 0, length[0], length[1], 0, 0, 0, 0, 64, protocol, 0, 0,
    ];
    header.extend_from_slice(&from.octets());
    header.extend_from_slice(&OURS.octets());
    let sum = checksum(&[&header]);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    [&header, body].concat()
}

fn checksum(parts: &[&[u8]]) -> u16 {
    let pairs = parts
        .iter()
        .flat_map(|part| part.chunks(2))
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
    let sum: u32 = pairs.sum();
    !(((sum & 0xffff) + (sum >> 16)) as u16)
}
