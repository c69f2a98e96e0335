//! What changed in a network from one state of it to another.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use crate::event::attributes::{Server, Subnet};
use crate::ids::{DeviceId, EpochId, EventId, UserId, WgKey};
use crate::state::{Member, Rank, StandingOffer, State};
use crate::text::{Label, Note};

/// One difference between two states. Where the later state says by which event it came, that is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The network got a name, or another.
    NetworkName(Option<Label>, Option<Label>),
    /// Addresses are taken from elsewhere.
    Subnet(Option<Subnet>, Option<Subnet>),
    /// The network has another owner.
    Owner(UserId, UserId),
    /// A user is a member now.
    Joined(UserId, EventId),
    /// A user is no member any more, and what removed it, if that is known.
    Gone(UserId, Option<EventId>),
    /// A user was removed and admitted again.
    Back(UserId, EventId),
    /// A member's rank.
    Rank(UserId, Rank, Rank),
    /// What a member is called.
    Name(UserId, Label, Label),
    /// A member got a tag.
    Tagged(UserId, Label),
    /// A member lost a tag.
    Untagged(UserId, Label),
    /// A member's further device came.
    DeviceCame(DeviceId, EventId),
    /// A device of somebody who is a member still went, and what removed it, if that is known.
    DeviceGone(DeviceId, UserId, Option<EventId>),
    /// A device's host name.
    Host(DeviceId, Label, Label),
    /// A device's address.
    Address(DeviceId, Option<Ipv4Addr>, Option<Ipv4Addr>),
    /// A device's WireGuard key.
    WireGuard(DeviceId, Option<WgKey>, Option<WgKey>),
    /// A device offers something.
    Offered(DeviceId, u32, EventId),
    /// A device offers something else in that place, to others, or for another time.
    OfferChanged(DeviceId, u32, EventId),
    /// A device offers something to an audience that alone can read it.
    OfferedNarrowly(DeviceId, u32, EventId),
    /// A device offers something no more that could not be read here.
    WithdrawnNarrowly(DeviceId, u32),
    /// Whether an offer may be used.
    Approved(DeviceId, u32, bool),
    /// A device offers something no more.
    Withdrawn(DeviceId, u32),
    /// There is a new invite.
    Invited(EventId),
    /// An invite was used: how often before and after.
    InviteUsed(EventId, u32, u32),
    /// An invite is closed, and what closed it.
    InviteClosed(EventId, EventId),
    /// An invite that was closed is open again, for what closed it does not count.
    InviteReopened(EventId),
    /// An invite does not count any more.
    InviteVoid(EventId),
    /// A server was listed.
    ServerAdded(Server),
    /// A server's address.
    ServerMoved(Server, Server),
    /// A server is listed no more.
    ServerRemoved(Server),
    /// A setting; none is its default.
    Setting(Label, Option<Note>, Option<Note>),
    /// An epoch began.
    EpochBegan(EpochId),
    /// An epoch does not count any more.
    EpochVoid(EpochId),
}

/// All differences from `old` to `new`, in the order of [`Change`]; none if the two are the same.
#[must_use]
pub fn diff(old: &State, new: &State) -> Vec<Change> {
    let mut changes = Vec::new();
    if old.name != new.name {
        changes.push(Change::NetworkName(old.name.clone(), new.name.clone()));
    }
    if old.subnet != new.subnet {
        changes.push(Change::Subnet(old.subnet, new.subnet));
    }
    if old.owner != new.owner {
        changes.push(Change::Owner(old.owner, new.owner));
    }
    members(old, new, &mut changes);
    devices(old, new, &mut changes);
    offers(old, new, &mut changes);
    invites(old, new, &mut changes);
    servers(old, new, &mut changes);
    let settings: BTreeSet<&Label> = old.settings.keys().chain(new.settings.keys()).collect();
    for key in settings {
        let (before, after) = (old.settings.get(key), new.settings.get(key));
        if before != after {
            changes.push(Change::Setting(
                key.clone(),
                before.cloned(),
                after.cloned(),
            ));
        }
    }
    let added = |of: &State, to: &State| -> Vec<EpochId> {
        let known: BTreeSet<&EpochId> = of.epochs.iter().collect();
        let epochs = to.epochs.iter().filter(|epoch| !known.contains(epoch));
        epochs.copied().collect()
    };
    changes.extend(added(old, new).into_iter().map(Change::EpochBegan));
    changes.extend(added(new, old).into_iter().map(Change::EpochVoid));
    changes
}

fn members(old: &State, new: &State, changes: &mut Vec<Change>) {
    for member in new.members.values() {
        match old.members.get(&member.user) {
            None => changes.push(Change::Joined(member.user, member.admitted)),
            Some(before) => member_changed(before, member, changes),
        }
    }
    for user in old.members.keys() {
        if !new.members.contains_key(user) {
            changes.push(Change::Gone(*user, new.removed_users.get(user).copied()));
        }
    }
}

