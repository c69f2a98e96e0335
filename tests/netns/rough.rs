//! A home whose line loses packets, or swallows long ones in silence: what is downloaded through the tunnel comes whole.

use std::time::Duration;

use mesh_tests::lab::{Download, Home, eventually};
use serde_json::Value;

use crate::roam::{World, straight};
use crate::world::LONG;

/// How long the downloads are, in bytes.
const FILE: u64 = 10_000_000;
/// A bound for a hang: TCP goes slowly where every fifth packet is lost each way, and through the relay runs over another TCP.
const PATIENCE: Duration = Duration::from_secs(250);
/// How soon a download in flight goes on when long packets begin to be swallowed.
const BLACK_HOLE: Duration = Duration::from_secs(10);
/// The longest packet that passes, where long ones are swallowed.
const LONGEST: u16 = 1300;

/// Alice's line is changed before the programs start, or later.
fn world(test: &str, line: impl FnOnce(&Home)) -> World {
    World::with(test, |_, homes, hosts| {
        hosts.iter().for_each(|host| host.sends_one_by_one());
        line(&homes[0]);
    })
}

fn download(world: &World, what: &str) {
    let begun = Download::of(FILE, &world.alice, &world.bob, world.file(), LONG);
    let whole = begun.whole(PATIENCE);
    println!("{what}: {whole:?}");
    assert_eq!(whole.bytes, FILE);
}

fn leave_the_straight_way(world: &World) {
    world.homes[0].lose(world.homes[1].public());
    eventually(LONG, "the way is left", || {
        !straight(&world.bob, "alice") && !straight(&world.alice, "bob")
    });
}

#[test]
fn ten_megabytes_come_whole_where_every_fifth_packet_is_lost() {
    let world = world("loss", |_| ());
    world.homes[0].lose_some(20);
    download(&world, "straight, 20 % lost each way");
}

#[test]
fn ten_megabytes_come_whole_where_long_packets_are_swallowed() {
    let world = world("black hole", |line| line.swallow_longer_than(LONGEST));
    download(&world, "straight, no packet over 1,300 bytes");
    leave_the_straight_way(&world);
    download(&world, "over the relay, no packet over 1,300 bytes");
}

#[test]
fn ten_megabytes_come_whole_over_the_relay_where_every_fifth_packet_is_lost() {
    let world = world("loss before the relay", |_| ());
    leave_the_straight_way(&world);
    world.homes[0].lose_some(20);
    download(&world, "over the relay, 20 % lost each way");
}

#[test]
fn a_download_goes_on_where_long_packets_begin_to_be_swallowed() {
    let world = world("later black hole", |_| ());
    // The way is measured, and carries more; the link beside it goes straight as well.
    eventually(LONG, "the way is measured", || {
        let told = world.bob.mesh_json(&["path", "alice"]);
        let ways = told["ways"].as_array().cloned().unwrap_or_default();
        let (link, others): (Vec<_>, Vec<_>) =
            ways.into_iter().partition(|way| way["kind"] == "link");
        let used = others.iter().find(|way| way["state"] == "in_use");
        let max = used.and_then(|way| way["max_datagram"].as_u64());
        let straight = |way: &Value| {
            way["to"]
                .as_str()
                .is_some_and(|to| to.starts_with("direct"))
        };
        max > Some(LONGEST.into()) && link.iter().any(straight)
    });
    let begun = Download::endless(&world.alice, &world.bob, world.file(), LONG);
    world.homes[0].swallow_longer_than(LONGEST);
    let took = begun.goes_on(BLACK_HOLE);
    println!("after long packets began to be swallowed: {took:?}");
    begun.brings(FILE, PATIENCE);
    println!("{:?}", begun.finish(PATIENCE));
}
