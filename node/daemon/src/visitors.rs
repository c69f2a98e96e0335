//! Tasks that wait for somebody who has proven nothing yet: a greeting, an introduction, the exchange of a code.
//!
//! Each has a place by [`mesh_core::slots`]. A task that has to make room is ended at once, and with it its connection.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mesh_core::slots::{Limits, Origin, Place, Slots};
use tokio::task::AbortHandle;

use crate::clock::steady;

/// See the module. Cheap to clone; all clones are one.
#[derive(Clone)]
pub(crate) struct Visitors(Arc<Mutex<Inner>>);

struct Inner {
    next: u64,
    slots: Slots<u64>,
    tasks: BTreeMap<u64, AbortHandle>,
}

/// Gives the place back, however the task ends.
struct Leaving(Visitors, u64);

impl Drop for Leaving {
    fn drop(&mut self) {
        let mut inner = self.0.inner();
        inner.slots.free(&self.1);
        inner.tasks.remove(&self.1);
    }
}

impl Visitors {
    /// Nobody is there.
    pub(crate) fn new(limits: Limits) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            next: 0,
            slots: Slots::new(limits),
            tasks: BTreeMap::new(),
        })))
    }

    /// Does something with somebody from there, as long as there is a place for it.
    pub(crate) fn receive(&self, from: Origin, visit: impl Future<Output = ()> + Send + 'static) {
        let mut inner = self.inner();
        let number = inner.next;
        inner.next += 1;
        let old = match inner.slots.take(number, from, steady()) {
            Place::Free => None,
            Place::Instead(old) => inner.tasks.remove(&old),
            Place::None => return,
        };
        drop(inner);
        // Each of these may end at once, which takes the table.
        if let Some(old) = old {
            old.abort();
        }
        let leaving = Leaving(self.clone(), number);
        let task = tokio::spawn(async move {
            let _leaving = leaving;
            visit.await;
        });
        let mut inner = self.inner();
        if inner.slots.holds(&number) {
            inner.tasks.insert(number, task.abort_handle());
        } else {
            // It has ended, or had to make room before it could be told to.
            task.abort();
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // What a panic left is a table that fits: each change is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use mesh_core::peer::PeerId;
    use tokio::sync::{mpsc, oneshot};

    use super::*;

    const LIMITS: Limits = Limits { all: 4, each: 2 };
    const SOON: Duration = Duration::from_secs(10);

    fn from(n: u8) -> Origin {
        Origin::Device(PeerId([n; 32]))
    }

    async fn soon<T>(what: impl Future<Output = T>) -> T {
        tokio::time::timeout(SOON, what).await.unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn whoever_does_nothing_makes_room_for_the_next_and_its_task_is_gone() {
        let visitors = Visitors::new(LIMITS);
        let mut silent = Vec::new();
        for n in 0..100 {
            let (holds, gone) = oneshot::channel::<()>();
            visitors.receive(from(n % 3), async move {
                let _holds = holds;
                std::future::pending::<()>().await;
            });
            silent.push(gone);
        }
        let (done, mut is_done) = mpsc::unbounded_channel();
        visitors.receive(from(9), async move { done.send(()).unwrap() });
        soon(is_done.recv()).await.unwrap();
        for gone in silent.drain(..96) {
            assert!(soon(gone).await.is_err(), "its task was ended");
        }
        assert!(visitors.inner().slots.len() <= LIMITS.all);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn places_come_back_when_a_task_ends_or_panics() {
        let visitors = Visitors::new(LIMITS);
        let (told, mut tells) = mpsc::unbounded_channel::<()>();
        for n in 0..50 {
            let told = told.clone();
            visitors.receive(from(n), async move {
                let _told = told;
                assert!(n % 2 == 0, "a panic of a test");
            });
        }
        drop(told);
        assert!(soon(tells.recv()).await.is_none());
        let empty = async {
            while !visitors.inner().tasks.is_empty() {
                tokio::task::yield_now().await;
            }
        };
        soon(empty).await;
        assert!(visitors.inner().slots.is_empty());
    }
}
