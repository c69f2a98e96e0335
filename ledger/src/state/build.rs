//! The state fold: replays what the walk on acts found, and adds what the sealed attributes say.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use super::addresses::Addresses;
use super::names::Names;
use super::{Device, Member, Rank, StandingInvite, StandingOffer, State};
use crate::authority::cast::Cast;
use crate::authority::walk::{Effect, Standing, Walked};
use crate::authority::{Authority, Seniority};
use crate::event::Act;
use crate::event::attributes::{Attributes, Invitation, Joining, Offer, Opened, Service, Write};
use crate::graph::{Graph, Idx};
use crate::ids::{DeviceId, EventId, UserId, WgKey};
use crate::text::Label;
use crate::verdict::{Reason, Verdict};

struct Host {
    user: UserId,
    /// None while the attributes that brought the device are not open.
    shown: Option<Shown>,
}

struct Shown {
    host: Label,
    v4: Option<Ipv4Addr>,
    wireguard: Option<WgKey>,
}

#[derive(Default)]
struct Person {
    name: Option<Label>,
    tags: BTreeSet<Label>,
}

struct Approval {
    offer: EventId,
    approved: bool,
}

struct Build<'a> {
    graph: &'a Graph,
    cast: &'a Cast,
    opened: &'a [Opened],
    state: State,
    hosts: Names,
    names: Names,
    addresses: Option<Addresses>,
    devices: BTreeMap<DeviceId, Host>,
    people: BTreeMap<UserId, Person>,
    /// Names last known, of those who are gone too.
    called: BTreeMap<UserId, Label>,
    offers: BTreeMap<(DeviceId, u32), (Offer, EventId)>,
    approvals: BTreeMap<(DeviceId, u32), Approval>,
    invitations: BTreeMap<Idx, &'a Invitation>,
}

/// Builds the state, and the verdict on each event.
pub(crate) fn build(
    graph: &Graph,
    cast: &Cast,
    opened: &[Opened],
    walked: &Walked,
    order: &[Idx],
) -> (State, Vec<Verdict>) {
    let mut build = Build {
        graph,
        cast,
        opened,
        state: State::founded(&walked.authority),
        hosts: Names::default(),
        names: Names::default(),
        addresses: None,
        devices: BTreeMap::new(),
        people: BTreeMap::new(),
        called: BTreeMap::new(),
        offers: BTreeMap::new(),
        approvals: BTreeMap::new(),
        invitations: BTreeMap::new(),
    };
    let mut void = walked.void.clone();
    let mut effects = walked.effects.iter().peekable();
    for idx in order.iter().copied() {
        if void.contains_key(&idx) {
            continue;
        }
        build.found(idx);
        while let Some((_, effect)) = effects.next_if(|(at, _)| *at == idx) {
            build.apply(idx, effect);
        }
        if let Some(standing) = walked.standings[idx.0 as usize]
            && let Err(reason) = build.private(idx, standing)
        {
            void.insert(idx, reason);
        }
    }
    let verdicts = build.verdicts(void);
    (build.finish(&walked.authority), verdicts)
}

