//! Members and admins.

use mesh_control::call::Call;
use mesh_control::fake::{Fake, examples};
use mesh_control::reply::{self, Reply};
use mesh_control::view::{Consequences, Rank, SettingView, Spread};
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
            invites_left: Vec::new(),
            consequences: Consequences::default(),
        })
    };
    let quiet = Reply::Previewed(reply::Previewed {
        network: "home".to_owned(),
        name: "mallory".to_owned(),
        signs: vec!["kicks mallory: key_stolen".to_owned()],
        invites_closed: vec!["0a7711ef".to_owned(), "66ab01dd".to_owned()],
        consequences: Consequences {
            members_gone: vec!["mallory".to_owned()],
            ..Consequences::default()
        },
    });
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
        .on("preview", Ok(quiet))
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
        matches!(&desk.fake.asked()[1], Call::Kick(kick) if kick.reason.as_deref() == Some("key_stolen"))
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
        consequences: Consequences::default(),
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

#[tokio::test]
async fn registers() {
    let signed = |name: &str| {
        Ok(Reply::Signed(reply::Signed {
            network: "home".to_owned(),
            name: name.to_owned(),
            event: examples::event("2e6f0b1c"),
            spread: examples::spread(),
            acts_voided: 0,
            consequences: Consequences::default(),
        }))
    };
    let tagged = |name: &str, tags: &[&str]| {
        let members = examples::members().into_iter();
        let mut members: Vec<_> = members.collect();
        for member in members.iter_mut().filter(|member| member.name == name) {
            member.tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        }
        members
    };
    let members = tagged("bob", &["ops", "staff"]);
    let bob = members[1].clone();
    let fake = Fake::default()
        .on("member_rename", signed("bob"))
        .on(
            "member_rename",
            Err(
                Error::new(Code::Conflict, "carol is the name of the member carol")
                    .hint("mesh member ls"),
            ),
        )
        .on("member_set_address", signed("bob"))
        .on(
            "member_set_address",
            Err(Error::new(
                Code::Conflict,
                "10.73.20.3 is the address of carol-2, a device of carol",
            )
            .hint("mesh member ls")),
        )
        .on("member_tag", signed("bob"))
        .on("member_tag", signed("bob"))
        .on(
            "member_tag",
            Err(Error::new(
                Code::NotPermitted,
                "only the owner and admins can do that, and you are neither",
            )
            .hint("mesh admin ls")),
        )
        .on(
            "members",
            Ok(Reply::Members(reply::Members {
                network: "home".to_owned(),
                members,
            })),
        )
        .on(
            "member",
            Ok(Reply::Member(reply::Member {
                network: "home".to_owned(),
                member: bob,
            })),
        );
    let mut desk = Desk::new(fake);
    desk.pipe("member rename bob robert").await;
    desk.pipe("member rename bob carol").await;
    desk.pipe("member set-ip bob 10.73.20.9 --json").await;
    desk.pipe("member set-ip bob 10.73.20.3").await;
    desk.pipe("member tag add bob ops staff").await;
    desk.pipe("member tag rm bob dev --wait=5s").await;
    desk.pipe("member tag add carol ops").await;
    desk.pipe("member ls").await;
    desk.pipe("member show bob").await;
    desk.compare("registers");
    assert!(
        matches!(&desk.fake.asked()[4], Call::MemberTag(tag) if tag.add == ["ops", "staff"] && tag.remove.is_empty())
    );
    assert!(
        matches!(&desk.fake.asked()[5], Call::MemberTag(tag) if tag.add.is_empty() && tag.remove == ["dev"])
    );
}

#[tokio::test]
async fn settings() {
    let setting = |value: &str| SettingView {
        key: "default-refuse".to_owned(),
        value: value.to_owned(),
        default: "reject".to_owned(),
        about:
            "what happens to packets that no offer allows: reject tells the sender, drop does not"
                .to_owned(),
    };
    let all = || {
        Ok(Reply::Settings(reply::Settings {
            network: "home".to_owned(),
            settings: vec![setting("reject")],
        }))
    };
    let written = |value: &str| {
        Ok(Reply::SettingWritten(reply::SettingWritten {
            network: "home".to_owned(),
            setting: setting(value),
            event: examples::event("77aa0c1d"),
            spread: examples::spread(),
        }))
    };
    let fake = Fake::default()
        .on("settings", all())
        .on("settings", all())
        .on("settings", all())
        .on("settings", all())
        .on("setting_write", written("drop"))
        .on(
            "setting_write",
            Err(Error::new(Code::Usage, "default-refuse takes reject or drop").hint("mesh get")),
        )
        .on("setting_write", written("reject"));
    let mut desk = Desk::new(fake);
    desk.pipe("get").await;
    desk.pipe("get --json").await;
    desk.pipe("get default-refuse").await;
    desk.pipe("get colour").await;
    desk.pipe("set default-refuse drop").await;
    desk.pipe("set default-refuse maybe").await;
    desk.pipe("unset default-refuse --json").await;
    desk.compare("settings");
}

#[tokio::test]
async fn id_rotate() {
    let rotated = |network: &str| {
        Ok(Reply::Rotated(reply::Rotated {
            network: network.to_owned(),
            wireguard: "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=".to_owned(),
            event: examples::event("19c4e0aa"),
            spread: examples::spread(),
        }))
    };
    let networks = |networks| Ok(Reply::Networks(reply::Networks { networks }));
    let mut office = examples::network();
    office.name = "office".to_owned();
    let fake = Fake::default()
        .on("networks", networks(vec![examples::network(), office]))
        .on("id_rotate", rotated("home"))
        .on("id_rotate", rotated("office"))
        .on("id_rotate", rotated("home"))
        .on("networks", networks(Vec::new()));
    let mut desk = Desk::new(fake);
    desk.pipe("id rotate").await;
    desk.pipe("id rotate -n home --json").await;
    desk.pipe("id rotate").await;
    desk.compare("id_rotate");
}
