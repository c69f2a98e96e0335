//! A disk that is full.

use mesh_ledger::mirror::message::Failure;
use mesh_ledger::mirror::{Request, Response, Role};

use crate::client::{Device, Host, NOW, all, host, merges};
use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_full_database_refuses_writes_serves_reads_and_loses_nothing() {
    let server = Host::start().await;
    let (mut world, mut side) = World::new("alice");
    let owner = world.owner.clone();
    let (_alice, mut stream) = host(&server, &world).await;
    let networks = server.server.networks().clone();
    networks.store().limit_pages(40).unwrap();
    let mut acknowledged = all(&world);
    // Further tips need a ceiling further ahead: the clock runs on.
    let mut now = NOW;
    let lost = loop {
        now += 50_000;
        server
            .clock
            .store(now, std::sync::atomic::Ordering::Relaxed);
        let new = merges(&mut world, &mut side, &owner, 50);
        match stream.ask(Request::Push(new.clone())).await {
            Response::Pushed(pushed) => {
                assert_eq!(pushed.stored.len(), 50);
                acknowledged.extend(new);
            }
            other => {
                assert_eq!(other, Response::Failed(Failure::Disk));
                break new;
            }
        }
    };
    assert_eq!(stream.whole().await, acknowledged);
    let again = stream.ask(Request::Push(lost.clone())).await;
    assert_eq!(again, Response::Failed(Failure::Disk));
    // Room again: it goes on where it was.
    networks.store().limit_pages(1_000_000).unwrap();
    assert_eq!(stream.push(lost.clone()).await.stored.len(), 50);
    acknowledged.extend(lost);
    drop(networks);
    let server = server.restart(now).await;
    let device = Device::connect(&owner.device, server.place()).await;
    let (mut stream, _) = device.welcome(world.network, Role::Member(None)).await;
    assert_eq!(stream.whole().await, acknowledged);
}
