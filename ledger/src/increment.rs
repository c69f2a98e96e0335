//! The fold, kept and brought up to date: the same answers as [`fold()`](crate::fold::fold), for the price of what changed.
//!
//! # What a fold depends on
//!
//! The fold is a walk over the events in the order L, each a step from one state to the next. A step reads the state, the
//! event and its past (which never change), what the event's attributes say, and what was settled before the walk: terms,
//! removals, what closes invites, and the checkpoints that seal the order. So a step's outcome is still right after events
//! came if nothing that it reads is otherwise now. All others are taken again, in order, and no more than these: what a
//! step then writes otherwise than before makes those stale that read it, which all stand behind it. One step too many
//! costs a microsecond, one too few is a wrong answer.
//!
//! # Who reads what is written along the walk
//!
//! What depends on the place of an event (who is a member, whose a device is, how often an invite was used, every register,
//! name and number) is kept with its history, and each read leaves the reader's name there (`timeline.rs`). A step is taken
//! at its own place, whatever lies behind it. Of addresses, of which a claim looks at many, the claims are kept in order
//! and done again behind a late one (`state/addresses.rs`).
//!
//! What a step reads of its own past alone, wherever that stands, needs no history; who reads it follows from the graph:
//!
//! - A *valid admission*: events of the device behind it, and further devices of the user behind it. A *void* one: events of
//!   the device behind it, of which some give it as the reason.
//! - An *invite*: its redemptions.
//! - A *removal that asks for an epoch*, and an *epoch that answers*: rotations behind it.
//!
//! # What is settled before the walk, and who reads it
//!
//! P1 is run again as a whole when an event came that it looks at: an act of power, or a certificate. (A contest between
//! successions is decided by who has seen which; while there is one, it is run again for every event.) What it settles is
//! compared with what it settled before, and every difference names all of its readers (`changes.rs`):
//!
//! - A *removal* that counts now and did not, or counts no more, or as an act of another rank, or at another place among
//!   those with its target. It is read by its own step and those of events that carry it; by events of the target's devices
//!   that it does not cover, in each lane a suffix; by acts that bring such a device and that it does not cover (a device
//!   that two users call theirs is found by either); and, of a user or a term, by admissions by that user's invites that it
//!   does not cover, for the invite lapses with its issuer's terms.
//! - A *term* that began, or did not, or otherwise. It is read by events of the holder's devices behind its start, and by
//!   redemptions of invites that are among them.
//! - A removed device's *return*: read by events of the device behind it.
//! - A *succession*: its own step.
//! - What *closes an invite*: read by its redemptions that the closing does not know.
//! - A *seal*: read by redemptions that it does not know, of invites that had expired by then. And it changes L.
//! - A *pair* of user and device that came into being, or to which the device agreed: read by acts that bring the device
//!   for another user. (A removal of a user looks at every device, too; but of one that turns up later it finds nothing: what
//!   brings that lies outside of its past, and is void or stands behind it.)
//!
//! Acts of power themselves, closings and checkpoints change nothing in the state but what was said; why they are void is
//! put down anew whenever P1 ran.
//!
//! Attributes are read by the event's own step; when they become readable it is taken again. The genesis says what names and
//! numbers there are at all, so when that becomes readable, everything is walked again.
//!
//! # The order
//!
//! L is sorted by (least seal that covers, lamport, id). A seal that came or went changes the first part only for events
//! that had this seal or a later one or none, and those are a suffix of L. So is what must be sorted again (`sequence.rs`).
//! From the first event on that stands behind another than before, all steps are taken back under the old order and taken
//! again under the new one; often there is none.
//!
//! # What is shown
//!
//! Every write, and every write taken back, notes its key, and what is shown is recomputed for those keys alone. Taking back
//! the newest events, as after a trial, is a change like any other: differences are differences in either direction.

mod changes;
mod replay;
mod sequence;

use std::collections::BTreeSet;

