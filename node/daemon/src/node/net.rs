//! One network of this device.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use mesh_core::beacon::Presence;
use mesh_core::callers::Callers;
use mesh_core::choice::{Choice, Traffic};
use mesh_core::desired::{Desired, desired, device_id};
use mesh_core::dial::Dialler;
use mesh_core::peer::PeerId;
use mesh_core::plan::InterfaceName;
use mesh_core::rotation::Debts;
use mesh_ledger::event::Event;
use mesh_ledger::graph::Idx;
use mesh_ledger::ids::{DeviceId, EventId, NetworkId, ServerKey, UserId};
use mesh_ledger::mirror::ServerAddress;
use mesh_ledger::mirror::message::Doors;
use mesh_ledger::network::{Ledger, OpenError};
use mesh_ledger::state::State;
use mesh_ledger::store::StoreError;
use mesh_ledger::store::sqlite::SqliteStore;
use mesh_os::dirs::Dirs;
use mesh_os::machine::Applied;
use mesh_tunnel::Attached;
use zeroize::Zeroizing;

use super::SharedTunnel;
use super::checkpoint;
use super::mirrors::{self, Watched};
use super::outside::Outside;
use super::transfer::{Accepting, Offered};
use super::turns::Turns;
use crate::carrier::PeerCarrier;
use crate::dns::Server;
use crate::forward::Forwarders;
use crate::identity::{Identity, IdentityError, seed};
use crate::link::LinkId;
use crate::settings::{Settings, SettingsError};
use crate::ways::Way;

/// A network could not be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NetError {
    /// Its store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its ledger.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Its WireGuard key.
    #[error(transparent)]
    Key(#[from] IdentityError),
    /// Its settings.
    #[error(transparent)]
    Settings(#[from] SettingsError),
}

/// See the module.
pub(crate) struct Net {
    pub(crate) id: NetworkId,
    pub(crate) folder: PathBuf,
    pub(crate) ledger: Ledger<SqliteStore>,
    /// So many events of the graph the links have been told of.
    pub(crate) announced: usize,
    /// Events that turned void, or count after all, since it was opened.
    pub(crate) turns: Turns,
    pub(crate) wireguard: Zeroizing<[u8; 32]>,
    pub(crate) settings: Settings,
    /// What is done to the machine, while the network is up.
    pub(crate) applied: Option<Applied>,
    pub(crate) tunnel: SharedTunnel,
    /// What lets the tunnel have what arrives at the sockets.
    pub(crate) attached: Option<Attached>,
    /// Where `wg` asks about its interface.
    pub(crate) wg: Option<mesh_os::uapi::Server>,
    /// The ways to its peers past their links.
    pub(crate) ways: BTreeMap<PeerId, Arc<Way>>,
    /// What carries to peers that have a way and no link.
    pub(crate) linkless: BTreeMap<PeerId, Arc<PeerCarrier>>,
    /// Who forwards for whom.
    pub(crate) forwarders: Arc<Forwarders>,
    pub(crate) links: BTreeMap<PeerId, LinkId>,
    /// With whom to be linked.
    pub(crate) choice: Choice,
    pub(crate) dialler: Dialler,
    pub(crate) presence: Presence,
    /// Whether somebody is there of whom the choice does not know it yet.
    pub(crate) came: bool,
    /// How far this machine's clock is ahead of each peer's, in milliseconds, by its last beacon.
    pub(crate) clocks: BTreeMap<DeviceId, i64>,
    pub(crate) traffic: Traffic,
    /// When a peer was last asked to forget its sessions.
    pub(crate) failing: BTreeMap<PeerId, Duration>,
    pub(crate) beacon_counter: u64,
    pub(crate) next_beacon: Duration,
    /// When those of others are passed on that wait for it.
    pub(crate) pass_on: Option<Duration>,
    /// When this device writes a rotation of the epoch's key, if one is due.
    pub(crate) rotate_at: Option<Duration>,
    /// What is owed one beside the removals that name somebody.
    pub(crate) debts: Debts,
    /// Its next checkpoint, if this device writes it.
    pub(crate) checkpoint: checkpoint::Plan,
    /// The name server on its addresses, while it is up and the port is free.
    pub(crate) dns: Option<Server>,
    /// Why names are not answered, if they are not, and when to try again.
    pub(crate) dns_problem: Option<(String, Duration)>,
    /// What keeps it from working, if something does.
    pub(crate) problem: Option<String>,
    /// By which names its members dial this device, and this device them.
    pub(crate) callers: Callers,
    /// The owner of which this device has shown that it knows, if it is to.
    pub(crate) owner: Option<UserId>,
    /// Peers that did not answer when they were dialled last.
    pub(crate) unanswered: BTreeSet<PeerId>,
    /// Peers that say this device was removed.
    pub(crate) shut_out: BTreeSet<PeerId>,
    /// The doors of the network's servers, as each last told them. Who changes them calls [`super::Node::doors_changed`].
    pub(crate) doors: BTreeMap<ServerKey, Doors>,
    /// Its servers, and what they can be held to.
    pub(crate) mirrors: BTreeMap<ServerKey, Watched>,
    /// Whether what is kept of them has changed.
    pub(crate) mirrors_dirty: bool,
    /// Servers that it is to have, and that the ledger does not list yet.
    pub(crate) offered: BTreeMap<ServerKey, ServerAddress>,
    /// Asking for it, while this device was removed and would have it up.
    pub(crate) outside: Option<Outside>,
    /// The office of the owner, offered to this device's user.
    pub(crate) office_offered: Option<Offered>,
    /// That offer, being accepted.
    pub(crate) accepting: Option<Accepting>,
    pub(crate) me: PeerId,
}

/// The folders of the networks of this device.
pub(crate) fn folders(dirs: &Dirs) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dirs.state.join("networks"));
    let mut folders: Vec<PathBuf> = entries
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.join("ledger.db").exists())
        .collect();
    folders.sort();
    folders
}

