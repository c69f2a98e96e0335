//! A code that this device shows. It hands over what it stands for to the device that knows its words: all that makes a
//! further device of this user, or a ticket ([`invitation`]). The other end is [`enter`]; what they say to each other stands
//! in `mesh_core::handover`.

mod attempt;
pub(crate) mod door;
pub(crate) mod enter;
mod invitation;

use std::time::Duration;

use mesh_control::Secret;
use mesh_control::error::{Code as ErrorCode, Error};
use mesh_control::reply::{self, Reply};
use mesh_core::desired::device_id;
use mesh_core::handover::{self, Entered, Handover, MAX_CONTACTS, MAX_NETWORKS, No, Request, Said};
use mesh_core::link::{Frame, event_frames};
use mesh_core::slots::Limits;
use mesh_ledger::code::{Channel, Code, Confirmation, Ends, Exchange, Keeper, Refusal, Way, topic};
use mesh_ledger::ids::DeviceId;
use mesh_ledger::keys::UserSecret;
use mesh_ledger::parking::Source;
use tracing::{debug, info, warn};
use zeroize::Zeroizing;

use super::calls::Respond;
use super::{Event, Net, Node};
use crate::clock::now_ms;
use crate::discovery::TOPIC;
use crate::identity::UserKey;
use crate::link::{Frames, Wire};
use crate::random;
use crate::visitors::Visitors;
pub(in crate::node) use door::Door;
use invitation::Invitation;
pub(in crate::node) use invitation::MAX_WRONG;

/// Mailboxes are picked up to this: the shorter a code, the better it is said.
const MAILBOXES: u16 = 99;
/// So many exchanges may be under way. Whoever knocks and says nothing makes room for the next.
const EXCHANGES: Limits = Limits { all: 8, each: 2 };
/// How long a joiner may take to confirm.
const CONFIRM: Duration = Duration::from_secs(10);
/// How long it may take to take everything and to say so.
const ENTER: Duration = Duration::from_secs(300);
/// How long a last word may take.
const LAST_WORD: Duration = Duration::from_secs(5);

/// A code that is shown.
pub(crate) struct Sharing {
    keeper: Keeper,
    what: What,
    waiting: Vec<Respond>,
    exchanges: Visitors,
}

/// What a code stands for.
enum What {
    /// All that makes a further device of this user.
    Device {
        /// The user key, for the certificate; kept as long as the code.
        user: UserSecret,
        /// What the further device gets of it.
        key: handover::UserKey,
    },
    /// A ticket.
    Invitation(Invitation),
}

/// What a joiner asks for.
enum Asked {
    /// To be a further device: the sealed request.
    Entry(Vec<u8>),
    /// A ticket.
    Ticket,
}

/// A joiner has sent its confirmation, which is to be judged.
pub(crate) struct Claimed {
    wire: Wire,
    exchange: Exchange,
    confirmation: Confirmation,
    asked: Asked,
}

/// A joiner says that it has entered.
pub(crate) struct Arrived {
    wire: Wire,
    channel: Channel,
    entered: Vec<u8>,
}

impl Sharing {
    /// What is announced on the LAN while the code can be used.
    pub(crate) fn topic(&self, now: u64) -> Option<[u8; TOPIC]> {
        let live = now < self.keeper.expires() && !self.keeper.is_burnt();
        let topic = topic(self.keeper.code().mailbox());
        topic.first_chunk::<TOPIC>().copied().filter(|_| live)
    }

    /// The code's number until its time is over. Callers with a burnt one are told that it is.
    pub(crate) fn mailbox(&self, now: u64) -> Option<u16> {
        (now < self.keeper.expires()).then(|| self.keeper.code().mailbox())
    }

    fn end(&mut self, error: &Error) {
        for respond in self.waiting.drain(..) {
            let _ = respond.send(Err(error.clone()));
        }
    }
}

