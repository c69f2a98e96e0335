//! The path to one peer in one network.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::candidate::{Call, Candidate, Kind, MAX_CANDIDATES, Place, usable};
use super::letter::Letter;
use super::pair::Pair;
use super::paths::{Choice, PairReport, Report};
use super::probe::{Probe, ProbeKeys};
use super::replay::Replay;
use super::{
    BURST, BURST_AGAIN, BURST_EVERY, CHECK_BUSY, CHECK_IDLE, CHECK_LOST, CHECK_OTHERS, REST, RETRY,
    SETTLE,
};
use crate::peer::PeerId;

/// The most addresses of a peer: those it names, and those it was heard from.
const MAX_PAIRS: usize = MAX_CANDIDATES + 8;
/// The most members that are asked to forward to one peer.
pub const MAX_RELAYS: usize = 4;
/// How often a call that is forwarded is repeated until the peer calls.
const CALL_AGAIN: Duration = Duration::from_secs(1);
/// How many tags of a peer before its present one are remembered.
const PAST_TAGS: usize = 16;
/// How long packets count as flowing.
const FLOWS: Duration = Duration::from_secs(10);
/// How often a peer may have this device begin a burst.
const CALLS_EVERY: Duration = Duration::from_secs(2);
/// What a question to an address that does not answer costs of what may be asked in vain, and how much that is at most. Two
/// dozen addresses may be asked for a burst; who has them asked on and on gets four questions a second.
const VAIN: Duration = Duration::from_millis(250);
const VAIN_MOST: Duration = VAIN.saturating_mul(24 * 26);
/// What the answer to a question says that came through a member.
const UNSEEN: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0);
/// How much quicker an address of the same kind must be to take over.
const QUICKER: Duration = Duration::from_millis(5);

/// See the module.
pub(super) struct Agent {
    pub(super) keys: ProbeKeys,
    /// The keys before these, for as long as the peer may not know the new ones.
    pub(super) former: Option<ProbeKeys>,
    /// What the peer puts into its probes.
    pub(super) tag: u64,
    /// What the peer wants in ours, once it has called.
    peer_tag: Option<u64>,
    pub(super) linked: bool,
    pairs: Vec<Pair>,
    chosen: Option<Place>,
    switched: Option<Duration>,
    /// When packets last flowed, or something else asked for a path.
    active: Option<Duration>,
    flowed: Option<Duration>,
    burst: Option<Duration>,
    /// When the last burst began, and how many before it were repeated for want of a path.
    begun: Option<Duration>,
    repeated: u32,
    /// A call is owed to the peer; whether it is to answer.
    owed: Option<bool>,
    called: Option<Duration>,
    /// Members that may forward between the two.
    relays: Vec<PeerId>,
    /// What is owed goes through them too: the peer's call came so.
    through: bool,
    /// When a call was last sent through them, and when the peer last called in whatever way.
    sent_through: Option<Duration>,
    heard_call: Option<Duration>,
    /// The number of the peer's last call that was forwarded, and the tags it had before its present one.
    letter: u64,
    past: VecDeque<u64>,
    /// The number of the last question.
    count: u64,
    /// When all that was asked in vain is made up for.
    vain: Duration,
    seen: Replay,
    /// The choice that was told last.
    told: Option<Choice>,
    /// The peer began anew, and that was not told yet.
    restarted: bool,
}

/// What comes out of the agent.
pub(super) enum Out {
    Send(Place, Vec<u8>),
    Call(Call),
    Chosen(Option<Choice>),
    Restarted,
    Narrowed,
}

impl Agent {
    pub(super) fn new(keys: ProbeKeys, tag: u64) -> Self {
        Self {
            keys,
            former: None,
            tag,
            peer_tag: None,
            linked: false,
            pairs: Vec::new(),
            chosen: None,
            switched: None,
            active: None,
            flowed: None,
            burst: None,
            begun: None,
            repeated: 0,
            owed: None,
            called: None,
            relays: Vec::new(),
            through: false,
            sent_through: None,
            heard_call: None,
            letter: 0,
            past: VecDeque::new(),
            count: 0,
            vain: Duration::ZERO,
            seen: Replay::default(),
            told: None,
            restarted: false,
        }
    }

