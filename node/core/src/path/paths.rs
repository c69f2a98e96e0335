//! The paths to all peers of all networks of this device.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use mesh_ledger::ids::NetworkId;

use super::agent::{Agent, Out};
use super::candidate::{Call, Candidate, Kind, Place};
use super::letter::{Letter, MARK_CALL};
use super::own::{Own, Seen};
use super::probe::{Probe, ProbeKeys};
use crate::peer::PeerId;

/// A peer in a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Who {
    /// The network.
    pub network: NetworkId,
    /// The peer.
    pub peer: PeerId,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send a datagram from the socket. A loss does no harm.
    Send(SocketAddr, Vec<u8>),
    /// Have a member forward this to the peer. A loss does no harm.
    Through(PeerId, Who, Vec<u8>),
    /// Tell the peer over its control link.
    Call(Who, Call),
    /// From now on packets take this way; none: the control link.
    Chosen(Who, Option<Choice>),
    /// The peer's daemon began anew since its last call: it has forgotten the sessions that this device remembers, and cannot
    /// say so to what comes over a socket.
    Restarted(Who),
    /// The path to the peer has begun to swallow long datagrams, as others between the two may.
    Narrowed(Who),
}

/// A way for packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// Where to.
    pub place: Place,
    /// The longest datagram that surely passes at an address, in bytes of UDP payload. Longer ones take the control link.
    pub max_datagram: usize,
}

/// What is known of the ways to a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Whether a path is wanted at the moment; nothing is asked otherwise.
    pub awake: bool,
    /// Whether the peer has told its candidates.
    pub called: bool,
    /// Each of them.
    pub pairs: Vec<PairReport>,
}

/// What is known of one place of a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairReport {
    /// Where.
    pub place: Place,
    /// How the address came to be known, if it is one.
    pub kind: Option<Kind>,
    /// Whether the peer answered from there, and still does.
    pub confirmed: bool,
    /// Whether packets take it.
    pub chosen: bool,
    /// The time of a question and its answer, smoothed.
    pub rtt: Option<Duration>,
    /// The longest datagram that passes, in bytes of UDP payload, as far as it is known.
    pub max_datagram: usize,
    /// Whether it was found out; else it may be more.
    pub measured: bool,
    /// How long ago the last answer came.
    pub answered: Option<Duration>,
    /// Whether it was asked at all.
    pub asked: bool,
}

/// See the module. Times are since any fixed moment, the same in every call.
#[derive(Default)]
pub struct Paths {
    own: Own,
    agents: BTreeMap<Who, Agent>,
    tags: BTreeMap<u64, Who>,
    /// Members that offer to forward to this device.
    relays: BTreeMap<NetworkId, Vec<PeerId>>,
    due: Due,
}

/// When each agent has something to do: a thousand peers at rest cost nothing when one has.
#[derive(Default)]
struct Due {
    /// Something happened to them since they were polled.
    touched: BTreeSet<Who>,
    of: BTreeMap<Who, Duration>,
    sorted: BTreeSet<(Duration, Who)>,
}

impl Due {
    fn set(&mut self, who: Who, at: Option<Duration>) {
        let before = match at {
            Some(at) => {
                self.sorted.insert((at, who));
                self.of.insert(who, at)
            }
            None => self.of.remove(&who),
        };
        if let Some(before) = before.filter(|before| Some(*before) != at) {
            self.sorted.remove(&(before, who));
        }
    }

    fn first(&self) -> Option<Duration> {
        self.sorted.first().map(|(at, _)| *at)
    }

    /// Those that are due, who are due no longer.
    fn take(&mut self, now: Duration) -> BTreeSet<Who> {
        let mut due = std::mem::take(&mut self.touched);
        while let Some((at, who)) = self.sorted.first().copied()
            && at <= now
        {
            self.set(who, None);
            due.insert(who);
        }
        due
    }
}

