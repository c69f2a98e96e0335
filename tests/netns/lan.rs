//! How often a device asks the LAN who is there.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use mesh_ledger::code::Code;
use mesh_tests::lab::{Capture, eventually};

use crate::world::{LONG, Mesh, create};

/// Where devices of one LAN ask and answer.
const ALL: IpAddr = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 251));
/// Who looks for somebody asks at least so often, and at rest all together more seldom.
const OFTEN: Duration = Duration::from_secs(3);

/// Waits until nothing is asked for longer than [`OFTEN`]; or, if it is to be `often`, until it is asked again within less.
fn asked(capture: &Capture, often: bool) {
    let mut last = (0, Instant::now());
    let what = if often { "often" } else { "seldom" };
    let took = eventually(2 * LONG, &format!("the LAN is asked {what}"), || {
        let count = capture.packets(|packet| packet.to == ALL).len();
        let gap = last.1.elapsed();
        if count == last.0 {
            return !often && gap > OFTEN;
        }
        let known = last.0 > 0;
        last = (count, Instant::now());
        // Answers follow a question within a tenth of a second.
        often && known && gap > Duration::from_millis(500) && gap < OFTEN
    });
    println!("the LAN is asked {what}: after {took:?}");
}

#[test]
fn the_lan_is_asked_seldom_at_rest_and_at_once_by_who_looks_for_somebody() {
    let mesh = Mesh::apart("rest", &["alice", "laptop"]);
    let [alice, laptop] = &mesh.nodes[..] else {
        unreachable!()
    };
    let capture = laptop.capture();
    create(alice);
    asked(&capture, true);
    asked(&capture, false);
    // It looks for a code that nobody shows.
    let code = Code::new(7, [1, 2, 3, 4]).text();
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| laptop.mesh(&["device", "link", &code, "--wait", "12s"]));
        asked(&capture, true);
        assert!(!waits.is_finished());
        let _ = waits.join().unwrap().exits(7);
    });
    asked(&capture, false);
    let shown = alice.mesh(&["device", "link", "--no-wait"]).ok();
    let begun = Instant::now();
    let _ = laptop.mesh(&["device", "link", shown.stdout.trim()]).ok();
    println!("linked after {:?}", begun.elapsed());
}
