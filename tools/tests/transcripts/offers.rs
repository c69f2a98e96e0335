//! Offers.

use mesh_control::call::Call;
use mesh_control::fake::{Fake, examples};
use mesh_control::reply::{self, Reply};
use mesh_control::view::{Audience, Offered, PeerReach, Ports};
use mesh_control::{Code, Error};

use crate::desk::Desk;

#[tokio::test]
async fn share_unshare_and_offers() {
    let mut mine = examples::offer();
    (mine.mine, mine.for_me, mine.device) = (true, false, "alice".to_owned());
    mine.what = Offered::Ports("8080/tcp".parse().unwrap());
    mine.name = Some("web".to_owned());
    mine.to = Audience::Names(vec!["bob".to_owned(), "carol".to_owned()]);
    mine.until_ms = Some(examples::NOW_MS + 2 * 3_600_000);
    mine.since_ms = examples::NOW_MS;
    let mut away = examples::offer();
    (away.device, away.reach, away.name) = ("dave".to_owned(), PeerReach::Offline, None);
    away.what = Offered::Ports(Ports::icmp());
    let offers = reply::Offers {
        network: "home".to_owned(),
        offers: vec![mine.clone(), examples::offer(), away],
        forwarded: 0,
    };
    let shared = Reply::Shared(reply::Shared {
        network: "home".to_owned(),
        offer: mine.clone(),
        spread: examples::spread(),
    });
    let unshared = Reply::Unshared(reply::Unshared {
        network: "home".to_owned(),
        offer: mine,
        event: examples::event("b81c02d4"),
        spread: examples::spread(),
    });
    let none = reply::Offers {
        network: "home".to_owned(),
        offers: Vec::new(),
        forwarded: 0,
    };
    let members = reply::Members {
        network: "home".to_owned(),
        members: examples::members(),
    };
    let fake = Fake::default()
        .on("share", Ok(shared.clone()))
        .on("share", Ok(shared))
        .on(
            "share",
            Err(Error::new(Code::NotFound, "no member dvae in home")),
        )
        .on("unshare", Ok(unshared))
        .on(
            "unshare",
            Err(Error::new(
                Code::NotFound,
                "this device does not share 9/udp in home",
            )),
        )
        .on("offers", Ok(Reply::Offers(offers.clone())))
        .on("offers", Ok(Reply::Offers(offers.clone())))
        .on("offers", Ok(Reply::Offers(offers)))
        .on("offers", Ok(Reply::Offers(none)))
        .on("members", Ok(Reply::Members(members)))
        .on(
            "networks",
            Ok(Reply::Networks(reply::Networks {
                networks: vec![examples::network()],
            })),
        );
    let mut desk = Desk::new(fake);
    desk.tty(100, "share 8080/tcp --to bob,carol --for 2h --name web")
        .await;
    desk.pipe("share 8080/tcp --json").await;
    desk.pipe("share 22/tcp --to bob,dvae").await;
    desk.pipe("share 22").await;
    desk.pipe("unshare 8080/tcp").await;
    desk.pipe("unshare 9/udp").await;
    desk.pipe("offers").await;
    desk.tty(40, "offers").await;
    desk.pipe("offers --json").await;
    desk.tty(80, "offers").await;
    desk.compare("share");
    let shares = desk.fake.asked().into_iter().filter_map(|call| match call {
        Call::Share(share) => Some(share.to),
        _ => None,
    });
    let names =
        |names: &[&str]| Audience::Names(names.iter().map(|name| (*name).to_owned()).collect());
    assert_eq!(
        shares.collect::<Vec<_>>(),
        [
            names(&["bob", "carol"]),
            Audience::All,
            names(&["bob", "dvae"])
        ]
    );
}

#[tokio::test]
async fn relays_are_offered_withdrawn_and_listed() {
    let mut mine = examples::offer();
    (mine.mine, mine.for_me, mine.device) = (true, false, "alice".to_owned());
    (mine.what, mine.name) = (Offered::Relay, None);
    mine.since_ms = examples::NOW_MS;
    let mut erins = mine.clone();
    (erins.mine, erins.for_me, erins.device) = (false, true, "erin".to_owned());
    let shared = Reply::Shared(reply::Shared {
        network: "home".to_owned(),
        offer: mine.clone(),
        spread: examples::spread(),
    });
    let unshared = Reply::Unshared(reply::Unshared {
        network: "home".to_owned(),
        offer: mine.clone(),
        event: examples::event("b81c02d4"),
        spread: examples::spread(),
    });
    let offers = |offers| reply::Offers {
        network: "home".to_owned(),
        offers,
        forwarded: 3_400_000,
    };
    let none = Error::new(Code::NotFound, "this device does not offer a relay in home");
    let fake = Fake::default()
        .on("share", Ok(shared))
        .on("unshare", Ok(unshared))
        .on("unshare", Err(none))
        .on(
            "offers",
            Ok(Reply::Offers(offers(vec![mine, erins, examples::offer()]))),
        )
        .on("offers", Ok(Reply::Offers(offers(vec![examples::offer()]))));
    let mut desk = Desk::new(fake);
    desk.tty(100, "relay offer").await;
    desk.pipe("relay withdraw").await;
    desk.pipe("relay withdraw").await;
    desk.tty(100, "relay ls").await;
    desk.pipe("relay ls").await;
    desk.pipe("relay").await;
    desk.compare("relay");
}
