//! What tools need to carry a network in a file: events out and in, and the two letters of a join without a link.

use mesh_control::Bytes;
use mesh_control::call::{Carried, Events, InviteAccept, JoinAnswer, JoinRequest, Upload};
use mesh_control::error::{Code, Error};
use mesh_control::reply::{self, Reply};
use mesh_ledger::event::Event;
use mesh_ledger::ids::{DeviceId, EventId, InviteKey, NetworkId};
use mesh_ledger::mirror::letter::{BadLetter, Way, open, seal};
use mesh_ledger::network::redeem::{Reply as Redeemed, Request};
use mesh_ledger::ticket::{Contact, ContactKind, Ticket};
use mesh_os::dirs::{read_secret, write_secret};
use tracing::info;
use zeroize::Zeroizing;

use super::{Respond, Signed, event_ref, host_label};
use crate::clock::{now_ms, steady};
use crate::node::join::{Admitted, Brought, Failure};
use crate::node::{Node, net};
use crate::random;

/// An answer holds about so many bytes of events: what they take as base64 is far below the longest line.
const PAGE: usize = 6 << 20;
/// The most heads and contacts of a file.
const MOST: usize = 256;

impl Node {
    pub(super) fn events_of(&self, call: &Events) -> Result<Reply, Error> {
        let net = self.net(call.network.as_deref())?;
        let graph = net.ledger.graph();
        let from = usize::try_from(call.from).unwrap_or(usize::MAX);
        let (mut events, mut bytes) = (Vec::new(), 0);
        for idx in graph.indices().skip(from) {
            if bytes > PAGE {
                break;
            }
            let event = graph.event(idx).bytes().to_vec();
            bytes += event.len();
            events.push(Bytes(event));
        }
        let next = call.from.saturating_add(events.len() as u64);
        Ok(Reply::Events(reply::Events {
            network: net.name(),
            id: net.id.to_string(),
            next: (next < graph.len() as u64).then_some(next),
            events,
        }))
    }

    pub(super) fn upload(&mut self, call: Upload) -> Result<Reply, Error> {
        let events = call.events.into_iter().map(|bytes| bytes.0).collect();
        let (upload, events) = self.uploads.add(call.upload, events, steady())?;
        Ok(Reply::Uploaded(reply::Uploaded { upload, events }))
    }

    pub(super) fn join_request(&mut self, call: &JoinRequest) -> Result<Reply, Error> {
        let ticket = super::create::ticket(&call.ticket)?;
        let host = host_label(call.host.as_deref())?;
        self.may_join(&ticket)?;
        let invite: EventId = call.invite.parse().map_err(malformed)?;
        let network = ticket.network();
        let user = self.user_secret()?;
        let failed = |text: String| Error::new(Code::Failed, text);
        let wishes = self.wishes(&network, host).map_err(failed)?;
        let (me, key) = (
            self.identity.device.public(),
            ticket.invite_secret().public(),
        );
        let request = Request::new(
            &ticket,
            invite,
            &user,
            &self.identity.device,
            self.identity.boxes.public(),
            wishes,
        );
        let contact = ticket.contact();
        let body = seal(&contact, &network, &me, Way::Redemption, &request.encode());
        let body = body.ok_or_else(|| failed("the redemption is too long".to_owned()))?;
        // The answer is sealed under what the ticket carries, and may come in days.
        let kept = net::folder(&self.dirs, &network).join(TICKET);
        write_secret(&kept, ticket.text().as_bytes()).map_err(|error| failed(error.to_string()))?;
        Ok(Reply::Requested(reply::Requested {
            network: network.to_string(),
            letter: letter(&me, &key, body),
        }))
    }

    pub(super) async fn join_answer(&mut self, call: &JoinAnswer) -> Result<Reply, Error> {
        let events = self.uploads.take(call.upload)?;
        let network = network_id(&call.network)?;
        if let Some(net) = self.nets.get(&network).filter(|net| net.is_member()) {
            let message = format!("this device is in {} already", net.name());
            return Err(Error::new(Code::Conflict, message).hint("mesh sync import FILE"));
        }
        let folder = net::folder(&self.dirs, &network);
        let ticket = kept_ticket(&folder)?;
        let (me, carried) = (self.identity.device.public(), Letter::of(&call.letter)?);
        if carried.joiner != me {
            let message = format!(
                "the answer is for another device, {}",
                carried.joiner.short()
            );
            return Err(Error::new(Code::Conflict, message).hint("mesh id show"));
        }
        let contact = ticket.contact();
        let opened = open(&contact, &network, &me, Way::Reply, &carried.body);
        let answer = match opened.map(|opened| Redeemed::decode(&opened)) {
            Ok(Some(Redeemed::Admitted(answer))) => answer,
            Ok(Some(Redeemed::Refused(error))) => {
                return Err(Failure::Refused(error).into_error());
            }
            Err(BadLetter::Later) => return Err(later("answer")),
            _ => {
                let message = "no member wrote this answer to what this device asked";
                return Err(Error::new(Code::Verification, message)
                    .hint("have the request accepted again: mesh invite accept"));
            }
        };
        let admitted = Admitted {
            wire: None,
            answer,
            events,
        };
        self.install(network, admitted, Brought::default()).await
    }

    pub(super) async fn invite_accept(&mut self, call: &InviteAccept, respond: Respond) {
        match self.accept(call) {
            Ok(signed) => self.signed(respond, |_| Ok(signed)).await,
            Err(error) => drop(respond.send(Err(error))),
        }
    }

