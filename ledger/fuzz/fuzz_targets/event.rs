//! Any bytes are an event or an error. What is one is written in the one encoding, and its sealed part is read only as
//! what its act says. The same for acts and attributes alone.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use mesh_ledger::epoch::KeyRing;
use mesh_ledger::event::{Act, Attributes, Event, id_of, prefix};
use mesh_ledger::seal;
use mesh_ledger_fuzz::{box_secret, key, sealing_acts};

static ACTS: LazyLock<Vec<Act>> = LazyLock::new(sealing_acts);
static KEYS: LazyLock<KeyRing> = LazyLock::new(|| {
    let mut keys = KeyRing::new();
    keys.insert(key(0));
    keys
});

fuzz_target!(|bytes: &[u8]| {
    whole(bytes);
    if let Some(act) = Act::decode(bytes) {
        assert_eq!(act.encode(), bytes);
    }
    let Some((kind, rest)) = bytes.split_first() else {
        return;
    };
    let act = &ACTS[usize::from(*kind) % ACTS.len()];
    if let Some(attributes) = Attributes::decode(act, rest) {
        assert_eq!(attributes.encode(), rest);
    }
});

fn whole(bytes: &[u8]) {
    // Without the signature, which noise never has: all the rest is read as by `decode`.
    let Ok(event) = Event::decode_unverified(bytes) else {
        assert!(Event::decode(bytes).is_err());
        return;
    };
    let _ = Event::decode(bytes);
    assert_eq!(event.bytes(), bytes);
    assert_eq!(event.id(), id_of(bytes));
    let written = prefix(event.header(), event.act(), event.sealed().len());
    assert_eq!(written.as_deref(), Ok(event.associated_data()));
    // The opened attributes of an event are a sponsor's or an author's bytes, as little trusted as the event.
    if let Some(attributes) = Attributes::decode(event.act(), event.sealed()) {
        assert_eq!(attributes.encode(), event.sealed());
    }
    let _ = seal::open(&event, &KEYS);
    let mut keys = KEYS.clone();
    let _ = keys.learn([event].into_iter(), Some(&box_secret(0)));
}
