//! The thread that keeps WireGuard's time.

use std::time::Duration;

use crate::carrier::Arena;
use crate::shared::Shared;

/// How often WireGuard's timers are looked at.
const TICK: Duration = Duration::from_millis(250);
/// The same where there is no session, so that little has a time.
const IDLE: Duration = Duration::from_secs(1);

pub(crate) fn run(shared: &Shared) {
    let mut arena = Arena::default();
    let mut events = Vec::new();
    shared.sessions.keep_time();
    loop {
        if shared.sessions.is_empty() {
            shared.line.nap(IDLE);
        } else {
            shared.line.rest(TICK);
        }
        if shared.line.stopped() {
            return;
        }
        let snapshot = shared.snapshot.load();
        shared.own.load().tick();
        for slot in &snapshot.slots {
            let mut state = slot.lock();
            state.tick(&mut shared.turn(slot, &mut arena, &mut events));
            let carrier = state.carrier.clone();
            drop(state);
            Shared::send(slot, carrier.as_ref(), &mut arena);
        }
        shared.tell(&mut events);
    }
}
