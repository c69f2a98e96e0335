//! Whatever members and strangers sign, the gate passes or refuses it and the fold stands it; and a ledger that gets what
//! passed and what did not, children before their parents and in pieces, ends with the same authority and state.
#![no_main]

use std::cell::RefCell;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use mesh_ledger::event::Event;
use mesh_ledger::gate::{Gate, Passage};
use mesh_ledger::graph::Graph;
use mesh_ledger::ids::{DeviceId, NetworkId};
use mesh_ledger::network::Ledger;
use mesh_ledger::parking::Source;
use mesh_ledger::store::Store;
use mesh_ledger::store::memory::MemoryStore;
use mesh_ledger_fuzz::{box_secret, key, network, sign, split};

/// The most parts of one input: a long one teaches nothing that several short ones do not.
const MOST: usize = 12;

static FOUNDED: LazyLock<Vec<Event>> = LazyLock::new(network);

thread_local! {
    /// The gate behind which the founded network stands. Every run leaves it as it found it.
    static WORLD: RefCell<(Gate, Graph)> = RefCell::new(world());
}

fn world() -> (Gate, Graph) {
    let (mut gate, mut graph) = (Gate::new(), Graph::new());
    for event in FOUNDED.iter() {
        let passage = gate.pass(&mut graph, &event.network(), event);
        assert!(matches!(passage, Ok(Passage::Added(_))), "{passage:?}");
    }
    (gate, graph)
}

fuzz_target!(|bytes: &[u8]| {
    WORLD.with_borrow_mut(|(gate, graph)| {
        offer(bytes, gate, graph);
        gate.truncate(FOUNDED.len());
        graph.truncate(FOUNDED.len());
    });
});

fn offer(bytes: &[u8], gate: &mut Gate, graph: &mut Graph) {
    let Some(id) = FOUNDED.first().map(Event::network) else {
        return;
    };
    let (mut passed, mut offered) = (FOUNDED.clone(), Vec::new());
    for part in split(bytes).take(MOST) {
        // The bytes as they are, and as an instruction to sign something that fits, or nearly.
        offered.push(part.to_vec());
        if let Ok((event, Passage::Added(_))) = gate.pass_bytes(graph, &id, part) {
            passed.push(event);
        }
        let Some(event) = sign(&passed, part) else {
            continue;
        };
        offered.push(event.bytes().to_vec());
        if let Ok(Passage::Added(_)) = gate.pass(graph, &id, &event) {
            passed.push(event);
        }
    }
    let source = Source::Sync(DeviceId([1; 32]));
    // As they were written, all at once.
    let mut here = ledger();
    assert!(here.receive(source, &offered, 0).is_ok());
    assert_eq!(here.graph().len(), passed.len());
    // Backwards, in pieces, the last of each twice.
    offered.reverse();
    let mut there = ledger();
    for batch in offered.chunks(7) {
        assert!(there.receive(source, batch, 0).is_ok());
        assert!(there.receive(source, &batch[batch.len() - 1..], 0).is_ok());
    }
    assert_eq!(there.graph().len(), passed.len());
    same(&here, &there, &id);
}

/// A ledger of the founded network, out of a store: what was checked once is not checked for every run.
fn ledger() -> Ledger<MemoryStore> {
    let mut store = MemoryStore::new();
    let stored = store
        .append(&FOUNDED)
        .and_then(|()| store.add_epoch_keys(&[key(0)]));
    assert!(stored.is_ok());
    Ledger::open(store, box_secret(0)).unwrap_or_else(|error| unreachable!("{error}"))
}

fn same(here: &Ledger<MemoryStore>, there: &Ledger<MemoryStore>, network: &NetworkId) {
    assert_eq!(here.network(), *network);
    assert_eq!(here.authority_hash(), there.authority_hash());
    assert_eq!(here.state_hash(), there.state_hash());
    assert_eq!(here.heads(), there.heads());
    for idx in here.graph().indices() {
        let id = here.graph().event(idx).id();
        let place = there.graph().find(&id);
        assert_eq!(
            here.verdict(idx),
            place.and_then(|place| there.verdict(place))
        );
    }
}
