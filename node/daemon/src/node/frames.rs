//! What peers say on their links.

use mesh_core::desired::device_id;
use mesh_core::link::{Frame, Refusal, event_frames};
use mesh_core::path::Who;
use mesh_core::peer::PeerId;
use mesh_ledger::ids::{EpochId, EventId, NetworkId};
use mesh_ledger::network::redeem::{Reply, Request};
use mesh_ledger::parking::Source;
use mesh_ledger::wire::{Message, Sync};
use tracing::{debug, info, warn};

use super::Node;
use crate::clock::now_ms;
use crate::link::LinkId;
use crate::random;

/// A batch of so few events is confirmed, so that its author can tell who has it.
const CONFIRM: usize = 64;

impl Node {
    /// Takes a frame. What does not belong where it came ends the link.
    pub(crate) async fn frame(&mut self, link: LinkId, frame: Frame) {
        let Some(linked) = self.links.get(&link) else {
            return;
        };
        let (id, peer, member) = (linked.network, linked.peer, linked.member);
        match frame {
            // Who is admitted has the ledger: once.
            Frame::Redeem(request) if !member => self.redeem(link, id, peer, &request).await,
            _ if !member => self.end(link, Refusal::Protocol),
            Frame::Sync(bytes) => self.sync(link, id, peer, &bytes).await,
            Frame::Stored(ids) => self.confirmed(id, peer, &ids),
            Frame::Beacon(bytes) => self.beacon(link, id, bytes),
            Frame::KeyWanted(epoch) => self.hand_key(link, id, peer, &epoch),
            Frame::Key(key) => {
                let Some(net) = self.nets.get_mut(&id) else {
                    return;
                };
                match net.ledger.add_key(&key) {
                    Ok(true) => self.changed(id, Some(link)).await,
                    Ok(false) => debug!(?peer, "sent a key that is no news or not the epoch's"),
                    Err(error) => warn!("{error}"),
                }
            }
            Frame::OfferKeyWanted(key) => self.hand_offer_key(link, id, peer, &key),
            Frame::OfferKey(key) => self.take_offer_key(link, id, peer, &key).await,
            Frame::ResetTunnel => {
                if let Some(tunnel) = self.nets.get(&id).and_then(|net| net.tunnel.load_full()) {
                    tunnel.reset(&peer);
                }
            }
            Frame::Asked(number, probe) => self.asked(link, number, probe),
            Frame::Said(number, refused) => self.said(id, peer, number, refused),
            Frame::Handover(bytes) => self.transfer_message(link, id, peer, &bytes).await,
            Frame::Call(call) => {
                if let Some(ways) = &self.ways {
                    ways.call(Who { network: id, peer }, call);
                }
            }
            Frame::Goodbye => self.link_closed(link, "it took the network down"),
            Frame::Hello(_)
            | Frame::Welcome(_)
            | Frame::Refused(_)
            | Frame::Events(_)
            | Frame::Redeem(_)
            | Frame::Redeemed(_)
            | Frame::Code(_) => {
                self.end(link, Refusal::Protocol);
            }
        }
    }

    pub(super) fn end(&mut self, link: LinkId, refusal: Refusal) {
        if let Some(linked) = self.links.get(&link) {
            warn!(peer = ?linked.peer, "ended: {refusal}");
            linked.link.send(Frame::Refused(refusal));
        }
        self.link_closed(link, "it sent what it must not");
    }

    async fn sync(&mut self, link: LinkId, id: NetworkId, peer: PeerId, bytes: &[u8]) {
        let (Some(net), Some(linked)) = (self.nets.get_mut(&id), self.links.get_mut(&link)) else {
            return;
        };
        let message = match Message::decode(bytes) {
            Ok(message) => message,
            Err(error) => {
                debug!(?peer, "{error}");
                self.end(link, Refusal::Protocol);
                return;
            }
        };
        // What a device pushes counts against its allowance; what sync brings never does, so that replicas converge.
        let source = match message {
            Message::Push(_) => Source::Push(device_id(&peer)),
            _ => Source::Sync(device_id(&peer)),
        };
        let step = linked.sync.receive(message, net.ledger.index());
        for message in step.send {
            linked.link.send(Frame::Sync(message.encode()));
        }
        if !step.events.is_empty() {
            self.take_events(link, id, source, &step.events).await;
        }
    }

