//! Frozen vectors: what was released once is read for ever. Each line of `vectors/v1.txt` is a name and the bytes of one
//! encoding; a test fails as soon as one changes, and then the format needs a new version, not a new line.
//!
//! After adding a kind: run the test, and put the line it prints into the file.
#![allow(clippy::unwrap_used, unreachable_pub)]

use std::net::Ipv4Addr;

use mesh_ledger::epoch::{HandedKey, seal_boxes, seal_former};
use mesh_ledger::event::act::*;
use mesh_ledger::event::attributes::*;
use mesh_ledger::event::{Act, Attributes, Event, Header};
use mesh_ledger::ids::*;
use mesh_ledger::keys::*;
use mesh_ledger::network::redeem;
use mesh_ledger::recovery::RecoveryWords;
use mesh_ledger::seal;
use mesh_ledger::ticket::{Contact, ContactKind, Ticket};

#[path = "vectors/files.rs"]
mod files;
#[path = "vectors/frozen.rs"]
mod frozen;
#[path = "vectors/mirror.rs"]
mod mirror;
#[path = "vectors/sync.rs"]
mod sync;
#[path = "vectors/variants.rs"]
mod variants;

const FILE: &str = include_str!("vectors/v1.txt");

#[test]
fn every_encoding_is_the_released_one() {
    frozen::check(FILE, &made());
}

#[test]
fn every_frozen_act_and_attribute_reads_back() {
    for (name, act) in acts() {
        assert_eq!(Act::decode(&act.encode()), Some(act), "{name}");
    }
    for (name, act, attributes) in attributes() {
        let bytes = attributes.encode();
        assert_eq!(Attributes::decode(&act, &bytes), Some(attributes), "{name}");
    }
}

#[test]
fn a_frozen_event_reads_back_and_its_signature_holds() {
    let bytes = frozen::read(FILE)["event.private"].clone();
    let event = Event::decode(&bytes).unwrap();
    let mut keys = mesh_ledger::epoch::KeyRing::new();
    keys.insert(epoch_key());
    assert!(matches!(seal::open(&event, &keys), Opened::Open(_)));
}

fn made() -> Vec<(String, Vec<u8>)> {
    let mut made: Vec<(String, Vec<u8>)> = Vec::new();
    let mut add = |name: &str, bytes: Vec<u8>| made.push((name.to_owned(), bytes));
    for (name, act) in acts() {
        add(&format!("act.{name}"), act.encode());
    }
    for (name, _, attributes) in attributes() {
        add(&format!("attributes.{name}"), attributes.encode());
    }
    for (name, message) in sync::messages() {
        add(&format!("wire.{name}"), message.encode());
    }
    add(
        "event.genesis",
        event(&acts()[0].1, Some(&founding())).bytes().to_vec(),
    );
    add("event.merge", event(&Act::Merge, None).bytes().to_vec());
    let private = event(&Act::Private, Some(&attributes()[5].2));
    add("event.private", private.bytes().to_vec());
    add("event.private.id", private.id().0.to_vec());
    add("epoch.id", epoch_key().id().0.to_vec());
    let ticket = ticket();
    add("ticket.text", ticket.text().as_bytes().to_vec());
    add("ticket.invite", ticket.invite_secret().public().0.to_vec());
    add("ticket.contact", ticket.contact().to_vec());
    add("ticket.topic", ticket.topic().to_vec());
    let words = RecoveryWords::from_entropy([0x55; 32]);
    add("recovery.words", words.words().as_bytes().to_vec());
    add("recovery.key", words.secret().public().0.to_vec());
    add("redeem.challenge", challenge().encode());
    add("redeem.request", request().encode());
    for (name, reply) in replies() {
        add(&format!("redeem.{name}"), reply.encode());
    }
    let handed = HandedKey::seal(&network(), &epoch_key(), &box_secret().public(), &[7; 32]);
    add("key.handed", handed.unwrap().encode());
    add(
        "ipv6",
        network().address_v6(&device().public()).octets().to_vec(),
    );
    // One whole event of each kind.
    for (name, act) in acts() {
        let sealed = match &act {
            Act::DeviceAdd(_) => Some(Attributes::Joining(joining())),
            act => attributes()
                .into_iter()
                .find(|(_, of, _)| of.kind() == act.kind())
                .map(|(_, _, attributes)| attributes),
        };
        let event = event(&act, sealed.as_ref());
        made.push((format!("event.kind.{name}"), event.bytes().to_vec()));
    }
    made.extend(mirror::made());
    made.extend(files::made());
    made
}