fn member_changed(before: &Member, member: &Member, changes: &mut Vec<Change>) {
    let user = member.user;
    if before.admitted != member.admitted {
        changes.push(Change::Back(user, member.admitted));
    }
    if before.rank != member.rank {
        changes.push(Change::Rank(user, before.rank, member.rank));
    }
    if before.name != member.name {
        changes.push(Change::Name(user, before.name.clone(), member.name.clone()));
    }
    let tags =
        |a: &Member, b: &Member| -> Vec<Label> { a.tags.difference(&b.tags).cloned().collect() };
    changes.extend(
        tags(member, before)
            .into_iter()
            .map(|tag| Change::Tagged(user, tag)),
    );
    changes.extend(
        tags(before, member)
            .into_iter()
            .map(|tag| Change::Untagged(user, tag)),
    );
}

fn devices(old: &State, new: &State, changes: &mut Vec<Change>) {
    for device in new.devices.values() {
        let Some(before) = old.devices.get(&device.id) else {
            // The first device comes with its user.
            if old.members.contains_key(&device.user) {
                changes.push(Change::DeviceCame(device.id, device.event));
            }
            continue;
        };
        if before.host != device.host {
            changes.push(Change::Host(
                device.id,
                before.host.clone(),
                device.host.clone(),
            ));
        }
        if before.v4 != device.v4 {
            changes.push(Change::Address(device.id, before.v4, device.v4));
        }
        if before.wireguard != device.wireguard {
            changes.push(Change::WireGuard(
                device.id,
                before.wireguard,
                device.wireguard,
            ));
        }
    }
    for device in old.devices.values() {
        if !new.devices.contains_key(&device.id) && new.members.contains_key(&device.user) {
            let by = new.removed_devices.get(&device.id).copied();
            changes.push(Change::DeviceGone(device.id, device.user, by));
        }
    }
}

fn offers(old: &State, new: &State, changes: &mut Vec<Change>) {
    for ((device, slot), standing) in &new.offers {
        let before: Option<&StandingOffer> = old.offers.get(&(*device, *slot));
        match before {
            None => changes.push(Change::Offered(*device, *slot, standing.event)),
            Some(before) if before.offer != standing.offer => {
                changes.push(Change::OfferChanged(*device, *slot, standing.event));
            }
            Some(before) if before.approved != standing.approved => {
                changes.push(Change::Approved(*device, *slot, standing.approved));
            }
            Some(_) => {}
        }
    }
    for (device, slot) in old.offers.keys() {
        if !new.offers.contains_key(&(*device, *slot)) {
            changes.push(Change::Withdrawn(*device, *slot));
        }
    }
    for ((device, slot), standing) in &new.narrow {
        let place = (*device, *slot);
        let same = old.narrow.get(&place).map(|old| &old.offer) == Some(&standing.offer);
        if !same && !new.offers.contains_key(&place) {
            changes.push(Change::OfferedNarrowly(*device, *slot, standing.event));
        }
    }
    for place in old.narrow.keys() {
        if !new.narrow.contains_key(place) && !old.offers.contains_key(place) {
            changes.push(Change::WithdrawnNarrowly(place.0, place.1));
        }
    }
}

fn invites(old: &State, new: &State, changes: &mut Vec<Change>) {
    for (id, invite) in &new.invites {
        let Some(before) = old.invites.get(id) else {
            changes.push(Change::Invited(*id));
            if invite.used > 0 {
                changes.push(Change::InviteUsed(*id, 0, invite.used));
            }
            if let Some(by) = invite.closed {
                changes.push(Change::InviteClosed(*id, by));
            }
            continue;
        };
        if before.used != invite.used {
            changes.push(Change::InviteUsed(*id, before.used, invite.used));
        }
        match (before.closed, invite.closed) {
            (None, Some(by)) => changes.push(Change::InviteClosed(*id, by)),
            (Some(_), None) => changes.push(Change::InviteReopened(*id)),
            _ => {}
        }
    }
    for id in old.invites.keys() {
        if !new.invites.contains_key(id) {
            changes.push(Change::InviteVoid(*id));
        }
    }
}

fn servers(old: &State, new: &State, changes: &mut Vec<Change>) {
    let by_key = |state: &State| -> BTreeMap<[u8; 32], Server> {
        let servers = state.servers.iter();
        servers.map(|server| (server.key, server.clone())).collect()
    };
    let (before, after) = (by_key(old), by_key(new));
    for (key, server) in &after {
        match before.get(key) {
            None => changes.push(Change::ServerAdded(server.clone())),
            Some(old) if old.address != server.address => {
                changes.push(Change::ServerMoved(old.clone(), server.clone()));
            }
            Some(_) => {}
        }
    }
    let gone = before
        .into_iter()
        .filter(|(key, _)| !after.contains_key(key));
    changes.extend(gone.map(|(_, server)| Change::ServerRemoved(server)));
}
