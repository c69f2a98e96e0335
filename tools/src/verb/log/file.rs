//! `mesh log FILE`: the acts in a file, with no daemon and no key. Names stay sealed, so people are the starts of their keys.

use mesh_control::audit::answer;
use mesh_control::{Code, Error, call};
use mesh_ledger::event::Event;
use mesh_ledger::past::Book;
use mesh_ledger::store::Store;
use mesh_ledger::store::memory::MemoryStore;

use crate::context::Context;
use crate::files;
use crate::render::{self, Line};

/// Shows the events of a file that pass the filters.
pub(super) fn run(typed: &str, call: &call::Log, context: &mut Context) -> Result<(), Error> {
    let found = files::carry(typed, context)?;
    let carry = &found.carry;
    let events = carry.events.iter();
    let events: Vec<Event> = events
        .filter_map(|bytes| Event::decode(bytes).ok())
        .collect();
    let failed =
        |error: mesh_ledger::store::StoreError| Error::new(Code::Failed, error.to_string());
    let mut store = MemoryStore::new();
    store.append(&events).map_err(failed)?;
    let (book, left_out) = Book::read(&store, &carry.network).map_err(failed)?;
    if book.reading().graph.is_empty() {
        let message =
            format!("{typed} does not hold the network's beginning: it cannot be shown alone");
        return Err(Error::new(Code::Verification, message).hint("mesh log verify FILE"));
    }
    let mut log = answer::log(book.reading(), call, std::iter::empty())?;
    log.cursor = None;
    context.print("log", &log, render::log)?;
    if log.more {
        context.note(&render::older_left_out());
    }
    let bad = carry.events.len() - events.len() + left_out.len() + found.missing.len();
    if bad > 0 {
        let bad = render::counted(u64::try_from(bad).unwrap_or(u64::MAX), "event");
        context.note(&[
            Line::quiet(format!("{bad} of the file cannot be shown")),
            Line::hint(format!("mesh log verify {typed}")),
        ]);
    }
    Ok(())
}
