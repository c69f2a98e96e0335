//! Joining: a task of its own asks every member it can find until one admits this device, and hands what that one sent to
//! the node, which checks all of it before anything counts. What the ticket's servers bring, a [`letter`] asks for.

mod letter;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mesh_control::error::{Code, Error};
use mesh_control::reply::{self, Reply};
use mesh_core::desired::device_id;
use mesh_core::lan::{Lan, Sighted};
use mesh_core::link::{Frame, Hello, Refusal, Role};
use mesh_core::peer::PeerId;
use mesh_ledger::alpn::{Relation, When};
use mesh_ledger::event::attributes::Joining as Wishes;
use mesh_ledger::event::id_of;
use mesh_ledger::ids::{EventId, NetworkId, WgKey};
use mesh_ledger::keys::UserSecret;
use mesh_ledger::network::redeem::{Answer, Challenge, RedeemError, Reply as Redeemed, Request};
use mesh_ledger::network::{JoinArgs, Ledger};
use mesh_ledger::parking::Source;
use mesh_ledger::store::sqlite::SqliteStore;
use mesh_ledger::text::Label;
use mesh_ledger::ticket::{Contact, ContactKind, Ticket};
use mesh_os::dirs::remove_durably;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tracing::{debug, info};
use x25519_dalek::{PublicKey, StaticSecret};

use super::calls::TICKET;
use super::{Net, Node, net};
use crate::clock::{now_ms, steady};
use crate::discovery::{Seen, TOPIC};
use crate::endpoint::Endpoint;
use crate::identity::{Identity, seed};
use crate::link::{Greeting, Wire};
use crate::random;

/// How long one member is given.
const ATTEMPT: Duration = Duration::from_secs(10);
/// How much later the next member is asked than the one before.
const HEAD_START: Duration = Duration::from_millis(1200);
/// How many of those who can be asked wait for the attempt.
pub(in crate::node) const MAX_FOUND: usize = 256;
/// The most that are asked at once: anybody on the LAN can say that it knows the ticket.
const MAX_ASKED: usize = 64;
/// Before a member that did not answer is asked again.
const AGAIN: Duration = Duration::from_millis(700);
/// Before a server that did not help is asked again.
const REWRITE: Duration = Duration::from_millis(1500);
/// The most bytes of a ledger that is taken over.
const MAX_LEDGER: usize = 1 << 30;
/// The longest wait between two frames of it.
const SILENCE: Duration = Duration::from_secs(15);

/// An attempt under way, as the node keeps it.
pub(crate) struct Joining {
    network: NetworkId,
    topic: [u8; TOPIC],
    seen: mpsc::Sender<Found>,
}

/// Somebody who can be asked.
struct Found {
    peer: PeerId,
    addresses: Vec<SocketAddr>,
    /// Whether the ticket names it; else it was seen on the LAN, where anybody can say anything.
    named: bool,
}

impl Joining {
    /// A device was seen on the LAN: perhaps a member.
    pub(crate) fn seen(&self, seen: &Seen) {
        if seen.topics.contains(&self.topic) {
            self.may_ask(seen.peer, seen.addresses.clone(), false);
        }
    }
}

impl Joining {
    fn may_ask(&self, peer: PeerId, addresses: Vec<SocketAddr>, named: bool) {
        let found = Found {
            peer,
            addresses,
            named,
        };
        // The attempt may just have ended; and what finds no room is seen again.
        let _ = self.seen.try_send(found);
    }
}

/// What came with a ticket in a file.
#[derive(Default)]
pub(crate) struct Brought {
    /// Events, parents first.
    pub(crate) events: Vec<Vec<u8>>,
    /// Events without which a ledger is not the one that was promised.
    pub(crate) heads: Vec<EventId>,
    /// Who can be asked, beside those in the ticket.
    pub(crate) contacts: Vec<Contact>,
}

/// What an attempt came to.
pub(crate) struct Outcome {
    network: NetworkId,
    brought: Brought,
    respond: oneshot::Sender<Result<Reply, Error>>,
    result: Result<Admitted, Failure>,
}

/// A member admitted this device.
pub(crate) struct Admitted {
    /// The link to the member; none if it answered by letter.
    pub(crate) wire: Option<Wire>,
    pub(crate) answer: Answer,
    pub(crate) events: Vec<Vec<u8>>,
}

/// Why nobody did.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Nobody that could decide was reached.
    Nobody(String),
    /// A member said no, for good.
    Refused(RedeemError),
    /// This machine could not.
    Here(String),
}

