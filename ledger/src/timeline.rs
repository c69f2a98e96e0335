//! Values with their whole history along the order L: what a key held at any place, who wrote it there and who read it.
//!
//! A step of the walk reads values as they stand at its own place and writes them there. Every write stays until its event
//! is walked again, so a late event finds what was there before it, however much lies behind; and every read leaves its
//! reader's name, so when a step writes otherwise than it did, exactly those that read it are known: the readers behind it,
//! up to the next that writes the key.
//!
//! Places shift as events come, so histories name events and are ordered by where these stand now. Whoever moves events
//! that were here before takes their steps back first.

mod journal;

use std::collections::{BTreeMap, BTreeSet};

use crate::graph::Idx;
pub(crate) use journal::Journal;
use smallvec::SmallVec;

/// What a step read or wrote: a table, one of its keys, and which of both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mark(u32);

const WROTE: u32 = 1 << 26;
const KEY: u32 = WROTE - 1;
const TABLE: u32 = 27;

impl Mark {
    /// The table's number, below 32.
    pub(crate) fn table(self) -> u8 {
        (self.0 >> TABLE) as u8
    }

    pub(crate) fn key(self) -> u32 {
        self.0 & KEY
    }

    pub(crate) fn wrote(self) -> bool {
        self.0 & WROTE != 0
    }
}

/// The step being taken.
pub(crate) struct Step<'a> {
    /// Whose.
    pub(crate) event: Idx,
    /// Where events stand in the order, by [`Idx`].
    places: &'a [u32],
    /// What it read and wrote; none in a fold that nobody keeps, which walks in order and reads the newest value.
    marks: Option<Vec<Mark>>,
}

impl<'a> Step<'a> {
    /// Steps of a fold from nothing.
    pub(crate) fn once(places: &'a [u32]) -> Self {
        Self {
            event: Idx(0),
            places,
            marks: None,
        }
    }

    /// Steps of a fold that is kept.
    pub(crate) fn kept(places: &'a [u32]) -> Self {
        Self {
            event: Idx(0),
            places,
            marks: Some(Vec::new()),
        }
    }

    pub(crate) fn places(&self) -> &'a [u32] {
        self.places
    }

    /// What was read and written since this was asked last, ascending.
    pub(crate) fn take(&mut self) -> Vec<Mark> {
        let mut marks = self.marks.as_mut().map(std::mem::take).unwrap_or_default();
        marks.sort_unstable();
        marks
    }

    /// Where an event stands.
    pub(crate) fn place(&self, event: Idx) -> u32 {
        self.places[event.0 as usize]
    }

    /// Where in a list in order those begin that stand behind this event.
    pub(crate) fn behind<T>(&self, list: &[T], event: impl Fn(&T) -> Idx) -> usize {
        behind(self.places, self.event, list, event)
    }
}

/// Where in a list in order those begin that stand behind an event.
pub(crate) fn behind<T>(places: &[u32], than: Idx, list: &[T], event: impl Fn(&T) -> Idx) -> usize {
    // Most come last.
    let place = |of: Idx| places[of.0 as usize];
    match list.last() {
        Some(last) if place(event(last)) > place(than) => {
            list.partition_point(|item| place(event(item)) <= place(than))
        }
        _ => list.len(),
    }
}

/// Events whose steps must be taken again, and where they stand.
pub(crate) struct Stale<'a> {
    places: &'a [u32],
    /// All events from here on are walked anyway.
    from: u32,
    events: BTreeSet<(u32, Idx)>,
}

impl<'a> Stale<'a> {
    pub(crate) fn new(places: &'a [u32], from: u32) -> Self {
        Self {
            places,
            from,
            events: BTreeSet::new(),
        }
    }

    /// Events that go stand nowhere.
    pub(crate) fn insert(&mut self, event: Idx) {
        if let Some(place) = self.places.get(event.0 as usize).copied()
            && place < self.from
        {
            self.events.insert((place, event));
        }
    }

    pub(crate) fn next(&self) -> Option<Idx> {
        self.events.first().map(|(_, event)| *event)
    }

    pub(crate) fn remove(&mut self, event: Idx) {
        self.events.remove(&(self.places[event.0 as usize], event));
    }

    pub(crate) fn into_events(self) -> impl Iterator<Item = Idx> {
        self.events.into_iter().map(|(_, event)| event)
    }

    pub(crate) fn places(&self) -> &'a [u32] {
        self.places
    }
}

/// A table of histories, whatever its keys and values.
pub(crate) trait Table {
    /// Takes back what an event's step did with a key. `keep`: it is taken anew or goes, and [`Self::settle`] follows.
    fn retract(&mut self, places: &[u32], event: Idx, mark: Mark, keep: bool);

