//! What a large network costs in memory. Asked for by name: it takes a minute and says what it saw.

use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::time::Instant;

use mesh_ledger::event::{Act, Event, Header};
use mesh_server::log::Turnover;
use mesh_server::store::Store;

use crate::process::Process;
use crate::world::{EPOCH, World};

const EVENTS: u32 = 200_000;
const BODY: usize = 600;
/// What the server may keep of an event, beside what it takes without any.
const MOST_PER_EVENT: u64 = 300;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "it takes a minute"]
#[expect(clippy::print_stdout, reason = "the figures are what it is asked for")]
async fn of_a_large_network_memory_holds_a_part() {
    let (world, side) = World::new("alice");
    let device = world.owner.device.clone();
    let mut last = world.graph.event(world.idx(*side.0.first().unwrap()));
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    std::fs::DirBuilder::new()
        .mode(0o700)
        .create(&data)
        .unwrap();
    let store = Store::open(&data.join("mirror.db")).unwrap();
    let turnover = Turnover {
        came: vec![device.public()],
        went: Vec::new(),
    };
    let mut events = vec![last.clone()];
    let mut from = 0;
    for n in 1..=EVENTS {
        let header = Header {
            network: world.network,
            author: device.public(),
            seq: last.header().seq + 1,
            lamport: last.header().lamport + 1,
            time: u64::from(n),
            epoch: EPOCH,
            parents: vec![last.id()],
        };
        last = Event::sign(&header, &Act::Private, &[7; BODY], &device).unwrap();
        events.push(last.clone());
        if events.len() == 10_000 || n == EVENTS {
            let count = events.len() as u64;
            store
                .append(&world.network, from, events.drain(..), &turnover)
                .unwrap();
            from += count;
        }
    }
    drop(store);
    let process = Process::run(&data);
    let idle = rss(process.id());
    let begin = Instant::now();
    let (_device, mut stream) = process.owner(&world).await;
    let (loaded, load) = (rss(process.id()), begin.elapsed());
    let begin = Instant::now();
    let mut count = 0;
    loop {
        let page = stream.pull(count, true).await;
        count += page.events.len() as u64;
        if count == page.tip.tip.count {
            break;
        }
    }
    assert_eq!(count, u64::from(EVENTS) + 1);
    let (pulled, pull) = (rss(process.id()), begin.elapsed());
    println!(
        "RSS: idle {idle} KiB, loaded {loaded} KiB after {load:?}, pulled {pulled} KiB after {pull:?}"
    );
    assert!((pulled - idle) * 1024 < MOST_PER_EVENT * u64::from(EVENTS));
}

/// The resident memory of a process, in KiB.
fn rss(id: u32) -> u64 {
    let status = std::fs::read_to_string(Path::new("/proc").join(id.to_string()).join("status"));
    let status = status.unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS"));
    let size = line.and_then(|line| line.split_whitespace().nth(1));
    size.unwrap().parse().unwrap()
}
