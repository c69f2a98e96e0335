//! Running in the background where no service manager does: `meshd start` leaves a supervisor behind, which starts the
//! daemon, and starts it again when it dies.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;

/// The daemon prints this line on its standard output once its socket answers.
pub(crate) const READY: &str = "ready";

/// The exit code of a daemon that is well when it starts anew, as `EX_TEMPFAIL` of sysexits.h. Its service manager starts it.
pub(crate) const AGAIN: u8 = 75;
/// The exit code of a Rust program whose main thread panicked.
const PANICKED: i32 = 101;
const START_WITHIN: Duration = Duration::from_secs(30);
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A daemon that ran so long was well: the next pause is short again.
const WELL: Duration = Duration::from_secs(60);

/// The daemon did not come up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// It ended, or said nothing in time. What it said last is in the log.
    #[error("meshd did not start{}\n→ cat {}", last_line(.log), .log.display())]
    NotReady {
        /// Where it logs.
        log: PathBuf,
    },
    /// A process could not be made.
    #[error("cannot start meshd: {0}")]
    Io(#[from] std::io::Error),
}

fn last_line(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.lines()
        .rev()
        .find(|line| !line.trim().is_empty())
        .map(|line| format!(": {line}"))
        .unwrap_or_default()
}

/// Starts a supervisor with a daemon in the background, and waits until the daemon's socket answers.
pub(crate) fn start(root: Option<&Path>, log: &Path) -> Result<(), StartError> {
    let log_file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(log)?;
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg("supervise")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log_file)
        .process_group(0);
    if let Some(root) = root {
        command.arg("--root").arg(root);
    }
    // Away from the terminal: the supervisor makes itself a session leader.
    let mut child = command.current_dir("/").spawn()?;
    let stdout = child.stdout.take();
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = stdout.map(|out| BufReader::new(out).read_line(&mut line));
        let _ = tell.send(matches!(read, Some(Ok(_))) && line.trim_end() == READY);
    });
    match told.recv_timeout(START_WITHIN) {
        Ok(true) => Ok(()),
        _ => {
            stop(&child);
            Err(StartError::NotReady {
                log: log.to_owned(),
            })
        }
    }
}

fn stop(child: &Child) {
    if let Ok(pid) = i32::try_from(child.id()) {
        // It may be gone already, which is as well.
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
    }
}

/// Runs the daemon until it ends of itself or this process is told to stop; starts it again when it crashed.
pub(crate) fn supervise(root: Option<&Path>) -> Result<(), std::io::Error> {
    // Fails only if this already leads a session.
    let _ = nix::unistd::setsid();
    let mut signals = SigSet::empty();
    for signal in [
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGHUP,
        Signal::SIGCHLD,
    ] {
        signals.add(signal);
    }
    // The daemon inherits this, and clears it first of all.
    signals.thread_block()?;
    let mut pause = FIRST_PAUSE;
    loop {
        let began = Instant::now();
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("run").stdin(Stdio::null());
        if let Some(root) = root {
            command.arg("--root").arg(root);
        }
        let mut child = command.spawn()?;
        let (status, told) = wait(&mut child, &signals)?;
        // It ended of itself, was told to, or cannot run here at all.
        if told || !starts_again(status) {
            return Ok(());
        }
        // A log that cannot be written is no reason to leave the daemon dead.
        let _ = writeln!(
            std::io::stderr(),
            "meshd ended, {status}; starting it again in {} ms",
            pause.as_millis()
        );
        if began.elapsed() > WELL {
            pause = FIRST_PAUSE;
        }
        if wait_for_stop(&signals, pause)? {
            return Ok(());
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Whether a daemon that ended so may be well when it is started again.
fn starts_again(status: ExitStatus) -> bool {
    match status.code() {
        Some(code) => code == PANICKED || code == i32::from(AGAIN),
        None => true,
    }
}

/// Waits for the child; passes a request to stop on to it. Whether there was one.
fn wait(child: &mut Child, signals: &SigSet) -> Result<(ExitStatus, bool), std::io::Error> {
    let mut told = false;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok((status, told));
        }
        if signals.wait()? != Signal::SIGCHLD {
            told = true;
            stop(child);
        }
    }
}

/// Waits so long, or until told to stop.
fn wait_for_stop(signals: &SigSet, pause: Duration) -> Result<bool, std::io::Error> {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use nix::sys::signalfd::SignalFd;
    use std::os::fd::AsFd;
    let mut stops = *signals;
    stops.remove(Signal::SIGCHLD);
    let fd = SignalFd::new(&stops)?;
    let timeout = PollTimeout::try_from(pause).unwrap_or(PollTimeout::MAX);
    Ok(poll(&mut [PollFd::new(fd.as_fd(), PollFlags::POLLIN)], timeout)? > 0)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn a_daemon_that_fell_is_started_again_and_one_that_ended_or_cannot_run_is_not() {
        let exits = |code: i32| starts_again(ExitStatus::from_raw(code << 8));
        for (code, again) in [
            (0, false),
            (1, false),
            (2, false),
            (4, false),
            (75, true),
            (101, true),
        ] {
            assert_eq!(exits(code), again, "{code}");
        }
        // SIGABRT, SIGKILL, SIGSEGV.
        for signal in [6, 9, 11] {
            assert!(starts_again(ExitStatus::from_raw(signal)), "{signal}");
        }
    }
}
