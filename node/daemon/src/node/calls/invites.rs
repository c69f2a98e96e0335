//! `mesh invite`.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use mesh_control::Secret;
use mesh_control::call::{CarriedContact, Invite, InviteRevoke};
use mesh_control::error::{Code, Error};
use mesh_control::reply::{self, Reply};
use mesh_control::view::{Reach, ReachScope};
use mesh_ledger::carry::MAX_CONTACTS;
use mesh_ledger::event::act::{Invite as InviteAct, InviteClose, InviteKind};
use mesh_ledger::event::attributes::{Invitation, MAX_LIST};
use mesh_ledger::event::{Act, Attributes};
use mesh_ledger::ids::{DeviceId, UserId};
use mesh_ledger::text::Label;
use mesh_ledger::ticket::{Contact, ContactKind, Ticket};

use super::members::note;
use super::{Signed, event_ref, label};
use crate::clock::now_ms;
use crate::node::Node;
use crate::random;
use crate::view::names::is_prefix;

/// The longest an invite lives: a year.
const LONGEST: u64 = 366 * 86_400;

impl Node {
    pub(super) fn invite_list(&self, name: Option<&str>) -> Result<Reply, Error> {
        let net = self.net(name)?;
        let invites = self.with_viewer(net, |viewer| viewer.invites());
        Ok(Reply::Invites(reply::Invites {
            network: net.name(),
            invites,
        }))
    }

    pub(super) fn invite(&mut self, call: &Invite) -> Result<Signed, Error> {
        let id = self.member_net(call.network.as_deref())?.id;
        if call.uses == 0 || call.expires_seconds == 0 || call.expires_seconds > LONGEST {
            let error = "an invite has at least one use and lives between a second and 366 days";
            return Err(Error::new(Code::Usage, error));
        }
        let to: Option<UserId> = match &call.to {
            Some(text) => Some(text.parse().map_err(|_| {
                Error::new(
                    Code::Usage,
                    "--to takes a user key of 64 hexadecimal digits",
                )
                .hint("ask the person for: mesh id show")
            })?),
            None => None,
        };
        let note = call.note.as_deref().map(note).transpose()?;
        let tags = call
            .tags
            .iter()
            .map(|tag| label(tag.strip_prefix("tag:").unwrap_or(tag)))
            .collect::<Result<BTreeSet<Label>, Error>>()?;
        if tags.len() > MAX_LIST {
            let error = format!("an invite gives at most {MAX_LIST} tags");
            return Err(Error::new(Code::Usage, error));
        }
        let tags = tags.into_iter().collect();
        let failed = |error: random::NoRandomness| Error::new(Code::Failed, error.to_string());
        let seed: [u8; 16] = random::bytes().map_err(failed)?;
        let expires = (now_ms() + call.expires_seconds * 1000) / 1000 * 1000;
        let reach = self.reach();
        let contacts = self.contacts(id, &reach);
        let ticket = Ticket::new(id, seed, call.countersign, expires, &contacts);
        let contacts = contacts.iter().map(carried_contact).collect();
        let act = Act::Invite(InviteAct {
            key: ticket.invite_secret().public(),
            kind: to.map_or(InviteKind::Bearer, InviteKind::Direct),
            max_uses: call.uses,
            expires,
            countersign: call.countersign,
        });
        let attributes = Attributes::Invitation(Invitation {
            contact: *ticket.contact(),
            note,
            tags,
        });
        let event = self.author(id, act, Some(attributes))?;
        let net = self.net_of(&id)?;
        let standing = net.state().invites.get(&event);
        let standing =
            standing.ok_or_else(|| Error::new(Code::Failed, "the invite does not count"))?;
        let invite = self.with_viewer(net, |viewer| viewer.invite(&event, standing));
        let network = net.name();
        let servers: Vec<String> = ticket
            .contacts()
            .iter()
            .filter(|contact| contact.kind == ContactKind::Server)
            .filter_map(|contact| contact.address.map(|address| address.to_string()))
            .collect();
        let limits = if servers.is_empty() {
            limits(&reach)
        } else {
            Vec::new()
        };
        let finish = move |spread| {
            Reply::Invited(reply::Invited {
                network,
                ticket: Secret::new(ticket.text().as_str()),
                invite,
                spread,
                reach,
                servers,
                limits,
                contacts,
            })
        };
        Ok(Signed {
            network: id,
            event,
            wait_ms: call.wait_ms,
            finish: Box::new(finish),
        })
    }

