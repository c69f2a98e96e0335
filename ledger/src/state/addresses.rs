//! Unique IPv4 addresses: a taken one becomes the next free, upwards with wrap.
//!
//! A claim looks at a whole run of addresses, so it leaves no list of what it read. Instead all claims and releases are kept
//! in order. A late one takes back those behind it, has its turn, and they are done again: one that comes out otherwise
//! means that its event's step must be taken again.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use crate::event::attributes::Subnet;
use crate::graph::Idx;
use crate::timeline::{Step, behind};

/// Addresses of a subnet in use, as runs of neighbours.
pub(crate) struct Addresses {
    subnet: Subnet,
    /// First of a run, and the one behind its last.
    runs: BTreeMap<u32, u32>,
    /// In order.
    deeds: Vec<Deed>,
    /// Of these, how many are done.
    done: usize,
}

/// What a step did.
#[derive(Clone, Copy)]
struct Deed {
    event: Idx,
    what: What,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    /// Claimed the first free one from here on, and got it if there was one.
    Claimed { from: u32, got: Option<u32> },
    /// Gave one back that was taken. Runs never touch, so taking it undoes that exactly.
    Released(u32),
}

impl Addresses {
    pub(crate) fn new(subnet: Subnet) -> Self {
        Self {
            subnet,
            runs: BTreeMap::new(),
            deeds: Vec::new(),
            done: 0,
        }
    }

    /// Whether an address is one that hosts of this subnet can have.
    pub(crate) fn contains(&self, address: Ipv4Addr) -> bool {
        self.subnet.index(address).is_some()
    }

    /// Takes an address, or the next free one; none if all are taken. Who wants none of this subnet gets the first free.
    pub(crate) fn claim(&mut self, step: &Step<'_>, wanted: Option<Ipv4Addr>) -> Option<Ipv4Addr> {
        let from = wanted
            .and_then(|address| self.subnet.index(address))
            .unwrap_or(0);
        self.turn_to(step);
        let got = self.free_from(from);
        self.act(step, What::Claimed { from, got });
        self.subnet.host(got?)
    }

    /// Gives an address back.
    pub(crate) fn release(&mut self, step: &Step<'_>, address: Ipv4Addr) {
        let Some(n) = self.subnet.index(address) else {
            return;
        };
        self.turn_to(step);
        if self.run_of(n).is_some() {
            self.act(step, What::Released(n));
        }
    }

    /// Takes back what an event's step did, and for now all behind it.
    pub(crate) fn retract(&mut self, places: &[u32], event: Idx) {
        let end = behind(places, event, &self.deeds, |deed| deed.event);
        let own = self.deeds[..end].iter().rev();
        let count = own.take_while(|deed| deed.event == event).count();
        if count > 0 {
            self.back_to(end - count);
            self.deeds.drain(end - count..end);
        }
    }

    /// Does again what was taken back, up to a place; stops at the first event for which it comes out otherwise.
    pub(crate) fn catch_up(&mut self, places: &[u32], until: u32) -> Option<Idx> {
        while let Some(deed) = self.deeds.get(self.done).copied() {
            if places[deed.event.0 as usize] >= until {
                return None;
            }
            let same = match deed.what {
                What::Claimed { from, got } => self.free_from(from) == got,
                What::Released(n) => self.run_of(n).is_some(),
            };
            if !same {
                return Some(deed.event);
            }
            self.perform(deed.what);
        }
        None
    }

    /// Takes back what stands behind a step.
    fn turn_to(&mut self, step: &Step<'_>) {
        let behind = step.behind(&self.deeds, |deed| deed.event);
        self.back_to(behind);
    }

    fn act(&mut self, step: &Step<'_>, what: What) {
        let event = step.event;
        self.deeds.insert(self.done, Deed { event, what });
        self.perform(what);
    }

    fn perform(&mut self, what: What) {
        match what {
            What::Claimed { got: Some(n), .. } => self.take(n),
            What::Claimed { got: None, .. } => {}
            What::Released(n) => {
                self.free(n);
            }
        }
        self.done += 1;
    }

    fn back_to(&mut self, count: usize) {
        while self.done > count {
            self.done -= 1;
            match self.deeds[self.done].what {
                What::Claimed { got: Some(n), .. } => {
                    self.free(n);
                }
                What::Claimed { got: None, .. } => {}
                What::Released(n) => self.take(n),
            }
        }
    }

    /// The first free one from `from` on, with wrap.
    fn free_from(&self, from: u32) -> Option<u32> {
        let hosts = self.subnet.hosts();
        let free = [self.behind(from), self.behind(0)];
        free.into_iter().find(|n| *n < hosts)
    }

