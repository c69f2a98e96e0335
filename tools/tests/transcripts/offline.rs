//! Reading and verifying the log where no daemon runs.

use std::path::{Path, PathBuf};

use mesh_control::fake::examples;
use mesh_ledger::event::act::{Admit, Policy, Remove, Target};
use mesh_ledger::event::attributes::{Audience, Joining, Offer, Protocol, Reason, Service, Write};
use mesh_ledger::event::{Act, Attributes};
use mesh_ledger::ids::WgKey;
use mesh_ledger::keys::{BoxSecret, DeviceSecret, EpochKey, UserSecret};
use mesh_ledger::network::{FoundingArgs, Ledger};
use mesh_ledger::recovery::RecoveryWords;
use mesh_ledger::store::sqlite::SqliteStore;

use crate::desk::Desk;

/// Five hours before the desk's clock.
const FOUNDED: u64 = examples::NOW_MS - 5 * HOUR;
const HOUR: u64 = 3_600_000;

/// Founds a network as a daemon would have left it; returns its folder.
fn found(root: &Path, name: &str, seed: u8) -> PathBuf {
    let networks = root.join("var/lib/mesh/networks");
    let aside = networks.join("new");
    std::fs::create_dir_all(&aside).unwrap();
    let store = SqliteStore::open(&aside.join("ledger.db")).unwrap();
    let args = FoundingArgs {
        name: name.parse().unwrap(),
        subnet: "10.73.20.0/24".parse().unwrap(),
        policy: Policy::default(),
        user: &UserSecret::from_seed(&[1; 32]),
        device: &DeviceSecret::from_seed(&[2; 32]),
        box_secret: BoxSecret::from_seed(&[3; 32]),
        host: "alice".parse().unwrap(),
        address: None,
        wireguard: WgKey([4; 32]),
        epoch: EpochKey::from_bytes([seed; 32]),
        recovery: RecoveryWords::from_entropy([6; 32]),
        nonce: [seed; 16],
        salt: [8; 16],
        now: FOUNDED,
    };
    let (ledger, _) = Ledger::found(store, args).unwrap();
    let folder = networks.join(ledger.network().to_string());
    drop(ledger);
    std::fs::rename(aside, &folder).unwrap();
    folder
}

/// Has the founder admit bob, share with him, and kick him, an hour each after the other; returns the ids of these events.
fn live(folder: &Path) -> [String; 3] {
    let store = SqliteStore::open(&folder.join("ledger.db")).unwrap();
    let mut ledger = Ledger::open(store, BoxSecret::from_seed(&[3; 32])).unwrap();
    let (alice, bob) = (
        DeviceSecret::from_seed(&[2; 32]),
        DeviceSecret::from_seed(&[12; 32]),
    );
    let user = UserSecret::from_seed(&[11; 32]);
    let joining = Joining {
        salt: [8; 16],
        host: "bob".parse().unwrap(),
        address: None,
        wireguard: WgKey([14; 32]),
    };
    let admit = Act::Admit(Admit {
        user: user.public(),
        device: bob.public(),
        box_key: BoxSecret::from_seed(&[13; 32]).public(),
        certificate: user.certify(&bob.public()),
        digest: joining.digest(),
        redemption: None,
        at: FOUNDED + HOUR,
    });
    let offer = Offer {
        what: Service::Port {
            protocol: Protocol::Tcp,
            first: 22,
            last: 22,
        },
        name: Some("ssh".parse().unwrap()),
        audience: Audience::Everyone,
        until: None,
    };
    let offer = Attributes::Writes(vec![Write::Offer {
        device: alice.public(),
        slot: 0,
        offer: Some(offer),
    }]);
    let kick = Act::Remove(Remove {
        target: Target::User(user.public()),
        cut: None,
        closes: Vec::new(),
        by_user: None,
    });
    let reason = Attributes::Reason(Reason {
        reason: "moved out".parse().unwrap(),
    });
    let acts = [
        (admit, Some(Attributes::Joining(joining))),
        (Act::Private, Some(offer)),
        (kick, Some(reason)),
    ];
    let mut hours = 0;
    acts.map(|(act, attributes)| {
        hours += 1;
        let time = FOUNDED + hours * HOUR;
        let event = ledger.author(&alice, act, attributes, time).unwrap();
        event.id().to_string()
    })
}

