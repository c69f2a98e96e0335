//! The node's side of servers: which it is connected with, a session for each network on each, and what they bring.

mod host;
mod kept;
mod letters;
mod report;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use iroh::endpoint::VarInt;
use mesh_core::mirror::{Backoff, Effect, End, Heard, MAX_SERVERS, Session, Witness};
use mesh_ledger::event::Event as LedgerEvent;
use mesh_ledger::ids::{DeviceId, EventId, NetworkId, ServerKey};
use mesh_ledger::mirror::message::{Doors, Response};
use mesh_ledger::mirror::{Permit, ServerAddress, SignedTip};
use mesh_ledger::parking::Source;
use tracing::{debug, info, warn};

use super::{Event, Net, Node};
use crate::clock::{now_ms, steady, steady_ms};
use crate::mirror::{Line, Mirror, MirrorEvent, Place, Stream};

pub(crate) use host::{Hosting, Reached};
pub(crate) use kept::load;
pub(crate) use letters::Waiting;

/// A stream that lasted so long was well: the next one is opened at once. Milliseconds.
const WELL: u64 = 20_000;

/// A server as a network knows it.
pub(crate) struct Watched {
    pub(crate) witness: Witness,
    /// The server's own permit for this network.
    permit: Option<Permit>,
    /// Why it does not serve this network, if it said so.
    pub(super) refused: Option<String>,
    again: Backoff,
}

impl Watched {
    fn new(witness: Witness) -> Self {
        Self {
            witness,
            permit: None,
            refused: None,
            again: Backoff::default(),
        }
    }
}

/// A server that this device is to be connected with.
pub(crate) struct Served {
    mirror: Mirror,
    line: Option<Line>,
    /// Where its name leads to.
    resolved: Vec<SocketAddr>,
    /// Why it is not reached; none while it is, or the first dial is under way.
    unreachable: Option<String>,
    /// Since when it is reached, or not.
    since_ms: u64,
    streams: BTreeMap<NetworkId, Spoken>,
}

/// A stream about one network.
struct Spoken {
    number: u64,
    stream: Stream,
    session: Session,
    since: u64,
}

impl Served {
    /// Where it is reached: the address in use, and those its name leads to.
    pub(super) fn addresses(&self) -> Vec<IpAddr> {
        self.resolved
            .iter()
            .map(|address| address.ip().to_canonical())
            .collect()
    }
}

impl Net {
    /// The servers of the network by the ledger, and those it is to have.
    pub(crate) fn servers(&self) -> BTreeMap<ServerKey, ServerAddress> {
        let listed = self.state().servers.iter().filter_map(ServerAddress::of);
        let mut servers: BTreeMap<ServerKey, ServerAddress> = listed
            .take(MAX_SERVERS)
            .map(|server| (server.key, server))
            .collect();
        for (key, server) in &self.offered {
            servers.insert(*key, server.clone());
        }
        servers
    }

    /// A server is to be tried anew.
    fn mirrors_renewed(&mut self, server: &ServerKey) {
        if let Some(watched) = self.mirrors.get_mut(server) {
            watched.refused = None;
            watched.again.at_once();
        }
    }

    /// The newest tip of each server, and behind them what proves the lie found last, for a beacon.
    pub(crate) fn tips(&self) -> Vec<SignedTip> {
        let witnesses = || self.mirrors.values().map(|watched| &watched.witness);
        let newest = witnesses().filter_map(Witness::newest).take(MAX_SERVERS);
        let proofs = witnesses().filter_map(Witness::proof_for_others);
        let proof = proofs.max_by_key(|accusation| accusation.at);
        let proof = proof.into_iter().flat_map(|accusation| &accusation.tips);
        newest.chain(proof).cloned().collect()
    }
}

