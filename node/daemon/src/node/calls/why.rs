//! `mesh why`: from the genesis to the rule of the filter, with the other side's own word where it can be had.

use std::collections::BTreeSet;
use std::time::Duration;

use mesh_control::audit;
use mesh_control::audit::names::Names;
use mesh_control::call::Why;
use mesh_control::error::{Code, Error};
use mesh_control::history::{Remedy, Rule, Said, Step, WhyOffer, WhyPath};
use mesh_control::reply::{self, Reply};
use mesh_control::view::{Audience, PeerReach, Ports, Proto};
use mesh_core::desired::peer_id;
use mesh_core::explain::{Explanation, Lack, Probe, Question, Side, explain, inward, rules_of};
use mesh_core::filter::{Reason, Verdict};
use mesh_core::link::Frame;
use mesh_core::peer::PeerId;
use mesh_core::plan::Ruleset;
use mesh_ledger::event::Act;
use mesh_ledger::ids::{DeviceId, EventId, NetworkId, UserId};
use mesh_ledger::state::StandingOffer;

use super::{Respond, event_ref};
use crate::clock::{now_ms, steady};
use crate::link::LinkId;
use crate::node::{Net, Node};

/// How long the other side is waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// How many questions may wait for answers at once; more are answered without the other side's word.
const MOST: usize = 64;

/// An explanation that waits for the other side's word.
pub(crate) struct Asking {
    number: u32,
    network: NetworkId,
    peer: PeerId,
    pub(crate) deadline: Duration,
    why: reply::Why,
    respond: Respond,
}

impl Node {
    /// Explains, and asks the other side if that is what is asked about and it is there.
    pub(super) fn why(&mut self, call: &Why, respond: Respond) {
        match self.explanation(call) {
            Ok((why, Some((network, peer, probe)))) if self.asking.len() < MOST => {
                let link = self.nets.get(&network).and_then(|net| net.links.get(&peer));
                let Some(linked) = link.and_then(|link| self.links.get(link)) else {
                    return drop(respond.send(Ok(Reply::Why(why))));
                };
                self.next_question = self.next_question.wrapping_add(1);
                let number = self.next_question;
                linked.link.send(Frame::Asked(number, probe));
                self.asking.push(Asking {
                    number,
                    network,
                    peer,
                    deadline: steady() + PATIENCE,
                    why,
                    respond,
                });
            }
            Ok((why, _)) => drop(respond.send(Ok(Reply::Why(why)))),
            Err(error) => drop(respond.send(Err(error))),
        }
    }

    /// Another device asks what the filter here says to it. It learns nothing but that of itself.
    pub(crate) fn asked(&self, link: LinkId, number: u32, probe: Probe) {
        let Some(linked) = self.links.get(&link) else {
            return;
        };
        let Some(rules) = self
            .nets
            .get(&linked.network)
            .and_then(|net| self.rules_in_force(net))
        else {
            return;
        };
        let refused = match inward(&rules, &linked.peer, probe) {
            Verdict::Accept => None,
            Verdict::Reject(reason) | Verdict::Drop(reason) => Some(reason as u8),
        };
        linked.link.send(Frame::Said(number, refused));
    }

