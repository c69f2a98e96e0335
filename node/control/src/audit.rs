//! A ledger as tools see it: names for keys, sentences for events, the views of the control socket.
//!
//! The daemon answers calls with it, and the tools read a stored network with it that no daemon has open, so that both
//! say the same. Everything here is a pure function of events, what could be opened of them, and the moment.

pub mod log;
pub mod names;
pub mod state;

use mesh_ledger::ids::EventId;

use crate::view::EventRef;

/// An event's id, in full and short.
pub fn event_ref(id: &EventId) -> EventRef {
    EventRef {
        id: id.to_string(),
        short: id.short(),
    }
}
