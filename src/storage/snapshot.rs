//! What was durable of one object at one moment, for whoever may not wait for what it is doing now.
//!
//! # Why
//! SQLite shows a commit to other connections only once its log is synced. So what a snapshot shows can never be undone,
//! and it has everything that was acknowledged before it was taken.

use rusqlite::Connection;

use super::error::Error;
use super::{Outcome, Range, Record, Row, Seq, Space, Storage, Value, reader, rows};
use crate::path::ObjectPath;

/// One object between two commits.
pub struct Snapshot<'a> {
    connection: &'a Connection,
    record: &'a Record,
    place: &'a ObjectPath,
    floor: u64,
}

impl Storage {
    /// Looks at an object as it was durable at one moment; `None` if it does not exist, or what deletes it or all of its
    /// rows is not decided. `look` holds up the log's housekeeping and a connection: it must be short.
    ///
    /// # Errors
    /// [`Error::Database`] and [`Error::Closed`].
    pub fn snapshot<T>(&self, path: &ObjectPath, look: impl FnOnce(&Snapshot<'_>) -> T) -> Result<Option<T>, Error> {
        let shared = &self.0.shared;
        let place = Space::User.place(path);
        // Before the transaction: see [`tombstones`](super::tombstones). A deletion of the object is one of its rows, too.
        let (above, floor) = (shared.tombstones.floor(path), shared.tombstones.floor(&place));
        if self.outcome(Seq(floor)) == Outcome::Pending {
            return Ok(None);
        }
        if !shared.presence.may_have(path) {
            return Ok(None);
        }
        shared.readers.read(|connection| {
            let _transaction = connection.unchecked_transaction()?;
            let record = reader::load_with(connection, path, above)?;
            Ok(record.map(|record| look(&Snapshot { connection, record: &record, place: &place, floor })))
        })
    }
}

impl Snapshot<'_> {
    /// The object's record.
    pub fn record(&self) -> &Record {
        self.record
    }

    /// The value of one of its class's rows.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn get(&self, key: &str) -> Result<Option<Value>, Error> {
        rows::row(self.connection, self.place, self.floor, key).map_err(Error::database)
    }

    /// Rows of its class, as [`Storage::rows`].
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn rows(&self, range: &Range) -> Result<Vec<Row>, Error> {
        rows::rows(self.connection, self.place, self.floor, range).map_err(Error::database)
    }
}
