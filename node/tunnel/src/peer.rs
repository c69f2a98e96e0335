//! What the threads keep about one peer, and sealing and opening for it.

mod counters;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use boringtun::noise::errors::WireGuardError;
use boringtun::noise::{Tunn, TunnResult};
use bytes::Bytes;
use mesh_core::filter::{Bucket, PeerFilter};
use mesh_core::peer::PeerId;
use mesh_core::plan::PeerPolicy;
use x25519_dalek::PublicKey;
use zeroize::Zeroizing;

use self::counters::Counters;
use crate::carrier::{Arena, Carrier};
use crate::own::Own;
use crate::sessions::{Index, Sessions};
use crate::table::{Dropped, Event, PeerStats};

/// WireGuard's overhead on a packet: header and tag.
pub(crate) const OVERHEAD: usize = 32;
/// The longest of WireGuard's own messages, the initiation.
pub(crate) const HANDSHAKE: usize = 148;

/// A peer of the current table, or of an older one if it was cut.
pub(crate) struct Slot {
    pub(crate) id: PeerId,
    pub(crate) counters: Counters,
    /// Itself, for the sessions' numbers to lead to.
    me: Weak<Self>,
    sessions: Arc<Sessions>,
    inbox: Mutex<Inbox>,
    state: Mutex<State>,
}

/// Sealed messages that wait to be opened.
#[derive(Default)]
pub(crate) struct Inbox {
    messages: VecDeque<Bytes>,
    bytes: usize,
    /// Whether the peer stands in line for the inward thread.
    in_line: bool,
}

/// What needs the lock: taken once per batch.
pub(crate) struct State {
    /// Set when the peer left the table; nothing passes any more, whoever still holds the slot.
    pub(crate) cut: bool,
    pub(crate) policy: Arc<PeerPolicy>,
    pub(crate) carrier: Option<Arc<dyn Carrier>>,
    pub(crate) filter: PeerFilter,
    keys: Keys,
    session: Option<Session>,
    /// The session under the keys before these, as long as it is of use.
    former: Option<Former>,
    /// Packets that came while there was no carrier.
    waiting: VecDeque<(Duration, Vec<u8>)>,
    /// When the link was last asked for.
    wished: Option<Duration>,
    /// Since when handshakes are unanswered.
    asked: Option<Duration>,
    /// Since when that is so over this carrier, and how many of the [`SOON`] are over.
    hurry: (Duration, usize),
    /// When that was last told.
    told: Option<Duration>,
    /// We answered an initiation; the first message that opens completes the handshake.
    answered: bool,
    established: Option<Duration>,
    pace: Pace,
    /// Limits the handshakes that come over a link; those from a socket are limited by their source.
    handshakes: Bucket,
    /// When it was last told that this peer was heard on a socket.
    heard: Option<Duration>,
}

/// How fast packets go to the peer.
#[derive(Default)]
struct Pace {
    /// Packets sealed up to the last tick, and when that was.
    until: (u64, Duration),
    per_second: u64,
}

/// The keys of both sides.
#[derive(Clone)]
pub(crate) struct Keys {
    pub(crate) own: Arc<Own>,
    /// A secret that both sides mix into their handshakes.
    pub(crate) preshared: Option<Arc<Zeroizing<[u8; 32]>>>,
    pub(crate) peer: PublicKey,
}

struct Session {
    tunn: Tunn,
    /// Held as long as the session lives.
    index: Index,
}

/// A session whose keys are not the current ones any more. It carries packets until there is one under the current keys,
/// takes those still under way for a moment longer, and answers no handshake.
struct Former {
    session: Session,
    until: Duration,
    carries: bool,
}

/// What a thread brings when it is a peer's turn.
pub(crate) struct Turn<'a> {
    pub(crate) slot: &'a Slot,
    pub(crate) now: Duration,
    /// The address that the messages to open came from, if they came by a socket.
    pub(crate) from: Option<SocketAddr>,
    /// What the carrier takes, once it was asked.
    pub(crate) limit: Option<usize>,
    /// Where messages for the peer go.
    pub(crate) arena: &'a mut Arena,
    pub(crate) events: &'a mut Vec<Event>,
}

/// What came of opening a message.
pub(crate) enum Opened {
    /// A packet of this length stands at the start of the buffer.
    Packet(usize),
    /// One of WireGuard's own messages; it is dealt with.
    Nothing,
    /// It did not open.
    Failed,
}