    /// Finds who read a key otherwise than it is now that an event's step was taken anew.
    fn settle(&mut self, event: Idx, key: u32, stale: &mut Stale<'_>);
}

/// Most keys are written and read twice at most: a name is taken and given back.
struct Track<V> {
    /// In order, one an event.
    writes: SmallVec<[(Idx, Option<V>); 2]>,
    /// In order.
    readers: SmallVec<[Idx; 2]>,
}

/// The histories of some keys.
pub(crate) struct Timeline<K, V> {
    table: u8,
    numbers: BTreeMap<K, u32>,
    tracks: Vec<Track<V>>,
    /// What the event wrote whose step is being taken anew.
    old: BTreeMap<u32, Option<V>>,
    /// None if nobody shows what the table holds.
    shown: Option<Shown<K>>,
}

/// What was written, or taken back.
struct Shown<K> {
    /// By number.
    keys: Vec<K>,
    touched: Vec<u32>,
}

impl<K> Shown<K> {
    fn touch(this: &mut Option<Self>, number: u32) {
        if let Some(shown) = this {
            shown.touched.push(number);
        }
    }
}

impl<K: Ord + Clone, V> Timeline<K, V> {
    /// An empty one; no other that the same steps use has its number, below 32.
    pub(crate) fn new(table: u8) -> Self {
        Self {
            shown: Some(Shown {
                keys: Vec::new(),
                touched: Vec::new(),
            }),
            ..Self::hidden(table)
        }
    }

    /// One that nobody shows: of what was touched in it no account is kept.
    pub(crate) fn hidden(table: u8) -> Self {
        Self {
            table,
            numbers: BTreeMap::new(),
            tracks: Vec::new(),
            old: BTreeMap::new(),
            shown: None,
        }
    }

    /// What a key holds at a step.
    pub(crate) fn read(&mut self, step: &mut Step<'_>, key: &K) -> Option<&V> {
        if step.marks.is_none() {
            return self.now(key);
        }
        let number = self.number(key);
        self.read_at(step, number)
    }

    /// Sets what a key holds from a step on.
    pub(crate) fn write(&mut self, step: &mut Step<'_>, key: &K, value: Option<V>) {
        let number = self.number(key);
        self.write_at(step, number, value);
    }

    /// Sets what a key holds from a step on, if it holds nothing. Says whether it did.
    pub(crate) fn claim(&mut self, step: &mut Step<'_>, key: &K, value: V) -> bool {
        let number = self.number(key);
        let free = self.read_at(step, number).is_none();
        if free {
            self.write_at(step, number, Some(value));
        }
        free
    }

    fn read_at(&mut self, step: &mut Step<'_>, number: u32) -> Option<&V> {
        let track = &mut self.tracks[number as usize];
        let event = step.event;
        if let Some(marks) = &mut step.marks {
            let at = behind(step.places, event, &track.readers, |reader| *reader);
            if track.readers[..at].last() != Some(&event) {
                track.readers.insert(at, event);
                marks.push(Mark(u32::from(self.table) << TABLE | number));
            }
        }
        let at = behind(step.places, event, &track.writes, |write| write.0);
        track.writes[..at].last()?.1.as_ref()
    }

    fn write_at(&mut self, step: &mut Step<'_>, number: u32, value: Option<V>) {
        Shown::touch(&mut self.shown, number);
        let track = &mut self.tracks[number as usize];
        let event = step.event;
        let at = behind(step.places, event, &track.writes, |write| write.0);
        match track.writes[..at].last_mut() {
            Some(last) if last.0 == event => last.1 = value,
            _ => {
                track.writes.insert(at, (event, value));
                if let Some(marks) = &mut step.marks {
                    marks.push(Mark(u32::from(self.table) << TABLE | WROTE | number));
                }
            }
        }
    }

    /// What a key holds at the end.
    pub(crate) fn now(&self, key: &K) -> Option<&V> {
        self.last(key).map(|(_, value)| value)
    }

    /// What a key holds at the end, and by which event.
    pub(crate) fn last(&self, key: &K) -> Option<(Idx, &V)> {
        let number = self.numbers.get(key)?;
        let (event, value) = self.tracks[*number as usize].writes.last()?;
        value.as_ref().map(|value| (*event, value))
    }

    /// The event that wrote a key first, at the end.
    pub(crate) fn first(&self, key: &K) -> Option<Idx> {
        let number = self.numbers.get(key)?;
        let first = self.tracks[*number as usize].writes.first()?;
        Some(first.0)
    }

    /// How many bytes of memory it takes, about, without what keys and values refer to.
    pub(crate) fn bytes(&self) -> usize {
        let keys = self.shown.as_ref().map_or(0, |shown| shown.keys.len());
        let spilled = self.tracks.iter().map(|track| {
            let writes = track.writes.spilled().then_some(track.writes.len());
            let readers = track.readers.spilled().then_some(track.readers.len());
            writes.unwrap_or(0) * size_of::<(Idx, Option<V>)>()
                + readers.unwrap_or(0) * size_of::<Idx>()
        });
        // A node of the map is three quarters full.
        self.numbers.len() * size_of::<(K, u32)>() * 4 / 3
            + keys * size_of::<K>()
            + self.tracks.len() * size_of::<Track<V>>()
            + spilled.sum::<usize>()
    }

    /// All keys that hold or held something.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &K> {
        self.numbers.keys()
    }

