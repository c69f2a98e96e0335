//! One network as a device holds it: store, graph, gate, keys and fold behind one owner.
//!
//! What comes from outside goes gate → store, durably → graph → one fold per batch. What is written here is tried on the
//! graph first: an event that the fold would find void is never stored. A failed write leaves the ledger as it was.

mod author;
mod checkpoint;
mod devices;
pub mod letters;
mod narrow;
mod receive;
pub mod redeem;
mod trial;
mod verify;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

pub use author::AuthorError;
pub use checkpoint::Unsealed;
pub use devices::{EnterError, Entrant};
pub use narrow::MAX_OFFER_KEYS;
pub use receive::Receipt;
pub use trial::Consequences;
pub use verify::{Fault, Verification, verify_rows, verify_store};

use crate::authority::Authority;
use crate::epoch::{HandedKey, KeyRing};
use crate::event::act::{Genesis, Policy};
use crate::event::attributes::{Founding, Joining, Opened, Subnet};
use crate::event::{Act, Attributes, Event, Header};
use crate::fold::Fold;
use crate::gate::{Gate, Passage, Rate, Refusal};
pub use crate::graph::FindError;
use crate::graph::{Graph, Idx};
use crate::ids::{BoxKey, DeviceId, Digest, EpochId, EventId, NetworkId, WgKey};
use crate::increment::Increment;
use crate::keys::{BoxSecret, DeviceSecret, EpochKey, UserSecret};
use crate::parking::{Parking, Source};
use crate::past::Reading;
use crate::recovery::RecoveryWords;
use crate::replica::{Replica, ReplicaError};
use crate::seal::{self, SealError};
use crate::state::State;
use crate::store::{Store, StoreError};
use crate::text::Label;
use crate::verdict::Verdict;
use crate::wire::Index;

/// The most keys that are asked for at once.
pub const MAX_MISSING: usize = 64;

/// One network's ledger.
pub struct Ledger<S> {
    store: S,
    network: NetworkId,
    graph: Graph,
    gate: Gate,
    parking: Parking,
    damaged: BTreeSet<EventId>,
    keys: KeyRing,
    offer_keys: KeyRing,
    box_secret: BoxSecret,
    opened: Vec<Opened>,
    /// Events whose attributes cannot be opened yet, by epoch.
    sealed: BTreeMap<EpochId, BTreeSet<Idx>>,
    /// With how many keys was tried to open them.
    tried: usize,
    /// Events that carry epoch keys.
    carriers: Vec<Idx>,
    /// How many events were looked through for carriers.
    noted: usize,
    increment: Increment,
    index: Index,
    rates: BTreeMap<DeviceId, Rate>,
}

/// What founding a network takes. The seeds and keys are fresh random bytes.
#[derive(Debug)]
pub struct FoundingArgs<'a> {
    /// The network's name.
    pub name: Label,
    /// Where addresses are taken from.
    pub subnet: Subnet,
    /// What is settled for good.
    pub policy: Policy,
    /// The owner.
    pub user: &'a UserSecret,
    /// The owner's device.
    pub device: &'a DeviceSecret,
    /// The device's box key.
    pub box_secret: BoxSecret,
    /// The device's host name.
    pub host: Label,
    /// The address it wants, or the first.
    pub address: Option<Ipv4Addr>,
    /// The device's WireGuard key in this network.
    pub wireguard: WgKey,
    /// The first epoch's key.
    pub epoch: EpochKey,
    /// The recovery words to be shown.
    pub recovery: RecoveryWords,
    /// Makes the network unlike any other.
    pub nonce: [u8; 16],
    /// The salt of the device's attributes.
    pub salt: [u8; 16],
    /// Milliseconds since 1970.
    pub now: u64,
}

/// What joining takes: what a sponsor's answer brought.
#[derive(Debug)]
pub struct JoinArgs {
    /// The network that the ticket names.
    pub network: NetworkId,
    /// Its events, in any order.
    pub events: Vec<Vec<u8>>,
    /// The newest epoch's key.
    pub epoch: EpochKey,
    /// This device.
    pub device: DeviceId,
    /// Its box key.
    pub box_secret: BoxSecret,
}

