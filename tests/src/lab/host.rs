//! A machine of the lab.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::namespace::Namespace;
use super::process::{self, Daemon, Output};
use super::{Capture, EchoServer, eventually};

/// A machine: its own interfaces, addresses, routes, rules, processes, host name and `/run`. It ends with this value.
pub struct Host {
    name: String,
    dir: PathBuf,
    namespace: Arc<Namespace>,
    interfaces: AtomicUsize,
}

impl Host {
    pub(super) fn new(name: &str, dir: PathBuf) -> Self {
        std::fs::create_dir(dir.join("etc")).unwrap();
        std::fs::write(dir.join(RESOLV_CONF), FOUND).unwrap();
        std::fs::write(dir.join(HOSTS), "127.0.0.1 localhost\n").unwrap();
        let namespace = Arc::new(Namespace::new(name, Some(&dir.join("etc"))));
        // An address must be usable at once: duplicate address detection takes a second.
        set(&namespace, "net/ipv6/conf/default/accept_dad", "0");
        set(&namespace, "net/ipv6/conf/all/accept_dad", "0");
        ip(&namespace, "link set lo up");
        Self {
            name: name.to_owned(),
            dir,
            namespace,
            interfaces: AtomicUsize::new(0),
        }
    }

    /// Its name, which is also its host name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The folder whose files outlive the host's processes; `--root` of its `mesh`.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Runs a command for at most 30 seconds.
    pub fn run(&self, program: impl AsRef<Path>, args: &[impl AsRef<OsStr>]) -> Output {
        self.run_with(program, args, "", COMMAND_LIMIT)
    }

    /// Runs a command with `input` on its standard input for at most `limit`.
    pub fn run_with(
        &self,
        program: impl AsRef<Path>,
        args: &[impl AsRef<OsStr>],
        input: &str,
        limit: Duration,
    ) -> Output {
        let args: Vec<&OsStr> = args.iter().map(AsRef::as_ref).collect();
        process::run(&self.namespace, program.as_ref(), &args, input, limit)
    }

    /// Runs `ip` with arguments separated by spaces.
    ///
    /// # Panics
    /// When it fails.
    pub fn ip(&self, args: &str) -> String {
        ip(&self.namespace, args)
    }

    /// Starts a process that runs until stopped; it writes to `NAME.log` in the host's folder.
    pub fn start(
        &self,
        name: &str,
        program: impl AsRef<Path>,
        args: &[impl AsRef<OsStr>],
    ) -> Daemon {
        let args: Vec<&OsStr> = args.iter().map(AsRef::as_ref).collect();
        process::start(
            &self.namespace,
            program.as_ref(),
            &args,
            self.dir.join(format!("{name}.log")),
            None,
        )
    }

    /// As [`Self::start`], but standard output, where a daemon tells its result, goes to the file `NAME.out`, from its
    /// beginning.
    pub(super) fn start_telling(
        &self,
        name: &str,
        program: impl AsRef<Path>,
        args: &[impl AsRef<OsStr>],
    ) -> (Daemon, PathBuf) {
        let args: Vec<&OsStr> = args.iter().map(AsRef::as_ref).collect();
        let (log, told) = (
            self.dir.join(format!("{name}.log")),
            self.dir.join(format!("{name}.out")),
        );
        let file = File::create(&told).unwrap();
        let daemon = process::start(&self.namespace, program.as_ref(), &args, log, Some(file));
        (daemon, told)
    }

    /// Whether one ICMP echo request to `to` is answered within a second.
    #[must_use]
    pub fn ping(&self, to: impl Into<IpAddr>) -> bool {
        self.run(
            "ping",
            &["-n", "-q", "-c", "1", "-W", "1", &to.into().to_string()],
        )
        .code
            == Some(0)
    }

    /// Waits until `to` answers a ping, and returns how long that took.
    ///
    /// # Panics
    /// When it does not within `limit`.
    #[track_caller]
    pub fn reaches(&self, to: impl Into<IpAddr>, limit: Duration) -> Duration {
        let to = to.into();
        eventually(limit, &format!("{} pings {to}", self.name), || {
            self.ping(to)
        })
    }

    /// Connects over TCP from this host.
    ///
    /// # Errors
    /// As the kernel says: refused, unreachable, timed out.
    pub fn connect(&self, to: SocketAddr, limit: Duration) -> io::Result<TcpStream> {
        self.namespace
            .enter(|| TcpStream::connect_timeout(&to, limit))
    }

    /// Listens on a TCP port, on all addresses of both families, and sends every byte back.
    ///
    /// # Panics
    /// When the port is taken.
    #[must_use]
    pub fn echo_tcp(&self, port: u16) -> EchoServer {
        EchoServer::new(
            self.namespace
                .enter(|| TcpListener::bind(("::", port)).unwrap()),
        )
    }

