#![allow(clippy::unwrap_used)]

use mesh_core::plan::Ruleset;
use x25519_dalek::StaticSecret;

use super::*;
use crate::carrier::SealedBatch;

#[test]
fn unanswered_handshakes_are_told_every_fifteen_seconds() {
    let mut world = World::new();
    world.slot.lock().carrier = Some(Arc::new(Nowhere));
    world.at(0, |state, turn| state.seal(turn, &[0x45; 32]));
    let told = |world: &mut World, second| world.at(second, State::tick);
    assert_eq!(told(&mut world, 14), []);
    let failing = |seconds| Event::HandshakeFailing(world_id(), Duration::from_secs(seconds));
    assert_eq!(told(&mut world, 15), [failing(15)]);
    assert_eq!(told(&mut world, 29), []);
    assert_eq!(told(&mut world, 30), [failing(30)]);
}

#[test]
fn an_unanswered_initiation_is_repeated_soon_and_then_left_to_wireguards_timer() {
    let (mut world, sent) = (World::new(), Counting::default());
    world.slot.lock().carrier = Some(Arc::new(Nowhere));
    world.at(0, |state, turn| state.seal(turn, &[0x45; 32]));
    world.sent(&sent);
    assert_eq!(sent.take(), 1);
    let mut seconds = Vec::new();
    for second in 1..=4 {
        world.at(second, State::tick);
        world.sent(&sent);
        seconds.push(sent.take());
    }
    assert_eq!(seconds, [1, 0, 1, 0]);
}

#[test]
fn a_new_carrier_starts_the_handshake_anew_whichever_side_began_it() {
    let (mut world, sent) = (World::new(), Counting::default());
    world.slot.lock().carrier = Some(Arc::new(Nowhere));
    world.at(0, State::resume);
    world.sent(&sent);
    assert_eq!(sent.take(), 0, "nobody wants anything");
    let initiation = World::initiation();
    let mut buffer = vec![0; 4096];
    world.at(1, |state, turn| {
        assert!(matches!(
            state.open(turn, &initiation, &mut buffer),
            Opened::Nothing
        ));
    });
    world.sent(&sent);
    assert_eq!(sent.take(), 1, "the response, which the old carrier loses");
    world.at(1, State::resume);
    world.sent(&sent);
    assert_eq!(sent.take(), 1, "an initiation of our own");
}

#[test]
fn a_peer_without_a_carrier_keeps_a_few_packets_for_a_few_seconds() {
    let mut world = World::new();
    for _ in 0..MAX_WAITING + 6 {
        world.at(0, |state, turn| state.seal(turn, &[0x45; 32]));
    }
    assert_eq!(world.dropped(Dropped::NoCarrier), 6);
    let wishes = |world: &World, millis| world.slot.lock().wishes(Duration::from_millis(millis));
    assert_eq!(
        [0, 999, 1000].map(|millis| wishes(&world, millis)),
        [true, false, true]
    );
    world.at(10, State::tick);
    assert_eq!(world.slot.lock().waiting.len(), MAX_WAITING);
    world.at(11, State::tick);
    assert_eq!(world.dropped(Dropped::NoCarrier), MAX_WAITING as u64 + 6);
    assert!(!wishes(&world, 60_000), "nothing waits");
}

#[test]
fn a_flood_of_messages_fills_a_bounded_queue_and_is_counted() {
    let world = World::new();
    let flood = |length: usize| vec![Bytes::from(vec![0; length]); MAX_BACKLOG + 1];
    assert!(world.slot.push(flood(1)), "it stands in line now");
    assert!(!world.slot.push(flood(1)), "once is enough");
    assert_eq!(world.dropped(Dropped::Backlog), MAX_BACKLOG as u64 + 2);
    let mut out = Vec::new();
    assert!(world.slot.pop(100, &mut out), "there is more");
    out.clear();
    assert!(!world.slot.pop(MAX_BACKLOG, &mut out));
    assert_eq!(out.len(), MAX_BACKLOG - 100);
    world.slot.push(flood(4000));
    out.clear();
    world.slot.pop(MAX_BACKLOG, &mut out);
    assert_eq!(out.len(), MAX_BACKLOG_BYTES / 4000);
}

#[test]
fn cutting_a_peer_leaves_nothing_of_it() {
    let mut world = World::new();
    world.slot.lock().carrier = Some(Arc::new(Nowhere));
    world.at(0, |state, turn| state.seal(turn, &[0x45; 32]));
    world.slot.push(vec![Bytes::from_static(b"late")]);
    world.slot.cut();
    let state = world.slot.lock();
    assert!(state.cut && state.session.is_none() && state.carrier.is_none());
    drop(state);
    let mut out = Vec::new();
    world.slot.pop(1, &mut out);
    assert!(out.is_empty());
}

