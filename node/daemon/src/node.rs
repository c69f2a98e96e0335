//! The node: one task that owns everything this device knows, and takes one event after the other.
//!
//! Whatever waits (dialling, redeeming, an echo, a slow peer) waits in a task of its own and comes back as an [`Event`].

mod accept;
mod beacons;
mod callers;
mod calls;
mod change;
mod checkpoint;
mod device;
mod frames;
mod import;
mod join;
mod links;
mod mirrors;
mod names;
mod narrow;
mod near;
mod net;
mod outside;
mod proof;
pub(crate) mod report;
mod rotate;
mod servers;
mod spread;
mod transfer;
mod turns;
mod uapi;
mod ways;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use mesh_control::call::Call;
use mesh_control::error::Error;
use mesh_control::reply::Reply;
use mesh_control::state::State as Watched;
use mesh_core::desired::device_id;
use mesh_core::hourly::Hourly;
use mesh_core::lan::Lan;
use mesh_core::link::Hello;
use mesh_core::path::Who;
use mesh_core::peer::PeerId;
use mesh_core::slots::{Limits, Origin, Slots};
use mesh_core::unanswered::Unanswered;
use mesh_ledger::ids::{InviteKey, NetworkId, ServerKey};
use mesh_ledger::keys::UserSecret;
use mesh_os::dirs::Dirs;
use mesh_os::machine;
use mesh_tunnel::Tunnel;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::AbortHandle;
use tracing::{info, warn};
use zeroize::Zeroizing;

use crate::clock::steady;
use crate::discovery::{Discovery, Seen};
use crate::dns;
use crate::endpoint::{Ear, Endpoint};
use crate::identity::Identity;
use crate::link::{Backlog, Greeting, LinkEvent, LinkId, Wire};
use crate::mirror::MirrorEvent;
use crate::taste::Taste;
use crate::uploads::Uploads;
use crate::visitors::Visitors;
use crate::ways::{Told, Ways};

use calls::Respond;
use join::Joining;
use links::Linked;
pub(crate) use net::Net;
use spread::Pending;

/// The tunnel of a network while it is up: what the carriers' tasks hand messages to.
pub(crate) type SharedTunnel = Arc<ArcSwapOption<Tunnel>>;

/// How many events may wait for the node. Links wait when it is full.
const QUEUE: usize = 1024;
/// How many unknown devices may introduce themselves at once.
const INTRODUCTIONS: Limits = Limits { all: 8, each: 2 };
/// How often they may in an hour, by where they come from, and all of them.
const INTRODUCTIONS_PER_HOUR: (u32, u32) = (60, 600);
/// How many of those who are turned away are waited for until they have heard it.
const PARTINGS: Limits = Limits { all: 64, each: 8 };
/// How many removed devices may be told at once why they are.
const FAREWELLS: Limits = Limits { all: 4, each: 1 };
/// How often each may be told in an hour, and all of them.
const FAREWELLS_PER_HOUR: (u32, u32) = (3, 60);
/// Watching tools are told at most this often.
const WATCH_EVERY: Duration = Duration::from_millis(250);
/// How often settings are written if they changed, and offers that have ended are looked for.
const HOUSEKEEPING: Duration = Duration::from_secs(2);
/// How often it is looked whether relays are alive, while there are links.
const LISTEN: Duration = Duration::from_secs(1);

/// What happens to a node.
pub(crate) enum Event {
    /// A tool calls.
    Call(Call, Respond),
    /// A tool wants to be told what changes.
    Watch(oneshot::Sender<watch::Receiver<Arc<Watched>>>),
    /// A device has connected and said what it wants.
    Incoming(Wire, Hello),
    /// A dial of ours ended.
    Dialled(NetworkId, PeerId, Result<Greeting, String>),
    /// A device that is no member here has told why it is one.
    Introduced(NetworkId, PeerId, Vec<Vec<u8>>),
    /// Something from a link.
    Link(LinkId, LinkEvent),
    /// A device was seen on the LAN.
    Seen(Seen),
    /// Something from the packet threads.
    Tunnel(NetworkId, mesh_tunnel::Event),
    /// An attempt to join has ended.
    Joined(Box<join::Outcome>),
    /// This device has left a network, and the others were told as far as they could be.
    Left(NetworkId, Box<Result<Reply, Error>>, Respond),
    /// Something from a server's connection.
    Mirror(ServerKey, MirrorEvent),
    /// Whether the servers of a network that is to be created answer.
    Reached(Box<mirrors::Reached>),
    /// A call with the passphrase of the user key, and what that opened.
    Unlocked(Box<calls::Opened>, Respond),
    /// Who was told a code says that it knows the words.
    CodeClaimed(Box<device::Claimed>),
    /// A further device of this user has entered its networks.
    CodeArrived(Box<device::Arrived>),
    /// An attempt with a code has ended.
    Entered(Box<device::enter::Outcome>),
    /// A file that is to be merged.
    Import(Box<import::Import>),
    /// Something about the ways to peers past their links.
    Ways(Told),
    /// `wg` asks about a network's interface.
    Wg(
        NetworkId,
        Zeroizing<Vec<u8>>,
        oneshot::Sender<mesh_os::uapi::Answer>,
    ),
    /// The machine's interfaces or addresses changed.
    Machine,
    /// Nobody can reach this device any more, or it nobody, until the daemon starts anew.
    Failed(String),
    /// Stop.
    Stop,
}

