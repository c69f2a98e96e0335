//! The thread that keeps WireGuard's time.

use std::time::Duration;

use crate::carrier::Arena;
use crate::shared::Shared;

/// How often WireGuard's timers are looked at while something is under way.
const TICK: Duration = Duration::from_millis(250);
/// The same at rest, when what has a time has many seconds.
const IDLE: Duration = Duration::from_secs(1);

pub(crate) fn run(shared: &Shared) {
    let mut arena = Arena::default();
    let mut events = Vec::new();
    let mut busy = false;
    shared.sessions.keep_time();
    loop {
        if busy {
            shared.line.rest(TICK);
        } else {
            shared.line.nap(IDLE);
        }
        if shared.line.stopped() {
            return;
        }
        busy = false;
        let snapshot = shared.snapshot.load();
        shared.own.load().tick();
        for slot in &snapshot.slots {
            let mut state = slot.lock();
            state.tick(&mut shared.turn(slot, &mut arena, &mut events));
            busy |= state.is_busy();
            let carrier = state.carrier.clone();
            drop(state);
            Shared::send(slot, carrier.as_ref(), &mut arena);
        }
        shared.tell(&mut events);
    }
}
