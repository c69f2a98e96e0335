//! Proofs that go into a file: that somebody is a member or an admin, or that an event is part of a network's history, for
//! whoever knows the network's id and nothing else.
//!
//! An event's id is a hash of all its bytes, its parents' ids among them, and the network's id is the hash of its first
//! event. So a chain of events from a *head* down to the genesis cannot be made up: what is on it lies in the head's past.
//!
//! **A chain** holds the *fact* (an admission, a grant, any event), the events that gave its author the right to sign it
//! (the author's own admission, the invite, the office of who issued it, and so on to the founder), if it is wished a later
//! head whose signer had it in its past, and between them what links them by hash. Where nobody signed anything concurrently
//! that is all there is; else it leaves out what others did beside it. It proves that each of these was signed by whom it names, in
//! that order, by the rules. It cannot prove that nothing took it back: a removal is an event like any other, and leaving
//! it out leaves no gap. Nor can it count how often an invite was used.
//!
//! **The whole past** of a head leaves nothing out, and that shows: each parent is there. The verifier then folds it as a
//! member would, and the answer is what is so by everything that the head's signer had heard of when it signed. What came
//! later, or was unknown to that device, no file can rule out: ask for a head that is fresh, by somebody you trust.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::event::{Act, BadEvent, Event, MAX_EVENT};
use crate::fold::Fold;
use crate::gate::{Gate, Passage, Refusal};
use crate::graph::{Graph, Idx};
use crate::ids::{DeviceId, EventId, NetworkId, UserId};
use crate::verdict::Verdict;

mod chain;
mod make;

pub use make::{CannotProve, prove};

/// The most bytes of a proof.
pub const MAX_PROOF: usize = 1 << 28;
/// The most events of a chain. A whole past may have more.
pub const MAX_CHAIN: usize = 16_384;

const MAGIC: &[u8] = b"mesh proof ";
const VERSION: &[u8] = b"1\n";
const SUM: usize = 8;

/// What is claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Claim {
    /// This user is a member.
    Member(UserId),
    /// This user is the owner or an admin.
    Admin(UserId),
    /// This event is part of the network's history.
    Event(EventId),
}

/// A claim with the events that prove it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProofFile {
    /// What is claimed.
    pub claim: Claim,
    /// The event that made it so.
    pub fact: EventId,
    /// The event in whose past that lies, or the fact itself.
    pub head: EventId,
    /// The events.
    pub events: Vec<Vec<u8>>,
}

/// Who signed an event, and when by its own clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signed {
    /// The event.
    pub event: EventId,
    /// The device.
    pub device: DeviceId,
    /// Whose device it is, as the proof shows.
    pub user: UserId,
    /// Milliseconds since 1970, on the word of that device.
    pub time: u64,
    /// Whether the proof shows that the user held office.
    pub admin: bool,
}

/// What a proof proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proven {
    /// The claim.
    pub claim: Claim,
    /// What made it so.
    pub fact: Signed,
    /// In whose past it lies.
    pub head: Signed,
    /// How many events there are.
    pub events: usize,
    /// Whether they are all of the head's past: nothing in it takes the fact back. Else it was so once.
    pub whole: bool,
}

/// A proof that proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadProof {
    /// It does not begin as one.
    #[error("this is no proof that mesh wrote")]
    NotOne,
    /// It is of another release.
    #[error(
        "the proof is of another release of mesh (this one reads format 1): upgrade mesh, or ask for it anew"
    )]
    Version,
    /// It was cut or changed.
    #[error("the proof is damaged: copy it again, whole")]
    Damaged,
    /// An event in it.
    #[error("an event of the proof is not genuine ({}: {why})", .id.short())]
    Event {
        /// By its bytes.
        id: EventId,
        /// Why.
        why: BadEvent,
    },
    /// An event in it that no member lets pass.
    #[error("an event of the proof is not genuine ({}: {why})", .id.short())]
    Refused {
        /// Which.
        id: EventId,
        /// Why.
        why: Refusal,
    },
    /// It is about another network.
    #[error("the proof is about another network")]
    Foreign,
    /// Its events do not link the fact to the head and to the network's first event.
    #[error("the proof has a gap: {0}")]
    Gap(&'static str),
    /// An event on which it rests was signed by somebody who had no right to.
    #[error("the proof does not show that {} was signed by somebody who may: {why}", .id.short())]
    Unfounded {
        /// Which.
        id: EventId,
        /// What is missing.
        why: &'static str,
    },
    /// The events say otherwise.
    #[error("by its own events the claim is false: {0}")]
    False(String),
    /// It takes too long to follow.
    #[error("the proof is larger than any honest one")]
    TooLarge,
}

