//! The log: what each event does, in words.

use std::collections::BTreeMap;

use mesh_ledger::event::act::{InviteKind, Kind, Target};
use mesh_ledger::event::attributes::{
    Attributes, Audience, NarrowOffer, Offer, Opened, Protocol, Service, Write,
};
use mesh_ledger::event::{Act, Event};
use mesh_ledger::graph::Idx;
use mesh_ledger::ids::{DeviceId, EventId};
use mesh_ledger::past::Reading;
use mesh_ledger::state::StandingNarrow;
use mesh_ledger::verdict::Verdict;

use super::event_ref;
use super::names::Names;
use crate::view::{LogEntry, Verdict as VerdictView};

/// Entries of the log.
pub struct Page {
    /// In the network's order.
    pub entries: Vec<LogEntry>,
    /// Whether older ones were left out.
    pub more: bool,
}

/// The last `limit` events of the network's order for which `keep` holds.
pub fn page(reading: Reading<'_>, names: &Names, keep: impl Fn(Idx) -> bool, limit: usize) -> Page {
    let order = &reading.fold.order;
    // Only what is shown is put into words: a network may have a hundred thousand events.
    let mut kept: Vec<usize> = (0..order.len()).filter(|at| keep(order[*at])).collect();
    let older = kept.len().saturating_sub(limit);
    kept.drain(..older);
    let mut scribe = Scribe::new(reading, names);
    let mut entries = Vec::with_capacity(kept.len());
    let mut kept = kept.into_iter().peekable();
    for (at, idx) in order.iter().enumerate() {
        if kept.peek().is_none() {
            break;
        }
        if kept.next_if_eq(&at).is_some() {
            entries.push(scribe.entry(*idx, at));
        }
        scribe.remember(*idx);
    }
    Page {
        entries,
        more: older > 0,
    }
}

/// Finer words for what an event does than its kind.
pub(super) fn topics(reading: Reading<'_>, names: &Names, idx: Idx) -> Vec<&'static str> {
    if reading.graph.kind(idx) == Kind::Merge {
        return Vec::new();
    }
    let event = reading.graph.event(idx);
    if let Act::Remove(act) = event.act() {
        return vec![match &act.target {
            Target::User(user) if names.user_of(&event.author()) == Some(*user) => "leave",
            Target::User(_) => "kick",
            Target::Device(_) => "remove-device",
            Target::Term { .. } => "revoke",
        }];
    }
    let mut topics: Vec<&'static str> = Vec::new();
    for topic in writes(reading, idx).iter().map(topic) {
        if !topics.contains(&topic) {
            topics.push(topic);
        }
    }
    topics
}

/// Every finer word.
pub const TOPICS: [&str; 14] = [
    "kick",
    "leave",
    "remove-device",
    "revoke",
    "offer",
    "withdraw",
    "host",
    "address",
    "wireguard",
    "name",
    "tag",
    "setting",
    "servers",
    "approval",
];

/// The word for events of whatever kind that do not count.
pub const VOID: &str = "void";

fn topic(write: &Write) -> &'static str {
    match write {
        Write::Host { .. } => "host",
        Write::Address { .. } => "address",
        Write::WireGuard { .. } => "wireguard",
        Write::Name { .. } => "name",
        Write::Tag { .. } => "tag",
        Write::Setting { .. } => "setting",
        Write::Servers(_) => "servers",
        Write::Approval { .. } => "approval",
        Write::Offer { offer: None, .. } => "withdraw",
        Write::Offer { .. } | Write::Narrow { .. } => "offer",
    }
}

/// What an event writes into registers, as far as it is open.
pub(super) fn writes(reading: Reading<'_>, idx: Idx) -> Vec<Write> {
    if reading.graph.kind(idx) != Kind::Private {
        return Vec::new();
    }
    match reading.opened(idx).into_owned() {
        Opened::Open(Attributes::Writes(writes)) => writes,
        _ => Vec::new(),
    }
}

/// Whoever puts events into words.
pub(super) struct Scribe<'a> {
    /// What each device offered in each slot by the place in the order that is being told.
    offered: BTreeMap<(DeviceId, u32), Service>,
    reading: Reading<'a>,
    names: &'a Names,
}

impl<'a> Scribe<'a> {
    pub(super) fn new(reading: Reading<'a>, names: &'a Names) -> Self {
        Self {
            offered: BTreeMap::new(),
            reading,
            names,
        }
    }