impl Slot {
    pub(crate) fn new(
        id: PeerId,
        keys: Keys,
        policy: Arc<PeerPolicy>,
        sessions: Arc<Sessions>,
    ) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            id,
            counters: Counters::default(),
            me: me.clone(),
            sessions,
            inbox: Mutex::default(),
            state: Mutex::new(State {
                cut: false,
                policy,
                carrier: None,
                filter: PeerFilter::new(),
                keys,
                session: None,
                former: None,
                waiting: VecDeque::new(),
                wished: None,
                asked: None,
                hurry: (Duration::ZERO, 0),
                told: None,
                answered: false,
                established: None,
                pace: Pace::default(),
                handshakes: Bucket::new(LINK_HANDSHAKES, LINK_HANDSHAKES),
                heard: None,
            }),
        })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts messages into the queue as far as there is room. True if the peer must be put in line for opening.
    pub(crate) fn push(&self, messages: Vec<Bytes>) -> bool {
        let mut inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
        let mut dropped = 0;
        for message in messages {
            if inbox.messages.len() >= MAX_BACKLOG
                || inbox.bytes + message.len() > MAX_BACKLOG_BYTES
            {
                dropped += 1;
                continue;
            }
            inbox.bytes += message.len();
            inbox.messages.push_back(message);
        }
        self.counters.drop(Dropped::Backlog, dropped);
        !inbox.messages.is_empty() && !std::mem::replace(&mut inbox.in_line, true)
    }

    /// Moves up to `most` messages out of the queue. True if more are left, in which case the peer stays in line.
    pub(crate) fn pop(&self, most: usize, into: &mut Vec<Bytes>) -> bool {
        let mut inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
        let count = inbox.messages.len().min(most);
        into.extend(inbox.messages.drain(..count));
        inbox.bytes -= into.iter().map(Bytes::len).sum::<usize>();
        inbox.in_line = !inbox.messages.is_empty();
        inbox.in_line
    }

    /// The peer is gone: everything that belongs to it goes too, at once.
    pub(crate) fn cut(&self) {
        let mut state = self.lock();
        state.cut = true;
        state.carrier = None;
        state.session = None;
        state.former = None;
        state.waiting.clear();
        state.filter = PeerFilter::new();
        drop(state);
        let mut inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
        inbox.messages.clear();
        inbox.bytes = 0;
    }

    pub(crate) fn stats(&self, now: Duration) -> PeerStats {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        PeerStats {
            id: self.id,
            rx_bytes: load(&self.counters.rx_bytes),
            rx_packets: load(&self.counters.rx_packets),
            tx_bytes: load(&self.counters.tx_bytes),
            tx_packets: load(&self.counters.tx_packets),
            wire_rx_bytes: load(&self.counters.wire_rx_bytes),
            wire_tx_bytes: load(&self.counters.wire_tx_bytes),
            last_handshake: self.lock().established.map(|at| now.saturating_sub(at)),
            dropped: Dropped::all()
                .filter_map(|reason| {
                    let count = load(self.counters.dropped.get(reason.place())?);
                    (count > 0).then_some((reason, count))
                })
                .collect(),
        }
    }
}

impl State {
    /// Seals a packet into the arena, or makes it wait for a carrier or a handshake.
    ///
    /// `padded` is the packet with the zeros that hide its exact length.
    pub(crate) fn seal(&mut self, turn: &mut Turn<'_>, padded: &[u8]) {
        if self.carrier.is_none() {
            if self.waiting.len() >= MAX_WAITING {
                self.waiting.pop_front();
                turn.slot.counters.drop(Dropped::NoCarrier, 1);
            }
            self.waiting.push_back((turn.now, padded.to_vec()));
            return;
        }
        let carrying = self.former.as_mut().filter(|former| former.carries);
        let session = match carrying {
            Some(former) => Some(&mut former.session),
            None => self.session(turn.slot),
        };
        let Some(session) = session else {
            return;
        };
        let room = turn.arena.room((padded.len() + OVERHEAD).max(HANDSHAKE));
        let length = outgoing(&session.tunn.encapsulate(padded, room));
        self.put(turn, length);
    }

    /// Whether the daemon should be told that this peer wants a carrier.
    pub(crate) fn wishes(&mut self, now: Duration) -> bool {
        let due = |at| now.saturating_sub(at) >= WISH_EVERY;
        let wishes =
            self.carrier.is_none() && !self.waiting.is_empty() && self.wished.is_none_or(due);
        if wishes {
            self.wished = Some(now);
        }
        wishes
    }

