//! Pushes: what is taken, stored, charged and announced, and who has to go because of it.

use std::sync::atomic::Ordering;

use mesh_ledger::mirror::Response;
use mesh_ledger::mirror::message::{Failure, Pushed};
use tracing::{info, warn};

use super::{Hosted, Inner, Networks, Visitor, lock};
use crate::log::Turnover;
use crate::quota::Payer;
use crate::rights::{self, Right};

/// How much more an event costs that the gate refused.
const REFUSED_COST: u64 = 4;
/// So many own events a session remembers until it is told of them.
const MAX_OWN: usize = 4096;

impl Networks {
    pub(super) fn push(
        &self,
        inner: &mut Inner,
        visitor: &mut Visitor,
        events: &[Vec<u8>],
    ) -> Result<Response, Failure> {
        let (hosted, limits) = (visitor.hosted.clone(), &self.terms.limits);
        let payer = self.payer(inner, visitor)?;
        let steady = self.steady();
        if lock(&self.quotas).wait(payer, steady, limits) > 0 {
            return Err(Failure::Quota);
        }
        let mut taken = inner.log.take(events, limits);
        if !taken.added.is_empty() {
            let opens = taken.added.start == 0;
            if opens && self.hosted.load(Ordering::Relaxed) >= limits.networks {
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
                .map(|e| e.id())
                .collect();
            inner.log.keep(&mut taken);
            if visitor.own.len() + own.len() <= MAX_OWN {
                visitor.own.extend(own);
            }
            if opens {
                self.hosted.fetch_add(1, Ordering::Relaxed);
                info!(network = hosted.network.short(), "hosted");
            }
            self.turn_over(&hosted, inner, &turnover);
            hosted.changed();
        }
        let bytes = events.iter().map(|event| event.len() as u64).sum::<u64>();
        let count = taken.added.len() as u64 + REFUSED_COST * taken.refused.len() as u64;
        // What was there before costs nothing: members push the same to make sure.
        let cost = (count, if count == 0 { 0 } else { bytes });
        let wait = lock(&self.quotas).charge(payer, cost, steady, limits);
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

    fn payer(&self, inner: &Inner, visitor: &Visitor) -> Result<Payer, Failure> {
        if visitor.invite.is_some() {
            return Err(Failure::NotPermitted);
        }
        match rights::right(inner.log.authority(), &visitor.device) {
            Right::Live => Ok(Payer::Device(visitor.device)),
            // Who opened the network need not be of it.
            Right::Unknown if visitor.may_open => Ok(Payer::Device(visitor.device)),
            Right::Unknown => Ok(Payer::Strangers(visitor.network())),
            Right::Removed(_) => Err(Failure::NotPermitted),
            Right::NotHosted if visitor.may_open => Ok(Payer::Device(visitor.device)),
            Right::NotHosted => Err(Failure::NotHosting),
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