impl<'a> Build<'a> {
    fn opened(&self, idx: Idx) -> &'a Opened {
        if self.graph.event(idx).sealed().is_empty() {
            return &Opened::Nothing;
        }
        self.opened.get(idx.0 as usize).unwrap_or(&Opened::Pending)
    }

    /// Takes what the attributes of a genesis or an invite say.
    fn found(&mut self, idx: Idx) {
        match (self.graph.event(idx).act(), self.opened(idx)) {
            (Act::Genesis(_), Opened::Open(Attributes::Founding(founding))) => {
                self.state.name = Some(founding.name.clone());
                self.state.subnet = Some(founding.subnet);
                self.addresses = Some(Addresses::new(founding.subnet));
            }
            (Act::Invite(_), Opened::Open(Attributes::Invitation(invitation))) => {
                self.invitations.insert(idx, invitation);
            }
            _ => {}
        }
    }

    fn apply(&mut self, idx: Idx, effect: &Effect) {
        match effect {
            Effect::Joined(user, invite) => {
                let tags = invite
                    .and_then(|invite| self.invitations.get(&invite))
                    .map(|invitation| invitation.tags.iter().cloned().collect());
                self.people.insert(
                    self.cast.user_id(*user),
                    Person {
                        name: None,
                        tags: tags.unwrap_or_default(),
                    },
                );
            }
            Effect::Device(device, user) => {
                let (device, user) = (self.cast.device_id(*device), self.cast.user_id(*user));
                match self.devices.get_mut(&device) {
                    Some(host) => host.user = user,
                    None => {
                        let shown = self.show(idx, device);
                        self.devices.insert(device, Host { user, shown });
                    }
                }
                self.call(user, device);
            }
            Effect::UserGone(user) => {
                if let Some(name) = self
                    .people
                    .remove(&self.cast.user_id(*user))
                    .and_then(|person| person.name)
                {
                    self.names.release(&name);
                }
            }
            Effect::DeviceGone(device) => self.forget(self.cast.device_id(*device)),
        }
    }

    /// What a new device shows: its attributes; or, if they are void or there are none, a name made of its key.
    fn show(&mut self, idx: Idx, device: DeviceId) -> Option<Shown> {
        let joining = match (self.graph.event(idx).act(), self.opened(idx)) {
            (_, Opened::Pending) => return None,
            (Act::Genesis(_), Opened::Open(Attributes::Founding(founding))) => {
                Some(&founding.joining)
            }
            (Act::Admit(act), Opened::Open(Attributes::Joining(joining))) => {
                Some(joining).filter(|joining| joining.digest() == act.digest)
            }
            (Act::DeviceAdd(_), Opened::Open(Attributes::Joining(joining))) => Some(joining),
            _ => None,
        };
        let host = match joining {
            Some(Joining { host, .. }) => self.hosts.claim(host),
            None => self
                .hosts
                .claim(&format!("device-{}", device.short()).parse().ok()?),
        };
        Some(Shown {
            host,
            v4: self
                .addresses
                .as_mut()
                .and_then(|free| free.claim(joining.and_then(|joining| joining.address))),
            wireguard: joining.map(|joining| joining.wireguard),
        })
    }

    /// Calls a user that has no name yet by the host name of its device.
    fn call(&mut self, user: UserId, device: DeviceId) {
        if let Some(person) = self.people.get_mut(&user)
            && person.name.is_none()
            && let Some(shown) = self
                .devices
                .get(&device)
                .and_then(|host| host.shown.as_ref())
        {
            let name = self.names.claim(&shown.host);
            self.called.insert(user, name.clone());
            person.name = Some(name);
        }
    }

    fn forget(&mut self, device: DeviceId) {
        if let Some(shown) = self.devices.remove(&device).and_then(|host| host.shown) {
            self.hosts.release(&shown.host);
            if let (Some(addresses), Some(v4)) = (&mut self.addresses, shown.v4) {
                addresses.release(v4);
            }
        }
        self.offers.retain(|(offering, _), _| *offering != device);
        self.approvals
            .retain(|(offering, _), _| *offering != device);
    }

    /// Writes registers. The writes of one event stand or fall together.
    fn private(&mut self, idx: Idx, standing: Standing) -> Result<(), Reason> {
        let writes = match self.opened(idx) {
            Opened::Pending => return Ok(()),
            Opened::Open(Attributes::Writes(writes)) => writes,
            _ => return Err(Reason::Unreadable),
        };
        for write in writes {
            self.permit(idx, standing, write)?;
        }
        for write in writes {
            self.write(idx, write);
        }
        Ok(())
    }

    fn permit(&self, idx: Idx, standing: Standing, write: &Write) -> Result<(), Reason> {
        let author = self.graph.event(idx).author();
        let user = self.cast.user_id(standing.user);
        let itself = |device: &DeviceId, verb| {
            if *device == author {
                Ok(())
            } else {
                Err(Reason::OnlyItself {
                    device: *device,
                    verb,
                })
            }
        };
        let own = |owner: Option<UserId>, what| {
            if standing.admin || owner == Some(user) {
                Ok(())
            } else {
                Err(Reason::OnlyOwn { what })
            }
        };
        let admin = || {
            if standing.admin {
                Ok(())
            } else {
                Err(Reason::NotAdmin { who: user.into() })
            }
        };
        match write {
            Write::Host { device, .. } => {
                own(self.devices.get(device).map(|host| host.user), "host name")
            }
            Write::Name { user: named, .. } => own(Some(*named), "name"),
            Write::WireGuard { device, .. } => itself(device, "sets its WireGuard key"),
            Write::Offer { device, .. } => itself(device, "offers"),
            Write::Address { address, .. } => {
                admin()?;
                match &self.addresses {
                    Some(addresses) if !addresses.contains(*address) => Err(Reason::OutsideSubnet),
                    _ => Ok(()),
                }
            }
            Write::Tag { .. }
            | Write::Setting { .. }
            | Write::Servers(_)
            | Write::Approval { .. } => admin(),
        }
    }

    fn write(&mut self, idx: Idx, write: &Write) {
        let event = self.graph.event(idx).id();
        match write {
            Write::Host { device, host } => {
                if let Some(shown) = shown(&mut self.devices, device) {
                    self.hosts.release(&shown.host);
                    shown.host = self.hosts.claim(host);
                }
            }
            Write::Address { device, address } => {
                if let (Some(shown), Some(addresses)) =
                    (shown(&mut self.devices, device), &mut self.addresses)
                {
                    if let Some(v4) = shown.v4 {
                        addresses.release(v4);
                    }
                    shown.v4 = addresses.claim(Some(*address));
                }
            }
            Write::WireGuard { device, key } => {
                if let Some(shown) = shown(&mut self.devices, device) {
                    shown.wireguard = Some(*key);
                }
            }
            Write::Name { user, name } => {
                if let Some(person) = self.people.get_mut(user) {
                    if let Some(name) = &person.name {
                        self.names.release(name);
                    }
                    let name = self.names.claim(name);
                    self.called.insert(*user, name.clone());
                    person.name = Some(name);
                }
            }
            Write::Tag { user, tag, set } => {
                if let Some(person) = self.people.get_mut(user) {
                    if *set {
                        person.tags.insert(tag.clone());
                    } else {
                        person.tags.remove(tag);
                    }
                }
            }
            Write::Setting { key, value } => {
                match value {
                    Some(value) => self.state.settings.insert(key.clone(), value.clone()),
                    None => self.state.settings.remove(key),
                };
            }
            Write::Servers(servers) => self.state.servers.clone_from(servers),
            Write::Approval {
                device,
                slot,
                offer,
                approved,
            } => {
                if self.devices.contains_key(device) {
                    let approval = Approval {
                        offer: *offer,
                        approved: *approved,
                    };
                    self.approvals.insert((*device, *slot), approval);
                }
            }
            Write::Offer {
                device,
                slot,
                offer,
            } => {
                match offer {
                    Some(offer) if self.devices.contains_key(device) => {
                        self.offers.insert((*device, *slot), (offer.clone(), event));
                    }
                    _ => {
                        self.offers.remove(&(*device, *slot));
                    }
                };
            }
        }
    }

    fn verdicts(&mut self, mut void: BTreeMap<Idx, Reason>) -> Vec<Verdict> {
        let mut verdicts = Vec::with_capacity(self.graph.len());
        for idx in self.graph.indices() {
            verdicts.push(match void.remove(&idx) {
                Some(mut reason) => {
                    reason.name(|user| self.called.get(user).cloned());
                    Verdict::Void(reason)
                }
                None if *self.opened(idx) == Opened::Pending => {
                    self.state.pending += 1;
                    Verdict::Pending
                }
                None => Verdict::Counted,
            });
        }
        verdicts
    }

    fn finish(self, authority: &Authority) -> State {
        let mut state = self.state;
        let mut offices: BTreeMap<UserId, (Seniority, EventId)> = BTreeMap::new();
        for (start, term) in &authority.terms {
            if term.ended.is_none() {
                let office = offices.entry(term.holder).or_insert((term.rank, *start));
                *office = (*office).min((term.rank, *start));
            }
        }
        for (user, person) in self.people {
            let (Some(name), Some(membership)) = (person.name, authority.members.get(&user)) else {
                continue;
            };
            for tag in &person.tags {
                state.tags.entry(tag.clone()).or_default().insert(user);
            }
            let rank = match offices.get(&user) {
                Some((Seniority::Owner(_), _)) => Rank::Owner,
                Some((Seniority::Admin(..), grant)) => Rank::Admin { grant: *grant },
                None => Rank::Member,
            };
            state.members.insert(
                user,
                Member {
                    user,
                    rank,
                    name,
                    tags: person.tags,
                    devices: BTreeSet::new(),
                    admitted: membership.admitted,
                    admitted_by: membership.by,
                    at: membership.at,
                },
            );
        }
        for (id, host) in self.devices {
            let (Some(shown), Some(live), Some(member)) = (
                host.shown,
                authority.devices.get(&id),
                state.members.get_mut(&host.user),
            ) else {
                continue;
            };
            member.devices.insert(id);
            state.devices.insert(
                id,
                Device {
                    id,
                    user: host.user,
                    host: shown.host,
                    v4: shown.v4,
                    v6: state.network.address_v6(&id),
                    wireguard: shown.wireguard,
                    box_key: live.box_key,
                    event: live.event,
                },
            );
        }
        for (place, (offer, event)) in self.offers {
            if !state.devices.contains_key(&place.0) {
                continue;
            }
            let free = authority.policy.free_routes
                || !matches!(offer.what, Service::Route { .. } | Service::Exit { .. });
            let approved = free
                || self
                    .approvals
                    .get(&place)
                    .is_some_and(|approval| approval.approved && approval.offer == event);
            state.offers.insert(
                place,
                StandingOffer {
                    offer,
                    event,
                    approved,
                },
            );
        }
        for (idx, invitation) in self.invitations {
            let id = self.graph.event(idx).id();
            let Some(issued) = authority.invites.get(&id) else {
                continue;
            };
            state.invites.insert(
                id,
                StandingInvite {
                    key: issued.key,
                    kind: issued.kind,
                    max_uses: issued.max_uses,
                    used: issued.used,
                    expires: issued.expires,
                    countersign: issued.countersign,
                    closed: issued.closed,
                    contact: invitation.contact,
                    note: invitation.note.clone(),
                    tags: invitation.tags.clone(),
                    issuer: issued.issuer,
                },
            );
        }
        state
    }
}

fn shown<'b>(
    devices: &'b mut BTreeMap<DeviceId, Host>,
    device: &DeviceId,
) -> Option<&'b mut Shown> {
    devices.get_mut(device)?.shown.as_mut()
}