impl Node {
    /// Shows a new code. One that was shown before ends.
    pub(crate) async fn show_code(
        &mut self,
        keep_key: bool,
        lasts: Duration,
    ) -> Result<Reply, Error> {
        let user = self.user_secret()?;
        let key = match &self.identity.user {
            _ if keep_key => handover::UserKey::Stays,
            UserKey::Locked(locked) => handover::UserKey::Locked(locked.encode()),
            _ => handover::UserKey::Open(*user.seed()),
        };
        let networks = self.handed_nets(&[]).map(Net::name).collect();
        let what = What::Device { user, key };
        let expires = now_ms() + u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX);
        let (code, addresses) = self.put_up(what, expires).await?;
        Ok(Reply::DeviceCode(reply::DeviceCode {
            code,
            expires_ms: expires,
            addresses,
            networks,
            key: !keep_key,
        }))
    }

    /// Shows a new code. Returns it, and where this device can be reached from other LANs.
    async fn put_up(&mut self, what: What, expires: u64) -> Result<(Secret, Vec<String>), Error> {
        let seed = random::seed();
        let seed = seed.map_err(|error| Error::new(ErrorCode::Failed, error.to_string()))?;
        let [a, b, c, d, e, f, ..] = *seed;
        let start = u16::from_be_bytes([a, b]) % MAILBOXES;
        let mut mailboxes = (0..MAILBOXES).map(|n| 1 + (start + n) % MAILBOXES);
        // Another device on this LAN may show a code of the same number.
        let mailbox = mailboxes.find(|mailbox| {
            let topic = topic(*mailbox);
            let mut seen = self.lan.iter().flat_map(|(_, seen)| &seen.says.topics);
            // Nor shall one that is typed late burn the next.
            *mailbox != self.last_mailbox && !seen.any(|seen| topic.starts_with(seen))
        });
        let mailbox = mailbox.unwrap_or(1 + start);
        self.last_mailbox = mailbox;
        let code = Code::new(mailbox, [c, d, e, f]);
        self.end_code("another code was shown instead");
        let text = Secret::new(code.text().as_str());
        let port = self.endpoint.ports().first().copied();
        // That of a code before stays open: its port would not be free at once.
        if let (None, Some(port)) = (&self.door, port) {
            self.door = Door::open(port, device_id(&self.me)).await;
        }
        let addresses = match &self.door {
            Some(_) => self.endpoint.addresses(),
            None => Vec::new(),
        };
        self.sharing = Some(Sharing {
            keeper: Keeper::new(code, expires),
            what,
            waiting: Vec::new(),
            exchanges: Visitors::new(EXCHANGES),
        });
        self.announce_code();
        Ok((text, addresses.iter().map(ToString::to_string).collect()))
    }

    /// Tells others of the code that is shown, or that there is none any more.
    fn announce_code(&mut self) {
        self.announce_on_lan();
        self.expect_callers();
    }

    /// Answers when the code has served or has come to nothing.
    pub(crate) fn wait_for_code(&mut self, respond: Respond) {
        let device = |sharing: &&mut Sharing| matches!(sharing.what, What::Device { .. });
        match self.sharing.as_mut().filter(device) {
            Some(sharing) if sharing.keeper.is_burnt() => drop(respond.send(Err(burnt()))),
            Some(sharing) => sharing.waiting.push(respond),
            None => {
                let error = Error::new(ErrorCode::NotFound, "no code is shown");
                let _ = respond.send(Err(error.hint("mesh device link")));
            }
        }
    }

    /// Ends the code that is shown, if one is.
    pub(crate) fn end_code(&mut self, why: &str) {
        if let Some(mut sharing) = self.sharing.take() {
            let error = Error::new(ErrorCode::Conflict, why);
            sharing.end(&match sharing.what {
                What::Device { .. } => error.hint("mesh device link"),
                What::Invitation(_) => error.hint("mesh invite --code"),
            });
            self.announce_code();
        }
    }

    /// Ends it if its time is over. Without a code the door is closed.
    pub(crate) fn end_old_code(&mut self) {
        if self.sharing.is_none() {
            self.door = None;
        }
        let now = now_ms();
        let old = self.sharing.as_ref();
        let Some(old) = old.filter(|sharing| now >= sharing.keeper.expires()) else {
            return;
        };
        // It may have been cut off after it had entered, and before it said so.
        let in_any = |device: &DeviceId| {
            let mut nets = self.nets.values();
            nets.any(|net| net.state().devices.contains_key(device))
        };
        match old.keeper.serves().filter(in_any) {
            _ if matches!(old.what, What::Invitation(_)) => self.end_old_invitation(),
            Some(device) => self.code_served(&device),
            None => self.end_code("the code has expired"),
        }
    }

    /// Somebody who was told a code has connected.
    pub(crate) fn code_started(&mut self, wire: Wire, start: &[u8]) {
        let ends = Ends {
            joiner: device_id(&wire.peer()),
            inviter: device_id(&self.me),
        };
        let begun = (|| {
            let Some(Said::Start { mailbox, message }) = Said::decode(start) else {
                return Err(No::Malformed);
            };
            let sharing = self.sharing.as_ref().ok_or(No::Code)?;
            if sharing.keeper.code().mailbox() != mailbox {
                return Err(No::Code);
            }
            let seed = random::seed().map_err(|_| No::Failed)?;
            let begun = sharing.keeper.answer(&message, ends, &seed, now_ms());
            let (exchange, answer) = begun.map_err(refused)?;
            Ok((exchange, answer, sharing.exchanges.clone()))
        })();
        let (exchange, answer, exchanges) = match begun {
            Ok(begun) => begun,
            Err(no) => {
                debug!(peer = ?wire.peer(), "a code: {no}");
                let from = wire.origin();
                let said = Frame::Welcome(Said::Refused(no).encode().to_vec());
                self.partings.receive(from, last_word(wire, said));
                return;
            }
        };
        let events = self.events.clone();
        exchanges.receive(wire.origin(), async move {
            let mut wire = wire;
            let answer = Said::Answer(answer).encode().to_vec();
            let said = async {
                wire.write(&Frame::Welcome(answer)).await.ok()?;
                wire.read_short().await.ok()
            };
            let said = tokio::time::timeout(CONFIRM, said).await;
            let Ok(Some(Frame::Code(said))) = said else {
                debug!(peer = ?wire.peer(), "an exchange of a code broke off");
                return;
            };
            let (confirmation, asked) = match Said::decode(&said) {
                Some(Said::Confirm(confirmation, request)) => (confirmation, Asked::Entry(request)),
                Some(Said::AskTicket(confirmation)) => (confirmation, Asked::Ticket),
                _ => return last_word(wire, refusal(No::Malformed)).await,
            };
            let claimed = Claimed {
                wire,
                exchange,
                confirmation,
                asked,
            };
            let _ = events.send(Event::CodeClaimed(Box::new(claimed))).await;
        });
    }

    /// A joiner says that it knows the words.
    pub(crate) fn code_claimed(&mut self, claimed: Claimed) {
        let Claimed {
            wire,
            exchange,
            confirmation,
            asked,
        } = claimed;
        let judged = match &mut self.sharing {
            Some(sharing) => sharing
                .keeper
                .confirm(exchange, &confirmation, now_ms())
                .map_err(refused),
            None => Err(No::Code),
        };
        let (channel, confirmation) = match judged {
            Ok(judged) => judged,
            Err(no) => {
                if no == No::Wrong {
                    info!(peer = ?wire.peer(), "a code was burnt by wrong words");
                    self.code_burnt();
                }
                tokio::spawn(last_word(wire, refusal(no)));
                return;
            }
        };
        let what = self.sharing.as_ref().map(|sharing| &sharing.what);
        match (asked, what) {
            (Asked::Entry(request), Some(What::Device { .. })) => {
                self.hand_over(wire, channel, confirmation, &request);
            }
            (Asked::Ticket, Some(What::Invitation(invitation))) => {
                info!(peer = ?wire.peer(), "hands a ticket over to who knows the code");
                let frame = invitation.frame(&channel, confirmation);
                tokio::spawn(last_word(wire, frame));
            }
            (Asked::Ticket, _) => drop(tokio::spawn(last_word(wire, refusal(No::LinksDevice)))),
            (Asked::Entry(_), _) => drop(tokio::spawn(last_word(wire, refusal(No::Invites)))),
        }
    }

    /// Somebody confirmed other words.
    fn code_burnt(&mut self) {
        match &mut self.sharing {
            Some(sharing) if matches!(sharing.what, What::Device { .. }) => sharing.end(&burnt()),
            Some(_) => self.invitation_burnt(),
            None => {}
        }
        self.announce_code();
    }

    /// Hands over what makes the other a further device.
    fn hand_over(&self, wire: Wire, channel: Channel, confirmation: Confirmation, request: &[u8]) {
        let joiner = device_id(&wire.peer());
        let request = channel.open(Way::Joiner, 0, request);
        let Some(request) = request.and_then(|request| Request::decode(&request)) else {
            tokio::spawn(last_word(wire, refusal(No::Malformed)));
            return;
        };
        let Some((handover, ledgers)) = self.handover(&joiner, &request) else {
            tokio::spawn(last_word(wire, refusal(No::Failed)));
            return;
        };
        let sealed = channel.seal(Way::Inviter, 0, &handover.encode());
        let said = Said::Confirmed(confirmation, sealed.unwrap_or_default()).encode();
        let (mut wire, events) = (wire, self.events.clone());
        tokio::spawn(async move {
            let exchanged = async {
                wire.write(&Frame::Code(said.to_vec())).await?;
                wire.write_all(ledgers).await?;
                wire.read().await
            };
            match tokio::time::timeout(ENTER, exchanged).await {
                Ok(Ok(Frame::Code(said))) => {
                    if let Some(Said::Entered(entered)) = Said::decode(&said) {
                        let arrived = Arrived {
                            wire,
                            channel,
                            entered,
                        };
                        let _ = events.send(Event::CodeArrived(Box::new(arrived))).await;
                    }
                }
                Ok(Err(error)) => info!("handing over to a further device broke off: {error}"),
                _ => info!("handing over to a further device took too long"),
            }
        });
    }

    /// A further device has entered this user's networks.
    pub(crate) async fn code_arrived(&mut self, arrived: Arrived) {
        let Arrived {
            wire,
            channel,
            entered,
        } = arrived;
        let device = device_id(&wire.peer());
        let served = self
            .sharing
            .as_ref()
            .and_then(|sharing| sharing.keeper.serves());
        let entered = channel.open(Way::Joiner, 1, &entered);
        let entered = entered.and_then(|entered| Entered::decode(&entered));
        let (true, Some(entered)) = (served == Some(device), entered) else {
            tokio::spawn(last_word(wire, refusal(No::Malformed)));
            return;
        };
        for (id, add) in &entered.adds {
            let Some(net) = self.nets.get_mut(id) else {
                continue;
            };
            // As any event from outside: the gate and the fold judge it.
            let received = net
                .ledger
                .receive(Source::File, std::slice::from_ref(add), now_ms());
            match received {
                Ok(receipt) if !receipt.added.is_empty() => self.changed(*id, None).await,
                Ok(_) => {}
                Err(error) => warn!(network = %id, "events could not be stored: {error}"),
            }
        }
        let taken = Frame::Code(Said::Taken.encode().to_vec());
        tokio::spawn(last_word(wire, taken));
        self.code_served(&device);
    }

    fn code_served(&mut self, device: &DeviceId) {
        let names: Vec<String> = self
            .nets
            .values()
            .filter_map(|net| {
                let device = net.state().devices.get(device)?;
                Some(format!("{}.{}", device.host, net.name()))
            })
            .collect();
        info!(device = %device.short(), ?names, "linked a further device of this user");
        if let Some(sharing) = self.sharing.take() {
            let key = !matches!(
                sharing.what,
                What::Device {
                    key: handover::UserKey::Stays,
                    ..
                }
            );
            for respond in sharing.waiting {
                let linked = reply::DeviceLinked {
                    device: device.to_string(),
                    short: device.short(),
                    names: names.clone(),
                    key,
                };
                let _ = respond.send(Ok(Reply::DeviceLinked(linked)));
            }
        }
        self.announce_code();
    }

    /// What `joiner` gets, and the ledgers of the networks in it.
    fn handover(&self, joiner: &DeviceId, request: &Request) -> Option<(Handover, Frames)> {
        let What::Device { user, key } = &self.sharing.as_ref()?.what else {
            return None;
        };
        let mut networks = Vec::new();
        let mut frames: Frames = Box::new(std::iter::empty());
        for net in self.handed_nets(&request.has) {
            let seed = random::seed().ok()?;
            let Some(epoch) = net.ledger.hand_key(&request.box_key, &seed) else {
                continue;
            };
            frames = Box::new(frames.chain(event_frames(net.ledger.read_all())));
            networks.push(handover::Network {
                network: net.id,
                key: epoch,
                events: net.ledger.graph().len() as u64,
                contacts: self.places(net),
            });
        }
        let handover = Handover {
            user: user.public(),
            certificate: user.certify(joiner),
            key: key.clone(),
            networks,
        };
        Some((handover, frames))
    }

    fn handed_nets(&self, has: &[mesh_ledger::ids::NetworkId]) -> impl Iterator<Item = &Net> {
        let has = has.to_vec();
        self.nets
            .values()
            .filter(move |net| net.is_member() && !has.contains(&net.id))
            .take(MAX_NETWORKS)
    }

    fn places(&self, net: &Net) -> Vec<handover::Contact> {
        let mut own = self.endpoint.addresses();
        own.truncate(handover::MAX_ADDRESSES);
        let me = handover::Contact {
            device: net.my_device(),
            addresses: own,
        };
        let others = net.state().devices.keys().filter(|id| **id != me.device);
        let others = others.filter_map(|device| {
            let mut addresses = net.addresses(&mesh_core::desired::peer_id(device));
            addresses.truncate(handover::MAX_ADDRESSES);
            (!addresses.is_empty()).then_some(handover::Contact {
                device: *device,
                addresses,
            })
        });
        let others: Vec<_> = others.take(MAX_CONTACTS - 1).collect();
        std::iter::once(me).chain(others).collect()
    }

    /// The user key, for something that takes it.
    ///
    /// # Errors
    /// It is under a passphrase that was not given, or on another machine.
    pub(crate) fn user_secret(&self) -> Result<UserSecret, Error> {
        match &self.identity.user {
            UserKey::Open(user) => Ok(user.clone()),
            UserKey::Locked(_) => self.unlocked.clone().ok_or_else(|| {
                Error::passphrase("this takes the user key, which is under a passphrase")
                    .hint("the same command at a terminal, or with --passphrase -")
            }),
            UserKey::Elsewhere(_) => Err(Error::new(
                ErrorCode::NotPermitted,
                "this takes the user key, which is not on this machine",
            )
            .hint("the same command on the machine that linked this one")),
        }
    }
}

