//! Networks in files: sync export and import, an invite, a request and an answer that are carried; Automerge; proofs.

use mesh_control::fake::{Fake, examples};
use mesh_control::reply::{self, Damage, Letter, Reply};
use mesh_control::view::EventRef;
use mesh_control::{Bytes, Code, Error};
use mesh_ledger::carry::{Carried, Carry, Kind, heads};
use mesh_ledger::event::act::{Invite, InviteKind, Policy};
use mesh_ledger::event::attributes::{Invitation, Write};
use mesh_ledger::event::{Act, Attributes, Event};
use mesh_ledger::ids::{DeviceId, InviteKey, NetworkId, WgKey};
use mesh_ledger::keys::{BoxSecret, DeviceSecret, EpochKey, UserSecret};
use mesh_ledger::network::{FoundingArgs, Ledger};
use mesh_ledger::recovery::RecoveryWords;
use mesh_ledger::store::memory::MemoryStore;
use mesh_ledger::ticket::Ticket;

use crate::desk::Desk;

/// A small network of one member, the same at each run.
pub(crate) struct History {
    pub(crate) network: NetworkId,
    pub(crate) ticket: Ticket,
    pub(crate) events: Vec<Event>,
    user: String,
}

impl History {
    pub(crate) fn new() -> Self {
        let user = UserSecret::from_seed(&[1; 32]);
        let device = DeviceSecret::from_seed(&[2; 32]);
        let now = examples::NOW_MS - 3_600_000;
        let args = FoundingArgs {
            name: "home".parse().unwrap(),
            subnet: "10.73.20.0/24".parse().unwrap(),
            policy: Policy::default(),
            user: &user,
            device: &device,
            box_secret: BoxSecret::from_seed(&[3; 32]),
            host: "alice".parse().unwrap(),
            address: None,
            wireguard: WgKey([4; 32]),
            epoch: EpochKey::from_bytes([5; 32]),
            recovery: RecoveryWords::from_entropy([6; 32]),
            nonce: [7; 16],
            salt: [8; 16],
            now,
        };
        let (mut ledger, _) = Ledger::found(MemoryStore::new(), args).unwrap();
        let network = ledger.network();
        let expires = examples::NOW_MS + 86_400_000;
        let ticket = Ticket::new(network, [9; 16], false, expires, &[]);
        let act = Act::Invite(Invite {
            key: ticket.invite_secret().public(),
            kind: InviteKind::Bearer,
            max_uses: 1,
            expires,
            countersign: false,
        });
        let invitation = Attributes::Invitation(Invitation {
            contact: *ticket.contact(),
            note: None,
            tags: Vec::new(),
        });
        let mut author = |act, attributes| {
            ledger.author(&device, act, attributes, now).unwrap();
        };
        author(act, Some(invitation));
        for host in ["anna", "alice"] {
            let write = Write::Host {
                device: device.public(),
                host: host.parse().unwrap(),
            };
            author(Act::Private, Some(Attributes::Writes(vec![write])));
        }
        Self {
            network,
            ticket,
            events: ledger.index().events().collect(),
            user: user.public().to_string(),
        }
    }

    fn bytes(&self) -> Vec<Vec<u8>> {
        let events = self.events.iter();
        events.map(|event| event.bytes().to_vec()).collect()
    }

    /// What the daemon answers who asks for them.
    pub(crate) fn reply(&self) -> Reply {
        Reply::Events(reply::Events {
            network: "home".to_owned(),
            id: self.network.to_string(),
            events: self.bytes().into_iter().map(Bytes).collect(),
            next: None,
        })
    }

    fn file(&self, kind: Kind) -> Carry {
        let letter = matches!(kind, Kind::Request | Kind::Answer).then(|| Carried {
            joiner: DeviceId([0xd1; 32]),
            invite: InviteKey([0x1e; 32]),
            body: vec![7; 99],
        });
        Carry {
            kind,
            ticket: (kind == Kind::Invite).then(|| self.ticket.clone()),
            letter,
            ..Carry::history(self.network, self.bytes(), heads(&self.events))
        }
    }
}

fn letter() -> Letter {
    Letter {
        joiner: "d1".repeat(32),
        invite: "1e".repeat(32),
        body: Bytes(vec![7; 99]),
    }
}

fn uploaded() -> Reply {
    Reply::Uploaded(reply::Uploaded {
        upload: 1,
        events: 4,
    })
}

fn imported(added: u64, known: u64) -> reply::Imported {
    reply::Imported {
        network: "home".to_owned(),
        added,
        known,
        waiting: 0,
        missing: Vec::new(),
        refused: Vec::new(),
    }
}

