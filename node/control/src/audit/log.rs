//! The log: what each event does, in words.

use std::collections::BTreeMap;

use crate::call::{LogFilters, Since};
use crate::view::{LogEntry, Verdict as VerdictView};
use mesh_ledger::event::act::{InviteKind, Target};
use mesh_ledger::event::attributes::{
    Attributes, Audience, NarrowOffer, Offer, Opened, Protocol, Service, Write,
};
use mesh_ledger::event::{Act, Event};
use mesh_ledger::fold::Fold;
use mesh_ledger::graph::{Graph, Idx};
use mesh_ledger::ids::{DeviceId, EventId, UserId};
use mesh_ledger::state::{StandingNarrow, State};
use mesh_ledger::verdict::Verdict;

use super::event_ref;
use super::names::{Names, is_prefix};

/// The events in the network's order that pass the filters.
pub fn entries(
    graph: &Graph,
    opened: &[Opened],
    fold: &Fold,
    filters: &LogFilters,
) -> Vec<LogEntry> {
    let names = Names::of(graph, opened, fold);
    let mut scribe = Scribe {
        offered: BTreeMap::new(),
        graph,
        opened,
        names: &names,
        state: &fold.state,
    };
    let since: Option<Vec<Idx>> = match &filters.since {
        Some(Since::Event(text)) => Some(
            graph
                .indices()
                .filter(|i| is_prefix(text, &graph.event(*i).id().to_string()))
                .collect(),
        ),
        _ => None,
    };
    let mut entries = Vec::new();
    for (position, idx) in fold.order.iter().enumerate() {
        let event = graph.event(*idx);
        let late_enough = match (&filters.since, &since) {
            (Some(Since::TimeMs(time)), _) => event.header().time >= *time,
            (_, Some(events)) => events.iter().any(|e| graph.precedes(*e, *idx)),
            _ => true,
        };
        if late_enough && passes(&scribe, event, filters) {
            entries.push(scribe.entry(*idx, position, fold));
        }
        scribe.remember(event);
    }
    entries
}

fn passes(scribe: &Scribe<'_>, event: &Event, filters: &LogFilters) -> bool {
    let by = filters
        .by
        .as_deref()
        .is_none_or(|text| scribe.is_by(event, text));
    let about = filters
        .about
        .as_deref()
        .is_none_or(|text| scribe.is_about(event, text));
    by && about
        && filters
            .r#type
            .as_deref()
            .is_none_or(|kind| kind == event.act().kind())
}

struct Scribe<'a> {
    /// What each device offered in each slot by the place in the order that is being told.
    offered: BTreeMap<(DeviceId, u32), String>,
    graph: &'a Graph,
    opened: &'a [Opened],
    names: &'a Names,
    state: &'a State,
}

