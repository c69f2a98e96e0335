//! When to dial those that the [choice](crate::choice) wants.
//!
//! An attempt that fails is repeated after a pause that grows
//! from a quarter of a second to an eighth of the time for which the peer was not heard of, but at least to [`RECENT`] and
//! at most to [`IDLE`]: who has just gone may be back at once, and who is off since an hour is not asked for each second.
//! Any hint that a peer may be reachable (it was seen on the LAN, others heard it, an interface changed, there is
//! traffic for it) makes it due at once. A sign of life also ends an attempt that began [`STALE`] before: that one may wait
//! seconds until it sends again, and a fresh one sends now.
//!
//! Of two devices that want each other, the one with the smaller id dials at once and the other [`YIELD`] later, so that
//! as a rule only one does. If both did, [`keeps_new`] tells both which connection to keep. A device that dials while it
//! has a link for longer than [`SIMULTANEOUS`] has lost it, as after a restart, though the other side cannot know yet.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::peer::PeerId;

/// How long the device with the greater id waits for the other's dial.
pub const YIELD: Duration = Duration::from_millis(700);
/// The longest pause between attempts to a peer that was heard of just now.
pub const RECENT: Duration = Duration::from_secs(1);
/// The longest pause between attempts to any.
pub const IDLE: Duration = Duration::from_secs(60);
/// Two connections within this time were dialled by both sides at once.
pub const SIMULTANEOUS: Duration = Duration::from_millis(1500);
/// The most attempts under way at once.
pub const AT_ONCE: usize = 16;

/// From when on an attempt under way is worth less than a fresh one, if there is a sign of life.
pub const STALE: Duration = Duration::from_secs(1);

const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// A connection to a peer that there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Whether this side dialled it.
    pub dialled_here: bool,
    /// For how long it has been there.
    pub age: Duration,
}

/// Whether a new connection replaces the one there is: one that comes later does, and so does a second one by the same
/// side, for its dialler knows the first to be dead; of two at once, that which the smaller id dialled stays.
#[must_use]
pub fn keeps_new(me: &PeerId, peer: &PeerId, old: Standing, new_dialled_here: bool) -> bool {
    old.age > SIMULTANEOUS
        || old.dialled_here == new_dialled_here
        || new_dialled_here == (me < peer)
}

/// The times at which peers are due. Times are since any fixed moment, the same in every call.
#[derive(Debug)]
pub struct Dialler {
    me: PeerId,
    attempts: BTreeMap<PeerId, Attempt>,
    /// Peers whose attempt under way took the place of a stale one.
    fresh: BTreeSet<PeerId>,
}

#[derive(Debug, Clone, Copy)]
enum Attempt {
    /// To be dialled at a time; the pause before it.
    Due(Duration, Duration),
    /// Under way since a time; the pause to follow a failure.
    Dialling(Duration, Duration),
    /// Linked.
    Linked,
}

impl Dialler {
    /// Nobody is wanted yet.
    #[must_use]
    pub fn new(me: PeerId) -> Self {
        Self {
            me,
            attempts: BTreeMap::new(),
            fresh: BTreeSet::new(),
        }
    }

    /// Sets whom to be linked with, and how long to wait before the first attempt to each. Who is gone is forgotten.
    pub fn want(&mut self, wanted: &BTreeMap<PeerId, Duration>, now: Duration) {
        self.attempts.retain(|peer, attempt| {
            wanted.contains_key(peer) || matches!(attempt, Attempt::Linked)
        });
        self.fresh.retain(|peer| wanted.contains_key(peer));
        for (peer, pause) in wanted {
            let own = if self.me < *peer {
                Duration::ZERO
            } else {
                YIELD
            };
            let first = now + *pause + own;
            self.attempts
                .entry(*peer)
                .or_insert(Attempt::Due(first, FIRST_PAUSE));
        }
    }

    /// Takes the peers that are due; each is under way until [`Self::failed`] or [`Self::linked`].
    pub fn due(&mut self, now: Duration) -> Vec<PeerId> {
        let under_way = self
            .attempts
            .values()
            .filter(|a| matches!(a, Attempt::Dialling(..)))
            .count();
        let mut due = Vec::new();
        for (peer, attempt) in &mut self.attempts {
            if let Attempt::Due(at, pause) = *attempt
                && at <= now
                && under_way + due.len() < AT_ONCE
            {
                *attempt = Attempt::Dialling(now, pause);
                due.push(*peer);
            }
        }
        due
    }

    /// When the next is due, if any is.
    #[must_use]
    pub fn next(&self) -> Option<Duration> {
        self.attempts
            .values()
            .filter_map(|a| {
                if let Attempt::Due(at, _) = a {
                    Some(*at)
                } else {
                    None
                }
            })
            .min()
    }

    /// An attempt failed. `last_heard`: when the peer was last heard of, in any way.
    pub fn failed(&mut self, peer: &PeerId, last_heard: Option<Duration>, now: Duration) {
        self.fresh.remove(peer);
        if let Some(attempt) = self.attempts.get_mut(peer)
            && let Attempt::Dialling(_, pause) = *attempt
        {
            let silence = last_heard.map(|heard| now.saturating_sub(heard));
            let longest = silence.map_or(IDLE, |silence| (silence / 8).clamp(RECENT, IDLE));
            *attempt = Attempt::Due(now + pause.min(longest), (pause * 2).min(longest));
        }
    }

    /// There is a link.
    pub fn linked(&mut self, peer: PeerId) {
        self.fresh.remove(&peer);
        self.attempts.insert(peer, Attempt::Linked);
    }

