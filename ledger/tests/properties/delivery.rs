//! Events as the world delivers them: in any order, in pieces, twice, with some lost on the way.

use std::collections::BTreeMap;

use mesh_ledger::event::{Act, Attributes, Event};
use mesh_ledger::ids::{DeviceId, EventId};
use mesh_ledger::keys::BoxSecret;
use mesh_ledger::network::Ledger;
use mesh_ledger::parking::Source;
use mesh_ledger::store::Store;
use mesh_ledger::store::memory::MemoryStore;
use mesh_ledger::verdict::Verdict;

use super::common::history::History;
use super::{EVENTS, Part, by_id, in_both_kinds};

pub(super) const SOURCE: Source = Source::Sync(DeviceId([1; 32]));

/// A ledger with nothing but the genesis of a history, and no key.
pub(super) fn founded(history: &History) -> Ledger<MemoryStore> {
    let graph = &history.world.graph;
    let genesis = graph.event(graph.indices().next().unwrap()).clone();
    let mut store = MemoryStore::new();
    store.append(&[genesis]).unwrap();
    Ledger::open(store, BoxSecret::from_seed(&[1; 32])).unwrap()
}

pub(super) fn bytes(events: impl IntoIterator<Item = Event>) -> Vec<Vec<u8>> {
    let bytes = events.into_iter().map(|event| event.bytes().to_vec());
    bytes.collect()
}

fn verdicts(ledger: &Ledger<MemoryStore>) -> BTreeMap<EventId, Verdict> {
    by_id(ledger.graph(), ledger.fold())
}

#[test]
fn order_pieces_repetition_and_loss_on_the_way_change_nothing() {
    in_both_kinds(|history| {
        let mut straight = founded(history);
        let all = bytes(history.shuffled());
        straight.receive(SOURCE, &all, 0).unwrap();
        // The gate refused strangers; what follows them waits in vain, and the rest is here.

        let mut tossed = all.clone();
        for n in (1..tossed.len()).rev() {
            tossed.swap(n, history.dice.below(n + 1));
        }
        for n in 0..tossed.len() {
            if history.dice.percent(20) {
                tossed.push(tossed[n].clone());
            }
        }
        let (mut other, mut lost) = (founded(history), Vec::new());
        let mut rest = tossed.as_slice();
        while !rest.is_empty() {
            let (batch, tail) = rest.split_at(rest.len().min(1 + history.dice.below(30)));
            if history.dice.percent(15) {
                lost.extend_from_slice(batch);
            } else {
                other.receive(SOURCE, batch, 0).unwrap();
            }
            rest = tail;
        }
        // What was lost is asked for by id, or found by the next sync.
        other.receive(SOURCE, &lost, 0).unwrap();
        assert_eq!(other.heads(), straight.heads());
        assert_eq!(other.authority_hash(), straight.authority_hash());
        assert_eq!(other.state_hash(), straight.state_hash());
        assert_eq!(verdicts(&other), verdicts(&straight));
    });
}

#[test]
fn every_event_reads_back_as_written() {
    in_both_kinds(|history| {
        let graph = &history.world.graph;
        assert!(graph.len() >= EVENTS);
        for idx in graph.indices() {
            let event = graph.event(idx);
            let read = Event::decode(event.bytes()).unwrap();
            assert_eq!(read.bytes(), event.bytes());
            assert_eq!((read.id(), read.header()), (event.id(), event.header()));
            assert_eq!(read.act(), event.act());
            assert_eq!(
                Act::decode(&event.act().encode()).as_ref(),
                Some(event.act())
            );
            if !event.sealed().is_empty() {
                // In this world attributes stand in the clear where their ciphertext would.
                let attributes = Attributes::decode(event.act(), event.sealed()).unwrap();
                assert_eq!(attributes.encode(), event.sealed());
            }
        }
    });
}

#[test]
fn who_hears_the_rest_later_ends_where_all_others_are() {
    in_both_kinds(|history| {
        let some = history.some();
        let mut late = Part::of(some.clone());
        let _ = late.fold();
        let known: Vec<EventId> = some.iter().map(Event::id).collect();
        let rest = history.shuffled();
        late.add(
            rest.into_iter()
                .filter(|event| !known.contains(&event.id())),
        );
        let (here, there) = (history.world.fold(), late.fold());
        assert_eq!(
            by_id(&history.world.graph, &here),
            by_id(&late.graph, &there)
        );
        assert_eq!(here.state, there.state);
    });
}
