//! What a device shows another to prove something: events, read from the store one after the other as they are sent.

use std::collections::BTreeSet;

use mesh_core::desired::device_id;
use mesh_core::link::event_frames;
use mesh_core::peer::PeerId;
use mesh_ledger::event::id_of;
use mesh_ledger::graph::Idx;
use mesh_ledger::ids::{DeviceId, EventId};
use mesh_ledger::network::Ledger;
use mesh_ledger::store::Store;

use super::Net;
use crate::link::{Frames, MAX_INTRODUCTION, MAX_PROOF};

/// The events that prove the removal of a device: the removal and the latest of its past, none of which is news to who was a
/// member until then. Each is read when the one before is on its way.
pub(super) fn removal<S: Store + 'static>(ledger: &Ledger<S>, device: &DeviceId) -> Frames {
    let removal = ledger.state().removed_devices.get(device).copied();
    removal.map_or_else(nothing, |removal| latest(ledger, &[removal], MAX_PROOF))
}

/// The events that make this device a member, and the peer, which may have been away for its removal and its return: what
/// admitted them, and the latest of what that rests on. What the peer does not know is among them, or comes by others.
pub(super) fn introduction(net: &Net, peer: &PeerId) -> Frames {
    let devices = &net.state().devices;
    let (me, peer) = (devices.get(&net.my_device()), devices.get(&device_id(peer)));
    let most = match (me, peer) {
        // It waits for its return, for which it takes more than from a stranger.
        (Some(me), Some(peer)) if peer.joined > me.joined => MAX_PROOF,
        _ => MAX_INTRODUCTION,
    };
    let admissions: Vec<EventId> = me
        .into_iter()
        .chain(peer)
        .map(|device| device.event)
        .collect();
    latest(&net.ledger, &admissions, most)
}

/// Events and their past, but of that only as many as fit into `most`: the latest.
fn latest<S: Store + 'static>(ledger: &Ledger<S>, events: &[EventId], most: usize) -> Frames {
    let graph = ledger.graph();
    let found: Vec<Idx> = events
        .iter()
        .filter_map(|event| graph.find(event))
        .collect();
    let past = graph.past_of(&found);
    let all = graph.indices().rev();
    let within = all.filter(|idx| graph.within(*idx, &past)).take(most);
    let ids: BTreeSet<EventId> = within.map(|idx| graph.id(idx)).collect();
    let events = ledger.read_all();
    Box::new(event_frames(
        events.filter(move |bytes| ids.contains(&id_of(bytes))),
    ))
}

/// No events.
pub(super) fn nothing() -> Frames {
    Box::new(std::iter::empty())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use mesh_core::link::Frame;
    use mesh_ledger::event::act::{Act, Invite, InviteKind, Policy};
    use mesh_ledger::event::attributes::{Attributes, Invitation};
    use mesh_ledger::ids::WgKey;
    use mesh_ledger::keys::{BoxSecret, DeviceSecret, EpochKey, UserSecret};
    use mesh_ledger::network::FoundingArgs;
    use mesh_ledger::recovery::RecoveryWords;
    use mesh_ledger::store::memory::MemoryStore;
    use mesh_ledger::ticket::Ticket;

    use super::*;

    const NOW: u64 = 1_795_000_000_000;

    /// A network with a device, and the ids of what it wrote.
    fn network(writes: u8) -> (Ledger<MemoryStore>, Vec<EventId>) {
        let (user, device) = (
            UserSecret::from_seed(&[1; 32]),
            DeviceSecret::from_seed(&[2; 32]),
        );
        let args = FoundingArgs {
            name: "home".parse().unwrap(),
            subnet: "10.7.0.0/24".parse().unwrap(),
            policy: Policy::default(),
            user: &user,
            device: &device,
            box_secret: BoxSecret::from_seed(&[3; 32]),
            host: "alice".parse().unwrap(),
            address: None,
            wireguard: WgKey([1; 32]),
            epoch: EpochKey::from_bytes([42; 32]),
            recovery: RecoveryWords::from_entropy([7; 32]),
            nonce: [1; 16],
            salt: [2; 16],
            now: NOW,
        };
        let (mut ledger, _) = Ledger::found(MemoryStore::new(), args).unwrap();
        let mut written = Vec::new();
        for n in 0..writes {
            let ticket = Ticket::new(ledger.network(), [n; 16], false, NOW + 1, &[]);
            let act = Act::Invite(Invite {
                key: ticket.invite_secret().public(),
                kind: InviteKind::Bearer,
                max_uses: 1,
                expires: NOW + 1,
                countersign: false,
            });
            let sealed = Attributes::Invitation(Invitation {
                contact: *ticket.contact(),
                note: None,
                tags: Vec::new(),
            });
            written.push(ledger.author(&device, act, Some(sealed), NOW).unwrap().id());
        }
        (ledger, written)
    }

    fn ids(frames: Frames) -> Vec<EventId> {
        let events = frames.flat_map(|frame| match frame {
            Frame::Events(events) => events,
            other => panic!("{other:?}"),
        });
        events.map(|bytes| id_of(&bytes)).collect()
    }

    #[test]
    fn what_is_shown_is_the_event_and_the_latest_of_its_past_parents_first() {
        let (ledger, written) = network(9);
        // What came later proves nothing about it.
        assert_eq!(ids(latest(&ledger, &[written[6]], 3)), written[4..=6]);
        let all = ids(latest(&ledger, &[written[6]], 100));
        assert_eq!(all.len(), ledger.graph().len() - 2);
        assert_eq!(all.last(), Some(&written[6]));
        assert!(ids(latest(&ledger, &[], 100)).is_empty());
        assert!(ids(removal(&ledger, &DeviceId([9; 32]))).is_empty());
    }
}