impl Paths {
    /// A peer that packets may be exchanged with, or its keys are others now. `tag` is a random number.
    pub fn add(&mut self, who: Who, keys: ProbeKeys, tag: u64) {
        match self.agents.get_mut(&who) {
            Some(agent) if agent.keys == keys => {}
            Some(agent) => agent.former = Some(std::mem::replace(&mut agent.keys, keys)),
            // By a tag that another has, nobody could be found; the next attempt brings another.
            None if self.tags.contains_key(&tag) => {}
            None => {
                self.tags.insert(tag, who);
                let mut agent = Agent::new(keys, tag);
                let relays = self.relays.get(&who.network).into_iter().flatten();
                agent.relays(
                    relays.copied().filter(|relay| *relay != who.peer),
                    Duration::ZERO,
                );
                self.agents.insert(who, agent);
                self.due.touched.insert(who);
            }
        }
    }

    /// Forgets every peer of a network but these, at once.
    pub fn retain(&mut self, network: &NetworkId, keep: impl Fn(&PeerId) -> bool) {
        self.agents
            .retain(|who, _| who.network != *network || keep(&who.peer));
        let agents = &self.agents;
        self.tags.retain(|_, who| agents.contains_key(who));
        let gone = self.due.of.keys().filter(|who| !agents.contains_key(who));
        for who in gone.copied().collect::<Vec<_>>() {
            self.due.set(who, None);
        }
    }

    fn agent(&mut self, who: &Who) -> Option<&mut Agent> {
        let agent = self.agents.get_mut(who)?;
        self.due.touched.insert(*who);
        Some(agent)
    }

    /// The peer's control link has come up, or is another.
    pub fn linked(&mut self, who: &Who, now: Duration) {
        if let Some(agent) = self.agent(who) {
            agent.linked(now);
        }
    }

    /// The peer's control link is gone. What is chosen stays as long as it works.
    pub fn unlinked(&mut self, who: &Who) {
        if let Some(agent) = self.agent(who) {
            agent.linked = false;
        }
    }

    /// The members of a network that offer to forward to this device and are linked with it, those first that are asked first.
    pub fn relays(&mut self, network: NetworkId, relays: Vec<PeerId>, now: Duration) {
        let known = self.relays.entry(network).or_default();
        if *known == relays {
            return;
        }
        let ends = |peer| Who { network, peer };
        let all = ends(PeerId([0; 32]))..=ends(PeerId([255; 32]));
        for (who, agent) in self.agents.range_mut(all) {
            let others = relays.iter().copied().filter(|relay| *relay != who.peer);
            agent.relays(others, now);
            self.due.touched.insert(*who);
        }
        *known = relays;
        self.relays.retain(|_, relays| !relays.is_empty());
    }

    /// Packets flow between this device and the peer.
    pub fn traffic(&mut self, who: &Who, now: Duration) {
        if let Some(agent) = self.agent(who) {
            agent.traffic(now);
        }
    }

    /// A packet of the peer's, which opened, came from an address.
    pub fn heard(&mut self, who: &Who, from: SocketAddr) {
        if let Some(agent) = self.agent(who) {
            agent.heard(from);
        }
    }

    /// The peer's word over the control link.
    pub fn call(&mut self, who: &Who, call: Call, now: Duration) {
        if let Some(agent) = self.agent(who) {
            agent.call(call, now);
        }
    }

    /// The addresses of this device's interfaces with the socket's port, and what a router maps to it. Whoever a path
    /// is wanted to is told, and asked anew, if that is news.
    pub fn set_own(
        &mut self,
        interfaces: Vec<SocketAddr>,
        mapped: Option<SocketAddr>,
        now: Duration,
    ) {
        if self.own.set(interfaces, mapped) {
            self.moved(now);
        }
    }

    /// The machine's network changed in some way: all paths in use are looked for anew.
    pub fn moved(&mut self, now: Duration) {
        for agent in self.agents.values_mut() {
            agent.moved(now);
        }
        self.due.touched.extend(self.agents.keys());
    }

    /// A server or a peer saw this device come from an address.
    pub fn seen(&mut self, by: Seen, address: SocketAddr, now: Duration) {
        if self.own.seen(by, address, now) {
            self.moved(now);
        }
    }

