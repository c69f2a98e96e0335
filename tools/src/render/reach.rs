//! Ways to peers, and how they reach this machine.

use mesh_control::reply::{NetChecked, PathTold};
use mesh_control::view::{NatView, WayState};

use super::table::Table;
use super::units::round_trip;
use super::{Line, Look, Role};
use crate::doctor::Diagnosis;

/// Every way to a device.
pub(crate) fn path(told: &PathTold, look: &Look) -> Vec<Line> {
    let head = Line::new(Role::Head, &told.name)
        .and(Role::Plain, format!(" {}  {}", told.address, told.path));
    let mut lines = vec![
        head.cut(look.width),
        Line::plain(format!("  {}", told.why)).cut(look.width),
    ];
    let mut table = Table::new()
        .name("  WAY")
        .text("KNOWN BY", 2)
        .number("RTT", 1)
        .number("LONGEST", 3)
        .text("STATE", 0);
    for way in &told.ways {
        let mark = match way.state {
            WayState::InUse => Line::new(Role::Ok, "● "),
            WayState::Works => Line::new(Role::Ok, "○ "),
            WayState::Silent | WayState::Untried => Line::new(Role::Quiet, "· "),
        };
        table.row(vec![
            mark.and(Role::Plain, &way.to),
            Line::plain(&way.kind),
            Line::plain(way.rtt_us.map(round_trip).unwrap_or_default()),
            Line::plain(
                way.max_datagram
                    .map(|bytes| format!("{bytes} B"))
                    .unwrap_or_default(),
            ),
            Line::plain(way.state.word()),
        ]);
    }
    lines.extend(table.lines(look.width));
    lines
}

/// How this machine is reached.
pub(crate) fn netcheck(told: &NetChecked, look: &Look) -> Vec<Line> {
    let answered = told
        .echoes
        .iter()
        .filter(|echo| echo.rtt_us.is_some())
        .count();
    let (udp_mark, udp) = match (told.echoes.len(), answered) {
        (0, _) => (Role::Quiet, "not known: no server to ask".to_owned()),
        (_, 0) => (
            Role::Care,
            "no server answers: UDP is blocked, or the servers' echo ports are".to_owned(),
        ),
        (all, answered) => (
            Role::Ok,
            format!("works; {answered} of {all} servers answer"),
        ),
    };
    let (nat_mark, nat) = match told.nat {
        NatView::Unknown => (
            Role::Quiet,
            "not known: nobody outside has told how this machine is seen",
        ),
        NatView::None => (Role::Ok, "none: this machine is seen at its own address"),
        NatView::OneWitness => (
            Role::Ok,
            "there is one; how it chooses ports is not known from one witness",
        ),
        NatView::Same => (
            Role::Ok,
            "keeps one port for everybody: most peers are reached straight",
        ),
        NatView::Changing => (
            Role::Care,
            "gives each peer another port: peers behind such a router are reached through a relay",
        ),
    };
    let ipv6 = if told.ipv6 {
        (Role::Ok, "yes")
    } else {
        (Role::Quiet, "no address that others can use")
    };
    let mapped = match &told.mapped {
        Some(address) => (Role::Ok, address.as_str()),
        None => (
            Role::Quiet,
            "nothing: no router that lets peers in when asked",
        ),
    };
    let ports: Vec<String> = told.ports.iter().map(ToString::to_string).collect();
    let row = |name: &str, mark: Role, text: &str| {
        Line::plain(format!("{name:<9}"))
            .and(mark, text)
            .cut(look.width)
    };
    let mut lines = vec![
        row("udp", udp_mark, &udp),
        row("router", nat_mark, nat),
        row("ipv6", ipv6.0, ipv6.1),
        row("mapped", mapped.0, mapped.1),
        row("ports", Role::Plain, &ports.join(", ")),
    ];
    let heads = std::iter::once("seen at").chain(std::iter::repeat(""));
    lines.extend(
        heads
            .zip(&told.candidates)
            .map(|(head, address)| row(head, Role::Plain, address)),
    );
    let heads = std::iter::once("servers").chain(std::iter::repeat(""));
    lines.extend(heads.zip(&told.echoes).map(|(head, echo)| {
        let rtt = echo
            .rtt_us
            .map_or("no answer over UDP".to_owned(), round_trip);
        row(head, Role::Plain, &format!("{}  {rtt}", echo.server))
    }));
    lines
}

/// What a doctor found. Nothing of it is cut off: it says what to do.
pub(crate) fn diagnosis(diagnosis: &Diagnosis, _: &Look) -> Vec<Line> {
    let widest = diagnosis
        .findings
        .iter()
        .map(|finding| finding.about.len())
        .max();
    let width = widest.unwrap_or(0);
    let lines = diagnosis.findings.iter().flat_map(|finding| {
        let mark = match finding.ok {
            true => Line::new(Role::Ok, "✓ "),
            false => Line::new(Role::Care, "! "),
        };
        let about = format!("{:width$}  ", finding.about);
        let line = mark.and(Role::Plain, about).and(Role::Plain, &finding.text);
        let hint = finding
            .hint
            .as_ref()
            .map(|hint| Line::plain(format!("  {:width$}  → {hint}", "")));
        std::iter::once(line).chain(hint)
    });
    lines.collect()
}
