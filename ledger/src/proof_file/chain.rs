//! Checking a chain: each event it rests on was signed by somebody whom earlier ones on it, in its past, gave the right.

use std::collections::{BTreeMap, BTreeSet};

use super::{BadProof, Claim, MAX_CHAIN, ProofFile, Proven, Signed, past_within};
use crate::event::act::{
    Admit, Invite, InviteKind, OwnerSet, redemption_message, succession_message,
};
use crate::event::{Act, Event};
use crate::ids::{DeviceId, EventId, RecoveryKey, UserId};
use crate::keys::{Domain, certified};

/// So many links are followed, and no more: an honest chain needs far fewer.
const EFFORT: usize = 40_000_000;
/// A signature costs as much as so many links.
const SIGNATURE: usize = 1000;

/// What the events so far have given whom, each with the event that did.
#[derive(Default)]
struct Given {
    devices: Vec<(EventId, DeviceId, UserId)>,
    users: Vec<(EventId, UserId)>,
    offices: Vec<(EventId, UserId)>,
    invites: BTreeMap<EventId, Invite>,
    recoveries: Vec<(EventId, RecoveryKey)>,
}

pub(super) fn check(
    file: &ProofFile,
    events: &BTreeMap<EventId, Event>,
) -> Result<Proven, BadProof> {
    if events.len() > MAX_CHAIN {
        return Err(BadProof::TooLarge);
    }
    let mut effort = EFFORT;
    let head = events
        .get(&file.head)
        .ok_or(BadProof::Gap("its head is not in it"))?;
    let fact = events
        .get(&file.fact)
        .ok_or(BadProof::Gap("the event that made it so is not in it"))?;
    let past = past_within(events, head, &mut effort).ok_or(BadProof::TooLarge)?;
    if file.fact != file.head && !past.contains(&file.fact) {
        return Err(BadProof::Gap(
            "the fact does not lie in the past of its head",
        ));
    }
    about(&file.claim, fact)?;
    let mut order: Vec<&Event> = events.values().collect();
    order.sort_by_key(|event| (event.header().lamport, event.id()));
    let mut given = Given::default();
    // What an event that nothing rests on lacks is nobody's concern.
    let mut signers = BTreeMap::new();
    for event in order {
        let id = event.id();
        let asked = id == file.fact || id == file.head;
        if !asked && !gives(event.act()) {
            continue;
        }
        let past = past_within(events, event, &mut effort).ok_or(BadProof::TooLarge)?;
        match given.judge(event, &past, &mut effort) {
            Ok(signer) => drop(signers.insert(id, signer)),
            Err(why) if asked => return Err(BadProof::Unfounded { id, why }),
            Err(_) => {}
        }
    }
    let signed = |event: &Event| {
        let signer = signers.get(&event.id()).copied();
        signer.ok_or(BadProof::Gap("an event is not in it"))
    };
    Ok(Proven {
        claim: file.claim,
        fact: signed(fact)?,
        head: signed(head)?,
        events: events.len(),
        whole: false,
    })
}

/// Whether an event says what is claimed.
fn about(claim: &Claim, fact: &Event) -> Result<(), BadProof> {
    let says = match (claim, fact.act()) {
        (Claim::Event(id), _) => *id == fact.id(),
        (Claim::Member(user), Act::Admit(act)) => act.user == *user,
        (Claim::Admin(user), Act::Grant(act)) => act.user == *user,
        (Claim::Member(user) | Claim::Admin(user), Act::Genesis(act)) => act.owner == *user,
        (Claim::Member(user) | Claim::Admin(user), Act::OwnerSet(act)) => act.successor == *user,
        _ => false,
    };
    if says {
        Ok(())
    } else {
        let what = "the event that should have made it so says something else";
        Err(BadProof::False(what.to_owned()))
    }
}

fn gives(act: &Act) -> bool {
    matches!(
        act,
        Act::Genesis(_)
            | Act::Invite(_)
            | Act::Admit(_)
            | Act::DeviceAdd(_)
            | Act::Grant(_)
            | Act::OwnerSet(_)
    )
}

