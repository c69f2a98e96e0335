//! What devices and servers say to each other, and what they sign and leave for each other.

use mesh_ledger::event::attributes::Server;
use mesh_ledger::ids::{DeviceId, EventId, NetworkId, ServerKey};
use mesh_ledger::keys::{DeviceSecret, InviteSecret, ServerSecret};
use mesh_ledger::mirror::letter::{self, Letter, Way};
use mesh_ledger::mirror::message::{
    Doors, Failure, Page, Pushed, Refusal, Request, Response, Role, Standing, Visit, Welcome,
};
use mesh_ledger::mirror::{Chain, Deputation, Echo, Pass, Permit, ServerAddress, SignedTip, Tip};

const NETWORK: NetworkId = NetworkId([0x11; 32]);

pub(super) fn tip() -> SignedTip {
    let chain = Chain::empty(&NETWORK).then(&EventId([1; 32]));
    let tip = Tip {
        network: NETWORK,
        count: 300,
        chain,
        time: 1_795_000_000_123,
    };
    SignedTip::sign(tip, &server())
}

fn server() -> ServerSecret {
    ServerSecret::from_seed(&[9; 32])
}

fn page(events: Vec<Vec<u8>>) -> Page {
    Page {
        from: 298,
        ids: vec![EventId([1; 32]), EventId([2; 32])],
        events,
        tip: tip(),
    }
}

fn letter() -> Letter {
    let (contact, joiner) = ([6; 32], DeviceId([2; 32]));
    Letter {
        id: 7,
        from: joiner,
        invite: InviteSecret::from_seed(&[4; 32]).public(),
        body: letter::seal(&contact, &NETWORK, &joiner, Way::Redemption, b"let me in").unwrap(),
    }
}

fn visit() -> Visit {
    let invite = InviteSecret::from_seed(&[4; 32]);
    let (server, device) = (server().public(), DeviceId([2; 32]));
    Visit::new(&invite, &NETWORK, &server, &device, 1_795_000_000_123)
}

fn deputation() -> Deputation {
    let device = DeviceSecret::from_seed(&[6; 32]);
    let (server, deputy) = (server().public(), DeviceId([2; 32]));
    Deputation::new(&device, &server, &deputy, 1_795_000_000_123)
}

fn passes() -> [(&'static str, Pass); 3] {
    [
        ("relay.pass", Pass::Joiner(NETWORK, visit())),
        ("relay.deputy", Pass::Deputy(deputation())),
        (
            "relay.founder",
            Pass::Founder(deputation(), Permit([5; 16]).proof(&deputation())),
        ),
    ]
}

pub(super) fn requests() -> Vec<(&'static str, Request)> {
    let open = |role| Request::Open {
        network: NETWORK,
        role,
    };
    vec![
        ("open.member", open(Role::Member(None))),
        ("open.host", open(Role::Member(Some(Permit([5; 16]))))),
        ("open.joiner", open(Role::Joiner(visit()))),
        ("open.deputy", open(Role::Deputy(deputation(), None))),
        (
            "pull",
            Request::Pull {
                from: 300,
                bodies: true,
            },
        ),
        ("fetch", Request::Fetch(vec![EventId([1; 32])])),
        ("push", Request::Push(vec![vec![1, 2, 3]])),
        ("leave", Request::Leave(letter().body)),
        (
            "reply",
            Request::Reply {
                letter: 7,
                body: vec![1, 2, 3],
            },
        ),
    ]
}

pub(super) fn responses() -> Vec<(&'static str, Response)> {
    let welcome = |standing| {
        Response::Welcome(Welcome {
            echo: (standing == Standing::Live).then(|| Echo::mint(&[7; 32], [7445, 7446], 9)),
            standing,
            tip: Some(tip()),
            permit: Some(Permit::for_network(&server(), &NETWORK)),
            doors: Doors {
                relay: Some(7443),
                discovery: Some(7444),
            },
        })
    };
    let mut all = vec![
        ("welcome.live", welcome(Standing::Live)),
        ("welcome.unknown", welcome(Standing::Unknown)),
        (
            "welcome.not-hosted",
            welcome(Standing::NotHosted { may_open: true }),
        ),
        (
            "welcome.joiner",
            welcome(Standing::Joiner {
                invite: EventId([4; 32]),
            }),
        ),
        ("page", Response::Page(page(vec![vec![1, 2, 3]]))),
        ("events", Response::Events(vec![vec![1, 2, 3]])),
        (
            "pushed",
            Response::Pushed(Pushed {
                stored: vec![EventId([1; 32])],
                missing: vec![EventId([2; 32])],
                refused: vec![EventId([3; 32])],
                wait: 60_000,
                tip: Some(tip()),
            }),
        ),
        ("left", Response::Left(7)),
        ("news", Response::News(page(Vec::new()))),
        ("letters", Response::Letters(vec![letter()])),
    ];
    for (name, why) in [
        ("refused.removed", Refusal::Removed),
        ("refused.visit", Refusal::Visit),
        ("refused.protocol", Refusal::Protocol),
        ("refused.busy", Refusal::Busy),
        ("refused.off", Refusal::Off),
    ] {
        all.push((name, Response::Refused(why)));
    }
    for (name, why) in [
        ("failed.not-permitted", Failure::NotPermitted),
        ("failed.not-hosting", Failure::NotHosting),
        ("failed.disk", Failure::Disk),
        ("failed.quota", Failure::Quota),
        ("failed.not-found", Failure::NotFound),
    ] {
        all.push((name, Response::Failed(why)));
    }
    all
}

pub(super) fn made() -> Vec<(String, Vec<u8>)> {
    let mut made = Vec::new();
    for (name, request) in requests() {
        made.push((format!("mirror.request.{name}"), request.encode().unwrap()));
    }
    for (name, response) in responses() {
        made.push((
            format!("mirror.response.{name}"),
            response.encode().unwrap(),
        ));
    }
    for (name, way) in [("redemption", Way::Redemption), ("reply", Way::Reply)] {
        let sealed = letter::seal(&[6; 32], &NETWORK, &DeviceId([2; 32]), way, b"text").unwrap();
        made.push((format!("letter.{name}"), sealed));
    }
    for (name, pass) in passes() {
        made.push((name.to_owned(), pass.text().into_bytes()));
    }
    let address = |permit| ServerAddress {
        host: "mesh.example.org".to_owned(),
        port: 7443,
        key: ServerKey([9; 32]),
        permit,
    };
    for (name, permit) in [("public", None), ("permit", Some(Permit([5; 16])))] {
        let text = address(permit).to_string();
        made.push((format!("server.address.{name}"), text.into_bytes()));
        let Server {
            address: listed, ..
        } = address(permit).to_server().unwrap();
        made.push((
            format!("server.listed.{name}"),
            listed.to_string().into_bytes(),
        ));
    }
    made
}

#[test]
fn every_frozen_message_to_and_from_a_server_reads_back() {
    for (name, request) in requests() {
        let bytes = request.encode().unwrap();
        assert_eq!(
            Request::decode(&bytes[4..]).as_ref(),
            Ok(&request),
            "{name}"
        );
    }
    for (name, response) in responses() {
        let bytes = response.encode().unwrap();
        assert_eq!(
            Response::decode(&bytes[4..]).as_ref(),
            Ok(&response),
            "{name}"
        );
    }
    assert!(tip().is_genuine());
    for (_, pass) in passes() {
        assert_eq!(Pass::read(&pass.text()), Some(pass));
    }
}
