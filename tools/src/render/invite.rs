//! Invites and their tickets.

use mesh_control::reply::{CodeEnded, CodeOutcome, InviteCode, InviteRevoked, Invited, Invites};
use mesh_control::view::{InviteState, InviteView, Reach, ReachScope};
use mesh_ledger::ids::DeviceId;
use mesh_ledger::ticket::{ContactKind, Ticket};
use serde::Serialize;

use super::network::or_none;
use super::outcome::spread;
use super::table::Table;
use super::units::{age, ago, duration, lasting, remaining};
use super::{Line, Look, Role, listed};

/// What stands beside a new ticket: its limits, and how it reaches its network.
pub(crate) fn invited(invited: &Invited, _: &Look) -> Vec<Line> {
    let invite = &invited.invite;
    let uses = if invite.uses == 1 {
        "one use".to_owned()
    } else {
        format!("{} uses", invite.uses)
    };
    let lasts = lasting(invite.made_ms, invite.expires_ms);
    let whom = invite
        .to
        .as_ref()
        .map(|user| format!(", only for {}", short(user)))
        .unwrap_or_default();
    let whom = if invite.countersign {
        format!("{whom}, an admin's device admits")
    } else {
        whom
    };
    let tagged = match &invite.tags[..] {
        [] => String::new(),
        tags => format!(", tagged {}", tags.join(" ")),
    };
    let event = format!("event {}, {}", invite.event.short, spread(&invited.spread));
    let mut lines = vec![Line::plain(format!(
        "{uses}, {lasts}{whom}{tagged}; {event}"
    ))];
    if !invited.reach.is_empty() {
        let line = Line::plain("reach you by");
        lines.push(invited.reach.iter().fold(line, |line, address| {
            reach(line.and(Role::Plain, "  "), address)
        }));
    }
    lines.push(Line::plain(if invited.servers.is_empty() {
        "works while this device or another member can be reached".to_owned()
    } else {
        format!(
            "works while this device is off too, through {}",
            listed(&invited.servers)
        )
    }));
    lines.extend(
        invited
            .limits
            .iter()
            .map(|limit| Line::new(Role::Care, "! ").and(Role::Plain, limit)),
    );
    lines
}

/// A code that invites is shown: how long it lasts, and where it works.
pub(crate) fn invite_code(code: &InviteCode, look: &Look) -> Vec<Line> {
    let left = code.expires_ms.saturating_sub(look.now_ms);
    let left = std::time::Duration::from_secs(left.div_ceil(1_000));
    let mut lines = vec![Line::plain(format!(
        "a code for {}, for one machine within {}; it needs this machine, which hands the ticket over",
        code.network,
        duration(left)
    ))];
    if let Some(address) = code.addresses.first() {
        lines.push(Line::quiet(format!(
            "from another LAN: the code, @ and an address of this machine that is reached from there, as @{address}"
        )));
    }
    lines
}

/// What came of a code.
pub(crate) fn code_ended(ended: &CodeEnded) -> Vec<Line> {
    vec![match &ended.outcome {
        CodeOutcome::Joined { name, short, .. } => {
            Line::new(Role::Ok, format!("{name}.{}", ended.network))
                .and(Role::Plain, format!(" ({short}) joined by the code"))
        }
        CodeOutcome::Burnt { wrong, stopped } => {
            let stopped = if *stopped {
                "the codes of this invite have stopped"
            } else {
                "that burnt the code"
            };
            let times = match wrong {
                1 => "once".to_owned(),
                wrong => format!("{wrong} times"),
            };
            Line::new(Role::Care, "! ").and(
                Role::Plain,
                format!("somebody typed wrong words, {times} for this invite: {stopped}"),
            )
        }
        CodeOutcome::Expired { taken } => Line::plain(if *taken {
            "a machine took the ticket, and has not joined yet"
        } else {
            "nobody used the code in time"
        }),
    }]
}

/// What a ticket says to whoever reads it; of what makes it a key, nothing.
#[derive(Debug, Serialize)]
pub(crate) struct Inspected {
    network: String,
    expires_ms: u64,
    /// Whether only an admin's device admits by it.
    countersign: bool,
    contacts: Vec<InspectedContact>,
}

