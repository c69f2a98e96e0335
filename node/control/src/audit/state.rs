//! The network's state as tools see it.

use crate::view::{
    Admitted, Audience as AudienceView, InviteState, InviteView, MemberDevice, MemberView,
    OfferView, Offered, PeerReach, PeerView, Ports, Proto, Rank as RankView,
};
use mesh_ledger::event::Act;
use mesh_ledger::event::act::InviteKind;
use mesh_ledger::event::attributes::{Audience, Protocol, Service};
use mesh_ledger::fold::Fold;
use mesh_ledger::graph::Graph;
use mesh_ledger::ids::{DeviceId, EventId, UserId};
use mesh_ledger::state::{Device, Member, Rank, StandingInvite, StandingOffer, State};

use super::event_ref;

/// What this device sees of another one now.
#[derive(Debug, Clone)]
pub struct Live {
    /// How packets reach it.
    pub reach: PeerReach,
    /// The path in words; empty when there is none.
    pub path: String,
    /// The UDP address it is reached at.
    pub endpoint: Option<String>,
    /// Time there and back, in microseconds.
    pub rtt_us: Option<u64>,
    /// When it was heard from last.
    pub last_seen_ms: Option<u64>,
    /// When the last WireGuard handshake ended.
    pub handshake_ms: Option<u64>,
    /// Payload bytes that came from it.
    pub rx_bytes: u64,
    /// Payload bytes that went to it.
    pub tx_bytes: u64,
}

impl Live {
    /// A device that is not reached.
    pub fn offline(last_seen_ms: Option<u64>) -> Self {
        Self {
            reach: PeerReach::Offline,
            path: String::new(),
            endpoint: None,
            rtt_us: None,
            last_seen_ms,
            handshake_ms: None,
            rx_bytes: 0,
            tx_bytes: 0,
        }
    }
}

/// A network, with this device in it, at a moment.
pub struct Viewer<'a> {
    /// The events.
    pub graph: &'a Graph,
    /// What they amount to.
    pub fold: &'a Fold,
    /// This device.
    pub me: DeviceId,
    /// The moment.
    pub now: u64,
    /// What this device sees of a device.
    pub live: &'a dyn Fn(&DeviceId) -> Live,
}

