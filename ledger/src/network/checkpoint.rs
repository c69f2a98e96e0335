//! Checkpoints: sealing the order of what this ledger holds.

use super::{AuthorError, Ledger};
use crate::event::act::{Checkpoint, Kind};
use crate::event::{Act, Event};
use crate::graph::Idx;
use crate::keys::DeviceSecret;
use crate::store::Store;

/// What no accepted checkpoint covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsealed {
    /// How many events, without merges and checkpoints themselves.
    pub events: u64,
    /// When the last accepted checkpoint was written, or else the genesis: milliseconds since 1970, by its author's clock.
    pub since: u64,
}

impl<S: Store> Ledger<S> {
    /// What no accepted checkpoint covers and the next one would: not what hangs on a device's larger branch alone, for that
    /// none ever covers. Looks at those events alone.
    #[must_use]
    pub fn unsealed(&self) -> Unsealed {
        let time = |idx: Idx| self.graph.time(idx);
        let genesis = self.graph.indices().next();
        let waits = |idx: &Idx| {
            let kind = self.graph.kind(*idx);
            !matches!(kind, Kind::Checkpoint | Kind::Merge)
        };
        // But for forks, all of it is behind what the next event follows.
        let tips: Vec<Idx> = self.graph.tips().collect();
        let forked = !self.graph.forked().is_empty();
        let covered = forked.then(|| self.graph.past_of(&tips));
        let covered = |idx: &Idx| {
            let covered = covered.as_ref();
            covered.is_none_or(|past| self.graph.within(*idx, past))
        };
        let unsealed = self.increment.unsealed().filter(waits).filter(covered);
        Unsealed {
            events: unsealed.count() as u64,
            since: self
                .increment
                .checkpoints()
                .chain(genesis)
                .map(time)
                .max()
                .unwrap_or(0),
        }
    }

    /// Whether all that is known of is here and can be read, so that its order may be sealed.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.state().pending == 0 && self.parking.is_empty() && self.missing().is_empty()
    }

    /// Seals the order of everything that is here, after empty merge events if there are too many heads. What hangs on a
    /// device's larger branch, and on nothing else, stays outside: no honest device cites it.
    ///
    /// # Errors
    /// [`AuthorError::Unsettled`] if events wait for others or for keys; else as of [`Self::author`].
    pub fn checkpoint(&mut self, device: &DeviceSecret, now: u64) -> Result<Event, AuthorError> {
        if !self.is_whole() {
            return Err(AuthorError::Unsettled);
        }
        let heads = loop {
            let (parents, all) = super::author::parents(&self.graph, &device.public());
            if all {
                break parents;
            }
            self.author(device, Act::Merge, None, now)?;
        };
        let count = self.graph.past_of(&heads).total();
        let (authority, state) = if count == self.graph.len() as u64 {
            (self.authority_hash(), self.state_hash())
        } else {
            let book = self.reading().at_events(&heads);
            let fold = book.reading().fold;
            (fold.authority.hash(), fold.state.hash())
        };
        let mut heads: Vec<_> = heads.iter().map(|idx| self.graph.id(*idx)).collect();
        heads.sort_unstable();
        let act = Act::Checkpoint(Checkpoint {
            heads,
            authority,
            state,
            count,
        });
        self.author(device, act, None, now)
    }
}
