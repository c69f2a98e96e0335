//! What members say to each other when they compare their ledgers.

use mesh_ledger::ids::EventId;
use mesh_ledger::wire::{Message, SegmentDigest};

pub(super) fn messages() -> Vec<(&'static str, Message)> {
    vec![
        (
            "table",
            Message::Table {
                round: 1,
                first: 0,
                last: u32::MAX,
                segments: vec![SegmentDigest {
                    segment: 300,
                    digest: [1; 16],
                }],
            },
        ),
        (
            "cells",
            Message::Cells {
                round: 1,
                segment: 300,
                bits: 1,
                digests: vec![[1; 8], [2; 8]],
            },
        ),
        (
            "ids",
            Message::Ids {
                round: 1,
                segment: 300,
                bits: 1,
                cells: vec![1],
                ids: vec![[1; 4], [2; 4]],
                last: true,
            },
        ),
        ("events", Message::Events(vec![vec![1, 2, 3]])),
        ("received", Message::Received),
        ("push", Message::Push(vec![vec![1, 2, 3]])),
        ("fetch", Message::Fetch(vec![EventId([1; 32])])),
        (
            "want",
            Message::Want {
                round: 1,
                segment: 300,
                ids: vec![[1; 4]],
                last: true,
            },
        ),
    ]
}
