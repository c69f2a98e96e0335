//! Undoing, handing over and taking over, each shown before it is signed.

use mesh_control::call::{Call, Moment, Proposed};
use mesh_control::fake::{Fake, examples};
use mesh_control::reply::{self, Reply};
use mesh_control::view::{Consequences, VoidAct};
use mesh_control::{Code, Error, Secret};

use crate::desk::{DAY, Desk, ticket};

/// A night of mallory's.
fn night() -> Consequences {
    let act = |short: &str, by: &str, text: &str| VoidAct {
        event: examples::event(short),
        by: by.to_owned(),
        text: text.to_owned(),
        reason: "by mallory, whose term ended in 5e90a7f1".to_owned(),
    };
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Consequences {
        acts_voided: 4,
        void: vec![
            act("c04d11be", "mallory", "admits trent"),
            act("c11f00d2", "mallory", "makes trent an admin"),
            act("d29a0c3e", "trent-2", "kicks carol"),
        ],
        acts_revived: 1,
        members_gone: names(&["trent"]),
        members_back: names(&["carol", "dave"]),
        office_gone: names(&["mallory"]),
        office_back: Vec::new(),
        invites_gone: names(&["66ab01dd"]),
        invites_back: names(&["0a7711ef"]),
        owner: None,
    }
}

fn previewed(signs: &str, consequences: Consequences) -> Reply {
    Reply::Previewed(reply::Previewed {
        network: "home".to_owned(),
        name: "mallory".to_owned(),
        signs: vec![signs.to_owned()],
        invites_closed: Vec::new(),
        consequences,
    })
}

#[tokio::test]
async fn revoke_since() {
    let signed = Reply::Signed(reply::Signed {
        network: "home".to_owned(),
        name: "mallory".to_owned(),
        event: examples::event("5e90a7f1"),
        spread: examples::spread(),
        acts_voided: 4,
        consequences: night(),
    });
    let says = "ends mallory's term as admin, granted in 2e6f0b1c";
    let fake = Fake::default()
        .on("preview", Ok(previewed(says, night())))
        .on("admin_revoke", Ok(signed))
        .on(
            "admin_revoke",
            Err(Error::new(
                Code::Usage,
                "7f3a91c2 is not mallory's event, and an undoing begins with one",
            )
            .hint("mesh log --by mallory")),
        );
    let mut desk = Desk::new(fake);
    desk.input = "yes\n".to_owned();
    desk.tty(100, "admin revoke mallory --since c04d11be").await;
    desk.pipe("admin revoke mallory --since 7f3a91c2").await;
    desk.input = "no\n".to_owned();
    desk.tty(100, "admin revoke mallory --since 8h").await;
    desk.pipe("admin revoke mallory --since c04d11be --dry-run")
        .await;
    desk.pipe("admin revoke mallory --since c04d11be --dry-run --json")
        .await;
    desk.pipe("admin revoke mallory --since yesterday").await;
    desk.pipe("admin revoke mallory --dry-run --yes").await;
    desk.compare("revoke_since");
    let asked = desk.fake.asked();
    let since = |call: &Call| match call {
        Call::AdminRevoke(revoke) => revoke.since.clone(),
        _ => None,
    };
    assert_eq!(
        asked.iter().filter_map(since).collect::<Vec<_>>(),
        [
            Moment::Event("c04d11be".to_owned()),
            Moment::Event("7f3a91c2".to_owned())
        ],
        "nothing was asked for after a no, nor in a dry run"
    );
}

