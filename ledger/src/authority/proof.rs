//! The signatures inside an act: certificates, redemptions, successions. They hold or they do not, whoever else does what;
//! so each is checked once and kept beside the event.

mod kept;

use crate::event::Act;
use crate::event::act::{
    Admit, InviteKind, Redemption, Target, own_device_message, redemption_message,
    succession_message,
};
use crate::graph::{Graph, Idx};
use crate::ids::{DeviceId, EventId, NetworkId, UserId};
use crate::keys::{Domain, certified};

/// The most users of one device whose signature a removal is tried with.
pub(crate) const MOST_USERS: usize = 16;

/// What the signatures inside an act prove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proof {
    /// All of them hold, or there are none.
    Holds,
    /// The certificate holds; what else is signed does not, and this is what it is.
    Certified(&'static str),
    /// A removal carries the signature of this user, for a device of its own.
    OwnDevice(UserId),
    /// One does not hold, and this is what it is.
    Fails(&'static str),
}

impl Proof {
    /// Checks the signatures of an event.
    pub(crate) fn of(graph: &Graph, idx: Idx) -> Self {
        let event = graph.event(idx);
        let network = event.network();
        let unless = |holds, what| {
            if holds {
                Self::Holds
            } else {
                Self::Fails(what)
            }
        };
        match event.act() {
            Act::Genesis(act) if act.device != event.author() => {
                Self::Fails("the founder's device")
            }
            Act::Genesis(act) => unless(
                certified(&act.owner, &act.device, &act.certificate),
                "the founder's certificate",
            ),
            Act::DeviceAdd(act) if act.device != event.author() => {
                Self::Fails("the device's own signature")
            }
            Act::DeviceAdd(act) => unless(
                certified(&act.user, &act.device, &act.certificate),
                "the device's certificate",
            ),
            Act::Admit(act) if !certified(&act.user, &act.device, &act.certificate) => {
                Self::Fails("the joiner's certificate")
            }
            Act::Admit(act) => act.redemption.as_ref().map_or(Self::Holds, |redemption| {
                redeemed(graph, idx, &network, act, redemption)
            }),
            Act::OwnerSet(act) if !certified(&act.successor, &act.device, &act.certificate) => {
                Self::Fails("the successor's certificate")
            }
            Act::OwnerSet(act) => {
                let message = succession_message(&network, act);
                if act
                    .successor
                    .verifies(Domain::Succession, &message, &act.by_successor)
                {
                    Self::Holds
                } else {
                    Self::Certified("the successor's signature")
                }
            }
            Act::Remove(act) => match (&act.target, &act.by_user) {
                (Target::Device(device), Some(signature)) => {
                    let message = own_device_message(&network, device, act.cut.as_deref());
                    consenting(graph, idx, device)
                        .into_iter()
                        .find(|user| {
                            graph.count_check();
                            user.verifies(Domain::OwnDevice, &message, signature)
                        })
                        .map_or(Self::Fails("the user's signature"), Self::OwnDevice)
                }
                (_, Some(_)) => Self::Fails("the user's signature"),
                (_, None) => Self::Holds,
            },
            _ => Self::Holds,
        }
    }
}

fn redeemed(
    graph: &Graph,
    idx: Idx,
    network: &NetworkId,
    act: &Admit,
    redemption: &Redemption,
) -> Proof {
    // An invite outside the past is refused by the fold; nothing can be checked against it.
    let Some(invite) = graph
        .find(&redemption.invite)
        .filter(|invite| graph.precedes(*invite, idx))
    else {
        return Proof::Certified("the redemption");
    };
    let event = graph.event(invite);
    let Act::Invite(invite) = event.act() else {
        return Proof::Certified("the redemption");
    };
    let message = redemption_message(
        network,
        &redemption.invite,
        &act.user,
        &act.device,
        &act.box_key,
        &act.certificate,
        &act.digest,
    );
    let domain = Domain::Redemption;
    if !act.user.verifies(domain, &message, &redemption.by_user) {
        return Proof::Certified("the joiner's signature");
    }
    if !act.device.verifies(domain, &message, &redemption.by_device) {
        return Proof::Certified("the joining device's signature");
    }
    // In a direct invite the named user's signature is enough; that the joiner is the one named, the fold checks.
    let held = matches!(invite.kind, InviteKind::Direct(_))
        || invite.key.verifies(domain, &message, &redemption.by_invite);
    if held {
        Proof::Holds
    } else {
        Proof::Certified("the invite's signature")
    }
}

/// The users whose a device called itself, with its own signature, before an event: those first to whom the event's own
/// device belongs too, then those that it named first. No more than [`MOST_USERS`], for each costs a signature check in
/// each removal: a device that names more belongs to somebody who wants others to check them.
fn consenting(graph: &Graph, before: Idx, device: &DeviceId) -> Vec<UserId> {
    let author = graph.author(before);
    let mut users: Vec<((bool, u32, EventId), UserId)> = graph
        .mutual(device)
        .filter_map(|(user, acts)| {
            let first = acts
                .iter()
                .filter(|act| graph.precedes(**act, before))
                .map(|act| graph.rank(*act))
                .min()?;
            Some(((false, first.0, first.1), user))
        })
        .collect();
    if users.len() > MOST_USERS {
        for ((others, ..), user) in &mut users {
            let acts = graph.mutual_of(&author, user).iter();
            *others = !acts.into_iter().any(|act| graph.precedes(*act, before));
        }
        users.select_nth_unstable(MOST_USERS);
        users.truncate(MOST_USERS);
    }
    users.into_iter().map(|(_, user)| user).collect()
}

/// Whose device an act says which is, if it is one that both of them sign.
pub(crate) fn mutual(act: &Act) -> Option<(UserId, DeviceId)> {
    match act {
        Act::Genesis(act) => Some((act.owner, act.device)),
        Act::DeviceAdd(act) => Some((act.user, act.device)),
        Act::Admit(act) if act.redemption.is_some() => Some((act.user, act.device)),
        _ => None,
    }
}