#[derive(Serialize, Deserialize)]
struct Front {
    claim: Claim,
    fact: EventId,
    head: EventId,
    count: u32,
}

impl ProofFile {
    /// The bytes of the file.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let front = Front {
            claim: self.claim,
            fact: self.fact,
            head: self.head,
            count: u32::try_from(self.events.len()).unwrap_or(u32::MAX),
        };
        let mut out = [MAGIC, VERSION].concat();
        out.extend(postcard::to_stdvec(&front).unwrap_or_default());
        for event in &self.events {
            let length = u16::try_from(event.len()).unwrap_or(u16::MAX);
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(event);
        }
        let sum = sum(&out);
        out.extend_from_slice(&sum);
        out
    }

    /// Reads bytes from anywhere. Whether they prove anything, [`verify`] tells.
    ///
    /// # Errors
    /// [`BadProof`] if they are no proof, or not whole.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadProof> {
        if bytes.len() > MAX_PROOF {
            return Err(BadProof::TooLarge);
        }
        let rest = bytes.strip_prefix(MAGIC).ok_or(BadProof::NotOne)?;
        if !rest.starts_with(VERSION) {
            return Err(BadProof::Version);
        }
        let (body, due) = bytes.split_last_chunk::<SUM>().ok_or(BadProof::Damaged)?;
        if sum(body) != *due {
            return Err(BadProof::Damaged);
        }
        let body = body
            .get(MAGIC.len() + VERSION.len()..)
            .ok_or(BadProof::Damaged)?;
        let (front, mut rest) =
            postcard::take_from_bytes::<Front>(body).map_err(|_| BadProof::Damaged)?;
        let mut events = Vec::new();
        for _ in 0..front.count {
            let (length, more) = rest.split_first_chunk::<2>().ok_or(BadProof::Damaged)?;
            let length = usize::from(u16::from_be_bytes(*length));
            if length > MAX_EVENT {
                return Err(BadProof::Damaged);
            }
            let (event, more) = more.split_at_checked(length).ok_or(BadProof::Damaged)?;
            events.push(event.to_vec());
            rest = more;
        }
        if !rest.is_empty() {
            return Err(BadProof::Damaged);
        }
        Ok(Self {
            claim: front.claim,
            fact: front.fact,
            head: front.head,
            events,
        })
    }
}

/// Checks a proof with nothing but the network's id.
///
/// # Errors
/// [`BadProof`] says why it proves nothing.
pub fn verify(file: &ProofFile, network: &NetworkId) -> Result<Proven, BadProof> {
    let mut events = BTreeMap::new();
    for bytes in &file.events {
        let event = Event::decode(bytes).map_err(|why| BadProof::Event {
            id: crate::event::id_of(bytes),
            why,
        })?;
        if event.network() != *network {
            return Err(BadProof::Foreign);
        }
        events.insert(event.id(), event);
    }
    if !events.contains_key(&EventId(network.0)) {
        return Err(BadProof::Gap("the network's first event is not in it"));
    }
    let mut parents = events.values().flat_map(|event| &event.header().parents);
    if parents.all(|id| events.contains_key(id)) {
        by_everything(file, network, events.into_values().collect())
    } else {
        chain::check(file, &events)
    }
}

