//! The one place that knows SQLite: load an object and its rows, commit write sets, list and delete subtrees, say who
//! is to be woken and which messages wait.
//!
//! One database file (`fleet.db`) in write-ahead-log mode with an fsync for every commit, one writer thread, a few
//! connections that read, a thread that checkpoints, and after the start one that notes which objects there are and one
//! that checks the file's integrity.
//!
//! ```text
//! commit ─► queue ─► writer: coalesce ─► one transaction, one fsync ─► gate ─► wakers
//!              │        └─ between batches: reap deleted subtrees, give space back, look after the log
//!              └─ tombstones ◄─ load, children, objects, rows, … (what is deleted is gone from the moment commit returns)
//! ```
//!
//! | module | job |
//! |---|---|
//! | `write_set` | the vocabulary: what one run of turns changed |
//! | `queue` | first in, first out; numbers, bounds, what is accepted |
//! | `batch` | many write sets as one, and its rows |
//! | `writer`, `recovery` | the thread: commits; what happens when one fails |
//! | `stepper` | the writer without a thread, for simulations |
//! | `gate` | what became of each write set |
//! | `tombstones`, `reaper` | which rows are dead; removing them |
//! | `presence` | which objects may be stored at all |
//! | `reader` | the pool of connections that read; objects and their children |
//! | `rows`, `wakes`, `inbox` | key/value pairs; who is to be woken; messages between objects |
//! | `snapshot` | one object as it was durable at one moment |
//! | `log`, `checkpoint` | the write-ahead log |
//! | `schema`, `sql`, `check` | the file: opening, statements, integrity |
//! | `lock`, `reserve` | the data directory: one owner; space for deletions on a full disk |
//!
//! # Why
//! What costs is the fsync and the pages it writes, so everything that waits shares one. A write set is numbered when it
//! is queued, sets are committed in that order, and each row carries the number it came with: that alone makes a
//! tombstone enough to delete a subtree of any size, also while others write below it.
//!
//! Rows go to their place with the commit. A journal of whole batches in front of them, folded into the tables every few
//! hundred rows, was built and measured on two cores: a sixth fewer instructions an increment, and not one more a second.

mod batch;
mod check;
mod checkpoint;
mod error;
mod gate;
mod inbox;
mod lock;
mod log;
mod presence;
mod queue;
mod reader;
mod reaper;
mod recovery;
mod reserve;
mod rows;
mod schema;
mod snapshot;
mod sql;
mod stepper;
#[cfg(test)]
mod tests;
mod tombstones;
mod wakes;
mod write_set;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Waker;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::Mutex;

pub use self::error::Error;
pub use self::inbox::{Backlog, Received};
pub use self::rows::{Range, Row};
pub use self::snapshot::Snapshot;
pub use self::stepper::{Fate, Stepper};
pub use self::write_set::{Child, CommitError, Outcome, Position, Record, Send, Seq, Space, Value, WriteSet};

use crate::limits::{LOG_BYTES, PRESENCE_OBJECTS, RESERVE_BYTES};
use crate::metrics::Metrics;
use crate::path::ObjectPath;

use self::check::Check;
use self::checkpoint::Checkpoint;
use self::gate::Gate;
use self::lock::DirectoryLock;
use self::presence::Presence;
use self::queue::{Mode, Queue};
use self::reader::Readers;
use self::reserve::Reserve;
use self::tombstones::Tombstones;
use self::writer::Writer;

/// How storage is set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the database is; created if it is not there.
    pub data_dir: PathBuf,
    /// Connections that read; more readers wait for one of them.
    pub readers: usize,
    /// How long a commit waits for another process that has the database locked.
    pub busy_timeout: Duration,
    /// Size of the write-ahead log, in bytes; kept to but for short excesses.
    pub log_bytes: u64,
    /// Disk space held in reserve for deletions on a full disk, in bytes.
    pub reserve_bytes: u64,
    /// Whether commits are synced to the disk. Without, a power loss may undo what was acknowledged: for simulations.
    pub sync: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            data_dir: "data".into(),
            readers: 4,
            busy_timeout: Duration::from_secs(5),
            log_bytes: LOG_BYTES,
            reserve_bytes: RESERVE_BYTES,
            sync: true,
        }
    }
}

/// One line of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The object.
    pub path: ObjectPath,
    /// Its class.
    pub class: Arc<str>,
    /// Number of its listed children.
    pub children: u64,
}

/// Whether changes are accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Whether all are.
    pub ready: bool,
    /// Why not.
    pub reason: Option<String>,
}

/// The durable store; a handle that is cheap to clone. Dropping the last one closes it.
#[derive(Debug, Clone)]
pub struct Storage(Arc<Owner>);

