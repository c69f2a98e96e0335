//! A small network for fuzz targets, and noise read as instructions for what to sign in it.
//!
//! `cargo fuzz run gate` (or `carry`, `event`, `exchange`, `ticket`, `wire`) in the folder `ledger`, with a nightly toolchain, or the
//! stable one and `RUSTC_BOOTSTRAP=1`, which lets it take the flags of sanitizer coverage. `--sanitizer none` is four times
//! as fast, and these crates have no unsafe code of their own.

use std::collections::BTreeSet;

use mesh_ledger::epoch;
use mesh_ledger::event::act::{
    Admit, Checkpoint, DeviceAdd, EpochKeys, Genesis, Grant, Invite, InviteClose, InviteKind,
    OwnerSet, Policy, Redemption, Remove, Target, own_device_message, redemption_message,
    succession_message,
};
use mesh_ledger::event::attributes::{Founding, Invitation, Joining};
use mesh_ledger::event::{Act, Attributes, Event, Header};
use mesh_ledger::ids::{BoxKey, DeviceId, Digest, EpochId, EventId, NetworkId, WgKey};
use mesh_ledger::keys::{
    BoxSecret, DeviceSecret, Domain, EpochKey, InviteSecret, RecoverySecret, Signature, UserSecret,
};
use mesh_ledger::seal;
use mesh_ledger::text::Label;

/// How many people there are. The first founded the network; the last is a stranger to it.
pub const PEOPLE: u8 = 5;
/// What stands where attributes would, and opens under no key.
const SEALED: [u8; 32] = [8; 32];

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

/// The text of a ticket with these bytes in it and a checksum that fits.
#[must_use]
pub fn checksummed(bytes: &[u8]) -> String {
    let sum = blake3::derive_key("mesh ticket 1", bytes);
    let all = [bytes, &sum[..4]].concat();
    format!("MESH:1:{}", data_encoding::BASE32_NOPAD.encode(&all))
}

/// A founder, and everybody but the stranger admitted; parents first. The attributes are sealed under [`key`] 0.
#[must_use]
pub fn network() -> Vec<Event> {
    let act = genesis();
    let header = Header {
        network: NetworkId::GENESIS,
        author: device(0).public(),
        seq: 1,
        lamport: 0,
        time: 0,
        epoch: EpochId::NONE,
        parents: Vec::new(),
    };
    let founding = Attributes::Founding(Founding {
        name: label("net"),
        subnet: mesh_ledger::event::attributes::Subnet::new([10, 0, 0, 0].into(), 29)
            .unwrap_or_else(|| unreachable!("a /29 of 10.0.0.0")),
        joining: joining(0),
    });
    let mut events: Vec<Event> = seal::sign(header, &act, Some((&founding, &key(0))), &device(0))
        .into_iter()
        .collect();
    for n in 1..PEOPLE - 1 {
        let parents = events.last().map(Event::id).into_iter().collect();
        events.extend(extend(&events, 0, parents, &admit(n), Some(0), &[]));
    }
    events
}

