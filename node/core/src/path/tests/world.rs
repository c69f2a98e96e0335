//! Two devices, the routers in front of them, and what lies between.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::super::*;
use super::{server, who};
use crate::peer::PeerId;
use mesh_ledger::ids::NetworkId;

const WIRE: Duration = Duration::from_millis(10);
const LINK: Duration = Duration::from_millis(30);

/// A router: what decides over the outer port, and who gets in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Nat {
    mapping: Depends,
    filter: Depends,
}

/// On what of the other end something depends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Depends {
    Nothing,
    Address,
    AddressAndPort,
}

impl Nat {
    pub(super) const FULL_CONE: Self = Self {
        mapping: Depends::Nothing,
        filter: Depends::Nothing,
    };
    pub(super) const ADDRESS_RESTRICTED: Self = Self {
        mapping: Depends::Nothing,
        filter: Depends::Address,
    };
    pub(super) const PORT_RESTRICTED: Self = Self {
        mapping: Depends::Nothing,
        filter: Depends::AddressAndPort,
    };
    pub(super) const SYMMETRIC: Self = Self {
        mapping: Depends::AddressAndPort,
        filter: Depends::AddressAndPort,
    };
}

struct Router {
    nat: Nat,
    outside: IpAddr,
    next: u16,
    /// By what the mapping depends on: the outer port, and to whom it was used.
    mappings: BTreeMap<Option<SocketAddr>, (u16, Vec<SocketAddr>)>,
}

impl Router {
    fn out(&mut self, to: SocketAddr) -> SocketAddr {
        let key = match self.nat.mapping {
            Depends::Nothing => None,
            Depends::Address => Some(SocketAddr::new(to.ip(), 0)),
            Depends::AddressAndPort => Some(to),
        };
        let next = self.next;
        let (port, contacted) = self
            .mappings
            .entry(key)
            .or_insert_with(|| (next, Vec::new()));
        if *port == next {
            self.next += 1;
        }
        if !contacted.contains(&to) {
            contacted.push(to);
        }
        SocketAddr::new(self.outside, *port)
    }

    fn lets_in(&self, port: u16, from: SocketAddr) -> bool {
        self.mappings.values().any(|(outer, contacted)| {
            *outer == port
                && contacted.iter().any(|known| match self.nat.filter {
                    Depends::Nothing => true,
                    Depends::Address => known.ip() == from.ip(),
                    Depends::AddressAndPort => *known == from,
                })
        })
    }
}

pub(super) struct Node {
    pub(super) paths: Paths,
    pub(super) other: Who,
    inside: SocketAddr,
    router: Option<Router>,
    chosen: Option<Choice>,
    asked: Vec<u8>,
}

enum Packet {
    Datagram(SocketAddr, Vec<u8>),
    Call(Call),
    /// By the member that forwards.
    Forwarded(Vec<u8>),
}

/// The member that forwards.
pub(super) const MEMBER: PeerId = PeerId([7; 32]);

pub(super) struct World {
    pub(super) nodes: Vec<Node>,
    pub(super) now: Duration,
    /// In percent.
    pub(super) loss: u64,
    /// The longest payload that gets through.
    pub(super) mtu: usize,
    pub(super) sent: usize,
    pub(super) switches: usize,
    pub(super) restarts: usize,
    pub(super) narrowed: usize,
    /// Whether the member that offers to forward does.
    pub(super) forwards: bool,
    /// What it has forwarded.
    pub(super) forwarded: Vec<(usize, Vec<u8>)>,
    linked: bool,
    one_lan: bool,
    queue: BTreeMap<(Duration, u64), (usize, Packet)>,
    number: u64,
    random: u64,
}

impl World {
    pub(super) fn new(a: Option<Nat>, b: Option<Nat>) -> Self {
        let mut world = Self::unseen(a, b);
        world.witness(0);
        world.witness(1);
        world
    }