    pub(super) fn entry(&self, idx: Idx, position: usize) -> LogEntry {
        let event = self.reading.graph.event(idx);
        let header = event.header();
        let user = self.names.user_of(&header.author);
        let topics = topics(self.reading, self.names, idx);
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
            verdict: match self.reading.fold.verdicts.get(idx.0 as usize) {
                Some(Verdict::Void(reason)) => VerdictView::Void {
                    reason: reason.to_string(),
                },
                Some(Verdict::Counted) => VerdictView::Counted,
                _ => VerdictView::Pending,
            },
            topics: topics.into_iter().map(str::to_owned).collect(),
            about: self.about(idx),
            text: self.text(&event, &self.reading.opened(idx)),
            parents: header.parents.iter().map(EventId::to_string).collect(),
        }
    }

    /// Whom an event is about.
    fn about(&self, idx: Idx) -> Option<String> {
        let user = |user| Some(self.names.user(user));
        let device = |device| Some(self.names.device(device));
        match self.reading.graph.event(idx).act() {
            Act::Genesis(act) => device(&act.device),
            Act::Admit(act) => device(&act.device),
            Act::DeviceAdd(act) => device(&act.device),
            Act::Grant(act) => user(&act.user),
            Act::Remove(act) => match &act.target {
                Target::User(target) | Target::Term { user: target, .. } => user(target),
                Target::Device(target) => device(target),
            },
            Act::OwnerSet(act) => user(&act.successor),
            _ => match writes(self.reading, idx).first()? {
                Write::Host { device: d, .. }
                | Write::Address { device: d, .. }
                | Write::WireGuard { device: d, .. }
                | Write::Offer { device: d, .. }
                | Write::Narrow { device: d, .. }
                | Write::Approval { device: d, .. } => device(d),
                Write::Name { user: u, .. } | Write::Tag { user: u, .. } => user(u),
                Write::Setting { .. } | Write::Servers(_) => None,
            },
        }
    }

    /// Notes what an event offers, for the one that withdraws it.
    pub(super) fn remember(&mut self, idx: Idx) {
        let reading: Reading<'a> = self.reading;
        let author = reading.graph.author(idx);
        for write in writes(reading, idx) {
            let (place, what) = match write {
                Write::Offer {
                    device,
                    slot,
                    offer: Some(offer),
                } => ((device, slot), Some(offer.what)),
                Write::Narrow { device, slot, .. } => ((device, slot), None),
                _ => continue,
            };
            if place.0 != author {
                continue;
            }
            match what {
                Some(what) => self.offered.insert(place, what),
                // What it was is not known any more once it does not stand.
                None => self.offered.remove(&place),
            };
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
                    format!("creates {} {}", a.name, a.subnet)
                }
                _ => format!("creates the network as user {}", act.owner.short()),
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
                    .map(|r| format!(", invite {}", r.invite.short()))
                    .unwrap_or_default();
                let address = self.address(&act.device, attributes);
                format!("admits {}{address}{invite}", self.names.device(&act.device))
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
                    .map(|write| self.write(write, &event.author()))
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

    fn write(&self, write: &Write, author: &DeviceId) -> String {
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
                format!("offers {}{}", self.offer(offer), self.of(device, author))
            }
            Write::Offer {
                device,
                slot,
                offer: None,
            } => match self.offered.get(&(*device, *slot)) {
                Some(what) => format!("withdraws {}{}", service(what), self.of(device, author)),
                None => format!("withdraws an offer{}", self.of(device, author)),
            },
            Write::Narrow {
                device,
                slot,
                offer,
            } => match self.narrow(device, *slot, offer) {
                Some(offer) => {
                    format!("offers {}{}", self.offer(offer), self.of(device, author))
                }
                None => format!(
                    "offers something to its audience alone{}",
                    self.of(device, author)
                ),
            },
        }
    }

    /// A narrow offer that stands, if it can be read here.
    fn narrow(&self, device: &DeviceId, slot: u32, offer: &NarrowOffer) -> Option<&Offer> {
        let (place, state) = ((*device, slot), &self.reading.fold.state);
        let same = |standing: &&StandingNarrow| standing.offer == *offer;
        state.narrow.get(&place).filter(same)?;
        state.offers.get(&place).map(|standing| &standing.offer)
    }

    /// On which device, where it is not the author's own.
    fn of(&self, device: &DeviceId, author: &DeviceId) -> String {
        if device == author {
            return String::new();
        }
        format!(" on {}", self.names.device(device))
    }

    /// The address of a device that is live, else the one that it asked for.
    fn address(&self, device: &DeviceId, attributes: Option<&Attributes>) -> String {
        let live = self.reading.fold.state.devices.get(device);
        let asked = match attributes {
            Some(Attributes::Joining(joining)) => joining.address,
            _ => None,
        };
        let address = live.and_then(|device| device.v4).or(asked);
        address
            .map(|address| format!(" {address}"))
            .unwrap_or_default()
    }

    fn offer(&self, offer: &Offer) -> String {
        let to = audience(&offer.audience, self.names);
        let name = offer
            .name
            .as_ref()
            .map(|name| format!(" {name}"))
            .unwrap_or_default();
        let until = offer.until;
        let until = until.map(|until| format!(" until {} UTC", crate::utc::clock(until)));
        let until = until.unwrap_or_default();
        format!("{}{name} to {to}{until}", service(&offer.what))
    }
}

/// To whom, in words.
pub(super) fn audience(audience: &Audience, names: &Names) -> String {
    match audience {
        Audience::Everyone => "all".to_owned(),
        Audience::Only {
            users,
            devices,
            tags,
        } => {
            let users = users.iter().map(|user| names.user(user));
            let devices = devices.iter().map(|device| names.device(device));
            let tags = tags.iter().map(|tag| format!("tag:{tag}"));
            let all: Vec<String> = users.chain(devices).chain(tags).collect();
            all.join(" ")
        }
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
