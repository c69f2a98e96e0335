//! Who may begin handshakes, how often: a limit per source address, in memory that no number of sources makes grow.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::time::Duration;

use mesh_core::filter::Bucket;

/// Counts the handshakes of each source: an IPv4 address or an IPv6 /64, which is what one host may choose its addresses
/// from. Sources share buckets by a secret hash, so nobody can choose whom to share with.
pub(super) struct Gate {
    buckets: Vec<Bucket>,
    hash: RandomState,
}

impl Gate {
    pub(super) fn new() -> Self {
        let bucket = || Bucket::new(PER_SECOND, AT_ONCE);
        Self {
            buckets: std::iter::repeat_with(bucket).take(BUCKETS).collect(),
            hash: RandomState::new(),
        }
    }

    /// Whether this source may have one more handshake looked at.
    pub(super) fn lets(&mut self, from: IpAddr, now: Duration) -> bool {
        let source = match from {
            IpAddr::V4(v4) => v4.to_bits().into(),
            IpAddr::V6(v6) => (v6.to_bits() >> 64) as u64,
        };
        let place = self.hash.hash_one::<u64>(source) % BUCKETS as u64;
        usize::try_from(place)
            .ok()
            .and_then(|place| self.buckets.get_mut(place))
            .is_some_and(|bucket| bucket.take(now))
    }
}

/// Enough for many networks and devices behind one address.
const PER_SECOND: u32 = 20;
const AT_ONCE: u32 = 40;
const BUCKETS: usize = 4096;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_source_that_floods_is_held_to_its_share_and_others_have_theirs() {
        let mut gate = Gate::new();
        let flooder: IpAddr = "10.0.0.1".parse().unwrap();
        let granted = (0..20_000)
            .filter(|n| gate.lets(flooder, Duration::from_micros(50 * n)))
            .count();
        assert_eq!(granted, 59, "40 at once and 19 more in the second");
        let others = (1..=100u8)
            .filter(|n| gate.lets([10, 1, 0, *n].into(), Duration::from_secs(1)))
            .count();
        // Some other may share the flooder's bucket: one in 4096.
        assert!(others >= 99, "{others}");
    }

    #[test]
    fn all_addresses_of_one_ipv6_host_are_one_source() {
        let mut gate = Gate::new();
        let granted = (0..1000u128)
            .filter(|n| {
                let address = std::net::Ipv6Addr::from_bits((0x2001_0db8 << 96) | n);
                gate.lets(address.into(), Duration::ZERO)
            })
            .count();
        assert_eq!(granted, 40);
    }
}
