//! This device's keys: made once, kept in files that only the daemon's user may read.
//!
//! The user's key lies in one of three files: `user.key` holds it, `user.locked` holds it under a passphrase, `user.pub`
//! names it where it stays on another device of the user. While it is changed there may be two for a moment: the locked
//! one counts, so that a crash never takes a passphrase off.

use std::path::Path;

use mesh_core::keyfile::{BadKeyFile, Locked};
use mesh_ledger::ids::UserId;
use mesh_ledger::keys::{BoxSecret, DeviceSecret, UserSecret};
use mesh_os::dirs::{DirsError, read_secret, write_durably, write_secret};
use zeroize::Zeroizing;

use crate::random::{self, NoRandomness};

/// The keys could not be read or made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentityError {
    /// A file is missing its mode, its owner or its contents.
    #[error(transparent)]
    File(#[from] DirsError),
    /// A key file has the wrong length.
    #[error(
        "{0} is damaged: it must hold 32 bytes; restore it from a backup, or move it away to begin as somebody new"
    )]
    Damaged(String),
    /// The note of the folder's format is no number.
    #[error("{0} is damaged: it must hold the number of a format; write 1 into it")]
    Format(String),
    /// The user key under a passphrase cannot be read.
    #[error("{path}: {why}")]
    Locked {
        /// The file.
        path: String,
        /// What is wrong with it.
        why: BadKeyFile,
    },
    /// A file could not be removed.
    #[error("{path}: {why}")]
    Stays {
        /// The file.
        path: String,
        /// Why.
        why: std::io::Error,
    },
    /// No randomness.
    #[error(transparent)]
    Random(#[from] NoRandomness),
}

/// The user's key.
#[derive(Clone)]
pub(crate) enum UserKey {
    /// It is here.
    Open(UserSecret),
    /// It is here, under a passphrase.
    Locked(Box<Locked>),
    /// Another device of the user has it.
    Elsewhere(UserId),
}

impl UserKey {
    /// The public half.
    pub(crate) fn public(&self) -> UserId {
        match self {
            Self::Open(user) => user.public(),
            Self::Locked(locked) => locked.user(),
            Self::Elsewhere(user) => *user,
        }
    }

    const fn file(&self) -> &'static str {
        match self {
            Self::Open(_) => OPEN,
            Self::Locked(_) => LOCKED,
            Self::Elsewhere(_) => ELSEWHERE,
        }
    }
}

const OPEN: &str = "user.key";
const LOCKED: &str = "user.locked";
const ELSEWHERE: &str = "user.pub";

/// The user's key, the device's, and the key that others seal epoch keys to.
#[derive(Clone)]
pub(crate) struct Identity {
    /// Whose device this is.
    pub(crate) user: UserKey,
    /// The device; also its iroh endpoint's key.
    pub(crate) device: DeviceSecret,
    /// Epoch keys come sealed to this.
    pub(crate) boxes: BoxSecret,
}

impl Identity {
    /// Reads the keys from `folder/identity`, and makes those that are not there.
    pub(crate) fn load(folder: &Path) -> Result<Self, IdentityError> {
        let folder = folder.join("identity");
        mesh_os::dirs::create_private(&folder)?;
        check_format(&folder.join("format"))?;
        Ok(Self {
            user: user_key(&folder)?,
            device: DeviceSecret::from_seed(&*seed(&folder.join("device.key"))?),
            boxes: BoxSecret::from_seed(&*seed(&folder.join("box.key"))?),
        })
    }

    /// The same keys with another user key, which is kept before it counts.
    pub(crate) fn with_user(&self, folder: &Path, user: UserKey) -> Result<Self, IdentityError> {
        let folder = folder.join("identity");
        let path = folder.join(user.file());
        match &user {
            UserKey::Open(user) => write_secret(&path, user.seed().as_ref())?,
            UserKey::Locked(locked) => write_secret(&path, &locked.encode())?,
            UserKey::Elsewhere(user) => write_secret(&path, &user.0)?,
        }
        for other in [OPEN, LOCKED, ELSEWHERE] {
            if other != user.file() {
                remove(&folder.join(other))?;
            }
        }
        Ok(Self {
            user,
            ..self.clone()
        })
    }
}

fn user_key(folder: &Path) -> Result<UserKey, IdentityError> {
    let path = folder.join(LOCKED);
    if let Some(bytes) = read_secret(&path)? {
        let path = path.display().to_string();
        let locked = Locked::decode(&bytes);
        let locked = locked.map_err(|why| IdentityError::Locked { path, why })?;
        // A crash while it was being locked left the open one.
        remove(&folder.join(OPEN))?;
        return Ok(UserKey::Locked(Box::new(locked)));
    }
    let path = folder.join(ELSEWHERE);
    if !folder.join(OPEN).exists()
        && let Some(bytes) = read_secret(&path)?
    {
        let user = <[u8; 32]>::try_from(bytes.as_slice());
        let user = user.map_err(|_| IdentityError::Damaged(path.display().to_string()))?;
        return Ok(UserKey::Elsewhere(UserId(user)));
    }
    let user = UserSecret::from_seed(&*seed(&folder.join(OPEN))?);
    Ok(UserKey::Open(user))
}

