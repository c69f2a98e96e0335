//! The handle by which the daemon runs one network's packet path.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use bytes::Bytes;
use mesh_core::peer::PeerId;
use x25519_dalek::StaticSecret;

use crate::carrier::{Arena, Carrier};
use crate::device::Device;
use crate::own::Own;
use crate::peer::{Keys, Slot, State, Turn};
use crate::shared::{Shared, Snapshot};
use crate::table::{Event, PeerStats, Table};
use crate::{inward, outward, timer};

/// What takes the events: called from the packet threads, so it must not block.
pub type Events = Arc<dyn Fn(Event) + Send + Sync>;

/// What a tunnel is made of.
pub struct Config {
    /// This device's WireGuard key in this network.
    pub key: StaticSecret,
    /// The longest inner packet in bytes.
    pub mtu: u16,
    /// Where packets come from and go to.
    pub device: Arc<dyn Device>,
    /// What takes the events.
    pub events: Events,
}

/// The packet path of one network: three threads, which end when it is dropped. What comes by a socket is opened by the
/// socket's thread: [`crate::Udp::attach`].
pub struct Tunnel {
    pub(crate) shared: Arc<Shared>,
    /// One table at a time. It holds the peers that were told of because they claim another's key.
    publishing: Mutex<BTreeSet<PeerId>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

type Body = fn(&Shared);

impl Tunnel {
    /// Starts the threads, with an empty table: nothing passes yet.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn spawn(config: Config) -> io::Result<Self> {
        let shared = Arc::new(Shared::new(
            config.key,
            config.mtu,
            config.device,
            config.events,
        ));
        let tunnel = Self {
            shared,
            publishing: Mutex::default(),
            threads: Mutex::default(),
        };
        let bodies: [(&str, Body); 3] = [
            ("mesh-outward", outward::run),
            ("mesh-inward", inward::run),
            ("mesh-timer", timer::run),
        ];
        for (name, body) in bodies {
            let shared = tunnel.shared.clone();
            let thread = Builder::new()
                .name(name.into())
                .spawn(move || body(&shared))?;
            tunnel
                .threads
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(thread);
        }
        Ok(tunnel)
    }

    /// Makes a table the one that counts. Denies first: when this returns, whoever is not in it is cut off, with all
    /// flows, sessions and queues, and whatever it does not allow is refused. A peer that stays keeps its flows, and its
    /// session if its key is the same; if it is not, the session goes on until there is one under the new key.
    ///
    /// A key belongs to one peer: to the one that had it before, else to the first. Another peer that claims it takes no
    /// part, for it would draw the holder's handshakes to itself.
    pub fn publish(&self, table: &Table) {
        let mut told = self
            .publishing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let old = self.shared.snapshot.load_full();
        let mut new = Snapshot::default();
        for own in &table.rules.own {
            if !new.own.iter().any(|known| known.is_ipv4() == own.is_ipv4()) {
                new.own.push(*own);
            }
        }
        let own = self.shared.own.load_full();
        let mut kept = BTreeSet::new();
        let mut carriers = Vec::new();
        let mut changed = Vec::new();
        let holders = holders(table, &old);
        told.retain(|id| claims_anothers(table, &holders, id));
        for (id, peer) in &table.peers {
            if claims_anothers(table, &holders, id) {
                if told.insert(*id) {
                    let holder = holders.get(peer.key.as_bytes());
                    tracing::warn!(
                        peer = ?id,
                        ?holder,
                        "a device claims the WireGuard key of another: it gets no tunnel until it makes a key of its own, \
                         by `mesh id rotate` there"
                    );
                }
                continue;
            }
            let Some(policy) = table.rules.for_peer(id).map(Arc::new) else {
                continue;
            };
            let keys = Keys {
                own: own.clone(),
                preshared: peer.preshared_key.clone(),
                peer: peer.key,
            };
            let slot = match old.peer(id) {
                Some(slot) => {
                    kept.insert(*id);
                    let mut state = slot.lock();
                    state.policy = policy.clone();
                    if !state.has_keys(&keys) {
                        changed.push((slot.clone(), keys));
                    }
                    slot.clone()
                }
                None => Slot::new(*id, keys, policy.clone(), self.shared.sessions.clone()),
            };
            let place = new.slots.len();
            new.by_id.insert(*id, place);
            new.by_key.insert(peer.key.to_bytes(), place);
            for address in &policy.peer {
                new.by_address.entry(*address).or_insert(place);
            }
            carriers.push((slot.clone(), peer.carrier.clone()));
            new.slots.push(slot);
        }
        old.slots
            .iter()
            .filter(|slot| !kept.contains(&slot.id))
            .for_each(|slot| slot.cut());
        let resumed: Vec<Arc<Slot>> = carriers
            .into_iter()
            .filter_map(|(slot, carrier)| attach(slot, carrier))
            .collect();
        self.shared.snapshot.store(Arc::new(new));
        self.resume(resumed);
        self.rekey(changed);
    }

