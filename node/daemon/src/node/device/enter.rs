//! Becoming a further device of a user: a task of its own looks for the device that shows a code, proves that it knows the
//! words, and takes what it is given; the node checks all of that and enters the networks.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mesh_control::error::{Code as ErrorCode, Error};
use mesh_control::reply::{self, Reply};
use mesh_core::desired::device_id;
use mesh_core::handover::{self, Entered, Handover, No, Request, Said};
use mesh_core::keyfile::Locked;
use mesh_core::link::{Frame, Hello, Role};
use mesh_core::peer::PeerId;
use mesh_ledger::code::{Channel, Code, Ends, Joiner, Way, topic};
use mesh_ledger::ids::{DeviceId, NetworkId, UserId};
use mesh_ledger::keys::{UserSecret, certified};
use mesh_ledger::network::{Entrant, JoinArgs, Ledger};
use mesh_ledger::store::sqlite::SqliteStore;
use mesh_ledger::text::Label;
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, info, warn};

use super::door::knock;
use crate::clock::now_ms;
use crate::discovery::{Seen, TOPIC};
use crate::endpoint::Endpoint;
use crate::identity::{Identity, UserKey};
use crate::link::{Greeting, Wire};
use crate::node::{Event, Net, Node, net};
use crate::random;

/// How long one device is given to answer.
const ATTEMPT: Duration = Duration::from_secs(10);
/// Before a device that did not answer is asked again.
const AGAIN: Duration = Duration::from_millis(700);
/// So many confirmations are sent at most: each lets a device that does not know the words check one guess at them.
const MAX_GUESSES: u32 = 5;
/// The longest wait between two frames of a ledger.
const SILENCE: Duration = Duration::from_secs(15);
/// The most bytes of all ledgers that are taken over.
const MAX_LEDGERS: usize = 1 << 30;
/// How long the device that showed the code is given to take the new device's events.
const LAST_WORD: Duration = Duration::from_secs(10);

/// An attempt under way, as the node keeps it.
pub(crate) struct Entering {
    topic: [u8; TOPIC],
    seen: mpsc::UnboundedSender<(PeerId, Vec<SocketAddr>)>,
}

impl Entering {
    /// A device was seen on the LAN: perhaps the one that shows the code.
    pub(crate) fn seen(&self, seen: &Seen) {
        if seen.topics.contains(&self.topic) {
            // The attempt may just have ended.
            let _ = self.seen.send((seen.peer, seen.addresses.clone()));
        }
    }
}

/// What an attempt came to.
pub(crate) struct Outcome {
    host: Label,
    result: Result<Given, Error>,
    respond: oneshot::Sender<Result<Reply, Error>>,
}

/// What the device that showed the code gave.
struct Given {
    wire: Wire,
    channel: Channel,
    handover: Handover,
    /// The events of each of its networks.
    ledgers: Vec<Vec<Vec<u8>>>,
}

/// Why one device gave nothing.
enum Failure {
    /// It, or another, may yet.
    Again(String),
    /// It, or another, may yet; but it was sent a confirmation.
    Told(String),
    /// It does not know the words.
    Impostor,
    /// It said no, for good.
    No(No),
    /// This machine could not.
    Here(String),
}

struct Attempt {
    code: Code,
    at: Option<String>,
    identity: Arc<Identity>,
    endpoint: Endpoint,
    has: Vec<NetworkId>,
}

