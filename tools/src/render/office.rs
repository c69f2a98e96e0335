//! Who holds which office, and what an act of office makes otherwise.

use mesh_control::reply::{Kicked, NewWords, OwnerChanged, OwnerOffered, Previewed, Signed};
use mesh_control::view::Consequences;

use super::outcome::spread;
use super::units::remaining;
use super::{Line, Look, Role, counted, listed, text};

/// A member was removed.
pub(crate) fn kicked(kicked: &Kicked) -> Vec<Line> {
    let mut text = format!(
        "kicked {}, {}; event {}, {}",
        kicked.name,
        counted(kicked.devices_removed.into(), "device"),
        kicked.event.short,
        spread(&kicked.spread),
    );
    text.push_str(&voided(kicked.acts_voided));
    let mut lines = vec![Line::plain(text)];
    if !kicked.invites_closed.is_empty() {
        let which = invites(kicked.invites_closed.len());
        let closed = listed(&kicked.invites_closed);
        lines.push(Line::plain(format!("closed {which} {closed}")));
    }
    if !kicked.invites_left.is_empty() {
        let which = invites(kicked.invites_left.len());
        let left = listed(&kicked.invites_left);
        let text = format!("{which} {left} still open: only who made them closes them");
        lines.push(Line::new(Role::Care, "! ").and(Role::Plain, text));
    }
    lines.extend(others(
        &kicked.consequences,
        &[&kicked.name],
        &kicked.invites_closed,
    ));
    lines
}

/// Something about a member was signed: `what` it is now.
pub(crate) fn signed(signed: &Signed, what: &str) -> Vec<Line> {
    let mut text = format!(
        "{} {what}; event {}, {}",
        signed.name,
        signed.event.short,
        spread(&signed.spread)
    );
    text.push_str(&voided(signed.acts_voided));
    let mut lines = vec![Line::plain(text)];
    lines.extend(others(&signed.consequences, &[&signed.name], &[]));
    lines
}

/// What would be signed, and what would become otherwise.
pub(crate) fn previewed(previewed: &Previewed) -> Vec<Line> {
    let mut lines = labelled("signs", &previewed.signs);
    if !previewed.invites_closed.is_empty() {
        let closes = format!("closes    {}", listed(&previewed.invites_closed));
        lines.push(Line::plain(closes));
    }
    let consequences = &previewed.consequences;
    let void = counted(consequences.acts_voided.into(), "act");
    lines.push(Line::plain(format!("void      {void}")));
    let by = consequences.void.iter().map(|act| text::width(&act.by));
    let by = by.max().unwrap_or(0);
    for act in &consequences.void {
        let fill = " ".repeat(by.saturating_sub(text::width(&act.by)));
        lines.push(Line::plain(format!(
            "          {}  {}{fill}  {}",
            act.event.short, act.by, act.text
        )));
    }
    let more = (consequences.acts_voided as usize).saturating_sub(consequences.void.len());
    if more > 0 {
        lines.push(Line::plain(format!("          and {more} more")));
    }
    lines.extend(others(consequences, &[], &previewed.invites_closed));
    lines
}

/// The owner offers the network.
pub(crate) fn owner_offered(offered: &OwnerOffered, look: &Look) -> Vec<Line> {
    let left = remaining(offered.until_ms, look.now_ms);
    vec![Line::plain(format!(
        "{} offers you {}, for another {left}",
        offered.by, offered.network
    ))]
}

/// New recovery words.
pub(crate) fn new_words(new: &NewWords) -> Vec<Line> {
    vec![
        Line::new(Role::Care, "new recovery words, shown once:")
            .and(Role::Plain, format!("  {}", new.recovery_words.reveal())),
    ]
}

/// The network has another owner.
pub(crate) fn owner_changed(changed: &OwnerChanged) -> Vec<Line> {
    let mut text = format!("{} owns {} now", changed.owner, changed.network);
    if changed.before != changed.owner {
        text.push_str(&format!(", not {} any more", changed.before));
    }
    text.push_str(&format!(
        "; event {}, {}",
        changed.event.short,
        spread(&changed.spread)
    ));
    text.push_str(&voided(changed.consequences.acts_voided));
    let mut lines = vec![Line::plain(text)];
    let rest = Consequences {
        owner: None,
        ..changed.consequences.clone()
    };
    lines.extend(others(&rest, &[&changed.owner, &changed.before], &[]));
    lines
}

/// Whether acts change nothing but what they say about `name`.
pub(crate) fn is_quiet(consequences: &Consequences, name: &str) -> bool {
    let others = |names: &[String]| names.iter().any(|other| other != name);
    consequences.acts_voided == 0
        && consequences.acts_revived == 0
        && consequences.owner.is_none()
        && !others(&consequences.members_gone)
        && !others(&consequences.members_back)
        && !others(&consequences.office_gone)
        && !others(&consequences.office_back)
}

pub(super) fn voided(acts: u32) -> String {
    if acts == 0 {
        String::new()
    } else {
        format!("; {} void", counted(acts.into(), "act"))
    }
}

const fn invites(count: usize) -> &'static str {
    if count == 1 { "invite" } else { "invites" }
}

fn labelled(label: &str, texts: &[String]) -> Vec<Line> {
    let line = |(at, text): (usize, &String)| {
        let label = if at == 0 { label } else { "" };
        Line::plain(format!("{label:<10}{text}"))
    };
    texts.iter().enumerate().map(line).collect()
}

/// What becomes otherwise for others than those named, and of invites other than those that are named as closed.
fn others(consequences: &Consequences, named: &[&String], closed: &[String]) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut told = |label: &str, names: &[String], but: &[String]| {
        let others: Vec<String> = names
            .iter()
            .filter(|other| !named.contains(other) && !but.contains(other))
            .cloned()
            .collect();
        if !others.is_empty() {
            lines.push(Line::plain(format!("{label:<10}{}", listed(&others))));
        }
    };
    let owner: Vec<String> = consequences.owner.iter().cloned().collect();
    told("owner", &owner, &[]);
    told("gone", &consequences.members_gone, &[]);
    told("back", &consequences.members_back, &[]);
    told("no admin", &consequences.office_gone, &[]);
    told("admin", &consequences.office_back, &owner);
    told("shut", &consequences.invites_gone, closed);
    told("open", &consequences.invites_back, &[]);
    lines
}
