//! The ways to peers past their links: `mesh_core::path` with sockets, a clock and the servers' echoes.
//!
//! One task owns all of it. The node gives it orders and does not wait; the threads of the sockets hand it probes. What it
//! finds it puts into the peer's [`Way`], where the packet threads read it; the node is only told that there is one, or no
//! longer.

mod echoes;
mod renewals;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV4};
use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use mesh_core::path::{
    Action, Call, Candidate, Choice, MARK_ANSWER, MARK_QUESTION, Mapping, Paths, Place, ProbeKeys,
    Report, Who,
};
use mesh_core::peer::PeerId;
use mesh_ledger::ids::{NetworkId, ServerKey};
use mesh_ledger::mirror::{Echo, echo};
use mesh_tunnel::{Attached, Carrier, Tunnel, Udp};
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{debug, info};
use x25519_dalek::{PublicKey, StaticSecret};

use crate::clock::steady;
use crate::forward::{Forwarders, Stray, Through};
use crate::node::SharedTunnel;
use crate::random;
use echoes::Echoes;
use renewals::{FAST, Renewals};

/// How many datagrams of others wait for the task, and how many orders that others cause. What finds no room comes again.
const WAITING: usize = 512;
/// The longest of them.
const LONGEST: usize = 1500;
/// How many of them are taken before what is due is done.
const AT_ONCE: usize = 64;
/// How often the router is asked anew that mapped nothing: another may stand there, or it has begun anew.
const ASK_ROUTER: Duration = Duration::from_secs(300);
/// How often it is looked whether packets flow.
const LOOK: Duration = Duration::from_secs(1);

/// The way past the link to one peer, while there is one.
#[derive(Default)]
pub(crate) struct Way(ArcSwapOption<Open>);

/// What packets take.
pub(crate) struct Open {
    pub(crate) carrier: Arc<dyn Carrier>,
    pub(crate) choice: Choice,
    rtt_us: AtomicU64,
}

impl Way {
    /// What packets take at the moment; none: the link.
    pub(crate) fn open(&self) -> Option<Arc<Open>> {
        self.0.load_full()
    }
}

impl Open {
    /// Time there and back, in microseconds.
    pub(crate) fn rtt_us(&self) -> Option<u64> {
        Some(self.rtt_us.load(Ordering::Relaxed)).filter(|rtt| *rtt > 0)
    }
}

/// A peer that packets may be exchanged with.
pub(crate) struct Peer {
    pub(crate) id: PeerId,
    pub(crate) key: PublicKey,
    pub(crate) way: Arc<Way>,
}

/// What the task tells the node.
pub(crate) enum Told {
    /// Say this to the peer over its link.
    Call(Who, Call),
    /// There is a way to the peer now, or another, or no longer.
    Way(Who),
    /// The way to the peer carries less than it did.
    Narrowed(Who),
}

/// What is known of this device's own reach.
#[derive(Debug, Clone)]
pub(crate) struct OwnReach {
    pub(crate) candidates: Vec<Candidate>,
    pub(crate) mapping: Mapping,
    pub(crate) ipv6: bool,
    /// What a router maps to this device.
    pub(crate) mapped: Option<SocketAddr>,
    /// Servers whose echo answered, with the time there and back; none: it did not.
    pub(crate) echoes: BTreeMap<ServerKey, Option<Duration>>,
}

enum Order {
    Network {
        id: NetworkId,
        secret: StaticSecret,
        tunnel: SharedTunnel,
        forwarders: Arc<Forwarders>,
        peers: Vec<Peer>,
    },
    Relays(NetworkId, Vec<PeerId>),
    Gone(NetworkId),
    Linked(Who),
    Unlinked(Who),
    Traffic(Who),
    Renewed(Who),
    Call(Who, Call),
    Heard(Who, SocketAddr),
    Machine(Vec<IpAddr>),
    Echo(ServerKey, Vec<IpAddr>, Echo),
    NoEcho(ServerKey),
    Report(Who, oneshot::Sender<Option<Report>>),
    Own(oneshot::Sender<OwnReach>),
}

/// The node's end. See the module.
pub(crate) struct Ways {
    orders: mpsc::UnboundedSender<(Order, Option<Waiting>)>,
    /// How many orders wait that others cause.
    waiting: Arc<AtomicUsize>,
    forwarded: mpsc::Sender<Stray>,
    udp: Arc<Udp>,
}

/// An order that others cause, as long as it waits.
struct Waiting(Arc<AtomicUsize>);

