//! Hosting, pulling, pushing and news.

use mesh_ledger::event::id_of;
use mesh_ledger::keys::DeviceSecret;
use mesh_ledger::mirror::message::{Failure, Standing};
use mesh_ledger::mirror::tip::contradiction;
use mesh_ledger::mirror::{Chain, Permit, Refusal, Request, Response, Role};

use crate::client::{Device, Host, NOW, all, bytes, host, merges};
use crate::world::{Person, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_network_is_hosted_pulled_fetched_and_pushed_and_news_of_it_spreads() {
    let server = Host::start().await;
    let (mut world, mut side) = World::new("alice");
    let bob = world.newcomer(&mut side, &world.owner.clone(), "bob");
    let (_alice, mut alice) = host(&server, &world).await;

    let at_bob = Device::connect(&bob.device, server.place()).await;
    let (mut stream, welcome) = at_bob.welcome(world.network, Role::Member(None)).await;
    assert_eq!(welcome.standing, Standing::Live);
    assert!(welcome.doors.relay.is_some() && welcome.doors.discovery.is_some());
    let tip = welcome.tip.unwrap();
    assert!(tip.is_genuine() && tip.server == server.place().1);

    let page = stream.pull(0, false).await;
    assert!(page.events.is_empty());
    let ids: Vec<_> = all(&world).iter().map(|event| id_of(event)).collect();
    assert_eq!(page.ids, ids);
    let chain = ids
        .iter()
        .fold(Chain::empty(&world.network), |chain, id| chain.then(id));
    assert_eq!(page.tip.tip.chain, chain);
    assert_eq!(stream.whole().await, all(&world));
    let fetched = stream.ask(Request::Fetch(vec![ids[2], ids[0]])).await;
    let wanted = vec![bytes(&world, ids[2]), bytes(&world, ids[0])];
    assert_eq!(fetched, Response::Events(wanted));
    let end = ids.len() as u64;
    assert!(stream.pull(end, true).await.ids.is_empty());
    let behind = Request::Pull {
        from: end + 1,
        bodies: true,
    };
    assert_eq!(
        stream.ask(behind).await,
        Response::Failed(Failure::NotFound)
    );

    let new = merges(&mut world, &mut side, &bob, 3);
    let late = stream.push(new[1..].to_vec()).await;
    assert_eq!(late.missing, [id_of(&new[0])]);
    assert!(late.stored.is_empty());
    let pushed = stream.push(new.clone()).await;
    assert_eq!(pushed.stored.len(), 3);
    let (before, after) = (tip, pushed.tip.unwrap());
    assert_eq!(contradiction(&before, &after), None);
    assert!(after.tip.time > before.tip.time);
    match alice.told().await {
        Response::News(news) => {
            assert_eq!((news.from, news.events), (end, new.clone()));
            assert_eq!(news.tip.tip.count, end + 3);
        }
        other => panic!("{other:?}"),
    }
    // What it pushed itself comes back to it as ids, so that its own log stays without a gap.
    match stream.told().await {
        Response::News(news) => {
            assert_eq!((news.from, news.ids.len(), news.events.len()), (end, 3, 0));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_opens_a_network_without_permit_or_genesis_or_under_another_id() {
    let server = Host::start().await;
    let (world, _) = World::new("alice");
    let (other, _) = World::with_subnet("mallory", "10.9.0.0/24");
    let mallory = Device::connect(&other.owner.device, server.place()).await;
    for permit in [None, Some(Permit([7; 16]))] {
        let (mut stream, welcome) = mallory.welcome(world.network, Role::Member(permit)).await;
        assert_eq!(welcome.standing, Standing::NotHosted { may_open: false });
        assert!(welcome.permit.is_none() && welcome.tip.is_none());
        let pushed = stream.ask(Request::Push(all(&world))).await;
        assert_eq!(pushed, Response::Failed(Failure::NotHosting));
    }
    // With the token, but with a genesis that is not of this id.
    let (mut stream, _) = mallory
        .welcome(world.network, Role::Member(server.token()))
        .await;
    let squat = stream.push(all(&other)).await;
    assert_eq!(squat.refused.len(), 1);
    assert!(squat.stored.is_empty() && squat.tip.is_none());
    let summaries = server.server.networks().store().networks().unwrap();
    assert_eq!(summaries, []);
    // The rightful one is not kept out by that.
    host(&server, &world).await;
    let (_, welcome) = mallory.welcome(world.network, Role::Member(None)).await;
    assert_eq!(welcome.standing, Standing::Unknown);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_device_reads_nothing_and_may_push_what_makes_it_known() {
    let server = Host::start().await;
    let (mut world, mut side) = World::new("alice");
    let _alice = host(&server, &world).await;
    let count = world.graph.len();
    let owner = world.owner.clone();
    let bob = world.newcomer(&mut side, &owner, "bob");
    let at_bob = Device::connect(&bob.device, server.place()).await;
    let (mut stream, welcome) = at_bob.welcome(world.network, Role::Member(None)).await;
    assert_eq!(welcome.standing, Standing::Unknown);
    assert!(welcome.permit.is_none());
    let pull = Request::Pull {
        from: 0,
        bodies: true,
    };
    let fetch = Request::Fetch(vec![id_of(&all(&world)[0])]);
    let leave = Request::Leave(vec![1]);
    let reply = Request::Reply {
        letter: 1,
        body: vec![1],
    };
    for request in [pull, fetch, leave, reply] {
        let answer = stream.ask(request).await;
        assert_eq!(answer, Response::Failed(Failure::NotPermitted));
    }
    let pushed = stream.push(all(&world)[count..].to_vec()).await;
    assert_eq!(pushed.stored.len(), world.graph.len() - count);
    let (mut stream, welcome) = at_bob.welcome(world.network, Role::Member(None)).await;
    assert_eq!(welcome.standing, Standing::Live);
    assert_eq!(stream.whole().await, all(&world));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kick_ends_the_session_at_once_with_proof_and_keeps_the_device_out() {
    let server = Host::start().await;
    let (mut world, mut side) = World::new("alice");
    let owner = world.owner.clone();
    let bob = world.newcomer(&mut side, &owner, "bob");
    let (_alice, mut alice) = host(&server, &world).await;
    let at_bob = Device::connect(&bob.device, server.place()).await;
    let (mut stream, _) = at_bob.welcome(world.network, Role::Member(None)).await;

    let kick = world.kick(&mut side, &owner, &bob);
    alice.push(vec![bytes(&world, kick)]).await;
    let heard = loop {
        match stream.told().await {
            Response::News(_) => {}
            other => break other,
        }
    };
    assert_eq!(heard, Response::Refused(Refusal::Removed));
    let Some(Response::Events(proof)) = stream.hear().await else {
        panic!("no proof");
    };
    assert_eq!(proof, all(&world));
    assert_eq!(stream.hear().await, None);
    let (mut stream, again) = at_bob.open(world.network, Role::Member(None)).await;
    assert_eq!(again, Response::Refused(Refusal::Removed));
    assert!(matches!(stream.hear().await, Some(Response::Events(_))));
    assert!(!server.server.networks().is_live(&bob.device_id()));
    assert!(server.server.networks().is_live(&owner.device_id()));
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_there_after_a_restart_and_no_tip_contradicts_one_from_before() {
    let server = Host::start().await;
    let (mut world, mut side) = World::new("alice");
    let owner = world.owner.clone();
    let bob = world.newcomer(&mut side, &owner, "bob");
    let (_device, mut stream) = host(&server, &world).await;
    let before = stream.pull(0, false).await.tip;
    // The machine's clock is an hour behind after the restart, and later jumps on and back.
    let server = server.restart(NOW - 3_600_000).await;
    let at_bob = Device::connect(&bob.device, server.place()).await;
    let (mut stream, welcome) = at_bob.welcome(world.network, Role::Member(None)).await;
    assert_eq!(welcome.standing, Standing::Live);
    assert_eq!(stream.whole().await, all(&world));
    let mut tips = vec![before, welcome.tip.unwrap()];
    for jump in [5_000_000_000_000, 1, NOW, 0] {
        let clock = &server.clock;
        clock.store(jump, std::sync::atomic::Ordering::Relaxed);
        let new = merges(&mut world, &mut side, &bob, 1);
        tips.push(stream.push(new).await.tip.unwrap());
    }
    for (n, early) in tips.iter().enumerate() {
        for late in &tips[n + 1..] {
            assert!(late.tip.time > early.tip.time);
            assert_eq!(contradiction(early, late), None);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_wipe_any_member_brings_the_network_back_with_the_permit_it_was_given() {
    let server = Host::start().await;
    let (mut world, mut side) = World::new("alice");
    let owner = world.owner.clone();
    let bob = world.newcomer(&mut side, &owner, "bob");
    host(&server, &world).await;
    let at_bob = Device::connect(&bob.device, server.place()).await;
    let (_, welcome) = at_bob.welcome(world.network, Role::Member(None)).await;
    let permit = welcome.permit.unwrap();

    let data = server.data.clone();
    server.server.stop().await;
    for file in std::fs::read_dir(data.path().join("data")).unwrap() {
        let file = file.unwrap();
        if file.file_name().to_string_lossy().starts_with("mirror.db") {
            std::fs::remove_file(file.path()).unwrap();
        }
    }
    let server = Host::again(data, NOW, |_| {}).await;
    let at_bob = Device::connect(&bob.device, server.place()).await;
    let (mut stream, welcome) = at_bob
        .welcome(world.network, Role::Member(Some(permit)))
        .await;
    assert_eq!(welcome.standing, Standing::NotHosted { may_open: true });
    stream.push(all(&world)).await;
    let (mut stream, welcome) = at_bob.welcome(world.network, Role::Member(None)).await;
    assert_eq!(welcome.standing, Standing::Live);
    assert_eq!(stream.whole().await, all(&world));
    // The permit is for this network alone.
    let (other, _) = World::with_subnet("carol", "10.9.0.0/24");
    let (_, welcome) = at_bob
        .welcome(other.network, Role::Member(Some(permit)))
        .await;
    assert_eq!(welcome.standing, Standing::NotHosted { may_open: false });
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_server_hosts_for_everybody_and_one_without_mirror_for_nobody() {
    let (world, _) = World::new("alice");
    let open = Host::with(|options| options.open_hosting = true).await;
    assert_eq!(open.token(), None);
    host(&open, &world).await;
    let off = Host::with(|options| options.mirror = false).await;
    let stranger = Person::new("stranger");
    let secret = DeviceSecret::from_seed(&stranger.device.seed());
    let device = Device::connect(&secret, off.place()).await;
    let refusal = device.refusal(world.network, Role::Member(None)).await;
    assert_eq!(refusal, Refusal::Off);
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_knows_so_many_events_and_every_session_goes_on() {
    let server = Host::with(|options| options.limits.held_events = 120).await;
    let mut hosted = Vec::new();
    for n in 0..5 {
        let (mut world, mut side) = World::new(&format!("owner{n}"));
        let owner = world.owner.clone();
        merges(&mut world, &mut side, &owner, 50);
        let (device, stream) = host(&server, &world).await;
        hosted.push((world, device, stream));
    }
    let networks = server.server.networks().clone();
    for _ in 0..2 {
        for (world, _, stream) in &mut hosted {
            assert_eq!(stream.whole().await, all(world));
        }
    }
    networks.sweep();
    assert!(networks.events_held() <= 120, "{}", networks.events_held());
    assert!(networks.events_held() > 0);
}
