//! One stream: keeps the server's log of one network and this device's ledger the same.
//!
//! The device asks one thing at a time. Welcomed, it pulls the ids up to the server's tip, pushes what the server lacks
//! (parents first), fetches what it lacks itself, and from then on pushes what is written here as the server's news come
//! in. A server that does not know this device, or has no copy, is pushed everything, and the stream is opened again.
//!
//! All times are milliseconds of a clock that never goes back. Whatever a session does not finish, the next one does.

use std::collections::{BTreeSet, VecDeque};

use mesh_ledger::event::{Event, id_of};
use mesh_ledger::ids::{EventId, NetworkId};
use mesh_ledger::mirror::Echo;
use mesh_ledger::mirror::address::Permit;
use mesh_ledger::mirror::letter::Letter;
use mesh_ledger::mirror::message::{Doors, Failure, MAX_EVENTS, Page, Pushed, Standing, Welcome};
use mesh_ledger::mirror::{Refusal, Request, Response, Role};
use mesh_ledger::wire::Index;

use super::witness::{BadTip, Pulled, Witness};

/// How long an answer may take.
pub const SILENCE: u64 = 30_000;
/// The most bytes of events in one push.
const MAX_PUSH: usize = 1_000_000;
/// The longest that a server can have a device wait.
const LONGEST_WAIT: u64 = 60_000;
/// How long nothing is pushed to a server that cannot write.
const UNWRITABLE: u64 = 10_000;
/// So many pushes that change nothing end the session.
const MAX_STALLED: u8 = 4;
/// The most replies that wait.
const MAX_REPLIES: usize = 64;

/// What the shell is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::large_enum_variant)] // Made, carried out and dropped one at a time.
pub enum Effect {
    /// Say this.
    Send(Request),
    /// The server takes this device for a live one.
    Live {
        /// The permit for the network.
        permit: Option<Permit>,
        /// The server's other doors.
        doors: Doors,
        /// How to ask its echo, if it has one.
        echo: Option<Echo>,
    },
    /// Events for the gate.
    Events(Vec<Vec<u8>>),
    /// The server has these durably.
    Stored(Vec<EventId>),
    /// Redemptions that wait for a member.
    Letters(Vec<Letter>),
    /// The server says that this device was removed; these events, and others that follow until the stream ends, are to
    /// prove it.
    Removed(Vec<Vec<u8>>),
    /// The stream is over.
    End(End),
}

/// Why a stream is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum End {
    /// The server was told everything: open again.
    #[error("the server was told who this device is")]
    Again,
    /// The server does not go on.
    #[error(transparent)]
    Refused(Refusal),
    /// The server could not do what was asked.
    #[error(transparent)]
    Failed(Failure),
    /// It sent what it must not.
    #[error("the server sent what it must not")]
    Protocol,
    /// Its words contradict each other: see the witness.
    #[error("the server contradicts what it signed")]
    Lied,
    /// It does not answer.
    #[error("the server does not answer")]
    Silent,
    /// It takes no event of those pushed, and does not say why.
    #[error("the server does not take this network's events")]
    Stalled,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Asked for.
    Opening,
    /// The server is told everything.
    Introducing,
    /// Both keep each other up to date.
    Live,
    /// Removed, as the server says; the proof is on its way.
    Proof,
    /// Over.
    Ended,
}

/// What was asked, and is not answered yet.
#[derive(Debug)]
struct Asked {
    what: Ask,
    /// What this device knew of the server's time when it asked.
    known: u64,
    at: u64,
}

#[derive(Debug)]
enum Ask {
    Open,
    Pull,
    Fetch(Vec<EventId>),
    Push(Vec<EventId>),
    Reply,
}

/// A reply to a letter, which goes out once an event is stored.
#[derive(Debug)]
struct Reply {
    letter: u64,
    after: Option<EventId>,
    body: Vec<u8>,
}

