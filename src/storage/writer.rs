//! The thread that owns the database: group commit, and what is done when one fails.
//!
//! A batch is everything that was queued while the last one was being fsynced. Between batches the writer reaps, gives
//! space back and looks after the log, one bounded step at a time.
//! What is done when one fails is in [`recovery`](super::recovery).
//!
//! # Why
//! Whom a batch of many has answered writes again at once, and a commit costs much the same for few and for many. So after
//! such a batch the writer rests for a moment before it takes the next. On two cores with 64 to 100 clients that gave a
//! tenth more first writes and increments a second; who writes alone never waits for it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::{Connection, params};

use super::batch::Batch;
use super::log::{Log, Need};
use super::queue::{Failure, Mode, Numbered, Work};
use super::reaper::Reaper;
use super::recovery::{PROBE_INTERVAL, is_full};
use super::schema::PAGE_BYTES;
use super::{CommitError, Shared, gate, sql};
use crate::limits::{TOMBSTONES, VACUUM_PAGES};

/// So many write sets in one batch are a crowd.
const CROWD: usize = 8;
/// How long more of a crowd are waited for.
const GATHER: Duration = Duration::from_micros(50);
/// Free pages of the database that are kept for new rows.
const FREE_PAGES: u32 = 256;

#[derive(Debug)]
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    /// `None` while it cannot be opened.
    pub(super) connection: Option<Connection>,
    /// The last durable number.
    pub(super) seq: u64,
    pub(super) objects: u64,
    pub(super) reaper: Reaper,
    pub(super) log: Log,
    /// Whether pages may have become free.
    pub(super) vacuum: bool,
    pub(super) probe_interval: Duration,
    /// When to try next to leave a mode in which not everything is accepted.
    pub(super) probe_at: Instant,
    /// No step between batches before this: the last one failed.
    pub(super) rest_until: Instant,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, connection: Connection, seq: u64, objects: u64) -> Self {
        Self {
            log: Log::new(&shared.file, shared.log_bytes),
            shared,
            connection: Some(connection),
            seq,
            objects,
            reaper: Reaper::default(),
            vacuum: true,
            probe_interval: PROBE_INTERVAL,
            probe_at: Instant::now(),
            rest_until: Instant::now(),
        }
    }

    /// Commits until the queue is closed and empty.
    pub(super) fn run(mut self) {
        // If this thread should ever panic, nobody waits for it in vain.
        let _ended = Ended(self.shared.clone());
        loop {
            match self.shared.queue.take(self.patience()) {
                Work::Batch(sets) => {
                    let crowd = sets.len() >= CROWD;
                    self.commit(sets);
                    if crowd {
                        thread::park_timeout(GATHER);
                    }
                }
                Work::Nothing => self.idle(),
                Work::Closed => break,
            }
            if self.shared.disk_full.swap(false, Ordering::AcqRel) {
                self.disk_is_full();
            }
            self.recover_if_due();
            self.reap();
        }
    }

    /// How long to wait for write sets before there is something else to do.
    fn patience(&self) -> Option<Duration> {
        let now = Instant::now();
        let work = self.vacuum || self.reaper.has_work(&self.shared.tombstones);
        let work = work && self.connection.is_some();
        match self.shared.queue.mode() {
            Mode::Open | Mode::DeletesOnly if work => Some(self.rest_until.saturating_duration_since(now)),
            Mode::Open if !self.log.is_grown() => Some(Duration::ZERO),
            Mode::Open | Mode::Damaged => None,
            Mode::DeletesOnly | Mode::Down => Some(self.probe_at.saturating_duration_since(now)),
        }
    }

    fn commit(&mut self, sets: VecDeque<Numbered>) {
        let batch = Batch::coalesce(sets);
        let started = Instant::now();
        let written = self.write(&batch);
        self.decide(&batch, written, started);
    }

    /// Tells what became of a batch.
    pub(super) fn decide(&mut self, batch: &Batch, written: rusqlite::Result<u64>, started: Instant) {
        match written {
            Ok(objects) => {
                self.objects = objects;
                self.seq = batch.last;
                self.shared.objects.store(objects, Ordering::Release);
                self.shared.tombstones.settle(batch.last);
                self.shared.gate.durable(batch.last);
                let metrics = &self.shared.metrics;
                metrics.commit_seconds.observe(started.elapsed().as_secs_f64());
                #[expect(clippy::cast_precision_loss, reason = "a batch has far fewer than 2^52 sets")]
                metrics.commit_batch_size.observe(batch.sets as f64);
                self.shared.queue.batch_ended();
                self.tend_log();
            }
            Err(error) => {
                self.fail(Some(batch.first), &error);
                self.shared.queue.batch_ended();
            }
        }
    }

    pub(super) fn write(&self, batch: &Batch) -> rusqlite::Result<u64> {
        if self.shared.queue.mode() == Mode::Damaged {
            return Err(rusqlite::Error::InvalidQuery);
        }
        self.transaction(|connection| {
            let objects = self.objects + batch.apply(connection, &self.shared.tombstones)?;
            put_meta(connection, batch.last, objects)?;
            Ok(objects)
        })
    }

    /// Runs the closure in a transaction and commits it; rolls back on any error.
    pub(super) fn transaction<T>(&self, write: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        let connection = self.connection.as_ref().ok_or(rusqlite::Error::InvalidQuery)?;
        connection.prepare_cached(sql::BEGIN)?.execute(())?;
        let result = write(connection).and_then(|value| {
            connection.prepare_cached(sql::COMMIT)?.execute(())?;
            Ok(value)
        });
        if result.is_err() && !connection.is_autocommit() {
            // The connection is closed next, which rolls back too.
            let _ = connection.execute_batch(sql::ROLLBACK);
        }
        result
    }

    /// One chunk of dead rows; more only if tombstones pile up.
    pub(super) fn reap(&mut self) {
        let shared = self.shared.clone();
        while self.may_clean() && self.reaper.has_work(&shared.tombstones) {
            let mut reaper = std::mem::take(&mut self.reaper);
            let result = self.transaction(|connection| {
                let chunk = reaper.step(connection, &shared.tombstones)?;
                let objects = self.objects.saturating_sub(chunk.objects);
                put_meta(connection, self.seq, objects)?;
                Ok((objects, chunk.finished))
            });
            self.reaper = reaper;
            match result {
                Ok((objects, finished)) => {
                    self.objects = objects;
                    shared.objects.store(objects, Ordering::Release);
                    for (prefix, seq) in &finished {
                        shared.tombstones.reaped(prefix, *seq);
                    }
                    self.vacuum = true;
                    self.tend_log();
                }
                Err(error) => return self.fail(None, &error),
            }
            if shared.tombstones.len() <= TOMBSTONES {
                return;
            }
        }
    }

    /// Also on a full disk, as long as there is space left of the reserve.
    fn may_clean(&self) -> bool {
        let accepting = matches!(self.shared.queue.mode(), Mode::Open | Mode::DeletesOnly);
        accepting && self.connection.is_some() && self.rest_until <= Instant::now()
    }

    /// What can wait until there is nothing else to do.
    fn idle(&mut self) {
        let Some(connection) = &self.connection else { return };
        if !self.may_clean() || self.reaper.has_work(&self.shared.tombstones) {
            return;
        }
        let result = if self.vacuum {
            vacuum(connection).map(|more| self.vacuum = more)
        } else if self.log.is_grown() || self.shared.queue.mode() != Mode::Open {
            return;
        } else {
            self.log.grow(connection)
        };
        match result {
            Ok(()) => self.tend_log(),
            Err(error) => self.fail(None, &error),
        }
    }

    /// Whether the database, with what waits in the log, grows by at most half of the reserve. A checkpoint that does not get
    /// to its end would use up the space and leave none to log deletions in.
    pub(super) fn checkpoint_fits(&self, connection: &Connection) -> bool {
        let length = std::fs::metadata(&self.shared.file).map_or(0, |meta| meta.len());
        let pages = connection.query_row("PRAGMA page_count", (), |row| row.get::<_, u32>(0));
        pages.is_ok_and(|pages| {
            (u64::from(pages) * PAGE_BYTES).saturating_sub(length) <= self.shared.reserve.bytes() / 2
        })
    }

    fn tend_log(&mut self) {
        let Some(connection) = &self.connection else { return };
        let shared = &self.shared;
        if shared.queue.mode() == Mode::DeletesOnly && !self.checkpoint_fits(connection) {
            return;
        }
        let result = self.log.need(connection).and_then(|need| match need {
            Need::Nothing => Ok(()),
            Need::Finish if !shared.checkpoint.is_running() => self.log.finish(connection, shared.busy),
            Need::Checkpoint | Need::Finish => {
                shared.checkpoint.request();
                Ok(())
            }
            Need::Overdue => {
                shared.check.interrupt();
                self.log.finish(connection, shared.busy)
            }
        });
        match result {
            Ok(()) => {}
            Err(error) if is_full(&error) => self.disk_is_full(),
            Err(error) => tracing::warn!(%error, "the log cannot be started over yet"),
        }
    }
}

