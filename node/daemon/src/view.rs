//! The ledger as tools see it: names for keys, sentences for events, views for the control socket.

pub(crate) mod log;
pub(crate) mod names;
pub(crate) mod state;

use mesh_control::view::EventRef;
use mesh_ledger::ids::EventId;

/// An event's id, in full and short.
pub(crate) fn event_ref(id: &EventId) -> EventRef {
    EventRef {
        id: id.to_string(),
        short: id.short(),
    }
}