struct Attempt {
    ticket: Ticket,
    user: UserSecret,
    identity: Arc<Identity>,
    endpoint: Endpoint,
    servers: Vec<letter::Letterbox>,
    wishes: Wishes,
}

impl Node {
    /// Starts to join by a ticket. The reply comes when it has ended.
    pub(crate) fn join(
        &mut self,
        ticket: Ticket,
        host: Label,
        wait: Duration,
        brought: Brought,
        respond: oneshot::Sender<Result<Reply, Error>>,
    ) {
        if let Err(error) = self.may_join(&ticket) {
            return drop(respond.send(Err(error)));
        }
        match self.user_secret() {
            Ok(user) => self.join_as(user, ticket, host, wait, brought, respond),
            Err(error) => drop(respond.send(Err(error))),
        }
    }

    /// As [`Self::join`], with the user key at hand.
    pub(crate) fn join_as(
        &mut self,
        user: UserSecret,
        ticket: Ticket,
        host: Label,
        wait: Duration,
        brought: Brought,
        respond: oneshot::Sender<Result<Reply, Error>>,
    ) {
        let id = ticket.network();
        if let Err(error) = self.may_join(&ticket) {
            return drop(respond.send(Err(error)));
        }
        let wishes = match self.wishes(&id, host) {
            Ok(wishes) => wishes,
            Err(error) => return drop(respond.send(Err(Error::new(Code::Failed, error)))),
        };
        let (seen, found) = mpsc::channel(MAX_FOUND);
        let mut topic = [0; TOPIC];
        topic.copy_from_slice(&ticket.topic()[..TOPIC]);
        let joining = Joining {
            network: id,
            topic,
            seen,
        };
        let contacts = [ticket.contacts(), &brought.contacts].concat();
        for contact in contacts
            .iter()
            .filter(|contact| contact.kind == ContactKind::Device)
        {
            let addresses = contact.address.into_iter().collect();
            joining.may_ask(PeerId(contact.key), addresses, true);
        }
        self.lan
            .iter()
            .for_each(|(_, seen)| joining.seen(&seen.says));
        self.look_on_lan();
        self.joining.push(joining);
        let attempt = Attempt {
            user,
            identity: self.identity.clone(),
            endpoint: self.endpoint.clone(),
            servers: self.letterboxes(&contacts),
            ticket,
            wishes,
        };
        let events = self.events.clone();
        tokio::spawn(async move {
            let mut respond = respond;
            let result = tokio::select! {
                result = attempt.run(found, wait) => result,
                // Whoever asked went away, and nobody has admitted this device.
                () = respond.closed() => Err(Failure::Here("given up".to_owned())),
            };
            let outcome = Outcome {
                network: id,
                brought,
                respond,
                result,
            };
            let _ = events.send(super::Event::Joined(Box::new(outcome))).await;
        });
    }

    /// Whether a ticket is worth trying.
    pub(crate) fn may_join(&self, ticket: &Ticket) -> Result<(), Error> {
        let id = ticket.network();
        if let Some(net) = self.nets.get(&id).filter(|net| net.is_member()) {
            let message = format!("this device is in {} already", net.name());
            return Err(Error::new(Code::Conflict, message).hint("mesh status"));
        }
        if self.joining.iter().any(|joining| joining.network == id) {
            let message = "this device is joining that network already";
            return Err(Error::new(Code::Conflict, message));
        }
        if ticket.expires() <= now_ms() {
            let error = Error::new(Code::Conflict, "the ticket has expired");
            return Err(error.hint("ask for a new one: mesh invite"));
        }
        Ok(())
    }

    pub(crate) fn wishes(&self, id: &NetworkId, host: Label) -> Result<Wishes, String> {
        let folder = net::folder(&self.dirs, id);
        let text = |error: &dyn std::error::Error| error.to_string();
        mesh_os::dirs::create_private(&self.dirs.state.join("networks"))
            .map_err(|error| text(&error))?;
        mesh_os::dirs::create_private(&folder).map_err(|error| text(&error))?;
        // Made before anybody is asked: if this is interrupted after the admission, the key is still the admitted one.
        let wireguard = seed(&folder.join("wireguard.key")).map_err(|error| text(&error))?;
        Ok(Wishes {
            salt: random::bytes().map_err(|error| text(&error))?,
            host,
            address: None,
            wireguard: WgKey(PublicKey::from(&StaticSecret::from(*wireguard)).to_bytes()),
        })
    }