    /// Nobody has told the two yet where they are seen.
    pub(super) fn unseen(a: Option<Nat>, b: Option<Nat>) -> Self {
        let mut world = Self {
            nodes: Vec::new(),
            now: Duration::from_secs(1000),
            loss: 0,
            mtu: 1500,
            sent: 0,
            switches: 0,
            restarts: 0,
            narrowed: 0,
            forwards: false,
            forwarded: Vec::new(),
            linked: false,
            one_lan: false,
            queue: BTreeMap::new(),
            number: 0,
            random: 0x9E37_79B9_7F4A_7C15,
        };
        for (n, nat) in [(1u8, a), (2, b)] {
            let outside = IpAddr::from([192, 0, 2, n]);
            let inside = match nat {
                None => SocketAddr::new(outside, 51821),
                Some(_) => SocketAddr::from(([10, n, 0, 2], 51821)),
            };
            let (mine, theirs) = ([n; 32], [3 - n; 32]);
            let keys = ProbeKeys::new(&[9; 32], &NetworkId([1; 32]), &mine, &theirs);
            let mut paths = Paths::default();
            let other = who(3 - n);
            paths.add(other, keys, u64::from(n) + 77);
            world.nodes.push(Node {
                paths,
                other,
                inside,
                router: nat.map(|nat| Router {
                    nat,
                    outside,
                    next: 20_000,
                    mappings: BTreeMap::new(),
                }),
                chosen: None,
                asked: Vec::new(),
            });
            let now = world.now;
            let node = world.nodes.last_mut().unwrap();
            node.paths.set_own(vec![inside], None, now);
        }
        world
    }

    /// A member answers a probe, in a network of its own with the device, and says whence it came.
    pub(super) fn sighted_by_a_member(&mut self, node: usize) {
        let (now, n) = (self.now, node as u8 + 1);
        let at = SocketAddr::from(([198, 51, 100, 7], 51821));
        let it = &mut self.nodes[node];
        let seen = it.router.as_mut().unwrap().out(at);
        let other = Who {
            network: NetworkId([2; 32]),
            peer: MEMBER,
        };
        let keys = |a: u8, b: u8| ProbeKeys::new(&[8; 32], &other.network, &[a; 32], &[b; 32]);
        it.paths.add(other, keys(n, 7), 5);
        let call = Call {
            tag: 6,
            wanted: true,
            candidates: vec![Candidate {
                address: at,
                kind: Kind::Interface,
            }],
        };
        it.paths.call(&other, call, now);
        let mut count = 0;
        let sent = it.paths.poll(now, || {
            count += 1;
            count
        });
        let mut member = Paths::default();
        let device = Who {
            peer: PeerId([n; 32]),
            ..other
        };
        member.add(device, keys(7, n), 6);
        member.call(
            &device,
            Call {
                tag: 5,
                wanted: false,
                candidates: Vec::new(),
            },
            now,
        );
        for action in sent {
            match action {
                Action::Send(to, question) if to == at => {
                    let answer = member.receive(seen, &question, now);
                    let Some(Action::Send(_, answer)) = answer else {
                        panic!("the member answers");
                    };
                    self.nodes[node].paths.receive(at, &answer, now);
                }
                other => self.act(node, other),
            }
        }
    }

    /// Both ask a server, at two ports, where they come from.
    pub(super) fn witness(&mut self, node: usize) {
        let now = self.now;
        for port in 0..2u8 {
            let to = SocketAddr::from(([198, 51, 100, 1], 3000 + u16::from(port)));
            let node = &mut self.nodes[node];
            let seen = match &mut node.router {
                Some(router) => router.out(to),
                None => node.inside,
            };
            node.paths.seen(server(port), seen, now);
        }
    }

    /// Both are behind the first one's router.
    pub(super) fn same_lan(&mut self) {
        self.one_lan = true;
    }

    pub(super) fn link(&mut self) {
        self.linked = true;
        let now = self.now;
        for node in &mut self.nodes {
            node.paths.linked(&node.other, now);
        }
    }

