//! Letters between joiners and members.

use mesh_ledger::ids::DeviceId;
use mesh_ledger::keys::InviteSecret;
use mesh_ledger::mirror::letter::MAX_LETTER;
use mesh_ledger::mirror::message::{Failure, Standing, VISIT_SKEW, Visit};
use mesh_ledger::mirror::{Refusal, Request, Response, Role};

use crate::client::{Device, Host, NOW, bytes, host};
use crate::world::{Person, World};

fn visit(host: &Host, world: &World, key: &InviteSecret, device: &DeviceId, time: u64) -> Role {
    Role::Joiner(Visit::new(
        key,
        &world.network,
        &host.place().1,
        device,
        time,
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_joiner_leaves_a_letter_a_member_answers_it_and_both_survive_a_restart() {
    let server = Host::start().await;
    let (mut world, mut side) = World::new("alice");
    let owner = world.owner.clone();
    let ticket = world.invite(&mut side, &owner, 1);
    let (_alice, mut alice) = host(&server, &world).await;
    let joiner = Person::new("joiner");
    let id = joiner.device_id();
    let at_joiner = Device::connect(&joiner.device, server.place()).await;
    let role = visit(&server, &world, &ticket.key, &id, NOW);
    let (mut stream, welcome) = at_joiner.welcome(world.network, role).await;
    let invite = ticket.invite;
    assert_eq!(welcome.standing, Standing::Joiner { invite });
    assert!(welcome.permit.is_none());

    let Response::Left(letter) = stream.ask(Request::Leave(b"let me in".to_vec())).await else {
        panic!("not left");
    };
    let Response::Letters(letters) = alice.told().await else {
        panic!("no letters");
    };
    assert_eq!(letters.len(), 1);
    assert_eq!((letters[0].id, letters[0].from), (letter, id));
    assert_eq!(letters[0].invite, ticket.key.public());
    assert_eq!(letters[0].body, b"let me in");
    // The same again is the same letter; of others there is room for one.
    let same = stream.ask(Request::Leave(b"let me in".to_vec())).await;
    assert_eq!(same, Response::Left(letter));
    let second = stream.ask(Request::Leave(vec![1; MAX_LETTER])).await;
    assert!(matches!(second, Response::Left(_)));
    let third = stream.ask(Request::Leave(b"third".to_vec())).await;
    assert_eq!(third, Response::Failed(Failure::Quota));
    // Nothing else is open to it.
    for request in [
        Request::Pull {
            from: 0,
            bodies: false,
        },
        Request::Fetch(vec![invite]),
        Request::Push(vec![bytes(&world, invite)]),
        Request::Reply {
            letter,
            body: vec![1],
        },
    ] {
        let answer = stream.ask(request).await;
        assert_eq!(answer, Response::Failed(Failure::NotPermitted));
    }

    // A member that comes after a restart finds them still waiting.
    let server = server.restart(NOW).await;
    let at_alice = Device::connect(&owner.device, server.place()).await;
    let (mut alice, _) = at_alice.welcome(world.network, Role::Member(None)).await;
    let Response::Letters(letters) = alice.told().await else {
        panic!("no letters");
    };
    assert_eq!(letters.len(), 2);
    let reply = Request::Reply {
        letter,
        body: b"come in".to_vec(),
    };
    let answered = alice.ask(reply.clone()).await;
    let Response::Left(reply_id) = answered else {
        panic!("{answered:?}");
    };
    // The same again is the same reply. Nobody is let in yet, so the letter still waits for who can answer it.
    assert_eq!(alice.ask(reply.clone()).await, Response::Left(reply_id));

    // The joiner, who was away, finds the reply, even when the invite was used up by its own admission.
    world.admit(&mut side, &owner, &joiner, Some(&ticket));
    let heads: Vec<_> = side.0.iter().map(|id| bytes(&world, *id)).collect();
    assert_eq!(alice.push(heads).await.stored.len(), 1);
    let last = Request::Reply {
        letter,
        body: b"be welcome".to_vec(),
    };
    assert!(matches!(alice.ask(last).await, Response::Left(_)));
    let at_joiner = Device::connect(&joiner.device, server.place()).await;
    let role = visit(&server, &world, &ticket.key, &id, NOW);
    let (mut stream, _) = at_joiner.welcome(world.network, role).await;
    let Response::Letters(letters) = stream.told().await else {
        panic!("no reply");
    };
    assert_eq!(
        (letters[0].id, letters[0].body.as_slice()),
        (reply_id, &b"come in"[..])
    );
    assert_eq!(letters[1].body, b"be welcome");
    assert_eq!(letters.len(), 2);
    let (_, welcome) = at_joiner.welcome(world.network, Role::Member(None)).await;
    assert_eq!(welcome.standing, Standing::Live);
    // It came as a member, so it has its answer, and the letter is done with.
    let done = alice.ask(reply).await;
    assert_eq!(done, Response::Failed(Failure::NotFound));
    // Another holder of the used ticket finds nothing.
    let other = Person::new("late");
    let late = Device::connect(&other.device, server.place()).await;
    let role = visit(&server, &world, &ticket.key, &other.device_id(), NOW);
    assert_eq!(late.refusal(world.network, role).await, Refusal::Visit);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_stale_or_borrowed_visit_is_refused() {
    let server = Host::start().await;
    let (mut world, mut side) = World::new("alice");
    let owner = world.owner.clone();
    let ticket = world.invite(&mut side, &owner, 5);
    let closed = world.invite(&mut side, &owner, 5);
    world.close(&mut side, &owner, &closed);
    let _alice = host(&server, &world).await;
    let joiner = Person::new("joiner");
    let id = joiner.device_id();
    let device = Device::connect(&joiner.device, server.place()).await;
    let forged = InviteSecret::from_seed(&[5; 32]);
    let (other, _) = World::with_subnet("carol", "10.9.0.0/24");
    let borrowed = DeviceId([3; 32]);
    for role in [
        visit(&server, &world, &forged, &id, NOW),
        visit(&server, &world, &closed.key, &id, NOW),
        visit(&server, &world, &ticket.key, &borrowed, NOW),
        visit(&server, &world, &ticket.key, &id, NOW - VISIT_SKEW - 1),
        visit(&server, &world, &ticket.key, &id, NOW + VISIT_SKEW + 1),
        visit(&server, &other, &ticket.key, &id, NOW),
    ] {
        let refusal = device.refusal(world.network, role).await;
        assert_eq!(refusal, Refusal::Visit);
    }
    let role = visit(&server, &other, &ticket.key, &id, NOW);
    assert_eq!(device.refusal(other.network, role).await, Refusal::Visit);
    let role = visit(&server, &world, &ticket.key, &id, NOW);
    device.welcome(world.network, role).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invite_that_is_closed_takes_no_more_letters_from_who_is_there_already() {
    let server = Host::start().await;
    let (mut world, mut side) = World::new("alice");
    let owner = world.owner.clone();
    let ticket = world.invite(&mut side, &owner, 5);
    let (_alice, mut alice) = host(&server, &world).await;
    let joiner = Person::new("joiner");
    let id = joiner.device_id();
    let device = Device::connect(&joiner.device, server.place()).await;
    let role = visit(&server, &world, &ticket.key, &id, NOW);
    let (mut stream, _) = device.welcome(world.network, role).await;
    let close = world.close(&mut side, &owner, &ticket);
    alice.push(vec![bytes(&world, close)]).await;
    let refused = stream.ask(Request::Leave(b"let me in".to_vec())).await;
    assert_eq!(refused, Response::Failed(Failure::NotPermitted));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_members_garbage_uses_no_letter_up_and_pushes_no_reply_out() {
    let server = Host::start().await;
    let (mut world, mut side) = World::new("alice");
    let owner = world.owner.clone();
    let mallory = world.newcomer(&mut side, &owner, "mallory");
    let ticket = world.invite(&mut side, &owner, 1);
    let (_alice, mut alice) = host(&server, &world).await;
    let joiner = Person::new("joiner");
    let id = joiner.device_id();
    let at_joiner = Device::connect(&joiner.device, server.place()).await;
    let role = visit(&server, &world, &ticket.key, &id, NOW);
    let (mut stream, _) = at_joiner.welcome(world.network, role).await;
    let Response::Left(letter) = stream.ask(Request::Leave(b"let me in".to_vec())).await else {
        panic!("not left");
    };
    let device = Device::connect(&mallory.device, server.place()).await;
    let (mut bad, _) = device.welcome(world.network, Role::Member(None)).await;
    let reply = |body: Vec<u8>| Request::Reply { letter, body };
    for n in 0..20 {
        let left = bad.ask(reply(vec![n; 100])).await;
        assert!(matches!(left, Response::Left(_)), "{left:?}");
    }
    // Alice lets the joiner in, and answers between two more of them.
    world.admit(&mut side, &owner, &joiner, Some(&ticket));
    let heads: Vec<_> = side.0.iter().map(|id| bytes(&world, *id)).collect();
    assert_eq!(alice.push(heads).await.stored.len(), 1);
    assert!(matches!(
        bad.ask(reply(vec![30; 100])).await,
        Response::Left(_)
    ));
    assert!(matches!(
        alice.ask(reply(b"come in".to_vec())).await,
        Response::Left(_)
    ));
    let later = bad.ask(reply(vec![31; 100])).await;
    assert!(matches!(later, Response::Left(_)));
    let mut waiting = Vec::new();
    while !waiting.contains(&b"come in".to_vec()) {
        let Response::Letters(letters) = stream.told().await else {
            panic!("no letters");
        };
        waiting.extend(letters.into_iter().map(|letter| letter.body));
    }
    at_joiner.welcome(world.network, Role::Member(None)).await;
    let done = bad.ask(reply(vec![32; 100])).await;
    assert_eq!(done, Response::Failed(Failure::NotFound));
}
