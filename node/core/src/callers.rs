//! Callers that this device expects: by which names of a protocol others may dial it, and as what.
//!
//! See [`mesh_ledger::alpn`] for the names. [`Callers`] is that of one network. It derives a relation once, and makes the
//! names anew when the relations or the hour change. [`Expected`] is what the accepting task looks names up in.

use std::collections::BTreeMap;
use std::sync::Arc;

use mesh_ledger::alpn::{EPOCHS, Name, Relation};
use mesh_ledger::ids::{BoxKey, DeviceId, EpochId, NetworkId};
use mesh_ledger::keys::BoxSecret;
use mesh_ledger::network::Ledger;
use mesh_ledger::store::Store;

use crate::desired::peer_id;
use crate::link::{Hello, Role};
use crate::peer::PeerId;

/// Of how many invites the names are taken at a time.
const MAX_INVITES: usize = 512;

/// As what somebody dials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// As this device of a member.
    Member(NetworkId, PeerId),
    /// As a device that has the key of an epoch: one of which this device has not heard, or a removed one.
    Unheard(NetworkId),
    /// As somebody who has a ticket.
    Joiner(NetworkId),
    /// As somebody who knows the number of the code that is shown.
    Code,
}

impl Caller {
    /// Returns whether a device that dialled as this may be that peer.
    #[must_use]
    pub fn may_be(&self, peer: &PeerId) -> bool {
        match self {
            Self::Member(_, member) => member == peer,
            Self::Unheard(_) | Self::Joiner(_) | Self::Code => true,
        }
    }

