//! Why somebody may reach a port, from the genesis to the rule.

use mesh_control::history::{Rule, Said, Step, Why, WhyOffer, WhyPath};
use mesh_control::view::{PeerReach, Proto};

use super::history::whom;
use super::units::{ago, remaining, round_trip};
use super::{Line, Look, Role};

/// The explanation, without its remedy.
pub(crate) fn why(why: &Why, look: &Look) -> Vec<Line> {
    let mut lines = vec![headline(why)];
    if !why.lineage.is_empty() {
        let step = |step: &Step| match &step.removed {
            Some(by) => format!("{} {} (removed {})", step.name, step.event.short, by.short),
            None => format!("{} {}", step.name, step.event.short),
        };
        let steps: Vec<String> = why.lineage.iter().map(step).collect();
        lines.push(Line::plain(format!("member  {}", steps.join(", "))));
    }
    let offers = why.offer.iter().chain(&why.offers);
    lines.extend(offers.map(|offer| Line::plain(format!("offer   {}", self::offer(offer, look)))));
    if why.lacks.is_none() || !why.lineage.is_empty() {
        let out = why.out.as_ref().map(|out| rule("out", out, &why.from));
        let into = why.r#in.as_ref().map(|into| rule("in", into, &why.to));
        let rules: Vec<Line> = out.into_iter().chain(into).collect();
        if !rules.is_empty() {
            let mut line = Line::plain("rules   ");
            for (at, rule) in rules.into_iter().enumerate() {
                line = line.and(Role::Plain, if at == 0 { "" } else { ", " });
                line.spans.extend(rule.spans);
            }
            lines.push(line);
        }
    }
    if let Some(path) = &why.path {
        lines.push(Line::plain(format!("path    {}", self::path(path, look))));
    }
    lines
}

fn headline(why: &Why) -> Line {
    let what = if why.port.proto() == Proto::Icmp {
        why.to.clone()
    } else {
        format!("{}:{}", why.to, why.port)
    };
    let what = Line::new(Role::Head, what);
    let offline = |path: &WhyPath| path.reach == PeerReach::Offline;
    match &why.lacks {
        Some(lacks) => what
            .and(Role::Bad, "  refused")
            .and(Role::Plain, format!(": {lacks}")),
        None if why.path.as_ref().is_some_and(offline) => what
            .and(Role::Ok, "  allowed")
            .and(Role::Care, ", and not to be reached now"),
        None => what.and(Role::Ok, "  allowed"),
    }
}

/// `22/tcp ssh to all, by bob (4d19e702)`
fn offer(offer: &WhyOffer, look: &Look) -> String {
    let name = offer.name.as_ref();
    let name = name.map(|name| format!(" {name}")).unwrap_or_default();
    let ends = offer
        .until_ms
        .map(|until| format!(", ends in {}", remaining(until, look.now_ms)));
    format!(
        "{}{name} to {}, by {} ({}){}",
        offer.what,
        whom(&offer.to),
        offer.by,
        offer.event.short,
        ends.unwrap_or_default()
    )
}

/// `out ✓ here`, `in ✗ not-offered says bob`
fn rule(way: &str, rule: &Rule, whose: &str) -> Line {
    let line = Line::plain(format!("{way} "));
    let line = match &rule.reason {
        None => line.and(Role::Ok, "✓"),
        Some(reason) => line.and(Role::Bad, format!("✗ {reason}")),
    };
    let said = match rule.said {
        Said::Here => "here".to_owned(),
        Said::Peer => format!("says {whose}"),
        Said::NoAnswer => format!("by the ledger; {whose} did not answer"),
        Said::Offline => format!("by the ledger; {whose} is not linked to this device"),
        Said::Ledger => "by the ledger".to_owned(),
    };
    line.and(Role::Plain, format!(" {said}"))
}

fn path(path: &WhyPath, look: &Look) -> String {
    match (path.reach, path.last_seen_ms) {
        (PeerReach::Offline, Some(seen)) => {
            format!("offline, heard from {}", ago(seen, look.now_ms))
        }
        (PeerReach::Offline, None) => "offline".to_owned(),
        _ => match path.rtt_us {
            Some(rtt) => format!("{}, {}", path.path, round_trip(rtt)),
            None => path.path.clone(),
        },
    }
}