    fn accept(&mut self, call: &InviteAccept) -> Result<Signed, Error> {
        let id = network_id(&call.network)?;
        let carried = Letter::of(&call.letter)?;
        let net = self.nets.get_mut(&id).ok_or_else(|| not_in(&id))?;
        let network = net.name();
        if !net.is_member() {
            let message = format!("this device was removed from {network}");
            return Err(Error::new(Code::NotPermitted, message).hint("mesh status"));
        }
        let opened = net
            .ledger
            .open_redemption(&carried.joiner, &carried.invite, &carried.body)
            .map_err(|why| match why {
                BadLetter::Closed => {
                    let message =
                        format!("no invite of {network} that is known here opens this request");
                    Error::new(Code::NotFound, message).hint("mesh sync now, then try again")
                }
                BadLetter::Later => later("request"),
            })?;
        let seed = random::seed().map_err(|error| Error::new(Code::Failed, error.to_string()))?;
        let device = &self.identity.device;
        let answer = net
            .ledger
            .redeem(&opened.request, &carried.joiner, device, &seed, now_ms())
            .map_err(|error| Failure::Refused(error).into_error())?;
        let event = answer.admit;
        info!(%network, device = %carried.joiner.short(), event = %event.short(), "admitted by a file");
        let named = net.state().devices.get(&carried.joiner);
        let name = named.map_or_else(|| carried.joiner.short(), |device| device.host.to_string());
        let answer = Redeemed::Admitted(answer).encode();
        let body = seal(&opened.contact, &id, &carried.joiner, Way::Reply, &answer)
            .ok_or_else(|| Error::new(Code::Failed, "the answer is too long"))?;
        let letter = letter(&carried.joiner, &carried.invite, body);
        let finish = move |spread| {
            Reply::Accepted(reply::Accepted {
                network,
                id: id.to_string(),
                name,
                event: event_ref(&event),
                spread,
                letter,
            })
        };
        Ok(Signed {
            network: id,
            event,
            wait_ms: call.wait_ms,
            finish: Box::new(finish),
        })
    }

    /// What a file brought beside a ticket.
    pub(super) fn brought(&mut self, carried: Option<&Carried>) -> Result<Brought, Error> {
        let Some(carried) = carried else {
            return Ok(Brought::default());
        };
        let heads = carried.heads.iter().take(MOST);
        let contacts = carried.contacts.iter().take(MOST);
        Ok(Brought {
            events: match carried.upload {
                Some(upload) => parents_first(self.uploads.take(upload)?),
                None => Vec::new(),
            },
            heads: heads
                .map(|head| head.parse())
                .collect::<Result<_, _>>()
                .map_err(malformed)?,
            contacts: contacts
                .map(|contact| {
                    let address = contact.address.as_ref().map(|address| address.parse());
                    Some(Contact {
                        kind: if contact.server {
                            ContactKind::Server
                        } else {
                            ContactKind::Device
                        },
                        key: contact.key.parse::<DeviceId>().ok()?.0,
                        address: address.transpose().ok()?,
                    })
                })
                .collect::<Option<_>>()
                .ok_or_else(|| Error::new(Code::Usage, "a contact is malformed"))?,
        })
    }
}

/// The file in a network's folder that keeps the ticket of a request under way.
pub(in crate::node) const TICKET: &str = "ticket";

fn kept_ticket(folder: &std::path::Path) -> Result<Ticket, Error> {
    let failed = |text: String| Error::new(Code::Failed, text);
    let kept = read_secret(&folder.join(TICKET)).map_err(|error| failed(error.to_string()))?;
    let kept: Zeroizing<Vec<u8>> = kept.ok_or_else(|| {
        let message = "this device asked for nothing that this would answer";
        Error::new(Code::NotFound, message).hint("mesh join FILE --as HOST --request FILE2")
    })?;
    let text = std::str::from_utf8(&kept).unwrap_or_default();
    text.parse()
        .map_err(|error| failed(format!("the kept ticket is damaged: {error}")))
}

/// Events so that parents come before their children, as far as their bytes tell; what is no event last.
pub(in crate::node) fn parents_first(events: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let place = |bytes: &Vec<u8>| {
        let event = Event::decode_unverified(bytes).ok();
        event.map_or(u32::MAX, |event| event.header().lamport)
    };
    let mut events = events;
    events.sort_by_cached_key(place);
    events
}

struct Letter {
    joiner: DeviceId,
    invite: InviteKey,
    body: Vec<u8>,
}

impl Letter {
    fn of(letter: &reply::Letter) -> Result<Self, Error> {
        Ok(Self {
            joiner: letter.joiner.parse().map_err(malformed)?,
            invite: letter.invite.parse().map_err(malformed)?,
            body: letter.body.0.clone(),
        })
    }
}

fn letter(joiner: &DeviceId, invite: &InviteKey, body: Vec<u8>) -> reply::Letter {
    reply::Letter {
        joiner: joiner.to_string(),
        invite: invite.to_string(),
        body: Bytes(body),
    }
}

/// A request or an answer that this release cannot read.
fn later(what: &str) -> Error {
    let message = format!("a later release of mesh wrote the {what}");
    Error::new(Code::Failed, message).hint("upgrade mesh on this machine, then try again")
}

pub(in crate::node) fn network_id(text: &str) -> Result<NetworkId, Error> {
    text.parse().map_err(malformed)
}

fn malformed(error: mesh_ledger::ids::BadId) -> Error {
    Error::new(Code::Usage, error.to_string())
}

pub(in crate::node) fn not_in(id: &NetworkId) -> Error {
    let message = format!("this device is not in network {}", id.short());
    Error::new(Code::NotFound, message).hint("mesh networks")
}
