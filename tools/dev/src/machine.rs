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

    /// What a script writes that must succeed.
    pub(crate) fn shell(&self, script: &str) -> Result<String, Failure> {
        let output = self.output(&["sh", "-c", script])?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(format!(
            "`{script}` on {}: {}",
            self.name,
            String::from_utf8_lossy(&output.stderr).trim()
        ))
    }

    /// CPU time of all processes of that name. See proc(5): fields 14 and 15 of stat, in hundredths.
    pub(crate) fn cpu_seconds(&self, process: &str) -> Result<f64, Failure> {
        let stats = self.shell("cat /proc/[0-9]*/stat 2>/dev/null || true")?;
        let ticks = stats.lines().filter_map(|line| {
            let (front, rest) = line.rsplit_once(") ")?;
            let name = front.split_once(" (")?.1;
            let fields: Vec<&str> = rest.split(' ').collect();
            let time = |field: usize| fields.get(field)?.parse::<f64>().ok();
            (name == process)
                .then(|| time(11).zip(time(12)))?
                .map(|(user, system)| user + system)
        });
        Ok(ticks.sum::<f64>() / 100.0)
    }

    /// What the largest process of that name holds in memory, in kilobytes: the daemon. What watches over it is small, and nearly
    /// all that it holds are pages of the program that the two share.
    pub(crate) fn memory(&self, process: &str) -> Result<f64, Failure> {
        let script = format!(
            "grep -lx {process} /proc/[0-9]*/comm | sed s/comm/status/ | xargs grep -h VmRSS"
        );
        let lines = self.shell(&script)?;
        let figures = lines
            .lines()
            .filter_map(|line| line.split_whitespace().nth(1));
        Ok(figures
            .filter_map(|figure| figure.parse::<f64>().ok())
            .fold(0.0, f64::max))
    }

    /// Plugs this machine into a switch, made by [`Self::switch`].
    pub(crate) fn plug(&self, switch: &Self, address: &str) -> Result<(), Failure> {
        self.plug_as("eth0", switch, address)
    }

    /// Wires this machine to a router of many, as one of a network of its own, with that number. On one LAN each would have the
    /// hardware address of each, and the kernel keeps no more than a thousand of them for all machines together.
    pub(crate) fn route(&self, router: &Self, number: usize) -> Result<(), Failure> {
        self.wire("eth0", router)?;
        let name = &self.name;
        router.run(&format!("ip address add 192.168.{number}.1/30 dev {name}"))?;
        router.run(&format!("ip link set {name} up"))?;
        self.run(&format!("ip address add 192.168.{number}.2/30 dev eth0"))?;
        self.run("ip link set eth0 up")?;
        self.run(&format!("ip route add default via 192.168.{number}.1"))
    }

    /// Makes a cable: an interface here, and one called as this machine on the other.
    fn wire(&self, interface: &str, other: &Self) -> Result<(), Failure> {
        let (net, pid) = (
            format!("--net=/proc/{}/ns/net", other.pid),
            self.pid.to_string(),
        );
        let words = [
            "nsenter", &net, "ip", "link", "add", &self.name, "type", "veth", "peer", "name",
            interface, "netns", &pid,
        ];
        system::step(&mut system::as_root(&words))
    }

    /// As [`Self::plug`], with an interface of that name.
    pub(crate) fn plug_as(
        &self,
        interface: &str,
        switch: &Self,
        address: &str,
    ) -> Result<(), Failure> {
        self.wire(interface, switch)?;
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
