//! The state fold: takes up what the walk on acts found, event by event, and adds what the sealed attributes say.

mod registers;
mod view;

use std::borrow::Cow;

use super::book::{Book, Home, Person, Shown};
use crate::authority::cast::Cast;
use crate::authority::walk::{Effect, Standing};
use crate::event::Act;
use crate::event::act::Kind;
use crate::event::attributes::{Attributes, Joining, Opened};
use crate::graph::{Graph, Idx};
use crate::ids::{DeviceId, UserId, WgKey};
use crate::seal::Openings;
use crate::timeline::Step;
use crate::verdict::Reason;
pub(crate) use view::View;

/// The state fold at a point.
pub(crate) struct Build<'a, 's> {
    pub(crate) graph: &'a Graph,
    pub(crate) cast: &'a Cast,
    pub(crate) opened: Openings<'a>,
    pub(crate) book: &'a mut Book,
    pub(crate) now: &'a mut Step<'s>,
}

impl<'a> Build<'a, '_> {
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

    fn opened(&self, idx: Idx) -> Cow<'a, Opened> {
        self.opened.of(self.graph, idx)
    }

    /// Takes what the attributes of a genesis or an invite say.
    fn found(&mut self, idx: Idx) {
        if !matches!(self.graph.kind(idx), Kind::Genesis | Kind::Invite) {
            return;
        }
        match (self.graph.kind(idx), &*self.opened(idx)) {
            (Kind::Genesis, Opened::Open(Attributes::Founding(founding))) => {
                self.book.found(founding.name.clone(), founding.subnet);
            }
            (Kind::Invite, Opened::Open(Attributes::Invitation(_))) => {
                self.book.invitations.write(self.now, &idx, Some(()));
            }
            _ => {}
        }
    }

    fn apply(&mut self, idx: Idx, effect: &Effect) {
        match effect {
            Effect::Joined(user, invite) => {
                let invitations = &mut self.book.invitations;
                let tags = invite
                    .filter(|invite| invitations.read(self.now, invite).is_some())
                    .and_then(|invite| match &*self.opened(invite) {
                        Opened::Open(Attributes::Invitation(invitation)) => {
                            Some(invitation.tags.iter().cloned().collect())
                        }
                        _ => None,
                    });
                let person = Person {
                    name: None,
                    tags: tags.unwrap_or_default(),
                };
                let user = self.cast.user_id(*user);
                self.book.people.write(self.now, &user, Some(person));
            }
            Effect::Device(device, user) => {
                let (device, user) = (self.cast.device_id(*device), self.cast.user_id(*user));
                let since = match self.book.homes.read(self.now, &device) {
                    Some(home) => home.since,
                    None => {
                        let (shown, wireguard) = self.arrives(idx, device).unzip();
                        self.book.shown.write(self.now, &device, shown);
                        let wireguard = wireguard.flatten();
                        self.book.wireguard.write(self.now, &device, wireguard);
                        idx
                    }
                };
                let home = Some(Home { user, since });
                self.book.homes.write(self.now, &device, home);
                self.call(user, device);
            }
            Effect::UserGone(user) => {
                let user = self.cast.user_id(*user);
                let gone = self.book.people.read(self.now, &user);
                let name = gone.and_then(|person| person.name.clone());
                self.book.people.write(self.now, &user, None);
                if let Some(name) = name {
                    self.book.release_name(self.now, &name);
                }
            }
            Effect::DeviceGone(device) => self.forget(self.cast.device_id(*device)),
        }
    }

    /// What a new device shows: its attributes; or, if they are void or there are none, a name made of its key.
    fn arrives(&mut self, idx: Idx, device: DeviceId) -> Option<(Shown, Option<WgKey>)> {
        if self.opened.is_pending(self.graph, idx) {
            return None;
        }
        let joining = self.joining(idx);
        let host = match &joining {
            Some(Joining { host, .. }) => self.book.claim_host(self.now, host),
            None => {
                let host = format!("device-{}", device.short()).parse().ok()?;
                self.book.claim_host(self.now, &host)
            }
        };
        let address = joining.as_ref().and_then(|joining| joining.address);
        let v4 = self.book.claim_address(self.now, address);
        let wireguard = joining.map(|joining| joining.wireguard);
        Some((Shown { host, v4 }, wireguard))
    }

    /// What a device says of itself in the event that brought it, if that is open and what the joiner signed.
    fn joining(&self, idx: Idx) -> Option<Joining> {
        match (self.graph.event(idx).act(), self.opened(idx).into_owned()) {
            (Act::Genesis(_), Opened::Open(Attributes::Founding(founding))) => {
                Some(founding.joining)
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
        if self.opened.is_pending(self.graph, idx) {
            return;
        }
        let wanted = match self.joining(idx) {
            Some(joining) => Some(joining.host),
            None => format!("user-{}", user.short()).parse().ok(),
        };
        if let Some(wanted) = wanted {
            self.name(user, &wanted);
        }
    }

    /// Calls a user that has no name yet by the host name of its device.
    fn call(&mut self, user: UserId, device: DeviceId) {
        let shown = self.book.shown.read(self.now, &device);
        if let Some(host) = shown.map(|shown| shown.host.clone()) {
            self.name(user, &host);
        }
    }

    fn name(&mut self, user: UserId, wanted: &crate::text::Label) {
        let person = self.book.people.read(self.now, &user);
        let Some(person) = person.filter(|person| person.name.is_none()) else {
            return;
        };
        let mut person = person.clone();
        person.name = Some(self.book.claim_name(self.now, user, wanted));
        self.book.people.write(self.now, &user, Some(person));
    }

    /// A device goes, and with it what it offered and what was approved of that.
    fn forget(&mut self, device: DeviceId) {
        let shown = self.book.shown.read(self.now, &device).cloned();
        self.book.homes.write(self.now, &device, None);
        self.book.shown.write(self.now, &device, None);
        self.book.wireguard.write(self.now, &device, None);
        if let Some(shown) = shown {
            self.book.release_host(self.now, &shown.host);
            if let Some(v4) = shown.v4 {
                self.book.release_address(self.now, v4);
            }
        }
    }
}