impl Node {
    /// Starts to look for the device that shows a code. The reply comes when it has ended.
    pub(crate) fn enter(
        &mut self,
        code: Code,
        at: Option<String>,
        host: Label,
        wait: Duration,
        respond: oneshot::Sender<Result<Reply, Error>>,
    ) {
        if self.entering.is_some() {
            let error = "this machine is being linked already";
            let _ = respond.send(Err(Error::new(ErrorCode::Conflict, error)));
            return;
        }
        let (seen, found) = mpsc::unbounded_channel();
        let mut wanted = [0; TOPIC];
        wanted.copy_from_slice(&topic(code.mailbox())[..TOPIC]);
        let entering = Entering {
            topic: wanted,
            seen,
        };
        if at.is_none() {
            self.lan.values().for_each(|seen| entering.seen(seen));
        }
        self.entering = Some(entering);
        let members = self.nets.values().filter(|net| net.is_member());
        let attempt = Attempt {
            code,
            at,
            identity: self.identity.clone(),
            endpoint: self.endpoint.clone(),
            has: members
                .map(|net| net.id)
                .take(handover::MAX_NETWORKS)
                .collect(),
        };
        let events = self.events.clone();
        tokio::spawn(async move {
            let mut respond = respond;
            let result = tokio::select! {
                result = attempt.run(found, wait) => result,
                // Whoever asked went away.
                () = respond.closed() => Err(Error::new(ErrorCode::Failed, "given up")),
            };
            let outcome = Outcome {
                host,
                result,
                respond,
            };
            let _ = events.send(Event::Entered(Box::new(outcome))).await;
        });
    }

    /// An attempt has ended.
    pub(crate) async fn entered(&mut self, outcome: Outcome) {
        let Outcome {
            host,
            result,
            respond,
        } = outcome;
        self.entering = None;
        let given = match result {
            Ok(given) => given,
            Err(error) => return drop(respond.send(Err(error))),
        };
        let Given {
            mut wire,
            channel,
            handover,
            ledgers,
        } = given;
        let by = device_id(&wire.peer());
        let (reply, adds) = match self.take_over(&handover, ledgers, host, by).await {
            Ok(taken) => taken,
            Err(error) => return drop(respond.send(Err(error))),
        };
        tokio::spawn(async move {
            let entered = Entered { adds };
            let sealed = channel.seal(Way::Joiner, 1, &entered.encode());
            let said = Said::Entered(sealed.unwrap_or_default()).encode();
            let told = async {
                wire.write(&Frame::Code(said.to_vec())).await?;
                wire.read().await
            };
            // The members hear of this device from itself too.
            if !matches!(tokio::time::timeout(LAST_WORD, told).await, Ok(Ok(_))) {
                info!("the device that showed the code went away before it heard of the end");
            }
            let _ = respond.send(Ok(reply));
        });
    }

    async fn take_over(
        &mut self,
        handover: &Handover,
        ledgers: Vec<Vec<Vec<u8>>>,
        host: Label,
        by: DeviceId,
    ) -> Result<(Reply, Vec<(NetworkId, Vec<u8>)>), Error> {
        let me = self.identity.device.public();
        if !certified(&handover.user, &me, &handover.certificate) {
            let error = "what the other device sent does not make this machine its user's";
            return Err(Error::new(ErrorCode::Verification, error));
        }
        self.become_device_of(handover)?;
        let (mut adds, mut problems) = (Vec::new(), Vec::new());
        let mut entered = Vec::new();
        for (network, events) in handover.networks.iter().zip(ledgers) {
            match self.enter_network(handover, network, events, &host).await {
                Ok(add) => {
                    adds.push((network.network, add));
                    entered.push(network.network);
                }
                Err(why) => {
                    warn!(network = %network.network, "not entered: {why}");
                    problems.push(format!("network {}: {why}", network.network.short()));
                }
            }
        }
        let nets = entered.iter().filter_map(|id| self.nets.get(id));
        let reply = reply::DeviceEntered {
            user: handover.user.to_string(),
            by_short: by.short(),
            user_key: self.user_key_place(),
            networks: nets.map(|net| self.network_view(net)).collect(),
            problems,
        };
        Ok((Reply::DeviceEntered(reply), adds))
    }

    /// Whether this machine can be a device of that user: it is not, if it is another one's in a network.
    pub(in crate::node) fn may_become(&self, user: &UserId) -> Result<(), Error> {
        let other = |net: &&Net| {
            let own = net.state().devices.get(&net.my_device());
            own.is_some_and(|own| own.user != *user)
        };
        match self.nets.values().find(other) {
            Some(net) => {
                let name = net.name();
                let error = format!("this machine is another user's device in {name}");
                let error = Error::new(ErrorCode::Conflict, error);
                Err(error.hint(format!("sudo mesh leave {name}")))
            }
            None => Ok(()),
        }
    }

