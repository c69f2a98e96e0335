//! Places in a network's history, as they are typed.

use mesh_ledger::graph::{FindError, Idx};
use mesh_ledger::past::{Book, Reading};

use super::event_ref;
use crate::call::{Cursor, Moment};
use crate::error::{Code, Error};
use crate::history::AsOf;

/// The most heads in a cursor.
pub const MAX_HEADS: usize = 512;

/// The event whose id begins so.
///
/// # Errors
/// `not_found`, or `usage` when it is no start of an id or that of several.
pub fn find(reading: Reading<'_>, text: &str) -> Result<Idx, Error> {
    reading.graph.named(text).map_err(|error| {
        let code = match error {
            FindError::None(_) => Code::NotFound,
            FindError::Form(_) | FindError::Several { .. } => Code::Usage,
        };
        Error::new(code, error.to_string()).hint("mesh log")
    })
}

/// The network as it was, and when that is.
///
/// # Errors
/// As of [`find`]; `not_found` when nothing was signed by then.
pub fn book(reading: Reading<'_>, moment: &Moment) -> Result<(Book, AsOf), Error> {
    let (book, event, time_ms) = match moment {
        Moment::Event(text) => {
            let idx = find(reading, text)?;
            let named = Some(event_ref(&reading.graph.id(idx)));
            (reading.at_event(idx), named, reading.graph.time(idx))
        }
        Moment::TimeMs(time) => (reading.at_time(*time), None, *time),
    };
    let events = book.reading().graph.len() as u64;
    if events == 0 {
        let message = "by the clocks of those who signed, the network was not there yet";
        return Err(Error::new(Code::NotFound, message).hint("mesh log"));
    }
    Ok((
        book,
        AsOf {
            event,
            time_ms,
            events,
        },
    ))
}

/// How far a log has been told: its heads, the last in the network's order if there are too many.
pub fn cursor(reading: Reading<'_>, turns: u64) -> Cursor {
    let mut heads: Vec<Idx> = reading.graph.heads().collect();
    let surplus = heads.len().saturating_sub(MAX_HEADS);
    heads.drain(..surplus);
    Cursor {
        heads: heads
            .into_iter()
            .map(|idx| reading.graph.id(idx).to_string())
            .collect(),
        turns,
    }
}

/// Whether an event was told already by a cursor.
///
/// # Errors
/// `usage` when the cursor is none of ours.
pub fn told(reading: Reading<'_>, cursor: &Cursor) -> Result<impl Fn(Idx) -> bool, Error> {
    let bad = || Error::new(Code::Usage, "that is no cursor of this log");
    if cursor.heads.len() > MAX_HEADS {
        return Err(bad());
    }
    let mut heads = Vec::with_capacity(cursor.heads.len());
    for head in &cursor.heads {
        let id = head.parse().map_err(|_| bad())?;
        // What was damaged in between is not here any more, and told again when it comes back.
        heads.extend(reading.graph.find(&id));
    }
    let graph = reading.graph;
    let past = graph.past_of(&heads);
    Ok(move |idx| graph.within(idx, &past))
}
