//! What a server has signed, and whether an honest one can have signed all of it.
//!
//! A [`Witness`] keeps one server's log of one network by position, as it was pulled, with the chain over it, the newest
//! tip, and the tips that other members were shown. An honest server only ever appends, so
//! - the ids it hands out hash to the chain that it signs;
//! - of two tips, the later has no fewer events, and of equally many the same chain ([`tip::contradiction`]);
//! - a tip that somebody else was shown has the chain that this log has at that position;
//! - what it acknowledged stands in the log that its tip covers;
//! - who has heard of a tip before it asks gets no older one.
//!
//! Messages cross on the way, so nothing else is held against a server: an answer or a beacon may be older than what
//! this device knows by the time it arrives.

use std::collections::BTreeMap;

use mesh_ledger::ids::{DeviceId, EventId, NetworkId, ServerKey};
use mesh_ledger::mirror::message::Page;
use mesh_ledger::mirror::tip::{Contradiction, contradiction};
use mesh_ledger::mirror::{Chain, SignedTip};
use serde::{Deserialize, Serialize};

/// The most devices whose tips are kept.
const MAX_HEARD: usize = 256;
/// The most tips kept as proofs that this device was shown the log it has.
const MAX_PROOFS: usize = 64;
/// The most acknowledged events that wait to be found in the log.
const MAX_ACKNOWLEDGED: usize = 4096;
/// The most accusations kept: one of each kind.
pub const MAX_ACCUSATIONS: usize = 8;

/// What a server did that no honest one does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Lie {
    /// Two logs.
    #[error("it showed two different logs")]
    Fork,
    /// It went back behind what it had signed.
    #[error("it took back what it had stored")]
    Rollback,
    /// The ids it handed out are not those it signed.
    #[error("it handed out another log than it signed")]
    Mismatch,
    /// It keeps back what its own tip covers.
    #[error("it keeps events back that it had acknowledged")]
    Withheld,
    /// It answered with a tip that was older than what it had signed before.
    #[error("it shows an old copy as the newest")]
    Stale,
}

impl From<Contradiction> for Lie {
    fn from(what: Contradiction) -> Self {
        match what {
            Contradiction::Fork => Self::Fork,
            Contradiction::Rollback => Self::Rollback,
        }
    }
}

/// A lie, and what proves it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accusation {
    /// What it did.
    pub what: Lie,
    /// The tips that show it: one, or two.
    pub tips: Vec<SignedTip>,
    /// The member that was shown the last of them; none if it was this device.
    pub heard_from: Option<DeviceId>,
    /// When it was found out, in milliseconds since 1970; 0 until [`Witness::date`].
    pub at: u64,
}

/// What is kept on disk: the rest is pulled again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    newest: Option<SignedTip>,
    accusations: Vec<Accusation>,
    forgiven: u64,
}

/// What a page did to the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pulled {
    /// The log goes as far as the server says that it does.
    Complete,
    /// There is more to pull, or a part before the page is missing.
    More,
    /// The server lied; the log begins anew.
    Lied,
}

/// What a member's tip was good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// Nothing new.
    Known,
    /// The server has more than this device has pulled.
    Ahead,
    /// The server lied to somebody.
    Lied,
}

/// A tip that the server never signed, or of another network: no proof of anything but a broken conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the server sent a tip that it did not sign")]
pub struct BadTip;

/// See the module.
#[derive(Debug)]
pub struct Witness {
    network: NetworkId,
    server: ServerKey,
    ids: Vec<EventId>,
    /// The chain before each position, and after the last.
    chains: Vec<Chain>,
    places: BTreeMap<EventId, u64>,
    /// So many events of the log were covered by a tip with their chain.
    checked: u64,
    newest: Option<SignedTip>,
    /// Tips that the log was checked against, by count.
    proofs: BTreeMap<u64, SignedTip>,
    /// The newest tip of each member; under none, what this device knew before it was started.
    heard: BTreeMap<Option<DeviceId>, SignedTip>,
    acknowledged: BTreeMap<EventId, SignedTip>,
    accusations: Vec<Accusation>,
    /// What was signed until then is not held against it any more.
    forgiven: u64,
    dirty: bool,
}

