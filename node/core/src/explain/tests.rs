#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use mesh_ledger::event::attributes::{Audience, Offer, Subnet};
use mesh_ledger::ids::{BoxKey, NetworkId, UserId, WgKey};
use mesh_ledger::state::{Device, Member, Rank};
use mesh_ledger::text::Label;
use proptest::prelude::*;

use super::*;

const NOW: u64 = 1_795_000_000_000;
/// Each device that a test may have is one of these; the user of device n is n / 2.
const DEVICES: u8 = 5;

#[test]
fn what_is_offered_to_me_is_allowed_by_that_offer() {
    let mut state = self::state(0..4);
    offer(&mut state, 2, 0, 22, Audience::Everyone, None);
    let found = ask(&state, 0, 2, Probe::Tcp(22));
    assert_eq!(found.lacks, None);
    assert_eq!(found.offer, Some((0, event(2, 0))));
    assert_eq!(found.outward, Some(Verdict::Accept));
    assert_eq!(found.inward, Some(Verdict::Accept));
}

#[test]
fn what_lacks_is_told_in_the_order_one_would_put_it_right() {
    let mut state = self::state(0..4);
    let only = Audience::Only {
        users: vec![user(1)],
        devices: Vec::new(),
        tags: Vec::new(),
    };
    offer(&mut state, 2, 0, 22, only, None);
    offer(&mut state, 2, 1, 80, Audience::Everyone, Some(NOW));
    let lacks = |from, to, probe| ask(&state, from, to, probe).lacks;
    assert_eq!(
        lacks(0, 2, Probe::Tcp(22)),
        Some(Lack::NotForThem(0, event(2, 0)))
    );
    assert_eq!(lacks(3, 2, Probe::Tcp(22)), None, "a device of that user");
    assert_eq!(
        lacks(0, 2, Probe::Tcp(80)),
        Some(Lack::Ended(1, event(2, 1), NOW))
    );
    assert_eq!(lacks(0, 2, Probe::Udp(22)), Some(Lack::NotOffered));
    assert_eq!(lacks(0, 2, Probe::Echo), None, "every member may ping");
    assert_eq!(
        lacks(0, 4, Probe::Echo),
        Some(Lack::NotMember(device(4), None))
    );
    let mut kicked = state.clone();
    kicked.devices.remove(&device(2));
    kicked.removed_devices.insert(device(2), event(0, 9));
    assert_eq!(
        ask(&kicked, 0, 2, Probe::Tcp(22)).lacks,
        Some(Lack::NotMember(device(2), Some(event(0, 9))))
    );
    let mut sealed = state.clone();
    sealed.devices.get_mut(&device(2)).unwrap().wireguard = None;
    assert_eq!(
        ask(&sealed, 0, 2, Probe::Tcp(22)).lacks,
        Some(Lack::Sealed(device(2)))
    );
}

