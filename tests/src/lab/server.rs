//! `mesh-server` on a host.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::{Binaries, Daemon, Host, Output, eventually};

/// A machine that runs `mesh-server`, or did, and will again.
pub struct Server {
    /// The machine.
    pub host: Host,
    address: Ipv4Addr,
    /// What devices are told to call it.
    known_as: String,
    data: PathBuf,
    options: Vec<String>,
    process: Option<Daemon>,
    text: String,
}

impl Server {
    /// Starts `mesh-server run` on a host that others know by `address`, and returns when it has said what it is called.
    ///
    /// # Panics
    /// When it ends, says more or less than that line, or says nothing in ten seconds.
    #[must_use]
    #[track_caller]
    pub fn start(host: Host, address: Ipv4Addr, options: &[&str]) -> Self {
        let data = host.dir().join("mesh-server");
        let mut server = Self::stopped(host, address, data);
        server.options = options.iter().map(|&option| option.to_owned()).collect();
        server.restart();
        server
    }

    /// As [`Self::start`], but others know it by a name; see [`Host::knows`].
    #[must_use]
    #[track_caller]
    pub fn start_named(host: Host, address: Ipv4Addr, name: &str) -> Self {
        let data = host.dir().join("mesh-server");
        let mut server = Self::stopped(host, address, data);
        name.clone_into(&mut server.known_as);
        server.restart();
        server
    }

    /// As [`Self::start`], but it has the files, and so the key, of another server: `data`, made by [`Self::copy`].
    #[must_use]
    #[track_caller]
    pub fn start_with(host: Host, address: Ipv4Addr, data: &Path) -> Self {
        let own = host.dir().join("mesh-server");
        copy(data, &own);
        let mut server = Self::stopped(host, address, own);
        server.restart();
        server
    }

    fn stopped(host: Host, address: Ipv4Addr, data: PathBuf) -> Self {
        Self {
            host,
            address,
            known_as: address.to_string(),
            data,
            options: Vec::new(),
            process: None,
            text: String::new(),
        }
    }

    /// What users type to name it: `HOST:PORT#KEY/PERMIT`.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Its public key as users read it, the text behind `#`, without the permit.
    #[must_use]
    pub fn key(&self) -> &str {
        let key = self.text.split_once('#').unwrap().1;
        key.split('/').next().unwrap()
    }

    /// The address others know it by.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// The folder of all it keeps.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Its running process.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn process(&mut self) -> &mut Daemon {
        self.process.as_mut().expect("the server runs")
    }

    /// Starts it again, with the files there are.
    ///
    /// # Panics
    /// As [`Self::start`], and when it is called otherwise than before.
    #[track_caller]
    pub fn restart(&mut self) {
        assert!(self.process.is_none(), "the server runs");
        let (data, host) = (self.data.to_str().unwrap(), &self.known_as);
        let mut args = vec!["run", "--data", data, "--host", host];
        args.extend(self.options.iter().map(String::as_str));
        let program = Binaries::find().path("mesh-server");
        let (mut process, told) = self.host.start_telling("mesh-server", program, &args);
        let said = || std::fs::read_to_string(&told).unwrap_or_default();
        let what = format!("mesh-server on {} says what it is called", self.host.name());
        eventually(START_LIMIT, &what, || {
            if let Some(status) = process.ended() {
                panic!("mesh-server ended at once, {status}:\n{}", process.log());
            }
            said().ends_with('\n')
        });
        let said = said();
        let text = said.trim_end();
        let is_one = text.starts_with(&format!("{host}:")) && text.contains('#');
        assert!(
            is_one && !text.contains('\n'),
            "one line, its name: {said:?}"
        );
        assert!(
            self.text.is_empty() || self.text == text,
            "it was {} and is {text}",
            self.text
        );
        text.clone_into(&mut self.text);
        self.process = Some(process);
    }

    /// Stops it as a service manager does.
    ///
    /// # Panics
    /// When it does not run, or does not end well.
    #[track_caller]
    pub fn stop(&mut self) {
        let mut process = self.process.take().expect("the server runs");
        let status = process.stop();
        assert!(
            status.success(),
            "mesh-server ended with {status}:\n{}",
            process.log()
        );
    }

    /// `kill -9`, as when its machine dies.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill9(&mut self) {
        self.process.take().expect("the server runs").kill9();
    }

    /// Removes its database, as when its disk was lost but for the key. It must be stopped.
    ///
    /// # Panics
    /// When it runs, or has no database.
    pub fn wipe(&mut self) {
        assert!(self.process.is_none(), "the server runs");
        std::fs::remove_file(self.database()).unwrap();
        for rest in ["mirror.db-wal", "mirror.db-shm"] {
            let _ = std::fs::remove_file(self.data.join(rest));
        }
    }

    /// Its database.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.data.join("mirror.db")
    }

    /// Copies all its files to a new folder, `name` in that of its host. It must be stopped, or have nothing to write.
    ///
    /// # Panics
    /// When there is such a folder.
    #[must_use]
    pub fn copy(&self, name: &str) -> PathBuf {
        let to = self.host.dir().join(name);
        copy(&self.data, &to);
        to
    }

    /// Puts files made by [`Self::copy`] in the place of its own. It must be stopped.
    ///
    /// # Panics
    /// When it runs.
    pub fn put_back(&self, files: &Path) {
        assert!(self.process.is_none(), "the server runs");
        std::fs::remove_dir_all(&self.data).unwrap();
        copy(files, &self.data);
    }

    /// All bytes of all its files, those of its database's journal included.
    #[must_use]
    pub fn disk(&self) -> Vec<u8> {
        let files = std::fs::read_dir(&self.data).unwrap().flatten();
        files
            .flat_map(|file| std::fs::read(file.path()).unwrap_or_default())
            .collect()
    }

    /// Runs `mesh-server VERB --data DIR ARGS` beside it.
    pub fn command(&self, verb: &str, args: &[&str]) -> Output {
        let data = self.data.to_str().unwrap();
        let args = [&[verb, "--data", data], args].concat();
        self.host.run(Binaries::find().path("mesh-server"), &args)
    }

    /// `mesh-server status --json`.
    ///
    /// # Panics
    /// When it fails.
    #[must_use]
    #[track_caller]
    pub fn status(&self) -> Value {
        self.command("status", &["--json"]).ok().json()
    }
}

/// Copies the files of a folder, with their modes: a key must stay closed to others.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    std::fs::set_permissions(to, std::fs::metadata(from).unwrap().permissions()).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        // What is no file is a socket of a process that is gone.
        if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

const START_LIMIT: Duration = Duration::from_secs(10);
