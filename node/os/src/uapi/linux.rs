//! Where the socket stands.

use std::fs::{self, DirBuilder, Metadata};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, listen, socket,
};
use nix::sys::stat::{Mode, fchmod};

use super::{Refusal, UapiError};
use crate::dirs::DirsError;

/// A socket of ours, which is removed when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
    /// Device and inode, so that nobody else's is removed in its place.
    file: Option<(u64, u64)>,
}

impl Place {
    /// Makes the socket of an interface in a folder, and listens on it.
    pub(super) fn take(folder: &Path, interface: &str) -> Result<(Self, UnixListener), UapiError> {
        let fits = (1..libc::IFNAMSIZ).contains(&interface.len());
        if !fits || interface.contains(['/', '\0']) || interface.starts_with('.') {
            return Err(UapiError::Name(interface.to_owned()));
        }
        prepare(folder)?;
        let path = folder.join(format!("{interface}.sock"));
        let failed = |source| UapiError::Io {
            path: path.clone(),
            source,
        };
        clear(&path)?;
        let listener = listen_at(&path).map_err(failed)?;
        let file = fs::symlink_metadata(&path).ok().as_ref().map(identity);
        Ok((Self { path, file }, listener))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let there = fs::symlink_metadata(&self.path).ok();
        if there.as_ref().map(identity) == self.file
            && let Err(error) = fs::remove_file(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.path.display(), %error, "a socket could not be removed");
        }
    }
}

/// Removes the sockets of mesh's interfaces in the folder that nobody answers on, which a killed process left, and says of
/// which interfaces.
///
/// # Errors
/// When the folder cannot be read; that there is none is no error.
pub fn sweep(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
        entries => entries?,
    };
    let mut removed = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        let interface = name.to_str().and_then(|name| name.strip_suffix(".sock"));
        let number = interface.and_then(|interface| interface.strip_prefix("mesh"));
        let ours = number
            .is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()));
        if let Some(interface) = interface
            && ours
            && clear(&folder.join(&name)).is_ok()
        {
            removed.push(interface.to_owned());
        }
    }
    removed.sort();
    Ok(removed)
}

/// The system's number of a refusal.
pub(super) const fn number(refusal: Refusal) -> i32 {
    match refusal {
        Refusal::Protocol => libc::EPROTO,
        Refusal::Invalid => libc::EINVAL,
        Refusal::TooLong => libc::E2BIG,
        Refusal::Unsupported => libc::EOPNOTSUPP,
        Refusal::PortTaken => libc::EADDRINUSE,
        Refusal::Failed => libc::EIO,
    }
}

/// Makes the folder, for this user alone; one that is there may be read by others, and written to by nobody.
fn prepare(folder: &Path) -> Result<(), DirsError> {
    let at = |source| DirsError::Io {
        path: folder.to_owned(),
        source,
    };
    if let Some(parent) = folder.parent() {
        fs::create_dir_all(parent).map_err(at)?;
    }
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(at(error)),
        _ => {}
    }
    let metadata = fs::metadata(folder).map_err(at)?;
    let (owner, mode) = (metadata.uid(), metadata.mode() & 0o7777);
    let path = folder.to_owned();
    if !metadata.is_dir() {
        let what = "not a folder";
        return Err(DirsError::Unfit { path, what });
    }
    if owner != nix::unistd::geteuid().as_raw() {
        return Err(DirsError::ForeignOwner { path, owner });
    }
    if mode & 0o022 != 0 {
        let wanted = 0o700;
        return Err(DirsError::TooOpen { path, mode, wanted });
    }
    Ok(())
}

/// Removes a socket that nobody answers on.
fn clear(path: &Path) -> Result<(), UapiError> {
    let failed = |source| UapiError::Io {
        path: path.to_owned(),
        source,
    };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(metadata) if metadata.file_type().is_socket() => {}
        Ok(_) => {
            let (path, what) = (path.to_owned(), "not a socket, and in the way of one");
            return Err(DirsError::Unfit { path, what }.into());
        }
    }
    match answers(path) {
        // Its queue is full, so somebody has one.
        Ok(()) | Err(Errno::EAGAIN) => Err(UapiError::Taken(path.to_owned())),
        Err(Errno::ECONNREFUSED) => match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error)),
            _ => Ok(()),
        },
        Err(errno) => Err(failed(errno.into())),
    }
}

fn answers(path: &Path) -> nix::Result<()> {
    let fd = stream()?;
    connect(fd.as_raw_fd(), &UnixAddr::new(path)?)
}

fn listen_at(path: &Path) -> io::Result<UnixListener> {
    let fd = stream()?;
    // What is bound gets the mode of what it is bound to: nobody else can come in between.
    fchmod(&fd, Mode::from_bits_truncate(0o600))?;
    bind(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
    listen(&fd, Backlog::new(QUEUE)?)?;
    Ok(fd.into())
}

fn stream() -> nix::Result<std::os::fd::OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    socket(AddressFamily::Unix, SockType::Stream, flags, None)
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// How many may wait to be let in.
const QUEUE: i32 = 16;