impl Node {
    /// Connects with the servers of the networks that are up, and with no other; opens the streams that are due.
    pub(crate) fn use_mirrors(&mut self) {
        let mut wanted: BTreeMap<ServerKey, (BTreeSet<Place>, BTreeSet<NetworkId>)> =
            BTreeMap::new();
        for net in self.nets.values_mut() {
            let servers = net.servers();
            net.follow_servers(&servers);
            if !net.is_up() || !net.is_member() {
                continue;
            }
            for (key, server) in servers {
                let (places, nets) = wanted.entry(key).or_default();
                places.insert((server.host, server.port));
                nets.insert(net.id);
            }
        }
        self.servers.retain(|key, served| {
            let keep = wanted.contains_key(key);
            if let Some(Line { connection, .. }) = served.line.as_ref().filter(|_| !keep) {
                connection.close(VarInt::from_u32(0), b"done");
            }
            keep
        });
        for (key, (places, nets)) in wanted {
            let mut offered = self.nets.values().filter_map(|net| net.offered.get(&key));
            let permit = offered.find_map(|server| server.permit);
            let (endpoint, events) = (&self.endpoint, &self.events);
            let served = self.servers.entry(key).or_insert_with(|| Served {
                mirror: Mirror::spawn(
                    key,
                    places.clone(),
                    permit,
                    endpoint.clone(),
                    events.clone(),
                    move |event| Event::Mirror(key, event),
                ),
                line: None,
                resolved: Vec::new(),
                unreachable: None,
                since_ms: now_ms(),
                streams: BTreeMap::new(),
            });
            served.mirror.set_places(places);
            served.streams.retain(|id, _| nets.contains(id));
            for id in nets {
                self.open_stream(key, id);
            }
        }
    }

    /// Opens the stream for a network on a server, if it is connected and the time has come.
    fn open_stream(&mut self, key: ServerKey, id: NetworkId) {
        let now = steady_ms();
        let (Some(served), Some(net)) = (self.servers.get_mut(&key), self.nets.get_mut(&id)) else {
            return;
        };
        let listed = net.servers().remove(&key).and_then(|server| server.permit);
        let (Some(line), Some(watched)) = (&served.line, net.mirrors.get(&key)) else {
            return;
        };
        if served.streams.contains_key(&id) || watched.again.due() > now {
            return;
        }
        let permit = watched.permit.or(listed);
        let (session, request) = Session::open(id, permit, &watched.witness, now);
        self.next_stream += 1;
        let number = self.next_stream;
        let stream = Stream::spawn(number, line.clone(), self.events.clone(), move |event| {
            Event::Mirror(key, event)
        });
        stream.say(request);
        let spoken = Spoken {
            number,
            stream,
            session,
            since: now,
        };
        served.streams.insert(id, spoken);
    }

    /// Something from a server's tasks.
    pub(crate) async fn mirror_event(&mut self, key: ServerKey, event: MirrorEvent) {
        let Some(served) = self.servers.get_mut(&key) else {
            return;
        };
        match event {
            MirrorEvent::Connected(line, resolved) => {
                let by = if line.deputy.is_some() { "TCP" } else { "UDP" };
                info!(server = %key.short(), "connected by {by}");
                served.line = Some(line);
                served.resolved = resolved;
                served.unreachable = None;
                served.since_ms = now_ms();
                served.streams.clear();
                self.use_mirrors();
            }
            MirrorEvent::Lost(why) => {
                if served.line.take().is_some() {
                    info!(server = %key.short(), "lost: {why}");
                    served.since_ms = now_ms();
                } else {
                    debug!(server = %key.short(), "not reached: {why}");
                }
                served.unreachable = Some(why);
                if let Some(ways) = &self.ways {
                    ways.no_echo(key);
                }
                let ids: Vec<NetworkId> = served.streams.keys().copied().collect();
                served.streams.clear();
                for id in ids {
                    if let Some(net) = self.nets.get_mut(&id) {
                        net.ledger.forget(Source::Mirror(key.0));
                    }
                }
            }
            MirrorEvent::Said(number, response, permit) => {
                self.mirror_said(key, number, response).await;
                drop(permit);
            }
            MirrorEvent::Ended(number, why) => {
                let of =
                    |(id, spoken): (&NetworkId, &Spoken)| (spoken.number == number).then_some(*id);
                if let Some(id) = served.streams.iter().find_map(of) {
                    debug!(server = %key.short(), network = %id, "stream ended: {why}");
                    self.close_stream(key, id);
                }
            }
        }
    }

