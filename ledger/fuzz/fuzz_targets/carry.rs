//! Any bytes are a file that carries a network or an error; what is read and written again is read as itself. And any bytes
//! are a proof or an error, which proves nothing unless its events do.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use mesh_ledger::carry::{Carry, MAX_HEADS};
use mesh_ledger::event::Event;
use mesh_ledger::ids::{EventId, NetworkId, UserId};
use mesh_ledger::proof_file::{Claim, ProofFile, verify};
use mesh_ledger_fuzz::{network, split};

static FOUNDED: LazyLock<Vec<Event>> = LazyLock::new(network);

fuzz_target!(|bytes: &[u8]| {
    // Behind its first line, which chance does not write.
    let file = [b"mesh file 1\n", bytes].concat();
    if let Ok(found) = Carry::read(&file) {
        assert!(found.carry.heads.len() <= MAX_HEADS);
        let again = Carry::read(&found.carry.write()).expect("what was written is read");
        assert!(again.is_whole());
        assert_eq!(again.carry, found.carry);
    }
    if let Ok(proof) = ProofFile::decode(bytes) {
        assert_eq!(ProofFile::decode(&proof.encode()).as_ref(), Ok(&proof));
    }
    // Events of a network in any choice, and bytes in between, about somebody.
    let founded = &*FOUNDED;
    let Some(id) = founded.first().map(|genesis| genesis.network()) else {
        return;
    };
    let mut events = Vec::new();
    for part in split(bytes).take(64) {
        match part {
            [at] => events.extend(
                founded
                    .get(usize::from(*at))
                    .map(|event| event.bytes().to_vec()),
            ),
            other => events.push(other.to_vec()),
        }
    }
    let last = events
        .last()
        .map_or(EventId([0; 32]), |bytes| mesh_ledger::event::id_of(bytes));
    for claim in [
        Claim::Event(last),
        Claim::Member(UserId([1; 32])),
        Claim::Admin(UserId([1; 32])),
    ] {
        let file = ProofFile {
            claim,
            fact: last,
            head: last,
            events: events.clone(),
        };
        assert!(verify(&file, &NetworkId([9; 32])).is_err());
        if let Ok(proven) = verify(&file, &id) {
            assert_eq!(proven.fact.event, last);
        }
    }
});
