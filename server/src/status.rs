//! What the operator sees: a report over a socket in the server's folder, which only the server's user may open.

use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixListener;

/// The socket's name in the server's folder.
pub const SOCKET: &str = "status.sock";
const PATIENCE: Duration = Duration::from_secs(5);
const MAX_REPORT: u64 = 64 << 20;

/// The server in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Where it is and who, without the token.
    pub address: String,
    /// The relay's port.
    pub relay_port: Option<u16>,
    /// The port of address discovery.
    pub discovery_port: Option<u16>,
    /// The ports of the echo.
    pub echo_ports: Option<[u16; 2]>,
    /// Whether everybody may have networks hosted.
    pub open_hosting: bool,
    /// Seconds since it started.
    pub uptime: u64,
    /// Connected devices.
    pub connections: usize,
    /// Clients of the relay.
    pub relay_clients: usize,
    /// Letters that wait.
    pub letters: u64,
    /// The networks, by id.
    pub networks: Vec<NetworkReport>,
}

/// One network in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkReport {
    /// The first digits of its id.
    pub network: String,
    /// Events stored.
    pub events: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Streams that are open about it.
    pub sessions: usize,
}

/// Opens the socket in place of one that a killed server left.
pub(crate) fn listen(folder: &Path) -> io::Result<UnixListener> {
    let path = folder.join(SOCKET);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // The folder keeps others out until the mode is set.
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Writes a report to everybody who connects.
pub(crate) async fn serve(listener: UnixListener, report: Arc<dyn Fn() -> Report + Send + Sync>) {
    loop {
        let Ok((mut stream, _)) = listener.accept().await else {
            // Out of file handles: they come back.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let report = report.clone();
        let counted = tokio::task::spawn_blocking(move || serde_json::to_vec(&report()));
        let Ok(Ok(bytes)) = counted.await else {
            continue;
        };
        // Who does not read it does not want it.
        let _ = tokio::time::timeout(PATIENCE, stream.write_all(&bytes)).await;
    }
}

/// Asks the server of this folder.
///
/// # Errors
/// If none runs there.
pub fn ask(folder: &Path) -> io::Result<Report> {
    let stream = UnixStream::connect(folder.join(SOCKET))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut bytes = Vec::new();
    stream.take(MAX_REPORT).read_to_end(&mut bytes)?;
    serde_json::from_slice(&bytes).map_err(io::Error::other)
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let port = |port: Option<u16>| port.map_or("off".to_owned(), |port| port.to_string());
        writeln!(f, "server       {}", self.address)?;
        writeln!(f, "relay        {}", port(self.relay_port))?;
        writeln!(f, "discovery    {}", port(self.discovery_port))?;
        let echo = self
            .echo_ports
            .map_or("off".to_owned(), |[a, b]| format!("{a}, {b}"));
        writeln!(f, "echo         {echo}")?;
        let hosts = if self.open_hosting {
            "for everybody"
        } else {
            "for who has the token"
        };
        writeln!(f, "hosting      {hosts}")?;
        writeln!(f, "running for  {}", duration(self.uptime))?;
        writeln!(f, "connections  {}", self.connections)?;
        writeln!(f, "relaying     {}", self.relay_clients)?;
        writeln!(f, "letters      {}", self.letters)?;
        writeln!(f, "networks     {}", self.networks.len())?;
        for network in &self.networks {
            writeln!(
                f,
                "  {}  {} events, {} KiB, {} connected",
                network.network,
                network.events,
                network.bytes.div_ceil(1024),
                network.sessions
            )?;
        }
        Ok(())
    }
}

fn duration(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, ..) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}
