//! `mesh member`, `mesh admin ls`.

use std::collections::BTreeSet;

use mesh_control::error::{Code, Error};
use mesh_control::reply::{self, Reply};
use mesh_ledger::ids::{EventId, UserId};
use mesh_ledger::text::Note;

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
}

/// A note that somebody typed.
pub(super) fn note(text: &str) -> Result<Note, Error> {
    text.parse::<Note>()
        .map_err(|error| Error::new(Code::Usage, error.to_string()))
}

pub(super) fn member_name(net: &Net, user: &UserId) -> String {
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
        .map(|idx| graph.id(idx))
        .collect()
}