    /// Takes the user's key, or at least its name, in place of what this machine began with.
    fn become_device_of(&mut self, handover: &Handover) -> Result<(), Error> {
        let user = handover.user;
        self.may_become(&user)?;
        let wrong = || {
            let error = "the user key that the other device sent is not its user's";
            Error::new(ErrorCode::Verification, error)
        };
        let given = match &handover.key {
            handover::UserKey::Stays => UserKey::Elsewhere(user),
            handover::UserKey::Open(seed) => UserKey::Open(UserSecret::from_seed(seed)),
            handover::UserKey::Locked(bytes) => {
                UserKey::Locked(Box::new(Locked::decode(bytes).map_err(|_| wrong())?))
            }
        };
        if given.public() != user {
            return Err(wrong());
        }
        let has = self.identity.user.public() == user
            && !matches!(self.identity.user, UserKey::Elsewhere(_));
        if !has {
            self.set_user_key(given)?;
        }
        Ok(())
    }

    async fn enter_network(
        &mut self,
        handover: &Handover,
        network: &handover::Network,
        events: Vec<Vec<u8>>,
        host: &Label,
    ) -> Result<Vec<u8>, String> {
        let id = network.network;
        if self.nets.contains_key(&id) {
            let why = "this device was removed from it, and comes back by an admin's invite alone";
            return Err(why.to_owned());
        }
        let joining = self.wishes(&id, host.clone())?;
        let folder = net::folder(&self.dirs, &id);
        let entered = tokio::task::block_in_place(|| {
            let epoch = network.key.open(&id, &self.identity.boxes);
            let epoch = epoch.ok_or("its key does not open")?;
            let store = SqliteStore::open(&folder.join("ledger.db"));
            let store = store.map_err(|error| error.to_string())?;
            let args = JoinArgs {
                network: id,
                events,
                epoch,
                device: self.identity.device.public(),
                box_secret: self.identity.boxes.clone(),
            };
            let entrant = Entrant {
                device: &self.identity.device,
                user: handover.user,
                certificate: handover.certificate,
                joining,
                now: now_ms(),
            };
            let (ledger, add) =
                Ledger::enter(store, args, entrant).map_err(|error| error.to_string())?;
            let net = Net::new(&folder, ledger, self.me).map_err(|error| error.to_string())?;
            Ok::<_, String>((net, add))
        });
        let (mut net, add) = match entered {
            Ok(entered) => entered,
            Err(why) => {
                // Nothing is in it that another attempt would not bring.
                let _ = std::fs::remove_dir_all(&folder);
                return Err(why);
            }
        };
        let me = net.my_device();
        for contact in network
            .contacts
            .iter()
            .filter(|contact| contact.device != me)
        {
            // The latest is kept in front.
            for address in contact.addresses.iter().rev() {
                net.settings.reached(contact.device.to_string(), *address);
            }
        }
        net.settings
            .set_up(true)
            .map_err(|error| error.to_string())?;
        info!(network = %net.name(), events = net.ledger.graph().len(), "entered");
        self.nets.insert(id, net);
        if let Err(error) = self.bring_up(id).await {
            warn!(network = %id, "entered, but not up: {error}");
        }
        self.changed(id, None).await;
        Ok(add.bytes().to_vec())
    }
}