#[tokio::test]
async fn sync_export_and_import() {
    let history = History::new();
    let waiting = reply::Imported {
        waiting: 2,
        missing: vec![examples::event("5e90a7f1")],
        ..imported(1, 0)
    };
    let refused = reply::Imported {
        refused: vec![Damage {
            event: examples::event("0a7711ef"),
            problem: "the event's signature does not verify".to_owned(),
        }],
        ..imported(3, 0)
    };
    let elsewhere = Error::new(Code::NotFound, "this device is not in network c0ffee01");
    let import = |imported| Ok(Reply::Imported(imported));
    let fake = Fake::default()
        .on("events", Ok(history.reply()))
        .on("upload", Ok(uploaded()))
        .on("sync_import", import(imported(3, 1)))
        .on("sync_import", import(imported(0, 4)))
        .on("sync_import", import(imported(2, 1)))
        .on("sync_import", import(waiting))
        .on("sync_import", import(refused))
        .on("sync_import", import(imported(1, 3)))
        .on("sync_import", Err(elsewhere));
    let mut desk = Desk::new(fake);
    let file = |name: &str| desk.folder.path().join(name).display().to_string();
    let (whole, delta, bad, request) = (file("whole"), file("delta"), file("bad"), file("request"));
    desk.tty(100, &format!("sync export {whole}")).await;
    desk.pipe(&format!("sync export {whole}")).await;
    let last = history.events.last().unwrap().header().parents[0].short();
    desk.pipe(&format!("sync export {delta} --since {last} --json"))
        .await;
    desk.pipe(&format!("sync export {delta}x --since ffff"))
        .await;
    desk.tty(100, "sync export").await;
    desk.tty(100, &format!("sync import {whole}")).await;
    desk.pipe(&format!("sync import {whole} --json")).await;
    let mut bytes = std::fs::read(&whole).unwrap();
    let cut = bytes.len() - 700;
    bytes.truncate(cut);
    std::fs::write(&bad, bytes).unwrap();
    desk.pipe(&format!("sync import {bad}")).await;
    desk.pipe(&format!("sync import {delta}")).await;
    desk.pipe(&format!("sync import {whole}")).await;
    std::fs::write(&request, history.file(Kind::Request).write()).unwrap();
    desk.tty(100, &format!("sync import {request}")).await;
    desk.pipe(&format!("sync import {whole}")).await;
    std::fs::write(&bad, "mesh file 9\n").unwrap();
    desk.pipe(&format!("sync import {bad}")).await;
    std::fs::write(&bad, "Dear Bob\n").unwrap();
    desk.pipe(&format!("sync import {bad}")).await;
    desk.pipe(&format!("sync import {bad}x")).await;
    desk.compare("sync_export_import");
}

#[tokio::test]
async fn a_file_is_read_without_a_daemon() {
    let history = History::new();
    let mut desk = Desk::without_daemon();
    let whole = desk.folder.path().join("whole").display().to_string();
    let bad = desk.folder.path().join("bad").display().to_string();
    let written = history.file(Kind::History).write();
    std::fs::write(&whole, &written).unwrap();
    std::fs::write(&bad, &written[..written.len() - 700]).unwrap();
    desk.tty(100, &format!("log {whole}")).await;
    desk.tty(100, &format!("log {bad}")).await;
    desk.pipe(&format!("log {whole} --type invite --json"))
        .await;
    desk.pipe(&format!("log verify {whole}")).await;
    desk.pipe(&format!("log verify {bad}")).await;
    desk.pipe("log verify nowhere").await;
    desk.compare("log_file");
}

