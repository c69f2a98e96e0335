//! One event whole, what changed, the network as it was, and why a port is reached.

use mesh_control::fake::{Fake, examples};
use mesh_control::history::{
    AsOf, ChangeView, Differences, LogShown, Office, Past, PastDevice, PastMember, PastOffer,
    Remedy, Rule, Said, Sealed, Sign, Step, Why, WhyOffer, WhyPath,
};
use mesh_control::reply::Reply;
use mesh_control::view::{Audience, LogEntry, PeerReach, Ports, Proto, Rank, Verdict};
use mesh_control::{Code, Error};

use crate::desk::Desk;

fn void_admission() -> LogEntry {
    let void = Verdict::Void {
        reason: "by mallory's device; mallory was removed in 5e90a7f1".to_owned(),
    };
    let text = "admits trent by invite 66ab01dd";
    LogEntry {
        parents: vec![examples::id("77d0e3aa")],
        about: Some("trent".to_owned()),
        ..examples::entry(7, "c04d11be", "mallory", "admit", text, void)
    }
}

fn as_of() -> AsOf {
    AsOf {
        event: Some(examples::event("77d0e3aa")),
        time_ms: examples::NOW_MS - 9 * 60_000,
        events: 31,
    }
}

#[tokio::test]
async fn log_show() {
    let entry = |short: &str, kind: &str, text: &str| {
        examples::entry(5, short, "alice", kind, text, Verdict::Counted)
    };
    let shown = LogShown {
        network: "home".to_owned(),
        entry: void_admission(),
        office: Some(Office {
            rank: Rank::Admin,
            from: examples::event("2e6f0b1c"),
            to: Some(examples::event("5e90a7f1")),
        }),
        signature: true,
        bytes: 743,
        sealed: Sealed::Open,
        epoch: Some(examples::id("9ab3c1d0")),
        checkpoint: None,
        have: vec!["alice".to_owned(), "bob".to_owned()],
        of: 4,
        because: vec![
            entry("5e90a7f1", "remove", "kicks mallory: key stolen"),
            entry("000f3e2a", "genesis", "creates home 10.73.20.0/24"),
        ],
    };
    let several = "2 events begin with c04d: give more digits";
    let fake = Fake::default()
        .on("log_show", Ok(Reply::LogShown(shown)))
        .on(
            "log_show",
            Err(Error::new(Code::Usage, several).hint("mesh log")),
        )
        .on(
            "log_show",
            Err(Error::new(Code::NotFound, "no event begins with 5e91").hint("mesh log")),
        );
    let mut desk = Desk::new(fake);
    desk.tty(100, "log show c04d11be").await;
    desk.pipe("log show c04d").await;
    desk.pipe("log show 5e91").await;
    desk.compare("log_show");
}

#[tokio::test]
async fn log_diff() {
    let change = |sign, kind: &str, name: &str, text: &str, event: Option<&str>| ChangeView {
        sign,
        kind: kind.to_owned(),
        name: name.to_owned(),
        text: text.to_owned(),
        event: event.map(examples::event),
    };
    let differences = Differences {
        network: "home".to_owned(),
        from: as_of(),
        to: None,
        changes: vec![
            change(
                Sign::Removed,
                "member",
                "mallory",
                "no member any more",
                Some("5e90a7f1"),
            ),
            change(
                Sign::Changed,
                "rank",
                "bob",
                "member → admin",
                Some("2e6f0b1c"),
            ),
            change(
                Sign::Added,
                "offer",
                "bob",
                "8080/tcp web to alice",
                Some("b81c02d4"),
            ),
        ],
    };
    let same = Differences {
        from: AsOf {
            event: None,
            ..as_of()
        },
        to: Some(as_of()),
        changes: Vec::new(),
        ..differences.clone()
    };
    let fake = Fake::default()
        .on("log_diff", Ok(Reply::Differences(differences.clone())))
        .on("log_diff", Ok(Reply::Differences(same)))
        .on("log_diff", Ok(Reply::Differences(differences)));
    let mut desk = Desk::new(fake);
    desk.pipe("log diff 77d0e3aa").await;
    desk.pipe("log diff 9m 77d0e3aa").await;
    desk.pipe("log diff 77d0e3aa --json").await;
    desk.pipe("log diff yesterday").await;
    desk.compare("log_diff");
}

