//! `mesh owner`: who holds the network, and the recovery words that say so.

use std::time::Duration;

use mesh_control::Secret;
use mesh_control::call::{OwnerAccept, OwnerRecover, OwnerTransfer};
use mesh_control::error::{Code, Error};
use mesh_control::reply::{self, Reply};
use mesh_control::view::Consequences;
use mesh_core::transfer::Handover;
use mesh_ledger::cut;
use mesh_ledger::event::Act;
use mesh_ledger::ids::{NetworkId, RecoveryKey, UserId};
use mesh_ledger::keys::RecoverySecret;
use mesh_ledger::recovery::RecoveryWords;
use mesh_ledger::succession;

use super::removals::{Plan, cut_since, my_user, name_of};
use super::{Respond, Signed, event_ref};
use crate::clock::{now_ms, steady};
use crate::node::transfer::{Accepting, Offer, Offered};
use crate::node::{Net, Node};
use crate::random;

/// The longest that an offer stands.
const LONGEST: u32 = 86_400;

/// Answers with new recovery words, which are nowhere else.
pub(super) fn new_words() -> Result<Reply, Error> {
    let entropy = random::seed().map_err(|error| Error::new(Code::Failed, error.to_string()))?;
    let words = RecoveryWords::from_entropy(*entropy);
    Ok(Reply::NewWords(reply::NewWords {
        recovery_words: Secret::new(words.words().as_str()),
        recovery: words.secret().public().to_string(),
    }))
}

impl Node {
    pub(super) fn owner_transfer(&mut self, call: &OwnerTransfer, respond: Respond) {
        match self.offer_of_office(call) {
            Ok((net, user, name, words)) => {
                let lasts = Duration::from_secs(u64::from(call.offer_seconds.clamp(1, LONGEST)));
                let until_ms =
                    now_ms() + u64::try_from(lasts.as_millis()).unwrap_or(u64::from(LONGEST));
                self.offers_of_office.push(Offer {
                    network: net,
                    successor: user,
                    name,
                    words,
                    deadline: steady() + lasts,
                    until_ms,
                    wait_ms: call.wait_ms,
                    respond,
                });
                self.tell_successor(net, &user, &Handover::Offered { until: until_ms });
            }
            Err(error) => drop(respond.send(Err(error))),
        }
    }

    fn offer_of_office(
        &self,
        call: &OwnerTransfer,
    ) -> Result<(NetworkId, UserId, String, RecoverySecret), Error> {
        let (net, user, name) = self.successor(call)?;
        let words = present_words(net, &call.words)?;
        if let Some(standing) = self.offers_of_office.iter().find(|o| o.network == net.id) {
            let error = format!("{} is offered to {} already", net.name(), standing.name);
            return Err(Error::new(Code::Conflict, error)
                .hint("end that command first: its offer ends with it"));
        }
        if !net.is_up() {
            let error = format!("{} is down", net.name());
            return Err(Error::new(Code::Unreachable, error).hint("mesh up"));
        }
        Ok((net.id, user, name, words))
    }

    fn successor(&self, call: &OwnerTransfer) -> Result<(&Net, UserId, String), Error> {
        let net = self.member_net(call.network.as_deref())?;
        let owner = net.state().owner;
        if my_user(net) != Some(owner) {
            let error = format!(
                "only the owner hands {} over, and that is {}",
                net.name(),
                name_of(net, &owner)
            );
            return Err(Error::new(Code::NotPermitted, error).hint("mesh owner recover"));
        }
        let user = self.find_user(net, &call.name)?;
        if user == owner {
            return Err(Error::new(Code::Usage, "you own it already")
                .hint("for new recovery words: mesh owner recover"));
        }
        Ok((net, user, name_of(net, &user)))
    }

    /// What handing over would do; the signatures are not there yet, so it is told and not tried.
    pub(super) fn preview_transfer(&self, call: &OwnerTransfer) -> Result<Reply, Error> {
        let (net, user, name) = self.successor(call)?;
        let mut consequences = Consequences {
            owner: Some(name.clone()),
            office_gone: vec![name_of(net, &net.state().owner)],
            ..Consequences::default()
        };
        if !net.ledger.authority().is_admin(&user) {
            consequences.office_back.push(name.clone());
        }
        Ok(Reply::Previewed(reply::Previewed {
            network: net.name(),
            signs: vec![format!("makes {name} the owner, once {name} accepts")],
            name,
            invites_closed: Vec::new(),
            consequences,
        }))
    }

