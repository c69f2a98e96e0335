//! What a code that was typed here brings: an [`attempt`] looks for the device that shows it and takes what it is given; the
//! node checks all of that, and enters the networks of a user whose further device this is, or joins by a ticket.

use std::net::SocketAddr;
use std::time::Duration;

use mesh_control::error::{Code as ErrorCode, Error};
use mesh_control::reply::{self, Reply};
use mesh_core::desired::device_id;
use mesh_core::handover::{self, Entered, Handover, Said};
use mesh_core::keyfile::Locked;
use mesh_core::link::Frame;
use mesh_core::peer::PeerId;
use mesh_ledger::code::{Code, Way, topic};
use mesh_ledger::ids::{DeviceId, NetworkId, UserId};
use mesh_ledger::keys::{UserSecret, certified};
use mesh_ledger::network::{Entrant, JoinArgs, Ledger};
use mesh_ledger::store::sqlite::SqliteStore;
use mesh_ledger::text::Label;
use mesh_ledger::ticket::{Contact, ContactKind, Ticket};
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::attempt::{self, Attempt, Entry, Given, Wants};
use crate::clock::now_ms;
use crate::discovery::{Seen, TOPIC};
use crate::identity::UserKey;
use crate::node::calls::Respond;
use crate::node::join::{Brought, MAX_FOUND};
use crate::node::{Event, Net, Node, net};

/// How long the device that showed the code is given to take the new device's events.
const LAST_WORD: Duration = Duration::from_secs(10);

/// An attempt under way, as the node keeps it.
pub(crate) struct Entering {
    topic: [u8; TOPIC],
    seen: mpsc::Sender<(PeerId, Vec<SocketAddr>)>,
}

impl Entering {
    /// A device was seen on the LAN: perhaps the one that shows the code.
    pub(crate) fn seen(&self, seen: &Seen) {
        if seen.topics.contains(&self.topic) {
            // The attempt may just have ended; and what finds no room is seen again.
            let _ = self.seen.try_send((seen.peer, seen.addresses.clone()));
        }
    }
}

/// What an attempt came to.
pub(crate) struct Outcome {
    purpose: Purpose,
    result: Result<Given, Error>,
    respond: Respond,
}

/// What an attempt is made for.
pub(in crate::node) enum Purpose {
    /// To become a further device, called so.
    Enter(Label),
    /// To join with the ticket that the code brings.
    Join(Box<Joins>),
}

/// How to join.
pub(in crate::node) struct Joins {
    /// The user key: the attempt may outlast the passphrase.
    pub(in crate::node) user: UserSecret,
    /// What this device is called.
    pub(in crate::node) host: Label,
    /// How long to try to reach a member then.
    pub(in crate::node) wait: Duration,
}

impl Node {
    /// Starts to look for the device that shows a code. The reply comes when it has ended.
    pub(in crate::node) fn enter(
        &mut self,
        code: Code,
        at: Option<String>,
        purpose: Purpose,
        wait: Duration,
        respond: Respond,
    ) {
        if self.entering.is_some() {
            let error = "a code is being tried on this machine already";
            let _ = respond.send(Err(Error::new(ErrorCode::Conflict, error)));
            return;
        }
        let (seen, found) = mpsc::channel(MAX_FOUND);
        let mut wanted = [0; TOPIC];
        wanted.copy_from_slice(&topic(code.mailbox())[..TOPIC]);
        let entering = Entering {
            topic: wanted,
            seen,
        };
        if at.is_none() {
            self.lan
                .iter()
                .for_each(|(_, seen)| entering.seen(&seen.says));
            self.look_on_lan();
        }
        self.entering = Some(entering);
        let members = self.nets.values().filter(|net| net.is_member());
        let attempt = Attempt {
            code,
            at,
            identity: self.identity.clone(),
            endpoint: self.endpoint.clone(),
            wants: match &purpose {
                Purpose::Enter(_) => Wants::Entry {
                    has: members
                        .map(|net| net.id)
                        .take(handover::MAX_NETWORKS)
                        .collect(),
                },
                Purpose::Join(_) => Wants::Ticket,
            },
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
                purpose,
                result,
                respond,
            };
            let _ = events.send(Event::Entered(Box::new(outcome))).await;
        });
    }

    /// An attempt has ended.
    pub(crate) async fn entered(&mut self, outcome: Outcome) {
        let Outcome {
            purpose,
            result,
            respond,
        } = outcome;
        self.entering = None;
        match (result, purpose) {
            (Ok(Given::Entry(entry)), Purpose::Enter(host)) => {
                self.entry(*entry, host, respond).await;
            }
            (Ok(Given::Ticket(ticket)), Purpose::Join(joins)) => {
                self.join_by(&ticket, *joins, respond);
            }
            (Ok(_), _) => {
                let error = "the other device gave what was not asked for";
                let _ = respond.send(Err(Error::new(ErrorCode::Verification, error)));
            }
            (Err(error), _) => drop(respond.send(Err(error))),
        }
    }

    /// Joins by a ticket that a code brought, through whoever gave it or anybody else.
    fn join_by(&mut self, given: &attempt::Ticket, joins: Joins, respond: Respond) {
        let text = std::str::from_utf8(&given.text).unwrap_or_default();
        let Ok(ticket) = text.parse::<Ticket>() else {
            let error = "the other device handed over no ticket that this release reads";
            return drop(respond.send(Err(Error::new(ErrorCode::Verification, error))));
        };
        let contact = |address: &SocketAddr| Contact {
            kind: ContactKind::Device,
            key: given.by.0,
            address: Some(*address),
        };
        let brought = Brought {
            contacts: given.places.iter().map(contact).collect(),
            ..Brought::default()
        };
        let Joins { user, host, wait } = joins;
        self.join_as(user, ticket, host, wait, brought, respond);
    }

    async fn entry(&mut self, entry: Entry, host: Label, respond: Respond) {
        let Entry {
            mut wire,
            channel,
            handover,
            ledgers,
        } = entry;
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
