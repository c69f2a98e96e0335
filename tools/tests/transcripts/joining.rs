//! Making a network and getting into it: create, invite, join.

use mesh_control::call::Call;
use mesh_control::fake::{Fake, examples};
use mesh_control::reply::{self, CodeOutcome, Reply};
use mesh_control::view::{InviteState, Reach, ReachScope, Spread};
use mesh_control::{Code, Error, Secret};
use mesh_ledger::carry::Carry;

use crate::desk::{DAY, Desk, server, ticket};

#[tokio::test]
async fn create() {
    let created = reply::Created {
        network: examples::network(),
        recovery_words: Secret::new("wagon lunar orbit"),
    };
    let taken = Error::new(Code::Conflict, "a network home is here already").hint("mesh networks");
    let fake = Fake::default().on("create", Ok(Reply::Created(created.clone())));
    let fake = fake
        .on("create", Ok(Reply::Created(created.clone())))
        .on("create", Ok(Reply::Created(created.clone())))
        .on("create", Ok(Reply::Created(created)));
    let mut desk = Desk::new(fake.on("create", Err(taken)));
    desk.pipe("create home --as alice").await;
    desk.tty(100, "create home --as alice --subnet 10.73.20.0/24")
        .await;
    desk.pipe(&format!("create home --server {}", server()))
        .await;
    desk.pipe("create home --json").await;
    desk.pipe("create home").await;
    desk.pipe("create").await;
    desk.compare("create");
    let asked = desk.fake.asked().into_iter().filter_map(|call| match call {
        Call::Create(create) => Some(create.servers),
        _ => None,
    });
    let servers = asked.flatten().map(|server| server.reveal().to_owned());
    assert_eq!(servers.collect::<Vec<_>>(), [server()]);
}

#[tokio::test]
async fn join() {
    let joined = Reply::Joined(reply::Joined {
        network: examples::network(),
        admitted_by: "alice".to_owned(),
        admitted_by_short: "7f3a91c2".to_owned(),
        events: 41,
    });
    let used = Error::new(Code::Conflict, "ticket used 2 h ago by bob (7f3a91c2)")
        .hint("ask alice: mesh invite");
    let nobody = Error::new(Code::Unreachable, "no member answered within 60 s");
    let fake = Fake::default()
        .on("join", Ok(joined.clone()))
        .on("join", Ok(joined.clone()))
        .on("join", Ok(joined));
    let mut desk = Desk::new(fake.on("join", Err(used)).on("join", Err(nobody)));
    let good = ticket(DAY);
    desk.pipe(&format!("join {good} --as bob")).await;
    desk.input = format!("{good}\n");
    desk.tty(100, "join - --wait 5s").await;
    desk.pipe(&format!("join {good} --json")).await;
    desk.pipe(&format!("join {good}")).await;
    desk.pipe(&format!("join {good}")).await;
    desk.pipe(&format!("join {good} --wait soon")).await;
    desk.compare("join");
    let joins = desk.fake.asked().into_iter().filter_map(|call| match call {
        Call::Join(join) => Some(join.ticket.reveal().to_owned()),
        _ => None,
    });
    assert_eq!(joins.take(2).collect::<Vec<_>>(), [good.clone(), good]);
}

#[tokio::test]
async fn invite_by_a_code() {
    let shown = |code: &str| {
        Ok(Reply::InviteCode(reply::InviteCode {
            network: "home".to_owned(),
            code: Secret::new(code),
            expires_ms: examples::NOW_MS + 600_000,
            addresses: vec!["192.168.1.5:51820".to_owned()],
        }))
    };
    let ended = |outcome| {
        Ok(Reply::CodeEnded(reply::CodeEnded {
            network: "home".to_owned(),
            outcome,
        }))
    };
    let joined = |name: &str| {
        ended(CodeOutcome::Joined {
            name: name.to_owned(),
            device: examples::id("d000a5e2"),
            short: "d000a5e2".to_owned(),
        })
    };
    let burnt = |wrong| {
        ended(CodeOutcome::Burnt {
            wrong,
            stopped: wrong == 5,
        })
    };
    let fake = Fake::default()
        .on("invite", Ok(invited(examples::spread(), None)))
        .on("invite_code", shown("7-crossbow-orca-basil"))
        .on("invite_code", shown("7-crossbow-orca-basil"))
        .on("invite_code", shown("9-walnut-lunar-orbit"))
        .on("invite_code_wait", joined("bob"))
        .on("invite_code_wait", burnt(1))
        .on("invite_code_wait", joined("bob"))
        .on("invite_code_wait", burnt(5))
        .on("invite_code_wait", burnt(5))
        .on("invite_code_wait", joined("carol"))
        .on(
            "invite_code_wait",
            ended(CodeOutcome::Expired { taken: true }),
        );
    let mut desk = Desk::new(fake);
    desk.tty(100, "invite --code").await;
    desk.pipe("invite --code").await;
    desk.pipe("invite --code --json").await;
    desk.input = "yes\n".to_owned();
    desk.tty(100, "invite --code").await;
    desk.pipe("invite --code").await;
    desk.pipe("invite --code --no-wait").await;
    desk.pipe("invite --code --out file").await;
    desk.compare("invite_code");
    let asked = desk.fake.asked();
    let codes = asked.iter().filter_map(|call| match call {
        Call::InviteCode(call) => Some(call.go_on),
        _ => None,
    });
    let goes_on: Vec<bool> = codes.collect();
    // It was said once, after the fifth wrong word, at the terminal.
    assert_eq!(
        goes_on.iter().filter(|go_on| **go_on).count(),
        1,
        "{goes_on:?}"
    );
}

