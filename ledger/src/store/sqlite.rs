//! A network's events in one SQLite database, readable by root alone.
//!
//! `event(id, lamport, bytes)`, indexed by (lamport, id); `proof(id, verdict)`;
//! `epoch_key(epoch, key)` and `offer_key(id, key)`; `meta(key,
//! value)` with the schema's version and the network. Write-ahead log, `synchronous=FULL`: what a call acknowledged is on
//! the disk. No secret but these keys is stored here.

use std::ops::DerefMut;
use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, params};

use super::{PAGE, Page, Place, ReadBack, Row, Store, StoreError};
use crate::event::{Act, Event};
use crate::ids::{EventId, NetworkId};
use crate::keys::EpochKey;

/// The format of the tables.
const SCHEMA: u32 = 1;
/// A table that came later, which no release needs to find: what it holds is found out anew.
const PROOFS: &str =
    "CREATE TABLE IF NOT EXISTS proof (id BLOB PRIMARY KEY, verdict BLOB NOT NULL) STRICT";
/// How long another process's lock is waited for.
const BUSY: Duration = Duration::from_secs(5);

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS event (id BLOB PRIMARY KEY, lamport INTEGER NOT NULL, bytes BLOB NOT NULL) STRICT;
    CREATE UNIQUE INDEX IF NOT EXISTS event_order ON event (lamport, id);
    CREATE TABLE IF NOT EXISTS epoch_key (epoch BLOB PRIMARY KEY, key BLOB NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS offer_key (id BLOB PRIMARY KEY, key BLOB NOT NULL) STRICT;
";

/// A store in a file.
#[derive(Debug)]
pub struct SqliteStore {
    connection: Shared,
    place: String,
}

/// The connection, which whoever reads events back uses too.
#[derive(Debug, Clone)]
#[expect(
    clippy::disallowed_types,
    reason = "a connection may go to another thread and not be used by two at once"
)]
struct Shared(Arc<std::sync::Mutex<Connection>>);

impl Shared {
    fn new(connection: Connection) -> Self {
        Self(Arc::new(connection.into()))
    }

    /// Nothing that is done with it leaves it half changed: a transaction that is not committed is rolled back.
    fn get(&self) -> impl DerefMut<Target = Connection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads events back.
struct Reader {
    connection: Shared,
    place: String,
}

impl ReadBack for Reader {
    fn read_back(&self, id: &EventId) -> Result<Option<Vec<u8>>, StoreError> {
        let connection = self.connection.get();
        connection
            .prepare_cached("SELECT bytes FROM event WHERE id = ?1")
            .and_then(|mut statement| {
                let row = statement.query_row(params![id.0.as_slice()], |row| row.get(0));
                row.optional()
            })
            .map_err(|error| store_error(&self.place, &error))
    }
}

impl SqliteStore {
    /// Opens the database, and makes it if there is none. The caller sees to the file's folder and its permissions.
    ///
    /// # Errors
    /// [`StoreError`] says what is wrong with it and what to do.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_waiting(path, BUSY)
    }

    /// Opens a database that no process writes to now, for reading alone. The database is not written to; a file beside it
    /// is, if at all, the index (`-shm`) to what a killed process left in its write-ahead log.
    ///
    /// # Errors
    /// [`StoreError`] says what is wrong with it and what to do.
    pub fn open_to_read(path: &Path) -> Result<Self, StoreError> {
        let place = path.display().to_string();
        let mut log = path.as_os_str().to_owned();
        log.push("-wal");
        #[expect(clippy::disallowed_methods, reason = "this store's own file")]
        let has_log = std::fs::metadata(&log).is_ok_and(|log| log.len() > 0);
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let opened = match path.to_str() {
            // Said to be immutable, it is read without locks, a log or an index, none of which it needs.
            Some(path) if !has_log => Connection::open_with_flags(
                format!("file:{}?immutable=1", percent_encoded(path)),
                flags | OpenFlags::SQLITE_OPEN_URI,
            ),
            _ => Connection::open_with_flags(path, flags),
        };
        let connection = opened.map_err(|error| store_error(&place, &error))?;
        connection
            .busy_timeout(BUSY)
            .map_err(|error| store_error(&place, &error))?;
        if !has_schema(&connection, &place)? {
            let what = "it holds no network".to_owned();
            return Err(StoreError::Damaged { place, what });
        }
        let connection = Shared::new(connection);
        Ok(Self { connection, place })
    }

