//! Who is here at any place of the walk: everything that a step of it reads and writes.
//!
//! What depends on the place where an event stands is kept with its history ([`crate::timeline`]). The rest a step reads of
//! events in its own past alone, wherever they stand: valid and void admissions, invites, and the removals that ask for an
//! epoch with the epochs that answer them. These are plain lists, and who reads them follows from the graph: see
//! [`Entry`].

use std::collections::{BTreeMap, BTreeSet};

use super::{Effect, Issued, Joined, LivePair};
use crate::authority::cast::{D, U};
use crate::graph::Idx;
use crate::ids::EpochId;
use crate::timeline::{Mark, Stale, Step, Table, Timeline};

/// What an event is to those that have it in their past.
#[derive(PartialEq, Eq)]
pub(crate) enum Entry {
    /// A valid admission: read by events of the device, and by further devices of the user.
    Admission(U, D),
    /// A void one: read by events of the device.
    Refused(D),
    /// An invite: read by its redemptions.
    Issued(Issued),
    /// A removal that asks for an epoch: read by rotations.
    Due,
    /// An epoch that answers these removals: read by rotations.
    Answers(Vec<Idx>),
}

/// What became of a user.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    Here(Joined),
    /// Removed by this event.
    Gone(Idx),
}

/// Whose a device is, and what removed it if it is nobody's.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Owners {
    pub(super) pairs: Vec<LivePair>,
    pub(super) gone: Option<Idx>,
}

/// How often an invite was used, and last by which event.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Uses {
    pub(super) count: u32,
    pub(super) last: Option<Idx>,
}

const PRESENCE: u8 = 0;
const OWNERS: u8 = 1;
const USES: u8 = 2;
const EPOCHS: u8 = 3;

/// See the module.
pub(crate) struct Roll {
    /// Valid admissions in order, by device: whose, and by which event.
    admissions: Vec<Vec<(U, Idx)>>,
    /// Valid admissions in order, by user.
    admitted: Vec<Vec<Idx>>,
    /// Void ones in order, by device.
    refused: Vec<Vec<Idx>>,
    entries: BTreeMap<Idx, Entry>,
    /// Accepted removals of users and devices.
    pub(super) due: BTreeSet<Idx>,
    /// The epochs that answer them.
    pub(super) answers: BTreeMap<Idx, Vec<Idx>>,
    pub(super) presence: Timeline<U, Presence>,
    pub(super) owners: Timeline<D, Owners>,
    pub(super) uses: Timeline<Idx, Uses>,
    pub(super) epochs: Timeline<EpochId, ()>,
    /// What the present step changes among members and devices.
    pub(crate) effects: Vec<Effect>,
    /// Of what is shown and has no history.
    invites: BTreeSet<Idx>,
    asked: bool,
}

/// What was written, or taken back.
#[derive(Default)]
pub(crate) struct Touched {
    pub(crate) users: BTreeSet<U>,
    pub(crate) devices: BTreeSet<D>,
    pub(crate) invites: BTreeSet<Idx>,
    pub(crate) epochs: bool,
    pub(crate) due: bool,
}

impl Default for Roll {
    fn default() -> Self {
        Self {
            admissions: Vec::new(),
            admitted: Vec::new(),
            refused: Vec::new(),
            entries: BTreeMap::new(),
            due: BTreeSet::new(),
            answers: BTreeMap::new(),
            presence: Timeline::new(PRESENCE),
            owners: Timeline::new(OWNERS),
            uses: Timeline::new(USES),
            epochs: Timeline::new(EPOCHS),
            effects: Vec::new(),
            invites: BTreeSet::new(),
            asked: false,
        }
    }
}

impl Roll {
    /// Tables have smaller numbers than this.
    pub(crate) const TABLES: u8 = 4;

    pub(super) fn admissions(&self, device: D) -> &[(U, Idx)] {
        at(&self.admissions, device.0)
    }

    pub(super) fn admitted(&self, user: U) -> &[Idx] {
        at(&self.admitted, user.0)
    }

    pub(super) fn refused(&self, device: D) -> &[Idx] {
        at(&self.refused, device.0)
    }

    pub(super) fn issued(&self, invite: Idx) -> Option<&Issued> {
        match self.entries.get(&invite) {
            Some(Entry::Issued(issued)) => Some(issued),
            _ => None,
        }
    }

