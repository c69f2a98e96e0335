//! Unique names: a taken one becomes the next free, `bob`, `bob-2`, …

use std::collections::{BTreeMap, BTreeSet};

use crate::text::Label;

/// Names in use.
#[derive(Default)]
pub(crate) struct Names {
    taken: BTreeSet<Label>,
    /// For a name, a number below which all numbered forms are taken: without it, a thousand laptops called `laptop` would
    /// cost half a million look-ups.
    tried: BTreeMap<Label, u32>,
    log: Vec<Undo>,
}

/// How a write is taken back.
enum Undo {
    Taken(Label),
    Freed(Label),
    Tried(Label, Option<u32>),
    Forgotten(BTreeMap<Label, u32>),
}

impl Names {
    /// Takes a name, or the next free one.
    pub(crate) fn claim(&mut self, wanted: &Label) -> Label {
        if self.take(wanted) {
            return wanted.clone();
        }
        let mut number = self.tried.get(wanted).copied().unwrap_or(2);
        loop {
            let name = wanted.numbered(number);
            number += 1;
            if self.take(&name) {
                self.try_from(wanted.clone(), number);
                return name;
            }
        }
    }

    /// Gives a name back.
    pub(crate) fn release(&mut self, name: &Label) {
        if self.taken.remove(name) {
            self.log.push(Undo::Freed(name.clone()));
        }
        if name.as_str().len() > Label::MAX - 11 {
            // It may stand for a longer name that was cut.
            let forgotten = std::mem::take(&mut self.tried);
            if !forgotten.is_empty() {
                self.log.push(Undo::Forgotten(forgotten));
            }
        } else if let Some((stem, number)) = name.as_str().rsplit_once('-')
            && let (Ok(stem), Ok(number)) = (stem.parse::<Label>(), number.parse::<u32>())
            && let Some(tried) = self.tried.get(&stem).copied()
        {
            self.try_from(stem, number.clamp(2, tried));
        }
    }

    /// A point to go back to.
    pub(crate) fn mark(&self) -> u32 {
        self.log.len() as u32
    }

    /// Goes back to a point.
    pub(crate) fn rewind(&mut self, mark: u32) {
        while self.log.len() > mark as usize {
            let Some(undo) = self.log.pop() else { return };
            match undo {
                Undo::Taken(name) => {
                    self.taken.remove(&name);
                }
                Undo::Freed(name) => {
                    self.taken.insert(name);
                }
                Undo::Tried(name, Some(number)) => {
                    self.tried.insert(name, number);
                }
                Undo::Tried(name, None) => {
                    self.tried.remove(&name);
                }
                Undo::Forgotten(tried) => self.tried = tried,
            }
        }
    }

    fn take(&mut self, name: &Label) -> bool {
        let free = self.taken.insert(name.clone());
        if free {
            self.log.push(Undo::Taken(name.clone()));
        }
        free
    }

    fn try_from(&mut self, name: Label, number: u32) {
        let before = self.tried.insert(name.clone(), number);
        if before != Some(number) {
            self.log.push(Undo::Tried(name, before));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_name_becomes_the_next_free_and_a_freed_one_is_taken_again() {
        let mut names = Names::default();
        let bob: Label = "bob".parse().unwrap();
        let claimed: Vec<String> = (0..4).map(|_| names.claim(&bob).into()).collect();
        assert_eq!(claimed, ["bob", "bob-2", "bob-3", "bob-4"]);
        names.release(&"bob-3".parse().unwrap());
        names.release(&bob);
        assert_eq!(names.claim(&bob).as_str(), "bob");
        assert_eq!(names.claim(&bob).as_str(), "bob-3");
        assert_eq!(names.claim(&bob).as_str(), "bob-5");
    }

    #[test]
    fn a_name_somebody_chose_is_stepped_over() {
        let mut names = Names::default();
        let bob: Label = "bob".parse().unwrap();
        assert_eq!(names.claim(&bob.numbered(2)).as_str(), "bob-2");
        assert_eq!(names.claim(&bob).as_str(), "bob");
        assert_eq!(names.claim(&bob).as_str(), "bob-3");
    }

    #[test]
    fn taken_back_to_a_point_it_claims_as_it_did() {
        let mut names = Names::default();
        let (bob, long): (Label, Label) = ("bob".parse().unwrap(), "a".repeat(63).parse().unwrap());
        names.claim(&bob);
        names.claim(&long);
        let mark = names.mark();
        let run = |names: &mut Names| {
            let claimed: Vec<Label> = (0..3).map(|_| names.claim(&bob)).collect();
            names.release(&claimed[1]);
            names.release(&bob);
            names.claim(&long);
            names.release(&long);
            [names.claim(&long), names.claim(&bob), names.claim(&bob)]
        };
        let first = run(&mut names);
        names.rewind(mark);
        assert_eq!(names.taken.len(), 2);
        assert!(names.tried.is_empty());
        assert_eq!(run(&mut names), first);
    }

    #[test]
    fn long_names_are_freed_too() {
        let mut names = Names::default();
        let long: Label = "a".repeat(63).parse().unwrap();
        names.claim(&long);
        let second = names.claim(&long);
        names.release(&second);
        assert_eq!(names.claim(&long), second);
    }
}
