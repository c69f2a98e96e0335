//! Events of our own: right parents, tried on the fold before they are stored.

use super::{Ledger, carries_keys};
use crate::event::{Act, Attributes, Event, Header, MAX_LAMPORT, MAX_PARENTS};
use crate::gate::{Passage, Refusal};
use crate::graph::{Graph, Idx};
use crate::ids::{DeviceId, EpochId, EventId};
use crate::keys::DeviceSecret;
use crate::parking::Source;
use crate::seal::{self, SealError};
use crate::store::{Store, StoreError};
use crate::verdict::{Reason, Verdict};

/// Why an event is not written.
#[derive(Debug, thiserror::Error)]
pub enum AuthorError {
    /// The fold would find it void.
    #[error("not permitted: {0}")]
    Void(Reason),
    /// The gate would not let it pass.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It does not fit the format.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The order cannot be sealed yet.
    #[error(
        "events wait for others or for keys: their order is sealed once all are here and can be read"
    )]
    Unsettled,
    /// A narrow offer is too large.
    #[error(transparent)]
    TooLong(#[from] crate::narrow::TooLong),
    /// There is nothing to follow yet: the genesis is damaged.
    #[error("the ledger has no event to follow: wait until a member sent the damaged ones")]
    Empty,
    /// Stored events are damaged, perhaps our own last ones: an event that does not follow them would fork this device.
    #[error(
        "{0} stored events are damaged or wait for damaged ones: nothing is written until a member has sent them again"
    )]
    Damaged(usize),
    /// No key of an accepted epoch is here to seal with.
    #[error("no key of a current epoch is here yet: wait until a member hands it over")]
    NoKey,
    /// The fold cannot judge it.
    #[error("the fold does not count the event yet")]
    Uncounted,
    /// The numbers are used up.
    #[error("the network is full")]
    Full,
    /// It could not be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl<S: Store> Ledger<S> {
    /// Writes an event as `device`: seals the attributes, signs, tries it on the fold, stores it. Empty merge events go
    /// before it if it is one that must cover all heads.
    ///
    /// # Errors
    /// [`AuthorError`] if it would have no effect or could not be stored; the ledger is then as it was.
    pub fn author(
        &mut self,
        device: &DeviceSecret,
        act: Act,
        attributes: Option<Attributes>,
        now: u64,
    ) -> Result<Event, AuthorError> {
        self.whole()?;
        self.undamaged()?;
        let before = self.graph.len();
        match self.try_author(device, &act, attributes.as_ref(), now) {
            Ok(mut events) => events.pop().ok_or(AuthorError::Uncounted),
            Err(error) => {
                self.truncate(before);
                Err(error)
            }
        }
    }

    /// Fails as long as stored events are damaged.
    pub(super) fn undamaged(&self) -> Result<(), AuthorError> {
        match self.damaged.len() + self.parking.from(Source::Store) {
            0 => Ok(()),
            lacking => Err(AuthorError::Damaged(lacking)),
        }
    }

    fn try_author(
        &mut self,
        device: &DeviceSecret,
        act: &Act,
        attributes: Option<&Attributes>,
        now: u64,
    ) -> Result<Vec<Event>, AuthorError> {
        let events = self.draft(device, act, attributes, now)?;
        self.whole()?;
        self.store.append(&events)?;
        self.graph.stored();
        if carries_keys(act) {
            let learnt = self.learn();
            // A key that is not stored is learnt again from the same events, so a failure costs nothing here.
            let _ = self.store.add_epoch_keys(&learnt);
        }
        Ok(events)
    }

    /// Puts an event on the graph and into the fold, which counts it, and nowhere else, with the merges before it. Who does
    /// not store it takes it away again, as after an error.
    pub(super) fn draft(
        &mut self,
        device: &DeviceSecret,
        act: &Act,
        attributes: Option<&Attributes>,
        now: u64,
    ) -> Result<Vec<Event>, AuthorError> {
        let mut events = Vec::new();
        if must_cover(act) {
            loop {
                let (parents, all) = parents(&self.graph, &device.public());
                if all {
                    break;
                }
                events.push(self.append_to_graph(device, parents, &Act::Merge, None, now)?);
            }
        }
        let (parents, _) = parents(&self.graph, &device.public());
        events.push(self.append_to_graph(device, parents, act, attributes, now)?);
        let last = Idx(self.graph.len().saturating_sub(1) as u32);
        self.refold();
        match self.verdict(last) {
            Some(Verdict::Counted) => Ok(events),
            Some(Verdict::Void(reason)) => Err(AuthorError::Void(reason.clone())),
            _ => Err(AuthorError::Uncounted),
        }
    }

    fn append_to_graph(
        &mut self,
        device: &DeviceSecret,
        parents: Vec<Idx>,
        act: &Act,
        attributes: Option<&Attributes>,
        now: u64,
    ) -> Result<Event, AuthorError> {
        let author = device.public();
        let seq = self.graph.next_seq(&author, &parents);
        let lamport = 1 + parents
            .iter()
            .map(|idx| self.graph.lamport(*idx))
            .max()
            .ok_or(AuthorError::Empty)?;
        if lamport >= MAX_LAMPORT || seq >= MAX_LAMPORT {
            return Err(AuthorError::Full);
        }
        let mut parents: Vec<EventId> = parents.iter().map(|idx| self.graph.id(*idx)).collect();
        parents.sort_unstable();
        let header = Header {
            network: self.network,
            author,
            seq,
            lamport,
            time: now,
            epoch: EpochId::NONE,
            parents,
        };
        let sealed = match attributes {
            Some(attributes) => Some((attributes, self.newest_key().ok_or(AuthorError::NoKey)?)),
            None => None,
        };
        let event = seal::sign(header, act, sealed, device)?;
        match self.gate.pass(&mut self.graph, &self.network, &event)? {
            Passage::Added(_) => Ok(event),
            // The parents come from the graph, and an event with a new seq is new.
            Passage::Known(_) | Passage::Missing(_) => Err(AuthorError::Uncounted),
        }
    }
}

/// Acts that are judged by what they cover: they cover every head.
fn must_cover(act: &Act) -> bool {
    matches!(
        act,
        Act::Remove(_) | Act::Grant(_) | Act::OwnerSet(_) | Act::Checkpoint(_)
    )
}

/// What the next event of `device` follows: its own previous one, then at most one head per other device, the greatest
/// (lamport, id) first. Of a forked device that is the end of its smaller branch or nothing: what hangs on another branch
/// stays a head until somebody cites it. Says too whether that is every head but those.
pub(super) fn parents(graph: &Graph, device: &DeviceId) -> (Vec<Idx>, bool) {
    let own = graph.tip_of(device);
    let mut heads: Vec<Idx> = graph.tips().filter(|tip| Some(*tip) != own).collect();
    heads.sort_by_key(|idx| std::cmp::Reverse(graph.rank(*idx)));
    let room = MAX_PARENTS - usize::from(own.is_some());
    let all = heads.len() <= room;
    heads.truncate(room);
    heads.extend(own);
    (heads, all)
}
