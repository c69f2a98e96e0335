//! Further devices of a user, and the user key under a passphrase.

use mesh_control::call::{Call, DeviceRemove};
use mesh_control::fake::{Fake, examples};
use mesh_control::reply::{self, Reply};
use mesh_control::view::{NetworkView, OwnDevice, OwnDevices, Rank, UserKeyPlace};
use mesh_control::{Code, Error, Secret};

use crate::desk::Desk;

const CODE: &str = "7-crossbow-orca-basil";

#[tokio::test]
async fn device_link() {
    let shown = |key, networks: &[&str]| {
        Reply::DeviceCode(reply::DeviceCode {
            code: Secret::new(CODE),
            expires_ms: examples::NOW_MS + 600_000,
            addresses: vec!["192.168.1.5:51820".to_owned()],
            networks: networks.iter().map(ToString::to_string).collect(),
            key,
        })
    };
    let linked = Reply::DeviceLinked(reply::DeviceLinked {
        device: examples::id("d000a5e2"),
        short: "d000a5e2".to_owned(),
        names: vec!["laptop.home".to_owned()],
        key: true,
    });
    let burnt = Error::new(
        Code::Conflict,
        "somebody typed other words, which burnt the code",
    );
    let fake = Fake::default()
        .on("device_code", Ok(shown(true, &["home"])))
        .on("device_code", Ok(shown(true, &["home"])))
        .on("device_code", Ok(shown(true, &["home"])))
        .on("device_code", Ok(shown(false, &[])))
        .on("device_code_wait", Ok(linked.clone()))
        .on("device_code_wait", Ok(linked))
        .on("device_code_wait", Err(burnt.hint("mesh device link")));
    let mut desk = Desk::new(fake);
    desk.tty(100, "device link").await;
    desk.pipe("device link --json").await;
    desk.pipe("device link").await;
    desk.pipe("device link --no-wait --without-key").await;
    desk.pipe("device link --as laptop").await;
    desk.compare("device_link");
    let asked = desk.fake.asked();
    assert!(
        matches!(&asked[0], Call::DeviceCode(call) if !call.keep_key && call.for_seconds == 600)
    );
    let Some(Call::DeviceCode(last)) = asked.last() else {
        panic!("a code was asked for: {asked:?}")
    };
    assert!(last.keep_key);
}

#[tokio::test]
async fn device_link_with_a_code() {
    let laptop = NetworkView {
        host: "laptop".to_owned(),
        address: "10.73.20.5".to_owned(),
        ..examples::network()
    };
    let entered = |problems: &[&str], user_key| {
        Reply::DeviceEntered(reply::DeviceEntered {
            user: examples::id("e000f3e2"),
            by_short: "d000f3d2".to_owned(),
            user_key,
            networks: vec![laptop.clone()],
            problems: problems.iter().map(ToString::to_string).collect(),
        })
    };
    let removed = "network c0ffee02: this device was removed from it, and comes back by an admin's invite alone";
    let wrong = Error::new(
        Code::Conflict,
        "a word of the code is wrong, and a wrong one burns it",
    );
    let fake = Fake::default()
        .on("device_link", Ok(entered(&[], UserKeyPlace::Here)))
        .on("device_link", Ok(entered(&[], UserKeyPlace::Protected)))
        .on(
            "device_link",
            Ok(entered(&[removed], UserKeyPlace::Elsewhere)),
        )
        .on(
            "device_link",
            Err(wrong.hint("on the other machine, for a new code: mesh device link")),
        );
    let mut desk = Desk::new(fake);
    desk.tty(80, &format!("device link {CODE} --as laptop"))
        .await;
    desk.input = format!("{CODE}@192.168.1.5:51820\n");
    desk.pipe("device link - --json").await;
    desk.pipe(&format!("device link {CODE}")).await;
    desk.pipe(&format!("device link {CODE}")).await;
    desk.pipe("device link 7-crossbow-orka-basil").await;
    desk.pipe("device link crossbow").await;
    desk.compare("device_link_code");
    let Some(Call::DeviceLink(call)) = desk.fake.asked().into_iter().nth(1) else {
        panic!("a link call")
    };
    assert_eq!(call.code.reveal(), format!("{CODE}@192.168.1.5:51820"));
}

