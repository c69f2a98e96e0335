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
}

impl Names {
    /// Takes a name, or the next free one.
    pub(crate) fn claim(&mut self, wanted: &Label) -> Label {
        if self.taken.insert(wanted.clone()) {
            return wanted.clone();
        }
        let mut number = self.tried.get(wanted).copied().unwrap_or(2);
        loop {
            let name = wanted.numbered(number);
            number += 1;
            if self.taken.insert(name.clone()) {
                self.tried.insert(wanted.clone(), number);
                return name;
            }
        }
    }

    /// Gives a name back.
    pub(crate) fn release(&mut self, name: &Label) {
        self.taken.remove(name);
        if name.as_str().len() > Label::MAX - 11 {
            // It may stand for a longer name that was cut.
            self.tried.clear();
        } else if let Some((stem, number)) = name.as_str().rsplit_once('-')
            && let (Ok(stem), Ok(number)) = (stem.parse::<Label>(), number.parse::<u32>())
            && let Some(tried) = self.tried.get_mut(&stem)
        {
            *tried = number.clamp(2, *tried);
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
    fn long_names_are_freed_too() {
        let mut names = Names::default();
        let long: Label = "a".repeat(63).parse().unwrap();
        names.claim(&long);
        let second = names.claim(&long);
        names.release(&second);
        assert_eq!(names.claim(&long), second);
    }
}
