//! Files that carry a network between machines that have no link: on a stick, by mail, printed if need be.
//!
//! A file is the line `mesh file 1`, then records of at most [`MAX_BODY`] bytes, each whole or not by itself:
//!
//! | bytes | field |
//! |---|---|
//! | 4 | a mark, so that a reader finds the next record behind a damaged one |
//! | 1 | what it is |
//! | 2 | length of the body, big-endian |
//! | … | the body |
//! | 8 | a hash of all of it but the mark |
//!
//! First what the file is for and which events it should hold, by their ids; then the events, sealed as they are; then an
//! end. So a file that was cut or damaged still gives what is whole of it, and the rest is named. The hash tells damage,
//! not malice: each event is judged by the gate, as from anybody. A file has no key of a network in it, and of tickets only
//! an invite has one; what a joiner is handed is sealed to that joiner's own key.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::event::{Act, Event, MAX_EVENT, id_of};
use crate::ids::{DeviceId, EventId, InviteKey, NetworkId};
use crate::mirror::letter::MAX_LETTER;
use crate::ticket::{Contact, Ticket};

/// The most bytes of a file.
pub const MAX_FILE: usize = 1 << 30;
/// The most bytes of one record's body.
pub const MAX_BODY: usize = 8192;
/// The most contacts of an invite file.
pub const MAX_CONTACTS: usize = 32;
/// The most heads that a file names: the newest.
pub const MAX_HEADS: usize = 128;

const MAGIC: &[u8] = b"mesh file ";
const VERSION: &[u8] = b"1\n";
const MARK: [u8; 4] = [0xf5, b'm', b's', b'h'];
const SUM: usize = 8;
/// Mark, kind and length.
const FRONT: usize = 4 + 1 + 2;
const IDS: usize = 128;
/// Fewer bytes are no event.
const LEAST_EVENT: usize = 200;

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// Events of a network, for whoever is in it.
    History,
    /// A ticket, with what was known when it was made.
    Invite,
    /// A joiner's redemption, for any member.
    Request,
    /// A member's answer to it, with the network's events.
    Answer,
}

/// What a joiner and a member write to each other, sealed as in [`crate::mirror::letter`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carried {
    /// The joining device.
    pub joiner: DeviceId,
    /// The invite's key, by which members find the secret it is sealed under.
    pub invite: InviteKey,
    /// At most [`MAX_LETTER`] bytes.
    pub body: Vec<u8>,
}

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carry {
    /// What it is for.
    pub kind: Kind,
    /// The network.
    pub network: NetworkId,
    /// The newest events of whoever wrote it, ascending: no honest copy that hears of it lacks them for long.
    pub heads: Vec<EventId>,
    /// Whether events that came before these were left out on purpose.
    pub partial: bool,
    /// The ticket, in an invite alone.
    pub ticket: Option<Ticket>,
    /// Who can be asked, beside those in the ticket.
    pub contacts: Vec<Contact>,
    /// A redemption or the answer to one.
    pub letter: Option<Carried>,
    /// The bytes of events.
    pub events: Vec<Vec<u8>>,
}

/// What was read from a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What is whole.
    pub carry: Carry,
    /// Events that the file should hold and does not, ascending.
    pub missing: Vec<EventId>,
    /// In how many places it is damaged.
    pub damaged: usize,
    /// Whether its end is missing.
    pub cut: bool,
}

impl Found {
    /// Whether nothing is missing and nothing damaged.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.missing.is_empty() && self.damaged == 0 && !self.cut
    }
}

/// Bytes that are no file of this kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadCarry {
    /// It does not begin as one.
    #[error("this is no file that mesh wrote to carry a network")]
    NotOne,
    /// It is of another release.
    #[error(
        "the file was written by another release of mesh (this one reads format 1): upgrade mesh, or write it again"
    )]
    Version,
    /// It is larger than any.
    #[error("the file is larger than 1 GiB: more than this release reads")]
    TooLarge,
    /// Not one record is whole.
    #[error("nothing in the file is whole: copy it again")]
    Nothing,
}