#[tokio::test]
async fn device_ls_and_remove() {
    let devices = || {
        let mut alice = examples::member("alice", "e000f3e2", 1, Rank::Owner);
        let mut laptop = examples::member("laptop", "e000a5e2", 5, Rank::Owner);
        let first = alice.devices.remove(0);
        let second = laptop.devices.remove(0);
        let own = |device, me, first| OwnDevice { device, me, first };
        let home = OwnDevices {
            network: "home".to_owned(),
            id: examples::id("c0ffee01"),
            user: "alice".to_owned(),
            devices: vec![
                own(first.clone(), false, true),
                own(second.clone(), true, false),
            ],
        };
        let work = OwnDevices {
            network: "work".to_owned(),
            id: examples::id("c0ffee02"),
            ..home.clone()
        };
        Reply::Devices(reply::Devices {
            user: examples::id("e000f3e2"),
            networks: vec![home, work],
        })
    };
    let removed = |network: &str, acts_voided, own, closed: &[&str]| {
        Reply::DeviceRemoved(reply::DeviceRemoved {
            network: network.to_owned(),
            name: "alice".to_owned(),
            user: "alice".to_owned(),
            own,
            event: examples::event("5e90a7f1"),
            spread: examples::spread(),
            acts_voided,
            invites_closed: closed.iter().map(ToString::to_string).collect(),
        })
    };
    let needs = Error::passphrase("this takes the user key, which is under a passphrase")
        .hint("the same command at a terminal, or with --passphrase -");
    let wrong = Error::new(Code::NotPermitted, "the passphrase is wrong");
    let fake = Fake::default()
        .on("device_list", Ok(devices()))
        .on("device_remove", Err(needs.clone()))
        .on("device_remove", Ok(removed("home", 2, true, &["0a7711ef"])))
        .on("device_remove", Ok(removed("work", 0, true, &[])))
        .on("device_remove", Err(needs.clone()))
        .on("device_remove", Err(needs.clone()))
        .on("device_remove", Err(wrong))
        .on("device_remove", Ok(removed("home", 0, false, &[])));
    let mut desk = Desk::new(fake);
    desk.pipe("device ls").await;
    desk.tty(60, "device ls").await;
    desk.tty(100, "device remove alice --reason stolen").await;
    desk.pipe("device remove alice -n home").await;
    desk.input = "battery staple\n".to_owned();
    desk.pipe("device remove alice -n home --passphrase -")
        .await;
    desk.pipe("device remove alice -n home --json").await;
    desk.pipe("device remove alice --since 4d19e702").await;
    desk.pipe("device remove alice -n home --passphrase hunter2")
        .await;
    desk.compare("device_ls_remove");
    let asked = desk.fake.asked();
    let in_work = DeviceRemove {
        network: Some(examples::id("c0ffee02")),
        name: examples::id("d000f3d2"),
        since: None,
        reason: Some("stolen".to_owned()),
        wait_ms: None,
    };
    let Call::WithKey(with) = &asked[5] else {
        panic!("asked once, used for both networks: {asked:?}")
    };
    assert_eq!(with.passphrase.reveal(), "correct horse");
    assert_eq!(with.call, Call::DeviceRemove(in_work));
    assert!(!format!("{asked:?}").contains("battery"));
}

#[tokio::test]
async fn id_protect() {
    let identity = |user_key| {
        Reply::Identity(reply::Identity {
            user: examples::id("e000f3e2"),
            device: examples::id("d000f3d2"),
            user_key,
            networks: Vec::new(),
        })
    };
    let needs = Error::passphrase("this takes the user key, which is under a passphrase");
    let short = Error::new(Code::Usage, "a passphrase has at least 8 characters");
    let fake = Fake::default()
        .on("id_show", Ok(identity(UserKeyPlace::Here)))
        .on("id_show", Ok(identity(UserKeyPlace::Here)))
        .on("id_show", Ok(identity(UserKeyPlace::Here)))
        .on("id_show", Ok(identity(UserKeyPlace::Protected)))
        .on("id_protect", Ok(identity(UserKeyPlace::Protected)))
        .on("id_protect", Err(short))
        .on("id_protect", Ok(identity(UserKeyPlace::Protected)))
        .on("id_protect", Ok(identity(UserKeyPlace::Here)))
        .on("id_protect", Err(needs));
    let mut desk = Desk::new(fake);
    desk.tty(80, "id protect").await;
    desk.input = "short\n".to_owned();
    desk.pipe("id protect -").await;
    desk.pipe("id protect").await;
    desk.input = "correct horse\nbattery staple\n".to_owned();
    desk.pipe("id protect - --passphrase -").await;
    desk.tty(80, "id protect --off --json").await;
    desk.input = String::new();
    desk.pipe("id protect --off").await;
    desk.pipe("id protect battery").await;
    desk.compare("id_protect");
    let changed = desk.fake.asked().into_iter().find_map(|call| match call {
        Call::WithKey(with) => Some(with),
        _ => None,
    });
    let changed = changed.unwrap();
    assert_eq!(changed.passphrase.reveal(), "correct horse");
    assert!(matches!(&changed.call, Call::IdProtect(call)
        if call.passphrase.as_ref().unwrap().reveal() == "battery staple"));
}

#[tokio::test]
async fn id_export_and_import() {
    let identity = |user_key| {
        Reply::Identity(reply::Identity {
            user: examples::id("e000f3e2"),
            device: examples::id("d000f3d2"),
            user_key,
            networks: Vec::new(),
        })
    };
    let exported = Reply::IdExported(reply::IdExported {
        user: examples::id("e000f3e2"),
        key: Secret::new("MESH-USER-KEY:bWVzaCB1c2VyIGtleSAx"),
    });
    let other = Error::new(
        Code::Conflict,
        "this machine is another user's device in home",
    );
    let fake = Fake::default()
        .on("id_show", Ok(identity(UserKeyPlace::Here)))
        .on("id_export", Ok(exported))
        .on("id_import", Ok(identity(UserKeyPlace::Protected)))
        .on("id_import", Err(other.hint("sudo mesh leave home")));
    let mut desk = Desk::new(fake);
    let file = desk.folder.path().join("key").display().to_string();
    desk.tty(80, "id export").await;
    desk.input = "battery staple\n".to_owned();
    desk.pipe(&format!("id export - --out {file}")).await;
    desk.pipe(&format!("id export - --out {file}")).await;
    desk.pipe(&format!("id import {file} --passphrase -")).await;
    desk.pipe(&format!("id import {file}")).await;
    desk.pipe("id import /nowhere/key --passphrase -").await;
    desk.input = "MESH-USER-KEY:bWVzaCB1c2VyIGtleSAx\nbattery staple\n".to_owned();
    desk.pipe("id import - --passphrase -").await;
    desk.compare("id_export_import");
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
