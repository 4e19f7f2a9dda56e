//! When objects are to be woken.

use super::error::Error;
use super::reader::{number, text};
use super::{Storage, sql};
use crate::path::ObjectPath;

impl Storage {
    /// Objects whose durable wake time is at or before `now` (ms since the epoch), each with it, the earliest first.
    ///
    /// # Errors
    /// [`Error::Database`] and [`Error::Closed`].
    pub fn due(&self, now: u64, limit: usize) -> Result<Vec<(ObjectPath, u64)>, Error> {
        self.due_after(0, None, now, limit)
    }

    /// The same without what comes before a time, or at that time up to a path: so they can be read in chunks.
    ///
    /// # Errors
    /// [`Error::Database`] and [`Error::Closed`].
    pub fn due_after(
        &self,
        at: u64,
        path: Option<&ObjectPath>,
        now: u64,
        limit: usize,
    ) -> Result<Vec<(ObjectPath, u64)>, Error> {
        let shared = &self.0.shared;
        let floors = shared.tombstones.floors(&ObjectPath::root());
        shared.readers.read(|connection| {
            let mut statement = connection.prepare_cached(sql::DUE)?;
            let mut rows = statement.query((stored(at), path.map_or("", ObjectPath::key), stored(now)))?;
            let mut due = Vec::new();
            while due.len() < limit
                && let Some(row) = rows.next()?
            {
                let path = ObjectPath::from_key(text(row, 0)?);
                if floors.alive(&path, number(row, 2)?) {
                    due.push((path, number(row, 1)?));
                }
            }
            Ok(due)
        })
    }

    /// The earliest durable wake time (ms since the epoch); `None` if no object is to be woken.
    ///
    /// # Errors
    /// [`Error::Database`] and [`Error::Closed`].
    pub fn next_wake(&self) -> Result<Option<u64>, Error> {
        Ok(self.due(u64::MAX, 1)?.first().map(|(_, at)| *at))
    }
}

/// A time as it is stored: what SQLite's numbers cannot hold comes last, and not first.
pub(super) fn stored(at: u64) -> i64 {
    i64::try_from(at).unwrap_or(i64::MAX)
}