/// The folder of a network.
pub(crate) fn folder(dirs: &Dirs, network: &NetworkId) -> PathBuf {
    dirs.state.join("networks").join(network.to_string())
}

/// The addresses that a plan gives this machine.
pub(crate) fn inner_addresses(applied: &Applied) -> impl Iterator<Item = IpAddr> + '_ {
    applied
        .plan()
        .addresses
        .iter()
        .map(mesh_core::plan::Subnet::address)
}

impl Net {
    /// Opens what is in a folder.
    pub(crate) fn open(folder: &Path, identity: &Identity, me: PeerId) -> Result<Self, NetError> {
        let store = SqliteStore::open(&folder.join("ledger.db"))?;
        let ledger = Ledger::open(store, identity.boxes.clone())?;
        Self::new(folder, ledger, me)
    }

    /// Takes a ledger whose store is in that folder.
    pub(crate) fn new(
        folder: &Path,
        ledger: Ledger<SqliteStore>,
        me: PeerId,
    ) -> Result<Self, NetError> {
        let wireguard = seed(&folder.join("wireguard.key"))?;
        let settings = Settings::load(folder)?;
        let doors = settings.doors();
        let mirrors = mirrors::load(folder, ledger.network()).map_err(SettingsError::from)?;
        Ok(Self {
            id: ledger.network(),
            folder: folder.to_owned(),
            announced: ledger.graph().len(),
            turns: Turns::new(ledger.fold()),
            ledger,
            wireguard,
            settings,
            applied: None,
            tunnel: Arc::new(ArcSwapOption::empty()),
            attached: None,
            wg: None,
            ways: BTreeMap::new(),
            linkless: BTreeMap::new(),
            forwarders: Arc::default(),
            links: BTreeMap::new(),
            choice: Choice::new(me),
            dialler: Dialler::new(me),
            presence: Presence::default(),
            came: false,
            clocks: BTreeMap::new(),
            traffic: Traffic::default(),
            failing: BTreeMap::new(),
            beacon_counter: 0,
            next_beacon: Duration::ZERO,
            pass_on: None,
            rotate_at: None,
            debts: Debts::default(),
            checkpoint: checkpoint::Plan::default(),
            dns: None,
            dns_problem: None,
            problem: None,
            callers: Callers::default(),
            owner: None,
            unanswered: BTreeSet::new(),
            shut_out: BTreeSet::new(),
            doors,
            mirrors,
            mirrors_dirty: false,
            offered: BTreeMap::new(),
            outside: None,
            office_offered: None,
            accepting: None,
            me,
        })
    }

