//! `mesh member`, `kick`, `admin`.

use std::collections::BTreeSet;

use mesh_control::call::{AdminGrant, AdminRevoke, Kick};
use mesh_control::error::{Code, Error};
use mesh_control::reply::{self, Reply};
use mesh_ledger::event::act::{Grant, InviteKind, MAX_CLOSES, Remove, Target};
use mesh_ledger::event::attributes::Reason;
use mesh_ledger::event::{Act, Attributes};
use mesh_ledger::ids::{EventId, NetworkId, UserId};
use mesh_ledger::state::Rank;
use mesh_ledger::text::Note;

use super::{Signed, event_ref};
use crate::clock::now_ms;
use crate::node::{Net, Node};

impl Node {
    pub(super) fn members(&self, name: Option<&str>) -> Result<Reply, Error> {
        let net = self.net(name)?;
        let members = self.with_viewer(net, |viewer| viewer.members());
        Ok(Reply::Members(reply::Members {
            network: net.name(),
            members,
        }))
    }

    pub(super) fn admin_list(&self, name: Option<&str>) -> Result<Reply, Error> {
        let net = self.net(name)?;
        let members = self.with_viewer(net, |viewer| viewer.admins());
        Ok(Reply::Members(reply::Members {
            network: net.name(),
            members,
        }))
    }

    pub(super) fn member(&self, name: Option<&str>, text: &str) -> Result<Reply, Error> {
        let net = self.net(name)?;
        let user = self.find_user(net, text)?;
        let member = net
            .state()
            .members
            .get(&user)
            .ok_or_else(|| self.no_member(net, text))?;
        let member = self.with_viewer(net, |viewer| viewer.member(member));
        Ok(Reply::Member(reply::Member {
            network: net.name(),
            member,
        }))
    }

    /// The member that is called so, has a device of that name, or whose key begins so.
    pub(super) fn find_user(&self, net: &Net, text: &str) -> Result<UserId, Error> {
        let state = net.state();
        let name = text
            .strip_suffix(&format!(".{}", net.name()))
            .unwrap_or(text)
            .to_ascii_lowercase();
        if let Some(member) = state.user(&name) {
            return Ok(member.user);
        }
        let mut by_key = state
            .members
            .keys()
            .filter(|user| crate::view::names::is_prefix(&name, &user.to_string()));
        if let (Some(user), None) = (by_key.next(), by_key.next()) {
            return Ok(*user);
        }
        let device = self
            .find_device(net, text)
            .and_then(|device| state.devices.get(&device));
        device
            .map(|device| device.user)
            .ok_or_else(|| self.no_member(net, text))
    }

    pub(super) fn kick(&mut self, call: &Kick) -> Result<Signed, Error> {
        let net = self.member_net(call.network.as_deref())?;
        let id = net.id;
        let reason = call.reason.as_deref().map(note).transpose()?;
        let user = self.find_user(net, &call.name)?;
        let state = net.state();
        if state
            .devices
            .get(&net.my_device())
            .is_some_and(|own| own.user == user)
        {
            return Err(Error::new(Code::Usage, "nobody kicks himself")
                .hint(format!("mesh leave {}", net.name())));
        }
        let name = state
            .members
            .get(&user)
            .map_or_else(|| user.short(), |member| member.name.to_string());
        let devices = state
            .members
            .get(&user)
            .map_or(0, |member| member.devices.len());
        // A bearer ticket that the kicked member may have kept must not bring anybody in.
        let now = now_ms();
        let live = |invite: &mesh_ledger::state::StandingInvite| {
            invite.closed.is_none()
                && invite.expires > now
                && invite.used < invite.max_uses
                && invite.kind == InviteKind::Bearer
        };
        let closes: Vec<EventId> = state
            .invites
            .iter()
            .filter(|(_, invite)| live(invite))
            .map(|(id, _)| *id)
            .take(MAX_CLOSES)
            .collect();
        let closed: Vec<String> = closes.iter().map(EventId::short).collect();
        let before = voids(net);
        let act = Act::Remove(Remove {
            target: Target::User(user),
            cut: None,
            closes,
            by_user: None,
        });
        let attributes = reason.map(|reason| Attributes::Reason(Reason { reason }));
        let event = self.author(id, act, attributes)?;
        let (network, acts_voided) = self.after(id, before);
        Ok(Signed {
            network: id,
            event,
            wait_ms: call.wait_ms,
            finish: Box::new(move |spread| {
                Reply::Kicked(reply::Kicked {
                    network,
                    name,
                    event: event_ref(&event),
                    spread,
                    devices_removed: devices as u32,
                    acts_voided,
                    invites_closed: closed,
                })
            }),
        })
    }

