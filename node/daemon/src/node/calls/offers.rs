//! `mesh share`, `unshare`, `offers`.

use std::collections::BTreeSet;

use mesh_control::call::{Share, Unshare};
use mesh_control::error::{Code, Error};
use mesh_control::reply::{self, Reply};
use mesh_control::view::{Audience as AudienceView, OfferView, Offered, Proto};
use mesh_ledger::event::attributes::{Audience, MAX_AUDIENCE, Offer, Protocol, Service, Write};
use mesh_ledger::event::{Act, Attributes};
use mesh_ledger::ids::{DeviceId, EventId, NetworkId};
use mesh_ledger::keys::EpochKey;

use super::{Signed, authoring, event_ref, label};
use crate::clock::now_ms;
use crate::node::{Net, Node};
use crate::random;

/// The most offers of one device.
const MAX_OFFERS: usize = 256;

impl Node {
    pub(super) fn offers(&self, name: Option<&str>) -> Result<Reply, Error> {
        let net = self.net(name)?;
        let offers = self.with_viewer(net, |viewer| viewer.offers());
        Ok(Reply::Offers(reply::Offers {
            network: net.name(),
            offers,
            forwarded: net.forwarders.forwarded(),
        }))
    }

    pub(super) fn share(&mut self, call: &Share) -> Result<Signed, Error> {
        let net = self.member_net(call.network.as_deref())?;
        let id = net.id;
        let what = service(call.what)?;
        let (device, network) = (net.my_device(), net.name());
        let audience = self.audience(net, &call.to)?;
        let name = call.name.as_deref().map(label).transpose()?;
        let until = match call.for_seconds {
            Some(0) => {
                return Err(Error::new(
                    Code::Usage,
                    "--for takes a time of at least a second",
                ));
            }
            seconds => seconds.map(|seconds| now_ms().saturating_add(seconds.saturating_mul(1000))),
        };
        let slot = match standing(net, &device, &what) {
            Some((slot, _)) => slot,
            None => free_slot(net, &device)?,
        };
        let offer = Offer {
            what,
            name,
            audience,
            until,
        };
        let event = match offer.audience {
            Audience::Everyone => {
                let write = Write::Offer {
                    device,
                    slot,
                    offer: Some(offer),
                };
                self.author(id, Act::Private, Some(Attributes::Writes(vec![write])))?
            }
            Audience::Only { .. } => self.offer_narrowly(id, slot, &offer)?,
        };
        let offer = self.offer_view(id, &device, slot)?;
        let finish = move |spread| {
            Reply::Shared(reply::Shared {
                network,
                offer,
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

    pub(super) fn unshare(&mut self, call: &Unshare) -> Result<Signed, Error> {
        let net = self.member_net(call.network.as_deref())?;
        let id = net.id;
        let what = service(call.what)?;
        let (device, network) = (net.my_device(), net.name());
        let Some((slot, _)) = standing(net, &device, &what) else {
            let what = match call.what {
                Offered::Ports(ports) => ports.to_string(),
                Offered::Relay => "a relay".to_owned(),
            };
            let error = format!("this device does not offer {what} in {network}");
            return Err(Error::new(Code::NotFound, error).hint("mesh offers"));
        };
        let offer = self.offer_view(id, &device, slot)?;
        let write = Write::Offer {
            device,
            slot,
            offer: None,
        };
        let event = self.author(id, Act::Private, Some(Attributes::Writes(vec![write])))?;
        let finish = move |spread| {
            Reply::Unshared(reply::Unshared {
                network,
                offer,
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

    /// Signs an offer that its audience alone can read, under a fresh key.
    pub(in crate::node) fn offer_narrowly(
        &mut self,
        id: NetworkId,
        slot: u32,
        offer: &Offer,
    ) -> Result<EventId, Error> {
        let Some(net) = self.nets.get_mut(&id) else {
            return Err(Error::new(Code::NotFound, "the network is gone"));
        };
        let key = random::seed().map_err(|error| Error::new(Code::Failed, error.to_string()))?;
        let (device, key) = (&self.identity.device, EpochKey::from_bytes(*key));
        net.ledger
            .offer_narrowly(device, slot, offer, key, now_ms())
            .map(|event| event.id())
            .map_err(|error| authoring(&error))
    }

    fn offer_view(&self, id: NetworkId, device: &DeviceId, slot: u32) -> Result<OfferView, Error> {
        let net = self.net_of(&id)?;
        let standing = net.state().offers.get(&(*device, slot));
        let view = standing
            .and_then(|standing| self.with_viewer(net, |viewer| viewer.offer(device, standing)));
        view.ok_or_else(|| Error::new(Code::Failed, "the offer does not count"))
    }

    fn audience(&self, net: &Net, to: &AudienceView) -> Result<Audience, Error> {
        let AudienceView::Names(names) = to else {
            return Ok(Audience::Everyone);
        };
        let (mut users, mut devices, mut tags) = (Vec::new(), Vec::new(), Vec::new());
        for name in names {
            if let Some(tag) = name.strip_prefix("tag:") {
                tags.push(label(tag)?);
                continue;
            }
            // Bare NAME is a user with all devices, HOST.NETWORK one device.
            let is_device = name.strip_suffix(&format!(".{}", net.name()));
            match is_device.and_then(|host| net.state().host(host)) {
                Some(device) => devices.push(device.id),
                None => users.push(self.find_user(net, name)?),
            }
        }
        if names.is_empty() || users.len().max(devices.len()).max(tags.len()) > MAX_AUDIENCE {
            return Err(Error::new(
                Code::Usage,
                format!("an offer names 1 to {MAX_AUDIENCE} members, devices or tags"),
            ));
        }
        users.sort_unstable();
        users.dedup();
        devices.sort_unstable();
        devices.dedup();
        tags.sort();
        tags.dedup();
        Ok(Audience::Only {
            users,
            devices,
            tags,
        })
    }
}

fn service(what: Offered) -> Result<Service, Error> {
    let ports = match what {
        Offered::Ports(ports) => ports,
        Offered::Relay => return Ok(Service::Relay),
    };
    let protocol = match ports.proto() {
        Proto::Tcp => Protocol::Tcp,
        Proto::Udp => Protocol::Udp,
        Proto::Icmp => {
            return Err(Error::new(
                Code::Usage,
                "ICMP echo is open to every member; there is nothing to share",
            ));
        }
    };
    Ok(Service::Port {
        protocol,
        first: ports.first(),
        last: ports.last(),
    })
}

fn standing(net: &Net, device: &DeviceId, what: &Service) -> Option<(u32, EventId)> {
    let own = net.state().offers.range((*device, 0)..=(*device, u32::MAX));
    let mut same = own.filter(|(_, standing)| standing.offer.what == *what);
    same.next()
        .map(|((_, slot), standing)| (*slot, standing.event))
}

fn free_slot(net: &Net, device: &DeviceId) -> Result<u32, Error> {
    let own = (*device, 0)..=(*device, u32::MAX);
    let state = net.state();
    // One whose key was lost takes its slot too.
    let open = state.offers.range(own.clone()).map(|((_, slot), _)| *slot);
    let sealed = state.narrow.range(own).map(|((_, slot), _)| *slot);
    let taken: BTreeSet<u32> = open.chain(sealed).collect();
    if taken.len() >= MAX_OFFERS {
        return Err(Error::new(
            Code::Conflict,
            format!("this device has {MAX_OFFERS} offers already"),
        )
        .hint("mesh unshare PORT"));
    }
    let mut slots = 0..=u32::MAX;
    slots
        .find(|slot| !taken.contains(slot))
        .ok_or_else(|| Error::new(Code::Conflict, "no slot is free"))
}
