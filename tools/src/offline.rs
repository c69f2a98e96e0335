//! Looks at stored networks that no daemon has open. Reads, and never writes.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use mesh_control::reply::{Damage, Verified};
use mesh_control::view::EventRef;
use mesh_control::{Code, Error};
use mesh_ledger::carry::Found;
use mesh_ledger::epoch::KeyRing;
use mesh_ledger::event::attributes::Opened;
use mesh_ledger::event::{Act, Attributes, Event, id_of};
use mesh_ledger::ids::{EventId, NetworkId};
use mesh_ledger::network::{Verification, verify_rows, verify_store};
use mesh_ledger::past::Book;
use mesh_ledger::seal;
use mesh_ledger::store::sqlite::SqliteStore;
use mesh_ledger::store::{Row, Store, StoreError};

/// Verifies the stored networks below a state folder, or the one that `wanted` names. A store that does not open is an
/// error in the place of its network. Those in `leave` (their ids), which a daemon has open, are left alone. Without any
/// other store the list is empty.
///
/// # Errors
/// The folder may not be read, or `wanted` names none of the stored networks, or several.
pub(crate) fn verify(
    state: &Path,
    wanted: Option<&str>,
    leave: &[String],
) -> Result<Vec<Result<Verified, Error>>, Error> {
    let mut copies = copies(state, leave)?;
    if let Some(wanted) = wanted.filter(|_| !copies.is_empty()) {
        copies = called(copies, wanted, "mesh log verify")?;
    }
    copies.sort_by(|a, b| (&a.name, a.id).cmp(&(&b.name, b.id)));
    Ok(copies.into_iter().map(Copy::verify).collect())
}

/// A stored network, to be read.
pub(crate) struct Stored {
    /// All of it that is whole.
    pub(crate) book: Book,
    /// How many stored events are damaged, or follow one that is.
    pub(crate) damaged: usize,
}

/// Reads the stored network that `wanted` names, or the only one; none if none is stored.
///
/// # Errors
/// The folder or the store may not be read, or the name is that of none of the stored networks, or of several.
pub(crate) fn read(state: &Path, wanted: Option<&str>) -> Result<Option<Stored>, Error> {
    let mut copies = copies(state, &[])?;
    if copies.is_empty() {
        return Ok(None);
    }
    if let Some(wanted) = wanted {
        copies = called(copies, wanted, "mesh log verify")?;
    }
    if copies.len() > 1 {
        let mut names: Vec<String> = copies.iter().map(Copy::title).collect();
        names.sort();
        let message = format!("several networks are stored here: {}", names.join(", "));
        return Err(Error::new(Code::Usage, message).hint("the same command with -n NETWORK"));
    }
    copies.pop().map(Copy::read).transpose()
}

/// The stored networks but for those in `leave`.
fn copies(state: &Path, leave: &[String]) -> Result<Vec<Copy>, Error> {
    Ok(stored(&state.join("networks"))?
        .into_iter()
        .filter(|(id, _)| !leave.contains(&id.to_string()))
        .map(|(id, file)| Copy::open(id, &file))
        .collect())
}

/// The one that is called so; where to see them all is `hint`.
fn called(mut copies: Vec<Copy>, wanted: &str, hint: &str) -> Result<Vec<Copy>, Error> {
    copies.retain(|copy| copy.is_called(wanted));
    match copies.len() {
        1 => Ok(copies),
        0 => {
            let message = format!("no network {wanted} here");
            Err(Error::new(Code::NotFound, message).hint(hint))
        }
        _ => {
            let message = format!("several networks are called {wanted}: use the start of its id");
            Err(Error::new(Code::Usage, message).hint(hint))
        }
    }
}

/// The networks that have a store.
fn stored(folder: &Path) -> Result<Vec<(NetworkId, PathBuf)>, Error> {
    let cannot = |error: std::io::Error| match error.kind() {
        ErrorKind::PermissionDenied => Error::new(
            Code::NotPermitted,
            format!("only root can read {}", folder.display()),
        ),
        _ => Error::new(
            Code::Failed,
            format!("cannot read {}: {error}", folder.display()),
        ),
    };
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(cannot)?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(cannot)?;
        // Others are networks in the making.
        let Some(id) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let file = entry.path().join("ledger.db");
        if file.exists() {
            found.push((id, file));
        }
    }
    Ok(found)
}

