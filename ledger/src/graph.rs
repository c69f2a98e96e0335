//! The DAG of one network's events, with exact answers to "is a in the past of b".
//!
//! An event extends its device's *lane* if that lane's last event is in its past, else it opens a new one (a device that
//! forks opens a lane per branch). So every lane is a true chain, and a ∈ past(b) ⇔ watermark(b)[lane of a] > position
//! of a, for devices that write two events of one seq too. Lane numbers are local; answers are not.

mod marks;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use marks::{Known, Marks, Root};

use crate::authority::Proof;
use crate::event::Event;
use crate::ids::{DeviceId, EventId};

/// An event's place in a [`Graph`]: the order of insertion, so parents have smaller ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Idx(pub u32);

impl Idx {
    fn at(self) -> usize {
        self.0 as usize
    }
}

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

/// Why the beginning of an id names no event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FindError {
    /// Not hexadecimal digits, or fewer than four.
    #[error("{0:?} is no event id: give at least its first four hexadecimal digits")]
    Form(String),
    /// None begins so.
    #[error("no event begins with {0}")]
    None(String),
    /// Several do.
    #[error("{count} events begin with {prefix}: give more digits")]
    Several {
        /// What was asked for.
        prefix: String,
        /// How many there are.
        count: usize,
    },
}

struct Node {
    event: Event,
    lane: u32,
    position: u32,
    /// How many events of each lane lie in the strict past.
    strict: Root,
    /// How many nodes the watermarks of earlier events have.
    marks: usize,
    parents: Vec<Idx>,
    /// How many events name this one as a parent.
    children: u32,
    /// Whether the signatures inside the act hold. It follows from the event and its past, so it is found once.
    proof: OnceLock<Proof>,
}

/// The DAG.
#[derive(Default)]
pub struct Graph {
    nodes: Vec<Node>,
    marks: Marks,
    /// By the first eight bytes of the id, which are nearly always enough.
    by_id: BTreeSet<(u64, Idx)>,
    lanes: Vec<Vec<Idx>>,
    lanes_of: BTreeMap<DeviceId, Vec<u32>>,
    heads: BTreeSet<Idx>,
    forked: BTreeSet<DeviceId>,
}

impl Graph {
    /// An empty one. The first event must be a genesis.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
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

    /// The event at a place. A place comes from this graph.
    #[must_use]
    pub fn event(&self, idx: Idx) -> &Event {
        &self.nodes[idx.at()].event
    }

    /// The place of an event, if it is here.
    #[must_use]
    pub fn find(&self, id: &EventId) -> Option<Idx> {
        let first = first_bytes(id);
        let mut alike = self.by_id.range((first, Idx(0))..=(first, Idx(u32::MAX)));
        alike.find_map(|(_, idx)| (self.event(*idx).id() == *id).then_some(*idx))
    }