    /// Returns whether a device that dialled as this may say that.
    #[must_use]
    pub fn may_say(&self, hello: &Hello) -> bool {
        match (self, &hello.role) {
            (Self::Member(network, _) | Self::Unheard(network), Role::Member)
            | (Self::Joiner(network), Role::Joiner(_)) => *network == hello.network,
            (Self::Code, Role::Code(_)) => true,
            _ => false,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Device(DeviceId, BoxKey),
    Epoch(EpochId),
    Invite([u8; 32]),
}

/// The names of one network.
#[derive(Debug, Default)]
pub struct Callers {
    relations: BTreeMap<Subject, Relation>,
    hour: Option<u64>,
    names: Arc<BTreeMap<Name, Caller>>,
}

impl Callers {
    /// Follows the ledger and the clock, milliseconds since 1970. Returns whether the names changed.
    pub fn follow<S: Store>(
        &mut self,
        ledger: &Ledger<S>,
        me: &PeerId,
        mine: &BoxSecret,
        now: u64,
    ) -> bool {
        let network = ledger.network();
        let state = ledger.state();
        let devices = state
            .devices
            .iter()
            .filter(|(device, _)| peer_id(device) != *me)
            .map(|(device, live)| Subject::Device(*device, live.box_key));
        let epochs = last_epochs(ledger).map(Subject::Epoch);
        let invites = invites(ledger, now).map(Subject::Invite);
        let mut old = std::mem::take(&mut self.relations);
        let before = old.len();
        let mut derived = 0;
        for subject in devices.chain(epochs).chain(invites) {
            let known = old.remove(&subject);
            derived += usize::from(known.is_none());
            let relation = known.or_else(|| match &subject {
                Subject::Device(_, key) => Relation::pair(&network, mine, key),
                Subject::Epoch(epoch) => {
                    let key = ledger.keys().get(epoch)?;
                    Some(Relation::epoch(&network, key))
                }
                Subject::Invite(contact) => Some(Relation::invite(contact)),
            });
            if let Some(relation) = relation {
                self.relations.insert(subject, relation);
            }
        }
        let hour = Some(now / 3_600_000);
        if derived == 0 && self.relations.len() == before && self.hour == hour {
            return false;
        }
        self.hour = hour;
        self.names = Arc::new(self.make(network, me, now));
        true
    }

    fn make(&self, network: NetworkId, me: &PeerId, now: u64) -> BTreeMap<Name, Caller> {
        let mut names = BTreeMap::new();
        for (subject, relation) in &self.relations {
            let (of, caller) = match subject {
                Subject::Device(device, _) => (&device.0, Caller::Member(network, peer_id(device))),
                Subject::Epoch(_) => (&me.0, Caller::Unheard(network)),
                Subject::Invite(_) => (&me.0, Caller::Joiner(network)),
            };
            names.extend(relation.taken(of, now).map(|name| (name, caller)));
        }
        names
    }

    /// Returns the names that this device uses to dial a peer, in milliseconds since 1970. As a `stranger`, it also uses those by
    /// which a peer takes a device that it has not heard of, or whose clock disagrees.
    #[must_use]
    pub fn names_for(&self, me: &PeerId, peer: &PeerId, stranger: bool, now: u64) -> Vec<Name> {
        use mesh_ledger::alpn::When::{self, Any};
        let mut names = Vec::new();
        for (subject, relation) in &self.relations {
            match subject {
                Subject::Device(device, _) if peer_id(device) == *peer => {
                    names.push(relation.name(&me.0, When::at(now)));
                    names.extend(stranger.then(|| relation.name(&me.0, Any)));
                }
                Subject::Epoch(_) if stranger => {
                    names.push(relation.name(&peer.0, When::at(now)));
                    names.push(relation.name(&peer.0, Any));
                }
                _ => {}
            }
        }
        names
    }
}

/// The contact secrets of invites, those that can be used first. The others are taken too, so that their tickets are told
/// at once why they are worth nothing.
fn invites<S: Store>(ledger: &Ledger<S>, now: u64) -> impl Iterator<Item = [u8; 32]> {
    let invites = ledger.state().invites.values();
    let mut invites: Vec<(bool, u64, [u8; 32])> = invites
        .map(|invite| {
            let usable = invite.closed.is_none() && invite.expires > now;
            (usable, invite.expires, invite.contact)
        })
        .collect();
    invites.sort_unstable_by(|a, b| b.cmp(a));
    let contacts = invites.into_iter().map(|(_, _, contact)| contact);
    contacts.take(MAX_INVITES)
}

/// The last epochs whose keys are here.
fn last_epochs<S: Store>(ledger: &Ledger<S>) -> impl Iterator<Item = EpochId> {
    let epochs = ledger.state().epochs.iter().rev();
    let here = epochs.filter(|epoch| ledger.keys().get(epoch).is_some());
    here.take(EPOCHS).copied()
}

/// All names by which this device may be dialled at the moment.
#[derive(Debug, Clone, Default)]
pub struct Expected {
    networks: Vec<Arc<BTreeMap<Name, Caller>>>,
    code: Vec<Name>,
}

impl Expected {
    /// Adds those of a network.
    pub fn add(&mut self, callers: &Callers) {
        self.networks.push(callers.names.clone());
    }

    /// Adds those of the code that is shown, by its number, in milliseconds since 1970.
    pub fn add_code(&mut self, mailbox: u16, me: &PeerId, now: u64) {
        self.code.extend(Relation::code(mailbox).taken(&me.0, now));
    }

    /// Returns as what a device dials that offers these names, and the name to answer with. A member goes before the others.
    pub fn find<'a>(&self, offered: impl Iterator<Item = &'a [u8]>) -> Option<(Name, Caller)> {
        let mut found = None;
        for name in offered.filter_map(|offered| Name::try_from(offered).ok()) {
            let caller = self
                .networks
                .iter()
                .find_map(|names| names.get(&name).copied());
            let code = || self.code.contains(&name).then_some(Caller::Code);
            match caller.or_else(code) {
                Some(member @ Caller::Member(..)) => return Some((name, member)),
                Some(other) => found = found.or(Some((name, other))),
                None => {}
            }
        }
        found
    }
}

#[cfg(test)]
mod tests;
