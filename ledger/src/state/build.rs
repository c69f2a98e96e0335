//! The state fold: takes up what the walk on acts found, event by event, and adds what the sealed attributes say.

mod registers;
mod view;

use super::book::{Book, Host, Person, Shown};
use crate::authority::cast::Cast;
use crate::authority::walk::{Effect, Standing};
use crate::event::Act;
use crate::event::attributes::{Attributes, Joining, Opened};
use crate::graph::{Graph, Idx};
use crate::ids::{DeviceId, UserId};
use crate::verdict::Reason;

/// The state fold at a point.
pub(crate) struct Build<'a> {
    pub(crate) graph: &'a Graph,
    pub(crate) cast: &'a Cast,
    pub(crate) opened: &'a [Opened],
    pub(crate) book: &'a mut Book,
}

/// What an event's sealed part holds. What `opened` does not cover counts as not open yet.
pub(crate) fn opened<'a>(graph: &Graph, opened: &'a [Opened], idx: Idx) -> &'a Opened {
    if graph.event(idx).sealed().is_empty() {
        return &Opened::Nothing;
    }
    opened.get(idx.0 as usize).unwrap_or(&Opened::Pending)
}

impl<'a> Build<'a> {
    /// Takes the turn of an event whose act counts. `standing` is that of the author of a private event.
    pub(crate) fn step(
        &mut self,
        idx: Idx,
        effects: &[Effect],
        standing: Option<Standing>,
    ) -> Result<(), Reason> {
        if let Some(standing) = standing {
            return self.private(idx, standing);
        }
        self.found(idx);
        let mut joined = None;
        for effect in effects {
            self.apply(idx, effect);
            if let Effect::Joined(user, _) = effect {
                joined = Some(self.cast.user_id(*user));
            }
        }
        if let Some(user) = joined {
            self.call_somehow(idx, user);
        }
        Ok(())
    }

    fn opened(&self, idx: Idx) -> &'a Opened {
        opened(self.graph, self.opened, idx)
    }

    /// Takes what the attributes of a genesis or an invite say.
    fn found(&mut self, idx: Idx) {
        match (self.graph.event(idx).act(), self.opened(idx)) {
            (Act::Genesis(_), Opened::Open(Attributes::Founding(founding))) => {
                self.book.found(founding.name.clone(), founding.subnet);
            }
            (Act::Invite(_), Opened::Open(Attributes::Invitation(_))) => {
                self.book.add_invitation(idx);
            }
            _ => {}
        }
    }

    fn apply(&mut self, idx: Idx, effect: &Effect) {
        match effect {
            Effect::Joined(user, invite) => {
                let tags = invite
                    .filter(|invite| self.book.invitations.contains(invite))
                    .and_then(|invite| match self.opened(invite) {
                        Opened::Open(Attributes::Invitation(invitation)) => {
                            Some(invitation.tags.iter().cloned().collect())
                        }
                        _ => None,
                    });
                let person = Person {
                    name: None,
                    tags: tags.unwrap_or_default(),
                };
                self.book.set_person(self.cast.user_id(*user), Some(person));
            }
            Effect::Device(device, user) => {
                let (device, user) = (self.cast.device_id(*device), self.cast.user_id(*user));
                let shown = match self.book.devices.get(&device) {
                    Some(host) => host.shown.clone(),
                    None => self.arrives(idx, device),
                };
                self.book.set_device(device, Some(Host { user, shown }));
                self.call(user, device);
            }
            Effect::UserGone(user) => {
                let gone = self.book.set_person(self.cast.user_id(*user), None);
                if let Some(name) = gone.and_then(|person| person.name) {
                    self.book.release_name(&name);
                }
            }
            Effect::DeviceGone(device) => self.forget(self.cast.device_id(*device)),
        }
    }

    /// What a new device shows: its attributes; or, if they are void or there are none, a name made of its key.
    fn arrives(&mut self, idx: Idx, device: DeviceId) -> Option<Shown> {
        if *self.opened(idx) == Opened::Pending {
            return None;
        }
        let joining = self.joining(idx);
        let host = match joining {
            Some(Joining { host, .. }) => self.book.claim_host(host),
            None => self
                .book
                .claim_host(&format!("device-{}", device.short()).parse().ok()?),
        };
        Some(Shown {
            host,
            v4: self
                .book
                .claim_address(joining.and_then(|joining| joining.address)),
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
        if let Some(wanted) = wanted {
            self.name(user, &wanted);
        }
    }

    /// Calls a user that has no name yet by the host name of its device.
    fn call(&mut self, user: UserId, device: DeviceId) {
        let shown = self
            .book
            .devices
            .get(&device)
            .and_then(|host| host.shown.as_ref());
        if let Some(host) = shown.map(|shown| shown.host.clone()) {
            self.name(user, &host);
        }
    }

    fn name(&mut self, user: UserId, wanted: &crate::text::Label) {
        let Some(person) = self.book.people.get(&user) else {
            return;
        };
        if person.name.is_some() {
            return;
        }
        let mut person = person.clone();
        person.name = Some(self.book.claim_name(user, wanted));
        self.book.set_person(user, Some(person));
    }

    fn forget(&mut self, device: DeviceId) {
        let gone = self.book.set_device(device, None);
        if let Some(shown) = gone.and_then(|host| host.shown) {
            self.book.release_host(&shown.host);
            if let Some(v4) = shown.v4 {
                self.book.release_address(v4);
            }
        }
        let slots = (device, 0)..=(device, u32::MAX);
        let offers = self
            .book
            .offers
            .range(slots.clone())
            .map(|(place, _)| place);
        let narrow = self
            .book
            .narrow
            .range(slots.clone())
            .map(|(place, _)| place);
        for place in offers.chain(narrow).copied().collect::<Vec<_>>() {
            self.clear(place);
        }
        let approvals = self.book.approvals.range(slots).map(|(place, _)| *place);
        for place in approvals.collect::<Vec<_>>() {
            self.book.set_approval(place, None);
        }
    }
}
