//! One set of namespaces, and how a thread or a command gets into it.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};

/// Network, mount, PID and host-name namespaces that live exactly as long as this value.
///
/// `keeper` is process 1 of the PID namespace. It reads a pipe that only this process can write to; when the pipe
/// closes, for whatever reason, it ends, and the kernel ends everything else in the namespace with it.
pub(super) struct Namespace {
    /// Taken when this value is dropped.
    keeper: Option<Child>,
    pid: u32,
    net: File,
    mounts: File,
    names: File,
    pids: File,
}

impl Namespace {
    /// `etc` holds what its processes find as `/etc/resolv.conf` and `/etc/hosts`.
    pub(super) fn new(name: &str, etc: Option<&Path>) -> Self {
        // In a thread of its own, because `unshare` moves the calling thread.
        let mut keeper = thread::scope(|scope| scope.spawn(|| keeper(name, etc)).join())
            .unwrap()
            .unwrap_or_else(|error| {
                panic!("namespaces for {name}: {error} (they need root and CAP_SYS_ADMIN)")
            });
        let mut ready = String::new();
        BufReader::new(keeper.stdout.take().unwrap())
            .read_line(&mut ready)
            .unwrap();
        assert_eq!(
            ready, "ready\n",
            "the first process of {name} did not start"
        );
        let pid = keeper.id();
        let open = |kind: &str| File::open(format!("/proc/{pid}/ns/{kind}")).unwrap();
        let (net, mounts, names, pids) = (open("net"), open("mnt"), open("uts"), open("pid"));
        Self {
            keeper: Some(keeper),
            pid,
            net,
            mounts,
            names,
            pids,
        }
    }

    /// The first process, by which `ip` finds the network namespace.
    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Runs `work` on a thread that is in the network namespace. Sockets made there stay there.
    pub(super) fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let result = thread::scope(|scope| {
            let inside = scope.spawn(|| {
                setns(&self.net, CloneFlags::CLONE_NEWNET).unwrap();
                work()
            });
            inside.join()
        });
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// As [`Self::enter`], but the thread goes on by itself.
    pub(super) fn enter_detached(
        &self,
        work: impl FnOnce() + Send + 'static,
    ) -> thread::JoinHandle<()> {
        let net = self.net.try_clone().unwrap();
        thread::spawn(move || {
            setns(&net, CloneFlags::CLONE_NEWNET).unwrap();
            work();
        })
    }

    /// Starts `command` in all the namespaces. Its process id is the one seen from outside.
    pub(super) fn spawn(&self, command: &mut Command) -> std::io::Result<Child> {
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{path}:/usr/sbin:/sbin"));
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                // A thread may change its mounts only if it does not share its working directory with others.
                unshare(CloneFlags::CLONE_FS)?;
                setns(&self.net, CloneFlags::CLONE_NEWNET)?;
                setns(&self.names, CloneFlags::CLONE_NEWUTS)?;
                setns(&self.mounts, CloneFlags::CLONE_NEWNS)?;
                setns(&self.pids, CloneFlags::CLONE_NEWPID)?;
                command.spawn()
            });
            inside.join().unwrap()
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // The kernel kills the others at once, but lets the keeper go only when each was reaped by its parent, and the
        // parent of a daemon is this process: so wait for it elsewhere.
        if let Some(mut keeper) = self.keeper.take() {
            let _ = keeper.kill();
            thread::spawn(move || keeper.wait());
        }
    }
}

/// Runs on a thread that ends right after, so that only the keeper is left in the new namespaces.
fn keeper(name: &str, etc: Option<&Path>) -> std::io::Result<Child> {
    unshare(
        CloneFlags::CLONE_FS
            | CloneFlags::CLONE_NEWNET
            | CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWUTS
            | CloneFlags::CLONE_NEWPID,
    )?;
    nix::unistd::sethostname(name)?;
    mount(
        None::<&str>,
        "/",
        None::<&str>,
        MsFlags::MS_REC | MsFlags::MS_PRIVATE,
        None::<&str>,
    )?;
    mount(
        Some("tmpfs"),
        "/run",
        Some("tmpfs"),
        MsFlags::MS_NOSUID,
        Some("mode=755"),
    )?;
    if let Some(etc) = etc {
        mount_resolv_conf(&etc.join("resolv.conf"))?;
        bind(&etc.join("hosts"), Path::new("/etc/hosts"))?;
    }
    // /proc must be mounted from inside the new PID namespace, which the keeper is the first to enter. It ignores
    // SIGCHLD so that the kernel reaps orphans; a daemon that ended must not look alive.
    Command::new("/bin/sh")
        .args(["-c", "mount -t proc proc /proc && mount -t sysfs sysfs /sys && trap '' CHLD && echo ready && exec cat"])
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
}

/// As in a container: the file is mounted on its own, on `/etc/resolv.conf` and on itself, so that a `meshd` that keeps to
/// its root writes what every process of the host reads.
fn mount_resolv_conf(file: &Path) -> std::io::Result<()> {
    let everywhere = Path::new("/etc/resolv.conf");
    if let Ok(to) = std::fs::read_link(everywhere) {
        // A link into the machine's /run, in the place of which is an empty one.
        let to = Path::new("/etc").join(to);
        std::fs::create_dir_all(to.parent().unwrap_or(Path::new("/run")))?;
        File::options().create(true).append(true).open(to)?;
    }
    for target in [everywhere, file] {
        bind(file, target)?;
    }
    Ok(())
}

fn bind(file: &Path, target: &Path) -> std::io::Result<()> {
    mount(
        Some(file),
        target,
        None::<&str>,
        MsFlags::MS_BIND,
        None::<&str>,
    )?;
    Ok(())
}
