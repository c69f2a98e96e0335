//! The table of a replica's segments, in messages.

use super::Index;
use super::message::{MAX_TABLE, Message, SegmentDigest};

/// The whole table.
pub(super) fn table(index: &Index, round: u32) -> Vec<Message> {
    let all: Vec<SegmentDigest> = index
        .digests()
        .map(|(segment, digest)| SegmentDigest { segment, digest })
        .collect();
    ranges(&all)
        .into_iter()
        .map(|(first, last, segments)| Message::Table {
            round,
            first,
            last,
            segments,
        })
        .collect()
}

/// Cuts a table into pieces of at most [`MAX_TABLE`] segments, each with the range it speaks for. Together the ranges cover
/// all numbers without a gap, so that what only the other side has lies in one of them too.
fn ranges(all: &[SegmentDigest]) -> Vec<(u32, u32, Vec<SegmentDigest>)> {
    let mut out = Vec::new();
    let mut from = 0;
    let mut rest = all;
    while rest.len() > MAX_TABLE {
        let (piece, tail) = rest.split_at(MAX_TABLE);
        let Some(next) = tail.first().map(|one| one.segment) else {
            break;
        };
        out.push((from, next.saturating_sub(1), piece.to_vec()));
        from = next;
        rest = tail;
    }
    out.push((from, u32::MAX, rest.to_vec()));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_leave_no_gap_and_speak_for_what_they_list() {
        let all: Vec<SegmentDigest> = (0..3 * MAX_TABLE as u32 + 5)
            .map(|n| SegmentDigest {
                segment: n * 10,
                digest: [0; 16],
            })
            .collect();
        let pieces = ranges(&all);
        assert_eq!(pieces.len(), 4);
        assert_eq!((pieces[0].0, pieces[3].1), (0, u32::MAX));
        for pair in pieces.windows(2) {
            assert_eq!(pair[0].1 + 1, pair[1].0);
        }
        for (from, to, segments) in pieces {
            assert!(
                segments
                    .iter()
                    .all(|one| (from..=to).contains(&one.segment))
            );
        }
        assert_eq!(ranges(&[]), [(0, u32::MAX, vec![])]);
    }
}
