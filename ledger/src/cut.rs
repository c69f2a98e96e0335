//! Where a removal draws the line.
//!
//! What of a removed member's acts still counts lies in the past of the removal's own `cut`, if it has one. So to undo an
//! act and all that its author did from then on, the cut must leave these out, and as little else as can be: the largest
//! past that holds none of them. Others have long written on top of what is undone, and what they wrote is not in that
//! past; that does no harm, for a cut is read for the target's acts, for its admissions and grants, and for admissions by
//! its invites, and nothing else of anybody depends on it.
//!
//! A past is named by its heads, of which an event has room for [`MAX_CUT`]. Where there are more, those are taken that
//! hold what the cut is read for.

use std::collections::{BTreeMap, BTreeSet};

use crate::authority::cast::Cast;
use crate::event::Act;

use crate::event::act::{Kind, MAX_CUT};
use crate::graph::{Graph, Idx};
use crate::ids::{EventId, UserId};

/// The most lanes of one device of which each is looked at for what is kept of it.
const MOST_LANES: usize = 256;

/// From where on a member's acts are undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// From this event of the member on: it, what has it in its past, and what the same device wrote beside it.
    Event(EventId),
    /// From the first event of each device on whose own clock says this or later, in milliseconds since 1970.
    Time(u64),
}

/// The heads of a cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// Ascending, at most [`MAX_CUT`].
    pub heads: Vec<EventId>,
    /// How many events the heads have no room for although they would count: none but in a network of which more than
    /// [`MAX_CUT`] parts wrote without hearing of each other.
    pub left_out: usize,
}

/// Why there is no such cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoCut {
    /// That event is not here.
    #[error("there is no event {}", .0.short())]
    Unknown(EventId),
    /// No device of the member wrote it.
    #[error("{} is somebody else's event", .0.short())]
    NotTheirs(EventId),
    /// No event of the member is that late.
    #[error("none of their events is that late by its own clock")]
    NoneSoLate,
    /// It would leave nothing, not even the network.
    #[error("the event that founds the network cannot be undone")]
    Genesis,
}

/// The cut that leaves a user all its acts but those since then; without `since`, all that are in the graph.
///
/// # Errors
/// [`NoCut`] if there is nothing to cut at.
pub fn cut(graph: &Graph, user: &UserId, since: Option<&Since>) -> Result<Cut, NoCut> {
    let cast = Cast::of(graph);
    let number = cast.user(user);
    let is_theirs = |idx: Idx| {
        let users = cast.users_of(cast.author(idx));
        number.is_some_and(|number| users.contains(&number))
    };
    let undone = match since {
        Some(since) => first_undone(graph, since, is_theirs)?,
        None => Vec::new(),
    };
    let undone = Undone::new(graph, &undone);
    let kept = |idx: &Idx| !undone.holds(graph, *idx);
    // What is kept is a past, so of each lane it is a prefix. A device may fork without end; where it has very many
    // lanes, the branch that others follow stands for it.
    let tails = graph.authors().flat_map(|device| {
        let all = graph.lanes_of(device);
        let lanes = if all.len() > MOST_LANES { &[] } else { all };
        let branch = (lanes.len() < all.len()).then(|| graph.branch_of(device));
        let lanes = lanes
            .iter()
            .map(|lane| graph.lanes()[*lane as usize].as_slice());
        let lanes = lanes.chain(branch);
        lanes.filter_map(|lane| lane[..lane.partition_point(&kept)].last().copied())
    });
    let heads = heads(graph, tails.collect());
    if heads.is_empty() {
        return Err(NoCut::Genesis);
    }
    let (heads, left_out) = if heads.len() <= MAX_CUT {
        (heads, 0)
    } else {
        let mut read: BTreeSet<Idx> = graph
            .indices()
            .filter(|idx| kept(idx) && (is_theirs(*idx) || concerns(graph, *idx, user, is_theirs)))
            .collect();
        choose(graph, heads, &mut read)
    };
    let mut heads: Vec<EventId> = heads.iter().map(|idx| graph.id(*idx)).collect();
    heads.sort_unstable();
    Ok(Cut { heads, left_out })
}