#[derive(Serialize, Deserialize)]
struct Front {
    kind: Kind,
    network: NetworkId,
    heads: Vec<EventId>,
    partial: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Record {
    Front = 1,
    Ticket = 2,
    Contacts = 3,
    Letter = 4,
    Ids = 5,
    Event = 6,
    End = 7,
}

/// Whether bytes begin as such a file does, of whatever release.
#[must_use]
pub fn begins(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

impl Carry {
    /// Events for whoever is in a network.
    #[must_use]
    pub fn history(network: NetworkId, events: Vec<Vec<u8>>, heads: Vec<EventId>) -> Self {
        Self {
            kind: Kind::History,
            network,
            heads,
            partial: false,
            ticket: None,
            contacts: Vec::new(),
            letter: None,
            events,
        }
    }

    /// The invite event that a ticket belongs to, if it is among the events.
    #[must_use]
    pub fn invite_of(&self, ticket: &Ticket) -> Option<EventId> {
        let key = ticket.invite_secret().public();
        let events = self.events.iter();
        let mut events = events.filter_map(|bytes| Event::decode_unverified(bytes).ok());
        let invites = |event: &Event| match event.act() {
            Act::Invite(act) => act.key == key && event.network() == ticket.network(),
            _ => false,
        };
        events.find(invites).map(|event| event.id())
    }

    /// The bytes of the file. They hold a ticket if this does. Of too many heads and contacts the first are written, and
    /// bytes too many for an event are left out.
    #[must_use]
    pub fn write(&self) -> Zeroizing<Vec<u8>> {
        let events: usize = self.events.iter().map(Vec::len).sum();
        let room = MAX_BODY + events + self.events.len() * (32 + FRONT + SUM + 2) + 4 * MAX_BODY;
        // All at once: a buffer that grows leaves copies behind.
        let mut out = Zeroizing::new(Vec::with_capacity(room));
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(VERSION);
        let front = Front {
            kind: self.kind,
            network: self.network,
            heads: self.heads.iter().take(MAX_HEADS).copied().collect(),
            partial: self.partial,
        };
        put(&mut out, Record::Front, &encoded(&front));
        if let Some(ticket) = &self.ticket {
            put(&mut out, Record::Ticket, ticket.text().as_bytes());
        }
        let contacts = self.contacts.iter().take(MAX_CONTACTS);
        let contacts: Vec<u8> = contacts.flat_map(Contact::encode).collect();
        if !contacts.is_empty() {
            put(&mut out, Record::Contacts, &contacts);
        }
        if let Some(letter) = &self.letter {
            put(&mut out, Record::Letter, &encoded(letter));
        }
        let events = || self.events.iter().filter(|bytes| bytes.len() <= MAX_EVENT);
        let ids: Vec<EventId> = events().map(|bytes| id_of(bytes)).collect();
        for ids in ids.chunks(IDS) {
            let body: Vec<u8> = ids.iter().flat_map(|id| id.0).collect();
            put(&mut out, Record::Ids, &body);
        }
        for bytes in events() {
            put(&mut out, Record::Event, bytes);
        }
        put(&mut out, Record::End, &(ids.len() as u64).to_be_bytes());
        out
    }

    /// Reads bytes from anywhere: what is whole of them.
    ///
    /// # Errors
    /// [`BadCarry`] if they are no such file at all.
    pub fn read(bytes: &[u8]) -> Result<Found, BadCarry> {
        if bytes.len() > MAX_FILE {
            return Err(BadCarry::TooLarge);
        }
        let rest = bytes.strip_prefix(MAGIC).ok_or(BadCarry::NotOne)?;
        let rest = rest.strip_prefix(VERSION).ok_or(BadCarry::Version)?;
        let mut reading = Reading::default();
        reading.all(rest);
        reading.found()
    }
}

/// The events that a copy which has what is named lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// All but this event and its past.
    Event(EventId),
    /// Those whose author's clock said this or later (milliseconds since 1970), and all that follow them.
    Time(u64),
}

/// Picks events. They must come parents first.
#[must_use]
pub fn after<'a>(events: &'a [Event], since: Since) -> Vec<&'a Event> {
    let mut chosen = BTreeSet::new();
    match since {
        Since::Event(id) => {
            let mut past = BTreeSet::from([id]);
            for event in events.iter().rev() {
                if past.contains(&event.id()) {
                    past.extend(event.header().parents.iter().copied());
                } else {
                    chosen.insert(event.id());
                }
            }
        }
        Since::Time(time) => {
            for event in events {
                let header = event.header();
                if header.time >= time || header.parents.iter().any(|id| chosen.contains(id)) {
                    chosen.insert(event.id());
                }
            }
        }
    }
    let chosen = |event: &&'a Event| chosen.contains(&event.id());
    events.iter().filter(chosen).collect()
}

/// The events that are nobody's parent, ascending; of more than [`MAX_HEADS`], those that come last.
#[must_use]
pub fn heads(events: &[Event]) -> Vec<EventId> {
    let parents: BTreeSet<EventId> = events
        .iter()
        .flat_map(|event| event.header().parents.iter().copied())
        .collect();
    let heads = events.iter().rev().map(Event::id);
    let mut heads: Vec<EventId> = heads
        .filter(|id| !parents.contains(id))
        .take(MAX_HEADS)
        .collect();
    heads.sort_unstable();
    heads
}

