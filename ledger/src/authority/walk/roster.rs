//! Who comes and who goes.

use super::{Effect, Joined, LivePair, Walk, primary};
use crate::authority::cast::{D, U};
use crate::authority::proof::{Proof, mutual};
use crate::authority::removals::{Removal, Scope};
use crate::graph::Idx;
use crate::ids::BoxKey;

impl Walk<'_> {
    pub(super) fn join(&mut self, idx: Idx, user: U, by: Option<U>, at: u64, invite: Option<Idx>) {
        self.roll.add_admitted(user, idx);
        if !self.roll.members.contains_key(&user) {
            let joined = Joined { event: idx, by, at };
            self.roll.set_member(user, Some(joined));
            self.roll.set_gone_user(user, None);
            self.roll.effects.push(Effect::Joined(user, invite));
        }
    }

    pub(super) fn add_device(&mut self, idx: Idx, user: U, device: D, box_key: BoxKey) {
        let graph = self.graph;
        self.roll.add_admission(device, user, idx);
        if self.reached(user, device, idx, idx).is_some() {
            return;
        }
        let mutual = graph.proof(idx) == Proof::Holds && mutual(graph.event(idx).act()).is_some();
        let mut pairs = self.pairs(device);
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
        self.roll.set_pairs(device, pairs);
        self.roll.set_gone_device(device, None);
        self.rehome(idx, device, before);
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
                        .members
                        .get(&user)
                        .is_some_and(|joined| !removal.known_to(self.graph, joined.event))
                    {
                        self.roll.set_member(user, None);
                        self.roll.set_gone_user(user, Some(idx));
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
            self.roll.ask(idx);
        }
    }

    fn remove_device(&mut self, idx: Idx, device: D, of: Option<U>, removal: &Removal) {
        let graph = self.graph;
        let mut pairs = self.pairs(device);
        let (before, count) = (primary(&pairs).map(|pair| pair.user), pairs.len());
        pairs.retain(|pair| {
            of.is_some_and(|user| user != pair.user) || removal.known_to(graph, pair.event)
        });
        if pairs.len() < count {
            self.roll.set_pairs(device, pairs);
            self.rehome(idx, device, before);
        }
    }

    fn rehome(&mut self, idx: Idx, device: D, before: Option<U>) {
        let after = self
            .roll
            .pairs
            .get(&device)
            .and_then(|pairs| primary(pairs))
            .map(|pair| pair.user);
        match after {
            _ if before == after => {}
            Some(user) => self.roll.effects.push(Effect::Device(device, user)),
            None => {
                self.roll.set_gone_device(device, Some(idx));
                self.roll.effects.push(Effect::DeviceGone(device));
            }
        }
    }

    fn pairs(&self, device: D) -> Vec<LivePair> {
        self.roll.pairs.get(&device).cloned().unwrap_or_default()
    }
}
