//! The fold, kept and brought up to date: the same answers as [`fold()`](crate::fold::fold), for the price of what changed.
//!
//! # What a fold depends on
//!
//! The fold is a walk over the events in the order L, each a step from one state to the next. A step reads the state, the
//! event and its past (which never change), what the event's attributes say, and what was settled before the walk: terms,
//! removals, what closes invites, and the checkpoints that seal the order. So the state in front of a place in L is still
//! right after events came if (1) the events in front of it are the same in the same order, and (2) none of them reads
//! something that is settled otherwise now. We rewind to such a place and walk on from there. Which place is the first
//! that could be wrong, and nothing else, is what this module has to find out; a place too early costs time, one too late
//! is a wrong answer.
//!
//! # What can have changed, and who reads it
//!
//! P1 is run again as a whole when an event came that it looks at: an act of power, or a certificate. (A contest between
//! successions is decided by who has seen which; while there is one, it is run again for every event.) What it settles is
//! compared with what it settled before, and every difference names its readers (`changes.rs`):
//!
//! - A *removal* that counts now and did not, or counts no more, or as an act of another rank, or at another place among
//!   those with its target. It is read by its own step and those of events that carry it; by events of the target's devices
//!   that it does not cover, in each lane a suffix; by acts that bring such a device and that it does not cover (a device
//!   that two users call theirs is found by either); and, of a user or a term, by admissions by that user's invites that it
//!   does not cover, for the invite lapses with its issuer's terms.
//! - A *succession*: its own step.
//! - What *closes an invite*: read by its redemptions that the closing does not know.
//! - A *seal*: read by redemptions that it does not know, of invites that had expired by then. And it changes L.
//! - A *pair* of user and device that came into being, or to which the device agreed: read by acts that bring the device
//!   for another user.
//!
//! A *term* that began and did not before, or the other way round, and a removed device's *return* are read by much, and need
//! no rule of their own: they change only with something above, which is read by an event in front of all their readers.
//! Take a term that a grant began. It falls because a removal reaches the grant, which is one of its author's events that
//! this removal does not cover; or because a removal of the new holder is concurrent with the grant or known to it, and then
//! covers nothing that the holder wrote behind it; or because the granter's own term or return fell, which lie in its past.
//! An owner's term changes with a succession. A return is an admission, and falls as a grant does.
//!
//! Acts of power themselves, closings and checkpoints change nothing in the state but what was said; why they are void is
//! put down anew whenever P1 ran.
//!
//! Attributes are read by the event's own step, so one that becomes readable is walked again from there on.
//!
//! # The order
//!
//! L is sorted by (least seal that covers, lamport, id). A seal that came or went changes the first part only for events
//! that had this seal or a later one or none, and those are a suffix of L. So is what must be sorted again (`sequence.rs`);
//! the first place at which it differs from what was there counts as changed, and often there is none.
//!
//! # Going back
//!
//! The states of the walk keep, for every write, what stood there before. Rewinding pops these logs. No snapshots are made;
//! the log of a whole history is a few dozen bytes an event. Both writing and rewinding note which keys they touched, and
//! what is shown is recomputed for those keys alone. Taking back the newest events, as after a trial, is a change like any
//! other: differences are differences in either direction.

mod changes;
mod sequence;

use std::collections::{BTreeMap, BTreeSet};

use crate::authority::cast::{Cast, Touch};
use crate::authority::walk::{Closings, Roll, Walk};
use crate::authority::{Authority, Ballot, Settled, Terms};
use crate::event::attributes::Opened;
use crate::fold::Fold;
use crate::graph::{Graph, Idx};
use crate::ids::{DeviceId, UserId};
use crate::order::{Covers, Seals};
use crate::state::{Book, Build, Mark, StandingOffer, opened};
use crate::verdict::{Reason, Verdict};
use changes::Changes;
use sequence::{Motion, Sealed};

/// See the module.
pub struct Increment {
    cast: Cast,
    settled: Settled,
    ballots: Vec<Ballot>,
    covers: Covers,
    seals: Seals,
    closings: Closings,
    sealed: Sealed,
    roll: Roll,
    /// None for the fold of acts alone.
    book: Option<Book>,
    /// What to rewind to, for each place in the order.
    marks: Vec<(usize, Option<Mark>)>,
    /// Void events whose reason names a user.
    naming: BTreeMap<UserId, BTreeSet<Idx>>,
    /// Where offers stand that are sealed to their audience and were shown anew.
    narrow: BTreeSet<(DeviceId, u32)>,
    fold: Fold,
}

impl Default for Increment {
    fn default() -> Self {
        Self::new()
    }
}