#[tokio::test]
async fn joining_by_files() {
    let history = History::new();
    let accepted = Reply::Accepted(reply::Accepted {
        network: "home".to_owned(),
        id: history.network.to_string(),
        name: "carol".to_owned(),
        event: examples::event("5e90a7f1"),
        spread: examples::spread(),
        letter: letter(),
    });
    let requested = Reply::Requested(reply::Requested {
        network: history.network.to_string(),
        letter: letter(),
    });
    let joined = Reply::Joined(reply::Joined {
        network: examples::network(),
        admitted_by: "alice".to_owned(),
        admitted_by_short: "7f3a91c2".to_owned(),
        events: 41,
    });
    let nobody = Error::new(
        Code::Unreachable,
        "no member of the network was reached: none is known to be online",
    );
    let used = Error::new(
        Code::Conflict,
        "the invite is used up: ask for a new ticket",
    );
    let fake = Fake::default()
        .on("events", Ok(history.reply()))
        .on("upload", Ok(uploaded()))
        .on("sync_import", Ok(Reply::Imported(imported(0, 4))))
        .on("join", Err(nobody.hint("join again")))
        .on("join", Ok(joined.clone()))
        .on("join_request", Ok(requested))
        .on("invite_accept", Ok(accepted))
        .on("invite_accept", Err(used.hint("mesh invite")))
        .on("join_answer", Ok(joined));
    let mut desk = Desk::new(fake);
    let file = |name: &str| desk.folder.path().join(name).display().to_string();
    let (invite, request, answer) = (file("invite"), file("request"), file("answer"));
    std::fs::write(&invite, history.file(Kind::Invite).write()).unwrap();
    desk.pipe(&format!("join {invite} --as carol")).await;
    desk.tty(100, &format!("join {invite} --as carol")).await;
    desk.tty(
        100,
        &format!("join {invite} --as carol --request {request}"),
    )
    .await;
    desk.pipe(&format!("join {request}")).await;
    desk.tty(100, &format!("invite accept {request} --out {answer}"))
        .await;
    desk.pipe(&format!("invite accept {request} --out {answer}"))
        .await;
    desk.pipe(&format!("invite accept {request} --out {answer}2"))
        .await;
    desk.pipe(&format!("invite accept {invite} --out {answer}2"))
        .await;
    desk.tty(100, &format!("join {answer}")).await;
    let whole = std::fs::read(&answer).unwrap();
    std::fs::write(&answer, &whole[..whole.len() - 700]).unwrap();
    desk.pipe(&format!("join {answer}")).await;
    std::fs::write(&answer, history.file(Kind::History).write()).unwrap();
    desk.pipe(&format!("join {answer}")).await;
    let ticket = crate::desk::ticket(crate::desk::DAY);
    desk.pipe(&format!("join {ticket} --request {request}2"))
        .await;
    desk.compare("joining_by_files");
}

#[tokio::test]
async fn automerge_documents() {
    let history = History::new();
    let mut desk = Desk::new(Fake::default().on("events", Ok(history.reply())));
    let folder = desk.folder.path().join("out").display().to_string();
    desk.pipe(&format!("log export --automerge {folder}")).await;
    desk.pipe(&format!("log export --automerge {folder}")).await;
    desk.pipe(&format!("log export --automerge {folder}2 --json"))
        .await;
    desk.pipe("log export").await;
    desk.compare("log_export");
    let document = format!("{folder}/segment-0000000.automerge");
    let document = std::fs::read(document).unwrap();
    let mut found = mesh_ledger::replica::events_in(&document).unwrap();
    let mut due = history.bytes();
    found.sort();
    due.sort();
    assert_eq!(found, due);
}

#[tokio::test]
async fn prove_and_verify_proof() {
    let history = History::new();
    let member = |user: String| {
        let member = mesh_control::view::MemberView {
            user,
            ..examples::members().remove(0)
        };
        Ok(Reply::Member(reply::Member {
            network: "home".to_owned(),
            member,
        }))
    };
    let fake = Fake::default()
        .on("events", Ok(history.reply()))
        .on("member", member(history.user.clone()))
        .on("member", member(history.user.clone()))
        .on("member", member("77".repeat(32)));
    let mut desk = Desk::new(fake);
    let file = |name: &str| desk.folder.path().join(name).display().to_string();
    let (proof, all, event) = (file("proof"), file("all"), file("event"));
    let network = history.network;
    desk.tty(120, &format!("prove admin alice --out {proof}"))
        .await;
    desk.pipe(&format!("prove admin alice --all --out {all}"))
        .await;
    desk.pipe(&format!("prove admin carol --out {proof}2"))
        .await;
    let id: EventRef = EventRef {
        id: history.events[1].id().to_string(),
        short: history.events[1].id().short(),
    };
    desk.pipe(&format!("prove event {} --out {event} --json", id.short))
        .await;
    desk.pipe("prove event ffff").await;
    desk.tty(120, &format!("prove event {}", id.short)).await;
    for name in [&proof, &all, &event] {
        desk.pipe(&format!("verify-proof {name} --network {network}"))
            .await;
    }
    desk.pipe(&format!("verify-proof {all} --network {network} --json"))
        .await;
    desk.pipe(&format!("verify-proof {all} --network {}", "7".repeat(64)))
        .await;
    desk.pipe(&format!("verify-proof {all}")).await;
    desk.pipe(&format!("verify-proof {all} --network home"))
        .await;
    let mut bytes = std::fs::read(&all).unwrap();
    bytes[200] ^= 1;
    std::fs::write(&all, bytes).unwrap();
    desk.pipe(&format!("verify-proof {all} --network {network}"))
        .await;
    std::fs::write(&all, "Dear Bob\n").unwrap();
    desk.pipe(&format!("verify-proof {all} --network {network}"))
        .await;
    desk.compare("prove");
}
