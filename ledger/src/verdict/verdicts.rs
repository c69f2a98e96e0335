//! The verdicts on all events: most count, and most of the others are void for the same few reasons, so each reason is kept
//! once, however many events it speaks of.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use hashbrown::HashTable;

use super::{Reason, Verdict};
use crate::ids::UserId;
use crate::text::Label;

const COUNTED: u32 = 0;
const PENDING: u32 = 1;
/// Numbers from here on are places in the list of void ones.
const VOID: u32 = 2;

/// What became of each event, by [`Idx`](crate::graph::Idx).
#[derive(Clone, Default)]
pub struct Verdicts {
    each: Vec<u32>,
    void: Vec<Void>,
    by_reason: HashTable<u32>,
    /// Void ones that speak of a user, who may be called otherwise one day.
    naming: BTreeMap<UserId, BTreeSet<u32>>,
    /// Places in the list that are free.
    free: Vec<u32>,
    pending: usize,
}

#[derive(Clone)]
struct Void {
    verdict: Verdict,
    events: u32,
}

impl Verdicts {
    /// How many events there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.each.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.each.is_empty()
    }

    /// The verdict on an event.
    #[must_use]
    pub fn get(&self, at: usize) -> Option<&Verdict> {
        self.each.get(at).map(|number| self.numbered(*number))
    }

    /// All, by place.
    pub fn iter(&self) -> impl Iterator<Item = &Verdict> {
        self.each.iter().map(|number| self.numbered(*number))
    }

    /// How many bytes of memory they take, about.
    pub(crate) fn bytes(&self) -> usize {
        4 * self.each.len() + self.void.len() * (size_of::<Void>() + 16)
    }

    /// How many wait for a key.
    pub(crate) fn pending(&self) -> usize {
        self.pending
    }

    /// Of so many, those that are new count.
    pub(crate) fn resize(&mut self, len: usize) {
        while self.each.len() > len {
            self.set(self.each.len() - 1, Ok(false), &|_| None);
            self.each.pop();
        }
        self.each.resize(len, COUNTED);
    }

    /// Puts down what became of an event: whether it waits for a key, or why it is void, before users have names in that.
    pub(crate) fn set(&mut self, at: usize, verdict: Result<bool, Reason>, name: Name<'_>) {
        let number = match verdict {
            Ok(false) => COUNTED,
            Ok(true) => PENDING,
            Err(reason) => VOID + self.number(reason, name),
        };
        let before = std::mem::replace(&mut self.each[at], number);
        self.pending += usize::from(number == PENDING);
        self.pending -= usize::from(before == PENDING);
        if let Some(number) = before.checked_sub(VOID) {
            self.release(number);
        }
    }

    /// A user is called otherwise now.
    pub(crate) fn rename(&mut self, user: &UserId, name: Option<&Label>) {
        for number in self.naming.get(user).into_iter().flatten() {
            if let Verdict::Void(reason) = &mut self.void[*number as usize].verdict {
                reason.name(&|_| name.cloned());
            }
        }
    }

    /// Puts names to all users.
    pub(crate) fn name(&mut self, name: Name<'_>) {
        for void in &mut self.void {
            if let Verdict::Void(reason) = &mut void.verdict {
                reason.name(name);
            }
        }
    }

    fn numbered(&self, number: u32) -> &Verdict {
        match number {
            COUNTED => &Verdict::Counted,
            PENDING => &Verdict::Pending,
            void => &self.void[(void - VOID) as usize].verdict,
        }
    }

    /// The place of a reason, where one event more has it.
    fn number(&mut self, mut reason: Reason, name: Name<'_>) -> u32 {
        let hash = hash(&reason);
        let void = &self.void;
        let known = self
            .by_reason
            .find(hash, |number| same(&void[*number as usize], &reason));
        if let Some(number) = known.copied() {
            self.void[number as usize].events += 1;
            return number;
        }
        let user = reason.user();
        reason.name(name);
        let verdict = Verdict::Void(reason);
        let new = Void { verdict, events: 1 };
        let number = if let Some(number) = self.free.pop() {
            self.void[number as usize] = new;
            number
        } else {
            self.void.push(new);
            (self.void.len() - 1) as u32
        };
        let void = &self.void;
        let hash_of = |number: &u32| {
            void[*number as usize]
                .verdict
                .reason()
                .map_or(0, self::hash)
        };
        self.by_reason.insert_unique(hash, number, hash_of);
        if let Some(user) = user {
            self.naming.entry(user).or_default().insert(number);
        }
        number
    }

    fn release(&mut self, number: u32) {
        let void = &mut self.void[number as usize];
        void.events -= 1;
        if void.events > 0 {
            return;
        }
        let verdict = std::mem::replace(&mut void.verdict, Verdict::Counted);
        let Verdict::Void(reason) = verdict else {
            return;
        };
        let here = |other: &u32| *other == number;
        if let Ok(entry) = self.by_reason.find_entry(hash(&reason), here) {
            entry.remove();
        }
        if let Some(user) = reason.user()
            && let Some(numbers) = self.naming.get_mut(&user)
        {
            numbers.remove(&number);
            if numbers.is_empty() {
                self.naming.remove(&user);
            }
        }
        self.free.push(number);
    }
}