/// One network's store.
struct Copy {
    id: NetworkId,
    /// The network's name, if the store gives it away.
    name: Option<String>,
    store: Result<SqliteStore, StoreError>,
}

impl Copy {
    fn open(id: NetworkId, file: &Path) -> Self {
        let store = SqliteStore::open_to_read(file);
        let name = store.as_ref().ok().and_then(|store| name(store, &id));
        Self { id, name, store }
    }

    /// By its name, or by the start of its id.
    fn is_called(&self, wanted: &str) -> bool {
        let start = wanted.to_ascii_lowercase();
        self.name.as_deref() == Some(wanted)
            || (wanted.len() >= 4 && self.id.to_string().starts_with(&start))
    }

    /// What to call it.
    fn title(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.id.short())
    }

    fn read(self) -> Result<Stored, Error> {
        let store = self.store.map_err(unreadable)?;
        let (book, left_out) = Book::read(&store, &self.id).map_err(unreadable)?;
        if book.reading().graph.is_empty() {
            let message = format!("no event of this copy of {} is whole", self.id.short());
            return Err(Error::new(Code::Verification, message).hint("mesh log verify"));
        }
        Ok(Stored {
            book,
            damaged: left_out.len(),
        })
    }

    fn verify(self) -> Result<Verified, Error> {
        let found = verify_store(&self.store.map_err(unreadable)?, &self.id).map_err(unreadable)?;
        let name = self.name.unwrap_or_else(|| self.id.short());
        Ok(verified(name, &found))
    }
}

/// Verifies the events of a file, which needs neither daemon nor store.
pub(crate) fn verify_file(found: &Found) -> Verified {
    let carry = &found.carry;
    let row = |bytes: &Vec<u8>| Row {
        id: id_of(bytes),
        bytes: bytes.clone(),
    };
    let rows = carry.events.iter().map(row).collect();
    let checked = verify_rows(rows, &carry.network, Vec::new(), Vec::new());
    let mut checked = verified(carry.network.short(), &checked);
    checked
        .damaged
        .extend(found.missing.iter().map(|id| Damage {
            event: reference(id),
            problem: "it is not whole in the file".to_owned(),
        }));
    checked.ok &= found.is_whole();
    checked
}

fn verified(network: String, found: &Verification) -> Verified {
    let damaged: Vec<Damage> = found
        .faults
        .iter()
        .map(|(id, fault)| Damage {
            event: reference(id),
            problem: fault.to_string(),
        })
        .collect();
    Verified {
        network,
        events: u64::try_from(found.good + damaged.len()).unwrap_or(u64::MAX),
        // No event at all is no network: its genesis is gone.
        ok: damaged.is_empty() && found.good > 0,
        damaged,
        checkpoint: found.checkpoint.as_ref().map(reference),
    }
}

fn reference(id: &EventId) -> EventRef {
    EventRef {
        id: id.to_string(),
        short: id.short(),
    }
}

fn unreadable(error: StoreError) -> Error {
    let (code, hint) = match error {
        StoreError::Damaged { .. } => (
            Code::Verification,
            "sudo mesh join TICKET, once the file is moved aside",
        ),
        StoreError::Locked { .. } => (Code::Conflict, "mesh status"),
        _ => (Code::Failed, "mesh version"),
    };
    Error::new(code, error.to_string()).hint(hint)
}

/// The name that the genesis gives the network, where the epoch's key and both are whole.
fn name(store: &SqliteStore, id: &NetworkId) -> Option<String> {
    let mut keys = KeyRing::new();
    for key in store.epoch_keys().ok()? {
        keys.insert(key);
    }
    let rows = store.rows().ok()?;
    let genesis = rows
        .iter()
        .filter(|row| row.id.0 == id.0)
        .find_map(|row| Event::decode(&row.bytes).ok())
        .filter(|event| matches!(event.act(), Act::Genesis(_)))?;
    match seal::open(&genesis, &keys) {
        Opened::Open(Attributes::Founding(founding)) => Some(founding.name.to_string()),
        _ => None,
    }
}
