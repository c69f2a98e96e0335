//! Any bytes are an event or an error. What is one is written in the one encoding, and its sealed part is read only as
//! what its act says.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mesh_ledger::event::{Attributes, Event, id_of, prefix};

fuzz_target!(|bytes: &[u8]| {
    // Without the signature, which noise never has: all the rest is read as by `decode`.
    let Ok(event) = Event::decode_unverified(bytes) else {
        assert!(Event::decode(bytes).is_err());
        return;
    };
    assert_eq!(event.bytes(), bytes);
    assert_eq!(event.id(), id_of(bytes));
    let written = prefix(event.header(), event.act(), event.sealed().len());
    assert_eq!(written.as_deref(), Ok(event.associated_data()));
    // The opened attributes of an event are a sponsor's or an author's bytes, as little trusted as the event.
    if let Some(attributes) = Attributes::decode(event.act(), event.sealed()) {
        assert_eq!(attributes.encode(), event.sealed());
    }
});
