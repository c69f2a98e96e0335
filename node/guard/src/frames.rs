//! Reads the little of packets that the guard needs: the header of an Initial packet, and acknowledgements that leave.

use std::ops::RangeInclusive;

/// The kind of a packet, by its header without protection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The first of a connection; anybody can make one.
    Initial,
    /// Of the handshake, or sent before it is done.
    Long,
    /// After the handshake.
    Short,
}

/// Returns the kind of the packet with this header, RFC 9000 §17.
pub(crate) fn kind(header: &[u8]) -> Kind {
    match header.first() {
        Some(first) if first & 0x80 == 0 => Kind::Short,
        Some(first) if first & 0x30 == 0 => Kind::Initial,
        _ => Kind::Long,
    }
}

/// The identifiers and the length of the token in an Initial packet's header.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Initial<'a> {
    pub(crate) to: &'a [u8],
    pub(crate) from: &'a [u8],
    pub(crate) token: u64,
}

/// Reads the header of an Initial packet, RFC 9000 §17.2.2.
pub(crate) fn initial(header: &[u8]) -> Option<Initial<'_>> {
    let mut rest = Reader(header.get(5..)?);
    let to = rest.counted()?;
    let from = rest.counted()?;
    let token = rest.number()?;
    Some(Initial { to, from, token })
}

/// An acknowledgement: its path, and its ranges from the highest to the lowest.
pub(crate) type Ack = (u32, Vec<RangeInclusive<u64>>);

/// Reads the acknowledgements at the front of a packet's frames. The library writes them before all but three frames that
/// have no contents. Bytes come from the library alone.
pub(crate) fn acks(frames: &[u8]) -> impl Iterator<Item = Ack> {
    let mut rest = Reader(frames);
    std::iter::from_fn(move || {
        loop {
            let path = match rest.number()? {
                // PING, HANDSHAKE_DONE, IMMEDIATE_ACK.
                0x01 | 0x1e | 0x1f => continue,
                kind @ (0x02 | 0x03) => return rest.ack(0, kind & 1 == 1),
                kind @ (0x3e | 0x3f) => (rest.number()?, kind & 1 == 1),
                _ => return None,
            };
            return rest.ack(u32::try_from(path.0).ok()?, path.1);
        }
    })
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (front, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(front)
    }

    /// A number of variable length, RFC 9000 §16.
    fn number(&mut self) -> Option<u64> {
        let first = *self.0.first()?;
        let bytes = self.take(1 << (first >> 6))?;
        let value = bytes
            .iter()
            .fold(0, |value, byte| value << 8 | u64::from(*byte));
        let bits = bytes.len() as u32 * 8 - 2;
        Some(value & ((1 << bits) - 1))
    }

    fn counted(&mut self) -> Option<&'a [u8]> {
        let count = *self.take(1)?.first()?;
        self.take(count.into())
    }

    /// RFC 9000 §19.3, behind the kind and the path.
    fn ack(&mut self, path: u32, has_ecn: bool) -> Option<Ack> {
        let largest = self.number()?;
        let _delay = self.number()?;
        let count = self.number()?;
        let mut ranges = Vec::new();
        let mut low = largest.checked_sub(self.number()?)?;
        ranges.push(low..=largest);
        for _ in 0..count {
            let high = low.checked_sub(self.number()?)?.checked_sub(2)?;
            low = high.checked_sub(self.number()?)?;
            ranges.push(low..=high);
        }
        if has_ecn {
            for _ in 0..3 {
                self.number()?;
            }
        }
        Some((path, ranges))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn an_initial_header_is_read_and_a_cut_one_is_not() {
        let mut header = vec![0xc0, 0, 0, 0, 1, 2, 7, 8, 1, 9, 0x45, 0x78];
        header.extend([0; 1400]);
        let read = initial(&header).unwrap();
        assert_eq!(
            (read.to, read.from, read.token),
            (&[7, 8][..], &[9][..], 1400)
        );
        assert_eq!(kind(&header), Kind::Initial);
        for end in 0..12 {
            assert_eq!(initial(&header[..end]), None);
        }
    }

    #[test]
    fn acknowledgements_are_read_behind_frames_without_contents() {
        // PING; ACK of 9..=10 and 5..=6; a path's of 3 with ECN; then a stream, which ends it.
        let frames = [
            0x01, 0x02, 10, 0, 1, 1, 1, 1, 0x3f, 7, 3, 0, 0, 0, 1, 2, 3, 0x08, 0x02,
        ];
        let read: Vec<Ack> = acks(&frames).collect();
        assert_eq!(read, [(0, vec![9..=10, 5..=6]), (7, vec![3..=3])]);
    }

    #[test]
    fn broken_acknowledgements_are_nothing() {
        for frames in [
            &[0x02][..],
            &[0x02, 1, 0, 0, 5],
            &[0x02, 9, 0, 63, 0, 1, 1],
            &[0x3e, 0xff],
        ] {
            assert_eq!(acks(frames).next(), None, "{frames:?}");
        }
    }
}
