//! The DAG of one network's events, with exact answers to "is a in the past of b".
//!
//! An event extends its device's *lane* if that lane's last event is in its past, else it opens a new one (a device that
//! forks opens a lane per branch). So every lane is a true chain, and a ∈ past(b) ⇔ watermark(b)[lane of a] > position
//! of a, for devices that write two events of one seq too. Lane numbers are local; answers are not.

mod ancestry;
mod forks;
mod marks;
mod mutual;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use forks::{Fork, Undo};
use marks::{Known, Marks, Root};
use smallvec::SmallVec;

use crate::authority::{Proof, mutual};
use crate::event::act::Kind;
use crate::event::{Act, Event, Header};
use crate::ids::{DeviceId, EpochId, EventId, NetworkId, UserId};
pub use crate::index::{FindError, Idx};
use crate::index::{Index, ReadBack};
use crate::store::StoreError;

/// The events that lie in the past of some heads, heads included: how many of each lane.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Past(Vec<u32>);

/// Why an event does not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// Parents that are not here.
    #[error("{} of its parents are unknown", .0.len())]
    MissingParents(Vec<EventId>),
    /// Its lamport is not 1 + the greatest of its parents'.
    #[error("its lamport is {found}; its parents make it {due}")]
    Lamport {
        /// What it says.
        found: u32,
        /// What it must be.
        due: u32,
    },
    /// Its seq is not 1 + that of an event of the same device in its past.
    #[error("its seq is {found}; the author's events in its past make it {due}")]
    Seq {
        /// What it says.
        found: u32,
        /// What it must be.
        due: u32,
    },
    /// A second genesis, or an event of another network.
    #[error("it belongs to another network")]
    Foreign,
    /// More events than the index counts.
    #[error("the network is full")]
    Full,
}

/// The most insertions that are taken back without finding heads and branches anew.
const MOST_UNDO: usize = 1 << 16;

/// What stays of each event in memory beside its id and lamport.
struct Node {
    time: u64,
    lane: u32,
    position: u32,
    seq: u32,
    /// How many events of each lane lie in the strict past; of its own lane, that is its position.
    others: Root,
    /// Of each device that forked, the greatest seq in the strict past that does not stand in its first lane.
    forks: u32,
    forks_height: u8,
    /// How many nodes the watermarks of earlier events have.
    marks: u32,
    kind: Kind,
    sealed: bool,
}

impl Node {
    fn forks(&self) -> Root {
        Root::of(self.forks, self.forks_height)
    }
}

/// The DAG.
#[derive(Default)]
pub struct Graph {
    index: Index,
    network: Option<NetworkId>,
    nodes: Vec<Node>,
    marks: Marks,
    lanes: Vec<Vec<Idx>>,
    authors: Vec<DeviceId>,
    lanes_of: BTreeMap<DeviceId, Vec<u32>>,
    heads: BTreeSet<Idx>,
    /// Those of them that honest devices follow: all but those of further branches.
    tips: BTreeSet<Idx>,
    forked: BTreeSet<DeviceId>,
    forks: BTreeMap<DeviceId, Fork>,
    /// Of the last insertions, the oldest first.
    undo: Vec<Undo>,
    /// How often the graph changed.
    changes: u64,
    /// Whether the signatures inside an act hold. It follows from the event and its past, so it is found once.
    proofs: BTreeMap<Idx, OnceLock<Proof>>,
    /// Those that were found before, of events that are not here yet.
    recalled: BTreeMap<EventId, Proof>,
    /// Events of which none was.
    unkept: Vec<Idx>,
    /// Whose a device said it is, by acts that both of them signed: of two in a row, the first is enough.
    mutual: BTreeMap<(DeviceId, UserId), SmallVec<[Idx; 2]>>,
    /// How many signatures of user keys under removals were checked.
    checks: Cell<u64>,
}

impl Graph {
    /// An empty one, which keeps its events. The first event must be a genesis.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty one that reads the bodies of its events back from where they are stored, once [`Self::stored`] said that they
    /// are.
    #[must_use]
    pub fn stored_in(reader: Option<Arc<dyn ReadBack>>) -> Self {
        Self {
            index: Index::stored_in(reader),
            ..Self::default()
        }
    }

