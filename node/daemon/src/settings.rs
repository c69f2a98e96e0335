//! What this device remembers of a network beside the ledger: whether it is up, where peers were last, what has ended.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mesh_ledger::ids::ServerKey;
use mesh_ledger::mirror::message::Doors;
use mesh_ledger::text::Label;
use mesh_os::dirs::{DirsError, refuse_newer, write_durably};
use serde::{Deserialize, Serialize};

/// The format.
const VERSION: u32 = 1;
/// The most peers whose addresses are remembered.
const MAX_PEERS: usize = 4096;
/// How often it is written when peers were last heard of.
const HEARD_EVERY: Duration = Duration::from_secs(300);
/// The most addresses of one.
const MAX_ADDRESSES: usize = 8;

/// See the module. Ids are hex.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    /// The format.
    version: u32,
    /// Whether the network is to be up.
    up: bool,
    /// What this device calls the network in names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    alias: Option<Label>,
    /// Where each device was last reached, the latest first.
    #[serde(default)]
    addresses: BTreeMap<String, Vec<SocketAddr>>,
    /// When each device was last heard of, milliseconds since 1970.
    #[serde(default)]
    seen: BTreeMap<String, u64>,
    /// Own offers that have ended: they stay so, whatever the clock says.
    #[serde(default)]
    ended: BTreeSet<String>,
    /// The ports of each server's relay and address discovery, as it last told them.
    #[serde(default)]
    doors: BTreeMap<String, Doors>,
    /// To which devices the key of each own narrow offer was handed.
    #[serde(default)]
    handed: BTreeMap<String, BTreeSet<String>>,
}

/// The settings could not be read or kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    /// The file.
    #[error(transparent)]
    File(#[from] DirsError),
    /// Unreadable.
    #[error("{}: {why}", .path.display())]
    Read { path: PathBuf, why: String },
}

/// The settings of one network, in a file of their own.
pub(crate) struct Settings {
    path: PathBuf,
    contents: Contents,
    dirty: bool,
    /// Whether somebody was heard of since they were written, and when that was, by the steady clock.
    heard: bool,
    saved: Duration,
}