    /// Changes this device's key. Sessions under the old one go on until each peer, which has to learn the new one by
    /// other means, has made another with it, and for at most 20 seconds.
    pub fn set_key(&self, key: StaticSecret) {
        let _one = self
            .publishing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let own = Arc::new(Own::new(key));
        self.shared.own.store(own.clone());
        let snapshot = self.shared.snapshot.load_full();
        let keys = |slot: &Arc<Slot>| slot.lock().keys_with(own.clone());
        let slots = snapshot.slots.iter();
        self.rekey(slots.map(|slot| (slot.clone(), keys(slot))).collect());
    }

    /// Changes the carrier of one peer, as a new table with only that change would. The next table must have it too.
    /// False if the peer is not in the table.
    pub fn set_carrier(&self, peer: &PeerId, carrier: Option<Arc<dyn Carrier>>) -> bool {
        let _one = self
            .publishing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let snapshot = self.shared.snapshot.load_full();
        let Some(slot) = snapshot.peer(peer) else {
            return false;
        };
        self.resume(attach(slot.clone(), carrier));
        true
    }

    /// Takes sealed messages that came from a peer over whatever carrier. Never blocks; what finds no room is dropped
    /// and counted, and so is whatever comes from a peer that is not in the table.
    pub fn receive(&self, peer: &PeerId, messages: Vec<Bytes>) {
        let snapshot = self.shared.snapshot.load();
        let Some(slot) = snapshot.peer(peer) else {
            return;
        };
        if slot.push(messages) {
            self.shared.line.push(slot.clone());
        }
    }

    /// The counters of all peers in the table, in the order of their ids.
    #[must_use]
    pub fn stats(&self) -> Vec<PeerStats> {
        let now = self.shared.now();
        self.shared
            .snapshot
            .load()
            .slots
            .iter()
            .map(|slot| slot.stats(now))
            .collect()
    }

    /// The peers whose packets passed, either way, since this was last asked, in the order of their ids. Costs the packet
    /// threads and whoever asks next to nothing, so that it can be asked often, of many peers. There is one asker.
    #[must_use]
    pub fn take_active(&self) -> Vec<PeerId> {
        let snapshot = self.shared.snapshot.load();
        let slots = snapshot.slots.iter();
        slots
            .filter(|slot| slot.counters.was_active())
            .map(|slot| slot.id)
            .collect()
    }

    /// Forgets the session with a peer; the next packet makes a new one. For when handshakes keep failing.
    pub fn reset(&self, peer: &PeerId) {
        if let Some(slot) = self.shared.snapshot.load().peer(peer) {
            slot.lock().reset();
        }
    }

    /// Sends the peer a packet without contents, if there is a way to it; without a session that begins one.
    pub fn keepalive(&self, peer: &PeerId) {
        if let Some(slot) = self.shared.snapshot.load().peer(peer) {
            self.act(slot, |state, turn| {
                if state.carrier.is_some() {
                    state.seal(turn, &[]);
                }
                state.carrier.clone()
            });
        }
    }

    /// How many packets a second go to the peer, by the last quarter of a second.
    #[must_use]
    pub fn pace(&self, peer: &PeerId) -> u64 {
        let snapshot = self.shared.snapshot.load();
        snapshot.peer(peer).map_or(0, |slot| slot.lock().pace())
    }

