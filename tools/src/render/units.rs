//! Numbers as people read them: SI units, three digits at most.

use std::time::Duration;

use mesh_control::utc::date;

/// A round trip: `0.6 ms`, `12 ms`, `1.2 s`.
pub(super) fn round_trip(us: u64) -> String {
    if us < 999_500 {
        scaled(us, 1_000, "ms")
    } else {
        scaled(us, 1_000_000, "s")
    }
}

/// An amount of data: `0 B`, `310 MB`, `1.2 GB`.
pub(super) fn bytes(count: u64) -> String {
    let units = [
        (1_000_000_000_000, "TB"),
        (1_000_000_000, "GB"),
        (1_000_000, "MB"),
        (1_000, "kB"),
    ];
    match units
        .into_iter()
        .find(|(unit, _)| count >= unit - unit / 2_000)
    {
        Some((unit, name)) => scaled(count, unit, name),
        None => format!("{count} B"),
    }
}

/// How long ago: `now`, `2 min`, `3 h`, `3 d`, from 30 days on the date.
pub(super) fn age(then_ms: u64, now_ms: u64) -> String {
    let seconds = now_ms.saturating_sub(then_ms) / 1_000;
    match seconds {
        0..60 => "now".to_owned(),
        60..MONTH => span(seconds),
        _ => date(then_ms),
    }
}

/// When it was, in a sentence: `just now`, `2 min ago`, `on 2026-11-22`.
pub(crate) fn ago(then_ms: u64, now_ms: u64) -> String {
    match age(then_ms, now_ms) {
        now if now == "now" => "just now".to_owned(),
        date if date.contains('-') => format!("on {date}"),
        age => format!("{age} ago"),
    }
}

/// How long until, to the nearest unit: `40 s`, `24 h`, `3 d`; `over` once it is. What was given a day has 24 h left a
/// second later.
pub(super) fn remaining(then_ms: u64, now_ms: u64) -> String {
    let seconds = match then_ms.saturating_sub(now_ms) {
        0 => return "over".to_owned(),
        left => left.div_ceil(1_000),
    };
    let nearest = |unit: u64| (seconds + unit / 2) / unit;
    match seconds {
        0..120 => format!("{seconds} s"),
        _ if nearest(60) < 120 => format!("{} min", nearest(60)),
        _ if nearest(3_600) < 48 => format!("{} h", nearest(3_600)),
        _ => format!("{} d", nearest(DAY)),
    }
}

/// How long something lasts from `begin` to `end`, as it was typed: what got lost between the typing and the signing, or
/// by rounding to seconds, is added again.
pub(super) fn lasting(begin_ms: u64, end_ms: u64) -> String {
    let seconds = end_ms.saturating_sub(begin_ms).div_ceil(1_000);
    let minute = seconds.next_multiple_of(60);
    let lost = seconds > 60 && minute - seconds <= LOST;
    duration(Duration::from_secs(if lost { minute } else { seconds }))
}

/// A time span as people say it, in two units at most: `45 s`, `1 h 30 min`, `24 h`, `1 d 2 h`, `7 d`.
pub(crate) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (large, small) = match seconds {
        0 => return format!("{} ms", duration.as_millis()),
        1..60 => return format!("{seconds} s"),
        60..3_600 => ((60, "min"), (1, "s")),
        3_600..=DAY => ((3_600, "h"), (60, "min")),
        _ => ((DAY, "d"), (3_600, "h")),
    };
    let (whole, rest) = (seconds / large.0, seconds % large.0 / small.0);
    match rest {
        0 => format!("{whole} {}", large.1),
        _ => format!("{whole} {} {rest} {}", large.1, small.1),
    }
}

fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..DAY => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / DAY),
    }
}

/// One digit behind the point below ten, none above.
fn scaled(number: u64, unit: u64, name: &str) -> String {
    let tenths = (number * 10 + unit / 2) / unit;
    if tenths < 100 {
        format!("{}.{} {name}", tenths / 10, tenths % 10)
    } else {
        format!("{} {name}", (number + unit / 2) / unit)
    }
}

const DAY: u64 = 86_400;
const MONTH: u64 = 30 * DAY;
/// Seconds that a time span may lose on its way.
const LOST: u64 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_at_most_and_a_unit() {
        for (us, text) in [
            (0, "0.0 ms"),
            (640, "0.6 ms"),
            (9_960, "10 ms"),
            (41_300, "41 ms"),
            (999_600, "1.0 s"),
        ] {
            assert_eq!(round_trip(us), text);
        }
        for (count, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_200, "1.2 kB"),
            (999_999, "1.0 MB"),
            (310_000_000, "310 MB"),
        ] {
            assert_eq!(bytes(count), text);
        }
    }

    #[test]
    fn ages_grow_from_now_to_the_date() {
        let now = 1_795_348_800_000;
        for (ago, text) in [
            (0, "now"),
            (59, "now"),
            (120, "2 min"),
            (3 * 3_600, "3 h"),
            (3 * DAY, "3 d"),
            (MONTH, "2026-10-23"),
        ] {
            assert_eq!(age(now - ago * 1_000, now), text);
        }
        assert_eq!(age(now + 5_000, now), "now", "a clock that is ahead");
    }

    #[test]
    fn a_time_span_is_told_in_two_units_at_most() {
        for (seconds, text) in [
            (45, "45 s"),
            (60, "1 min"),
            (90, "1 min 30 s"),
            (5_400, "1 h 30 min"),
            (86_400, "24 h"),
            (93_600, "1 d 2 h"),
            (604_800, "7 d"),
        ] {
            assert_eq!(duration(Duration::from_secs(seconds)), text);
        }
        assert_eq!(duration(Duration::from_millis(250)), "250 ms");
    }

    #[test]
    fn what_lasts_is_told_as_it_was_typed_although_a_moment_is_lost() {
        for (ms, text) in [
            (86_399_000, "24 h"),
            (86_398_200, "24 h"),
            (604_799_400, "7 d"),
            (299_100, "5 min"),
            (89_500, "1 min 30 s"),
            (29_500, "30 s"),
            (50_000, "50 s"),
        ] {
            assert_eq!(lasting(7, 7 + ms), text);
        }
    }

    #[test]
    fn what_is_left_is_told_to_the_nearest_unit() {
        for (ms, text) in [
            (0, "over"),
            (400, "1 s"),
            (119_000, "119 s"),
            (41 * 60_000 + 10_000, "41 min"),
            (86_399_000, "24 h"),
            (23 * 3_600_000, "23 h"),
            (604_790_000, "7 d"),
        ] {
            assert_eq!(remaining(7 + ms, 7), text);
        }
    }
}
