//! The numbers by which WireGuard sessions are told apart: 24 bits, one allocator for all networks of the process, so
//! that a receiver index alone finds its session, wherever the message came from.

use std::collections::{BTreeSet, HashMap};
use std::sync::{
    Arc, Mutex, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak,
};
use std::thread::{self, Thread};

use crate::peer::Slot;

static TAKEN: Mutex<Taken> = Mutex::new(Taken {
    numbers: BTreeSet::new(),
    next: 0,
});

struct Taken {
    numbers: BTreeSet<u32>,
    next: u32,
}

const COUNT: u32 = 1 << 24;

/// The sessions of one tunnel by their numbers. Looked up once for a run of messages; its order never shows.
#[derive(Default)]
pub(crate) struct Sessions {
    by_number: RwLock<HashMap<u32, Weak<Slot>>>,
    /// The thread that keeps their time, and rests for longer while nothing is under way.
    timer: OnceLock<Thread>,
}

/// A number that is nobody else's until it is dropped.
pub(crate) struct Index {
    number: u32,
    sessions: Arc<Sessions>,
}

impl Sessions {
    /// The peer whose session has this number.
    pub(crate) fn find(&self, number: u32) -> Option<Arc<Slot>> {
        self.read().get(&number)?.upgrade()
    }

    /// The calling thread keeps their time.
    pub(crate) fn keep_time(&self) {
        // A tunnel has one such thread.
        let _ = self.timer.set(thread::current());
    }

    /// A handshake is under way: wakes who keeps the time.
    pub(crate) fn wake_timer(&self) {
        if let Some(timer) = self.timer.get() {
            timer.unpark();
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<u32, Weak<Slot>>> {
        self.by_number
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<u32, Weak<Slot>>> {
        self.by_number
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Index {
    /// The next free number, for a session of this peer; `None` when all 16 million are taken.
    pub(crate) fn take(sessions: &Arc<Sessions>, slot: Weak<Slot>) -> Option<Self> {
        let number = number()?;
        sessions.write().insert(number, slot);
        Some(Self {
            number,
            sessions: sessions.clone(),
        })
    }

    pub(crate) const fn number(&self) -> u32 {
        self.number
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        self.sessions.write().remove(&self.number);
        TAKEN
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .numbers
            .remove(&self.number);
    }
}

fn number() -> Option<u32> {
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    for _ in 0..=taken.numbers.len() {
        let number = taken.next;
        taken.next = (number + 1) % COUNT;
        if taken.numbers.insert(number) {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn no_two_living_indices_are_equal_and_none_outlives_its_session() {
        let sessions = Arc::new(Sessions::default());
        let held: Vec<Index> = (0..1000)
            .map(|_| Index::take(&sessions, Weak::new()).unwrap())
            .collect();
        let numbers: BTreeSet<u32> = held.iter().map(Index::number).collect();
        assert_eq!(numbers.len(), held.len());
        assert!(numbers.iter().all(|number| *number < COUNT));
        assert_eq!(sessions.read().len(), held.len());
        drop(held);
        assert!(sessions.read().is_empty());
    }
}