    fn open_waiting(path: &Path, busy: Duration) -> Result<Self, StoreError> {
        let place = path.display().to_string();
        let error = |error| store_error(&place, &error);
        let connection = Connection::open(path).map_err(error)?;
        connection.busy_timeout(busy).map_err(error)?;
        // First: nothing of a later release's file may be touched.
        let is_new = !has_schema(&connection, &place)?;
        connection
            .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")
            .and_then(|()| {
                if !is_new {
                    return Ok(());
                }
                connection.execute_batch(&format!("BEGIN IMMEDIATE; {TABLES}"))?;
                connection.execute(
                    "INSERT OR IGNORE INTO meta (key, value) VALUES ('schema', ?1)",
                    params![SCHEMA.to_be_bytes().as_slice()],
                )?;
                connection.execute_batch("COMMIT")
            })
            .map_err(error)?;
        let connection = Shared::new(connection);
        Ok(Self { connection, place })
    }

    fn error(&self, error: &rusqlite::Error) -> StoreError {
        store_error(&self.place, error)
    }

    fn keys(&self, query: &str) -> Result<Vec<EpochKey>, StoreError> {
        let read = || {
            let connection = self.connection.get();
            let mut statement = connection.prepare(query)?;
            let keys = statement.query_map([], |row| row.get::<_, [u8; 32]>(0))?;
            keys.map(|key| key.map(EpochKey::from_bytes))
                .collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(|error| self.error(&error))
    }

    fn in_transaction(
        &mut self,
        write: impl FnOnce(&rusqlite::Transaction<'_>) -> rusqlite::Result<()>,
    ) -> Result<(), StoreError> {
        let place = &self.place;
        let error = |error: rusqlite::Error| store_error(place, &error);
        // Dropped without a commit, a transaction rolls back.
        let mut connection = self.connection.get();
        let transaction = connection
            .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
            .map_err(error)?;
        write(&transaction).map_err(error)?;
        transaction.commit().map_err(error)
    }
}

impl Store for SqliteStore {
    fn network(&self) -> Result<Option<NetworkId>, StoreError> {
        self.connection
            .get()
            .query_row("SELECT value FROM meta WHERE key = 'network'", [], |row| {
                row.get::<_, [u8; 32]>(0)
            })
            .optional()
            .map(|id| id.map(NetworkId))
            .map_err(|error| self.error(&error))
    }

    fn rows(&self) -> Result<Vec<Row>, StoreError> {
        let read = || {
            // As they lie, and sorted here: looking each up by the index costs twice as much.
            let connection = self.connection.get();
            let mut statement = connection.prepare("SELECT lamport, id, bytes FROM event")?;
            let rows = statement.query_map([], row)?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        let mut rows = read().map_err(|error| self.error(&error))?;
        rows.sort_by_key(|(place, row)| (place.0, row.id));
        Ok(rows.into_iter().map(|(_, row)| row).collect())
    }

    fn page(&self, behind: Option<&Place>) -> Result<Page, StoreError> {
        let read = || {
            let connection = self.connection.get();
            let mut statement = connection.prepare_cached(
                "SELECT lamport, id, bytes FROM event WHERE (lamport, id) > (?1, ?2)
                 ORDER BY lamport, id LIMIT ?3",
            )?;
            let first = Place(i64::MIN, Vec::new());
            let Place(lamport, id) = behind.unwrap_or(&first);
            let rows = statement.query_map(params![lamport, id, PAGE as u32], row)?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        let (mut places, rows): (Vec<_>, Vec<_>) = read()
            .map_err(|error| self.error(&error))?
            .into_iter()
            .unzip();
        let next = places.pop().filter(|_| rows.len() == PAGE);
        Ok(Page { rows, next })
    }

    fn reader(&self) -> Arc<dyn ReadBack> {
        Arc::new(Reader {
            connection: self.connection.clone(),
            place: self.place.clone(),
        })
    }

    fn append(&mut self, events: &[Event]) -> Result<(), StoreError> {
        self.in_transaction(|transaction| insert(transaction, events))
    }

    fn refile(&mut self, wrong: &EventId, event: &Event) -> Result<(), StoreError> {
        self.in_transaction(|transaction| {
            transaction.execute(
                "DELETE FROM event WHERE id = ?1",
                params![wrong.0.as_slice()],
            )?;
            insert(transaction, std::slice::from_ref(event))
        })
    }

    fn proofs(&self) -> Result<Vec<(EventId, Vec<u8>)>, StoreError> {
        let read = || {
            let connection = self.connection.get();
            let mut statement = connection.prepare("SELECT id, verdict FROM proof")?;
            let rows = statement.query_map([], |row| {
                Ok((EventId(row.get::<_, [u8; 32]>(0)?), row.get(1)?))
            })?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(|error| self.error(&error))
    }

    fn add_proofs(&mut self, proofs: &[(EventId, Vec<u8>)]) -> Result<(), StoreError> {
        self.in_transaction(|transaction| {
            transaction.execute(PROOFS, [])?;
            let mut insert = transaction
                .prepare_cached("INSERT OR REPLACE INTO proof (id, verdict) VALUES (?1, ?2)")?;
            for (id, proof) in proofs {
                insert.execute(params![id.0.as_slice(), proof])?;
            }
            Ok(())
        })
    }

    fn epoch_keys(&self) -> Result<Vec<EpochKey>, StoreError> {
        self.keys("SELECT key FROM epoch_key")
    }

    fn add_epoch_keys(&mut self, keys: &[EpochKey]) -> Result<(), StoreError> {
        self.in_transaction(|transaction| {
            let mut insert = transaction
                .prepare_cached("INSERT OR REPLACE INTO epoch_key (epoch, key) VALUES (?1, ?2)")?;
            for key in keys {
                insert.execute(params![key.id().0.as_slice(), key.as_bytes().as_slice()])?;
            }
            Ok(())
        })
    }

    fn offer_keys(&self) -> Result<Vec<EpochKey>, StoreError> {
        self.keys("SELECT key FROM offer_key")
    }

    fn add_offer_key(&mut self, key: &EpochKey) -> Result<(), StoreError> {
        self.in_transaction(|transaction| {
            transaction.execute(
                "INSERT OR REPLACE INTO offer_key (id, key) VALUES (?1, ?2)",
                params![key.id().0.as_slice(), key.as_bytes().as_slice()],
            )?;
            Ok(())
        })
    }
}

/// A row, and where it stands.
fn row(row: &rusqlite::Row<'_>) -> rusqlite::Result<(Place, Row)> {
    let (lamport, id) = (row.get(0)?, row.get_ref(1)?.as_blob()?);
    // A key of another length is damage too; filled up, it names no event whose bytes are here.
    let mut key = [0; 32];
    key.iter_mut().zip(id).for_each(|(to, from)| *to = *from);
    let place = Place(lamport, id.to_vec());
    let (id, bytes) = (EventId(key), row.get(2)?);
    Ok((place, Row { id, bytes }))
}

/// Whether the tables are there, in a version that this release reads.
fn has_schema(connection: &Connection, place: &str) -> Result<bool, StoreError> {
    let schema: Option<Vec<u8>> = connection
        .query_row(
            "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'meta'",
            [],
            |_| Ok(()),
        )
        .optional()
        .and_then(|there| match there {
            Some(()) => connection
                .query_row("SELECT value FROM meta WHERE key = 'schema'", [], |row| {
                    row.get(0)
                })
                .optional(),
            None => Ok(None),
        })
        .map_err(|error| store_error(place, &error))?;
    let Some(schema) = schema else {
        return Ok(false);
    };
    let found = <[u8; 4]>::try_from(schema.as_slice())
        .map(u32::from_be_bytes)
        .map_err(|_| StoreError::Damaged {
            place: place.to_owned(),
            what: "its schema version is unreadable".to_owned(),
        })?;
    if found > SCHEMA {
        return Err(StoreError::Newer {
            place: place.to_owned(),
            found,
            reads: SCHEMA,
        });
    }
    Ok(true)
}

/// A path as it stands in a URI.
fn percent_encoded(path: &str) -> String {
    let mut encoded = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02x}"));
        }
    }
    encoded
}

fn insert(transaction: &rusqlite::Transaction<'_>, events: &[Event]) -> rusqlite::Result<()> {
    let mut insert = transaction.prepare_cached(
        "INSERT INTO event (id, lamport, bytes) VALUES (?1, ?2, ?3)
         ON CONFLICT (id) DO UPDATE SET lamport = excluded.lamport, bytes = excluded.bytes",
    )?;
    for event in events {
        insert.execute(params![
            event.id().0.as_slice(),
            event.header().lamport,
            event.bytes()
        ])?;
        if matches!(event.act(), Act::Genesis(_)) {
            transaction.execute(
                "INSERT OR REPLACE INTO meta (key, value) VALUES ('network', ?1)",
                params![event.network().0.as_slice()],
            )?;
        }
    }
    Ok(())
}

fn store_error(place: &str, error: &rusqlite::Error) -> StoreError {
    let place = place.to_owned();
    let what = error.to_string();
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            StoreError::Damaged { place, what }
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Locked { place },
        Some(ErrorCode::DiskFull) => StoreError::Full { place },
        _ => StoreError::Other { place, what },
    }
}

#[cfg(test)]
// The tests make and look at files of their own.
#[allow(clippy::unwrap_used, clippy::disallowed_methods)]
mod tests {
    use super::*;
    use crate::event::Header;
    use crate::ids::EpochId;
    use crate::keys::DeviceSecret;