/// The first event of each lane of theirs that is undone.
fn first_undone(
    graph: &Graph,
    since: &Since,
    is_theirs: impl Fn(Idx) -> bool,
) -> Result<Vec<Idx>, NoCut> {
    let lanes = graph.lanes().iter();
    let lanes = lanes.filter(|lane| lane.first().is_some_and(|first| is_theirs(*first)));
    let firsts: Vec<Idx> = match since {
        Since::Event(id) => {
            let from = graph.find(id).ok_or(NoCut::Unknown(*id))?;
            if !is_theirs(from) {
                return Err(NoCut::NotTheirs(*id));
            }
            let device = graph.author(from);
            let stands = |idx: &Idx| {
                if graph.author(*idx) == device {
                    // Else who forks his device has a branch that nothing undoes.
                    graph.precedes(*idx, from)
                } else {
                    !graph.precedes(from, *idx)
                }
            };
            lanes
                .filter_map(|lane| lane.get(lane.partition_point(stands)).copied())
                .collect()
        }
        Since::Time(time) => {
            let late = |idx: &&Idx| graph.time(**idx) >= *time;
            lanes
                .filter_map(|lane| lane.iter().find(late).copied())
                .collect()
        }
    };
    if firsts.is_empty() {
        return Err(NoCut::NoneSoLate);
    }
    Ok(firsts)
}

/// The first undone event of each lane that has one, and what knows of them.
struct Undone(BTreeMap<u32, u32>);

impl Undone {
    fn new(graph: &Graph, firsts: &[Idx]) -> Self {
        let place = |idx: &Idx| (graph.lane(*idx) as u32, graph.position(*idx) as u32);
        Self(firsts.iter().map(place).collect())
    }

    /// Whether an event is one that is undone, or has one in its past. Costs what the event knows, or what is undone if that
    /// is less, and not the one times the other.
    fn holds(&self, graph: &Graph, idx: Idx) -> bool {
        let is_undone = |lane: u32, count: u32| self.0.get(&lane).is_some_and(|at| count > *at);
        let (lane, position) = (graph.lane(idx) as u32, graph.position(idx) as u32);
        if is_undone(lane, position + 1) {
            return true;
        }
        if self.0.len() <= MAX_CUT {
            let mut lanes = self.0.iter();
            return lanes.any(|(lane, at)| graph.known(idx, *lane) > *at);
        }
        graph.knows_any(idx, is_undone)
    }
}

/// Those that are in no other's past.
fn heads(graph: &Graph, mut events: Vec<Idx>) -> Vec<Idx> {
    events.sort_unstable_by_key(|idx| std::cmp::Reverse(graph.rank(*idx)));
    let mut heads: Vec<Idx> = Vec::new();
    for event in events {
        if !heads.iter().any(|head| graph.precedes(event, *head)) {
            heads.push(event);
        }
    }
    heads
}

/// Whether an event of somebody else is one for which a removal of this user is judged by its cut.
fn concerns(graph: &Graph, idx: Idx, user: &UserId, is_theirs: impl Fn(Idx) -> bool) -> bool {
    if matches!(graph.kind(idx), Kind::Private | Kind::Merge) {
        return false;
    }
    match graph.event(idx).act() {
        Act::Admit(act) => {
            let by_theirs = |invite| graph.find(invite).is_some_and(&is_theirs);
            let redemption = act.redemption.as_ref();
            act.user == *user || redemption.is_some_and(|redemption| by_theirs(&redemption.invite))
        }
        Act::Grant(act) => act.user == *user,
        Act::OwnerSet(act) => act.successor == *user,
        _ => false,
    }
}

/// As many heads as there is room for, those first that hold most of what is read; and how many of these none holds.
fn choose(graph: &Graph, mut heads: Vec<Idx>, read: &mut BTreeSet<Idx>) -> (Vec<Idx>, usize) {
    let mut chosen = Vec::new();
    while chosen.len() < MAX_CUT {
        let holds = |head: Idx, idx: &Idx| *idx == head || graph.precedes(*idx, head);
        // Of two that hold as many, the later one; `heads` begins with the latest.
        let best = heads
            .iter()
            .enumerate()
            .max_by_key(|(at, head)| {
                let held = read.iter().filter(|idx| holds(**head, idx)).count();
                (held, std::cmp::Reverse(*at))
            })
            .map(|(at, _)| at);
        let Some(best) = best else { break };
        let head = heads.remove(best);
        read.retain(|idx| !holds(head, idx));
        chosen.push(head);
    }
    (chosen, read.len())
}
