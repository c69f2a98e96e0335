//! The journal: one small file per interface whose rules may exist, written before they are made and removed after they
//! are gone. Its name says which; what stands in it is the number of the format, so that a later release that notes more is
//! not cleaned up after by one that would leave half of it.

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
        write_durably(&self.path, format!("{FORMAT}\n").as_bytes(), 0o600)
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
                let path = entry.path();
                check_format(&path)?;
                left.push(Self { interface, path });
            }
        }
        left.sort_unstable_by(|a, b| a.interface.cmp(&b.interface));
        Ok(left)
    }
}

/// The first releases wrote nothing.
fn check_format(path: &Path) -> Result<(), DirsError> {
    let text = fs::read_to_string(path).map_err(|source| DirsError::Io {
        path: path.to_owned(),
        source,
    })?;
    match text.lines().next().unwrap_or_default().trim().parse() {
        Ok(found) if found > FORMAT => Err(DirsError::Newer {
            path: path.to_owned(),
            found,
            reads: FORMAT,
        }),
        _ => Ok(()),
    }
}

const FOLDER: &str = "applied";
const FORMAT: u32 = 1;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_later_releases_note_is_refused_and_kept_and_an_empty_one_is_of_the_first() {
        let run = tempfile::tempdir().unwrap();
        let journal = Journal::open(run.path(), "mesh0").unwrap();
        journal.note().unwrap();
        assert_eq!(Journal::left(run.path()).unwrap().len(), 1);
        let file = run.path().join(FOLDER).join("mesh0");
        std::fs::write(&file, "").unwrap();
        assert_eq!(Journal::left(run.path()).unwrap().len(), 1);
        std::fs::write(&file, "2\nmore\n").unwrap();
        let error = Journal::left(run.path()).unwrap_err();
        assert!(matches!(error, DirsError::Newer { found: 2, .. }));
        assert!(error.to_string().contains("upgrade mesh"));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "2\nmore\n");
    }
}