    /// An attempt has ended.
    pub(crate) async fn joined(&mut self, outcome: Outcome) {
        let Outcome {
            network,
            brought,
            respond,
            result,
        } = outcome;
        self.joining.retain(|joining| joining.network != network);
        let reply = match result {
            Ok(admitted) => self.install(network, admitted, brought).await,
            Err(failure) => Err(failure.into_error()),
        };
        if reply.is_err() && !self.nets.contains_key(&network) {
            let folder = net::folder(&self.dirs, &network);
            // Nothing but a key that nobody knows is in it, unless it was named in a request that is being carried.
            if !folder.join("ledger.db").exists() && !folder.join(TICKET).exists() {
                let _ = std::fs::remove_dir_all(folder);
            }
        }
        let _ = respond.send(reply);
    }

    /// Takes over what a member sent, after checking all of it, and brings the network up.
    pub(crate) async fn install(
        &mut self,
        id: NetworkId,
        admitted: Admitted,
        brought: Brought,
    ) -> Result<Reply, Error> {
        let Admitted {
            wire,
            answer,
            events,
        } = admitted;
        let sent = events.iter().chain(&brought.events);
        let sent: BTreeSet<EventId> = sent.map(|bytes| id_of(bytes)).collect();
        if let Some(absent) = brought.heads.iter().find(|head| !sent.contains(head)) {
            let message = format!(
                "the member kept event {} back, which the invite names",
                absent.short()
            );
            return Err(
                Error::new(Code::Verification, message).hint("join again, through another member")
            );
        }
        if self.nets.contains_key(&id) {
            self.rejoin(id, &answer, &events)?;
        } else {
            let net = tokio::task::block_in_place(|| self.new_net(id, &answer, events))?;
            self.nets.insert(id, net);
        }
        if let Some(net) = self.nets.get_mut(&id) {
            for batch in brought.events.chunks(1024) {
                // The member may not have heard of all that the file holds.
                let received = net.ledger.receive(Source::File, batch, now_ms());
                received.map_err(|error| Error::new(Code::Failed, error.to_string()))?;
            }
            if let Err(error) = remove_durably(&net.folder.join(TICKET)) {
                debug!("the ticket that was kept: {error}");
            }
            net.settings
                .set_up(true)
                .map_err(|error| Error::new(Code::Failed, error.to_string()))?;
        }
        let up = self.bring_up(id).await;
        self.changed(id, None).await;
        if let Some(wire) = wire {
            self.link_up(id, wire, true).await;
        }
        up.map_err(|error| {
            Error::new(
                Code::Failed,
                format!("joined, but the network is not up: {error}"),
            )
            .hint("mesh up")
        })?;
        let Some(net) = self.nets.get(&id) else {
            return Err(Error::new(Code::Failed, "the network went away"));
        };
        let count = net.ledger.graph().len() as u64;
        let admit = net.ledger.event(&answer.admit);
        let sponsor = admit.map_or(net.my_device(), |admit| admit.author());
        let by = net.state().member_of(&sponsor);
        info!(network = %net.name(), events = count, "joined");
        Ok(Reply::Joined(reply::Joined {
            network: self.network_view(net),
            admitted_by: by.map_or_else(|| sponsor.short(), |member| member.name.to_string()),
            admitted_by_short: by.map_or_else(|| sponsor.short(), |member| member.user.short()),
            events: count,
        }))
    }

    fn new_net(&self, id: NetworkId, answer: &Answer, events: Vec<Vec<u8>>) -> Result<Net, Error> {
        let bad = |text: String| {
            Error::new(Code::Verification, text).hint("try again, or ask for a new ticket")
        };
        let epoch = answer.key.open(&id, &self.identity.boxes).ok_or_else(|| {
            bad("the member sent a key that does not open the network".to_owned())
        })?;
        let folder = net::folder(&self.dirs, &id);
        let failed = |text: String| Error::new(Code::Failed, text);
        let store = SqliteStore::open(&folder.join("ledger.db"))
            .map_err(|error| failed(error.to_string()))?;
        let args = JoinArgs {
            network: id,
            events,
            epoch,
            device: self.identity.device.public(),
            box_secret: self.identity.boxes.clone(),
        };
        let ledger = Ledger::join(store, args).map_err(|error| bad(error.to_string()))?;
        Net::new(&folder, ledger, self.me).map_err(|error| failed(error.to_string()))
    }