    /// A UDP socket of this host.
    ///
    /// # Panics
    /// When the address is not the host's, or taken.
    #[must_use]
    pub fn udp(&self, at: impl std::net::ToSocketAddrs + Send) -> UdpSocket {
        self.namespace.enter(|| UdpSocket::bind(at).unwrap())
    }

    /// Runs `work` on a thread of this host's network. Sockets made there, and threads, stay there.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.namespace.enter(work)
    }

    /// Records every IP packet that any interface of this host sends or receives from now on.
    #[must_use]
    pub fn capture(&self) -> Capture {
        Capture::new(&self.namespace)
    }

    /// Writes the `mesh.toml` of this machine; a daemon reads it when it starts.
    ///
    /// # Panics
    /// When the system refuses.
    pub fn configure(&self, text: &str) {
        let folder = self.dir.join("etc/mesh");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("mesh.toml"), text).unwrap();
    }

    /// What its processes find as `/etc/resolv.conf`. It is mounted on its own: to be written in place.
    #[must_use]
    pub fn resolv_conf(&self) -> PathBuf {
        self.dir.join(RESOLV_CONF)
    }

    /// Its processes find `name` at these addresses from now on.
    pub fn knows(&self, name: &str, addresses: &[IpAddr]) {
        // It is mounted on its own: to be written in place.
        let mut hosts = File::options()
            .append(true)
            .open(self.dir.join(HOSTS))
            .unwrap();
        for address in addresses {
            writeln!(hosts, "{address} {name}").unwrap();
        }
    }

    /// Takes its IPv4 addresses and routes away.
    pub fn drop_ipv4(&self) {
        self.ip("-4 address flush dev eth0");
    }

    /// All that `mesh` may change on a machine, as text: links, addresses, routes, policy rules, nft rules, forwarding,
    /// name servers.
    #[must_use]
    pub fn machine_state(&self) -> String {
        let rules = self.run("nft", &["list", "ruleset"]).ok().stdout;
        let sysctls: Vec<_> = [
            "net.ipv4.ip_forward",
            "net.ipv6.conf.all.forwarding",
            "net.ipv4.conf.all.rp_filter",
        ]
        .iter()
        .map(|key| format!("{key} = {}", get(&self.namespace, &key.replace('.', "/"))))
        .collect();
        [
            self.ip("-brief link"),
            self.ip("-brief address"),
            self.ip("-4 route show table all"),
            self.ip("-6 route show table all"),
            self.ip("-4 rule"),
            self.ip("-6 rule"),
            rules,
            sysctls.join("\n"),
            std::fs::read_to_string(self.resolv_conf()).unwrap(),
        ]
        .join("\n")
    }

    pub(super) fn namespace(&self) -> &Arc<Namespace> {
        &self.namespace
    }

    /// The name for one more interface.
    pub(super) fn next_interface(&self) -> String {
        format!("eth{}", self.interfaces.fetch_add(1, Ordering::Relaxed))
    }
}

const RESOLV_CONF: &str = "etc/resolv.conf";
const HOSTS: &str = "etc/hosts";
/// What stands in it at first: a name server that nobody is, so that an attempt to ask it fails at once.
const FOUND: &str = "# the host's own\nnameserver 127.0.0.1\noptions timeout:1";

const COMMAND_LIMIT: Duration = Duration::from_secs(30);

/// Runs `ip` in a namespace; see [`Host::ip`].
pub(super) fn ip(namespace: &Namespace, args: &str) -> String {
    let args: Vec<&OsStr> = args.split_whitespace().map(OsStr::new).collect();
    process::run(namespace, Path::new("ip"), &args, "", COMMAND_LIMIT)
        .ok()
        .stdout
}

/// Applies nft rules in a namespace.
pub(super) fn nft(namespace: &Namespace, rules: &str) {
    let _ = process::run(
        namespace,
        Path::new("nft"),
        &[OsStr::new("-f"), OsStr::new("-")],
        rules,
        COMMAND_LIMIT,
    )
    .ok();
}

/// Sets a network sysctl of a namespace.
pub(super) fn set(namespace: &Namespace, key: &str, value: &str) {
    namespace
        .enter(|| std::fs::write(format!("/proc/sys/{key}"), value))
        .unwrap();
}

fn get(namespace: &Namespace, key: &str) -> String {
    namespace
        .enter(|| std::fs::read_to_string(format!("/proc/sys/{key}")))
        .unwrap()
        .trim()
        .to_owned()
}
