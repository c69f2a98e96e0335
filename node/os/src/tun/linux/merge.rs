//! Memory for the runs that packets are merged into.
//!
//! Any packet of a batch may be the first of a run, which takes up to 64 KiB; few are. So buffers need room for one packet alone,
//! and whichever is merged into gets a large one in its place for as long as the batch takes.

use std::cell::RefCell;
use std::io;

use tun_rs::{ExpandBuffer, GROTable, SyncDevice};

use super::HEADROOM;

/// What a run may grow to.
const LARGE: usize = 65_535 + 2 * HEADROOM;
/// How many large buffers are kept from batch to batch: a batch of one connection fills three.
const KEPT: usize = 8;

/// See the module.
#[derive(Default)]
pub(super) struct Merging {
    table: GROTable,
    spare: Vec<Vec<u8>>,
}

impl Merging {
    /// Merges packets, and gives them to the device.
    pub(super) fn send(&mut self, device: &SyncDevice, buffers: &mut [Vec<u8>]) -> io::Result<()> {
        let Self { table, spare } = self;
        lend(spare, buffers, |growing| {
            device.send_multiple(table, growing, HEADROOM).map(|_| ())
        })
    }
}

/// Does something with buffers that may grow to [`LARGE`]; afterwards each has the memory again that it had.
fn lend<T>(
    spare: &mut Vec<Vec<u8>>,
    buffers: &mut [Vec<u8>],
    what: impl FnOnce(&mut [Growing<'_>]) -> T,
) -> T {
    let large = RefCell::new(std::mem::take(spare));
    let mut growing: Vec<Growing<'_>> = buffers
        .iter_mut()
        .map(|bytes| Growing {
            bytes,
            small: None,
            large: &large,
        })
        .collect();
    let result = what(&mut growing);
    for buffer in growing {
        if let Some(small) = buffer.small {
            large
                .borrow_mut()
                .push(std::mem::replace(buffer.bytes, small));
        }
    }
    *spare = large.into_inner();
    spare.truncate(KEPT);
    result
}

/// A buffer that gets a large one's memory when it outgrows its own.
struct Growing<'a> {
    bytes: &'a mut Vec<u8>,
    /// Its own memory, while it has a large one's.
    small: Option<Vec<u8>>,
    large: &'a RefCell<Vec<Vec<u8>>>,
}

impl Growing<'_> {
    fn reserve(&mut self, length: usize) {
        if length <= self.bytes.capacity() || self.small.is_some() {
            return;
        }
        let spare = self.large.borrow_mut().pop();
        let mut large = spare.unwrap_or_else(|| Vec::with_capacity(LARGE));
        large.clear();
        large.extend_from_slice(self.bytes);
        self.small = Some(std::mem::replace(self.bytes, large));
    }
}

impl AsRef<[u8]> for Growing<'_> {
    fn as_ref(&self) -> &[u8] {
        self.bytes
    }
}

impl AsMut<[u8]> for Growing<'_> {
    fn as_mut(&mut self) -> &mut [u8] {
        self.bytes
    }
}

impl ExpandBuffer for Growing<'_> {
    fn buf_capacity(&self) -> usize {
        LARGE
    }

    fn buf_resize(&mut self, length: usize, value: u8) {
        self.reserve(length);
        self.bytes.resize(length, value);
    }

    fn buf_extend_from_slice(&mut self, more: &[u8]) {
        self.reserve(self.bytes.len() + more.len());
        self.bytes.extend_from_slice(more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_grows_as_far_as_a_run_does_and_gets_its_own_memory_back() {
        let mut spare = Vec::new();
        let mut buffers: Vec<Vec<u8>> = (0..20).map(|n| vec![n; 100]).collect();
        let before: Vec<*const u8> = buffers.iter().map(|buffer| buffer.as_ptr()).collect();
        for _ in 0..3 {
            lend(&mut spare, &mut buffers, |growing| {
                for (n, buffer) in growing.iter_mut().enumerate().skip(5) {
                    while buffer.as_ref().len() + 100 <= buffer.buf_capacity() {
                        buffer.buf_extend_from_slice(&[7; 100]);
                    }
                    assert!(buffer.as_ref().len() > 65_000);
                    assert_eq!(buffer.as_ref()[..100], [n as u8; 100]);
                    assert_eq!(buffer.as_ref()[100..200], [7; 100]);
                }
            });
            let after: Vec<*const u8> = buffers.iter().map(|buffer| buffer.as_ptr()).collect();
            assert_eq!(after, before);
            assert_eq!(spare.len(), KEPT);
            for (n, buffer) in buffers.iter_mut().enumerate() {
                *buffer = std::mem::take(buffer);
                buffer.clear();
                buffer.resize(100, n as u8);
            }
        }
    }

    #[test]
    fn a_buffer_that_stays_as_short_as_its_own_memory_takes_no_other() {
        let mut spare = Vec::new();
        let mut buffers = vec![Vec::with_capacity(300)];
        lend(&mut spare, &mut buffers, |growing| {
            growing[0].buf_extend_from_slice(&[1; 200]);
            growing[0].buf_resize(300, 2);
            assert_eq!(growing[0].as_mut()[199..201], [1, 2]);
        });
        assert!(spare.is_empty());
        assert_eq!(buffers[0].len(), 300, "what it was given stands in it");
    }
}
