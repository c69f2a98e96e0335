//! How peers are reached, and how they reach this machine.

use mesh_control::fake::{Fake, examples};
use mesh_control::reply::{self, Reply};
use mesh_control::view::{DnsView, EchoView, NatView, WayState, WayView};
use mesh_control::{Code, Error};

use crate::desk::Desk;

fn way(to: &str, kind: &str, state: WayState, rtt_us: Option<u64>) -> WayView {
    WayView {
        to: to.to_owned(),
        kind: kind.to_owned(),
        state,
        rtt_us,
        max_datagram: rtt_us.filter(|_| kind != "link").map(|_| 1452),
    }
}

#[tokio::test]
async fn path() {
    let straight = reply::PathTold {
        network: "home".to_owned(),
        name: "bob".to_owned(),
        address: "10.73.20.2".to_owned(),
        path: "direct, same LAN".to_owned(),
        why: "several of bob's addresses answer; this one is on this LAN".to_owned(),
        ways: vec![
            way("192.168.7.2:51821", "interface", WayState::InUse, Some(420)),
            way(
                "203.0.113.9:40112",
                "reflexive",
                WayState::Works,
                Some(12_300),
            ),
            way(
                "relay vpn.example.org",
                "link",
                WayState::Works,
                Some(23_000),
            ),
            way("10.0.0.7:51821", "interface", WayState::Silent, None),
            way("[2001:db8::7]:51821", "heard", WayState::Untried, None),
        ],
    };
    let relayed = reply::PathTold {
        path: "relay vpn.example.org".to_owned(),
        why: "none of bob's addresses answers, so packets go over the link".to_owned(),
        ways: vec![
            way(
                "relay vpn.example.org",
                "link",
                WayState::InUse,
                Some(23_000),
            ),
            way("203.0.113.9:40112", "reflexive", WayState::Silent, None),
        ],
        ..straight.clone()
    };
    let members = reply::Members {
        network: "home".to_owned(),
        members: examples::members(),
    };
    let fake = Fake::default()
        .on("path", Ok(Reply::PathTold(straight.clone())))
        .on("path", Ok(Reply::PathTold(straight.clone())))
        .on("path", Ok(Reply::PathTold(relayed)))
        .on("path", Ok(Reply::PathTold(straight)))
        .on(
            "path",
            Err(Error::new(Code::NotFound, "no member bbo in home")),
        )
        .on("members", Ok(Reply::Members(members)))
        .on(
            "path",
            Err(Error::new(Code::Unreachable, "home is down").hint("mesh up")),
        );
    let mut desk = Desk::new(fake);
    desk.pipe("path bob").await;
    desk.tty(50, "path bob").await;
    desk.pipe("path bob").await;
    desk.pipe("path bob --json").await;
    desk.pipe("path bbo").await;
    desk.pipe("path bob").await;
    desk.pipe("path").await;
    desk.compare("path");
}

#[tokio::test]
async fn netcheck() {
    let echo = |server: &str, rtt_us| EchoView {
        server: server.to_owned(),
        rtt_us,
    };
    let home = reply::NetChecked {
        ports: vec![51820, 51821],
        nat: NatView::Same,
        ipv6: false,
        mapped: Some("203.0.113.9:51821".to_owned()),
        candidates: vec![
            "203.0.113.9:40112".to_owned(),
            "192.168.7.2:51821".to_owned(),
        ],
        echoes: vec![
            echo("vpn.example.org:7443", Some(12_300)),
            echo("two.example.org:7443", None),
        ],
        closed_by: Vec::new(),
        clock_ahead_ms: Some(120),
    };
    let blocked = reply::NetChecked {
        nat: NatView::Unknown,
        candidates: vec!["192.168.7.2:51821".to_owned()],
        echoes: vec![echo("vpn.example.org:7443", None)],
        ..home.clone()
    };
    let alone = reply::NetChecked {
        ipv6: true,
        mapped: None,
        echoes: Vec::new(),
        ..blocked.clone()
    };
    let hard = reply::NetChecked {
        nat: NatView::Changing,
        ..home.clone()
    };
    let fake = [home.clone(), blocked, alone, hard, home]
        .into_iter()
        .fold(Fake::default(), |fake, told| {
            fake.on("netcheck", Ok(Reply::NetChecked(told)))
        });
    let mut desk = Desk::new(fake);
    for _ in 0..3 {
        desk.pipe("netcheck").await;
    }
    desk.tty(60, "netcheck").await;
    desk.pipe("netcheck --json").await;
    desk.compare("netcheck");
}

#[tokio::test]
async fn doctor() {
    let dns = |problem: Option<&str>| {
        Ok(Reply::DnsStatuses(reply::DnsStatuses {
            networks: vec![DnsView {
                network: "home".to_owned(),
                id: examples::id("c0ffee01"),
                up: true,
                domain: Some("home.mesh.internal".to_owned()),
                servers: vec!["10.73.20.1".to_owned()],
                through: Some("systemd-resolved".to_owned()),
                search: Vec::new(),
                problem: problem.map(str::to_owned),
            }],
        }))
    };
    let status = |status| {
        let networks = vec![status];
        Ok(Reply::Statuses(reply::Statuses { networks }))
    };
    let told = |name: &str, to: &str, kind: &str, longest| {
        let mut way = way(to, kind, WayState::InUse, Some(420));
        way.max_datagram = longest;
        Ok(Reply::PathTold(reply::PathTold {
            network: "home".to_owned(),
            name: name.to_owned(),
            address: "10.73.20.2".to_owned(),
            path: "direct".to_owned(),
            why: format!("none of {name}'s addresses answers, so packets go over the link"),
            ways: vec![way],
        }))
    };
    let well = reply::NetChecked {
        ports: vec![51820, 51821],
        nat: NatView::Same,
        mapped: None,
        ipv6: false,
        candidates: vec!["192.168.7.2:51821".to_owned()],
        echoes: vec![EchoView {
            server: "vpn.example.org:7443".to_owned(),
            rtt_us: Some(12_300),
        }],
        closed_by: Vec::new(),
        clock_ahead_ms: Some(-900),
    };
    let mut sick = well.clone();
    sick.nat = NatView::Changing;
    sick.echoes[0].rtt_us = None;
    sick.closed_by = vec!["inet filter input".to_owned()];
    sick.clock_ahead_ms = Some(-3_600_000);
    let mut down = examples::status();
    down.network.up = false;
    let fake = Fake::default()
        .on("status", status(examples::status()))
        .on("dns_status", dns(None))
        .on("netcheck", Ok(Reply::NetChecked(well)))
        .on(
            "path",
            told("bob", "192.168.7.2:51821", "interface", Some(1452)),
        )
        .on("path", told("carol", "relay vpn.example.org", "link", None))
        .on("status", status(examples::status()))
        .on(
            "dns_status",
            dns(Some(
                "port 53 of 10.73.20.1 is taken by another name server",
            )),
        )
        .on("netcheck", Ok(Reply::NetChecked(sick.clone())))
        .on(
            "path",
            told("bob", "203.0.113.9:51821", "reflexive", Some(1312)),
        )
        .on(
            "path",
            Err(Error::new(Code::NotFound, "no member carol in home")),
        )
        .on("status", status(down))
        .on("dns_status", dns(None))
        .on("netcheck", Ok(Reply::NetChecked(sick)));
    let mut desk = Desk::new(fake);
    desk.pipe("doctor").await;
    desk.pipe("doctor").await;
    desk.pipe("doctor --json").await;
    desk.compare("doctor");
}