/// See the module.
pub(crate) struct Node {
    identity: Arc<Identity>,
    dirs: Dirs,
    machine: machine::Options,
    /// What this device's name server answers from.
    names: dns::Shared,
    endpoint: Endpoint,
    /// The ways to peers past their links; none where the system has no sockets for them.
    ways: Option<Ways>,
    /// Whether peers are not to learn where it is.
    hidden: bool,
    me: PeerId,
    nets: BTreeMap<NetworkId, Net>,
    links: BTreeMap<LinkId, Linked>,
    /// The dials under way.
    dials: BTreeMap<(NetworkId, PeerId), AbortHandle>,
    next_link: u64,
    discovery: Option<Discovery>,
    lan: Lan<Seen>,
    /// How often addresses were dialled that never answered.
    unanswered: Unanswered,
    joining: Vec<Joining>,
    /// The code that is shown.
    sharing: Option<device::Sharing>,
    /// Open while a code is shown.
    door: Option<device::Door>,
    /// The number of the code that was shown last.
    last_mailbox: u16,
    /// How often wrong words were typed for the codes of an invite that this device showed.
    wrong_words: BTreeMap<InviteKey, u32>,
    /// The code that is being tried.
    entering: Option<device::enter::Entering>,
    /// The user key, while a call is answered that brought its passphrase.
    unlocked: Option<UserSecret>,
    /// One passphrase is worked on at a time: it takes memory by intent.
    unlocking: Arc<Semaphore>,
    pending: Vec<Pending>,
    /// Explanations that wait for another device's word.
    asking: Vec<calls::why::Asking>,
    next_question: u32,
    servers: BTreeMap<ServerKey, mirrors::Served>,
    next_stream: u64,
    letters: Vec<mirrors::Waiting>,
    hosting: Vec<mirrors::Hosting>,
    /// What tools have handed over for a later call.
    uploads: Uploads,
    /// Files that are being merged, one after the other.
    imports: VecDeque<import::Import>,
    /// Before this, no more of them is merged while events wait.
    next_import: Duration,
    /// Networks that are offered to a successor.
    offers_of_office: Vec<transfer::Offer>,
    events: mpsc::Sender<Event>,
    incoming: mpsc::Receiver<Event>,
    watched: watch::Sender<Arc<Watched>>,
    housekeeping: Duration,
    ear: Ear,
    /// When it is looked next whether relays are alive.
    listen: Duration,
    /// When it is looked again which links are wanted.
    look: Duration,
    /// Before this, watching tools are told nothing more.
    next_watch: Duration,
    /// What waits to be sent over all links.
    backlog: Backlog,
    /// The links of those who want to join.
    joiners: Slots<LinkId>,
    /// Unknown devices that tell who they are at the moment.
    introductions: Visitors,
    introduced: Hourly<Origin>,
    /// Those who are turned away.
    partings: Visitors,
    /// Removed devices that are told why they are.
    farewells: Visitors,
    told_farewell: Hourly<PeerId>,
    /// Networks that could not be opened, and why.
    broken: Vec<(PathBuf, String)>,
    /// The hour for which callers were last expected.
    callers_hour: u64,
}