fn put(out: &mut Vec<u8>, record: Record, body: &[u8]) {
    let Ok(length) = u16::try_from(body.len()) else {
        return;
    };
    out.extend_from_slice(&MARK);
    let from = out.len();
    out.push(record as u8);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(body);
    let sum = sum(out.get(from..).unwrap_or_default());
    out.extend_from_slice(&sum);
}

fn sum(bytes: &[u8]) -> [u8; SUM] {
    let hash = blake3::derive_key("mesh file record 1", bytes);
    let mut sum = [0; SUM];
    sum.copy_from_slice(&hash[..SUM]);
    sum
}

fn encoded<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_stdvec(value).unwrap_or_default()
}

fn decoded<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    let (value, rest) = postcard::take_from_bytes(bytes).ok()?;
    rest.is_empty().then_some(value)
}

#[derive(Default)]
struct Reading {
    front: Option<Front>,
    ticket: Option<Ticket>,
    contacts: Vec<Contact>,
    letter: Option<Carried>,
    listed: BTreeSet<EventId>,
    events: Vec<Vec<u8>>,
    count: Option<u64>,
    damaged: usize,
}

impl Reading {
    fn all(&mut self, bytes: &[u8]) {
        // What looks like a record and is none is hashed in vain: in a file made to waste time, often.
        let mut effort = bytes.len().saturating_mul(4);
        let (mut at, mut lost) = (0, false);
        while at < bytes.len() {
            let here = bytes.get(at..).unwrap_or_default();
            match whole(here, &mut effort) {
                Some((record, body)) => {
                    lost = false;
                    if !self.take(record, body) {
                        self.damaged += 1;
                    }
                    at += FRONT + body.len() + SUM;
                }
                None => {
                    self.damaged += usize::from(!lost);
                    lost = true;
                    let next = here.get(1..).unwrap_or_default();
                    let next = next.windows(MARK.len()).position(|window| window == MARK);
                    match next {
                        Some(skipped) if effort > 0 => at += 1 + skipped,
                        _ => return,
                    }
                }
            }
        }
    }

    /// Takes a record; false if its body is not what it should be.
    fn take(&mut self, record: u8, body: &[u8]) -> bool {
        match record {
            1 => match decoded::<Front>(body) {
                Some(front) if front.heads.len() <= MAX_HEADS => self.front = Some(front),
                _ => return false,
            },
            2 => match std::str::from_utf8(body).ok().map(str::parse) {
                Some(Ok(ticket)) => self.ticket = Some(ticket),
                _ => return false,
            },
            3 => match Contact::decode_all(body, MAX_CONTACTS) {
                Some(contacts) => self.contacts = contacts,
                None => return false,
            },
            4 => match decoded::<Carried>(body) {
                Some(letter) if letter.body.len() <= MAX_LETTER => self.letter = Some(letter),
                _ => return false,
            },
            5 => {
                let (ids, rest) = body.as_chunks::<32>();
                self.listed.extend(ids.iter().map(|id| EventId(*id)));
                return rest.is_empty();
            }
            6 if (LEAST_EVENT..=MAX_EVENT).contains(&body.len()) => self.events.push(body.to_vec()),
            7 => match body.try_into() {
                Ok(count) => self.count = Some(u64::from_be_bytes(count)),
                Err(_) => return false,
            },
            _ => return false,
        }
        true
    }

    fn found(self) -> Result<Found, BadCarry> {
        let ids: BTreeSet<EventId> = self.events.iter().map(|bytes| id_of(bytes)).collect();
        let missing: Vec<EventId> = self.listed.difference(&ids).copied().collect();
        // Without the front, the events know where they belong.
        let by_events = || {
            let mut events = self.events.iter();
            events.find_map(|bytes| Some(Event::decode_unverified(bytes).ok()?.network()))
        };
        let by_ticket = self.ticket.as_ref().map(Ticket::network);
        let front = match self.front {
            Some(front) => front,
            None => Front {
                kind: match (&self.ticket, &self.letter) {
                    (Some(_), _) => Kind::Invite,
                    (None, Some(_)) if self.events.is_empty() => Kind::Request,
                    (None, Some(_)) => Kind::Answer,
                    (None, None) => Kind::History,
                },
                network: by_ticket.or_else(by_events).ok_or(BadCarry::Nothing)?,
                heads: Vec::new(),
                partial: false,
            },
        };
        Ok(Found {
            carry: Carry {
                kind: front.kind,
                network: front.network,
                heads: front.heads,
                partial: front.partial,
                ticket: self.ticket,
                contacts: self.contacts,
                letter: self.letter,
                events: self.events,
            },
            missing,
            damaged: self.damaged,
            cut: self.count.is_none(),
        })
    }
}

