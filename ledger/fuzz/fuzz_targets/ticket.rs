//! Any text is a ticket or an error, and a ticket written out is read as itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mesh_ledger::ticket::{MAX_CONTACTS, MAX_TICKET, Ticket};

fuzz_target!(|text: &str| {
    let Ok(ticket) = text.parse::<Ticket>() else {
        return;
    };
    assert!(ticket.contacts().len() <= MAX_CONTACTS);
    let written = ticket.text();
    assert!(written.len() <= MAX_TICKET);
    assert_eq!(written.parse::<Ticket>().as_ref(), Ok(&ticket));
});