fn replies() -> Vec<(&'static str, redeem::Reply)> {
    use redeem::{Proof, RedeemError, Reply};
    let answer = redeem::Answer {
        admit: EventId([4; 32]),
        key: HandedKey::seal(&network(), &epoch_key(), &box_secret().public(), &[7; 32]).unwrap(),
        events: 300,
    };
    let introduced = redeem::Introduction {
        invite: EventId([4; 32]),
        proof: [5; 32],
    };
    let mut all = vec![
        ("admitted", Reply::Admitted(answer)),
        ("introduced", Reply::Introduced(introduced)),
    ];
    let refused = [
        ("refused", RedeemError::UsedUp),
        ("refused.foreign", RedeemError::Foreign),
        ("refused.unknown", RedeemError::UnknownInvite),
        ("refused.expired", RedeemError::Expired),
        ("refused.closed", RedeemError::Closed),
        ("refused.not-invited", RedeemError::NotInvited),
        ("refused.needs-admin", RedeemError::NeedsAdmin),
        ("refused.barred", RedeemError::Barred),
        ("refused.other-device", RedeemError::OtherDevice),
        (
            "refused.certificate",
            RedeemError::Signature(Proof::Certificate),
        ),
        ("refused.user", RedeemError::Signature(Proof::User)),
        ("refused.device", RedeemError::Signature(Proof::Device)),
        ("refused.invite", RedeemError::Signature(Proof::Invite)),
        ("refused.no-key", RedeemError::NoKey),
        ("refused.void", RedeemError::Void("why".parse().unwrap())),
        ("refused.unrecorded", RedeemError::Unrecorded),
    ];
    all.extend(refused.map(|(name, why)| (name, Reply::Refused(why))));
    all
}

fn network() -> NetworkId {
    NetworkId([0x11; 32])
}

fn user() -> UserSecret {
    UserSecret::from_seed(&[1; 32])
}

fn device() -> DeviceSecret {
    DeviceSecret::from_seed(&[2; 32])
}

fn box_secret() -> BoxSecret {
    BoxSecret::from_seed(&[3; 32])
}

fn epoch_key() -> EpochKey {
    EpochKey::from_bytes([4; 32])
}

fn signature(n: u8) -> Signature {
    Signature::from_bytes(&[n; 64])
}

fn ticket() -> Ticket {
    let contacts = [
        Contact {
            kind: ContactKind::Device,
            key: device().public().0,
            address: Some("192.0.2.7:41641".parse().unwrap()),
        },
        Contact {
            kind: ContactKind::Server,
            key: [9; 32],
            address: Some("[2001:db8::7]:443".parse().unwrap()),
        },
    ];
    Ticket::new(network(), [6; 16], true, 1_800_000_000_000, &contacts)
}

fn challenge() -> redeem::Challenge {
    redeem::Challenge::new(&ticket(), [8; 32])
}

fn request() -> redeem::Request {
    redeem::Request::new(
        &ticket(),
        EventId([4; 32]),
        &user(),
        &device(),
        box_secret().public(),
        joining(),
    )
}

fn joining() -> Joining {
    Joining {
        salt: [5; 16],
        host: "laptop".parse().unwrap(),
        address: Some(Ipv4Addr::new(10, 7, 0, 9)),
        wireguard: WgKey([6; 32]),
    }
}

fn founding() -> Attributes {
    Attributes::Founding(Founding {
        name: "home".parse().unwrap(),
        subnet: "10.7.0.0/24".parse().unwrap(),
        joining: joining(),
    })
}

fn event(act: &Act, sealed: Option<&Attributes>) -> Event {
    let genesis = matches!(act, Act::Genesis(_));
    let header = Header {
        network: if genesis {
            NetworkId::GENESIS
        } else {
            network()
        },
        author: device().public(),
        seq: if genesis { 1 } else { 7 },
        lamport: if genesis { 0 } else { 1025 },
        time: 1_795_000_000_123,
        epoch: EpochId::NONE,
        parents: if genesis {
            Vec::new()
        } else {
            vec![EventId([1; 32]), EventId([2; 32])]
        },
    };
    let key = epoch_key();
    seal::sign(header, act, sealed.map(|sealed| (sealed, &key)), &device()).unwrap()
}

