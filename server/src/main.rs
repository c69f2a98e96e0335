//! `mesh-server`: the command line.

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

use clap::{Parser, Subcommand, ValueEnum};
use mesh_server::{Door, Options, RELAY_RATE, Server, printed, status};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info, warn};
use tracing_subscriber::EnvFilter;

/// Threads for what waits for the disk.
const BLOCKING_THREADS: usize = 32;

/// Keeps sealed copies of networks and relays packets for their devices.
#[derive(Parser)]
#[command(name = "mesh-server", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve until stopped. Prints one line: what devices need to use this server.
    Run(Run),
    /// Show what the running server does.
    Status {
        #[command(flatten)]
        place: Place,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print again what `run` printed last.
    Address {
        #[command(flatten)]
        place: Place,
    },
}

#[derive(clap::Args)]
struct Place {
    /// The folder with the server's key and database.
    #[arg(long, value_name = "DIR", default_value = "/var/lib/mesh-server")]
    data: PathBuf,
}

#[derive(clap::Args)]
struct Run {
    #[command(flatten)]
    place: Place,
    /// Where the mirror listens (UDP).
    #[arg(long, value_name = "IP:PORT", default_value = "0.0.0.0:7443")]
    listen: SocketAddr,
    /// The name or address under which devices reach this machine [default: its own address].
    #[arg(long)]
    host: Option<String>,
    /// The relay's port (TCP), or `off` [default: the mirror's port].
    #[arg(long, value_name = "N|off")]
    relay_port: Option<PortArg>,
    /// The port of address discovery (UDP), or `off` [default: the mirror's port + 1].
    #[arg(long, value_name = "N|off")]
    discovery_port: Option<PortArg>,
    /// The first of the echo's two ports (UDP), by which devices learn how they are seen, or `off` [default: the mirror's port + 2].
    #[arg(long, value_name = "N|off")]
    echo_port: Option<PortArg>,
    /// Whether copies of networks are kept here.
    #[arg(long, value_enum, default_value = "on")]
    mirror: Switch,
    /// Keep networks for everybody, not only for who has the token.
    #[arg(long)]
    open_hosting: bool,
    /// Bytes a second that the relay takes from one client.
    #[arg(long, value_name = "BYTES", default_value_t = RELAY_RATE)]
    relay_rate: NonZeroU32,
}

#[derive(Clone, Copy)]
struct PortArg(Door);

impl FromStr for PortArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self(Door::Off));
        }
        text.parse()
            .map(|port| Self(Door::Port(port)))
            .map_err(|_| "neither a port nor `off`".to_owned())
    }
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Switch {
    On,
    Off,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let kept = keep_memory();
    let filter = EnvFilter::try_from_env("MESH_LOG")
        .unwrap_or_else(|_| EnvFilter::new("warn,mesh_server=info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    if let Err(error) = kept {
        warn!("this process' memory may end in a core dump: {error}");
    }
    let done = match cli.command {
        Command::Run(run) => serve(run),
        Command::Status { place, json } => show_status(&place, json),
        Command::Address { place } => printed(&place.data)
            .map_err(|error| format!("no server has run in {}: {error}", place.data.display()))
            .and_then(|address| print(&address)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            error!("{why}");
            ExitCode::FAILURE
        }
    }
}

/// Keeps this process' memory out of core dumps, and from other processes of its user: it holds the server's key.
fn keep_memory() -> std::io::Result<()> {
    use nix::sys::resource::{Resource, setrlimit};
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    nix::sys::prctl::set_dumpable(false)?;
    Ok(())
}

fn serve(run: Run) -> Result<(), String> {
    // The database and its companions are nobody else's.
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
    let options = Options {
        host: run.host,
        relay: run.relay_port.map_or(Door::Usual, |port| port.0),
        discovery: run.discovery_port.map_or(Door::Usual, |port| port.0),
        echo: run.echo_port.map_or(Door::Usual, |port| port.0),
        mirror: run.mirror == Switch::On,
        open_hosting: run.open_hosting,
        relay_rate: run.relay_rate,
        ..Options::new(run.place.data, run.listen)
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build()
        .map_err(|error| format!("cannot start: {error}"))?;
    runtime.block_on(async {
        // Before the line is printed, so that nobody who reads it stops the server the hard way.
        let (mut terminate, mut interrupt) = signal(SignalKind::terminate())
            .and_then(|terminate| Ok((terminate, signal(SignalKind::interrupt())?)))
            .map_err(|error| format!("cannot listen for signals: {error}"))?;
        let server = Server::start(options).await.map_err(|e| e.to_string())?;
        print(&server.address().to_string())?;
        info!(
            address = %server.address().public(),
            doors = ?server.doors(),
            "serving"
        );
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        info!("stopping");
        server.stop().await;
        Ok(())
    })
}

fn show_status(place: &Place, json: bool) -> Result<(), String> {
    let report = status::ask(&place.data).map_err(|error| {
        format!(
            "no server answers in {}: {error}; is it running, and is this its user?",
            place.data.display()
        )
    })?;
    if json {
        let text = serde_json::to_string_pretty(&report).map_err(|error| error.to_string())?;
        print(&text)
    } else {
        print(report.to_string().trim_end())
    }
}

fn print(text: &str) -> Result<(), String> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")
        .and_then(|()| out.flush())
        .map_err(|error| format!("cannot write the answer: {error}"))
}