    /// The invites that count.
    pub(super) fn invites(&self) -> impl Iterator<Item = Idx> + '_ {
        let invite = |(idx, entry): (&Idx, &Entry)| match entry {
            Entry::Issued(_) => Some(*idx),
            _ => None,
        };
        self.entries.iter().filter_map(invite)
    }

    pub(super) fn is_member(&mut self, step: &mut Step<'_>, user: U) -> bool {
        self.joined(step, user).is_some()
    }

    pub(super) fn joined(&mut self, step: &mut Step<'_>, user: U) -> Option<Joined> {
        match self.presence.read(step, &user) {
            Some(Presence::Here(joined)) => Some(*joined),
            _ => None,
        }
    }

    pub(super) fn owners(&mut self, step: &mut Step<'_>, device: D) -> Owners {
        self.owners.read(step, &device).cloned().unwrap_or_default()
    }

    /// The step admits a device as a user's.
    pub(super) fn admit(&mut self, step: &Step<'_>, user: U, device: D) {
        let list = of(&mut self.admissions, device.0);
        list.insert(step.behind(list, |(_, idx)| *idx), (user, step.event));
        let list = of(&mut self.admitted, user.0);
        list.insert(step.behind(list, |idx| *idx), step.event);
        self.entries
            .insert(step.event, Entry::Admission(user, device));
    }

    /// The step would admit a device, and is void.
    pub(super) fn refuse(&mut self, step: &Step<'_>, device: D) {
        let list = of(&mut self.refused, device.0);
        list.insert(step.behind(list, |idx| *idx), step.event);
        self.entries.insert(step.event, Entry::Refused(device));
    }

    pub(super) fn issue(&mut self, step: &Step<'_>, issued: Issued) {
        self.entries.insert(step.event, Entry::Issued(issued));
        self.invites.insert(step.event);
    }

    pub(super) fn begin_epoch(&mut self, step: &mut Step<'_>, epoch: EpochId) {
        if epoch != EpochId::NONE {
            self.epochs.write(step, &epoch, Some(()));
        }
    }

    /// The step is a removal that asks for an epoch.
    pub(super) fn ask(&mut self, step: &Step<'_>) {
        self.due.insert(step.event);
        self.entries.insert(step.event, Entry::Due);
        self.asked = true;
    }

    /// The step answers these removals.
    pub(super) fn answer(&mut self, step: &Step<'_>, removals: Vec<Idx>) {
        if removals.is_empty() {
            return;
        }
        for removal in &removals {
            self.answers.entry(*removal).or_default().push(step.event);
        }
        self.entries.insert(step.event, Entry::Answers(removals));
        self.asked = true;
    }

    /// What an event is to those behind it.
    pub(crate) fn entry(&self, event: Idx) -> Option<&Entry> {
        self.entries.get(&event)
    }

    /// Takes back what an event is to those behind it.
    pub(crate) fn withdraw(&mut self, event: Idx) -> Option<Entry> {
        let entry = self.entries.remove(&event)?;
        match &entry {
            Entry::Admission(user, device) => {
                drop_last(of(&mut self.admissions, device.0), |(_, idx)| *idx == event);
                drop_last(of(&mut self.admitted, user.0), |idx| *idx == event);
            }
            Entry::Refused(device) => {
                drop_last(of(&mut self.refused, device.0), |idx| *idx == event);
            }
            Entry::Issued(_) => {
                self.invites.insert(event);
            }
            Entry::Due => {
                self.due.remove(&event);
                self.asked = true;
            }
            Entry::Answers(removals) => {
                for removal in removals {
                    if let Some(answers) = self.answers.get_mut(removal) {
                        answers.retain(|answer| *answer != event);
                        if answers.is_empty() {
                            self.answers.remove(removal);
                        }
                    }
                }
                self.asked = true;
            }
        }
        Some(entry)
    }

    /// How many bytes of memory its histories take, about.
    pub(crate) fn bytes(&self) -> usize {
        let uses = self.uses.bytes() + self.epochs.bytes();
        self.presence.bytes() + self.owners.bytes() + uses
    }

    fn table(&mut self, mark: Mark) -> Option<&mut dyn Table> {
        Some(match mark.table() {
            PRESENCE => &mut self.presence,
            OWNERS => &mut self.owners,
            USES => &mut self.uses,
            EPOCHS => &mut self.epochs,
            _ => return None,
        })
    }

    /// See [`Table::retract`].
    pub(crate) fn retract(&mut self, places: &[u32], event: Idx, mark: Mark, keep: bool) {
        if let Some(table) = self.table(mark) {
            table.retract(places, event, mark, keep);
        }
    }

    /// See [`Table::settle`].
    pub(crate) fn settle(&mut self, event: Idx, mark: Mark, stale: &mut Stale<'_>) {
        if let Some(table) = self.table(mark) {
            table.settle(event, mark.key(), stale);
        }
    }

    /// What was written or taken back since this was asked last.
    pub(crate) fn touched(&mut self) -> Touched {
        let mut invites = std::mem::take(&mut self.invites);
        invites.extend(self.uses.touched());
        Touched {
            users: self.presence.touched(),
            devices: self.owners.touched(),
            invites,
            epochs: !self.epochs.touched().is_empty(),
            due: std::mem::take(&mut self.asked),
        }
    }
}

fn at<T>(lists: &[Vec<T>], number: u32) -> &[T] {
    lists
        .get(number as usize)
        .map(Vec::as_slice)
        .unwrap_or_default()
}

fn of<T>(lists: &mut Vec<Vec<T>>, number: u32) -> &mut Vec<T> {
    let number = number as usize;
    if lists.len() <= number {
        lists.resize_with(number + 1, Vec::new);
    }
    &mut lists[number]
}

/// Takes the last for which something holds out of a list.
fn drop_last<T>(list: &mut Vec<T>, is: impl Fn(&T) -> bool) {
    if let Some(at) = list.iter().rposition(is) {
        list.remove(at);
    }
}

/// Sets or removes a value; says what was there.
pub(crate) fn set<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: Option<V>) -> Option<V> {
    match value {
        Some(value) => map.insert(key, value),
        None => map.remove(&key),
    }
}
