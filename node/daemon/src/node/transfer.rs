//! Handing a network over between two live devices: the offer at the owner's, the acceptance at the successor's.
//!
//! The key of the recovery words is in memory for as long as the offer stands and the tool waits for it, and nowhere else.

use std::time::Duration;

use mesh_control::error::{Code, Error};
use mesh_control::reply::{self, Reply};
use mesh_core::desired::{device_id, peer_id};
use mesh_core::link::Frame;
use mesh_core::peer::PeerId;
use mesh_core::transfer::{Handover, Refusal};
use mesh_ledger::authority::Seniority;
use mesh_ledger::cut;
use mesh_ledger::event::Act;
use mesh_ledger::event::act::OwnerSet;
use mesh_ledger::graph::Idx;
use mesh_ledger::ids::{EventId, NetworkId, RecoveryKey, UserId};
use mesh_ledger::keys::{RecoverySecret, UserSecret};
use mesh_ledger::succession;
use tracing::{debug, info, warn};

use super::calls::{Plan, Respond, event_ref};
use super::{Net, Node};
use crate::clock::steady;
use crate::link::LinkId;

/// How long a successor's device tries to have its acceptance taken.
const ANSWER: Duration = Duration::from_secs(20);
/// Before it tries again when one of the two did not know all that the other wrote.
const AGAIN: Duration = Duration::from_millis(500);

/// An offer that stands, at the owner's device.
pub(crate) struct Offer {
    pub(crate) network: NetworkId,
    pub(crate) successor: UserId,
    /// What the successor is called.
    pub(crate) name: String,
    pub(crate) words: RecoverySecret,
    pub(crate) deadline: Duration,
    pub(crate) until_ms: u64,
    pub(crate) wait_ms: Option<u64>,
    pub(crate) respond: Respond,
}

/// An offer as the successor's device knows it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Offered {
    pub(crate) by: PeerId,
    pub(crate) until_ms: u64,
}

/// An acceptance under way, at the successor's device.
pub(crate) struct Accepting {
    pub(crate) to: PeerId,
    pub(crate) until_ms: u64,
    /// What the owner is called.
    pub(crate) before: String,
    pub(crate) recovery: RecoveryKey,
    /// The successor's key, for as long as this lasts.
    pub(crate) user: UserSecret,
    pub(crate) deadline: Duration,
    /// When to send it again, if it is to be.
    pub(crate) again: Option<Duration>,
    pub(crate) wait_ms: Option<u64>,
    pub(crate) respond: Respond,
}

impl Net {
    /// The offer of this network to this device's user, if one stands.
    pub(crate) fn offer_to_me(&self, now_ms: u64) -> Option<Offered> {
        let offered = self.office_offered?;
        let owner = self.state().devices.get(&device_id(&offered.by))?.user;
        (offered.until_ms > now_ms && owner == self.state().owner).then_some(offered)
    }
}

impl Node {
    /// When something is due here.
    pub(crate) fn handover_due(&self) -> Option<Duration> {
        let offers = self.offers_of_office.iter().map(|offer| offer.deadline);
        let accepting = self.nets.values().filter_map(|net| net.accepting.as_ref());
        let accepting = accepting.map(|accepting| {
            let again = accepting.again.unwrap_or(accepting.deadline);
            again.min(accepting.deadline)
        });
        offers.chain(accepting).min()
    }

    /// Ends offers whose time is over or that nobody waits for, and acceptances that are not answered; repeats others.
    pub(crate) fn handover_on_time(&mut self, now: Duration) {
        let over = |offer: &Offer| now >= offer.deadline || offer.respond.is_closed();
        let (ended, standing) = std::mem::take(&mut self.offers_of_office)
            .into_iter()
            .partition(over);
        self.offers_of_office = standing;
        let ended: Vec<Offer> = ended;
        for offer in ended {
            self.tell_successor(offer.network, &offer.successor, &Handover::Withdrawn);
            let error = format!(
                "{} has not accepted in time; nothing is changed",
                offer.name
            );
            let hint = format!("mesh owner transfer {}", offer.name);
            let error = Error::new(Code::Unreachable, error).hint(hint);
            let _ = offer.respond.send(Err(error));
        }
        let mut due = Vec::new();
        for net in self.nets.values_mut() {
            let Some(accepting) = &mut net.accepting else {
                continue;
            };
            if now >= accepting.deadline || accepting.respond.is_closed() {
                if let Some(accepting) = net.accepting.take() {
                    let error = "the owner's device has not answered; it may still take the acceptance: \
                                 keep the new words until the owner is known";
                    let _ = accepting.respond.send(Err(
                        Error::new(Code::Unreachable, error).hint("mesh admin ls")
                    ));
                }
            } else if accepting.again.is_some_and(|again| now >= again) {
                accepting.again = None;
                due.push(net.id);
            }
        }
        for id in due {
            self.send_acceptance(id);
        }
    }

