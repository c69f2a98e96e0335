//! A message bus of the test's own, and a service on it that plays systemd-resolved and writes down what it is told.

#![allow(clippy::unwrap_used, unreachable_pub)]

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;
use zbus::interface;

/// A running `dbus-daemon`; it ends with this value.
pub struct Bus {
    child: Child,
    socket: PathBuf,
}

impl Bus {
    /// A bus with its socket in this folder.
    pub fn start(folder: &Path) -> Self {
        let (socket, config) = (folder.join("bus"), folder.join("bus.conf"));
        let text = format!(
            r#"<busconfig><type>session</type><listen>unix:path={}</listen><auth>EXTERNAL</auth>
            <policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/>
            <allow own="*"/></policy></busconfig>"#,
            socket.display()
        );
        std::fs::write(&config, text).unwrap();
        let mut child = Command::new("dbus-daemon")
            .arg(format!("--config-file={}", config.display()))
            .args(["--nofork", "--print-address=1"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("dbus-daemon (package dbus): {error}"));
        // It says where it listens once it does.
        let mut line = String::new();
        let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut out, &mut line).unwrap();
        assert!(line.starts_with("unix:"), "{line:?}");
        Self { child, socket }
    }

    /// Where it listens.
    pub fn address(&self) -> String {
        format!("unix:path={}", self.socket.display())
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The service; it leaves the bus with this value.
pub struct PlayedResolved {
    record: Record,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

#[derive(Clone, Default)]
struct Record(Arc<Mutex<(Vec<String>, bool)>>);

impl PlayedResolved {
    /// Takes the service's name on a bus.
    pub fn on(bus: &Bus) -> Self {
        let record = Record::default();
        let (stop, stopped) = oneshot::channel();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let (address, served) = (bus.address(), record.clone());
        let thread = std::thread::spawn(move || {
            crate::lab::runtime().block_on(async move {
                let connection = zbus::connection::Builder::address(address.as_str())
                    .unwrap()
                    .name("org.freedesktop.resolve1")
                    .unwrap()
                    .serve_at("/org/freedesktop/resolve1", served)
                    .unwrap()
                    .build()
                    .await
                    .unwrap();
                ready.send(()).unwrap();
                let _ = stopped.await;
                connection.close().await.unwrap();
            });
        });
        is_ready
            .recv_timeout(std::time::Duration::from_secs(10))
            .expect("the played service gets onto the bus");
        Self {
            record,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// What it was told, one call a line.
    pub fn calls(&self) -> Vec<String> {
        self.record.0.lock().unwrap().0.clone()
    }

    /// From now on it refuses everything.
    pub fn refuse(&self) {
        self.record.0.lock().unwrap().1 = true;
    }
}

impl Drop for PlayedResolved {
    fn drop(&mut self) {
        let _ = self.stop.take().unwrap().send(());
        let _ = self.thread.take().unwrap().join();
    }
}

impl Record {
    fn add(&self, call: String) -> zbus::fdo::Result<()> {
        let mut record = self.0.lock().unwrap();
        if record.1 {
            return Err(zbus::fdo::Error::Failed("not today".to_owned()));
        }
        record.0.push(call);
        Ok(())
    }
}

/// The part of its interface that is called, by its own description (`org.freedesktop.resolve1(5)`).
#[interface(name = "org.freedesktop.resolve1.Manager")]
impl Record {
    #[zbus(name = "SetLinkDNS")]
    fn set_link_dns(&self, index: i32, servers: Vec<(i32, Vec<u8>)>) -> zbus::fdo::Result<()> {
        let servers = servers
            .iter()
            .map(|(family, bytes)| match (*family, &bytes[..]) {
                (libc::AF_INET, bytes) => {
                    IpAddr::from(<[u8; 4]>::try_from(bytes).unwrap()).to_string()
                }
                (libc::AF_INET6, bytes) => {
                    IpAddr::from(<[u8; 16]>::try_from(bytes).unwrap()).to_string()
                }
                other => panic!("{other:?}"),
            });
        let servers: Vec<String> = servers.collect();
        self.add(format!("SetLinkDNS {index} {}", servers.join(" ")))
    }

    fn set_link_domains(&self, index: i32, domains: Vec<(String, bool)>) -> zbus::fdo::Result<()> {
        let domain = |(name, only_route): &(String, bool)| {
            format!("{}{name}", if *only_route { "~" } else { "" })
        };
        let domains: Vec<String> = domains.iter().map(domain).collect();
        self.add(format!("SetLinkDomains {index} {}", domains.join(" ")))
    }

    fn set_link_default_route(&self, index: i32, is: bool) -> zbus::fdo::Result<()> {
        self.add(format!("SetLinkDefaultRoute {index} {is}"))
    }

    #[zbus(name = "SetLinkDNSSEC")]
    fn set_link_dnssec(&self, index: i32, mode: String) -> zbus::fdo::Result<()> {
        self.add(format!("SetLinkDNSSEC {index} {mode}"))
    }

    fn revert_link(&self, index: i32) -> zbus::fdo::Result<()> {
        self.add(format!("RevertLink {index}"))
    }
}