/// The record at the start of bytes, if it is whole.
fn whole<'a>(bytes: &'a [u8], effort: &mut usize) -> Option<(u8, &'a [u8])> {
    let rest = bytes.strip_prefix(&MARK)?;
    let (front, _) = rest.split_first_chunk::<3>()?;
    let [record, high, low] = *front;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > MAX_BODY {
        return None;
    }
    let (hashed, rest) = rest.split_at_checked(3 + length)?;
    let (due, _) = rest.split_first_chunk::<SUM>()?;
    *effort = effort.saturating_sub(hashed.len());
    (sum(hashed) == *due).then(|| (record, hashed.get(3..).unwrap_or_default()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::ticket::ContactKind;

    /// Bytes that are as good as an event's, where nobody asks.
    fn event(n: u16) -> Vec<u8> {
        (0..300).map(|at| (n.wrapping_mul(31) ^ at) as u8).collect()
    }

    fn carry(count: u16) -> Carry {
        let events: Vec<Vec<u8>> = (0..count).map(event).collect();
        let contact = Contact {
            kind: ContactKind::Device,
            key: [3; 32],
            address: Some("[2001:db8::1]:443".parse().unwrap()),
        };
        let network = NetworkId([1; 32]);
        Carry {
            kind: Kind::Invite,
            ticket: Some(Ticket::new(network, [2; 16], false, 1_800_000_000_000, &[])),
            contacts: vec![contact; 3],
            letter: Some(Carried {
                joiner: DeviceId([4; 32]),
                invite: InviteKey([5; 32]),
                body: vec![6; 700],
            }),
            ..Carry::history(network, events.clone(), vec![id_of(&events[0])])
        }
    }

    #[test]
    fn a_file_gives_back_what_was_written() {
        for count in [1, 128, 129, 700] {
            let found = Carry::read(&carry(count).write()).unwrap();
            assert!(found.is_whole());
            assert_eq!(found.carry, carry(count));
        }
    }

    #[test]
    fn of_a_file_that_was_cut_anywhere_what_is_whole_is_taken_and_the_rest_is_named() {
        let written = carry(20).write();
        let front = MAGIC.len() + VERSION.len();
        let mut least = 20;
        for end in (front..written.len()).rev() {
            let Ok(found) = Carry::read(&written[..end]) else {
                continue;
            };
            assert!(found.cut && !found.is_whole());
            assert!(found.carry.events.len() <= least);
            least = found.carry.events.len();
            if !found.missing.is_empty() {
                assert_eq!(least + found.missing.len(), 20);
            }
            let due = (0..20).map(event);
            assert!(found.carry.events.iter().cloned().eq(due.take(least)));
        }
        assert_eq!(least, 0);
    }

    #[test]
    fn a_damaged_byte_costs_one_record_and_its_event_is_named() {
        let written = carry(20).write();
        let whole = carry(20);
        for at in MAGIC.len() + VERSION.len()..written.len() {
            let mut bad = written.clone();
            bad[at] ^= 0x10;
            let found = Carry::read(&bad).unwrap();
            assert!(!found.is_whole(), "byte {at}");
            assert!(found.carry.events.len() >= 19, "byte {at}");
            assert!(found.missing.len() <= 1, "byte {at}");
            assert_eq!(found.carry.network, whole.network);
            if let [missing] = found.missing[..] {
                assert!(
                    !found
                        .carry
                        .events
                        .iter()
                        .any(|bytes| id_of(bytes) == missing)
                );
            }
        }
    }

    #[test]
    fn bytes_that_were_put_in_between_or_written_twice_cost_nothing_else() {
        let written = carry(3).write();
        let at = MAGIC.len() + VERSION.len();
        let twice = [&written[..], &[0; 999], &written[at..]].concat();
        let found = Carry::read(&twice).unwrap();
        assert_eq!(found.damaged, 1);
        assert_eq!(found.missing, []);
        assert_eq!(found.carry.events.len(), 6);
    }

    #[test]
    fn what_is_no_file_or_of_another_release_is_told_apart() {
        assert_eq!(Carry::read(b"MESH:1:ABC"), Err(BadCarry::NotOne));
        assert_eq!(Carry::read(b"mesh file 2\nrest"), Err(BadCarry::Version));
        assert_eq!(Carry::read(b"mesh file 1\nrest"), Err(BadCarry::Nothing));
    }

    #[test]
    fn a_file_made_of_false_beginnings_takes_no_time_to_speak_of() {
        let mut bytes = [MAGIC, VERSION].concat();
        let front = [&MARK[..], &[6, 0x1f, 0xff]].concat();
        bytes.extend(front.repeat(400_000));
        assert_eq!(Carry::read(&bytes), Err(BadCarry::Nothing));
    }

    #[test]
    fn no_secret_is_printed() {
        let shown = format!("{:?}", carry(1));
        assert!(
            !shown.contains(carry(1).ticket.unwrap().text().as_str()),
            "{shown}"
        );
    }
}