    /// An empty one for a part of these events, which are stored.
    pub(crate) fn part(&self) -> Self {
        let found = self.proofs.iter();
        let found = found.filter_map(|(idx, proof)| Some((self.id(*idx), *proof.get()?)));
        Self {
            recalled: found.collect(),
            ..Self::stored_in(self.index.reader())
        }
    }

    /// Takes what was found of the signatures inside acts before, as [`Self::unkept_proofs`] said it.
    pub(crate) fn recall(&mut self, proofs: Vec<(EventId, Vec<u8>)>) {
        let proofs = proofs.into_iter();
        let proofs = proofs.filter_map(|(id, bytes)| Some((id, Proof::decode(&id, &bytes)?)));
        self.recalled = proofs.collect();
    }

    /// What was found since [`Self::proofs_kept`], if it is so many or more.
    pub(crate) fn unkept_proofs(&self, at_least: usize) -> Vec<(EventId, Vec<u8>)> {
        if self.unkept.len() < at_least {
            return Vec::new();
        }
        let proofs = self.unkept.iter().map(|idx| (self.id(*idx), *idx));
        let proofs = proofs.filter_map(|(id, idx)| Some((id, self.proof(idx).encode(&id)?)));
        proofs.collect()
    }

    /// What was found is kept.
    pub(crate) fn proofs_kept(&mut self) {
        self.unkept.clear();
    }

    /// The events of it that are stored now: all. Their bodies need not stay in memory.
    pub fn stored(&mut self) {
        self.index.stored();
        self.undo.clear();
    }

    /// The store has an event's body again.
    pub(crate) fn mended(&mut self, id: &EventId) {
        self.index.mended(id);
    }

    /// Lets go of every body that can be read back.
    #[cfg(test)]
    pub(crate) fn forget_bodies(&mut self) {
        self.index.forget_bodies();
    }

    /// Why an event's body could not be read back, if that ever happened. Such an event stands for an empty one from then on, so
    /// what was found out since may be wrong.
    #[must_use]
    pub fn failure(&self) -> Option<&StoreError> {
        self.index.failure()
    }

    /// The events by id, and by (lamport, id).
    #[must_use]
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// How many events there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// All places, in the order of insertion.
    pub fn indices(&self) -> impl DoubleEndedIterator<Item = Idx> + ExactSizeIterator + use<> {
        (0..self.nodes.len() as u32).map(Idx)
    }

    /// The event at a place, read back if need be. A place comes from this graph.
    #[must_use]
    pub fn event(&self, idx: Idx) -> Event {
        self.index.need(idx).unwrap_or_else(|| {
            let header = Header {
                network: self.network.unwrap_or(NetworkId::GENESIS),
                author: self.author(idx),
                seq: self.seq(idx),
                lamport: self.lamport(idx),
                time: self.time(idx),
                epoch: EpochId::NONE,
                parents: Vec::new(),
            };
            Event::lost(self.id(idx), header)
        })
    }

    /// An event's id.
    #[must_use]
    pub fn id(&self, idx: Idx) -> EventId {
        self.index.id(idx)
    }

    /// The device that signed an event.
    #[must_use]
    pub fn author(&self, idx: Idx) -> DeviceId {
        self.authors[self.nodes[idx.at()].lane as usize]
    }

    /// An event's lamport.
    #[must_use]
    pub fn lamport(&self, idx: Idx) -> u32 {
        self.index.lamport(idx)
    }

    /// By (lamport, id) events are sorted, which extends the causal order.
    pub(crate) fn rank(&self, idx: Idx) -> (u32, EventId) {
        (self.lamport(idx), self.id(idx))
    }

    /// An event's seq.
    #[must_use]
    pub fn seq(&self, idx: Idx) -> u32 {
        self.nodes[idx.at()].seq
    }

    /// When an event was written, by its author's clock: milliseconds since 1970.
    #[must_use]
    pub fn time(&self, idx: Idx) -> u64 {
        self.nodes[idx.at()].time
    }

    /// What kind of act an event is.
    #[must_use]
    pub fn kind(&self, idx: Idx) -> Kind {
        self.nodes[idx.at()].kind
    }

    /// Whether an event has sealed attributes.
    #[must_use]
    pub fn is_sealed(&self, idx: Idx) -> bool {
        self.nodes[idx.at()].sealed
    }

    /// The place of an event, if it is here.
    #[must_use]
    pub fn find(&self, id: &EventId) -> Option<Idx> {
        self.index.find(id)
    }

