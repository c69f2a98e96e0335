//! The network as it was.

use std::collections::BTreeMap;

use mesh_ledger::ids::{DeviceId, UserId};
use mesh_ledger::past::Reading;
use mesh_ledger::state::Rank;

use super::event_ref;
use super::names::Names;
use super::state::{Live, Viewer, rank};
use crate::history::{AsOf, Past, PastDevice, PastMember, PastOffer};
use crate::view::Audience;

/// What there was, of a reading that ends at `as_of`.
pub fn past(reading: Reading<'_>, as_of: AsOf) -> Past {
    let state = &reading.fold.state;
    let names = Names::of(reading);
    let viewer = Viewer {
        graph: reading.graph,
        fold: reading.fold,
        me: DeviceId([0; 32]),
        now: as_of.time_ms,
        live: &|_| Live::offline(None),
    };
    let mut ranked: Vec<UserId> = state.members.keys().copied().collect();
    ranked.retain(|user| {
        state
            .members
            .get(user)
            .is_some_and(|m| m.rank != Rank::Member)
    });
    ranked.sort_by_key(|user| {
        reading
            .fold
            .authority
            .office(user)
            .map(|(_, term)| term.rank)
    });
    let seniority: BTreeMap<UserId, u32> = ranked.into_iter().zip(0..).collect();
    let mut members: Vec<PastMember> = state
        .members
        .values()
        .map(|member| {
            let view = viewer.member(member);
            PastMember {
                user: view.user,
                short: view.short,
                name: view.name,
                rank: rank(member.rank),
                seniority: seniority.get(&member.user).copied(),
                admitted: view.admitted,
                tags: member.tags.iter().map(ToString::to_string).collect(),
                devices: view
                    .devices
                    .into_iter()
                    .map(|device| PastDevice {
                        device: device.device,
                        name: device.name,
                        address: device.address,
                        address6: device.address6,
                    })
                    .collect(),
            }
        })
        .collect();
    members.sort_by(|a, b| a.name.cmp(&b.name));
    let mut offers: Vec<PastOffer> = state
        .offers
        .iter()
        .filter(|(_, standing)| {
            let until = standing.offer.until;
            until.is_none_or(|until| until > as_of.time_ms)
        })
        .map(|((device, _), standing)| PastOffer {
            event: event_ref(&standing.event),
            device: names.device(device),
            what: super::log::service(&standing.offer.what),
            name: standing.offer.name.as_ref().map(ToString::to_string),
            to: audience(&standing.offer.audience, &names),
            until_ms: standing.offer.until,
        })
        .collect();
    offers.sort_by(|a, b| (&a.device, &a.what).cmp(&(&b.device, &b.what)));
    Past {
        network: super::network_name(reading),
        id: state.network.to_string(),
        subnet: state
            .subnet
            .map(|subnet| subnet.to_string())
            .unwrap_or_default(),
        members,
        offers,
        invites: viewer.invites(),
        servers: state.servers.iter().map(super::server_place).collect(),
        as_of,
    }
}

/// To whom, by names.
pub fn audience(audience: &mesh_ledger::event::attributes::Audience, names: &Names) -> Audience {
    match audience {
        mesh_ledger::event::attributes::Audience::Everyone => Audience::All,
        only @ mesh_ledger::event::attributes::Audience::Only { .. } => {
            let names = super::log::audience(only, names);
            Audience::Names(names.split(' ').map(str::to_owned).collect())
        }
    }
}