/// One act of each kind that has attributes.
#[must_use]
pub fn sealing_acts() -> Vec<Act> {
    vec![
        genesis(),
        invite(1, 1),
        admit(1),
        Act::DeviceAdd(device_add(1, 1)),
        Act::Remove(Remove {
            target: Target::User(user(1).public()),
            cut: None,
            closes: Vec::new(),
            by_user: None,
        }),
        Act::Private,
    ]
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
    let network = events.first()?.network();
    let (person, event) = (target % PEOPLE, pick(other)?);
    let cut: BTreeSet<EventId> = picks.iter().rev().take(2).filter_map(pick).collect();
    let heads: Vec<EventId> = cut.into_iter().collect();
    let cut = (other % 2 == 0).then(|| heads.clone());
    let remove = |target, closes, by_user| {
        Act::Remove(Remove {
            target,
            cut: cut.clone(),
            closes,
            by_user,
        })
    };
    let boxes = |epoch: u8| {
        let to: Vec<BoxKey> = (0..PEOPLE).map(|n| box_secret(n).public()).collect();
        epoch::seal_boxes(
            &network,
            &key(epoch),
            &to[..usize::from(person)],
            &[*who; 32],
        )
    };
    let act = match kind % 17 {
        0 => Act::Merge,
        1 => admit(person),
        2 => Act::Grant(Grant {
            user: user(person).public(),
        }),
        3 => remove(Target::User(user(person).public()), vec![event], None),
        4 => remove(Target::Device(device(person).public()), Vec::new(), None),
        5 => remove(
            Target::Term {
                user: user(person).public(),
                grant: event,
            },
            Vec::new(),
            None,
        ),
        6 => Act::DeviceAdd(device_add(person, *who)),
        7 => invite(*target, *other),
        8 => Act::InviteClose(InviteClose { invite: event }),
        9 => Act::Checkpoint(Checkpoint {
            heads: if heads.is_empty() { vec![event] } else { heads },
            authority: Digest([0; 32]),
            state: Digest([0; 32]),
            // What an honest author would count, or something else.
            count: if other % 3 == 0 {
                u64::from(*target)
            } else {
                events.len() as u64
            },
        }),
        10 => Act::Private,
        11 => redeemed(&network, person, event, *other),
        12 => {
            // A device's removal by its user's key, right or wrong.
            let device = device(person).public();
            let message = own_device_message(&network, &device, cut.as_deref());
            let by = user(other % 7).sign(Domain::OwnDevice, &message);
            remove(Target::Device(device), Vec::new(), Some(by))
        }
        13 => succession(&network, person, *other, heads),
        14 => epoch::rotate(
            &network,
            &key(*target),
            &[key(other % 4), key(other % 3)],
            &(0..PEOPLE)
                .map(|n| box_secret(n).public())
                .collect::<Vec<_>>(),
            std::iter::once([*who; 32]),
        )
        .into_iter()
        .next()?,
        15 => {
            // Boxes of one epoch, said to be of it or of another.
            let (ephemeral, boxes) = boxes(*other);
            Act::EpochKeys(EpochKeys {
                epoch: key(target % 8).id(),
                ephemeral,
                boxes,
            })
        }
        _ => Act::Private,
    };
    let mut parents: BTreeSet<EventId> = picks.iter().take(3).filter_map(pick).collect();
    if parents.is_empty() {
        parents.extend(events.last().map(Event::id));
    }
    let sealed_under = (other % 5 != 0).then_some(target % 4);
    extend(events, *who, parents, &act, sealed_under, picks)
}

/// An event of device `who` on these parents, in the form that the gate asks for. Its attributes are sealed under an epoch's
/// key, those of a private event read from noise; or they are junk.
fn extend(
    events: &[Event],
    who: u8,
    parents: BTreeSet<EventId>,
    act: &Act,
    sealed_under: Option<u8>,
    noise: &[u8],
) -> Option<Event> {
    let author = device(who);
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
        epoch: EpochId::NONE,
        parents: parents.into_iter().collect(),
    };
    if act.has_attributes() != Some(true) {
        return Event::sign(&header, act, &[], &author).ok();
    }
    let attributes = match act {
        Act::Invite(_) => Some(Attributes::Invitation(Invitation {
            contact: [3; 32],
            note: None,
            tags: vec![label("staff")],
        })),
        Act::Admit(_) | Act::DeviceAdd(_) => Some(Attributes::Joining(joining(who))),
        _ => Attributes::decode(act, noise.get(1..)?),
    };
    if let (Some(attributes), Some(n)) = (attributes, sealed_under) {
        return seal::sign(header, act, Some((&attributes, &key(n))), &author).ok();
    }
    let header = Header {
        epoch: key(1).id(),
        ..header
    };
    Event::sign(&header, act, &SEALED, &author).ok()
}

/// The last seq of a device in the past of these events.
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

fn genesis() -> Act {
    Act::Genesis(Genesis {
        owner: user(0).public(),
        device: device(0).public(),
        box_key: box_secret(0).public(),
        certificate: user(0).certify(&device(0).public()),
        recovery: recovery(0).public(),
        policy: Policy::default(),
        nonce: [1; 16],
    })
}

