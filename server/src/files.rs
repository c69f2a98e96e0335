//! The server's folder: its key, the operator's token, the ceiling of tip times. Nobody else may read it.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// A file of the server's folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The system says no.
    #[error("cannot use {0}: {1}")]
    Io(PathBuf, io::Error),
    /// Others may read or write it.
    #[error("{0} is open to others: its mode must be {1:o}; check who read it, then chmod it")]
    Open(PathBuf, u32),
    /// A later release wrote it.
    #[error("{0} was written by a later release of mesh-server: upgrade mesh-server")]
    Later(PathBuf),
    /// It has the wrong length.
    #[error("{0} is damaged: it must hold {1} bytes; restore it from a backup")]
    Damaged(PathBuf, usize),
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    Random,
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> FilesError + use<'_> {
    move |error| FilesError::Io(path.to_owned(), error)
}

/// Makes the folder, or sees to it that it is nobody else's.
pub(crate) fn folder(path: &Path) -> Result<(), FilesError> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(at(path)(error)),
        _ => {}
    }
    let metadata = std::fs::metadata(path).map_err(at(path))?;
    private(path, &metadata, 0o700)
}

fn private(path: &Path, metadata: &std::fs::Metadata, mode: u32) -> Result<(), FilesError> {
    if metadata.mode() & 0o777 & !mode != 0 {
        return Err(FilesError::Open(path.to_owned(), mode));
    }
    Ok(())
}

/// The format of a secret's file: its first byte.
const VERSION: u8 = 1;

/// A secret of `N` random bytes in a file, behind a byte that says its format; made if there is none.
pub(crate) fn secret<const N: usize>(path: &Path) -> Result<Zeroizing<[u8; N]>, FilesError> {
    let file = match OpenOptions::new().read(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut secret = Zeroizing::new([0; N]);
            getrandom::fill(secret.as_mut()).map_err(|_| FilesError::Random)?;
            let mut bytes = Zeroizing::new(Vec::with_capacity(1 + N));
            bytes.push(VERSION);
            bytes.extend_from_slice(secret.as_ref());
            write(path, &bytes)?;
            return Ok(secret);
        }
        Err(error) => return Err(at(path)(error)),
    };
    private(path, &file.metadata().map_err(at(path))?, 0o600)?;
    let mut secret = Zeroizing::new([0; N]);
    let (mut version, mut more) = ([0; 1], [0; 1]);
    let mut file = file;
    let versioned = file.read_exact(&mut version).is_ok();
    if versioned && version[0] > VERSION {
        return Err(FilesError::Later(path.to_owned()));
    }
    let whole = versioned
        && version[0] == VERSION
        && file.read_exact(secret.as_mut()).is_ok()
        && file.read(&mut more).map_err(at(path))? == 0;
    if whole {
        Ok(secret)
    } else {
        Err(FilesError::Damaged(path.to_owned(), 1 + N))
    }
}

/// Writes a file that only its owner may read, durably and at once.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), FilesError> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".new");
    let draft = PathBuf::from(draft);
    let written = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&draft, path)?;
        match path.parent() {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    };
    written().map_err(at(path))
}

/// The ceiling of tip times. It is overwritten in place, which needs no room on a full disk.
pub(crate) struct Ceiling {
    file: File,
    path: PathBuf,
}

impl Ceiling {
    /// Opens the file, and makes it if there is none.
    pub(crate) fn open(path: &Path) -> Result<(Self, u64), FilesError> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(at(path))?;
        let ceiling = Self {
            file,
            path: path.to_owned(),
        };
        let mut bytes = [0; 8];
        let value = match ceiling.file.read_exact_at(&mut bytes, 0) {
            Ok(()) => u64::from_be_bytes(bytes),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                ceiling.write(0)?;
                0
            }
            Err(error) => return Err(at(path)(error)),
        };
        Ok((ceiling, value))
    }

    /// Writes it durably.
    pub(crate) fn write(&self, value: u64) -> Result<(), FilesError> {
        self.file
            .write_all_at(&value.to_be_bytes(), 0)
            .and_then(|()| self.file.sync_data())
            .map_err(at(&self.path))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_secret_is_made_once_and_refused_when_open_to_others_or_cut() {
        let temp = tempfile::tempdir().unwrap();
        let home = temp.path().join("data");
        folder(&home).unwrap();
        let path = home.join("server.key");
        let first = secret::<32>(&path).unwrap();
        assert_eq!(*first, *secret::<32>(&path).unwrap());
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(matches!(
            secret::<16>(&path),
            Err(FilesError::Damaged(_, 17))
        ));
        assert!(matches!(
            secret::<33>(&path),
            Err(FilesError::Damaged(_, 34))
        ));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(secret::<32>(&path), Err(FilesError::Open(..))));
        std::fs::set_permissions(&home, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert!(matches!(folder(&home), Err(FilesError::Open(..))));
    }

    #[test]
    fn a_secret_of_a_later_release_is_left_as_it_is_and_says_so() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("server.key");
        let later = [&[2; 1][..], &[7; 50]].concat();
        write(&path, &later).unwrap();
        let refused = secret::<32>(&path).unwrap_err();
        assert!(matches!(refused, FilesError::Later(_)));
        assert!(refused.to_string().contains("upgrade mesh-server"));
        assert_eq!(std::fs::read(&path).unwrap(), later);
        for bad in [&[][..], &[1], &[0; 33]] {
            write(&path, bad).unwrap();
            assert!(matches!(
                secret::<32>(&path),
                Err(FilesError::Damaged(_, 33))
            ));
        }
    }

    #[test]
    fn a_ceiling_is_read_back() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("clock");
        let (ceiling, value) = Ceiling::open(&path).unwrap();
        assert_eq!(value, 0);
        ceiling.write(77).unwrap();
        assert_eq!(Ceiling::open(&path).unwrap().1, 77);
    }
}