    /// The place of the one event whose id begins with these hexadecimal digits.
    ///
    /// # Errors
    /// [`FindError`] if there is none, or more than one.
    pub fn named(&self, prefix: &str) -> Result<Idx, FindError> {
        let prefix: String = prefix.chars().take(64).collect();
        let (least, greatest) = ids_from(&prefix).ok_or_else(|| FindError::Form(prefix.clone()))?;
        let prefix = prefix.to_ascii_lowercase();
        let places = (first_bytes(&least), Idx(0))..=(first_bytes(&greatest), Idx(u32::MAX));
        let mut found = self.by_id.range(places).filter(|(_, idx)| {
            let id = self.event(*idx).id();
            least <= id && id <= greatest
        });
        match (found.next(), found.count()) {
            (None, _) => Err(FindError::None(prefix)),
            (Some((_, idx)), 0) => Ok(*idx),
            (Some(_), more) => Err(FindError::Several {
                prefix,
                count: more + 1,
            }),
        }
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
        match self.nodes.first() {
            Some(first) => first.event.network() != event.network(),
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
            .map(|p| self.event(*p).header().lamport + 1)
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
        let idx = u32::try_from(self.nodes.len())
            .map(Idx)
            .map_err(|_| Misfit::Full)?;
        let author = header.author;
        let marks = self.marks.len();
        let known = |parent: &Idx| {
            let node = &self.nodes[parent.at()];
            Known {
                root: node.strict,
                lane: node.lane,
                count: node.position + 1,
            }
        };
        let strict = parents.iter().map(known).collect::<Vec<_>>();
        let strict = self.marks.past(&strict);
        let own = self.lanes_of.get(&author).map(Vec::as_slice);
        let extends = own.unwrap_or_default().iter().copied().find(|lane| {
            let chain = &self.lanes[*lane as usize];
            self.marks.count(strict, *lane) as usize == chain.len()
        });
        let lane = extends.unwrap_or_else(|| {
            let lane = self.lanes.len() as u32;
            self.lanes.push(Vec::new());
            let lanes = self.lanes_of.entry(author).or_default();
            if !lanes.is_empty() {
                self.forked.insert(author);
            }
            lanes.push(lane);
            lane
        });
        let chain = &mut self.lanes[lane as usize];
        let position = chain.len() as u32;
        chain.push(idx);
        for parent in &parents {
            self.heads.remove(parent);
            self.nodes[parent.at()].children += 1;
        }
        self.heads.insert(idx);
        self.by_id.insert((first_bytes(&event.id()), idx));
        self.nodes.push(Node {
            event,
            lane,
            position,
            strict,
            marks,
            parents,
            children: 0,
            proof: OnceLock::new(),
        });
        Ok(idx)
    }

    /// Takes away what was inserted after the first `len` events, so that a trial leaves no trace.
    pub fn truncate(&mut self, len: usize) {
        while self.nodes.len() > len {
            let Some(node) = self.nodes.pop() else { return };
            self.marks.truncate(node.marks);
            let idx = Idx(self.nodes.len() as u32);
            self.heads.remove(&idx);
            for parent in &node.parents {
                let children = &mut self.nodes[parent.at()].children;
                *children -= 1;
                if *children == 0 {
                    self.heads.insert(*parent);
                }
            }
            self.by_id.remove(&(first_bytes(&node.event.id()), idx));
            let author = node.event.author();
            // An event extends its lane at the end, and the last event opened the last lane if it opened one.
            if let Some(chain) = self.lanes.get_mut(node.lane as usize) {
                chain.pop();
                if chain.is_empty() {
                    self.lanes.pop();
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
    }

    /// Whether `a` lies in the strict past of `b`.
    #[must_use]
    pub fn precedes(&self, a: Idx, b: Idx) -> bool {
        // Parents have smaller places.
        a < b && {
            let node = &self.nodes[a.at()];
            self.marks.count(self.nodes[b.at()].strict, node.lane) > node.position
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
        self.past_of(&self.nodes[idx.at()].parents)
    }

    /// The past of some heads, the heads included.
    #[must_use]
    pub fn past_of(&self, heads: &[Idx]) -> Past {
        let mut past = Past::default();
        for head in heads {
            let node = &self.nodes[head.at()];
            self.marks.spread(node.strict, &mut past.0);
            past.raise(node.lane, node.position + 1);
        }
        past
    }

    /// How many events of a lane lie in the strict past of an event.
    pub(crate) fn known(&self, idx: Idx, lane: u32) -> u32 {
        self.marks.count(self.nodes[idx.at()].strict, lane)
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
        1 + last
            .map(|idx| self.event(idx).header().seq)
            .max()
            .unwrap_or(0)
    }

    /// How many events of a lane there are up to and with one event.
    fn count_with(&self, idx: Idx, lane: u32) -> u32 {
        let node = &self.nodes[idx.at()];
        if node.lane == lane {
            node.position + 1
        } else {
            self.marks.count(node.strict, lane)
        }
    }

    /// Whether an event is one of that past.
    #[must_use]
    pub fn within(&self, idx: Idx, past: &Past) -> bool {
        let node = &self.nodes[idx.at()];
        past.count(node.lane) > node.position
    }

    /// What the signatures inside an event's act prove.
    pub(crate) fn proof(&self, idx: Idx) -> Proof {
        *self.nodes[idx.at()]
            .proof
            .get_or_init(|| Proof::of(self, idx))
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
        let lane = lane as usize;
        if self.0.len() <= lane {
            self.0.resize(lane + 1, 0);
        }
        self.0[lane] = self.0[lane].max(count);
    }
}

fn first_bytes(id: &EventId) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&id.0[..8]);
    u64::from_be_bytes(first)
}

/// The least and the greatest id that begin with these digits: 4 to 64 of them.
fn ids_from(digits: &str) -> Option<(EventId, EventId)> {
    if digits.len() < 4 {
        return None;
    }
    let (least, greatest) = (format!("{digits:0<64}"), format!("{digits:f<64}"));
    Some((least.parse().ok()?, greatest.parse().ok()?))
}
