#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use mesh_ledger::ids::{BoxKey, DeviceId, EventId, NetworkId, UserId};
use mesh_ledger::state::{Device, Member, Rank};

use super::*;

/// The device that `name` is.
fn ask(names: &Names, name: &str) -> Option<Found> {
    let labels: Vec<&[u8]> = name.split('.').map(str::as_bytes).collect();
    names.find(&labels).map(|answer| answer.found)
}

fn label(text: &str) -> Label {
    text.parse().unwrap()
}

/// A network of devices with these host names, the first of which is called `.1`, each of a user called as it is.
fn state(network: u8, subnet: &str, hosts: &[&str]) -> State {
    let network = NetworkId([network; 32]);
    let subnet: mesh_ledger::event::attributes::Subnet = subnet.parse().unwrap();
    let ula = network.ula();
    let numbered = || (1u8..).zip(hosts);
    let device = |(n, host): (u8, &&str)| {
        let mut v6 = [0; 16];
        v6[..8].copy_from_slice(&ula);
        v6[15] = n;
        let id = DeviceId([n; 32]);
        let device = Device {
            id,
            user: UserId([n; 32]),
            host: label(host),
            v4: Some((subnet.base.to_bits() + u32::from(n)).into()),
            v6: v6.into(),
            wireguard: None,
            box_key: BoxKey([n; 32]),
            event: EventId([n; 32]),
            joined: 0,
        };
        (id, device)
    };
    let member = |(n, host): (u8, &&str)| {
        let user = UserId([n; 32]);
        let member = Member {
            user,
            rank: Rank::Member,
            name: label(host),
            tags: BTreeSet::new(),
            devices: [DeviceId([n; 32])].into(),
            admitted: EventId([n; 32]),
            admitted_by: None,
            at: 0,
        };
        (user, member)
    };
    State {
        name: Some(label("home")),
        network,
        subnet: Some(subnet),
        owner: UserId([1; 32]),
        members: numbered().map(member).collect(),
        devices: numbered().map(device).collect(),
        removed_users: BTreeMap::new(),
        removed_devices: BTreeMap::new(),
        offers: BTreeMap::new(),
        invites: BTreeMap::new(),
        servers: Vec::new(),
        settings: BTreeMap::new(),
        tags: BTreeMap::new(),
        epochs: Vec::new(),
        narrow: BTreeMap::new(),
        pending: 0,
    }
}

fn host(v4: &str) -> impl Fn(Option<Found>) -> bool {
    let v4: Ipv4Addr = v4.parse().unwrap();
    move |found| matches!(found, Some(Found::Host(host)) if host.v4 == Some(v4))
}

#[test]
fn a_host_and_all_below_it_are_its_addresses_in_any_case() {
    let names: Names = [Zone::of(
        &state(1, "10.7.0.0/24", &["alice", "bob"]),
        &label("home"),
    )]
    .into_iter()
    .collect();
    for name in [
        "bob.home.mesh.internal",
        "BOB.Home.mesh.INTERNAL",
        "www.bob.home.mesh.internal",
        "a.b.bob.home.mesh.internal",
    ] {
        assert!(host("10.7.0.2")(ask(&names, name)), "{name}");
    }
    for name in [
        "mesh.internal",
        "home.mesh.internal",
        "7.10.in-addr.arpa",
        "arpa",
    ] {
        assert!(
            !matches!(ask(&names, name), Some(Found::Host(_) | Found::Nothing)),
            "{name} is a domain, or not ours"
        );
    }
    for name in [
        "carol.home.mesh.internal",
        "bob.work.mesh.internal",
        "b\u{fc}b.home.mesh.internal",
    ] {
        assert_eq!(ask(&names, name), Some(Found::Nothing), "{name}");
    }
    for name in [
        "bob.home",
        "bob",
        "internal",
        "example.com",
        "mesh.internal.example",
        "",
    ] {
        assert_eq!(ask(&names, name), None, "{name}");
    }
}

#[test]
fn a_member_whose_name_is_no_host_name_is_its_first_live_device() {
    let mut state = state(1, "10.7.0.0/24", &["alice", "bob"]);
    let (alice, bob) = (UserId([1; 32]), UserId([2; 32]));
    state.members.get_mut(&alice).unwrap().name = label("bob");
    state.members.get_mut(&bob).unwrap().name = label("robert");
    state.members.get_mut(&bob).unwrap().devices = [DeviceId([0; 32]), DeviceId([2; 32])].into();
    let names: Names = [Zone::of(&state, &label("home"))].into_iter().collect();
    assert!(host("10.7.0.2")(ask(&names, "robert.home.mesh.internal")));
    assert!(
        host("10.7.0.2")(ask(&names, "bob.home.mesh.internal")),
        "the host, not the member"
    );

    state.devices.remove(&DeviceId([2; 32]));
    let names: Names = [Zone::of(&state, &label("home"))].into_iter().collect();
    assert_eq!(
        ask(&names, "robert.home.mesh.internal"),
        Some(Found::Nothing)
    );
    assert_eq!(
        names
            .find_address(&"10.7.0.2".parse().unwrap())
            .unwrap()
            .found,
        Found::Nothing
    );
}