#[test]
fn a_peer_that_is_heard_on_a_socket_is_told_once_a_second_and_only_for_what_opens() {
    let mut world = World::new();
    world.slot.lock().carrier = Some(Arc::new(Nowhere));
    let address = "192.0.2.7:51821".parse().unwrap();
    let mut hear = |second, message: &[u8], from| {
        let events = world.at(second, |state, turn| {
            turn.from = from;
            state.open(turn, message, &mut [0; 4096]);
        });
        events == [Event::Heard(world_id(), address)]
    };
    let messages: Vec<Vec<u8>> = (0..4).map(|_| World::initiation()).collect();
    assert!(!hear(1, &messages[0], None), "it came by a link");
    assert!(hear(1, &messages[1], Some(address)));
    assert!(!hear(1, &messages[2], Some(address)), "in the same second");
    assert!(!hear(3, &messages[2], Some(address)), "a repetition");
    assert!(hear(3, &messages[3], Some(address)));
}

#[test]
fn the_pace_is_that_of_the_last_quarter_of_a_second() {
    let world = World::new();
    let slot = &world.slot;
    let mut pace = Pace::default();
    let mut at = |millis, packets| {
        for _ in 0..packets {
            slot.counters.sent(100);
        }
        let sent = slot.stats(Duration::ZERO).tx_packets;
        pace.tick(sent, Duration::from_millis(millis));
        pace.per_second
    };
    assert_eq!(at(250, 0), 0);
    assert_eq!(at(500, 1000), 4000);
    assert_eq!(at(1000, 1000), 2000, "a late tick");
    assert_eq!(at(1250, 0), 0);
    assert_eq!(at(1250, 3), 3000, "no time has passed");
}

struct Nowhere;

/// Counts what it is given to send.
#[derive(Default)]
struct Counting(AtomicU64);

impl Counting {
    fn take(&self) -> u64 {
        self.0.swap(0, Ordering::Relaxed)
    }
}

impl Carrier for Counting {
    fn send(&self, batch: SealedBatch<'_>) -> usize {
        self.0.fetch_add(batch.len() as u64, Ordering::Relaxed);
        0
    }

    fn max_message(&self) -> usize {
        4096
    }
}

impl Carrier for Nowhere {
    fn send(&self, _: SealedBatch<'_>) -> usize {
        0
    }

    fn max_message(&self) -> usize {
        4096
    }
}

struct World {
    slot: Arc<Slot>,
    arena: Arena,
}

impl World {
    fn new() -> Self {
        let rules = Ruleset {
            peers: [(world_id(), [].into())].into(),
            ..Ruleset::default()
        };
        let policy = rules.for_peer(&world_id()).unwrap();
        let keys = Keys {
            own: Arc::new(Own::new(StaticSecret::from([1; 32]))),
            preshared: None,
            peer: PublicKey::from(&StaticSecret::from([2; 32])),
        };
        Self {
            slot: Slot::new(world_id(), keys, Arc::new(policy), Arc::default()),
            arena: Arena::default(),
        }
    }

    /// The peer's turn at this second, and the events that come of it.
    fn at(&mut self, second: u64, what: impl FnOnce(&mut State, &mut Turn<'_>)) -> Vec<Event> {
        let mut events = Vec::new();
        let mut turn = Turn {
            slot: &self.slot,
            now: Duration::from_secs(second),
            from: None,
            limit: None,
            arena: &mut self.arena,
            events: &mut events,
        };
        what(&mut self.slot.lock(), &mut turn);
        events
    }

    /// Hands what stands in the arena to a carrier.
    fn sent(&mut self, carrier: &Counting) {
        if !self.arena.is_empty() {
            carrier.send(self.arena.batch());
            self.arena.clear();
        }
    }

    /// What the peer sends to begin a handshake.
    fn initiation() -> Vec<u8> {
        let own = PublicKey::from(&StaticSecret::from([1; 32]));
        let index = Index::take(&Arc::default(), Weak::new()).unwrap();
        let peer = StaticSecret::from([2; 32]);
        let mut tunn = Tunn::new(peer, own, None, None, index.number(), None);
        let mut buffer = vec![0; HANDSHAKE];
        let length = outgoing(&tunn.format_handshake_initiation(&mut buffer, false)).unwrap();
        buffer.truncate(length);
        buffer
    }

    fn dropped(&self, reason: Dropped) -> u64 {
        self.slot
            .stats(Duration::ZERO)
            .dropped
            .get(&reason)
            .copied()
            .unwrap_or(0)
    }
}

fn world_id() -> PeerId {
    PeerId([2; 32])
}