#[test]
fn rules_in_force_go_before_those_of_the_ledger() {
    let mut state = self::state(0..4);
    offer(&mut state, 2, 0, 7444, Audience::Everyone, None);
    let question = self::question(&state, 0, 2, Probe::Tcp(7444));
    let rules = |device: &DeviceId| {
        let mut rules = rules_of(&state, device, NOW)?;
        rules.open.clear();
        Some(rules)
    };
    assert_eq!(
        explain(&question, rules).inward,
        Some(Verdict::Reject(Reason::NotOffered)),
        "an offer that is in no rule yet"
    );
    let udp = Offer {
        what: Service::Port {
            protocol: OfferedProtocol::Udp,
            first: 7443,
            last: 7443,
        },
        name: None,
        audience: Audience::Everyone,
        until: None,
    };
    stand(&mut state, 2, 1, udp);
    let question = self::question(&state, 0, 2, Probe::Udp(7443));
    let underlay = |device: &DeviceId| {
        let mut rules = rules_of(&state, device, NOW)?;
        rules.underlay.insert(7443);
        Some(rules)
    };
    assert_eq!(
        explain(&question, underlay).lacks,
        Some(Lack::Rule(Side::Inward, Reason::Underlay)),
        "mesh's own port"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn an_explanation_never_disagrees_with_the_filter(
        state in any_state(),
        from in 0..DEVICES,
        to in 0..DEVICES,
        probe in any_probe(),
    ) {
        prop_assume!(from != to);
        let found = ask(&state, from, to, probe);
        let passes = through_both_filters(&state, device(from), device(to), probe);
        prop_assert_eq!(found.lacks.is_none(), passes, "{:?}", found);
        prop_assert_eq!(passes, by_hand(&state, device(from), device(to), probe));
        match found.offer {
            // What is named as the offer is one that admits; and where none is named, no port is open.
            Some((slot, event)) => {
                let standing = &state.offers[&(device(to), slot)];
                prop_assert_eq!(standing.event, event);
                prop_assert!(opens(&state, standing, &device(from), probe));
            }
            None => prop_assert!(!passes || probe == Probe::Echo),
        }
    }
}

/// Real bytes of a first packet, judged by both sides' filters as the packet path does it.
fn through_both_filters(state: &State, from: DeviceId, to: DeviceId, probe: Probe) -> bool {
    let policy = |own: &DeviceId, peer: &DeviceId| {
        let interface = InterfaceName::Number(0);
        let desired = desired(state, own, interface, None, &BTreeSet::new(), NOW)?;
        desired.plan.rules.for_peer(&peer_id(peer))
    };
    let (Some(out), Some(inn)) = (policy(&from, &to), policy(&to, &from)) else {
        return false;
    };
    let address = |device: &DeviceId| state.devices[device].v6;
    let bytes = first_packet(address(&from), address(&to), probe);
    let packet = packet::parse(&bytes).unwrap();
    PeerFilter::new().outward(&out, &packet, Duration::ZERO) == Verdict::Accept
        && PeerFilter::new().inward(&inn, &packet, Duration::ZERO) == Verdict::Accept
}

/// The policy in one sentence.
fn by_hand(state: &State, from: DeviceId, to: DeviceId, probe: Probe) -> bool {
    let live = |device: &DeviceId| {
        state
            .devices
            .get(device)
            .is_some_and(|device| device.wireguard.is_some())
    };
    let mut offers = state.offers.range((to, 0)..=(to, u32::MAX));
    live(&from)
        && live(&to)
        && (probe == Probe::Echo
            || offers.any(|(_, standing)| opens(state, standing, &from, probe)))
}

fn opens(state: &State, standing: &StandingOffer, from: &DeviceId, probe: Probe) -> bool {
    let asked = match probe {
        Probe::Echo => return false,
        Probe::Tcp(port) => (OfferedProtocol::Tcp, port),
        Probe::Udp(port) => (OfferedProtocol::Udp, port),
    };
    let Service::Port {
        protocol,
        first,
        last,
    } = standing.offer.what
    else {
        return false;
    };
    protocol == asked.0
        && (first..=last).contains(&asked.1)
        && standing.offer.until.is_none_or(|until| until > NOW)
        && state.admits(&standing.offer.audience, from)
}

/// An IPv6 packet without extension headers. Checksums are for the stack to judge, not for the filter.
fn first_packet(source: Ipv6Addr, target: Ipv6Addr, probe: Probe) -> Vec<u8> {
    let (protocol, body): (u8, Vec<u8>) = match probe {
        Probe::Echo => (packet::ICMPV6, vec![128, 0, 0, 0, 0, 1, 0, 1]),
        Probe::Tcp(port) => {
            let mut tcp = vec![0; 20];
            tcp[..2].copy_from_slice(&50_000u16.to_be_bytes());
            tcp[2..4].copy_from_slice(&port.to_be_bytes());
            tcp[12] = 5 << 4;
            tcp[13] = TcpFlags::SYN.0;
            (packet::TCP, tcp)
        }
        Probe::Udp(port) => {
            let mut udp = vec![0; 8];
            udp[..2].copy_from_slice(&50_000u16.to_be_bytes());
            udp[2..4].copy_from_slice(&port.to_be_bytes());
            udp[5] = 8;
            (packet::UDP, udp)
        }
    };
    let mut bytes = vec![0x60, 0, 0, 0, 0, body.len() as u8, protocol, 64];
    bytes.extend_from_slice(&source.octets());
    bytes.extend_from_slice(&target.octets());
    bytes.extend_from_slice(&body);
    bytes
}

fn ask(state: &State, from: u8, to: u8, probe: Probe) -> Explanation {
    explain(&question(state, from, to, probe), |device| {
        rules_of(state, device, NOW)
    })
}

fn question(state: &State, from: u8, to: u8, probe: Probe) -> Question<'_> {
    static NONE: BTreeSet<EventId> = BTreeSet::new();
    Question {
        state,
        from: device(from),
        to: device(to),
        probe,
        ended: &NONE,
        now: NOW,
    }
}

fn any_probe() -> impl Strategy<Value = Probe> {
    prop_oneof![
        Just(Probe::Echo),
        (1u16..6).prop_map(Probe::Tcp),
        (1u16..6).prop_map(Probe::Udp),
    ]
}