    /// This device's own candidates.
    #[must_use]
    pub fn own(&self) -> &Own {
        &self.own
    }

    /// Takes a datagram of the socket that is none of WireGuard's. What is to be sent for it, there is nothing else to do; only
    /// authentic probes have any effect.
    pub fn receive(&mut self, from: SocketAddr, datagram: &[u8], now: Duration) -> Option<Action> {
        let who = *self.tags.get(&Probe::tag(datagram)?)?;
        let answer = self.probe(&who, Place::Address(from), datagram, now)?;
        Some(Action::Send(from, answer))
    }

    /// Takes a datagram of a peer that a member forwarded and that is none of WireGuard's. As with [`Self::receive`]: the member's
    /// word for whose it is, is only where it is looked for.
    pub fn receive_through(
        &mut self,
        relay: PeerId,
        who: &Who,
        datagram: &[u8],
        now: Duration,
    ) -> Option<Action> {
        let agent = self.agents.get_mut(who)?;
        if !agent.is_relayed_by(&relay) {
            return None;
        }
        if datagram.first() == Some(&MARK_CALL) {
            let letter = agent.opened(|keys| Letter::open(datagram, keys))?.0;
            agent.letter(letter, now);
            self.due.touched.insert(*who);
            return None;
        }
        if self.tags.get(&Probe::tag(datagram)?) != Some(who) {
            return None;
        }
        let answer = self.probe(who, Place::Through(relay), datagram, now)?;
        Some(Action::Through(relay, *who, answer))
    }

    fn probe(&mut self, who: &Who, from: Place, datagram: &[u8], now: Duration) -> Option<Vec<u8>> {
        let agent = self.agents.get_mut(who)?;
        let (probe, keys) = agent.opened(|keys| Probe::open(datagram, keys))?;
        let (answer, seen) = agent.probe(probe, &keys, from, now);
        self.due.touched.insert(*who);
        if let Some(seen) = seen
            && self.own.seen(Seen::Peer(who.peer), seen, now)
        {
            self.own.forget_old(now);
            // Those whom it reaches straight need not know.
            for (who, agent) in &mut self.agents {
                agent.reached_at(now);
                self.due.touched.insert(*who);
            }
        }
        answer
    }

    /// What is due. `random` gives numbers that nobody can guess.
    pub fn poll(&mut self, now: Duration, mut random: impl FnMut() -> u64) -> Vec<Action> {
        let due = self.due.take(now);
        if due.is_empty() {
            return Vec::new();
        }
        let own: Vec<Candidate> = self.own.candidates(now);
        let mut actions = Vec::new();
        for who in due {
            let Some(agent) = self.agents.get_mut(&who) else {
                continue;
            };
            for out in agent.poll(&own, now, &mut random) {
                actions.push(match out {
                    Out::Send(Place::Address(to), datagram) => Action::Send(to, datagram),
                    Out::Send(Place::Through(by), datagram) => Action::Through(by, who, datagram),
                    Out::Call(call) => Action::Call(who, call),
                    Out::Chosen(choice) => Action::Chosen(who, choice),
                    Out::Restarted => Action::Restarted(who),
                    Out::Narrowed => Action::Narrowed(who),
                });
            }
            self.due.set(who, agent.next(now));
        }
        actions
    }

    /// When [`Self::poll`] is due next.
    #[must_use]
    pub fn next(&self, now: Duration) -> Option<Duration> {
        if self.due.touched.is_empty() {
            self.due.first()
        } else {
            Some(now)
        }
    }

    /// The time of a question to a place of a peer, and of its answer, smoothed.
    #[must_use]
    pub fn rtt(&self, who: &Who, place: &Place) -> Option<Duration> {
        self.agents.get(who)?.rtt(place)
    }

    /// What is known of the ways to a peer.
    #[must_use]
    pub fn report(&self, who: &Who, now: Duration) -> Option<Report> {
        self.agents.get(who).map(|agent| agent.report(now))
    }
}
