//! All networks of a server in one SQLite database.
//!
//! `event(network, position, id, bytes)`, `network(…)` with a count of both, `live(network, device)` for the relay's door,
//! `letter(…)`. Write-ahead log, `synchronous=FULL`: what a call acknowledged is on the disk. Nothing here is secret but who
//! talks to whom; the events are sealed.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mesh_ledger::event::{Event, id_of};
use mesh_ledger::ids::{DeviceId, EventId, InviteKey, NetworkId};
use mesh_ledger::mirror::letter::Letter;
use mesh_ledger::store as ledger;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use crate::log::Turnover;
use crate::mailbox::Waiting;

/// The format of the tables.
const SCHEMA: u32 = 1;
/// How long another process's lock is waited for.
const BUSY: Duration = Duration::from_secs(5);

const TABLES: &str = "
    CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
    CREATE TABLE network (number INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE,
        events INTEGER NOT NULL, bytes INTEGER NOT NULL) STRICT;
    CREATE TABLE event (network INTEGER NOT NULL, position INTEGER NOT NULL, id BLOB NOT NULL, bytes BLOB NOT NULL) STRICT;
    CREATE UNIQUE INDEX event_place ON event (network, position);
    CREATE TABLE live (network INTEGER NOT NULL, device BLOB NOT NULL, PRIMARY KEY (network, device)) STRICT, WITHOUT ROWID;
    CREATE TABLE letter (id INTEGER PRIMARY KEY AUTOINCREMENT, network BLOB NOT NULL, sender BLOB NOT NULL,
        recipient BLOB, invite BLOB NOT NULL, body BLOB NOT NULL, at INTEGER NOT NULL) STRICT;
    CREATE INDEX letter_network ON letter (network);
";
/// What finds an event by its id. Databases of earlier releases get it when they are opened; those releases do without it.
const BY_ID: &str = "CREATE INDEX IF NOT EXISTS event_id ON event (network, id)";

/// The database cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A later release wrote it.
    #[error(
        "{place} was written by a later release (format {found}; this one reads {SCHEMA}): run that release"
    )]
    Newer {
        /// Where.
        place: String,
        /// Its format.
        found: i64,
    },
    /// It is not as it was written.
    #[error(
        "{0} is damaged: {1}; move it away to begin anew, and members bring their networks back"
    )]
    Damaged(String, String),
    /// SQLite says no.
    #[error("cannot use the database {0}: {1}")]
    Sqlite(String, rusqlite::Error),
}

/// One hosted network, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Which.
    pub network: NetworkId,
    /// How many events.
    pub events: u64,
    /// How many bytes they have.
    pub bytes: u64,
}

/// See the module.
pub struct Store {
    /// The one that writes.
    writer: Mutex<Connection>,
    /// The one that reads beside it.
    reader: Mutex<Connection>,
    place: String,
}

type Sql<T> = rusqlite::Result<T>;

