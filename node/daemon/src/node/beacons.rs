//! Beacons: sends this device's, takes those of others and passes them on.

use std::time::Duration;

use mesh_core::beacon::{BadBeacon, Beacon, EVERY, HOLD, MAX_ADDRESSES};
use mesh_core::desired::{device_id, peer_id};
use mesh_core::link::Frame;
use mesh_ledger::ids::NetworkId;
use tracing::warn;

use super::Node;
use crate::clock::{now_ms, steady};
use crate::link::LinkId;

impl Node {
    /// Sends a beacon, if one is due and somebody is there to take it.
    pub(crate) fn beacon_due(&mut self, id: NetworkId, now: Duration) {
        let Some(net) = self.nets.get_mut(&id).filter(|net| now >= net.next_beacon) else {
            return;
        };
        net.next_beacon = now + Duration::from_millis(EVERY);
        // Those that wait go along.
        net.pass_on = net.pass_on.map(|due| due.min(now));
        net.beacon_counter = now_ms().max(net.beacon_counter + 1);
        let mut addresses = self.endpoint.addresses();
        addresses.truncate(MAX_ADDRESSES);
        let beacon = Beacon {
            device: net.my_device(),
            counter: net.beacon_counter,
            heads: net.ledger.heads_digest(),
            addresses,
            tips: net.tips(),
        };
        let Some(key) = net.ledger.newest_key() else {
            return;
        };
        let Some(bytes) = beacon.seal(&id, &self.identity.device, key) else {
            return;
        };
        for linked in self
            .links
            .values()
            .filter(|linked| linked.network == id && linked.member)
        {
            linked.link.send(Frame::Beacon(bytes.clone()));
        }
        // What waits goes in its company.
        self.pass_on(id);
    }

    /// Passes on the beacons of others that have waited for company long enough.
    pub(crate) fn pass_on_due(&mut self, id: NetworkId, now: Duration) {
        let due = |net: &super::Net| net.pass_on.is_some_and(|at| now >= at);
        if self.nets.get(&id).is_some_and(due) {
            self.pass_on(id);
        }
    }

    fn pass_on(&mut self, id: NetworkId) {
        if let Some(net) = self.nets.get_mut(&id) {
            net.pass_on = None;
        }
        for linked in self.links.values_mut().filter(|link| link.network == id) {
            for (_, beacon) in std::mem::take(&mut linked.beacons) {
                linked.link.send(Frame::Beacon(beacon));
            }
        }
    }

    /// Takes what came as a beacon over a link.
    pub(super) fn beacon(&mut self, link: LinkId, id: NetworkId, bytes: Vec<u8>) {
        let (Some(net), Some(linked)) = (self.nets.get_mut(&id), self.links.get_mut(&link)) else {
            return;
        };
        let me = net.my_device();
        let opened = Beacon::open_news(&bytes, &id, net.ledger.keys().iter(), |device, counter| {
            *device == me || net.presence.is_old(device, counter)
        });
        let beacon = match opened {
            Ok(beacon) => beacon,
            Err(BadBeacon::Old(device)) => {
                // It has what it was to be told.
                if linked.beacons.get(&device) == Some(&bytes) {
                    linked.beacons.remove(&device);
                }
                return;
            }
            Err(why) => {
                if why == BadBeacon::Later && !std::mem::replace(&mut linked.later, true) {
                    warn!(network = %id, "a beacon by way of {}: {why}", device_id(&linked.peer).short());
                }
                return;
            }
        };
        let device = beacon.device;
        if !net.state().devices.contains_key(&device) {
            return;
        }
        let (heads, made, tips) = (beacon.heads, beacon.counter, beacon.tips.clone());
        let now = steady();
        let was_there = net.presence.fresh(&device, now);
        if !net.presence.take(beacon, now_ms(), now) {
            return;
        }
        net.clocks.insert(
            device,
            now_ms().cast_signed().saturating_sub(made.cast_signed()),
        );
        net.settings.heard(device.to_string(), now_ms());
        net.came |= !was_there;
        self.alive(id, &peer_id(&device));
        self.hear_tips(id, device, &tips);
        let Some(net) = self.nets.get_mut(&id) else {
            return;
        };
        let mine = net.ledger.heads_digest();
        for (other, linked) in self
            .links
            .iter_mut()
            .filter(|(_, linked)| linked.network == id && linked.member)
        {
            if device_id(&linked.peer) == device {
                linked.heads = Some(heads);
                if heads != mine && linked.sync.is_idle() {
                    for message in linked.sync.start(net.ledger.index()) {
                        linked.link.send(Frame::Sync(message.encode()));
                    }
                }
            } else if *other != link {
                linked.beacons.insert(device, bytes.clone());
            }
        }
        if !was_there {
            self.pass_on(id);
        } else {
            net.pass_on.get_or_insert(now + HOLD);
        }
    }
}
