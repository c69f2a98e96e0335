//! Which events a reader asks for.

use mesh_ledger::event::Act;
use mesh_ledger::event::act::{InviteKind, Target};
use mesh_ledger::event::attributes::Write;
use mesh_ledger::graph::Idx;
use mesh_ledger::ids::{DeviceId, EventId, UserId};
use mesh_ledger::past::Reading;

use super::log::{TOPICS, VOID, topics, writes};
use super::moment;
use super::names::{Names, is_prefix};
use crate::call::{LogFilters, Moment};
use crate::error::{Code, Error};
use crate::near::nearest;

/// What was asked for, found in the network.
pub(super) struct Filter<'a> {
    reading: Reading<'a>,
    names: &'a Names,
    by: Option<Found>,
    about: Option<(String, Found)>,
    kind: Option<String>,
    since: Option<Bound>,
    until: Option<Bound>,
}

/// Users, and single devices.
type Found = Vec<(UserId, Option<DeviceId>)>;

enum Bound {
    Event(Idx),
    Time(u64),
}

impl<'a> Filter<'a> {
    /// Finds the names, kinds and events that were typed.
    ///
    /// # Errors
    /// `not_found` for one that there never was, with what was meant; `usage` for an event that is several.
    pub(super) fn new(
        reading: Reading<'a>,
        names: &'a Names,
        filters: &LogFilters,
    ) -> Result<Self, Error> {
        let by = match filters.by.as_deref() {
            Some(text) => Some(somebody(names, "by", text)?),
            None => None,
        };
        let about = match filters.about.as_deref() {
            Some(text) => Some((text.to_owned(), something(reading, names, text)?)),
            None => None,
        };
        let bound = |moment: &Option<Moment>| {
            moment
                .as_ref()
                .map(|moment| {
                    Ok(match moment {
                        Moment::Event(text) => Bound::Event(moment::find(reading, text)?),
                        Moment::TimeMs(time) => Bound::Time(*time),
                    })
                })
                .transpose()
        };
        let since = bound(&filters.since)?;
        let until = bound(&filters.until)?;
        let kind = filters.r#type.as_deref().map(kind).transpose()?;
        Ok(Self {
            reading,
            names,
            by,
            about,
            kind,
            since,
            until,
        })
    }

    /// Whether an event passes.
    pub(super) fn passes(&self, idx: Idx) -> bool {
        self.is_late_enough(idx)
            && self.is_early_enough(idx)
            && self.by.as_ref().is_none_or(|by| self.is_by(idx, by))
            && self.kind.as_ref().is_none_or(|kind| {
                self.reading.graph.kind(idx).word() == kind
                    || topics(self.reading, self.names, idx).contains(&kind.as_str())
                    || (kind == VOID && self.is_void(idx))
            })
            && self
                .about
                .as_ref()
                .is_none_or(|(text, found)| self.is_about(idx, text, found))
    }

    fn is_void(&self, idx: Idx) -> bool {
        let verdict = self.reading.fold.verdicts.get(idx.0 as usize);
        verdict.is_some_and(|verdict| !verdict.counts())
    }

    fn is_late_enough(&self, idx: Idx) -> bool {
        let graph = self.reading.graph;
        match self.since {
            None => true,
            Some(Bound::Event(event)) => graph.precedes(event, idx),
            Some(Bound::Time(time)) => graph.time(idx) >= time,
        }
    }

    fn is_early_enough(&self, idx: Idx) -> bool {
        let graph = self.reading.graph;
        match self.until {
            None => true,
            Some(Bound::Event(event)) => idx == event || graph.precedes(idx, event),
            Some(Bound::Time(time)) => graph.time(idx) <= time,
        }
    }

    fn is_by(&self, idx: Idx, by: &Found) -> bool {
        let author = self.reading.graph.author(idx);
        let user = self.names.user_of(&author);
        by.iter().any(|(who, device)| match device {
            Some(device) => *device == author,
            None => user == Some(*who),
        })
    }

    fn is_about(&self, idx: Idx, text: &str, found: &Found) -> bool {
        let event = self.reading.graph.event(idx);
        let names = |id: &EventId| is_prefix(text, &id.to_string());
        if names(&event.id()) {
            return true;
        }
        let user = |user: &UserId| {
            found
                .iter()
                .any(|(who, device)| who == user && device.is_none())
        };
        let device = |id: &DeviceId| found.iter().any(|(_, device)| device.as_ref() == Some(id));
        let act = match event.act() {
            Act::Genesis(act) => user(&act.owner) || device(&act.device),
            Act::Invite(act) => matches!(&act.kind, InviteKind::Direct(to) if user(to)),
            Act::InviteClose(act) => names(&act.invite),
            Act::Admit(act) => {
                user(&act.user)
                    || device(&act.device)
                    || act.redemption.as_ref().is_some_and(|r| names(&r.invite))
            }
            Act::DeviceAdd(act) => user(&act.user) || device(&act.device),
            Act::Grant(act) => user(&act.user),
            Act::Remove(act) => {
                act.closes.iter().any(names)
                    || match &act.target {
                        Target::User(target) => user(target),
                        Target::Device(target) => device(target),
                        Target::Term {
                            user: target,
                            grant,
                        } => user(target) || names(grant),
                    }
            }
            Act::OwnerSet(act) => user(&act.successor),
            _ => false,
        };
        act || writes(self.reading, idx).iter().any(|write| match write {
            Write::Host { device: d, .. }
            | Write::Address { device: d, .. }
            | Write::WireGuard { device: d, .. }
            | Write::Offer { device: d, .. }
            | Write::Narrow { device: d, .. }
            | Write::Approval { device: d, .. } => device(d),
            Write::Name { user: u, .. } | Write::Tag { user: u, .. } => user(u),
            Write::Setting { .. } | Write::Servers(_) => false,
        })
    }
}

/// The users and devices that are called so, or were.
fn somebody(names: &Names, option: &str, text: &str) -> Result<Found, Error> {
    let found = names.find(text);
    if !found.is_empty() {
        return Ok(found);
    }
    let shown: String = text.chars().take(64).collect();
    let error = Error::new(
        Code::NotFound,
        format!("nobody here is or was called {shown}"),
    );
    Err(match nearest(text, &names.all()) {
        Some(right) => error.hint(format!("mesh log --{option} {right}")),
        None => error.hint("mesh member ls"),
    })
}

/// A user, a device, an event or an invite.
fn something(reading: Reading<'_>, names: &Names, text: &str) -> Result<Found, Error> {
    let found = names.find(text);
    if !found.is_empty() {
        return Ok(found);
    }
    if moment::find(reading, text).is_ok() {
        return Ok(Vec::new());
    }
    somebody(names, "about", text)
}

/// A kind, a topic, or what does not count.
fn kind(text: &str) -> Result<String, Error> {
    let known: Vec<String> = Act::KINDS
        .into_iter()
        .chain(TOPICS)
        .chain([VOID])
        .map(str::to_owned)
        .collect();
    if known.iter().any(|kind| kind == text) {
        return Ok(text.to_owned());
    }
    let shown: String = text.chars().take(64).collect();
    let error = Error::new(
        Code::NotFound,
        format!(
            "no event is of a kind {shown}: there are {}",
            known.join(", ")
        ),
    );
    Err(match nearest(text, &known) {
        Some(right) => error.hint(format!("mesh log --type {right}")),
        None => error.hint("mesh log --help"),
    })
}
