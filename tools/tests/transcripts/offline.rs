//! Verifying the log where no daemon runs.

use std::path::{Path, PathBuf};

use mesh_ledger::event::act::Policy;
use mesh_ledger::ids::WgKey;
use mesh_ledger::keys::{BoxSecret, DeviceSecret, EpochKey, UserSecret};
use mesh_ledger::network::{FoundingArgs, Ledger};
use mesh_ledger::recovery::RecoveryWords;
use mesh_ledger::store::sqlite::SqliteStore;

use crate::desk::Desk;

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
        now: 1_795_348_800_000,
    };
    let (ledger, _) = Ledger::found(store, args).unwrap();
    let folder = networks.join(ledger.network().to_string());
    drop(ledger);
    std::fs::rename(aside, &folder).unwrap();
    folder
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