    pub(super) fn owner_accept(&mut self, call: &OwnerAccept, respond: Respond) {
        let found = self.offer_to_accept(call.network.as_deref());
        let recovery = call.recovery.as_deref().map(recovery_key).transpose();
        let (id, offered, by, recovery) = match (found, recovery) {
            (Ok((id, offered, by)), Ok(recovery)) => (id, offered, by, recovery),
            (Err(error), _) | (_, Err(error)) => return drop(respond.send(Err(error))),
        };
        let user = self.user_secret();
        let Some(net) = self.nets.get_mut(&id) else {
            return;
        };
        let Some(recovery) = recovery else {
            return drop(respond.send(Ok(Reply::OwnerOffered(reply::OwnerOffered {
                network: net.name(),
                by,
                until_ms: offered.until_ms,
                changed: None,
            }))));
        };
        let user = match user {
            Ok(user) => user,
            Err(error) => return drop(respond.send(Err(error))),
        };
        if net.accepting.is_some() {
            let error = Error::new(Code::Conflict, "it is being accepted already");
            return drop(respond.send(Err(error.hint("mesh admin ls"))));
        }
        net.accepting = Some(Accepting {
            to: offered.by,
            until_ms: offered.until_ms,
            before: by,
            recovery,
            user,
            deadline: Self::acceptance_deadline(),
            again: None,
            wait_ms: call.wait_ms,
            respond,
        });
        self.send_acceptance(id);
    }

    /// The offer that stands, and the name of whose it is.
    fn offer_to_accept(&self, name: Option<&str>) -> Result<(NetworkId, Offered, String), Error> {
        let net = self.member_net(name)?;
        let offered = net.offer_to_me(now_ms()).ok_or_else(|| {
            Error::new(
                Code::NotFound,
                format!("nobody offers {} to you", net.name()),
            )
            .hint("ask the owner: mesh owner transfer NAME")
        })?;
        Ok((net.id, offered, name_of(net, &net.state().owner)))
    }

    pub(super) fn owner_recover(&mut self, call: &OwnerRecover) -> Result<Signed, Error> {
        let recovery = recovery_key(&call.recovery)?;
        let plan = self.plan_recover(call, Some(recovery))?;
        let net = self.net_of(&plan.network)?;
        let before = name_of(net, &net.state().owner);
        let done = self.carry_out(&plan)?;
        let net = self.net_of(&plan.network)?;
        let owner = name_of(net, &net.state().owner);
        Ok(Signed {
            network: plan.network,
            event: done.event,
            wait_ms: call.wait_ms,
            finish: Box::new(move |spread| {
                Reply::OwnerChanged(reply::OwnerChanged {
                    network: done.network,
                    owner,
                    before,
                    event: event_ref(&done.event),
                    spread,
                    consequences: done.consequences,
                })
            }),
        })
    }

    /// The succession that the words sign; `recovery` is what ends the new term, and none only to try it.
    pub(super) fn plan_recover(
        &self,
        call: &OwnerRecover,
        recovery: Option<RecoveryKey>,
    ) -> Result<Plan, Error> {
        let net = self.net(call.network.as_deref())?;
        let words = present_words(net, &call.words)?;
        let owner = net.state().owner;
        let before = name_of(net, &owner);
        let heads = match cut_since(net, &owner, &before, call.since.as_ref())? {
            Some(heads) => heads,
            None => {
                let all = cut::cut(net.ledger.graph(), &owner, None);
                all.map_err(|why| Error::new(Code::Failed, why.to_string()))?
                    .heads
            }
        };
        let act = succession::propose(
            &net.id,
            &self.user_secret()?,
            &net.my_device(),
            self.identity.boxes.public(),
            recovery.unwrap_or_else(|| words.public()),
            heads,
        );
        let act = succession::complete(&net.id, act, &words);
        let me = self.identity.user.public();
        let name = name_of(net, &me);
        let says = if owner == me {
            format!("begins a new term of {name} as owner")
        } else {
            format!("makes {name} the owner instead of {before}")
        };
        Ok(Plan::of(net.id, name, Act::OwnerSet(act), says))
    }
}

/// The key of the words that somebody typed, if they are those of the present owner's term.
fn present_words(net: &Net, typed: &Secret) -> Result<RecoverySecret, Error> {
    let words: RecoveryWords = typed.reveal().parse().map_err(|bad| {
        let bad: mesh_ledger::recovery::BadWords = bad;
        Error::new(Code::Usage, bad.to_string())
    })?;
    let secret = words.secret();
    if secret.public() == net.ledger.authority().recovery {
        return Ok(secret);
    }
    Err(Error::new(
        Code::NotPermitted,
        format!(
            "these are not the present recovery words of {}; each new owner has new ones, and the old are worth nothing",
            net.name()
        ),
    )
    .hint("mesh log --type owner.set"))
}

fn recovery_key(text: &str) -> Result<RecoveryKey, Error> {
    text.parse()
        .map_err(|_| Error::new(Code::Usage, "a recovery key has 64 hexadecimal digits"))
}