    /// Begins a handshake with the peer over this carrier, while packets go on over the one it has: for before it gets this
    /// one. False if there is no session to follow, and so nothing to wait for; else [`Event::HandshakeDone`] tells when
    /// packets are sealed by the new one.
    ///
    /// A way that is faster than the one before overtakes what is under way on that. Whoever opens the packets takes those
    /// that come late only up to 1,024 places behind the newest, *of one session*: a new session before the change keeps
    /// those of the old one good.
    #[must_use]
    pub fn renew(&self, peer: &PeerId, carrier: &Arc<dyn Carrier>) -> bool {
        let snapshot = self.shared.snapshot.load();
        snapshot.peer(peer).is_some_and(|slot| {
            let mut begun = false;
            self.act(slot, |state, turn| {
                begun = state.renew(turn);
                Some(carrier.clone())
            });
            begun
        })
    }

    /// Ends the threads and waits for them. Nothing passes afterwards.
    pub fn stop(&self) {
        *self
            .shared
            .passing
            .write()
            .unwrap_or_else(PoisonError::into_inner) = false;
        self.shared.line.stop();
        self.shared.device.stop();
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            thread.thread().unpark();
            if thread.join().is_err() {
                tracing::error!("a packet thread ended with a panic");
            }
        }
    }

    /// Begins sessions under new keys.
    fn rekey(&self, slots: Vec<(Arc<Slot>, Keys)>) {
        for (slot, keys) in slots {
            self.act(&slot, |state, turn| {
                state.rekey(turn, keys);
                state.carrier.clone()
            });
        }
    }

    /// Sends what waited for a carrier.
    fn resume(&self, slots: impl IntoIterator<Item = Arc<Slot>>) {
        for slot in slots {
            self.act(&slot, |state, turn| {
                state.resume(turn);
                state.carrier.clone()
            });
        }
    }

    /// Does something with a peer, and sends what comes of it over the carrier that it names.
    fn act(
        &self,
        slot: &Slot,
        what: impl FnOnce(&mut State, &mut Turn<'_>) -> Option<Arc<dyn Carrier>>,
    ) {
        let (mut arena, mut events) = (Arena::default(), Vec::new());
        let mut state = slot.lock();
        let carrier = what(
            &mut state,
            &mut self.shared.turn(slot, &mut arena, &mut events),
        );
        drop(state);
        Shared::send(slot, carrier.as_ref(), &mut arena);
        self.shared.tell(&mut events);
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Whose each key is. See [`Tunnel::publish`].
fn holders(table: &Table, old: &Snapshot) -> BTreeMap<[u8; 32], PeerId> {
    let mut holders = BTreeMap::new();
    for (id, peer) in &table.peers {
        let key = peer.key.to_bytes();
        let before = old.by_key.get(&key).and_then(|place| old.slots.get(*place));
        let before = before.map(|slot| slot.id);
        let stays = |id: &PeerId| {
            table
                .peers
                .get(id)
                .is_some_and(|peer| peer.key.as_bytes() == &key)
        };
        holders
            .entry(key)
            .or_insert_with(|| before.filter(stays).unwrap_or(*id));
    }
    holders
}

fn claims_anothers(table: &Table, holders: &BTreeMap<[u8; 32], PeerId>, id: &PeerId) -> bool {
    let key = table.peers.get(id).map(|peer| peer.key.as_bytes());
    key.and_then(|key| holders.get(key))
        .is_some_and(|holder| holder != id)
}

/// Gives a peer its carrier, and gives the peer back if it has one now and had none or another before.
fn attach(slot: Arc<Slot>, carrier: Option<Arc<dyn Carrier>>) -> Option<Arc<Slot>> {
    let mut state = slot.lock();
    let changed = match (&state.carrier, &carrier) {
        (Some(old), Some(new)) => !Arc::ptr_eq(old, new),
        (None, Some(_)) => true,
        (_, None) => false,
    };
    state.carrier = carrier;
    drop(state);
    changed.then_some(slot)
}