fn invite(uses: u8, kind: u8) -> Act {
    Act::Invite(Invite {
        key: invite_secret(kind).public(),
        kind: match kind % 5 {
            0 => InviteKind::Open,
            1 => InviteKind::Direct(user(uses).public()),
            _ => InviteKind::Bearer,
        },
        max_uses: u32::from(uses),
        expires: u64::from(kind),
        countersign: kind % 2 == 0,
    })
}

fn admit(n: u8) -> Act {
    Act::Admit(Admit {
        user: user(n).public(),
        device: device(n).public(),
        box_key: box_secret(n).public(),
        certificate: user(n).certify(&device(n).public()),
        digest: joining(0).digest(),
        redemption: None,
        at: 0,
    })
}

fn redeemed(network: &NetworkId, n: u8, invite: EventId, seed: u8) -> Act {
    let Act::Admit(act) = admit(n) else {
        return Act::Merge;
    };
    let message = redemption_message(
        network,
        &invite,
        &act.user,
        &act.device,
        &act.box_key,
        &act.certificate,
        &act.digest,
    );
    let redemption = Redemption {
        invite,
        by_user: user(n).sign(Domain::Redemption, &message),
        by_device: device(n).sign(Domain::Redemption, &message),
        by_invite: invite_secret(seed).sign(Domain::Redemption, &message),
    };
    Act::Admit(Admit {
        redemption: Some(redemption),
        at: u64::from(seed),
        ..act
    })
}

fn device_add(person: u8, who: u8) -> DeviceAdd {
    DeviceAdd {
        user: user(person).public(),
        device: device(who).public(),
        box_key: box_secret(who).public(),
        certificate: user(person).certify(&device(who).public()),
    }
}

fn succession(network: &NetworkId, n: u8, words: u8, cut: Vec<EventId>) -> Act {
    let mut act = OwnerSet {
        successor: user(n).public(),
        device: device(n).public(),
        box_key: box_secret(n).public(),
        certificate: user(n).certify(&device(n).public()),
        recovery: recovery(n).public(),
        cut,
        by_recovery: Signature::from_bytes(&[0; 64]),
        by_successor: Signature::from_bytes(&[0; 64]),
    };
    let message = succession_message(network, &act);
    act.by_recovery = recovery(words % 4).sign(Domain::Succession, &message);
    act.by_successor = user(n).sign(Domain::Succession, &message);
    Act::OwnerSet(act)
}

fn joining(n: u8) -> Joining {
    Joining {
        salt: [n; 16],
        host: label("laptop"),
        address: (n % 2 == 0).then(|| [10, 0, 0, n].into()),
        wireguard: WgKey([n; 32]),
    }
}

fn label(text: &str) -> Label {
    text.parse()
        .unwrap_or_else(|_| unreachable!("{text} is a label"))
}

/// The key of the n-th of eight epochs.
#[must_use]
pub fn key(n: u8) -> EpochKey {
    EpochKey::from_bytes([40 + n % 8; 32])
}

/// Where epoch keys for the n-th device are sealed to.
#[must_use]
pub fn box_secret(n: u8) -> BoxSecret {
    BoxSecret::from_seed(&[50 + n % PEOPLE; 32])
}

fn recovery(n: u8) -> RecoverySecret {
    RecoverySecret::from_seed(&[70 + n % PEOPLE; 32])
}

fn invite_secret(n: u8) -> InviteSecret {
    InviteSecret::from_seed(&[90 + n % 3; 32])
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
        let mut kinds = BTreeSet::new();
        for kind in 0..=15 {
            // The founder's own device signs on the last event; a device.add is its first event.
            let who = if kind == 6 { PEOPLE } else { 0 };
            // Behind the parent's number stands a list of no register writes.
            let event = sign(&events, &[who, kind, who, 4, 0, 0]);
            let event = event.unwrap_or_else(|| panic!("kind {kind} does not sign"));
            kinds.insert(event.act().kind());
            events.push(event);
        }
        assert_eq!(kinds.len(), 12, "{kinds:?}");
        let opened = events.iter().filter(|event| {
            let mut keys = mesh_ledger::epoch::KeyRing::new();
            keys.insert(key(0));
            matches!(
                seal::open(event, &keys),
                mesh_ledger::event::attributes::Opened::Open(_)
            )
        });
        assert!(opened.count() > usize::from(PEOPLE), "attributes open");
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
