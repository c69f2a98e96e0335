//! Where things are kept, and files that must be secret or must survive.
//!
//! | | at | with `--root DIR` | mode |
//! |---|---|---|---|
//! | settings | `/etc/mesh` | `DIR/etc/mesh` | 0755 |
//! | state: keys, stores | `/var/lib/mesh` | `DIR/var/lib/mesh` | 0700 |
//! | sockets, journals | `/run/mesh` | `DIR/run/mesh` | 0755 |
//! | sockets for `wg` | `/var/run/wireguard` | `DIR/var/run/wireguard` | 0700 |

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use zeroize::Zeroizing;

/// The folders of one daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dirs {
    /// Settings.
    pub etc: PathBuf,
    /// Keys and stores; nobody else may look.
    pub state: PathBuf,
    /// What need not survive a reboot.
    pub run: PathBuf,
    /// The sockets by which `wg` asks about interfaces, which looks nowhere else. [`crate::uapi`] makes it when it needs it.
    pub wireguard: PathBuf,
}

/// Why a folder or file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirsError {
    /// The system said no.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Others may read or change what must be secret.
    #[error(
        "{path} has mode {mode:04o}, which lets others in; if nobody has seen it, run: chmod {wanted:o} {path}",
        path = .path.display()
    )]
    TooOpen {
        /// The folder or file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
        /// The mode it should have.
        wanted: u32,
    },
    /// It belongs to somebody else.
    #[error("{path} belongs to user {owner}, not to the user of this process; it is not safe to use", path = .path.display())]
    ForeignOwner {
        /// The folder or file.
        path: PathBuf,
        /// The owner's number.
        owner: u32,
    },
    /// It is not what it should be: a link, a folder in the place of a file, too long.
    #[error("{path} is {what}", path = .path.display())]
    Unfit {
        /// The folder or file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A later release wrote it.
    #[error(
        "{path} was written by a later release of mesh (format {found}; this one reads up to {reads}): upgrade mesh; it was \
         left as it is",
        path = .path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest that this release reads.
        reads: u32,
    },
}

/// Refuses a file whose `"version"` is above `reads`, whatever else stands in it: a later release may have changed all of it.
/// What is no JSON, or says no version, is left to whoever reads it.
///
/// # Errors
/// [`DirsError::Newer`].
pub fn refuse_newer(path: &Path, json: &[u8], reads: u32) -> Result<(), DirsError> {
    #[derive(serde::Deserialize)]
    struct Versioned {
        version: u32,
    }
    match serde_json::from_slice::<Versioned>(json) {
        Ok(Versioned { version: found }) if found > reads => Err(DirsError::Newer {
            path: path.to_owned(),
            found,
            reads,
        }),
        _ => Ok(()),
    }
}

/// The longest secret file that is read.
pub const MAX_SECRET: u64 = 64 * 1024;

impl Dirs {
    /// The folders of the system, or those under `root`.
    #[must_use]
    pub fn new(root: Option<&Path>) -> Self {
        let root = root.unwrap_or(Path::new("/"));
        Self {
            etc: root.join("etc/mesh"),
            state: root.join("var/lib/mesh"),
            run: root.join("run/mesh"),
            wireguard: root.join("var/run/wireguard"),
        }
    }

    /// Makes the folders that are missing, and refuses a state folder that lets others in.
    ///
    /// # Errors
    /// See [`DirsError`].
    pub fn create(&self) -> Result<(), DirsError> {
        for (path, mode) in [(&self.etc, 0o755), (&self.state, 0o700), (&self.run, 0o755)] {
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent).map_err(at(parent))?;
            }
            match DirBuilder::new().mode(mode).create(path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(at(path)(error));
                }
                // The umask may have taken bits that the daemon's own folders need.
                Ok(()) => {
                    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(at(path))?
                }
                Err(_) => {}
            }
        }
        let state = fs::metadata(&self.state).map_err(at(&self.state))?;
        if !state.is_dir() {
            return Err(DirsError::Unfit {
                path: self.state.clone(),
                what: "not a folder",
            });
        }
        private(&self.state, &state, 0o700)
    }

    /// The daemon's control socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.run.join("meshd.sock")
    }
}

/// Makes a folder that nobody else may look into, if it is not there, and refuses one that lets others in.
///
/// # Errors
/// See [`DirsError`].
pub fn create_private(path: &Path) -> Result<(), DirsError> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(at(path)(error)),
        _ => {}
    }
    let metadata = fs::metadata(path).map_err(at(path))?;
    if !metadata.is_dir() {
        return Err(DirsError::Unfit {
            path: path.into(),
            what: "not a folder",
        });
    }
    private(path, &metadata, 0o700)
}

