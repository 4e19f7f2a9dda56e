//! The write-ahead log: grown in advance, and kept from growing for ever.
//!
//! A commit is fastest when it overwrites blocks that the file already has: its fsync then writes no metadata. So the log
//! is filled with zeros to twice of what is used, which SQLite takes for the end of the log, and is never cut off.
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

/// Bytes of the log's header.
const HEADER_BYTES: u64 = 32;
/// Bytes of one page in the log.
const FRAME_BYTES: u64 = PAGE_BYTES + 24;
/// A checkpoint in the background begins when this part of the log waits for it.
const CHECKPOINT_PART: u64 = 8;
/// The part of the log that the writer itself may copy to finish a checkpoint.
const FINISH_PART: u64 = 16;
/// What the log of an unused database is grown to.
const FIRST_BYTES: u64 = 4 << 20;
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
    /// Its size: where it starts over.
    bytes: u64,
    /// What it has been grown to, and should be.
    length: u64,
    target: u64,
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
    pub(super) fn new(database: &Path, bytes: u64) -> Self {
        Self { file: path(database), bytes, length: 0, target: bytes.min(FIRST_BYTES), retry_at: 0 }
    }

    /// Whether there is nothing to grow any more.
    pub(super) fn is_grown(&self) -> bool {
        self.length >= self.target
    }

    /// Looks at the log after a commit.
    pub(super) fn need(&mut self, connection: &Connection) -> rusqlite::Result<Need> {
        let Usage { used, waiting } = usage(connection)?;
        self.length = self.length.max(used);
        self.target = self.target.max(self.bytes.min(2 * used));
        if used < self.bytes {
            self.retry_at = 0;
        }
        let full = used >= self.bytes && waiting > 0;
        Ok(if used >= 2 * self.bytes && waiting > 0 && used >= self.retry_at {
            Need::Overdue
        } else if full && waiting <= self.bytes / FINISH_PART && used >= self.retry_at {
            Need::Finish
        } else if waiting >= self.bytes / CHECKPOINT_PART || (full && waiting > self.bytes / FINISH_PART) {
            Need::Checkpoint
        } else {
            Need::Nothing
        })
    }

    /// Does the rest of a checkpoint, so that the next commit starts the log over.
    pub(super) fn finish(&mut self, connection: &Connection, busy: Duration) -> rusqlite::Result<()> {
        connection.busy_timeout(FINISH_WAIT)?;
        let result = connection.query_row("PRAGMA wal_checkpoint(RESTART)", (), |row| row.get::<_, i64>(0));
        connection.busy_timeout(busy)?;
        if result? != 0 {
            self.retry_at = usage(connection)?.used + self.bytes / FINISH_PART / 4;
        }
        Ok(())
    }

    /// Grows the log by a step; a disk without the room for it is left alone.
    pub(super) fn grow(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        // The lock keeps every other connection, of whatever process, from writing to the end of the log.
        connection.prepare_cached(sql::BEGIN)?.execute(())?;
        let grown = self.append_zeros();
        connection.prepare_cached(sql::ROLLBACK)?.execute(())?;
        match grown {
            Ok(length) => self.length = length,
            Err(error) => {
                tracing::warn!(%error, "the write-ahead log cannot be grown in advance; commits will be slower");
                self.length = self.bytes;
            }
        }
        Ok(())
    }

    /// Answers the new length.
    fn append_zeros(&self) -> io::Result<u64> {
        let mut file = OpenOptions::new().write(true).open(&self.file)?;
        let length = file.seek(SeekFrom::End(0))?;
        if length >= self.target {
            return Ok(length);
        }
        let written = file.write_all(&vec![0; GROW_BYTES]).and_then(|()| file.sync_data());
        if written.is_err() {
            // What was taken in vain goes back.
            file.set_len(length)?;
        }
        written.map(|()| length + GROW_BYTES as u64)
    }
}

fn usage(connection: &Connection) -> rusqlite::Result<Usage> {
    let mut statement = connection.prepare_cached("PRAGMA wal_checkpoint(NOOP)")?;
    let (frames, copied) = statement.query_row((), |row| Ok((row.get::<_, i64>(1)?, row.get::<_, i64>(2)?)))?;
    // -1 before the first commit.
    let bytes = |frames: i64| u64::try_from(frames).unwrap_or(0) * FRAME_BYTES;
    Ok(Usage { used: HEADER_BYTES + bytes(frames), waiting: bytes(frames).saturating_sub(bytes(copied)) })
}
