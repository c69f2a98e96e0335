//! The DAG of one network's events, with exact answers to "is a in the past of b".
//!
//! An event extends its device's *lane* if that lane's last event is in its past, else it opens a new one (a device that
//! forks opens a lane per branch). So every lane is a true chain, and a ∈ past(b) ⇔ watermark(b)[lane of a] > position
//! of a, for devices that write two events of one seq too. Lane numbers are local; answers are not.

mod marks;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use marks::{Known, Marks, Root};

use crate::authority::Proof;
use crate::event::act::Kind;
use crate::event::{Act, Event, Header};
use crate::ids::{DeviceId, EpochId, EventId, NetworkId};
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

/// What stays of each event in memory beside its id and lamport.
struct Node {
    time: u64,
    lane: u32,
    position: u32,
    seq: u32,
    /// How many events of each lane lie in the strict past; of its own lane, that is its position.
    others: Root,
    /// How many nodes the watermarks of earlier events have.
    marks: u32,
    kind: Kind,
    sealed: bool,
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
    forked: BTreeSet<DeviceId>,
    /// Whether the signatures inside an act hold. It follows from the event and its past, so it is found once.
    proofs: BTreeMap<Idx, OnceLock<Proof>>,
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
        Self::stored_in(self.index.reader())
    }

    /// The events of it that are stored now: all. Their bodies need not stay in memory.
    pub fn stored(&mut self) {
        self.index.stored();
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
        let own = self.lanes_of.get(&author).map(Vec::as_slice);
        let extends = own.unwrap_or_default().iter().copied().find(|lane| {
            let known = parents.iter().map(|parent| self.count_with(*parent, *lane));
            known.max().unwrap_or(0) as usize == self.lanes[*lane as usize].len()
        });
        let lane = extends.unwrap_or_else(|| {
            let lane = self.lanes.len() as u32;
            self.lanes.push(Vec::new());
            self.authors.push(author);
            let lanes = self.lanes_of.entry(author).or_default();
            if !lanes.is_empty() {
                self.forked.insert(author);
            }
            lanes.push(lane);
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
        let kind = event.act().variant();
        if self.nodes.is_empty() {
            self.network = Some(event.network());
        }
        let signs = match event.act() {
            Act::Remove(act) => act.by_user.is_some(),
            act => act.variant().certifies(),
        };
        let idx = self.index.push(event);
        if signs {
            self.proofs.insert(idx, OnceLock::new());
        }
        let chain = &mut self.lanes[lane as usize];
        let position = chain.len() as u32;
        chain.push(idx);
        for parent in &parents {
            self.heads.remove(parent);
        }
        self.heads.insert(idx);
        self.nodes.push(Node {
            time,
            lane,
            position,
            seq,
            others,
            marks,
            kind,
            sealed,
        });
        Ok(idx)
    }

    /// Takes away what was inserted after the first `len` events, so that a trial leaves no trace.
    pub fn truncate(&mut self, len: usize) {
        while self.nodes.len() > len {
            let idx = Idx(self.nodes.len() as u32 - 1);
            let parents = self.parents(&self.event(idx)).unwrap_or_default();
            self.heads.remove(&idx);
            // What nobody else follows is a head again.
            let again: Vec<Idx> = parents
                .iter()
                .copied()
                .filter(|parent| {
                    let mut others = self.heads.iter().chain(&parents);
                    !others.any(|other| self.precedes(*parent, *other))
                })
                .collect();
            self.heads.extend(again);
            self.index.pop();
            self.proofs.remove(&idx);
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
                        if lanes.len() < 2 {
                            self.forked.remove(&author);
                        }
                        if lanes.is_empty() {
                            self.lanes_of.remove(&author);
                        }
                    }
                }
            }
        }
        if self.nodes.is_empty() {
            self.network = None;
        }
    }

    /// Whether `a` lies in the strict past of `b`.
    #[must_use]
    pub fn precedes(&self, a: Idx, b: Idx) -> bool {
        // Parents have smaller places.
        a < b && {
            let node = &self.nodes[a.at()];
            self.known(b, node.lane) > node.position
        }
    }

    /// Whether neither lies in the other's past, and they differ.
    #[must_use]
    pub fn concurrent(&self, a: Idx, b: Idx) -> bool {
        a != b && !self.precedes(a, b) && !self.precedes(b, a)
    }

    /// Whether an event is one of some heads, or lies in the past of one.
    #[must_use]
    pub fn precedes_any(&self, idx: Idx, heads: &[Idx]) -> bool {
        heads
            .iter()
            .any(|head| *head == idx || self.precedes(idx, *head))
    }

    /// The strict past of an event.
    #[must_use]
    pub fn strict_past(&self, idx: Idx) -> Past {
        let (node, mut past) = (&self.nodes[idx.at()], Past::default());
        self.marks.spread(node.others, &mut past.0);
        past.raise(node.lane, node.position);
        past
    }

    /// The past of some heads, the heads included.
    #[must_use]
    pub fn past_of(&self, heads: &[Idx]) -> Past {
        let mut past = Past::default();
        for head in heads {
            let node = &self.nodes[head.at()];
            self.marks.spread(node.others, &mut past.0);
            past.raise(node.lane, node.position + 1);
        }
        past
    }

    /// How many events of a lane lie in the strict past of an event.
    pub(crate) fn known(&self, idx: Idx, lane: u32) -> u32 {
        let node = &self.nodes[idx.at()];
        if node.lane == lane {
            node.position
        } else {
            self.marks.count(node.others, lane)
        }
    }

    /// 1 + the greatest seq of a device's events among some heads and their past.
    #[must_use]
    pub fn next_seq(&self, device: &DeviceId, heads: &[Idx]) -> u32 {
        let lanes = self.lanes_of(device).iter();
        let last = lanes.filter_map(|lane| {
            let count = heads.iter().map(|head| self.count_with(*head, *lane)).max();
            let last = count?.checked_sub(1)?;
            self.lanes.get(*lane as usize)?.get(last as usize).copied()
        });
        1 + last.map(|idx| self.seq(idx)).max().unwrap_or(0)
    }

    /// How many events of a lane there are up to and with one event.
    fn count_with(&self, idx: Idx, lane: u32) -> u32 {
        self.known(idx, lane) + u32::from(self.nodes[idx.at()].lane == lane)
    }

    /// Whether an event is one of that past.
    #[must_use]
    pub fn within(&self, idx: Idx, past: &Past) -> bool {
        let node = &self.nodes[idx.at()];
        past.count(node.lane) > node.position
    }

    /// What the signatures inside an event's act prove.
    pub(crate) fn proof(&self, idx: Idx) -> Proof {
        let proof = self.proofs.get(&idx);
        proof.map_or(Proof::Holds, |proof| {
            *proof.get_or_init(|| Proof::of(self, idx))
        })
    }

    /// The lane an event stands in: a number that means something in this graph alone.
    pub(crate) fn lane(&self, idx: Idx) -> usize {
        self.nodes[idx.at()].lane as usize
    }

    /// The event's place in its lane.
    pub(crate) fn position(&self, idx: Idx) -> usize {
        self.nodes[idx.at()].position as usize
    }

    /// The events of each lane, a chain of one device's.
    pub(crate) fn lanes(&self) -> &[Vec<Idx>] {
        &self.lanes
    }

    /// A device's events, lane by lane.
    pub fn by_author(&self, device: &DeviceId) -> impl Iterator<Item = Idx> + '_ {
        self.lanes_of(device)
            .iter()
            .flat_map(|lane| self.lanes[*lane as usize].iter().copied())
    }

    /// The lanes of a device's events: one, unless it forked.
    pub(crate) fn lanes_of(&self, device: &DeviceId) -> &[u32] {
        self.lanes_of
            .get(device)
            .map(Vec::as_slice)
            .unwrap_or_default()
    }
}

impl Past {
    /// How many events it holds.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().map(|count| u64::from(*count)).sum()
    }

    /// How many events of each lane it holds: a prefix of each.
    pub(crate) fn prefixes(&self) -> &[u32] {
        &self.0
    }

    pub(crate) fn count(&self, lane: u32) -> u32 {
        self.0.get(lane as usize).copied().unwrap_or(0)
    }

    fn raise(&mut self, lane: u32, count: u32) {
        if count == 0 {
            return;
        }
        let lane = lane as usize;
        if self.0.len() <= lane {
            self.0.resize(lane + 1, 0);
        }
        self.0[lane] = self.0[lane].max(count);
    }
}
