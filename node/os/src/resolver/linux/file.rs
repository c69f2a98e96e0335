//! `resolv.conf`: guarded, shared by all networks of this daemon, and put back as it was.
//!
//! A link is not written through: what it points to belongs to some other program. Our file takes the link's place, with
//! the text found behind it, and the link is made again at the end. Where the file cannot be replaced, because it is
//! mounted on its own as in a container, it is written in place.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mesh_core::plan::Resolver;

use super::super::ResolverError;
use super::conf::{self, Entry};
use super::journal::{Before, Journal};
use crate::dirs::DirsError;

/// See the module.
pub(super) struct File {
    root: PathBuf,
    path: PathBuf,
    journal: PathBuf,
}

/// What is there.
#[derive(Debug, PartialEq, Eq)]
enum Current {
    Absent,
    Link { to: PathBuf, text: Vec<u8> },
    File(Vec<u8>),
}

/// A file that was not written to for so long is whole.
const SETTLED: Duration = Duration::from_millis(80);
/// The longest wait for that.
const PATIENCE: Duration = Duration::from_secs(1);
/// The longest file that is read.
const MAX: u64 = 64 * 1024;

impl File {
    pub(super) fn new(root: &Path, run: &Path) -> Self {
        Self {
            root: root.to_owned(),
            path: root.join("etc/resolv.conf"),
            journal: run.join("resolv.conf.json"),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether programs that go by this file ask systemd-resolved, as those do that go by none.
    pub(super) fn leads_to_resolved(&self) -> bool {
        match self.look() {
            Ok(Current::Absent) => true,
            Ok(Current::Link { to, text }) => {
                to.to_string_lossy().contains("systemd/resolve") || conf::names_resolved(&text)
            }
            Ok(Current::File(text)) => conf::names_resolved(&text),
            Err(_) => false,
        }
    }

    /// Adds a network's lines, or changes them; whatever others did to the file meanwhile is kept.
    pub(super) fn set(&self, interface: &str, wanted: &Resolver) -> Result<(), ResolverError> {
        let Some(entry) = Entry::of(wanted) else {
            return self.unset(interface);
        };
        let noted = Journal::load(&self.journal)?;
        let mut journal = noted.clone().unwrap_or_default();
        journal.entries.insert(interface.to_owned(), entry);
        self.follow(journal, noted.as_ref())
    }

    /// Takes a network's lines away.
    pub(super) fn unset(&self, interface: &str) -> Result<(), ResolverError> {
        let Some(noted) = Journal::load(&self.journal)? else {
            return Ok(());
        };
        let mut journal = noted.clone();
        if journal.entries.remove(interface).is_none() {
            return Ok(());
        }
        if journal.entries.is_empty() {
            self.restore(&journal)
        } else {
            self.follow(journal, Some(&noted))
        }
    }

    /// Takes all lines away, those included that survived the run folder, as over a reboot.
    pub(super) fn recover(&self) -> Result<Vec<String>, ResolverError> {
        let journal = Journal::load(&self.journal)?.unwrap_or_default();
        self.restore(&journal)?;
        Ok(journal.entries.into_keys().collect())
    }

    /// Makes the file be what the journal's entries want. `noted` is what is on the disk of the journal.
    fn follow(&self, mut journal: Journal, noted: Option<&Journal>) -> Result<(), ResolverError> {
        let current = self.look_settled(&journal)?;
        let ours = matches!(&current, Current::File(text) if journal.written.contains(text));
        if !ours {
            journal.before = before(&current);
        }
        let text = match (&journal.before, &current) {
            (Before::Absent, _) => conf::compose(None, &journal.entries),
            (Before::File(text), _) => conf::compose(Some(text), &journal.entries),
            (Before::Link(_), Current::Link { text, .. }) => {
                conf::compose(Some(text), &journal.entries)
            }
            // What is behind the link now, which its owner may have changed.
            (Before::Link(to), _) => conf::compose(Some(&self.behind(to)), &journal.entries),
        };
        let (left, done) = match current {
            Current::File(old) if old == text => (None, true),
            Current::File(old) if ours => (Some(old), false),
            _ => (None, false),
        };
        journal.written = left.into_iter().chain([text.clone()]).collect();
        if noted != Some(&journal) {
            journal.save(&self.journal)?;
        }
        if !done {
            self.write(&text)?;
        }
        Ok(())
    }

    fn restore(&self, journal: &Journal) -> Result<(), ResolverError> {
        match self.look_settled(journal)? {
            Current::File(text) if journal.written.contains(&text) => match &journal.before {
                Before::Absent => self.delete()?,
                Before::Link(to) => self.link(to)?,
                Before::File(text) => self.write(text)?,
            },
            // Somebody wrote into it, or our note of it is gone: our lines alone are ours to take out.
            Current::File(text) => match conf::strip(&text) {
                Some(left) if left.made && left.text.is_empty() => self.delete()?,
                Some(left) => self.write(&left.text)?,
                None => {}
            },
            Current::Absent | Current::Link { .. } => {}
        }
        Journal::remove(&self.journal)
    }

    /// What is there, once nobody is in the middle of writing it: an editor that empties the file before it fills it must
    /// not have its text taken for empty.
    fn look_settled(&self, journal: &Journal) -> Result<Current, ResolverError> {
        let patience = Instant::now();
        loop {
            let current = self.look()?;
            let foreign =
                matches!(&current, Current::File(text) if !journal.written.contains(text));
            if !foreign || patience.elapsed() > PATIENCE || !self.is_fresh() {
                return Ok(current);
            }
            std::thread::sleep(SETTLED / 4);
        }
    }

    /// Whether the file was written to a moment ago.
    fn is_fresh(&self) -> bool {
        let modified = fs::symlink_metadata(&self.path).and_then(|metadata| metadata.modified());
        // A time in the future is no moment ago.
        modified.is_ok_and(|at| at.elapsed().is_ok_and(|age| age < SETTLED))
    }

    fn look(&self) -> Result<Current, ResolverError> {
        let metadata = match fs::symlink_metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Current::Absent),
            metadata => metadata.map_err(at(&self.path))?,
        };
        if metadata.is_symlink() {
            let to = fs::read_link(&self.path).map_err(at(&self.path))?;
            let text = self.behind(&to);
            return Ok(Current::Link { to, text });
        }
        Ok(Current::File(read(&self.path)?))
    }

