//! The numbers by which WireGuard sessions are told apart: 24 bits, one allocator for all networks of the process, so
//! that a receiver index alone finds its session.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

static TAKEN: Mutex<Taken> = Mutex::new(Taken {
    numbers: BTreeSet::new(),
    next: 0,
});

struct Taken {
    numbers: BTreeSet<u32>,
    next: u32,
}

const COUNT: u32 = 1 << 24;

/// A number that is nobody else's until it is dropped.
#[derive(Debug)]
pub(crate) struct Index(u32);

impl Index {
    /// The next free number; `None` when all 16 million are taken.
    pub(crate) fn take() -> Option<Self> {
        let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..=taken.numbers.len() {
            let number = taken.next;
            taken.next = (number + 1) % COUNT;
            if taken.numbers.insert(number) {
                return Some(Self(number));
            }
        }
        None
    }

    pub(crate) const fn number(&self) -> u32 {
        self.0
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        TAKEN
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .numbers
            .remove(&self.0);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn no_two_living_indices_are_equal() {
        let held: Vec<Index> = (0..1000).map(|_| Index::take().unwrap()).collect();
        let numbers: BTreeSet<u32> = held.iter().map(Index::number).collect();
        assert_eq!(numbers.len(), held.len());
        assert!(numbers.iter().all(|number| *number < COUNT));
    }
}
