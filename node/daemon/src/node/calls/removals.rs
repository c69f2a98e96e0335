//! `mesh kick`, `admin grant`, `admin revoke`: acts of office, what they undo, and what they would.

use mesh_control::call::{AdminGrant, AdminRevoke, Kick, Moment, Preview, Proposed};
use mesh_control::error::{Code, Error};
use mesh_control::reply::{self, Reply};
use mesh_control::view::Consequences as ConsequencesView;
use mesh_ledger::authority::Seniority;
use mesh_ledger::cut::{self, NoCut};
use mesh_ledger::event::act::{Grant, InviteClose, InviteKind, MAX_CLOSES, Remove, Target};
use mesh_ledger::event::attributes::Reason;
use mesh_ledger::event::{Act, Attributes};
use mesh_ledger::ids::{EventId, NetworkId, UserId};
use mesh_ledger::network::{Consequences, FindError};
use mesh_ledger::state::{Rank, StandingInvite};
use tracing::warn;

use super::members::{member_name, note};
use super::{Signed, authoring, event_ref};
use crate::clock::now_ms;
use crate::node::{Net, Node};
use crate::view::consequences;
use crate::view::names::Names;

/// What one command signs.
pub(in crate::node) struct Plan {
    pub(super) network: NetworkId,
    /// Whom it is about.
    pub(super) name: String,
    /// In this order; the first is what was asked for, the others go with it.
    pub(super) acts: Vec<(Act, Option<Attributes>)>,
    /// Each in words.
    pub(super) signs: Vec<String>,
    /// Invites that are closed by it.
    pub(super) closes: Vec<EventId>,
    /// Invites that it has no room for, and that only others may close one by one.
    pub(super) leaves_open: Vec<EventId>,
    /// How many devices the removed member had.
    pub(super) devices: u32,
}

impl Plan {
    pub(in crate::node) fn of(network: NetworkId, name: String, act: Act, says: String) -> Self {
        Self {
            network,
            name,
            acts: vec![(act, None)],
            signs: vec![says],
            closes: Vec::new(),
            leaves_open: Vec::new(),
            devices: 0,
        }
    }
}

/// What came of a plan.
pub(in crate::node) struct Done {
    /// What was asked for.
    pub(in crate::node) event: EventId,
    pub(in crate::node) network: String,
    pub(in crate::node) consequences: ConsequencesView,
}

impl Node {
    pub(super) fn kick(&mut self, call: &Kick) -> Result<Signed, Error> {
        let plan = self.plan_kick(call)?;
        let done = self.carry_out(&plan)?;
        let id = plan.network;
        let short = |ids: &[EventId]| ids.iter().map(EventId::short).collect();
        let (closed, left) = (short(&plan.closes), short(&plan.leaves_open));
        let Plan { name, devices, .. } = plan;
        Ok(Signed {
            network: id,
            event: done.event,
            wait_ms: call.wait_ms,
            finish: Box::new(move |spread| {
                Reply::Kicked(reply::Kicked {
                    network: done.network,
                    name,
                    event: event_ref(&done.event),
                    spread,
                    devices_removed: devices,
                    acts_voided: done.consequences.acts_voided,
                    invites_closed: closed,
                    invites_left: left,
                    consequences: done.consequences,
                })
            }),
        })
    }

    pub(super) fn admin_grant(&mut self, call: &AdminGrant) -> Result<Signed, Error> {
        let plan = self.plan_grant(call)?;
        self.office(plan, call.wait_ms)
    }

    pub(super) fn admin_revoke(&mut self, call: &AdminRevoke) -> Result<Signed, Error> {
        let plan = self.plan_revoke(call)?;
        self.office(plan, call.wait_ms)
    }

    fn office(&mut self, plan: Plan, wait_ms: Option<u64>) -> Result<Signed, Error> {
        let done = self.carry_out(&plan)?;
        let name = plan.name;
        let finish = move |spread| {
            Reply::Signed(reply::Signed {
                network: done.network,
                name,
                event: event_ref(&done.event),
                spread,
                acts_voided: done.consequences.acts_voided,
                consequences: done.consequences,
            })
        };
        Ok(Signed {
            network: plan.network,
            event: done.event,
            wait_ms,
            finish: Box::new(finish),
        })
    }

    /// What an act would do. Nothing is written.
    pub(super) fn preview(&mut self, call: &Preview) -> Result<Reply, Error> {
        let plan = match &call.act {
            Proposed::Kick(kick) => self.plan_kick(kick)?,
            Proposed::AdminGrant(grant) => self.plan_grant(grant)?,
            Proposed::AdminRevoke(revoke) => self.plan_revoke(revoke)?,
            Proposed::OwnerTransfer(transfer) => return self.preview_transfer(transfer),
            Proposed::OwnerRecover(recover) => self.plan_recover(recover, None)?,
        };
        let Some(net) = self.nets.get_mut(&plan.network) else {
            return Err(Error::new(Code::NotFound, "the network is gone"));
        };
        let found = net
            .ledger
            .try_out(&self.identity.device, &plan.acts, now_ms())
            .map_err(|error| authoring(&error))?;
        Ok(Reply::Previewed(reply::Previewed {
            network: net.name(),
            name: plan.name,
            signs: plan.signs,
            invites_closed: plan.closes.iter().map(EventId::short).collect(),
            consequences: consequences(net.ledger.reading(), &found),
        }))
    }