/// Whom a ticket's holder asks.
#[derive(Debug, Serialize)]
struct InspectedContact {
    /// `device` or `server`.
    kind: &'static str,
    key: String,
    address: Option<String>,
}

impl Inspected {
    pub(crate) fn of(ticket: &Ticket) -> Self {
        let contacts = ticket.contacts().iter().map(|contact| InspectedContact {
            kind: match contact.kind {
                ContactKind::Device => "device",
                ContactKind::Server => "server",
            },
            key: DeviceId(contact.key).to_string(),
            address: contact.address.map(|address| address.to_string()),
        });
        Self {
            network: ticket.network().to_string(),
            expires_ms: ticket.expires(),
            countersign: ticket.countersign(),
            contacts: contacts.collect(),
        }
    }
}

/// What a ticket says. Whether its invite was revoked or used up, only members know.
pub(crate) fn ticket(ticket: &Inspected, look: &Look) -> Vec<Line> {
    let mut lines = vec![Line::plain(format!("network  {}", ticket.network))];
    let ends = Line::plain("ends     ");
    lines.push(if ticket.expires_ms > look.now_ms {
        let left = remaining(ticket.expires_ms, look.now_ms);
        ends.and(Role::Plain, format!("in {left}"))
    } else {
        ends.and(
            Role::Bad,
            format!("expired {}", ago(ticket.expires_ms, look.now_ms)),
        )
    });
    lines.push(Line::plain(if ticket.countersign {
        "admits   an admin's device, which must be online"
    } else {
        "admits   any member's device"
    }));
    for contact in &ticket.contacts {
        let at = contact.address.as_deref().unwrap_or("no address");
        let (kind, key) = (contact.kind, short(&contact.key));
        lines.push(Line::plain(format!("asks     {kind} {key}  {at}")));
    }
    lines
}

/// The invites of a network.
pub(crate) fn invites(invites: &Invites, look: &Look) -> Vec<Line> {
    let mut table = Table::new()
        .name("INVITE")
        .text("STATE", 0)
        .number("USED", 1)
        .number("ENDS IN", 2)
        .number("AGE", 3)
        .text("BY", 4)
        .text("FOR", 5)
        .text("NOTE", 6);
    for invite in &invites.invites {
        table.row(vec![
            Line::plain(&invite.event.short),
            state(invite),
            Line::plain(format!("{}/{}", invite.used, invite.uses)),
            Line::plain(if invite.state == InviteState::Open {
                remaining(invite.expires_ms, look.now_ms)
            } else {
                String::new()
            }),
            Line::plain(age(invite.made_ms, look.now_ms)),
            Line::plain(&invite.by),
            Line::plain(invite.to.as_ref().map_or("anybody", |user| short(user))),
            Line::plain(invite.note.as_deref().unwrap_or_default()),
        ]);
    }
    or_none(table.lines(look.width), "no invite")
}

/// An invite was closed.
pub(crate) fn invite_revoked(revoked: &InviteRevoked) -> Vec<Line> {
    let (invite, event) = (&revoked.invite.short, &revoked.event.short);
    vec![Line::plain(format!(
        "revoked invite {invite}; event {event}, {}",
        spread(&revoked.spread)
    ))]
}

fn state(invite: &InviteView) -> Line {
    let role = if invite.state == InviteState::Open {
        Role::Ok
    } else {
        Role::Quiet
    };
    Line::new(role, invite.state.to_string())
}

fn reach(line: Line, reach: &Reach) -> Line {
    let scope = match reach.scope {
        ReachScope::Lan => " LAN",
        ReachScope::Public => "",
        ReachScope::Relay => " relay",
    };
    let line = line.and(Role::Plain, format!("{}{scope} ", reach.address));
    if reach.confirmed {
        line.and(Role::Ok, "✓")
    } else {
        line.and(Role::Quiet, "not confirmed")
    }
}

fn short(key: &str) -> &str {
    key.get(..8).unwrap_or(key)
}
