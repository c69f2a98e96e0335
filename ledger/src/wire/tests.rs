//! Two replicas with arbitrary causally closed sets converge, in bounded rounds, for about the price of the difference.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::event::{Act, Header};
use crate::ids::{EpochId, NetworkId};
use crate::keys::DeviceSecret;

/// A history of many devices; every event follows one to three earlier ones.
fn history(choices: &[(u8, u16, u16)]) -> Vec<Event> {
    let devices: Vec<_> = (0..8u8)
        .map(|n| DeviceSecret::from_seed(&[n; 32]))
        .collect();
    let sign = |device: &DeviceSecret, seq, lamport, parents: Vec<EventId>| {
        let header = Header {
            network: NetworkId([9; 32]),
            author: device.public(),
            seq,
            lamport,
            time: 0,
            epoch: EpochId::NONE,
            parents,
        };
        Event::sign(&header, &Act::Merge, &[], device).unwrap()
    };
    // The sync looks at ids and lamports alone, so one event stands for the genesis.
    let mut events = vec![sign(&devices[0], 1, 1, vec![EventId([0; 32])])];
    for (n, (device, a, b)) in choices.iter().enumerate() {
        let back = |far: u16| {
            let far = usize::from(far) % events.len().min(40);
            &events[events.len() - 1 - far]
        };
        let mut parents = vec![back(*a), back(*b)];
        parents.sort_by_key(|event| event.id());
        parents.dedup_by_key(|event| event.id());
        let lamport = 1 + parents
            .iter()
            .map(|event| event.header().lamport)
            .max()
            .unwrap();
        let ids = parents.iter().map(|event| event.id()).collect();
        let device = &devices[usize::from(*device) % devices.len()];
        events.push(sign(device, n as u32 + 2, lamport, ids));
    }
    events
}

/// The part of a history in the past of some of its events.
fn closure(events: &[Event], tips: &[usize]) -> Vec<Event> {
    let by_id: BTreeMap<EventId, &Event> = events.iter().map(|event| (event.id(), event)).collect();
    let mut found = BTreeMap::new();
    let mut open: Vec<&Event> = tips.iter().map(|tip| &events[tip % events.len()]).collect();
    open.push(&events[0]);
    while let Some(event) = open.pop() {
        if found.insert(event.id(), event.clone()).is_none() {
            let parents = event.header().parents.iter();
            open.extend(parents.filter_map(|id| by_id.get(id).copied()));
        }
    }
    found.into_values().collect()
}

struct Replica {
    index: Index,
    sync: Sync,
    /// Events received that were here already, and such as came before a parent.
    repeated: usize,
    early: usize,
}

impl Replica {
    fn new(events: Vec<Event>) -> Self {
        let mut index = Index::new();
        index.extend(events);
        Self {
            index,
            sync: Sync::new(),
            repeated: 0,
            early: 0,
        }
    }

    fn take(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let step = self
            .sync
            .receive(Message::decode(bytes).unwrap(), &self.index);
        for bytes in step.events {
            let event = Event::decode_unverified(&bytes).unwrap();
            self.repeated += usize::from(self.index.get(&event.id()).is_some());
            let known = |id: &EventId| *id == EventId([0; 32]) || self.index.get(id).is_some();
            self.early += usize::from(!event.header().parents.iter().all(known));
            self.index.extend([event]);
        }
        step.send.iter().map(Message::encode).collect()
    }

    fn ids(&self) -> Vec<EventId> {
        self.index.events().map(|event| event.id()).collect()
    }
}

