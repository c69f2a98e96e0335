//! One event whole, what changed, and the network as it was.

use mesh_control::history::{AsOf, Differences, LogShown, Past, PastMember, Sealed, Sign};
use mesh_control::reply::Invites;
use mesh_control::utc::clock;
use mesh_control::view::{Audience, LogEntry, Rank, Verdict};

use super::log::{mark, what};
use super::network::or_none;
use super::table::Table;
use super::units::{age, ago, remaining};
use super::{Line, Look, Role, counted};

/// `home  AS OF 77d0e3aa, 9 min ago`
pub(super) fn headline(network: &str, as_of: &AsOf, look: &Look) -> Line {
    Line::new(Role::Head, network).and(Role::Care, format!("  AS OF {}", moment(as_of, look)))
}

fn moment(as_of: &AsOf, look: &Look) -> String {
    let ago = ago(as_of.time_ms, look.now_ms);
    match &as_of.event {
        Some(event) => format!("{}, {ago}", event.short),
        None => format!(
            "{} UTC, {ago}, by the clocks of those who signed",
            clock(as_of.time_ms)
        ),
    }
}

/// All about one event.
pub(crate) fn log_shown(shown: &LogShown, look: &Look) -> Vec<Line> {
    let entry = &shown.entry;
    let head =
        Line::new(Role::Head, &entry.event.short).and(Role::Plain, format!("  {}", entry.kind));
    let head = match &entry.verdict {
        Verdict::Counted => head.and(Role::Plain, ", counts"),
        Verdict::Void { reason } => head.and(Role::Bad, format!(", VOID: {reason}")),
        Verdict::Pending => head.and(Role::Care, ", counts; its key is not here yet"),
    };
    let office = shown.office.as_ref().map(|office| {
        let until = office.to.as_ref();
        let until = until.map(|to| format!(" to {}", to.short));
        let until = until.unwrap_or_default();
        format!("   {} from {}{until}", office.rank, office.from.short)
    });
    let by = Line::plain(format!(
        "by        {}{}   device {}   signature ",
        entry.by,
        office.unwrap_or_default(),
        short(&entry.device)
    ));
    let by = if shown.signature {
        by.and(Role::Ok, "✓")
    } else {
        by.and(Role::Bad, "✗ does not hold")
    };
    let (_, role) = mark(entry);
    let says = Line::plain("says      ").and(role, what(entry));
    let after = match entry.parents.as_slice() {
        [] => "after nothing".to_owned(),
        parents => {
            let parents: Vec<String> = parents.iter().map(|parent| short(parent)).collect();
            format!("after {}", parents.join(" "))
        }
    };
    let epoch = shown.epoch.as_deref().map(short).unwrap_or_default();
    let sealed = match shown.sealed {
        Sealed::Nothing => "nothing sealed".to_owned(),
        Sealed::Open => format!("sealed under epoch {epoch}, open here"),
        Sealed::Pending => format!("sealed under epoch {epoch}, whose key is not here yet"),
        Sealed::Broken => format!("sealed under epoch {epoch}, and does not open under its key"),
    };
    let checkpoint = match &shown.checkpoint {
        Some(checkpoint) => format!("order sealed by checkpoint {}", checkpoint.short),
        None => "order sealed by no checkpoint".to_owned(),
    };
    let mut lines = vec![
        head,
        by,
        says,
        Line::plain(format!(
            "time      {} UTC, {}: its author's own word",
            clock(entry.time_ms),
            ago(entry.time_ms, look.now_ms)
        )),
        Line::plain(format!(
            "place     {after}   lamport {}   number {} of its device",
            entry.lamport, entry.seq
        )),
        Line::plain(format!(
            "holds     {sealed}   {} bytes   {checkpoint}",
            shown.bytes
        )),
        Line::plain(format!(
            "seen by   {} of {}{}",
            shown.have.len(),
            counted(shown.of.into(), "device"),
            names(&shown.have)
        )),
        Line::plain(format!("id        {}", entry.event.id)),
    ];
    for (at, cause) in shown.because.iter().enumerate() {
        let title = if at == 0 { "because   " } else { "          " };
        lines.push(because(title, cause));
    }
    lines
}

fn names(have: &[String]) -> String {
    match have {
        [] => String::new(),
        have => format!(": {}", have.join(", ")),
    }
}

fn because(title: &str, cause: &LogEntry) -> Line {
    let (mark, role) = mark(cause);
    let line = Line::plain(title)
        .and(Role::Plain, format!("{}  ", cause.event.short))
        .and(Role::Bad, mark.trim_start())
        .and(role, format!("{} {}", cause.by, what(cause)));
    match &cause.verdict {
        Verdict::Void { reason } => line.and(Role::Bad, format!("  void: {reason}")),
        _ => line,
    }
}

/// What changed.
pub(crate) fn differences(differences: &Differences, look: &Look) -> Vec<Line> {
    let to = differences.to.as_ref();
    let to = to.map_or_else(|| "now".to_owned(), |to| moment(to, look));
    let from = moment(&differences.from, look);
    let head = Line::new(Role::Head, &differences.network)
        .and(Role::Plain, format!("  from {from}, to {to}"));
    let mut table = Table::new()
        .name("")
        .name("WHAT")
        .name("NAME")
        .text("CHANGE", 0)
        .name("EVENT");
    for change in &differences.changes {
        let role = match change.sign {
            Sign::Added => Role::Ok,
            Sign::Removed => Role::Bad,
            Sign::Changed => Role::Care,
        };
        table.row(vec![
            Line::new(role, change.sign.to_string()),
            Line::plain(&change.kind),
            Line::plain(&change.name),
            Line::plain(&change.text),
            Line::quiet(change.event.as_ref().map_or("", |event| &event.short)),
        ]);
    }
    let lines = or_none(table.lines(look.width), "nothing changed");
    std::iter::once(head).chain(lines).collect()
}

