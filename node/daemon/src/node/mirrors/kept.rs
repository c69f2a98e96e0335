//! What is kept of a network's servers across a restart: their newest tips, and what they did wrong.

use std::collections::BTreeMap;
use std::path::Path;

use mesh_core::mirror::{Kept, Witness};
use mesh_ledger::ids::{NetworkId, ServerKey};
use mesh_ledger::mirror::ServerAddress;
use mesh_os::dirs::{DirsError, refuse_newer, write_durably};
use serde::{Deserialize, Serialize};
use tracing::{error, warn};

use super::Watched;
use crate::clock::now_ms;
use crate::node::Net;

const FILE: &str = "mirrors.json";
/// The format.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    version: u32,
    /// By the server's key.
    servers: BTreeMap<String, Kept>,
}

/// What was kept; nothing if that cannot be read, which costs the memory of old lies and nothing else.
///
/// # Errors
/// [`DirsError::Newer`] if a later release kept it: its proofs are not overwritten.
pub(crate) fn load(
    folder: &Path,
    network: NetworkId,
) -> Result<BTreeMap<ServerKey, Watched>, DirsError> {
    let path = folder.join(FILE);
    let contents = match std::fs::read(&path) {
        Ok(bytes) => {
            refuse_newer(&path, &bytes, VERSION)?;
            serde_json::from_slice::<Contents>(&bytes).map_err(|error| error.to_string())
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => Err(error.to_string()),
    };
    Ok(match contents {
        Ok(contents) => {
            let servers = contents.servers.into_iter();
            let keyed = servers.filter_map(|(key, kept)| Some((key.parse().ok()?, kept)));
            keyed
                .map(|(key, kept)| (key, Watched::new(Witness::new(network, key, kept))))
                .collect()
        }
        Err(why) => {
            warn!("{}: {why}", path.display());
            BTreeMap::new()
        }
    })
}

impl Net {
    /// Watches exactly these servers.
    pub(super) fn follow_servers(&mut self, servers: &BTreeMap<ServerKey, ServerAddress>) {
        let before = self.mirrors.len();
        self.mirrors.retain(|key, _| servers.contains_key(key));
        self.mirrors_dirty |= self.mirrors.len() != before;
        for key in servers.keys() {
            let network = self.id;
            self.mirrors
                .entry(*key)
                .or_insert_with(|| Watched::new(Witness::new(network, *key, Kept::default())));
        }
    }

    /// A server may have been caught: says so once, and keeps it at once.
    pub(super) fn note_accusations(&mut self, key: &ServerKey) {
        let name = self.name();
        let Some(watched) = self.mirrors.get_mut(key) else {
            return;
        };
        let fresh = watched.witness.date(now_ms());
        for accusation in &fresh {
            error!(network = %name, server = %key.short(), "the server lied: {}", accusation.what);
        }
        if !fresh.is_empty()
            && let Err(error) = self.save_mirrors()
        {
            warn!("{error}");
        }
    }

    /// Writes what changed.
    pub(crate) fn save_mirrors(&mut self) -> Result<(), DirsError> {
        for watched in self.mirrors.values_mut() {
            self.mirrors_dirty |= watched.witness.take_dirty();
        }
        if !self.mirrors_dirty {
            return Ok(());
        }
        let servers = self.mirrors.iter();
        let contents = Contents {
            version: VERSION,
            servers: servers
                .map(|(key, watched)| (key.to_string(), watched.witness.kept()))
                .collect(),
        };
        if let Ok(bytes) = serde_json::to_vec(&contents) {
            write_durably(&self.folder.join(FILE), &bytes, 0o600)?;
            self.mirrors_dirty = false;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_a_later_release_kept_is_refused_and_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let later = format!(r#"{{"version":{},"proofs":[]}}"#, VERSION + 1);
        std::fs::write(&path, &later).unwrap();
        let Err(refused) = load(folder.path(), NetworkId([1; 32])) else {
            panic!("it was read");
        };
        let told = refused.to_string();
        assert!(
            told.contains(FILE) && told.contains("upgrade mesh"),
            "{told}"
        );
        assert_eq!(std::fs::read_to_string(&path).unwrap(), later);
    }

    #[test]
    fn what_is_missing_or_damaged_costs_the_memory_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let network = NetworkId([1; 32]);
        assert!(load(folder.path(), network).unwrap().is_empty());
        for bad in ["", "{", r#"{"version":1}"#] {
            std::fs::write(folder.path().join(FILE), bad).unwrap();
            assert!(load(folder.path(), network).unwrap().is_empty());
        }
    }
}