/// What the threads and the handle share.
#[derive(Debug)]
struct Shared {
    file: PathBuf,
    busy: Duration,
    sync: bool,
    log_bytes: u64,
    queue: Queue,
    gate: Gate,
    tombstones: Tombstones,
    presence: Presence,
    readers: Readers,
    checkpoint: Checkpoint,
    check: Check,
    reserve: Reserve,
    /// Somebody else than the writer found the disk full.
    disk_full: AtomicBool,
    /// Rows of `objects`.
    objects: AtomicU64,
    metrics: Metrics,
}

/// What ends with the last handle.
#[derive(Debug)]
struct Owner {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    lock: Mutex<Option<DirectoryLock>>,
}

impl Storage {
    /// Opens the data directory, creating what is missing; the integrity check goes on in the background.
    ///
    /// # Errors
    /// Any [`Error`] but [`Error::Closed`]; what was found is left as it was.
    pub fn open(options: Options, metrics: &Metrics) -> Result<Self, Error> {
        let (storage, writer) = Self::prepare(options, metrics)?;
        storage.start_threads(writer)?;
        Ok(storage)
    }

    /// Opens the data directory without any thread: whoever holds the [`Stepper`] decides when what is queued is committed,
    /// and how that ends.
    ///
    /// # Errors
    /// As [`Storage::open`].
    pub fn stepped(options: Options, metrics: &Metrics) -> Result<(Self, Stepper), Error> {
        let (storage, writer) = Self::prepare(options, metrics)?;
        Ok((storage, Stepper::new(writer)))
    }

    fn prepare(options: Options, metrics: &Metrics) -> Result<(Self, Writer), Error> {
        let Options { data_dir, readers, busy_timeout: busy, log_bytes, reserve_bytes, sync } = options;
        let lock = DirectoryLock::take(&data_dir)?;
        let file = data_dir.join("fleet.db");
        let reserve = Reserve::new(data_dir.join("fleet.reserve"), reserve_bytes);
        let writer = recovery::open(&file, busy, sync, &reserve)?;
        let (seq, objects) = reader::meta(&writer).map_err(Error::database)?;
        let tombstones = Tombstones::default();
        tombstones.restore(reader::tombstones(&writer).map_err(Error::database)?);
        let presence = Presence::new(&writer, objects, PRESENCE_OBJECTS);
        let connections = (0..readers.max(1)).map(|_| schema::reader(&file, busy));
        let readers = connections.collect::<Result<_, _>>().map_err(Error::database)?;
        tracing::info!(file = %file.display(), objects, seq, deletions = tombstones.len(), "storage opened");
        let shared = Arc::new(Shared {
            file,
            busy,
            sync,
            log_bytes,
            queue: Queue::new(seq),
            gate: Gate::new(seq),
            tombstones,
            presence,
            readers: Readers::new(readers),
            checkpoint: Checkpoint::default(),
            check: Check::default(),
            reserve,
            disk_full: AtomicBool::new(false),
            objects: AtomicU64::new(objects),
            metrics: metrics.clone(),
        });
        let writer = Writer::new(shared.clone(), writer, seq, objects);
        Ok((Self(Arc::new(Owner { shared, threads: Mutex::default(), lock: Mutex::new(Some(lock)) })), writer))
    }

    fn start_threads(&self, writer: Writer) -> Result<(), Error> {
        let shared = &self.0.shared;
        let connect = || schema::checkpointer(&shared.file, shared.busy).map_err(Error::database);
        let (checkpointer, checker) = (connect()?, connect()?);
        self.0.spawn("fleet-writer", move || writer.run())?;
        let shared = self.0.shared.clone();
        self.0.spawn("fleet-checkpoint", move || checkpoint::run(&shared, &checkpointer))?;
        let shared = self.0.shared.clone();
        self.0.spawn("fleet-presence", move || presence::run(&shared))?;
        let shared = self.0.shared.clone();
        self.0.spawn("fleet-check", move || check::run(&shared, checker))
    }

    /// The durable record of an object; `None` if it does not exist. A point read of about 10 µs, or less for what never was.
    ///
    /// # Errors
    /// [`Error::Database`] and [`Error::Closed`].
    pub fn load(&self, path: &ObjectPath) -> Result<Option<Record>, Error> {
        reader::load(&self.0.shared, path)
    }

    /// The class of a durable record; `None` if the object does not exist. As [`Storage::load`], without its state.
    ///
    /// # Errors
    /// [`Error::Database`] and [`Error::Closed`].
    pub fn class(&self, path: &ObjectPath) -> Result<Option<Arc<str>>, Error> {
        reader::class(&self.0.shared, path)
    }

