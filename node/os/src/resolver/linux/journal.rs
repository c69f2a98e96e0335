//! What was done to `resolv.conf`, noted before it is done.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::super::ResolverError;
use super::conf::Entry;
use crate::dirs::{DirsError, refuse_newer, remove_durably, write_durably};

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Journal {
    /// The format. The first releases wrote none.
    #[serde(default = "first")]
    version: u32,
    /// What each network adds, by interface.
    pub(super) entries: BTreeMap<String, Entry>,
    /// What was there before.
    pub(super) before: Before,
    /// What was written last, and what may be there still if that was interrupted.
    pub(super) written: Vec<Vec<u8>>,
}

const VERSION: u32 = 1;

fn first() -> u32 {
    1
}

impl Default for Journal {
    fn default() -> Self {
        Self {
            version: VERSION,
            entries: BTreeMap::new(),
            before: Before::default(),
            written: Vec::new(),
        }
    }
}

/// What was in the place of the file.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Before {
    /// Nothing.
    #[default]
    Absent,
    /// A link to there.
    Link(PathBuf),
    /// A file with this in it.
    File(Vec<u8>),
}

impl Journal {
    /// Reads it; `None` if there is none.
    pub(super) fn load(path: &Path) -> Result<Option<Self>, ResolverError> {
        let bytes = match std::fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            bytes => bytes.map_err(|source| DirsError::Io {
                path: path.to_owned(),
                source,
            })?,
        };
        refuse_newer(path, &bytes, VERSION)?;
        let journal = serde_json::from_slice(&bytes);
        journal.map(Some).map_err(|error| ResolverError::Journal {
            path: path.to_owned(),
            why: error.to_string(),
        })
    }

    /// On the disk when this returns.
    pub(super) fn save(&self, path: &Path) -> Result<(), ResolverError> {
        let bytes = serde_json::to_vec(self).map_err(|error| ResolverError::Journal {
            path: path.to_owned(),
            why: error.to_string(),
        })?;
        Ok(write_durably(path, &bytes, 0o600)?)
    }

    /// Nothing of ours is left.
    pub(super) fn remove(path: &Path) -> Result<(), ResolverError> {
        Ok(remove_durably(path)?)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_later_releases_note_is_refused_and_kept_and_one_without_a_version_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("resolv.json");
        let newer = r#"{"version":2,"entries":{},"else":1}"#;
        std::fs::write(&path, newer).unwrap();
        let error = Journal::load(&path).unwrap_err();
        assert!(matches!(
            error,
            ResolverError::File(DirsError::Newer { found: 2, .. })
        ));
        assert!(error.to_string().contains("upgrade mesh"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), newer);

        let first = r#"{"entries":{},"before":"Absent","written":[]}"#;
        std::fs::write(&path, first).unwrap();
        let read = Journal::load(&path).unwrap().unwrap();
        assert_eq!(read, Journal::default());
        read.save(&path).unwrap();
        assert!(
            std::fs::read_to_string(&path)
                .unwrap()
                .contains(r#""version":1"#)
        );
    }
}
