//! Who is here at this point of the walk.

use std::collections::btree_map::Entry;

use super::{Effect, Joined, LivePair, Walk, primary};
use crate::authority::cast::{D, U};
use crate::authority::proof::{Proof, mutual};
use crate::authority::removals::{Removal, Scope};
use crate::graph::Idx;
use crate::ids::BoxKey;

impl Walk<'_> {
    pub(super) fn join(&mut self, idx: Idx, user: U, by: Option<U>, at: u64, invite: Option<Idx>) {
        self.admitted[user.0 as usize].push(idx);
        if let Entry::Vacant(vacant) = self.members.entry(user) {
            vacant.insert(Joined { event: idx, by, at });
            self.gone_users.remove(&user);
            self.effects.push((idx, Effect::Joined(user, invite)));
        }
    }

    pub(super) fn add_device(&mut self, idx: Idx, user: U, device: D, box_key: BoxKey) {
        let graph = self.graph;
        self.admissions[device.0 as usize].push((user, idx));
        if self.reached(user, device, idx, idx).is_some() {
            return;
        }
        let mutual = graph.proof(idx) == Proof::Holds && mutual(graph.event(idx).act()).is_some();
        let pairs = self.pairs.entry(device).or_default();
        let before = primary(pairs).map(|pair| pair.user);
        match pairs.iter_mut().find(|pair| pair.user == user) {
            Some(pair) => pair.mutual |= mutual,
            None => pairs.push(LivePair {
                user,
                event: idx,
                box_key,
                mutual,
            }),
        }
        self.live_devices.entry(user).or_default().insert(device);
        self.gone_devices.remove(&device);
        self.rehome(idx, device, before);
    }

    pub(super) fn rehome(&mut self, idx: Idx, device: D, before: Option<U>) {
        let after = self
            .pairs
            .get(&device)
            .and_then(|pairs| primary(pairs))
            .map(|pair| pair.user);
        match after {
            _ if before == after => {}
            Some(user) => self.effects.push((idx, Effect::Device(device, user))),
            None => {
                self.gone_devices.insert(device, idx);
                self.effects.push((idx, Effect::DeviceGone(device)));
            }
        }
    }

    pub(super) fn remove(&mut self, idx: Idx) {
        let terms = self.terms;
        let mut of_members = false;
        for (scope, removal) in terms.removals.by(idx) {
            match scope {
                Scope::User(user) => {
                    of_members = true;
                    let devices = self.live_devices.get(&user).cloned().unwrap_or_default();
                    for device in devices {
                        self.remove_device(idx, device, Some(user), removal);
                    }
                    if self
                        .members
                        .get(&user)
                        .is_some_and(|joined| !removal.known_to(self.graph, joined.event))
                    {
                        self.members.remove(&user);
                        self.gone_users.insert(user, idx);
                        self.effects.push((idx, Effect::UserGone(user)));
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
            self.due.push((idx, Vec::new()));
        }
    }

    pub(super) fn remove_device(&mut self, idx: Idx, device: D, of: Option<U>, removal: &Removal) {
        let graph = self.graph;
        let Some(pairs) = self.pairs.get_mut(&device) else {
            return;
        };
        let before = primary(pairs).map(|pair| pair.user);
        let live_devices = &mut self.live_devices;
        pairs.retain(|pair| {
            let stays =
                of.is_some_and(|user| user != pair.user) || removal.known_to(graph, pair.event);
            if !stays && let Some(devices) = live_devices.get_mut(&pair.user) {
                devices.remove(&device);
            }
            stays
        });
        if pairs.is_empty() {
            self.pairs.remove(&device);
        }
        self.rehome(idx, device, before);
    }
}
