//! Waiting for what other processes do, without guessing how long it takes.

use std::thread::sleep;
use std::time::{Duration, Instant};

const STEP: Duration = Duration::from_millis(20);

/// Asks `condition` until it is true, and returns how long that took.
///
/// # Panics
/// When it is not true within `limit`; `what` completes "not within .. s: ".
#[track_caller]
pub fn eventually(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    loop {
        if condition() {
            return start.elapsed();
        }
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}");
        // Another process gives no event to wait for.
        sleep(STEP);
    }
}

/// Asks `condition` again and again, for all of `span`.
///
/// # Panics
/// When it is once not true; `what` completes "did not stay so: ".
#[track_caller]
pub fn stays(span: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while start.elapsed() < span {
        assert!(
            condition(),
            "did not stay so, after {:?}: {what}",
            start.elapsed()
        );
        sleep(STEP);
    }
}
