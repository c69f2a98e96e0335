//! The path to one peer in one network.

use std::net::SocketAddr;
use std::time::Duration;

use super::candidate::{Call, Candidate, Kind, MAX_CANDIDATES, usable};
use super::pair::Pair;
use super::paths::{Choice, PairReport, Report};
use super::probe::{Probe, ProbeKeys};
use super::{
    BURST, BURST_AGAIN, BURST_EVERY, CHECK_BUSY, CHECK_IDLE, CHECK_OTHERS, REST, RETRY, SETTLE,
};

/// The most addresses of a peer: those it names, and those it was heard from.
const MAX_PAIRS: usize = MAX_CANDIDATES + 8;
/// How long packets count as flowing.
const FLOWS: Duration = Duration::from_secs(10);
/// How often a peer may have this device begin a burst.
const CALLS_EVERY: Duration = Duration::from_secs(2);
/// What a question to an address that does not answer costs of what may be asked in vain, and how much that is at most. Two
/// dozen addresses may be asked for a burst; who has them asked on and on gets four questions a second.
const VAIN: Duration = Duration::from_millis(250);
const VAIN_MOST: Duration = VAIN.saturating_mul(24 * 26);
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
    chosen: Option<SocketAddr>,
    switched: Option<Duration>,
    /// When packets last flowed, or something else asked for a path.
    active: Option<Duration>,
    flowed: Option<Duration>,
    burst: Option<Duration>,
    /// A call is owed to the peer; whether it is to answer.
    owed: Option<bool>,
    called: Option<Duration>,
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
    Send(SocketAddr, Vec<u8>),
    Call(Call),
    Chosen(Option<Choice>),
    Restarted,
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
            owed: None,
            called: None,
            count: 0,
            vain: Duration::ZERO,
            seen: Replay::default(),
            told: None,
            restarted: false,
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

    /// What the peer says over the link.
    pub(super) fn call(&mut self, call: Call, now: Duration) {
        if self.peer_tag != Some(call.tag) {
            // It began anew, and remembers neither what was asked nor any session.
            self.restarted = self.peer_tag.is_some();
            self.peer_tag = Some(call.tag);
            self.seen = Replay::default();
            self.chosen = None;
            self.pairs.clear();
        }
        let told: Vec<Candidate> = call
            .candidates
            .into_iter()
            .take(MAX_CANDIDATES)
            .filter(|candidate| usable(&candidate.address))
            .collect();
        let chosen = self.chosen;
        self.pairs.retain(|pair| {
            let address = pair.candidate.address;
            pair.confirmed()
                || Some(address) == chosen
                || told.iter().any(|candidate| candidate.address == address)
        });
        for candidate in told {
            self.learn(candidate);
        }
        let allowed = |called: Duration| now.saturating_sub(called) >= CALLS_EVERY;
        if call.wanted && self.called.is_none_or(allowed) {
            self.called = Some(now);
            self.active = Some(now);
            self.owed = Some(self.owed.unwrap_or(false));
            self.burst = Some(now);
        } else if self.awake(now) && self.burst.is_none() {
            self.burst = Some(now);
        }
    }

    /// A packet of the peer's came from there.
    pub(super) fn heard(&mut self, from: SocketAddr) {
        if usable(&from) {
            self.learn(Candidate {
                address: from,
                kind: Kind::Heard,
            });
        }
    }

    /// Takes an authentic probe. The answer to it, if it is a question; and the address at which the peer saw this device, if it is an
    /// answer.
    pub(super) fn probe(
        &mut self,
        probe: Probe,
        keys: &ProbeKeys,
        from: SocketAddr,
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
                self.heard(from);
                let answer = Probe {
                    tag,
                    seen: Some(from),
                    ..probe
                };
                (Some(answer.seal(keys, 0)), None)
            }
            Some(seen) => {
                let pair = self
                    .pairs
                    .iter_mut()
                    .find(|pair| pair.candidate.address == from);
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
        }
        self.pairs.retain(|pair| {
            pair.confirmed()
                || pair.candidate.kind != Kind::Heard
                || pair.late().is_some()
                || pair.asked.is_none()
        });
        if !self.awake(now) {
            self.burst = None;
            self.chosen = None;
            self.pairs
                .iter_mut()
                .for_each(|pair| *pair = Pair::new(pair.candidate));
        } else {
            self.choose(now);
            self.again(now);
            for place in 0..self.pairs.len() {
                if let Some(due) = self.due(place)
                    && now >= due
                    && let Some(tag) = self.peer_tag
                    && let Some(pair) = self.pairs.get_mut(place)
                {
                    let nonce = random();
                    self.count += 1;
                    if !pair.confirmed() {
                        self.vain = self.vain.max(now) + VAIN;
                    }
                    let length = pair.ask(nonce, now);
                    let question = Probe {
                        tag,
                        count: self.count,
                        nonce,
                        seen: None,
                    };
                    out.push(Out::Send(
                        pair.candidate.address,
                        question.seal(&self.keys, length),
                    ));
                }
            }
        }
        if self.linked
            && let Some(wanted) = self.owed.take()
        {
            out.push(Out::Call(Call {
                tag: self.tag,
                wanted,
                candidates: own.to_vec(),
            }));
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
        let owed =
            (self.linked && self.owed.is_some()) || self.told != self.choice() || self.restarted;
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
            .chain([rest])
            .min()
    }

    pub(super) fn report(&self, now: Duration) -> Report {
        let pairs = self.pairs.iter().map(|pair| PairReport {
            address: pair.candidate.address,
            kind: pair.candidate.kind,
            confirmed: pair.confirmed(),
            chosen: self.chosen == Some(pair.candidate.address),
            rtt: pair.rtt.filter(|_| pair.confirmed()),
            max_datagram: pair.max_datagram(),
            measured: pair.confirmed() && !pair.measures(),
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
        self.burst = Some(now);
        self.owed = Some(wanted || self.owed.unwrap_or(false));
    }

    fn learn(&mut self, candidate: Candidate) {
        let room = self.pairs.len() < MAX_PAIRS;
        let address = candidate.address;
        match self
            .pairs
            .iter_mut()
            .find(|pair| pair.candidate.address == address)
        {
            // What the peer itself says of an address tells more than that something came from it.
            Some(pair) => pair.candidate.kind = pair.candidate.kind.min(candidate.kind),
            None if room => self.pairs.push(Pair::new(candidate)),
            None => {}
        }
    }

    fn choose(&mut self, now: Duration) {
        let current = self
            .pairs
            .iter()
            .find(|pair| Some(pair.candidate.address) == self.chosen);
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
        let next = next.candidate.address;
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
            let active = self.active;
            self.begin(now, true);
            self.active = active;
        }
    }

    fn again_at(&self) -> Option<Duration> {
        let flowed = self.flowed?;
        let last = self.pairs.iter().filter_map(|pair| pair.asked).max();
        let idle = self.burst.is_none() && self.chosen.is_none() && self.linked;
        let at = last.or(self.called).unwrap_or(flowed) + BURST_AGAIN;
        (idle && at < flowed + FLOWS).then_some(at)
    }

    /// When an address is to be asked next.
    fn due(&self, place: usize) -> Option<Duration> {
        self.peer_tag?;
        let pair = self.pairs.get(place)?;
        let vain = match pair.confirmed() {
            true => Duration::ZERO,
            false => self.vain.saturating_sub(VAIN_MOST),
        };
        let Some(asked) = pair.asked else {
            return Some(vain);
        };
        let chosen = self.chosen == Some(pair.candidate.address);
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
        } else if self.burst.is_some_and(|since| asked < since + BURST) {
            BURST_EVERY
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
        let pair = self
            .pairs
            .iter()
            .find(|pair| pair.candidate.address == chosen)?;
        Some(Choice {
            address: chosen,
            max_datagram: pair.max_datagram(),
        })
    }
}

/// Which of a peer's questions were answered: each is once.
#[derive(Debug, Default)]
struct Replay {
    highest: u64,
    /// Bit n: highest − n was taken.
    taken: u64,
}

impl Replay {
    fn take(&mut self, count: u64) -> bool {
        if count > self.highest {
            let step = count - self.highest;
            self.taken = if step < 64 { self.taken << step } else { 0 } | 1;
            self.highest = count;
            return true;
        }
        let behind = self.highest - count;
        if behind >= 64 || self.taken & (1 << behind) != 0 {
            return false;
        }
        self.taken |= 1 << behind;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_question_is_answered_once_in_whatever_order_they_come() {
        let mut replay = Replay::default();
        for (count, fresh) in [
            (5, true),
            (5, false),
            (3, true),
            (3, false),
            (90, true),
            (5, false),
            (27, true),
            (26, false),
            (90, false),
        ] {
            assert_eq!(replay.take(count), fresh, "{count}");
        }
    }
}
