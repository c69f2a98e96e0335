//! Members that forward between others: who offers it to whom, by the ledger.
//!
//! A device that offers a relay forwards sealed packets between any two members that it is offered to, one hop, over its
//! control links with both. Who it is offered to finds it among the offers that it can open.

use std::collections::BTreeSet;

use mesh_ledger::event::attributes::Service;
use mesh_ledger::ids::{DeviceId, EventId};
use mesh_ledger::state::State;

use crate::desired::{device_id, peer_id};
use crate::path::MAX_RELAYS;
use crate::peer::PeerId;

/// Between whom `me` forwards, all pairs of them: nobody, unless it offers that. `ended` are own offers that were seen to end,
/// whatever the clock says now.
#[must_use]
pub fn forwards_between(
    state: &State,
    me: &DeviceId,
    ended: &BTreeSet<EventId>,
    now: u64,
) -> BTreeSet<PeerId> {
    let own = state.offers.range((*me, 0)..=(*me, u32::MAX));
    let audiences: Vec<_> = own
        .map(|(_, standing)| standing)
        .filter(|standing| {
            standing.offer.what == Service::Relay
                && !ended.contains(&standing.event)
                && standing.offer.until.is_none_or(|until| until > now)
        })
        .map(|standing| &standing.offer.audience)
        .collect();
    let others = state.devices.keys().filter(|device| *device != me);
    others
        .filter(|device| {
            audiences
                .iter()
                .any(|audience| state.admits(audience, device))
        })
        .map(peer_id)
        .collect()
}

/// Who offers to forward for `me`.
#[must_use]
pub fn forwarders(state: &State, me: &DeviceId, now: u64) -> BTreeSet<PeerId> {
    let offers = state.offers.iter().filter(|((device, _), standing)| {
        standing.offer.what == Service::Relay
            && device != me
            && state.devices.contains_key(device)
            && standing.offer.until.is_none_or(|until| until > now)
            && state.admits(&standing.offer.audience, me)
    });
    offers.map(|((device, _), _)| peer_id(device)).collect()
}

/// With which of them to be linked all the time, so that they are there when needed: the same few for everybody, since two
/// need one in common; those first that are known to be online.
#[must_use]
pub fn kept_near(
    forwarders: &BTreeSet<PeerId>,
    online: impl Fn(&DeviceId) -> bool,
) -> BTreeSet<PeerId> {
    let (near, far): (Vec<_>, Vec<_>) =
        forwarders.iter().partition(|peer| online(&device_id(peer)));
    near.into_iter()
        .chain(far)
        .take(MAX_RELAYS)
        .copied()
        .collect()
}