    /// A member offers to forward between the two, or no longer.
    pub(super) fn relay(&mut self, offered: bool) {
        self.forwards = offered;
        let now = self.now;
        for node in &mut self.nodes {
            let relays = offered.then_some(MEMBER).into_iter().collect();
            node.paths.relays(node.other.network, relays, now);
        }
    }

    pub(super) fn unlink(&mut self) {
        self.linked = false;
        self.nodes
            .iter_mut()
            .for_each(|node| node.paths.unlinked(&node.other));
    }

    pub(super) fn traffic(&mut self, node: usize) {
        let now = self.now;
        let node = &mut self.nodes[node];
        node.paths.traffic(&node.other, now);
    }

    pub(super) fn move_to(&mut self, node: usize, address: &str) {
        let now = self.now;
        let node = &mut self.nodes[node];
        node.inside = address.parse().unwrap();
        node.paths.set_own(vec![node.inside], None, now);
    }

    /// The device's daemon ends, and begins anew with a link.
    pub(super) fn restart(&mut self, node: usize) {
        let n = if node == 0 { 1 } else { 2 };
        let keys = ProbeKeys::new(&[9; 32], &NetworkId([1; 32]), &[n; 32], &[3 - n; 32]);
        let now = self.now;
        let it = &mut self.nodes[node];
        it.paths = Paths::default();
        it.paths.add(it.other, keys, u64::from(n) + 1077);
        it.paths.set_own(vec![it.inside], None, now);
        it.chosen = None;
        self.witness(node);
        self.link();
    }

    /// The router forgets everything and begins elsewhere; the device's servers tell it in a moment.
    pub(super) fn reboot(&mut self, node: usize) {
        if let Some(router) = &mut self.nodes[node].router {
            router.mappings.clear();
            router.next += 1000;
        }
        self.witness(node);
    }

    pub(super) fn chosen(&self, node: usize) -> Option<Choice> {
        self.nodes[node].chosen
    }

    pub(super) fn inside(&self, node: usize) -> SocketAddr {
        self.nodes[node].inside
    }

    pub(super) fn both_chosen(&mut self) -> bool {
        self.nodes.iter().all(|node| node.chosen.is_some())
    }

    /// Whether what the device sends on its path arrives.
    pub(super) fn works(&mut self, node: usize) -> bool {
        let Some(choice) = self.chosen(node) else {
            return false;
        };
        match choice.place {
            Place::Address(address) => self.route(node, address).is_some(),
            Place::Through(_) => self.forwards,
        }
    }

    pub(super) fn last_question(&self, node: usize) -> Vec<u8> {
        self.nodes[node].asked.clone()
    }

    pub(super) fn run(&mut self, time: Duration) {
        self.advance(time, false, |_| false);
    }

    /// Runs while both send packets all the time.
    pub(super) fn flow(&mut self, time: Duration) {
        self.advance(time, true, |_| false);
    }

    /// How long it took until something is so; `None` if it was not within `limit`.
    pub(super) fn until(
        &mut self,
        limit: Duration,
        is: impl FnMut(&mut Self) -> bool,
    ) -> Option<Duration> {
        self.advance(limit, false, is)
    }

    pub(super) fn until_flowing(
        &mut self,
        limit: Duration,
        is: impl FnMut(&mut Self) -> bool,
    ) -> Option<Duration> {
        self.advance(limit, true, is)
    }

