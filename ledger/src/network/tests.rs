//! Whole lives of small networks, each device with a store of its own.
#![allow(clippy::unwrap_used)]

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

    fn ledger(&mut self) -> &mut Ledger<MemoryStore> {
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

fn same(a: &mut Peer, b: &mut Peer) {
    assert_eq!(a.ledger().heads(), b.ledger().heads());
    assert_eq!(a.ledger().heads_digest(), b.ledger().heads_digest());
    assert_eq!(a.ledger().state_hash(), b.ledger().state_hash());
    assert_eq!(a.ledger().authority_hash(), b.ledger().authority_hash());
    assert_eq!(a.ledger().replica_heads(), b.ledger().replica_heads());
}

#[test]
fn a_network_is_founded_joined_by_a_ticket_and_one_state_on_both_sides() {
    let (mut alice, mut bob) = (Peer::founder(), Peer::new(2));
    let (_, ticket) = alice.invite(5, 1);
    bob.join(&ticket, &mut alice).unwrap();
    same(&mut alice, &mut bob);
    bob.rename("tower");
    sync(&mut bob, &mut alice);
    same(&mut alice, &mut bob);
    let bobs = bob.id();
    let device = &alice.ledger().state().devices[&bobs];
    assert_eq!(device.host.as_str(), "tower");
    assert!(device.v4.is_some());
    assert_eq!(alice.ledger().state().pending, 0);
}

#[test]
fn any_member_lets_a_joiner_in_and_a_used_ticket_lets_in_nobody_more() {
    let (mut alice, mut bob, mut carol) = (Peer::founder(), Peer::new(2), Peer::new(3));
    let (_, ticket) = alice.invite(5, 2);
    bob.join(&ticket, &mut alice).unwrap();
    carol.join(&ticket, &mut bob).unwrap();
    let mut dave = Peer::new(4);
    assert_eq!(dave.join(&ticket, &mut bob), Err(RedeemError::UsedUp));
    sync(&mut alice, &mut bob);
    same(&mut alice, &mut bob);
    assert_eq!(alice.ledger().state().members.len(), 3);
    // Carol's answer was lost: she asks again, and it costs no use and no event.
    let events = bob.ledger().graph().len();
    carol.ledger = None;
    carol.join(&ticket, &mut bob).unwrap();
    assert_eq!(bob.ledger().graph().len(), events);
}

#[test]
fn a_refused_redemption_says_why_and_writes_nothing() {
    let (mut alice, bob) = (Peer::founder(), Peer::new(2));
    let (invite, ticket) = alice.invite(5, 1);
    let events = alice.ledger().graph().len();
    let device = alice.device.clone();
    let mut redeem = |request: &Request, from: DeviceId, now| {
        alice
            .ledger()
            .redeem(request, &from, &device, &[1; 32], now)
            .unwrap_err()
    };
    let good = bob.request(&ticket, invite.id());
    assert_eq!(
        redeem(&good, DeviceId([1; 32]), NOW),
        RedeemError::OtherDevice
    );
    assert_eq!(
        redeem(&good, bob.id(), NOW + 2 * HOUR),
        RedeemError::Expired
    );
    let other = Ticket::new(ticket.network(), [6; 16], false, NOW, &[]);
    let guessed = bob.request(&other, invite.id());
    assert_eq!(
        redeem(&guessed, bob.id(), NOW),
        RedeemError::Signature(redeem::Proof::Invite)
    );
    let mut changed = good.clone();
    changed.joining.host = "admin".parse().unwrap();
    assert_eq!(
        redeem(&changed, bob.id(), NOW),
        RedeemError::Signature(redeem::Proof::User)
    );
    let mut elsewhere = good;
    elsewhere.network = NetworkId([3; 32]);
    assert_eq!(redeem(&elsewhere, bob.id(), NOW), RedeemError::Foreign);
    let unknown = bob.request(&ticket, EventId([9; 32]));
    assert_eq!(redeem(&unknown, bob.id(), NOW), RedeemError::UnknownInvite);
    assert_eq!(alice.ledger().graph().len(), events);
    alice.author(
        Act::InviteClose(InviteClose {
            invite: invite.id(),
        }),
        None,
    );
    assert_eq!(
        Peer::new(2).join(&ticket, &mut alice),
        Err(RedeemError::Closed)
    );
}

#[test]
fn only_who_holds_the_contact_secret_can_introduce_itself() {
    let (mut alice, bob) = (Peer::founder(), Peer::new(2));
    let (_, ticket) = alice.invite(5, 1);
    let (a, b) = (alice.id(), bob.id());
    let challenge = Challenge::new(&ticket, [3; 32]);
    let mut introduction = alice.ledger().introduce(&challenge, &a, &b).unwrap();
    assert!(introduction.proves(&ticket, &challenge, &a, &b));
    assert!(!introduction.proves(&ticket, &challenge, &b, &b));
    let later = Challenge::new(&ticket, [4; 32]);
    assert!(!introduction.proves(&ticket, &later, &a, &b));
    introduction.proof[0] ^= 1;
    assert!(!introduction.proves(&ticket, &challenge, &a, &b));
    let unknown = Challenge {
        key: InviteKey([1; 32]),
        ..challenge
    };
    assert_eq!(
        alice.ledger().introduce(&unknown, &a, &b),
        Err(RedeemError::UnknownInvite)
    );
}

#[test]
fn what_the_fold_would_find_void_is_not_written() {
    let (mut alice, mut bob) = (Peer::founder(), Peer::new(2));
    let (_, ticket) = alice.invite(5, 1);
    bob.join(&ticket, &mut alice).unwrap();
    let (events, state) = (bob.ledger().graph().len(), bob.ledger().state_hash());
    let (user, alices) = (bob.user.public(), alice.user.public());
    let error = bob
        .try_author(Act::Grant(Grant { user }), None)
        .unwrap_err();
    assert!(matches!(error, AuthorError::Void(_)), "{error}");
    let remove = Act::Remove(Remove {
        target: Target::User(alices),
        cut: None,
        closes: Vec::new(),
        by_user: None,
    });
    let error = bob.try_author(remove, None).unwrap_err();
    assert!(
        matches!(
            error,
            AuthorError::Void(Reason::NotAdmin { .. } | Reason::OwnerStays)
        ),
        "{error}"
    );
    let mut stranger = Peer::new(9);
    stranger.ledger = bob.ledger.take();
    assert!(matches!(
        stranger.try_author(Act::Merge, None),
        Err(AuthorError::Refused(Refusal::Stranger(_)))
    ));
    bob.ledger = stranger.ledger.take();
    assert_eq!(bob.ledger().graph().len(), events);
    assert_eq!(bob.ledger().state_hash(), state);
    assert_eq!(bob.ledger().store().rows().unwrap().len(), events);
    // The ledger goes on as if nothing had been tried.
    bob.rename("still");
    sync(&mut bob, &mut alice);
    same(&mut alice, &mut bob);
}

#[test]
fn a_batch_in_any_order_is_taken_and_what_lacks_parents_waits() {
    let (mut alice, mut bob) = (Peer::founder(), Peer::new(2));
    let (_, ticket) = alice.invite(5, 1);
    bob.join(&ticket, &mut alice).unwrap();
    let written: Vec<Event> = ["a", "b", "c", "d"].map(|host| bob.rename(host)).into();
    let bytes = |events: &[Event]| -> Vec<Vec<u8>> {
        events.iter().map(|event| event.bytes().to_vec()).collect()
    };
    let source = Source::Push(bob.id());
    let ledger = alice.ledger();
    let receipt = ledger.receive(source, &bytes(&written[2..]), NOW).unwrap();
    assert_eq!((receipt.added.len(), receipt.parked), (0, 2));
    assert_eq!(receipt.missing, [written[1].id()]);
    let mut batch = bytes(&written[..2]);
    batch.reverse();
    batch.push(vec![1, 2, 3]);
    batch.push(written[0].bytes().to_vec());
    let receipt = ledger.receive(source, &batch, NOW).unwrap();
    let ids: Vec<EventId> = written.iter().map(Event::id).collect();
    assert_eq!(receipt.added, ids);
    assert_eq!(receipt.refused.len(), 1);
    assert_eq!(receipt.known, 1);
    assert!(receipt.missing.is_empty());
    same(&mut alice, &mut bob);
}

#[test]
fn a_device_that_floods_is_slowed_and_never_refused() {
    let (mut alice, mut bob) = (Peer::founder(), Peer::new(2));
    let (_, ticket) = alice.invite(5, 1);
    bob.join(&ticket, &mut alice).unwrap();
    let flood: Vec<Vec<u8>> = (0..260)
        .map(|_| bob.author(Act::Merge, None).bytes().to_vec())
        .collect();
    let receipt = alice
        .ledger()
        .receive(Source::Push(bob.id()), &flood, NOW)
        .unwrap();
    assert_eq!(receipt.added.len(), 260);
    assert!(receipt.wait > 0);
    let mut carol = Peer::new(3);
    let (_, ticket) = alice.invite(6, 1);
    carol.join(&ticket, &mut alice).unwrap();
}

#[test]
fn a_ledger_is_the_same_after_opening_again() {
    let (mut alice, mut bob) = (Peer::founder(), Peer::new(2));
    let (_, ticket) = alice.invite(5, 1);
    bob.join(&ticket, &mut alice).unwrap();
    bob.rename("tower");
    let (state, heads) = (bob.ledger().state_hash(), bob.ledger().heads());
    bob.reopen();
    assert_eq!(bob.ledger().state_hash(), state);
    assert_eq!(bob.ledger().heads(), heads);
    assert!(bob.ledger().damaged().is_empty());
    let verification = bob.ledger().verify().unwrap();
    assert_eq!(verification.good, bob.ledger().graph().len());
    assert!(verification.faults.is_empty());
    bob.rename("again");
    sync(&mut bob, &mut alice);
    same(&mut alice, &mut bob);
}

#[test]
fn a_damaged_event_is_named_left_out_with_what_follows_and_mended_by_a_member() {
    let (mut alice, mut bob) = (Peer::founder(), Peer::new(2));
    let (_, ticket) = alice.invite(5, 1);
    bob.join(&ticket, &mut alice).unwrap();
    let first = bob.rename("one");
    let second = bob.rename("two");
    sync(&mut bob, &mut alice);
    let (state, count) = (bob.ledger().state_hash(), bob.ledger().graph().len());
    assert!(bob.ledger().store.damage(&first.id()));
    let verification = bob.ledger().verify().unwrap();
    assert_eq!(
        verification.faults,
        [
            (first.id(), Fault::Damaged),
            (second.id(), Fault::Orphan(vec![first.id()]))
        ]
    );
    bob.reopen();
    assert_eq!(bob.ledger().damaged(), [first.id()]);
    // Written now, an event would repeat the seq of a damaged one.
    assert!(matches!(
        bob.try_author(Act::Merge, None),
        Err(AuthorError::Damaged(2))
    ));
    assert_eq!(bob.ledger().missing(), [first.id()]);
    assert_eq!(bob.ledger().graph().len(), count - 2);
    sync(&mut bob, &mut alice);
    assert!(bob.ledger().damaged().is_empty());
    assert_eq!(bob.ledger().state_hash(), state);
    bob.reopen();
    assert_eq!(bob.ledger().graph().len(), count);
    assert!(bob.ledger().verify().unwrap().faults.is_empty());
}

#[test]
fn a_row_damaged_under_a_running_ledger_is_mended_from_memory() {
    let mut alice = Peer::founder();
    let event = alice.rename("one");
    assert!(alice.ledger().store.damage(&event.id()));
    let verification = alice.ledger().verify().unwrap();
    assert_eq!(verification.faults, [(event.id(), Fault::Damaged)]);
    assert_eq!(alice.ledger().mend(&verification).unwrap(), [event.id()]);
    assert!(alice.ledger().verify().unwrap().faults.is_empty());
}

#[test]
fn a_good_event_under_a_damaged_key_is_filed_anew() {
    let mut alice = Peer::founder();
    let event = alice.rename("one");
    assert!(alice.ledger().store.misfile(&event.id()));
    assert_eq!(alice.ledger().verify().unwrap().faults.len(), 1);
    alice.reopen();
    assert!(alice.ledger().event(&event.id()).is_some());
    assert!(alice.ledger().damaged().is_empty());
    assert!(alice.ledger().verify().unwrap().faults.is_empty());
}

#[test]
fn a_write_that_fails_leaves_the_ledger_as_it_was() {
    let (mut alice, mut bob) = (Peer::founder(), Peer::new(2));
    let (_, ticket) = alice.invite(5, 1);
    bob.join(&ticket, &mut alice).unwrap();
    let event = bob.rename("tower");
    let (heads, state) = (alice.ledger().heads(), alice.ledger().state_hash());
    alice.ledger().store.fail(true);
    let batch = [event.bytes().to_vec()];
    let source = Source::Sync(bob.id());
    assert!(alice.ledger().receive(source, &batch, NOW).is_err());
    assert!(matches!(
        alice.try_author(Act::Merge, None),
        Err(AuthorError::Store(_))
    ));
    assert_eq!(alice.ledger().heads(), heads);
    assert_eq!(alice.ledger().state_hash(), state);
    alice.ledger().store.fail(false);
    let receipt = alice.ledger().receive(source, &batch, NOW).unwrap();
    assert_eq!(receipt.added, [event.id()]);
    same(&mut alice, &mut bob);
}

#[test]
fn a_kicked_user_does_not_come_back_by_its_old_ticket() {
    let (mut alice, mut bob) = (Peer::founder(), Peer::new(2));
    let (_, ticket) = alice.invite(5, 5);
    bob.join(&ticket, &mut alice).unwrap();
    let mut carol = Peer::new(3);
    carol.join(&ticket, &mut alice).unwrap();
    let kick = Act::Remove(Remove {
        target: Target::User(bob.user.public()),
        cut: None,
        closes: Vec::new(),
        by_user: None,
    });
    alice.author(kick, None);
    sync(&mut alice, &mut carol);
    bob.ledger = None;
    assert_eq!(bob.join(&ticket, &mut carol), Err(RedeemError::Barred));
    assert_eq!(bob.join(&ticket, &mut alice), Err(RedeemError::Barred));
}

#[cfg(feature = "sqlite")]
#[test]
fn a_network_in_a_file_is_there_after_opening_again() {
    use crate::store::sqlite::SqliteStore;

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.db");
    let mut alice = Peer::founder();
    alice.invite(5, 1);
    alice.rename("tower");
    let args = JoinArgs {
        network: alice.ledger().network(),
        events: alice
            .ledger()
            .index()
            .events()
            .map(|event| event.bytes().to_vec())
            .collect(),
        epoch: EpochKey::from_bytes([42; 32]),
        device: alice.id(),
        box_secret: alice.box_secret.clone(),
    };
    let mut stored = Ledger::join(SqliteStore::open(&path).unwrap(), args).unwrap();
    stored.author(&alice.device, Act::Merge, None, NOW).unwrap();
    let (heads, state) = (stored.heads(), stored.state_hash());
    drop(stored);
    let store = SqliteStore::open(&path).unwrap();
    let stored = Ledger::open(store, alice.box_secret.clone()).unwrap();
    assert_eq!(stored.heads(), heads);
    assert_eq!(stored.state_hash(), state);
    assert!(stored.verify().unwrap().faults.is_empty());
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 24, ..Default::default() })]

    #[test]
    fn any_order_repetition_and_grouping_of_delivery_gives_one_state(
        seed in proptest::prelude::any::<u64>(),
        group in 1usize..9,
    ) {
        let (mut alice, mut bob) = (Peer::founder(), Peer::new(2));
        let mut carol = Peer::new(3);
        let (_, ticket) = alice.invite(5, 2);
        bob.join(&ticket, &mut alice).unwrap();
        carol.join(&ticket, &mut bob).unwrap();
        for round in 0..3 {
            bob.rename(&format!("b{round}"));
            carol.rename(&format!("b{round}"));
            alice.rename("alice");
            if round == 1 {
                sync(&mut bob, &mut carol);
            }
        }
        sync(&mut bob, &mut carol);
        sync(&mut bob, &mut alice);
        let mut late = Peer::new(4);
        let (_, ticket) = alice.invite(6, 1);
        late.join(&ticket, &mut alice).unwrap();
        let all: Vec<Vec<u8>> = late
            .ledger()
            .index()
            .events()
            .map(|event| event.bytes().to_vec())
            .collect();
        // A fixed permutation of the seed, each third event twice.
        let mut order: Vec<(u64, Vec<u8>)> = Vec::new();
        for (n, bytes) in all.iter().enumerate() {
            for copy in 0..=u64::from(n % 3 == 0) {
                let mut hasher = blake3::Hasher::new();
                hasher.update(&seed.to_le_bytes()).update(&copy.to_le_bytes()).update(bytes);
                let hash = hasher.finalize();
                let (head, _) = hash.as_bytes().split_first_chunk::<8>().unwrap();
                order.push((u64::from_le_bytes(*head), bytes.clone()));
            }
        }
        order.sort();
        let mut other = Ledger::empty(
            MemoryStore::new(),
            alice.ledger().network(),
            late.box_secret.clone(),
        );
        other.keys.insert(EpochKey::from_bytes([42; 32]));
        for batch in order.chunks(group) {
            let batch: Vec<Vec<u8>> = batch.iter().map(|(_, bytes)| bytes.clone()).collect();
            other.receive(Source::File, &batch, NOW).unwrap();
        }
        proptest::prop_assert_eq!(other.state_hash(), late.ledger().state_hash());
        proptest::prop_assert_eq!(other.heads(), late.ledger().heads());
        proptest::prop_assert_eq!(other.replica_heads(), late.ledger().replica_heads());
        proptest::prop_assert_eq!(other.parked(), 0);
    }
}

