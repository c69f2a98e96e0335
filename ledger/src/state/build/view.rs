//! What the book amounts to, of those who are members still, brought up to date where it or the authority was touched.

use std::collections::{BTreeMap, BTreeSet};

use crate::authority::cast::Cast;
use crate::authority::walk::{Touched, set};
use crate::authority::{Authority, Seniority};
use crate::event::attributes::{Attributes, NarrowOffer, Offer, Opened, Write};
use crate::graph::{Graph, Idx};
use crate::ids::{DeviceId, EventId, UserId};
use crate::seal::Openings;
use crate::state::book::{Book, Entries, Place};
use crate::state::{Device, Member, Rank, StandingInvite, StandingNarrow, StandingOffer, State};

/// The book at the end of the walk.
pub(crate) struct View<'a> {
    pub(crate) graph: &'a Graph,
    pub(crate) cast: &'a Cast,
    pub(crate) opened: Openings<'a>,
    pub(crate) book: &'a Book,
}

/// What stands in a slot.
enum Standing {
    Plain(Offer),
    Narrow(NarrowOffer),
}

impl<'a> View<'a> {
    /// Shows what was touched. `authority` is up to date; `all` says that terms have changed too. Returns where offers
    /// sealed to their audience are shown anew.
    pub(crate) fn show(
        &self,
        state: &mut State,
        authority: &Authority,
        touched: &Touched,
        entries: Entries,
        all: bool,
    ) -> Vec<Place> {
        let Entries {
            mut people,
            called: _,
            mut devices,
            mut offers,
            invitations,
            network,
        } = entries;
        state.owner = authority.owner;
        if network {
            let founding = self.book.founding.clone();
            (state.name, state.subnet) = founding.unzip();
            let settings = &self.book.settings;
            let set = settings.keys().map(|key| (key.clone(), settings.now(key)));
            let set = set.filter_map(|(key, value)| Some((key, value.cloned()?)));
            state.settings = set.collect();
            state.servers = self.book.servers.now(&()).cloned().unwrap_or_default();
        }
        if touched.epochs {
            state.epochs.clone_from(&authority.epochs);
        }
        for user in &touched.users {
            let id = self.cast.user_id(*user);
            let gone = authority.removed_users.get(&id).copied();
            set(&mut state.removed_users, id, gone);
            people.insert(id);
        }
        for device in &touched.devices {
            let id = self.cast.device_id(*device);
            let gone = authority.removed_devices.get(&id).copied();
            set(&mut state.removed_devices, id, gone);
            devices.insert(id);
        }
        if all {
            people.extend(state.members.keys());
        }
        let offices = offices(authority, &people);
        for user in people {
            self.show_member(state, authority, user, &offices, &mut devices);
        }
        for device in devices {
            self.show_device(state, authority, device, &mut offers);
        }
        let mut sealed = Vec::new();
        for place in offers {
            let (offer, narrow) = self.offered(state, authority, place);
            set(&mut state.offers, place, offer);
            if narrow.is_some() {
                sealed.push(place);
            }
            set(&mut state.narrow, place, narrow);
        }
        for invite in touched.invites.union(&invitations) {
            let id = self.graph.id(*invite);
            let shown = self.invite(authority, *invite, id);
            set(&mut state.invites, id, shown);
        }
        sealed
    }

    fn show_member(
        &self,
        state: &mut State,
        authority: &Authority,
        user: UserId,
        offices: &BTreeMap<UserId, (Seniority, EventId)>,
        devices: &mut BTreeSet<DeviceId>,
    ) {
        let before = state.members.remove(&user);
        for tag in before.iter().flat_map(|member| &member.tags) {
            if let Some(tagged) = state.tags.get_mut(tag) {
                tagged.remove(&user);
                if tagged.is_empty() {
                    state.tags.remove(tag);
                }
            }
        }
        let was = before.is_some();
        let person = self.book.people.now(&user);
        let shown = person.and_then(|person| Some((person, person.name.clone()?)));
        let after = match (shown, authority.members.get(&user)) {
            (Some((person, name)), Some(membership)) => Some(Member {
                user,
                rank: match offices.get(&user) {
                    Some((Seniority::Owner(_), _)) => Rank::Owner,
                    Some((Seniority::Admin(..), grant)) => Rank::Admin { grant: *grant },
                    None => Rank::Member,
                },
                name,
                tags: person.tags.clone(),
                devices: before.map(|member| member.devices).unwrap_or_default(),
                admitted: membership.admitted,
                admitted_by: membership.by,
                at: membership.at,
            }),
            _ => None,
        };
        if after.is_some() != was
            && let Some(user) = self.cast.user(&user)
        {
            let of = self.cast.devices_of(user).iter();
            devices.extend(of.map(|device| self.cast.device_id(*device)));
        }
        for tag in after.iter().flat_map(|member| &member.tags) {
            state.tags.entry(tag.clone()).or_default().insert(user);
        }
        set(&mut state.members, user, after);
    }