fn everything_below(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(everything_below(&path));
        } else {
            files.push((path.clone(), std::fs::read(path).unwrap()));
        }
    }
    files.sort();
    files
}

#[tokio::test]
async fn without_a_daemon_every_stored_network_is_verified_and_nothing_is_written() {
    let mut desk = Desk::without_daemon();
    let root = desk.folder.path().to_owned();
    let home = found(&root, "home", 5);
    let work = found(&root, "work", 7);
    std::fs::create_dir(root.join("var/lib/mesh/networks/new")).unwrap();
    let before = everything_below(&root);
    desk.pipe("log verify").await;
    desk.pipe("log verify -n home").await;
    let id = home.file_name().unwrap().to_str().unwrap();
    let (out, _, exit) = desk.run(None, &format!("log verify -n {}", &id[..6])).await;
    assert_eq!((out.as_str(), exit), ("home: 1 event verified ✓\n", 0));
    desk.pipe("log verify -n hoem").await;
    desk.pipe("log").await;
    assert_eq!(everything_below(&root), before);

    let store = rusqlite::Connection::open(home.join("ledger.db")).unwrap();
    let flip = "UPDATE event SET bytes = CAST(substr(bytes, 1, 99) || x'00' || substr(bytes, 101) AS BLOB)";
    store.execute(flip, []).unwrap();
    drop(store);
    std::fs::write(work.join("ledger.db"), [0x5a; 5000]).unwrap();
    let before = everything_below(&root);
    desk.pipe("log verify").await;
    desk.pipe("log verify --json").await;
    assert_eq!(everything_below(&root), before);
    desk.compare("offline");
}

#[tokio::test]
async fn without_a_daemon_the_history_is_read_from_the_stored_copy_and_nothing_is_written() {
    let mut desk = Desk::without_daemon();
    let root = desk.folder.path().to_owned();
    let [admit, offer, kick] = live(&found(&root, "home", 5));
    let before = everything_below(&root);
    for typed in [
        "log",
        "log --type kick",
        "log --type kik",
        "log --about bbo",
        "log --by bob",
        "log --since 3h --until 150m",
        &format!("log --at {}", &offer[..8]),
        &format!("log show {}", &kick[..8]),
        &format!("log diff {} {}", &admit[..8], &kick[..8]),
        "log diff 210m",
        &format!("member ls --at {}", &offer[..8]),
        "offers --at 150m",
        "status --at 2026-11-22T08:30",
        "status --at 2026-11-22T06:00",
        "member ls --at ffff",
        "member ls",
    ] {
        desk.pipe(typed).await;
    }
    assert_eq!(everything_below(&root), before);
    desk.compare("history_offline");
}

#[tokio::test]
async fn without_a_daemon_the_stored_copy_proves_who_is_what() {
    let mut desk = Desk::without_daemon();
    let root = desk.folder.path().to_owned();
    let home = found(&root, "home", 5);
    let [_, offer, _] = live(&home);
    let network = home.file_name().unwrap().to_str().unwrap().to_owned();
    let before = everything_below(&root.join("var"));
    let file = |name: &str| root.join(name).display().to_string();
    for typed in [
        &format!("prove admin alice --out {}", file("admin")),
        &format!("prove event {} --out {}", &offer[..8], file("event")),
        &format!("verify-proof {} --network {network}", file("admin")),
        &format!("verify-proof {} --network {network}", file("event")),
        // Kicked meanwhile; and a slip.
        &format!("prove member bob --out {}", file("none")),
        &format!("prove member alcie --out {}", file("none")),
    ] {
        desk.pipe(typed).await;
    }
    assert_eq!(everything_below(&root.join("var")), before);
    desk.compare("prove_offline");
}