#[test]
fn a_joiner_takes_no_ledger_that_does_not_hold() {
    let (mut alice, bob) = (Peer::founder(), Peer::new(2));
    let (invite, ticket) = alice.invite(5, 1);
    let request = bob.request(&ticket, invite.id());
    let device = alice.device.clone();
    alice
        .ledger()
        .redeem(&request, &bob.id(), &device, &[1; 32], NOW)
        .unwrap();
    let good: Vec<Vec<u8>> = alice
        .ledger()
        .index()
        .events()
        .map(|event| event.bytes().to_vec())
        .collect();
    let join = |network, events: Vec<Vec<u8>>, device| {
        let args = JoinArgs {
            network,
            events,
            epoch: EpochKey::from_bytes([42; 32]),
            device,
            box_secret: bob.box_secret.clone(),
        };
        Ledger::join(MemoryStore::new(), args)
    };
    let network = ticket.network();
    assert!(join(network, good.clone(), bob.id()).is_ok());
    assert!(matches!(
        join(NetworkId([1; 32]), good.clone(), bob.id()),
        Err(JoinError::OtherNetwork)
    ));
    assert!(matches!(
        join(network, good.clone(), DeviceId([1; 32])),
        Err(JoinError::NotAdmitted)
    ));
    let mut kept = good.clone();
    kept.remove(1);
    assert!(matches!(
        join(network, kept, bob.id()),
        Err(JoinError::Incomplete(_))
    ));
    let mut forged = good;
    *forged[2].last_mut().unwrap() ^= 1;
    assert!(matches!(
        join(network, forged, bob.id()),
        Err(JoinError::Refused { .. })
    ));
}