impl Viewer<'_> {
    fn state(&self) -> &State {
        &self.fold.state
    }

    fn my_user(&self) -> Option<UserId> {
        self.state().devices.get(&self.me).map(|device| device.user)
    }

    fn user_name(&self, user: &UserId) -> String {
        self.state()
            .members
            .get(user)
            .map_or_else(|| user.short(), |member| member.name.to_string())
    }

    fn device_name(&self, device: &DeviceId) -> String {
        self.state()
            .devices
            .get(device)
            .map_or_else(|| device.short(), |device| device.host.to_string())
    }

    /// A member.
    pub fn member(&self, member: &Member) -> MemberView {
        let mut devices: Vec<MemberDevice> = member
            .devices
            .iter()
            .filter_map(|id| self.state().devices.get(id))
            .map(|device| self.device(device))
            .collect();
        devices.sort_by(|a, b| a.name.cmp(&b.name));
        let invite =
            self.graph
                .find(&member.admitted)
                .and_then(|idx| match self.graph.event(idx).act() {
                    Act::Admit(act) => act
                        .redemption
                        .as_ref()
                        .map(|redemption| event_ref(&redemption.invite)),
                    _ => None,
                });
        MemberView {
            user: member.user.to_string(),
            short: member.user.short(),
            name: member.name.to_string(),
            rank: rank(member.rank),
            me: self.my_user() == Some(member.user),
            admitted: member.admitted_by.map(|by| Admitted {
                by: self.user_name(&by),
                event: event_ref(&member.admitted),
                time_ms: member.at,
                invite,
            }),
            devices,
            tags: member.tags.iter().map(ToString::to_string).collect(),
        }
    }

    /// All members, by name.
    pub fn members(&self) -> Vec<MemberView> {
        let mut members: Vec<MemberView> = self
            .state()
            .members
            .values()
            .map(|member| self.member(member))
            .collect();
        members.sort_by(|a, b| a.name.cmp(&b.name));
        members
    }

    /// The owner and the admins, by seniority.
    pub fn admins(&self) -> Vec<MemberView> {
        let state = self.state();
        let mut admins: Vec<(Option<(u32, EventId)>, MemberView)> = state
            .members
            .values()
            .filter_map(|member| match member.rank {
                Rank::Owner => Some((None, self.member(member))),
                Rank::Admin { grant } => {
                    let lamport = self
                        .graph
                        .find(&grant)
                        .map_or(u32::MAX, |idx| self.graph.lamport(idx));
                    Some((Some((lamport, grant)), self.member(member)))
                }
                Rank::Member => None,
            })
            .collect();
        admins.sort_by_key(|(seniority, _)| *seniority);
        admins.into_iter().map(|(_, view)| view).collect()
    }

    fn device(&self, device: &Device) -> MemberDevice {
        let me = device.id == self.me;
        let live = (self.live)(&device.id);
        MemberDevice {
            device: device.id.to_string(),
            short: device.id.short(),
            name: device.host.to_string(),
            address: device.v4.map(|a| a.to_string()).unwrap_or_default(),
            address6: device.v6.to_string(),
            online: me || live.reach != PeerReach::Offline,
            last_seen_ms: if me {
                Some(self.now)
            } else {
                live.last_seen_ms
            },
        }
    }

    /// Every other device, those online first, then by name.
    pub fn peers(&self) -> Vec<PeerView> {
        let others = self
            .state()
            .devices
            .values()
            .filter(|device| device.id != self.me);
        let mut peers: Vec<PeerView> = others.map(|device| self.peer(device)).collect();
        peers.sort_by(|a, b| {
            let offline = |peer: &PeerView| peer.reach == PeerReach::Offline;
            offline(a)
                .cmp(&offline(b))
                .then_with(|| a.name.cmp(&b.name))
        });
        peers
    }

    fn peer(&self, device: &Device) -> PeerView {
        let live = (self.live)(&device.id);
        let offers = self
            .state()
            .offers
            .range((device.id, 0)..=(device.id, u32::MAX));
        let for_me = offers
            .filter(|(_, standing)| {
                self.in_force(standing) && self.state().admits(&standing.offer.audience, &self.me)
            })
            .map(|(_, standing)| {
                standing.offer.name.as_ref().map_or_else(
                    || super::log::service(&standing.offer.what),
                    ToString::to_string,
                )
            })
            .collect();
        PeerView {
            device: device.id.to_string(),
            user: device.user.to_string(),
            name: device.host.to_string(),
            address: device.v4.map(|a| a.to_string()).unwrap_or_default(),
            address6: device.v6.to_string(),
            reach: live.reach,
            path: live.path,
            endpoint: live.endpoint,
            rtt_us: live.rtt_us,
            last_seen_ms: live.last_seen_ms,
            handshake_ms: live.handshake_ms,
            rx_bytes: live.rx_bytes,
            tx_bytes: live.tx_bytes,
            for_me,
        }
    }

    fn in_force(&self, standing: &StandingOffer) -> bool {
        standing.offer.until.is_none_or(|until| until > self.now)
    }

    /// The offers in force of this device and for it, by device, then ports.
    pub fn offers(&self) -> Vec<OfferView> {
        let mut offers: Vec<OfferView> = self
            .state()
            .offers
            .iter()
            .filter(|(_, standing)| self.in_force(standing))
            .filter_map(|((device, _), standing)| self.offer(device, standing))
            .filter(|offer| offer.mine || offer.for_me)
            .collect();
        offers.sort_by(|a, b| a.device.cmp(&b.device).then_with(|| a.what.cmp(&b.what)));
        offers
    }

    /// An offer of ports or of a relay; other services have views of their own.
    pub fn offer(&self, device: &DeviceId, standing: &StandingOffer) -> Option<OfferView> {
        let what = match standing.offer.what {
            Service::Port {
                protocol,
                first,
                last,
            } => Offered::Ports(Ports::range(proto(protocol), first, last)?),
            Service::Relay => Offered::Relay,
            _ => return None,
        };
        let mine = *device == self.me;
        let live = (self.live)(device);
        let since = self
            .graph
            .find(&standing.event)
            .map_or(0, |idx| self.graph.time(idx));
        Some(OfferView {
            event: event_ref(&standing.event),
            device: self.device_name(device),
            device_id: device.to_string(),
            mine,
            for_me: !mine && self.state().admits(&standing.offer.audience, &self.me),
            what,
            name: standing.offer.name.as_ref().map(ToString::to_string),
            to: self.audience(&standing.offer.audience),
            since_ms: since,
            until_ms: standing.offer.until,
            reach: if mine { PeerReach::Direct } else { live.reach },
            last_seen_ms: if mine {
                Some(self.now)
            } else {
                live.last_seen_ms
            },
        })
    }

    fn audience(&self, audience: &Audience) -> AudienceView {
        match audience {
            Audience::Everyone => AudienceView::All,
            Audience::Only {
                users,
                devices,
                tags,
            } => {
                let users = users.iter().map(|user| self.user_name(user));
                let devices = devices.iter().map(|device| self.device_name(device));
                let tags = tags.iter().map(|tag| format!("tag:{tag}"));
                AudienceView::Names(users.chain(devices).chain(tags).collect())
            }
        }
    }

    /// All invites, newest first.
    pub fn invites(&self) -> Vec<InviteView> {
        let mut invites: Vec<InviteView> = self
            .state()
            .invites
            .iter()
            .map(|(id, invite)| self.invite(id, invite))
            .collect();
        invites.sort_by(|a, b| {
            b.made_ms
                .cmp(&a.made_ms)
                .then_with(|| a.event.cmp(&b.event))
        });
        invites
    }

    /// An invite.
    pub fn invite(&self, id: &EventId, invite: &StandingInvite) -> InviteView {
        let made = self.graph.find(id).map_or(0, |idx| self.graph.time(idx));
        let state = if invite.closed.is_some() {
            InviteState::Revoked
        } else if invite.used >= invite.max_uses {
            InviteState::Used
        } else if invite.expires <= self.now {
            InviteState::Expired
        } else {
            InviteState::Open
        };
        InviteView {
            event: event_ref(id),
            by: self.user_name(&invite.issuer),
            to: match invite.kind {
                InviteKind::Direct(user) => Some(user.to_string()),
                _ => None,
            },
            note: invite.note.as_ref().map(ToString::to_string),
            used: invite.used,
            uses: invite.max_uses,
            made_ms: made,
            expires_ms: invite.expires,
            countersign: invite.countersign,
            state,
            tags: invite.tags.iter().map(ToString::to_string).collect(),
        }
    }
}

/// A rank.
pub fn rank(rank: Rank) -> RankView {
    match rank {
        Rank::Owner => RankView::Owner,
        Rank::Admin { .. } => RankView::Admin,
        Rank::Member => RankView::Member,
    }
}

fn proto(protocol: Protocol) -> Proto {
    match protocol {
        Protocol::Tcp => Proto::Tcp,
        Protocol::Udp => Proto::Udp,
    }
}