impl Witness {
    /// One that knows what was kept.
    #[must_use]
    pub fn new(network: NetworkId, server: ServerKey, kept: Kept) -> Self {
        let genuine = |tip: &SignedTip| {
            tip.server == server && tip.tip.network == network && tip.is_genuine()
        };
        let newest = kept.newest.filter(genuine);
        let mut accusations = kept.accusations;
        accusations.truncate(MAX_ACCUSATIONS);
        Self {
            network,
            server,
            ids: Vec::new(),
            chains: vec![Chain::empty(&network)],
            places: BTreeMap::new(),
            checked: 0,
            heard: newest.iter().map(|tip| (None, tip.clone())).collect(),
            newest,
            proofs: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            accusations,
            forgiven: kept.forgiven,
            dirty: false,
        }
    }

    /// What is to be kept on disk.
    #[must_use]
    pub fn kept(&self) -> Kept {
        Kept {
            newest: self.newest.clone(),
            accusations: self.accusations.clone(),
            forgiven: self.forgiven,
        }
    }

    /// Whether [`Self::kept`] has changed since it was asked last.
    pub fn take_dirty(&mut self) -> bool {
        std::mem::take(&mut self.dirty)
    }

    /// How many events of the log are here by id.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.ids.len() as u64
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Whether the server says that it has an event.
    #[must_use]
    pub fn has(&self, id: &EventId) -> bool {
        self.places.contains_key(id) || self.acknowledged.contains_key(id)
    }

    /// The ids of the log, by position.
    #[must_use]
    pub fn ids(&self) -> &[EventId] {
        &self.ids
    }

    /// The newest tip that this device was shown: what its beacons carry.
    #[must_use]
    pub fn newest(&self) -> Option<&SignedTip> {
        self.newest.as_ref()
    }

    /// When the newest tip was signed that this device has heard of: what is asked from now on gets none older.
    #[must_use]
    pub fn known_time(&self) -> u64 {
        let heard = self.heard.values().chain(&self.newest);
        heard.map(|tip| tip.tip.time).max().unwrap_or(0)
    }

    /// What the server did that no honest one does.
    #[must_use]
    pub fn accusations(&self) -> &[Accusation] {
        &self.accusations
    }

    /// Says when what was found since the last time was found: now. Returns it.
    pub fn date(&mut self, now: u64) -> Vec<Accusation> {
        let fresh = self.accusations.iter_mut().filter(|found| found.at == 0);
        fresh
            .map(|found| {
                found.at = now.max(1);
                found.clone()
            })
            .collect()
    }

    /// Holds nothing against the server that it has signed so far.
    pub fn forgive(&mut self) {
        self.forgiven = self.forgiven.max(self.known_time());
        self.accusations.clear();
        self.begin_anew();
        self.newest = None;
        self.dirty = true;
    }

    /// The server says that it does not have the network: there is no log. Only a tip can say that there was one.
    pub fn begin_anew(&mut self) {
        self.ids.clear();
        self.chains.truncate(1);
        self.places.clear();
        self.checked = 0;
        self.proofs.clear();
        self.heard.clear();
        self.acknowledged.clear();
    }

    /// Takes a tip of an answer to a question that was asked when this device knew of `asked_at` ([`Self::known_time`]); of
    /// what came by itself, 0. Says whether the server may be honest.
    ///
    /// # Errors
    /// [`BadTip`] if it is none of this server and network.
    pub fn tip(&mut self, tip: &SignedTip, asked_at: u64) -> Result<bool, BadTip> {
        if !self.is_ours(tip) {
            return Err(BadTip);
        }
        if let Some((what, other, heard_from)) = self.contradicted(tip) {
            let tips = vec![tip.clone(), other];
            self.accuse(what, tips, heard_from);
            self.begin_anew();
            self.renew(tip);
            return Ok(false);
        }
        if tip.tip.time < asked_at {
            let known = self.heard.iter().map(|(from, tip)| (*from, tip));
            let known = known.chain(self.newest.iter().map(|tip| (None, tip)));
            let latest = known
                .max_by_key(|(_, tip)| tip.tip.time)
                .map(|(from, tip)| (from, tip.clone()));
            if let Some((from, latest)) = latest {
                self.accuse(Lie::Stale, vec![tip.clone(), latest], from);
                return Ok(false);
            }
        }
        self.renew(tip);
        Ok(true)
    }