impl Waiting {
    /// None if there is no room for it.
    fn one_more(count: &Arc<AtomicUsize>) -> Option<Self> {
        let waiting = Self(count.clone());
        (count.fetch_add(1, Ordering::Relaxed) < WAITING).then_some(waiting)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Ways {
    /// Opens the sockets and starts the task, which has the router map a port if `maps_ports`. `tell` is called with what the node must know; it waits for room there.
    ///
    /// # Errors
    /// When the system gives no socket.
    pub(crate) fn start<E: Send + 'static>(
        port: Option<u16>,
        maps_ports: bool,
        events: mpsc::Sender<E>,
        tell: impl Fn(Told) -> E + Send + 'static,
    ) -> io::Result<Self> {
        let (strays, incoming) = mpsc::channel(WAITING);
        let udp = Udp::bind(
            port,
            Arc::new(move |from, datagram: &[u8]| {
                let mine = matches!(
                    datagram.first(),
                    Some(&(MARK_QUESTION | MARK_ANSWER | echo::ANSWER))
                );
                if mine && datagram.len() >= echo::LENGTH && datagram.len() <= LONGEST {
                    // A probe that finds no room is repeated.
                    let _ = strays.try_send((from, datagram.to_vec()));
                }
            }),
        )?;
        info!(ports = ?udp.ports(), "packets may go straight to peers");
        let (orders, taken) = mpsc::unbounded_channel();
        let router = maps_ports.then(|| portmapper::Client::new(portmapper::Config::default()));
        let task = Task {
            router,
            ask: steady() + ASK_ROUTER,
            interfaces: Vec::new(),
            udp: udp.clone(),
            paths: Paths::default(),
            echoes: Echoes::default(),
            renewals: Renewals::default(),
            networks: BTreeMap::new(),
            look: Duration::ZERO,
            chance: Duration::ZERO,
            port: udp.ports(),
        };
        let (forwarded, through) = mpsc::channel(WAITING);
        tokio::spawn(task.run(taken, incoming, through, events, tell));
        Ok(Self {
            orders,
            waiting: Arc::default(),
            forwarded,
            udp,
        })
    }

    /// Where to put what members forward that is no packet. What finds no room is said again.
    pub(crate) fn forwarded(&self) -> mpsc::Sender<Stray> {
        self.forwarded.clone()
    }

    /// The ports of the sockets: what leaves from them must never enter a tunnel.
    pub(crate) fn ports(&self) -> Vec<u16> {
        self.udp.ports()
    }

    /// Lets a tunnel have what arrives for it.
    pub(crate) fn attach(&self, tunnel: &Tunnel) -> Attached {
        self.udp.attach(tunnel)
    }

    /// Everybody that packets may be exchanged with in a network; whoever else was is forgotten at once.
    pub(crate) fn network(
        &self,
        id: NetworkId,
        secret: StaticSecret,
        tunnel: SharedTunnel,
        forwarders: Arc<Forwarders>,
        peers: Vec<Peer>,
    ) {
        self.order(Order::Network {
            id,
            secret,
            tunnel,
            forwarders,
            peers,
        });
    }

    /// The members that offer to forward to this device and are linked with it.
    pub(crate) fn relays(&self, id: NetworkId, relays: Vec<PeerId>) {
        self.order(Order::Relays(id, relays));
    }

    /// There is a packet for a peer that nothing carries to.
    pub(crate) fn traffic(&self, who: Who) {
        self.suggest(Order::Traffic(who));
    }

    /// A network is down.
    pub(crate) fn gone(&self, id: NetworkId) {
        self.order(Order::Gone(id));
    }

    /// The peer's link has come up, or is another.
    pub(crate) fn linked(&self, who: Who) {
        self.order(Order::Linked(who));
    }

    /// The peer's link is gone.
    pub(crate) fn unlinked(&self, who: Who) {
        self.order(Order::Unlinked(who));
    }

    /// There is a new session with the peer.
    pub(crate) fn renewed(&self, who: Who) {
        self.order(Order::Renewed(who));
    }

    /// What the peer says over its link.
    pub(crate) fn call(&self, who: Who, call: Call) {
        self.suggest(Order::Call(who, call));
    }

    /// A packet of the peer's came from an address.
    pub(crate) fn heard(&self, who: Who, from: SocketAddr) {
        self.suggest(Order::Heard(who, from));
    }

    /// The addresses of this machine's interfaces, without mesh's own; they may be the same as before, and reached otherwise.
    pub(crate) fn machine(&self, addresses: Vec<IpAddr>) {
        self.order(Order::Machine(addresses));
    }

    /// How to ask a server's echo.
    pub(crate) fn echo(&self, server: ServerKey, addresses: Vec<IpAddr>, echo: Echo) {
        self.order(Order::Echo(server, addresses, echo));
    }

    /// A server is not this device's any more, or not reached.
    pub(crate) fn no_echo(&self, server: ServerKey) {
        self.order(Order::NoEcho(server));
    }

    /// What is known of the ways to a peer.
    pub(crate) fn report(&self, who: Who) -> oneshot::Receiver<Option<Report>> {
        let (answer, report) = oneshot::channel();
        self.order(Order::Report(who, answer));
        report
    }

    /// What is known of this device's own reach.
    pub(crate) fn own(&self) -> oneshot::Receiver<OwnReach> {
        let (answer, own) = oneshot::channel();
        self.order(Order::Own(answer));
        own
    }

    fn order(&self, order: Order) {
        // The task lives as long as this does.
        let _ = self.orders.send((order, None));
    }

    /// An order that others cause. What finds no room comes again: the task is behind, and they do not fill the memory.
    fn suggest(&self, order: Order) {
        if let Some(waiting) = Waiting::one_more(&self.waiting) {
            let _ = self.orders.send((order, Some(waiting)));
        }
    }
}

struct Task {
    /// What asks the router to let datagrams in (UPnP, PCP, NAT-PMP).
    router: Option<portmapper::Client>,
    /// When it is asked again.
    ask: Duration,
    interfaces: Vec<SocketAddr>,
    udp: Arc<Udp>,
    paths: Paths,
    echoes: Echoes,
    renewals: Renewals,
    networks: BTreeMap<NetworkId, Network>,
    look: Duration,
    /// When the system is asked for random numbers again, after it had none.
    chance: Duration,
    port: Vec<u16>,
}

/// Waits until what the router maps has changed; for ever, if nobody asks it.
async fn changed(mapped: &mut Option<watch::Receiver<Option<SocketAddrV4>>>) {
    if let Some(watched) = mapped
        && watched.changed().await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

struct Network {
    tunnel: SharedTunnel,
    forwarders: Arc<Forwarders>,
    peers: BTreeMap<PeerId, Known>,
}

struct Known {
    keys: ([u8; 32], [u8; 32]),
    way: Arc<Way>,
}

impl Task {
    async fn run<E: Send + 'static>(
        mut self,
        mut orders: mpsc::UnboundedReceiver<(Order, Option<Waiting>)>,
        mut strays: mpsc::Receiver<(SocketAddr, Vec<u8>)>,
        mut through: mpsc::Receiver<Stray>,
        events: mpsc::Sender<E>,
        tell: impl Fn(Told) -> E + Send + 'static,
    ) {
        let mut mapped = self
            .router
            .as_ref()
            .map(portmapper::Client::watch_external_address);
        let mut datagrams = Vec::with_capacity(AT_ONCE);
        let mut forwarded = Vec::with_capacity(AT_ONCE);
        loop {
            let now = steady();
            let paths = self.paths.next(now).map(|due| due.max(self.chance));
            let ask = self.router.as_ref().map(|_| self.ask);
            let renewals = self.renewals.next();
            let due = [paths, self.echoes.next(), self.look_due(), ask, renewals];
            let due = due.into_iter().flatten().min();
            tokio::select! {
                order = orders.recv() => match order {
                    Some((order, _)) => self.take(order),
                    None => return,
                },
                1.. = strays.recv_many(&mut datagrams, AT_ONCE) => {
                    for (from, datagram) in datagrams.drain(..) {
                        self.datagram(from, &datagram);
                    }
                }
                1.. = through.recv_many(&mut forwarded, AT_ONCE) => {
                    for stray in forwarded.drain(..) {
                        self.forwarded(&stray);
                    }
                }
                () = changed(&mut mapped) => self.tell_own(steady()),
                () = tokio::time::sleep(due.map_or(Duration::from_secs(3600), |due| due.saturating_sub(now))) => {}
            }
            for told in self.on_time() {
                if events.send(tell(told)).await.is_err() {
                    return;
                }
            }
        }
    }

    fn take(&mut self, order: Order) {
        let now = steady();
        match order {
            Order::Network {
                id,
                secret,
                tunnel,
                forwarders,
                peers,
            } => self.network(id, &secret, tunnel, forwarders, peers),
            Order::Relays(id, relays) => self.paths.relays(id, relays, now),
            Order::Gone(id) => {
                self.renewals.retain(|who| who.network != id);
                self.paths.retain(&id, |_| false);
                self.paths.relays(id, Vec::new(), now);
                if let Some(network) = self.networks.remove(&id) {
                    network
                        .peers
                        .values()
                        .for_each(|known| known.way.0.store(None));
                }
            }
            Order::Linked(who) => self.paths.linked(&who, now),
            Order::Unlinked(who) => self.paths.unlinked(&who),
            Order::Traffic(who) => self.paths.traffic(&who, now),
            Order::Renewed(who) => self.renewals.done(&who),
            Order::Call(who, call) => self.paths.call(&who, call, now),
            Order::Heard(who, from) => self.paths.heard(&who, from),
            Order::Machine(addresses) => {
                let port = |ip: &IpAddr| match ip {
                    IpAddr::V4(_) => self.port.first(),
                    IpAddr::V6(_) => self.port.last(),
                };
                let own = addresses.iter();
                let own = own.filter_map(|ip| Some(SocketAddr::new(*ip, *port(ip)?)));
                let own: Vec<SocketAddr> = own.collect();
                self.ask_router(self.interfaces != own);
                self.interfaces = own;
                self.tell_own(now);
                self.paths.moved(now);
                self.echoes.soon(now);
            }
            Order::Echo(server, addresses, echo) => self.echoes.add(server, &addresses, echo, now),
            Order::NoEcho(server) => self.echoes.remove(&server),
            // Who asked may have gone.
            Order::Report(who, answer) => drop(answer.send(self.paths.report(&who, now))),
            Order::Own(answer) => {
                let own = self.paths.own();
                let reach = OwnReach {
                    candidates: own.candidates(now),
                    mapping: own.mapping(now),
                    ipv6: own.has_ipv6(),
                    mapped: own.mapped(),
                    echoes: self.echoes.report(),
                };
                drop(answer.send(reach));
            }
        }
    }

    /// Has the router map the port. A router that is another, maybe, knows nothing of what was agreed with the one before.
    fn ask_router(&self, moved: bool) {
        let port = self.port.first().copied().and_then(NonZeroU16::new);
        if let (Some(router), Some(port)) = (&self.router, port) {
            if moved {
                router.deactivate();
            }
            router.update_local_port(port);
            router.procure_mapping();
        }
    }

    fn tell_own(&mut self, now: Duration) {
        let mapped = self.mapped().map(SocketAddr::V4);
        self.paths.set_own(self.interfaces.clone(), mapped, now);
    }

    /// What the router maps to this device.
    fn mapped(&self) -> Option<SocketAddrV4> {
        *self.router.as_ref()?.watch_external_address().borrow()
    }

    fn network(
        &mut self,
        id: NetworkId,
        secret: &StaticSecret,
        tunnel: SharedTunnel,
        forwarders: Arc<Forwarders>,
        peers: Vec<Peer>,
    ) {
        let mine = PublicKey::from(secret).to_bytes();
        let network = self.networks.entry(id).or_insert_with(|| Network {
            tunnel: tunnel.clone(),
            forwarders: forwarders.clone(),
            peers: BTreeMap::new(),
        });
        network.tunnel = tunnel;
        network.forwarders = forwarders;
        let mut before = std::mem::take(&mut network.peers);
        for peer in peers {
            let keys = (mine, peer.key.to_bytes());
            let known = before.remove(&peer.id).filter(|known| known.keys == keys);
            let who = Who {
                network: id,
                peer: peer.id,
            };
            if known.is_none() {
                let shared = secret.diffie_hellman(&peer.key);
                let Ok(tag) = random::bytes() else {
                    continue;
                };
                // A key that makes no secret is no key of a device.
                if shared.was_contributory() {
                    let keys = ProbeKeys::new(shared.as_bytes(), &id, &keys.0, &keys.1);
                    self.paths.add(who, keys, u64::from_be_bytes(tag));
                }
            }
            let way = peer.way;
            network.peers.insert(peer.id, Known { keys, way });
        }
        let stays = |peer: &PeerId| network.peers.contains_key(peer);
        before
            .iter()
            .filter(|(peer, _)| !stays(peer))
            .for_each(|(_, gone)| gone.way.0.store(None));
        self.renewals
            .retain(|who| who.network != id || stays(&who.peer));
        self.paths.retain(&id, stays);
    }

    fn datagram(&mut self, from: SocketAddr, datagram: &[u8]) {
        let now = steady();
        if datagram.first() == Some(&echo::ANSWER) {
            if let Some((by, seen)) = self.echoes.heard(datagram, now) {
                self.paths.seen(by, seen, now);
            }
        } else if let Some(Action::Send(to, answer)) = self.paths.receive(from, datagram, now) {
            self.udp.send(to, &answer);
        }
    }

    fn forwarded(&mut self, stray: &Stray) {
        let (by, from) = (stray.by, &stray.from);
        let answer = self
            .paths
            .receive_through(by, from, &stray.datagram, steady());
        if let Some(Action::Through(by, who, answer)) = answer {
            self.send_through(&by, &who, answer);
        }
    }

    /// A loss does no harm.
    fn send_through(&self, by: &PeerId, who: &Who, datagram: Vec<u8>) {
        if let Some(network) = self.networks.get(&who.network) {
            network.forwarders.send(by, who.peer, datagram);
        }
    }

    fn on_time(&mut self) -> Vec<Told> {
        let now = steady();
        if self.look_due().is_some_and(|due| now >= due) {
            self.look = now + LOOK;
            self.look(now);
        }
        if now >= self.ask {
            self.ask = now + ASK_ROUTER;
            self.ask_router(false);
        }
        self.renewals.on_time(now);
        for (to, question) in self.echoes.due(now) {
            self.udp.send(to, &question);
        }
        let mut told = Vec::new();
        let due = self.paths.next(now).map(|due| due.max(self.chance));
        if due.is_none_or(|due| due > now) {
            return told;
        }
        let random = || random::bytes().map(u64::from_be_bytes).ok();
        // Without randomness nothing is asked: a number that can be guessed proves nothing.
        let Some(probe) = random() else {
            self.chance = now + LOOK;
            return told;
        };
        for action in self.paths.poll(now, || random().unwrap_or(probe)) {
            match action {
                Action::Send(to, datagram) => self.udp.send(to, &datagram),
                Action::Through(by, who, datagram) => self.send_through(&by, &who, datagram),
                Action::Call(who, call) => told.push(Told::Call(who, call)),
                Action::Restarted(who) => {
                    let network = self.networks.get(&who.network);
                    if let Some(tunnel) = network.and_then(|network| network.tunnel.load_full()) {
                        tunnel.reset(&who.peer);
                    }
                }
                Action::Narrowed(who) => told.push(Told::Narrowed(who)),
                Action::Chosen(who, choice) => {
                    debug!(peer = ?who.peer, ?choice, "the way to a peer changed");
                    self.choose(&who, choice);
                    told.push(Told::Way(who));
                }
            }
        }
        told
    }

    fn choose(&mut self, who: &Who, choice: Option<Choice>) {
        let Some(network) = self.networks.get(&who.network) else {
            return;
        };
        let Some(known) = network.peers.get(&who.peer) else {
            return;
        };
        let open = choice.map(|choice| {
            let carrier: Arc<dyn Carrier> = match choice.place {
                Place::Address(address) => self.udp.carrier(address, choice.max_datagram),
                Place::Through(by) => Arc::new(Through {
                    forwarders: network.forwarders.clone(),
                    by,
                    to: who.peer,
                }),
            };
            Arc::new(Open {
                carrier,
                choice,
                rtt_us: AtomicU64::new(self.rtt_us(who, choice.place)),
            })
        });
        let renew = |carrier: &Arc<dyn Carrier>| {
            network.tunnel.load().as_ref().is_some_and(|tunnel| {
                tunnel.pace(&who.peer) >= FAST && tunnel.renew(&who.peer, carrier)
            })
        };
        let now = steady();
        self.renewals.change(*who, &known.way, open, now, renew);
    }

    fn rtt_us(&self, who: &Who, place: Place) -> u64 {
        let rtt = self.paths.rtt(who, &place);
        rtt.map_or(0, |rtt| u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX))
    }

    /// While there are networks.
    fn look_due(&self) -> Option<Duration> {
        (!self.networks.is_empty()).then_some(self.look)
    }

    /// Looks with whom packets flow.
    fn look(&mut self, now: Duration) {
        let mut flowing = Vec::new();
        for (id, network) in &self.networks {
            let tunnel = network.tunnel.load();
            let active = tunnel.as_ref().map(|tunnel| tunnel.take_active());
            flowing.extend(
                active
                    .into_iter()
                    .flatten()
                    .map(|peer| Who { network: *id, peer }),
            );
        }
        for who in flowing {
            self.paths.traffic(&who, now);
            let network = self.networks.get(&who.network);
            let known = network.and_then(|network| network.peers.get(&who.peer));
            if let Some(way) = known.and_then(|known| known.way.open()) {
                let rtt = self.rtt_us(&who, way.choice.place);
                way.rtt_us.store(rtt, Ordering::Relaxed);
            }
        }
    }
}