    fn show_device(
        &self,
        state: &mut State,
        authority: &Authority,
        id: DeviceId,
        offers: &mut BTreeSet<Place>,
    ) {
        let before = state.devices.remove(&id);
        if let Some(before) = &before
            && let Some(member) = state.members.get_mut(&before.user)
        {
            member.devices.remove(&id);
        }
        let after = self.device(state, authority, id);
        // It may have gone and come back in between.
        offers.extend(self.book.offers.range((id, 0)..=(id, u32::MAX)));
        if let Some(after) = after {
            if let Some(member) = state.members.get_mut(&after.user) {
                member.devices.insert(id);
            }
            state.devices.insert(id, after);
        }
    }

    fn device(&self, state: &State, authority: &Authority, id: DeviceId) -> Option<Device> {
        let (home, shown) = (self.book.homes.now(&id)?, self.book.shown.now(&id)?);
        let live = authority.devices.get(&id)?;
        state.members.get(&home.user)?;
        Some(Device {
            id,
            user: home.user,
            host: shown.host.clone(),
            v4: shown.v4,
            v6: state.network.address_v6(&id),
            wireguard: self.book.wireguard.now(&id).copied(),
            box_key: live.box_key,
            event: live.event,
            joined: self
                .graph
                .find(&live.event)
                .map_or(0, |idx| self.graph.lamport(idx)),
        })
    }

    fn offered(
        &self,
        state: &State,
        authority: &Authority,
        place: Place,
    ) -> (Option<StandingOffer>, Option<StandingNarrow>) {
        let approved = |event| self.approved(authority, place, event);
        match self.standing(state, place) {
            None => (None, None),
            Some((Standing::Plain(offer), event)) => {
                let standing = StandingOffer {
                    approved: !offer.what.asks_approval() || approved(&event),
                    offer,
                    event,
                    narrow: false,
                };
                (Some(standing), None)
            }
            Some((Standing::Narrow(offer), event)) => {
                let standing = StandingNarrow {
                    approved: approved(&event),
                    offer,
                    event,
                };
                (None, Some(standing))
            }
        }
    }

    /// What stands in a slot of a device that is there, and by which event.
    fn standing(&self, state: &State, place: Place) -> Option<(Standing, EventId)> {
        state.devices.get(&place.0)?;
        let (idx, offered) = self.book.offers.last(&place)?;
        if self.since(place.0)? != offered.since {
            return None;
        }
        let opened = self.opened.of(self.graph, idx);
        let Opened::Open(Attributes::Writes(writes)) = &*opened else {
            return None;
        };
        let standing = writes.iter().rev().find_map(|write| match write {
            Write::Offer {
                device,
                slot,
                offer,
            } if (*device, *slot) == place => offer.clone().map(Standing::Plain),
            Write::Narrow {
                device,
                slot,
                offer,
            } if (*device, *slot) == place => Some(Standing::Narrow(offer.clone())),
            _ => None,
        });
        Some((standing?, self.graph.id(idx)))
    }

    /// By which event a device came that is there.
    fn since(&self, device: DeviceId) -> Option<Idx> {
        Some(self.book.homes.now(&device)?.since)
    }

    /// Whether an offer that needs an approval may be used.
    fn approved(&self, authority: &Authority, place: Place, offer: &EventId) -> bool {
        let since = self.since(place.0);
        let approval = self.book.approvals.now(&place);
        let approval = approval.filter(|approval| Some(approval.since) == since);
        authority.policy.free_routes
            || approval.is_some_and(|approval| approval.approved && approval.offer == *offer)
    }

    fn invite(&self, authority: &Authority, invite: Idx, id: EventId) -> Option<StandingInvite> {
        self.book.invitations.now(&invite)?;
        let opened = self.opened.of(self.graph, invite);
        let Opened::Open(Attributes::Invitation(invitation)) = &*opened else {
            return None;
        };
        let issued = authority.invites.get(&id)?;
        Some(StandingInvite {
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
        })
    }
}

/// The most senior live term of each of these users who holds one.
fn offices(
    authority: &Authority,
    users: &BTreeSet<UserId>,
) -> BTreeMap<UserId, (Seniority, EventId)> {
    let mut offices = BTreeMap::new();
    if users.is_empty() {
        return offices;
    }
    for (start, term) in &authority.terms {
        if term.ended.is_none() && users.contains(&term.holder) {
            let office = offices.entry(term.holder).or_insert((term.rank, *start));
            *office = (*office).min((term.rank, *start));
        }
    }
    offices
}