impl Node {
    /// Opens every network of this device. None is up yet.
    pub(crate) fn open(
        identity: Identity,
        dirs: Dirs,
        machine: machine::Options,
        endpoint: Endpoint,
        taste: &Taste,
    ) -> Self {
        let (events, incoming) = mpsc::channel(QUEUE);
        let me = PeerId(identity.device.public().0);
        let ways = if taste.is_hidden() {
            info!("peers reach this device through relays alone");
            None
        } else {
            Ways::start(None, taste.maps_ports(), events.clone(), Event::Ways)
                .inspect_err(|error| warn!("packets go over the links alone: {error}"))
                .ok()
        };
        let (watched, _) = watch::channel(Arc::new(Watched::default()));
        let mut node = Self {
            identity: Arc::new(identity),
            dirs,
            machine,
            names: dns::Shared::default(),
            endpoint,
            ways,
            hidden: taste.is_hidden(),
            me,
            nets: BTreeMap::new(),
            links: BTreeMap::new(),
            dials: BTreeMap::new(),
            next_link: 0,
            discovery: None,
            lan: Lan::default(),
            unanswered: Unanswered::default(),
            joining: Vec::new(),
            sharing: None,
            door: None,
            last_mailbox: 0,
            wrong_words: BTreeMap::new(),
            entering: None,
            unlocked: None,
            unlocking: Arc::new(Semaphore::new(1)),
            pending: Vec::new(),
            asking: Vec::new(),
            next_question: 0,
            servers: BTreeMap::new(),
            next_stream: 0,
            letters: Vec::new(),
            hosting: Vec::new(),
            uploads: Uploads::default(),
            imports: VecDeque::new(),
            next_import: Duration::ZERO,
            offers_of_office: Vec::new(),
            events,
            incoming,
            watched,
            housekeeping: Duration::ZERO,
            ear: Ear::default(),
            listen: Duration::ZERO,
            look: Duration::ZERO,
            next_watch: Duration::ZERO,
            backlog: Backlog::default(),
            joiners: Slots::new(links::JOINERS),
            introductions: Visitors::new(INTRODUCTIONS),
            introduced: Hourly::new(INTRODUCTIONS_PER_HOUR.0, INTRODUCTIONS_PER_HOUR.1),
            partings: Visitors::new(PARTINGS),
            farewells: Visitors::new(FAREWELLS),
            told_farewell: Hourly::new(FAREWELLS_PER_HOUR.0, FAREWELLS_PER_HOUR.1),
            broken: Vec::new(),
            callers_hour: 0,
        };
        for folder in net::folders(&node.dirs) {
            match Net::open(&folder, &node.identity, me) {
                Ok(net) => {
                    info!(network = %net.id, events = net.ledger.graph().len(), "opened");
                    node.nets.insert(net.id, net);
                }
                Err(error) => {
                    warn!(folder = %folder.display(), "{error}");
                    node.broken.push((folder, error.to_string()));
                }
            }
        }
        node
    }

    /// This device's key.
    pub(crate) fn device(&self) -> PeerId {
        self.me
    }

    /// Where to send events.
    pub(crate) fn sender(&self) -> mpsc::Sender<Event> {
        self.events.clone()
    }

    /// Brings up what is to be up, and then lives until told to stop. Everything done to the machine is undone at the end.
    ///
    /// # Errors
    /// What failed, if it ends for that. A daemon that starts anew is well again.
    pub(crate) async fn run(mut self) -> Result<(), String> {
        self.spawn_acceptor();
        self.start_discovery();
        self.spawn_machine_watch();
        let wanted: Vec<NetworkId> = self
            .nets
            .values()
            .filter(|net| net.settings.up())
            .map(|net| net.id)
            .collect();
        for id in wanted {
            if let Err(error) = self.bring_up(id).await {
                warn!(network = %id, "{error}");
            }
        }
        let mut wake = steady();
        let mut timer = std::pin::pin!(tokio::time::sleep(Duration::ZERO));
        let ended = loop {
            // To set it is to wake a worker, which keeps the timers.
            let next = self.next_wake();
            if next != wake {
                wake = next;
                let pause = wake.saturating_sub(steady());
                timer.as_mut().reset(tokio::time::Instant::now() + pause);
            }
            tokio::select! {
                event = self.incoming.recv() => match event {
                    Some(Event::Stop) | None => break Ok(()),
                    Some(Event::Failed(why)) => break Err(why),
                    Some(event) => self.take(event).await,
                },
                () = &mut timer => {}
            }
            self.on_time().await;
            let now = steady();
            if now >= self.next_watch {
                self.next_watch = now + WATCH_EVERY;
                self.publish_watched();
            }
        };
        let all: Vec<NetworkId> = self.nets.keys().copied().collect();
        for id in all {
            if let Err(error) = self.take_down(id).await {
                warn!(network = %id, "{error}");
            }
        }
        self.endpoint.close().await;
        ended
    }