/// What a user is called.
pub(crate) type Name<'a> = &'a dyn Fn(&UserId) -> Option<Label>;

/// Whether it is void for this reason, whatever users are called.
fn same(void: &Void, reason: &Reason) -> bool {
    let Verdict::Void(other) = &void.verdict else {
        return false;
    };
    if other.user() != reason.user() || other.decided_by() != reason.decided_by() {
        return false;
    }
    let mut other = other.clone();
    other.name(&|_| None);
    other == *reason
}

/// Of all of a reason but what users are called.
fn hash(reason: &Reason) -> u64 {
    // Its keys are constants, so a place in the table follows from the reason.
    let mut hasher = DefaultHasher::new();
    std::mem::discriminant(reason).hash(&mut hasher);
    reason.decided_by().map(|id| id.0).hash(&mut hasher);
    reason.user().map(|id| id.0).hash(&mut hasher);
    hasher.finish()
}

impl std::ops::Index<usize> for Verdicts {
    type Output = Verdict;

    fn index(&self, at: usize) -> &Verdict {
        self.numbered(self.each[at])
    }
}

impl PartialEq for Verdicts {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl PartialEq<[Verdict]> for Verdicts {
    fn eq(&self, other: &[Verdict]) -> bool {
        self.iter().eq(other)
    }
}

impl std::fmt::Debug for Verdicts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::EventId;

    fn removed(user: u8, by: u8) -> Reason {
        Reason::UserRemoved {
            who: UserId([user; 32]).into(),
            by: EventId([by; 32]),
        }
    }

    #[test]
    fn one_reason_is_kept_once_and_goes_with_the_last_event_that_has_it() {
        let mut verdicts = Verdicts::default();
        let none = |_: &UserId| None;
        verdicts.resize(1001);
        for n in 0..1000 {
            verdicts.set(n, Err(removed(1, n as u8 % 2)), &none);
        }
        verdicts.set(1000, Ok(true), &none);
        assert_eq!((verdicts.void.len(), verdicts.pending()), (2, 1));
        assert_eq!(verdicts[7], Verdict::Void(removed(1, 1)));
        for at in 0..1000 {
            verdicts.set(at, Ok(false), &none);
        }
        assert!(verdicts.by_reason.is_empty() && verdicts.naming.is_empty());
        verdicts.set(3, Err(removed(2, 2)), &none);
        assert_eq!((verdicts.void.len(), verdicts.free.len()), (2, 1));
        verdicts.resize(2);
        assert_eq!((verdicts.free.len(), verdicts.pending()), (2, 0));
        assert!(verdicts.iter().all(Verdict::counts));
    }

    #[test]
    fn a_user_who_is_called_otherwise_is_so_in_every_reason() {
        let mut verdicts = Verdicts::default();
        let called = |name: &str| -> Label { name.parse().unwrap() };
        let bob = called("bob");
        verdicts.resize(2);
        verdicts.set(0, Err(removed(1, 1)), &|_| Some(bob.clone()));
        verdicts.rename(&UserId([1; 32]), Some(&called("rob")));
        // What is new is known by what it is about.
        verdicts.set(1, Err(removed(1, 1)), &|_| Some(bob.clone()));
        for verdict in verdicts.iter() {
            let told = verdict.reason().map(ToString::to_string);
            assert!(told.is_some_and(|told| told.contains("rob")));
        }
    }
}
