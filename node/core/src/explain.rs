//! Why one device may reach a port of another, or not.
//!
//! The judgement is the filter's own: a packet that opens what is asked about is put through the very code that judges
//! real ones ([`crate::filter`]), by the rules of both sides, so that an explanation cannot disagree with what happens. What
//! is found beside it, offer and lack, only puts that judgement into words.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use mesh_ledger::event::attributes::{Protocol as OfferedProtocol, Service};
use mesh_ledger::ids::{DeviceId, EventId};
use mesh_ledger::state::{StandingOffer, State};
use serde::{Deserialize, Serialize};

use crate::desired::{desired, peer_id};
use crate::filter::{PeerFilter, Reason, Verdict};
use crate::packet::{self, Packet, Tcp, TcpFlags, Transport};
use crate::peer::PeerId;
use crate::plan::{InterfaceName, PeerPolicy, Ruleset};

/// What is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Probe {
    /// An ICMP echo.
    Echo,
    /// A connection to a TCP port.
    Tcp(u16),
    /// A datagram to a UDP port.
    Udp(u16),
}

/// A question: may `from` reach that of `to`?
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The network.
    pub state: &'a State,
    /// Who wants.
    pub from: DeviceId,
    /// Who is wanted.
    pub to: DeviceId,
    /// What of it.
    pub probe: Probe,
    /// Offers that were seen to end, whatever the clock says.
    pub ended: &'a BTreeSet<EventId>,
    /// Milliseconds since 1970, for offers that end.
    pub now: u64,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The offer that opens it: slot and event.
    pub offer: Option<(u32, EventId)>,
    /// What the rules of who wants say; absent if it has none.
    pub outward: Option<Verdict>,
    /// What the rules of who is wanted say; absent if it has none.
    pub inward: Option<Verdict>,
    /// The first thing that lacks; if nothing does, the packet passes.
    pub lacks: Option<Lack>,
}

/// What may lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack {
    /// That device is no member's, and what removed it, if something did.
    NotMember(DeviceId, Option<EventId>),
    /// What there is to know about that device is sealed still.
    Sealed(DeviceId),
    /// Nothing that can be read is offered there.
    NotOffered,
    /// It is offered, to others.
    NotForThem(u32, EventId),
    /// It was offered until then.
    Ended(u32, EventId, u64),
    /// A rule of that side says no.
    Rule(Side, Reason),
}

/// Whose rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Those of who wants.
    Outward,
    /// Those of who is wanted.
    Inward,
}

/// Answers a question. `rules` gives the rules of a device: those in force, where they are known, else [`rules_of`].
#[must_use]
pub fn explain(
    question: &Question<'_>,
    rules: impl Fn(&DeviceId) -> Option<Ruleset>,
) -> Explanation {
    let Question {
        state, from, to, ..
    } = *question;
    let mut explanation = Explanation {
        offer: None,
        outward: rules(&from).map(|rules| outward(&rules, &peer_id(&to), question.probe)),
        inward: rules(&to).map(|rules| inward(&rules, &peer_id(&from), question.probe)),
        lacks: None,
    };
    explanation.offer = matching(question)
        .find(|(_, standing)| {
            !is_over(question, standing) && state.admits(&standing.offer.audience, &from)
        })
        .map(|(slot, standing)| (slot, standing.event));
    explanation.lacks = lacks(question, &explanation);
    explanation
}

/// The rules that a device must have by the ledger.
#[must_use]
pub fn rules_of(state: &State, device: &DeviceId, now: u64) -> Option<Ruleset> {
    let interface = InterfaceName::Number(0);
    desired(state, device, interface, None, &BTreeSet::new(), now).map(|desired| desired.plan.rules)
}

/// What rules say of a packet that opens this towards a peer.
#[must_use]
pub fn outward(rules: &Ruleset, to: &PeerId, probe: Probe) -> Verdict {
    let judged = rules.for_peer(to).and_then(|policy| {
        let packet = packet(&policy, probe, Way::Out)?;
        Some(PeerFilter::new().outward(&policy, &packet, Duration::ZERO))
    });
    judged.unwrap_or(Verdict::Drop(Reason::NoPeer))
}

/// What rules say of a packet by which a peer opens this here.
#[must_use]
pub fn inward(rules: &Ruleset, from: &PeerId, probe: Probe) -> Verdict {
    let judged = rules.for_peer(from).and_then(|policy| {
        let packet = packet(&policy, probe, Way::In)?;
        Some(PeerFilter::new().inward(&policy, &packet, Duration::ZERO))
    });
    judged.unwrap_or(Verdict::Drop(Reason::NoPeer))
}