    /// The link is gone; the peer is due soon again.
    pub fn lost(&mut self, peer: &PeerId, now: Duration) {
        if let Some(attempt) = self.attempts.get_mut(peer) {
            *attempt = Attempt::Due(now + FIRST_PAUSE, FIRST_PAUSE);
        }
    }

    /// The peer may be reachable now.
    pub fn hint(&mut self, peer: &PeerId, now: Duration) {
        if let Some(attempt @ Attempt::Due(..)) = self.attempts.get_mut(peer) {
            *attempt = Attempt::Due(now, FIRST_PAUSE);
        }
    }

    /// The peer lives: it was heard of just now. True if an attempt under way is to be given up for a fresh one, which is due
    /// at once; such a fresh one is not given up in turn.
    #[must_use]
    pub fn alive(&mut self, peer: &PeerId, now: Duration) -> bool {
        if let Some(attempt) = self.attempts.get_mut(peer)
            && let Attempt::Dialling(since, pause) = *attempt
            && now.saturating_sub(since) >= STALE
            && self.fresh.insert(*peer)
        {
            *attempt = Attempt::Due(now, pause);
            return true;
        }
        self.hint(peer, now);
        false
    }

    /// Everybody may be reachable now: an interface changed.
    pub fn hint_all(&mut self, now: Duration) {
        for attempt in self.attempts.values_mut() {
            if matches!(attempt, Attempt::Due(..)) {
                *attempt = Attempt::Due(now, FIRST_PAUSE);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn peer(n: u8) -> PeerId {
        PeerId([n; 32])
    }

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn the_smaller_id_dials_first() {
        let mut low = Dialler::new(peer(1));
        low.want(&[(peer(2), Duration::ZERO)].into(), seconds(5));
        assert_eq!(low.due(seconds(5)), [peer(2)]);
        let mut high = Dialler::new(peer(3));
        high.want(&[(peer(2), Duration::ZERO)].into(), seconds(5));
        assert!(high.due(seconds(5)).is_empty());
        assert_eq!(high.due(seconds(5) + YIELD), [peer(2)]);
    }

    #[test]
    fn failures_are_repeated_often_for_peers_heard_just_now_and_rarely_for_others() {
        for (silence, longest) in [
            (Some(seconds(0)), RECENT),
            (Some(seconds(40)), seconds(5)),
            (Some(seconds(4000)), IDLE),
            (None, IDLE),
        ] {
            let mut dialler = Dialler::new(peer(1));
            dialler.want(&[(peer(2), Duration::ZERO)].into(), seconds(1));
            let mut now = seconds(5000);
            let mut pause = Duration::ZERO;
            for _ in 0..12 {
                let heard = silence.map(|silence| now - silence);
                assert_eq!(dialler.due(now), [peer(2)]);
                assert!(dialler.due(now).is_empty(), "one attempt at a time");
                dialler.failed(&peer(2), heard, now);
                pause = dialler.next().unwrap() - now;
                now = dialler.next().unwrap();
            }
            assert_eq!(pause, longest);
            dialler.hint(&peer(2), now - pause);
            assert_eq!(
                dialler.due(now - pause),
                [peer(2)],
                "a hint makes it due at once"
            );
        }
    }

    #[test]
    fn a_lost_link_is_dialled_again_and_an_unwanted_peer_is_not() {
        let mut dialler = Dialler::new(peer(1));
        dialler.want(
            &[(peer(2), Duration::ZERO), (peer(3), Duration::ZERO)].into(),
            seconds(1),
        );
        dialler.due(seconds(1));
        dialler.linked(peer(2));
        dialler.failed(&peer(3), None, seconds(1));
        dialler.want(&[(peer(2), Duration::ZERO)].into(), seconds(2));
        assert_eq!(dialler.next(), None);
        dialler.lost(&peer(2), seconds(3));
        assert_eq!(dialler.due(seconds(4)), [peer(2)]);
    }

    #[test]
    fn a_sign_of_life_ends_an_attempt_that_is_stale_once() {
        let mut dialler = Dialler::new(peer(1));
        dialler.want(&[(peer(2), Duration::ZERO)].into(), seconds(1));
        dialler.due(seconds(1));
        let early = seconds(1) + STALE - Duration::from_millis(1);
        assert!(!dialler.alive(&peer(2), early), "it may be answered yet");
        assert!(dialler.alive(&peer(2), seconds(1) + STALE));
        assert_eq!(dialler.due(seconds(3)), [peer(2)]);
        assert!(
            !dialler.alive(&peer(2), seconds(9)),
            "a slow peer must not be interrupted for ever"
        );
        dialler.failed(&peer(2), Some(seconds(9)), seconds(9));
        assert!(!dialler.alive(&peer(2), seconds(9)), "a pause just ends");
        assert_eq!(dialler.due(seconds(9)), [peer(2)]);
    }

    #[test]
    fn both_sides_keep_the_same_one_of_two_connections() {
        let (low, high) = (peer(1), peer(2));
        let old = |dialled_here| Standing {
            dialled_here,
            age: Duration::from_millis(20),
        };
        // Each saw its own first, then the other's.
        assert!(!keeps_new(&low, &high, old(true), false));
        assert!(keeps_new(&high, &low, old(true), false));
        // Each saw the other's first, then its own.
        assert!(keeps_new(&low, &high, old(false), true));
        assert!(!keeps_new(&high, &low, old(false), true));
        // A second by the same side replaces the first.
        assert!(keeps_new(&low, &high, old(false), false));
        assert!(keeps_new(&high, &low, old(true), true));
    }

    #[test]
    fn who_dials_again_later_has_lost_the_link_whatever_this_side_believes() {
        let old = Standing {
            dialled_here: true,
            age: SIMULTANEOUS + Duration::from_millis(1),
        };
        assert!(keeps_new(&peer(1), &peer(2), old, false));
    }
}
