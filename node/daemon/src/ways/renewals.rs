//! Ways that packets take only once there is a session for them.
//!
//! A way that is faster than the one before overtakes what is still under way on that, and beyond boringtun's window of 1,024
//! packets what comes late is lost ([`mesh_tunnel::Tunnel::renew`]). So a peer to which packets go fast gets a handshake over
//! the new way first, while they go on over the old one; and when that is not done in good time, they change all the same.
//! Away from a way that is lost there is nothing to wait for, and neither is there where the way stays and only carries more or
//! less than was known.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mesh_core::path::Who;
use mesh_tunnel::Carrier;

use super::{Open, Way};

/// From so many packets a second on: 1,024 are then half a second, and ways differ by less.
pub(super) const FAST: u64 = 2000;
/// How long a handshake is waited for: the way before may be a dead one.
const PATIENCE: Duration = Duration::from_millis(500);

/// See the module.
#[derive(Default)]
pub(super) struct Renewals(BTreeMap<Who, Awaited>);

struct Awaited {
    way: Arc<Way>,
    open: Arc<Open>,
    until: Duration,
}

impl Renewals {
    /// Packets are to take this, or the link. `renew` begins a handshake over a carrier if there is reason to, and says
    /// whether it did.
    pub(super) fn change(
        &mut self,
        who: Who,
        way: &Arc<Way>,
        open: Option<Arc<Open>>,
        now: Duration,
        renew: impl FnOnce(&Arc<dyn Carrier>) -> bool,
    ) {
        self.0.remove(&who);
        let place = |open: &Arc<Open>| open.choice.place;
        let stays = way.open().as_ref().map(place) == open.as_ref().map(place);
        match open {
            Some(open) if !stays && renew(&open.carrier) => {
                let (way, until) = (way.clone(), now + PATIENCE);
                self.0.insert(who, Awaited { way, open, until });
            }
            open => way.0.store(open),
        }
    }

    /// There is a new session with a peer.
    pub(super) fn done(&mut self, who: &Who) {
        if let Some(awaited) = self.0.remove(who) {
            awaited.way.0.store(Some(awaited.open));
        }
    }

    /// When something is to be done though no session came.
    pub(super) fn next(&self) -> Option<Duration> {
        self.0.values().map(|awaited| awaited.until).min()
    }

    /// Waits no longer than that.
    pub(super) fn on_time(&mut self, now: Duration) {
        for (_, late) in self.0.extract_if(.., |_, awaited| now >= awaited.until) {
            late.way.0.store(Some(late.open));
        }
    }

    /// Forgets the peers that do not stay.
    pub(super) fn retain(&mut self, stays: impl Fn(&Who) -> bool) {
        self.0.retain(|who, _| stays(who));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::atomic::AtomicU64;

    use mesh_core::peer::PeerId;
    use mesh_ledger::ids::NetworkId;
    use mesh_tunnel::SealedBatch;

    use super::*;

    #[test]
    fn packets_change_ways_when_there_is_a_session_for_it_and_late_without() {
        let (mut renewals, way) = (Renewals::default(), Arc::new(Way::default()));
        let (one, other) = (open(1), open(2));
        renewals.change(WHO, &way, Some(one.clone()), at(0), |_| false);
        assert!(takes(&way, Some(&one)), "nothing to wait for");
        renewals.change(WHO, &way, Some(other.clone()), at(0), |_| true);
        assert!(takes(&way, Some(&one)));
        assert_eq!(renewals.next(), Some(at(500)));
        renewals.done(&WHO);
        assert!(takes(&way, Some(&other)));
        assert_eq!(renewals.next(), None);
        renewals.done(&WHO);

        renewals.change(WHO, &way, Some(one.clone()), at(1000), |_| true);
        renewals.on_time(at(1499));
        assert!(takes(&way, Some(&other)));
        renewals.on_time(at(1500));
        assert!(takes(&way, Some(&one)));
        assert_eq!(renewals.next(), None);
    }

    #[test]
    fn what_a_way_carries_is_taken_to_heart_at_once() {
        let (mut renewals, way) = (Renewals::default(), Arc::new(Way::default()));
        renewals.change(WHO, &way, Some(open(1)), at(0), |_| false);
        let narrower = open(1);
        renewals.change(WHO, &way, Some(narrower.clone()), at(0), |_| {
            panic!("the way is the same")
        });
        assert!(takes(&way, Some(&narrower)));
    }

    #[test]
    fn a_way_that_is_lost_is_left_at_once_and_what_was_awaited_is_forgotten() {
        let (mut renewals, way) = (Renewals::default(), Arc::new(Way::default()));
        let one = open(1);
        renewals.change(WHO, &way, Some(one.clone()), at(0), |_| false);
        renewals.change(WHO, &way, Some(open(2)), at(0), |_| true);
        renewals.change(WHO, &way, None, at(0), |_| true);
        assert!(takes(&way, None), "the link");
        renewals.done(&WHO);
        renewals.on_time(at(9999));
        assert!(takes(&way, None));
        // A peer that is gone gets no way any more.
        renewals.change(WHO, &way, Some(one), at(0), |_| true);
        renewals.retain(|_| false);
        renewals.done(&WHO);
        assert!(takes(&way, None));
    }

    const WHO: Who = Who {
        network: NetworkId([1; 32]),
        peer: PeerId([2; 32]),
    };

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn takes(way: &Way, open: Option<&Arc<Open>>) -> bool {
        match (way.open(), open) {
            (Some(taken), Some(open)) => Arc::ptr_eq(&taken, open),
            (taken, open) => taken.is_none() && open.is_none(),
        }
    }

    fn open(last: u8) -> Arc<Open> {
        Arc::new(Open {
            carrier: Arc::new(Nowhere),
            choice: mesh_core::path::Choice {
                place: mesh_core::path::Place::Address(([192, 0, 2, last], 9).into()),
                max_datagram: 1452,
            },
            rtt_us: AtomicU64::new(0),
        })
    }

    struct Nowhere;

    impl Carrier for Nowhere {
        fn send(&self, _: SealedBatch<'_>) -> usize {
            0
        }

        fn max_message(&self) -> usize {
            1452
        }
    }
}
