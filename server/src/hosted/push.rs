//! Pushes: what is taken, stored, charged and announced, and who has to go because of it.

use mesh_ledger::mirror::Response;
use mesh_ledger::mirror::message::{Failure, Pushed};
use tracing::{info, warn};

use super::{Hosted, Inner, Networks, Visitor, lock};
use crate::log::{EVENT_COST, Turnover};
use crate::quota::{Payer, Source, sources};
use crate::rights::{self, Right};

/// How much more an event costs that the gate refused.
const REFUSED_COST: u64 = 4;
/// So many own events a session remembers until it is told of them.
const MAX_OWN: usize = 4096;

/// Who brings events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bearer {
    /// A live device of the network.
    Live,
    /// One with the right to bring the network, which was not here.
    Opener,
    /// Anybody else.
    Stranger,
}

impl Networks {
    pub(super) fn push(
        &self,
        inner: &mut Inner,
        visitor: &mut Visitor,
        events: &[Vec<u8>],
    ) -> Result<Response, Failure> {
        let (hosted, limits) = (visitor.hosted.clone(), &self.terms.limits);
        let bearer = self.bearer(inner, visitor)?;
        let payers = self.payers(visitor, bearer);
        let steady = self.steady();
        {
            let mut quotas = lock(&self.quotas);
            if payers.iter().any(|p| quotas.wait(*p, steady, limits) > 0) {
                return Err(Failure::Quota);
            }
        }
        let mut taken = match bearer {
            Bearer::Live | Bearer::Opener => inner.log.take(events, limits),
            Bearer::Stranger => inner.log.take_from_stranger(events, limits),
        };
        if inner.log.is_broken() {
            // What it was judged by may be wrong.
            return Err(Failure::Disk);
        }
        if !taken.added.is_empty() {
            let opens = taken.added.start == 0;
            if opens && lock(&self.hosted).len() as u64 >= limits.networks {
                inner.log.undo(&taken);
                return Err(Failure::Quota);
            }
            let turnover = inner.log.turnover(&taken);
            let from = taken.added.start as u64;
            let added = inner.log.events(taken.added.clone());
            if let Err(error) = self.store.append(&hosted.network, from, added, &turnover) {
                warn!("cannot store events: {error}");
                inner.log.undo(&taken);
                return Err(Failure::Disk);
            }
            let own: Vec<_> = inner
                .log
                .events(taken.added.clone())
                .map(|event| (event.id(), event.author(), event.bytes().len()))
                .collect();
            inner.log.keep(&mut taken);
            if bearer == Bearer::Stranger {
                // Their authors are members, who pay for what they write whoever brings it.
                let mut quotas = lock(&self.quotas);
                for (_, author, size) in &own {
                    let cost = (1, *size as u64 + EVENT_COST);
                    quotas.charge(Payer::Device(*author), cost, steady, limits);
                }
            }
            if visitor.own.len() + own.len() <= MAX_OWN {
                visitor.own.extend(own.into_iter().map(|(id, ..)| id));
            }
            if opens {
                lock(&self.hosted).insert(hosted.network);
                visitor.opener = true;
                info!(network = hosted.network.short(), "hosted");
            }
            self.turn_over(&hosted, inner, &turnover);
            hosted.changed();
        }
        let bytes = events.iter().map(|event| event.len() as u64).sum::<u64>();
        let added = taken.added.len() as u64;
        let count = added + taken.waiting as u64 + REFUSED_COST * taken.refused.len() as u64;
        // What was there before costs nothing: members push the same to make sure.
        let bytes = if count == 0 { 0 } else { bytes };
        let cost = (count, bytes + EVENT_COST * added);
        let mut quotas = lock(&self.quotas);
        let waits = payers
            .iter()
            .map(|payer| quotas.charge(*payer, cost, steady, limits));
        let wait = waits.max().unwrap_or(0);
        drop(quotas);
        if taken.full && taken.stored.is_empty() {
            return Err(Failure::Quota);
        }
        Ok(Response::Pushed(Pushed {
            stored: taken.stored,
            missing: taken.missing,
            refused: taken.refused,
            wait,
            tip: self.tip(inner)?,
        }))
    }

    fn bearer(&self, inner: &Inner, visitor: &Visitor) -> Result<Bearer, Failure> {
        if visitor.invite.is_some() {
            return Err(Failure::NotPermitted);
        }
        match rights::right(inner.log.authority(), &visitor.device) {
            Right::Live => Ok(Bearer::Live),
            // Who opened the network need not be of it.
            Right::Unknown if visitor.opener => Ok(Bearer::Opener),
            Right::Unknown => Ok(Bearer::Stranger),
            Right::Removed(_) => Err(Failure::NotPermitted),
            Right::NotHosted if visitor.may_open => Ok(Bearer::Opener),
            Right::NotHosted => Err(Failure::NotHosting),
        }
    }

    /// To whom a push is charged. Keys are free to make, so who has no rights pays by where it comes from.
    fn payers(&self, visitor: &Visitor, bearer: Bearer) -> Vec<Payer> {
        let from = |payer: fn(Source) -> Payer| match visitor.source {
            Some(address) => sources(address).into_iter().map(payer).collect(),
            None => vec![Payer::Relayed],
        };
        match bearer {
            Bearer::Live => vec![Payer::Device(visitor.device)],
            Bearer::Opener if self.terms.open => {
                let mut payers: Vec<Payer> = from(Payer::Founders);
                payers.push(Payer::Device(visitor.device));
                payers
            }
            Bearer::Opener => vec![Payer::Device(visitor.device)],
            Bearer::Stranger => from(Payer::Strangers),
        }
    }

    /// Remembers who came and went, and ends the sessions and relay connections of the removed.
    fn turn_over(&self, hosted: &Hosted, inner: &Inner, turnover: &Turnover) {
        let mut live = lock(&self.live);
        for device in &turnover.came {
            live.entry(*device).or_default().insert(hosted.network);
        }
        for device in &turnover.went {
            let elsewhere = live.get_mut(device).is_some_and(|networks| {
                networks.remove(&hosted.network);
                !networks.is_empty()
            });
            if !elsewhere {
                live.remove(device);
                // Nobody listens while the server stops, and all connections end then.
                let _ = self.gone.send(*device);
            }
        }
        drop(live);
        for present in lock(&hosted.sessions).values().filter(|p| p.member) {
            let right = rights::right(inner.log.authority(), &present.device);
            if matches!(right, Right::Removed(_)) {
                present.removed.send_replace(true);
            }
        }
    }
}