    /// The text behind a link, which is inside of the root; none if there is no such file.
    fn behind(&self, to: &Path) -> Vec<u8> {
        let folder = self.path.parent().unwrap_or(&self.root);
        let to = match to.strip_prefix("/") {
            Ok(inside) => self.root.join(inside),
            Err(_) => folder.join(to),
        };
        match (fs::canonicalize(to), fs::canonicalize(&self.root)) {
            (Ok(to), Ok(root)) if to.starts_with(&root) => read(&to).unwrap_or_default(),
            _ => Vec::new(),
        }
    }

    /// Puts a file with this text there: whole or not at all, or in place if nothing can take its place.
    fn write(&self, text: &[u8]) -> Result<(), DirsError> {
        let old = fs::symlink_metadata(&self.path).ok();
        let old = old.filter(fs::Metadata::is_file);
        let (draft, folder) = self.draft()?;
        let replaced = (|| {
            let mut file = fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&draft)?;
            file.write_all(text)?;
            if let Some(old) = &old {
                std::os::unix::fs::fchown(&file, Some(old.uid()), Some(old.gid()))?;
            }
            // Everybody reads it, whatever this process's umask is.
            let mode = old.as_ref().map_or(0o644, |old| old.mode() & 0o7777);
            file.set_permissions(fs::Permissions::from_mode(mode))?;
            file.sync_all()?;
            fs::rename(&draft, &self.path)?;
            fs::File::open(&folder)?.sync_all()
        })();
        let Err(error) = replaced else {
            return Ok(());
        };
        let _ = fs::remove_file(&draft);
        if old.is_none() || !is_fixed(&error) {
            return Err(at(&self.path)(error));
        }
        self.write_in_place(text).map_err(at(&self.path))
    }

    fn write_in_place(&self, text: &[u8]) -> io::Result<()> {
        let mut file = fs::OpenOptions::new()
            .write(true)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&self.path)?;
        file.write_all(text)?;
        file.set_len(text.len() as u64)?;
        file.sync_all()
    }

    fn link(&self, to: &Path) -> Result<(), DirsError> {
        let (draft, folder) = self.draft()?;
        let linked = (|| {
            std::os::unix::fs::symlink(to, &draft)?;
            fs::rename(&draft, &self.path)?;
            fs::File::open(&folder)?.sync_all()
        })();
        if linked.is_err() {
            let _ = fs::remove_file(&draft);
        }
        linked.map_err(at(&self.path))
    }

    fn delete(&self) -> Result<(), DirsError> {
        match fs::remove_file(&self.path) {
            Err(error) if is_fixed(&error) => self.write_in_place(b""),
            removed => removed,
        }
        .map_err(at(&self.path))
    }

    /// A name beside the file, and the folder of both, which is made if it is missing.
    fn draft(&self) -> Result<(PathBuf, PathBuf), DirsError> {
        let folder = self.path.parent().unwrap_or(&self.root).to_owned();
        fs::create_dir_all(&folder).map_err(at(&folder))?;
        let draft = folder.join(format!(".resolv.conf.mesh-{}", std::process::id()));
        // What a process of the same number left that was killed at this.
        let _ = fs::remove_file(&draft);
        Ok((draft, folder))
    }
}

/// What is to be put back at the end, given what is there.
fn before(current: &Current) -> Before {
    match current {
        Current::Absent => Before::Absent,
        Current::Link { to, .. } => Before::Link(to.clone()),
        Current::File(text) => match conf::strip(text) {
            Some(left) if left.made && left.text.is_empty() => Before::Absent,
            Some(left) => Before::File(left.text),
            None => Before::File(text.clone()),
        },
    }
}

/// Whether a file cannot be replaced, but perhaps be written: it is mounted on its own, or its folder is not for writing.
fn is_fixed(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EBUSY | libc::EROFS | libc::EACCES | libc::EPERM | libc::EXDEV)
    )
}

fn read(path: &Path) -> Result<Vec<u8>, DirsError> {
    let unfit = |what| DirsError::Unfit {
        path: path.to_owned(),
        what,
    };
    let file = fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)
        .map_err(at(path))?;
    if !file.metadata().map_err(at(path))?.is_file() {
        return Err(unfit("not a plain file"));
    }
    let mut text = Vec::new();
    file.take(MAX + 1)
        .read_to_end(&mut text)
        .map_err(at(path))?;
    if text.len() as u64 > MAX {
        return Err(unfit("longer than any resolv.conf"));
    }
    Ok(text)
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> DirsError + use<> {
    let path = path.to_owned();
    |source| DirsError::Io { path, source }
}