    /// Whether links are kept and packets flow.
    pub(crate) fn is_up(&self) -> bool {
        self.applied.is_some()
    }

    /// The network as members see it.
    pub(crate) fn state(&self) -> &State {
        self.ledger.state()
    }

    /// This device, as the ledger names it.
    pub(crate) fn my_device(&self) -> DeviceId {
        device_id(&self.me)
    }

    /// Whether this device is in it.
    pub(crate) fn is_member(&self) -> bool {
        self.state().devices.contains_key(&self.my_device())
    }

    /// The network's name, or the start of its id as long as that is sealed.
    pub(crate) fn name(&self) -> String {
        self.state()
            .name
            .as_ref()
            .map_or_else(|| self.id.short(), ToString::to_string)
    }

    /// What this device must be now.
    pub(crate) fn desired(&self, now: u64) -> Option<Desired> {
        desired(
            self.state(),
            &self.my_device(),
            InterfaceName::FirstFree,
            self.settings.alias(),
            &self.ended(),
            now,
        )
    }

    /// Own offers that were seen to end, whatever the clock says now.
    pub(crate) fn ended(&self) -> BTreeSet<EventId> {
        let ended = self.settings.ended().iter();
        ended.filter_map(|id| id.parse().ok()).collect()
    }

    /// The events that links have not been told of; they count as told afterwards.
    pub(crate) fn take_news(&mut self) -> Vec<Event> {
        let graph = self.ledger.graph();
        let news = (self.announced..graph.len())
            .map(|n| graph.event(Idx(n as u32)))
            .collect();
        self.announced = graph.len();
        news
    }

    /// Where a peer may be reached, the most likely first.
    pub(crate) fn addresses(&self, peer: &PeerId) -> Vec<SocketAddr> {
        let device = device_id(peer);
        let mut addresses = self.settings.addresses(&device.to_string()).to_vec();
        if let Some(beacon) = self.presence.of(&device) {
            addresses.extend(
                beacon
                    .addresses
                    .iter()
                    .copied()
                    .filter(|a| !addresses.contains(a))
                    .collect::<Vec<_>>(),
            );
        }
        addresses.truncate(12);
        addresses
    }

    /// When a peer was last heard of, on the steady clock; before the daemon started counts as when it did.
    pub(crate) fn heard_lately(
        &self,
        peer: &PeerId,
        now_ms: u64,
        now: Duration,
    ) -> Option<Duration> {
        let device = device_id(peer);
        let before = self
            .settings
            .seen(&device.to_string())
            .map(|seen| now.saturating_sub(Duration::from_millis(now_ms.saturating_sub(seen))));
        self.presence.heard(&device).max(before)
    }

    /// Forgets what concerns devices and offers that are gone.
    pub(crate) fn forget_gone(&mut self) {
        let state = self.ledger.state();
        let devices: BTreeSet<String> = state.devices.keys().map(ToString::to_string).collect();
        let offers: BTreeSet<String> = state
            .offers
            .values()
            .map(|offer| offer.event.to_string())
            .collect();
        self.settings.retain(
            |offer| offers.contains(offer),
            |device| devices.contains(device),
        );
        let narrow: BTreeSet<String> = state
            .narrow
            .values()
            .map(|standing| standing.offer.key.to_string())
            .collect();
        self.settings.retain_handed(|key| narrow.contains(key));
        self.presence
            .retain(|device| state.devices.contains_key(device));
        self.clocks
            .retain(|device, _| state.devices.contains_key(device));
        self.unanswered
            .retain(|peer| state.devices.contains_key(&device_id(peer)));
        self.shut_out
            .retain(|peer| state.devices.contains_key(&device_id(peer)));
        for watched in self.mirrors.values_mut() {
            watched
                .witness
                .retain(|device| state.devices.contains_key(device));
        }
    }
}