impl Attempt {
    async fn run(
        self,
        mut found: mpsc::UnboundedReceiver<(PeerId, Vec<SocketAddr>)>,
        wait: Duration,
    ) -> Result<Given, Error> {
        let deadline = tokio::time::Instant::now() + wait;
        let mut last = match &self.at {
            Some(at) => format!("nobody answers at {at}"),
            None => "none on this LAN shows a code of that number".to_owned(),
        };
        let mut known: BTreeMap<PeerId, BTreeSet<SocketAddr>> = BTreeMap::new();
        let mut queue: VecDeque<PeerId> = VecDeque::new();
        let mut guesses = 0;
        loop {
            let tried = tokio::time::timeout_at(deadline, async {
                match self.next(&mut found, &mut known, &mut queue).await {
                    Ok(peer) => {
                        let places = known.get(&peer).into_iter().flatten().copied().collect();
                        (Some(peer), self.exchange(&peer, places).await)
                    }
                    Err(why) => (None, Err(Failure::Again(why))),
                }
            });
            match tried.await {
                Ok((_, Ok(given))) => return Ok(given),
                Ok((peer, Err(Failure::Again(why)))) => {
                    debug!(?peer, "{why}");
                    last = why;
                    queue.extend(peer.filter(|_| self.at.is_none()));
                }
                Ok((peer, Err(Failure::Told(why)))) => {
                    debug!(?peer, "{why}");
                    last = why;
                    guesses += 1;
                    if guesses >= MAX_GUESSES {
                        return Err(unreached(&last, self.at.is_some()));
                    }
                    queue.extend(peer.filter(|_| self.at.is_none()));
                }
                Ok((peer, Err(Failure::Impostor))) => {
                    guesses += 1;
                    warn!(
                        ?peer,
                        "a device that does not know the code's words answered to it"
                    );
                    last = "a device answered that does not know the words".to_owned();
                    if guesses >= MAX_GUESSES {
                        return Err(Error::new(ErrorCode::Verification, last)
                            .hint("on the other machine, for a new code: mesh device link"));
                    }
                }
                Ok((_, Err(Failure::No(no)))) => {
                    return Err(Error::new(ErrorCode::Conflict, no.to_string())
                        .hint("on the other machine, for a new code: mesh device link"));
                }
                Ok((_, Err(Failure::Here(why)))) => return Err(Error::new(ErrorCode::Failed, why)),
                Err(_) => return Err(unreached(&last, self.at.is_some())),
            }
            tokio::time::sleep(AGAIN).await;
            if tokio::time::Instant::now() >= deadline {
                return Err(unreached(&last, self.at.is_some()));
            }
        }
    }

    /// The next device that may show the code.
    async fn next(
        &self,
        found: &mut mpsc::UnboundedReceiver<(PeerId, Vec<SocketAddr>)>,
        known: &mut BTreeMap<PeerId, BTreeSet<SocketAddr>>,
        queue: &mut VecDeque<PeerId>,
    ) -> Result<PeerId, String> {
        if let Some(at) = &self.at {
            let (peer, place) = knock(at).await?;
            known.entry(peer).or_default().insert(place);
            return Ok(peer);
        }
        while let Ok((peer, addresses)) = found.try_recv() {
            hear(known, queue, peer, addresses);
        }
        loop {
            if let Some(peer) = queue.pop_front() {
                return Ok(peer);
            }
            match found.recv().await {
                Some((peer, addresses)) => hear(known, queue, peer, addresses),
                None => std::future::pending().await,
            }
        }
    }

    async fn exchange(&self, peer: &PeerId, places: Vec<SocketAddr>) -> Result<Given, Failure> {
        let proven = tokio::time::timeout(ATTEMPT, self.prove(peer, &places)).await;
        let slow = |_| Failure::Told("the other device did not answer in time".to_owned());
        let (mut wire, channel, handover) = proven.map_err(slow)??;
        let mut ledgers = Vec::new();
        let mut bytes = 0;
        for network in &handover.networks {
            let mut events: Vec<Vec<u8>> = Vec::new();
            while (events.len() as u64) < network.events {
                let frame = tokio::time::timeout(SILENCE, wire.read()).await;
                let more = match frame {
                    Ok(Ok(Frame::Events(more))) if !more.is_empty() => more,
                    _ => return Err(Failure::Told("the exchange broke off".to_owned())),
                };
                bytes += more.iter().map(Vec::len).sum::<usize>();
                if bytes > MAX_LEDGERS {
                    let why = "the networks' ledgers are larger than this release takes";
                    return Err(Failure::Here(why.to_owned()));
                }
                events.extend(more);
            }
            ledgers.push(events);
        }
        Ok(Given {
            wire,
            channel,
            handover,
            ledgers,
        })
    }