fn lacks(question: &Question<'_>, found: &Explanation) -> Option<Lack> {
    let state = question.state;
    let gone = |device: &DeviceId| !state.devices.contains_key(device);
    for device in [question.from, question.to] {
        if gone(&device) {
            let by = state.removed_devices.get(&device).copied();
            return Some(Lack::NotMember(device, by));
        }
    }
    let sealed = |verdict: Option<Verdict>, of: DeviceId, other: DeviceId| match verdict {
        None => Some(Lack::Sealed(of)),
        Some(Verdict::Drop(Reason::NoPeer)) => Some(Lack::Sealed(other)),
        Some(_) => None,
    };
    let (from, to) = (question.from, question.to);
    if let Some(lack) = sealed(found.outward, from, to).or_else(|| sealed(found.inward, to, from)) {
        return Some(lack);
    }
    if let Some(Verdict::Reject(reason) | Verdict::Drop(reason)) = found.outward {
        return Some(Lack::Rule(Side::Outward, reason));
    }
    match found.inward {
        Some(Verdict::Reject(Reason::NotOffered) | Verdict::Drop(Reason::NotOffered)) => {
            Some(unoffered(question))
        }
        Some(Verdict::Reject(reason) | Verdict::Drop(reason)) => {
            Some(Lack::Rule(Side::Inward, reason))
        }
        _ => None,
    }
}

/// Why nothing opens the port: the nearest there is to an offer of it.
fn unoffered(question: &Question<'_>) -> Lack {
    let mut lack = Lack::NotOffered;
    for (slot, standing) in matching(question) {
        let admits = question
            .state
            .admits(&standing.offer.audience, &question.from);
        match standing.offer.until {
            _ if !admits => lack = Lack::NotForThem(slot, standing.event),
            Some(until) => return Lack::Ended(slot, standing.event, until),
            None => {}
        }
    }
    lack
}

/// The offers of the wanted device that name the port, to whomever and however long.
fn matching<'a>(
    question: &'a Question<'_>,
) -> impl Iterator<Item = (u32, &'a StandingOffer)> + use<'a> {
    let wanted = match question.probe {
        Probe::Echo => None,
        Probe::Tcp(port) => Some((OfferedProtocol::Tcp, port)),
        Probe::Udp(port) => Some((OfferedProtocol::Udp, port)),
    };
    let offers = question
        .state
        .offers
        .range((question.to, 0)..=(question.to, u32::MAX));
    offers.filter_map(move |((_, slot), standing)| {
        let Service::Port {
            protocol,
            first,
            last,
        } = standing.offer.what
        else {
            return None;
        };
        wanted
            .is_some_and(|(asked, port)| asked == protocol && (first..=last).contains(&port))
            .then_some((*slot, standing))
    })
}

fn is_over(question: &Question<'_>, standing: &StandingOffer) -> bool {
    question.ended.contains(&standing.event)
        || standing
            .offer
            .until
            .is_some_and(|until| until <= question.now)
}

enum Way {
    Out,
    In,
}

/// The packet that opens it, between addresses of one family; none if the two have none in common.
fn packet(policy: &PeerPolicy, probe: Probe, way: Way) -> Option<Packet> {
    let of = |addresses: &[IpAddr], v4: bool| {
        addresses
            .iter()
            .copied()
            .find(|address| address.is_ipv4() == v4)
    };
    let (own, peer) = [true, false].into_iter().find_map(|v4| {
        let own = of(&policy.own, v4)?;
        Some((own, of(&policy.peer, v4)?))
    })?;
    let (source, target) = match way {
        Way::Out => (own, peer),
        Way::In => (peer, own),
    };
    // A port that programs are given, and mesh itself has not got.
    let free = (49_152..=u16::MAX).find(|port| !policy.underlay.contains(port))?;
    let (protocol, transport) = match probe {
        Probe::Echo => (
            if target.is_ipv4() {
                packet::ICMP
            } else {
                packet::ICMPV6
            },
            Transport::Echo {
                reply: false,
                id: 1,
            },
        ),
        Probe::Tcp(port) => (
            packet::TCP,
            Transport::Tcp(Tcp {
                source: free,
                target: port,
                flags: TcpFlags::SYN,
                sequence: 0,
                acknowledgement: 0,
                header: 20,
            }),
        ),
        Probe::Udp(port) => (
            packet::UDP,
            Transport::Udp {
                source: free,
                target: port,
            },
        ),
    };
    let offset = if target.is_ipv4() { 20 } else { 40 };
    Some(Packet {
        source,
        target,
        protocol,
        fragment: None,
        transport,
        offset,
        length: offset + 20,
    })
}

#[cfg(test)]
mod tests;
