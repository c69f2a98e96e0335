//! Events that a tool hands over a piece at a time, because one call is short.

use std::collections::BTreeMap;
use std::time::Duration;

use mesh_control::error::{Code, Error};

/// The most bytes of all uploads together.
const MAX_BYTES: usize = 512 << 20;
/// The most uploads at once.
const MAX_UPLOADS: usize = 8;
/// How long after the last piece an upload is kept.
const KEPT: Duration = Duration::from_secs(120);
/// What an event costs beside its bytes.
const OVERHEAD: usize = 64;

/// See the module.
#[derive(Default)]
pub(crate) struct Uploads {
    next: u64,
    held: BTreeMap<u64, Held>,
}

struct Held {
    events: Vec<Vec<u8>>,
    bytes: usize,
    until: Duration,
}

impl Uploads {
    /// Takes a piece. Says which upload it belongs to, and how many events that has now.
    pub(crate) fn add(
        &mut self,
        upload: Option<u64>,
        events: Vec<Vec<u8>>,
        now: Duration,
    ) -> Result<(u64, u64), Error> {
        self.held.retain(|_, held| held.until > now);
        let more: usize = events.iter().map(|bytes| bytes.len() + OVERHEAD).sum();
        let all: usize = self.held.values().map(|held| held.bytes).sum();
        if all + more > MAX_BYTES || (upload.is_none() && self.held.len() >= MAX_UPLOADS) {
            let message =
                "meshd holds too much that was uploaded and not used: try again in two minutes";
            return Err(Error::new(Code::Failed, message));
        }
        let id = upload.unwrap_or_else(|| {
            self.next += 1;
            let held = Held {
                events: Vec::new(),
                bytes: 0,
                until: now,
            };
            self.held.insert(self.next, held);
            self.next
        });
        let held = self.held.get_mut(&id).ok_or_else(unknown)?;
        held.events.extend(events);
        held.bytes += more;
        held.until = now + KEPT;
        Ok((id, held.events.len() as u64))
    }

    /// Hands out what was uploaded, once.
    pub(crate) fn take(&mut self, upload: u64) -> Result<Vec<Vec<u8>>, Error> {
        let held = self.held.remove(&upload).ok_or_else(unknown)?;
        Ok(held.events)
    }
}

fn unknown() -> Error {
    Error::new(Code::Usage, "no such upload: it was used, or is too old")
        .hint("the same command again")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn an_upload_is_put_together_and_taken_once() {
        let mut uploads = Uploads::default();
        let now = Duration::from_secs(9);
        let (id, _) = uploads.add(None, vec![vec![1]], now).unwrap();
        let (other, _) = uploads.add(None, vec![vec![9]], now).unwrap();
        assert_ne!(id, other);
        assert_eq!(uploads.add(Some(id), vec![vec![2]], now).unwrap(), (id, 2));
        assert_eq!(uploads.take(id).unwrap(), [[1], [2]]);
        assert_eq!(uploads.take(id).unwrap_err().code, Code::Usage);
        assert!(uploads.add(Some(id), Vec::new(), now).is_err());
    }

    #[test]
    fn what_is_not_used_is_dropped_and_too_much_is_refused() {
        let mut uploads = Uploads::default();
        for _ in 0..MAX_UPLOADS {
            uploads.add(None, Vec::new(), Duration::ZERO).unwrap();
        }
        assert!(uploads.add(None, Vec::new(), Duration::ZERO).is_err());
        let later = KEPT + Duration::from_secs(1);
        let (id, _) = uploads.add(None, Vec::new(), later).unwrap();
        let many = vec![vec![0; 1 << 20]; 511];
        uploads.add(Some(id), many, later).unwrap();
        assert!(
            uploads
                .add(Some(id), vec![vec![0; 1 << 20]], later)
                .is_err()
        );
    }
}
