//! A small network for fuzz targets, and noise read as instructions for what to sign in it.
//!
//! `cargo +nightly fuzz run gate` (or `event`, `ticket`, `wire`) in the folder `ledger`.

use std::collections::BTreeSet;

use mesh_ledger::event::act::{
    Admit, Checkpoint, DeviceAdd, Genesis, Grant, Invite, InviteClose, InviteKind, Policy, Remove,
    Target,
};
use mesh_ledger::event::{Act, Event, Header};
use mesh_ledger::ids::{BoxKey, DeviceId, Digest, EpochId, EventId, InviteKey, NetworkId};
use mesh_ledger::keys::{DeviceSecret, RecoverySecret, UserSecret};

/// How many people there are. The first founded the network; the last is a stranger to it.
pub const PEOPLE: u8 = 5;
/// Attributes that nobody here has the key of: authority needs none.
const SEALED: [u8; 32] = [8; 32];
const EPOCH: EpochId = EpochId([7; 32]);

/// The parts of an input: a length byte before each, what is cut short at the end included.
pub fn split(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (length, tail) = rest.split_first()?;
        let (part, tail) = tail.split_at(tail.len().min(usize::from(*length)));
        rest = tail;
        Some(part)
    })
}

/// A founder, and everybody but the stranger admitted; parents first.
#[must_use]
pub fn network() -> Vec<Event> {
    let act = Act::Genesis(Genesis {
        owner: user(0).public(),
        device: device(0).public(),
        box_key: BoxKey([0; 32]),
        certificate: user(0).certify(&device(0).public()),
        recovery: RecoverySecret::from_seed(&[9; 32]).public(),
        policy: Policy::default(),
        nonce: [1; 16],
    });
    let header = Header {
        network: NetworkId::GENESIS,
        author: device(0).public(),
        seq: 1,
        lamport: 0,
        time: 0,
        epoch: EPOCH,
        parents: Vec::new(),
    };
    let mut events: Vec<Event> = Event::sign(&header, &act, &SEALED, &device(0))
        .into_iter()
        .collect();
    for n in 1..PEOPLE - 1 {
        let parents = events.last().map(Event::id).into_iter().collect();
        events.extend(extend(&events, 0, parents, &admit(n)));
    }
    events
}

/// Reads `noise` as who signs what on top of which events; `None` if it is too short or does not fit the format.
#[must_use]
pub fn sign(events: &[Event], noise: &[u8]) -> Option<Event> {
    let [who, kind, target, other, picks @ ..] = noise else {
        return None;
    };
    let pick = |n: &u8| -> Option<EventId> {
        let back = usize::from(*n) % events.len().max(1);
        events.iter().rev().nth(back).map(Event::id)
    };
    let (person, event) = (target % PEOPLE, pick(other)?);
    let cut: BTreeSet<EventId> = picks.iter().rev().take(2).filter_map(pick).collect();
    let cut = (other % 2 == 0).then(|| cut.into_iter().collect());
    let remove = |target| {
        Act::Remove(Remove {
            target,
            cut: cut.clone(),
            closes: Vec::new(),
            by_user: None,
        })
    };
    let act = match kind % 11 {
        0 => Act::Merge,
        1 => admit(person),
        2 => Act::Grant(Grant {
            user: user(person).public(),
        }),
        3 => remove(Target::User(user(person).public())),
        4 => remove(Target::Device(device(person).public())),
        5 => remove(Target::Term {
            user: user(person).public(),
            grant: event,
        }),
        6 => Act::DeviceAdd(DeviceAdd {
            user: user(person).public(),
            device: device(*who).public(),
            box_key: BoxKey([*who; 32]),
            certificate: user(person).certify(&device(*who).public()),
        }),
        7 => Act::Invite(Invite {
            key: InviteKey([*other; 32]),
            kind: InviteKind::Bearer,
            max_uses: u32::from(*target),
            expires: u64::MAX,
            countersign: other % 2 == 0,
        }),
        8 => Act::InviteClose(InviteClose { invite: event }),
        9 => Act::Checkpoint(Checkpoint {
            heads: vec![event],
            authority: Digest([0; 32]),
            state: Digest([0; 32]),
            count: u64::from(*target),
        }),
        _ => Act::Private,
    };
    let mut parents: BTreeSet<EventId> = picks.iter().take(3).filter_map(pick).collect();
    if parents.is_empty() {
        parents.extend(events.last().map(Event::id));
    }
    extend(events, *who, parents, &act)
}

/// An event of device `who` on these parents, in the form that the gate asks for.
fn extend(events: &[Event], who: u8, parents: BTreeSet<EventId>, act: &Act) -> Option<Event> {
    let author = device(who);
    let sealed: &[u8] = if act.has_attributes() == Some(true) {
        &SEALED
    } else {
        &[]
    };
    let header = Header {
        network: events.first()?.network(),
        author: author.public(),
        seq: 1 + last_seq(events, &author.public(), &parents),
        lamport: 1 + events
            .iter()
            .filter(|event| parents.contains(&event.id()))
            .map(|event| event.header().lamport)
            .max()?,
        time: 0,
        epoch: if sealed.is_empty() {
            EpochId::NONE
        } else {
            EPOCH
        },
        parents: parents.into_iter().collect(),
    };
    Event::sign(&header, act, sealed, &author).ok()
}

/// The greatest seq of a device in the past of these events.
fn last_seq(events: &[Event], author: &DeviceId, parents: &BTreeSet<EventId>) -> u32 {
    let mut past = parents.clone();
    let mut last = 0;
    // Parents stand before their children.
    for event in events.iter().rev() {
        if past.contains(&event.id()) {
            past.extend(&event.header().parents);
            if event.author() == *author {
                last = last.max(event.header().seq);
            }
        }
    }
    last
}

fn admit(n: u8) -> Act {
    Act::Admit(Admit {
        user: user(n).public(),
        device: device(n).public(),
        box_key: BoxKey([n; 32]),
        certificate: user(n).certify(&device(n).public()),
        digest: Digest([0; 32]),
        redemption: None,
        at: 0,
    })
}

fn user(n: u8) -> UserSecret {
    UserSecret::from_seed(&[n % PEOPLE; 32])
}

fn device(n: u8) -> DeviceSecret {
    DeviceSecret::from_seed(&[100 + n % (2 * PEOPLE); 32])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_makes_events_that_the_gate_passes() {
        use mesh_ledger::gate::{Gate, Passage};
        use mesh_ledger::graph::Graph;

        let mut events = network();
        assert_eq!(events.len(), usize::from(PEOPLE) - 1);
        let id = events[0].network();
        for kind in 0..=10 {
            // The founder's own device signs on the last event; a device.add is its first event.
            let who = if kind == 6 { PEOPLE } else { 0 };
            events.extend(sign(&events, &[who, kind, who, 1, 0]));
        }
        assert_eq!(events.len(), usize::from(PEOPLE) - 1 + 11);
        let (mut gate, mut graph) = (Gate::new(), Graph::new());
        for event in &events {
            let passage = gate.pass(&mut graph, &id, event);
            assert!(
                matches!(passage, Ok(Passage::Added(_))),
                "{passage:?} {event:?}"
            );
        }
    }
}