/// Reads a secret file; `None` if there is none. The memory is wiped when it is dropped.
///
/// # Errors
/// When others may read or write it, when it is somebody else's, or is no plain file of at most [`MAX_SECRET`] bytes.
pub fn read_secret(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, DirsError> {
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path);
    let file = match opened {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {
            return Err(DirsError::Unfit {
                path: path.into(),
                what: "a link; a key must be a plain file",
            });
        }
        opened => opened.map_err(at(path))?,
    };
    let metadata = file.metadata().map_err(at(path))?;
    if !metadata.is_file() {
        return Err(DirsError::Unfit {
            path: path.into(),
            what: "not a plain file",
        });
    }
    private(path, &metadata, 0o600)?;
    // With all its room from the start, so that no copy is left behind by growing.
    let room = usize::try_from(metadata.len().min(MAX_SECRET)).unwrap_or(0) + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    file.take(MAX_SECRET + 1)
        .read_to_end(&mut bytes)
        .map_err(at(path))?;
    if bytes.len() as u64 > MAX_SECRET {
        return Err(DirsError::Unfit {
            path: path.into(),
            what: "too long to be a key",
        });
    }
    Ok(Some(bytes))
}

/// Writes a secret file with mode 0600. When this returns, it is on the disk; after a crash, the old or the new file is
/// there, whole.
///
/// # Errors
/// See [`DirsError`].
pub fn write_secret(path: &Path, bytes: &[u8]) -> Result<(), DirsError> {
    write_durably(path, bytes, 0o600)
}

/// Writes a file with this mode, durably and at once, as [`write_secret`] does.
///
/// # Errors
/// See [`DirsError`].
pub fn write_durably(path: &Path, bytes: &[u8], mode: u32) -> Result<(), DirsError> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(DirsError::Unfit {
            path: path.into(),
            what: "not the name of a file",
        });
    };
    let mut draft_name = std::ffi::OsString::from(".");
    draft_name.push(name);
    draft_name.push(format!(
        ".{}.{}",
        std::process::id(),
        COUNT.fetch_add(1, Ordering::Relaxed)
    ));
    let draft = folder.join(draft_name);
    let written = (|| {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&draft, path)?;
        File::open(folder)?.sync_all()
    })();
    if written.is_err() {
        // What is left of a failed attempt may hold the secret; that it is gone already is as well.
        let _ = fs::remove_file(&draft);
    }
    written.map_err(at(path))
}

/// Removes a file durably. That there is none is no error.
///
/// # Errors
/// See [`DirsError`].
pub fn remove_durably(path: &Path) -> Result<(), DirsError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(path)(error)),
        _ => {}
    }
    let folder = path.parent().unwrap_or(Path::new("/"));
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(at(folder))
}

fn private(path: &Path, metadata: &fs::Metadata, wanted: u32) -> Result<(), DirsError> {
    let owner = metadata.uid();
    if owner != nix::unistd::geteuid().as_raw() {
        return Err(DirsError::ForeignOwner {
            path: path.into(),
            owner,
        });
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(DirsError::TooOpen {
            path: path.into(),
            mode,
            wanted,
        });
    }
    Ok(())
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> DirsError + use<> {
    let path = path.to_owned();
    |source| DirsError::Io { path, source }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_folders_are_made_and_the_state_is_private() {
        let root = tempfile::tempdir().unwrap();
        let dirs = Dirs::new(Some(root.path()));
        dirs.create().unwrap();
        dirs.create().unwrap();
        assert_eq!(fs::metadata(&dirs.state).unwrap().mode() & 0o7777, 0o700);
        assert_eq!(dirs.socket(), root.path().join("run/mesh/meshd.sock"));
        fs::set_permissions(&dirs.state, fs::Permissions::from_mode(0o750)).unwrap();
        assert!(matches!(
            dirs.create(),
            Err(DirsError::TooOpen { mode: 0o750, .. })
        ));
    }

    #[test]
    fn a_secret_comes_back_as_it_was_written_and_nobody_else_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        assert!(read_secret(&path).unwrap().is_none());
        for secret in [&b"first"[..], b"second"] {
            write_secret(&path, secret).unwrap();
            assert_eq!(read_secret(&path).unwrap().unwrap().as_slice(), secret);
        }
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            1,
            "no draft is left"
        );
    }

    #[test]
    fn a_key_that_others_may_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        write_secret(&path, b"secret").unwrap();
        for mode in [0o640, 0o604, 0o660] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert!(
                matches!(read_secret(&path), Err(DirsError::TooOpen { .. })),
                "{mode:o}"
            );
        }
    }

    #[test]
    fn a_link_or_an_endless_file_is_no_key() {
        let folder = tempfile::tempdir().unwrap();
        let (key, link) = (folder.path().join("key"), folder.path().join("link"));
        write_secret(&key, &vec![0; usize::try_from(MAX_SECRET).unwrap() + 1]).unwrap();
        assert!(matches!(read_secret(&key), Err(DirsError::Unfit { .. })));
        std::os::unix::fs::symlink(&key, &link).unwrap();
        assert!(matches!(read_secret(&link), Err(DirsError::Unfit { .. })));
    }
}