    /// The place of the one event whose id begins with these hexadecimal digits.
    ///
    /// # Errors
    /// [`FindError`] if there is none, or more than one.
    pub fn named(&self, prefix: &str) -> Result<Idx, FindError> {
        self.index.named(prefix)
    }

    /// How many bytes of memory the graph takes, about, without its index and watermarks.
    pub(crate) fn bytes(&self) -> usize {
        let lanes = self.lanes.iter();
        let lanes = lanes.map(|lane| size_of::<(Vec<Idx>, DeviceId, u32)>() + 4 * lane.len());
        let few = self.proofs.len() * size_of::<(Idx, OnceLock<Proof>)>();
        size_of::<Node>() * self.nodes.len() + lanes.sum::<usize>() + few + 4 * self.heads.len()
    }

    /// How many bytes the watermarks take: what tells of any two events whether one lies in the other's past.
    #[must_use]
    pub fn watermark_bytes(&self) -> usize {
        self.marks.bytes()
    }

    /// The events that are nobody's parent, in the order of insertion.
    pub fn heads(&self) -> impl Iterator<Item = Idx> + '_ {
        self.heads.iter().copied()
    }

    /// The heads that a new event follows: of a device that forked, at most the end of its smaller branch.
    pub fn tips(&self) -> impl Iterator<Item = Idx> + '_ {
        self.tips.iter().copied()
    }

    /// A device's last event; of a forked one, that of its smaller branch: where two of its events part, the branch with the
    /// smaller id.
    #[must_use]
    pub fn tip_of(&self, device: &DeviceId) -> Option<Idx> {
        if let Some(fork) = self.forks.get(device) {
            return fork.tip();
        }
        let lane = self.lanes_of(device).first()?;
        self.lanes[*lane as usize].last().copied()
    }

    /// A device's events, a chain; of a forked one, its smaller branch.
    pub(crate) fn branch_of(&self, device: &DeviceId) -> &[Idx] {
        match (self.forks.get(device), self.lanes_of(device)) {
            (Some(fork), _) => fork.path(),
            (None, [lane, ..]) => &self.lanes[*lane as usize],
            (None, []) => &[],
        }
    }

    /// A number that is another after every change.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    /// How many signatures of user keys under removals were checked in all: what a member's acts cost others beside the
    /// signatures of the events themselves.
    #[must_use]
    pub fn checks(&self) -> u64 {
        self.checks.get()
    }

    /// One more was checked.
    pub(crate) fn count_check(&self) {
        self.checks.set(self.checks.get() + 1);
    }

    /// The devices that wrote two events of one seq.
    #[must_use]
    pub fn forked(&self) -> &BTreeSet<DeviceId> {
        &self.forked
    }

    /// Inserts an event whose parents are all here. One that is here already gives its place.
    ///
    /// # Errors
    /// [`Misfit`] if it does not fit; nothing changes then.
    pub fn insert(&mut self, event: Event) -> Result<Idx, Misfit> {
        if let Some(idx) = self.find(&event.id()) {
            return Ok(idx);
        }
        if self.is_foreign(&event) {
            return Err(Misfit::Foreign);
        }
        let parents = self.parents(&event).map_err(Misfit::MissingParents)?;
        self.insert_behind(event, parents)
    }

    /// The places of an event's parents, or the ids of those that are not here.
    pub(crate) fn parents(&self, event: &Event) -> Result<Vec<Idx>, Vec<EventId>> {
        let ids = &event.header().parents;
        let (mut parents, mut missing) = (Vec::with_capacity(ids.len()), Vec::new());
        for id in ids {
            match self.find(id) {
                Some(idx) => parents.push(idx),
                None => missing.push(*id),
            }
        }
        if missing.is_empty() {
            Ok(parents)
        } else {
            Err(missing)
        }
    }

    fn is_foreign(&self, event: &Event) -> bool {
        match self.network {
            Some(network) => network != event.network(),
            None => !event.header().parents.is_empty(),
        }
    }

    /// Inserts an event that is not here, behind its parents, which are these.
    ///
    /// # Errors
    /// As of [`Self::insert`].
    pub(crate) fn insert_behind(&mut self, event: Event, parents: Vec<Idx>) -> Result<Idx, Misfit> {
        if self.is_foreign(&event) {
            return Err(Misfit::Foreign);
        }
        let header = event.header();
        let due = parents
            .iter()
            .map(|p| self.lamport(*p) + 1)
            .max()
            .unwrap_or(0);
        if header.lamport != due {
            return Err(Misfit::Lamport {
                found: header.lamport,
                due,
            });
        }
        let due = self.next_seq(&header.author, &parents);
        if header.seq != due {
            return Err(Misfit::Seq {
                found: header.seq,
                due,
            });
        }
        let (Ok(_), Ok(marks)) = (
            u32::try_from(self.nodes.len()),
            u32::try_from(self.marks.len()),
        ) else {
            return Err(Misfit::Full);
        };
        let (author, sealed) = (header.author, !event.sealed().is_empty());
        let (time, seq) = (header.time, header.seq);
        // A lane that is not the first goes on only behind its last event itself: of those there may be very many, and a
        // lane too many does no harm.
        let all_of = |lane: u32| {
            let known = parents.iter().map(|parent| self.count_with(*parent, lane));
            known.max().unwrap_or(0) as usize == self.lanes[lane as usize].len()
        };
        let first = self.lanes_of(&author).first().copied();
        let follows = self.own_parent(&author, first, &parents);
        let extends = first.filter(|first| all_of(*first)).or_else(|| {
            let own = parents.iter().map(|parent| &self.nodes[parent.at()]);
            let mut own = own.filter(|node| self.authors[node.lane as usize] == author);
            let is_last =
                |node: &&Node| node.position as usize + 1 == self.lanes[node.lane as usize].len();
            own.find(is_last).map(|node| node.lane)
        });
        let before = self.tip_of(&author);
        let lane = extends.unwrap_or_else(|| {
            let lane = self.lanes.len() as u32;
            self.lanes.push(Vec::new());
            self.authors.push(author);
            self.lanes_of.entry(author).or_default().push(lane);
            if let Some(first) = first
                && self.forked.insert(author)
            {
                let fork = Fork::new(self.forks.len() as u32, &self.lanes[first as usize]);
                self.forks.insert(author, fork);
            }
            lane
        });
        let known = |parent: &Idx| {
            let node = &self.nodes[parent.at()];
            // Of its own lane an event says more than a tree would.
            let count = (node.lane != lane).then_some(node.position + 1);
            Known {
                root: node.others,
                lane: node.lane,
                count: count.unwrap_or(0),
            }
        };
        let others = parents.iter().map(known).collect::<Vec<_>>();
        let others = self.marks.past(&others);
        let forks = self.known_of_forks(&parents);
        let kind = event.act().variant();
        if self.nodes.is_empty() {
            self.network = Some(event.network());
        }
        let signs = match event.act() {
            Act::Remove(act) => act.by_user.is_some(),
            act => act.variant().certifies(),
        };
        let said = mutual(event.act());
        let idx = self.index.push(event);
        if signs {
            let proof = self.recalled.remove(&self.index.id(idx));
            if proof.is_none() {
                self.unkept.push(idx);
            }
            let proof = proof.map_or_else(OnceLock::new, OnceLock::from);
            self.proofs.insert(idx, proof);
        }
        let chain = &mut self.lanes[lane as usize];
        let position = chain.len() as u32;
        chain.push(idx);
        let mut undo = Undo {
            idx,
            heads: SmallVec::new(),
            tips: SmallVec::new(),
            displaced: None,
        };
        for parent in &parents {
            if self.heads.remove(parent) {
                undo.heads.push(*parent);
            }
            if self.tips.remove(parent) {
                undo.tips.push(*parent);
            }
        }
        self.heads.insert(idx);
        let ids = &self.index;
        let fork = self.forks.get_mut(&author);
        undo.displaced = fork.and_then(|fork| fork.take(idx, follows, |idx| ids.id(idx)));
        if undo.displaced.is_some() || !self.forked.contains(&author) {
            if let Some(before) = before
                && self.tips.remove(&before)
            {
                undo.tips.push(before);
            }
            self.tips.insert(idx);
        }
        if self.undo.len() == MOST_UNDO {
            self.undo.clear();
        }
        self.undo.push(undo);
        self.changes += 1;
        self.nodes.push(Node {
            time,
            lane,
            position,
            seq,
            others,
            forks: forks.node(),
            forks_height: forks.height(),
            marks,
            kind,
            sealed,
        });
        if let Some((user, device)) = said {
            self.note_mutual(idx, device, user);
        }
        Ok(idx)
    }

    /// Which of its device's events an event follows: of those among its parents, the one with the greatest seq; else the last
    /// one of the device's first lane that it knows. Honest devices name their own last event.
    fn own_parent(&self, author: &DeviceId, first: Option<u32>, parents: &[Idx]) -> Option<Idx> {
        let own = parents.iter().copied();
        let own = own.filter(|parent| self.author(*parent) == *author);
        own.min_by_key(|idx| (std::cmp::Reverse(self.seq(*idx)), self.id(*idx)))
            .or_else(|| {
                let first = first?;
                let known = parents.iter().map(|parent| self.count_with(*parent, first));
                let last = known.max()?.checked_sub(1)?;
                self.lanes[first as usize].get(last as usize).copied()
            })
    }

    /// What an event with these parents knows of further branches.
    fn known_of_forks(&mut self, parents: &[Idx]) -> Root {
        if self.forks.is_empty() {
            return Root::EMPTY;
        }
        let known = parents.iter().map(|parent| {
            let node = &self.nodes[parent.at()];
            let author = self.authors[node.lane as usize];
            let fork = self.forks.get(&author);
            let further = fork.filter(|_| self.lanes_of[&author].first() != Some(&node.lane));
            Known {
                root: node.forks(),
                lane: further.map_or(0, |fork| fork.number),
                count: further.map_or(0, |_| node.seq),
            }
        });
        let known: Vec<Known> = known.collect();
        self.marks.past(&known)
    }

    /// Takes away what was inserted after the first `len` events, so that a trial leaves no trace.
    pub fn truncate(&mut self, len: usize) {
        let mut rebuild = false;
        while self.nodes.len() > len {
            let idx = Idx(self.nodes.len() as u32 - 1);
            self.changes += 1;
            if self.kind(idx).certifies() {
                self.forget_mutual(idx);
            }
            let author = self.author(idx);
            let undo = self.undo.pop_if(|undo| undo.idx == idx);
            rebuild |= undo.is_none();
            self.heads.remove(&idx);
            self.tips.remove(&idx);
            if let Some(undo) = undo {
                self.heads.extend(undo.heads);
                self.tips.extend(undo.tips);
                if let (Some(fork), Some(displaced)) = (self.forks.get_mut(&author), undo.displaced)
                {
                    fork.give_back(&displaced);
                }
            }
            self.index.pop();
            self.proofs.remove(&idx);
            self.unkept.pop_if(|last| *last == idx);
            let Some(node) = self.nodes.pop() else { return };
            self.marks.truncate(node.marks as usize);
            // An event extends its lane at the end, and the last event opened the last lane if it opened one.
            if let Some(chain) = self.lanes.get_mut(node.lane as usize) {
                chain.pop();
                if chain.is_empty() {
                    self.lanes.pop();
                    let Some(author) = self.authors.pop() else {
                        return;
                    };
                    if let Some(lanes) = self.lanes_of.get_mut(&author) {
                        lanes.pop();
                        if lanes.len() < 2 && self.forked.remove(&author) {
                            self.forks.remove(&author);
                        }
                        if lanes.is_empty() {
                            self.lanes_of.remove(&author);
                        }
                    }
                }
            }
        }
        if rebuild {
            self.rebuild();
        }
        if self.nodes.is_empty() {
            self.network = None;
        }
    }

    /// Finds heads and branches anew, where nothing tells any more how they were before.
    fn rebuild(&mut self) {
        let (mut heads, mut followed) = (BTreeSet::new(), Vec::new());
        for idx in self.indices() {
            let parents = self.parents(&self.event(idx)).unwrap_or_default();
            for parent in &parents {
                heads.remove(parent);
            }
            heads.insert(idx);
            if self.forked.contains(&self.author(idx)) {
                followed.push((idx, parents));
            }
        }
        self.heads = heads;
        for fork in self.forks.values_mut() {
            *fork = Fork::new(fork.number, &[]);
        }
        for (idx, parents) in followed {
            let author = self.author(idx);
            let first = self.lanes_of(&author).first().copied();
            let follows = self.own_parent(&author, first, &parents);
            let ids = &self.index;
            if let Some(fork) = self.forks.get_mut(&author) {
                fork.take(idx, follows, |idx| ids.id(idx));
            }
        }
        let ends = |idx: &Idx| self.tip_of(&self.author(*idx)) == Some(*idx);
        self.tips = self.heads.iter().copied().filter(ends).collect();
        self.undo.clear();
    }
}