    /// The other side's word.
    pub(crate) fn said(&mut self, id: NetworkId, peer: PeerId, number: u32, refused: Option<u8>) {
        let mine = |asking: &Asking| {
            asking.number == number && asking.peer == peer && asking.network == id
        };
        let Some(at) = self.asking.iter().position(mine) else {
            return;
        };
        let Asking {
            mut why, respond, ..
        } = self.asking.swap_remove(at);
        let reason = refused.map(|place| {
            let reason = Reason::ALL.get(usize::from(place));
            reason.map_or("unknown", |reason| reason.word()).to_owned()
        });
        let passes = reason.is_none();
        let out = why.out.as_ref().is_none_or(|rule| rule.passes);
        if passes && out && !why.allowed {
            // It knows of an offer that cannot be read here, or of one that has not come yet.
            (why.allowed, why.lacks, why.remedy) = (true, None, None);
        } else if !passes && why.allowed {
            why.allowed = false;
            why.lacks = Some(format!(
                "the filter of {} says {} although the ledger here allows it: one of the two lacks events",
                why.to,
                reason.as_deref().unwrap_or_default()
            ));
            why.remedy = Some(Remedy {
                ask: None,
                command: "mesh sync now".to_owned(),
            });
        }
        why.r#in = Some(Rule {
            passes,
            reason,
            said: Said::Peer,
        });
        let _ = respond.send(Ok(Reply::Why(why)));
    }

    /// Answers what has waited long enough, or for somebody who is gone.
    pub(crate) fn settle_questions(&mut self, now: Duration) {
        let (waiting, over): (Vec<_>, Vec<_>) = std::mem::take(&mut self.asking)
            .into_iter()
            .partition(|asking| {
                let net = self.nets.get(&asking.network);
                now < asking.deadline && net.is_some_and(|net| net.links.contains_key(&asking.peer))
            });
        self.asking = waiting;
        for mut asking in over {
            if let Some(rule) = &mut asking.why.r#in {
                rule.said = Said::NoAnswer;
            }
            let _ = asking.respond.send(Ok(Reply::Why(asking.why)));
        }
    }

    /// What the filter in this process goes by.
    fn rules_in_force(&self, net: &Net) -> Option<Ruleset> {
        if !net.is_up() {
            return None;
        }
        let rules = net.desired(now_ms())?.plan.rules;
        Some(Ruleset {
            underlay: self.outer_ports(),
            ..rules
        })
    }

    #[expect(clippy::type_complexity, reason = "one caller")]
    fn explanation(
        &self,
        call: &Why,
    ) -> Result<(reply::Why, Option<(NetworkId, PeerId, Probe)>), Error> {
        let net = self.net(call.network.as_deref())?;
        let probe = probe(call.port)?;
        let names = Names::of(net.ledger.reading());
        let me = net.my_device();
        let to = self.present_or_former(net, &names, &call.to)?;
        let from = match &call.from {
            Some(from) => self.present_or_former(net, &names, from)?,
            None => me,
        };
        if from == to {
            let message = format!(
                "{} itself asks: what a device sends to itself passes no filter of mesh",
                names.device(&to)
            );
            return Err(Error::new(Code::Usage, message).hint("mesh why --help"));
        }
        let ended: BTreeSet<EventId> = if to == me {
            let ended = net.settings.ended().iter();
            ended.filter_map(|id| id.parse().ok()).collect()
        } else {
            BTreeSet::new()
        };
        let now = now_ms();
        let question = Question {
            state: net.state(),
            from,
            to,
            probe,
            ended: &ended,
            now,
        };
        let found = explain(&question, |device| {
            let in_force = (*device == me).then(|| self.rules_in_force(net)).flatten();
            in_force.or_else(|| rules_of(net.state(), device, now))
        });
        let teller = Teller {
            net,
            names: &names,
            question: &question,
        };
        let linked = net.links.contains_key(&peer_id(&to));
        let said = |device: &DeviceId| match () {
            () if *device == me && net.is_up() => Said::Here,
            () if from == me && !linked => Said::Offline,
            () => Said::Ledger,
        };
        let mut why = teller.why(call.port, &found);
        why.out = found.outward.map(|verdict| rule(verdict, said(&from)));
        why.r#in = found.inward.map(|verdict| rule(verdict, said(&to)));
        let other = if to == me { from } else { to };
        if from == me || to == me {
            why.path = Some(self.way(net, &other));
            if why.allowed && !net.is_up() {
                why.allowed = false;
                why.lacks = Some(format!("{} is down on this machine", net.name()));
                why.remedy = here("sudo mesh up".to_owned());
            }
        }
        let ask = from == me && linked && net.state().devices.contains_key(&to);
        Ok((why, ask.then(|| (net.id, peer_id(&to), probe))))
    }

    fn way(&self, net: &Net, device: &DeviceId) -> WhyPath {
        let live = self.with_viewer(net, |viewer| (viewer.live)(device));
        WhyPath {
            reach: live.reach,
            path: match live.reach {
                PeerReach::Offline => String::new(),
                _ => live.path,
            },
            rtt_us: live.rtt_us,
            last_seen_ms: live.last_seen_ms,
        }
    }

    /// The device that is called so, or was before it was removed.
    fn present_or_former(&self, net: &Net, names: &Names, text: &str) -> Result<DeviceId, Error> {
        if let Some(device) = self.find_device(net, text) {
            return Ok(device);
        }
        let removed = &net.state().removed_devices;
        let found = names.find(text);
        let named = found.iter().filter_map(|(_, device)| *device);
        let of_user = removed.keys().copied().filter(|device| {
            let user = names.user_of(device);
            found.iter().any(|(who, _)| user == Some(*who))
        });
        named
            .chain(of_user)
            .find(|device| removed.contains_key(device))
            .ok_or_else(|| self.no_member(net, text))
    }
}

