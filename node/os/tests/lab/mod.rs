//! Network namespaces of the test's own. They go away with the test, whatever happens to it.

#![allow(clippy::unwrap_used, clippy::print_stderr, dead_code, unreachable_pub)]

use std::fs::File;
use std::os::fd::AsRawFd;
use std::process::Command;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use tokio::runtime::{Builder, Runtime};

/// A network namespace with its loopback up.
pub struct Namespace(File);

impl Namespace {
    /// A new one; this thread does not enter it. `None`, loudly, where that is not permitted.
    pub fn new() -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("SKIPPED: this test makes network namespaces and must run as root");
            return None;
        }
        let made = std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("root may make a network namespace");
            run("ip link set lo up");
            File::open("/proc/thread-self/ns/net").unwrap()
        });
        Some(Self(made.join().unwrap()))
    }

    /// The one that this thread is in.
    pub fn current() -> Self {
        Self(File::open("/proc/thread-self/ns/net").unwrap())
    }

    /// Where other programs find it, for as long as it lives.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }

    /// Lets this thread, and the processes and sockets that it makes from now on, be in the namespace.
    pub fn enter(&self) {
        setns(&self.0, CloneFlags::CLONE_NEWNET).unwrap();
    }
}

/// Gives this thread, and nobody else, a view of the files in which `nft` cannot be run.
pub fn hide_nft() {
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_FS).unwrap();
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_PRIVATE | MsFlags::MS_REC, none).unwrap();
    for path in [
        "/usr/sbin/nft",
        "/sbin/nft",
        "/usr/bin/nft",
        "/usr/local/sbin/nft",
    ] {
        if std::fs::exists(path).unwrap() {
            mount(Some("/dev/null"), path, none, MsFlags::MS_BIND, none).unwrap();
        }
    }
}

/// Gives this thread and what it starts from now on, and nobody else, an empty `/run`.
pub fn own_run() {
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_FS).unwrap();
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_PRIVATE | MsFlags::MS_REC, none).unwrap();
    let tmpfs = Some("tmpfs");
    mount(tmpfs, "/run", tmpfs, MsFlags::empty(), none).unwrap();
}

/// A runtime on this thread alone, so that all that it opens is in the namespace that the thread is in.
pub fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Runs a command that must succeed, and gives back what it wrote.
pub fn run(line: &str) -> String {
    let (succeeded, output) = attempt(line);
    assert!(succeeded, "{line}: {output}");
    output
}

/// Runs a command; whether it succeeded, and what it wrote.
pub fn attempt(line: &str) -> (bool, String) {
    let mut words = line.split(' ');
    let output = Command::new(words.next().unwrap())
        .args(words)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}