    /// Signs what is planned. What goes with the first act and cannot be signed is left out.
    pub(in crate::node) fn carry_out(&mut self, plan: &Plan) -> Result<Done, Error> {
        let before = self.net_of(&plan.network)?.ledger.fold().clone();
        let mut first = None;
        for (act, attributes) in &plan.acts {
            match self.author(plan.network, act.clone(), attributes.clone()) {
                Ok(event) => first = first.or(Some(event)),
                Err(error) if first.is_none() => return Err(error),
                Err(error) => warn!(network = %plan.network, "one act of several: {error}"),
            }
        }
        let Some(net) = self.nets.get_mut(&plan.network) else {
            return Err(Error::new(Code::NotFound, "the network is gone"));
        };
        let event = first.ok_or_else(|| Error::new(Code::Failed, "there is nothing to sign"))?;
        let found = Consequences::between(net.ledger.graph(), &before, net.ledger.fold(), now_ms());
        Ok(Done {
            event,
            network: net.name(),
            consequences: consequences(net.ledger.reading(), &found),
        })
    }

    fn plan_kick(&self, call: &Kick) -> Result<Plan, Error> {
        let net = self.member_net(call.network.as_deref())?;
        let reason = call.reason.as_deref().map(note).transpose()?;
        let user = self.find_member(net, &call.name, call.since.is_some())?;
        let state = net.state();
        if my_user(net) == Some(user) {
            return Err(Error::new(Code::Usage, "nobody kicks himself")
                .hint(format!("mesh leave {}", net.name())));
        }
        let name = name_of(net, &user);
        let cut = cut_since(net, &user, &name, call.since.as_ref())?;
        let (mut closes, mut further, mut leaves_open) = (Vec::new(), Vec::new(), Vec::new());
        if !call.keep_invites {
            for (id, invite) in live_tickets(net, &user) {
                if closes.len() < MAX_CLOSES {
                    closes.push(id);
                } else if may_close(net, invite) {
                    further.push(id);
                } else if invite.issuer != user {
                    leaves_open.push(id);
                }
            }
        }
        closes.sort_unstable();
        let remove = Act::Remove(Remove {
            target: Target::User(user),
            cut,
            closes: closes.clone(),
            by_user: None,
        });
        let says = match &reason {
            Some(reason) => format!("kicks {name}: {reason}"),
            None => format!("kicks {name}"),
        };
        let attributes = reason.map(|reason| Attributes::Reason(Reason { reason }));
        let mut plan = Plan {
            network: net.id,
            name,
            acts: vec![(remove, attributes)],
            signs: vec![says],
            closes,
            leaves_open,
            devices: state
                .members
                .get(&user)
                .map_or(0, |member| member.devices.len() as u32),
        };
        for invite in further {
            plan.acts
                .push((Act::InviteClose(InviteClose { invite }), None));
            plan.signs.push(format!("closes invite {}", invite.short()));
            plan.closes.push(invite);
        }
        Ok(plan)
    }

    fn plan_grant(&self, call: &AdminGrant) -> Result<Plan, Error> {
        let net = self.member_net(call.network.as_deref())?;
        let user = self.find_user(net, &call.name)?;
        let name = member_name(net, &user);
        let member = net.state().members.get(&user);
        if member.is_some_and(|member| member.rank != Rank::Member) {
            return Err(
                Error::new(Code::Conflict, format!("{name} is an admin already"))
                    .hint("mesh admin ls"),
            );
        }
        let says = format!("makes {name} an admin");
        Ok(Plan::of(net.id, name, Act::Grant(Grant { user }), says))
    }