    /// What the peer's keys open, and which did.
    pub(super) fn opened<T>(
        &mut self,
        open: impl Fn(&ProbeKeys) -> Option<T>,
    ) -> Option<(T, ProbeKeys)> {
        match open(&self.keys) {
            Some(opened) => {
                // The peer has the new keys: those before them are worth nothing from now on.
                self.former = None;
                Some((opened, self.keys.clone()))
            }
            None => {
                let former = self.former.clone()?;
                Some((open(&former)?, former))
            }
        }
    }

    /// The control link has come up: a path is looked for once, whether packets flow or not.
    pub(super) fn linked(&mut self, now: Duration) {
        self.linked = true;
        self.begin(now, true);
    }

    /// Packets flow.
    pub(super) fn traffic(&mut self, now: Duration) {
        let asleep = !self.awake(now);
        self.active = Some(now);
        self.flowed = Some(now);
        if asleep {
            self.begin(now, true);
        }
    }

    /// This device is reached elsewhere, or reaches others otherwise.
    pub(super) fn moved(&mut self, now: Duration) {
        self.vain = Duration::ZERO;
        if self.awake(now) {
            self.pairs.iter_mut().for_each(Pair::doubt);
            self.begin(now, true);
        } else if self.peer_tag.is_some() {
            // It has to know, in case it wants a path before this device does.
            self.owed = Some(self.owed.unwrap_or(false));
        }
    }

    /// This device has learnt of an address at which the peer may reach it, too.
    pub(super) fn reached_at(&mut self, now: Duration) {
        if !self.awake(now) || self.is_straight() {
            return;
        }
        let lately = |begun: Duration| now.saturating_sub(begun) < 2 * BURST;
        if self.begun.is_some_and(lately) {
            self.owed = Some(true);
        } else {
            self.begin(now, true);
        }
    }

    /// What the peer says over the link.
    pub(super) fn call(&mut self, call: Call, now: Duration) {
        if self.peer_tag != Some(call.tag) {
            // It began anew, and remembers neither what was asked nor any session.
            if let Some(past) = self.peer_tag.replace(call.tag) {
                self.restarted = true;
                self.past.truncate(PAST_TAGS - 1);
                self.past.push_front(past);
            }
            self.letter = 0;
            self.seen = Replay::default();
            self.chosen = None;
            self.pairs.clear();
            self.ask_relays();
        }
        self.heard_call = Some(now);
        let told: Vec<Candidate> = call
            .candidates
            .into_iter()
            .take(MAX_CANDIDATES)
            .filter(|candidate| usable(&candidate.address))
            .collect();
        let chosen = self.chosen;
        self.pairs.retain(|pair| {
            pair.confirmed()
                || pair.lost(now)
                || Some(pair.place) == chosen
                || pair.kind.is_none()
                || told
                    .iter()
                    .any(|candidate| Place::Address(candidate.address) == pair.place)
        });
        for candidate in told {
            self.learn(candidate.address, candidate.kind);
        }
        let allowed = |called: Duration| now.saturating_sub(called) >= CALLS_EVERY;
        if call.wanted && self.called.is_none_or(allowed) {
            self.called = Some(now);
            self.active = Some(now);
            self.owed = Some(self.owed.unwrap_or(false));
            self.ask_all(now);
        } else if self.awake(now) && self.burst.is_none() {
            self.ask_all(now);
        }
    }

    /// Takes a call that was forwarded. A copy of an old one has no effect.
    pub(super) fn letter(&mut self, letter: Letter, now: Duration) {
        let old = self.peer_tag == Some(letter.call.tag) && letter.count <= self.letter;
        if old || self.past.contains(&letter.call.tag) {
            return;
        }
        let count = letter.count;
        self.call(letter.call, now);
        self.letter = count;
        self.through = self.owed.is_some();
    }

    /// A packet of the peer's came from there.
    pub(super) fn heard(&mut self, from: SocketAddr) {
        if usable(&from) {
            self.learn(from, Kind::Heard);
        }
    }

    /// The members that may forward between the two, the first before the others if they are too many.
    pub(super) fn relays(&mut self, relays: impl Iterator<Item = PeerId>, now: Duration) {
        let relays: Vec<PeerId> = relays.take(MAX_RELAYS).collect();
        if relays == self.relays {
            return;
        }
        let news = relays.iter().any(|relay| !self.relays.contains(relay));
        self.relays = relays;
        self.ask_relays();
        if news && self.awake(now) {
            self.begin(now, true);
        }
    }

