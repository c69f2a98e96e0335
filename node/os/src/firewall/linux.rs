//! nftables, through the JSON of `nft -j`.

mod foreign;
mod render;

use std::io;
use std::path::Path;
use std::process::Stdio;

use mesh_core::plan::Ruleset;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

pub use self::foreign::closed_chains;
pub use self::render::render;
use super::{FirewallError, is_ours};

/// Makes these rules, and no older ones, count for packets from and through the interface. One transaction: the old
/// table holds until the new one does.
///
/// # Errors
/// See [`FirewallError`].
pub async fn replace(interface: &str, rules: &Ruleset) -> Result<(), FirewallError> {
    run(interface, &render(interface, rules)).await
}

/// Removes the interface's table. That there is none is no error.
///
/// # Errors
/// See [`FirewallError`].
pub async fn remove(interface: &str) -> Result<(), FirewallError> {
    run(interface, &render::removal(interface)).await
}

async fn run(interface: &str, document: &str) -> Result<(), FirewallError> {
    if !is_ours(interface) {
        return Err(FirewallError::ForeignInterface(interface.to_owned()));
    }
    let path = PLACES
        .into_iter()
        .find(|path| Path::new(path).exists())
        .ok_or(FirewallError::Missing)?;
    let unusable = |source| FirewallError::Unusable { path, source };
    let mut child = Command::new(path)
        .args(["-j", "-f", "-"])
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(unusable)?;
    if let Some(mut input) = child.stdin.take() {
        // If it dies before it has read all, its status says more than the broken pipe.
        match input.write_all(document.as_bytes()).await {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(unusable(error)),
            _ => {}
        }
    }
    let output = child.wait_with_output().await.map_err(unusable)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let message = said
        .lines()
        .find(|line| !line.trim().is_empty())
        .unwrap_or("it gave no reason")
        .trim();
    Err(FirewallError::Refused {
        interface: interface.to_owned(),
        message: message.to_owned(),
    })
}

/// Where distributions put it. Never looked up in a `PATH` that somebody else may have set.
const PLACES: [&str; 5] = [
    "/usr/sbin/nft",
    "/sbin/nft",
    "/usr/bin/nft",
    "/usr/local/sbin/nft",
    "/run/current-system/sw/bin/nft",
];
