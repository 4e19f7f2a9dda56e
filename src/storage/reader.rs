//! Reading what is durable: a small pool of connections, and the queries about objects they answer.
//!
//! Every query takes the floor of what it reads *before* it reads; see [`tombstones`](super::tombstones) for why that
//! order is enough.

use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use rusqlite::types::{Type, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row};

use super::error::Error;
use super::sql;
use super::tombstones::{Floors, Tombstones};
use super::{Child, Listed, Record, Shared};
use crate::path::{ObjectName, ObjectPath};

/// Connections that nobody is reading with, the last used on top: its cache is the warmest.
#[derive(Debug)]
pub(super) struct Readers {
    state: Mutex<State>,
    returned: Condvar,
}

#[derive(Debug)]
struct State {
    idle: Vec<Connection>,
    busy: usize,
    closed: bool,
}

impl Readers {
    pub(super) fn new(connections: Vec<Connection>) -> Self {
        Self { state: Mutex::new(State { idle: connections, busy: 0, closed: false }), returned: Condvar::new() }
    }

    /// Reads with a connection, once one is free.
    pub(super) fn read<T>(&self, query: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, Error> {
        let borrowed = self.borrow()?;
        borrowed.connection().and_then(query).map_err(Error::database)
    }

    fn borrow(&self) -> Result<Borrowed<'_>, Error> {
        let mut state = self.state.lock();
        loop {
            if state.closed {
                return Err(Error::Closed);
            }
            if let Some(connection) = state.idle.pop() {
                state.busy += 1;
                return Ok(Borrowed { readers: self, connection: Some(connection) });
            }
            self.returned.wait(&mut state);
        }
    }

    /// Waits for whoever reads, then closes the connections.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        self.returned.notify_all();
        while state.busy > 0 {
            self.returned.wait(&mut state);
        }
        state.idle.clear();
    }
}

/// A connection that goes back when it is dropped, also by a panic.
struct Borrowed<'a> {
    readers: &'a Readers,
    connection: Option<Connection>,
}

impl Borrowed<'_> {
    fn connection(&self) -> rusqlite::Result<&Connection> {
        self.connection.as_ref().ok_or(rusqlite::Error::InvalidQuery)
    }
}

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        let mut state = self.readers.state.lock();
        state.busy -= 1;
        state.idle.extend(self.connection.take());
        drop(state);
        self.readers.returned.notify_one();
    }
}

/// See [`Storage::load`](super::Storage::load).
pub(super) fn load(shared: &Shared, path: &ObjectPath) -> Result<Option<Record>, Error> {
    if !shared.presence.may_have(path) {
        return Ok(None);
    }
    let floor = shared.tombstones.floor(path);
    shared.readers.read(|connection| load_with(connection, path, floor))
}

/// The record of an object, unless a deletion up to this floor has killed it.
pub(super) fn load_with(connection: &Connection, path: &ObjectPath, floor: u64) -> rusqlite::Result<Option<Record>> {
    let mut statement = connection.prepare_cached(sql::LOAD)?;
    let found = statement.query_row((path.key(),), record).optional()?;
    Ok(found.filter(|(_, seq)| *seq >= floor).map(|(record, _)| record))
}

/// See [`Storage::class`](super::Storage::class).
pub(super) fn class(shared: &Shared, path: &ObjectPath) -> Result<Option<Arc<str>>, Error> {
    if !shared.presence.may_have(path) {
        return Ok(None);
    }
    let floor = shared.tombstones.floor(path);
    let found = shared.readers.read(|connection| {
        let mut statement = connection.prepare_cached(sql::CLASS)?;
        statement.query_row((path.key(),), |row| Ok((text(row, 0)?.into(), number(row, 1)?))).optional()
    })?;
    Ok(found.filter(|(_, seq)| *seq >= floor).map(|(class, _)| class))
}

/// See [`Storage::children`](super::Storage::children).
pub(super) fn children(
    readers: &Readers,
    tombstones: &Tombstones,
    path: &ObjectPath,
) -> Result<Vec<(u64, Child)>, Error> {
    let floor = tombstones.floor(path);
    readers.read(|connection| {
        let mut statement = connection.prepare_cached(sql::CHILDREN)?;
        let rows = statement.query_map((path.key(), floor.cast_signed()), |row| {
            let child = Child { name: name(row, 1)?, class: text(row, 2)?.into() };
            Ok((number(row, 0)?, child))
        })?;
        rows.collect()
    })
}

/// See [`Storage::objects`](super::Storage::objects).
pub(super) fn objects(
    readers: &Readers,
    tombstones: &Tombstones,
    prefix: &ObjectPath,
    after: Option<&ObjectPath>,
    limit: usize,
) -> Result<Vec<Listed>, Error> {
    let floors = tombstones.floors(prefix);
    let after = after.filter(|after| *after >= prefix);
    // The smallest text above a key: no name has a character this low.
    let start = after.map_or_else(|| prefix.key().to_owned(), |after| format!("{}\u{1}", after.key()));
    readers.read(|connection| {
        let mut statement = connection.prepare_cached(sql::OBJECTS)?;
        let mut rows = statement.query((start, prefix.range_end(), floors.base.cast_signed()))?;
        let mut listed = Vec::new();
        while listed.len() < limit
            && let Some(row) = rows.next()?
        {
            listed.extend(alive(row, &floors)?);
        }
        Ok(listed)
    })
}

fn alive(row: &Row<'_>, floors: &Floors) -> rusqlite::Result<Option<Listed>> {
    let path = ObjectPath::from_key(text(row, 0)?);
    if !floors.alive(&path, number(row, 3)?) {
        return Ok(None);
    }
    Ok(Some(Listed { path, class: text(row, 1)?.into(), children: number(row, 2)? }))
}

/// The last number given and the number of objects, as stored.
pub(super) fn meta(connection: &Connection) -> rusqlite::Result<(u64, u64)> {
    connection.query_row(sql::META, (), |row| Ok((number(row, 0)?, number(row, 1)?)))
}

/// Every tombstone that is stored, read page by page.
pub(super) fn tombstones(connection: &Connection) -> rusqlite::Result<Vec<(ObjectPath, u64)>> {
    const PAGE: i64 = 1_000;
    let mut all: Vec<(ObjectPath, u64)> = Vec::new();
    let mut statement = connection.prepare(sql::TOMBSTONES)?;
    loop {
        let after = all.last().map_or("", |(prefix, _)| prefix.key()).to_owned();
        let before = all.len();
        for row in
            statement.query_map((after, PAGE), |row| Ok((ObjectPath::from_key(text(row, 0)?), number(row, 1)?)))?
        {
            all.push(row?);
        }
        if all.len() == before {
            return Ok(all);
        }
    }
}

fn record(row: &Row<'_>) -> rusqlite::Result<(Record, u64)> {
    let state = match row.get_ref(1)? {
        ValueRef::Null => None,
        value => Some(value.as_blob()?.into()),
    };
    let record = Record {
        class: text(row, 0)?.into(),
        state,
        children: number(row, 2)?,
        next_ordinal: number(row, 3)?,
        bytes: number(row, 4)?,
        rows: number(row, 5)?,
    };
    Ok((record, number(row, 6)?))
}

fn name(row: &Row<'_>, column: usize) -> rusqlite::Result<ObjectName> {
    let unusable = |error| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error));
    ObjectName::parse(text(row, column)?).map_err(unusable)
}

pub(super) fn text<'a>(row: &'a Row<'_>, column: usize) -> rusqlite::Result<&'a str> {
    Ok(row.get_ref(column)?.as_str()?)
}

pub(super) fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get(column).map(i64::cast_unsigned)
}
