//! What the roll amounts to, brought up to date where it was touched.

use super::roll::Presence;
use super::{Touched, Walk, lapsed, primary, set};
use crate::authority::{Authority, IssuedInvite, LiveDevice, Membership, Term};
use crate::event::Act;
use crate::graph::Idx;
use crate::ids::EventId;

impl Walk<'_> {
    /// Shows terms and the owner anew.
    pub(crate) fn show_terms(&self, authority: &mut Authority) {
        if let Some(last) = self.terms.line.last() {
            authority.owner = last.holder;
            authority.recovery = last.recovery;
        }
        authority.terms.clear();
        for (rank, term) in &self.terms.began {
            for start in &term.starts {
                authority.terms.insert(
                    self.id(*start),
                    Term {
                        holder: self.cast.user_id(term.holder),
                        rank: *rank,
                        ended: self.terms.ended(term).map(|by| self.id(by)),
                    },
                );
            }
        }
    }

    /// Shows who and what was touched.
    pub(crate) fn show(&self, authority: &mut Authority, touched: &Touched) {
        let (roll, cast) = (&*self.roll, self.cast);
        for user in &touched.users {
            let id = cast.user_id(*user);
            let presence = roll.presence.now(user).copied();
            let membership = match presence {
                Some(Presence::Here(joined)) => Some(Membership {
                    admitted: self.id(joined.event),
                    by: joined.by.map(|by| cast.user_id(by)),
                    at: joined.at,
                }),
                _ => None,
            };
            set(&mut authority.members, id, membership);
            let gone = match presence {
                Some(Presence::Gone(by)) => Some(self.id(by)),
                _ => None,
            };
            set(&mut authority.removed_users, id, gone);
        }
        for device in &touched.devices {
            let id = cast.device_id(*device);
            let owners = roll.owners.now(device);
            let pair = owners.and_then(|owners| primary(&owners.pairs));
            let live = pair.map(|pair| LiveDevice {
                user: cast.user_id(pair.user),
                box_key: pair.box_key,
                event: self.id(pair.event),
            });
            set(&mut authority.devices, id, live);
            let gone = owners.and_then(|owners| owners.gone);
            let gone = gone.map(|by| self.id(by));
            set(&mut authority.removed_devices, id, gone);
        }
        for invite in &touched.invites {
            set(
                &mut authority.invites,
                self.id(*invite),
                self.issued(*invite),
            );
        }
        if touched.epochs {
            let began = roll.epochs.keys();
            let began = began.filter_map(|epoch| Some((roll.epochs.first(epoch)?, *epoch)));
            let mut began: Vec<_> = began.collect();
            began.sort_by_cached_key(|(first, _)| self.now.place(*first));
            authority.epochs = began.into_iter().map(|(_, epoch)| epoch).collect();
        }
        if touched.due {
            let unanswered = |removal: &&Idx| !roll.answers.contains_key(*removal);
            let due = roll.due.iter().filter(unanswered);
            authority.unanswered = due.map(|removal| self.id(*removal)).collect();
        }
    }

    /// The invites that count here.
    pub(crate) fn invites(&self) -> impl Iterator<Item = Idx> + '_ {
        self.roll.invites()
    }

    fn issued(&self, invite: Idx) -> Option<IssuedInvite> {
        let issued = self.roll.issued(invite)?;
        let event = self.graph.event(invite);
        let Act::Invite(act) = event.act() else {
            return None;
        };
        let closed: Option<EventId> = self
            .closings
            .by_invite
            .get(&invite)
            .and_then(|closings| closings.first().copied())
            .or_else(|| lapsed(self.terms, issued, None))
            .map(|by| self.id(by));
        Some(IssuedInvite {
            key: act.key,
            kind: act.kind,
            issuer: self.cast.user_id(issued.issuer),
            max_uses: act.max_uses,
            used: self.roll.uses.now(&invite).map_or(0, |uses| uses.count),
            expires: act.expires,
            countersign: act.countersign,
            closed,
        })
    }
}