    /// Tells the linked devices of a successor.
    pub(crate) fn tell_successor(&self, id: NetworkId, user: &UserId, message: &Handover) {
        let Some(net) = self.nets.get(&id) else {
            return;
        };
        let devices = net.state().devices.values();
        let links = devices
            .filter(|device| device.user == *user)
            .filter_map(|device| net.links.get(&peer_id(&device.id)))
            .filter_map(|link| self.links.get(link));
        for linked in links {
            linked.link.send(Frame::Handover(message.encode()));
        }
    }

    /// A link to a member is there: tells it what is offered to its user.
    pub(crate) fn offer_to(&self, id: NetworkId, peer: &PeerId) {
        let Some(net) = self.nets.get(&id) else {
            return;
        };
        let user = net.state().devices.get(&device_id(peer));
        let linked = net.links.get(peer).and_then(|link| self.links.get(link));
        let (Some(user), Some(linked)) = (user.map(|device| device.user), linked) else {
            return;
        };
        for offer in self.offers_of_office.iter() {
            if offer.network == id && offer.successor == user {
                let until = offer.until_ms;
                let message = Handover::Offered { until };
                linked.link.send(Frame::Handover(message.encode()));
            }
        }
    }

    /// A message about a handover came from a member.
    pub(crate) async fn transfer_message(
        &mut self,
        link: LinkId,
        id: NetworkId,
        peer: PeerId,
        bytes: &[u8],
    ) {
        let Some(message) = Handover::decode(bytes) else {
            self.end(link, mesh_core::link::Refusal::Protocol);
            return;
        };
        match message {
            Handover::Offered { until } => {
                if let Some(net) = self.nets.get_mut(&id) {
                    let of_owner = net.state().devices.get(&device_id(&peer));
                    if of_owner.is_some_and(|device| device.user == net.state().owner) {
                        net.office_offered = Some(Offered {
                            by: peer,
                            until_ms: until,
                        });
                    }
                }
            }
            Handover::Withdrawn => self.not_offered_by(id, &peer),
            Handover::Accepted(act) => self.take_acceptance(link, id, peer, *act).await,
            Handover::Refused(why) => self.acceptance_refused(id, &peer, why),
        }
    }

    /// The owner's device offers no more, or is gone.
    pub(crate) fn not_offered_by(&mut self, id: NetworkId, peer: &PeerId) {
        if let Some(net) = self.nets.get_mut(&id)
            && net
                .office_offered
                .is_some_and(|offered| offered.by == *peer)
        {
            net.office_offered = None;
        }
    }

    /// Sends the owner's device what this device's user signs, as of now.
    pub(crate) fn send_acceptance(&mut self, id: NetworkId) {
        let Some(net) = self.nets.get(&id) else {
            return;
        };
        let Some(accepting) = &net.accepting else {
            return;
        };
        let linked = net.links.get(&accepting.to);
        let Some(linked) = linked.and_then(|link| self.links.get(link)) else {
            return;
        };
        // What the owner did stands, as far as it is known here; its device sees to it that it is all.
        let heads = match cut::cut(net.ledger.graph(), &net.state().owner, None) {
            Ok(cut) => cut.heads,
            Err(why) => return warn!("no acceptance: {why}"),
        };
        let act = succession::propose(
            &id,
            &accepting.user,
            &net.my_device(),
            self.identity.boxes.public(),
            accepting.recovery,
            heads,
        );
        let message = Handover::Accepted(Box::new(act));
        linked.link.send(Frame::Handover(message.encode()));
    }

    async fn take_acceptance(&mut self, link: LinkId, id: NetworkId, peer: PeerId, act: OwnerSet) {
        let refusal = match self.judge_acceptance(id, peer, act).await {
            Ok(()) => return,
            Err(refusal) => refusal,
        };
        debug!(?peer, "an acceptance is not taken: {refusal}");
        if let Some(linked) = self.links.get(&link) {
            let message = Handover::Refused(refusal);
            linked.link.send(Frame::Handover(message.encode()));
        }
    }

