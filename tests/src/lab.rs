//! A small internet in namespaces, for tests with real binaries.
//!
//! A [`Host`] is a network, mount, PID and host-name namespace with a private `/run` and `/etc/resolv.conf`. Its first process does nothing but
//! wait for the test to let go of it; when that happens, by the end of the test, a panic or `kill -9`, the kernel ends
//! every process of the host, and its interfaces, addresses and rules go with it. Nothing is made in the namespace the
//! tests run in, no name is global, so tests run side by side and leave nothing behind but, when killed, a folder under
//! the temporary directory, which the next lab removes.
//!
//! A [`Lan`] is a bridge in a namespace of its own. Hosts plug into it, two of them can be joined by a [`Link`], a
//! [`Router`](Lan::route_to) puts one behind the other with a NAT of a chosen kind. Links are cut by taking the carrier
//! away or by silent loss. An [`Internet`] is made of these: public addresses, and [`Home`]s behind their routers.
//!
//! No packet leaves: no namespace of the lab has an interface that leads out of it.
//!
//! Needs root, and the `ip`, `nft` and `ping` commands.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

mod capture;
mod download;
mod host;
mod internet;
mod lan;
mod mesh;
mod namespace;
mod process;
mod server;
mod tcp;
mod wait;

pub use capture::{Capture, Packet};
pub use download::{Download, Whole};
pub use host::Host;
pub use internet::{Home, Internet};
pub use lan::{Cut, Lan, Link, Nat};
pub use mesh::Binaries;
pub use process::{Daemon, Held, Output, holds};
pub use server::Server;
pub use tcp::EchoServer;
pub use wait::{eventually, stays};

/// The world of one test: it names hosts, keeps their folders, and shows their logs when the test fails.
pub struct Lab {
    name: String,
    dir: PathBuf,
    hosts: Arc<Mutex<Vec<String>>>,
    /// Locked for as long as this lab lives: how a later lab tells a dead run's folder from a live one's.
    _lock: File,
}

impl Lab {
    /// A lab with a folder of its own. `name` appears in messages.
    ///
    /// # Panics
    /// When not run by root.
    #[must_use]
    pub fn new(name: &str) -> Self {
        assert!(
            nix::unistd::geteuid().is_root(),
            "the namespace tests need root: run `cargo verify`, which asks for it, or this test under sudo"
        );
        remove_dead_labs();
        let dir = tempfile::Builder::new()
            .prefix(PREFIX)
            .tempdir()
            .unwrap()
            .keep();
        let lock = File::create(dir.join(LOCK)).unwrap();
        lock.lock().unwrap();
        Self {
            name: name.to_owned(),
            dir,
            hosts: Arc::default(),
            _lock: lock,
        }
    }

    /// A new host that is plugged into nothing yet.
    #[must_use]
    pub fn host(&self, name: &str) -> Host {
        let dir = self.dir.join(name);
        std::fs::create_dir(&dir).unwrap_or_else(|error| panic!("a second host {name}: {error}"));
        self.hosts.lock().unwrap().push(name.to_owned());
        Host::new(name, dir)
    }

    /// A new network segment `a.b.c.0/24`. Hosts on it send what is for elsewhere to `.254`.
    #[must_use]
    pub fn lan(&self, name: &str, net: [u8; 3]) -> Lan {
        Lan::new(name, net)
    }

    /// The folder of this lab, for files that belong to no host.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for host in self.hosts.lock().unwrap().iter() {
                show_logs(&self.name, host, &self.dir.join(host));
            }
        }
        // The folder goes even when a test failed: its logs have just been shown.
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

const PREFIX: &str = "mesh-lab.";
const LOCK: &str = "lock";
const SHOWN_LINES: usize = 60;

/// Removes the folders of labs whose process was killed before it could.
fn remove_dead_labs() {
    let Ok(entries) = std::fs::read_dir(std::env::temp_dir()) else {
        return;
    };
    for entry in entries.flatten() {
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        // No lock file yet: a lab that is just being made.
        let Ok(lock) = File::open(entry.path().join(LOCK)) else {
            continue;
        };
        if lock.try_lock().is_ok() {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

fn show_logs(lab: &str, host: &str, dir: &Path) {
    for log in process::logs(dir) {
        let text = String::from_utf8_lossy(&std::fs::read(&log).unwrap_or_default()).into_owned();
        let lines: Vec<_> = text.lines().collect();
        let from = lines.len().saturating_sub(SHOWN_LINES);
        eprintln!("--- {lab}: {host}: last lines of {} ---", log.display());
        for line in &lines[from..] {
            eprintln!("{line}");
        }
    }
}
