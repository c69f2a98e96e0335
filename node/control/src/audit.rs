//! A ledger as tools see it: names for keys, sentences for events, the views of the control socket.
//!
//! The daemon answers calls with it, and the tools read a stored network with it that no daemon has open, so that both
//! say the same. Everything here is a pure function of events, what could be opened of them, and the moment.

pub mod answer;
mod diff;
mod filter;
pub mod log;
pub mod moment;
pub mod names;
mod outcome;
pub mod past;
mod show;
pub mod state;

use mesh_ledger::event::attributes::Server;
use mesh_ledger::ids::EventId;
use mesh_ledger::past::Reading;

pub use diff::changes;
pub use log::page;
pub use outcome::consequences;
pub use show::show;

use crate::view::EventRef;

/// An event's id, in full and short.
pub fn event_ref(id: &EventId) -> EventRef {
    EventRef {
        id: id.to_string(),
        short: id.short(),
    }
}

/// The network's name, or the start of its id where that is not known.
pub fn network_name(reading: Reading<'_>) -> String {
    let state = &reading.fold.state;
    let name = state.name.as_ref();
    name.map_or_else(|| state.network.short(), ToString::to_string)
}

/// Where a server is, without the permit behind it.
fn server_place(server: &Server) -> String {
    let place = server.address.as_str().split('/').next();
    place.unwrap_or_default().to_owned()
}