#[tokio::test]
async fn kick_since() {
    let kicked = |closed: &[&str], left: &[&str]| {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Reply::Kicked(reply::Kicked {
            network: "home".to_owned(),
            name: "mallory".to_owned(),
            event: examples::event("5e90a7f1"),
            spread: examples::spread(),
            devices_removed: 2,
            acts_voided: 4,
            invites_closed: names(closed),
            invites_left: names(left),
            consequences: night(),
        })
    };
    let fake = Fake::default()
        .on("preview", Ok(previewed("kicks mallory", night())))
        .on("kick", Ok(kicked(&["66ab01dd"], &["77aa0011"])))
        .on("kick", Ok(kicked(&[], &[])));
    let mut desk = Desk::new(fake);
    desk.tty(100, "kick mallory --since c04d11be --yes").await;
    desk.pipe("kick mallory --since 2026-11-22 --keep-invites")
        .await;
    desk.pipe("kick mallory --dry-run").await;
    desk.pipe("kick mallory --since 7h --json").await;
    desk.compare("kick_since");
    let asked = desk.fake.asked();
    assert!(matches!(&asked[1], Call::Kick(kick) if kick.keep_invites));
    assert!(matches!(
        &asked[2],
        Call::Preview(preview) if matches!(&preview.act, Proposed::Kick(kick) if !kick.keep_invites)
    ));
}

#[tokio::test]
async fn grant_dry_run() {
    let consequences = Consequences {
        office_back: vec!["mallory".to_owned()],
        ..Consequences::default()
    };
    let fake = Fake::default().on(
        "preview",
        Ok(previewed("makes mallory an admin", consequences)),
    );
    let mut desk = Desk::new(fake);
    desk.pipe("admin grant mallory --dry-run").await;
    desk.compare("grant_dry_run");
}

const WORDS: &str = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon \
                     abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon \
                     abandon abandon abandon art";

fn new_words() -> Reply {
    Reply::NewWords(reply::NewWords {
        recovery_words: Secret::new("wagon lunar ... (24 words)"),
        recovery: "5e".repeat(32),
    })
}

fn changed(owner: &str, before: &str) -> reply::OwnerChanged {
    reply::OwnerChanged {
        network: "home".to_owned(),
        owner: owner.to_owned(),
        before: before.to_owned(),
        event: examples::event("9d04b2aa"),
        spread: examples::spread(),
        consequences: Consequences {
            owner: Some(owner.to_owned()),
            office_gone: vec![before.to_owned()],
            office_back: vec![owner.to_owned()],
            ..Consequences::default()
        },
    }
}

#[tokio::test]
async fn owner_transfer() {
    let handed = Consequences {
        owner: Some("bob".to_owned()),
        office_gone: vec!["alice".to_owned()],
        ..Consequences::default()
    };
    let fake = Fake::default()
        .on(
            "preview",
            Ok(Reply::Previewed(reply::Previewed {
                network: "home".to_owned(),
                name: "bob".to_owned(),
                signs: vec!["makes bob the owner, once bob accepts".to_owned()],
                invites_closed: Vec::new(),
                consequences: handed,
            })),
        )
        .on("owner_transfer", Ok(Reply::OwnerChanged(changed("bob", "alice"))))
        .on(
            "owner_transfer",
            Err(Error::new(
                Code::NotPermitted,
                "these are not the present recovery words of home; each new owner has new ones, and the old are worth nothing",
            )
            .hint("mesh log --type owner.set")),
        )
        .on(
            "owner_transfer",
            Err(Error::new(
                Code::Unreachable,
                "bob has not accepted in time; nothing is changed",
            )
            .hint("mesh owner transfer bob")),
        );
    let mut desk = Desk::new(fake);
    desk.input = format!("yes\n{WORDS}\n");
    desk.tty(100, "owner transfer bob").await;
    desk.input = format!("{WORDS}\n");
    desk.pipe("owner transfer bob -").await;
    desk.pipe("owner transfer bob - --for 1m").await;
    desk.pipe("owner transfer bob --dry-run").await;
    desk.pipe("owner transfer bob abandon").await;
    desk.input = "abandon ability\n".to_owned();
    desk.pipe("owner transfer bob -").await;
    desk.compare("owner_transfer");
    let asked = desk.fake.asked();
    let transfers: Vec<_> = asked
        .iter()
        .filter_map(|call| match call {
            Call::OwnerTransfer(transfer) => Some(transfer),
            _ => None,
        })
        .collect();
    assert_eq!(transfers.len(), 3, "wrong words are not sent");
    assert_eq!(transfers[0].words.reveal().trim(), WORDS);
    assert_eq!(transfers[2].offer_seconds, 60);
}

