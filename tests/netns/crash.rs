//! What was acknowledged is never lost, whenever the daemon is killed.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mesh_tests::lab::{Host, Lab, Server};

use crate::world::{create, find, log};

const MOMENTS: usize = 50;
/// The longest time from the first command of a round to its kill.
const LONGEST: Duration = Duration::from_millis(400);

#[test]
fn no_acknowledged_event_is_lost_when_the_daemon_is_killed_at_any_moment() {
    let seed = seed();
    println!("MESH_SEED={seed}");
    let mut random = Random(seed);
    let lab = Lab::new("kill -9");
    let lan = lab.lan("lan", [192, 168, 7]);
    let alice = lab.host("alice");
    lan.plug(&alice, 1);
    let mut daemon = alice.meshd();
    create(&alice);

    let mut acknowledged = BTreeSet::new();
    for round in 0..MOMENTS {
        let moment = LONGEST.mul_f64(random.fraction());
        let killed = AtomicBool::new(false);
        let fresh = thread::scope(|scope| {
            let commands = scope.spawn(|| share_until(&alice, round, &killed));
            // The one wait that is for no event: a moment chosen by chance is what is tested.
            thread::sleep(moment);
            daemon.kill9();
            killed.store(true, Ordering::SeqCst);
            commands.join().unwrap()
        });
        daemon = alice.meshd();
        acknowledged.extend(fresh);
        let kept: BTreeSet<_> = log(&alice).into_iter().map(|entry| entry.id).collect();
        let lost: Vec<_> = acknowledged.difference(&kept).collect();
        assert!(
            lost.is_empty(),
            "MESH_SEED={seed}: lost in round {round}, killed after {moment:?}: {lost:?}"
        );
    }
    assert!(
        acknowledged.len() >= MOMENTS,
        "too few commands were acknowledged to mean much: {}",
        acknowledged.len()
    );
    let _ = alice.mesh(&["log", "verify"]).ok();
    println!(
        "{MOMENTS} kills, {} acknowledged events",
        acknowledged.len()
    );
}

#[test]
fn the_memory_of_daemon_and_server_is_in_no_core_dump() {
    let lab = Lab::new("core dumps");
    let lan = lab.lan("lan", [192, 168, 7]);
    let alice = lab.host("alice");
    lan.plug(&alice, 1);
    let daemon = alice.meshd();
    let host = lab.host("server");
    lan.plug(&host, 9);
    let mut server = Server::start(host, [192, 168, 7, 9].into(), &[]);
    for pid in [daemon.pid(), server.process().pid()] {
        let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        let core = limits
            .lines()
            .find(|line| line.starts_with("Max core file size"));
        let words: Vec<&str> = core.unwrap().split_whitespace().collect();
        assert_eq!(words[4..6], ["0", "0"], "{words:?}");
    }
}

/// Shares and unshares ports until the daemon is gone, and returns the events that were acknowledged.
fn share_until(host: &Host, round: usize, killed: &AtomicBool) -> Vec<String> {
    let mut acknowledged = Vec::new();
    let port = format!("{}/tcp", 2000 + round);
    for verb in ["share", "unshare"].iter().cycle() {
        if killed.load(Ordering::SeqCst) {
            break;
        }
        let output = host.mesh(&["--json", verb, &port]);
        if output.code != Some(0) {
            break;
        }
        // What an unshare signed stands beside the offer it ended.
        let answer = output.json();
        let event = answer
            .get("event")
            .or_else(|| find(&answer["offer"], "event"))
            .expect("the answer names its event");
        acknowledged.push(event["id"].as_str().unwrap().to_owned());
    }
    acknowledged
}

/// From `MESH_SEED`, to repeat a run, else from the clock.
fn seed() -> u64 {
    let given = std::env::var("MESH_SEED")
        .ok()
        .map(|text| text.parse().expect("MESH_SEED is a number"));
    given.unwrap_or_else(|| {
        u64::from(
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap()
                .subsec_nanos(),
        ) | 1
    })
}

/// Marsaglia's xorshift64; never begun with 0.
struct Random(u64);

impl Random {
    fn fraction(&mut self) -> f64 {
        for shift in [13_i32, -7, 17] {
            self.0 ^= if shift > 0 {
                self.0 << shift
            } else {
                self.0 >> -shift
            };
        }
        f64::from(u32::try_from(self.0 >> 32).unwrap()) / f64::from(u32::MAX)
    }
}