fn refused(refusal: Refusal) -> No {
    match refusal {
        Refusal::Expired => No::Expired,
        Refusal::Burnt => No::Burnt,
        Refusal::Used => No::Used,
        Refusal::Wrong => No::Wrong,
        Refusal::Bad(_) => No::Malformed,
    }
}

fn burnt() -> Error {
    Error::new(
        ErrorCode::Conflict,
        "somebody typed other words, which burnt the code",
    )
    .hint("mesh device link")
}

fn refusal(no: No) -> Frame {
    Frame::Code(Said::Refused(no).encode().to_vec())
}

/// Says it, and closes once it has arrived or a moment has passed.
pub(in crate::node) async fn last_word(mut wire: Wire, frame: Frame) {
    let told = async {
        wire.write(&frame).await.ok()?;
        let _ = wire.send.finish();
        wire.send.stopped().await.ok()
    };
    let _ = tokio::time::timeout(LAST_WORD, told).await;
    wire.connection
        .close(iroh::endpoint::VarInt::from_u32(0), b"done");
}

/// What a code says, out of what was typed: the code, and where it is shown if that was said.
pub(crate) fn typed(code: &str) -> (Zeroizing<String>, Option<String>) {
    match code.split_once('@') {
        Some((code, at)) => (Zeroizing::new(code.to_owned()), Some(at.to_owned())),
        None => (Zeroizing::new(code.to_owned()), None),
    }
}
