//! The log.

use mesh_control::reply::{Log, Verified};
use mesh_control::view::Verdict;

use super::network::or_none;
use super::table::Table;
use super::units::age;
use super::{Line, Look, Role, counted};

/// Events, newest first; what does not count says why.
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
        let (mark, role, verdict) = match &entry.verdict {
            Verdict::Counted => ("  ", Role::Plain, Line::default()),
            Verdict::Void { reason } => (
                "✗ ",
                Role::Quiet,
                Line::new(Role::Bad, format!("void: {reason}")),
            ),
            Verdict::Pending => (
                "○ ",
                Role::Quiet,
                Line::new(Role::Care, "waits for its past"),
            ),
        };
        table.row(vec![
            Line::new(Role::Bad, mark).and(Role::Quiet, format!("{age:>widest$}")),
            Line::plain(&entry.event.short),
            Line::new(role, &entry.by),
            Line::new(
                role,
                if entry.text.is_empty() {
                    &entry.kind
                } else {
                    &entry.text
                },
            ),
            verdict,
        ]);
    }
    or_none(table.lines(look.width), "no event")
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
        return vec![line.and(Role::Ok, "✓")];
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
