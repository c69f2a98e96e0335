//! Members, admins, and this machine's own keys.

use mesh_control::reply::{Identity, Member, Members, Rotated};
use mesh_control::view::{MemberDevice, MemberView, UserKeyPlace};

use super::network::or_none;
use super::outcome::spread;
use super::table::Table;
use super::units::{age, ago};
use super::{Line, Look, Role};

/// Members, one line for each device.
pub(crate) fn members(members: &Members, look: &Look) -> Vec<Line> {
    let mut table = Table::new()
        .name("  MEMBER")
        .text("RANK", 0)
        .text("DEVICE", 2)
        .name("ADDRESS")
        .number("SEEN", 3)
        .text("ADMITTED", 4)
        .text("IPV6", 6)
        .text("USER", 5);
    let tagged = members.members.iter().any(|member| !member.tags.is_empty());
    if tagged {
        table = table.text("TAGS", 3);
    }
    for member in &members.members {
        for device in &member.devices {
            let mut row = vec![
                mark(device).and(if member.me { Role::Me } else { Role::Plain }, &member.name),
                Line::plain(member.rank.to_string()),
                Line::plain(&device.name),
                Line::plain(&device.address),
                Line::plain(seen(device, look.now_ms)),
                Line::plain(admitted(member, look.now_ms)),
                Line::plain(&device.address6),
                Line::quiet(&member.short),
            ];
            if tagged {
                row.push(Line::plain(member.tags.join(" ")));
            }
            table.row(row);
        }
    }
    or_none(table.lines(look.width), "no member")
}

/// All about one member.
pub(crate) fn member(member: &Member, look: &Look) -> Vec<Line> {
    let (network, member) = (&member.network, &member.member);
    let name = Line::new(Role::Head, &member.name)
        .and(Role::Plain, format!("  {} of {network}", member.rank));
    let mut lines = vec![if member.me {
        name.and(Role::Me, "  this machine's user")
    } else {
        name
    }];
    lines.push(Line::plain(format!("user      {}", member.user)));
    if let Some(how) = &member.admitted {
        let invite = how
            .invite
            .as_ref()
            .map(|invite| format!(", invite {}", invite.short))
            .unwrap_or_default();
        let when = ago(how.time_ms, look.now_ms);
        lines.push(Line::plain(format!(
            "admitted  {when} by {} ({}){invite}",
            how.by, how.event.short
        )));
    }
    if !member.tags.is_empty() {
        lines.push(Line::plain(format!("tags      {}", member.tags.join(" "))));
    }
    for device in &member.devices {
        let what = format!(
            "{}.{network}  {} {}  seen {}",
            device.name,
            device.address,
            device.address6,
            seen(device, look.now_ms)
        );
        lines.push(
            Line::plain("device    ")
                .and(mark_role(device), mark_symbol(device))
                .and(Role::Plain, what),
        );
        lines.push(Line::plain(format!("          {}", device.device)));
    }
    lines
}

/// A WireGuard key was changed.
pub(crate) fn rotated(rotated: &Rotated) -> Vec<Line> {
    vec![Line::plain(format!(
        "{}: new key {}; event {}, {}",
        rotated.network,
        rotated.wireguard,
        rotated.event.short,
        spread(&rotated.spread)
    ))]
}

/// The user key was put under a passphrase, or out from under it.
pub(crate) fn protected(identity: &Identity) -> Vec<Line> {
    vec![key(identity.user_key)]
}

fn key(place: UserKeyPlace) -> Line {
    let line = Line::plain("the user key is ");
    match place {
        UserKeyPlace::Here => line
            .and(Role::Care, "here without a passphrase")
            .and(Role::Plain, ": mesh id protect"),
        UserKeyPlace::Protected => line.and(Role::Ok, "here, under a passphrase"),
        UserKeyPlace::Elsewhere => line.and(Role::Plain, "on another device of yours"),
    }
}

/// The keys of this machine.
pub(crate) fn identity(identity: &Identity, look: &Look) -> Vec<Line> {
    let mut lines = vec![
        Line::plain(format!("user    {}", identity.user)),
        Line::plain(format!("device  {}", identity.device)),
        key(identity.user_key),
    ];
    let mut table = Table::new()
        .name("NAME")
        .name("ADDRESS")
        .text("IPV6", 1)
        .name("WIREGUARD KEY");
    for network in &identity.networks {
        table.row(vec![
            Line::new(Role::Me, format!("{}.{}", network.host, network.network)),
            Line::plain(&network.address),
            Line::plain(&network.address6),
            Line::plain(&network.wireguard),
        ]);
    }
    let table = table.lines(look.width);
    if !table.is_empty() {
        lines.push(Line::default());
        lines.extend(table);
    }
    lines
}

fn admitted(member: &MemberView, now_ms: u64) -> String {
    let how = |how: &mesh_control::view::Admitted| {
        format!(
            "{} by {} ({})",
            age(how.time_ms, now_ms),
            how.by,
            how.event.short
        )
    };
    member
        .admitted
        .as_ref()
        .map_or_else(|| "made the network".to_owned(), how)
}

pub(super) fn seen(device: &MemberDevice, now_ms: u64) -> String {
    match device.last_seen_ms {
        _ if device.online => "now".to_owned(),
        Some(seen) => age(seen, now_ms),
        None => "never".to_owned(),
    }
}

pub(super) fn mark(device: &MemberDevice) -> Line {
    Line::new(mark_role(device), mark_symbol(device))
}

const fn mark_role(device: &MemberDevice) -> Role {
    if device.online { Role::Ok } else { Role::Quiet }
}

const fn mark_symbol(device: &MemberDevice) -> &'static str {
    if device.online { "● " } else { "○ " }
}