    /// A network that this device was removed from takes it back: what is here stays.
    fn rejoin(&mut self, id: NetworkId, answer: &Answer, events: &[Vec<u8>]) -> Result<(), Error> {
        let Some(net) = self.nets.get_mut(&id) else {
            return Ok(());
        };
        let failed = |error: &dyn std::error::Error| Error::new(Code::Failed, error.to_string());
        for batch in events.chunks(1024) {
            net.ledger
                .receive(Source::File, batch, now_ms())
                .map_err(|error| failed(&error))?;
        }
        net.ledger
            .add_key(&answer.key)
            .map_err(|error| failed(&error))?;
        if net.is_member() {
            Ok(())
        } else {
            Err(Error::new(
                Code::Verification,
                "by the ledger that was sent, this device is not admitted",
            ))
        }
    }
}

impl Failure {
    pub(crate) fn into_error(self) -> Error {
        match self {
            Self::Nobody(why) => Error::new(
                Code::Unreachable,
                format!("no member of the network was reached: {why}"),
            )
            .hint("check that a member is online and can be reached from here, then join again"),
            Self::Refused(error) => {
                let code = match error {
                    RedeemError::Barred | RedeemError::NotInvited | RedeemError::NeedsAdmin => {
                        Code::NotPermitted
                    }
                    RedeemError::Signature(_) | RedeemError::OtherDevice => Code::Verification,
                    _ => Code::Conflict,
                };
                Error::new(code, error.to_string()).hint("ask an admin of the network: mesh invite")
            }
            Self::Here(why) => Error::new(Code::Failed, why),
        }
    }
}