    fn event(lamport: u32) -> Event {
        let device = DeviceSecret::from_seed(&[1; 32]);
        let header = Header {
            network: NetworkId([9; 32]),
            author: device.public(),
            seq: 2,
            lamport,
            time: 0,
            epoch: EpochId::NONE,
            parents: vec![EventId([1; 32])],
        };
        Event::sign(&header, &Act::Merge, &[], &device).unwrap()
    }

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn what_was_appended_is_there_after_opening_again_in_order() {
        let folder = folder();
        let path = folder.path().join("net.db");
        let mut store = SqliteStore::open(&path).unwrap();
        store.append(&[event(300), event(2)]).unwrap();
        store.append(&[event(1), event(2)]).unwrap();
        store
            .add_epoch_keys(&[EpochKey::from_bytes([4; 32])])
            .unwrap();
        drop(store);
        let store = SqliteStore::open(&path).unwrap();
        let rows = store.rows().unwrap();
        assert!(rows.iter().all(Row::intact));
        let ids: Vec<_> = rows.iter().map(|row| row.id).collect();
        assert_eq!(ids, [event(1).id(), event(2).id(), event(300).id()]);
        assert_eq!(store.epoch_keys().unwrap(), [EpochKey::from_bytes([4; 32])]);
    }

    #[test]
    fn a_damaged_row_is_told_by_its_key_and_mended_by_good_bytes() {
        let folder = folder();
        let path = folder.path().join("net.db");
        let mut store = SqliteStore::open(&path).unwrap();
        store.append(&[event(1), event(2)]).unwrap();
        store
            .connection
            .get()
            .execute("UPDATE event SET bytes = zeroblob(9) WHERE lamport = 1", [])
            .unwrap();
        let damaged = |store: &SqliteStore| -> Vec<_> {
            let rows = store.rows().unwrap();
            rows.iter()
                .filter(|row| !row.intact())
                .map(|row| row.id)
                .collect()
        };
        assert_eq!(damaged(&store), [event(1).id()]);
        store.append(&[event(1)]).unwrap();
        assert!(damaged(&store).is_empty());
    }