    /// Whether this member may forward between the two.
    pub(super) fn is_relayed_by(&self, relay: &PeerId) -> bool {
        self.relays.contains(relay)
    }

    fn ask_relays(&mut self) {
        let relays = &self.relays;
        self.pairs.retain(|pair| match pair.place {
            Place::Address(_) => true,
            Place::Through(member) => relays.contains(&member),
        });
        for relay in &self.relays {
            let place = Place::Through(*relay);
            if self.pairs.iter().all(|pair| pair.place != place) {
                self.pairs.push(Pair::new(place, None));
            }
        }
    }

    /// Takes an authentic probe. The answer to it, if it is a question; and the address at which the peer saw this device, if it is an
    /// answer.
    pub(super) fn probe(
        &mut self,
        probe: Probe,
        keys: &ProbeKeys,
        from: Place,
        now: Duration,
    ) -> (Option<Vec<u8>>, Option<SocketAddr>) {
        match probe.seen {
            None => {
                let Some(tag) = self.peer_tag else {
                    return (None, None);
                };
                if !self.seen.take(probe.count) {
                    return (None, None);
                }
                if let Place::Address(from) = from {
                    self.heard(from);
                }
                if let Some(pair) = self.pairs.iter_mut().find(|pair| pair.place == from) {
                    pair.hinted = !pair.confirmed();
                }
                let answer = Probe {
                    tag,
                    seen: Some(from.address().unwrap_or(UNSEEN)),
                    ..probe
                };
                (Some(answer.seal(keys, 0)), None)
            }
            Some(seen) => {
                let pair = self.pairs.iter_mut().find(|pair| pair.place == from);
                let answered = pair.is_some_and(|pair| pair.answer(probe.nonce, now));
                (None, answered.then_some(seen))
            }
        }
    }

    pub(super) fn poll(
        &mut self,
        own: &[Candidate],
        now: Duration,
        random: &mut impl FnMut() -> u64,
    ) -> Vec<Out> {
        let mut out = Vec::new();
        for pair in &mut self.pairs {
            pair.expire(now);
            if pair.take_narrowed() && self.chosen == Some(pair.place) {
                out.push(Out::Narrowed);
            }
        }
        self.pairs.retain(|pair| {
            pair.confirmed()
                || pair.lost(now)
                || pair.kind != Some(Kind::Heard)
                || pair.late().is_some()
                || pair.asked.is_none()
        });
        if !self.awake(now) {
            self.burst = None;
            self.chosen = None;
            self.pairs
                .iter_mut()
                .for_each(|pair| *pair = Pair::new(pair.place, pair.kind));
        } else {
            self.choose(now);
            self.again(now);
            let mut places: Vec<usize> = (0..self.pairs.len()).collect();
            // Where there are means for few, each gets its turn.
            places.sort_by_key(|place| self.pairs.get(*place).and_then(|pair| pair.asked));
            for place in places {
                if let Some(due) = self.due(place)
                    && now >= due
                    && let Some(tag) = self.peer_tag
                    && let Some(pair) = self.pairs.get_mut(place)
                {
                    let nonce = random();
                    self.count += 1;
                    if !pair.confirmed() && !pair.lost(now) {
                        self.vain = self.vain.max(now) + VAIN;
                    }
                    let length = pair.ask(nonce, now);
                    let question = Probe {
                        tag,
                        count: self.count,
                        nonce,
                        seen: None,
                    };
                    out.push(Out::Send(pair.place, question.seal(&self.keys, length)));
                }
            }
        }
        if self.again_through().is_some_and(|due| now >= due) {
            self.owed = Some(true);
        }
        if self.can_call()
            && let Some(wanted) = self.owed.take()
        {
            let call = Call {
                tag: self.tag,
                wanted,
                candidates: own.to_vec(),
            };
            if !self.linked || self.through {
                self.through = false;
                out.extend(self.call_through(call.clone(), now, random));
            }
            if self.linked {
                out.push(Out::Call(call));
            }
        }
        if std::mem::take(&mut self.restarted) {
            out.push(Out::Restarted);
        }
        let choice = self.choice();
        if choice != self.told {
            self.told = choice;
            out.push(Out::Chosen(choice));
        }
        out
    }

