//! Which keys belong to one connection.
//!
//! All application secrets of a connection are derived from one secret of its handshake. The deriving code here gives that
//! secret a number, and each secret derived from it for QUIC the same number. A number has one [`Book`] as long as a key
//! with that number is in use. The library always holds the keys of the present and of the next phase, so a book lives
//! from the end of the handshake until the connection is gone.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::room::Room;

/// The number of a connection's application secrets.
pub(crate) type Number = u64;

static NEXT: AtomicU64 = AtomicU64::new(1);
static BOOKS: Mutex<BTreeMap<Number, Weak<Book>>> = Mutex::new(BTreeMap::new());

thread_local! {
    /// The number of the secret from which key material was derived last on this thread. rustls derives the material of a key
    /// and makes the key in one call, so between the two nothing else is derived on the thread.
    static LAST: Cell<Option<Number>> = const { Cell::new(None) };
}

/// What is known of the packets under a family of keys.
#[derive(Debug, Default)]
pub(crate) struct Book {
    number: Option<Number>,
    room: Mutex<Room>,
}

impl Book {
    pub(crate) fn room(&self) -> MutexGuard<'_, Room> {
        // Nothing panics while it is held; if something did, the numbers in it are still numbers.
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Book {
    fn drop(&mut self) {
        let Some(number) = self.number else { return };
        let mut books = BOOKS.lock().unwrap_or_else(PoisonError::into_inner);
        // Another may stand there by now, if a key was made while this one was dropped.
        if books
            .get(&number)
            .is_some_and(|book| book.strong_count() == 0)
        {
            books.remove(&number);
        }
    }
}

/// Returns a number that no secret has yet.
pub(crate) fn next() -> Number {
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Notes that key material was derived from a secret with this number, or from one without.
pub(crate) fn derived(number: Option<Number>) {
    LAST.set(number);
}

/// Returns the book for a key that is made now. A key without a number has a book of its own.
pub(crate) fn book() -> Arc<Book> {
    let Some(number) = LAST.take() else {
        return Arc::new(Book::default());
    };
    let mut books = BOOKS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(book) = books.get(&number).and_then(Weak::upgrade) {
        return book;
    }
    let book = Arc::new(Book {
        number: Some(number),
        room: Mutex::default(),
    });
    books.insert(number, Arc::downgrade(&book));
    book
}

/// Returns how many books with a number there are.
#[doc(hidden)]
pub fn books() -> usize {
    let books = BOOKS.lock().unwrap_or_else(PoisonError::into_inner);
    books.len()
}