    async fn prove(
        &self,
        peer: &PeerId,
        places: &[SocketAddr],
    ) -> Result<(Wire, Channel, Handover), Failure> {
        let again = |why: String| Failure::Again(why);
        let connection = self.endpoint.connect(peer, places, &BTreeSet::new()).await;
        let connection = connection.map_err(again)?;
        let seed = random::seed().map_err(|error| Failure::Here(error.to_string()))?;
        let ends = Ends {
            joiner: self.identity.device.public(),
            inviter: device_id(peer),
        };
        let (joiner, message) = Joiner::start(&self.code, ends, &seed);
        let start = Said::Start {
            mailbox: self.code.mailbox(),
            message,
        };
        let hello = Hello {
            network: NetworkId::GENESIS,
            role: Role::Code(start.encode().to_vec()),
        };
        let (mut wire, said) = match Wire::greet(connection, hello).await {
            Ok(Greeting::Welcome(wire, said)) => (wire, said),
            Ok(_) => return Err(again("a device answered that shows no code".to_owned())),
            Err(error) => return Err(again(error.to_string())),
        };
        let answer = match Said::decode(&said) {
            Some(Said::Answer(answer)) => answer,
            Some(Said::Refused(No::Code | No::Failed)) => {
                return Err(again("no code of that number is shown there".to_owned()));
            }
            Some(Said::Refused(no)) => return Err(Failure::No(no)),
            _ => return Err(again("a device answered what it must not".to_owned())),
        };
        let request = Request {
            box_key: self.identity.boxes.public(),
            has: self.has.clone(),
        };
        let confirmed = joiner.confirm(&answer);
        let (confirmed, confirmation) = confirmed.map_err(|error| again(error.to_string()))?;
        // What is asked for goes under the key of the words: who does not know them reads nothing.
        let sealed = confirmed.seal(0, &request.encode()).unwrap_or_default();
        let said = Said::Confirm(confirmation, sealed).encode();
        let broke_off = |error: crate::link::LinkError| {
            Failure::Told(format!("the exchange broke off: {error}"))
        };
        wire.write(&Frame::Code(said.to_vec()))
            .await
            .map_err(broke_off)?;
        let Frame::Code(said) = wire.read().await.map_err(broke_off)? else {
            return Err(Failure::Impostor);
        };
        match Said::decode(&said) {
            Some(Said::Confirmed(confirmation, sealed)) => {
                let channel = confirmed.finish(&confirmation).ok_or(Failure::Impostor)?;
                let handover = channel.open(Way::Inviter, 0, &sealed);
                let handover = handover.and_then(|handover| Handover::decode(&handover));
                let unread =
                    || Failure::Told("the other device sent what cannot be read".to_owned());
                Ok((wire, channel, handover.ok_or_else(unread)?))
            }
            Some(Said::Refused(no)) => Err(Failure::No(no)),
            _ => Err(Failure::Impostor),
        }
    }
}

fn hear(
    known: &mut BTreeMap<PeerId, BTreeSet<SocketAddr>>,
    queue: &mut VecDeque<PeerId>,
    peer: PeerId,
    addresses: Vec<SocketAddr>,
) {
    if !known.contains_key(&peer) {
        queue.push_back(peer);
    }
    known.entry(peer).or_default().extend(addresses);
}

fn unreached(last: &str, named: bool) -> Error {
    let error = Error::new(
        ErrorCode::Unreachable,
        format!("the device that shows the code was not reached: {last}"),
    );
    error.hint(if named {
        "check the address, and that its TCP and UDP port can be reached from here"
    } else {
        "with an address of the other machine: mesh device link CODE@HOST:PORT"
    })
}