    /// Takes a page; its tip was taken before. `pulled` says whether it is the answer to a pull of what follows the log.
    pub fn page(&mut self, page: &Page, pulled: bool) -> Pulled {
        let Some(overlap) = self.len().checked_sub(page.from) else {
            return Pulled::More;
        };
        let tip = &page.tip;
        let end = page.from.saturating_add(page.ids.len() as u64);
        if end > tip.tip.count {
            return self.lied(Lie::Mismatch, vec![tip.clone()]);
        }
        let overlap = usize::try_from(overlap).unwrap_or(usize::MAX);
        let from = usize::try_from(page.from).unwrap_or(usize::MAX);
        let held = self.ids.get(from..).unwrap_or_default();
        if held.iter().zip(&page.ids).any(|(held, id)| held != id) {
            let mut tips = vec![tip.clone()];
            tips.extend(self.proof(page.from + 1).filter(|proof| proof != tip));
            return self.lied(Lie::Fork, tips);
        }
        let fresh = page.ids.get(overlap..).unwrap_or_default();
        if pulled && fresh.is_empty() && self.len() < tip.tip.count {
            return self.lied(Lie::Withheld, vec![tip.clone()]);
        }
        for id in fresh {
            let Some(chain) = self.chains.last().map(|chain| chain.then(id)) else {
                break;
            };
            if self.places.insert(*id, self.ids.len() as u64).is_some() {
                // An event stands in an honest log once.
                return self.lied(Lie::Mismatch, vec![tip.clone()]);
            }
            self.ids.push(*id);
            self.chains.push(chain);
        }
        if !self.check(tip) {
            return Pulled::Lied;
        }
        if self.len() < tip.tip.count {
            Pulled::More
        } else {
            Pulled::Complete
        }
    }

    /// The server says that these are stored, and `tip` that it covers them.
    pub fn acknowledged(&mut self, ids: &[EventId], tip: &SignedTip) {
        for id in ids {
            if !self.places.contains_key(id) && self.acknowledged.len() < MAX_ACKNOWLEDGED {
                let earliest = self.acknowledged.entry(*id).or_insert_with(|| tip.clone());
                if tip.tip.count < earliest.tip.count {
                    *earliest = tip.clone();
                }
            }
        }
    }

    /// An event that the log lists was asked for alone, and did not come.
    pub fn withheld(&mut self) {
        let tips = self.newest.clone().into_iter().collect();
        self.accuse(Lie::Withheld, tips, None);
    }

    /// A member was shown this tip.
    pub fn hear(&mut self, device: DeviceId, tip: &SignedTip) -> Heard {
        let known = self.heard.get(&Some(device));
        if known == Some(tip) || tip.tip.time <= self.forgiven || !self.is_ours(tip) {
            return Heard::Known;
        }
        // A tip that proves a lie is kept with the accusation alone, or every later one would seem to contradict it.
        if let Some((what, other, _)) = self.contradicted(tip) {
            self.accuse(what, vec![other, tip.clone()], Some(device));
            return Heard::Lied;
        }
        if tip.tip.count <= self.checked && !self.agrees(tip) {
            let mut tips: Vec<SignedTip> = self.proof(tip.tip.count).into_iter().collect();
            tips.push(tip.clone());
            self.accuse(Lie::Fork, tips, Some(device));
            return Heard::Lied;
        }
        let newer = self
            .heard
            .get(&Some(device))
            .is_none_or(|known| known.tip.time < tip.tip.time);
        if newer && (self.heard.len() < MAX_HEARD || self.heard.contains_key(&Some(device))) {
            self.heard.insert(Some(device), tip.clone());
        }
        if tip.tip.count > self.len() {
            Heard::Ahead
        } else {
            Heard::Known
        }
    }

    /// A member shows two tips that together prove a lie. Whether they do.
    pub fn hear_proof(&mut self, device: DeviceId, one: &SignedTip, other: &SignedTip) -> bool {
        let held = |tip: &SignedTip| tip.tip.time > self.forgiven && self.is_ours(tip);
        if !held(one) || !held(other) {
            return false;
        }
        let Some(what) = contradiction(one, other) else {
            return false;
        };
        let tips = vec![one.clone(), other.clone()];
        self.accuse(what.into(), tips, Some(device));
        true
    }