impl Attempt {
    /// Asks members as they are found, until one admits, one refuses for good, or the time is over.
    async fn run(
        self,
        mut found: mpsc::Receiver<Found>,
        wait: Duration,
    ) -> Result<Admitted, Failure> {
        let attempt = Arc::new(self);
        let me = PeerId(attempt.identity.device.public().0);
        let deadline = tokio::time::Instant::now() + wait;
        let mut known = Lan::default();
        let mut asking: JoinSet<(PeerId, Result<Admitted, Failure>)> = JoinSet::new();
        let mut last =
            "none is known to be online; the ticket's contacts did not answer".to_owned();
        let mut letters: JoinSet<(usize, Result<Admitted, Failure>)> = JoinSet::new();
        for at in 0..attempt.servers.len() {
            attempt.clone().write_to(&mut letters, at, HEAD_START);
        }
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(deadline) => return Err(Failure::Nobody(last)),
                Some(Found { peer, addresses, named }) = found.recv() => {
                    let new = known.get(&peer).is_none();
                    if peer == me || (new && asking.len() >= MAX_ASKED) {
                        continue;
                    }
                    let named = named || known.is_member(&peer);
                    known.sighted(peer, &addresses, (), named, steady());
                    if new {
                        // One after the other, so that as a rule only one admits.
                        let start = HEAD_START * u32::try_from(asking.len()).unwrap_or(u32::MAX).min(10);
                        attempt.clone().ask(&mut asking, peer, &known, start);
                    }
                }
                Some(Ok((at, result))) = letters.join_next() => match result {
                    Ok(admitted) => return Ok(admitted),
                    Err(Failure::Nobody(why)) => {
                        debug!("by letter: {why}");
                        last = why;
                        attempt.clone().write_to(&mut letters, at, REWRITE);
                    }
                    Err(failure) => return Err(failure),
                },
                Some(Ok((peer, result))) = asking.join_next() => match result {
                    Ok(admitted) => return Ok(admitted),
                    Err(Failure::Nobody(why)) => {
                        debug!(?peer, "{why}");
                        last = why;
                        attempt.clone().ask(&mut asking, peer, &known, AGAIN);
                    }
                    Err(Failure::Refused(error)) if passing(&error) => {
                        last = error.to_string();
                        attempt.clone().ask(&mut asking, peer, &known, AGAIN);
                    }
                    Err(failure) => return Err(failure),
                },
            }
        }
    }

    fn ask(
        self: Arc<Self>,
        asking: &mut JoinSet<(PeerId, Result<Admitted, Failure>)>,
        peer: PeerId,
        known: &Lan<()>,
        pause: Duration,
    ) {
        // It had to make room for others.
        let Some(addresses) = known.get(&peer).map(Sighted::addresses) else {
            return;
        };
        asking.spawn(async move {
            tokio::time::sleep(pause).await;
            let result = match tokio::time::timeout(ATTEMPT, self.redeem(&peer, &addresses)).await {
                Ok(Ok((wire, answer))) => self.take_ledger(wire, answer).await,
                Ok(Err(failure)) => Err(failure),
                Err(_) => Err(Failure::Nobody(
                    "a member did not answer in time".to_owned(),
                )),
            };
            (peer, result)
        });
    }

    async fn redeem(
        &self,
        peer: &PeerId,
        addresses: &[SocketAddr],
    ) -> Result<(Wire, Answer), Failure> {
        let nobody = |why: String| Failure::Nobody(why);
        let relation = Relation::invite(&self.ticket.contact());
        let names = [When::at(now_ms()), When::Any].map(|when| relation.name(&peer.0, when));
        let connection = self
            .endpoint
            .connect(peer, addresses, &BTreeSet::new(), &names)
            .await
            .map_err(nobody)?;
        let nonce = random::bytes().map_err(|error| Failure::Here(error.to_string()))?;
        let challenge = Challenge::new(&self.ticket, nonce);
        let hello = Hello {
            network: self.ticket.network(),
            role: Role::Joiner(challenge.encode()),
        };
        let (mut wire, reply) = match Wire::greet(connection, hello).await {
            Ok(Greeting::Welcome(wire, reply)) => (wire, reply),
            Ok(Greeting::Unknown(_) | Greeting::Removed(_)) => {
                return Err(nobody(Refusal::Unknown.to_string()));
            }
            Err(error) => return Err(nobody(error.to_string())),
        };
        let introduction = match Redeemed::decode(&reply) {
            Some(Redeemed::Introduced(introduction)) => introduction,
            Some(Redeemed::Refused(error)) => return Err(Failure::Refused(error)),
            _ => return Err(nobody("a device answered that is no member".to_owned())),
        };
        let me = self.identity.device.public();
        if !introduction.proves(&self.ticket, &challenge, &device_id(peer), &me) {
            // Somebody in between, or somebody else's device: another may be a member.
            return Err(nobody(
                "a device answered that does not know the invite".to_owned(),
            ));
        }
        let request = Request::new(
            &self.ticket,
            introduction.invite,
            &self.user,
            &self.identity.device,
            self.identity.boxes.public(),
            self.wishes.clone(),
        );
        let said = wire.write(&Frame::Redeem(request.encode())).await;
        said.map_err(|error| nobody(error.to_string()))?;
        match wire.read().await {
            Ok(Frame::Redeemed(reply)) => match Redeemed::decode(&reply) {
                Some(Redeemed::Admitted(answer)) => Ok((wire, answer)),
                Some(Redeemed::Refused(error)) => Err(Failure::Refused(error)),
                _ => Err(nobody("a member answered what it must not".to_owned())),
            },
            Ok(_) => Err(nobody("a member answered what it must not".to_owned())),
            Err(error) => Err(nobody(error.to_string())),
        }
    }

    async fn take_ledger(&self, mut wire: Wire, answer: Answer) -> Result<Admitted, Failure> {
        let mut events: Vec<Vec<u8>> = Vec::new();
        let mut bytes = 0;
        while (events.len() as u64) < answer.events {
            match tokio::time::timeout(SILENCE, wire.read()).await {
                Ok(Ok(Frame::Events(more))) if !more.is_empty() => {
                    bytes += more.iter().map(Vec::len).sum::<usize>();
                    if bytes > MAX_LEDGER {
                        return Err(Failure::Here(
                            "the ledger is larger than this release takes".to_owned(),
                        ));
                    }
                    events.extend(more);
                }
                Ok(Ok(_)) => {
                    return Err(Failure::Nobody("a member sent what it must not".to_owned()));
                }
                Ok(Err(error)) => return Err(Failure::Nobody(error.to_string())),
                Err(_) => {
                    return Err(Failure::Nobody(
                        "a member stopped in the middle of the ledger".to_owned(),
                    ));
                }
            }
        }
        Ok(Admitted {
            wire: Some(wire),
            answer,
            events,
        })
    }
}

/// Refusals of one member that another, or the same a moment later, may not repeat.
pub(crate) fn passing(error: &RedeemError) -> bool {
    matches!(
        error,
        RedeemError::UnknownInvite
            | RedeemError::NeedsAdmin
            | RedeemError::NoKey
            | RedeemError::Unrecorded
            | RedeemError::Foreign
    )
}