#[test]
fn a_kick_rotates_the_key_and_the_kicked_read_nothing_later() {
    let mut alice = Peer::founder();
    let (mut bob, mut carol) = (Peer::new(2), Peer::new(3));
    let (_, ticket) = alice.invite(5, 2);
    bob.join(&ticket, &mut alice).unwrap();
    carol.join(&ticket, &mut alice).unwrap();
    sync(&mut alice, &mut bob);
    let kick = Act::Remove(Remove {
        target: Target::User(carol.user.public()),
        cut: None,
        closes: Vec::new(),
        by_user: None,
    });
    alice.author(kick, None);
    let new = EpochKey::from_bytes([43; 32]);
    let ledger = alice.ledger();
    let to: Vec<BoxKey> = ledger
        .state()
        .devices
        .values()
        .map(|device| device.box_key)
        .collect();
    let former: Vec<EpochKey> = ledger.newest_key().cloned().into_iter().collect();
    let acts = crate::epoch::rotate(
        &ledger.network(),
        &new,
        &former,
        &to,
        std::iter::repeat([99; 32]),
    );
    for act in acts {
        alice.author(act, None);
    }
    alice.ledger().keys.insert(new.clone());
    alice.rename("secret");
    sync(&mut alice, &mut bob);
    assert_eq!(bob.ledger().newest_key(), Some(&new));
    same(&mut alice, &mut bob);
    sync(&mut alice, &mut carol);
    assert_eq!(carol.ledger().state().pending, 1);
    assert_eq!(carol.ledger().missing_keys(), [new.id()]);
    let carols = carol.id();
    assert!(!alice.ledger().state().devices.contains_key(&carols));
    // A key handed over opens what waited.
    let handed = alice
        .ledger()
        .hand_key(&carol.box_secret.public(), &[5; 32])
        .unwrap();
    assert!(carol.ledger().add_key(&handed).unwrap());
    assert_eq!(carol.ledger().state().pending, 0);
}