    /// The durable list of an object's children, each with its ordinal, in that order.
    ///
    /// # Errors
    /// [`Error::Database`] and [`Error::Closed`].
    pub fn children(&self, path: &ObjectPath) -> Result<Vec<(u64, Child)>, Error> {
        reader::children(&self.0.shared.readers, &self.0.shared.tombstones, path)
    }

    /// What exists at and below a prefix, by path, after a path (exclusive) if one is given.
    ///
    /// # Errors
    /// [`Error::Database`] and [`Error::Closed`].
    pub fn objects(&self, prefix: &ObjectPath, after: Option<&ObjectPath>, limit: usize) -> Result<Vec<Listed>, Error> {
        let shared = &self.0.shared;
        reader::objects(&shared.readers, &shared.tombstones, prefix, after, limit)
    }

    /// The newest deletion of a path or of anything above it, durable or not: until it is, nothing may be shown of what comes
    /// after it. [`Seq::NONE`] if there is none, or nothing is left of what it deleted.
    #[must_use]
    pub fn floor(&self, path: &ObjectPath) -> Seq {
        Seq(self.0.shared.tombstones.floor(path))
    }

    /// How many objects are stored. Those of a deleted subtree count until they are reaped, shortly after.
    #[must_use]
    pub fn object_count(&self) -> u64 {
        self.0.shared.objects.load(Ordering::Acquire)
    }

    /// Queues a write set and gives it its number; never waits. `after` is the number of the object's last write set.
    ///
    /// What the set deletes is gone for every later read, unless the set fails.
    ///
    /// # Errors
    /// The error of `after`, if that failed: nothing may build on it. [`CommitError::Full`] while the disk is full and
    /// the set deletes nothing, [`CommitError::Unknown`] while the database cannot be written and after
    /// [`Storage::close`]. In each case nothing was queued.
    pub fn commit(&self, set: WriteSet, after: Seq) -> Result<Seq, CommitError> {
        let shared = &self.0.shared;
        shared.queue.commit(set, after, &shared.gate, &shared.tombstones, &shared.presence)
    }

    /// Whether there is room for another write set. If not, the waker is woken when there may be.
    #[must_use]
    pub fn admit(&self, waker: &Waker) -> bool {
        self.0.shared.queue.admit(waker)
    }

    /// What has become of a write set; takes no lock unless a commit has failed.
    #[must_use]
    pub fn outcome(&self, seq: Seq) -> Outcome {
        self.0.shared.gate.outcome(seq)
    }

    /// The last write set of which it is known what has become of it, and of all before it.
    #[must_use]
    pub fn decided(&self) -> Seq {
        Seq(self.0.shared.gate.next() - 1)
    }

    /// What has become of a write set. If that is not known yet the waker is woken, once, when it is.
    #[must_use]
    pub fn wait(&self, seq: Seq, waker: &Waker) -> Outcome {
        self.0.shared.gate.wait(seq, waker)
    }

    /// Whether changes are accepted; it recovers by itself when the disk does.
    #[must_use]
    pub fn status(&self) -> Status {
        let (mode, reason) = self.0.shared.queue.status();
        let ready = mode == Mode::Open;
        Status { ready, reason }
    }

    /// Size of the database and its log, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.shared.measure()
    }

    /// Commits what is queued, stops the threads and closes every file; whoever comes second waits for the first.
    pub fn close(&self) {
        self.0.close();
    }
}

impl Shared {
    /// Publishes the size of the files.
    fn measure(&self) -> u64 {
        let size = |path: &Path| std::fs::metadata(path).map_or(0, |meta| meta.len());
        let bytes = size(&self.file) + size(&log::path(&self.file));
        self.metrics.storage_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        bytes
    }

    /// Tells the writer that there is no space.
    fn report_full_disk(&self) {
        self.disk_full.store(true, Ordering::Release);
        self.queue.nudge();
    }
}

impl Owner {
    fn spawn(&self, name: &str, run: impl FnOnce() + std::marker::Send + 'static) -> Result<(), Error> {
        let spawned = thread::Builder::new().name(name.to_owned()).spawn(run);
        let handle = spawned.map_err(|source| Error::Thread { source })?;
        self.threads.lock().push(handle);
        Ok(())
    }

    fn close(&self) {
        self.shared.queue.close();
        self.shared.check.close();
        self.shared.presence.close();
        let mut threads = self.threads.lock();
        // The writer is the first; only when it has committed everything may the others go.
        for handle in threads.drain(..) {
            // The last handle may be dropped by a waker that one of the threads called.
            if handle.thread().id() != thread::current().id() && handle.join().is_err() {
                tracing::error!("a storage thread has panicked");
            }
            self.shared.checkpoint.close();
        }
        self.shared.readers.close();
        *self.lock.lock() = None;
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.close();
    }
}
