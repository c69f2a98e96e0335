//! Members and admins.

use mesh_control::call::Call;
use mesh_control::fake::{Fake, examples};
use mesh_control::reply::{self, Reply};
use mesh_control::view::{Rank, Spread};
use mesh_control::{Code, Error};

use crate::desk::Desk;

#[tokio::test]
async fn member() {
    let members = Reply::Members(reply::Members {
        network: "home".to_owned(),
        members: examples::members(),
    });
    let one = |name| {
        let member = examples::members()
            .into_iter()
            .find(|member| member.name == name)
            .unwrap();
        Reply::Member(reply::Member {
            network: "home".to_owned(),
            member,
        })
    };
    let fake = Fake::default()
        .on("members", Ok(members))
        .on(
            "networks",
            Ok(Reply::Networks(reply::Networks {
                networks: vec![examples::network()],
            })),
        )
        .on("member", Ok(one("bob")))
        .on("member", Ok(one("alice")))
        .on(
            "member",
            Err(Error::new(Code::NotFound, "no member bbo in home")),
        )
        .on(
            "member",
            Err(Error::new(Code::NotFound, "no member zoltan in home")),
        );
    let mut desk = Desk::new(fake);
    desk.pipe("member ls").await;
    desk.tty(50, "member ls").await;
    desk.pipe("member ls --json").await;
    desk.pipe("member show bob").await;
    desk.pipe("member show alice").await;
    desk.pipe("member show bbo").await;
    desk.pipe("member show zoltan").await;
    desk.compare("member");
}

#[tokio::test]
async fn kick() {
    let kicked = |spread| {
        Reply::Kicked(reply::Kicked {
            network: "home".to_owned(),
            name: "mallory".to_owned(),
            event: examples::event("5e90a7f1"),
            spread,
            devices_removed: 2,
            acts_voided: 1,
            invites_closed: vec!["0a7711ef".to_owned(), "66ab01dd".to_owned()],
        })
    };
    let nobody = Spread {
        have: 0,
        of: 2,
        missing: vec!["bob".to_owned(), "carol".to_owned()],
        servers: 0,
    };
    let members = reply::Members {
        network: "home".to_owned(),
        members: examples::members(),
    };
    let fake = Fake::default()
        .on("members", Ok(Reply::Members(members)))
        .on(
            "networks",
            Ok(Reply::Networks(reply::Networks {
                networks: vec![examples::network()],
            })),
        )
        .on("kick", Ok(kicked(examples::spread())))
        .on("kick", Ok(kicked(examples::spread())))
        .on("kick", Ok(kicked(nobody)))
        .on(
            "kick",
            Err(Error::new(Code::NotFound, "no member crol in home")),
        )
        .on(
            "kick",
            Err(Error::new(Code::NotPermitted, "alice outranks you")),
        );
    let mut desk = Desk::new(fake);
    desk.tty(100, "kick mallory --reason key_stolen").await;
    desk.pipe("member kick mallory --json").await;
    desk.pipe("kick mallory --wait=5s").await;
    desk.pipe("kick crol --reason spam").await;
    desk.pipe("kick alice").await;
    desk.compare("kick");
    assert!(
        matches!(&desk.fake.asked()[0], Call::Kick(kick) if kick.reason.as_deref() == Some("key_stolen"))
    );
}

#[tokio::test]
async fn admin() {
    let admins: Vec<_> = examples::members()
        .into_iter()
        .filter(|member| member.rank != Rank::Member)
        .collect();
    let signed = Reply::Signed(reply::Signed {
        network: "home".to_owned(),
        name: "bob".to_owned(),
        event: examples::event("2e6f0b1c"),
        spread: examples::spread(),
        acts_voided: 0,
    });
    let fake = Fake::default()
        .on(
            "admin_list",
            Ok(Reply::Members(reply::Members {
                network: "home".to_owned(),
                members: admins,
            })),
        )
        .on("admin_grant", Ok(signed.clone()))
        .on(
            "admin_grant",
            Err(Error::new(Code::Conflict, "bob is an admin already")),
        )
        .on("admin_revoke", Ok(signed));
    let mut desk = Desk::new(fake);
    desk.pipe("admin ls").await;
    desk.pipe("admin grant bob").await;
    desk.pipe("admin grant bob").await;
    desk.pipe("admin revoke bob --json").await;
    desk.compare("admin");
}
