//! Whole lives of small networks, each device with a store of its own.
#![allow(clippy::unwrap_used)]

mod authoring;
mod carrying;
mod checkpoint;
mod cost;
mod delivery;
mod devices;
mod joining;
mod narrow;
mod proving;
mod storage;
mod strangers;
mod trial;
mod witness;

use super::redeem::{Challenge, RedeemError, Reply, Request};
use super::*;
use crate::event::act::{Grant, Invite, InviteClose, InviteKind, Remove, Target};
use crate::event::attributes::{Invitation, Write};
use crate::ids::InviteKey;
use crate::store::memory::MemoryStore;
use crate::ticket::Ticket;
use crate::verdict::Reason;
use crate::wire::Sync;

const NOW: u64 = 1_795_000_000_000;
const HOUR: u64 = 3_600_000;

/// A person with one device, and a copy of the network if it is a member.
struct Peer {
    n: u8,
    user: UserSecret,
    device: DeviceSecret,
    box_secret: BoxSecret,
    ledger: Option<Ledger<MemoryStore>>,
}

impl Peer {
    fn new(n: u8) -> Self {
        Self {
            n,
            user: UserSecret::from_seed(&[n; 32]),
            device: DeviceSecret::from_seed(&[n + 100; 32]),
            box_secret: BoxSecret::from_seed(&[n; 32]),
            ledger: None,
        }
    }

    fn founder() -> Self {
        let mut peer = Self::new(1);
        let args = FoundingArgs {
            name: "home".parse().unwrap(),
            subnet: "10.7.0.0/24".parse().unwrap(),
            policy: Policy::default(),
            user: &peer.user,
            device: &peer.device,
            box_secret: peer.box_secret.clone(),
            host: "alice".parse().unwrap(),
            address: None,
            wireguard: WgKey([1; 32]),
            epoch: EpochKey::from_bytes([42; 32]),
            recovery: RecoveryWords::from_entropy([7; 32]),
            nonce: [1; 16],
            salt: [2; 16],
            now: NOW,
        };
        let (ledger, _) = Ledger::found(MemoryStore::new(), args).unwrap();
        peer.ledger = Some(ledger);
        peer
    }

    fn id(&self) -> DeviceId {
        self.device.public()
    }

    /// The ledger, whose kept fold is the fold from nothing: looked at between any two things that a test does to it.
    fn ledger(&mut self) -> &mut Ledger<MemoryStore> {
        let ledger = self.ledger.as_mut().unwrap();
        // Whatever it needs it reads back.
        ledger.graph.forget_bodies();
        folded(ledger);
        assert_eq!(ledger.whole(), Ok(()));
        ledger.graph.forget_bodies();
        ledger
    }

    /// The ledger, of whose store something is damaged.
    fn unchecked(&mut self) -> &mut Ledger<MemoryStore> {
        self.ledger.as_mut().unwrap()
    }

    fn try_author(
        &mut self,
        act: Act,
        attributes: Option<Attributes>,
    ) -> Result<Event, AuthorError> {
        let device = self.device.clone();
        self.ledger().author(&device, act, attributes, NOW)
    }

    fn author(&mut self, act: Act, attributes: Option<Attributes>) -> Event {
        self.try_author(act, attributes).unwrap()
    }

    fn invite(&mut self, seed: u8, max_uses: u32) -> (Event, Ticket) {
        let network = self.ledger().network();
        let ticket = Ticket::new(network, [seed; 16], false, NOW + HOUR, &[]);
        let act = Act::Invite(Invite {
            key: ticket.invite_secret().public(),
            kind: InviteKind::Bearer,
            max_uses,
            expires: NOW + HOUR,
            countersign: false,
        });
        let sealed = Attributes::Invitation(Invitation {
            contact: *ticket.contact(),
            note: None,
            tags: Vec::new(),
        });
        (self.author(act, Some(sealed)), ticket)
    }

    fn request(&self, ticket: &Ticket, invite: EventId) -> Request {
        let joining = Joining {
            salt: [self.n; 16],
            host: format!("host-{}", self.n).parse().unwrap(),
            address: None,
            wireguard: WgKey([self.n; 32]),
        };
        Request::new(
            ticket,
            invite,
            &self.user,
            &self.device,
            self.box_secret.public(),
            joining,
        )
    }