    async fn take_events(
        &mut self,
        link: LinkId,
        id: NetworkId,
        source: Source,
        events: &[Vec<u8>],
    ) {
        let Some(net) = self.nets.get_mut(&id) else {
            return;
        };
        let receipt =
            match tokio::task::block_in_place(|| net.ledger.receive(source, events, now_ms())) {
                Ok(receipt) => receipt,
                Err(error) => {
                    warn!(network = %id, "events could not be stored: {error}");
                    net.problem = Some(error.to_string());
                    return;
                }
            };
        for (event, why) in &receipt.refused {
            debug!(?source, event = %event.short(), "refused: {why}");
        }
        for event in &receipt.mended {
            info!(network = %id, event = %event.short(), "a damaged event was restored by a peer");
        }
        if let Some(linked) = self.links.get(&link) {
            if receipt.wait > 0 {
                debug!(
                    ?source,
                    "pushes more events than its allowance: it is read later"
                );
                linked.link.pause(receipt.wait);
            }
            for message in Sync::fetch(&receipt.missing) {
                linked.link.send(Frame::Sync(message.encode()));
            }
            if events.len() <= CONFIRM {
                let graph = net.ledger.graph();
                let ids = events.iter().map(|bytes| mesh_ledger::event::id_of(bytes));
                let stored: Vec<EventId> =
                    ids.filter(|event| graph.find(event).is_some()).collect();
                linked.link.send(Frame::Stored(stored));
            }
        }
        self.want_from_mirrors(id, &receipt.missing);
        if !receipt.added.is_empty() {
            self.changed(id, Some(link)).await;
        }
    }

    /// A device that was unknown has told why it is a member.
    pub(crate) async fn introduced(&mut self, id: NetworkId, peer: PeerId, events: &[Vec<u8>]) {
        let Some(net) = self.nets.get_mut(&id) else {
            return;
        };
        let device = device_id(&peer);
        // Whoever is no member with it leaves nothing behind, so there is nothing to tell others.
        let on_trial = || net.ledger.receive_on_trial(&device, events, now_ms());
        let received = tokio::task::block_in_place(on_trial);
        net.ledger.forget(Source::Sync(device));
        match received {
            Ok(receipt) if !receipt.added.is_empty() => self.changed(id, None).await,
            Ok(_) => {}
            Err(error) => warn!(network = %id, "events could not be stored: {error}"),
        }
    }

    fn hand_key(&mut self, link: LinkId, id: NetworkId, peer: PeerId, epoch: &EpochId) {
        let (Some(net), Some(linked)) = (self.nets.get(&id), self.links.get(&link)) else {
            return;
        };
        let Some(device) = net.state().devices.get(&device_id(&peer)) else {
            return;
        };
        match random::seed() {
            Ok(seed) => {
                if let Some(key) = net.ledger.hand_key_of(epoch, &device.box_key, &seed) {
                    linked.link.send(Frame::Key(key));
                }
            }
            Err(error) => warn!("{error}"),
        }
    }

    /// A joiner asks to be admitted. If it is, it is told only when the admission counts here and is stored.
    async fn redeem(&mut self, link: LinkId, id: NetworkId, peer: PeerId, request: &[u8]) {
        let Some(net) = self.nets.get_mut(&id) else {
            return;
        };
        let Some(request) = Request::decode(request) else {
            self.end(link, Refusal::Protocol);
            return;
        };
        let seed = match random::seed() {
            Ok(seed) => seed,
            Err(error) => return warn!("{error}"),
        };
        let judged = net.ledger.redeem(
            &request,
            &device_id(&peer),
            &self.identity.device,
            &seed,
            now_ms(),
        );
        let reply = match judged {
            Ok(answer) => {
                info!(network = %net.name(), ?peer, event = %answer.admit.short(), "admitted");
                Reply::Admitted(answer)
            }
            Err(error) => {
                info!(network = %net.name(), ?peer, "not admitted: {error}");
                Reply::Refused(error)
            }
        };
        let admitted = matches!(reply, Reply::Admitted(_));
        if admitted {
            self.changed(id, None).await;
        }
        let (Some(net), Some(linked)) = (self.nets.get(&id), self.links.get(&link)) else {
            return;
        };
        linked.link.send(Frame::Redeemed(reply.encode()));
        if admitted {
            linked
                .link
                .stream(Box::new(event_frames(net.ledger.read_all())));
            self.member_link(id, peer, link);
        }
    }
}
