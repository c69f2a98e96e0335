//! Unique IPv4 addresses: a taken one becomes the next free, upwards with wrap.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use crate::event::attributes::Subnet;

/// Addresses of a subnet in use, as runs of neighbours.
pub(crate) struct Addresses {
    subnet: Subnet,
    /// First of a run, and the one behind its last.
    runs: BTreeMap<u32, u32>,
    /// What was claimed (true) and released (false). Runs never touch, so each undoes the other exactly.
    log: Vec<(u32, bool)>,
}

impl Addresses {
    pub(crate) fn new(subnet: Subnet) -> Self {
        Self {
            subnet,
            runs: BTreeMap::new(),
            log: Vec::new(),
        }
    }

    /// Whether an address is one that hosts of this subnet can have.
    pub(crate) fn contains(&self, address: Ipv4Addr) -> bool {
        self.subnet.index(address).is_some()
    }

    /// Takes an address, or the next free one; none if all are taken. Who wants none of this subnet gets the first free.
    pub(crate) fn claim(&mut self, wanted: Option<Ipv4Addr>) -> Option<Ipv4Addr> {
        let from = wanted
            .and_then(|address| self.subnet.index(address))
            .unwrap_or(0);
        let hosts = self.subnet.hosts();
        let free = [self.behind(from), self.behind(0)]
            .into_iter()
            .find(|n| *n < hosts)?;
        self.take(free);
        self.log.push((free, true));
        self.subnet.host(free)
    }

    /// Gives an address back.
    pub(crate) fn release(&mut self, address: Ipv4Addr) {
        let Some(n) = self.subnet.index(address) else {
            return;
        };
        if self.free(n) {
            self.log.push((n, false));
        }
    }

    /// A point to go back to.
    pub(crate) fn mark(&self) -> u32 {
        self.log.len() as u32
    }

    /// Goes back to a point.
    pub(crate) fn rewind(&mut self, mark: u32) {
        while self.log.len() > mark as usize {
            match self.log.pop() {
                Some((n, true)) => {
                    self.free(n);
                }
                Some((n, false)) => self.take(n),
                None => return,
            }
        }
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

    #[test]
    fn a_taken_address_becomes_the_next_free_upwards_with_wrap() {
        let mut addresses = Addresses::new("10.0.0.0/29".parse().unwrap());
        let claimed: Vec<Option<Ipv4Addr>> = (0..7).map(|_| addresses.claim(address(5))).collect();
        assert_eq!(
            claimed,
            [5, 6, 1, 2, 3, 4, 0].map(|n| (n > 0).then_some(Ipv4Addr::new(10, 0, 0, n)))
        );
        addresses.release(Ipv4Addr::new(10, 0, 0, 3));
        assert_eq!(addresses.claim(address(5)), address(3));
        assert_eq!(addresses.claim(address(5)), None);
    }

    #[test]
    fn taken_back_to_a_point_the_same_are_in_use() {
        let mut addresses = Addresses::new("10.0.0.0/28".parse().unwrap());
        for n in [1, 2, 5, 9] {
            addresses.claim(address(n));
        }
        let (mark, before) = (addresses.mark(), addresses.runs.clone());
        addresses.release(Ipv4Addr::new(10, 0, 0, 2));
        addresses.release(Ipv4Addr::new(10, 0, 0, 2));
        for n in [3, 2, 4, 4, 8] {
            addresses.claim(address(n));
        }
        addresses.release(Ipv4Addr::new(10, 0, 0, 5));
        addresses.rewind(mark);
        assert_eq!(addresses.runs, before);
    }

    #[test]
    fn who_wants_none_or_a_foreign_one_gets_the_first_free() {
        let mut addresses = Addresses::new("10.0.0.0/24".parse().unwrap());
        assert_eq!(addresses.claim(None), address(1));
        assert_eq!(
            addresses.claim(Some(Ipv4Addr::new(192, 168, 0, 9))),
            address(2)
        );
        assert_eq!(addresses.claim(address(0)), address(3));
    }
}