/// The network in short, and its devices.
pub(crate) fn past_status(past: &Past, look: &Look) -> Vec<Line> {
    let admins = past.members.iter();
    let admins = admins.filter(|member| member.rank != Rank::Member).count();
    let head = headline(&past.network, &past.as_of, look).and(
        Role::Plain,
        format!(
            "  {}  {}, {}, {}",
            past.subnet,
            counted(past.members.len() as u64, "member"),
            counted(admins as u64, "admin"),
            counted(past.as_of.events, "event")
        ),
    );
    let mut lines = vec![head.cut(look.width)];
    if !past.servers.is_empty() {
        lines.push(Line::plain(format!("servers  {}", past.servers.join("  "))));
    }
    let mut table = Table::new()
        .name("NAME")
        .name("ADDRESS")
        .text("RANK", 1)
        .text("OFFERS", 0);
    for member in &past.members {
        for device in &member.devices {
            let offers = past.offers.iter();
            let offers = offers.filter(|offer| offer.device == device.name);
            let offers: Vec<&str> = offers
                .map(|offer| offer.name.as_deref().unwrap_or(&offer.what))
                .collect();
            table.row(vec![
                Line::plain(&device.name),
                Line::plain(&device.address),
                Line::plain(member.rank.to_string()),
                Line::plain(offers.join(" ")),
            ]);
        }
    }
    let table = table.lines(look.width);
    if !table.is_empty() {
        lines.push(Line::default());
        lines.extend(table);
    }
    lines
}

/// The members as they were, by name.
pub(crate) fn past_members(past: &Past, look: &Look) -> Vec<Line> {
    members(past, past.members.iter(), look)
}

/// Owner and admins as they were, by seniority.
pub(crate) fn past_admins(past: &Past, look: &Look) -> Vec<Line> {
    let mut admins: Vec<&PastMember> = past
        .members
        .iter()
        .filter(|member| member.seniority.is_some())
        .collect();
    admins.sort_by_key(|member| member.seniority);
    members(past, admins.into_iter(), look)
}

fn members<'a>(
    past: &Past,
    members: impl Iterator<Item = &'a PastMember>,
    look: &Look,
) -> Vec<Line> {
    let mut table = Table::new()
        .name("NAME")
        .text("RANK", 1)
        .name("DEVICE")
        .name("ADDRESS")
        .text("TAGS", 2)
        .text("ADMITTED", 0)
        .text("KEY", 3);
    for member in members {
        let admitted = member.admitted.as_ref().map_or_else(
            || "made the network".to_owned(),
            |how| {
                let age = age(how.time_ms, look.now_ms);
                format!("{age} by {} ({})", how.by, how.event.short)
            },
        );
        for device in &member.devices {
            table.row(vec![
                Line::plain(&member.name),
                Line::plain(member.rank.to_string()),
                Line::plain(&device.name),
                Line::plain(&device.address),
                Line::plain(member.tags.join(" ")),
                Line::plain(&admitted),
                Line::quiet(&member.short),
            ]);
        }
    }
    under_headline(past, or_none(table.lines(look.width), "no member"), look)
}

/// What was offered.
pub(crate) fn past_offers(past: &Past, look: &Look) -> Vec<Line> {
    let mut table = Table::new()
        .name("DEVICE")
        .name("OFFER")
        .text("TO", 0)
        .text("ENDS IN", 1)
        .name("EVENT");
    for offer in &past.offers {
        let what = match &offer.name {
            Some(name) => format!("{} {name}", offer.what),
            None => offer.what.clone(),
        };
        let ends = offer.until_ms;
        table.row(vec![
            Line::plain(&offer.device),
            Line::plain(what),
            Line::plain(whom(&offer.to)),
            Line::plain(
                ends.map(|until| remaining(until, past.as_of.time_ms))
                    .unwrap_or_default(),
            ),
            Line::quiet(&offer.event.short),
        ]);
    }
    let lines = or_none(table.lines(look.width), "nothing was offered");
    under_headline(past, lines, look)
}

/// The invites as they were; what is left of their time, too.
pub(crate) fn past_invites(past: &Past, look: &Look) -> Vec<Line> {
    let invites = Invites {
        network: past.network.clone(),
        invites: past.invites.clone(),
    };
    let then = Look {
        now_ms: past.as_of.time_ms,
        ..*look
    };
    under_headline(past, super::invites(&invites, &then), look)
}

fn under_headline(past: &Past, lines: Vec<Line>, look: &Look) -> Vec<Line> {
    std::iter::once(headline(&past.network, &past.as_of, look).cut(look.width))
        .chain(lines)
        .collect()
}

pub(super) fn whom(to: &Audience) -> String {
    match to {
        Audience::All => "all".to_owned(),
        Audience::Names(names) => names.join(", "),
    }
}

fn short(id: &str) -> String {
    id.chars().take(8).collect()
}