    /// Where this device can be reached, those that work for most first.
    fn reach(&self) -> Vec<Reach> {
        let mut addresses = self.endpoint.addresses();
        addresses.sort_by_key(|address| (is_private(address.ip()), address.is_ipv6(), *address));
        addresses.dedup();
        addresses
            .into_iter()
            .map(|address| Reach {
                address: address.to_string(),
                scope: if is_private(address.ip()) {
                    ReachScope::Lan
                } else {
                    ReachScope::Public
                },
                confirmed: is_private(address.ip()),
            })
            .collect()
    }

    /// Who can be asked: a server of the network, this device, and those it has a link with, which help when this one is off.
    /// A ticket names the first of them, a file more. A server is named by both families, so that who has one alone can join;
    /// there may be no room for this device then, which who joins finds on the LAN, or by the server.
    fn contacts(&self, id: mesh_ledger::ids::NetworkId, reach: &[Reach]) -> Vec<Contact> {
        let own = reach
            .first()
            .and_then(|reach| reach.address.parse::<SocketAddr>().ok());
        let mut contacts = self.server_contacts(id);
        contacts.push(Contact {
            kind: ContactKind::Device,
            key: self.me.0,
            address: own,
        });
        if let Some(net) = self.nets.get(&id) {
            let others = self.linked_devices(net).into_iter().take(MAX_CONTACTS);
            contacts.extend(others.map(|(device, address)| Contact {
                kind: ContactKind::Device,
                key: device.0,
                address,
            }));
            let more = reach.iter().skip(1);
            let more = more.filter_map(|reach| reach.address.parse().ok());
            contacts.extend(more.map(|address| Contact {
                kind: ContactKind::Device,
                key: self.me.0,
                address: Some(address),
            }));
        }
        contacts
    }

    pub(super) fn invite_revoke(&mut self, call: &InviteRevoke) -> Result<Signed, Error> {
        let net = self.member_net(call.network.as_deref())?;
        let id = net.id;
        let network = net.name();
        let mut found = net
            .state()
            .invites
            .iter()
            .filter(|(invite, _)| is_prefix(&call.invite, &invite.to_string()));
        let (invite, closed) = match (found.next(), found.next()) {
            (Some((invite, standing)), None) => (*invite, standing.closed),
            (Some(_), Some(_)) => {
                return Err(
                    Error::new(Code::Usage, "several invites begin so: give more digits")
                        .hint("mesh invite ls"),
                );
            }
            _ => {
                let shown: String = call.invite.chars().take(64).collect();
                return Err(
                    Error::new(Code::NotFound, format!("no invite {shown} in {network}"))
                        .hint("mesh invite ls"),
                );
            }
        };
        if let Some(by) = closed {
            return Err(Error::new(
                Code::Conflict,
                format!("invite {} was closed in {}", invite.short(), by.short()),
            ));
        }
        let event = self.author(id, Act::InviteClose(InviteClose { invite }), None)?;
        let finish = move |spread| {
            Reply::InviteRevoked(reply::InviteRevoked {
                network,
                invite: event_ref(&invite),
                event: event_ref(&event),
                spread,
            })
        };
        Ok(Signed {
            network: id,
            event,
            wait_ms: call.wait_ms,
            finish: Box::new(finish),
        })
    }
}

fn carried_contact(contact: &Contact) -> CarriedContact {
    CarriedContact {
        server: contact.kind == ContactKind::Server,
        key: DeviceId(contact.key).to_string(),
        address: contact.address.map(|address| address.to_string()),
    }
}

fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(a) => {
            a.is_private()
                || a.is_link_local()
                || (a.octets()[0] == 100 && a.octets()[1] & 0xc0 == 64)
        }
        IpAddr::V6(a) => a.is_unique_local() || a.is_unicast_link_local(),
    }
}

fn limits(reach: &[Reach]) -> Vec<String> {
    if reach.is_empty() {
        return vec![
            "this machine has no address that others could reach: connect it to a network"
                .to_owned(),
        ];
    }
    let public = reach.iter().any(|reach| reach.scope == ReachScope::Public);
    if public {
        vec![
            "off this LAN it works only if UDP to that address is not blocked on the way"
                .to_owned(),
        ]
    } else {
        vec!["off this LAN it needs a member that can be reached from there, or UDP 51820 forwarded to this machine".to_owned()]
    }
}
