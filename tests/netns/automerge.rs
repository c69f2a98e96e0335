//! What `mesh log export --automerge` writes opens with another implementation of Automerge: its JavaScript package.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::world::{Mesh, SOON, log};

#[test]
fn automerges_javascript_package_lists_every_event_of_an_exported_network() {
    let mut mesh = Mesh::new("automerge", &["alice", "bob"]);
    let _ = mesh.nodes[1].mesh(&["share", "80/tcp"]).ok();
    mesh.agree(SOON);
    let alice = &mesh.nodes[0];
    let mut due: Vec<String> = log(alice).into_iter().map(|entry| entry.id).collect();
    due.sort();
    let program = checker();
    let export = |name: &str, alice: &mesh_tests::lab::Host| {
        let folder = alice.dir().join(name);
        let _ = alice
            .mesh(&["log", "export", "--automerge", folder.to_str().unwrap()])
            .ok();
        folder
    };
    let folder = export("by-the-daemon", alice);
    assert_eq!(listed(&program, &folder).unwrap(), due);

    // A document in which one byte of an event is another is no document, or no event of that name.
    let document = std::fs::read_dir(&folder)
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|end| end == "automerge"))
        .unwrap();
    let mut bytes = std::fs::read(&document).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&document, bytes).unwrap();
    let refused = listed(&program, &folder);
    assert!(refused.is_err(), "{refused:?}");

    mesh.nodes[0].stop();
    let folder = export("without-a-daemon", &mesh.nodes[0]);
    assert_eq!(listed(&program, &folder).unwrap(), due);
}

/// The ids that the script lists, sorted; what it says if it fails.
fn listed(program: &Path, folder: &Path) -> Result<Vec<String>, String> {
    let output = Command::new("node")
        .arg(program)
        .arg(folder)
        .output()
        .expect("this test needs node: `cargo verify` installs it");
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let text = String::from_utf8(output.stdout).unwrap();
    let mut ids: Vec<String> = text.lines().map(str::to_owned).collect();
    ids.sort();
    Ok(ids)
}

/// The script, with its packages installed beside it.
fn checker() -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("automerge");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("automerge");
    std::fs::create_dir_all(&folder).unwrap();
    for name in ["package.json", "package-lock.json", "list.mjs"] {
        std::fs::copy(source.join(name), folder.join(name)).unwrap();
    }
    // What the lock names, checked against its hashes; nothing of it is run to install it.
    let installed = Command::new("npm")
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .current_dir(&folder)
        .output()
        .expect("this test needs npm: `cargo verify` installs it");
    assert!(
        installed.status.success(),
        "npm ci: {}",
        String::from_utf8_lossy(&installed.stderr)
    );
    folder.join("list.mjs")
}
