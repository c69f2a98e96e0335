//! Whatever members and strangers sign, the gate passes or refuses it and the fold stands it; and another replica that gets
//! what passed in another order has the same authority.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mesh_ledger::fold::fold;
use mesh_ledger::gate::{Gate, Passage};
use mesh_ledger::graph::Graph;
use mesh_ledger_fuzz::{network, sign, split};

fuzz_target!(|bytes: &[u8]| {
    let founded = network();
    let Some(id) = founded.first().map(|genesis| genesis.network()) else {
        return;
    };
    let (mut gate, mut graph) = (Gate::new(), Graph::new());
    let mut passed = Vec::new();
    for event in founded {
        let passage = gate.pass(&mut graph, &id, &event);
        assert!(matches!(passage, Ok(Passage::Added(_))), "{passage:?}");
        passed.push(event);
    }
    for part in split(bytes).take(64) {
        // The bytes as they are, and as an instruction to sign something that fits, or nearly.
        if let Ok((event, Passage::Added(_))) = gate.pass_bytes(&mut graph, &id, part) {
            passed.push(event);
        }
        let Some(event) = sign(&passed, part) else {
            continue;
        };
        if let Ok(Passage::Added(_)) = gate.pass(&mut graph, &id, &event) {
            passed.push(event);
        }
    }
    let here = fold(&graph, &[]);
    assert_eq!(here.verdicts.len(), passed.len());

    // Another order in which parents come first.
    passed.sort_by_key(|event| (event.header().lamport, std::cmp::Reverse(event.id())));
    let (mut gate, mut graph) = (Gate::new(), Graph::new());
    for event in &passed {
        let passage = gate.pass(&mut graph, &id, event);
        assert!(matches!(passage, Ok(Passage::Added(_))), "{passage:?}");
    }
    let there = fold(&graph, &[]);
    assert_eq!(here.authority.hash(), there.authority.hash());
    assert_eq!(here.state.hash(), there.state.hash());
});
