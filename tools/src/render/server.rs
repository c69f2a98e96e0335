//! Servers: how this device stands with each, and what each is proven to have lied about.

use mesh_control::reply::{ServerChanged, Servers};
use mesh_control::view::{AccusationView, RelayUse, ServerState, ServerView, TipView};

use super::network::or_none;
use super::outcome::spread;
use super::table::Table;
use super::units::{age, ago, round_trip};
use super::{Line, Look, Role, counted};

/// The servers of a network, one line for each.
pub(crate) fn servers(servers: &Servers, look: &Look) -> Vec<Line> {
    let mut table = Table::new()
        .name("  SERVER")
        .text("STATE", 0)
        .number("RTT", 3)
        .number("HOLDS", 1)
        .text("RELAY", 2)
        .number("SINCE", 4)
        .text("KEY", 5);
    for server in &servers.servers {
        let (word, why) = state(server);
        let why = why.map(|why| format!(": {why}")).unwrap_or_default();
        table.row(vec![
            mark(server).and(Role::Plain, &server.address),
            word.and(Role::Plain, why),
            Line::plain(server.rtt_us.map(round_trip).unwrap_or_default()),
            Line::plain(holds(server).unwrap_or_default()),
            Line::plain(match server.relay {
                RelayUse::None => "",
                RelayUse::Ready => "ready",
                RelayUse::Home => "home",
            }),
            Line::plain(match server.since_ms {
                0 => String::new(),
                since => age(since, look.now_ms),
            }),
            Line::quiet(&server.short),
        ]);
    }
    or_none(table.lines(look.width), "no server")
}

/// All about the servers of a network.
pub(crate) fn servers_in_full(servers: &Servers, look: &Look) -> Vec<Line> {
    let each: Vec<Vec<Line>> = servers
        .servers
        .iter()
        .map(|server| in_full(server, look))
        .collect();
    or_none(each.join(&Line::default()), "no server")
}

fn in_full(server: &ServerView, look: &Look) -> Vec<Line> {
    let (word, why) = state(server);
    let stands = match age(server.since_ms, look.now_ms).as_str() {
        _ if server.since_ms == 0 => String::new(),
        "now" => String::new(),
        date if date.contains('-') => format!(" since {date}"),
        age => format!(" for {age}"),
    };
    let rtt = server.rtt_us.map(|rtt| format!("  {}", round_trip(rtt)));
    let mut head = mark(server)
        .and(Role::Head, &server.address)
        .and(Role::Plain, "  ");
    head.spans.extend(word.spans);
    let head = head
        .and(Role::Plain, stands)
        .and(Role::Plain, rtt.unwrap_or_default())
        .cut(look.width);
    let events = match holds(server) {
        Some(holds) if server.lacking == 0 => format!("holds {holds} events"),
        Some(holds) => format!(
            "holds {holds} events; {} did not get there yet",
            server.lacking
        ),
        None => "not known yet what it holds".to_owned(),
    };
    let relay = match server.relay {
        RelayUse::None => "none that is known",
        RelayUse::Ready => "ready",
        RelayUse::Home => "ready; it is where others reach this device",
    };
    let mut lines = vec![head];
    if let Some(why) = why {
        lines.push(Line::plain(format!("  why     {why}")));
    }
    lines.extend([
        Line::plain(format!("  key     {}", server.key)),
        Line::plain(format!("  events  {events}")),
        Line::plain(format!("  relay   {relay}")),
    ]);
    for accusation in &server.accusations {
        lines.extend(proof(server, accusation, look));
    }
    lines
}

/// The servers as a status shows them: one line for each, and the proof where one lied.
pub(super) fn in_status(servers: &[ServerView], look: &Look) -> Vec<Line> {
    let mut lines = Vec::new();
    let widest = servers
        .iter()
        .map(|server| Line::plain(&server.address).width())
        .max()
        .unwrap_or(0);
    for (at, server) in servers.iter().enumerate() {
        let mut line = Line::plain(if at == 0 { "servers  " } else { "         " });
        line.spans
            .extend(mark(server).and(Role::Plain, &server.address).spans);
        let pad = 2 + widest - Line::plain(&server.address).width();
        let rest = in_short(server, look.now_ms);
        let line = line.and(Role::Plain, format!("{:pad$}{rest}", ""));
        lines.push(line.cut(look.width));
    }
    for server in servers {
        for accusation in &server.accusations {
            lines.extend(proof(server, accusation, look));
        }
    }
    lines
}

