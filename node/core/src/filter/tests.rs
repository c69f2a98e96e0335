#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::packet::{Fragment, Tcp, TcpFlags};
use crate::peer::PeerId;
use crate::plan::{Audience, Open, PortRange, Ruleset};

const BOB: PeerId = PeerId([2; 32]);

#[test]
fn a_port_that_is_not_offered_is_refused() {
    let mut world = World::new();
    assert_eq!(
        world.inward(syn(4000, 22)),
        Verdict::Reject(Reason::NotOffered)
    );
    assert_eq!(
        world.inward(udp(4000, 53)),
        Verdict::Reject(Reason::NotOffered)
    );
}

#[test]
fn an_offered_port_is_open_until_the_next_packet_after_its_withdrawal() {
    let mut world = World::new();
    world.offer(Protocol::Tcp, 22);
    assert_eq!(world.inward(syn(4000, 22)), Verdict::Accept);
    assert_eq!(
        world.outward(reverse(tcp(4000, 22, SYN_ACK))),
        Verdict::Accept
    );
    assert_eq!(world.inward(tcp(4000, 22, TcpFlags::ACK)), Verdict::Accept);
    world.withdraw_all();
    assert_eq!(
        world.inward(tcp(4000, 22, TcpFlags::ACK)),
        Verdict::Reject(Reason::NotOffered)
    );
    // Our own side still talking does not open it again.
    assert_eq!(
        world.outward(reverse(tcp(4000, 22, TcpFlags::ACK))),
        Verdict::Accept
    );
    assert_eq!(
        world.inward(tcp(4000, 22, TcpFlags::ACK)),
        Verdict::Reject(Reason::NotOffered)
    );
}

#[test]
fn answers_over_udp_do_not_outlive_the_offer_they_answered() {
    let mut world = World::new();
    world.offer(Protocol::Udp, 53);
    assert_eq!(world.inward(udp(4000, 53)), Verdict::Accept);
    assert_eq!(world.outward(reverse(udp(4000, 53))), Verdict::Accept);
    world.withdraw_all();
    for _ in 0..20 {
        world.pass(Duration::from_secs(100));
        assert_eq!(world.outward(reverse(udp(4000, 53))), Verdict::Accept);
        assert_eq!(
            world.inward(udp(4000, 53)),
            Verdict::Reject(Reason::NotOffered)
        );
    }
    // Once it has been quiet, what this host sends is a flow of its own.
    world.pass(SERVED_QUIET + Duration::from_secs(1));
    world.outward(reverse(udp(4000, 53)));
    assert_eq!(world.inward(udp(4000, 53)), Verdict::Accept);
}

#[test]
fn replies_to_what_this_host_began_pass_and_others_do_not() {
    let mut world = World::new();
    world.outward(reverse(syn(80, 5000)));
    assert_eq!(world.inward(tcp(80, 5000, SYN_ACK)), Verdict::Accept);
    assert_eq!(
        world.inward(tcp(81, 5000, SYN_ACK)),
        Verdict::Reject(Reason::NotOffered)
    );
    world.outward(reverse(udp(53, 6000)));
    assert_eq!(world.inward(udp(53, 6000)), Verdict::Accept);
    world.pass(flows::UDP_QUIET + Duration::from_secs(1));
    assert_eq!(
        world.inward(udp(53, 6000)),
        Verdict::Reject(Reason::NotOffered)
    );
    world.outward(reverse(echo(true, 7)));
    assert_eq!(world.inward(echo(true, 7)), Verdict::Drop(Reason::Unasked));
    world.outward(reverse(echo(false, 7)));
    assert_eq!(world.inward(echo(true, 7)), Verdict::Accept);
}

#[test]
fn an_outgoing_segment_without_syn_opens_nothing() {
    for flags in [
        TcpFlags::ACK,
        SYN_ACK,
        TcpFlags::RST,
        TcpFlags::FIN,
        TcpFlags(0),
    ] {
        let mut world = World::new();
        world.outward(reverse(tcp(80, 5000, flags)));
        assert_eq!(
            world.inward(tcp(80, 5000, TcpFlags::ACK)),
            Verdict::Reject(Reason::NotOffered)
        );
    }
}

#[test]
fn a_reset_connection_closes_within_seconds() {
    let mut world = World::new();
    world.outward(reverse(syn(80, 5000)));
    assert_eq!(world.inward(tcp(80, 5000, TcpFlags::RST)), Verdict::Accept);
    world.pass(flows::TCP_DEAD + Duration::from_secs(1));
    assert_eq!(
        world.inward(tcp(80, 5000, TcpFlags::ACK)),
        Verdict::Reject(Reason::NotOffered)
    );
}