impl Given {
    /// Whether an event's author had the right to sign it, by what lies in its past; takes note of what it gives.
    fn judge(
        &mut self,
        event: &Event,
        past: &BTreeSet<EventId>,
        effort: &mut usize,
    ) -> Result<Signed, &'static str> {
        let author = event.author();
        let user = match event.act() {
            Act::Genesis(act) => {
                if act.device != author || !certified(&act.owner, &author, &act.certificate) {
                    return Err("its founder's certificate does not hold");
                }
                act.owner
            }
            Act::DeviceAdd(act) => {
                if act.device != author || !certified(&act.user, &author, &act.certificate) {
                    return Err("the device's certificate does not hold");
                }
                if !self.member(&act.user, past) {
                    return Err("the device's user was not admitted");
                }
                act.user
            }
            Act::OwnerSet(act) => {
                self.succeeds(event, act, past, effort)?;
                if act.device == author {
                    act.successor
                } else {
                    self.speaks_for(&author, past)?
                }
            }
            _ => self.speaks_for(&author, past)?,
        };
        let admin = matches!(event.act(), Act::Genesis(_)) || self.holds_office(&user, past);
        match event.act() {
            Act::Invite(_) | Act::Grant(_) if !admin => return Err("its author held no office"),
            Act::Grant(act) if !self.member(&act.user, past) => {
                return Err("whom it makes an admin was not admitted");
            }
            Act::Admit(act) => self.admits(event, act, admin, past)?,
            _ => {}
        }
        self.note(event);
        Ok(Signed {
            event: event.id(),
            device: author,
            user,
            time: event.header().time,
            admin,
        })
    }

    fn note(&mut self, event: &Event) {
        let id = event.id();
        if let Some((user, device)) = super::named(event.act()) {
            self.devices.push((id, device, user));
        }
        match event.act() {
            Act::Genesis(act) => {
                self.users.push((id, act.owner));
                self.offices.push((id, act.owner));
                self.recoveries.push((id, act.recovery));
            }
            Act::OwnerSet(act) => {
                self.users.push((id, act.successor));
                self.offices.push((id, act.successor));
                self.recoveries.push((id, act.recovery));
            }
            Act::Admit(act) => self.users.push((id, act.user)),
            Act::Grant(act) => self.offices.push((id, act.user)),
            Act::Invite(act) => drop(self.invites.insert(id, act.clone())),
            _ => {}
        }
    }

    fn speaks_for(
        &self,
        device: &DeviceId,
        past: &BTreeSet<EventId>,
    ) -> Result<UserId, &'static str> {
        let named = self.devices.iter().rev();
        named
            .filter(|(id, named, _)| named == device && past.contains(id))
            .map(|(_, _, user)| *user)
            .next()
            .ok_or("nothing in its past makes its author a member's device")
    }

    fn member(&self, user: &UserId, past: &BTreeSet<EventId>) -> bool {
        let mut users = self.users.iter();
        users.any(|(id, named)| named == user && past.contains(id))
    }

    fn holds_office(&self, user: &UserId, past: &BTreeSet<EventId>) -> bool {
        let mut offices = self.offices.iter();
        offices.any(|(id, named)| named == user && past.contains(id))
    }

    fn admits(
        &self,
        event: &Event,
        act: &Admit,
        admin: bool,
        past: &BTreeSet<EventId>,
    ) -> Result<(), &'static str> {
        if !certified(&act.user, &act.device, &act.certificate) {
            return Err("the joiner's certificate does not hold");
        }
        let Some(redemption) = &act.redemption else {
            return if admin {
                Ok(())
            } else {
                Err("without an invite only an admin admits")
            };
        };
        let invite = self
            .invites
            .get(&redemption.invite)
            .filter(|_| past.contains(&redemption.invite))
            .ok_or("the invite is not in its past")?;
        if act.at > invite.expires {
            return Err("the invite had expired");
        }
        if invite.countersign && !admin {
            return Err("by this invite only an admin admits");
        }
        let message = redemption_message(
            &event.network(),
            &redemption.invite,
            &act.user,
            &act.device,
            &act.box_key,
            &act.certificate,
            &act.digest,
        );
        let domain = Domain::Redemption;
        let held = match invite.kind {
            InviteKind::Direct(user) => user == act.user,
            _ => invite.key.verifies(domain, &message, &redemption.by_invite),
        };
        if held
            && act.user.verifies(domain, &message, &redemption.by_user)
            && act.device.verifies(domain, &message, &redemption.by_device)
        {
            Ok(())
        } else {
            Err("a signature of the redemption does not hold")
        }
    }

    fn succeeds(
        &self,
        event: &Event,
        act: &OwnerSet,
        past: &BTreeSet<EventId>,
        effort: &mut usize,
    ) -> Result<(), &'static str> {
        let message = succession_message(&event.network(), act);
        let domain = Domain::Succession;
        if !certified(&act.successor, &act.device, &act.certificate)
            || !act.successor.verifies(domain, &message, &act.by_successor)
        {
            return Err("the successor's signatures do not hold");
        }
        let known = self.recoveries.iter().filter(|(id, _)| past.contains(id));
        for (_, key) in known {
            *effort = effort
                .checked_sub(SIGNATURE)
                .ok_or("there are too many owners before it")?;
            if key.verifies(domain, &message, &act.by_recovery) {
                return Ok(());
            }
        }
        Err("no owner's recovery words signed it")
    }
}
