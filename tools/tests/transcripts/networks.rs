//! Networks of this machine: up, down, networks, leave, status.

use mesh_control::fake::{Fake, examples};
use mesh_control::reply::{self, Reply};
use mesh_control::view::Problem;
use mesh_control::{Code, Error};

use crate::desk::Desk;

#[tokio::test]
async fn up_down_and_networks() {
    let mut down = examples::network();
    (down.up, down.interface, down.online) = (false, None, 1);
    let mut work = examples::network();
    work.name = "work".to_owned();
    work.member = false;
    let networks = |networks| Reply::Networks(reply::Networks { networks });
    let unknown = || Error::new(Code::NotFound, "no network hom here");
    let fake = Fake::default()
        .on("up", Ok(networks(vec![examples::network(), work.clone()])))
        .on("up", Ok(networks(vec![])))
        .on("up", Err(unknown()))
        .on("down", Ok(networks(vec![down.clone()])))
        .on("down", Err(unknown()))
        .on("networks", Ok(networks(vec![examples::network()])))
        .on("networks", Ok(networks(vec![examples::network()])))
        .on("networks", Ok(networks(vec![down, work])))
        .on("networks", Ok(networks(vec![])));
    let mut desk = Desk::new(fake);
    desk.pipe("up").await;
    desk.tty(80, "up").await;
    desk.pipe("up hom").await;
    desk.pipe("down").await;
    desk.pipe("down -n hom").await;
    desk.pipe("networks").await;
    desk.tty(60, "networks").await;
    desk.pipe("networks --json").await;
    desk.compare("up_down_networks");
}

#[tokio::test]
async fn leave() {
    let left = Reply::Left(reply::Left {
        network: "home".to_owned(),
        event: examples::event("5e90a7f1"),
        spread: examples::spread(),
    });
    let owner = Error::new(Code::Conflict, "you own home, and others are in it");
    let mut desk = Desk::new(
        Fake::default()
            .on("leave", Ok(left))
            .on("leave", Err(owner)),
    );
    desk.pipe("leave home").await;
    desk.pipe("leave -n home").await;
    desk.pipe("leave").await;
    desk.compare("leave");
}

#[tokio::test]
async fn status() {
    let statuses = |networks| Reply::Statuses(reply::Statuses { networks });
    let well = examples::status();
    let mut sick = examples::status();
    sick.checks[1].ok = false;
    sick.problems = vec![Problem {
        text: "ufw drops what mesh accepts".to_owned(),
        hint: Some("mesh doctor".to_owned()),
    }];
    let mut down = examples::status();
    (down.network.up, down.peers) = (false, Vec::new());
    let mut removed = examples::status();
    (removed.network.up, removed.network.member) = (false, false);
    removed.network.host.clear();
    removed.problems = vec![Problem {
        text: "this device was removed from the network (event 5e90a7f1)".to_owned(),
        hint: None,
    }];
    let fake = Fake::default()
        .on("status", Ok(statuses(vec![well.clone()])))
        .on("status", Ok(statuses(vec![well.clone()])))
        .on("status", Ok(statuses(vec![well.clone()])))
        .on("status", Ok(statuses(vec![well.clone()])))
        .on("status", Ok(statuses(vec![well.clone()])))
        .on("status", Ok(statuses(vec![sick.clone(), down])))
        .on("status", Ok(statuses(vec![sick.clone()])))
        .on("status", Ok(statuses(vec![sick])))
        .on("status", Ok(statuses(vec![removed])))
        .on("status", Ok(statuses(vec![])));
    let mut desk = Desk::new(fake);
    desk.pipe("status").await;
    desk.tty(60, "status --ascii --color never").await;
    desk.tty(80, "status").await;
    desk.tty(30, "status").await;
    desk.pipe("status --check --json").await;
    desk.pipe("status").await;
    desk.tty(100, "status --color always").await;
    desk.pipe("status --check").await;
    desk.pipe("status").await;
    desk.tty(100, "status").await;
    desk.compare("status");
}