fn acts() -> Vec<(&'static str, Act)> {
    let ids = |ns: &[u8]| -> Vec<EventId> { ns.iter().map(|n| EventId([*n; 32])).collect() };
    let certificate = user().certify(&device().public());
    let (ephemeral, boxes) =
        seal_boxes(&network(), &epoch_key(), &[box_secret().public()], &[7; 32]);
    let redeem::Request { redemption, .. } = request();
    let admit = Admit {
        user: user().public(),
        device: device().public(),
        box_key: box_secret().public(),
        certificate,
        digest: joining().digest(),
        redemption: Some(redemption),
        at: 1_795_000_000_123,
    };
    vec![
        (
            "genesis",
            Act::Genesis(Genesis {
                owner: user().public(),
                device: device().public(),
                box_key: box_secret().public(),
                certificate,
                recovery: RecoveryKey([9; 32]),
                policy: Policy { free_routes: true },
                nonce: [8; 16],
            }),
        ),
        ("invite.bearer", invite(InviteKind::Bearer)),
        ("invite.direct", invite(InviteKind::Direct(UserId([3; 32])))),
        ("invite.open", invite(InviteKind::Open)),
        (
            "invite.close",
            Act::InviteClose(InviteClose {
                invite: EventId([4; 32]),
            }),
        ),
        ("admit.redeemed", Act::Admit(admit.clone())),
        (
            "admit.by-admin",
            Act::Admit(Admit {
                redemption: None,
                ..admit
            }),
        ),
        (
            "device.add",
            Act::DeviceAdd(DeviceAdd {
                user: user().public(),
                device: device().public(),
                box_key: box_secret().public(),
                certificate,
            }),
        ),
        (
            "grant",
            Act::Grant(Grant {
                user: UserId([3; 32]),
            }),
        ),
        (
            "remove.user",
            remove(Target::User(UserId([3; 32])), None, ids(&[5, 6]), None),
        ),
        (
            "remove.device",
            remove(
                Target::Device(DeviceId([3; 32])),
                Some(ids(&[1, 2])),
                Vec::new(),
                Some(signature(7)),
            ),
        ),
        (
            "remove.term",
            remove(
                Target::Term {
                    user: UserId([3; 32]),
                    grant: EventId([4; 32]),
                },
                Some(Vec::new()),
                Vec::new(),
                None,
            ),
        ),
        (
            "owner.set",
            Act::OwnerSet(OwnerSet {
                successor: user().public(),
                device: device().public(),
                box_key: box_secret().public(),
                certificate,
                recovery: RecoveryKey([9; 32]),
                cut: ids(&[1]),
                by_recovery: signature(1),
                by_successor: signature(2),
            }),
        ),
        ("private", Act::Private),
        (
            "epoch.rotate",
            Act::EpochRotate(EpochRotate {
                epoch: epoch_key().id(),
                follows: vec![(
                    EpochKey::from_bytes([5; 32]).id(),
                    seal_former(&epoch_key(), &EpochKey::from_bytes([5; 32])),
                )],
                ephemeral,
                boxes: boxes.clone(),
            }),
        ),
        (
            "epoch.keys",
            Act::EpochKeys(EpochKeys {
                epoch: epoch_key().id(),
                ephemeral,
                boxes,
            }),
        ),
        (
            "checkpoint",
            Act::Checkpoint(Checkpoint {
                heads: ids(&[1, 2]),
                authority: Digest([3; 32]),
                state: Digest([4; 32]),
                count: 1000,
            }),
        ),
        ("merge", Act::Merge),
    ]
}

fn invite(kind: InviteKind) -> Act {
    Act::Invite(Invite {
        key: ticket().invite_secret().public(),
        kind,
        max_uses: 300,
        expires: 1_800_000_000_000,
        countersign: true,
    })
}

fn remove(
    target: Target,
    cut: Option<Vec<EventId>>,
    closes: Vec<EventId>,
    by_user: Option<Signature>,
) -> Act {
    Act::Remove(Remove {
        target,
        cut,
        closes,
        by_user,
    })
}

