//! `mesh device`.

use std::time::Duration;

use mesh_control::call::{DeviceCode, DeviceLink, DeviceRemove};
use mesh_control::error::{Code, Error};
use mesh_control::reply::{self, Reply};
use mesh_control::view::{OwnDevice, OwnDevices};
use mesh_ledger::event::act::{InviteClose, InviteKind};
use mesh_ledger::event::attributes::Reason;
use mesh_ledger::event::{Act, Attributes};
use mesh_ledger::ids::{DeviceId, EventId, NetworkId};
use tracing::warn;

use super::codes::{LONGEST_CODE, SHORTEST_CODE, typed_code, wait};
use super::members::{note, voids};
use super::{Respond, Signed, event_ref, host_label};
use crate::clock::now_ms;
use crate::node::device::enter::Purpose;
use crate::node::{Net, Node};
use crate::view::names::is_prefix;

impl Node {
    pub(super) async fn device_code(&mut self, call: &DeviceCode) -> Result<Reply, Error> {
        let seconds = call.for_seconds.clamp(SHORTEST_CODE, LONGEST_CODE);
        self.show_code(call.keep_key, Duration::from_secs(seconds.into()))
            .await
    }

    pub(super) fn device_link(&mut self, call: &DeviceLink, respond: Respond) {
        let code = typed_code(&call.code);
        match code.and_then(|code| Ok((code, host_label(call.host.as_deref())?))) {
            Ok(((code, at), host)) => {
                let at = call.at.clone().or(at);
                let wait = wait(call.wait_seconds);
                self.enter(code, at, Purpose::Enter(host), wait, respond);
            }
            Err(error) => drop(respond.send(Err(error))),
        }
    }

    pub(super) fn device_list(&self, name: Option<&str>) -> Result<Reply, Error> {
        let nets: Vec<&Net> = match name {
            Some(name) => vec![self.member_net(Some(name))?],
            None => self.nets.values().filter(|net| net.is_member()).collect(),
        };
        let mut networks: Vec<OwnDevices> = nets
            .into_iter()
            .filter_map(|net| {
                let (state, me) = (net.state(), net.my_device());
                let member = state.member_of(&me)?;
                let first = state
                    .first_device(&member.user)
                    .map(|device| device.id.to_string());
                let view = self.with_viewer(net, |viewer| viewer.member(member));
                let own = |device: mesh_control::view::MemberDevice| OwnDevice {
                    me: device.device == me.to_string(),
                    first: first.as_ref() == Some(&device.device),
                    device,
                };
                Some(OwnDevices {
                    network: net.name(),
                    id: net.id.to_string(),
                    user: view.name,
                    devices: view.devices.into_iter().map(own).collect(),
                })
            })
            .collect();
        networks.sort_by(|a, b| (&a.network, &a.id).cmp(&(&b.network, &b.id)));
        Ok(Reply::Devices(reply::Devices {
            user: self.identity.user.public().to_string(),
            networks,
        }))
    }

    pub(super) fn device_remove(&mut self, call: &DeviceRemove) -> Result<Signed, Error> {
        let net = self.member_net(call.network.as_deref())?;
        let (id, network, me) = (net.id, net.name(), net.my_device());
        let device = named(net, &call.name)?;
        if device == me {
            return Err(Error::new(Code::Usage, "that is this machine")
                .hint(format!("mesh leave {network}")));
        }
        let since = match &call.since {
            Some(text) => {
                let found = net.ledger.find(text).map(|event| event.id());
                let found = found.map_err(|error| Error::new(Code::NotFound, error.to_string()));
                Some(found.map_err(|error| error.hint("mesh log --by NAME"))?)
            }
            None => None,
        };
        let reason = call.reason.as_deref().map(note).transpose()?;
        let state = net.state();
        let host = state.devices.get(&device);
        let name = host.map_or_else(|| device.short(), |device| device.host.to_string());
        let member = state.member_of(&device);
        let user = member.map_or_else(String::new, |member| member.name.to_string());
        let own = member.map(|member| member.user) == state.member_of(&me).map(|own| own.user);
        let act = if own {
            let user = self.user_secret()?;
            self.net_of(&id)?
                .ledger
                .removal_by(&user, &device, since.as_ref())
        } else {
            net.ledger.removal_of(&device, since.as_ref())
        };
        let before = voids(self.net_of(&id)?);
        let attributes = reason.map(|reason| Attributes::Reason(Reason { reason }));
        let event = self.author(id, act, attributes)?;
        let invites_closed = self.close_invites_of(id, &device);
        let acts_voided = voids(self.net_of(&id)?).difference(&before).count() as u32;
        let finish = move |spread| {
            Reply::DeviceRemoved(reply::DeviceRemoved {
                network,
                name,
                user,
                own,
                event: event_ref(&event),
                spread,
                acts_voided,
                invites_closed,
            })
        };
        Ok(Signed {
            network: id,
            event,
            wait_ms: call.wait_ms,
            finish: Box::new(finish),
        })
    }

    /// Closes the tickets that a removed device may still have: those it made, and that anybody can use. Returns their short
    /// ids.
    fn close_invites_of(&mut self, id: NetworkId, device: &DeviceId) -> Vec<String> {
        let Some(net) = self.nets.get(&id) else {
            return Vec::new();
        };
        let now = now_ms();
        let invites = net.state().invites.iter();
        let live: Vec<EventId> = invites
            .filter(|(event, invite)| {
                let by = net.ledger.event(event).map(|event| event.author());
                by == Some(*device)
                    && invite.closed.is_none()
                    && invite.expires > now
                    && invite.used < invite.max_uses
                    && invite.kind == InviteKind::Bearer
            })
            .map(|(event, _)| *event)
            .collect();
        let mut closed = Vec::new();
        for invite in live {
            match self.author(id, Act::InviteClose(InviteClose { invite }), None) {
                Ok(_) => closed.push(invite.short()),
                Err(error) => warn!(network = %id, "an invite stays open: {error}"),
            }
        }
        closed
    }
}

/// The device that is called just so, or whose key begins so. A user's name is none: it may mean another device tomorrow.
fn named(net: &Net, text: &str) -> Result<DeviceId, Error> {
    let state = net.state();
    let plain = text
        .strip_suffix(&format!(".{}", net.name()))
        .unwrap_or(text)
        .to_ascii_lowercase();
    if let Some(device) = state.host(&plain) {
        return Ok(device.id);
    }
    let mut by_key = state
        .devices
        .keys()
        .filter(|id| is_prefix(&plain, &id.to_string()));
    match (by_key.next(), by_key.next()) {
        (Some(device), None) => Ok(*device),
        (Some(_), Some(_)) => Err(Error::new(
            Code::Usage,
            "several devices' keys begin so: give more digits",
        )),
        _ => {
            let shown: String = text.chars().take(64).collect();
            let error = format!("no device {shown} in {}", net.name());
            Err(Error::new(Code::NotFound, error).hint("mesh device ls"))
        }
    }
}
