//! What the book amounts to, of those who are members still, brought up to date where it or the authority was touched.

use std::collections::{BTreeMap, BTreeSet};

use super::Build;
use crate::authority::walk::{Touched, set};
use crate::authority::{Authority, Seniority};
use crate::event::attributes::{Attributes, Opened};
use crate::ids::{DeviceId, EventId, UserId};
use crate::state::book::{Entries, Place};
use crate::state::{Device, Member, Rank, StandingInvite, StandingNarrow, StandingOffer, State};

impl Build<'_> {
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
            state.settings.clone_from(&self.book.settings);
            state.servers.clone_from(&self.book.servers);
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
            self.show_member(state, authority, user, &offices);
        }
        for device in devices {
            self.show_device(state, authority, device, &mut offers);
        }
        let mut sealed = Vec::new();
        for place in offers {
            let offer = self.offer(state, authority, place);
            set(&mut state.offers, place, offer);
            let narrow = self.narrow(state, authority, place);
            if narrow.is_some() {
                sealed.push(place);
            }
            set(&mut state.narrow, place, narrow);
        }
        for invite in touched.invites.union(&invitations) {
            let id = self.graph.event(*invite).id();
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
        let person = self.book.people.get(&user);
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
        if before.is_some() != after.is_some() {
            let slots = (id, 0)..=(id, u32::MAX);
            offers.extend(self.book.offers.range(slots.clone()).map(|(at, _)| *at));
            offers.extend(self.book.narrow.range(slots.clone()).map(|(at, _)| *at));
            offers.extend(state.offers.range(slots.clone()).map(|(at, _)| *at));
            offers.extend(state.narrow.range(slots).map(|(at, _)| *at));
        }
        if let Some(after) = after {
            if let Some(member) = state.members.get_mut(&after.user) {
                member.devices.insert(id);
            }
            state.devices.insert(id, after);
        }
    }

    fn device(&self, state: &State, authority: &Authority, id: DeviceId) -> Option<Device> {
        let host = self.book.devices.get(&id)?;
        let (shown, live) = (host.shown.as_ref()?, authority.devices.get(&id)?);
        state.members.get(&host.user)?;
        Some(Device {
            id,
            user: host.user,
            host: shown.host.clone(),
            v4: shown.v4,
            v6: state.network.address_v6(&id),
            wireguard: shown.wireguard,
            box_key: live.box_key,
            event: live.event,
            joined: self
                .graph
                .find(&live.event)
                .map_or(0, |idx| self.graph.event(idx).header().lamport),
        })
    }

    fn offer(&self, state: &State, authority: &Authority, place: Place) -> Option<StandingOffer> {
        let (offer, event) = self.book.offers.get(&place)?;
        state.devices.get(&place.0)?;
        Some(StandingOffer {
            offer: offer.clone(),
            event: *event,
            approved: !offer.what.asks_approval() || self.approved(authority, place, event),
            narrow: false,
        })
    }

    fn narrow(&self, state: &State, authority: &Authority, place: Place) -> Option<StandingNarrow> {
        let (offer, event) = self.book.narrow.get(&place)?;
        state.devices.get(&place.0)?;
        Some(StandingNarrow {
            offer: offer.clone(),
            event: *event,
            approved: self.approved(authority, place, event),
        })
    }

    /// Whether an offer that needs an approval may be used.
    fn approved(&self, authority: &Authority, place: Place, offer: &EventId) -> bool {
        let approval = self.book.approvals.get(&place);
        authority.policy.free_routes
            || approval.is_some_and(|approval| approval.approved && approval.offer == *offer)
    }

    fn invite(
        &self,
        authority: &Authority,
        invite: crate::graph::Idx,
        id: EventId,
    ) -> Option<StandingInvite> {
        if !self.book.invitations.contains(&invite) {
            return None;
        }
        let Opened::Open(Attributes::Invitation(invitation)) = self.opened(invite) else {
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