#[test]
fn a_foreign_source_or_target_is_dropped_without_an_answer() {
    let mut world = World::new();
    world.offer(Protocol::Tcp, 22);
    let mut packet = syn(4000, 22);
    packet.source = "10.0.0.99".parse().unwrap();
    assert_eq!(world.inward(packet), Verdict::Drop(Reason::ForeignSource));
    let mut packet = syn(4000, 22);
    packet.target = "10.0.0.255".parse().unwrap();
    assert_eq!(world.inward(packet), Verdict::Drop(Reason::ForeignTarget));
    let mut packet = reverse(syn(80, 5000));
    packet.source = "192.168.0.1".parse().unwrap();
    assert_eq!(world.outward(packet), Verdict::Drop(Reason::NotOurs));
}

#[test]
fn errors_pass_when_they_quote_a_flow_of_ours_and_only_then() {
    let mut world = World::new();
    let error = |transport| {
        let quoted = Quoted {
            source: ours(),
            target: theirs(),
            transport,
        };
        packet(
            theirs(),
            ours(),
            Transport::Error {
                quoted: Some(quoted),
            },
        )
    };
    assert_eq!(
        world.inward(error(QuotedTransport::Udp(6000, 53))),
        Verdict::Drop(Reason::Unasked)
    );
    world.outward(reverse(udp(53, 6000)));
    assert_eq!(
        world.inward(error(QuotedTransport::Udp(6000, 53))),
        Verdict::Accept
    );
    assert_eq!(
        world.inward(error(QuotedTransport::Udp(6001, 53))),
        Verdict::Drop(Reason::Unasked)
    );
    assert_eq!(
        world.inward(error(QuotedTransport::Other)),
        Verdict::Drop(Reason::Unasked)
    );
}

#[test]
fn later_fragments_follow_their_first() {
    let mut world = World::new();
    world.offer(Protocol::Udp, 53);
    let fragment = |id, offset, more| Some(Fragment { id, offset, more });
    let mut tail = packet(theirs(), ours(), Transport::Continued);
    tail.fragment = fragment(9, 100, false);
    assert_eq!(world.inward(tail), Verdict::Drop(Reason::LoneFragment));
    let mut first = udp(4000, 53);
    first.fragment = fragment(9, 0, true);
    assert_eq!(world.inward(first), Verdict::Accept);
    assert_eq!(world.inward(tail), Verdict::Accept);
    first.fragment = fragment(10, 0, true);
    first.transport = Transport::Udp {
        source: 4000,
        target: 54,
    };
    assert_eq!(world.inward(first), Verdict::Reject(Reason::NotOffered));
    tail.fragment = fragment(10, 100, false);
    assert_eq!(world.inward(tail), Verdict::Drop(Reason::LoneFragment));
}

#[test]
fn a_full_table_loses_its_quietest_flows_and_never_grows() {
    let mut world = World::new();
    for n in 0..u16::try_from(MAX_FLOWS).unwrap() + 10 {
        world.pass(Duration::from_millis(1));
        world.outward(reverse(udp(53, n)));
    }
    assert!(world.filter.flows() <= MAX_FLOWS);
    assert_eq!(
        world.inward(udp(53, 0)),
        Verdict::Reject(Reason::NotOffered)
    );
    assert_eq!(
        world.inward(udp(53, u16::try_from(MAX_FLOWS).unwrap())),
        Verdict::Accept
    );
}

#[test]
fn answers_to_refused_packets_are_limited_in_rate() {
    let mut bucket = Bucket::new(50, 50);
    let granted = |bucket: &mut Bucket, now| (0..1000).filter(|_| bucket.take(now)).count();
    assert_eq!(granted(&mut bucket, Duration::ZERO), 50);
    assert_eq!(granted(&mut bucket, Duration::from_millis(100)), 5);
    assert_eq!(granted(&mut bucket, Duration::from_secs(3600)), 50);
}

#[test]
fn dropping_by_setting_sends_no_refusal() {
    let mut world = World::new();
    world.policy.refusal = Refusal::Drop;
    assert_eq!(
        world.inward(syn(4000, 22)),
        Verdict::Drop(Reason::NotOffered)
    );
}

#[test]
fn datagrams_of_mesh_itself_never_pass_the_tunnel_even_if_somebody_offers_their_port() {
    let mut world = World::new();
    world.rules.underlay = [51820].into();
    world.offer(Protocol::Udp, 51820);
    assert_eq!(
        world.outward(reverse(udp(9, 51820))),
        Verdict::Drop(Reason::Underlay)
    );
    assert_eq!(world.inward(udp(9, 51820)), Verdict::Drop(Reason::Underlay));
}