    /// When [`Self::poll`] has something to do next.
    pub(super) fn next(&self, now: Duration) -> Option<Duration> {
        let owed = (self.can_call() && self.owed.is_some())
            || self.told != self.choice()
            || self.restarted;
        if owed {
            return Some(now);
        }
        let rest = self.active? + REST;
        if now >= rest {
            return self.told.is_some().then_some(now);
        }
        let due = (0..self.pairs.len()).filter_map(|place| self.due(place));
        let late = self.pairs.iter().filter_map(Pair::late);
        let burst = self.burst.map(|since| since + BURST);
        due.chain(late)
            .chain(burst)
            .chain(self.again_at())
            .chain(self.again_through())
            .chain([rest])
            .min()
    }

    pub(super) fn rtt(&self, place: &Place) -> Option<Duration> {
        let pair = self.pairs.iter().find(|pair| pair.place == *place)?;
        pair.rtt.filter(|_| pair.confirmed())
    }

    pub(super) fn report(&self, now: Duration) -> Report {
        let pairs = self.pairs.iter().map(|pair| PairReport {
            place: pair.place,
            kind: pair.kind,
            confirmed: pair.confirmed(),
            chosen: self.chosen == Some(pair.place),
            rtt: pair.rtt.filter(|_| pair.confirmed()),
            max_datagram: pair.max_datagram(),
            measured: pair.confirmed() && pair.kind.is_some() && !pair.measures(),
            answered: pair.answered.map(|at| now.saturating_sub(at)),
            asked: pair.asked.is_some(),
        });
        Report {
            awake: self.awake(now),
            called: self.peer_tag.is_some(),
            pairs: pairs.collect(),
        }
    }

    fn awake(&self, now: Duration) -> bool {
        self.active.is_some_and(|at| now.saturating_sub(at) < REST)
    }

    fn flows(&self, now: Duration) -> bool {
        self.flowed.is_some_and(|at| now.saturating_sub(at) < FLOWS)
    }

    fn begin(&mut self, now: Duration, wanted: bool) {
        self.active = Some(self.active.unwrap_or(now).max(now));
        self.repeated = 0;
        self.ask_all(now);
        self.owed = Some(wanted || self.owed.unwrap_or(false));
    }

    fn ask_all(&mut self, now: Duration) {
        self.burst = Some(now);
        self.begun = Some(now);
    }

    /// Whether packets go to an address of the peer's.
    fn is_straight(&self) -> bool {
        self.chosen.is_some_and(|chosen| chosen.address().is_some())
    }

    fn learn(&mut self, address: SocketAddr, kind: Kind) {
        let place = Place::Address(address);
        if let Some(pair) = self.pairs.iter_mut().find(|pair| pair.place == place) {
            // What the peer itself says of an address tells more than that something came from it.
            pair.kind = pair.kind.map(|known| known.min(kind));
            return;
        }
        let addresses = self.pairs.iter().filter(|pair| pair.kind.is_some());
        if addresses.count() < MAX_PAIRS || self.forget_one() {
            self.pairs.push(Pair::new(place, Some(kind)));
        }
    }

    /// Makes room: forgets the address that died first. False if there is none.
    fn forget_one(&mut self) -> bool {
        let dead = self.pairs.iter().enumerate();
        let dead = dead.filter(|(_, pair)| pair.kind.is_some() && !pair.confirmed());
        let first = dead
            .filter_map(|(place, pair)| Some((pair.worked?, place)))
            .min();
        first.map(|(_, place)| self.pairs.remove(place)).is_some()
    }

    /// The call, sealed, through every member that forwards.
    fn call_through(
        &mut self,
        call: Call,
        now: Duration,
        random: &mut impl FnMut() -> u64,
    ) -> Vec<Out> {
        self.sent_through = Some(now);
        self.count += 1;
        let letter = Letter {
            count: self.count,
            call,
        };
        let Some(sealed) = letter.seal(&self.keys, random) else {
            return Vec::new();
        };
        let relays = self.relays.iter();
        relays
            .map(|relay| Out::Send(Place::Through(*relay), sealed.clone()))
            .collect()
    }

