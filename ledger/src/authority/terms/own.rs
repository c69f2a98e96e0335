//! What users decide about themselves: leaving, and removing devices of their own.

use std::collections::BTreeMap;

use super::Terms;
use crate::authority::cast::{D, U, sort_by_rank};
use crate::authority::removals::{Removal, Scope};
use crate::authority::succession::past_of_cut;
use crate::event::Act;
use crate::event::act::{Remove, Target};
use crate::graph::{Idx, Past};
use crate::ids::EventId;
use crate::verdict::Reason;

impl Terms<'_> {
    /// Decides what a user says about itself: its key about its devices first, then its devices about themselves and the
    /// user. It is decided once, before its most senior term acts, or at the end.
    pub(super) fn settle_own(&mut self, user: U) {
        if !self.settled.said.insert(user) {
            return;
        }
        let mut by_key = self.cast.own_keys.get(&user).cloned().unwrap_or_default();
        sort_by_rank(self.graph, &mut by_key);
        let mut said: BTreeMap<(D, Vec<EventId>), Vec<Idx>> = BTreeMap::new();
        for idx in by_key {
            match self.by_own_key(user, idx) {
                Ok(what) => {
                    self.settled.accepted.insert(idx);
                    said.entry(what).or_default().push(idx);
                }
                Err(reason) => {
                    self.settled.reasons.insert(idx, reason);
                }
            }
        }
        for ((device, heads), carriers) in said {
            let cut = past_of_cut(self.graph, carriers[0], &heads);
            self.settled.removals.add(
                Scope::Pair(user, device),
                Removal {
                    carriers,
                    cut,
                    own: false,
                    rank: None,
                },
            );
        }
        let cast = self.cast;
        for idx in cast.goings_of(self.graph, user) {
            let event = self.graph.event(idx);
            let Act::Remove(act) = event.act() else {
                continue;
            };
            let device = self.cast.author(idx);
            let scope = match act.target {
                Target::User(target) if target == self.cast.user_id(user) => Scope::User(user),
                Target::Device(target) if target == self.cast.device_id(device) => {
                    Scope::Pair(user, device)
                }
                _ => continue,
            };
            if act.by_user.is_some() || !self.cast.certified(self.graph, user, device, idx) {
                continue;
            }
            match self.goes_itself(user, device, idx, act) {
                Ok(cut) => {
                    self.settled.accepted.insert(idx);
                    self.settled.reasons.remove(&idx);
                    self.settled.removals.add(
                        scope,
                        Removal {
                            carriers: vec![idx],
                            cut,
                            own: true,
                            rank: None,
                        },
                    );
                }
                Err(reason) => {
                    self.settled.reasons.entry(idx).or_insert(reason);
                }
            }
        }
    }

    /// A removal that a user key signed. Whoever carries it, what counts is the signature; so it must bring its own cut,
    /// or carrying it again from another place would mean something else.
    pub(super) fn by_own_key(&self, user: U, idx: Idx) -> Result<(D, Vec<EventId>), Reason> {
        let event = self.graph.event(idx);
        let Act::Remove(act) = event.act() else {
            return Err(Reason::NeedsUserKey);
        };
        let (Target::Device(device), Some(heads)) = (act.target, &act.cut) else {
            return Err(Reason::NeedsUserKey);
        };
        self.cut(idx, act)?;
        self.not_removed(user, idx)?;
        Ok((self.known_device(device, idx)?, heads.clone()))
    }

    /// A leave, or a device that removes itself.
    pub(super) fn goes_itself(
        &self,
        user: U,
        device: D,
        idx: Idx,
        act: &Remove,
    ) -> Result<Option<Past>, Reason> {
        let graph = self.graph;
        let cut = self.cut(idx, act)?;
        if matches!(act.target, Target::User(_)) && self.owns(user, idx) {
            return Err(Reason::OwnerStays);
        }
        self.not_removed(user, idx)?;
        for scope in [Scope::Device(device), Scope::Pair(user, device)] {
            // A removed device never speaks for its user in this again, or a stolen one could.
            if let Some(removal) = self
                .removals
                .of(scope)
                .find(|removal| !removal.covers(graph, idx))
            {
                return Err(Reason::DeviceRemoved {
                    who: self.cast.user_id(user).into(),
                    device: self.cast.device_id(device),
                    by: graph.id(removal.event()),
                });
            }
        }
        Ok(cut)
    }

    /// Fails if a removal of the user reaches an event, and no act in the event's past admits the user again.
    pub(super) fn not_removed(&self, user: U, event: Idx) -> Result<(), Reason> {
        let graph = self.graph;
        let reaches = |removal: &&Removal| {
            !removal.covers(graph, event)
                && !self.cast.admissions(user).iter().any(|admission| {
                    removal.known_to(graph, *admission) && graph.precedes(*admission, event)
                })
        };
        match self.settled.removals.of(Scope::User(user)).find(reaches) {
            None => Ok(()),
            Some(removal) => Err(Reason::UserRemoved {
                who: self.cast.user_id(user).into(),
                by: graph.id(removal.event()),
            }),
        }
    }

    /// Whether a user was the owner when its device wrote an event, or became it without knowing of the event.
    pub(super) fn owns(&self, user: U, event: Idx) -> bool {
        let graph = self.graph;
        let holder = self.cast.user_id(user);
        self.settled.line.iter().enumerate().any(|(n, term)| {
            if term.holder != holder || term.starts.iter().any(|s| graph.precedes(event, *s)) {
                return false;
            }
            match self.settled.line.get(n + 1) {
                Some(next) => next
                    .cut
                    .as_ref()
                    .is_some_and(|cut| graph.within(event, cut)),
                None => true,
            }
        })
    }
}
