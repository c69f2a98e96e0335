//! One network as a device holds it: store, graph, gate, keys and fold behind one owner.
//!
//! What comes from outside goes gate → store, durably → graph → one fold per batch. What is written here is tried on the
//! graph first: an event that the fold would find void is never stored. A failed write leaves the ledger as it was.

mod author;
mod checkpoint;
mod devices;
mod keys;
pub mod letters;
mod narrow;
mod read_all;
mod receive;
pub mod redeem;
mod trial;
mod verify;
mod witness;

use std::cell::Cell;
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
use crate::epoch::{HandedKey, KeyRing, Learner};
use crate::event::act::{Genesis, Policy};
use crate::event::attributes::{Founding, Joining, Opened, Subnet};
use crate::event::{Act, Attributes, BadEvent, Event, Header};
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
use crate::seal::{self, Openings, SealError};
use crate::state::State;
use crate::store::{Row, Store, StoreError};
use crate::text::Label;
use crate::verdict::Verdict;
use crate::wire::Index;

/// The most keys that are asked for at once.
pub const MAX_MISSING: usize = 64;

/// So many verdicts on signatures inside acts are found out anew when a ledger opens; more are kept.
const MOST_UNKEPT: usize = 64;

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
    /// Events whose attributes cannot be opened yet, by a hash of the epoch.
    sealed: BTreeSet<(u64, Idx)>,
    /// How many events were looked at for that, and with how many keys.
    sifted: usize,
    tried: usize,
    /// What events that carry epoch keys wait for.
    learner: Learner,
    /// How many events were looked through for carriers.
    noted: usize,
    increment: Increment,
    rates: BTreeMap<DeviceId, Rate>,
    /// [`Self::heads_digest`] after so many changes of the graph: every beacon asks, and a member can make very many heads.
    digest: Cell<Option<(u64, [u8; 16])>>,
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
        ledger.graph.stored();
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
        let recorded = store.network()?;
        let mut rows = store.page(None)?;
        let first = rows.rows.iter().find_map(|row| decoded(row).ok());
        // A genesis proves itself; what is recorded beside it may be damaged.
        let network = first
            .filter(|event| matches!(event.act(), Act::Genesis(_)))
            .map(|event| event.network())
            .or(recorded)
            .ok_or(OpenError::Empty)?;
        let mut ledger = Self::empty(store, network, box_secret);
        for key in ledger.store.epoch_keys()? {
            ledger.keys.insert(key);
        }
        for key in ledger.store.offer_keys()? {
            ledger.offer_keys.insert(key);
        }
        // Without them all is found out anew.
        ledger
            .graph
            .recall(ledger.store.proofs().unwrap_or_default());
        loop {
            let mut ready = Vec::with_capacity(rows.rows.len());
            for row in rows.rows {
                match decoded(&row) {
                    Ok(event) => {
                        if event.id() != row.id {
                            // The bytes are good, and the key is not theirs.
                            ledger.store.refile(&row.id, &event)?;
                        }
                        ready.push(event);
                    }
                    Err(_) => {
                        ledger.damaged.insert(row.id);
                    }
                }
            }
            ready.reverse();
            while let Some(event) = ready.pop() {
                // What an earlier release's gate passed and this one's does not is left out; `verify` names it.
                match ledger.gate.pass(&mut ledger.graph, &network, &event) {
                    Ok(Passage::Missing(missing)) => {
                        ledger.parking.park(Source::Store, event, &missing);
                    }
                    Ok(Passage::Added(_)) => {
                        let arrived = ledger.parking.arrived(&event.id()).into_iter();
                        ready.extend(arrived.map(|(_, event)| event));
                    }
                    _ => {}
                }
            }
            ledger.learn();
            ledger.refold();
            ledger.graph.stored();
            let Some(next) = rows.next else { break };
            rows = ledger.store.page(Some(&next))?;
        }
        ledger.graph.recall(Vec::new());
        ledger.whole()?;
        ledger.keep_proofs();
        Ok(ledger)
    }

    /// Fails once a stored event could not be read back, for then what the events amount to may be wrong: nothing is taken or
    /// written any more.
    ///
    /// # Errors
    /// [`StoreError`] says which it was.
    pub fn whole(&self) -> Result<(), StoreError> {
        self.graph.failure().cloned().map_or(Ok(()), Err)
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

    /// How many bytes of memory each part of it takes, about.
    #[must_use]
    pub fn held(&self) -> [(&'static str, usize); 9] {
        let (index, bodies) = self.graph.index().bytes();
        let [places, verdicts, notes, histories] = self.increment.bytes();
        let waiting = self.sealed.len() * size_of::<(u64, Idx)>() * 4 / 3;
        [
            ("index", index),
            ("graph", self.graph.bytes()),
            ("watermarks", self.graph.watermark_bytes()),
            ("order", places),
            ("verdicts", verdicts),
            ("notes", notes),
            ("histories", histories),
            ("waiting", waiting),
            ("bodies", bodies),
        ]
    }

    /// All events.
    #[must_use]
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// What an event's sealed part holds.
    #[must_use]
    pub fn opened(&self, idx: Idx) -> Opened {
        self.reading().opened(idx).into_owned()
    }

    /// All of it, for reading.
    #[must_use]
    pub fn reading(&self) -> Reading<'_> {
        Reading {
            graph: &self.graph,
            opened: Openings::Sealed(&self.keys),
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
    pub fn event(&self, id: &EventId) -> Option<Event> {
        self.graph.find(id).map(|idx| self.graph.event(idx))
    }

    /// The one event whose id begins with these hexadecimal digits.
    ///
    /// # Errors
    /// [`FindError`] if there is none, or more than one.
    pub fn find(&self, prefix: &str) -> Result<Event, FindError> {
        self.graph.named(prefix).map(|idx| self.graph.event(idx))
    }

    /// The ids of the heads, ascending.
    #[must_use]
    pub fn heads(&self) -> Vec<EventId> {
        let mut heads: Vec<EventId> = self.graph.heads().map(|idx| self.graph.id(idx)).collect();
        heads.sort_unstable();
        heads
    }

    /// Sixteen bytes that differ if the heads differ: what beacons compare.
    #[must_use]
    pub fn heads_digest(&self) -> [u8; 16] {
        let changes = self.graph.changes();
        if let Some((of, digest)) = self.digest.get()
            && of == changes
        {
            return digest;
        }
        let mut hasher = blake3::Hasher::new();
        for head in self.heads() {
            hasher.update(&head.0);
        }
        let mut digest = [0; 16];
        digest.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        self.digest.set(Some((changes, digest)));
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

    /// Stored events whose bytes are damaged, ascending. Those that depend on them are left out too, if that was found when
    /// the ledger was opened.
    #[must_use]
    pub fn damaged(&self) -> Vec<EventId> {
        let mut damaged = self.graph.index().lost();
        damaged.extend(&self.damaged);
        damaged.into_iter().collect()
    }

    /// Ids to ask members for: damaged events, and parents of parked ones.
    #[must_use]
    pub fn missing(&self) -> Vec<EventId> {
        let mut missing: BTreeSet<EventId> = self.damaged().into_iter().collect();
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

    /// What sync compares and sends.
    #[must_use]
    pub fn index(&self) -> &Index {
        self.graph.index()
    }

    /// The segments that [`Self::export`] can save, ascending.
    pub fn segments(&self) -> impl Iterator<Item = u32> {
        self.index().all_segments()
    }

    /// One segment as an Automerge document (a very large one, as several), which any Automerge library opens.
    ///
    /// # Errors
    /// [`ReplicaError`] if the library fails.
    pub fn export(&self, segment: u32) -> Result<Vec<Vec<u8>>, ReplicaError> {
        Replica::new().export(self.index(), segment)
    }

    /// The heads of the newest segment as an Automerge document: equal on members whose newest segments hold the same
    /// events. The document is made for the question: nothing else asks it, and events come and go without it.
    ///
    /// # Errors
    /// [`ReplicaError`] if the library makes none.
    pub fn replica_heads(&self) -> Result<Vec<[u8; 32]>, ReplicaError> {
        let mut replica = Replica::new();
        replica.update(self.index(), &[])?;
        Ok(replica.heads())
    }

    /// The store, for looking into it.
    #[must_use]
    pub fn store(&self) -> &S {
        &self.store
    }

    fn empty(store: S, network: NetworkId, box_secret: BoxSecret) -> Self {
        Self {
            graph: Graph::stored_in(Some(store.reader())),
            store,
            network,
            gate: Gate::new(),
            parking: Parking::new(),
            damaged: BTreeSet::new(),
            keys: KeyRing::new(),
            offer_keys: KeyRing::new(),
            box_secret,
            sealed: BTreeSet::new(),
            sifted: 0,
            tried: 0,
            learner: Learner::default(),
            noted: 0,
            increment: Increment::new(),
            rates: BTreeMap::new(),
            digest: Cell::new(None),
        }
    }

    /// Takes what keys the events hold for this device that came since the last call.
    fn learn(&mut self) -> Vec<EpochKey> {
        let mut learnt = Vec::new();
        for idx in self.graph.indices().skip(self.noted) {
            if self.graph.kind(idx).carries_keys() {
                let mine = Some(&self.box_secret);
                let read = |idx| self.graph.event(idx);
                learnt.extend(self.learner.take(&mut self.keys, idx, mine, read));
            }
        }
        self.noted = self.graph.len();
        learnt
    }

    /// Keeps what was found of the signatures inside acts, once it is worth a write.
    fn keep_proofs(&mut self) {
        let proofs = self.graph.unkept_proofs(MOST_UNKEPT);
        // What is not kept is found out again.
        if !proofs.is_empty() && self.store.add_proofs(&proofs).is_ok() {
            self.graph.proofs_kept();
        }
    }

    /// Folds what new events, or keys, can change.
    fn refold(&mut self) {
        let mut readable = Vec::new();
        if self.tried != self.keys.len() {
            for key in self.keys.iter() {
                let epoch = of_epoch(&key.id());
                let waiting = (epoch, Idx(0))..=(epoch, Idx(u32::MAX));
                let opens = self.sealed.extract_if(waiting, |_| true);
                readable.extend(opens.map(|(_, idx)| idx));
            }
            self.tried = self.keys.len();
        }
        for idx in self.graph.indices().skip(self.sifted) {
            if self.graph.is_sealed(idx) {
                let epoch = self.graph.event(idx).header().epoch;
                if self.keys.get(&epoch).is_none() {
                    self.sealed.insert((of_epoch(&epoch), idx));
                }
            }
        }
        self.sifted = self.graph.len();
        self.increment.update(&self.graph, &self.keys, &readable);
        self.open_offers();
    }

    /// Takes away what was inserted after the first `len` events.
    fn truncate(&mut self, len: usize) {
        self.increment.retract(&self.graph, &self.keys, len);
        self.open_offers();
        let goes = |idx: &Idx| idx.0 as usize >= len;
        self.sealed.retain(|(_, idx)| !goes(idx));
        self.learner.truncate(len);
        self.noted = self.noted.min(len);
        self.sifted = self.sifted.min(len);
        self.graph.truncate(len);
        self.gate.truncate(len);
    }
}

/// A stored event, whatever it is stored under.
fn decoded(row: &Row) -> Result<Event, BadEvent> {
    // The id is a hash of the bytes, which decoding finds. Bytes under another key are good if their signature is.
    match Event::decode_unverified(&row.bytes) {
        Ok(event) if event.id() == row.id => Ok(event),
        _ => Event::decode(&row.bytes),
    }
}

/// What stands for an epoch where there may be very many: whoever makes two alike has broken the hash.
fn of_epoch(epoch: &EpochId) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *blake3::hash(&epoch.0).as_bytes();
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
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
