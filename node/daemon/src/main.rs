//! The mesh daemon: wires the ledger, the decisions and the packet path to sockets, files, threads and the machine.

#![allow(clippy::print_stderr)] // Its end is told to whoever started it.

mod carrier;
mod clock;
mod control;
mod discovery;
mod dns;
mod endpoint;
mod forward;
mod identity;
mod link;
mod mirror;
mod node;
mod ping;
mod random;
mod settings;
mod subnets;
mod supervise;
mod taste;
mod uploads;
mod view;
mod visitors;
mod ways;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};
use mesh_os::dirs::Dirs;
use mesh_os::{machine, resolver, tun, uapi};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

use crate::control::Control;
use crate::endpoint::Endpoint;
use crate::identity::Identity;
use crate::node::{Event, Node};
use crate::taste::Taste;

#[derive(Parser)]
#[command(
    name = "meshd",
    version,
    about = "The mesh daemon. People use the command `mesh`."
)]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Run in the foreground
    Run {
        #[command(flatten)]
        at: At,
        /// Tell a systemd-resolved on this message bus, instead of the system's
        #[arg(long, value_name = "ADDRESS", hide = true)]
        resolved_bus: Option<String>,
    },
    /// Run in the background, started again when it crashes; returns once it answers
    Start(At),
    /// Run and watch over the daemon (what `start` leaves behind)
    #[command(hide = true)]
    Supervise(At),
}

#[derive(clap::Args)]
struct At {
    /// Keep settings, state and sockets under this folder instead of /
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
}

fn main() -> ExitCode {
    // It holds keys. Where the system does not know this, it runs all the same.
    if let Err(error) = mesh_os::process::keep_memory() {
        eprintln!("this process' memory may end in a core dump: {error}");
    }
    let result = match Arguments::parse().what {
        What::Run { at, resolved_bus } => run(at.root.as_deref(), resolved_bus),
        What::Start(at) => start(at.root.as_deref()),
        What::Supervise(at) => {
            supervise::supervise(at.root.as_deref()).map_err(Failure::from_error)
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { text, code }) => {
            eprintln!("error: {text}");
            ExitCode::from(code)
        }
    }
}

/// What is told at the end, and the exit code.
struct Failure {
    text: String,
    code: u8,
}

impl Failure {
    fn from_error(error: impl std::error::Error) -> Self {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text.push_str(&format!(": {error}"));
            cause = error.source();
        }
        Self { text, code: 1 }
    }
}

fn start(root: Option<&Path>) -> Result<(), Failure> {
    let dirs = prepare(root)?;
    if std::os::unix::net::UnixStream::connect(dirs.socket()).is_ok() {
        return Ok(());
    }
    supervise::start(root, &dirs.state.join("meshd.log")).map_err(Failure::from_error)
}

fn prepare(root: Option<&Path>) -> Result<Dirs, Failure> {
    if !nix::unistd::geteuid().is_root() {
        let text = "meshd makes network interfaces, which takes root\n→ sudo meshd run".to_owned();
        return Err(Failure { text, code: 4 });
    }
    let dirs = Dirs::new(root);
    dirs.create().map_err(Failure::from_error)?;
    // Whatever is made here, databases and their side files included, is for root alone unless it says otherwise.
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
    Ok(dirs)
}

fn taste(dirs: &Dirs) -> Result<Taste, Failure> {
    let path = dirs.etc.join("mesh.toml");
    let failed = |why: String| Failure {
        text: format!("{}: {why}", path.display()),
        code: 2,
    };
    match std::fs::read_to_string(&path) {
        Ok(text) => toml::from_str(&text).map_err(|error| failed(error.to_string())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Taste::default()),
        Err(error) => Err(failed(error.to_string())),
    }
}

fn run(root: Option<&Path>, resolved_bus: Option<String>) -> Result<(), Failure> {
    // The supervisor waits for signals with them blocked, and a child inherits that.
    nix::sys::signal::SigSet::empty()
        .thread_set_mask()
        .map_err(Failure::from_error)?;
    let dirs = prepare(root)?;
    let taste = taste(&dirs)?;
    let filter = std::env::var("MESH_LOG").ok().or(taste.log.clone());
    let filter = filter.unwrap_or_else(|| {
        "warn,swarm_discovery=error,meshd=info,mesh_tunnel=info,mesh_os=info".to_owned()
    });
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false)
        .with_env_filter(tracing_subscriber::EnvFilter::new(filter))
        .init();
    // Packets of tunnels have threads of their own. More would but wake one another.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(Failure::from_error)?;
    let machine = machine::Options {
        run: dirs.run.clone(),
        tun: tun::Options::default(),
        firewall: true,
        resolver: Some(resolver::Options {
            root: root.unwrap_or(Path::new("/")).to_owned(),
            bus: match (resolved_bus, root) {
                (Some(address), _) => resolver::Bus::At(address),
                (None, None) => resolver::Bus::System,
                (None, Some(_)) => resolver::Bus::None,
            },
        }),
    };
    let result = runtime.block_on(serve(dirs, taste, machine));
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    result
}

async fn serve(dirs: Dirs, taste: Taste, machine: machine::Options) -> Result<(), Failure> {
    let listener = control::listen(&dirs.socket())
        .await
        .map_err(Failure::from_error)?;
    match machine::recover(&machine).await {
        Ok(left) if left.is_empty() => {}
        Ok(left) => info!(
            "removed what a daemon that was killed left: {}",
            left.join(" ")
        ),
        Err(error) => warn!("something that a killed daemon left could not be removed: {error}"),
    }
    match uapi::sweep(&dirs.wireguard) {
        Ok(left) if left.is_empty() => {}
        Ok(left) => info!(
            "removed sockets that a killed daemon left: {}",
            left.join(" ")
        ),
        Err(error) => warn!("{}: {error}", dirs.wireguard.display()),
    }
    let identity = Identity::load(&dirs.state).map_err(Failure::from_error)?;
    let endpoint = Endpoint::bind(&identity.device.seed(), &taste)
        .await
        .map_err(Failure::from_error)?;
    let node = Node::open(identity, dirs.clone(), machine, endpoint, &taste);
    let events = node.sender();
    let service = Arc::new(Control {
        events: events.clone(),
    });
    tokio::spawn(stop_on_signals(events));
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(mesh_control::server::serve(listener, service, async {
        let _ = ended.await;
    }));
    info!(version = env!("CARGO_PKG_VERSION"), device = %node.device(), "ready");
    // Whoever waited for this line is gone when the supervisor starts the daemon again.
    let _ = writeln!(std::io::stdout(), "{}", supervise::READY);
    notify_ready();
    // On this thread: as a task that moves between the workers, it would leave memory in the heap of each.
    let ended = node.run().await;
    drop(end);
    let _ = serving.await;
    let _ = std::fs::remove_file(dirs.socket());
    info!("stopped");
    ended.map_err(|text| Failure {
        text,
        code: supervise::AGAIN,
    })
}

async fn stop_on_signals(events: tokio::sync::mpsc::Sender<Event>) {
    let (Ok(mut term), Ok(mut int)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        return warn!(
            "signals cannot be caught; stopping by one will leave things behind until the next start"
        );
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    let _ = events.send(Event::Stop).await;
}

/// Tells a service manager, if one asked to be told (`sd_notify(3)`).
fn notify_ready() {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    let told = std::os::unix::net::UnixDatagram::unbound()
        .and_then(|socket| socket.send_to(b"READY=1", Path::new(&path)));
    if let Err(error) = told {
        warn!("the service manager could not be told: {error}");
    }
}