    /// Ends every term that the member holds; with `since`, those too that ended already, to undo more of them.
    fn plan_revoke(&self, call: &AdminRevoke) -> Result<Plan, Error> {
        let net = self.member_net(call.network.as_deref())?;
        let user = self.find_member(net, &call.name, call.since.is_some())?;
        let name = name_of(net, &user);
        if net.state().owner == user {
            return Err(Error::new(
                Code::NotPermitted,
                format!("{name} is the owner, whom nobody revokes"),
            ));
        }
        let cut = cut_since(net, &user, &name, call.since.as_ref())?;
        let terms = net.ledger.authority().terms.iter();
        let mut terms: Vec<(Seniority, EventId)> = terms
            .filter(|(_, term)| term.holder == user && matches!(term.rank, Seniority::Admin(..)))
            .filter(|(_, term)| cut.is_some() || term.ended.is_none())
            .map(|(start, term)| (term.rank, *start))
            .collect();
        terms.sort_unstable();
        if terms.is_empty() {
            return Err(
                Error::new(Code::Conflict, format!("{name} is no admin")).hint("mesh admin ls")
            );
        }
        let mut plan = Plan {
            network: net.id,
            name: name.clone(),
            acts: Vec::new(),
            signs: Vec::new(),
            closes: Vec::new(),
            leaves_open: Vec::new(),
            devices: 0,
        };
        // The most senior first: if that one cannot be ended, nothing is signed.
        for (_, grant) in terms {
            let act = Act::Remove(Remove {
                target: Target::Term { user, grant },
                cut: cut.clone(),
                closes: Vec::new(),
                by_user: None,
            });
            plan.acts.push((act, None));
            plan.signs.push(format!(
                "ends {name}'s term as admin, granted in {}",
                grant.short()
            ));
        }
        Ok(plan)
    }

    /// A member by name; a former one too, if what it did is to be undone.
    fn find_member(&self, net: &Net, text: &str, former: bool) -> Result<UserId, Error> {
        match self.find_user(net, text) {
            Err(error) if former && error.code == Code::NotFound => {
                let mut found = names(net).find(text).into_iter().map(|(user, _)| user);
                let first = found.next().ok_or(error)?;
                if found.any(|other| other != first) {
                    let shown: String = text.chars().take(64).collect();
                    let error = format!("several were called {shown}: use the start of a key");
                    return Err(Error::new(Code::Usage, error).hint("mesh log"));
                }
                Ok(first)
            }
            other => other,
        }
    }
}

/// The cut that undoes what a member did since an event or a moment; none if nothing is to be undone.
pub(super) fn cut_since(
    net: &Net,
    user: &UserId,
    name: &str,
    since: Option<&Moment>,
) -> Result<Option<Vec<EventId>>, Error> {
    let since = match since {
        None => return Ok(None),
        Some(Moment::TimeMs(time)) => cut::Since::Time(*time),
        Some(Moment::Event(prefix)) => match net.ledger.find(prefix) {
            Ok(event) => cut::Since::Event(event.id()),
            Err(error) => {
                let code = match error {
                    FindError::None(_) => Code::NotFound,
                    _ => Code::Usage,
                };
                return Err(
                    Error::new(code, error.to_string()).hint(format!("mesh log --by {name}"))
                );
            }
        },
    };
    let found = cut::cut(net.ledger.graph(), user, Some(&since)).map_err(|why| {
        let (code, text) = match why {
            NoCut::Unknown(_) => (Code::NotFound, why.to_string()),
            NoCut::NotTheirs(event) => (
                Code::Usage,
                format!(
                    "{} is not {name}'s event, and an undoing begins with one",
                    event.short()
                ),
            ),
            NoCut::NoneSoLate => (Code::NotFound, format!("{name} signed nothing since then")),
            NoCut::Genesis => (Code::Usage, why.to_string()),
        };
        Error::new(code, text).hint(format!("mesh log --by {name}"))
    })?;
    Ok(Some(found.heads))
}

/// Invites whose tickets a kicked member may have kept or passed on. Those that the kicker could not close one by one come
/// first, and last those of the kicked, which lapse by themselves.
fn live_tickets<'a>(net: &'a Net, kicked: &UserId) -> Vec<(EventId, &'a StandingInvite)> {
    let now = now_ms();
    let live = |invite: &StandingInvite| {
        invite.closed.is_none()
            && invite.expires > now
            && invite.used < invite.max_uses
            && invite.kind == InviteKind::Bearer
    };
    let invites = net.state().invites.iter();
    let mut found: Vec<(EventId, &StandingInvite)> = invites
        .filter(|(_, invite)| live(invite))
        .map(|(id, invite)| (*id, invite))
        .collect();
    found.sort_by_key(|(id, invite)| (invite.issuer == *kicked, may_close(net, invite), *id));
    found
}

fn may_close(net: &Net, invite: &StandingInvite) -> bool {
    my_user(net).is_some_and(|me| {
        me == invite.issuer || net.ledger.authority().is_senior(&me, &invite.issuer)
    })
}

/// This device's user.
pub(super) fn my_user(net: &Net) -> Option<UserId> {
    let own = net.state().devices.get(&net.my_device());
    own.map(|device| device.user)
}

/// What a user is called, or was.
pub(in crate::node) fn name_of(net: &Net, user: &UserId) -> String {
    if net.state().members.contains_key(user) {
        member_name(net, user)
    } else {
        names(net).user(user)
    }
}

fn names(net: &Net) -> Names {
    Names::of(net.ledger.reading())
}