/// Puts an explanation into words.
struct Teller<'a> {
    net: &'a Net,
    names: &'a Names,
    question: &'a Question<'a>,
}

impl Teller<'_> {
    fn why(&self, port: Ports, found: &Explanation) -> reply::Why {
        let state = self.question.state;
        let (from, to) = (self.question.from, self.question.to);
        let (lacks, remedy) = match found.lacks {
            Some(lack) => {
                let (text, remedy) = self.lack(lack, port);
                (Some(text), remedy)
            }
            None => (None, None),
        };
        let device = state.devices.get(&to);
        let lineage = device.map(|device| lineage(self.net, self.names, &device.user));
        let offers = state.offers.range((to, 0)..=(to, u32::MAX));
        let now = self.question.now;
        let open_to_them = offers
            .filter(|(_, standing)| {
                standing.offer.until.is_none_or(|until| until > now)
                    && state.admits(&standing.offer.audience, &from)
            })
            .map(|(_, standing)| self.offer(standing));
        reply::Why {
            network: self.net.name(),
            from: self.names.device(&from),
            to: self.names.device(&to),
            port,
            allowed: lacks.is_none(),
            lacks,
            remedy,
            lineage: lineage.unwrap_or_default(),
            offer: found
                .offer
                .and_then(|(slot, _)| state.offers.get(&(to, slot)))
                .map(|standing| self.offer(standing)),
            out: None,
            r#in: None,
            path: None,
            offers: match self.question.probe {
                Probe::Echo => open_to_them.collect(),
                _ => Vec::new(),
            },
        }
    }

    fn offer(&self, standing: &StandingOffer) -> WhyOffer {
        WhyOffer {
            what: audit::log::service(&standing.offer.what),
            name: standing.offer.name.as_ref().map(ToString::to_string),
            to: audit::past::audience(&standing.offer.audience, self.names),
            by: self.names.device(&self.question.to),
            event: event_ref(&standing.event),
            until_ms: standing.offer.until,
        }
    }

    /// What lacks, and who can change it.
    fn lack(&self, lack: Lack, port: Ports) -> (String, Option<Remedy>) {
        let state = self.question.state;
        match lack {
            Lack::NotMember(device, by) => {
                let name = self.names.device(&device);
                let removal = by.and_then(|by| self.net.ledger.event(&by));
                let text = match removal {
                    Some(removal) => format!(
                        "{name} was removed in {} by {}",
                        removal.id().short(),
                        self.names.device(&removal.author())
                    ),
                    None => format!("{name} is no member's device"),
                };
                let owner = state.members.get(&state.owner);
                let ask = owner.map(|owner| owner.name.to_string());
                let user = self.names.user_of(&device);
                let command = match user {
                    Some(user) => format!("mesh invite --to {user}"),
                    None => "mesh invite".to_owned(),
                };
                (text, Some(Remedy { ask, command }))
            }
            Lack::Sealed(device) => (
                format!(
                    "what {} is and has is sealed under a key that is not here yet",
                    self.names.device(&device)
                ),
                here("mesh sync now".to_owned()),
            ),
            Lack::NotOffered => {
                let text = "no offer you can read covers it".to_owned();
                (text, self.share(port, Vec::new()))
            }
            Lack::NotForThem(slot, event) => {
                let standing = state.offers.get(&(self.question.to, slot));
                let to = standing.map_or(Audience::All, |standing| {
                    audit::past::audience(&standing.offer.audience, self.names)
                });
                let others = match to {
                    Audience::All => Vec::new(),
                    Audience::Names(names) => names,
                };
                let text = format!(
                    "it is offered to {} and not to {} ({})",
                    others.join(", "),
                    self.names.device(&self.question.from),
                    event.short()
                );
                // An offer of the same ports replaces the one there is.
                (text, self.share(port, others))
            }
            Lack::Ended(_, event, _) => {
                let text = format!("the offer of it ({}) has ended", event.short());
                (text, self.share(port, Vec::new()))
            }
            Lack::Rule(_, Reason::Underlay) => {
                let text = format!("{port} is mesh's own port, which never passes its tunnel");
                (text, None)
            }
            Lack::Rule(side, reason) => {
                let whose = match side {
                    Side::Outward => self.question.from,
                    Side::Inward => self.question.to,
                };
                let whose = self.names.device(&whose);
                (
                    format!("the filter of {whose} says {}", reason.word()),
                    None,
                )
            }
        }
    }

    /// The offer that would open it, to be made on the wanted device.
    fn share(&self, port: Ports, mut to: Vec<String>) -> Option<Remedy> {
        to.push(self.names.device(&self.question.from));
        let command = format!("mesh share {port} --to {}", to.join(","));
        if self.question.to == self.net.my_device() {
            return here(command);
        }
        Some(Remedy {
            ask: Some(self.names.device(&self.question.to)),
            command,
        })
    }
}

