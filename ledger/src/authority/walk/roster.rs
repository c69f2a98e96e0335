//! Who comes and who goes.

use super::roll::{Owners, Presence};
use super::{Effect, Joined, LivePair, Walk, primary};
use crate::authority::cast::{D, U};
use crate::authority::proof::{Proof, mutual};
use crate::authority::removals::{Removal, Scope};
use crate::graph::Idx;
use crate::ids::BoxKey;

impl Walk<'_> {
    pub(super) fn join(&mut self, idx: Idx, user: U, by: Option<U>, at: u64, invite: Option<Idx>) {
        if !self.roll.is_member(&mut self.now, user) {
            let joined = Presence::Here(Joined { event: idx, by, at });
            self.roll.presence.write(&mut self.now, &user, Some(joined));
            self.roll.effects.push(Effect::Joined(user, invite));
        }
    }

    /// Admits a device, and its user for further ones.
    pub(super) fn add_device(&mut self, idx: Idx, user: U, device: D, box_key: BoxKey) {
        let graph = self.graph;
        self.roll.admit(&self.now, user, device);
        if self.reached(user, device, idx, idx).is_some() {
            return;
        }
        let mutual = graph.proof(idx) == Proof::Holds && mutual(graph.event(idx).act()).is_some();
        let mut pairs = self.roll.owners(&mut self.now, device).pairs;
        let before = primary(&pairs).map(|pair| pair.user);
        match pairs.iter_mut().find(|pair| pair.user == user) {
            Some(pair) => pair.mutual |= mutual,
            None => pairs.push(LivePair {
                user,
                event: idx,
                box_key,
                mutual,
            }),
        }
        self.rehome(device, Owners { pairs, gone: None }, before);
    }

    pub(super) fn remove(&mut self, idx: Idx) {
        let (terms, cast) = (self.terms, self.cast);
        let mut of_members = false;
        for (scope, removal) in terms.removals.by(idx) {
            match scope {
                Scope::User(user) => {
                    of_members = true;
                    let mut devices = cast.devices_of(user).to_vec();
                    devices.sort_unstable_by_key(|device| cast.device_id(*device));
                    for device in devices {
                        self.remove_device(idx, device, Some(user), removal);
                    }
                    if self
                        .roll
                        .joined(&mut self.now, user)
                        .is_some_and(|joined| !removal.known_to(self.graph, joined.event))
                    {
                        let gone = Some(Presence::Gone(idx));
                        self.roll.presence.write(&mut self.now, &user, gone);
                        self.roll.effects.push(Effect::UserGone(user));
                    }
                }
                Scope::Device(device) => {
                    of_members = true;
                    self.remove_device(idx, device, None, removal);
                }
                Scope::Pair(user, device) => {
                    of_members = true;
                    self.remove_device(idx, device, Some(user), removal);
                }
                Scope::Term(_) => {}
            }
        }
        if of_members {
            self.roll.ask(&self.now);
        }
    }

    fn remove_device(&mut self, idx: Idx, device: D, of: Option<U>, removal: &Removal) {
        let graph = self.graph;
        let mut owners = self.roll.owners(&mut self.now, device);
        let before = primary(&owners.pairs).map(|pair| pair.user);
        let count = owners.pairs.len();
        owners.pairs.retain(|pair| {
            of.is_some_and(|user| user != pair.user) || removal.known_to(graph, pair.event)
        });
        if owners.pairs.len() < count {
            if owners.pairs.is_empty() {
                owners.gone = Some(idx);
            }
            self.rehome(device, owners, before);
        }
    }

    /// Sets whose a device is. `before`: whose it was shown to be.
    fn rehome(&mut self, device: D, owners: Owners, before: Option<U>) {
        let after = primary(&owners.pairs).map(|pair| pair.user);
        self.roll.owners.write(&mut self.now, &device, Some(owners));
        match after {
            _ if before == after => {}
            Some(user) => self.roll.effects.push(Effect::Device(device, user)),
            None => self.roll.effects.push(Effect::DeviceGone(device)),
        }
    }
}