impl Scribe<'_> {
    fn entry(&self, idx: Idx, position: usize, fold: &Fold) -> LogEntry {
        let event = self.graph.event(idx);
        let header = event.header();
        let user = self.names.user_of(&header.author);
        LogEntry {
            event: event_ref(&event.id()),
            position: position as u64,
            device: header.author.to_string(),
            user: user.map(|user| user.to_string()).unwrap_or_default(),
            by: self.names.device(&header.author),
            kind: event.act().kind().to_owned(),
            lamport: u64::from(header.lamport),
            seq: u64::from(header.seq),
            time_ms: header.time,
            verdict: match fold.verdicts.get(idx.0 as usize) {
                Some(Verdict::Void(reason)) => VerdictView::Void {
                    reason: reason.to_string(),
                },
                Some(Verdict::Counted) => VerdictView::Counted,
                _ => VerdictView::Pending,
            },
            text: self.text(
                event,
                self.opened.get(idx.0 as usize).unwrap_or(&Opened::Pending),
            ),
            parents: header.parents.iter().map(EventId::to_string).collect(),
        }
    }

    /// Notes what an event offers, for the one that withdraws it.
    fn remember(&mut self, event: &Event) {
        for write in self.writes(event) {
            let (place, what) = match write {
                Write::Offer {
                    device,
                    slot,
                    offer: Some(offer),
                } => ((device, slot), Some(service(&offer.what))),
                Write::Narrow { device, slot, .. } => ((device, slot), None),
                _ => continue,
            };
            if place.0 != event.author() {
                continue;
            }
            match what {
                Some(what) => self.offered.insert(place, what),
                // What it was is not known any more once it does not stand.
                None => self.offered.remove(&place),
            };
        }
    }

    fn is_by(&self, event: &Event, text: &str) -> bool {
        let user = self.names.user_of(&event.author());
        self.names
            .find(text)
            .into_iter()
            .any(|(who, device)| match device {
                Some(device) => device == event.author(),
                None => user == Some(who),
            })
    }

    fn is_about(&self, event: &Event, text: &str) -> bool {
        if is_prefix(text, &event.id().to_string()) {
            return true;
        }
        let found = self.names.find(text);
        let user = |user: &UserId| {
            found
                .iter()
                .any(|(who, device)| who == user && device.is_none())
        };
        let device = |id: &DeviceId| found.iter().any(|(_, device)| device.as_ref() == Some(id));
        let other = |id: &EventId| is_prefix(text, &id.to_string());
        let act = match event.act() {
            Act::Genesis(act) => user(&act.owner) || device(&act.device),
            Act::Invite(act) => matches!(&act.kind, InviteKind::Direct(to) if user(to)),
            Act::InviteClose(act) => other(&act.invite),
            Act::Admit(act) => {
                user(&act.user)
                    || device(&act.device)
                    || act.redemption.as_ref().is_some_and(|r| other(&r.invite))
            }
            Act::DeviceAdd(act) => user(&act.user) || device(&act.device),
            Act::Grant(act) => user(&act.user),
            Act::Remove(act) => match &act.target {
                Target::User(target) => user(target),
                Target::Device(target) => device(target),
                Target::Term {
                    user: target,
                    grant,
                } => user(target) || other(grant),
            },
            Act::OwnerSet(act) => user(&act.successor),
            _ => false,
        };
        act || self.writes(event).iter().any(|write| match write {
            Write::Host { device: d, .. }
            | Write::Address { device: d, .. }
            | Write::WireGuard { device: d, .. } => device(d),
            Write::Offer { device: d, .. }
            | Write::Narrow { device: d, .. }
            | Write::Approval { device: d, .. } => device(d),
            Write::Name { user: u, .. } | Write::Tag { user: u, .. } => user(u),
            Write::Setting { .. } | Write::Servers(_) => false,
        })
    }

    fn writes(&self, event: &Event) -> Vec<Write> {
        let idx = self.graph.find(&event.id());
        match idx.and_then(|idx| self.opened.get(idx.0 as usize)) {
            Some(Opened::Open(Attributes::Writes(writes))) => writes.clone(),
            _ => Vec::new(),
        }
    }

    fn text(&self, event: &Event, opened: &Opened) -> String {
        let attributes = match opened {
            Opened::Open(attributes) => Some(attributes),
            _ => None,
        };
        match event.act() {
            Act::Genesis(act) => match attributes {
                Some(Attributes::Founding(a)) => {
                    format!("founds {} {} as {}", a.name, a.subnet, a.joining.host)
                }
                _ => format!("founds the network as user {}", act.owner.short()),
            },
            Act::Invite(act) => {
                let whom = match &act.kind {
                    InviteKind::Bearer => "whoever holds the ticket".to_owned(),
                    InviteKind::Direct(user) => self.names.user(user),
                    InviteKind::Open => "whoever asks".to_owned(),
                };
                let uses = if act.max_uses == 1 {
                    "once".to_owned()
                } else {
                    format!("{} times", act.max_uses)
                };
                let note = match attributes {
                    Some(Attributes::Invitation(a)) => a
                        .note
                        .as_ref()
                        .map(|note| format!(": {note}"))
                        .unwrap_or_default(),
                    _ => String::new(),
                };
                format!("invites {whom}, {uses}{note}")
            }
            Act::InviteClose(act) => format!("closes invite {}", act.invite.short()),
            Act::Admit(act) => {
                let invite = act
                    .redemption
                    .as_ref()
                    .map(|r| format!(" by invite {}", r.invite.short()))
                    .unwrap_or_default();
                format!("admits {}{invite}", self.names.device(&act.device))
            }
            Act::DeviceAdd(act) => format!(
                "adds device {} of {}",
                self.names.device(&act.device),
                self.names.user(&act.user)
            ),
            Act::Grant(act) => format!("makes {} an admin", self.names.user(&act.user)),
            Act::Remove(act) => {
                let reason = match attributes {
                    Some(Attributes::Reason(reason)) => format!(": {}", reason.reason),
                    _ => String::new(),
                };
                let what = match &act.target {
                    Target::User(user) if self.names.user_of(&event.author()) == Some(*user) => {
                        "leaves".to_owned()
                    }
                    Target::User(user) => format!("kicks {}", self.names.user(user)),
                    Target::Device(device) => {
                        format!("removes device {}", self.names.device(device))
                    }
                    Target::Term { user, grant } => {
                        format!(
                            "ends {}'s term as admin, granted in {}",
                            self.names.user(user),
                            grant.short()
                        )
                    }
                };
                format!("{what}{reason}")
            }
            Act::OwnerSet(act) => format!("makes {} the owner", self.names.user(&act.successor)),
            Act::Private => match attributes {
                Some(Attributes::Writes(writes)) => writes
                    .iter()
                    .map(|write| self.write(write))
                    .collect::<Vec<_>>()
                    .join(", "),
                _ => match opened {
                    Opened::Broken => "writes what cannot be read".to_owned(),
                    _ => "writes something sealed under a key that is not here yet".to_owned(),
                },
            },
            Act::EpochRotate(act) => format!("begins epoch {}", act.epoch.short()),
            Act::EpochKeys(act) => format!(
                "hands the key of epoch {} to {} devices",
                act.epoch.short(),
                act.boxes.len()
            ),
            Act::Checkpoint(act) => format!("seals the order of {} events", act.count),
            Act::Merge => "joins heads".to_owned(),
        }
    }

    fn write(&self, write: &Write) -> String {
        match write {
            Write::Host { device, host } => {
                format!("calls device {} {host}", self.names.device(device))
            }
            Write::Address { device, address } => {
                format!("gives {} the address {address}", self.names.device(device))
            }
            Write::WireGuard { device, .. } => {
                format!("sets the WireGuard key of {}", self.names.device(device))
            }
            Write::Name { user, name } => format!("calls {} {name}", self.names.user(user)),
            Write::Tag {
                user,
                tag,
                set: true,
            } => format!("tags {} {tag}", self.names.user(user)),
            Write::Tag {
                user,
                tag,
                set: false,
            } => format!("takes tag {tag} from {}", self.names.user(user)),
            Write::Setting {
                key,
                value: Some(value),
            } => format!("sets {key} to {value}"),
            Write::Setting { key, value: None } => format!("sets {key} to its default"),
            Write::Servers(servers) if servers.is_empty() => "lists no server".to_owned(),
            Write::Servers(servers) => {
                // What stands behind the place is a permit.
                let places = servers.iter().map(|server| {
                    server
                        .address
                        .as_str()
                        .split('/')
                        .next()
                        .unwrap_or_default()
                });
                let list: Vec<&str> = places.collect();
                format!("lists the servers {}", list.join(" "))
            }
            Write::Approval {
                device, approved, ..
            } => {
                let verb = if *approved { "approves" } else { "refuses" };
                format!("{verb} a route of {}", self.names.device(device))
            }
            Write::Offer {
                device,
                offer: Some(offer),
                ..
            } => {
                format!("offers {}{}", self.offer(offer), self.of(device))
            }
            Write::Offer {
                device,
                slot,
                offer: None,
            } => match self.offered.get(&(*device, *slot)) {
                Some(what) => format!("withdraws {what}{}", self.of(device)),
                None => format!("withdraws an offer{}", self.of(device)),
            },
            Write::Narrow {
                device,
                slot,
                offer,
            } => match self.narrow(device, *slot, offer) {
                Some(offer) => format!("offers {}{}", self.offer(offer), self.of(device)),
                None => format!("offers something to its audience alone{}", self.of(device)),
            },
        }
    }

    /// A narrow offer that stands, if it can be read here.
    fn narrow(&self, device: &DeviceId, slot: u32, offer: &NarrowOffer) -> Option<&Offer> {
        let place = (*device, slot);
        let same = |standing: &&StandingNarrow| standing.offer == *offer;
        self.state.narrow.get(&place).filter(same)?;
        self.state
            .offers
            .get(&place)
            .map(|standing| &standing.offer)
    }

    fn of(&self, device: &DeviceId) -> String {
        format!(" on {}", self.names.device(device))
    }

    fn offer(&self, offer: &Offer) -> String {
        let to = match &offer.audience {
            Audience::Everyone => "all".to_owned(),
            Audience::Only {
                users,
                devices,
                tags,
            } => {
                let users = users.iter().map(|user| self.names.user(user));
                let devices = devices.iter().map(|device| self.names.device(device));
                let tags = tags.iter().map(|tag| format!("tag:{tag}"));
                users
                    .chain(devices)
                    .chain(tags)
                    .collect::<Vec<_>>()
                    .join(" ")
            }
        };
        let name = offer
            .name
            .as_ref()
            .map(|name| format!(" {name}"))
            .unwrap_or_default();
        format!("{}{name} to {to}", service(&offer.what))
    }
}

/// What is offered, as people write it.
pub fn service(service: &Service) -> String {
    match service {
        Service::Port {
            protocol,
            first,
            last,
        } => {
            let protocol = match protocol {
                Protocol::Tcp => "tcp",
                Protocol::Udp => "udp",
            };
            if first == last {
                format!("{first}/{protocol}")
            } else {
                format!("{first}-{last}/{protocol}")
            }
        }
        Service::Route { base, prefix } => format!("{base}/{prefix}"),
        Service::Exit { .. } => "exit".to_owned(),
        Service::Dns { zone } => {
            format!(
                "dns {}",
                zone.iter()
                    .map(mesh_ledger::text::Label::as_str)
                    .collect::<Vec<_>>()
                    .join(".")
            )
        }
        Service::Relay => "relay".to_owned(),
    }
}