#[tokio::test]
async fn owner_accept() {
    let offered = |changed| {
        Reply::OwnerOffered(reply::OwnerOffered {
            network: "home".to_owned(),
            by: "alice".to_owned(),
            until_ms: examples::NOW_MS + 8 * 60_000,
            changed,
        })
    };
    let fake = Fake::default()
        .on("owner_accept", Ok(offered(None)))
        .on("owner_accept", Ok(offered(Some(changed("bob", "alice")))))
        .on("owner_accept", Ok(offered(None)))
        .on("owner_accept", Ok(offered(None)))
        .on("owner_accept", Ok(offered(Some(changed("bob", "alice")))))
        .on(
            "owner_accept",
            Err(Error::new(Code::NotFound, "nobody offers home to you")
                .hint("ask the owner: mesh owner transfer NAME")),
        )
        .on("recovery_words", Ok(new_words()));
    let mut desk = Desk::new(fake);
    desk.input = "yes\n".to_owned();
    desk.tty(100, "owner accept").await;
    desk.input = "no\n".to_owned();
    desk.tty(100, "owner accept").await;
    desk.pipe("owner accept --json").await;
    desk.pipe("owner accept").await;
    desk.compare("owner_accept");
    let asked = desk.fake.asked();
    let keys = asked.iter().filter_map(|call| match call {
        Call::OwnerAccept(accept) => accept.recovery.clone(),
        _ => None,
    });
    assert_eq!(
        keys.collect::<Vec<_>>(),
        ["5e".repeat(32), "5e".repeat(32)],
        "accepted with the key of the words that were shown, and not after a no"
    );
}

#[tokio::test]
async fn owner_recover() {
    let taken = Consequences {
        owner: Some("bob".to_owned()),
        office_gone: vec!["alice".to_owned()],
        office_back: vec!["bob".to_owned()],
        ..Consequences::default()
    };
    let fake = Fake::default()
        .on(
            "preview",
            Ok(Reply::Previewed(reply::Previewed {
                network: "home".to_owned(),
                name: "bob".to_owned(),
                signs: vec!["makes bob the owner instead of alice".to_owned()],
                invites_closed: Vec::new(),
                consequences: taken,
            })),
        )
        .on("recovery_words", Ok(new_words()))
        .on(
            "owner_recover",
            Ok(Reply::OwnerChanged(changed("bob", "alice"))),
        );
    let mut desk = Desk::new(fake);
    desk.input = format!("{WORDS}\nyes\n");
    desk.tty(100, "owner recover").await;
    desk.input = format!("{WORDS}\nno\n");
    desk.tty(100, "owner recover").await;
    desk.input = WORDS.replace(' ', "\n");
    desk.pipe("owner recover - --since c04d11be").await;
    desk.pipe("owner recover --dry-run").await;
    desk.input = WORDS.replace("art", "abandon");
    desk.pipe("owner recover -").await;
    desk.input = WORDS.replacen("abandon", "abanden", 1);
    desk.pipe("owner recover -").await;
    desk.compare("owner_recover");
    let asked = desk.fake.asked();
    let recovered: Vec<_> = asked
        .iter()
        .filter_map(|call| match call {
            Call::OwnerRecover(recover) => Some(recover),
            _ => None,
        })
        .collect();
    assert_eq!(recovered.len(), 2, "not after a no");
    assert!(recovered.iter().all(|r| r.recovery == "5e".repeat(32)));
    assert_eq!(
        recovered[1].since,
        Some(Moment::Event("c04d11be".to_owned()))
    );
}

#[tokio::test]
async fn invite_inspect() {
    let mut desk = Desk::without_daemon();
    let text = ticket(DAY);
    let file = desk.folder.path().join("ticket");
    std::fs::write(&file, format!("{text}\n")).unwrap();
    let file = file.to_str().unwrap().to_owned();
    desk.input = format!("Hi Bob,\n{text}\nBest, Alice\n");
    desk.pipe("invite inspect -").await;
    desk.pipe(&format!("invite inspect @{file}")).await;
    desk.pipe(&format!("invite inspect {file} --json")).await;
    desk.pipe(&format!("invite inspect {}", ticket(-DAY))).await;
    desk.pipe("invite inspect MESH:1:AAAA").await;
    desk.compare("invite_inspect");
}
