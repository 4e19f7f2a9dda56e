//! The key/value pairs of an object, in the order of key bytes.

use std::ops::Bound;

use rusqlite::types;
use rusqlite::{Connection, OptionalExtension};

use super::error::Error;
use super::reader::text;
use super::{Space, Storage, Value, sql};
use crate::path::ObjectPath;

/// A row: its key and its value.
pub type Row = (Box<str>, Value);

/// Which rows to read, and how many at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// The lowest key.
    pub start: Bound<Box<str>>,
    /// The highest key.
    pub end: Bound<Box<str>>,
    /// From the highest key to the lowest.
    pub reverse: bool,
    /// Most rows.
    pub limit: usize,
    /// Most bytes of keys and values, unless the first row alone has more.
    pub bytes: usize,
}

impl Range {
    /// The first key that is in it, unless it is empty.
    fn first(&self) -> String {
        match &self.start {
            Bound::Unbounded => String::new(),
            Bound::Included(key) => key.to_string(),
            Bound::Excluded(key) => successor(key),
        }
    }

    /// The first value behind it.
    fn behind(&self) -> types::Value {
        match &self.end {
            // Every text is below every blob.
            Bound::Unbounded => types::Value::Blob(Vec::new()),
            Bound::Included(key) => types::Value::Text(successor(key)),
            Bound::Excluded(key) => types::Value::Text(key.to_string()),
        }
    }
}

/// The smallest key above this one.
fn successor(key: &str) -> String {
    format!("{key}\0")
}

impl Storage {
    /// The durable value of a row; `None` if there is no such row. A point read of about 10 µs.
    ///
    /// # Errors
    /// [`Error::Database`] and [`Error::Closed`].
    pub fn get(&self, path: &ObjectPath, space: Space, key: &str) -> Result<Option<Value>, Error> {
        let shared = &self.0.shared;
        let place = space.place(path);
        let floor = shared.tombstones.floor(&place);
        shared.readers.read(|connection| row(connection, &place, floor, key))
    }

    /// Durable rows in the order of key bytes (descending if `reverse`). That there are no more is only certain when the
    /// answer is empty: it may have been the bytes that ended it.
    ///
    /// # Errors
    /// [`Error::Database`] and [`Error::Closed`].
    pub fn rows(&self, path: &ObjectPath, space: Space, range: &Range) -> Result<Vec<Row>, Error> {
        let shared = &self.0.shared;
        let place = space.place(path);
        let floor = shared.tombstones.floor(&place);
        shared.readers.read(|connection| rows(connection, &place, floor, range))
    }

    /// The durable value of a row, and if there is none, the next key behind it, unless it would be the last.
    ///
    /// # Errors
    /// [`Error::Database`] and [`Error::Closed`].
    pub fn seek(&self, path: &ObjectPath, space: Space, key: &str) -> Result<(Option<Value>, Option<Box<str>>), Error> {
        let shared = &self.0.shared;
        let place = space.place(path);
        let floor = shared.tombstones.floor(&place);
        shared.readers.read(|connection| {
            let mut statement = connection.prepare_cached(sql::ROW_SEEK)?;
            let mut rows = statement.query((place.key(), key, floor.cast_signed()))?;
            let Some(row) = rows.next()? else { return Ok((None, None)) };
            Ok(match row.get_ref(1)? {
                types::ValueRef::Null => (None, Some(text(row, 0)?.into())),
                value => (Some(value.as_blob()?.into()), None),
            })
        })
    }
}

/// See [`Storage::get`].
pub(super) fn row(
    connection: &Connection,
    place: &ObjectPath,
    floor: u64,
    key: &str,
) -> rusqlite::Result<Option<Value>> {
    let mut statement = connection.prepare_cached(sql::ROW)?;
    let value = |row: &rusqlite::Row<'_>| Ok(row.get_ref(0)?.as_blob()?.into());
    statement.query_row((place.key(), key, floor.cast_signed()), value).optional()
}

/// See [`Storage::rows`].
pub(super) fn rows(
    connection: &Connection,
    place: &ObjectPath,
    floor: u64,
    range: &Range,
) -> rusqlite::Result<Vec<Row>> {
    let sql = if range.reverse { sql::ROWS_REVERSE } else { sql::ROWS };
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query((place.key(), range.first(), range.behind(), floor.cast_signed()))?;
    let (mut found, mut bytes) = (Vec::new(), 0);
    while found.len() < range.limit
        && let Some(row) = rows.next()?
    {
        let (key, value) = (text(row, 0)?, row.get_ref(1)?.as_blob()?);
        bytes += key.len() + value.len();
        if bytes > range.bytes && !found.is_empty() {
            break;
        }
        found.push((key.into(), value.into()));
    }
    Ok(found)
}
