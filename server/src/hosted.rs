//! The networks that are hosted: each log and mailbox bound to the store, and the devices that have a session about it.
//!
//! A network is loaded when somebody asks for it, and dropped when nobody has for long and memory is short. Bodies of events stay
//! on the disk: a page is read when a member asks for it, outside the network's lock. Everything here blocks, on a network's lock
//! and on the disk, but for networks that are not hosted; [`turns`] says how many may wait.

mod letters;
mod memory;
mod push;
mod read;
pub(crate) mod turns;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Instant;

use mesh_ledger::ids::{DeviceId, EventId, InviteKey, NetworkId};
use mesh_ledger::keys::ServerSecret;
use mesh_ledger::mirror::message::{Doors, Failure, Standing, Visit, Welcome};
use mesh_ledger::mirror::{Deputation, Permit, Refusal, Request, Response, Role, SignedTip, Tip};
use tokio::sync::{mpsc, watch};
use tracing::warn;

use crate::clock::TipClock;
use crate::echo::Echoes;
use crate::files::Ceiling;
use crate::log::Log;
use crate::mailbox::Mailbox;
use crate::quota::{Limits, Quotas};
use crate::rights::{self, Right};
use crate::store::{Store, StoreError};
use turns::{Turn, Turns, What};

/// A tip this young is said again rather than signed anew, in milliseconds.
const FRESH: u64 = 1000;

/// The time, in milliseconds since 1970.
pub type Now = Arc<dyn Fn() -> u64 + Send + Sync>;

/// What the operator settled.
pub struct Terms {
    /// The server's key.
    pub key: ServerSecret,
    /// Who shows this may have any network hosted.
    pub token: Permit,
    /// Whether everybody may.
    pub open: bool,
    /// The other doors.
    pub doors: Doors,
    /// What tells devices where they are seen.
    pub echoes: Option<Echoes>,
    /// How much of everything.
    pub limits: Limits,
    /// The machine's clock.
    pub now: Now,
}

/// See the module.
pub struct Networks {
    terms: Terms,
    store: Arc<Store>,
    clock: Mutex<(TipClock, Ceiling)>,
    loaded: Mutex<BTreeMap<NetworkId, Arc<Hosted>>>,
    /// The networks in which a device is live, loaded or not.
    live: Mutex<BTreeMap<DeviceId, BTreeSet<NetworkId>>>,
    /// The networks that are hosted: who names another one reaches no disk.
    hosted: Mutex<BTreeSet<NetworkId>>,
    quotas: Mutex<Quotas>,
    /// Removed devices that are shown the proof.
    shown: Mutex<BTreeSet<DeviceId>>,
    /// Devices that are live nowhere any more.
    gone: mpsc::UnboundedSender<DeviceId>,
    begin: Instant,
    next_session: AtomicU64,
}

/// One network.
pub struct Hosted {
    network: NetworkId,
    turns: Turns,
    inner: Mutex<Option<Inner>>,
    changes: watch::Sender<u64>,
    sessions: Mutex<BTreeMap<u64, Present>>,
    used: AtomicU64,
    /// How many of its events memory knows.
    held: AtomicU64,
}

struct Inner {
    log: Log,
    mailbox: Mailbox,
    /// The last tip, and when it was signed by the steady clock.
    tip: Option<(SignedTip, u64)>,
}

struct Present {
    device: DeviceId,
    member: bool,
    removed: watch::Sender<bool>,
}

/// A device is shown the proof that it was removed, until this is dropped.
pub(crate) struct Showing<'a>(&'a Networks, DeviceId);

impl Drop for Showing<'_> {
    fn drop(&mut self) {
        lock(&self.0.shown).remove(&self.1);
    }
}