    /// The newest accusation that proves itself to everybody, by two tips that contradict each other.
    #[must_use]
    pub fn proof_for_others(&self) -> Option<&Accusation> {
        let proves = |accusation: &&Accusation| match accusation.tips.as_slice() {
            [one, other] => contradiction(one, other).is_some(),
            _ => false,
        };
        self.accusations
            .iter()
            .filter(proves)
            .max_by_key(|accusation| accusation.at)
    }

    /// Forgets what was heard from who is no member any more.
    pub fn retain(&mut self, live: impl Fn(&DeviceId) -> bool) {
        self.heard
            .retain(|device, _| device.as_ref().is_none_or(&live));
    }

    fn is_ours(&self, tip: &SignedTip) -> bool {
        tip.server == self.server && tip.tip.network == self.network && tip.is_genuine()
    }

    /// A tip known before that cannot be honest if this one is, and who heard it.
    fn contradicted(&self, tip: &SignedTip) -> Option<(Lie, SignedTip, Option<DeviceId>)> {
        let own = self.newest.iter().chain(self.proofs.values());
        let own = own.map(|other| (None, other));
        let heard = self.heard.iter().map(|(from, other)| (*from, other));
        own.chain(heard).find_map(|(from, other)| {
            let what = contradiction(tip, other)?.into();
            Some((what, other.clone(), from))
        })
    }

    /// Compares the log with a tip it reaches, and everything that waited for the log to get there.
    fn check(&mut self, tip: &SignedTip) -> bool {
        let count = tip.tip.count;
        if count > self.len() {
            return true;
        }
        if !self.agrees(tip) {
            self.lied(Lie::Mismatch, vec![tip.clone()]);
            return false;
        }
        self.checked = self.checked.max(count);
        self.proofs.insert(count, tip.clone());
        if self.proofs.len() > MAX_PROOFS {
            self.proofs.pop_first();
        }
        let checked = self.checked;
        let disagrees = self
            .heard
            .iter()
            .find(|(_, heard)| heard.tip.count <= checked && !self.agrees(heard))
            .map(|(from, heard)| (*from, heard.clone()));
        if let Some((from, heard)) = disagrees {
            let mut tips: Vec<SignedTip> = self.proof(heard.tip.count).into_iter().collect();
            tips.push(heard);
            self.accuse(Lie::Fork, tips, from);
            self.heard.remove(&from);
            return from.is_some();
        }
        let omitted = self.acknowledged.iter().find(|(id, tip)| {
            let within = |place: &u64| *place < tip.tip.count;
            tip.tip.count <= checked && !self.places.get(id).is_some_and(within)
        });
        if let Some((id, tip)) = omitted.map(|(id, tip)| (*id, tip.clone())) {
            self.acknowledged.remove(&id);
            self.accuse(Lie::Withheld, vec![tip], None);
            return false;
        }
        self.acknowledged.retain(|_, tip| tip.tip.count > checked);
        true
    }

    /// Whether a tip that the log reaches has the log's chain.
    fn agrees(&self, tip: &SignedTip) -> bool {
        let count = usize::try_from(tip.tip.count).unwrap_or(usize::MAX);
        self.chains.get(count) == Some(&tip.tip.chain)
    }

    /// A tip that shows this device was shown the log it has at `count`: of that length if there is one.
    fn proof(&self, count: u64) -> Option<SignedTip> {
        let longer = self.proofs.range(count..).next().map(|(_, tip)| tip);
        longer.or(self.newest.as_ref()).cloned()
    }

    fn renew(&mut self, tip: &SignedTip) {
        if self
            .newest
            .as_ref()
            .is_none_or(|newest| newest.tip.time < tip.tip.time)
        {
            self.newest = Some(tip.clone());
            self.dirty = true;
        }
    }

    fn lied(&mut self, what: Lie, tips: Vec<SignedTip>) -> Pulled {
        self.accuse(what, tips, None);
        self.begin_anew();
        Pulled::Lied
    }

    /// Keeps the first of each kind: one proof is enough, and they are shown until somebody looks.
    fn accuse(&mut self, what: Lie, tips: Vec<SignedTip>, heard_from: Option<DeviceId>) {
        if self.accusations.len() < MAX_ACCUSATIONS
            && self.accusations.iter().all(|known| known.what != what)
        {
            self.accusations.push(Accusation {
                what,
                tips,
                heard_from,
                at: 0,
            });
            self.dirty = true;
        }
    }
}

#[cfg(test)]
mod tests;