    async fn judge_acceptance(
        &mut self,
        id: NetworkId,
        peer: PeerId,
        act: OwnerSet,
    ) -> Result<(), Refusal> {
        let at = self
            .offers_of_office
            .iter()
            .position(|offer| {
                offer.network == id
                    && offer.successor == act.successor
                    && !offer.respond.is_closed()
            })
            .ok_or(Refusal::NotOffered)?;
        let net = self.nets.get(&id).ok_or(Refusal::NotOffered)?;
        let device = net.state().devices.get(&device_id(&peer));
        let own = device.is_some_and(|device| device.user == act.successor);
        if !own || act.device != device_id(&peer) || !succession::is_proposed(&id, &act) {
            return Err(Refusal::Unproven);
        }
        if !covers_owner(net, &act.cut) {
            return Err(Refusal::Behind);
        }
        let before = super::calls::name_of(net, &net.state().owner);
        let name = self.offers_of_office[at].name.clone();
        let act = succession::complete(&id, act, &self.offers_of_office[at].words);
        let says = format!("makes {name} the owner");
        let plan = Plan::of(id, name.clone(), Act::OwnerSet(act), says);
        let done = self.carry_out(&plan);
        let offer = self.offers_of_office.remove(at);
        let done = match done {
            Ok(done) => done,
            Err(error) => {
                let _ = offer.respond.send(Err(error));
                return Err(Refusal::Unproven);
            }
        };
        let event = done.event;
        info!(network = %id, to = %name, event = %event.short(), "handed over");
        self.changed(id, None).await;
        let finish = move |spread| {
            Reply::OwnerChanged(reply::OwnerChanged {
                network: done.network,
                owner: name,
                before,
                event: event_ref(&event),
                spread,
                consequences: done.consequences,
            })
        };
        self.reply_after_spread(id, event, offer.wait_ms, offer.respond, finish);
        Ok(())
    }

    fn acceptance_refused(&mut self, id: NetworkId, peer: &PeerId, why: Refusal) {
        let Some(net) = self.nets.get_mut(&id) else {
            return;
        };
        match net.accepting.take_if(|accepting| accepting.to == *peer) {
            Some(mut accepting) if why == Refusal::Behind => {
                accepting.again = Some(steady() + AGAIN);
                net.accepting = Some(accepting);
            }
            Some(accepting) => {
                let error = Error::new(Code::Conflict, format!("{why}; nothing is changed"));
                let _ = accepting
                    .respond
                    .send(Err(error.hint("ask the owner: mesh owner transfer NAME")));
            }
            None => {}
        }
    }

    /// The ledger changed: perhaps this device's user owns the network now.
    pub(crate) fn settle_acceptance(&mut self, id: NetworkId) {
        let Some(net) = self.nets.get_mut(&id) else {
            return;
        };
        let authority = net.ledger.authority();
        let taken = |accepting: &mut Accepting| authority.recovery == accepting.recovery;
        let Some(accepting) = net.accepting.take_if(taken) else {
            return;
        };
        net.office_offered = None;
        let network = net.name();
        let owner = super::calls::name_of(net, &net.state().owner);
        let Some(event) = latest_succession(net) else {
            return;
        };
        let Accepting {
            to,
            until_ms,
            before,
            wait_ms,
            respond,
            ..
        } = accepting;
        let finish = move |spread| {
            Reply::OwnerOffered(reply::OwnerOffered {
                network: network.clone(),
                by: before.clone(),
                until_ms,
                changed: Some(reply::OwnerChanged {
                    network,
                    owner,
                    before,
                    event: event_ref(&event),
                    spread,
                    consequences: mesh_control::view::Consequences::default(),
                }),
            })
        };
        self.reply_after_spread(id, event, wait_ms, respond, finish);
        // It came from there.
        self.confirmed(id, to, &[event]);
    }

    /// Until when an acceptance may be answered.
    pub(crate) fn acceptance_deadline() -> Duration {
        steady() + ANSWER
    }
}

/// Whether a cut holds all that the present owner wrote, as far as it is known here.
fn covers_owner(net: &Net, heads: &[EventId]) -> bool {
    let graph = net.ledger.graph();
    let found: Option<Vec<Idx>> = heads.iter().map(|id| graph.find(id)).collect();
    let Some(found) = found else { return false };
    let past = graph.past_of(&found);
    let state = net.state();
    let devices = state.devices.values();
    devices
        .filter(|device| device.user == state.owner)
        .flat_map(|device| graph.by_author(&device.id))
        .all(|idx| graph.within(idx, &past))
}

/// The event that made the present owner one.
fn latest_succession(net: &Net) -> Option<EventId> {
    let authority = net.ledger.authority();
    let owners = authority
        .terms
        .iter()
        .filter(|(_, term)| matches!(term.rank, Seniority::Owner(_)));
    let latest = owners.max_by_key(|(_, term)| term.rank);
    latest.map(|(start, _)| *start)
}
