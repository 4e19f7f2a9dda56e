//! The write-ahead log: grown in advance, and kept from growing for ever.
//!
//! A commit is fastest when it overwrites blocks that the file already has: its fsync then writes no metadata. So the log
//! is filled with zeros up to [`LOG_BYTES`], which SQLite takes for the end of the log, and is never cut off.
//!
//! # Why
//! The log starts over only when all of it is in the database and a commit comes before anything was added. While commits
//! never pause, no checkpoint in the background gets there: it does the bulk, and the writer the short rest between two
//! commits.

use std::fs::OpenOptions;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;

use super::schema::PAGE_BYTES;
use super::sql;
use crate::limits::{LOG_BYTES, LOG_CHECKPOINT_BYTES, LOG_FINISH_BYTES};

/// Bytes of the log's header.
const HEADER_BYTES: u64 = 32;
/// Bytes of one page in the log.
const FRAME_BYTES: u64 = PAGE_BYTES + 24;
/// How much the log is grown at once: about the time of one commit.
const GROW_BYTES: usize = 1 << 20;
/// How long finishing a checkpoint may wait for readers of the old log, all of which are short.
const FINISH_WAIT: Duration = Duration::from_millis(50);

/// The file of the log that belongs to a database.
pub(super) fn path(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

/// What the writer knows and does about the log.
#[derive(Debug)]
pub(super) struct Log {
    file: PathBuf,
    grown: bool,
    /// After readers stood in the way, the log may grow to here before the next attempt.
    retry_at: u64,
}

/// What the log needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    Nothing,
    /// A checkpoint in the background.
    Checkpoint,
    /// The rest of one, done by the writer.
    Finish,
    /// The log has reached twice its size: whoever holds it up must yield.
    Overdue,
}

/// Bytes of the log in use.
#[derive(Debug, Clone, Copy)]
struct Usage {
    used: u64,
    /// Not in the database yet.
    waiting: u64,
}

impl Log {
    pub(super) fn new(database: &Path) -> Self {
        Self { file: path(database), grown: false, retry_at: 0 }
    }

    /// Whether there is nothing to grow any more.
    pub(super) fn is_grown(&self) -> bool {
        self.grown
    }

    /// Looks at the log after a commit.
    pub(super) fn need(&mut self, connection: &Connection) -> rusqlite::Result<Need> {
        let usage = usage(connection)?;
        if usage.used < LOG_BYTES {
            self.retry_at = 0;
        }
        Ok(match usage {
            Usage { used, waiting } if used >= 2 * LOG_BYTES && waiting > 0 && used >= self.retry_at => Need::Overdue,
            Usage { used, waiting } if used >= LOG_BYTES && waiting <= LOG_FINISH_BYTES && used >= self.retry_at => {
                Need::Finish
            }
            Usage { waiting, .. } if waiting >= LOG_CHECKPOINT_BYTES => Need::Checkpoint,
            Usage { used, waiting } if used >= LOG_BYTES && waiting > LOG_FINISH_BYTES => Need::Checkpoint,
            Usage { .. } => Need::Nothing,
        })
    }

    /// Does the rest of a checkpoint, so that the next commit starts the log over.
    pub(super) fn finish(&mut self, connection: &Connection, busy: Duration) -> rusqlite::Result<()> {
        connection.busy_timeout(FINISH_WAIT)?;
        let result = connection.query_row("PRAGMA wal_checkpoint(RESTART)", (), |row| row.get::<_, i64>(0));
        connection.busy_timeout(busy)?;
        if result? != 0 {
            self.retry_at = usage(connection)?.used + LOG_FINISH_BYTES / 4;
        }
        Ok(())
    }

    /// Grows the log by a step; a disk without the room for it is left alone.
    pub(super) fn grow(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        // The lock keeps every other connection, of whatever process, from writing to the end of the log.
        connection.prepare_cached(sql::BEGIN)?.execute(())?;
        let used = usage(connection).map(|usage| usage.used);
        let grown = used.map(|used| self.append_zeros(used));
        connection.prepare_cached(sql::ROLLBACK)?.execute(())?;
        match grown? {
            Ok(grown) => self.grown = grown,
            Err(error) => {
                tracing::warn!(%error, "the write-ahead log cannot be grown in advance; commits will be slower");
                self.grown = true;
            }
        }
        Ok(())
    }

    fn append_zeros(&self, used: u64) -> io::Result<bool> {
        let mut file = OpenOptions::new().write(true).open(&self.file)?;
        let length = file.seek(SeekFrom::End(0))?;
        if length >= LOG_BYTES {
            return Ok(true);
        }
        let written = file.write_all(&vec![0; GROW_BYTES]).and_then(|()| file.sync_data());
        if written.is_err() {
            // What was taken in vain goes back: nothing beyond `used` means anything.
            file.set_len(used)?;
        }
        written.map(|()| false)
    }
}

fn usage(connection: &Connection) -> rusqlite::Result<Usage> {
    let mut statement = connection.prepare_cached("PRAGMA wal_checkpoint(NOOP)")?;
    let (frames, copied) = statement.query_row((), |row| Ok((row.get::<_, i64>(1)?, row.get::<_, i64>(2)?)))?;
    // -1 before the first commit.
    let bytes = |frames: i64| u64::try_from(frames).unwrap_or(0) * FRAME_BYTES;
    Ok(Usage { used: HEADER_BYTES + bytes(frames), waiting: bytes(frames).saturating_sub(bytes(copied)) })
}
