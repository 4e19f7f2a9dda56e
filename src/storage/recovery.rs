//! What the writer does when a commit fails, and how it gets going again.
//!
//! # Why
//! After a failed commit nobody knows what is on the disk, so nothing built on it may go ahead: the batch and everything
//! queued behind it fail together, the connection is closed and opened again, and what is stored is read anew. Reads go
//! on meanwhile. Whether the disk has recovered shows only in trying: once a second, by a commit of nothing but the last
//! number, or, on a full disk, by taking the reserve back.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode};

use super::error::Error;
use super::queue::{Failure, Mode};
use super::reserve::Reserve;
use super::writer::{Writer, put_meta};
use super::{CommitError, gate, reader, schema};

/// How often a database that cannot be written, or a full disk, is tried again.
pub(super) const PROBE_INTERVAL: Duration = Duration::from_secs(1);
const DISK_FULL: &str = "the disk is full";

/// Opens the database; on a full disk with what the reserve leaves.
pub(super) fn open(file: &Path, busy: Duration, sync: bool, reserve: &Reserve) -> Result<Connection, Error> {
    match schema::open(file, busy, sync) {
        Err(Error::Database { source }) if reserve.is_taken() => {
            tracing::warn!(%source, "the database cannot be opened; trying again without the disk space in reserve");
            reserve.release();
            schema::open(file, busy, sync)
        }
        result => result,
    }
}

impl Writer {
    /// A batch or a step between batches has failed: with it everything queued.
    pub(super) fn fail(&mut self, first: Option<u64>, error: &rusqlite::Error) {
        let shared = self.shared.clone();
        let mode = if is_full(error) { Mode::DeletesOnly } else { Mode::Down };
        // A full disk is sure to have applied nothing only if the log could not be written.
        let full = error.sqlite_error_code() == Some(ErrorCode::DiskFull);
        let failure = Failure {
            first,
            outcome: if full { CommitError::Full } else { CommitError::Unknown },
            mode,
            reason: match mode {
                Mode::DeletesOnly => DISK_FULL.to_owned(),
                _ => format!("the last commit failed: {error}"),
            },
        };
        shared.metrics.commit_failures.inc();
        let (due, before) = shared.queue.fail(failure, &shared.gate, &shared.tombstones);
        if before == Mode::Open {
            tracing::error!(%error, "a commit failed; not ready until the database can be written again");
        }
        self.reaper.reset();
        self.connection = None;
        if first.is_none() {
            self.rest_until = Instant::now() + self.probe_interval;
        }
        if mode == Mode::DeletesOnly {
            self.release_reserve();
        }
        due.into_iter().for_each(gate::wake);
    }

    /// A checkpoint had no space.
    pub(super) fn disk_is_full(&mut self) {
        if self.shared.queue.mode() == Mode::Open {
            tracing::error!("{DISK_FULL}; only deletions are accepted until there is space again");
            self.shared.queue.set_mode(Mode::DeletesOnly, Some(DISK_FULL.to_owned()));
        }
        self.release_reserve();
    }

    /// Gives the space in reserve to deletions.
    fn release_reserve(&self) {
        self.shared.checkpoint.settle();
        self.shared.reserve.release();
    }

    /// Tries to leave a mode in which not everything is accepted: at once if the last try is long ago, so that one bad
    /// commit costs little.
    pub(super) fn recover_if_due(&mut self) {
        let mode = self.shared.queue.mode();
        if !matches!(mode, Mode::DeletesOnly | Mode::Down) {
            return;
        }
        let due = self.probe_at <= Instant::now();
        if self.connection.is_none() && (due || mode == Mode::DeletesOnly) {
            match self.reopen() {
                Ok(connection) => self.connection = Some(connection),
                Err(error) => tracing::debug!(%error, "the database cannot be opened yet"),
            }
        }
        if !due {
            return;
        }
        self.probe_at = Instant::now() + self.probe_interval;
        let recovered = match mode {
            Mode::DeletesOnly => self.regain_space(),
            _ => self.probe(),
        };
        if recovered {
            tracing::info!("the database can be written again");
            self.shared.queue.set_mode(Mode::Open, None);
        }
    }

    /// Empties the log if the space for that is there, so that it has room for deletions and the database shrinks by what is
    /// free in it.
    fn regain_space(&mut self) -> bool {
        let Some(connection) = &self.connection else {
            return false;
        };
        if self.checkpoint_fits(connection)
            && let Err(error) = self.log.finish(connection, self.shared.busy)
        {
            tracing::debug!(%error, "the log cannot be emptied yet");
        }
        self.vacuum = true;
        self.shared.reserve.take_back().is_ok()
    }

    fn probe(&mut self) -> bool {
        let last = self.shared.queue.last();
        let objects = self.objects;
        match self.transaction(|connection| put_meta(connection, last, objects)) {
            Ok(()) => {
                self.seq = last;
                true
            }
            Err(error) => {
                tracing::debug!(%error, "the database cannot be written yet");
                self.connection = None;
                if is_full(&error) {
                    self.shared.queue.set_mode(Mode::DeletesOnly, Some(DISK_FULL.to_owned()));
                    self.release_reserve();
                }
                false
            }
        }
    }

    /// Opens the database again and reads what is stored.
    fn reopen(&mut self) -> rusqlite::Result<Connection> {
        let connection = schema::writer(&self.shared.file, self.shared.busy, self.shared.sync)?;
        let (seq, objects) = reader::meta(&connection)?;
        let tombstones = reader::tombstones(&connection)?;
        (self.seq, self.objects) = (seq, objects);
        self.shared.objects.store(objects, Ordering::Release);
        self.shared.tombstones.restore(tombstones);
        Ok(connection)
    }
}

/// Whether the disk had no space, for the log or for the index that SQLite keeps of it.
pub(super) fn is_full(error: &rusqlite::Error) -> bool {
    let shm_size = |error: &rusqlite::ffi::Error| error.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE;
    error.sqlite_error_code() == Some(ErrorCode::DiskFull) || error.sqlite_error().is_some_and(shm_size)
}
