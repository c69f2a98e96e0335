//! What the server survives.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mesh_ledger::ids::ServerKey;
use mesh_ledger::keys::DeviceSecret;
use mesh_ledger::mirror::message::{Failure, Standing};
use mesh_ledger::mirror::{Refusal, Request, Response, Role};

use crate::client::{Device, Host, NOW, PATIENCE, all, bytes, host, merges};
use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn junk_and_giant_frames_end_their_stream_and_nothing_else() {
    let server = Host::start().await;
    let (world, _) = World::new("alice");
    let (alice, mut stream) = host(&server, &world).await;
    let stranger = Device::connect(&DeviceSecret::from_seed(&[9; 32]), server.place()).await;
    let giant = 100_000_000u32.to_be_bytes();
    let junk = [&8u32.to_be_bytes()[..], b"nonsense"].concat();
    let big_open = [&2000u32.to_be_bytes()[..], &[0; 2000]].concat();
    for first in [&giant[..], &junk, &big_open] {
        let mut bad = stranger.stream().await;
        bad.send.write_all(first).await.unwrap();
        let refused = Response::Refused(Refusal::Protocol);
        assert_eq!(bad.hear().await, Some(refused));
        assert_eq!(bad.hear().await, None);
    }
    // Of a member, in the middle of a conversation.
    for later in [&giant[..], &junk] {
        let (mut bad, _) = alice.welcome(world.network, Role::Member(None)).await;
        bad.send.write_all(later).await.unwrap();
        let refused = Response::Refused(Refusal::Protocol);
        assert_eq!(bad.hear().await, Some(refused));
    }
    // Neither a second opening nor something else in place of the first is one.
    let mut early = stranger.stream().await;
    early.say(&Request::Leave(vec![1])).await;
    let refused = Response::Refused(Refusal::Protocol);
    assert_eq!(early.hear().await, Some(refused.clone()));
    let (mut twice, _) = alice.welcome(world.network, Role::Member(None)).await;
    let again = Request::Open {
        network: world.network,
        role: Role::Member(None),
    };
    assert_eq!(twice.ask(again).await, refused);
    assert_eq!(stream.whole().await, all(&world));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_says_nothing_is_ended() {
    let server = Host::with(|options| options.limits.opening = Duration::from_millis(200)).await;
    let device = Device::connect(&DeviceSecret::from_seed(&[9; 32]), server.place()).await;
    let mut silent = device.stream().await;
    silent.send.write_all(&[0]).await.unwrap();
    let refused = Response::Refused(Refusal::Protocol);
    assert_eq!(silent.hear().await, Some(refused));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_is_cut_off_while_another_is_served() {
    let server = Host::with(|options| options.limits.slow = Duration::from_millis(700)).await;
    let (mut world, mut side) = World::new("alice");
    let owner = world.owner.clone();
    let bob = world.newcomer(&mut side, &owner, "bob");
    let (_alice, mut alice) = host(&server, &world).await;
    for _ in 0..4 {
        let new = merges(&mut world, &mut side, &owner, 256);
        alice.push(new).await;
    }
    // Bob asks for the log over and over, and reads nothing.
    let slow = Device::with_window(&bob.device, server.place(), Some(16 << 10)).await;
    let (mut deaf, _) = slow.welcome(world.network, Role::Member(None)).await;
    let pull = Request::Pull {
        from: 0,
        bodies: true,
    };
    deaf.say(&pull).await;
    let mut served = 0;
    // The server resets what it cannot write; until then, and after, Alice is served.
    let cut = deaf.send.stopped();
    tokio::pin!(cut);
    loop {
        tokio::select! {
            _ = &mut cut => break,
            log = alice.whole() => {
                assert_eq!(log.len(), world.graph.len());
                served += 1;
            }
        }
    }
    assert!(served > 0);
    let mut rest = [0; 1 << 16];
    let ended = loop {
        match deaf.recv.read(&mut rest).await {
            Ok(Some(_)) => {}
            other => break other,
        }
    };
    assert!(ended.is_err(), "the stream was reset: {ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn quotas_hold_each_network_and_device_to_its_share() {
    let (mut world, mut side) = World::new("alice");
    let owner = world.owner.clone();
    let server = Host::with(|options| {
        options.limits.network_events = 10;
        options.limits.networks = 1;
    })
    .await;
    let (alice, mut stream) = host(&server, &world).await;
    let new = merges(&mut world, &mut side, &owner, 20);
    let pushed = stream.push(new.clone()).await;
    assert_eq!(pushed.stored.len(), 9);
    assert_eq!(pushed.tip.unwrap().tip.count, 10);
    let full = stream.ask(Request::Push(new[9..].to_vec())).await;
    assert_eq!(full, Response::Failed(Failure::Quota));
    let (other, _) = World::with_subnet("alice", "10.9.0.0/24");
    let (mut second, _) = alice
        .welcome(other.network, Role::Member(server.token()))
        .await;
    let refused = second.ask(Request::Push(all(&other))).await;
    assert_eq!(refused, Response::Failed(Failure::Quota));

    let server = Host::with(|options| options.limits.events_per_hour = 5).await;
    let (_alice, mut stream) = host(&server, &world_of_one(&world)).await;
    let wait = stream.push(new[..8].to_vec()).await.wait;
    assert!(wait > 0);
    let refused = stream.ask(Request::Push(new[8..].to_vec())).await;
    assert_eq!(refused, Response::Failed(Failure::Quota));
}

/// The same network with its genesis alone.
fn world_of_one(world: &World) -> World {
    let (one, _) = World::new("alice");
    assert_eq!(one.network, world.network);
    one
}

#[tokio::test(flavor = "multi_thread")]
async fn one_source_has_so_many_connections() {
    let server = Host::with(|options| options.limits.connections_per_source = 2).await;
    let connect = async |n| {
        let secret = DeviceSecret::from_seed(&[n; 32]);
        Device::connect(&secret, server.place()).await
    };
    let device = connect(1).await;
    let _second = connect(2).await;
    let (address, key) = server.place();
    let id = iroh::EndpointId::from_bytes(&key.0).unwrap();
    let to = iroh::EndpointAddr::new(id).with_ip_addr(address);
    let name = crate::client::name(&key);
    assert!(device.endpoint.connect(to, &name).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_does_not_know_the_servers_key_gets_no_answer() {
    let server = Host::start().await;
    let secret = DeviceSecret::from_seed(&[1; 32]);
    let device = Device::connect(&secret, server.place()).await;
    let (address, key) = server.place();
    let id = iroh::EndpointId::from_bytes(&key.0).unwrap();
    let other = crate::client::name(&ServerKey([1; 32]));
    for name in [&b"mesh-mirror/1"[..], &other] {
        let to = iroh::EndpointAddr::new(id).with_ip_addr(address);
        let dialled = device.endpoint.connect(to, name);
        let answer = tokio::time::timeout(Duration::from_millis(400), dialled).await;
        assert!(answer.is_err(), "{name:?} was answered");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_too_many_connections_of_one_device_the_oldest_goes() {
    let server = Host::with(|options| options.limits.connections_per_device = 2).await;
    let secret = DeviceSecret::from_seed(&[1; 32]);
    let connect = || Device::connect(&secret, server.place());
    let (one, two, three) = (connect().await, connect().await, connect().await);
    one.connection.closed().await;
    assert!(two.connection.close_reason().is_none());
    assert!(three.connection.close_reason().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_removed_device_signs_is_kept_as_a_void_parent_but_not_taken_from_it() {
    let server = Host::start().await;
    let (mut world, mut side) = World::new("alice");
    let owner = world.owner.clone();
    let bob = world.newcomer(&mut side, &owner, "bob");
    let (_alice, mut stream) = host(&server, &world).await;
    let mut at_bob = side.clone();
    let kick = world.kick(&mut side, &owner, &bob);
    stream.push(vec![bytes(&world, kick)]).await;
    let late = world.merge(&mut at_bob, &bob);
    let device = Device::connect(&bob.device, server.place()).await;
    let refusal = device.refusal(world.network, Role::Member(None)).await;
    assert_eq!(refusal, Refusal::Removed);
    let pushed = stream.push(vec![bytes(&world, late)]).await;
    assert_eq!(pushed.stored, [late]);
    assert!(!server.server.networks().is_live(&bob.device_id()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_brings_nothing_of_a_kicked_key_and_a_new_member_its_admission() {
    let server = Host::start().await;
    let (mut world, mut side) = World::new("alice");
    let owner = world.owner.clone();
    let bob = world.newcomer(&mut side, &owner, "bob");
    let (_alice, mut stream) = host(&server, &world).await;
    let mut at_bob = side.clone();
    let kick = world.kick(&mut side, &owner, &bob);
    stream.push(vec![bytes(&world, kick)]).await;
    let junk = merges(&mut world, &mut at_bob, &bob, 256);
    let stranger = Device::connect(&DeviceSecret::from_seed(&[9; 32]), server.place()).await;
    let (mut bad, welcome) = stranger
        .welcome(world.network, Role::Member(server.token()))
        .await;
    assert_eq!(welcome.standing, Standing::Unknown);
    let pushed = bad.push(junk).await;
    assert!(pushed.stored.is_empty());
    assert_eq!(
        pushed.tip.unwrap().tip.count,
        welcome.tip.unwrap().tip.count
    );
    // What misses a parent costs as well, so that nobody sends it without end.
    let orphans = merges(&mut world, &mut at_bob, &bob, 256);
    let refused = loop {
        match bad.ask(Request::Push(orphans.clone())).await {
            Response::Pushed(pushed) => assert!(pushed.stored.is_empty()),
            other => break other,
        }
    };
    assert_eq!(refused, Response::Failed(Failure::Quota));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_let_in_while_the_server_was_off_brings_the_admission() {
    let server = Host::start().await;
    let (mut world, mut side) = World::new("alice");
    let owner = world.owner.clone();
    host(&server, &world).await;
    let carol = world.newcomer(&mut side, &owner, "carol");
    let device = Device::connect(&carol.device, server.place()).await;
    let (mut stream, welcome) = device.welcome(world.network, Role::Member(None)).await;
    assert_eq!(welcome.standing, Standing::Unknown);
    let pushed = stream.push(all(&world)).await;
    assert_eq!(pushed.stored.len(), world.graph.len());
    let (_, welcome) = device.welcome(world.network, Role::Member(None)).await;
    assert_eq!(welcome.standing, Standing::Live);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_all_places_are_taken_the_oldest_without_rights_goes_and_no_member_does() {
    let server = Host::with(|options| options.limits.connections = 3).await;
    let (world, _) = World::new("alice");
    let (alice, mut stream) = host(&server, &world).await;
    let connect = async |n| {
        let secret = DeviceSecret::from_seed(&[n; 32]);
        Device::connect(&secret, server.place()).await
    };
    let (one, two) = (connect(1).await, connect(2).await);
    let three = connect(3).await;
    one.connection.closed().await;
    assert!(two.connection.close_reason().is_none());
    let _four = connect(4).await;
    two.connection.closed().await;
    assert!(three.connection.close_reason().is_none());
    assert!(alice.connection.close_reason().is_none());
    assert_eq!(stream.whole().await, all(&world));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_might_have_brought_a_network_is_a_stranger_once_another_did() {
    let server = Host::with(|options| options.open_hosting = true).await;
    let (mut world, mut side) = World::new("alice");
    let owner = world.owner.clone();
    let bob = world.newcomer(&mut side, &owner, "bob");
    let base = all(&world);
    let mut at_bob = side.clone();
    let kick = world.kick(&mut side, &owner, &bob);
    let stranger = Device::connect(&DeviceSecret::from_seed(&[9; 32]), server.place()).await;
    let (mut early, welcome) = stranger.welcome(world.network, Role::Member(None)).await;
    assert_eq!(welcome.standing, Standing::NotHosted { may_open: true });
    let alice = Device::connect(&owner.device, server.place()).await;
    let (mut stream, _) = alice.welcome(world.network, Role::Member(None)).await;
    let count = base.len() + 1;
    stream
        .push([base, vec![bytes(&world, kick)]].concat())
        .await;
    let junk = merges(&mut world, &mut at_bob, &bob, 100);
    let pushed = early.push(junk).await;
    assert!(pushed.stored.is_empty());
    assert_eq!(pushed.tip.unwrap().tip.count, count as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_without_rights_that_asks_for_nothing_ends_and_a_members_stays() {
    let server = Host::with(|options| options.limits.guest = Duration::from_millis(300)).await;
    let (world, _) = World::new("alice");
    let (_alice, mut stream) = host(&server, &world).await;
    let stranger = Device::connect(&DeviceSecret::from_seed(&[9; 32]), server.place()).await;
    let (mut idle, _) = stranger.welcome(world.network, Role::Member(None)).await;
    assert_eq!(idle.hear().await, None);
    assert_eq!(stream.whole().await, all(&world));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_is_proven_page_by_page_and_to_one_stream_of_a_device_at_a_time() {
    let server = Host::start().await;
    let (mut world, mut side) = World::new("alice");
    let owner = world.owner.clone();
    let bob = world.newcomer(&mut side, &owner, "bob");
    let (_alice, mut stream) = host(&server, &world).await;
    let mut written = merges(&mut world, &mut side, &owner, 1000);
    let kick = world.kick(&mut side, &owner, &bob);
    written.push(bytes(&world, kick));
    for events in written.chunks(256) {
        stream.push(events.to_vec()).await;
    }
    // A small window: the first proof is still on its way when the second is asked for.
    let device = Device::with_window(&bob.device, server.place(), Some(16 << 10)).await;
    let (mut first, refused) = device.open(world.network, Role::Member(None)).await;
    assert_eq!(refused, Response::Refused(Refusal::Removed));
    let second = device.refusal(world.network, Role::Member(None)).await;
    assert_eq!(second, Refusal::Busy);
    let mut proof = Vec::new();
    while let Some(Response::Events(events)) = first.hear().await {
        proof.extend(events);
    }
    assert_eq!(proof, all(&world));
    // That one is over, so it can be asked for again.
    let (_, again) = device.open(world.network, Role::Member(None)).await;
    assert_eq!(again, Response::Refused(Refusal::Removed));
}

/// So many threads that block the server of the next test has.
const THREADS: usize = 3;

#[test]
fn a_network_that_stands_still_holds_up_no_other() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(THREADS)
        .build()
        .unwrap();
    runtime.block_on(async {
        // The server's clock stops for the next who asks, which is a push under its network's lock.
        let (stop, stopped) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicBool::new(false)),
        );
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let wait = std::sync::Mutex::new(wait);
        let (armed, reached) = (stop.clone(), stopped.clone());
        let server = Host::with(|options| {
            options.now = Arc::new(move || {
                if armed.swap(false, Ordering::SeqCst) {
                    reached.store(true, Ordering::SeqCst);
                    let _ = wait.lock().unwrap().recv_timeout(2 * PATIENCE);
                }
                NOW
            });
        })
        .await;
        let (mut slow, mut side) = World::new("alice");
        let owner = slow.owner.clone();
        let (device, mut pusher) = host(&server, &slow).await;
        let mut streams = Vec::new();
        for _ in 0..2 * THREADS {
            let (stream, _) = device.welcome(slow.network, Role::Member(None)).await;
            streams.push(stream);
        }
        let (other, _) = World::new("carol");
        let (_carol, mut carol) = host(&server, &other).await;
        stop.store(true, Ordering::SeqCst);
        let new = merges(&mut slow, &mut side, &owner, 1);
        pusher.say(&Request::Push(new)).await;
        while !stopped.load(Ordering::SeqCst) {
            tokio::task::yield_now().await;
        }
        let pull = Request::Pull {
            from: 0,
            bodies: true,
        };
        for stream in &mut streams {
            stream.say(&pull).await;
        }
        assert_eq!(carol.whole().await, all(&other));
        go.send(()).unwrap();
        for stream in &mut streams {
            let page = loop {
                match stream.hear().await.unwrap() {
                    Response::Page(page) => break page,
                    Response::News(_) => {}
                    other => panic!("{other:?}"),
                }
            };
            assert_eq!(page.events.len(), slow.graph.len());
        }
        assert!(matches!(pusher.hear().await, Some(Response::Pushed(_))));
    });
}
