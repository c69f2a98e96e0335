//! One place of a peer: what was asked, what was answered, and how long a datagram it carries.

use std::collections::VecDeque;
use std::time::Duration;

use super::candidate::{Class, Kind, Place};
use super::{LARGEST, LOST_FOR, MISSES, SMALLEST, TIMEOUT};

/// The lengths that are tried, downwards.
const LADDER: [usize; 4] = [LARGEST, 1392, 1312, SMALLEST];
/// So many long questions in a row without an answer, while short ones are answered, and a length that is tried does not pass.
const LONG_MISSES: u32 = 2;
/// So many, and one that passed does not any more: on a path that loses packets, two are lost often.
const LONG_LOST: u32 = 3;
/// How often a length that did not pass is tried again.
const LONG_AGAIN: Duration = Duration::from_secs(60);
/// An answer is not late before this, however quick the others were.
const PROMPT: Duration = Duration::from_millis(250);
/// After so long no answer is waited for.
const FORGET: Duration = Duration::from_secs(4);
/// The most questions that may be open.
const MAX_OPEN: usize = 24;

/// See the module.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) place: Place,
    /// How the address came to be known, if it is one.
    pub(super) kind: Option<Kind>,
    open: VecDeque<Question>,
    pub(super) asked: Option<Duration>,
    /// When the last answer came; none when it is not confirmed (any more).
    pub(super) answered: Option<Duration>,
    /// The same, also when it has died since.
    pub(super) worked: Option<Duration>,
    /// The peer asked from there after it was asked.
    pub(super) hinted: bool,
    /// Questions in a row that nobody answered.
    misses: u32,
    pub(super) rtt: Option<Duration>,
    /// The place in the ladder of the length that passes for sure.
    passes: usize,
    /// The place of the one that is tried, above it.
    tries: Option<usize>,
    long_misses: u32,
    /// What passed has just been found not to pass any more.
    narrowed: bool,
    try_again: Duration,
}

#[derive(Debug)]
struct Question {
    nonce: u64,
    at: Duration,
    /// The place in the ladder of its length; none if it is short.
    long: Option<usize>,
    /// It was late already.
    missed: bool,
}

impl Pair {
    pub(super) fn new(place: Place, kind: Option<Kind>) -> Self {
        Self {
            place,
            kind,
            open: VecDeque::new(),
            asked: None,
            answered: None,
            worked: None,
            hinted: false,
            misses: 0,
            rtt: None,
            passes: LADDER.len() - 1,
            tries: None,
            long_misses: 0,
            narrowed: false,
            try_again: Duration::ZERO,
        }
    }

    pub(super) fn confirmed(&self) -> bool {
        self.answered.is_some()
    }

    /// Whether it answered before and died, not too long ago.
    pub(super) fn lost(&self, now: Duration) -> bool {
        let lately = |at: Duration| now.saturating_sub(at) < LOST_FOR;
        !self.confirmed() && self.worked.is_some_and(lately)
    }

    /// For the choice: the kind of way, then the time.
    pub(super) fn rank(&self) -> (Class, Duration) {
        (
            Class::of(&self.place, self.kind),
            self.rtt.unwrap_or(Duration::MAX),
        )
    }

    /// The longest datagram that surely passes.
    pub(super) fn max_datagram(&self) -> usize {
        LADDER.get(self.passes).copied().unwrap_or(SMALLEST)
    }

    /// What was found out may be true no longer: it is asked again soon, and carries short datagrams alone until then.
    pub(super) fn doubt(&mut self) {
        self.misses = self.misses.max(1);
        self.long_misses = 0;
        self.passes = LADDER.len() - 1;
        self.tries = None;
        self.try_again = Duration::ZERO;
    }

    /// Whether a check of this moment fails: something is open that is late.
    pub(super) fn in_doubt(&self) -> bool {
        self.misses > 0 || self.long_misses > 0
    }

