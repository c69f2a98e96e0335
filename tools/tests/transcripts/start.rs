//! The real program, with a `meshd` of paper beside it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;
use std::sync::Arc;

use mesh_control::fake::{Fake, examples};
use mesh_control::reply::{self, Reply};
use tokio::process::Command;

/// A folder with the real `mesh` and a script for a `meshd`, and the root of a machine.
struct Machine(tempfile::TempDir);

impl Machine {
    fn new(meshd: &str) -> Self {
        let machine = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir_all(machine.path("run/mesh")).unwrap();
        std::fs::copy(env!("CARGO_BIN_EXE_mesh"), machine.path("mesh")).unwrap();
        std::fs::write(machine.path("meshd"), format!("#!/bin/sh\n{meshd}\n")).unwrap();
        let executable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(machine.path("meshd"), executable).unwrap();
        machine
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.0.path().join(path)
    }

    async fn mesh(&self, typed: &[&str]) -> Output {
        let root: &Path = self.0.path();
        let mut mesh = Command::new(self.path("mesh"));
        mesh.args(typed)
            .arg("--root")
            .arg(root)
            .env("NO_COLOR", "1")
            .output()
            .await
            .unwrap()
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn create_starts_the_daemon_beside_it_with_the_same_root_and_says_so() {
    // This meshd is up as soon as the socket of the fake has the name that mesh looks for.
    let machine = Machine::new(
        r#"test "$1 $2" = "start --root" && mv "$3/run/mesh/asleep" "$3/run/mesh/meshd.sock""#,
    );
    let created = reply::Created {
        network: examples::network(),
        recovery_words: mesh_control::Secret::new("wagon lunar"),
    };
    let fake = Arc::new(Fake::default().on("create", Ok(Reply::Created(created))));
    let _listening = fake.listen(&machine.path("run/mesh/asleep")).unwrap();
    let output = machine.mesh(&["create", "home"]).await;
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    if !nix::unistd::Uid::effective().is_root() {
        assert_eq!(output.status.code(), Some(4), "{err}");
        assert!(err.contains("→ sudo mesh create home --root"), "{err}");
        return;
    }
    assert_eq!(output.status.code(), Some(0), "{err}");
    assert!(
        out.starts_with(
            "created home 10.73.20.0/24; this is alice.home 10.73.20.1, owner; meshd started\n"
        ),
        "{out}"
    );
    assert_eq!(err, "starting meshd\nstarted meshd in the background\n");
}

#[tokio::test]
async fn a_daemon_that_cannot_start_is_told_with_its_reason_its_code_and_its_hint() {
    let machine = Machine::new(
        r#"echo "error: /var/lib/mesh cannot be written" >&2; echo "→ mount -o remount,rw /" >&2; exit 1"#,
    );
    let output = machine.mesh(&["up"]).await;
    let err = text(&output.stderr);
    if nix::unistd::Uid::effective().is_root() {
        assert_eq!(output.status.code(), Some(1));
        let told =
            "error: cannot start meshd: /var/lib/mesh cannot be written\n→ mount -o remount,rw /\n";
        assert!(err.ends_with(told), "{err}");
    } else {
        assert_eq!(output.status.code(), Some(4), "{err}");
    }
}