    /// Takes one that is free.
    fn take(&mut self, n: u32) {
        let before = self
            .runs
            .range(..n)
            .next_back()
            .filter(|(_, end)| **end == n)
            .map(|(start, _)| *start);
        let end = self.runs.remove(&(n + 1)).unwrap_or(n + 1);
        self.runs.insert(before.unwrap_or(n), end);
    }

    fn free(&mut self, n: u32) -> bool {
        let Some((start, end)) = self.run_of(n) else {
            return false;
        };
        self.runs.remove(&start);
        if start < n {
            self.runs.insert(start, n);
        }
        if n + 1 < end {
            self.runs.insert(n + 1, end);
        }
        true
    }

    /// The first free one from `n` on, which may lie beyond the subnet.
    fn behind(&self, n: u32) -> u32 {
        self.run_of(n).map_or(n, |(_, end)| end)
    }

    fn run_of(&self, n: u32) -> Option<(u32, u32)> {
        self.runs
            .range(..=n)
            .next_back()
            .map(|(start, end)| (*start, *end))
            .filter(|(_, end)| n < *end)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn address(n: u8) -> Option<Ipv4Addr> {
        Some(Ipv4Addr::new(10, 0, 0, n))
    }

    fn steps(subnet: &str, run: impl FnOnce(&mut Addresses, &mut Step<'_>)) {
        let places: Vec<u32> = (0..100).collect();
        let mut addresses = Addresses::new(subnet.parse().unwrap());
        run(&mut addresses, &mut Step::kept(&places));
    }

    #[test]
    fn a_taken_address_becomes_the_next_free_upwards_with_wrap() {
        steps("10.0.0.0/29", |addresses, step| {
            let claimed: Vec<Option<Ipv4Addr>> =
                (0..7).map(|_| addresses.claim(step, address(5))).collect();
            assert_eq!(
                claimed,
                [5, 6, 1, 2, 3, 4, 0].map(|n| (n > 0).then_some(Ipv4Addr::new(10, 0, 0, n)))
            );
            addresses.release(step, Ipv4Addr::new(10, 0, 0, 3));
            assert_eq!(addresses.claim(step, address(5)), address(3));
            assert_eq!(addresses.claim(step, address(5)), None);
        });
    }

    #[test]
    fn taken_back_the_same_are_in_use_as_before() {
        steps("10.0.0.0/28", |addresses, step| {
            for n in [1, 2, 5, 9] {
                addresses.claim(step, address(n));
            }
            let before = addresses.runs.clone();
            step.event = Idx(1);
            addresses.release(step, Ipv4Addr::new(10, 0, 0, 2));
            addresses.release(step, Ipv4Addr::new(10, 0, 0, 2));
            for n in [3, 2, 4, 4, 8] {
                addresses.claim(step, address(n));
            }
            addresses.release(step, Ipv4Addr::new(10, 0, 0, 5));
            addresses.retract(step.places(), Idx(1));
            assert_eq!(addresses.runs, before);
            assert_eq!(addresses.deeds.len(), 4);
        });
    }

    #[test]
    fn a_late_claim_goes_first_and_says_whose_comes_out_otherwise() {
        steps("10.0.0.0/28", |addresses, step| {
            for (event, wanted) in [(10, 3), (20, 7), (30, 4)] {
                step.event = Idx(event);
                assert_eq!(addresses.claim(step, address(wanted)), address(wanted));
            }
            step.event = Idx(5);
            assert_eq!(addresses.claim(step, address(4)), address(4));
            let stale = addresses.catch_up(step.places(), u32::MAX);
            assert_eq!(stale, Some(Idx(30)), "who wanted another is not disturbed");
            addresses.retract(step.places(), Idx(30));
            step.event = Idx(30);
            assert_eq!(addresses.claim(step, address(4)), address(5));
            assert_eq!(addresses.catch_up(step.places(), u32::MAX), None);
            assert_eq!(addresses.done, addresses.deeds.len());
        });
    }

    #[test]
    fn who_wants_none_or_a_foreign_one_gets_the_first_free() {
        steps("10.0.0.0/24", |addresses, step| {
            assert_eq!(addresses.claim(step, None), address(1));
            let foreign = Some(Ipv4Addr::new(192, 168, 0, 9));
            assert_eq!(addresses.claim(step, foreign), address(2));
            assert_eq!(addresses.claim(step, address(0)), address(3));
        });
    }
}