fn remove(path: &Path) -> Result<(), IdentityError> {
    match std::fs::remove_file(path) {
        Err(why) if why.kind() != std::io::ErrorKind::NotFound => Err(IdentityError::Stays {
            path: path.display().to_string(),
            why,
        }),
        _ => Ok(()),
    }
}

/// The format of the identity folder. Key files are bare bytes; how to read them stands beside them.
const FORMAT: u32 = 1;

/// Refuses the folder of a later release before a key in it is touched; notes the format where nothing is noted yet.
fn check_format(path: &Path) -> Result<(), IdentityError> {
    let noted = match std::fs::read_to_string(path) {
        Ok(noted) => noted,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            write_durably(path, format!("{FORMAT}\n").as_bytes(), 0o600)?;
            return Ok(());
        }
        Err(source) => {
            return Err(IdentityError::File(DirsError::Io {
                path: path.to_owned(),
                source,
            }));
        }
    };
    match noted.trim().parse() {
        Ok(found) if found > FORMAT => Err(IdentityError::File(DirsError::Newer {
            path: path.to_owned(),
            found,
            reads: FORMAT,
        })),
        Ok(_) => Ok(()),
        Err(_) => Err(IdentityError::Format(path.display().to_string())),
    }
}

/// The seed in a file, made if there is none.
pub(crate) fn seed(path: &Path) -> Result<Zeroizing<[u8; 32]>, IdentityError> {
    if let Some(bytes) = read_secret(path)? {
        let seed: [u8; 32] = bytes
            .as_slice()
            .try_into()
            .map_err(|_| IdentityError::Damaged(path.display().to_string()))?;
        return Ok(Zeroizing::new(seed));
    }
    let seed = random::seed()?;
    write_secret(path, seed.as_ref())?;
    Ok(seed)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn keys_are_made_once_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let first = Identity::load(folder.path()).unwrap();
        let second = Identity::load(folder.path()).unwrap();
        assert_eq!(first.device.public(), second.device.public());
        assert_eq!(first.user.public(), second.user.public());
        assert_eq!(first.boxes.public(), second.boxes.public());
        assert_ne!(first.device.public().0, first.user.public().0);
    }

    #[test]
    fn the_keys_of_a_later_release_are_refused_with_the_way_out_and_left_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        Identity::load(folder.path()).unwrap();
        let format = folder.path().join("identity/format");
        assert_eq!(std::fs::read_to_string(&format).unwrap(), "1\n");
        let key = folder.path().join("identity/user.key");
        std::fs::write(&format, "2\n").unwrap();
        std::fs::write(&key, "keys of another shape").unwrap();
        let error = Identity::load(folder.path()).err().unwrap();
        assert!(matches!(
            error,
            IdentityError::File(DirsError::Newer {
                found: 2,
                reads: 1,
                ..
            })
        ));
        assert!(error.to_string().contains("upgrade mesh"), "{error}");
        assert_eq!(std::fs::read(&key).unwrap(), b"keys of another shape");
        std::fs::write(&format, "two").unwrap();
        assert!(matches!(
            Identity::load(folder.path()),
            Err(IdentityError::Format(_))
        ));
    }

    #[test]
    fn a_user_key_goes_under_a_passphrase_to_another_device_and_back_and_is_never_in_two_files() {
        let folder = tempfile::tempdir().unwrap();
        let first = Identity::load(folder.path()).unwrap();
        let UserKey::Open(user) = first.user.clone() else {
            panic!("it begins open");
        };
        let cost = mesh_core::keyfile::Cost {
            memory: 64,
            passes: 1,
        };
        let locked = Locked::lock(&user, "correct horse", cost, [1; 16], [2; 24]).unwrap();
        let files = || {
            let all = [OPEN, LOCKED, ELSEWHERE].into_iter();
            all.filter(|name| folder.path().join("identity").join(name).exists())
                .collect::<Vec<_>>()
        };
        let path = folder.path().join("identity").join(OPEN);
        let open = std::fs::read(&path).unwrap();
        for (key, file) in [
            (UserKey::Locked(Box::new(locked)), LOCKED),
            (UserKey::Elsewhere(user.public()), ELSEWHERE),
            (UserKey::Open(user.clone()), OPEN),
        ] {
            first.with_user(folder.path(), key).unwrap();
            assert_eq!(files(), [file]);
            let read = Identity::load(folder.path()).unwrap();
            assert_eq!(read.user.public(), user.public());
            assert_eq!(read.user.file(), file);
        }
        // Killed between the two steps of locking.
        let locked = Locked::lock(&user, "correct horse", cost, [1; 16], [2; 24]).unwrap();
        first
            .with_user(folder.path(), UserKey::Locked(Box::new(locked)))
            .unwrap();
        mesh_os::dirs::write_secret(&path, &open).unwrap();
        let read = Identity::load(folder.path()).unwrap();
        assert!(matches!(read.user, UserKey::Locked(_)));
        assert_eq!(files(), [LOCKED]);
    }

    #[test]
    fn a_key_that_others_may_read_or_that_is_cut_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        Identity::load(folder.path()).unwrap();
        let key = folder.path().join("identity/device.key");
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(
            Identity::load(folder.path()),
            Err(IdentityError::File(_))
        ));
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&key, [1; 31]).unwrap();
        assert!(matches!(
            Identity::load(folder.path()),
            Err(IdentityError::Damaged(_))
        ));
    }
}