    fn advance(
        &mut self,
        limit: Duration,
        flowing: bool,
        mut is: impl FnMut(&mut Self) -> bool,
    ) -> Option<Duration> {
        let (start, end) = (self.now, self.now + limit);
        let mut second = self.now;
        loop {
            while let Some(first) = self
                .queue
                .first_entry()
                .filter(|entry| entry.key().0 <= self.now)
            {
                let (node, packet) = first.remove();
                self.take(node, packet);
            }
            if flowing && self.now >= second {
                second = self.now + Duration::from_secs(1);
                self.traffic(0);
                self.traffic(1);
            }
            for node in 0..self.nodes.len() {
                self.poll(node);
            }
            if is(self) {
                return Some(self.now - start);
            }
            let now = self.now;
            let due = self.nodes.iter().filter_map(|node| node.paths.next(now));
            let arrives = self.queue.keys().next().map(|(at, _)| *at);
            let next = due
                .chain(arrives)
                .chain(flowing.then_some(second))
                .min()
                .unwrap_or(end);
            if next >= end {
                self.now = end;
                return None;
            }
            assert!(
                next > self.now || arrives == Some(next),
                "something is due and nothing is done"
            );
            self.now = next.max(self.now);
        }
    }

    fn poll(&mut self, node: usize) {
        let mut random = self.random;
        let actions = self.nodes[node].paths.poll(self.now, || {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            random
        });
        self.random = random;
        for action in actions {
            self.act(node, action);
        }
    }

    fn act(&mut self, node: usize, action: Action) {
        match action {
            Action::Send(to, datagram) => {
                self.sent += 1;
                if datagram.first() == Some(&MARK_QUESTION) {
                    self.nodes[node].asked.clone_from(&datagram);
                }
                let lost = self.dice() % 100 < self.loss || datagram.len() > self.mtu;
                if let Some((other, from)) = self.route(node, to).filter(|_| !lost) {
                    self.put(WIRE, other, Packet::Datagram(from, datagram));
                }
            }
            Action::Through(by, whom, datagram) => {
                assert_eq!((by, whom), (MEMBER, self.nodes[node].other));
                self.sent += 1;
                let lost = self.dice() % 100 < self.loss || !self.forwards;
                if !lost {
                    self.forwarded.push((1 - node, datagram.clone()));
                    self.put(2 * WIRE, 1 - node, Packet::Forwarded(datagram));
                }
            }
            Action::Call(_, call) if self.linked => self.put(LINK, 1 - node, Packet::Call(call)),
            Action::Restarted(_) => self.restarts += 1,
            Action::Narrowed(_) => self.narrowed += 1,
            Action::Call(..) => {}
            Action::Chosen(_, choice) => {
                let place = |choice: Option<Choice>| choice.map(|choice| choice.place);
                self.switches += usize::from(place(self.nodes[node].chosen) != place(choice));
                self.nodes[node].chosen = choice;
            }
        }
    }

    /// Where a datagram arrives, and whence it seems to come.
    fn route(&mut self, node: usize, to: SocketAddr) -> Option<(usize, SocketAddr)> {
        let other = 1 - node;
        let inside = self.nodes[node].inside;
        if self.one_lan && to == self.nodes[other].inside {
            return Some((other, inside));
        }
        let from = match &mut self.nodes[node].router {
            Some(router) => router.out(to),
            None => inside,
        };
        let there = &self.nodes[other];
        let arrives = match &there.router {
            Some(router) => to.ip() == router.outside && router.lets_in(to.port(), from),
            None => to == there.inside,
        };
        arrives.then_some((other, from))
    }

    fn put(&mut self, after: Duration, node: usize, packet: Packet) {
        self.number += 1;
        self.queue
            .insert((self.now + after, self.number), (node, packet));
    }

    fn take(&mut self, node: usize, packet: Packet) {
        let now = self.now;
        let it = &mut self.nodes[node];
        match packet {
            Packet::Call(call) => it.paths.call(&it.other, call, now),
            Packet::Forwarded(datagram) => {
                let who = it.other;
                if let Some(action) = it.paths.receive_through(MEMBER, &who, &datagram, now) {
                    self.act(node, action);
                }
            }
            Packet::Datagram(from, datagram) => {
                if let Some(action) = it.paths.receive(from, &datagram, now) {
                    self.act(node, action);
                }
            }
        }
    }

    fn dice(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random >> 11
    }
}