impl Increment {
    /// The fold of nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::with(Some(Book::default()))
    }

    /// The fold of nothing on acts alone, for those who hold no keys: of what it makes, the authority and the order mean
    /// something, and of verdicts, those on acts.
    #[must_use]
    pub fn of_acts() -> Self {
        Self::with(None)
    }

    fn with(book: Option<Book>) -> Self {
        Self {
            cast: Cast::default(),
            settled: Settled::default(),
            ballots: Vec::new(),
            covers: Covers::new(),
            seals: Seals::default(),
            closings: Closings::default(),
            sealed: Sealed::default(),
            roll: Roll::default(),
            book,
            marks: Vec::new(),
            naming: BTreeMap::new(),
            narrow: BTreeSet::new(),
            fold: Fold::founded(&Graph::new()),
        }
    }

    /// What the events amount to, as of the last [`Self::update`] or [`Self::retract`].
    #[must_use]
    pub fn fold(&self) -> &Fold {
        &self.fold
    }

    /// Who may do what.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.fold.authority
    }

    /// Where offers sealed to their audience were shown anew since this was asked last: what was opened of them is shown no
    /// more.
    pub(crate) fn narrow(&mut self) -> BTreeSet<(DeviceId, u32)> {
        std::mem::take(&mut self.narrow)
    }

    /// Shows what was opened of an offer that is sealed to its audience.
    pub(crate) fn show_narrow(&mut self, place: (DeviceId, u32), opened: StandingOffer) {
        self.fold.state.offers.insert(place, opened);
    }

    /// Takes what was inserted into the graph since the last call. `readable` are earlier events of which `opened` says
    /// something else than it did then.
    pub fn update(&mut self, graph: &Graph, opened: &[Opened], readable: &[Idx]) {
        self.change(graph, opened, graph.len(), readable);
    }

    /// Takes back all events behind the first `len`, which the graph must still have.
    pub fn retract(&mut self, graph: &Graph, opened: &[Opened], len: usize) {
        if len < self.cast.len() {
            self.change(graph, opened, len, &[]);
        }
    }

    fn change(&mut self, graph: &Graph, attributes: &[Opened], len: usize, readable: &[Idx]) {
        let before = self.cast.len();
        if before == 0 {
            self.fold = Fold::founded(graph);
        }
        let mut touch = Touch::default();
        let leaving: Vec<Idx> = (len..before).rev().map(|n| Idx(n as u32)).collect();
        for idx in &leaving {
            self.cast.leave(graph, *idx, &mut touch);
        }
        let fresh: Vec<Idx> = (before..len).map(|n| Idx(n as u32)).collect();
        for idx in &fresh {
            self.cast.enter(graph, *idx, &mut touch);
        }
        touch.terms |= !self.ballots.is_empty();

        let mut changes = Changes::new(graph, &self.cast, before.min(len));
        changes.events(&leaving, before);
        changes.events(readable, before);
        changes.pairs(&touch.pairs);
        let settled = std::mem::take(&mut self.settled);
        let (terms, mut terms_changed) = if touch.terms {
            self.ballots.retain(|ballot| !ballot.reaches(len));
            let terms = Terms::settle(graph, &self.cast, &mut self.ballots);
            let changed = changes.terms(&settled, &terms);
            (terms, changed)
        } else {
            (Terms::of(graph, &self.cast, settled), false)
        };
        terms_changed |= before == 0;
        let mut invites = BTreeSet::new();
        if touch.terms || touch.closings {
            let closings = Closings::of(graph, &self.cast, &terms);
            invites = changes.closings(&self.closings, &closings);
            self.closings = closings;
        }
        let mut least_seal = None;
        if touch.terms || touch.seals {
            self.covers.retain(|idx, _| (idx.0 as usize) < len);
            let seals = Seals::of(graph, &self.cast, &terms, &mut self.covers);
            least_seal = changes.seals(&self.seals, &seals);
            self.seals = seals;
        }

        let order = &mut self.fold.order;
        let changed = changes.into_events();
        let place = self.sealed.first(graph, order, &changed);
        let motion = Motion {
            fresh: &fresh,
            leaving: leaving.len(),
            least_seal,
            place,
        };
        let tail = self.sealed.arrange(graph, order, &self.seals, &motion);
        let place = place.min(tail.differs);
        if let Some((roll, book)) = self.marks.get(place).copied() {
            self.roll.rewind(roll);
            if let (Some(mine), Some(mark)) = (&mut self.book, book) {
                mine.rewind(mark);
            }
            self.marks.truncate(place);
        }
        order.truncate(tail.from);
        order.extend(tail.events);

        let mut judged = Judged {
            graph,
            attributes,
            naming: &mut self.naming,
            fold: &mut self.fold,
        };
        for idx in &leaving {
            judged.forget(*idx);
        }
        judged.fold.verdicts.resize(len, Verdict::Counted);
        let mut walk = Walk {
            graph,
            cast: &self.cast,
            terms: &terms,
            seals: &self.seals,
            closings: &self.closings,
            roll: &mut self.roll,
        };
        for at in place..judged.fold.order.len() {
            let idx = judged.fold.order[at];
            let mark = self.book.as_ref().map(Book::mark);
            self.marks.push((walk.roll.mark(), mark));
            let mut result = walk.step(idx);
            if let (Ok(standing), Some(book)) = (&result, &mut self.book) {
                let mut build = Build {
                    graph,
                    cast: &self.cast,
                    opened: attributes,
                    book,
                };
                if let Err(reason) = build.step(idx, &walk.roll.effects, *standing) {
                    result = Err(reason);
                }
            }
            judged.judge(idx, result.map(|_| ()), self.book.as_ref());
        }
        // What was said of acts that are judged before the walk.
        if touch.terms {
            let acts = [
                &self.cast.grants,
                &self.cast.removals,
                &self.cast.successions,
            ];
            for idx in acts.into_iter().flatten() {
                judged.judge(*idx, terms.verdict(*idx), self.book.as_ref());
            }
        }
        if touch.terms || touch.closings {
            for idx in &self.cast.closings {
                let void = self.closings.void.get(idx).cloned();
                judged.judge(*idx, void.map_or(Ok(()), Err), self.book.as_ref());
            }
        }
        if touch.terms || touch.seals {
            for idx in &self.cast.checkpoints {
                let void = self.seals.void.get(idx).cloned();
                judged.judge(*idx, void.map_or(Ok(()), Err), self.book.as_ref());
            }
        }

        let fold = &mut self.fold;
        let mut touched = walk.roll.touched();
        if terms_changed {
            walk.show_terms(&mut fold.authority);
            touched.invites.extend(walk.invites());
        }
        touched.invites.extend(invites);
        walk.show(&mut fold.authority, &touched);
        if let Some(book) = &mut self.book {
            let entries = book.touched();
            let renamed: Vec<UserId> = entries.called().copied().collect();
            let build = Build {
                graph,
                cast: &self.cast,
                opened: attributes,
                book: &mut *book,
            };
            let narrow = build.show(
                &mut fold.state,
                &fold.authority,
                &touched,
                entries,
                terms_changed,
            );
            self.narrow.extend(narrow);
            for user in renamed {
                let name = book.called(&user);
                for idx in self.naming.get(&user).into_iter().flatten() {
                    if let Verdict::Void(reason) = &mut fold.verdicts[idx.0 as usize] {
                        reason.name(|_| name.cloned());
                    }
                }
            }
        }
        self.settled = terms.into_settled();
        if len == 0 {
            *fold = Fold::founded(&Graph::new());
        }
    }
}