fn in_short(server: &ServerView, now_ms: u64) -> String {
    match &server.state {
        ServerState::Connected => {
            let home = (server.relay == RelayUse::Home).then(|| "relay".to_owned());
            let parts = [server.rtt_us.map(round_trip), holds(server), home];
            parts.into_iter().flatten().collect::<Vec<_>>().join("  ")
        }
        ServerState::Connecting => "connecting".to_owned(),
        ServerState::Unreachable { why } => match age(server.since_ms, now_ms).as_str() {
            _ if server.since_ms == 0 => format!("unreachable: {why}"),
            "now" => format!("unreachable: {why}"),
            date if date.contains('-') => format!("unreachable since {date}: {why}"),
            age => format!("unreachable {age}: {why}"),
        },
        ServerState::Refused { why } => format!("refuses: {why}"),
    }
}

/// Whether nothing about a server needs the reader.
pub(crate) fn server_is_well(server: &ServerView) -> bool {
    let serves = matches!(
        server.state,
        ServerState::Connected | ServerState::Connecting
    );
    serves && server.accusations.is_empty()
}

/// A server was listed.
pub(crate) fn server_added(changed: &ServerChanged) -> Vec<Line> {
    server_changed(changed, "now")
}

/// A server was taken off the list.
pub(crate) fn server_removed(changed: &ServerChanged) -> Vec<Line> {
    server_changed(changed, "no more")
}

fn server_changed(changed: &ServerChanged, since: &str) -> Vec<Line> {
    let (server, event) = (&changed.server, &changed.event);
    vec![Line::plain(format!(
        "{} has server {} ({}) {since}; event {}, {}",
        changed.network,
        server.address,
        server.short,
        event.short,
        spread(&changed.spread)
    ))]
}

/// What a server did, and what it signed.
fn proof(server: &ServerView, accusation: &AccusationView, look: &Look) -> Vec<Line> {
    let what = format!("server {} lied: {}", server.address, accusation.what);
    let line = Line::new(Role::Bad, "! ").and(Role::Plain, what);
    let tips = accusation.tips.iter().map(|tip| said(tip, look));
    std::iter::once(line)
        .chain(tips)
        .map(|line| line.cut(look.width))
        .collect()
}

/// `    told bob 1 min ago, signed: 47 events with hash 9c11d0aa`
fn said(tip: &TipView, look: &Look) -> Line {
    let whom = tip.heard_from.as_deref().unwrap_or("this device");
    let hash = tip.chain.get(..8).unwrap_or(&tip.chain);
    Line::plain(format!(
        "    told {whom} {}, signed: {} with hash {hash}",
        ago(tip.time_ms, look.now_ms),
        counted(tip.events, "event"),
    ))
}

/// `45 of 48`: of all events that are there or here, those that are there.
fn holds(server: &ServerView) -> Option<String> {
    let events = server.events?;
    Some(format!(
        "{events} of {}",
        events.saturating_add(server.lacking)
    ))
}

fn mark(server: &ServerView) -> Line {
    match server.state {
        _ if !server.accusations.is_empty() => Line::new(Role::Bad, "! "),
        ServerState::Connected => Line::new(Role::Ok, "● "),
        ServerState::Connecting => Line::new(Role::Quiet, "○ "),
        ServerState::Unreachable { .. } | ServerState::Refused { .. } => {
            Line::new(Role::Care, "! ")
        }
    }
}

/// How this device stands with a server, in a word, and the reason if there is one.
fn state(server: &ServerView) -> (Line, Option<&str>) {
    let (word, why) = match &server.state {
        ServerState::Connected => (Line::new(Role::Ok, "connected"), None),
        ServerState::Connecting => (Line::quiet("connecting"), None),
        ServerState::Unreachable { why } => {
            (Line::new(Role::Care, "unreachable"), Some(why.as_str()))
        }
        ServerState::Refused { why } => (Line::new(Role::Care, "refuses"), Some(why.as_str())),
    };
    if server.accusations.is_empty() {
        return (word, why);
    }
    let mut lied = Line::new(Role::Bad, "lied").and(Role::Plain, ", ");
    lied.spans.extend(word.spans);
    (lied, why)
}
