//! Steps of the walk, taken, taken back and taken again.

use super::changes::readers;
use crate::authority::walk::{Entry, Walk};
use crate::graph::Idx;
use crate::seal::Openings;
use crate::state::{Book, Build};
use crate::timeline::{Journal, Mark, Stale};
use crate::verdict::Reason;

/// The walk at a step, and what each step read and wrote.
pub(super) struct Replay<'a> {
    pub(super) walk: Walk<'a>,
    /// None for the fold of acts alone.
    pub(super) book: Option<&'a mut Book>,
    pub(super) attributes: Openings<'a>,
    /// By [`Idx`].
    pub(super) journal: &'a mut Journal,
}

impl Replay<'_> {
    /// Takes an event's step.
    pub(super) fn take(&mut self, idx: Idx) -> Result<(), Reason> {
        let mut result = self.walk.step(idx);
        if let (Ok(standing), Some(book)) = (&result, &mut self.book) {
            let mut build = Build {
                graph: self.walk.graph,
                cast: self.walk.cast,
                opened: self.attributes,
                book,
                now: &mut self.walk.now,
            };
            if let Err(reason) = build.step(idx, &self.walk.roll.effects, *standing) {
                result = Err(reason);
            }
        }
        self.journal.put(idx, &self.walk.now.take());
        result.map(|_| ())
    }

    /// Takes an event's step that was taken before, perhaps, and finds whose steps must be taken again for it.
    pub(super) fn again(&mut self, idx: Idx, stale: &mut Stale<'_>) -> Result<(), Reason> {
        let (marks, entry) = self.back(idx, true);
        let result = self.take(idx);
        let now = self.journal.of(idx).to_vec();
        for mark in now.iter().filter(|mark| mark.wrote()) {
            self.settle(idx, *mark, stale);
        }
        let before = marks.iter().filter(|mark| mark.wrote());
        for mark in before.filter(|mark| now.binary_search(mark).is_err()) {
            self.settle(idx, *mark, stale);
        }
        let is = self.walk.roll.entry(idx);
        if is != entry.as_ref() {
            for entry in is.into_iter().chain(&entry) {
                let read = |reader| stale.insert(reader);
                readers(self.walk.graph, self.walk.cast, idx, entry, read);
            }
        }
        result
    }

    /// Takes the step of an event back that goes. Who reads what it was to those behind it goes too.
    pub(super) fn leave(&mut self, idx: Idx, stale: &mut Stale<'_>) {
        let (marks, _) = self.back(idx, true);
        for mark in marks.iter().filter(|mark| mark.wrote()) {
            self.settle(idx, *mark, stale);
        }
    }

    /// Takes the step of an event back that is walked again with all behind it.
    pub(super) fn undo(&mut self, idx: Idx) {
        self.back(idx, false);
    }

    fn back(&mut self, idx: Idx, keep: bool) -> (Vec<Mark>, Option<Entry>) {
        let places = self.walk.now.places();
        let marks = self.journal.take(idx);
        for mark in &marks {
            self.walk.roll.retract(places, idx, *mark, keep);
            if let Some(book) = &mut self.book {
                book.retract(places, idx, *mark, keep);
            }
        }
        if let Some(book) = &mut self.book {
            book.withdraw(places, idx);
        }
        (marks, self.walk.roll.withdraw(idx))
    }

    fn settle(&mut self, idx: Idx, mark: Mark, stale: &mut Stale<'_>) {
        self.walk.roll.settle(idx, mark, stale);
        if let Some(book) = &mut self.book {
            book.settle(idx, mark, stale);
        }
    }
}