fn attributes() -> Vec<(&'static str, Act, Attributes)> {
    let device = DeviceId([2; 32]);
    let label = |text: &str| -> mesh_ledger::text::Label { text.parse().unwrap() };
    let note = |text: &str| -> mesh_ledger::text::Note { text.parse().unwrap() };
    let mut all = vec![
        ("founding", acts()[0].1.clone(), founding()),
        (
            "invitation",
            invite(InviteKind::Bearer),
            Attributes::Invitation(Invitation {
                contact: *ticket().contact(),
                note: Some(note("for Bob")),
                tags: vec![label("guests")],
            }),
        ),
        (
            "invitation.bare",
            invite(InviteKind::Bearer),
            Attributes::Invitation(Invitation {
                contact: [1; 32],
                note: None,
                tags: Vec::new(),
            }),
        ),
        (
            "joining",
            acts()[5].1.clone(),
            Attributes::Joining(joining()),
        ),
        (
            "reason",
            remove(Target::Device(device), None, Vec::new(), None),
            Attributes::Reason(Reason {
                reason: note("lost laptop"),
            }),
        ),
    ];
    let offer = |what: Service, audience: Audience| Write::Offer {
        device,
        slot: 3,
        offer: Some(Offer {
            what,
            name: Some(label("web")),
            audience,
            until: Some(1_800_000_000_000),
        }),
    };
    let only = Audience::Only {
        users: vec![UserId([1; 32])],
        devices: vec![device],
        tags: vec![label("staff")],
    };
    let port = Service::Port {
        protocol: Protocol::Tcp,
        first: 80,
        last: 8080,
    };
    let writes = [
        (
            "write.host",
            Write::Host {
                device,
                host: label("tower"),
            },
        ),
        (
            "write.address",
            Write::Address {
                device,
                address: Ipv4Addr::new(10, 7, 0, 3),
            },
        ),
        (
            "write.wireguard",
            Write::WireGuard {
                device,
                key: WgKey([7; 32]),
            },
        ),
        (
            "write.name",
            Write::Name {
                user: UserId([1; 32]),
                name: label("bob"),
            },
        ),
        (
            "write.tag",
            Write::Tag {
                user: UserId([1; 32]),
                tag: label("staff"),
                set: true,
            },
        ),
        (
            "write.setting",
            Write::Setting {
                key: label("dns"),
                value: Some(note("off")),
            },
        ),
        (
            "write.setting.unset",
            Write::Setting {
                key: label("dns"),
                value: None,
            },
        ),
        (
            "write.servers",
            Write::Servers(vec![Server {
                key: [9; 32],
                address: note("mesh.example.org:443"),
            }]),
        ),
        (
            "write.approval",
            Write::Approval {
                device,
                slot: 3,
                offer: EventId([4; 32]),
                approved: true,
            },
        ),
        ("write.offer.port", offer(port, only)),
        (
            "write.offer.port.udp",
            offer(
                Service::Port {
                    protocol: Protocol::Udp,
                    first: 53,
                    last: 53,
                },
                Audience::Everyone,
            ),
        ),
        (
            "write.offer.route.v4",
            offer(
                Service::Route {
                    base: "192.168.1.0".parse().unwrap(),
                    prefix: 24,
                },
                Audience::Everyone,
            ),
        ),
        (
            "write.offer.route.v6",
            offer(
                Service::Route {
                    base: "fd00::".parse().unwrap(),
                    prefix: 8,
                },
                Audience::Everyone,
            ),
        ),
        (
            "write.offer.exit",
            offer(
                Service::Exit {
                    v4: true,
                    v6: false,
                },
                Audience::Everyone,
            ),
        ),
        (
            "write.offer.dns",
            offer(
                Service::Dns {
                    zone: vec![label("corp"), label("example")],
                },
                Audience::Everyone,
            ),
        ),
        (
            "write.offer.relay",
            offer(Service::Relay, Audience::Everyone),
        ),
        (
            "write.offer.withdrawn",
            Write::Offer {
                device,
                slot: 3,
                offer: None,
            },
        ),
        (
            "write.narrow",
            Write::Narrow {
                device,
                slot: 3,
                offer: narrow(device),
            },
        ),
    ];
    for (name, write) in writes {
        all.push((name, Act::Private, Attributes::Writes(vec![write])));
    }
    all
}

fn narrow(device: DeviceId) -> NarrowOffer {
    let offer = Offer {
        what: Service::Port {
            protocol: Protocol::Udp,
            first: 53,
            last: 53,
        },
        name: Some("wiki".parse().unwrap()),
        audience: Audience::Only {
            users: vec![UserId([1; 32])],
            devices: Vec::new(),
            tags: vec!["staff".parse().unwrap()],
        },
        until: None,
    };
    let key = EpochKey::from_bytes([0x17; 32]);
    let narrow = mesh_ledger::narrow::seal(&key, &network(), &device, 3, &offer).unwrap();
    let opened = mesh_ledger::narrow::open(&key, &network(), &device, 3, &narrow);
    assert_eq!(opened, Some(offer));
    narrow
}
