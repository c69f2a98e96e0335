//! Looking for the device that shows a code, proving to it that one knows the words, and taking what it hands over.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mesh_control::error::{Code as ErrorCode, Error};
use mesh_core::desired::device_id;
use mesh_core::handover::{Handover, No, Request, Said};
use mesh_core::lan::{Lan, Sighted};
use mesh_core::link::{Frame, Hello, Role};
use mesh_core::peer::PeerId;
use mesh_ledger::alpn::{Relation, When};
use mesh_ledger::code::{Channel, Code, Confirmation, Confirmed, Ends, Joiner, Way};
use mesh_ledger::ids::NetworkId;
use tokio::sync::mpsc;
use tracing::{debug, warn};
use zeroize::Zeroizing;

use super::door::knock;
use crate::clock::{now_ms, steady};
use crate::endpoint::Endpoint;
use crate::identity::Identity;
use crate::link::{Greeting, LinkError, Wire};
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

/// An attempt: one code, until somebody hands over what is wanted or the time is over.
pub(super) struct Attempt {
    pub(super) code: Code,
    /// Where it is shown; none, on the LAN.
    pub(super) at: Option<String>,
    pub(super) identity: Arc<Identity>,
    pub(super) endpoint: Endpoint,
    pub(super) wants: Wants,
}

/// What the code is to bring.
pub(super) enum Wants {
    /// What makes this machine a further device of the user, but for the networks that it is in.
    Entry {
        /// Those.
        has: Vec<NetworkId>,
    },
    /// A ticket.
    Ticket,
}

/// What the device that showed the code gave.
pub(super) enum Given {
    /// See [`Wants::Entry`].
    Entry(Box<Entry>),
    /// See [`Wants::Ticket`].
    Ticket(Ticket),
}

/// What makes this machine a further device.
pub(super) struct Entry {
    pub(super) wire: Wire,
    pub(super) channel: Channel,
    pub(super) handover: Handover,
    /// The events of each of its networks.
    pub(super) ledgers: Vec<Vec<Vec<u8>>>,
}

/// A ticket, and the member that gave it.
pub(super) struct Ticket {
    pub(super) text: Zeroizing<Vec<u8>>,
    pub(super) by: PeerId,
    /// Where that was reached.
    pub(super) places: Vec<SocketAddr>,
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

impl Wants {
    /// What shows a code for it.
    const fn verb(&self) -> &'static str {
        match self {
            Self::Entry { .. } => "mesh device link",
            Self::Ticket => "mesh invite --code",
        }
    }

    /// What is typed where the code is not shown on this LAN.
    const fn elsewhere(&self) -> &'static str {
        match self {
            Self::Entry { .. } => "mesh device link CODE@HOST:PORT",
            Self::Ticket => "mesh join CODE@HOST:PORT",
        }
    }
}