#[test]
fn every_reason_stands_at_its_own_place() {
    for (place, reason) in Reason::ALL.into_iter().enumerate() {
        assert_eq!(reason as usize, place);
    }
    assert_eq!(
        Reason::ALL
            .map(Reason::word)
            .into_iter()
            .collect::<BTreeSet<_>>()
            .len(),
        Reason::ALL.len()
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_filter_judges_as_a_plain_reading_of_all_that_happened(steps in prop::collection::vec(step(), 1..120)) {
        let mut world = World::new();
        let mut model = Model::default();
        for step in steps {
            match step {
                Step::Pass(time) => world.pass(time),
                Step::Offer(protocol, port, offered) => {
                    let ports = model.offered.entry(protocol).or_default();
                    if offered { ports.insert(port); } else { ports.remove(&port); }
                    world.withdraw_all();
                    for (protocol, port) in model.offered.iter().flat_map(|(p, s)| s.iter().map(move |x| (*p, *x))) {
                        world.offer(protocol, port);
                    }
                }
                Step::Outward(packet) => {
                    prop_assert_eq!(world.outward(packet), Verdict::Accept);
                    model.outward(packet, world.now);
                }
                Step::Inward(packet) => {
                    let accepted = world.inward(packet) == Verdict::Accept;
                    prop_assert_eq!(accepted, model.inward(packet, world.now), "{:?}", packet);
                }
            }
        }
    }
}

type Connection = ((u16, u16), Duration, Duration, [bool; 2]);

/// The rules of the module's doc, told once more over lists: no stages, no bounds, no early removal.
#[derive(Default)]
struct Model {
    offered: BTreeMap<Protocol, BTreeSet<u16>>,
    /// (local, remote), last use, allowed quiet, and who has said goodbye.
    tcp: Vec<Connection>,
    udp: Vec<((u16, u16), Duration)>,
    served: Vec<(u16, Duration)>,
    echo: Vec<(u16, Duration)>,
}

impl Model {
    fn offers(&self, protocol: Protocol, port: u16) -> bool {
        self.offered
            .get(&protocol)
            .is_some_and(|ports| ports.contains(&port))
    }

    fn outward(&mut self, packet: Packet, now: Duration) {
        match packet.transport {
            Transport::Tcp(t) if t.flags.opens() => {
                self.tcp.retain(|flow| flow.0 != (t.source, t.target));
                self.tcp
                    .push(((t.source, t.target), now, flows::TCP_EDGE, [false; 2]));
            }
            Transport::Tcp(t) => {
                self.tcp_used((t.source, t.target), t.flags, 0, now);
            }
            Transport::Udp { source, target } => {
                let flow = self
                    .udp
                    .iter_mut()
                    .find(|(k, at)| *k == (source, target) && now - *at <= flows::UDP_QUIET);
                if let Some((_, at)) = flow {
                    *at = now;
                } else if self.offers(Protocol::Udp, source) {
                    // It may be an answer.
                } else if let Some((_, at)) = self
                    .served
                    .iter_mut()
                    .find(|(p, at)| *p == source && now - *at <= SERVED_QUIET)
                {
                    *at = now;
                } else {
                    self.udp.push(((source, target), now));
                }
            }
            Transport::Echo { reply: false, id } => self.echo.push((id, now)),
            _ => {}
        }
    }

    fn inward(&mut self, packet: Packet, now: Duration) -> bool {
        match packet.transport {
            Transport::Tcp(t) => {
                let ours = self.tcp_used((t.target, t.source), t.flags, 1, now);
                ours || self.offers(Protocol::Tcp, t.target)
            }
            Transport::Udp { source, target } => {
                let flow = self
                    .udp
                    .iter_mut()
                    .find(|(k, at)| *k == (target, source) && now - *at <= flows::UDP_QUIET);
                if let Some((_, at)) = flow {
                    *at = now;
                    return true;
                }
                let offered = self.offers(Protocol::Udp, target);
                if offered {
                    self.served.retain(|(port, _)| *port != target);
                    self.served.push((target, now));
                }
                offered
            }
            Transport::Echo { reply: false, .. } => true,
            Transport::Echo { id, .. } => {
                let flow = self
                    .echo
                    .iter_mut()
                    .rev()
                    .find(|(i, at)| *i == id && now - *at <= flows::ECHO_QUIET);
                flow.map(|(_, at)| *at = now).is_some()
            }
            _ => false,
        }
    }

    fn tcp_used(&mut self, ends: (u16, u16), flags: TcpFlags, side: usize, now: Duration) -> bool {
        let Some(flow) = self
            .tcp
            .iter_mut()
            .find(|f| f.0 == ends && now - f.1 <= f.2)
        else {
            return false;
        };
        flow.1 = now;
        if flags.has(TcpFlags::FIN) {
            flow.3[side] = true;
        }
        if flow.2 == flows::TCP_DEAD || flags.has(TcpFlags::RST) {
            flow.2 = flows::TCP_DEAD;
        } else if flow.3 == [true; 2] {
            flow.2 = flows::TCP_EDGE;
        } else if side == 1 || flow.3 != [false; 2] {
            flow.2 = flows::TCP_QUIET;
        }
        true
    }
}

#[derive(Debug, Clone)]
enum Step {
    Pass(Duration),
    Offer(Protocol, u16, bool),
    Outward(Packet),
    Inward(Packet),
}

fn step() -> impl Strategy<Value = Step> {
    let seconds = prop::sample::select(vec![1u64, 11, 31, 61, 119, 121, 181, 6 * 24 * 3600]);
    let protocol = prop::sample::select(vec![Protocol::Tcp, Protocol::Udp]);
    prop_oneof![
        2 => seconds.prop_map(|s| Step::Pass(Duration::from_secs(s))),
        1 => (protocol, 1u16..4, any::<bool>()).prop_map(|(p, port, on)| Step::Offer(p, port, on)),
        5 => some_packet().prop_map(|p| Step::Outward(reverse(p))),
        5 => some_packet().prop_map(Step::Inward),
    ]
}

/// A packet from the peer between few enough ports that they meet.
fn some_packet() -> impl Strategy<Value = Packet> {
    let flags = prop::sample::select(vec![
        TcpFlags::SYN,
        TcpFlags::SYN,
        SYN_ACK,
        TcpFlags::ACK,
        TcpFlags(TcpFlags::FIN.0 | TcpFlags::ACK.0),
        TcpFlags::RST,
    ]);
    prop_oneof![
        (1u16..4, 1u16..4, flags).prop_map(|(a, b, flags)| tcp(a, b, flags)),
        (1u16..4, 1u16..4).prop_map(|(a, b)| udp(a, b)),
        (any::<bool>(), 1u16..3).prop_map(|(reply, id)| echo(reply, id)),
    ]
}

const SYN_ACK: TcpFlags = TcpFlags(TcpFlags::SYN.0 | TcpFlags::ACK.0);

struct World {
    rules: Ruleset,
    policy: PeerPolicy,
    filter: PeerFilter,
    now: Duration,
}

impl World {
    fn new() -> Self {
        let rules = Ruleset {
            own: [ours()].into(),
            peers: [(BOB, [theirs()].into())].into(),
            ..Ruleset::default()
        };
        let policy = rules.for_peer(&BOB).unwrap();
        Self {
            rules,
            policy,
            filter: PeerFilter::new(),
            now: Duration::from_secs(1_000),
        }
    }

    fn offer(&mut self, protocol: Protocol, port: u16) {
        self.rules.open.push(Open {
            protocol,
            ports: PortRange::one(port),
            audience: Audience::All,
        });
        self.policy = self.rules.for_peer(&BOB).unwrap();
    }

    fn withdraw_all(&mut self) {
        self.rules.open.clear();
        self.policy = self.rules.for_peer(&BOB).unwrap();
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    fn inward(&mut self, packet: Packet) -> Verdict {
        self.filter.inward(&self.policy, &packet, self.now)
    }

    fn outward(&mut self, packet: Packet) -> Verdict {
        self.filter.outward(&self.policy, &packet, self.now)
    }
}

fn ours() -> IpAddr {
    "10.0.0.1".parse().unwrap()
}

fn theirs() -> IpAddr {
    "10.0.0.2".parse().unwrap()
}

fn packet(source: IpAddr, target: IpAddr, transport: Transport) -> Packet {
    Packet {
        source,
        target,
        protocol: 0,
        fragment: None,
        transport,
        offset: 20,
        length: 40,
    }
}

fn tcp(source: u16, target: u16, flags: TcpFlags) -> Packet {
    let tcp = Tcp {
        source,
        target,
        flags,
        sequence: 0,
        acknowledgement: 0,
        header: 20,
    };
    packet(theirs(), ours(), Transport::Tcp(tcp))
}

fn syn(source: u16, target: u16) -> Packet {
    tcp(source, target, TcpFlags::SYN)
}

fn udp(source: u16, target: u16) -> Packet {
    packet(theirs(), ours(), Transport::Udp { source, target })
}

fn echo(reply: bool, id: u16) -> Packet {
    packet(theirs(), ours(), Transport::Echo { reply, id })
}

/// The same packet on its way out: the ends swapped.
fn reverse(mut packet: Packet) -> Packet {
    std::mem::swap(&mut packet.source, &mut packet.target);
    match &mut packet.transport {
        Transport::Tcp(tcp) => std::mem::swap(&mut tcp.source, &mut tcp.target),
        Transport::Udp { source, target } => std::mem::swap(source, target),
        _ => {}
    }
    packet
}
