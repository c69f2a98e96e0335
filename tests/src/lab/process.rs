//! Commands that end and daemons that do not.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead, Read, Seek, SeekFrom};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::process::{PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use serde_json::Value;

use super::namespace::Namespace;

/// What a command did.
#[derive(Debug)]
pub struct Output {
    /// The command line, for messages.
    pub command: String,
    /// Exit code; `None` when it was ended by a signal, the time limit's included.
    pub code: Option<i32>,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

impl Output {
    /// This output, if the command succeeded.
    ///
    /// # Panics
    /// When it did not; the message holds all it wrote.
    #[must_use]
    #[track_caller]
    pub fn ok(self) -> Self {
        self.exits(0)
    }

    /// This output, if the command ended with `code`.
    ///
    /// # Panics
    /// When it ended otherwise; the message holds all it wrote.
    #[must_use]
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "exit code of {self}");
        self
    }

    /// The one JSON value on standard output.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {self}"))
    }

    /// The JSON values on standard output, one a line.
    ///
    /// # Panics
    /// When a line is none.
    #[must_use]
    #[track_caller]
    pub fn json_lines(&self) -> Vec<Value> {
        let parse = |line| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("not JSON ({error}): {self}"))
        };
        self.stdout
            .lines()
            .filter(|line| !line.trim().is_empty())
            .map(parse)
            .collect()
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            command,
            code,
            stdout,
            stderr,
        } = self;
        let code = code.map_or_else(
            || "a signal or the time limit".to_owned(),
            |code| format!("exit {code}"),
        );
        write!(
            f,
            "`{command}`: {code}\n--- stdout ---\n{stdout}\n--- stderr ---\n{stderr}"
        )
    }
}

/// A process that runs until it is stopped. It dies with this value.
#[derive(Debug)]
pub struct Daemon {
    /// Gone once the process is known to have ended.
    child: Option<Child>,
    command: String,
    log: PathBuf,
}

/// Sockets of another process. They are let go of with this value.
#[derive(Debug)]
pub struct Held {
    _sockets: Vec<OwnedFd>,
    pid: u32,
    /// As they are called in the other's list of files.
    names: Vec<PathBuf>,
}

impl Held {
    /// Whether the other process has closed them all.
    #[must_use]
    pub fn are_closed(&self) -> bool {
        files(self.pid).all(|(_, name)| !self.names.contains(&name))
    }
}

/// The numbers and names of a process's open files.
fn files(pid: u32) -> impl Iterator<Item = (i32, PathBuf)> {
    let list = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    list.flatten().filter_map(|entry| {
        let name = std::fs::read_link(entry.path()).ok()?;
        let number = entry.file_name().to_str()?.parse().ok()?;
        Some((number, name))
    })
}

impl Daemon {
    /// The process id, as seen from outside the host.
    ///
    /// # Panics
    /// When it was stopped.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the daemon runs").id()
    }

    /// Takes hold of the sockets that this process has on a UDP port, so that they stay when it closes them.
    ///
    /// # Panics
    /// When it does not run, or has none.
    #[must_use]
    pub fn hold_udp(&self, port: u16) -> Held {
        let pid = self.pid();
        let mut names = Vec::new();
        for table in ["udp", "udp6"] {
            let table = std::fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap();
            for line in table.lines() {
                let fields: Vec<&str> = line.split_whitespace().collect();
                if fields.len() > 9 && fields[1].ends_with(&format!(":{port:04X}")) {
                    names.push(PathBuf::from(format!("socket:[{}]", fields[9])));
                }
            }
        }
        let process = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        let process = pidfd_open(process, PidfdFlags::empty()).unwrap();
        let sockets: Vec<OwnedFd> = files(pid)
            .filter(|(_, name)| names.contains(name))
            .map(|(fd, _)| pidfd_getfd(&process, fd, PidfdGetfdFlags::empty()).unwrap())
            .collect();
        assert!(!sockets.is_empty(), "nobody has port {port}");
        Held {
            _sockets: sockets,
            pid,
            names,
        }
    }

    /// Whether this process holds `needle` in memory it can write to: its heap, stacks and data.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn remembers(&self, needle: &[u8]) -> bool {
        let pid = self.pid();
        let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
        let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
        maps.lines().any(|line| {
            let mut words = line.split_whitespace();
            let (range, access) = (words.next().unwrap(), words.next().unwrap());
            let (from, to) = range.split_once('-').unwrap();
            let number = |hex| u64::from_str_radix(hex, 16).unwrap();
            let (mut at, to) = (number(from), number(to));
            let mut found = false;
            // What is mapped and was never touched cannot be read, or reads as zeros.
            while access.starts_with("rw") && at < to && !found {
                let mut part = vec![0; usize::try_from((to - at).min(PART)).unwrap()];
                let read = memory.read_at(&mut part, at).unwrap_or_default();
                found = holds(&part[..read], needle);
                at += PART - 256;
            }
            found
        })
    }

    /// `kill -9`, and returns when the process is gone.
    pub fn kill9(&mut self) {
        if let Some(child) = self.child.take() {
            let _ = kill(pid(&child), Signal::SIGKILL);
            wait(child, PATIENCE);
        }
    }

    /// Lets the process do nothing until [`Self::thaw`], as when its machine sleeps.
    ///
    /// # Panics
    /// When it does not run.
    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Lets it go on.
    ///
    /// # Panics
    /// When it does not run.
    pub fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        kill(pid(self.child.as_ref().expect("the daemon runs")), signal).unwrap();
    }

    /// Asks the process to end, as a service manager does, and returns how it did.
    ///
    /// # Panics
    /// When it does not end in ten seconds.
    #[track_caller]
    pub fn stop(&mut self) -> ExitStatus {
        let child = self.child.take().expect("the daemon runs");
        kill(pid(&child), Signal::SIGTERM).unwrap();
        wait(child, PATIENCE)
            .unwrap_or_else(|| panic!("`{}` did not end on SIGTERM\n{}", self.command, self.log()))
    }

    /// How it ended, if it has by itself.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.as_mut()?.try_wait().unwrap();
        if status.is_some() {
            self.child = None;
        }
        status
    }

    /// All it has written so far.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill9();
    }
}