    async fn take(&mut self, event: Event) {
        match event {
            Event::Call(call, respond) => self.call(call, respond).await,
            Event::Watch(respond) => {
                // While nobody watched, what is watched has grown old.
                let watched = self.watched.subscribe();
                self.publish_watched();
                // Who asked may have gone.
                drop(respond.send(watched));
            }
            Event::Incoming(wire, hello) => self.incoming(wire, hello).await,
            Event::Dialled(network, peer, result) => self.dialled(network, peer, result).await,
            Event::Introduced(network, peer, events) => {
                self.introduced(network, peer, &events).await
            }
            Event::Link(link, LinkEvent::Frame(frame, permit)) => {
                self.frame(link, frame).await;
                drop(permit);
            }
            Event::Link(link, LinkEvent::Closed(why)) => self.link_closed(link, &why),
            Event::Mirror(server, event) => self.mirror_event(server, event).await,
            Event::Reached(reached) => self.reached(*reached).await,
            Event::Seen(seen) => self.seen(seen),
            Event::Tunnel(network, event) => self.tunnel_event(network, event),
            Event::Joined(outcome) => self.joined(*outcome).await,
            Event::Left(network, reply, respond) => self.left(network, *reply, respond).await,
            Event::Unlocked(opened, respond) => self.unlocked(*opened, respond).await,
            Event::CodeClaimed(claimed) => self.code_claimed(*claimed),
            Event::CodeArrived(arrived) => self.code_arrived(*arrived).await,
            Event::Entered(outcome) => self.entered(*outcome).await,
            Event::Import(import) => self.imports.push_back(*import),
            Event::Ways(told) => self.way_told(told),
            // Who asked may have gone.
            Event::Wg(network, request, respond) => {
                drop(respond.send(self.answer_wg(&network, &request)));
            }
            Event::Machine => self.machine_changed().await,
            Event::Stop | Event::Failed(_) => {}
        }
    }

    /// The earliest moment at which something is due.
    fn next_wake(&self) -> Duration {
        if !self.imports.is_empty() {
            return Duration::ZERO;
        }
        let nets = self.nets.values().filter(|net| net.is_up());
        let nets = nets
            .flat_map(|net| {
                let beacons = [Some(net.next_beacon), net.pass_on];
                beacons
                    .into_iter()
                    .chain([net.dialler.next(), net.rotate_at])
            })
            .flatten();
        let pending = self.pending.iter().map(|pending| pending.deadline);
        let asking = self.asking.iter().map(|asking| asking.deadline);
        let servers = [self.mirrors_due(), self.letters_due(), self.hosting_due()];
        let servers = servers.into_iter().flatten().map(Duration::from_millis);
        nets.chain(pending)
            .chain(asking)
            .chain(servers)
            .chain(self.handover_due())
            .chain(self.outside_due())
            .chain([self.housekeeping])
            .chain((!self.links.is_empty()).then_some(self.listen))
            .min()
            .unwrap_or(self.housekeeping)
    }

    async fn on_time(&mut self) {
        self.import_step().await;
        let now = steady();
        self.settle_spreads(now);
        self.settle_questions(now);
        self.mirrors_on_time().await;
        self.handover_on_time(now);
        self.outside_on_time(now).await;
        let ids: Vec<NetworkId> = self
            .nets
            .values()
            .filter(|net| net.is_up())
            .map(|net| net.id)
            .collect();
        for id in &ids {
            self.dial_due(*id, now);
            self.beacon_due(*id, now);
            self.pass_on_due(*id, now);
            self.rotate_due(*id, now).await;
        }
        if now >= self.listen {
            self.listen = now + LISTEN;
            self.leave_silent_relays(now);
            for net in self.nets.values_mut() {
                if std::mem::take(&mut net.came) {
                    net.want_links(now);
                }
            }
            if now >= self.look {
                self.look = now + near::LOOK;
                self.end_unwanted_links(now);
            }
        }
        if now >= self.housekeeping {
            self.housekeeping = now + HOUSEKEEPING;
            self.expect_callers_hourly();
            for id in ids {
                self.end_offers(id).await;
                self.renew_narrow(id).await;
                self.checkpoint_due(id, now).await;
                self.answer_names(id, now).await;
            }
            for net in self.nets.values_mut() {
                if let Err(error) = net.settings.save_lazily(now) {
                    warn!("{error}");
                }
                if let Err(error) = net.save_mirrors() {
                    warn!("{error}");
                }
            }
            self.drop_idle_joiners(now);
            self.end_old_code();
            if self.ear.is_due(now) {
                self.hear_again().await;
            }
            if let Some(discovery) = &mut self.discovery {
                discovery.pace(now);
            }
            self.announce_on_lan();
        }
    }