impl Settings {
    /// Reads them; a network without any is down and knows nobody.
    pub(crate) fn load(folder: &Path) -> Result<Self, SettingsError> {
        let path = folder.join("settings.json");
        let failed = |why: String| SettingsError::Read {
            path: path.clone(),
            why,
        };
        let contents = match std::fs::read(&path) {
            Ok(bytes) => {
                refuse_newer(&path, &bytes, VERSION)?;
                serde_json::from_slice(&bytes).map_err(|error| failed(error.to_string()))?
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Contents {
                version: VERSION,
                up: false,
                alias: None,
                addresses: BTreeMap::new(),
                seen: BTreeMap::new(),
                ended: BTreeSet::new(),
                doors: BTreeMap::new(),
                handed: BTreeMap::new(),
            },
            Err(error) => return Err(failed(error.to_string())),
        };
        if contents.version != VERSION {
            return Err(failed(format!(
                "there never was a format {}: restore the file from a backup, or move it away",
                contents.version
            )));
        }
        Ok(Self {
            path,
            contents,
            dirty: false,
            heard: false,
            saved: Duration::ZERO,
        })
    }

    /// Whether the network is to be up.
    pub(crate) fn up(&self) -> bool {
        self.contents.up
    }

    /// Sets that, and keeps it at once.
    pub(crate) fn set_up(&mut self, up: bool) -> Result<(), SettingsError> {
        self.contents.up = up;
        self.dirty = true;
        self.save()
    }

    /// What this device calls the network in names, if that is settled.
    pub(crate) fn alias(&self) -> Option<&Label> {
        self.contents.alias.as_ref()
    }

    /// Settles that, for good: names that somebody wrote down go on to mean the same.
    pub(crate) fn set_alias(&mut self, alias: Label) -> Result<(), SettingsError> {
        self.contents.alias = Some(alias);
        self.dirty = true;
        self.save()
    }

    /// Where a device was last reached.
    pub(crate) fn addresses(&self, device: &str) -> &[SocketAddr] {
        self.contents
            .addresses
            .get(device)
            .map(Vec::as_slice)
            .unwrap_or_default()
    }

    /// A device was reached there.
    pub(crate) fn reached(&mut self, device: String, address: SocketAddr) {
        let count = self.contents.addresses.len();
        match self.contents.addresses.get_mut(&device) {
            Some(known) if known.first() == Some(&address) => return,
            Some(known) => {
                known.retain(|other| *other != address);
                known.insert(0, address);
                known.truncate(MAX_ADDRESSES);
            }
            None if count < MAX_PEERS => {
                self.contents.addresses.insert(device, vec![address]);
            }
            None => return,
        }
        self.dirty = true;
    }

    /// When a device was last heard of.
    pub(crate) fn seen(&self, device: &str) -> Option<u64> {
        self.contents.seen.get(device).copied()
    }

    /// A device was heard of.
    pub(crate) fn heard(&mut self, device: String, now: u64) {
        if self.contents.seen.len() < MAX_PEERS || self.contents.seen.contains_key(&device) {
            self.contents.seen.insert(device, now);
            self.heard = true;
        }
    }

    /// The own offers that have ended.
    pub(crate) fn ended(&self) -> &BTreeSet<String> {
        &self.contents.ended
    }

    /// An own offer has ended; kept at once.
    pub(crate) fn end(&mut self, offer: String) -> Result<(), SettingsError> {
        if self.contents.ended.insert(offer) {
            self.dirty = true;
            self.save()?;
        }
        Ok(())
    }

    /// To whom the key of an own narrow offer was handed, if to anybody.
    pub(crate) fn handed(&self, key: &str) -> Option<&BTreeSet<String>> {
        self.contents.handed.get(key)
    }

    /// The key of an own narrow offer is about to be handed to a device; kept at once.
    pub(crate) fn hand(&mut self, key: String, device: String) -> Result<(), SettingsError> {
        if self.contents.handed.entry(key).or_default().insert(device) {
            self.dirty = true;
            self.save()?;
        }
        Ok(())
    }

    /// Forgets to whom keys were handed whose offers no longer stand.
    pub(crate) fn retain_handed(&mut self, key: impl Fn(&str) -> bool) {
        let before = self.contents.handed.len();
        self.contents.handed.retain(|id, _| key(id));
        self.dirty |= self.contents.handed.len() != before;
    }

    /// The last known doors of the network's servers.
    pub(crate) fn doors(&self) -> BTreeMap<ServerKey, Doors> {
        let doors = self.contents.doors.iter();
        doors
            .filter_map(|(key, doors)| Some((key.parse().ok()?, *doors)))
            .collect()
    }

    /// Sets them; they are written with what else changed.
    pub(crate) fn set_doors(&mut self, doors: &BTreeMap<ServerKey, Doors>) {
        let doors = doors.iter().map(|(key, doors)| (key.to_string(), *doors));
        let doors: BTreeMap<String, Doors> = doors.collect();
        if self.contents.doors != doors {
            self.contents.doors = doors;
            self.dirty = true;
        }
    }

    /// Forgets ended offers that no longer stand, and devices that are gone.
    pub(crate) fn retain(&mut self, offer: impl Fn(&str) -> bool, device: impl Fn(&str) -> bool) {
        self.contents.ended.retain(|id| offer(id));
        self.contents.addresses.retain(|id, _| device(id));
        self.contents.seen.retain(|id, _| device(id));
    }

    /// Writes what changed, but not each time that somebody was heard of: a quiet disk matters more.
    pub(crate) fn save_lazily(&mut self, now: Duration) -> Result<(), SettingsError> {
        if self.dirty || (self.heard && now.saturating_sub(self.saved) > HEARD_EVERY) {
            self.save()?;
            self.saved = now;
        }
        Ok(())
    }

    /// Writes what changed.
    pub(crate) fn save(&mut self) -> Result<(), SettingsError> {
        if self.dirty || self.heard {
            let bytes =
                serde_json::to_vec_pretty(&self.contents).map_err(|error| SettingsError::Read {
                    path: self.path.clone(),
                    why: error.to_string(),
                })?;
            write_durably(&self.path, &bytes, 0o600)?;
            self.dirty = false;
            self.heard = false;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn settings_read_back_as_kept_and_the_latest_address_comes_first() {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = Settings::load(folder.path()).unwrap();
        assert!(!settings.up());
        let addresses: Vec<SocketAddr> = (1..=10)
            .map(|n| SocketAddr::from(([192, 0, 2, n], 1)))
            .collect();
        for address in &addresses {
            settings.reached("aa".to_owned(), *address);
        }
        settings.reached("aa".to_owned(), addresses[4]);
        settings.end("bb".to_owned()).unwrap();
        settings.hand("cc".to_owned(), "aa".to_owned()).unwrap();
        let doors = Doors {
            relay: Some(7443),
            discovery: None,
        };
        settings.set_doors(&[(ServerKey([7; 32]), doors)].into());
        settings.set_alias("home-2".parse().unwrap()).unwrap();
        settings.set_up(true).unwrap();
        let read = Settings::load(folder.path()).unwrap();
        assert!(read.up());
        assert_eq!(read.alias().unwrap().as_str(), "home-2");
        assert_eq!(read.addresses("aa").len(), MAX_ADDRESSES);
        assert_eq!(read.addresses("aa")[0], addresses[4]);
        assert!(read.ended().contains("bb"));
        assert_eq!(read.handed("cc"), Some(&["aa".to_owned()].into()));
        assert_eq!(read.handed("dd"), None);
        assert_eq!(read.doors(), [(ServerKey([7; 32]), doors)].into());
    }

    #[test]
    fn settings_of_a_later_release_are_refused_with_the_way_out_and_left_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("settings.json");
        for text in [
            r#"{"version":2,"up":true}"#,
            r#"{"version":7,"state":{"of":["another","shape"]}}"#,
        ] {
            std::fs::write(&path, text).unwrap();
            let error = Settings::load(folder.path()).err().unwrap();
            assert!(matches!(
                error,
                SettingsError::File(DirsError::Newer { reads: 1, .. })
            ));
            let told = error.to_string();
            assert!(
                told.contains("settings.json") && told.contains("upgrade mesh"),
                "{told}"
            );
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn settings_that_are_damaged_or_hold_unknown_keys_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        for text in [
            r#"{"version":0,"up":true}"#,
            r#"{"version":1,"up":true,"upp":1}"#,
            r#"{"version":1,"up":true,"alias":"a.b"}"#,
            "{",
        ] {
            std::fs::write(folder.path().join("settings.json"), text).unwrap();
            assert!(Settings::load(folder.path()).is_err(), "{text}");
        }
    }
}
