//! The journal: one small file per interface whose rules may exist, written before they are made and removed after they
//! are gone. Its name is all it says.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::dirs::{DirsError, remove_durably, write_durably};
use crate::firewall::is_ours;

#[derive(Debug)]
pub(super) struct Journal {
    interface: String,
    path: PathBuf,
}

impl Journal {
    pub(super) fn open(run: &Path, interface: &str) -> Result<Self, DirsError> {
        let folder = run.join(FOLDER);
        fs::create_dir_all(&folder).map_err(|source| DirsError::Io {
            path: folder.clone(),
            source,
        })?;
        Ok(Self {
            interface: interface.to_owned(),
            path: folder.join(interface),
        })
    }

    pub(super) fn interface(&self) -> &str {
        &self.interface
    }

    /// On the disk when this returns.
    pub(super) fn note(&self) -> Result<(), DirsError> {
        write_durably(&self.path, b"", 0o600)
    }

    pub(super) fn clear(&self) -> Result<(), DirsError> {
        remove_durably(&self.path)
    }

    /// What is noted in the folder. Files of other names are not ours and are left alone.
    pub(super) fn left(run: &Path) -> Result<Vec<Self>, DirsError> {
        let folder = run.join(FOLDER);
        let failed = |source| DirsError::Io {
            path: folder.clone(),
            source,
        };
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
            entries => entries.map_err(failed)?,
        };
        let mut left = Vec::new();
        for entry in entries {
            let entry = entry.map_err(failed)?;
            if let Ok(interface) = entry.file_name().into_string()
                && is_ours(&interface)
            {
                left.push(Self {
                    interface,
                    path: entry.path(),
                });
            }
        }
        left.sort_unstable_by(|a, b| a.interface.cmp(&b.interface));
        Ok(left)
    }
}

const FOLDER: &str = "applied";
