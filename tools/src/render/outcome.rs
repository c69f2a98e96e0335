//! Errors, echoes, and how far an event got.

use mesh_control::Error;
use mesh_control::reply::{Pong, Synced};
use mesh_control::view::Spread;
use serde::Serialize;

use super::units::round_trip;
use super::{Line, Role, counted};

/// What failed, why, and the next command to type.
pub(crate) fn error(error: &Error) -> Vec<Line> {
    let mut lines =
        vec![Line::new(Role::Bad, "error:").and(Role::Plain, format!(" {}", error.message))];
    lines.extend(error.hint.as_ref().map(Line::hint));
    lines
}

/// `3 of 4 have it (not dave)`.
pub(super) fn spread(spread: &Spread) -> String {
    let Spread {
        have,
        of,
        missing,
        servers,
    } = spread;
    match (*have, *servers) {
        (0, 0) => return "only this device has it".to_owned(),
        (0, 1) => return "the server has it, no other device yet".to_owned(),
        (0, _) => return format!("{servers} servers have it, no other device yet"),
        _ => {}
    }
    let named = missing.get(..NAMED).unwrap_or(missing);
    match (missing.len(), named.len()) {
        (0, _) => format!("{have} of {of} have it"),
        (all, named_count) if all == named_count => {
            format!("{have} of {of} have it (not {})", named.join(", "))
        }
        (all, named_count) => format!(
            "{have} of {of} have it (not {} and {} more)",
            named.join(", "),
            all - named_count
        ),
    }
}

/// One echo: `bob 10.73.20.2  0.6 ms  direct, same LAN`.
pub(crate) fn echo(to: &str, pong: Result<&Pong, &Error>) -> Vec<Line> {
    vec![match pong {
        Ok(pong) => Line::plain(format!(
            "{} {}  {}  {}",
            pong.name,
            pong.address,
            round_trip(pong.rtt_us),
            pong.path
        )),
        Err(error) => Line::plain(format!("{to}  ")).and(Role::Bad, &error.message),
    }]
}

/// All echoes of a run.
#[derive(Debug, Default, Serialize)]
pub(crate) struct PingSummary {
    pub(crate) sent: u32,
    pub(crate) back: u32,
    min_us: Option<u64>,
    mean_us: Option<u64>,
    max_us: Option<u64>,
    #[serde(skip)]
    sum_us: u64,
}

impl PingSummary {
    /// Takes one more into account, with its round trip if it came back.
    pub(crate) fn add(&mut self, rtt_us: Option<u64>) {
        self.sent += 1;
        let Some(rtt_us) = rtt_us else { return };
        self.back += 1;
        self.sum_us = self.sum_us.saturating_add(rtt_us);
        self.min_us = Some(self.min_us.map_or(rtt_us, |min| min.min(rtt_us)));
        self.max_us = Some(self.max_us.map_or(rtt_us, |max| max.max(rtt_us)));
        self.mean_us = Some(self.sum_us / u64::from(self.back));
    }
}

/// `4 of 4 came back, 0.5 to 0.9 ms, mean 0.6 ms`.
pub(crate) fn ping_summary(summary: &PingSummary) -> Vec<Line> {
    let back = format!("{} of {} came back", summary.back, summary.sent);
    vec![Line::plain(
        match (summary.min_us, summary.mean_us, summary.max_us) {
            (Some(min), _, Some(max)) if round_trip(min) == round_trip(max) => {
                format!("{back}, {}", round_trip(min))
            }
            (Some(min), Some(mean), Some(max)) => {
                let (least, most) = (round_trip(min), round_trip(max));
                // A unit that both have is said once.
                let least = match (least.split_once(' '), most.split_once(' ')) {
                    (Some((number, unit)), Some((_, same))) if unit == same => number,
                    _ => &least,
                };
                format!("{back}, {least} to {most}, mean {}", round_trip(mean))
            }
            _ => back,
        },
    )]
}

/// What a round of comparing notes brought.
pub(crate) fn synced(synced: &Synced) -> Vec<Line> {
    vec![Line::plain(format!(
        "{}: {} received, {} sent; same on {} of {}",
        synced.network,
        counted(synced.received, "event"),
        synced.sent,
        synced.same,
        counted(synced.peers.into(), "peer"),
    ))]
}

/// So many devices are named before the rest is counted.
const NAMED: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_far_an_event_got_is_told_by_count_and_by_name() {
        let told = |have, of, missing: &[&str]| {
            let missing = missing.iter().map(|name| (*name).to_owned()).collect();
            spread(&Spread {
                have,
                of,
                missing,
                servers: 0,
            })
        };
        let stored = |servers| {
            spread(&Spread {
                have: 0,
                of: 1,
                missing: vec!["bob".to_owned()],
                servers,
            })
        };
        assert_eq!(stored(1), "the server has it, no other device yet");
        assert_eq!(stored(2), "2 servers have it, no other device yet");
        assert_eq!(told(0, 0, &[]), "only this device has it");
        assert_eq!(told(0, 1, &["bob"]), "only this device has it");
        assert_eq!(told(3, 4, &["dave"]), "3 of 4 have it (not dave)");
        assert_eq!(told(2, 2, &[]), "2 of 2 have it");
        assert_eq!(
            told(1, 8, &["a", "b", "c", "d", "e", "f", "g"]),
            "1 of 8 have it (not a, b, c, d, e and 2 more)"
        );
    }
}