/// A device with a session about a network. Dropping it ends the session.
pub struct Visitor {
    hosted: Arc<Hosted>,
    session: u64,
    device: DeviceId,
    /// Where it comes from; none if it comes by the relay.
    source: Option<IpAddr>,
    standing: Standing,
    invite: Option<InviteKey>,
    may_open: bool,
    /// Whether the network is here because this session brought it.
    opener: bool,
    /// Up to where the log was shown or announced.
    known: u64,
    /// The last letter that was handed over.
    letter: u64,
    /// What this session itself pushed lately.
    own: BTreeSet<EventId>,
    /// Wakes when the log or the mailbox changed.
    pub changes: watch::Receiver<u64>,
    /// Becomes true when the device was removed.
    pub removed: watch::Receiver<bool>,
}

impl Drop for Visitor {
    fn drop(&mut self) {
        lock(&self.hosted.sessions).remove(&self.session);
    }
}

/// The answer to [`Request::Open`].
pub enum Entry {
    /// Come in.
    Welcome(Box<(Welcome, Visitor)>),
    /// No, with the ids of the events that prove it.
    Refused(Refusal, Vec<EventId>),
}

impl Networks {
    /// Opens the server's networks. `gone` hears of devices that are live in no network any more.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub(crate) fn new(
        terms: Terms,
        store: Store,
        (ceiling, value): (Ceiling, u64),
        gone: mpsc::UnboundedSender<DeviceId>,
    ) -> Result<Self, StoreError> {
        let mut live: BTreeMap<DeviceId, BTreeSet<NetworkId>> = BTreeMap::new();
        for (device, network) in store.live()? {
            live.entry(device).or_default().insert(network);
        }
        let hosted = store.networks()?.into_iter();
        let hosted = hosted.map(|summary| summary.network).collect();
        Ok(Self {
            terms,
            store: Arc::new(store),
            clock: Mutex::new((TipClock::new(value), ceiling)),
            loaded: Mutex::new(BTreeMap::new()),
            live: Mutex::new(live),
            hosted: Mutex::new(hosted),
            quotas: Mutex::new(Quotas::default()),
            shown: Mutex::new(BTreeSet::new()),
            gone,
            begin: Instant::now(),
            next_session: AtomicU64::new(1),
        })
    }

    /// The operator's terms.
    #[must_use]
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Whether a device is live in a hosted network.
    #[must_use]
    pub fn is_live(&self, device: &DeviceId) -> bool {
        lock(&self.live).contains_key(device)
    }

    /// Whether a device is live in this network.
    #[must_use]
    pub fn is_live_in(&self, device: &DeviceId, network: &NetworkId) -> bool {
        let live = lock(&self.live);
        live.get(device)
            .is_some_and(|networks| networks.contains(network))
    }

    /// Whether a network is hosted.
    #[must_use]
    pub fn is_hosted(&self, network: &NetworkId) -> bool {
        lock(&self.hosted).contains(network)
    }

    /// How many sessions each network has that has one.
    #[must_use]
    pub fn sessions(&self) -> BTreeMap<NetworkId, usize> {
        let loaded = lock(&self.loaded);
        loaded
            .iter()
            .map(|(network, hosted)| (*network, lock(&hosted.sessions).len()))
            .filter(|(_, sessions)| *sessions > 0)
            .collect()
    }

    /// Whether a live device has that key speak for it: what it shows may be anything.
    #[must_use]
    pub fn is_deputy(&self, key: &DeviceId, word: &Deputation) -> bool {
        // Strangers cost no check of a signature.
        self.is_live(&word.device) && word.is_genuine(&self.terms.key.public(), key, self.now())
    }

    /// Whether a device that may have a network hosted has that key speak for it: what it shows may be anything.
    #[must_use]
    pub fn is_founder(&self, key: &DeviceId, word: &Deputation, proof: Option<&[u8; 32]>) -> bool {
        // Strangers cost no check of a signature, unless anybody may come.
        let may = proof.is_some_and(|proof| self.terms.token.is_proven(word, proof));
        (may || self.terms.open) && word.is_genuine(&self.terms.key.public(), key, self.now())
    }

    /// Whether a device holds a ticket of a network here: what it shows may be anything.
    #[must_use]
    pub fn is_invited(&self, device: &DeviceId, network: &NetworkId, visit: &Visit) -> bool {
        if !self.is_hosted(network) || !self.is_proven(*network, device, visit) {
            return false;
        }
        let invited = |inner: &mut Inner| self.invited(inner, device, visit).is_some();
        let invited = self.hosted(*network).with(self, invited);
        self.forget(network);
        matches!(invited, Ok(true))
    }

    pub(crate) fn hosted(&self, network: NetworkId) -> Arc<Hosted> {
        let mut loaded = lock(&self.loaded);
        let hosted = loaded
            .entry(network)
            .or_insert_with(|| Arc::new(Hosted::new(network)));
        hosted.used.store(self.steady(), Ordering::Relaxed);
        hosted.clone()
    }

    /// Opens a session of a device about a network. `source` is where it comes from, unless by the relay.
    pub fn enter(
        &self,
        network: NetworkId,
        (device, source): (DeviceId, Option<IpAddr>),
        role: &Role,
    ) -> Entry {
        let hosted = self.hosted(network);
        let entry = hosted.with(self, |inner| match role {
            Role::Member(permit) => self.enter_member(&hosted, inner, device, permit.as_ref()),
            Role::Joiner(visit) => self.enter_joiner(&hosted, inner, device, visit),
            Role::Deputy(word, permit) => {
                let server = self.terms.key.public();
                if word.is_genuine(&server, &device, self.now()) {
                    self.enter_member(&hosted, inner, word.device, permit.as_ref())
                } else {
                    Ok(Entry::Refused(Refusal::Visit, Vec::new()))
                }
            }
        });
        match entry {
            Ok(Ok(Entry::Welcome(mut entered))) => {
                entered.1.source = source;
                Entry::Welcome(entered)
            }
            Ok(Ok(refused)) => refused,
            // The disk fails; it may not tomorrow.
            Ok(Err(_)) | Err(_) => Entry::Refused(Refusal::Busy, Vec::new()),
        }
    }

    fn enter_member(
        &self,
        hosted: &Arc<Hosted>,
        inner: &mut Inner,
        device: DeviceId,
        permit: Option<&Permit>,
    ) -> Result<Entry, Failure> {
        let network = hosted.network;
        let own = Permit::for_network(&self.terms.key, &network);
        let mut may_open = false;
        let standing = match rights::right(inner.log.authority(), &device) {
            Right::Live => {
                self.has_its_answer(inner, &device);
                Standing::Live
            }
            Right::Unknown => Standing::Unknown,
            Right::Removed(by) => {
                return Ok(Entry::Refused(Refusal::Removed, inner.log.proof(&by)));
            }
            Right::NotHosted => {
                let shown = permit.is_some_and(|permit| {
                    // Both are always compared.
                    permit.matches(&self.terms.token) | permit.matches(&own)
                });
                may_open = self.terms.open || shown;
                Standing::NotHosted { may_open }
            }
        };
        let welcome = Welcome {
            tip: self.tip(inner)?,
            permit: (standing == Standing::Live).then_some(own),
            doors: self.terms.doors,
            echo: self
                .terms
                .echoes
                .as_ref()
                .filter(|_| standing == Standing::Live)
                .and_then(|echoes| echoes.mint()),
            standing: standing.clone(),
        };
        let visitor = self.admit(hosted, inner, device, standing, None, may_open);
        Ok(Entry::Welcome(Box::new((welcome, visitor))))
    }

    fn enter_joiner(
        &self,
        hosted: &Arc<Hosted>,
        inner: &mut Inner,
        device: DeviceId,
        visit: &Visit,
    ) -> Result<Entry, Failure> {
        if !self.is_proven(hosted.network, &device, visit) {
            return Ok(Entry::Refused(Refusal::Visit, Vec::new()));
        }
        let Some(invite) = self.invited(inner, &device, visit) else {
            return Ok(Entry::Refused(Refusal::Visit, Vec::new()));
        };
        let standing = Standing::Joiner { invite };
        let welcome = Welcome {
            standing: standing.clone(),
            tip: self.tip(inner)?,
            permit: None,
            doors: self.terms.doors,
            echo: None,
        };
        let key = Some(visit.invite);
        let visitor = self.admit(hosted, inner, device, standing, key, false);
        Ok(Entry::Welcome(Box::new((welcome, visitor))))
    }

    fn is_proven(&self, network: NetworkId, device: &DeviceId, visit: &Visit) -> bool {
        let server = self.terms.key.public();
        visit.is_genuine(&network, &server, device, self.now())
    }

    /// By which invite a joiner comes, if that lets it in.
    fn invited(&self, inner: &Inner, device: &DeviceId, visit: &Visit) -> Option<EventId> {
        let authority = inner.log.authority()?;
        let (invite, live) = rights::invite(authority, &visit.invite, self.now())?;
        // Who was let in with the last use of an invite may still fetch the reply that says so.
        let awaited = || inner.mailbox.for_joiner(device, &visit.invite, 0);
        (live || !awaited().is_empty()).then_some(invite)
    }

    fn admit(
        &self,
        hosted: &Arc<Hosted>,
        inner: &Inner,
        device: DeviceId,
        standing: Standing,
        invite: Option<InviteKey>,
        may_open: bool,
    ) -> Visitor {
        let session = self.next_session.fetch_add(1, Ordering::Relaxed);
        let (sender, removed) = watch::channel(false);
        let mut changes = hosted.changes.subscribe();
        // Letters may wait already.
        changes.mark_changed();
        let present = Present {
            device,
            member: invite.is_none(),
            removed: sender,
        };
        lock(&hosted.sessions).insert(session, present);
        Visitor {
            hosted: hosted.clone(),
            session,
            device,
            source: None,
            standing,
            invite,
            may_open,
            opener: false,
            known: inner.log.count(),
            letter: 0,
            own: BTreeSet::new(),
            changes,
            removed,
        }
    }

    /// Answers a request.
    pub fn answer(&self, visitor: &mut Visitor, request: Request) -> Response {
        let hosted = visitor.hosted.clone();
        let answered = match request {
            Request::Open { .. } => Ok(Response::Refused(Refusal::Protocol)),
            Request::Pull { from, bodies } => self.pull(visitor, from, bodies),
            Request::Fetch(ids) => self.fetch(visitor, &ids),
            Request::Push(events) => {
                let pushed = hosted.with(self, |inner| self.push(inner, visitor, &events));
                pushed.and_then(|pushed| pushed)
            }
            Request::Leave(body) => {
                let left = hosted.with(self, |inner| self.leave(inner, visitor, body));
                left.and_then(|left| left)
            }
            Request::Reply { letter, body } => {
                let left = hosted.with(self, |inner| self.reply(inner, visitor, letter, body));
                left.and_then(|left| left)
            }
        };
        answered.unwrap_or_else(Response::Failed)
    }

    /// The ids of the events that prove that a device was removed.
    #[must_use]
    pub fn removal(&self, visitor: &Visitor) -> Vec<EventId> {
        let proof = visitor.hosted.with(self, |inner| {
            match rights::right(inner.log.authority(), &visitor.device) {
                Right::Removed(by) => inner.log.proof(&by),
                _ => Vec::new(),
            }
        });
        proof.unwrap_or_default()
    }

    /// Begins to show a device the proof that it was removed; none if that goes on already.
    pub(crate) fn showing(&self, device: DeviceId) -> Option<Showing<'_>> {
        let first = lock(&self.shown).insert(device);
        first.then_some(Showing(self, device))
    }

    /// A tip of the log as it is; none of an empty one.
    fn tip(&self, inner: &mut Inner) -> Result<Option<SignedTip>, Failure> {
        if inner.log.count() == 0 {
            return Ok(None);
        }
        let steady = self.steady();
        let said = inner
            .tip
            .as_ref()
            .filter(|(said, _)| said.tip.count == inner.log.count());
        if let Some((said, at)) = said
            && steady.saturating_sub(*at) < FRESH
        {
            return Ok(Some(said.clone()));
        }
        let Some(time) = self.tick() else {
            // The same tip again is no contradiction.
            return match said {
                Some((said, _)) => Ok(Some(said.clone())),
                None => Err(Failure::Disk),
            };
        };
        let tip = Tip {
            network: inner.log.network(),
            count: inner.log.count(),
            chain: inner.log.chain(),
            time,
        };
        let signed = SignedTip::sign(tip, &self.terms.key);
        inner.tip = Some((signed.clone(), steady));
        Ok(Some(signed))
    }

    fn tick(&self) -> Option<u64> {
        let now = self.now();
        let mut clock = lock(&self.clock);
        if let Some(ceiling) = clock.0.needs(now) {
            match clock.1.write(ceiling) {
                Ok(()) => clock.0.raise(ceiling),
                Err(error) => warn!("cannot raise the ceiling of tip times: {error}"),
            }
        }
        clock.0.tick(now)
    }

    fn now(&self) -> u64 {
        (self.terms.now)()
    }

    /// Milliseconds since the server began, whatever the clock does.
    fn steady(&self) -> u64 {
        u64::try_from(self.begin.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Hosted {
    fn new(network: NetworkId) -> Self {
        Self {
            network,
            turns: Turns::new(),
            inner: Mutex::new(None),
            changes: watch::Sender::new(0),
            sessions: Mutex::new(BTreeMap::new()),
            used: AtomicU64::new(0),
            held: AtomicU64::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Inner>> {
        self.inner.lock().unwrap_or_else(|poisoned| {
            // What a panic left behind is read from the disk again.
            self.inner.clear_poison();
            let mut inner = poisoned.into_inner();
            *inner = None;
            inner
        })
    }

    /// The lock, unless somebody has it.
    fn try_lock(&self) -> Option<MutexGuard<'_, Option<Inner>>> {
        match self.inner.try_lock() {
            Ok(inner) => Some(inner),
            Err(TryLockError::Poisoned(_)) => Some(self.lock()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Works on the network, which is loaded first if it is not.
    fn with<T>(
        &self,
        networks: &Networks,
        work: impl FnOnce(&mut Inner) -> T,
    ) -> Result<T, Failure> {
        self.used.store(networks.steady(), Ordering::Relaxed);
        let mut place = self.lock();
        let is_new = place.is_none();
        let inner = match &mut *place {
            Some(inner) => inner,
            none => none.insert(networks.load(self.network)?),
        };
        let done = work(inner);
        self.held.store(inner.log.count(), Ordering::Relaxed);
        if inner.log.is_broken() {
            // What was found out may be wrong. It is read anew, and until the disk gives it back nobody is answered.
            self.unload(&mut place);
            return Err(Failure::Disk);
        }
        if is_new && inner.log.count() > 0 {
            networks.make_room();
        }
        Ok(done)
    }

    /// Lets go of what memory knows. Sessions go on; the next that asks has it read again.
    fn unload(&self, place: &mut Option<Inner>) {
        *place = None;
        self.held.store(0, Ordering::Relaxed);
    }

    /// Waits until a request about the network may be at work; none if too many wait.
    pub(crate) async fn turn(&self, what: What) -> Option<Turn> {
        self.turns.take(what).await
    }

    fn changed(&self) {
        self.changes.send_modify(|version| *version += 1);
    }
}

impl Visitor {
    /// The network.
    #[must_use]
    pub fn network(&self) -> NetworkId {
        self.hosted.network
    }

    /// The network, to wait for.
    pub(crate) fn hosted(&self) -> Arc<Hosted> {
        self.hosted.clone()
    }

    /// Whether it came with rights: as a live device, or with the right to bring the network.
    pub(crate) fn is_trusted(&self) -> bool {
        self.standing == Standing::Live || self.may_open
    }

    /// What it is told by itself, if it is told anything: a stranger is not.
    pub(crate) fn hears(&self) -> Option<What> {
        match self.standing {
            Standing::Live => Some(What::News),
            Standing::Joiner { .. } => Some(What::Letters),
            Standing::Unknown | Standing::NotHosted { .. } => None,
        }
    }

    fn told(&mut self, end: u64) {
        self.known = end;
        self.own.clear();
    }
}

fn is_live(inner: &Inner, visitor: &Visitor) -> bool {
    visitor.invite.is_none() && rights::right(inner.log.authority(), &visitor.device) == Right::Live
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