/// Runs a command in `namespace` for at most `limit`. What it writes goes through files, so that a background process
/// it leaves behind cannot hold the caller up.
pub(super) fn run(
    namespace: &Namespace,
    program: &Path,
    args: &[&OsStr],
    input: &str,
    limit: Duration,
) -> Output {
    let mut stdin = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut stdin, input.as_bytes()).unwrap();
    stdin.seek(SeekFrom::Start(0)).unwrap();
    let (stdout, stderr) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
    let mut command = Command::new(program);
    command.args(args).stdin(stdin);
    command
        .stdout(stdout.try_clone().unwrap())
        .stderr(stderr.try_clone().unwrap());
    let text = line(program, args);
    let child = namespace
        .spawn(&mut command)
        .unwrap_or_else(|error| panic!("`{text}` did not start: {error}"));
    let code = wait(child, limit).and_then(|status| status.code());
    Output {
        command: text,
        code,
        stdout: read(stdout),
        stderr: read(stderr),
    }
}

/// Starts a daemon in `namespace` whose output goes to the end of `log`, but its standard output to `result` if given.
pub(super) fn start(
    namespace: &Namespace,
    program: &Path,
    args: &[&OsStr],
    log: PathBuf,
    result: Option<File>,
) -> Daemon {
    let file = File::options()
        .create(true)
        .append(true)
        .open(&log)
        .unwrap();
    let mut command = Command::new(program);
    command
        .args(args)
        .stdin(Stdio::null())
        .stdout(result.unwrap_or_else(|| file.try_clone().unwrap()))
        .stderr(file);
    let text = line(program, args);
    let child = namespace
        .spawn(&mut command)
        .unwrap_or_else(|error| panic!("`{text}` did not start: {error}"));
    Daemon {
        child: Some(child),
        command: text,
        log,
    }
}

/// Every log file below `dir`.
pub(super) fn logs(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "log") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Whether `needle` is somewhere in `bytes`.
///
/// # Panics
/// When the needle is empty.
#[must_use]
pub fn holds(mut bytes: &[u8], needle: &[u8]) -> bool {
    let (first, rest) = needle.split_first().expect("something to look for");
    // `skip_until` is fast in an unoptimised build too.
    while bytes.skip_until(*first).unwrap() > 0 {
        if bytes.starts_with(rest) {
            return true;
        }
    }
    false
}

/// How much of a process's memory is read at a time; two parts overlap by more than a needle.
const PART: u64 = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(10);

/// Waits for a child; at the limit it is killed, and the answer is `None`.
fn wait(mut child: Child, limit: Duration) -> Option<ExitStatus> {
    let id = pid(&child);
    let (tell, told) = mpsc::channel();
    thread::spawn(move || tell.send(child.wait()));
    if let Ok(status) = told.recv_timeout(limit) {
        return Some(status.unwrap());
    }
    let _ = kill(id, Signal::SIGKILL);
    let _ = told.recv();
    None
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap())
}

fn read(mut file: File) -> String {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn line(program: &Path, args: &[&OsStr]) -> String {
    let name = program
        .file_name()
        .unwrap_or(program.as_os_str())
        .to_string_lossy()
        .into_owned();
    args.iter().fold(name, |line, arg| {
        format!("{line} {}", arg.to_string_lossy())
    })
}
