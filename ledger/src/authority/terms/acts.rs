//! Acts of a term: grants and removals.

use std::collections::BTreeMap;

use super::{Began, Return, Terms, unproven};
use crate::authority::Seniority;
use crate::authority::cast::{D, U};
use crate::authority::proof::Proof;
use crate::authority::removals::{Removal, Scope};
use crate::authority::succession::past_of_cut;
use crate::event::Act;
use crate::event::act::{Remove, Target};
use crate::graph::{Idx, Past};
use crate::ids::DeviceId;
use crate::verdict::Reason;

impl Terms<'_> {
    /// Judges an act of a term that holds. `false`: not an act of this term.
    pub(super) fn judge(
        &mut self,
        term: &Began,
        idx: Idx,
        waiting: &mut BTreeMap<Seniority, Began>,
    ) -> Result<bool, Reason> {
        let graph = self.graph;
        let event = graph.event(idx);
        match event.act() {
            Act::Grant(act) => {
                let unknown = Reason::NotAMember {
                    who: act.user.into(),
                };
                let user = self.cast.user(&act.user).ok_or(unknown)?;
                if user == term.holder {
                    return Err(Reason::OwnGrant);
                }
                let rank = Seniority::Admin(event.header().lamport, event.id());
                waiting.insert(
                    rank,
                    Began {
                        holder: user,
                        starts: vec![idx],
                        rank,
                    },
                );
                Ok(true)
            }
            Act::Admit(act) => {
                if let (Proof::Holds, Some(user), Some(device)) = (
                    graph.proof(idx),
                    self.cast.user(&act.user),
                    self.cast.device(&act.device),
                ) {
                    self.settled
                        .returns
                        .entry((user, device))
                        .or_default()
                        .push(Return {
                            admission: idx,
                            rank: term.rank,
                        });
                }
                Ok(false)
            }
            Act::Remove(act) => self.judge_removal(term, idx, act),
            _ => Ok(false),
        }
    }

    pub(super) fn judge_removal(
        &mut self,
        term: &Began,
        idx: Idx,
        act: &Remove,
    ) -> Result<bool, Reason> {
        let graph = self.graph;
        if act.by_user.is_some() {
            return Err(unproven(graph, idx));
        }
        let cut = self.cut(idx, act)?;
        let scope = match act.target {
            Target::User(user) => {
                let known = self.cast.user(&user).filter(|user| {
                    self.cast
                        .admissions(*user)
                        .iter()
                        .any(|admission| graph.precedes(*admission, idx))
                });
                let number = known.ok_or(Reason::NotAMember { who: user.into() })?;
                if number == term.holder {
                    return Ok(false);
                }
                self.unprotected(number, term, idx)?;
                Scope::User(number)
            }
            Target::Device(device) => {
                let number = self.known_device(device, idx)?;
                for user in self.cast.users_of(number) {
                    if *user == term.holder {
                        return if number == self.cast.author(idx) {
                            Ok(false)
                        } else {
                            Err(Reason::NeedsUserKey)
                        };
                    }
                    self.unprotected(*user, term, idx)?;
                }
                Scope::Device(number)
            }
            Target::Term { user, grant } => {
                let none = Reason::NoSuchTerm { grant };
                let start = graph
                    .find(&grant)
                    .filter(|start| graph.precedes(*start, idx))
                    .ok_or(none.clone())?;
                let event = graph.event(start);
                if !matches!(event.act(), Act::Grant(act) if act.user == user) {
                    return Err(none);
                }
                // One's own term may be given up under itself, so "not senior" is enough.
                if Seniority::Admin(event.header().lamport, grant) < term.rank {
                    return Err(Reason::Outranked {
                        who: user.into(),
                        term: grant,
                    });
                }
                Scope::Term(start)
            }
        };
        self.settled.removals.add(
            scope,
            Removal {
                carriers: vec![idx],
                cut,
                own: false,
                rank: Some(term.rank),
            },
        );
        Ok(true)
    }

    pub(super) fn known_device(&self, device: DeviceId, before: Idx) -> Result<D, Reason> {
        self.cast
            .device(&device)
            .filter(|number| {
                self.cast
                    .users_of(*number)
                    .iter()
                    .any(|user| self.cast.certified(self.graph, *user, *number, before))
            })
            .ok_or(Reason::NoSuchDevice { device })
    }

    /// Fails if a user holds a term senior to `term` that had not ended, as far as the event's author could know.
    pub(super) fn unprotected(&self, user: U, term: &Began, event: Idx) -> Result<(), Reason> {
        for rank in self.settled.by_holder.get(&user).into_iter().flatten() {
            let Some(senior) = self.settled.began.get(rank).filter(|_| *rank < term.rank) else {
                continue;
            };
            // What was void when it was written does not come alive when the senior's term ends later.
            let over = self
                .endings(senior)
                .any(|removal| !self.graph.precedes(event, removal.event()));
            if !over {
                return Err(match rank {
                    Seniority::Owner(_) => Reason::OwnerStays,
                    Seniority::Admin(_, grant) => Reason::Outranked {
                        who: self.cast.user_id(user).into(),
                        term: *grant,
                    },
                });
            }
        }
        Ok(())
    }

    pub(super) fn cut(&self, idx: Idx, act: &Remove) -> Result<Option<Past>, Reason> {
        act.cut
            .as_deref()
            .map(|heads| past_of_cut(self.graph, idx, heads).ok_or(Reason::CutOutside))
            .transpose()
    }
}