impl Attempt {
    pub(super) async fn run(
        self,
        mut found: mpsc::Receiver<(PeerId, Vec<SocketAddr>)>,
        wait: Duration,
    ) -> Result<Given, Error> {
        let deadline = tokio::time::Instant::now() + wait;
        let mut last = match &self.at {
            Some(at) => format!("nobody answers at {at}"),
            None => "none on this LAN shows a code of that number".to_owned(),
        };
        let mut known = Lan::default();
        let mut queue: VecDeque<PeerId> = VecDeque::new();
        let mut guesses = 0;
        loop {
            let tried = tokio::time::timeout_at(deadline, async {
                match self.next(&mut found, &mut known, &mut queue).await {
                    Ok(peer) => {
                        let places = known.get(&peer).map(Sighted::addresses).unwrap_or_default();
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
                        return Err(self.unreached(&last));
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
                        return Err(Error::new(ErrorCode::Verification, last).hint(self.new_code()));
                    }
                }
                Ok((_, Err(Failure::No(no)))) => {
                    let error = Error::new(ErrorCode::Conflict, no.to_string());
                    return Err(match no {
                        No::LinksDevice => error.hint("sudo mesh device link CODE --as HOST"),
                        No::Invites => error.hint("sudo mesh join CODE --as HOST"),
                        _ => error.hint(self.new_code()),
                    });
                }
                Ok((_, Err(Failure::Here(why)))) => return Err(Error::new(ErrorCode::Failed, why)),
                Err(_) => return Err(self.unreached(&last)),
            }
            tokio::time::sleep(AGAIN).await;
            if tokio::time::Instant::now() >= deadline {
                return Err(self.unreached(&last));
            }
        }
    }

    /// The next device that may show the code.
    async fn next(
        &self,
        found: &mut mpsc::Receiver<(PeerId, Vec<SocketAddr>)>,
        known: &mut Lan<()>,
        queue: &mut VecDeque<PeerId>,
    ) -> Result<PeerId, String> {
        if let Some(at) = &self.at {
            let (peer, place) = knock(at).await?;
            known.sighted(peer, &[place], (), true, steady());
            return Ok(peer);
        }
        while let Ok((peer, addresses)) = found.try_recv() {
            hear(known, queue, peer, addresses);
        }
        loop {
            if let Some(peer) = queue.pop_front() {
                // Some had to make room for others.
                if known.get(&peer).is_some() {
                    return Ok(peer);
                }
                continue;
            }
            match found.recv().await {
                Some((peer, addresses)) => hear(known, queue, peer, addresses),
                None => std::future::pending().await,
            }
        }
    }

    async fn exchange(&self, peer: &PeerId, places: Vec<SocketAddr>) -> Result<Given, Failure> {
        let slow = |_| Failure::Told("the other device did not answer in time".to_owned());
        match &self.wants {
            Wants::Entry { has } => {
                let proven = tokio::time::timeout(ATTEMPT, self.entry(peer, &places, has)).await;
                let (wire, channel, handover) = proven.map_err(slow)??;
                let entry = ledgers(wire, channel, handover).await;
                entry.map(|entry| Given::Entry(Box::new(entry)))
            }
            Wants::Ticket => {
                let proven = tokio::time::timeout(ATTEMPT, self.ticket(peer, &places)).await;
                let text = proven.map_err(slow)??;
                Ok(Given::Ticket(Ticket {
                    text,
                    by: *peer,
                    places,
                }))
            }
        }
    }

    /// Begins an exchange with a device. Nothing is told yet.
    async fn begin(
        &self,
        peer: &PeerId,
        places: &[SocketAddr],
    ) -> Result<(Wire, Confirmed, Confirmation), Failure> {
        let again = |why: String| Failure::Again(why);
        let relation = Relation::code(self.code.mailbox());
        let names = [When::at(now_ms()), When::Any].map(|when| relation.name(&peer.0, when));
        let servers = BTreeSet::new();
        let connection = self.endpoint.connect(peer, places, &servers, &names).await;
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
        let (wire, said) = match Wire::greet(connection, hello).await {
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
        let confirmed = joiner.confirm(&answer);
        let (confirmed, confirmation) = confirmed.map_err(|error| again(error.to_string()))?;
        Ok((wire, confirmed, confirmation))
    }

    async fn entry(
        &self,
        peer: &PeerId,
        places: &[SocketAddr],
        has: &[NetworkId],
    ) -> Result<(Wire, Channel, Handover), Failure> {
        let (mut wire, confirmed, confirmation) = self.begin(peer, places).await?;
        let request = Request {
            box_key: self.identity.boxes.public(),
            has: has.to_vec(),
        };
        // What is asked for goes under the key of the words: who does not know them reads nothing.
        let sealed = confirmed.seal(0, &request.encode()).unwrap_or_default();
        match ask(&mut wire, &Said::Confirm(confirmation, sealed)).await? {
            Said::Confirmed(confirmation, sealed) => {
                let channel = confirmed.finish(&confirmation).ok_or(Failure::Impostor)?;
                let handover = channel.open(Way::Inviter, 0, &sealed);
                let handover = handover.and_then(|handover| Handover::decode(&handover));
                Ok((wire, channel, handover.ok_or_else(unread)?))
            }
            _ => Err(Failure::Impostor),
        }
    }

    async fn ticket(
        &self,
        peer: &PeerId,
        places: &[SocketAddr],
    ) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let (mut wire, confirmed, confirmation) = self.begin(peer, places).await?;
        match ask(&mut wire, &Said::AskTicket(confirmation)).await? {
            Said::Ticket(confirmation, sealed) => {
                let channel = confirmed.finish(&confirmation).ok_or(Failure::Impostor)?;
                channel.open(Way::Inviter, 0, &sealed).ok_or_else(unread)
            }
            _ => Err(Failure::Impostor),
        }
    }

    fn new_code(&self) -> String {
        format!(
            "on the other machine, for a new code: {}",
            self.wants.verb()
        )
    }

    fn unreached(&self, last: &str) -> Error {
        let error = Error::new(
            ErrorCode::Unreachable,
            format!("the device that shows the code was not reached: {last}"),
        );
        if self.at.is_some() {
            return error
                .hint("check the address, and that its TCP and UDP port can be reached from here");
        }
        error.hint(format!(
            "with an address of the other machine: {}",
            self.wants.elsewhere()
        ))
    }
}

/// Confirms; gives what the other says to that.
async fn ask(wire: &mut Wire, said: &Said) -> Result<Said, Failure> {
    let broke_off = |error: LinkError| Failure::Told(format!("the exchange broke off: {error}"));
    let frame = Frame::Code(said.encode().to_vec());
    wire.write(&frame).await.map_err(broke_off)?;
    let Frame::Code(said) = wire.read().await.map_err(broke_off)? else {
        return Err(Failure::Impostor);
    };
    match Said::decode(&said) {
        Some(Said::Refused(no)) => Err(Failure::No(no)),
        Some(said) => Ok(said),
        None => Err(Failure::Impostor),
    }
}

/// Takes the events of the networks in a handover.
async fn ledgers(mut wire: Wire, channel: Channel, handover: Handover) -> Result<Entry, Failure> {
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
    Ok(Entry {
        wire,
        channel,
        handover,
        ledgers,
    })
}

fn unread() -> Failure {
    Failure::Told("the other device sent what cannot be read".to_owned())
}

fn hear(
    known: &mut Lan<()>,
    queue: &mut VecDeque<PeerId>,
    peer: PeerId,
    addresses: Vec<SocketAddr>,
) {
    if known.get(&peer).is_none() {
        // Those that had to make room are in it still.
        queue.retain(|peer| known.get(peer).is_some());
        queue.push_back(peer);
    }
    known.sighted(peer, &addresses, (), false, steady());
}
