//! `mesh` and `meshd` on a host.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::process::{Daemon, Output};
use super::{Host, eventually};

/// Where the built programs are: beside the folder of this test's own binary.
#[derive(Clone, Debug)]
pub struct Binaries {
    folder: PathBuf,
}

impl Binaries {
    /// The programs built with the same profile as this test.
    ///
    /// # Panics
    /// When they are not there. Cargo does not build the binaries of other crates for a test; `cargo verify` does so
    /// before it runs the tests.
    #[must_use]
    pub fn find() -> Self {
        let test = std::env::current_exe().unwrap();
        let folder = test.ancestors().nth(2).unwrap().to_owned();
        for name in ["mesh", "meshd", "mesh-server"] {
            let path = folder.join(name);
            assert!(
                path.exists(),
                "no {}; type: cargo build -p mesh -p meshd -p mesh-server",
                path.display()
            );
        }
        Self { folder }
    }

    /// The path of one program.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

impl Host {
    /// Runs `mesh --root DIR ARGS`.
    pub fn mesh(&self, args: &[&str]) -> Output {
        self.mesh_with(args, "")
    }

    /// Runs `mesh --root DIR ARGS` with `input` on its standard input.
    pub fn mesh_with(&self, args: &[&str], input: &str) -> Output {
        let all: Vec<OsString> = ["--root".into(), self.dir().into()]
            .into_iter()
            .chain(args.iter().map(OsString::from))
            .collect();
        self.run_with(Binaries::find().path("mesh"), &all, input, MESH_LIMIT)
    }

    /// Runs `mesh --root DIR --json ARGS`, which must succeed and print one JSON value.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn mesh_json(&self, args: &[&str]) -> Value {
        let args: Vec<_> = ["--json"].into_iter().chain(args.iter().copied()).collect();
        self.mesh(&args).ok().json()
    }

    /// Runs `mesh --root DIR --json ARGS`, which must succeed and print one JSON value a line.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn mesh_lines(&self, args: &[&str]) -> Vec<Value> {
        let args: Vec<_> = ["--json"].into_iter().chain(args.iter().copied()).collect();
        self.mesh(&args).ok().json_lines()
    }

    /// Starts `meshd run --root DIR` in the foreground, as a service manager would, and returns when it answers.
    ///
    /// # Panics
    /// When it ends, or does not answer in ten seconds.
    #[must_use]
    #[track_caller]
    pub fn meshd(&self) -> Daemon {
        let args: [OsString; 3] = ["run".into(), "--root".into(), self.dir().into()];
        let mut daemon = self.start("meshd-run", Binaries::find().path("meshd"), &args);
        eventually(
            START_LIMIT,
            &format!("meshd on {} answers", self.name()),
            || {
                if let Some(status) = daemon.ended() {
                    panic!(
                        "meshd on {} ended at once, {status}:\n{}",
                        self.name(),
                        daemon.log()
                    );
                }
                self.mesh(&["networks"]).code == Some(0)
            },
        );
        daemon
    }

    /// The process ids of every `meshd` of this host, however it was started, seen from outside.
    #[must_use]
    pub fn meshd_pids(&self) -> Vec<u32> {
        let (program, root) = (
            Binaries::find().path("meshd"),
            self.dir().to_string_lossy().into_owned(),
        );
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let ids =
            processes.filter_map(|entry| entry.file_name().to_string_lossy().parse::<u32>().ok());
        ids.filter(|id| {
            let is_meshd =
                std::fs::read_link(format!("/proc/{id}/exe")).is_ok_and(|exe| exe == program);
            let line = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
            is_meshd
                && line
                    .split(|byte| *byte == 0)
                    .any(|arg| arg == root.as_bytes())
        })
        .collect()
    }
}

const MESH_LIMIT: Duration = Duration::from_secs(60);
const START_LIMIT: Duration = Duration::from_secs(10);