    /// The whole conversation of a joiner with a sponsor, over encoded bytes.
    fn join(&mut self, ticket: &Ticket, sponsor: &mut Self) -> Result<(), RedeemError> {
        let challenge = Challenge::new(ticket, [self.n; 32]);
        let heard = Challenge::decode(&challenge.encode()).unwrap();
        let introduction =
            sponsor
                .ledger
                .as_ref()
                .unwrap()
                .introduce(&heard, &sponsor.id(), &self.id())?;
        assert!(introduction.proves(ticket, &challenge, &sponsor.id(), &self.id()));
        let request = self.request(ticket, introduction.invite);
        let heard = Request::decode(&request.encode()).unwrap();
        let (from, device) = (self.id(), sponsor.device.clone());
        let answer = sponsor
            .ledger()
            .redeem(&heard, &from, &device, &[self.n; 32], NOW)?;
        let reply = Reply::decode(&Reply::Admitted(answer).encode()).unwrap();
        let Reply::Admitted(answer) = reply else {
            panic!("{reply:?}");
        };
        let events = sponsor.ledger().index().events();
        let args = JoinArgs {
            network: ticket.network(),
            events: events.map(|event| event.bytes().to_vec()).collect(),
            epoch: answer
                .key
                .open(&ticket.network(), &self.box_secret)
                .unwrap(),
            device: self.id(),
            box_secret: self.box_secret.clone(),
        };
        self.ledger = Some(Ledger::join(MemoryStore::new(), args).unwrap());
        Ok(())
    }

    /// Closes the ledger and opens it from its store again.
    fn reopen(&mut self) {
        let store = self.ledger.take().unwrap().store;
        self.ledger = Some(Ledger::open(store, self.box_secret.clone()).unwrap());
    }

    fn rename(&mut self, host: &str) -> Event {
        let device = self.id();
        let host = host.parse().unwrap();
        self.author(
            Act::Private,
            Some(Attributes::Writes(vec![Write::Host { device, host }])),
        )
    }
}

/// Syncs two peers through the wire until nothing moves.
fn sync(a: &mut Peer, b: &mut Peer) {
    let (mut at_a, mut at_b) = (Sync::new(), Sync::new());
    let (id_a, id_b) = (a.id(), b.id());
    let mut to_b = at_a.start(a.ledger().index());
    let mut to_a = Vec::new();
    while !(to_a.is_empty() && to_b.is_empty()) {
        let mut answers = (Vec::new(), Vec::new());
        for (from, to, session, inbox, out) in [
            (id_a, &mut *b, &mut at_b, &mut to_b, &mut answers.0),
            (id_b, &mut *a, &mut at_a, &mut to_a, &mut answers.1),
        ] {
            for message in inbox.drain(..) {
                let ledger = to.ledger.as_mut().unwrap();
                let step = session.receive(message, ledger.index());
                let receipt = ledger
                    .receive(Source::Sync(from), &step.events, NOW)
                    .unwrap();
                assert_eq!(receipt.refused, []);
                out.extend(step.send);
            }
        }
        (to_a, to_b) = answers;
    }
}

fn folded(ledger: &Ledger<MemoryStore>) {
    let full = crate::fold::fold(&ledger.graph, &ledger.keys);
    let mut state = ledger.state().clone();
    state.offers.retain(|_, standing| !standing.narrow);
    assert_eq!(state, full.state);
    assert_eq!(ledger.fold().authority, full.authority);
    assert_eq!(ledger.fold().verdicts, full.verdicts);
    assert_eq!(ledger.fold().order, full.order);
}

fn same(a: &mut Peer, b: &mut Peer) {
    assert_eq!(a.ledger().heads(), b.ledger().heads());
    assert_eq!(a.ledger().heads_digest(), b.ledger().heads_digest());
    assert_eq!(a.ledger().state_hash(), b.ledger().state_hash());
    assert_eq!(a.ledger().authority_hash(), b.ledger().authority_hash());
    assert_eq!(a.ledger().replica_heads(), b.ledger().replica_heads());
}
