//! Networks and how they are doing.

use mesh_control::reply::{Created, Joined, Left, Networks, Statuses};
use mesh_control::view::{NetworkStatus, NetworkView, PeerReach, PeerView};

use super::outcome::spread;
use super::table::Table;
use super::units::{age, bytes, round_trip};
use super::{Line, Look, Role, counted, listed};
use crate::start::Started;

/// A network was made: what it is, where its servers are, and the recovery words.
pub(crate) fn created(
    created: &Created,
    servers: &[String],
    started: Option<Started>,
) -> Vec<Line> {
    let network = &created.network;
    let service = match started {
        Some(Started::Service) => "; meshd runs at boot",
        Some(Started::Background) => "; meshd started",
        None => "",
    };
    let what = format!("created {} {}; this is ", network.name, network.subnet);
    let mut lines = vec![
        Line::plain(what)
            .and(Role::Me, me(network))
            .and(Role::Plain, format!(", {}{service}", network.rank)),
    ];
    match servers {
        [] => {}
        [one] => lines.push(Line::plain(format!("server {one}"))),
        several => lines.push(Line::plain(format!("servers {}", listed(several)))),
    }
    lines.push(Line::new(Role::Care, "recovery words, shown once:").and(
        Role::Plain,
        format!("  {}", created.recovery_words.reveal()),
    ));
    lines
}

/// A network was joined.
pub(crate) fn joined(joined: &Joined) -> Vec<Line> {
    let (network, events) = (&joined.network, counted(joined.events, "event"));
    vec![
        Line::plain(format!("joined {}: ", network.name))
            .and(Role::Me, me(network))
            .and(
                Role::Plain,
                format!(
                    ", admitted by {} ({}); {events} verified",
                    joined.admitted_by, joined.admitted_by_short
                ),
            ),
    ]
}

/// A network was left.
pub(crate) fn left(left: &Left) -> Vec<Line> {
    vec![Line::plain(format!(
        "left {}; event {}, {}",
        left.network,
        left.event.short,
        spread(&left.spread)
    ))]
}

/// Networks were brought up.
pub(crate) fn up(networks: &Networks) -> Vec<Line> {
    if networks.networks.is_empty() {
        return vec![Line::plain("no network here")];
    }
    let line = |network: &NetworkView| {
        let line = Line::plain(format!("{} ", network.name));
        if !network.member {
            return line.and(Role::Bad, "removed");
        }
        let line = if network.up {
            line.and(Role::Ok, "up")
        } else {
            line.and(Role::Bad, "down")
        };
        let on = network
            .interface
            .as_ref()
            .map(|interface| format!(" on {interface}"))
            .unwrap_or_default();
        line.and(
            Role::Plain,
            format!("{on}: {} {}", me(network), network.address6),
        )
    };
    networks.networks.iter().map(line).collect()
}

/// Networks were taken down.
pub(crate) fn down(networks: &Networks) -> Vec<Line> {
    let names: Vec<String> = networks
        .networks
        .iter()
        .map(|network| network.name.clone())
        .collect();
    vec![Line::plain(if names.is_empty() {
        "no network here".to_owned()
    } else {
        format!("{} down", listed(&names))
    })]
}

/// The networks of this machine.
pub(crate) fn networks(networks: &Networks, look: &Look) -> Vec<Line> {
    let mut table = Table::new()
        .name("  NETWORK")
        .name("ADDRESS")
        .text("HOST", 3)
        .text("RANK", 2)
        .number("ONLINE", 1)
        .number("EVENTS", 4)
        .text("IPV6", 6)
        .text("SUBNET", 5)
        .text("ON", 7)
        .text("ID", 8);
    for network in &networks.networks {
        let mark = if !network.member {
            Line::new(Role::Bad, "✗ ")
        } else if network.up {
            Line::new(Role::Ok, "● ")
        } else {
            Line::new(Role::Quiet, "○ ")
        };
        let rank = if network.member {
            network.rank.to_string()
        } else {
            "removed".to_owned()
        };
        let online = if network.member {
            format!("{} of {}", network.online, network.devices)
        } else {
            String::new()
        };
        table.row(vec![
            mark.and(Role::Plain, &network.name),
            Line::plain(&network.address),
            Line::plain(&network.host),
            Line::plain(rank),
            Line::plain(online),
            Line::plain(network.events.to_string()),
            Line::plain(&network.address6),
            Line::plain(&network.subnet),
            Line::plain(network.interface.as_deref().unwrap_or("down")),
            Line::quiet(&network.short),
        ]);
    }
    or_none(table.lines(look.width), "no network here")
}

