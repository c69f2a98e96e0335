//! Keys of narrow offers, on their way to those who may read them.
//!
//! The offering device remembers to whom it handed a key. Whoever enters the audience is handed it as soon as there is a
//! link; when somebody leaves the audience, the offer is sealed anew, under a key that stays with the others. A device
//! that has an offer and no key asks for it once over each link to the offering device, which answers if it may.

use std::collections::BTreeSet;

use mesh_core::desired::{device_id, peer_id};
use mesh_core::link::Frame;
use mesh_core::peer::PeerId;
use mesh_ledger::epoch::HandedKey;
use mesh_ledger::event::attributes::{Offer, Write};
use mesh_ledger::event::{Act, Attributes};
use mesh_ledger::ids::{DeviceId, EpochId, NetworkId};
use mesh_ledger::network::MAX_OFFER_KEYS;
use tracing::{debug, info, warn};

use super::{Net, Node};
use crate::clock::now_ms;
use crate::link::LinkId;
use crate::random;

impl Net {
    /// The keys of own narrow offers that can be read here, with the offers.
    fn own_narrow(&self) -> Vec<(EpochId, u32, Offer)> {
        let me = self.my_device();
        let state = self.state();
        let own = state.narrow.range((me, 0)..=(me, u32::MAX));
        own.filter_map(|(place, standing)| {
            let offer = state.offers.get(place).filter(|open| open.narrow)?;
            Some((standing.offer.key, place.1, offer.offer.clone()))
        })
        .collect()
    }

    /// The devices that may read own narrow offers and were not handed the key, with the key.
    pub(crate) fn owed_keys(&self) -> Vec<(PeerId, EpochId)> {
        let (me, state) = (self.my_device(), self.state());
        let mut owed = Vec::new();
        for (key, _, offer) in self.own_narrow() {
            let handed = self.settings.handed(&key.to_string());
            let lacks = |device: &DeviceId| {
                handed.is_none_or(|handed| !handed.contains(&device.to_string()))
            };
            let devices = state.devices.keys().filter(|device| **device != me);
            owed.extend(
                devices
                    .filter(|device| state.admits(&offer.audience, device) && lacks(device))
                    .map(|device| (peer_id(device), key)),
            );
        }
        owed
    }
}

impl Node {
    /// Hands the keys of this device's narrow offers to the linked devices that may read them and were not handed them,
    /// and asks for those of others' offers.
    pub(crate) fn exchange_offer_keys(&mut self, id: NetworkId) {
        let Some(net) = self.nets.get(&id) else {
            return;
        };
        let linked = |(peer, key): (PeerId, EpochId)| {
            let link = net.links.get(&peer)?;
            Some((*link, peer, key))
        };
        let due: Vec<(LinkId, PeerId, EpochId)> =
            net.owed_keys().into_iter().filter_map(linked).collect();
        for (link, peer, key) in due {
            self.hand_offer_key(link, id, peer, &key);
        }
        let Some(net) = self.nets.get(&id) else {
            return;
        };
        for linked in self
            .links
            .values_mut()
            .filter(|linked| linked.network == id && linked.member)
        {
            for key in net.ledger.missing_offer_keys(&device_id(&linked.peer)) {
                if linked.asked.len() < MAX_OFFER_KEYS && linked.asked.insert(key) {
                    linked.link.send(Frame::OfferKeyWanted(key));
                }
            }
        }
    }

    /// Hands the key of an own narrow offer to a linked device, if that one may read it.
    pub(crate) fn hand_offer_key(
        &mut self,
        link: LinkId,
        id: NetworkId,
        peer: PeerId,
        key: &EpochId,
    ) {
        let (Some(net), Some(linked)) = (self.nets.get_mut(&id), self.links.get(&link)) else {
            return;
        };
        let seed = match random::seed() {
            Ok(seed) => seed,
            Err(error) => return warn!("{error}"),
        };
        let (me, to) = (net.my_device(), device_id(&peer));
        let Some(handed) = net.ledger.hand_offer_key(&me, key, &to, &seed) else {
            return;
        };
        // First it is kept to whom: who leaves the audience later is not handed the next one.
        match net.settings.hand(key.to_string(), to.to_string()) {
            Ok(()) => linked.link.send(Frame::OfferKey(handed)),
            Err(error) => warn!("{error}"),
        }
    }

    /// Takes the key of a narrow offer.
    pub(crate) async fn take_offer_key(
        &mut self,
        link: LinkId,
        id: NetworkId,
        peer: PeerId,
        handed: &HandedKey,
    ) {
        let Some(net) = self.nets.get_mut(&id) else {
            return;
        };
        match net.ledger.add_offer_key(handed) {
            Ok(true) => self.changed(id, Some(link)).await,
            Ok(false) => debug!(?peer, "sent the key of no offer that waits for one"),
            Err(error) => warn!("{error}"),
        }
    }

    /// Seals own narrow offers anew from whose audience somebody has gone to whom the key was handed, and withdraws those
    /// that this device cannot read itself, as after its files were put back from a copy: it does not keep to them.
    pub(crate) async fn renew_narrow(&mut self, id: NetworkId) {
        let Some(net) = self.nets.get(&id) else {
            return;
        };
        let state = net.state();
        let admitted = |offer: &Offer| -> BTreeSet<String> {
            let devices = state.devices.keys();
            let may = devices.filter(|device| state.admits(&offer.audience, device));
            may.map(ToString::to_string).collect()
        };
        let now = now_ms();
        let stale: Vec<(u32, Offer)> = net
            .own_narrow()
            .into_iter()
            .filter(|(key, _, offer)| {
                let may = admitted(offer);
                let handed = net.settings.handed(&key.to_string());
                offer.until.is_none_or(|until| until > now)
                    && handed.is_some_and(|handed| !handed.is_subset(&may))
            })
            .map(|(_, slot, offer)| (slot, offer))
            .collect();
        let me = net.my_device();
        let own = state.narrow.range((me, 0)..=(me, u32::MAX));
        let unread = own.filter(|(place, _)| !state.offers.contains_key(place));
        let unread: Vec<u32> = unread.map(|((_, slot), _)| *slot).collect();
        let mut renewed = false;
        for slot in unread {
            let write = Write::Offer {
                device: me,
                slot,
                offer: None,
            };
            match self.author(id, Act::Private, Some(Attributes::Writes(vec![write]))) {
                Ok(_) => renewed = true,
                Err(error) => {
                    warn!(network = %id, "an offer whose key is lost stays: {}", error.message);
                }
            }
        }
        for (slot, offer) in stale {
            match self.offer_narrowly(id, slot, &offer) {
                Ok(_) => {
                    info!(network = %id, slot, "an offer is sealed anew: somebody left its audience");
                    renewed = true;
                }
                Err(error) => {
                    warn!(network = %id, "an offer could not be sealed anew: {}", error.message);
                }
            }
        }
        if renewed {
            self.changed(id, None).await;
        }
    }
}