    async fn mirror_said(&mut self, key: ServerKey, number: u64, response: Response) {
        let Some(served) = self.servers.get_mut(&key) else {
            return;
        };
        let streams = served.streams.iter_mut();
        let Some((id, spoken)) = streams
            .map(|(id, spoken)| (*id, spoken))
            .find(|(_, spoken)| spoken.number == number)
        else {
            return;
        };
        let Some(net) = self.nets.get_mut(&id) else {
            return;
        };
        let Some(watched) = net.mirrors.get_mut(&key) else {
            return;
        };
        let index = net.ledger.index();
        let effects = spoken
            .session
            .receive(response, &mut watched.witness, index, steady_ms());
        net.note_accusations(&key);
        self.mirror_effects(key, id, effects).await;
    }

    /// Carries out what a session wants; what follows from new events may make it want more.
    async fn mirror_effects(&mut self, key: ServerKey, id: NetworkId, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send(request) => {
                    let served = self.servers.get(&key);
                    if let Some(spoken) = served.and_then(|served| served.streams.get(&id)) {
                        spoken.stream.say(request);
                    }
                }
                Effect::Live {
                    permit,
                    doors,
                    echo,
                } => {
                    self.hear_echo(key, echo);
                    self.mirror_live(key, id, permit, doors).await;
                }
                Effect::Events(events) => self.events_from_mirror(key, id, &events).await,
                Effect::Stored(_) => self.settle_spreads(steady()),
                Effect::Letters(letters) => self.take_letters(key, id, letters),
                Effect::Removed(events) => self.removed_by_mirror(key, id, &events).await,
                Effect::End(end) => self.mirror_ended(key, id, end).await,
            }
        }
        self.step_session(key, id);
    }

    async fn mirror_live(
        &mut self,
        key: ServerKey,
        id: NetworkId,
        permit: Option<Permit>,
        doors: Doors,
    ) {
        let Some(net) = self.nets.get_mut(&id) else {
            return;
        };
        info!(network = %net.name(), server = %key.short(), "served");
        if let Some(watched) = net.mirrors.get_mut(&key) {
            watched.refused = None;
            watched.permit = permit.or(watched.permit);
        }
        net.doors.insert(key, doors);
        self.doors_changed(id).await;
        self.endpoint.relay_retry(&key).await;
        self.host_progress(id, key).await;
    }

    async fn events_from_mirror(&mut self, key: ServerKey, id: NetworkId, events: &[Vec<u8>]) {
        let Some(net) = self.nets.get_mut(&id) else {
            return;
        };
        let source = Source::Mirror(key.0);
        let received = tokio::task::block_in_place(|| net.ledger.receive(source, events, now_ms()));
        let receipt = match received {
            Ok(receipt) => receipt,
            Err(error) => {
                warn!(network = %id, "events could not be stored: {error}");
                net.problem = Some(error.to_string());
                return;
            }
        };
        for (event, why) in &receipt.refused {
            debug!(server = %key.short(), event = %event.short(), "refused: {why}");
        }
        for event in &receipt.mended {
            info!(network = %id, event = %event.short(), "a damaged event was restored by a server");
        }
        self.want_from_mirrors(id, &receipt.missing);
        if !receipt.added.is_empty() {
            self.changed(id, None).await;
        }
    }

    /// Asks every server that has them for events which the ledger lacks.
    pub(crate) fn want_from_mirrors(&mut self, id: NetworkId, missing: &[EventId]) {
        if missing.is_empty() {
            return;
        }
        self.with_sessions(id, |session, witness| session.want(missing, witness));
    }

    /// Tells the servers of a network what is new in its ledger.
    pub(crate) fn tell_mirrors(&mut self, id: NetworkId, news: &[LedgerEvent]) {
        self.with_sessions(id, |session, witness| session.added(news, witness));
    }

    /// Tells something to the session with each server of a network, and lets each go on.
    fn with_sessions(&mut self, id: NetworkId, tell: impl Fn(&mut Session, &Witness)) {
        let Some(net) = self.nets.get(&id) else {
            return;
        };
        let mut keys = Vec::new();
        for (key, served) in &mut self.servers {
            if let (Some(spoken), Some(watched)) =
                (served.streams.get_mut(&id), net.mirrors.get(key))
            {
                tell(&mut spoken.session, &watched.witness);
                keys.push(*key);
            }
        }
        for key in keys {
            self.step_session(key, id);
        }
    }

    /// A member was shown these tips.
    pub(crate) fn hear_tips(&mut self, id: NetworkId, device: DeviceId, tips: &[SignedTip]) {
        if let ([.., one, other], Some(net)) = (tips, self.nets.get_mut(&id))
            && let Some(watched) = net.mirrors.get_mut(&one.server)
            && watched.witness.hear_proof(device, one, other)
        {
            net.note_accusations(&one.server);
        }
        for tip in tips {
            let Some(net) = self.nets.get_mut(&id) else {
                return;
            };
            let Some(watched) = net.mirrors.get_mut(&tip.server) else {
                continue;
            };
            let heard = watched.witness.hear(device, tip);
            net.note_accusations(&tip.server);
            if heard == Heard::Ahead {
                self.look(id, tip.server);
            }
        }
    }

    /// Asks the servers of a network whether there is more. How many were asked.
    pub(crate) fn look_at_mirrors(&mut self, id: NetworkId) -> usize {
        let live = |served: &Served| {
            served
                .streams
                .get(&id)
                .is_some_and(|spoken| spoken.session.is_live())
        };
        let keys: Vec<ServerKey> = self
            .servers
            .iter()
            .filter(|(_, served)| live(served))
            .map(|(key, _)| *key)
            .collect();
        for key in &keys {
            self.look(id, *key);
        }
        keys.len()
    }

    fn look(&mut self, id: NetworkId, key: ServerKey) {
        let served = self.servers.get_mut(&key);
        if let Some(spoken) = served.and_then(|served| served.streams.get_mut(&id)) {
            spoken.session.look();
            self.step_session(key, id);
        }
    }

    /// Lets a session go on, if it can.
    fn step_session(&mut self, key: ServerKey, id: NetworkId) {
        let (Some(served), Some(net)) = (self.servers.get_mut(&key), self.nets.get(&id)) else {
            return;
        };
        let (Some(spoken), Some(watched)) = (served.streams.get_mut(&id), net.mirrors.get(&key))
        else {
            return;
        };
        let index = net.ledger.index();
        let effects = spoken.session.tick(&watched.witness, index, steady_ms());
        let mut over = None;
        for effect in effects {
            match effect {
                Effect::Send(request) => spoken.stream.say(request),
                Effect::End(end) => over = Some(end),
                // A session has nothing else to say by itself.
                _ => {}
            }
        }
        if let Some(end) = over {
            debug!(server = %key.short(), network = %id, "ended: {end}");
            self.close_stream(key, id);
        }
    }

    async fn removed_by_mirror(&mut self, key: ServerKey, id: NetworkId, events: &[Vec<u8>]) {
        if !events.is_empty() {
            self.events_from_mirror(key, id, events).await;
        }
        let net = self.nets.get_mut(&id).filter(|net| net.is_member());
        if let Some(watched) = net.and_then(|net| net.mirrors.get_mut(&key)) {
            let why = "it says that this device was removed; no event here proves it";
            watched.refused = Some(why.to_owned());
        }
    }

    async fn mirror_ended(&mut self, key: ServerKey, id: NetworkId, end: End) {
        debug!(server = %key.short(), network = %id, "ended: {end}");
        let why = match end {
            End::Again | End::Silent => None,
            end => Some(end.to_string()),
        };
        if let Some(net) = self.nets.get_mut(&id) {
            let member = net.is_member();
            if let Some(watched) = net.mirrors.get_mut(&key)
                && member
            {
                watched.refused = why.clone();
            }
        }
        self.close_stream(key, id);
        if let Some(why) = why
            && matches!(end, End::Refused(_) | End::Failed(_))
        {
            self.host_refused(id, key, &why).await;
        }
    }

    /// Ends a stream; another is opened when it is due.
    fn close_stream(&mut self, key: ServerKey, id: NetworkId) {
        let Some(served) = self.servers.get_mut(&key) else {
            return;
        };
        let Some(spoken) = served.streams.remove(&id) else {
            return;
        };
        let Some(net) = self.nets.get_mut(&id) else {
            return;
        };
        net.ledger.forget(Source::Mirror(key.0));
        if let Some(watched) = net.mirrors.get_mut(&key) {
            let now = steady_ms();
            if now.saturating_sub(spoken.since) > WELL {
                watched.again.at_once();
            }
            watched.again.failed(now);
        }
    }

    /// When a session or a stream is due.
    pub(crate) fn mirrors_due(&self) -> Option<u64> {
        let sessions = self
            .servers
            .values()
            .flat_map(|served| served.streams.values())
            .filter_map(|spoken| spoken.session.due());
        let connected = |key: &ServerKey, id: &NetworkId| {
            self.servers
                .get(key)
                .is_some_and(|served| served.line.is_some() && !served.streams.contains_key(id))
        };
        let served = self.nets.values();
        let served = served.filter(|net| net.is_up() && net.is_member());
        let streams = served.flat_map(|net| {
            let closed = net.mirrors.iter();
            closed
                .filter(|(key, _)| connected(key, &net.id))
                .map(|(_, watched)| watched.again.due())
        });
        sessions.chain(streams).min()
    }

    /// Does what is due with the servers.
    pub(crate) async fn mirrors_on_time(&mut self) {
        let now = steady_ms();
        let mut due = Vec::new();
        for (key, served) in &self.servers {
            for (id, spoken) in &served.streams {
                if spoken.session.due().is_some_and(|at| at <= now) {
                    due.push((*key, *id));
                }
            }
        }
        for (key, id) in due {
            self.step_session(key, id);
        }
        let closed: Vec<(ServerKey, NetworkId)> = self
            .nets
            .values()
            .filter(|net| net.is_up() && net.is_member())
            .flat_map(|net| net.mirrors.keys().map(|key| (*key, net.id)))
            .collect();
        for (key, id) in closed {
            self.open_stream(key, id);
        }
        self.answer_letters().await;
        self.host_on_time().await;
    }

    /// The machine's network changed: dials that wait are due at once.
    pub(crate) fn retry_mirrors(&self) {
        for served in self.servers.values() {
            served.mirror.retry();
        }
    }

    /// Whether a server that stores this network's events has not confirmed this one yet.
    pub(crate) fn mirror_lacks(&self, id: NetworkId, event: &EventId) -> bool {
        let Some(net) = self.nets.get(&id) else {
            return false;
        };
        self.servers.iter().any(|(key, served)| {
            let live = served.streams.get(&id).is_some_and(|spoken| {
                spoken.session.is_live()
                    && spoken.session.trouble().is_none()
                    && !spoken.session.refused().contains(event)
            });
            let watched = net.mirrors.get(key);
            live && watched.is_some_and(|watched| !watched.witness.has(event))
        })
    }
}
