//! Names.

use mesh_control::call::Call;
use mesh_control::fake::{Fake, examples};
use mesh_control::reply::{self, Reply};
use mesh_control::view::DnsView;
use mesh_control::{Code, Error};

use crate::desk::Desk;

#[tokio::test]
async fn dns() {
    let well = DnsView {
        network: "home".to_owned(),
        id: examples::id("c0ffee01"),
        up: true,
        domain: Some("home.mesh.internal".to_owned()),
        servers: vec!["10.73.20.1".to_owned(), "fd12:3456:789a::1".to_owned()],
        through: Some("systemd-resolved".to_owned()),
        search: vec!["mesh.internal".to_owned(), "home.mesh.internal".to_owned()],
        problem: None,
    };
    let taken = DnsView {
        servers: Vec::new(),
        through: None,
        search: Vec::new(),
        problem: Some(
            "port 53 of 10.73.20.1 is taken by another name server, so names of the network are not answered"
                .to_owned(),
        ),
        ..well.clone()
    };
    let down = DnsView {
        network: "work".to_owned(),
        up: false,
        domain: Some("work.mesh.internal".to_owned()),
        problem: None,
        ..taken.clone()
    };
    let statuses = |networks: &[&DnsView]| {
        let networks = networks.iter().map(|one| (*one).clone()).collect();
        Ok(Reply::DnsStatuses(reply::DnsStatuses { networks }))
    };
    let answer = |name: &str, addresses: &[&str]| {
        let addresses = addresses.iter().map(|one| (*one).to_owned()).collect();
        Ok(Reply::DnsAnswer(reply::DnsAnswer {
            name: name.to_owned(),
            addresses,
        }))
    };
    let bob = "bob.home.mesh.internal";
    let fake = Fake::default()
        .on("dns_status", statuses(&[&well, &down]))
        .on("dns_status", statuses(&[&taken]))
        .on("dns_status", statuses(&[&well]))
        .on("dns_status", statuses(&[]))
        .on(
            "dns_query",
            answer(bob, &["10.73.20.2", "fd12:3456:789a::2"]),
        )
        .on("dns_query", answer(bob, &["10.73.20.2"]))
        .on("dns_query", answer(bob, &["10.73.20.2"]))
        .on(
            "dns_query",
            Err(Error::new(
                Code::NotFound,
                "bbo is no name or address in home",
            )),
        )
        .on(
            "members",
            Ok(Reply::Members(reply::Members {
                network: "home".to_owned(),
                members: examples::members(),
            })),
        )
        .on(
            "networks",
            Ok(Reply::Networks(reply::Networks {
                networks: vec![examples::network()],
            })),
        );
    let mut desk = Desk::new(fake);
    desk.pipe("dns status").await;
    desk.tty(60, "dns status").await;
    desk.pipe("dns status --json -n home").await;
    desk.pipe("dns status").await;
    desk.pipe("dns query bob").await;
    desk.pipe("dns query 10.73.20.2").await;
    desk.pipe("dns query bob.home --json").await;
    desk.pipe("dns query bbo").await;
    desk.pipe("dns").await;
    desk.compare("dns");
    let asked: Vec<Option<String>> = desk
        .fake
        .asked()
        .into_iter()
        .filter_map(|call| match call {
            Call::DnsStatus(call) => Some(call.network),
            Call::DnsQuery(call) => Some(Some(call.name)),
            _ => None,
        })
        .collect();
    let asked: Vec<Option<&str>> = asked.iter().map(Option::as_deref).collect();
    assert_eq!(
        asked,
        [
            None,
            None,
            Some("home"),
            None,
            Some("bob"),
            Some("10.73.20.2"),
            Some("bob.home"),
            Some("bbo")
        ]
    );
}