/// See the module.
#[derive(Debug)]
pub struct Session {
    phase: Phase,
    asked: Option<Asked>,
    /// What the server lacks, by (lamport, id): parents first.
    queue: BTreeSet<(u32, EventId)>,
    /// What this device lacks.
    wanted: BTreeSet<EventId>,
    /// What did not come when it was asked for with others: asked for alone.
    omitted: BTreeSet<EventId>,
    /// What the server's gate refuses for good.
    refused: BTreeSet<EventId>,
    replies: VecDeque<Reply>,
    /// How many events the server has, as far as this stream was told.
    target: u64,
    /// Look whether there is more, whatever the target says.
    look: bool,
    /// Whether the queue was made from all that is here.
    compared: bool,
    /// Nothing is pushed before.
    wait_until: u64,
    stalled: u8,
    trouble: Option<Failure>,
}

impl Session {
    /// Begins: says what to send first.
    #[must_use]
    pub fn open(
        network: NetworkId,
        permit: Option<Permit>,
        witness: &Witness,
        now: u64,
    ) -> (Self, Request) {
        let session = Self {
            phase: Phase::Opening,
            asked: Some(Asked {
                what: Ask::Open,
                known: witness.known_time(),
                at: now,
            }),
            queue: BTreeSet::new(),
            wanted: BTreeSet::new(),
            omitted: BTreeSet::new(),
            refused: BTreeSet::new(),
            replies: VecDeque::new(),
            target: 0,
            look: false,
            compared: false,
            wait_until: 0,
            stalled: 0,
            trouble: None,
        };
        let role = Role::Member(permit);
        (session, Request::Open { network, role })
    }