#[tokio::test]
async fn join_by_a_code() {
    let joined = Reply::Joined(reply::Joined {
        network: examples::network(),
        admitted_by: "alice".to_owned(),
        admitted_by_short: "7f3a91c2".to_owned(),
        events: 41,
    });
    let wrong = "a word of the code is wrong, and a wrong one burns it";
    let wrong = Error::new(Code::Conflict, wrong)
        .hint("on the other machine, for a new code: mesh invite --code");
    let nobody = "the device that shows the code was not reached: none on this LAN shows a code of that number";
    let nobody = Error::new(Code::Unreachable, nobody)
        .hint("with an address of the other machine: mesh join CODE@HOST:PORT");
    let fake = Fake::default()
        .on("join_code", Ok(joined.clone()))
        .on("join_code", Ok(joined))
        .on("join_code", Err(wrong))
        .on("join_code", Err(nobody));
    let mut desk = Desk::new(fake);
    desk.pipe("join 7-crossbow-orca-basil --as bob").await;
    desk.input = "7 crossbow orca basil\n".to_owned();
    desk.tty(100, "join - --as bob").await;
    desk.pipe("join 7-crossbow-orca-basil@192.168.1.5").await;
    desk.pipe("join 7-crossbow-orca-basil").await;
    desk.pipe("join 7-crossbow-orka-basil").await;
    desk.pipe("join 7-crossbow-orca-basil --request file").await;
    desk.pipe("invite inspect 7-crossbow-orca-basil").await;
    desk.compare("join_code");
    let codes = desk.fake.asked().into_iter().filter_map(|call| match call {
        Call::JoinCode(join) => Some(join.code.reveal().to_owned()),
        _ => None,
    });
    assert_eq!(
        codes.take(2).collect::<Vec<_>>(),
        ["7-crossbow-orca-basil", "7 crossbow orca basil"]
    );
}

#[tokio::test]
async fn what_is_malformed_is_refused_before_any_daemon_is_looked_for() {
    let mut desk = Desk::without_daemon();
    let mut mistyped = ticket(DAY);
    mistyped.replace_range(40..41, if &mistyped[40..41] == "A" { "B" } else { "A" });
    let mistyped = format!("join {mistyped} --as bob");
    let (out, err, exit) = desk.run(Some(200), &mistyped).await;
    assert_eq!((out.as_str(), exit), ("", 2));
    assert!(
        err.starts_with("error: the ticket has a typing error") && err.contains("join - --as bob"),
        "{err}"
    );
    desk.pipe("join MESH:1:4KQ7RZ --as bob").await;
    desk.pipe("join MESH:9:4KQ7RZ").await;
    desk.pipe("join not-a-ticket").await;
    desk.pipe(&format!("join {}", ticket(-7_200))).await;
    desk.pipe(&format!("join {} --as Bob", ticket(DAY))).await;
    desk.pipe("join -").await;
    desk.input = "Dear Bob, come over\n".to_owned();
    desk.pipe("join -").await;
    desk.input = "MESH:1:4KQ7RZ\n".to_owned();
    desk.pipe("join -").await;
    let file = desk.folder.path().join("ticket");
    std::fs::write(&file, &desk.input).unwrap();
    desk.pipe(&format!("join {}", file.display())).await;
    desk.pipe("create My_Home --as alice").await;
    desk.pipe("create localhost").await;
    desk.pipe("create home --as Alice").await;
    desk.pipe("create home --subnet 10.73.20.1/24").await;
    desk.pipe("create home --subnet 300.0.0.0/24 --json").await;
    desk.pipe("create home --server vpn.example.org:7443").await;
    desk.pipe(&format!("create home --server {}x", server()))
        .await;
    desk.pipe(&format!("create My_Home --server={}", server()))
        .await;
    desk.pipe(&format!("create home --server @{}", file.display()))
        .await;
    desk.pipe("create home --server @/nowhere/server").await;
    desk.pipe("create home --server -").await;
    desk.compare("malformed");
    let left: Vec<_> = std::fs::read_dir(desk.folder.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "nothing but the ticket's file: {left:?}");
}