fn any_state() -> impl Strategy<Value = State> {
    let live = prop::collection::btree_set(0..DEVICES, 0..=DEVICES as usize);
    let keys = prop::collection::vec(prop::bool::weighted(0.9), DEVICES as usize);
    let tagged = prop::collection::vec(any::<bool>(), DEVICES as usize);
    let offers = prop::collection::vec((0..DEVICES, any_offer()), 0..8);
    (live, keys, tagged, offers).prop_map(|(live, keys, tagged, offers)| {
        let mut state = self::state(live.iter().copied());
        for (n, has_key) in keys.into_iter().enumerate() {
            if let Some(device) = state.devices.get_mut(&device(n as u8)) {
                device.wireguard = device.wireguard.filter(|_| has_key);
            }
        }
        for (n, tagged) in tagged.into_iter().enumerate() {
            if let Some(member) = state.members.get_mut(&user(n as u8 / 2)).filter(|_| tagged) {
                member.tags.insert(label("ops"));
            }
        }
        for (slot, (by, offer)) in offers.into_iter().enumerate() {
            // Only members' devices have offers that stand.
            if live.contains(&by) {
                stand(&mut state, by, slot as u32, offer);
            }
        }
        state
    })
}

fn any_offer() -> impl Strategy<Value = Offer> {
    let audience = prop_oneof![
        Just(Audience::Everyone),
        (0..DEVICES / 2 + 1).prop_map(|n| only(vec![user(n)], Vec::new(), Vec::new())),
        (0..DEVICES).prop_map(|n| only(Vec::new(), vec![device(n)], Vec::new())),
        Just(only(Vec::new(), Vec::new(), vec![label("ops")])),
    ];
    let what = prop_oneof![
        8 => (any::<bool>(), 1u16..6, 0u16..3).prop_map(|(tcp, first, more)| Service::Port {
            protocol: if tcp { OfferedProtocol::Tcp } else { OfferedProtocol::Udp },
            first,
            last: first + more,
        }),
        1 => Just(Service::Relay),
    ];
    let until = prop_oneof![Just(None), Just(Some(NOW)), Just(Some(NOW + 1))];
    (what, audience, until).prop_map(|(what, audience, until)| Offer {
        what,
        name: None,
        audience,
        until,
    })
}

fn only(users: Vec<UserId>, devices: Vec<DeviceId>, tags: Vec<Label>) -> Audience {
    Audience::Only {
        users,
        devices,
        tags,
    }
}

fn offer(state: &mut State, by: u8, slot: u32, port: u16, audience: Audience, until: Option<u64>) {
    let offer = Offer {
        what: Service::Port {
            protocol: OfferedProtocol::Tcp,
            first: port,
            last: port,
        },
        name: None,
        audience,
        until,
    };
    stand(state, by, slot, offer);
}

fn stand(state: &mut State, by: u8, slot: u32, offer: Offer) {
    let standing = StandingOffer {
        offer,
        event: event(by, slot),
        approved: true,
        narrow: false,
    };
    state.offers.insert((device(by), slot), standing);
}

/// A network of these devices.
fn state(live: impl IntoIterator<Item = u8>) -> State {
    let mut devices = BTreeMap::new();
    let mut members: BTreeMap<UserId, Member> = BTreeMap::new();
    for n in live {
        let mut v6 = [0; 16];
        (v6[0], v6[15]) = (0xfd, n + 1);
        devices.insert(
            device(n),
            Device {
                id: device(n),
                user: user(n / 2),
                host: label(&format!("host-{n}")),
                v4: (n % 3 != 0).then(|| Ipv4Addr::new(10, 7, 0, n + 1)),
                v6: v6.into(),
                wireguard: Some(WgKey([n; 32])),
                box_key: BoxKey([n; 32]),
                event: event(n, 1_000),
                joined: 0,
            },
        );
        let member = members.entry(user(n / 2)).or_insert_with(|| Member {
            user: user(n / 2),
            rank: Rank::Member,
            name: label(&format!("user-{}", n / 2)),
            tags: BTreeSet::new(),
            devices: BTreeSet::new(),
            admitted: event(n, 1_000),
            admitted_by: None,
            at: NOW,
        });
        member.devices.insert(device(n));
    }
    State {
        name: Some(label("home")),
        network: NetworkId([1; 32]),
        subnet: Subnet::new(Ipv4Addr::new(10, 7, 0, 0), 24),
        owner: user(0),
        members,
        devices,
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

fn label(text: &str) -> Label {
    text.parse().unwrap()
}

fn device(n: u8) -> DeviceId {
    DeviceId([n + 1; 32])
}

fn user(n: u8) -> UserId {
    UserId([n + 100; 32])
}

fn event(by: u8, slot: u32) -> EventId {
    let mut id = [by; 32];
    id[..4].copy_from_slice(&slot.to_be_bytes());
    EventId(id)
}