    /// Notes a question, and returns how long it is to be.
    pub(super) fn ask(&mut self, nonce: u64, now: Duration) -> usize {
        let longer = self.passes > 0 && self.has_length();
        if self.tries.is_none() && longer && self.confirmed() && now >= self.try_again {
            self.tries = Some(0);
            self.long_misses = 0;
        }
        let long = match (self.confirmed() && self.misses == 0, self.tries) {
            (true, Some(tries)) => Some(tries),
            // After one that is not answered, a short one tells whether it is the length.
            (true, None) if self.passes + 1 < LADDER.len() => Some(self.passes),
            _ => None,
        };
        if self.open.len() >= MAX_OPEN {
            self.open.pop_front();
        }
        self.open.push_back(Question {
            nonce,
            at: now,
            long,
            missed: false,
        });
        self.asked = Some(now);
        self.hinted = false;
        long.and_then(|place| LADDER.get(place).copied())
            .unwrap_or(0)
    }

    /// Takes an answer; false if nothing is open that it answers.
    pub(super) fn answer(&mut self, nonce: u64, now: Duration) -> bool {
        let place = self
            .open
            .iter()
            .position(|question| question.nonce == nonce);
        let Some(question) = place.and_then(|place| self.open.remove(place)) else {
            return false;
        };
        let sample = now.saturating_sub(question.at);
        self.rtt = Some(match self.rtt.filter(|_| self.answered.is_some()) {
            Some(rtt) => (rtt * 7 + sample) / 8,
            None => sample,
        });
        self.answered = Some(now);
        self.worked = Some(now);
        self.misses = 0;
        if let Some(long) = question.long {
            self.long_misses = 0;
            self.passes = self.passes.min(long);
            if self.tries.take().is_some() {
                self.try_again = now + LONG_AGAIN;
            }
        }
        true
    }

    /// Notes questions that are late. An answer that comes later still is one.
    pub(super) fn expire(&mut self, now: Duration) {
        let patience = self.patience();
        let mut late = Vec::new();
        for question in &mut self.open {
            if !question.missed && now.saturating_sub(question.at) >= patience {
                question.missed = true;
                late.push(question.long);
            }
        }
        self.open
            .retain(|question| now.saturating_sub(question.at) < FORGET);
        for long in late {
            match long {
                Some(place) => {
                    // While lengths are tried, nothing is said by it about the path.
                    self.misses += u32::from(self.tries.is_none());
                    self.long_missed(place, now);
                }
                None => self.misses += 1,
            }
        }
        if self.misses >= MISSES {
            self.answered = None;
            self.passes = LADDER.len() - 1;
            self.tries = None;
            self.try_again = Duration::ZERO;
        }
    }

    /// How long an answer may take: a few times what it takes as a rule.
    fn patience(&self) -> Duration {
        match self.rtt {
            Some(rtt) if self.confirmed() => (rtt * 4).clamp(PROMPT, TIMEOUT),
            _ => TIMEOUT,
        }
    }

    fn long_missed(&mut self, place: usize, now: Duration) {
        self.long_misses += 1;
        let enough = match self.tries {
            Some(_) => LONG_MISSES,
            None => LONG_LOST,
        };
        if self.long_misses < enough {
            return;
        }
        self.long_misses = 0;
        let below = place + 1;
        if place <= self.passes && self.tries.is_none() {
            // What passed does not any more.
            self.narrowed = true;
            self.passes = LADDER.len() - 1;
        }
        self.tries = (below < self.passes).then_some(below);
        if self.tries.is_none() {
            self.try_again = now + LONG_AGAIN;
        }
    }

    /// Whether what passed has been found not to pass any more, since this was asked last.
    pub(super) fn take_narrowed(&mut self) -> bool {
        std::mem::take(&mut self.narrowed)
    }

    /// When the next open question is late.
    pub(super) fn late(&self) -> Option<Duration> {
        let open = self.open.iter().find(|question| !question.missed);
        open.map(|question| question.at + self.patience())
    }

    /// Whether it is worth finding out how long a datagram may be. What is forwarded is cut into pieces that fit everywhere.
    fn has_length(&self) -> bool {
        self.place.address().is_some()
    }

    /// Whether lengths are being tried, so that the next question should not wait for a check.
    pub(super) fn measures(&self) -> bool {
        self.confirmed()
            && self.has_length()
            && (self.tries.is_some() || (self.passes > 0 && self.try_again == Duration::ZERO))
    }
}