    /// Seals what has waited for a carrier, after a fresh initiation if a handshake was under way: whichever of its messages
    /// went over the carrier before this one may be lost.
    pub(crate) fn resume(&mut self, turn: &mut Turn<'_>) {
        if self.asked.is_some() || self.answered {
            self.hurry = (turn.now, 0);
            self.initiate(turn, true);
        }
        for (since, packet) in std::mem::take(&mut self.waiting) {
            if turn.now.saturating_sub(since) > WAIT {
                turn.slot.counters.drop(Dropped::NoCarrier, 1);
            } else {
                self.seal(turn, &packet);
            }
        }
    }

    /// The key of one side or the other has changed. If there is a session, it carries packets until the handshake that is
    /// begun here has made another.
    pub(crate) fn rekey(&mut self, turn: &mut Turn<'_>, keys: Keys) {
        self.keys = keys;
        let live = |session: &Session| session.tunn.time_since_last_handshake().is_some();
        if let Some(session) = self.session.take().filter(live) {
            self.former = Some(Former {
                session,
                until: turn.now + FORMER,
                carries: true,
            });
        }
        self.reset();
        if self.former.is_some() && self.session(turn.slot).is_some() {
            self.initiate(turn, false);
        }
    }

    /// How many packets a second go to the peer, lately.
    pub(crate) fn pace(&self) -> u64 {
        self.pace.per_second
    }

    /// The keys in force, but for this device's own.
    pub(crate) fn keys_with(&self, own: Arc<Own>) -> Keys {
        Keys {
            own,
            ..self.keys.clone()
        }
    }

    /// Whether these are the keys in force.
    pub(crate) fn has_keys(&self, keys: &Keys) -> bool {
        Arc::ptr_eq(&self.keys.own, &keys.own)
            && self.keys.peer == keys.peer
            && self.keys.preshared == keys.preshared
    }

    /// Begins a handshake in good time, if there is a session: the next one is to have counters of its own. Whether it did.
    pub(crate) fn renew(&mut self, turn: &mut Turn<'_>) -> bool {
        let session = self.session.as_ref();
        let live = session.is_some_and(|one| one.tunn.time_since_last_handshake().is_some());
        if live && self.former.is_none() {
            self.initiate(turn, true);
        }
        !turn.arena.is_empty()
    }

    /// Opens data that is addressed to the session under the keys before these.
    fn open_former(
        &mut self,
        turn: &Turn<'_>,
        message: &[u8],
        buffer: &mut [u8],
    ) -> Option<Opened> {
        let number = receiver(message)?;
        let former = self.former.as_mut()?;
        if former.session.index.number() != number {
            return None;
        }
        Some(
            match former.session.tunn.decapsulate(None, message, buffer) {
                TunnResult::WriteToTunnelV4(packet, _) | TunnResult::WriteToTunnelV6(packet, _) => {
                    Opened::Packet(packet.len())
                }
                TunnResult::Err(_) => {
                    turn.slot.counters.drop(Dropped::Unopened, 1);
                    Opened::Failed
                }
                TunnResult::Done | TunnResult::WriteToNetwork(_) => Opened::Nothing,
            },
        )
    }

    /// Opens a message into `buffer`, which must have room for it. Answers of WireGuard's own go to the arena.
    pub(crate) fn open(
        &mut self,
        turn: &mut Turn<'_>,
        message: &[u8],
        buffer: &mut [u8],
    ) -> Opened {
        let opened = match self.open_former(turn, message, buffer) {
            Some(opened) => opened,
            None => self.open_current(turn, message, buffer),
        };
        // Anybody who knows the public key can make what passes for a cookie.
        if let Some(from) = turn.from
            && !matches!(opened, Opened::Failed)
            && message.first() != Some(&COOKIE)
            && self
                .heard
                .is_none_or(|at| turn.now.saturating_sub(at) >= HEARD_EVERY)
        {
            self.heard = Some(turn.now);
            turn.events.push(Event::Heard(turn.slot.id, from));
        }
        opened
    }

