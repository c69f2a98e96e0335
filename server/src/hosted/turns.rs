//! Whose turn it is: how many requests about one network are at work and wait, so that a slow network holds up nobody else's.
//!
//! A request that waits holds no thread. Of two that are at work, one has the network's lock and another reads or waits for it.
//! Requests of devices without rights queue for a place of their own, so that members wait for one of them at most.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many requests about one network are at work at a time.
pub(crate) const AT_WORK: usize = 2;
/// How many of live devices may wait for one network.
pub(crate) const MEMBERS: usize = 2048;
/// How many of others may.
pub(crate) const OTHERS: usize = 128;

/// What waits for a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// A request of a live device, or of one that may bring the network.
    Member,
    /// A request of any other.
    Other,
    /// What a member's session is told by itself: it waits in the session, however many there are.
    News,
    /// The same for a joiner's.
    Letters,
}

/// See the module.
pub(crate) struct Turns {
    at_work: Arc<Semaphore>,
    others: Arc<Semaphore>,
    /// How many wait: of others, and of members.
    waiting: [AtomicUsize; 2],
}

/// A turn, until it is dropped.
pub(crate) struct Turn {
    _at_work: OwnedSemaphorePermit,
    _other: Option<OwnedSemaphorePermit>,
}

impl Turns {
    pub(crate) fn new() -> Self {
        Self {
            at_work: Arc::new(Semaphore::new(AT_WORK)),
            others: Arc::new(Semaphore::new(1)),
            waiting: Default::default(),
        }
    }

    /// Waits for a turn; none if too many wait already.
    pub(crate) async fn take(&self, what: What) -> Option<Turn> {
        let [others, members] = &self.waiting;
        let _waiting = match what {
            What::Member => Some(Waiting::among(members, MEMBERS)?),
            What::Other => Some(Waiting::among(others, OTHERS)?),
            What::News | What::Letters => None,
        };
        let other = match what {
            What::Other | What::Letters => Some(self.others.clone().acquire_owned().await.ok()?),
            What::Member | What::News => None,
        };
        Some(Turn {
            _at_work: self.at_work.clone().acquire_owned().await.ok()?,
            _other: other,
        })
    }
}

/// A place among those who wait.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn among(count: &'a AtomicUsize, most: usize) -> Option<Self> {
        let more = |count| (count < most).then_some(count + 1);
        let taken = count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.is_ok().then(|| Self(count))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    #[tokio::test]
    async fn so_many_wait_others_are_told_to_come_again_and_members_wait_for_one_of_them() {
        let turns = Turns::new();
        let first = turns.take(What::Other).await.unwrap();
        let second = turns.take(What::Member).await.unwrap();
        let mut context = Context::from_waker(Waker::noop());
        let mut waiting: Vec<_> = (0..OTHERS)
            .map(|_| Box::pin(turns.take(What::Other)))
            .collect();
        for other in &mut waiting {
            assert!(other.as_mut().poll(&mut context).is_pending());
        }
        assert!(turns.take(What::Other).await.is_none());
        // A member is next, however many others came before.
        let mut member = pin!(turns.take(What::Member));
        assert!(member.as_mut().poll(&mut context).is_pending());
        drop(second);
        let Poll::Ready(member) = member.as_mut().poll(&mut context) else {
            panic!("a member waits behind others");
        };
        assert!(member.is_some());
        drop(waiting);
        let mut other = pin!(turns.take(What::Other));
        assert!(other.as_mut().poll(&mut context).is_pending());
        drop(first);
        assert!(other.as_mut().poll(&mut context).is_ready());
    }
}
