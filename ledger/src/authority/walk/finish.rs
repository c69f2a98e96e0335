//! What remains at the end of the walk.

use super::{Walk, Walked, primary};
use crate::authority::{Authority, IssuedInvite, LiveDevice, Membership, Term};
use crate::event::Act;
use crate::graph::Idx;

impl Walk<'_> {
    pub(super) fn finish(self) -> Walked {
        let (graph, cast) = (self.graph, self.cast);
        let id = |idx: Idx| graph.event(idx).id();
        let mut authority = Authority::founded(graph);
        if let Some(last) = self.terms.line.last() {
            authority.owner = last.holder;
            authority.recovery = last.recovery;
        }
        for (rank, term) in &self.terms.began {
            for start in &term.starts {
                authority.terms.insert(
                    id(*start),
                    Term {
                        holder: cast.user_id(term.holder),
                        rank: *rank,
                        ended: self.terms.ended(term).map(id),
                    },
                );
            }
        }
        for (user, joined) in &self.members {
            authority.members.insert(
                cast.user_id(*user),
                Membership {
                    admitted: id(joined.event),
                    by: joined.by.map(|by| cast.user_id(by)),
                    at: joined.at,
                },
            );
        }
        for (device, pairs) in &self.pairs {
            if let Some(pair) = primary(pairs) {
                authority.devices.insert(
                    cast.device_id(*device),
                    LiveDevice {
                        user: cast.user_id(pair.user),
                        box_key: pair.box_key,
                        event: id(pair.event),
                    },
                );
            }
        }
        for (user, by) in &self.gone_users {
            authority.removed_users.insert(cast.user_id(*user), id(*by));
        }
        for (device, by) in &self.gone_devices {
            authority
                .removed_devices
                .insert(cast.device_id(*device), id(*by));
        }
        for (idx, issued) in &self.invites {
            let Act::Invite(act) = graph.event(*idx).act() else {
                continue;
            };
            let closed = self
                .closings
                .get(idx)
                .and_then(|closings| closings.first().copied())
                .or_else(|| self.lapsed(issued, None));
            authority.invites.insert(
                id(*idx),
                IssuedInvite {
                    key: act.key,
                    kind: act.kind,
                    issuer: cast.user_id(issued.issuer),
                    max_uses: act.max_uses,
                    used: issued.used,
                    expires: act.expires,
                    countersign: act.countersign,
                    closed: closed.map(id),
                },
            );
        }
        authority.unanswered = self
            .due
            .iter()
            .filter(|(_, answers)| answers.is_empty())
            .map(|(removal, _)| id(*removal))
            .collect();
        authority.epochs = self.epochs;
        Walked {
            authority,
            void: self.void,
            effects: self.effects,
            standings: self.standings,
        }
    }
}