/// Why a network cannot be founded.
#[derive(Debug, thiserror::Error)]
pub enum FoundError {
    /// The store holds one already.
    #[error("the store already holds network {}", .0.short())]
    Occupied(NetworkId),
    /// The genesis breaks a rule of the format.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The gate would not let the genesis pass.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It could not be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why what a sponsor sent does not make us a member.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The store holds a network already.
    #[error("the store already holds network {}", .0.short())]
    Occupied(NetworkId),
    /// No event with the network's id is its genesis.
    #[error("the sponsor sent another network than the ticket names: ask for a new ticket")]
    OtherNetwork,
    /// An event that no member lets pass.
    #[error("the sponsor sent an event that does not verify ({}: {why})", .id.short())]
    Refused {
        /// The event.
        id: EventId,
        /// Why.
        why: Refusal,
    },
    /// Events whose parents were not sent.
    #[error("the sponsor kept {} events back: try another member", .0.len())]
    Incomplete(Vec<EventId>),
    /// The fold does not find this device admitted.
    #[error(
        "by the ledger that was sent, this device is not admitted: try again, or ask for a new ticket"
    )]
    NotAdmitted,
    /// It could not be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a stored network does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store holds none.
    #[error("the store holds no network")]
    Empty,
    /// The store does not serve.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl<S: Store> Ledger<S> {
    /// Founds a network.
    ///
    /// # Errors
    /// [`FoundError`]; nothing is stored then.
    pub fn found(store: S, args: FoundingArgs<'_>) -> Result<(Self, RecoveryWords), FoundError> {
        if let Some(network) = store.network()? {
            return Err(FoundError::Occupied(network));
        }
        let act = Act::Genesis(Genesis {
            owner: args.user.public(),
            device: args.device.public(),
            box_key: args.box_secret.public(),
            certificate: args.user.certify(&args.device.public()),
            recovery: args.recovery.secret().public(),
            policy: args.policy,
            nonce: args.nonce,
        });
        let attributes = Attributes::Founding(Founding {
            name: args.name,
            subnet: args.subnet,
            joining: Joining {
                salt: args.salt,
                host: args.host,
                address: args.address,
                wireguard: args.wireguard,
            },
        });
        let header = Header {
            network: NetworkId::GENESIS,
            author: args.device.public(),
            seq: 1,
            lamport: 0,
            time: args.now,
            epoch: EpochId::NONE,
            parents: Vec::new(),
        };
        let genesis = seal::sign(header, &act, Some((&attributes, &args.epoch)), args.device)?;
        let mut ledger = Self::empty(store, genesis.network(), args.box_secret);
        ledger.keys.insert(args.epoch.clone());
        ledger
            .gate
            .pass(&mut ledger.graph, &ledger.network, &genesis)?;
        // The key first: a genesis that cannot be read would be of no use.
        ledger.store.add_epoch_keys(&[args.epoch])?;
        ledger.store.append(&[genesis])?;
        ledger.refold();
        ledger.publish(0);
        Ok((ledger, args.recovery))
    }

    /// Joins with what a sponsor sent, after checking all of it: the genesis is the network's id, every signature holds,
    /// nothing is missing, and the fold finds this device admitted.
    ///
    /// # Errors
    /// [`JoinError`]; nothing is stored then.
    pub fn join(store: S, args: JoinArgs) -> Result<Self, JoinError> {
        let device = args.device;
        let (mut ledger, events) = Self::gathered(store, args)?;
        if !ledger.state().devices.contains_key(&device) {
            return Err(JoinError::NotAdmitted);
        }
        ledger.keep(&events)?;
        Ok(ledger)
    }

    /// Opens a stored network. Damaged rows are left out with everything that depends on them: see [`Self::damaged`].
    /// They are mended as soon as a member sends the good bytes.
    ///
    /// # Errors
    /// [`OpenError`] if the store does not serve at all.
    pub fn open(store: S, box_secret: BoxSecret) -> Result<Self, OpenError> {
        let mut store = store;
        let recorded = store.network()?;
        let mut events = Vec::new();
        let mut damaged = BTreeSet::new();
        for row in store.rows()? {
            // The id is a hash of the bytes, which decoding finds.
            if let Ok(event) = Event::decode_unverified(&row.bytes)
                && event.id() == row.id
            {
                events.push(event);
            } else if let Ok(event) = Event::decode(&row.bytes) {
                // The bytes are good, and the key is not theirs.
                store.refile(&row.id, &event)?;
                events.push(event);
            } else {
                damaged.insert(row.id);
            }
        }
        events.sort_by_key(|event| (event.header().lamport, event.id()));
        // A genesis proves itself; what is recorded beside it may be damaged.
        let network = events
            .first()
            .filter(|event| matches!(event.act(), Act::Genesis(_)))
            .map(Event::network)
            .or(recorded)
            .ok_or(OpenError::Empty)?;
        let mut ledger = Self::empty(store, network, box_secret);
        ledger.damaged = damaged;
        for key in ledger.store.epoch_keys()? {
            ledger.keys.insert(key);
        }
        for key in ledger.store.offer_keys()? {
            ledger.offer_keys.insert(key);
        }
        for event in events {
            // What an earlier release's gate passed and this one's does not is left out; `verify` names it.
            if let Ok(Passage::Missing(missing)) =
                ledger.gate.pass(&mut ledger.graph, &ledger.network, &event)
            {
                ledger.parking.park(Source::Store, event, &missing);
            }
        }
        ledger.learn();
        ledger.refold();
        ledger.publish(0);
        Ok(ledger)
    }

    /// The network's id.
    #[must_use]
    pub fn network(&self) -> NetworkId {
        self.network
    }

    /// What all events amount to.
    #[must_use]
    pub fn fold(&self) -> &Fold {
        self.increment.fold()
    }

    /// The network as members see it.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.fold().state
    }

    /// Who may do what, by the clear acts alone.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.fold().authority
    }

    /// All events.
    #[must_use]
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// What an event's sealed part holds.
    #[must_use]
    pub fn opened(&self, idx: Idx) -> &Opened {
        self.opened.get(idx.0 as usize).unwrap_or(&Opened::Pending)
    }

    /// All of it, for reading.
    #[must_use]
    pub fn reading(&self) -> Reading<'_> {
        Reading {
            graph: &self.graph,
            opened: &self.opened,
            fold: self.increment.fold(),
            offer_keys: &self.offer_keys,
        }
    }

    /// What the fold makes of an event.
    #[must_use]
    pub fn verdict(&self, idx: Idx) -> Option<&Verdict> {
        self.fold().verdicts.get(idx.0 as usize)
    }

    /// The event with that id.
    #[must_use]
    pub fn event(&self, id: &EventId) -> Option<&Event> {
        self.graph.find(id).map(|idx| self.graph.event(idx))
    }

    /// The one event whose id begins with these hexadecimal digits.
    ///
    /// # Errors
    /// [`FindError`] if there is none, or more than one.
    pub fn find(&self, prefix: &str) -> Result<&Event, FindError> {
        self.graph.named(prefix).map(|idx| self.graph.event(idx))
    }

    /// The ids of the heads, ascending.
    #[must_use]
    pub fn heads(&self) -> Vec<EventId> {
        let mut heads: Vec<EventId> = self
            .graph
            .heads()
            .map(|idx| self.graph.event(idx).id())
            .collect();
        heads.sort_unstable();
        heads
    }

    /// Sixteen bytes that differ if the heads differ: what beacons compare.
    #[must_use]
    pub fn heads_digest(&self) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new();
        for head in self.heads() {
            hasher.update(&head.0);
        }
        let mut digest = [0; 16];
        digest.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        digest
    }

    /// The hash of the state: equal on members that have the same events and none pending.
    #[must_use]
    pub fn state_hash(&self) -> Digest {
        self.fold().state.hash()
    }

    /// The hash of the authority: equal on all replicas that have the same events.
    #[must_use]
    pub fn authority_hash(&self) -> Digest {
        self.fold().authority.hash()
    }

    /// Stored events whose bytes are damaged, ascending. Those that depend on them are left out too.
    #[must_use]
    pub fn damaged(&self) -> Vec<EventId> {
        self.damaged.iter().copied().collect()
    }

    /// Ids to ask members for: damaged events, and parents of parked ones.
    #[must_use]
    pub fn missing(&self) -> Vec<EventId> {
        let mut missing: BTreeSet<EventId> = self.damaged.clone();
        missing.extend(self.parking.missing());
        missing.into_iter().collect()
    }

    /// How many events wait for others.
    #[must_use]
    pub fn parked(&self) -> usize {
        self.parking.len()
    }

    /// A peer is gone: what it alone brought and that waits is dropped.
    pub fn forget(&mut self, source: Source) {
        self.parking.forget(source);
    }

    /// The epoch keys at hand.
    #[must_use]
    pub fn keys(&self) -> &KeyRing {
        &self.keys
    }

    /// The key this device seals under: of the newest accepted epoch whose key is here.
    #[must_use]
    pub fn newest_key(&self) -> Option<&EpochKey> {
        self.keys.newest(&self.state().epochs)
    }

    /// The epochs whose keys are not here, to be asked for: accepted ones, then those under which events are sealed that
    /// cannot be opened, as of a rotation that turned out void after others had written under it. At most [`MAX_MISSING`].
    #[must_use]
    pub fn missing_keys(&self) -> Vec<EpochId> {
        let mut sealed: Vec<(Idx, EpochId)> = self
            .sealed
            .iter()
            .filter_map(|(epoch, events)| Some((*events.first()?, *epoch)))
            .collect();
        sealed.sort_unstable();
        let sealed = sealed.into_iter().map(|(_, epoch)| epoch);
        let mut missing: Vec<EpochId> = Vec::new();
        for epoch in self.state().epochs.iter().copied().chain(sealed) {
            if missing.len() == MAX_MISSING {
                break;
            }
            if self.keys.get(&epoch).is_none() && !missing.contains(&epoch) {
                missing.push(epoch);
            }
        }
        missing
    }

    /// Seals the newest key to one device's box key. The seed is fresh random bytes.
    #[must_use]
    pub fn hand_key(&self, to: &BoxKey, seed: &[u8; 32]) -> Option<HandedKey> {
        HandedKey::seal(&self.network, self.newest_key()?, to, seed)
    }

    /// Seals the key of one epoch to one device's box key, if it is here. The seed is fresh random bytes.
    #[must_use]
    pub fn hand_key_of(&self, epoch: &EpochId, to: &BoxKey, seed: &[u8; 32]) -> Option<HandedKey> {
        HandedKey::seal(&self.network, self.keys.get(epoch)?, to, seed)
    }

    /// Takes a key that a member handed us, if it is one of [`Self::missing_keys`]. Says whether it is. What it opens is folded.
    ///
    /// # Errors
    /// [`StoreError`] if it could not be stored.
    pub fn add_key(&mut self, handed: &HandedKey) -> Result<bool, StoreError> {
        if !self.missing_keys().contains(&handed.epoch) {
            return Ok(false);
        }
        let Some(key) = handed.open(&self.network, &self.box_secret) else {
            return Ok(false);
        };
        self.store.add_epoch_keys(std::slice::from_ref(&key))?;
        self.keys.insert(key);
        let learnt = self.learn();
        self.store.add_epoch_keys(&learnt)?;
        self.refold();
        Ok(true)
    }

    /// What sync compares and sends.
    #[must_use]
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// The segments that [`Self::export`] can save, ascending.
    pub fn segments(&self) -> impl Iterator<Item = u32> {
        self.index.all_segments()
    }

    /// One segment as an Automerge document (a very large one, as several), which any Automerge library opens.
    ///
    /// # Errors
    /// [`ReplicaError`] if the library fails.
    pub fn export(&self, segment: u32) -> Result<Vec<Vec<u8>>, ReplicaError> {
        Replica::new().export(&self.index, segment)
    }

    /// The heads of the newest segment as an Automerge document: equal on members whose newest segments hold the same
    /// events. The document is made for the question: nothing else asks it, and events come and go without it.
    ///
    /// # Errors
    /// [`ReplicaError`] if the library makes none.
    pub fn replica_heads(&self) -> Result<Vec<[u8; 32]>, ReplicaError> {
        let mut replica = Replica::new();
        replica.update(&self.index, &[])?;
        Ok(replica.heads())
    }

    /// The store, for looking into it.
    #[must_use]
    pub fn store(&self) -> &S {
        &self.store
    }

    fn empty(store: S, network: NetworkId, box_secret: BoxSecret) -> Self {
        Self {
            store,
            network,
            graph: Graph::new(),
            gate: Gate::new(),
            parking: Parking::new(),
            damaged: BTreeSet::new(),
            keys: KeyRing::new(),
            offer_keys: KeyRing::new(),
            box_secret,
            opened: Vec::new(),
            sealed: BTreeMap::new(),
            tried: 0,
            carriers: Vec::new(),
            noted: 0,
            increment: Increment::new(),
            index: Index::new(),
            rates: BTreeMap::new(),
        }
    }

    /// Takes what keys the events hold for this device.
    fn learn(&mut self) -> Vec<EpochKey> {
        for idx in self.graph.indices().skip(self.noted) {
            if carries_keys(self.graph.event(idx).act()) {
                self.carriers.push(idx);
            }
        }
        self.noted = self.graph.len();
        let events = self.carriers.iter().map(|idx| self.graph.event(*idx));
        self.keys.learn(events, Some(&self.box_secret))
    }

    /// Opens what can be opened and folds what that or new events can change.
    fn refold(&mut self) {
        let mut readable = Vec::new();
        if self.tried != self.keys.len() {
            let keys = &self.keys;
            let mut opener = seal::Opener::new(keys);
            for (_, events) in self
                .sealed
                .extract_if(.., |epoch, _| keys.get(epoch).is_some())
            {
                for idx in &events {
                    self.opened[idx.0 as usize] = opener.open(self.graph.event(*idx));
                }
                readable.extend(events);
            }
            self.tried = self.keys.len();
        }
        let mut opener = seal::Opener::new(&self.keys);
        for idx in self.graph.indices().skip(self.opened.len()) {
            let event = self.graph.event(idx);
            let opened = opener.open(event);
            if opened == Opened::Pending {
                self.sealed
                    .entry(event.header().epoch)
                    .or_default()
                    .insert(idx);
            }
            self.opened.push(opened);
        }
        self.increment.update(&self.graph, &self.opened, &readable);
        self.open_offers();
    }

    /// Shows what was inserted after the first `len` events, and is durable, to sync.
    fn publish(&mut self, len: usize) {
        let indices = self.graph.indices().skip(len);
        self.index
            .extend(indices.map(|idx| self.graph.event(idx).clone()));
    }

    /// Takes away what was inserted after the first `len` events.
    fn truncate(&mut self, len: usize) {
        self.increment.retract(&self.graph, &self.opened, len);
        self.open_offers();
        for idx in self.graph.indices().skip(len).rev() {
            let epoch = self.graph.event(idx).header().epoch;
            if let Some(events) = self.sealed.get_mut(&epoch) {
                events.remove(&idx);
                if events.is_empty() {
                    self.sealed.remove(&epoch);
                }
            }
            self.carriers.pop_if(|last| *last == idx);
        }
        self.noted = self.noted.min(len);
        self.opened.truncate(len);
        self.graph.truncate(len);
        self.gate.truncate(len);
    }
}

/// Whether an act may bring keys of epochs.
fn carries_keys(act: &Act) -> bool {
    matches!(act, Act::EpochRotate(_) | Act::EpochKeys(_))
}

impl<S> std::fmt::Debug for Ledger<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger")
            .field("network", &self.network)
            .field("events", &self.graph.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
