//! Unique names: a taken one becomes the next free, `bob`, `bob-2`, …

use crate::text::Label;
use crate::timeline::{Step, Table, Timeline};

/// Names in use, with their history.
pub(crate) struct Names {
    first: u8,
    taken: Timeline<Label, ()>,
    /// For a name, a number below which all numbered forms are taken: without it, a thousand laptops called `laptop` would
    /// cost half a million look-ups.
    tried: Timeline<Label, Tried>,
    /// How many long names were given back.
    freed: Timeline<(), u32>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Tried {
    number: u32,
    /// How many long names had been given back then; zero for a name that is never cut.
    freed: u32,
}

/// The longest name whose numbered forms all hold it whole.
const WHOLE: usize = Label::MAX - 11;

impl Names {
    /// How many tables it has.
    pub(super) const TABLES: u8 = 3;

    /// None; its tables have numbers from `first` on.
    pub(super) fn new(first: u8) -> Self {
        Self {
            first,
            taken: Timeline::hidden(first),
            tried: Timeline::hidden(first + 1),
            freed: Timeline::hidden(first + 2),
        }
    }

    /// How many bytes of memory they take, about.
    pub(super) fn bytes(&self) -> usize {
        self.taken.bytes() + self.tried.bytes() + self.freed.bytes()
    }

    /// Takes a name, or the next free one.
    pub(crate) fn claim(&mut self, step: &mut Step<'_>, wanted: &Label) -> Label {
        if self.take(step, wanted) {
            return wanted.clone();
        }
        // A long name that was given back may have been a form of any other that begins alike.
        let freed = if wanted.as_str().len() > WHOLE {
            self.freed.read(step, &()).copied().unwrap_or(0)
        } else {
            0
        };
        let tried = self.tried.read(step, wanted);
        let tried = tried.filter(|tried| tried.freed == freed);
        let mut number = tried.map_or(2, |tried| tried.number);
        loop {
            let name = wanted.numbered(number);
            number += 1;
            if self.take(step, &name) {
                let tried = Tried { number, freed };
                self.tried.write(step, wanted, Some(tried));
                return name;
            }
        }
    }

    /// Gives a name back.
    pub(crate) fn release(&mut self, step: &mut Step<'_>, name: &Label) {
        self.taken.write(step, name, None);
        if name.as_str().len() > WHOLE {
            let freed = self.freed.read(step, &()).copied().unwrap_or(0);
            self.freed.write(step, &(), Some(freed + 1));
        }
        if let Some((stem, number)) = name.as_str().rsplit_once('-')
            && let (Ok(stem), Ok(number)) = (stem.parse::<Label>(), number.parse::<u32>())
            && let Some(tried) = self.tried.read(step, &stem).copied()
        {
            let number = number.clamp(2, tried.number.max(2));
            if number != tried.number {
                let tried = Tried { number, ..tried };
                self.tried.write(step, &stem, Some(tried));
            }
        }
    }

    fn take(&mut self, step: &mut Step<'_>, name: &Label) -> bool {
        self.taken.claim(step, name, ())
    }

    /// The table of this number, if it is one of these.
    pub(super) fn table(&mut self, number: u8) -> Option<&mut dyn Table> {
        Some(match number.checked_sub(self.first)? {
            0 => &mut self.taken,
            1 => &mut self.tried,
            2 => &mut self.freed,
            _ => return None,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::graph::Idx;

    /// Steps in the order of their numbers.
    fn steps(run: impl FnOnce(&mut Names, &mut Step<'_>)) {
        let places: Vec<u32> = (0..100).collect();
        run(&mut Names::new(0), &mut Step::kept(&places));
    }

    #[test]
    fn a_taken_name_becomes_the_next_free_and_a_freed_one_is_taken_again() {
        steps(|names, step| {
            let bob: Label = "bob".parse().unwrap();
            let claimed: Vec<String> = (0..4).map(|_| names.claim(step, &bob).into()).collect();
            assert_eq!(claimed, ["bob", "bob-2", "bob-3", "bob-4"]);
            names.release(step, &"bob-3".parse().unwrap());
            names.release(step, &bob);
            assert_eq!(names.claim(step, &bob).as_str(), "bob");
            assert_eq!(names.claim(step, &bob).as_str(), "bob-3");
            assert_eq!(names.claim(step, &bob).as_str(), "bob-5");
        });
    }

    #[test]
    fn a_name_somebody_chose_is_stepped_over() {
        steps(|names, step| {
            let bob: Label = "bob".parse().unwrap();
            assert_eq!(names.claim(step, &bob.numbered(2)).as_str(), "bob-2");
            assert_eq!(names.claim(step, &bob).as_str(), "bob");
            assert_eq!(names.claim(step, &bob).as_str(), "bob-3");
        });
    }

    #[test]
    fn a_late_claim_finds_what_was_free_before_it_and_names_who_claimed_behind_it() {
        steps(|names, step| {
            let bob: Label = "bob".parse().unwrap();
            step.event = Idx(10);
            assert_eq!(names.claim(step, &bob).as_str(), "bob");
            let marks = step.take();
            step.event = Idx(5);
            assert_eq!(names.claim(step, &bob).as_str(), "bob");
            let mut stale = crate::timeline::Stale::new(step.places(), u32::MAX);
            for mark in step.take() {
                if let Some(table) = names.table(mark.table()).filter(|_| mark.wrote()) {
                    table.settle(Idx(5), mark.key(), &mut stale);
                }
            }
            assert_eq!(stale.next(), Some(Idx(10)));
            step.event = Idx(10);
            for mark in marks {
                let table = names.table(mark.table()).unwrap();
                table.retract(step.places(), Idx(10), mark, false);
            }
            assert_eq!(names.claim(step, &bob).as_str(), "bob-2");
            step.event = Idx(7);
            assert_eq!(names.claim(step, &bob).as_str(), "bob-2");
        });
    }

    #[test]
    fn long_names_are_freed_too() {
        steps(|names, step| {
            let long: Label = "a".repeat(63).parse().unwrap();
            names.claim(step, &long);
            let second = names.claim(step, &long);
            names.release(step, &second);
            assert_eq!(names.claim(step, &long), second);
        });
    }
}