    #[test]
    fn a_file_that_is_no_database_is_refused_and_left_alone() {
        let folder = folder();
        let path = folder.path().join("net.db");
        std::fs::write(&path, [7; 5000]).unwrap();
        assert!(matches!(
            SqliteStore::open(&path).unwrap_err(),
            StoreError::Damaged { .. }
        ));
        assert_eq!(std::fs::read(&path).unwrap(), [7; 5000]);
    }

    #[test]
    fn a_later_releases_file_is_refused_with_the_way_out() {
        let folder = folder();
        let path = folder.path().join("net.db");
        let store = SqliteStore::open(&path).unwrap();
        store
            .connection
            .get()
            .execute(
                "UPDATE meta SET value = ?1 WHERE key = 'schema'",
                params![7u32.to_be_bytes().as_slice()],
            )
            .unwrap();
        drop(store);
        let error = SqliteStore::open(&path).unwrap_err();
        assert!(matches!(error, StoreError::Newer { found: 7, .. }));
        assert!(error.to_string().contains("upgrade mesh"));
    }

    #[test]
    fn reading_alone_writes_nothing_and_sees_what_a_killed_process_left_in_its_log() {
        let folder = folder();
        let path = folder.path().join("a %41?#net.db");
        let files = |of: &Path| -> Vec<_> {
            let mut files: Vec<_> = std::fs::read_dir(of)
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .filter(|file| !file.to_string_lossy().ends_with("-shm"))
                .map(|file| {
                    (
                        file.file_name().unwrap().to_owned(),
                        std::fs::read(&file).unwrap(),
                    )
                })
                .collect();
            files.sort();
            files
        };
        let mut store = SqliteStore::open(&path).unwrap();
        store.append(&[event(1)]).unwrap();
        drop(store);
        let before = files(folder.path());
        let closed = SqliteStore::open_to_read(&path).unwrap();
        assert_eq!(closed.rows().unwrap().len(), 1);
        drop(closed);
        assert_eq!(before.len(), 1);
        assert_eq!(files(folder.path()), before);

        // What is on the disk in the middle of another process's work is what a kill leaves.
        let mut store = SqliteStore::open(&path).unwrap();
        store.append(&[event(2)]).unwrap();
        let left = tempfile::tempdir().unwrap();
        for (name, bytes) in files(folder.path()) {
            std::fs::write(left.path().join(name), bytes).unwrap();
        }
        let before = files(left.path());
        assert_eq!(before.len(), 2, "the log is there");
        let killed = SqliteStore::open_to_read(&left.path().join("a %41?#net.db")).unwrap();
        assert_eq!(killed.rows().unwrap().len(), 2);
        drop(killed);
        assert_eq!(files(left.path()), before);
    }

    #[test]
    fn what_is_not_there_is_not_made_by_reading() {
        let folder = folder();
        let path = folder.path().join("net.db");
        assert!(SqliteStore::open_to_read(&path).is_err());
        std::fs::write(&path, []).unwrap();
        assert!(matches!(
            SqliteStore::open_to_read(&path).unwrap_err(),
            StoreError::Damaged { .. }
        ));
        assert_eq!(std::fs::read(&path).unwrap(), []);
    }

    #[test]
    fn a_lock_held_by_another_is_told_as_such() {
        let folder = folder();
        let path = folder.path().join("net.db");
        let holder = SqliteStore::open(&path).unwrap();
        holder
            .connection
            .get()
            .execute_batch("BEGIN IMMEDIATE")
            .unwrap();
        let mut other = SqliteStore::open_waiting(&path, Duration::ZERO).unwrap();
        assert!(matches!(
            other.append(&[event(1)]).unwrap_err(),
            StoreError::Locked { .. }
        ));
    }
}
