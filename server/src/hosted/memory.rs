//! What memory knows of the networks: they are loaded when somebody asks, and let go when they were not asked for or there are too many.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use mesh_ledger::ids::NetworkId;
use mesh_ledger::mirror::message::Failure;
use tracing::{error, warn};

use super::{Hosted, Inner, Networks, lock};
use crate::log::Log;
use crate::mailbox::Mailbox;
use crate::store::Bodies;

/// So many rows are read at a time when a network is loaded.
const ROWS: usize = 2048;

impl Networks {
    /// A session is over: forgets a network that is not hosted, so that naming many costs nothing.
    pub fn forget(&self, network: &NetworkId) {
        let mut loaded = lock(&self.loaded);
        let nothing = |hosted: &Arc<Hosted>| {
            // Only the map knows it, so nobody holds its lock.
            Arc::strong_count(hosted) == 1
                && hosted
                    .lock()
                    .as_ref()
                    .is_none_or(|inner| inner.log.count() == 0)
        };
        if loaded.get(network).is_some_and(nothing) {
            loaded.remove(network);
        }
    }

    /// Forgets old letters, and networks that nobody asks for while memory is short.
    pub fn sweep(&self) {
        let (now, limits) = (self.now(), &self.terms.limits);
        if let Err(error) = self
            .store
            .expire_letters(now.saturating_sub(limits.letter_age))
        {
            warn!("cannot remove old letters: {error}");
        }
        let all: Vec<Arc<Hosted>> = lock(&self.loaded).values().cloned().collect();
        let mut idle = Vec::new();
        for hosted in &all {
            // One that is at work is swept next time.
            let Some(mut inner) = hosted.try_lock() else {
                continue;
            };
            let count = inner.as_mut().map_or(0, |inner| {
                inner.mailbox.expire(now, limits);
                inner.log.count()
            });
            idle.push((hosted.used.load(Ordering::Relaxed), hosted.network, count));
        }
        drop(all);
        self.make_room();
        // The ones used last stay.
        idle.sort_unstable_by(|one, other| other.cmp(one));
        let mut kept = 0;
        let mut loaded = lock(&self.loaded);
        for (_, network, count) in idle {
            kept += usize::try_from(count).unwrap_or(usize::MAX);
            // Only the map knows one that nobody has a session about.
            let unused = |hosted: &Arc<Hosted>| Arc::strong_count(hosted) == 1;
            let surplus = count == 0 || kept > limits.idle_events;
            if surplus && loaded.get(&network).is_some_and(unused) {
                loaded.remove(&network);
            }
        }
    }

    /// How many events memory knows, of all networks.
    #[must_use]
    pub fn events_held(&self) -> u64 {
        let loaded = lock(&self.loaded);
        let held = loaded.values().map(|one| one.held.load(Ordering::Relaxed));
        held.sum()
    }

    /// Unloads the networks that were used least recently, sessions or not, while memory knows too many events.
    pub(super) fn make_room(&self) {
        let mut held = self.events_held();
        let most = self.terms.limits.held_events;
        if held <= most {
            return;
        }
        let mut all: Vec<Arc<Hosted>> = lock(&self.loaded).values().cloned().collect();
        all.sort_by_key(|hosted| hosted.used.load(Ordering::Relaxed));
        for hosted in all {
            // One that is at work is in use.
            if let Some(mut place) = hosted.try_lock() {
                held -= hosted.held.load(Ordering::Relaxed).min(held);
                hosted.unload(&mut place);
            }
            if held <= most {
                return;
            }
        }
    }

    pub(super) fn load(&self, network: NetworkId) -> Result<Inner, Failure> {
        let failed = |why: String| {
            error!(network = network.short(), "cannot load the network: {why}");
            Failure::Disk
        };
        let bodies = Bodies::new(self.store.clone(), network);
        let mut log = Log::new(network, Some(Arc::new(bodies)));
        if !self.is_hosted(&network) {
            return Ok(Inner {
                log,
                mailbox: Mailbox::new([]),
                tip: None,
            });
        }
        loop {
            // By and by: others read in between, and memory holds few bodies.
            let rows = self
                .store
                .page(&network, log.count(), ROWS, usize::MAX)
                .map_err(|e| failed(e.to_string()))?;
            let last = rows.len() < ROWS;
            log.restore(rows).map_err(|e| failed(e.to_string()))?;
            if last {
                break;
            }
        }
        log.settle();
        if log.is_broken() {
            return Err(failed("an event cannot be read back".to_owned()));
        }
        let letters = self
            .store
            .letters(&network)
            .map_err(|e| failed(e.to_string()))?;
        Ok(Inner {
            log,
            mailbox: Mailbox::new(letters),
            tip: None,
        })
    }
}