    pub(super) fn admin_grant(&mut self, call: &AdminGrant) -> Result<Signed, Error> {
        let net = self.member_net(call.network.as_deref())?;
        let id = net.id;
        let user = self.find_user(net, &call.name)?;
        let name = member_name(net, &user);
        if net
            .state()
            .members
            .get(&user)
            .is_some_and(|member| member.rank != Rank::Member)
        {
            return Err(
                Error::new(Code::Conflict, format!("{name} is an admin already"))
                    .hint("mesh admin ls"),
            );
        }
        self.office(id, Act::Grant(Grant { user }), name, call.wait_ms)
    }

    pub(super) fn admin_revoke(&mut self, call: &AdminRevoke) -> Result<Signed, Error> {
        let net = self.member_net(call.network.as_deref())?;
        let id = net.id;
        let user = self.find_user(net, &call.name)?;
        let name = member_name(net, &user);
        let grant = match net.state().members.get(&user).map(|member| member.rank) {
            Some(Rank::Admin { grant }) => grant,
            Some(Rank::Owner) => {
                return Err(Error::new(
                    Code::NotPermitted,
                    format!("{name} is the owner, whom nobody revokes"),
                ));
            }
            _ => {
                return Err(
                    Error::new(Code::Conflict, format!("{name} is no admin")).hint("mesh admin ls")
                );
            }
        };
        let target = Target::Term { user, grant };
        let act = Act::Remove(Remove {
            target,
            cut: None,
            closes: Vec::new(),
            by_user: None,
        });
        self.office(id, act, name, call.wait_ms)
    }

    fn office(
        &mut self,
        id: NetworkId,
        act: Act,
        name: String,
        wait_ms: Option<u64>,
    ) -> Result<Signed, Error> {
        let before = voids(self.net_of(&id)?);
        let event = self.author(id, act, None)?;
        let (network, acts_voided) = self.after(id, before);
        let finish = move |spread| {
            Reply::Signed(reply::Signed {
                network,
                name,
                event: event_ref(&event),
                spread,
                acts_voided,
            })
        };
        Ok(Signed {
            network: id,
            event,
            wait_ms,
            finish: Box::new(finish),
        })
    }

    fn after(&self, id: NetworkId, before: BTreeSet<EventId>) -> (String, u32) {
        let Some(net) = self.nets.get(&id) else {
            return (id.short(), 0);
        };
        (net.name(), voids(net).difference(&before).count() as u32)
    }
}

/// A note that somebody typed.
pub(super) fn note(text: &str) -> Result<Note, Error> {
    text.parse::<Note>()
        .map_err(|error| Error::new(Code::Usage, error.to_string()))
}

fn member_name(net: &Net, user: &UserId) -> String {
    net.state()
        .members
        .get(user)
        .map_or_else(|| user.short(), |member| member.name.to_string())
}

/// The events that do not count.
pub(super) fn voids(net: &Net) -> BTreeSet<EventId> {
    let graph = net.ledger.graph();
    let void = |idx: &mesh_ledger::graph::Idx| {
        net.ledger
            .verdict(*idx)
            .is_some_and(|verdict| !verdict.counts())
    };
    graph
        .indices()
        .filter(void)
        .map(|idx| graph.event(idx).id())
        .collect()
}
