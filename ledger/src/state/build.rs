//! The state fold: replays what the walk on acts found, and adds what the sealed attributes say.

mod finish;
mod registers;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use super::State;
use super::addresses::Addresses;
use super::names::Names;
use crate::authority::cast::Cast;
use crate::authority::walk::{Effect, Walked};
use crate::event::Act;
use crate::event::attributes::{Attributes, Invitation, Joining, NarrowOffer, Offer, Opened};
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
    narrow: BTreeMap<(DeviceId, u32), (NarrowOffer, EventId)>,
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
        narrow: BTreeMap::new(),
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
        let mut joined = None;
        while let Some((_, effect)) = effects.next_if(|(at, _)| *at == idx) {
            build.apply(idx, effect);
            if let Effect::Joined(user, _) = effect {
                joined = Some(cast.user_id(*user));
            }
        }
        if let Some(user) = joined {
            build.call_somehow(idx, user);
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
        if *self.opened(idx) == Opened::Pending {
            return None;
        }
        let joining = self.joining(idx);
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

    /// What a device says of itself in the event that brought it, if that is open and what the joiner signed.
    fn joining(&self, idx: Idx) -> Option<&'a Joining> {
        match (self.graph.event(idx).act(), self.opened(idx)) {
            (Act::Genesis(_), Opened::Open(Attributes::Founding(founding))) => {
                Some(&founding.joining)
            }
            (Act::Admit(act), Opened::Open(Attributes::Joining(joining))) => {
                Some(joining).filter(|joining| joining.digest() == act.digest)
            }
            (Act::DeviceAdd(_), Opened::Open(Attributes::Joining(joining))) => Some(joining),
            _ => None,
        }
    }

    /// Calls a user who came without a device of its own, as one whose device is another's too.
    fn call_somehow(&mut self, idx: Idx, user: UserId) {
        if *self.opened(idx) == Opened::Pending {
            return;
        }
        let wanted = match self.joining(idx) {
            Some(joining) => Some(joining.host.clone()),
            None => format!("user-{}", user.short()).parse().ok(),
        };
        if let (Some(person), Some(wanted)) = (self.people.get_mut(&user), wanted)
            && person.name.is_none()
        {
            let name = self.names.claim(&wanted);
            self.called.insert(user, name.clone());
            person.name = Some(name);
        }
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
        self.narrow.retain(|(offering, _), _| *offering != device);
        self.approvals
            .retain(|(offering, _), _| *offering != device);
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
}