#[test]
fn an_address_is_the_name_of_its_device_and_addresses_elsewhere_are_not_ours() {
    let state = state(1, "10.7.0.0/22", &["alice", "bob"]);
    let bob = state.devices[&DeviceId([2; 32])].clone();
    let names: Names = [Zone::of(&state, &label("home-2"))].into_iter().collect();
    let found = |address: IpAddr| names.find_address(&address).map(|answer| answer.found);
    let name = Some(Found::Address("bob.home-2.mesh.internal".to_owned()));
    assert_eq!(found(bob.v4.unwrap().into()), name);
    assert_eq!(found(bob.v6.into()), name);
    assert_eq!(ask(&names, "2.0.7.10.in-addr.arpa"), name);
    assert_eq!(ask(&names, "2.0.7.10.IN-ADDR.ARPA"), name);
    assert_eq!(found("10.7.3.255".parse().unwrap()), Some(Found::Nothing));
    assert_eq!(found("10.7.4.2".parse().unwrap()), None);
    assert_eq!(found("fd00::1".parse().unwrap()), None);
    assert_eq!(ask(&names, "0.7.10.in-addr.arpa"), Some(Found::Domain));
    for elsewhere in [
        "7.10.in-addr.arpa",
        "in-addr.arpa",
        "02.0.7.10.in-addr.arpa",
        "+2.0.7.10.in-addr.arpa",
        "x.2.0.7.10.in-addr.arpa",
        "1.2.0.7.10.in-addr.arpa",
        "300.0.7.10.in-addr.arpa",
        "ip6.arpa",
    ] {
        assert_eq!(ask(&names, elsewhere), None, "{elsewhere}");
    }
    let nibbles: Vec<String> = digits(&bob.v6.into())
        .iter()
        .rev()
        .map(|d| format!("{d:x}"))
        .collect();
    let reverse = |from: usize| ask(&names, &format!("{}.ip6.arpa", nibbles[from..].join(".")));
    assert_eq!(reverse(0), name);
    assert_eq!(reverse(1), Some(Found::Domain), "something is below it");
    assert_eq!(reverse(16), Some(Found::Domain), "where the /64 begins");
    assert_eq!(reverse(17), None);
    let domain = names.find_address(&bob.v6.into()).unwrap().domain;
    assert_eq!(domain, format!("{}.ip6.arpa", nibbles[16..].join(".")));
}

#[test]
fn reverse_domains_cover_the_subnet_and_nothing_else() {
    let of = |subnet: &str| {
        let (address, prefix) = subnet.split_once('/').unwrap();
        let subnet = Subnet::new(address.parse().unwrap(), prefix.parse().unwrap()).unwrap();
        reverse_domains(&subnet)
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    assert_eq!(of("10.7.9.3/24"), ["9.7.10.in-addr.arpa"]);
    assert_eq!(of("10.0.0.0/8"), ["10.in-addr.arpa"]);
    assert_eq!(
        of("10.7.8.0/23"),
        ["8.7.10.in-addr.arpa", "9.7.10.in-addr.arpa"]
    );
    assert_eq!(of("10.7.8.5/30").len(), 4);
    assert_eq!(of("10.128.0.0/9").len(), 128);
    assert_eq!(of("10.7.9.255/32"), ["255.9.7.10.in-addr.arpa"]);
    assert_eq!(
        of("fd12:3456:789a::1/64"),
        ["0.0.0.0.a.9.8.7.6.5.4.3.2.1.d.f.ip6.arpa"]
    );
    assert_eq!(of("0.0.0.0/0"), ["in-addr.arpa"]);
}

#[test]
fn each_network_has_its_own_names() {
    let home = Zone::of(&state(1, "10.7.0.0/24", &["alice", "bob"]), &label("home"));
    let second = Zone::of(&state(2, "10.8.0.0/24", &["eve", "bob"]), &label("home-2"));
    let names: Names = [home, second].into_iter().collect();
    assert!(host("10.7.0.2")(ask(&names, "bob.home.mesh.internal")));
    assert!(host("10.8.0.2")(ask(&names, "bob.home-2.mesh.internal")));
    assert_eq!(ask(&names, "eve.home.mesh.internal"), Some(Found::Nothing));
    assert_eq!(
        domain(&label("home-2")).unwrap().as_str(),
        "home-2.mesh.internal"
    );
}
