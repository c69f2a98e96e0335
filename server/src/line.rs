//! One connection's share of memory: what its streams send and are sent at a time.
//!
//! A stream that finds no room waits, and QUIC slows the device down. What devices without rights send is counted by source too, and
//! a stream that finds no room there is told to come again.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mesh_ledger::ids::DeviceId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::quota::{Source, sources};

/// The most bytes of frames that one connection sends and that were not answered yet.
const INCOMING: usize = 4 << 20;
/// The most bytes of answers to one connection that are not sent yet.
const ANSWERS: usize = 8 << 20;
/// What an answer takes: the bodies of a page, twice, as they are read and as they are sent.
pub(crate) const ANSWER: usize = 2 << 20;
/// A frame this short takes no room of others: a letter goes through whatever others do.
const SHORT: usize = 4096;
/// The most bytes of longer frames of all devices without rights.
const OTHERS: usize = 128 << 20;
/// Of those of one source.
const NEAR: usize = 8 << 20;
/// Of those of one site, or of all who come by the relay.
const SITE: usize = 32 << 20;

/// Who is at the other end of a connection, and its room.
pub(crate) struct Line {
    /// The device.
    pub(crate) device: DeviceId,
    /// Where it comes from; none if it comes by the relay.
    pub(crate) source: Option<IpAddr>,
    incoming: Arc<Semaphore>,
    answers: Arc<Semaphore>,
    others: Arc<Others>,
}

/// Room that is taken until it is dropped.
pub(crate) struct Space {
    _own: OwnedSemaphorePermit,
    _other: Option<Share>,
}

impl Line {
    pub(crate) fn new(device: DeviceId, source: Option<IpAddr>, others: Arc<Others>) -> Self {
        Self {
            device,
            source,
            incoming: Arc::new(Semaphore::new(INCOMING)),
            answers: Arc::new(Semaphore::new(ANSWERS)),
            others,
        }
    }

    /// Waits for room for a frame; none if a device without rights finds none.
    pub(crate) async fn incoming(&self, bytes: usize, member: bool) -> Option<Space> {
        let own = take(&self.incoming, bytes).await?;
        let other = if member || bytes <= SHORT {
            None
        } else {
            Some(self.others.take(self.source, bytes)?)
        };
        Some(Space {
            _own: own,
            _other: other,
        })
    }

    /// Waits for room for an answer.
    pub(crate) async fn answer(&self) -> Option<Space> {
        Some(Space {
            _own: take(&self.answers, ANSWER).await?,
            _other: None,
        })
    }
}

async fn take(room: &Arc<Semaphore>, bytes: usize) -> Option<OwnedSemaphorePermit> {
    let bytes = u32::try_from(bytes).ok()?;
    // It is never closed.
    room.clone().acquire_many_owned(bytes).await.ok()
}

/// What devices without rights send.
#[derive(Default)]
pub(crate) struct Others(Mutex<Counts>);

#[derive(Default)]
struct Counts {
    all: usize,
    /// By source; none is the relay.
    by_source: BTreeMap<Option<Source>, usize>,
}

struct Share {
    others: Arc<Others>,
    sources: Vec<Option<Source>>,
    bytes: usize,
}

impl Others {
    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(self: &Arc<Self>, source: Option<IpAddr>, bytes: usize) -> Option<Share> {
        let sources: Vec<Option<Source>> = match source {
            Some(address) => sources(address).into_iter().map(Some).collect(),
            None => vec![None],
        };
        let mut counts = self.lock();
        let fits = |source: &Option<Source>| {
            let most = match source {
                Some(Source::Near(_)) => NEAR,
                Some(Source::Site(_)) | None => SITE,
            };
            counts.by_source.get(source).unwrap_or(&0) + bytes <= most
        };
        if counts.all + bytes > OTHERS || !sources.iter().all(fits) {
            return None;
        }
        counts.all += bytes;
        for source in &sources {
            *counts.by_source.entry(*source).or_default() += bytes;
        }
        Some(Share {
            others: self.clone(),
            sources,
            bytes,
        })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut counts = self.others.lock();
        counts.all -= self.bytes;
        for source in &self.sources {
            if let Some(count) = counts.by_source.get_mut(source) {
                *count -= self.bytes;
                if *count == 0 {
                    counts.by_source.remove(source);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn strangers_share_a_room_and_no_source_takes_it_all() {
        let others = Arc::new(Others::default());
        let address = |n: u128| Some(IpAddr::from(std::net::Ipv6Addr::from_bits(n << 64)));
        let mut held = Vec::new();
        for _ in 0..NEAR / (1 << 20) {
            held.push(others.take(address(1), 1 << 20).unwrap());
        }
        assert!(others.take(address(1), 1 << 20).is_none());
        // A site has its own end, and all together have one.
        while let Some(share) = others.take(address(2 + held.len() as u128), 1 << 20) {
            held.push(share);
        }
        assert_eq!(held.len(), SITE / (1 << 20));
        let site = |n: u128| address(n << 16);
        while let Some(share) = others.take(site(1 + held.len() as u128), 1 << 20) {
            held.push(share);
        }
        assert_eq!(held.len(), OTHERS / (1 << 20));
        assert!(others.take(None, 1 << 20).is_none());
        held.clear();
        assert!(others.take(None, SITE).is_some());
        assert!(others.lock().by_source.is_empty());
    }

    #[tokio::test]
    async fn a_connection_waits_for_its_own_room() {
        let line = Line::new(DeviceId([1; 32]), None, Arc::default());
        let first = line.incoming(INCOMING, true).await.unwrap();
        let (next, ()) = tokio::join!(line.incoming(1000, true), async { drop(first) });
        assert!(next.is_some());
    }
}