    fn open_current(&mut self, turn: &mut Turn<'_>, message: &[u8], buffer: &mut [u8]) -> Opened {
        if turn.from.is_none()
            && matches!(message.first(), Some(&(INITIATION | RESPONSE)))
            && !self.handshakes.take(turn.now)
        {
            turn.slot.counters.drop(Dropped::Unopened, 1);
            return Opened::Failed;
        }
        let Some(session) = self.session(turn.slot) else {
            return Opened::Failed;
        };
        let (opened, answer) = match session.tunn.decapsulate(None, message, buffer) {
            TunnResult::WriteToTunnelV4(packet, _) | TunnResult::WriteToTunnelV6(packet, _) => {
                (Opened::Packet(packet.len()), None)
            }
            TunnResult::WriteToNetwork(answer) => (Opened::Nothing, Some(answer.len())),
            TunnResult::Done => (Opened::Nothing, None),
            TunnResult::Err(error) => {
                self.unopened(turn, &error);
                return Opened::Failed;
            }
        };
        if let Some(answer) = answer.and_then(|length| buffer.get(..length)) {
            turn.arena.room(answer.len()).copy_from_slice(answer);
            self.put(turn, Some(answer.len()));
        }
        match message.first() {
            // It was answered, but that gives no session to send on: that takes the other side's first data.
            Some(&INITIATION) => self.answered = true,
            Some(&RESPONSE) => self.establish(turn),
            Some(&DATA) if self.answered || self.asked.is_some() => self.establish(turn),
            _ => {}
        }
        opened
    }

    /// Whether something is under way whose time counts: packets, a handshake, a change of keys.
    pub(crate) fn is_busy(&self) -> bool {
        self.pace.per_second > 0
            || self.asked.is_some()
            || self.former.is_some()
            || !self.waiting.is_empty()
    }

    /// WireGuard's timers.
    pub(crate) fn tick(&mut self, turn: &mut Turn<'_>) {
        let (slot, now) = (turn.slot, turn.now);
        self.pace
            .tick(slot.counters.tx_packets.load(Ordering::Relaxed), now);
        while self
            .waiting
            .front()
            .is_some_and(|(since, _)| now.saturating_sub(*since) > WAIT)
        {
            self.waiting.pop_front();
            slot.counters.drop(Dropped::NoCarrier, 1);
        }
        if self
            .former
            .as_ref()
            .is_some_and(|former| now >= former.until)
        {
            self.former = None;
        }
        let Some(session) = &mut self.session else {
            return;
        };
        match session.tunn.update_timers(turn.arena.room(HANDSHAKE)) {
            TunnResult::WriteToNetwork(message) => {
                let length = message.len();
                self.put(turn, Some(length));
            }
            // Its sessions are gone already; the next packet makes a new one.
            TunnResult::Err(WireGuardError::ConnectionExpired) => self.reset(),
            _ => {}
        }
        if self.asked.is_some()
            && self.carrier.is_some()
            && let (since, done) = self.hurry
            && let Some(after) = SOON.get(done)
            && now.saturating_sub(since) >= *after
        {
            self.hurry.1 += 1;
            self.initiate(turn, true);
        }
        if let Some(asked) = self.asked
            && self.carrier.is_some()
            && now.saturating_sub(self.told.unwrap_or(asked).max(asked)) >= FAILING_EVERY
        {
            self.told = Some(now);
            turn.events
                .push(Event::HandshakeFailing(slot.id, now.saturating_sub(asked)));
        }
    }

    /// Forgets the session; the next packet or initiation makes a new one.
    pub(crate) fn reset(&mut self) {
        self.session = None;
        self.asked = None;
        self.answered = false;
    }

    fn session(&mut self, slot: &Slot) -> Option<&mut Session> {
        if self.session.is_none() {
            let index = Index::take(&slot.sessions, slot.me.clone())?;
            let tunn = Tunn::new(
                self.keys.own.secret.clone(),
                self.keys.peer,
                self.keys.preshared.as_ref().map(|key| ***key),
                None,
                index.number(),
                Some(self.keys.own.unlimited.clone()),
            );
            self.session = Some(Session { tunn, index });
        }
        self.session.as_mut()
    }

    fn initiate(&mut self, turn: &mut Turn<'_>, again: bool) {
        if let Some(session) = &mut self.session {
            let length = outgoing(
                &session
                    .tunn
                    .format_handshake_initiation(turn.arena.room(HANDSHAKE), again),
            );
            self.put(turn, length);
        }
    }

    /// A message did not open. If it is data and there is no session at all, this side has forgotten what the other
    /// remembers (it was restarted): a new handshake mends that in one round trip instead of 15 seconds.
    fn unopened(&mut self, turn: &mut Turn<'_>, error: &WireGuardError) {
        turn.slot.counters.drop(Dropped::Unopened, 1);
        let forgotten = matches!(error, WireGuardError::NoCurrentSession)
            && self
                .session
                .as_ref()
                .is_some_and(|session| session.tunn.time_since_last_handshake().is_none());
        if forgotten && self.asked.is_none() {
            self.initiate(turn, false);
        }
    }