impl Store {
    /// Opens the database, and makes it if there is none.
    ///
    /// # Errors
    /// [`StoreError`] says what is wrong with it.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let place = path.display().to_string();
        let error = |error| StoreError::Sqlite(place.clone(), error);
        let connection = Connection::open(path).map_err(error)?;
        connection.busy_timeout(BUSY).map_err(error)?;
        let found = schema(&connection).map_err(error)?;
        if let Some(found) = found.filter(|found| *found > i64::from(SCHEMA)) {
            return Err(StoreError::Newer { place, found });
        }
        connection
            .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")
            .map_err(error)?;
        if found.is_none() {
            connection
                .execute_batch(&format!(
                    "BEGIN IMMEDIATE; {TABLES} INSERT INTO meta VALUES ('schema', {SCHEMA}); COMMIT"
                ))
                .map_err(error)?;
        }
        connection.execute_batch(BY_ID).map_err(error)?;
        let reader = Connection::open(path).map_err(error)?;
        reader.busy_timeout(BUSY).map_err(error)?;
        Ok(Self {
            writer: Mutex::new(connection),
            reader: Mutex::new(reader),
            place,
        })
    }

    /// Lets the database grow no further than to so many pages: what a full disk does.
    ///
    /// # Errors
    /// If SQLite refuses.
    pub fn limit_pages(&self, pages: u32) -> Result<(), StoreError> {
        let set =
            lock(&self.writer).query_row(&format!("PRAGMA max_page_count = {pages}"), [], |row| {
                row.get::<_, i64>(0)
            });
        set.map(|_| ()).map_err(|error| self.error(error))
    }

    /// All networks.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn networks(&self) -> Result<Vec<Summary>, StoreError> {
        self.read(|connection| {
            let mut rows = connection.prepare_cached("SELECT id, events, bytes FROM network")?;
            let rows = rows.query_map([], |row| {
                Ok(Summary {
                    network: NetworkId(row.get(0)?),
                    events: row.get::<_, i64>(1)?.unsigned_abs(),
                    bytes: row.get::<_, i64>(2)?.unsigned_abs(),
                })
            })?;
            rows.collect()
        })
    }

    /// All live devices of all networks.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn live(&self) -> Result<Vec<(DeviceId, NetworkId)>, StoreError> {
        self.read(|connection| {
            let mut rows = connection.prepare_cached(
                "SELECT live.device, network.id FROM live JOIN network ON network.number = live.network",
            )?;
            let rows = rows.query_map([], |row| {
                Ok((DeviceId(row.get(0)?), NetworkId(row.get(1)?)))
            })?;
            rows.collect()
        })
    }

    /// A network's events from a position on: at most `most`, and no more bytes than that, but one at least. None behind the end.
    ///
    /// # Errors
    /// If they cannot be read, one is missing, or one is not what was stored.
    pub fn page(
        &self,
        network: &NetworkId,
        from: u64,
        most: usize,
        bytes: usize,
    ) -> Result<Vec<(EventId, Vec<u8>)>, StoreError> {
        let rows: Vec<(i64, [u8; 32], Vec<u8>)> = self.read(|connection| {
            let mut rows = connection.prepare_cached(
                "SELECT event.position, event.id, event.bytes FROM event
                 WHERE event.network = (SELECT number FROM network WHERE id = ?1) AND event.position >= ?2
                 ORDER BY event.position LIMIT ?3",
            )?;
            let limit = i64::try_from(most).unwrap_or(i64::MAX);
            let rows = rows.query_map(params![network.0.as_slice(), signed(from), limit], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get::<_, Vec<u8>>(2)?))
            })?;
            let (mut page, mut size) = (Vec::new(), 0);
            for row in rows {
                let row = row?;
                size += row.2.len();
                if size > bytes && !page.is_empty() {
                    break;
                }
                page.push(row);
            }
            Ok(page)
        })?;
        for (row, due) in rows.iter().zip(signed(from)..) {
            let what = if row.0 != due {
                "has a gap"
            } else if id_of(&row.2).0 != row.1 {
                "has a row that was not stored so"
            } else {
                continue;
            };
            let what = format!("network {} {what} at position {due}", network.short());
            return Err(StoreError::Damaged(self.place.clone(), what));
        }
        let events = rows.into_iter();
        Ok(events.map(|(_, id, bytes)| (EventId(id), bytes)).collect())
    }

    /// One event of a network, if it is here.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn event(&self, network: &NetworkId, id: &EventId) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(|connection| {
            connection
                .prepare_cached(
                    "SELECT bytes FROM event
                     WHERE network = (SELECT number FROM network WHERE id = ?1) AND id = ?2",
                )?
                .query_row(params![network.0.as_slice(), id.0.as_slice()], |row| {
                    row.get(0)
                })
                .optional()
        })
    }

    /// A network's letters.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn letters(&self, network: &NetworkId) -> Result<Vec<Waiting>, StoreError> {
        self.read(|connection| {
            let mut rows = connection.prepare_cached(
                "SELECT id, sender, recipient, invite, body, at FROM letter WHERE network = ?1",
            )?;
            let rows = rows.query_map(params![network.0.as_slice()], |row| {
                Ok(Waiting {
                    letter: Letter {
                        id: row.get::<_, i64>(0)?.unsigned_abs(),
                        from: DeviceId(row.get(1)?),
                        invite: InviteKey(row.get(3)?),
                        body: row.get(4)?,
                    },
                    to: row.get::<_, Option<[u8; 32]>>(2)?.map(DeviceId),
                    at: row.get::<_, i64>(5)?.unsigned_abs(),
                })
            })?;
            rows.collect()
        })
    }

    /// How many letters wait in all networks.
    ///
    /// # Errors
    /// If they cannot be counted.
    pub fn letter_count(&self) -> Result<u64, StoreError> {
        self.read(|connection| {
            connection.query_row("SELECT count(*) FROM letter", [], |row| {
                row.get::<_, i64>(0).map(i64::unsigned_abs)
            })
        })
    }

    /// Appends events from a position on, with what they change among live devices. On the disk when it returns.
    ///
    /// # Errors
    /// If they are not, and nothing changed.
    pub fn append(
        &self,
        network: &NetworkId,
        from: u64,
        events: impl Iterator<Item = Event>,
        turnover: &Turnover,
    ) -> Result<(), StoreError> {
        self.write(|transaction| {
            let id = network.0.as_slice();
            transaction
                .prepare_cached(
                    "INSERT INTO network (id, events, bytes) VALUES (?1, 0, 0) ON CONFLICT DO NOTHING",
                )?
                .execute(params![id])?;
            let number: i64 = transaction
                .prepare_cached("SELECT number FROM network WHERE id = ?1")?
                .query_row(params![id], |row| row.get(0))?;
            let mut insert = transaction.prepare_cached(
                "INSERT INTO event (network, position, id, bytes) VALUES (?1, ?2, ?3, ?4)",
            )?;
            let (mut position, mut bytes) = (signed(from), 0);
            for event in events {
                insert.execute(params![number, position, event.id().0.as_slice(), event.bytes()])?;
                position += 1;
                bytes += event.bytes().len() as u64;
            }
            transaction
                .prepare_cached(
                    "UPDATE network SET events = ?2, bytes = bytes + ?3 WHERE number = ?1",
                )?
                .execute(params![number, position, signed(bytes)])?;
            let mut come = transaction
                .prepare_cached("INSERT OR IGNORE INTO live (network, device) VALUES (?1, ?2)")?;
            for device in &turnover.came {
                come.execute(params![number, device.0.as_slice()])?;
            }
            let mut go = transaction
                .prepare_cached("DELETE FROM live WHERE network = ?1 AND device = ?2")?;
            for device in &turnover.went {
                go.execute(params![number, device.0.as_slice()])?;
            }
            Ok(())
        })
    }

    /// Stores a letter, and removes those that it makes needless. Returns its number, which no letter had before.
    ///
    /// # Errors
    /// If it is not stored, and nothing changed.
    pub fn add_letter(
        &self,
        network: &NetworkId,
        waiting: &Waiting,
        needless: &[u64],
    ) -> Result<u64, StoreError> {
        self.write(|transaction| {
            remove_letters(transaction, needless)?;
            transaction
                .prepare_cached(
                    "INSERT INTO letter (network, sender, recipient, invite, body, at)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                )?
                .execute(params![
                    network.0.as_slice(),
                    waiting.letter.from.0.as_slice(),
                    waiting.to.as_ref().map(|to| to.0.as_slice()),
                    waiting.letter.invite.0.as_slice(),
                    waiting.letter.body,
                    signed(waiting.at),
                ])?;
            Ok(transaction.last_insert_rowid().unsigned_abs())
        })
    }

    /// Removes letters.
    ///
    /// # Errors
    /// If they are still there.
    pub fn remove_letters(&self, letters: &[u64]) -> Result<(), StoreError> {
        self.write(|transaction| remove_letters(transaction, letters))
    }

    /// Removes letters stored before this time.
    ///
    /// # Errors
    /// If they are still there.
    pub fn expire_letters(&self, before: u64) -> Result<usize, StoreError> {
        self.write(|transaction| {
            transaction
                .prepare_cached("DELETE FROM letter WHERE at <= ?1")?
                .execute(params![signed(before)])
        })
    }

    /// Moves the write-ahead log into the database.
    ///
    /// # Errors
    /// If it cannot be written; nothing is lost then.
    pub fn checkpoint(&self) -> Result<(), StoreError> {
        lock(&self.writer)
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
            .map_err(|error| self.error(error))
    }

    fn read<T>(&self, read: impl FnOnce(&Connection) -> Sql<T>) -> Result<T, StoreError> {
        read(&lock(&self.reader)).map_err(|error| self.error(error))
    }

    fn write<T>(&self, write: impl FnOnce(&Transaction<'_>) -> Sql<T>) -> Result<T, StoreError> {
        let mut writer = lock(&self.writer);
        let written = || {
            // Dropped without a commit, a transaction rolls back.
            let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let value = write(&transaction)?;
            transaction.commit()?;
            Ok(value)
        };
        written().map_err(|error| self.error(error))
    }

    fn error(&self, error: rusqlite::Error) -> StoreError {
        StoreError::Sqlite(self.place.clone(), error)
    }
}

/// The bodies of one network's events.
pub struct Bodies {
    store: Arc<Store>,
    network: NetworkId,
}

impl Bodies {
    /// Those of this network.
    #[must_use]
    pub fn new(store: Arc<Store>, network: NetworkId) -> Self {
        Self { store, network }
    }
}

impl ledger::ReadBack for Bodies {
    fn read_back(&self, id: &EventId) -> Result<Option<Vec<u8>>, ledger::StoreError> {
        let read = self.store.event(&self.network, id);
        read.map_err(|error| ledger::StoreError::Other {
            place: self.store.place.clone(),
            what: error.to_string(),
        })
    }
}

fn remove_letters(transaction: &Transaction<'_>, letters: &[u64]) -> Sql<()> {
    let mut remove = transaction.prepare_cached("DELETE FROM letter WHERE id = ?1")?;
    for letter in letters {
        remove.execute(params![signed(*letter)])?;
    }
    Ok(())
}

fn schema(connection: &Connection) -> Sql<Option<i64>> {
    let there = connection
        .query_row(
            "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'meta'",
            [],
            |_| Ok(()),
        )
        .optional()?;
    match there {
        Some(()) => connection
            .query_row("SELECT value FROM meta WHERE key = 'schema'", [], |row| {
                row.get(0)
            })
            .optional(),
        None => Ok(None),
    }
}

/// Positions, sizes and times stay far below 2⁶³.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A transaction that a panic cut short was rolled back, so a poisoned lock guards nothing broken.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const NETWORK: NetworkId = NetworkId([1; 32]);

    fn letter(body: &[u8], at: u64) -> Waiting {
        Waiting {
            letter: Letter {
                id: 0,
                from: DeviceId([2; 32]),
                invite: InviteKey([3; 32]),
                body: body.to_vec(),
            },
            to: None,
            at,
        }
    }

    #[test]
    fn a_database_of_a_later_release_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mirror.db");
        drop(Store::open(&path).unwrap());
        let connection = Connection::open(&path).unwrap();
        connection
            .execute("UPDATE meta SET value = 2 WHERE key = 'schema'", [])
            .unwrap();
        drop(connection);
        assert!(matches!(
            Store::open(&path),
            Err(StoreError::Newer { found: 2, .. })
        ));
    }

    #[test]
    fn letters_survive_and_their_numbers_are_never_used_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mirror.db");
        let store = Store::open(&path).unwrap();
        let first = store
            .add_letter(&NETWORK, &letter(b"one", 10), &[])
            .unwrap();
        let reply = Waiting {
            to: Some(DeviceId([9; 32])),
            ..letter(b"two", 20)
        };
        let second = store.add_letter(&NETWORK, &reply, &[first]).unwrap();
        drop(store);
        let store = Store::open(&path).unwrap();
        let kept = store.letters(&NETWORK).unwrap();
        assert_eq!(kept.len(), 1);
        assert_eq!(kept[0].letter.id, second);
        assert_eq!((kept[0].to, kept[0].at), (reply.to, 20));
        assert_eq!(store.expire_letters(20).unwrap(), 1);
        assert_eq!(store.letter_count().unwrap(), 0);
        let third = store.add_letter(&NETWORK, &letter(b"x", 30), &[]).unwrap();
        assert!(third > second && second > first);
    }

    #[test]
    fn what_does_not_fit_on_the_disk_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("mirror.db")).unwrap();
        store
            .add_letter(&NETWORK, &letter(b"kept", 1), &[])
            .unwrap();
        store.limit_pages(1).unwrap();
        let big = letter(&[7; 60_000], 2);
        assert!(store.add_letter(&NETWORK, &big, &[1]).is_err());
        let kept = store.letters(&NETWORK).unwrap();
        assert_eq!(kept.len(), 1);
        assert_eq!(kept[0].letter.body, b"kept");
    }
}
