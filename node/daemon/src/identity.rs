//! This device's keys: made once, kept in files that only the daemon's user may read.

use std::path::Path;

use mesh_ledger::keys::{BoxSecret, DeviceSecret, UserSecret};
use mesh_os::dirs::{DirsError, read_secret, write_secret};
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
    /// No randomness.
    #[error(transparent)]
    Random(#[from] NoRandomness),
}

/// The user's key, the device's, and the key that others seal epoch keys to.
pub(crate) struct Identity {
    /// Whose device this is.
    pub(crate) user: UserSecret,
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
        Ok(Self {
            user: UserSecret::from_seed(&*seed(&folder.join("user.key"))?),
            device: DeviceSecret::from_seed(&*seed(&folder.join("device.key"))?),
            boxes: BoxSecret::from_seed(&*seed(&folder.join("box.key"))?),
        })
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
