//! Starts the daemon: as a service where systemd runs the machine, else by `meshd start`, which leaves it in the
//! background and returns once its socket answers.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use mesh_control::{Code, Error};
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::time::timeout;

/// How the daemon was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Started {
    /// As a service, now and at every boot.
    Service,
    /// In the background, until it is stopped or the machine is.
    Background,
}

impl fmt::Display for Started {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Service => "started meshd.service, now and at every boot",
            Self::Background => "started meshd in the background",
        })
    }
}

/// Starts the daemon of this machine, or the one below `root`, and waits until it answers.
pub(crate) async fn start(root: Option<&Path>) -> Result<Started, Error> {
    let started = how(root, Path::new("/"));
    let mut command = match started {
        Started::Service => {
            let mut command = Command::new("systemctl");
            command.args(["enable", "--now", "meshd.service"]);
            command
        }
        Started::Background => {
            let mut command = Command::new(program("meshd")?);
            command.arg("start");
            if let Some(root) = root {
                command.arg("--root").arg(root);
            }
            command
        }
    };
    run(&mut command).await.map_err(|error| match started {
        Started::Service => error.hint("journalctl -u meshd"),
        Started::Background => error,
    })?;
    Ok(started)
}

/// A service where `machine` is run by systemd and has the unit; never for a daemon with a root of its own.
fn how(root: Option<&Path>, machine: &Path) -> Started {
    let is_there = |path: &str| machine.join(path).exists();
    let unit = ["etc", "run", "usr/local/lib", "usr/lib", "lib"]
        .iter()
        .any(|folder| is_there(&format!("{folder}/systemd/system/meshd.service")));
    if root.is_none() && is_there("run/systemd/system") && unit {
        Started::Service
    } else {
        Started::Background
    }
}

/// The program of mesh's beside this `mesh`, or the one in PATH.
pub(crate) fn program(name: &str) -> Result<PathBuf, Error> {
    let beside = std::env::current_exe()
        .ok()
        .and_then(|exe| exe.parent().map(|folder| folder.join(name)));
    let path = std::env::var_os("PATH").unwrap_or_default();
    beside
        .into_iter()
        .chain(std::env::split_paths(&path).map(|folder| folder.join(name)))
        .find(|file| file.is_file())
        .ok_or_else(|| {
            Error::new(
                Code::Failed,
                format!("cannot start {name}: it is neither beside mesh nor in PATH"),
            )
        })
}

async fn run(command: &mut Command) -> Result<(), Error> {
    let name = command
        .as_std()
        .get_program()
        .to_string_lossy()
        .into_owned();
    let cannot =
        |error: std::io::Error| Error::new(Code::Failed, format!("cannot run {name}: {error}"));
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = command.spawn().map_err(cannot)?;
    let said = child
        .stderr
        .take()
        .map(|said| tokio::spawn(first_bytes(said)));
    let status = timeout(PATIENCE, child.wait())
        .await
        .map_err(|_| {
            Error::new(
                Code::Unreachable,
                format!("{name} did not start within {} s", PATIENCE.as_secs()),
            )
        })?
        .map_err(cannot)?;
    if status.success() {
        return Ok(());
    }
    // The background daemon may hold the pipe's other end open, so its end is not waited for without limit.
    let said = match said {
        Some(task) => timeout(LAST_WORDS, task)
            .await
            .ok()
            .and_then(Result::ok)
            .unwrap_or_default(),
        None => String::new(),
    };
    Err(reason(&said, status.code()))
}

async fn first_bytes(from: impl tokio::io::AsyncRead + Unpin) -> String {
    let mut bytes = Vec::new();
    let _ = from.take(16 * 1024).read_to_end(&mut bytes).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What a failed start says: `error: WHY` and perhaps `→ COMMAND`, as this tool prints errors; else its last line.
fn reason(said: &str, exit: Option<i32>) -> Error {
    let lines = || said.lines().map(str::trim).filter(|line| !line.is_empty());
    let why = lines()
        .filter_map(|line| line.strip_prefix("error:"))
        .next_back()
        .or_else(|| lines().next_back())
        .unwrap_or("it gave no reason")
        .trim();
    let code = Code::ALL
        .into_iter()
        .find(|code| exit == Some(i32::from(code.exit())))
        .unwrap_or(Code::Failed);
    // A daemon that says it does not run has failed to start.
    let code = if code == Code::NotRunning {
        Code::Failed
    } else {
        code
    };
    let error = Error::new(code, format!("cannot start meshd: {why}"));
    match lines()
        .filter_map(|line| line.strip_prefix('→'))
        .next_back()
    {
        Some(hint) => error.hint(hint.trim()),
        None => error,
    }
}

/// How long a start may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long the last words of a failed start may take to arrive.
const LAST_WORDS: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn systemd_starts_the_daemon_only_where_it_runs_the_machine_and_has_the_unit() {
        let machine = tempfile::tempdir().unwrap();
        let folder = |path: &str| std::fs::create_dir_all(machine.path().join(path)).unwrap();
        assert_eq!(how(None, machine.path()), Started::Background);
        folder("usr/lib/systemd/system");
        std::fs::write(
            machine.path().join("usr/lib/systemd/system/meshd.service"),
            "",
        )
        .unwrap();
        assert_eq!(
            how(None, machine.path()),
            Started::Background,
            "another init runs the machine"
        );
        folder("run/systemd/system");
        assert_eq!(how(None, machine.path()), Started::Service);
        assert_eq!(
            how(Some(Path::new("/tmp/a")), machine.path()),
            Started::Background
        );
    }

    #[test]
    fn a_failed_start_is_told_in_the_daemons_own_words() {
        let error = reason(
            "noise\nerror: /var/lib/mesh is open to others\n→ chmod 700 /var/lib/mesh\n",
            Some(4),
        );
        assert_eq!(error.code, Code::NotPermitted);
        assert_eq!(
            error.message,
            "cannot start meshd: /var/lib/mesh is open to others"
        );
        assert_eq!(error.hint.as_deref(), Some("chmod 700 /var/lib/mesh"));
        assert_eq!(reason("", None).code, Code::Failed);
    }
}