#[tokio::test]
async fn the_past() {
    let member = |name: &str, key: &str, last: u8, rank, seniority| PastMember {
        user: examples::id(key),
        short: key.to_owned(),
        name: name.to_owned(),
        rank,
        seniority,
        admitted: examples::member(name, key, last, rank).admitted,
        tags: if name == "bob" {
            vec!["ops".to_owned()]
        } else {
            Vec::new()
        },
        devices: vec![PastDevice {
            device: examples::id(&key.replace('e', "d")),
            name: name.to_owned(),
            address: format!("10.73.20.{last}"),
            address6: format!("fd12:3456:789a::{last}"),
        }],
    };
    let past = Past {
        network: "home".to_owned(),
        id: examples::id("c0ffee01"),
        as_of: as_of(),
        subnet: "10.73.20.0/24".to_owned(),
        members: vec![
            member("alice", "e000f3e2", 1, Rank::Owner, Some(0)),
            member("bob", "e0b0b001", 2, Rank::Admin, Some(2)),
            member("mallory", "ea110400", 9, Rank::Admin, Some(1)),
            member("zoe", "e0e00001", 7, Rank::Member, None),
        ],
        offers: vec![PastOffer {
            event: examples::event("4d19e702"),
            device: "bob".to_owned(),
            what: "22/tcp".to_owned(),
            name: Some("ssh".to_owned()),
            to: Audience::All,
            until_ms: None,
        }],
        invites: vec![examples::invite()],
        servers: vec!["vpn.example.org:7443".to_owned()],
    };
    let by_time = Past {
        as_of: AsOf {
            event: None,
            ..as_of()
        },
        ..past.clone()
    };
    let fake = Fake::default()
        .on("past", Ok(Reply::Past(past.clone())))
        .on("past", Ok(Reply::Past(by_time)))
        .on("past", Ok(Reply::Past(past)));
    let mut desk = Desk::new(fake);
    desk.pipe("status --at 77d0e3aa").await;
    desk.pipe("status --at 9m").await;
    desk.tty(80, "member ls --at 77d0e3aa").await;
    desk.pipe("admin ls --at 77d0e3aa").await;
    desk.pipe("offers --at 77d0e3aa").await;
    desk.pipe("invite ls --at 77d0e3aa").await;
    desk.pipe("offers --at 77d0e3aa --json").await;
    desk.compare("past");
}

#[tokio::test]
async fn why() {
    let step = |name: &str, event: &str| Step {
        name: name.to_owned(),
        event: examples::event(event),
        removed: None,
    };
    let rule = |reason: Option<&str>, said| {
        Some(Rule {
            passes: reason.is_none(),
            reason: reason.map(str::to_owned),
            said,
        })
    };
    let offer = WhyOffer {
        what: "22/tcp".to_owned(),
        name: Some("ssh".to_owned()),
        to: Audience::All,
        by: "bob".to_owned(),
        event: examples::event("4d19e702"),
        until_ms: None,
    };
    let allowed = Why {
        network: "home".to_owned(),
        from: "alice".to_owned(),
        to: "bob".to_owned(),
        port: Ports::one(Proto::Tcp, 22).unwrap(),
        allowed: true,
        lacks: None,
        remedy: None,
        lineage: vec![step("alice", "000f3e2a"), step("bob", "7f3a91c2")],
        offer: Some(offer.clone()),
        out: rule(None, Said::Here),
        r#in: rule(None, Said::Peer),
        path: Some(WhyPath {
            reach: PeerReach::Direct,
            path: "direct, same LAN".to_owned(),
            rtt_us: Some(600),
            last_seen_ms: Some(examples::NOW_MS),
        }),
        offers: Vec::new(),
    };
    let refused = Why {
        to: "carol".to_owned(),
        port: Ports::one(Proto::Tcp, 5432).unwrap(),
        allowed: false,
        lacks: Some("no offer you can read covers it".to_owned()),
        remedy: Some(Remedy {
            ask: Some("carol".to_owned()),
            command: "mesh share 5432/tcp --to alice".to_owned(),
        }),
        offer: None,
        lineage: vec![
            step("alice", "000f3e2a"),
            Step {
                removed: Some(examples::event("5e90a7f1")),
                ..step("mallory", "2e6f0b1c")
            },
            step("carol", "7f3a91c2"),
        ],
        r#in: rule(Some("not-offered"), Said::NoAnswer),
        ..allowed.clone()
    };
    let kicked = Why {
        lacks: Some("mallory was removed in 5e90a7f1 by alice".to_owned()),
        to: "mallory".to_owned(),
        remedy: None,
        lineage: Vec::new(),
        out: None,
        r#in: None,
        path: None,
        ..refused.clone()
    };
    let offline = Why {
        port: Ports::icmp(),
        offer: None,
        offers: vec![offer],
        r#in: rule(None, Said::Offline),
        path: Some(WhyPath {
            reach: PeerReach::Offline,
            path: String::new(),
            rtt_us: None,
            last_seen_ms: Some(examples::NOW_MS - 3 * 3_600_000),
        }),
        ..allowed.clone()
    };
    let unknown = Error::new(Code::NotFound, "no member bbo in home");
    let fake = Fake::default()
        .on("why", Ok(Reply::Why(allowed)))
        .on("why", Ok(Reply::Why(refused.clone())))
        .on("why", Ok(Reply::Why(refused)))
        .on("why", Ok(Reply::Why(kicked)))
        .on("why", Ok(Reply::Why(offline)))
        .on("why", Err(unknown))
        .on(
            "members",
            Ok(Reply::Members(mesh_control::reply::Members {
                network: "home".to_owned(),
                members: examples::members(),
            })),
        )
        .on(
            "networks",
            Ok(Reply::Networks(mesh_control::reply::Networks {
                networks: vec![examples::network()],
            })),
        );
    let mut desk = Desk::new(fake);
    desk.pipe("why bob:22").await;
    desk.tty(80, "why carol:5432").await;
    desk.pipe("why carol:5432 --json").await;
    desk.pipe("why mallory:22 --from alice").await;
    desk.pipe("why bob").await;
    desk.pipe("why bbo:22").await;
    desk.pipe("why bob:x").await;
    desk.compare("why");
}
