//! What the machine must have, and how to get it.

use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Why something did not work, for a person.
pub(crate) type Failure = String;

/// A command, and the Debian package that has it.
pub(crate) struct Tool {
    pub(crate) command: &'static str,
    pub(crate) package: &'static str,
}

/// `ip`, which makes networks.
pub(crate) const IP: Tool = Tool {
    command: "ip",
    package: "iproute2",
};
/// `nft`, which makes NATs, and shows what mesh left behind.
pub(crate) const NFT: Tool = Tool {
    command: "nft",
    package: "nftables",
};
/// `ping`, which anybody believes.
pub(crate) const PING: Tool = Tool {
    command: "ping",
    package: "iputils-ping",
};
/// `nc`, the smallest server and client.
pub(crate) const NC: Tool = Tool {
    command: "nc",
    package: "netcat-openbsd",
};
/// `dbus-daemon`, the message bus on which a test plays a service of the system.
pub(crate) const DBUS: Tool = Tool {
    command: "dbus-daemon",
    package: "dbus",
};
/// `git`, which knows what belongs to the tree.
pub(crate) const GIT: Tool = Tool {
    command: "git",
    package: "git",
};

/// `node`, which runs Automerge's JavaScript package.
pub(crate) const NODE: Tool = Tool {
    command: "node",
    package: "nodejs",
};
/// `npm`, which installs that package.
pub(crate) const NPM: Tool = Tool {
    command: "npm",
    package: "npm",
};
/// `wg`, which tells a WireGuard what its peers are.
pub(crate) const WG: Tool = Tool {
    command: "wg",
    package: "wireguard-tools",
};
/// `wireguard-go`, another WireGuard to shake hands and compare with.
pub(crate) const WIREGUARD_GO: Tool = Tool {
    command: "wireguard-go",
    package: "wireguard-go",
};

/// `miniupnpd`, a home router's daemon that lets in who asks for it.
pub(crate) const MINIUPNPD: Tool = Tool {
    command: "miniupnpd",
    package: "miniupnpd-nftables",
};

/// Installs the tools that are missing, and says so.
pub(crate) fn ensure(tools: &[Tool]) -> Result<(), Failure> {
    let missing: Vec<_> = tools
        .iter()
        .filter(|tool| find(tool.command).is_none())
        .map(|tool| tool.package)
        .collect();
    if !missing.is_empty() {
        if find("apt-get").is_none() {
            return Err(format!(
                "these are missing, and there is no apt-get to install them: {}",
                missing.join(", ")
            ));
        }
        println!("installing system packages: {}", missing.join(", "));
        let install = ["apt-get", "install", "--yes", "--no-install-recommends"];
        let install: Vec<_> = install.into_iter().chain(missing).collect();
        step(
            as_root(&["apt-get", "update"])
                .env("DEBIAN_FRONTEND", "noninteractive")
                .stdout(Stdio::null()),
        )?;
        step(
            as_root(&install)
                .env("DEBIAN_FRONTEND", "noninteractive")
                .stdout(Stdio::null()),
        )?;
    }
    if !Path::new("/dev/net/tun").exists() {
        // A module on most machines; where it is none, the message says what is missing.
        let _ = as_root(&["modprobe", "tun"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if !Path::new("/dev/net/tun").exists() {
            return Err(
                "there is no /dev/net/tun: mesh needs the kernel's tun driver (modprobe tun)"
                    .to_owned(),
            );
        }
    }
    Ok(())
}

/// Whether this process may make namespaces.
pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// A command that runs as root, by sudo if need be.
pub(crate) fn as_root(words: &[&str]) -> Command {
    let words: Vec<_> = if is_root() {
        words.to_vec()
    } else {
        [&["sudo"], words].concat()
    };
    let mut command = Command::new(words.first().copied().unwrap_or_default());
    command
        .args(words.get(1..).unwrap_or_default())
        .env("PATH", path());
    command
}

/// Runs a command to its end.
pub(crate) fn step(command: &mut Command) -> Result<(), Failure> {
    let status = command
        .status()
        .map_err(|error| format!("{} did not start: {error}", line(command)))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("`{}` failed: {status}", line(command)))
    }
}

/// The cargo that runs this.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(root());
    command
}

/// The folder of the workspace.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

/// The folder of the programs built with the same profile as this one.
pub(crate) fn programs() -> Result<PathBuf, Failure> {
    let own = env::current_exe().map_err(|error| format!("where is this program? {error}"))?;
    own.parent()
        .map(Path::to_owned)
        .ok_or_else(|| "this program is in no folder".to_owned())
}

/// Builds the programs with optimisation, and says in which folder they are.
pub(crate) fn release() -> Result<PathBuf, Failure> {
    println!("building with optimisation");
    step(&mut cargo(&[
        "build",
        "--release",
        "--workspace",
        "--bins",
        "--examples",
        "--locked",
    ]))?;
    Ok(programs()?.with_file_name("release"))
}

/// PATH with the folders of root's commands, which a plain user's may lack.
pub(crate) fn path() -> String {
    format!(
        "{}:/usr/local/sbin:/usr/sbin:/sbin",
        env::var("PATH").unwrap_or_default()
    )
}

fn find(command: &str) -> Option<PathBuf> {
    path()
        .split(':')
        .map(|folder| Path::new(folder).join(command))
        .find(|file| file.is_file())
}

fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}
