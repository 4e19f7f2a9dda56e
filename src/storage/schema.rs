//! Opening the database file: is it ours, undamaged and of a version we know; then its connections.
//!
//! # Why
//! A file that is not understood is refused and left exactly as it is. The header is therefore read before SQLite gets
//! to see the file, and nothing is written before the version is known.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};
use rusqlite_migration::{M, Migrations};

use super::error::Error;

/// `Flee` in ASCII, in the header of every database of ours.
pub(super) const APPLICATION_ID: u32 = 0x466c_6565;
const STEPS: &[M<'static>] =
    &[M::up(include_str!("../../migrations/0001_objects.sql")), M::up(include_str!("../../migrations/0002_rows.sql"))];
const MIGRATIONS: Migrations<'static> = Migrations::from_slice(STEPS);
/// Number of the newest migration.
pub(super) const VERSION: u32 = 2;
/// Size of a page of the database, in bytes.
pub(super) const PAGE_BYTES: u64 = 4_096;

/// Statements kept prepared by one connection; there are fewer.
const STATEMENTS: usize = 64;
const WRITER_CACHE_KIB: i64 = 64 << 10;
const READER_CACHE_KIB: i64 = 2 << 10;

/// Checks the file, creates it if there is none, and brings its schema up to date. The connection is the writer's.
///
/// # Errors
/// [`Error::Damaged`], [`Error::Newer`], [`Error::Directory`] or [`Error::Database`].
pub(super) fn open(file: &Path, busy: Duration, sync: bool) -> Result<Connection, Error> {
    let fresh = check_header(file)?;
    let damaged = |error: rusqlite::Error| refusal(file, error);
    let mut connection = connect(file, fresh, busy).map_err(damaged)?;
    if fresh {
        create(&connection, sync).map_err(damaged)?;
    }
    let found: u32 = connection.query_row("PRAGMA user_version", (), |row| row.get(0)).map_err(damaged)?;
    if found > VERSION {
        return Err(Error::Newer { file: file.to_owned(), found, known: VERSION });
    }
    // Reads the whole schema, before anything is written to what may turn out to be damaged.
    let tables: u32 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0)).map_err(damaged)?;
    tracing::debug!(version = found, tables, "database opened");
    configure_writer(&connection, sync).map_err(damaged)?;
    match MIGRATIONS.to_latest(&mut connection) {
        Ok(()) => Ok(connection),
        Err(rusqlite_migration::Error::RusqliteError { err, .. }) => Err(damaged(err)),
        Err(error) => Err(Error::Database { source: error.into() }),
    }
}

/// The writer's connection to a file that [`open`] has seen.
pub(super) fn writer(file: &Path, busy: Duration, sync: bool) -> rusqlite::Result<Connection> {
    let connection = connect(file, false, busy)?;
    configure_writer(&connection, sync)?;
    Ok(connection)
}

/// A connection that reads.
pub(super) fn reader(file: &Path, busy: Duration) -> rusqlite::Result<Connection> {
    let connection = connect(file, false, busy)?;
    connection.pragma_update(None, "cache_size", -READER_CACHE_KIB)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

/// A connection that checkpoints the log and writes nothing else.
pub(super) fn checkpointer(file: &Path, busy: Duration) -> rusqlite::Result<Connection> {
    let connection = connect(file, false, busy)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    Ok(connection)
}

/// Whether there is no database yet.
fn check_header(file: &Path) -> Result<bool, Error> {
    let unusable = |source| Error::Directory { path: file.to_owned(), source };
    let damaged = |detail: String| Err(Error::Damaged { file: file.to_owned(), detail });
    let mut header = Vec::with_capacity(100);
    match File::open(file) {
        Ok(file) => file.take(100).read_to_end(&mut header).map_err(unusable)?,
        Err(error) if error.kind() == ErrorKind::NotFound => 0,
        Err(error) => return Err(unusable(error)),
    };
    if header.is_empty() {
        // SQLite would throw away a log without a database, with all the commits in it.
        let log = super::log::path(file);
        return match std::fs::metadata(&log) {
            Ok(meta) if meta.len() > 0 => damaged(format!("it is missing or empty, but {} is not", log.display())),
            _ => Ok(true),
        };
    }
    if header.len() < 100 || !header.starts_with(b"SQLite format 3\0") {
        return damaged("it does not begin like a SQLite database".to_owned());
    }
    let id = u32::from_be_bytes([header[68], header[69], header[70], header[71]]);
    if id != APPLICATION_ID {
        return damaged(format!("its application id is {id:#x} and not {APPLICATION_ID:#x}"));
    }
    Ok(false)
}

fn refusal(file: &Path, error: rusqlite::Error) -> Error {
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            Error::Damaged { file: file.to_owned(), detail: error.to_string() }
        }
        _ => Error::database(error),
    }
}

fn connect(file: &Path, fresh: bool, busy: Duration) -> rusqlite::Result<Connection> {
    let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    flags.set(OpenFlags::SQLITE_OPEN_CREATE, fresh);
    let connection = Connection::open_with_flags(file, flags)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.busy_timeout(busy)?;
    connection.pragma_update(None, "mmap_size", 0)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    // Checkpoints have a thread of their own.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    Ok(connection)
}

/// What can only be chosen before the first table, and what makes the file ours, in this order: the application id must
/// stand in the file itself before the log takes over.
fn create(connection: &Connection, sync: bool) -> rusqlite::Result<()> {
    connection.pragma_update(None, "page_size", PAGE_BYTES.cast_signed())?;
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.pragma_update(None, "synchronous", synchronous(sync))?;
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", (), |row| row.get(0))?;
    if mode != "wal" {
        tracing::error!(mode, "the file system cannot hold a write-ahead log; commits will be slow");
    }
    Ok(())
}

fn configure_writer(connection: &Connection, sync: bool) -> rusqlite::Result<()> {
    connection.pragma_update(None, "synchronous", synchronous(sync))?;
    connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)
}

fn synchronous(sync: bool) -> &'static str {
    if sync { "FULL" } else { "OFF" }
}