#[test]
fn an_event_is_found_by_the_beginning_of_its_id() {
    let mut alice = Peer::founder();
    let genesis = alice.ledger().graph().event(Idx(0)).id();
    let text = genesis.to_string();
    assert_eq!(alice.ledger().find(&text[..8]).unwrap().id(), genesis);
    assert!(matches!(alice.ledger().find("ab"), Err(FindError::Form(_))));
    assert!(matches!(
        alice.ledger().find("zzzz"),
        Err(FindError::Form(_))
    ));
    let other = if text.starts_with("0000") {
        "1111"
    } else {
        "0000"
    };
    assert!(matches!(
        alice.ledger().find(other),
        Err(FindError::None(_))
    ));
}

#[test]
fn a_power_event_covers_every_head_of_a_wide_network() {
    let mut alice = Peer::founder();
    let (_, ticket) = alice.invite(5, 30);
    let mut peers: Vec<Peer> = (10..30).map(Peer::new).collect();
    for peer in &mut peers {
        peer.join(&ticket, &mut alice).unwrap();
    }
    for peer in &mut peers {
        peer.rename("wide");
    }
    for peer in &mut peers {
        sync(peer, &mut alice);
    }
    assert_eq!(alice.ledger().heads().len(), 20);
    let user = peers[0].user.public();
    let grant = alice.author(Act::Grant(Grant { user }), None);
    assert_eq!(alice.ledger().heads(), [grant.id()]);
    for peer in &mut peers {
        sync(&mut alice, peer);
    }
    same(&mut alice, &mut peers[7]);
}