use crate::authority::cast::{Cast, Touch};
use crate::authority::walk::{Closings, Roll, Unknown, Walk};
use crate::authority::{Authority, Ballot, Electors, Settled, Terms};
use crate::fold::Fold;
use crate::graph::{Graph, Idx};
use crate::ids::{DeviceId, UserId};
use crate::order::{Covers, Seals};
use crate::seal::Openings;
use crate::state::{Book, GENESIS, StandingOffer, View};
use crate::timeline::{Journal, Stale, Step};
use crate::verdict::Reason;
use changes::Changes;
use replay::Replay;
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
    /// Where each event stands in the order, by [`Idx`].
    places: Vec<u32>,
    /// What each step read and wrote, by [`Idx`].
    journal: Journal,
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
            places: Vec::new(),
            journal: Journal::default(),
            narrow: BTreeSet::new(),
            fold: Fold::founded(&Graph::new()),
        }
    }

    /// How many bytes of memory it takes, about: what is kept for each event's place, verdicts, notes, and histories.
    pub(crate) fn bytes(&self) -> [usize; 4] {
        // The order, places in it, seals, authors.
        let places = self.places.len() * 4 * size_of::<Idx>();
        let histories = self.roll.bytes() + self.book.as_ref().map_or(0, Book::bytes);
        let (verdicts, notes) = (self.fold.verdicts.bytes(), self.journal.bytes());
        [places, verdicts, notes, histories]
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

    /// The accepted checkpoints.
    pub(crate) fn checkpoints(&self) -> impl Iterator<Item = Idx> {
        self.seals.list.iter().map(|seal| seal.event)
    }

    /// The events that no accepted checkpoint covers: they come last.
    pub(crate) fn unsealed(&self) -> impl Iterator<Item = Idx> {
        let order = self.fold.order.iter().rev().copied();
        order.take_while(|idx| self.sealed.is_open(*idx))
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
    pub fn update<'a>(&mut self, graph: &Graph, opened: impl Into<Openings<'a>>, readable: &[Idx]) {
        self.change(graph, opened.into(), graph.len(), readable);
    }

    /// Takes back all events behind the first `len`, which the graph must still have.
    pub fn retract<'a>(&mut self, graph: &Graph, opened: impl Into<Openings<'a>>, len: usize) {
        if len < self.cast.len() {
            self.change(graph, opened.into(), len, &[]);
        }
    }

    fn change(&mut self, graph: &Graph, attributes: Openings<'_>, len: usize, readable: &[Idx]) {
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
        changes.events(readable);
        changes.pairs(&touch.pairs);
        let settled = std::mem::take(&mut self.settled);
        let (terms, mut terms_changed) = if touch.terms {
            self.ballots.retain(|ballot| !ballot.reaches(len));
            let terms = Terms::settle(graph, &self.cast, &mut self.ballots, Electors::Members);
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
        let mut changed = changes.into_events();

        // Under the old order, what goes or moves is taken back.
        self.journal.resize(before.max(len));
        let moved;
        let tail;
        {
            let order = &self.fold.order;
            let mut stale = Stale::new(&self.places, u32::MAX);
            let mut replay = Replay {
                walk: Walk {
                    graph,
                    cast: &self.cast,
                    terms: &terms,
                    seals: &self.seals,
                    closings: &self.closings,
                    roll: &mut self.roll,
                    now: Step::kept(&self.places),
                    unknown: Unknown::default(),
                },
                book: self.book.as_mut(),
                attributes,
                journal: &mut self.journal,
            };
            for idx in &leaving {
                replay.leave(*idx, &mut stale);
            }
            changed.extend(stale.into_events());
            let gap = leaving.iter().map(|idx| self.places[idx.0 as usize]).min();
            let motion = Motion {
                fresh: &fresh,
                leaving: leaving.len(),
                gap: gap.map_or(order.len(), |gap| gap as usize),
                least_seal,
            };
            tail = self.sealed.arrange(graph, order, &self.seals, &motion);
            let stays = |idx: &Idx| (idx.0 as usize) < len;
            changed.retain(stays);
            moved = if before > 0 && changed.contains(&GENESIS) {
                order.iter().copied().filter(stays).collect()
            } else {
                tail.moved
            };
            for idx in moved.iter().rev() {
                replay.undo(*idx);
            }
        }
        let order = &mut self.fold.order;
        order.truncate(tail.from);
        order.extend(tail.events);
        self.journal.resize(len);
        self.places.resize(len, 0);
        for (place, idx) in order.iter().enumerate().skip(tail.from) {
            self.places[idx.0 as usize] = place as u32;
        }

        // From here on all are new or moved.
        let place = |idx: &Idx| self.places[idx.0 as usize] as usize;
        let mut from = moved.iter().map(place).min().unwrap_or(order.len());
        while from > 0 && order[from - 1].0 as usize >= before {
            from -= 1;
        }
        let mut stale = Stale::new(&self.places, from as u32);
        for idx in changed.iter().chain(&fresh) {
            stale.insert(*idx);
        }

        let mut judged = Judged {
            graph,
            attributes,
            fold: &mut self.fold,
        };
        judged.fold.verdicts.resize(len);
        let mut replay = Replay {
            walk: Walk {
                graph,
                cast: &self.cast,
                terms: &terms,
                seals: &self.seals,
                closings: &self.closings,
                roll: &mut self.roll,
                now: Step::kept(&self.places),
                unknown: Unknown::default(),
            },
            book: self.book.as_mut(),
            attributes,
            journal: &mut self.journal,
        };
        loop {
            let next = stale.next();
            let until = next.map_or(from as u32, |next| self.places[next.0 as usize]);
            if let Some(book) = &mut replay.book
                && let Some(other) = book.catch_up(&self.places, until)
            {
                stale.insert(other);
                continue;
            }
            let Some(idx) = next else { break };
            stale.remove(idx);
            let result = replay.again(idx, &mut stale);
            judged.judge(idx, result, replay.book.as_deref());
        }
        for at in from..judged.fold.order.len() {
            let idx = judged.fold.order[at];
            let result = replay.take(idx);
            judged.judge(idx, result, replay.book.as_deref());
        }
        let Replay { walk, book, .. } = replay;
        // What was said of acts that are judged before the walk.
        if touch.terms {
            let acts = [
                &self.cast.grants,
                &self.cast.removals,
                &self.cast.successions,
            ];
            for idx in acts.into_iter().flatten() {
                judged.judge(*idx, terms.verdict(*idx), book.as_deref());
            }
        }
        if touch.terms || touch.closings {
            for idx in &self.cast.closings {
                let void = self.closings.void.get(idx).cloned();
                judged.judge(*idx, void.map_or(Ok(()), Err), book.as_deref());
            }
        }
        if touch.terms || touch.seals {
            for idx in &self.cast.checkpoints {
                let void = self.seals.void.get(idx).cloned();
                judged.judge(*idx, void.map_or(Ok(()), Err), book.as_deref());
            }
        }

        let fold = &mut self.fold;
        fold.state.pending = fold.verdicts.pending();
        let mut touched = walk.roll.touched();
        if terms_changed {
            walk.show_terms(&mut fold.authority);
            touched.invites.extend(walk.invites());
        }
        touched.invites.extend(invites);
        walk.show(&mut fold.authority, &touched);
        if let Some(book) = book {
            let entries = book.touched();
            let renamed: Vec<UserId> = entries.called().copied().collect();
            let view = View {
                graph,
                cast: &self.cast,
                opened: attributes,
                book,
            };
            let narrow = view.show(
                &mut fold.state,
                &fold.authority,
                &touched,
                entries,
                terms_changed,
            );
            self.narrow.extend(narrow);
            for user in renamed {
                fold.verdicts.rename(&user, book.called(&user));
            }
        }
        self.settled = terms.into_settled();
        if len == 0 {
            *fold = Fold::founded(&Graph::new());
        }
    }
}

/// The verdicts.
struct Judged<'a> {
    graph: &'a Graph,
    attributes: Openings<'a>,
    fold: &'a mut Fold,
}

impl Judged<'_> {
    /// Puts down what became of an event.
    fn judge(&mut self, idx: Idx, result: Result<(), Reason>, book: Option<&Book>) {
        let waits = result.map(|()| self.attributes.is_pending(self.graph, idx));
        let called = |user: &UserId| book.and_then(|book| book.called(user).cloned());
        let verdicts = &mut self.fold.verdicts;
        verdicts.set(idx.0 as usize, waits, &called);
    }
}
