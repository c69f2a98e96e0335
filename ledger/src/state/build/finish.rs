//! The state at the end of the replay: what was built, of those who are members still.

use std::collections::{BTreeMap, BTreeSet};

use super::Build;
use crate::authority::{Authority, Seniority};
use crate::ids::{DeviceId, EventId, UserId};
use crate::state::{Device, Member, Rank, StandingInvite, StandingNarrow, StandingOffer, State};

impl Build<'_> {
    pub(super) fn finish(self, authority: &Authority) -> State {
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
                    joined: self
                        .graph
                        .find(&live.event)
                        .map_or(0, |idx| self.graph.event(idx).header().lamport),
                },
            );
        }
        let approvals = self.approvals;
        let approved = |place: &(DeviceId, u32), event: &EventId| {
            authority.policy.free_routes
                || approvals
                    .get(place)
                    .is_some_and(|approval| approval.approved && approval.offer == *event)
        };
        for (place, (offer, event)) in self.offers {
            if !state.devices.contains_key(&place.0) {
                continue;
            }
            let approved = !offer.what.asks_approval() || approved(&place, &event);
            state.offers.insert(
                place,
                StandingOffer {
                    offer,
                    event,
                    approved,
                    narrow: false,
                },
            );
        }
        for (place, (offer, event)) in self.narrow {
            if state.devices.contains_key(&place.0) {
                let approved = approved(&place, &event);
                state.narrow.insert(
                    place,
                    StandingNarrow {
                        offer,
                        event,
                        approved,
                    },
                );
            }
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