/// Fails what is queued when the writer has ended, however it ended.
struct Ended(Arc<Shared>);

impl Drop for Ended {
    fn drop(&mut self) {
        let shared = &self.0;
        shared.queue.close();
        if thread::panicking() {
            let failure = Failure {
                first: Some(shared.gate.next()),
                outcome: CommitError::Unknown,
                mode: Mode::Damaged,
                reason: "the writer has failed; restart the server".to_owned(),
            };
            let (due, _) = shared.queue.fail(failure, &shared.gate, &shared.tombstones);
            due.into_iter().for_each(gate::wake);
        }
        shared.queue.batch_ended();
    }
}

pub(super) fn put_meta(connection: &Connection, seq: u64, objects: u64) -> rusqlite::Result<()> {
    let mut update = connection.prepare_cached(sql::META_UPDATE)?;
    update.execute(params![seq.cast_signed(), objects.cast_signed()])?;
    Ok(())
}

/// Gives some free pages back to the file system; `false` when there are few left.
fn vacuum(connection: &Connection) -> rusqlite::Result<bool> {
    let free: u32 = connection.prepare_cached("PRAGMA freelist_count")?.query_row((), |row| row.get(0))?;
    if free <= FREE_PAGES {
        return Ok(false);
    }
    let mut statement = connection.prepare(&format!("PRAGMA incremental_vacuum({VACUUM_PAGES})"))?;
    let mut rows = statement.query(())?;
    while rows.next()?.is_some() {}
    Ok(true)
}