/// The verdicts, and who is named in them.
struct Judged<'a> {
    graph: &'a Graph,
    attributes: &'a [Opened],
    naming: &'a mut BTreeMap<UserId, BTreeSet<Idx>>,
    fold: &'a mut Fold,
}

impl Judged<'_> {
    /// Puts down what became of an event.
    fn judge(&mut self, idx: Idx, result: Result<(), Reason>, book: Option<&Book>) {
        let verdict = match result {
            Err(mut reason) => {
                if let Some(book) = book {
                    reason.name(|user| book.called(user).cloned());
                }
                Verdict::Void(reason)
            }
            Ok(()) if *opened(self.graph, self.attributes, idx) == Opened::Pending => {
                Verdict::Pending
            }
            Ok(()) => Verdict::Counted,
        };
        self.set(idx, verdict);
    }

    /// An event is taken back.
    fn forget(&mut self, idx: Idx) {
        self.set(idx, Verdict::Counted);
        self.fold.verdicts.pop();
    }

    fn set(&mut self, idx: Idx, verdict: Verdict) {
        let slot = &mut self.fold.verdicts[idx.0 as usize];
        let before = std::mem::replace(slot, verdict);
        let pending = &mut self.fold.state.pending;
        *pending -= usize::from(before == Verdict::Pending);
        *pending += usize::from(*slot == Verdict::Pending);
        let named = |verdict: &Verdict| verdict.reason().and_then(Reason::user);
        let (was, is) = (named(&before), named(slot));
        if was != is {
            if let Some(user) = was
                && let Some(events) = self.naming.get_mut(&user)
            {
                events.remove(&idx);
                if events.is_empty() {
                    self.naming.remove(&user);
                }
            }
            if let Some(user) = is {
                self.naming.entry(user).or_default().insert(idx);
            }
        }
    }
}
