//! What went into files, and what came out of them.

use std::path::Path;

use mesh_control::reply::{Accepted, Requested};

use super::outcome::spread;
use super::units::{ago, bytes};
use super::{Line, Look, Role, counted};
use crate::verb::log::export::Manifest;
use crate::verb::prove::Shown;
use crate::verb::sync::export::Exported;
use crate::verb::sync::import::Merged;

/// Events were written to a file.
pub(crate) fn exported(exported: &Exported, file: &str) -> Vec<Line> {
    let events = u64::try_from(exported.events).unwrap_or(u64::MAX);
    let size = u64::try_from(exported.bytes).unwrap_or(u64::MAX);
    let mut line = Line::plain(format!(
        "{}: {} written to {file}, {}",
        exported.network,
        counted(events, "event"),
        bytes(size)
    ));
    if exported.partial {
        line = line.and(Role::Quiet, "; earlier ones are left out");
    }
    vec![line]
}

/// Events of a file were merged.
pub(crate) fn imported(merged: &Merged) -> Vec<Line> {
    let imported = &merged.imported;
    let mut lines = vec![Line::plain(format!(
        "{}: {} new, {} known",
        imported.network,
        counted(imported.added, "event"),
        imported.known
    ))];
    let bad = |short: &str, why: &str| {
        Line::new(Role::Bad, "✗ ").and(Role::Plain, format!("{short}  {why}"))
    };
    let lost = merged.damaged.iter();
    lines.extend(lost.map(|event| bad(&event.short, "it is not whole in the file")));
    let refused = imported.refused.iter();
    lines.extend(refused.map(|damage| bad(&damage.event.short, &damage.problem)));
    lines
}

/// Said of a file without its beginning.
pub(crate) fn file_is_partial() -> Vec<Line> {
    vec![Line::quiet(
        "the file was written with --since: it holds later events alone",
    )]
}

/// All events were written as Automerge documents.
pub(crate) fn log_exported(network: &str, manifest: &Manifest, folder: &Path) -> Vec<Line> {
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    vec![Line::plain(format!(
        "{network}: {} in {}, and manifest.json, in {}",
        counted(count(manifest.events), "event"),
        counted(count(manifest.documents.len()), "document"),
        folder.display()
    ))]
}

/// A redemption was written to a file.
pub(crate) fn requested(_: &Requested, file: &str) -> Vec<Line> {
    vec![Line::plain(format!(
        "{file} asks to be let in: carry it to any member"
    ))]
}

/// A redemption was accepted.
pub(crate) fn accepted(accepted: &Accepted, file: &str) -> Vec<Line> {
    vec![
        Line::plain(format!(
            "{} is in {} now  event {}, {}",
            accepted.name,
            accepted.network,
            accepted.event.short,
            spread(&accepted.spread)
        )),
        Line::plain(format!("{file} is the answer: carry it back")),
    ]
}

/// What a proof proves.
pub(crate) fn proven(shown: &Shown, look: &Look) -> Vec<Line> {
    let who = |signed: &crate::verb::prove::ShownSigned| {
        let office = if signed.admin { ", an admin" } else { "" };
        format!(
            "user {}{office}, {} by its clock",
            signed.user_short,
            ago(signed.time_ms, look.now_ms)
        )
    };
    // Of what came after the fact, a proof that ends with it says nothing.
    let still = shown.whole && shown.head.event != shown.fact.event;
    let is = match (shown.claim.as_str(), still) {
        ("member", true) => "is a member of",
        ("member", false) => "was admitted to",
        ("admin", true) => "is an admin of",
        ("admin", false) => "was made an admin of",
        _ => "is part of the history of",
    };
    let what = if shown.claim == "event" {
        "event"
    } else {
        "user"
    };
    let mut lines = vec![
        Line::plain(format!("{what} {}", shown.subject)),
        Line::plain(format!("  {is} network {}", shown.network)).and(Role::Ok, " ✓"),
        Line::plain(format!(
            "  by event {}, signed by {}",
            shown.fact.event_short,
            who(&shown.fact)
        )),
    ];
    if shown.head.event != shown.fact.event {
        lines.push(Line::plain(format!(
            "  known when {} was signed by {}",
            shown.head.event_short,
            who(&shown.head)
        )));
    }
    let events = counted(u64::try_from(shown.events).unwrap_or(u64::MAX), "event");
    lines.push(if shown.events == 1 {
        Line::quiet("  the network's first event says so, and nothing comes before it")
    } else if shown.whole {
        Line::quiet(format!(
            "  all {events} up to that one are here, and by them it is so; what came later is not"
        ))
    } else {
        Line::quiet(format!(
            "  by a chain of {events}; whether something took it back, a proof with --all shows"
        ))
    });
    lines
}