    /// Has the endpoint open its sockets again if it has lost them, which it does when an interface changes.
    async fn hear_again(&self) {
        if !self.endpoint.is_deaf() {
            return;
        }
        warn!("the sockets were closed: opening them again");
        let applied = self.nets.values().find_map(|net| net.applied.as_ref());
        if let Some(applied) = applied
            && let Err(error) = applied.stir().await
        {
            warn!("{error}");
        }
        self.endpoint.network_change().await;
    }

    fn machine_addresses(&self) -> BTreeSet<IpAddr> {
        self.nets
            .values()
            .filter_map(|net| net.applied.as_ref())
            .flat_map(net::inner_addresses)
            .collect()
    }

    async fn machine_changed(&mut self) {
        self.ear.changed(steady());
        self.endpoint.network_change().await;
        self.tell_addresses();
        let inner = self.machine_addresses();
        if let Some(discovery) = &mut self.discovery {
            discovery.use_interfaces(&inner);
        }
        self.look_on_lan();
        self.announce_on_lan();
        self.retry_mirrors();
        let now = steady();
        self.unanswered.moved(now);
        for net in self.nets.values_mut() {
            net.choice.anew();
            net.want_links(now);
            net.dialler.hint_all(now);
        }
        self.mend().await;
    }

    fn seen(&mut self, seen: Seen) {
        let ids: Vec<NetworkId> = self.nets.keys().copied().collect();
        for id in ids {
            if let Some(net) = self.nets.get_mut(&id)
                && net.choice.sighted(&seen.peer)
            {
                net.want_links(steady());
            }
            self.alive(id, &seen.peer);
        }
        for joining in &self.joining {
            joining.seen(&seen);
        }
        if let Some(entering) = &self.entering {
            entering.seen(&seen);
        }
        let device = device_id(&seen.peer);
        let is_device = |net: &Net| net.state().devices.contains_key(&device);
        let is_member = self.nets.values().any(is_device);
        let (peer, addresses) = (seen.peer, seen.addresses.clone());
        self.lan
            .sighted(peer, &addresses, seen, is_member, steady());
    }

    fn tunnel_event(&mut self, network: NetworkId, event: mesh_tunnel::Event) {
        let Some(net) = self.nets.get_mut(&network) else {
            return;
        };
        match event {
            mesh_tunnel::Event::WantsLink(peer) => {
                if net.traffic.begins(peer, steady()) {
                    net.want_links(steady());
                }
                net.dialler.hint(&peer, steady());
                if let Some(ways) = &self.ways {
                    ways.traffic(Who { network, peer });
                }
            }
            mesh_tunnel::Event::HandshakeDone(peer) => {
                net.failing.remove(&peer);
                if let Some(ways) = &self.ways {
                    ways.renewed(Who { network, peer });
                }
            }
            mesh_tunnel::Event::HandshakeFailing(peer, _) => {
                // Perhaps the other side holds a session with a clock ahead of ours: have it forget, at most once a minute.
                let now = steady();
                let last = net.failing.get(&peer).copied();
                if last.is_none_or(|last| now.saturating_sub(last) > Duration::from_secs(60)) {
                    net.failing.insert(peer, now);
                    if let Some(linked) = net.links.get(&peer).and_then(|link| self.links.get(link))
                    {
                        linked.link.send(mesh_core::link::Frame::ResetTunnel);
                    }
                }
            }
            mesh_tunnel::Event::DeviceFailed(why) => {
                warn!(%network, "the interface failed: {why}");
                net.problem = Some(format!("the interface failed: {why}"));
            }
            mesh_tunnel::Event::Heard(peer, from) => {
                if let Some(ways) = &self.ways {
                    ways.heard(Who { network, peer }, from);
                }
            }
        }
    }

    /// Looks for others on the LAN, now.
    fn look_on_lan(&mut self) {
        if let Some(discovery) = &mut self.discovery {
            discovery.hurry(steady());
        }
    }

    fn start_discovery(&mut self) {
        if self.hidden {
            return;
        }
        let Some((discovery, mut seen)) = Discovery::start(&self.me, steady()) else {
            return;
        };
        self.discovery = Some(discovery);
        let events = self.events.clone();
        tokio::spawn(async move {
            while let Some(seen) = seen.recv().await {
                if events.send(Event::Seen(seen)).await.is_err() {
                    return;
                }
            }
        });
    }

    fn spawn_machine_watch(&self) {
        let events = self.events.clone();
        tokio::spawn(async move {
            loop {
                let Ok(mut watch) = mesh_os::watch::Watch::open() else {
                    return;
                };
                while watch.next().await.is_some() {
                    if events.send(Event::Machine).await.is_err() {
                        return;
                    }
                }
            }
        });
    }
}