fn invited(spread: Spread, server: Option<&str>) -> Reply {
    invited_by("MESH:1:4KQ7RZ", spread, server)
}

fn invited_by(ticket: &str, spread: Spread, server: Option<&str>) -> Reply {
    let reach = |address: &str, scope, confirmed| Reach {
        address: address.to_owned(),
        scope,
        confirmed,
    };
    Reply::Invited(reply::Invited {
        network: "home".to_owned(),
        ticket: Secret::new(ticket),
        invite: examples::invite(),
        spread,
        reach: vec![
            reach("192.168.1.5:51820", ReachScope::Lan, true),
            reach("203.0.113.9:51820", ReachScope::Public, false),
        ],
        servers: server.map(str::to_owned).into_iter().collect(),
        limits: if server.is_some() {
            Vec::new()
        } else {
            vec![
                "off this LAN it needs a reachable member, or UDP 51820 and 51821 forwarded"
                    .to_owned(),
            ]
        },
        contacts: Vec::new(),
    })
}

#[tokio::test]
async fn invite() {
    let alone = Spread {
        have: 0,
        of: 0,
        missing: Vec::new(),
        servers: 0,
    };
    let nobody = Spread {
        have: 0,
        of: 1,
        missing: vec!["bob".to_owned()],
        servers: 0,
    };
    let not_admin = Error::new(
        Code::NotPermitted,
        "only an admin can invite; you are a member",
    );
    let fake = Fake::default()
        .on("invite", Ok(invited(alone.clone(), None)))
        .on(
            "invite",
            Ok(invited(alone.clone(), Some("vpn.example.org:7443"))),
        )
        .on("invite", Ok(invited(examples::spread(), None)))
        .on("invite", Ok(invited_by(&ticket(DAY), alone, None)))
        .on("invite", Ok(invited(nobody, None)))
        .on("invite", Err(not_admin.hint("mesh admin ls")));
    let history = crate::carrying::History::new();
    let mut desk = Desk::new(fake.on("events", Ok(history.reply())));
    desk.pipe("invite").await;
    desk.tty(100, "invite").await;
    desk.pipe("invite --uses 3 --for 7d --note friends --json")
        .await;
    let file = desk.folder.path().join("ticket");
    desk.tty(100, &format!("invite --out {}", file.display()))
        .await;
    let carried = Carry::read(&std::fs::read(&file).unwrap()).unwrap();
    assert!(carried.is_whole());
    let carried = carried.carry;
    assert_eq!(carried.ticket.unwrap().text().as_str(), ticket(DAY));
    assert_eq!(carried.events.len(), history.events.len());
    desk.pipe(&format!("invite --out {}", file.display())).await;
    desk.pipe("invite --quiet --wait=1s").await;
    desk.pipe("invite").await;
    desk.pipe("invite --uses 0").await;
    desk.compare("invite");
}

#[tokio::test]
async fn invite_ls_and_revoke() {
    let mut used = examples::invite();
    used.event = examples::event("66ab01dd");
    (used.used, used.state) = (1, InviteState::Used);
    used.note = Some("for carol\u{1b}[2J".to_owned());
    used.to = Some(examples::id("eca40100"));
    let invites = reply::Invites {
        network: "home".to_owned(),
        invites: vec![examples::invite(), used],
    };
    let none = reply::Invites {
        network: "home".to_owned(),
        invites: Vec::new(),
    };
    let revoked = Reply::InviteRevoked(reply::InviteRevoked {
        network: "home".to_owned(),
        invite: examples::event("0a7711ef"),
        event: examples::event("5e90a7f1"),
        spread: examples::spread(),
    });
    let fake = Fake::default()
        .on("invite_list", Ok(Reply::Invites(invites.clone())))
        .on("invite_list", Ok(Reply::Invites(invites.clone())))
        .on("invite_list", Ok(Reply::Invites(invites)))
        .on("invite_list", Ok(Reply::Invites(none)))
        .on("invite_revoke", Ok(revoked))
        .on(
            "invite_revoke",
            Err(Error::new(Code::NotFound, "no invite ffff in home")),
        );
    let mut desk = Desk::new(fake);
    desk.pipe("invite ls").await;
    desk.tty(44, "invite ls").await;
    desk.pipe("invite ls --json").await;
    desk.pipe("invite ls -n home").await;
    desk.pipe("invite revoke 0a77").await;
    desk.pipe("invite revoke ffff").await;
    desk.pipe("invite --uses 2 ls").await;
    desk.compare("invite_ls_revoke");
}