/// Runs one round, both sides' messages crossing. Returns how many bytes went over the wire and how often it turned.
fn run(a: &mut Replica, b: &mut Replica, both_start: bool) -> (usize, usize) {
    let encode =
        |messages: Vec<Message>| -> Vec<Vec<u8>> { messages.iter().map(Message::encode).collect() };
    let mut to_b = encode(a.sync.start(&a.index));
    let mut to_a = Vec::new();
    if both_start {
        to_a = encode(b.sync.start(&b.index));
    }
    let (mut bytes, mut turns) = (0, 0);
    while !(to_a.is_empty() && to_b.is_empty()) {
        turns += 1;
        assert!(turns < 1000, "the sync does not end");
        bytes += to_a.iter().chain(&to_b).map(Vec::len).sum::<usize>();
        let answers_b: Vec<_> = to_b.iter().flat_map(|message| b.take(message)).collect();
        let answers_a: Vec<_> = to_a.iter().flat_map(|message| a.take(message)).collect();
        (to_a, to_b) = (answers_b, answers_a);
    }
    (bytes, turns)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_two_causally_closed_sets_converge(
        choices in prop::collection::vec((any::<u8>(), any::<u16>(), any::<u16>()), 1..300),
        tips_a in prop::collection::vec(any::<usize>(), 0..4),
        tips_b in prop::collection::vec(any::<usize>(), 0..4),
        both_start in any::<bool>(),
    ) {
        let events = history(&choices);
        let (set_a, set_b) = (closure(&events, &tips_a), closure(&events, &tips_b));
        let (mut a, mut b) = (Replica::new(set_a), Replica::new(set_b));
        let mut union: BTreeSet<EventId> = a.ids().into_iter().collect();
        union.extend(b.ids());
        run(&mut a, &mut b, both_start);
        prop_assert_eq!(a.ids(), b.ids());
        prop_assert_eq!(a.ids().into_iter().collect::<BTreeSet<_>>(), union);
        prop_assert_eq!((a.repeated, b.repeated), (0, 0));
        prop_assert_eq!((a.early, b.early), (0, 0));
        prop_assert!(a.sync.is_idle() && b.sync.is_idle());
    }

    #[test]
    fn no_bytes_make_the_decoder_or_the_session_panic(
        junk in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..40),
    ) {
        let mut replica = Replica::new(history(&[(1, 2, 3); 50]));
        for bytes in junk {
            if let Ok(message) = Message::decode(&bytes) {
                let _ = replica.sync.receive(message, &replica.index);
            }
        }
    }
}

#[test]
fn a_small_difference_in_a_long_history_costs_little() {
    let choices: Vec<_> = (0..3000u32)
        .map(|n| (n as u8, (n % 3) as u16, (n % 2) as u16))
        .collect();
    let events = history(&choices);
    let all: usize = events.iter().map(|event| event.bytes().len()).sum();
    let (mut a, mut b) = (
        Replica::new(events.clone()),
        Replica::new(events[..2990].to_vec()),
    );
    let (bytes, turns) = run(&mut a, &mut b, true);
    assert_eq!(a.ids(), b.ids());
    assert!(bytes < all / 20, "{bytes} of {all}");
    assert!(turns <= 6, "{turns}");
    let (bytes, _) = run(&mut a, &mut b, true);
    assert!(bytes < 200, "{bytes}");
}

#[test]
fn an_empty_replica_gets_everything_in_order() {
    let choices: Vec<_> = (0..6000u32)
        .map(|n| (n as u8, (n % 7) as u16, (n % 5) as u16))
        .collect();
    let (mut a, mut b) = (Replica::new(history(&choices)), Replica::new(Vec::new()));
    run(&mut b, &mut a, false);
    assert_eq!(a.ids(), b.ids());
    assert_eq!((b.early, b.repeated), (0, 0));
    assert!(a.sync.is_idle() && b.sync.is_idle());
}

#[test]
fn events_are_pushed_and_fetched_by_id() {
    let events = history(&[(1, 0, 0); 30]);
    let (a, mut b) = (
        Replica::new(events.clone()),
        Replica::new(events[..10].to_vec()),
    );
    let pushed = Sync::push(&events[20..]);
    for message in pushed {
        b.take(&message.encode());
    }
    assert_eq!(b.early, 1);
    let wanted = Sync::fetch(&events[19].header().parents);
    let mut server = a;
    let mut got = Vec::new();
    for message in wanted {
        got.extend(server.take(&message.encode()));
    }
    assert_eq!(got.len(), 1);
    let Message::Events(bytes) = Message::decode(&got[0]).unwrap() else {
        panic!("events");
    };
    assert_eq!(bytes.len(), events[19].header().parents.len());
}