/// Folds the whole past of the head.
fn by_everything(
    file: &ProofFile,
    network: &NetworkId,
    mut events: Vec<Event>,
) -> Result<Proven, BadProof> {
    events.sort_by_key(|event| (event.header().lamport, event.id()));
    let (mut graph, mut gate) = (Graph::new(), Gate::new());
    for event in &events {
        match gate.pass(&mut graph, network, event) {
            Ok(Passage::Added(_) | Passage::Known(_)) => {}
            Ok(Passage::Missing(_)) => return Err(BadProof::Gap("a parent is not in it")),
            Err(why) => {
                let id = event.id();
                return Err(BadProof::Refused { id, why });
            }
        }
    }
    let heads: Vec<Idx> = graph.heads().collect();
    let head = match heads[..] {
        [head] if graph.id(head) == file.head => head,
        _ => return Err(BadProof::Gap("not all of it lies in the past of its head")),
    };
    let fold = crate::fold::fold(&graph, &[]);
    let authority = &fold.authority;
    let untrue = |what: &str| Err(BadProof::False(what.to_owned()));
    let fact = match file.claim {
        Claim::Member(user) => match authority.members.get(&user) {
            Some(membership) => membership.admitted,
            None => return untrue("the user is no member"),
        },
        Claim::Admin(user) => match authority.office(&user) {
            Some((start, _)) => start,
            None => return untrue("the user holds no office"),
        },
        Claim::Event(id) => id,
    };
    let fact = graph
        .find(&fact)
        .ok_or(BadProof::Gap("the event is not in it"))?;
    if let Some(Verdict::Void(reason)) = fold.verdicts.get(fact.0 as usize) {
        return Err(BadProof::False(format!("the event is void: {reason}")));
    }
    let signed = |idx: Idx| signed(&graph, &fold, idx);
    Ok(Proven {
        claim: file.claim,
        fact: signed(fact)?,
        head: signed(head)?,
        events: graph.len(),
        whole: true,
    })
}

fn signed(graph: &Graph, fold: &Fold, idx: Idx) -> Result<Signed, BadProof> {
    let event = graph.event(idx);
    let user = named_before(graph, fold, idx).ok_or(BadProof::Unfounded {
        id: event.id(),
        why: "its author was never admitted with effect",
    })?;
    Ok(Signed {
        event: event.id(),
        device: event.author(),
        user,
        time: event.header().time,
        admin: fold.authority.is_admin(&user),
    })
}

/// Whose device the author of an event was when it signed, by what counts.
fn named_before(graph: &Graph, fold: &Fold, idx: Idx) -> Option<UserId> {
    let author = graph.author(idx);
    let event = graph.event(idx);
    let own =
        named(event.act()).filter(|(_, device)| *device == author && brings_itself(event.act()));
    own.or_else(|| {
        let before = graph.indices().filter(|act| graph.kind(*act).certifies());
        let before = before.filter(|act| graph.precedes(*act, idx));
        before
            .filter(|act| {
                fold.verdicts
                    .get(act.0 as usize)
                    .is_some_and(Verdict::counts)
            })
            .filter_map(|act| named(graph.event(act).act()))
            .rfind(|(_, device)| *device == author)
    })
    .map(|(user, _)| user)
}

/// Whose device an act makes which.
fn named(act: &Act) -> Option<(UserId, DeviceId)> {
    match act {
        Act::Genesis(act) => Some((act.owner, act.device)),
        Act::Admit(act) => Some((act.user, act.device)),
        Act::DeviceAdd(act) => Some((act.user, act.device)),
        Act::OwnerSet(act) => Some((act.successor, act.device)),
        _ => None,
    }
}

/// Whether the author of such an act may be a device that nothing named before.
fn brings_itself(act: &Act) -> bool {
    matches!(act, Act::Genesis(_) | Act::DeviceAdd(_) | Act::OwnerSet(_))
}

/// Events of a set that lie in the strict past of one of them, by links within the set.
fn past_within(
    events: &BTreeMap<EventId, Event>,
    of: &Event,
    effort: &mut usize,
) -> Option<BTreeSet<EventId>> {
    let (mut past, mut open) = (BTreeSet::new(), vec![of]);
    while let Some(event) = open.pop() {
        for id in &event.header().parents {
            *effort = effort.checked_sub(1)?;
            if let Some(parent) = events.get(id)
                && past.insert(*id)
            {
                open.push(parent);
            }
        }
    }
    Some(past)
}

fn sum(bytes: &[u8]) -> [u8; SUM] {
    let hash = blake3::derive_key("mesh proof 1", bytes);
    let mut sum = [0; SUM];
    sum.copy_from_slice(&hash[..SUM]);
    sum
}