/// How networks are doing: for each one line, what needs attention, and its peers.
pub(crate) fn statuses(statuses: &Statuses, look: &Look) -> Vec<Line> {
    let each: Vec<Vec<Line>> = statuses
        .networks
        .iter()
        .map(|one| status(one, look))
        .collect();
    or_none(each.join(&Line::default()), "no network here")
}

fn status(status: &NetworkStatus, look: &Look) -> Vec<Line> {
    let mut lines = vec![headline(status, look.width)];
    lines.extend(status.problems.iter().map(|problem| {
        Line::new(Role::Care, "! ")
            .and(Role::Plain, &problem.text)
            .cut(look.width)
    }));
    if status.network.member {
        lines.extend(super::server::in_status(&status.servers, look));
    }
    let mut table = Table::new()
        .name("  NAME")
        .name("ADDRESS")
        .text("PATH AND WHY", 0)
        .number("RTT", 3)
        .number("IN", 5)
        .number("OUT", 4)
        .text("FOR ME", 2);
    // Who was removed has no peers; that they seem offline says nothing.
    let peers = status.peers.iter().filter(|_| status.network.member);
    for peer in peers {
        table.row(vec![
            mark(peer.reach).and(Role::Plain, &peer.name),
            Line::plain(&peer.address),
            path(peer, look.now_ms),
            Line::plain(peer.rtt_us.map(round_trip).unwrap_or_default()),
            Line::plain(bytes(peer.rx_bytes)),
            Line::plain(bytes(peer.tx_bytes)),
            Line::plain(peer.for_me.join(" ")),
        ]);
    }
    let table = table.lines(look.width);
    if !table.is_empty() {
        lines.push(Line::default());
        lines.extend(table);
    }
    lines
}

/// `home  alice.home 10.73.20.1  owner  1 of 5 online  48 events, same on 0 of 0 peers  dns ✓  fw !`; where the room is
/// short, without what matters least.
fn headline(status: &NetworkStatus, width: Option<usize>) -> Line {
    let network = &status.network;
    let name = Line::new(Role::Head, &network.name);
    if !network.member {
        return name.and(Role::Bad, "  removed").cut(width);
    }
    let same = format!(
        ", same on {} of {}",
        status.peers_same,
        counted(status.peers_compared.into(), "peer")
    );
    let online = if network.up {
        let online = format!("  {} of {} online", network.online, network.devices);
        Line::plain(online)
    } else {
        Line::new(Role::Bad, "  down")
    };
    // Each with its turn to go, the greatest first; 0 stays.
    let mut parts = vec![
        (0, name),
        (
            0,
            Line::new(Role::Me, format!("  {}.{}", network.host, network.name)),
        ),
        (3, Line::new(Role::Me, format!(" {}", network.address))),
        (2, Line::plain(format!("  {}", network.rank))),
        (0, online),
        (
            1,
            Line::plain(format!("  {}", counted(network.events, "event"))),
        ),
        (4, Line::plain(same)),
    ];
    parts.extend(status.checks.iter().map(|check| {
        let (role, mark) = if check.ok {
            (Role::Ok, "✓")
        } else {
            (Role::Care, "!")
        };
        (0, Line::plain(format!("  {} ", check.name)).and(role, mark))
    }));
    for least in (1..=4).rev() {
        let total: usize = parts.iter().map(|(_, part)| part.width()).sum();
        if width.is_none_or(|width| total <= width) {
            break;
        }
        parts.retain(|(turn, _)| *turn < least);
    }
    let mut line = Line::default();
    for (_, part) in parts {
        line.spans.extend(part.spans);
    }
    line.cut(width)
}

fn path(peer: &PeerView, now_ms: u64) -> Line {
    match (peer.reach, peer.last_seen_ms) {
        (PeerReach::Offline, None) => Line::quiet("offline"),
        (PeerReach::Offline, Some(seen)) => match age(seen, now_ms).as_str() {
            "now" => Line::quiet("offline"),
            date if date.contains('-') => Line::quiet(format!("offline since {date}")),
            age => Line::quiet(format!("offline {age}")),
        },
        _ => Line::plain(&peer.path),
    }
}

/// How a device is reached, as a symbol.
pub(super) fn mark(reach: PeerReach) -> Line {
    match reach {
        PeerReach::Direct => Line::new(Role::Ok, "● "),
        PeerReach::Relay => Line::new(Role::Care, "◐ "),
        PeerReach::Offline => Line::new(Role::Quiet, "○ "),
    }
}

/// `lines`, or a sentence when there are none.
pub(super) fn or_none(lines: Vec<Line>, none: &str) -> Vec<Line> {
    if lines.is_empty() {
        vec![Line::plain(none)]
    } else {
        lines
    }
}

/// `alice.home 10.73.20.1`
pub(super) fn me(network: &NetworkView) -> String {
    format!("{}.{} {}", network.host, network.name, network.address)
}