    /// Keys of a range that hold or held something.
    pub(crate) fn range(
        &self,
        range: std::ops::RangeInclusive<K>,
    ) -> impl Iterator<Item = K> + use<'_, K, V> {
        self.numbers.range(range).map(|(key, _)| key.clone())
    }

    /// The keys that were written, or of which a write was taken back, since this was asked last.
    pub(crate) fn touched(&mut self) -> BTreeSet<K> {
        let Some(Shown { keys, touched }) = &mut self.shown else {
            return BTreeSet::new();
        };
        touched.sort_unstable();
        touched.dedup();
        touched
            .drain(..)
            .map(|number| keys[number as usize].clone())
            .collect()
    }

    fn number(&mut self, key: &K) -> u32 {
        if let Some(number) = self.numbers.get(key) {
            return *number;
        }
        let number = self.tracks.len() as u32;
        self.numbers.insert(key.clone(), number);
        if let Some(shown) = &mut self.shown {
            shown.keys.push(key.clone());
        }
        self.tracks.push(Track {
            writes: SmallVec::new(),
            readers: SmallVec::new(),
        });
        number
    }
}

impl<K, V: PartialEq> Table for Timeline<K, V> {
    fn retract(&mut self, places: &[u32], event: Idx, mark: Mark, keep: bool) {
        let number = mark.key();
        let track = &mut self.tracks[number as usize];
        if !mark.wrote() {
            let at = behind(places, event, &track.readers, |reader| *reader);
            if track.readers[..at].last() == Some(&event) {
                track.readers.remove(at - 1);
            }
            return;
        }
        let at = behind(places, event, &track.writes, |write| write.0);
        if track.writes[..at]
            .last()
            .is_some_and(|last| last.0 == event)
        {
            let (_, value) = track.writes.remove(at - 1);
            Shown::touch(&mut self.shown, number);
            if keep {
                self.old.insert(number, value);
            }
        }
    }

    fn settle(&mut self, event: Idx, key: u32, stale: &mut Stale<'_>) {
        let old = self.old.remove(&key);
        let (track, places) = (&self.tracks[key as usize], stale.places());
        let first = behind(places, event, &track.readers, |reader| *reader);
        if first == track.readers.len() {
            return;
        }
        let at = behind(places, event, &track.writes, |write| write.0);
        let is = track.writes[..at].last();
        let before = match is {
            Some(last) if last.0 == event => track.writes[..at - 1].last(),
            other => other,
        };
        let was = match &old {
            Some(old) => old.as_ref(),
            None => before.and_then(|write| write.1.as_ref()),
        };
        if was == is.and_then(|write| write.1.as_ref()) {
            return;
        }
        let until = track.writes.get(at).map(|next| places[next.0.0 as usize]);
        for reader in &track.readers[first..] {
            if until.is_some_and(|until| places[reader.0 as usize] > until) {
                break;
            }
            stale.insert(*reader);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// One key: 0 and 10 write their numbers to it, the others read it. Nobody stands between 2 and 8 yet.
    fn line(places: &[u32]) -> Timeline<&'static str, u32> {
        let mut table = Timeline::new(0);
        let mut step = Step::kept(places);
        for (event, write) in [(0, true), (2, false), (8, false), (10, true), (12, false)] {
            step.event = Idx(event);
            if write {
                table.write(&mut step, &"key", Some(event));
            } else {
                table.read(&mut step, &"key");
            }
            step.take();
        }
        table
    }

    fn stale_for(table: &mut Timeline<&'static str, u32>, places: &[u32], event: u32) -> Vec<u32> {
        let mut stale = Stale::new(places, u32::MAX);
        table.settle(Idx(event), 0, &mut stale);
        stale.into_events().map(|idx| idx.0).collect()
    }

    #[test]
    fn a_step_reads_what_stands_before_it_whatever_came_first() {
        let places: Vec<u32> = (0..20).collect();
        let mut table = line(&places);
        let mut step = Step::kept(&places);
        for (event, found) in [(5, 0), (11, 10)] {
            step.event = Idx(event);
            assert_eq!(table.read(&mut step, &"key"), Some(&found));
        }
        step.event = Idx(6);
        table.write(&mut step, &"key", None);
        assert_eq!(table.read(&mut step, &"key"), None, "its own");
        step.event = Idx(7);
        assert_eq!(table.read(&mut step, &"key"), None);
        assert_eq!(table.now(&"key"), Some(&10));
    }

    #[test]
    fn a_late_write_is_news_to_who_reads_it_up_to_the_next() {
        let places: Vec<u32> = (0..20).collect();
        let mut table = line(&places);
        let mut step = Step::kept(&places);
        step.event = Idx(6);
        table.write(&mut step, &"key", Some(6));
        assert_eq!(stale_for(&mut table, &places, 6), [8]);
        let marks = step.take();
        for mark in &marks {
            table.retract(&places, Idx(6), *mark, true);
        }
        assert_eq!(stale_for(&mut table, &places, 6), [8], "and its going");
        table.write(&mut step, &"key", Some(0));
        let none: [u32; 0] = [];
        assert_eq!(stale_for(&mut table, &places, 6), none, "nothing changed");
    }
}