    /// A handshake is complete: what waited inside the session for it can go.
    fn establish(&mut self, turn: &mut Turn<'_>) {
        self.answered = false;
        self.asked = None;
        self.told = None;
        self.established = Some(turn.now);
        if let Some(former) = self.former.as_mut().filter(|former| former.carries) {
            former.carries = false;
            former.until = turn.now + UNDER_WAY;
        }
        turn.events.push(Event::HandshakeDone(turn.slot.id));
        while let Some(session) = &mut self.session {
            let Some(length) = outgoing(&session.tunn.decapsulate(
                None,
                &[],
                turn.arena.room(MAX_RELEASED),
            )) else {
                return;
            };
            self.put(turn, Some(length));
        }
    }

    /// Takes the message of this length that was just written to the arena's room.
    fn put(&mut self, turn: &mut Turn<'_>, length: Option<usize>) {
        let Some(length) = length else { return };
        let kind = turn.arena.room(length).first().copied();
        if kind == Some(INITIATION) && self.asked.is_none() {
            self.asked = Some(turn.now);
            self.hurry = (turn.now, 0);
            turn.slot.sessions.wake_timer();
        }
        let Some(carrier) = &self.carrier else { return };
        let limit = *turn.limit.get_or_insert_with(|| carrier.max_message());
        if length > limit {
            turn.slot.counters.drop(Dropped::TooLong, 1);
            return;
        }
        if kind == Some(DATA) && length > OVERHEAD {
            turn.slot.counters.sent(length - OVERHEAD);
        }
        turn.arena.commit(length);
    }
}

impl Pace {
    fn tick(&mut self, packets: u64, now: Duration) {
        let (before, at) = std::mem::replace(&mut self.until, (packets, now));
        let millis = now.saturating_sub(at).as_millis().max(1);
        let per_second = u128::from(packets.saturating_sub(before)) * 1000 / millis;
        self.per_second = u64::try_from(per_second).unwrap_or(u64::MAX);
    }
}

/// The number of the session that a message of data is for: WireGuard's receiver index without its lowest byte, which
/// counts the handshakes of one session.
fn receiver(message: &[u8]) -> Option<u32> {
    let (kind, rest) = message.split_first_chunk::<4>()?;
    let index = rest.first_chunk::<4>()?;
    (kind[0] == DATA).then(|| u32::from_le_bytes(*index) >> 8)
}

fn outgoing(result: &TunnResult<'_>) -> Option<usize> {
    match result {
        TunnResult::WriteToNetwork(message) => Some(message.len()),
        _ => None,
    }
}

pub(crate) const INITIATION: u8 = 1;
pub(crate) const RESPONSE: u8 = 2;
pub(crate) const COOKIE: u8 = 3;
pub(crate) const DATA: u8 = 4;

/// How long a session may carry packets when its keys have changed and no other comes about, and how long one that is
/// replaced takes what is still under way.
const FORMER: Duration = Duration::from_secs(20);
const UNDER_WAY: Duration = Duration::from_secs(3);
/// Messages and bytes that may wait for opening, per peer.
const MAX_BACKLOG: usize = 4096;
const MAX_BACKLOG_BYTES: usize = 8 << 20;
/// Packets that may wait for a carrier, per peer, and for how long.
const MAX_WAITING: usize = 64;
const WAIT: Duration = Duration::from_secs(10);
/// How often a link is asked for.
const WISH_EVERY: Duration = Duration::from_secs(1);
/// After these times an unanswered initiation is repeated, before WireGuard's own timer does it every five seconds: on a link
/// that has just come up, the first may be lost with the connection that is given up for another.
const SOON: [Duration; 2] = [Duration::from_secs(1), Duration::from_millis(2500)];
/// How many messages of handshakes a second one peer may send over its links.
const LINK_HANDSHAKES: u32 = 10;
/// How often a peer that is heard on a socket is told.
const HEARD_EVERY: Duration = Duration::from_secs(1);
/// How often failing handshakes are told.
const FAILING_EVERY: Duration = Duration::from_secs(15);
/// Enough for any packet that waits inside a session.
const MAX_RELEASED: usize = 65_536 + OVERHEAD;

#[cfg(test)]
mod tests;
