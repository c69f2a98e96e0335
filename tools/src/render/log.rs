//! The log.

use mesh_control::reply::{Log, Verified};
use mesh_control::utc::clock;
use mesh_control::view::{LogEntry, Verdict};

use super::history::headline;
use super::network::or_none;
use super::table::Table;
use super::units::age;
use super::{Line, Look, Role, counted};

/// Events, newest first; what does not count is struck out, marked, and says why.
pub(crate) fn log(log: &Log, look: &Look) -> Vec<Line> {
    let mut table = Table::new()
        .name("  AGE")
        .name("EVENT")
        .name("BY")
        .text("WHAT", 0)
        .text("", 0);
    let ages = log
        .entries
        .iter()
        .map(|entry| age(entry.time_ms, look.now_ms));
    let ages: Vec<String> = ages.collect();
    let widest = ages.iter().map(String::len).max().unwrap_or(0);
    for (entry, age) in log.entries.iter().zip(ages).rev() {
        let (mark, role) = mark(entry);
        table.row(vec![
            Line::new(Role::Bad, mark).and(Role::Quiet, format!("{age:>widest$}")),
            Line::plain(&entry.event.short),
            Line::new(role, &entry.by),
            Line::new(role, what(entry)),
            verdict(entry),
        ]);
    }
    let lines = or_none(table.lines(look.width), "no event");
    match &log.as_of {
        Some(as_of) => std::iter::once(headline(&log.network, as_of, look))
            .chain(lines)
            .collect(),
        None => lines,
    }
}

/// An event that came while somebody followed: `19:38:02  b81c02d4  bob  offers 8080/tcp`.
pub(crate) fn followed(entry: &LogEntry) -> Vec<Line> {
    vec![line(entry, None)]
}

/// An event that was told before and is void now, or counts after all.
pub(crate) fn turned(entry: &LogEntry) -> Vec<Line> {
    let now = if entry.is_void() {
        "turned void: "
    } else {
        "counts after all: "
    };
    vec![line(entry, Some(now))]
}

fn line(entry: &LogEntry, turned: Option<&str>) -> Line {
    let (mark, role) = mark(entry);
    let mark = match turned {
        Some(_) if !entry.is_void() => Line::new(Role::Ok, "✓ "),
        _ => Line::new(Role::Bad, mark),
    };
    let time = clock(entry.time_ms);
    let time = time.split_once(' ').map_or("", |(_, time)| time);
    let mut line = mark
        .and(Role::Quiet, time)
        .and(Role::Plain, format!("  {}  ", entry.event.short))
        .and(Role::Care, turned.unwrap_or_default())
        .and(role, format!("{} {}", entry.by, what(entry)));
    let verdict = verdict(entry);
    if !verdict.spans().is_empty() {
        line = line.and(Role::Plain, "  ");
        line.spans.extend(verdict.spans);
    }
    line
}

pub(super) fn mark(entry: &LogEntry) -> (&'static str, Role) {
    match entry.verdict {
        Verdict::Counted => ("  ", Role::Plain),
        Verdict::Void { .. } => ("✗ ", Role::Void),
        Verdict::Pending => ("○ ", Role::Quiet),
    }
}

pub(super) fn what(entry: &LogEntry) -> &str {
    if entry.text.is_empty() {
        &entry.kind
    } else {
        &entry.text
    }
}

fn verdict(entry: &LogEntry) -> Line {
    match &entry.verdict {
        Verdict::Counted => Line::default(),
        Verdict::Void { reason } => Line::new(Role::Bad, format!("void: {reason}")),
        Verdict::Pending => Line::new(Role::Care, "its key is not here yet"),
    }
}

/// Said when a limit cut the list short.
pub(crate) fn older_left_out() -> Vec<Line> {
    vec![Line::quiet("older events are left out: raise --limit")]
}

/// The ledger was checked.
pub(crate) fn verified(verified: &Verified) -> Vec<Line> {
    let events = counted(verified.events, "event");
    if verified.ok && verified.damaged.is_empty() {
        let line = Line::plain(format!("{}: {events} verified ", verified.network));
        let line = line.and(Role::Ok, "✓");
        return vec![match &verified.checkpoint {
            Some(checkpoint) => {
                let text = format!(", up to checkpoint {} as it states", checkpoint.short);
                line.and(Role::Plain, text)
            }
            None => line,
        }];
    }
    let damaged = verified.damaged.iter().map(|damage| {
        Line::new(Role::Bad, "✗ ").and(
            Role::Plain,
            format!("{}  {}", damage.event.short, damage.problem),
        )
    });
    std::iter::once(Line::plain(format!(
        "{}: {events} checked",
        verified.network
    )))
    .chain(damaged)
    .collect()
}
