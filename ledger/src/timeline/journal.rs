//! What each step read and wrote, in one list: a step with nothing to note takes four bytes.

use super::Mark;
use crate::graph::Idx;

/// See the module.
#[derive(Default)]
pub(crate) struct Journal {
    /// Where each event's notes begin, by [`Idx`]; 0 if there are none.
    starts: Vec<u32>,
    /// How many notes, and then they, one event after the other. The first number stands for nothing.
    notes: Vec<Mark>,
    /// How many numbers nobody refers to any more.
    waste: usize,
}

impl Journal {
    /// Of so many events, those that are new have no notes.
    pub(crate) fn resize(&mut self, len: usize) {
        for at in len..self.starts.len() {
            self.take(Idx(at as u32));
        }
        self.starts.resize(len, 0);
    }

    /// How many bytes of memory they take.
    pub(crate) fn bytes(&self) -> usize {
        4 * (self.starts.len() + self.notes.len())
    }

    /// An event's notes.
    pub(crate) fn of(&self, event: Idx) -> &[Mark] {
        match self.starts[event.0 as usize] as usize {
            0 => &[],
            start => &self.notes[start + 1..=start + self.notes[start].0 as usize],
        }
    }

    /// Takes an event's notes away.
    pub(crate) fn take(&mut self, event: Idx) -> Vec<Mark> {
        let notes = self.of(event).to_vec();
        let start = std::mem::take(&mut self.starts[event.0 as usize]) as usize;
        if start > 0 {
            self.waste += 1 + notes.len();
        }
        notes
    }

    /// Notes something of an event of which nothing was noted.
    pub(crate) fn put(&mut self, event: Idx, notes: &[Mark]) {
        if notes.is_empty() {
            return;
        }
        if self.waste > LEAST_WASTE && self.waste > self.notes.len() / 4 {
            self.sweep();
        }
        if self.notes.is_empty() {
            self.notes.push(Mark(0));
        }
        self.starts[event.0 as usize] = self.notes.len() as u32;
        self.notes.push(Mark(notes.len() as u32));
        self.notes.extend_from_slice(notes);
    }

    fn sweep(&mut self) {
        let mut kept = Vec::with_capacity(self.notes.len() - self.waste);
        kept.push(Mark(0));
        for start in self.starts.iter_mut().filter(|start| **start > 0) {
            let from = *start as usize;
            let until = from + self.notes[from].0 as usize;
            *start = kept.len() as u32;
            kept.extend_from_slice(&self.notes[from..=until]);
        }
        self.notes = kept;
        self.waste = 0;
    }
}

/// Less is not worth the work.
const LEAST_WASTE: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_stands_until_it_is_taken_however_often_others_change() {
        let mut journal = Journal::default();
        journal.resize(10_000);
        let notes = |event: u32, round: u32| -> Vec<Mark> {
            (0..(event + round) % 5).map(|n| Mark(event + n)).collect()
        };
        for round in 0..7 {
            for event in (0..10_000).step_by(1 + round as usize) {
                let taken = journal.take(Idx(event));
                assert!(round == 0 || taken.len() < 5);
                journal.put(Idx(event), &notes(event, round));
            }
        }
        assert!(journal.notes.len() < 60_000, "{}", journal.notes.len());
        let last = |event: u32| (0..7).rev().find(|round| event.is_multiple_of(1 + round));
        for event in 0..10_000 {
            let due = notes(event, last(event).unwrap_or(0));
            assert_eq!(journal.of(Idx(event)), due);
        }
        journal.resize(0);
        journal.resize(3);
        assert!(journal.of(Idx(2)).is_empty());
    }
}