    fn can_call(&self) -> bool {
        self.linked || !self.relays.is_empty()
    }

    /// When a call that was forwarded, and may be lost, is repeated.
    fn again_through(&self) -> Option<Duration> {
        let (since, sent) = (self.burst?, self.sent_through?);
        let answered = self.heard_call.is_some_and(|at| at >= since);
        let alone = !self.linked && !self.relays.is_empty();
        (alone && !answered && sent >= since).then(|| sent + CALL_AGAIN)
    }

    fn choose(&mut self, now: Duration) {
        let current = self
            .pairs
            .iter()
            .find(|pair| Some(pair.place) == self.chosen);
        let current = current.filter(|pair| pair.confirmed());
        let best = self
            .pairs
            .iter()
            .filter(|pair| pair.confirmed())
            .min_by_key(|pair| pair.rank());
        let lost = self.chosen.is_some() && current.is_none();
        let settled = self
            .switched
            .is_none_or(|at| now.saturating_sub(at) >= SETTLE);
        let next = match (current, best) {
            (Some(current), Some(best)) => {
                let ((class, rtt), (best_class, best_rtt)) = (current.rank(), best.rank());
                let quicker = best_rtt + QUICKER < rtt * 3 / 4;
                if best_class < class || (best_class == class && quicker && settled) {
                    best
                } else {
                    current
                }
            }
            (None, Some(best)) => best,
            (_, None) => {
                self.chosen = None;
                if lost {
                    self.begin(now, true);
                }
                return;
            }
        };
        let next = next.place;
        if self.chosen != Some(next) {
            self.chosen = Some(next);
            self.switched = Some(now);
            if lost {
                self.begin(now, true);
            }
        }
    }

    /// Ends a burst, and begins one again if packets flow and there is no path.
    fn again(&mut self, now: Duration) {
        if self.burst.is_some_and(|since| now >= since + BURST) {
            self.burst = None;
        }
        if self.again_at().is_some_and(|at| now >= at) && self.flows(now) {
            let (active, repeated) = (self.active, self.repeated + 1);
            self.begin(now, true);
            (self.active, self.repeated) = (active, repeated);
        }
    }

    fn again_at(&self) -> Option<Duration> {
        let flowed = self.flowed?;
        let last = self.begun.map(|begun| begun + BURST);
        let idle = self.burst.is_none() && !self.is_straight() && self.can_call();
        let pause = BURST * 2u32.saturating_pow(self.repeated.min(8));
        let at = last.unwrap_or(flowed) + pause.min(BURST_AGAIN);
        (idle && at < flowed + FLOWS).then_some(at)
    }

    /// When an address is to be asked next.
    fn due(&self, place: usize) -> Option<Duration> {
        self.peer_tag?;
        let pair = self.pairs.get(place)?;
        let lost = pair.lost(pair.asked.unwrap_or_default());
        let vain = match pair.confirmed() || lost {
            true => Duration::ZERO,
            false => self.vain.saturating_sub(VAIN_MOST),
        };
        let Some(asked) = pair.asked else {
            return Some(vain);
        };
        let chosen = self.chosen == Some(pair.place);
        let flows = self
            .flowed
            .is_some_and(|at| asked.saturating_sub(at) < FLOWS);
        let pause = if pair.confirmed() && pair.in_doubt() {
            RETRY
        } else if chosen && pair.measures() {
            BURST_EVERY
        } else if chosen && flows {
            CHECK_BUSY
        } else if pair.confirmed() {
            CHECK_IDLE.min(CHECK_OTHERS)
        } else if pair.hinted || self.burst.is_some_and(|since| asked < since + BURST) {
            BURST_EVERY
        } else if lost {
            CHECK_LOST
        } else if self.chosen.is_some() {
            // Others may begin to work.
            CHECK_OTHERS
        } else {
            return None;
        };
        Some((asked + pause).max(vain))
    }

    fn choice(&self) -> Option<Choice> {
        let chosen = self.chosen?;
        let pair = self.pairs.iter().find(|pair| pair.place == chosen)?;
        Some(Choice {
            place: chosen,
            max_datagram: pair.max_datagram(),
        })
    }
}
