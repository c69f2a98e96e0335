//! Names.

use mesh_control::reply::{DnsAnswer, DnsStatuses};
use mesh_control::view::DnsView;

use super::network::or_none;
use super::{Line, Look, Role, listed};

/// How names are answered, network by network.
pub(crate) fn dns_statuses(statuses: &DnsStatuses, look: &Look) -> Vec<Line> {
    let each: Vec<Vec<Line>> = statuses
        .networks
        .iter()
        .map(|one| status(one, look))
        .collect();
    or_none(each.concat(), "no network here")
}

fn status(dns: &DnsView, look: &Look) -> Vec<Line> {
    let name = dns.domain.as_ref().unwrap_or(&dns.network);
    if !dns.up {
        let line = Line::new(Role::Quiet, "○ ").and(Role::Plain, name);
        return vec![line.and(Role::Quiet, "  down")];
    }
    let mark = match (&dns.problem, &dns.through) {
        (None, Some(_)) => Line::new(Role::Ok, "● "),
        _ => Line::new(Role::Care, "! "),
    };
    let line = mark.and(Role::Plain, name);
    let mut lines = vec![if dns.servers.is_empty() {
        line.and(Role::Care, "  answered nowhere")
    } else {
        line.and(
            Role::Plain,
            format!("  answered at {}", listed(&dns.servers)),
        )
    }];
    if let Some(through) = &dns.through {
        lines.push(Line::plain(format!("  asked through {through}")));
        lines.push(Line::plain(format!(
            "  behind short names: {}",
            dns.search.join(" ")
        )));
    }
    lines.extend(
        dns.problem
            .as_ref()
            .map(|text| Line::plain(format!("  {text}"))),
    );
    lines.into_iter().map(|line| line.cut(look.width)).collect()
}

/// What a name means: a line for each address.
pub(crate) fn dns_answer(answer: &DnsAnswer) -> Vec<Line> {
    let line = |address: &String| Line::plain(format!("{}  {address}", answer.name));
    let lines: Vec<Line> = answer.addresses.iter().map(line).collect();
    or_none(lines, &answer.name)
}