/// Who let a user in, who let that one in, and so on, the first of them in front. It begins with who founded the network or
/// took it over.
fn lineage(net: &Net, names: &Names, user: &UserId) -> Vec<Step> {
    let (state, authority) = (net.state(), net.ledger.authority());
    let mut line: Vec<(UserId, Step)> = Vec::new();
    let mut next = Some(*user);
    while let Some(user) = next.filter(|user| line.iter().all(|(earlier, _)| earlier != user)) {
        let (name, admitted, by) = match state.members.get(&user) {
            Some(member) => {
                let name = member.name.to_string();
                (name, member.admitted, member.admitted_by)
            }
            // Its admission was good, or nobody that it let in would be here.
            None => match former(net, names, &user) {
                Some((admitted, by)) => (names.user(&user), admitted, by),
                None => break,
            },
        };
        let step = Step {
            name,
            event: event_ref(&admitted),
            removed: authority.removed_users.get(&user).map(event_ref),
        };
        line.push((user, step));
        next = by;
    }
    line.into_iter().rev().map(|(_, step)| step).collect()
}

/// The last event that admitted a user who is no member any more, and who wrote it.
fn former(net: &Net, names: &Names, user: &UserId) -> Option<(EventId, Option<UserId>)> {
    let (graph, fold) = (net.ledger.graph(), net.ledger.fold());
    fold.order.iter().rev().find_map(|idx| {
        let counts = net.ledger.verdict(*idx).is_some_and(|it| it.counts());
        if !graph.kind(*idx).certifies() {
            return None;
        }
        let event = graph.event(*idx);
        let by = match event.act() {
            Act::Admit(act) if act.user == *user => names.user_of(&event.author()),
            Act::Genesis(act) if act.owner == *user => None,
            Act::OwnerSet(act) if act.successor == *user => None,
            _ => return None,
        };
        counts.then(|| (event.id(), by))
    })
}

fn here(command: String) -> Option<Remedy> {
    Some(Remedy { ask: None, command })
}

fn rule(verdict: Verdict, said: Said) -> Rule {
    let reason = match verdict {
        Verdict::Accept => None,
        Verdict::Reject(reason) | Verdict::Drop(reason) => Some(reason.word().to_owned()),
    };
    Rule {
        passes: reason.is_none(),
        reason,
        said,
    }
}

fn probe(port: Ports) -> Result<Probe, Error> {
    if port.first() != port.last() {
        let message = format!("{port} are several ports: ask about one");
        return Err(Error::new(Code::Usage, message).hint("mesh why --help"));
    }
    Ok(match port.proto() {
        Proto::Icmp => Probe::Echo,
        Proto::Tcp => Probe::Tcp(port.first()),
        Proto::Udp => Probe::Udp(port.first()),
    })
}
