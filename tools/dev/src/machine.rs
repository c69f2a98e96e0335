//! A machine made of namespaces, for the demo.
//!
//! Its first process waits for the end of a pipe that only this program holds open. However this program ends, Ctrl-C and
//! `kill -9` included, the pipe closes and the kernel ends the machine: processes, interfaces, and its files too, because
//! `/etc`, `/run` and `/var/lib` are its own and in memory. The real machine sees none of it.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use crate::system::{self, Failure};

/// One machine. It ends with this value.
pub(crate) struct Machine {
    pub(crate) name: String,
    keeper: Child,
    /// The folder of `mesh` and `meshd`, first in PATH.
    programs: PathBuf,
    /// The first process of its namespaces, as this program sees it.
    pid: u32,
}

impl Machine {
    pub(crate) fn new(name: &str, programs: &Path) -> Result<Self, Failure> {
        let namespaces = [
            "unshare",
            "--net",
            "--mount",
            "--uts",
            "--pid",
            "--fork",
            "--kill-child",
        ];
        let mut keeper =
            system::as_root(&[&namespaces[..], &["sh", "-c", SET_UP, "sh", name]].concat())
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .map_err(|error| format!("unshare did not start: {error}"))?;
        let mut ready = String::new();
        if let Some(out) = keeper.stdout.take() {
            BufReader::new(out)
                .read_line(&mut ready)
                .map_err(|error| error.to_string())?;
        }
        if ready.trim() != "ready" {
            return Err(format!(
                "the namespaces of {name} could not be made: this needs root and its capabilities"
            ));
        }
        let pid = only_child(keeper.id())?;
        Ok(Self {
            name: name.to_owned(),
            keeper,
            programs: programs.to_owned(),
            pid,
        })
    }

    /// A machine that is a switch: others plug into it.
    pub(crate) fn switch() -> Result<Self, Failure> {
        let switch = Self::new("switch", Path::new("/"))?;
        switch.run("ip link add br0 type bridge forward_delay 0 mcast_snooping 0")?;
        switch.run("ip link set br0 up")?;
        Ok(switch)
    }

    /// A command inside, with the programs just built first in PATH.
    pub(crate) fn command(&self, words: &[&str]) -> Result<Command, Failure> {
        let pid = self.pid.to_string();
        let enter = [
            "nsenter", "--target", &pid, "--net", "--mount", "--uts", "--pid", "--",
        ];
        let mut command = system::as_root(&[&enter[..], words].concat());
        command
            .env(
                "PATH",
                format!("{}:{}", self.programs.display(), system::path()),
            )
            .stdin(Stdio::null());
        Ok(command)
    }

    /// Runs a command inside and collects what it writes.
    pub(crate) fn output(&self, words: &[&str]) -> Result<Output, Failure> {
        self.command(words)?
            .output()
            .map_err(|error| format!("{} did not start: {error}", words.join(" ")))
    }

    /// Runs a command inside that must succeed.
    pub(crate) fn run(&self, words: &str) -> Result<(), Failure> {
        let output = self.output(&words.split_whitespace().collect::<Vec<_>>())?;
        if output.status.success() {
            return Ok(());
        }
        Err(format!(
            "`{words}` on {}: {}",
            self.name,
            String::from_utf8_lossy(&output.stderr).trim()
        ))
    }

    /// Plugs this machine into a switch, made by [`Self::switch`].
    pub(crate) fn plug(&self, switch: &Self, address: &str) -> Result<(), Failure> {
        self.plug_as("eth0", switch, address)
    }

    /// As [`Self::plug`], with an interface of that name.
    pub(crate) fn plug_as(
        &self,
        interface: &str,
        switch: &Self,
        address: &str,
    ) -> Result<(), Failure> {
        let (net, pid) = (
            format!("--net=/proc/{}/ns/net", switch.pid),
            self.pid.to_string(),
        );
        let words = [
            "nsenter", &net, "ip", "link", "add", &self.name, "type", "veth", "peer", "name",
            interface, "netns", &pid,
        ];
        system::step(&mut system::as_root(&words))?;
        switch.run(&format!("ip link set {} master br0 up", self.name))?;
        self.run(&format!("ip address add {address}/24 dev {interface}"))?;
        self.run(&format!("ip link set {interface} up"))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
        let _ = std::io::stdout().flush();
    }
}

/// Mounts are private to the machine. A few files of the real `/etc` are kept, so that programs find users and names.
const SET_UP: &str = r#"
set -e
mount --make-rprivate /
hostname "$1"
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/etc
for file in passwd group nsswitch.conf ld.so.cache alternatives; do
  [ ! -e "/etc/$file" ] || cp -a "/etc/$file" /run/etc/
done
echo "127.0.0.1 localhost $1" > /run/etc/hosts
mount --bind /run/etc /etc
mount -t tmpfs -o mode=755 tmpfs /var/lib
ip link set lo up
echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad
trap '' CHLD
echo ready
exec cat
"#;

fn only_child(pid: u32) -> Result<u32, Failure> {
    // With sudo in between there is one more generation.
    let mut last = pid;
    loop {
        let path = format!("/proc/{last}/task/{last}/children");
        let children = std::fs::read_to_string(Path::new(&path)).unwrap_or_default();
        match children
            .split_whitespace()
            .next()
            .and_then(|child| child.parse().ok())
        {
            Some(child) => last = child,
            None if last == pid => return Err("the first process of a machine ended".to_owned()),
            None => return Ok(last),
        }
    }
}