    /// Whether the server takes this device for a live one.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.phase == Phase::Live
    }

    /// How many events that are here the server has not confirmed yet.
    #[must_use]
    pub fn unstored(&self) -> u64 {
        let pushed = match self.asked.as_ref().map(|asked| &asked.what) {
            Some(Ask::Push(ids)) => ids.len(),
            _ => 0,
        };
        (self.queue.len() + pushed) as u64
    }

    /// Events that the server's gate refuses for good.
    #[must_use]
    pub fn refused(&self) -> &BTreeSet<EventId> {
        &self.refused
    }

    /// Why the server takes no events at the moment, if it does not.
    #[must_use]
    pub fn trouble(&self) -> Option<Failure> {
        // Somebody else's push may have brought it what this device had for it.
        self.trouble.filter(|_| self.unstored() > 0)
    }

    /// When something is due, if nothing comes before.
    #[must_use]
    pub fn due(&self) -> Option<u64> {
        if self.phase == Phase::Ended {
            return None;
        }
        match &self.asked {
            Some(asked) => Some(asked.at.saturating_add(SILENCE)),
            None => (!self.queue.is_empty()).then_some(self.wait_until),
        }
    }

    /// Something may be due.
    pub fn tick(&mut self, witness: &Witness, index: &Index, now: u64) -> Vec<Effect> {
        let mut effects = Vec::new();
        let late = |asked: &Asked| now >= asked.at.saturating_add(SILENCE);
        if self.asked.as_ref().is_some_and(late) {
            self.end(End::Silent, &mut effects);
        }
        self.step(witness, index, now, &mut effects);
        effects
    }

    /// The ledger has new events.
    pub fn added<'a>(&mut self, events: impl IntoIterator<Item = &'a Event>, witness: &Witness) {
        let follows = self.compared || self.phase == Phase::Introducing;
        if !follows {
            return;
        }
        for event in events {
            self.wanted.remove(&event.id());
            if !witness.has(&event.id()) {
                self.queue.insert((event.header().lamport, event.id()));
            }
        }
    }

    /// Somebody was shown that the server has more, or somebody asks.
    pub fn look(&mut self) {
        self.look = true;
    }

    /// The ledger lacks these: asks for those that the server has.
    pub fn want(&mut self, ids: &[EventId], witness: &Witness) {
        let listed = |id: &&EventId| witness.has(id) && !self.omitted.contains(id);
        let listed: Vec<EventId> = ids.iter().filter(listed).copied().collect();
        self.wanted.extend(listed);
    }

    /// Replies to a letter, once the server has the event `after`.
    pub fn reply(&mut self, letter: u64, after: Option<EventId>, body: Vec<u8>) {
        if self.replies.len() < MAX_REPLIES {
            self.replies.push_back(Reply {
                letter,
                after,
                body,
            });
        }
    }

    /// Takes what the server said.
    pub fn receive(
        &mut self,
        response: Response,
        witness: &mut Witness,
        index: &Index,
        now: u64,
    ) -> Vec<Effect> {
        let mut effects = Vec::new();
        if let Err(end) = self.take(response, witness, index, now, &mut effects) {
            self.end(end, &mut effects);
        }
        self.step(witness, index, now, &mut effects);
        effects
    }

    fn take(
        &mut self,
        response: Response,
        witness: &mut Witness,
        index: &Index,
        now: u64,
        effects: &mut Vec<Effect>,
    ) -> Result<(), End> {
        match response {
            Response::Refused(Refusal::Removed) => {
                self.phase = Phase::Proof;
                self.asked = Some(Asked {
                    what: Ask::Open,
                    known: 0,
                    at: now,
                });
                effects.push(Effect::Removed(Vec::new()));
                Ok(())
            }
            Response::Refused(refusal) => Err(End::Refused(refusal)),
            Response::Events(events) if self.phase == Phase::Proof => {
                effects.push(Effect::Removed(events));
                Ok(())
            }
            _ if self.phase == Phase::Proof => Ok(()),
            Response::News(page) if self.phase == Phase::Live => {
                checked(witness.tip(&page.tip, 0))?;
                self.page(page, false, witness, index, effects)
            }
            Response::Letters(letters) if self.phase == Phase::Live => {
                effects.push(Effect::Letters(letters));
                Ok(())
            }
            answer => {
                let asked = self.asked.take().ok_or(End::Protocol)?;
                self.answer(answer, asked, witness, index, now, effects)
            }
        }
    }

    fn answer(
        &mut self,
        answer: Response,
        asked: Asked,
        witness: &mut Witness,
        index: &Index,
        now: u64,
        effects: &mut Vec<Effect>,
    ) -> Result<(), End> {
        match (asked.what, answer) {
            (Ask::Open, Response::Welcome(welcome)) => {
                self.welcome(welcome, asked.known, witness, index, effects)
            }
            (Ask::Pull, Response::Page(page)) => {
                checked(witness.tip(&page.tip, asked.known))?;
                self.page(page, true, witness, index, effects)
            }
            (Ask::Fetch(ids), Response::Events(events)) => {
                self.fetched(&ids, events, witness, effects)
            }
            (Ask::Push(ids), Response::Pushed(pushed)) => {
                self.pushed(&ids, pushed, asked.known, witness, index, now, effects)
            }
            (Ask::Push(ids), Response::Failed(why @ (Failure::Disk | Failure::Quota))) => {
                self.trouble = Some(why);
                self.wait_until = now.saturating_add(UNWRITABLE);
                self.requeue(&ids, index);
                Ok(())
            }
            // The letter is done with, by this or another reply.
            (Ask::Reply, Response::Left(_) | Response::Failed(_)) => Ok(()),
            (_, Response::Failed(why)) => Err(End::Failed(why)),
            _ => Err(End::Protocol),
        }
    }

    fn welcome(
        &mut self,
        welcome: Welcome,
        known: u64,
        witness: &mut Witness,
        index: &Index,
        effects: &mut Vec<Effect>,
    ) -> Result<(), End> {
        if let Some(tip) = &welcome.tip {
            checked(witness.tip(tip, known))?;
            self.target = tip.tip.count;
        }
        match welcome.standing {
            Standing::Live if welcome.tip.is_some() => {
                self.phase = Phase::Live;
                effects.push(Effect::Live {
                    permit: welcome.permit,
                    doors: welcome.doors,
                    echo: welcome.echo,
                });
                Ok(())
            }
            Standing::NotHosted { may_open: false } => Err(End::Failed(Failure::NotHosting)),
            standing @ (Standing::Unknown | Standing::NotHosted { .. }) => {
                if standing != Standing::Unknown {
                    witness.begin_anew();
                }
                self.phase = Phase::Introducing;
                self.queue = index.places().collect();
                Ok(())
            }
            Standing::Live | Standing::Joiner { .. } => Err(End::Protocol),
        }
    }

    fn page(
        &mut self,
        page: Page,
        pulled: bool,
        witness: &mut Witness,
        index: &Index,
        effects: &mut Vec<Effect>,
    ) -> Result<(), End> {
        self.target = self.target.max(page.tip.tip.count);
        let before = witness.len();
        let state = witness.page(&page, pulled);
        if state == Pulled::Lied {
            return Err(End::Lied);
        }
        let Page { ids, events, .. } = page;
        let mut bodies = Vec::new();
        let mut bodied = BTreeSet::new();
        for (id, event) in ids.iter().zip(events) {
            if index.find(id).is_none() && id_of(&event) == *id {
                bodied.insert(*id);
                bodies.push(event);
            }
        }
        let first = usize::try_from(before).unwrap_or(usize::MAX);
        for id in witness.ids().get(first..).unwrap_or_default() {
            match index.place(id) {
                Some(place) => drop(self.queue.remove(&place)),
                None if !bodied.contains(id) => drop(self.wanted.insert(*id)),
                None => {}
            }
        }
        if !bodies.is_empty() {
            effects.push(Effect::Events(bodies));
        }
        Ok(())
    }

    fn fetched(
        &mut self,
        asked: &[EventId],
        events: Vec<Vec<u8>>,
        witness: &mut Witness,
        effects: &mut Vec<Effect>,
    ) -> Result<(), End> {
        let mut absent: BTreeSet<EventId> = asked.iter().copied().collect();
        let wanted = |event: &Vec<u8>| absent.remove(&id_of(event));
        let events: Vec<Vec<u8>> = events.into_iter().filter(wanted).collect();
        let alone = asked.len() == 1;
        if !events.is_empty() {
            effects.push(Effect::Events(events));
        }
        if absent.is_empty() {
            return Ok(());
        }
        if alone {
            // What the log lists, the server has; it was asked for nothing else.
            witness.withheld();
            self.omitted.extend(absent);
            return Err(End::Lied);
        }
        // Perhaps too much at once.
        self.omitted.extend(absent);
        Ok(())
    }

    #[allow(clippy::too_many_arguments)]
    fn pushed(
        &mut self,
        asked: &[EventId],
        pushed: Pushed,
        known: u64,
        witness: &mut Witness,
        index: &Index,
        now: u64,
        effects: &mut Vec<Effect>,
    ) -> Result<(), End> {
        let ours = |ids: &[EventId]| -> BTreeSet<EventId> {
            ids.iter()
                .filter(|id| asked.contains(id))
                .copied()
                .collect()
        };
        let (stored, refused) = (ours(&pushed.stored), ours(&pushed.refused));
        self.trouble = None;
        if let Some(tip) = &pushed.tip {
            checked(witness.tip(tip, known))?;
            self.target = self.target.max(tip.tip.count);
            let ids: Vec<EventId> = stored.iter().copied().collect();
            witness.acknowledged(&ids, tip);
        }
        self.wait_until = now.saturating_add(pushed.wait.min(LONGEST_WAIT));
        if stored.is_empty() && refused.is_empty() {
            self.stalled += 1;
        } else {
            self.stalled = 0;
        }
        let neither = |id: &&EventId| !stored.contains(id) && !refused.contains(id);
        let left: Vec<EventId> = asked.iter().filter(neither).copied().collect();
        self.requeue(&left, index);
        self.refused.extend(refused);
        self.requeue(&pushed.missing, index);
        if !stored.is_empty() {
            effects.push(Effect::Stored(stored.into_iter().collect()));
        }
        if self.stalled >= MAX_STALLED {
            return Err(End::Stalled);
        }
        Ok(())
    }

    fn requeue(&mut self, ids: &[EventId], index: &Index) {
        let refused = &self.refused;
        let again = ids.iter().filter(|id| !refused.contains(id));
        self.queue.extend(again.filter_map(|id| index.place(id)));
    }

    /// Asks the next thing, if nothing is asked.
    fn step(&mut self, witness: &Witness, index: &Index, now: u64, effects: &mut Vec<Effect>) {
        if self.asked.is_some() {
            return;
        }
        let next = match self.phase {
            Phase::Opening | Phase::Proof | Phase::Ended => None,
            Phase::Introducing => {
                if self.queue.is_empty() {
                    return self.end(End::Again, effects);
                }
                self.push(index, now)
            }
            Phase::Live => self.live(witness, index, now),
        };
        if let Some((what, request)) = next {
            self.asked = Some(Asked {
                what,
                known: witness.known_time(),
                at: now,
            });
            effects.push(Effect::Send(request));
        }
    }

    fn live(&mut self, witness: &Witness, index: &Index, now: u64) -> Option<(Ask, Request)> {
        if witness.len() < self.target || self.look {
            self.look = false;
            let pull = Request::Pull {
                from: witness.len(),
                bodies: false,
            };
            return Some((Ask::Pull, pull));
        }
        if !self.compared {
            self.compared = true;
            let lacked = index.places().filter(|(_, id)| !witness.has(id));
            self.queue = lacked
                .filter(|(_, id)| !self.refused.contains(id))
                .collect();
            let unknown = witness.ids().iter().filter(|id| index.find(id).is_none());
            self.wanted.extend(unknown.copied());
        }
        self.push(index, now)
            .or_else(|| self.fetch(index))
            .or_else(|| self.next_reply(witness))
    }

    fn push(&mut self, index: &Index, now: u64) -> Option<(Ask, Request)> {
        if now < self.wait_until {
            return None;
        }
        let (mut ids, mut events, mut bytes) = (Vec::new(), Vec::new(), 0);
        while let Some(next) = self.queue.first().copied() {
            let Some(event) = index.get(&next.1) else {
                self.queue.pop_first();
                continue;
            };
            bytes += event.bytes().len();
            if ids.len() == MAX_EVENTS || (bytes > MAX_PUSH && !ids.is_empty()) {
                break;
            }
            self.queue.pop_first();
            ids.push(next.1);
            events.push(event.bytes().to_vec());
        }
        (!ids.is_empty()).then_some((Ask::Push(ids), Request::Push(events)))
    }

    fn fetch(&mut self, index: &Index) -> Option<(Ask, Request)> {
        self.wanted.retain(|id| index.find(id).is_none());
        self.omitted.retain(|id| index.find(id).is_none());
        let ids: Vec<EventId> = match self.omitted.pop_first() {
            Some(id) => vec![id],
            None => {
                let ids: Vec<EventId> = self.wanted.iter().take(MAX_EVENTS).copied().collect();
                for id in &ids {
                    self.wanted.remove(id);
                }
                ids
            }
        };
        (!ids.is_empty()).then(|| (Ask::Fetch(ids.clone()), Request::Fetch(ids)))
    }

    fn next_reply(&mut self, witness: &Witness) -> Option<(Ask, Request)> {
        let ready = |reply: &Reply| reply.after.is_none_or(|event| witness.has(&event));
        let at = self.replies.iter().position(ready)?;
        let Reply { letter, body, .. } = self.replies.remove(at)?;
        Some((Ask::Reply, Request::Reply { letter, body }))
    }

    fn end(&mut self, end: End, effects: &mut Vec<Effect>) {
        if self.phase != Phase::Ended {
            self.phase = Phase::Ended;
            self.asked = None;
            effects.push(Effect::End(end));
        }
    }
}

fn checked(tip: Result<bool, BadTip>) -> Result<(), End> {
    match tip {
        Ok(true) => Ok(()),
        Ok(false) => Err(End::Lied),
        Err(BadTip) => Err(End::Protocol),
    }
}

#[cfg(test)]
mod tests;
