//! What changed, in words.

use std::fmt::Display;

use mesh_ledger::diff::{Change, diff};
use mesh_ledger::ids::{DeviceId, EventId, UserId};
use mesh_ledger::past::Reading;
use mesh_ledger::state::{Rank, State};

use super::event_ref;
use super::log::{audience, service};
use super::names::Names;
use crate::history::{ChangeView, Sign};

/// What changed from one reading to a later one. Who is named is named as the fuller of the two knows it.
pub fn changes(old: Reading<'_>, new: Reading<'_>) -> Vec<ChangeView> {
    let fuller = if old.graph.len() > new.graph.len() {
        old
    } else {
        new
    };
    let teller = Teller {
        names: Names::of(fuller),
        old: &old.fold.state,
        new: &new.fold.state,
    };
    diff(teller.old, teller.new)
        .iter()
        .map(|change| teller.tell(change))
        .collect()
}

struct Teller<'a> {
    names: Names,
    old: &'a State,
    new: &'a State,
}

impl Teller<'_> {
    fn tell(&self, change: &Change) -> ChangeView {
        use Sign::{Added, Changed, Removed};
        let user = |user: &UserId| self.names.user(user);
        let device = |device: &DeviceId| self.names.device(device);
        let (sign, kind, name, text, event): (_, _, _, _, Option<EventId>) = match change {
            Change::NetworkName(old, new) => {
                (Changed, "network", or_none(new), became(old, new), None)
            }
            Change::Subnet(old, new) => (
                Changed,
                "network",
                "subnet".to_owned(),
                became(old, new),
                None,
            ),
            Change::Owner(old, new) => {
                let text = format!("owner in place of {}", user(old));
                (Changed, "rank", user(new), text, None)
            }
            Change::Joined(who, event) => {
                let member = self.new.members.get(who);
                let by = member.and_then(|member| member.admitted_by.as_ref());
                let by = by.map_or_else(String::new, |by| format!(", admitted by {}", user(by)));
                let text = format!("member{}{by}", self.addresses(who));
                (Added, "member", user(who), text, Some(*event))
            }
            Change::Back(who, event) => {
                let text = "member by another admission".to_owned();
                (Changed, "member", user(who), text, Some(*event))
            }
            Change::Gone(who, by) => (
                Removed,
                "member",
                user(who),
                "no member any more".to_owned(),
                *by,
            ),
            Change::Rank(who, old, new) => {
                let event = match new {
                    Rank::Admin { grant } => Some(*grant),
                    _ => None,
                };
                let text = if rank(*old) == rank(*new) {
                    format!("{} by another grant", rank(*new))
                } else {
                    format!("{} → {}", rank(*old), rank(*new))
                };
                (Changed, "rank", user(who), text, event)
            }
            Change::Name(who, old, new) => (Changed, "name", user(who), arrow(old, new), None),
            Change::Tagged(who, tag) => (Added, "tag", user(who), format!("tag {tag}"), None),
            Change::Untagged(who, tag) => (Removed, "tag", user(who), format!("tag {tag}"), None),
            Change::DeviceCame(id, event) => {
                let owner = self.new.devices.get(id).map(|device| user(&device.user));
                let text = format!("device of {}", owner.unwrap_or_default());
                (Added, "device", device(id), text, Some(*event))
            }
            Change::DeviceGone(id, owner, by) => {
                let text = format!("device of {}", user(owner));
                (Removed, "device", device(id), text, *by)
            }
            Change::Host(id, old, new) => (Changed, "name", device(id), arrow(old, new), None),
            Change::Address(id, old, new) => {
                (Changed, "address", device(id), became(old, new), None)
            }
            Change::WireGuard(id, ..) => {
                let text = "another WireGuard key".to_owned();
                (Changed, "key", device(id), text, None)
            }
            Change::Offered(id, slot, event) => {
                let text = self.offer(self.new, id, *slot);
                (Added, "offer", device(id), text, Some(*event))
            }
            Change::OfferChanged(id, slot, event) => {
                let (old, new) = (
                    self.offer(self.old, id, *slot),
                    self.offer(self.new, id, *slot),
                );
                (
                    Changed,
                    "offer",
                    device(id),
                    arrow(&old, &new),
                    Some(*event),
                )
            }
            Change::OfferedNarrowly(id, _, event) => {
                let text = "something to its audience alone".to_owned();
                (Added, "offer", device(id), text, Some(*event))
            }
            Change::WithdrawnNarrowly(id, _) => {
                let text = "something to its audience alone".to_owned();
                (Removed, "offer", device(id), text, None)
            }
            Change::Approved(id, slot, approved) => {
                let what = self.offer(self.new, id, *slot);
                let text = if *approved {
                    "approved"
                } else {
                    "not approved"
                };
                (
                    Changed,
                    "offer",
                    device(id),
                    format!("{what}: {text}"),
                    None,
                )
            }
            Change::Withdrawn(id, slot) => {
                let text = self.offer(self.old, id, *slot);
                (Removed, "offer", device(id), text, None)
            }
            Change::Invited(id) => {
                let invite = self.new.invites.get(id);
                let by = invite.map(|invite| format!("invite by {}", user(&invite.issuer)));
                (
                    Added,
                    "invite",
                    id.short(),
                    by.unwrap_or_default(),
                    Some(*id),
                )
            }
            Change::InviteUsed(id, old, new) => {
                let of = self.new.invites.get(id).map_or(0, |invite| invite.max_uses);
                let text = format!("used {new} of {of}, before {old}");
                (Changed, "invite", id.short(), text, None)
            }
            Change::InviteClosed(id, by) => (
                Removed,
                "invite",
                id.short(),
                "closed".to_owned(),
                Some(*by),
            ),
            Change::InviteReopened(id) => {
                let text = "open again".to_owned();
                (Added, "invite", id.short(), text, None)
            }
            Change::InviteVoid(id) => {
                let text = "does not count any more".to_owned();
                (Removed, "invite", id.short(), text, Some(*id))
            }
            Change::ServerAdded(server) => {
                let place = super::server_place(server);
                (Added, "server", place, "server".to_owned(), None)
            }
            Change::ServerRemoved(server) => {
                let place = super::server_place(server);
                (Removed, "server", place, "server".to_owned(), None)
            }
            Change::ServerMoved(old, new) => {
                let (old, new) = (super::server_place(old), super::server_place(new));
                let text = if old == new {
                    "another permit".to_owned()
                } else {
                    arrow(&old, &new)
                };
                (Changed, "server", new, text, None)
            }
            Change::Setting(key, old, new) => {
                (Changed, "setting", key.to_string(), became(old, new), None)
            }
            Change::EpochBegan(epoch) => (Added, "epoch", epoch.short(), "epoch".to_owned(), None),
            Change::EpochVoid(epoch) => {
                let text = "does not count any more".to_owned();
                (Removed, "epoch", epoch.short(), text, None)
            }
        };
        ChangeView {
            sign,
            kind: kind.to_owned(),
            name,
            text,
            event: event.as_ref().map(event_ref),
        }
    }

    /// The addresses of a new member's devices, behind a space.
    fn addresses(&self, user: &UserId) -> String {
        let devices = self.new.members.get(user).map(|member| &member.devices);
        devices
            .into_iter()
            .flatten()
            .filter_map(|device| self.new.devices.get(device)?.v4)
            .map(|address| format!(" {address}"))
            .collect()
    }

    fn offer(&self, of: &State, device: &DeviceId, slot: u32) -> String {
        let Some(standing) = of.offers.get(&(*device, slot)) else {
            return String::new();
        };
        let offer = &standing.offer;
        let name = offer.name.as_ref();
        let name = name.map(|name| format!(" {name}")).unwrap_or_default();
        let to = audience(&offer.audience, &self.names);
        format!("{}{name} to {to}", service(&offer.what))
    }
}

fn rank(rank: Rank) -> &'static str {
    match rank {
        Rank::Owner => "owner",
        Rank::Admin { .. } => "admin",
        Rank::Member => "member",
    }
}

fn or_none(value: &Option<impl Display>) -> String {
    value
        .as_ref()
        .map_or_else(|| "none".to_owned(), ToString::to_string)
}

fn became(old: &Option<impl Display>, new: &Option<impl Display>) -> String {
    arrow(&or_none(old), &or_none(new))
}

fn arrow(old: &impl Display, new: &impl Display) -> String {
    format!("{old} → {new}")
}
