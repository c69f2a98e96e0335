//! Any bytes are a sync message or an error; and whatever a member says in whatever order, a session stands it, and sends
//! only what the other can read.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use mesh_ledger::wire::{Index, Message, Sync};
use mesh_ledger_fuzz::{network, split};

static INDEX: LazyLock<Index> = LazyLock::new(|| {
    let mut index = Index::new();
    index.extend(network());
    index
});

fuzz_target!(|bytes: &[u8]| {
    let mut session = Sync::new();
    let _ = session.start(&INDEX);
    for part in split(bytes) {
        let Ok(message) = Message::decode(part) else {
            continue;
        };
        let again = Message::decode(&message.encode());
        assert_eq!(again.as_ref().ok(), Some(&message));
        for answer in session.receive(message, &INDEX).send {
            assert!(Message::decode(&answer.encode()).is_ok());
        }
    }
});
